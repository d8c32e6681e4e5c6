#!/bin/sh
# Peer: check both manifests with coreutils, at the same time. Argument: BAG.
cd "$1" || exit 2
sha256sum -c --quiet manifest-sha256.txt &
first=$!
sha512sum -c --quiet manifest-sha512.txt
second_status=$?
wait "$first" && exit "$second_status"
