#!/bin/sh
# The main job, shown on real files: pack, check, look, damage a copy, see it named; then
# seal, stamp, and the attack that plain BagIt misses; then a vault that repairs itself.
# Run by `make demo`; needs `archiver` and its Python on the PATH, and openssl.
set -eu
here=$(dirname "$0")
work=$(mktemp -d)
tsa=
watcher=
trap '[ -z "$tsa" ] || kill "$tsa"; [ -z "$watcher" ] || kill "$watcher"; chmod -R u+w "$work"; rm -rf "$work"' EXIT
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }
flip_one_bit() {
    python3 - "$1" <<'PYTHON'
import sys

with open(sys.argv[1], "r+b") as video:
    video.seek(10_000)
    byte = video.read(1)[0]
    video.seek(10_000)
    video.write(bytes([byte ^ 1]))
PYTHON
}

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
flip_one_bit "$work/copy/data/media/derribo-caseta.mp4"
code=0
run archiver bag verify "$work/copy" || code=$?
if [ "$code" -ne 1 ]; then
    echo "demo: the damaged copy should have been answered with exit code 1, not $code" >&2
    exit 1
fi


# -- the seal

export XDG_STATE_HOME="$work/state"
printf '%s\n' 'a passphrase for this demonstration only' >"$work/passphrase"
chmod 600 "$work/passphrase"
export ARCHIVER_PASSPHRASE_FILE="$work/passphrase"

say "6. Keys: a CA, whose key belongs on a stick in a safe, and a signer (archiver setup guides you)"
run archiver key init --organisation "Comisión (invented)" --name ana-laptop \
    --dir "$work/keys" --ca-dir "$work/stick"

say "7. A time-stamping authority, for this demonstration only: nobody should believe its stamps"
python3 "$here/demo_tsa.py" "$work/tsa" >"$work/url" &
tsa=$!
while [ ! -s "$work/url" ]; do sleep 0.1; done
url=$(cat "$work/url")

say "8. Pack, seal and stamp"
run archiver bag create "$here/case-001" -o "$work/sealed" --key ana-laptop --key-dir "$work/keys" \
    --tsa "$url" --tsa-root "$work/tsa/root.pem"

say "9. Verify it with certificates from outside of the bag"
run archiver bag verify "$work/sealed" --trust "$work/keys/ca.pem" --tsa-root "$work/tsa/root.pem"

say "10. The same signature with openssl alone (VERIFY.txt in the bag tells the rest)"
(cd "$work/sealed" && for s in signatures/*.p7s; do
    run openssl cms -verify -binary -inform DER -in "$s" -content tagmanifest-sha512.txt \
        -CAfile "$work/keys/ca.pem" -purpose any -cades -out /dev/null
done)

say "11. The attack that plain BagIt misses: exchange the video and make all checksums anew"
cp -R "$work/sealed" "$work/forged"
chmod -R u+w "$work/forged"
python3 - "$work/forged" <<'PYTHON'
import hashlib
import pathlib
import sys

bag = pathlib.Path(sys.argv[1])
video = bag / "data/media/derribo-caseta.mp4"
video.write_bytes(bytes(reversed(video.read_bytes())))  # another video of the same size


def digests_made_anew(manifest):
    algorithm = manifest.stem.partition("-")[2]
    paths = [line.partition("  ")[2] for line in manifest.read_text("utf-8").splitlines()]
    lines = [
        f"{hashlib.new(algorithm, (bag / path).read_bytes()).hexdigest()}  {path}\n"
        for path in paths
    ]
    manifest.write_text("".join(lines), "utf-8")


for pattern in ("manifest-*.txt", "tagmanifest-*.txt"):
    for manifest in bag.glob(pattern):
        digests_made_anew(manifest)
PYTHON
say "    the reference library:"
printf '$ bagit.py --validate forged\n'
python3 - "$work/forged" <<'PYTHON'
import sys

import bagit

print("valid" if bagit.Bag(sys.argv[1]).is_valid() else "invalid")
PYTHON
say "    archiver:"
code=0
run archiver bag verify "$work/forged" --trust "$work/keys/ca.pem" \
    --tsa-root "$work/tsa/root.pem" || code=$?
if [ "$code" -ne 1 ]; then
    echo "demo: the forged bag should have been answered with exit code 1, not $code" >&2
    exit 1
fi


# -- the vault

export ARCHIVER_VAULT="$work/vault"

say "12. A vault: the next number of a case, the sealed bag, the case's log"
run archiver init "$work/vault"
run archiver ingest "$here/case-001" --case case-001 --key ana-laptop --key-dir "$work/keys"

say "13. A second copy, on another disk in earnest"
run archiver replica add second-disk "$work/second-disk"
run archiver replica sync

say "14. Flip one bit of the vault's own copy: the audit finds it"
chmod -R u+w "$work/vault/bags"
flip_one_bit "$work/vault/bags/case-001/case-001-E-0001/data/media/derribo-caseta.mp4"
code=0
run archiver audit --all || code=$?
if [ "$code" -ne 1 ]; then
    echo "demo: the audit should have answered with exit code 1, not $code" >&2
    exit 1
fi

say "15. Repair it from the good copy; the damaged one is kept"
run archiver repair case-001-E-0001 --yes
run archiver audit --all
run archiver events verify
run archiver events case-001-E-0001

say "16. The catalog is only an index: delete it, make it again from the logs"
rm "$work/vault/catalog.sqlite"
run archiver catalog rebuild
run archiver list
run archiver audit --summary

say "17. Hand it out, with a receipt that the receiver signs"
run archiver export case-001-E-0001 "$work/for-the-court.tar" --purpose "proceedings 14/2026"
run archiver bag verify "$work/for-the-court.tar" --trust "$work/keys/ca.pem"
run cat "$work/for-the-court.tar.receipt.txt"


# -- the watched folder

say "18. A watched folder: a video arrives in two steps, and somebody asks for it in between"
mkdir "$work/inbox"
video="$here/case-001/media/derribo-caseta.mp4"
printf '$ archiver watch inbox --case case-001 --key ana-laptop --quiet-period 2s &\n'
archiver watch "$work/inbox" --case case-001 --key ana-laptop --key-dir "$work/keys" \
    --quiet-period 2s 2>"$work/watch.log" &
watcher=$!
exec 3>"$work/inbox/video.mp4"
head -c 20000 "$video" >&3
sleep 4
code=0
run archiver watch status "$work/inbox/video.mp4" || code=$?
if [ "$code" -ne 4 ]; then
    echo "demo: half a video should have been answered with exit code 4, not $code" >&2
    cat "$work/watch.log" >&2
    exit 1
fi
tail -c +20001 "$video" >&3
exec 3>&-
tries=0
until archiver watch status "$work/inbox/video.mp4" >/dev/null; do
    tries=$((tries + 1))
    if [ "$tries" -gt 60 ]; then
        echo "demo: the video was not archived" >&2
        cat "$work/watch.log" >&2
        exit 1
    fi
    sleep 1
done
run archiver watch status "$work/inbox/video.mp4"
run cmp "$video" "$work/vault/bags/case-001/case-001-E-0002/data/video.mp4"
kill "$watcher"
wait "$watcher"
watcher=
run archiver bag verify "$work/vault/bags/case-001/case-001-E-0002" --trust "$work/keys/ca.pem"


# -- what it is, and who may see it

second="$here/case-002"
seal() { run archiver "$@" --key ana-laptop --key-dir "$work/keys"; }

say "19. A second case: the video again, and all that is known of it"
seal ingest "$video" --case case-002 --describe "$second/video.toml"
say "20. An autopsy report, with the description that lay beside it; a post saved from a network"
seal ingest "$second/informe-autopsia-F-01.pdf" --case case-002 \
    --describe "$second/informe-autopsia-F-01.pdf.toml"
seal ingest "$second/post" --case case-002 --describe "$second/post.toml"

say "21. A witness's statement: encrypted before anything is written, the name for other readers"
for who in reader escrow identity; do
    printf '$ archiver statement key -o %s.key\n' "$who"
    archiver statement key -o "$work/$who.key" >"$work/$who.age"
    cat "$work/$who.age"
done
seal statement new "$second/declaracion.txt" --case case-002 --form "$second/declaracion.toml" \
    --identity "$second/identidad.toml" --recipient "$(cat "$work/reader.age")" \
    --escrow "$(cat "$work/escrow.age")" --identity-recipient "$(cat "$work/identity.age")"
run ls -R "$work/vault/bags/case-002/case-002-E-0004/data"
if grep -r -a -l -e Quirquincho -e "manos en alto" -e "555 0107" "$work/vault"; then
    echo "demo: the witness stands in clear in the vault" >&2
    exit 1
fi
run archiver statement open case-002-E-0004 --identity "$work/reader.key" -o "$work/opened"
run cmp "$second/declaracion.txt" "$work/opened/declaracion.txt"
code=0
run archiver statement open case-002-E-0004 --identity "$work/reader.key" --who || code=$?
if [ "$code" -eq 0 ]; then
    echo "demo: a reader of the statement should not learn the name" >&2
    exit 1
fi
run archiver statement open case-002-E-0004 --identity "$work/identity.key" --who

say "22. What should exist and doesn't: no investigation was opened, and nobody answered"
seal absence record --case case-002 --form "$second/ausencia.toml" "$second/solicitud-81-2021.txt"
run archiver list --overdue

say "23. What is learnt later is sealed beside the bag: the post is gone, and was archived elsewhere"
seal describe case-002-E-0003 --set known_gaps="none known: the replies were found in another archive" \
    --reason "the replies were found"
run archiver show case-002-E-0003
run archiver events verify

say "24. Search, with accents folded; nothing of the statement is in the index"
run archiver search autopsia
run archiver search "excavadora"
code=0
run archiver search Quirquincho || code=$?

say "25. What the witness does not allow is not handed out"
code=0
run archiver export case-002-E-0004 "$work/for-the-press.tar" --for media \
    --identity "$work/reader.key" || code=$?
if [ "$code" -ne 4 ]; then
    echo "demo: an export that the witness refused should end with exit code 4, not $code" >&2
    exit 1
fi
run archiver export case-002-E-0004 "$work/for-the-judge.tar" --for court \
    --identity "$work/reader.key"

say "26. For other archives: the autopsy report as PREMIS 3"
printf '$ archiver show case-002-E-0002 --premis >premis.xml\n'
archiver show case-002-E-0002 --premis >"$work/premis.xml"
head -n 3 "$work/premis.xml" | cut -c 1-240

say "Done: the damaged file was named, the forged bag was found out, the vault was repaired, the
video was sealed once it was whole; a small case is described, its witness is safe, and what was
never made is on record."
