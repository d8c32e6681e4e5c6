#!/bin/sh
# Peer: copy a directory, make the copy a bag, and bring it to disk.
# Arguments: SOURCE BAG PYTHON BAGIT_MAKE PROCESSES.
cp -a -- "$1" "$2" && "$3" "$4" "$2" "$5" && sync -f -- "$2"
