#!/bin/sh
# The main job, shown on real files: pack, check, look, damage a copy, see it named.
# Run by `make demo`; needs nothing but `archiver` on the PATH.
set -eu
here=$(dirname "$0")
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }

say "1. Pack the files of a case into a bag"
run archiver bag create "$here/case-001" -o "$work/case-001" --info "External-Description: Case 001 (invented)"

say "2. Verify it"
run archiver bag verify "$work/case-001"

say "3. Look at it"
run archiver bag show "$work/case-001"

say "4. Anyone can check it without archiver"
printf '$ sha512sum -c manifest-sha512.txt\n'
(cd "$work/case-001" && sha512sum -c manifest-sha512.txt)

say "5. Flip one bit of the video in a copy, and verify the copy"
cp -R "$work/case-001" "$work/copy"
chmod -R u+w "$work/copy"
python3 - "$work/copy/data/media/derribo-caseta.mp4" <<'PYTHON'
import sys

with open(sys.argv[1], "r+b") as video:
    video.seek(10_000)
    byte = video.read(1)[0]
    video.seek(10_000)
    video.write(bytes([byte ^ 1]))
PYTHON
code=0
run archiver bag verify "$work/copy" || code=$?
if [ "$code" -ne 1 ]; then
    echo "demo: the damaged copy should have been answered with exit code 1, not $code" >&2
    exit 1
fi

say "Done: the damaged file was named, and the exit code was 1."
