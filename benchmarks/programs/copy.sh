#!/bin/sh
# Floor: copy a directory and bring the copy to disk. Arguments: SOURCE COPY.
cp -a -- "$1" "$2" && sync -f -- "$2"
