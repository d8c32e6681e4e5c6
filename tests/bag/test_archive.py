"""Bags in archives: honest ones answer as their directory does, forged ones are never valid."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from archiver.bag import archive as subject
from archiver.bag.opening import open_tree
from archiver.digest import ALGORITHMS
from archiver.errors import UsageError
from archiver.findings import Findings
from tests.bag.archives import (
    ASCII,
    END,
    KILLED,
    Ended,
    Entry,
    Files,
    bag,
    codes,
    entries,
    forged_zip,
    gzipped,
    header,
    in_base,
    limited,
    manifest,
    member,
    padded,
    pax,
    python_tar,
    python_zip,
    raw_tar,
    verify,
    write_tree,
    zeros,
)

BAG = in_base(bag())
PLAIN = in_base(bag(ASCII))
EVIL = member("bag/data/a.txt", b"evil!\n")


def put(directory: Path, data: bytes, suffix: str = ".tar") -> Path:
    path = directory / f"bag{suffix}"
    path.write_bytes(data)
    return path


def told(path: Path) -> tuple[str, set[str]]:
    report = verify(path)
    return report.verdict.value, codes(report)


def run(*command: str | Path, cwd: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    subprocess.run([str(part) for part in command], cwd=cwd, check=True, env=environment)


# -- honest archives -----------------------------------------------------------

MADE: dict[str, tuple[str, Callable[[], bytes]]] = {
    "pax": (".tar", lambda: python_tar(BAG)),
    "gnu": (".tar", lambda: python_tar(BAG, tarfile.GNU_FORMAT)),
    "ustar": (".tar", lambda: python_tar(BAG, tarfile.USTAR_FORMAT)),
    "dot-slash": (".tar", lambda: python_tar(BAG, prefix="./")),
    "no end blocks": (".tar", lambda: raw_tar(BAG)),
    "gz": (".tar.gz", lambda: gzipped([python_tar(BAG)])),
    "tgz": (".tgz", lambda: gzipped([python_tar(BAG)])),
    "upper case": (".TAR", lambda: python_tar(BAG)),
    "gz members": (
        ".tar.gz",
        lambda: gzipped([raw_tar(BAG)[:700]]) + gzipped([raw_tar(BAG)[700:], END]),
    ),
    "gz zero padded": (".tar.gz", lambda: gzipped([raw_tar(BAG), END]) + bytes(512)),
    "deflated": (".zip", lambda: python_zip(BAG)),
    "stored": (".zip", lambda: python_zip(BAG, zipfile.ZIP_STORED)),
    "descriptors": (".zip", lambda: python_zip(BAG, stream=True)),
    "bytes": (".zip", lambda: forged_zip(entries(PLAIN, 8))),
}


@pytest.mark.parametrize("name", MADE)
def test_a_bag_answers_the_same_in_every_archive(tmp_path: Path, name: str) -> None:
    suffix, make = MADE[name]
    payload = ASCII if name == "bytes" else None
    expected = verify(write_tree(tmp_path / "bag", bag(payload)))
    report = verify(put(tmp_path, make(), suffix))
    assert (report.verdict.value, codes(report)) == ("valid", set())
    assert report.facts == expected.facts
    assert report.claims == expected.claims


REAL = {
    "tar": (".tar", ["tar", "cf", "bag.tar", "bag"]),
    "tar of .": (".tar", ["tar", "cf", "bag.tar", "./bag"]),
    "posix tar": (".tar", ["tar", "cf", "bag.tar", "--format=posix", "bag"]),
    "ustar tar": (".tar", ["tar", "cf", "bag.tar", "--format=ustar", "bag"]),
    "v7 tar": (".tar", ["tar", "cf", "bag.tar", "--format=v7", "bag"]),
    "tgz": (".tgz", ["tar", "czf", "bag.tgz", "bag"]),
}


@pytest.mark.parametrize("name", REAL)
def test_the_real_tar(tmp_path: Path, name: str) -> None:
    suffix, command = REAL[name]
    base = write_tree(tmp_path / "bag", bag())
    os.link(base / "data/a.txt", base / "data/b/link")
    (base / "manifest-sha256.txt").unlink()
    (base / "tagmanifest-sha256.txt").unlink()
    payload = {
        str(path.relative_to(base)): path.read_bytes()
        for path in sorted(base.rglob("data/**/*"))
        if path.is_file()
    }
    write_tree(base, bag(payload))
    run(*command, cwd=tmp_path)
    assert told(tmp_path / f"bag{suffix}") == ("valid", set())


def test_tar_members_of_sparse_files_are_not_called_missing(tmp_path: Path) -> None:
    """`tar -S` of a disk image with holes: a limit of ours, so undecided."""
    base = write_tree(tmp_path / "bag", bag({"data/disk.img": bytes(1 << 20)}))
    with (base / "data/disk.img").open("wb") as file:
        file.truncate(1 << 20)
    run("tar", "cSf", "bag.tar", "bag", cwd=tmp_path)
    verdict, _found = told(tmp_path / "bag.tar")
    assert verdict == "undecided"


@pytest.mark.parametrize("options", [["-qr"], ["-qr0"], ["-qrD"]])
def test_the_real_zip(tmp_path: Path, options: list[str]) -> None:
    write_tree(tmp_path / "bag", bag(ASCII))
    run("zip", *options, "bag.zip", "bag", cwd=tmp_path)
    verdict, found = told(tmp_path / "bag.zip")
    assert verdict == "valid", found


def test_the_real_zip_writing_to_a_pipe(tmp_path: Path) -> None:
    write_tree(tmp_path / "bag", bag(ASCII))
    archived = subprocess.run(
        ["zip", "-qr", "-", "bag"], cwd=tmp_path, check=True, capture_output=True
    ).stdout
    assert told(put(tmp_path, archived, ".zip")) == ("valid", set())


def test_the_real_zip_with_names_beyond_ascii(tmp_path: Path) -> None:
    write_tree(tmp_path / "bag", bag())
    run("zip", "-qr", "bag.zip", "bag", cwd=tmp_path)
    assert told(tmp_path / "bag.zip") == ("valid", set())


def test_names_in_cp437(tmp_path: Path) -> None:
    made = forged_zip(
        [
            Entry(name=name.encode("cp437"), data=data)
            for name, data in in_base(bag({"data/año.txt": b"x"})).items()
        ]
    )
    assert told(put(tmp_path, made, ".zip")) == ("valid", set())


def test_a_zip64_member(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in PLAIN.items():
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as target:
                target.write(data)
    assert told(put(tmp_path, out.getvalue(), ".zip")) == ("valid", set())


def zip64(directory: int, *, magic: bytes = b"PK\x06\x06") -> bytes:
    """Honest members behind a zip64 end record that tells this directory size."""
    made = bytearray(forged_zip(entries(PLAIN)))
    at = made.rfind(b"PK\5\6")
    count, size, offset = struct.unpack_from("<H2L", made, at + 10)
    record = struct.pack(
        "<4sQ2H2L4Q", magic, 44, 45, 45, 0, 0, count, count, directory or size, offset
    )
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return bytes(made[:at]) + record + locator + last


def test_a_zip64_end_record(tmp_path: Path) -> None:
    assert told(put(tmp_path, zip64(0), ".zip")) == ("valid", set())


def test_a_zip64_end_record_that_promises_too_much(tmp_path: Path) -> None:
    verdict, found = told(put(tmp_path, zip64(1 << 40), ".zip"))
    assert verdict != "valid"
    assert "U-ARC-008" in found


def test_a_zip64_end_record_that_is_not_there(tmp_path: Path) -> None:
    verdict, found = told(put(tmp_path, zip64(0, magic=b"nope"), ".zip"))
    assert (verdict, "E-ARC-001" in found) == ("invalid", True)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
def test_an_altered_payload_in_an_archive(tmp_path: Path, suffix: str) -> None:
    files = PLAIN | {"bag/data/a.txt": b"alphA\n"}
    verdict, found = told(put(tmp_path, packed(files, suffix), suffix))
    assert (verdict, found) == ("invalid", {"E-BAG-200"})


def packed(files: Files, suffix: str) -> bytes:
    if suffix == ".zip":
        return forged_zip(entries(files, 8))
    tar = raw_tar(files) + END
    return tar if suffix == ".tar" else gzipped([tar])


# -- what an archive must be -----------------------------------------------------


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
def test_two_bags_a_bag_at_the_root_and_a_stray_file(tmp_path: Path, suffix: str) -> None:
    for files in (
        PLAIN | in_base(bag(ASCII), "other"),
        bag(ASCII),
        PLAIN | {"stray.txt": b""},
        {},
        {"bag": b"a file"},
    ):
        verdict, found = told(put(tmp_path, packed(files, suffix), suffix))
        assert (verdict, "E-ARC-002" in found) == ("invalid", True), files


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
def test_a_wrong_name_is_a_warning(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"other{suffix}"
    path.write_bytes(packed(PLAIN, suffix))
    assert told(path) == ("valid", {"W-ARC-006"})


def test_what_is_no_bag_at_all(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tar")
    (tmp_path / "text.txt").write_text("")
    for name in ("pipe.tar", "text.txt", "absent.tar"):
        with pytest.raises(UsageError):
            open_tree(str(tmp_path / name), Findings())


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
@pytest.mark.parametrize("data", [b"", b"x", bytes(10_000), b"PK\5\6", b"\x1f\x8b", b"PK\5\6" * 9])
def test_no_archive_of_its_kind(tmp_path: Path, suffix: str, data: bytes) -> None:
    verdict, found = told(put(tmp_path, data, suffix))
    assert verdict == "invalid"
    assert found & {"E-ARC-001", "E-ARC-002"}


def test_the_tree_of_an_archive(tmp_path: Path) -> None:
    tree = open_tree(str(put(tmp_path, raw_tar(PLAIN) + END)), Findings())
    assert tree.name == "bag.tar"
    assert tree.has_directory("data/b")
    assert not tree.has_directory("data/a.txt")
    with tree.open("data/a.txt") as stream:
        assert stream.read(100) == b"alpha\n"
    tree.close()


# -- names and kinds ---------------------------------------------------------------

UNSAFE = ["../evil", "/etc/evil", "bag/../../evil", "C:evil", "bag/data/../../../e", "~root/e"]
UNSAFE += ["\\\\host\\share\\e", "bag/..\\..\\e", "bag//e", "bag/./e", "bag/data/", "././bag/e"]


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_names_in_a_tar(tmp_path: Path, name: str) -> None:
    verdict, found = told(put(tmp_path, raw_tar(PLAIN) + member(name) + END))
    assert (verdict, found) == ("invalid", {"E-ARC-003"})


@pytest.mark.parametrize("name", [*UNSAFE, "bag/data/a.txt\0.exe", "\0"])
def test_unsafe_names_in_a_zip(tmp_path: Path, name: str) -> None:
    if name.endswith("/"):
        pytest.skip("that is how a zip writes a directory")
    made = forged_zip([*entries(PLAIN), Entry(name=name.encode())])
    verdict, found = told(put(tmp_path, made, ".zip"))
    assert (verdict, found) == ("invalid", {"E-ARC-003"})


def test_a_nul_in_a_pax_path(tmp_path: Path) -> None:
    made = raw_tar(PLAIN) + pax({"path": b"bag/data/x\0y"}) + member("x") + END
    assert told(put(tmp_path, made)) == ("invalid", {"E-ARC-003"})


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
@pytest.mark.parametrize("first", [b"alpha\n", b"evil!\n"])
def test_one_name_twice_is_never_valid(tmp_path: Path, suffix: str, first: bytes) -> None:
    """Whichever of the two is the listed one: others may take the other."""
    files = in_base(bag(ASCII))
    files["bag/data/a.txt"] = first
    second = b"evil!\n" if first == b"alpha\n" else b"alpha\n"
    if suffix == ".zip":
        twice = Entry(name=b"bag/data/a.txt", data=second)
        made = forged_zip([*entries(files), twice])
    else:
        made = raw_tar(files) + member("bag/data/a.txt", second) + END
        made = gzipped([made]) if suffix == ".tar.gz" else made
    verdict, found = told(put(tmp_path, made, suffix))
    assert (verdict, "E-ARC-004" in found) == ("invalid", True)


@pytest.mark.parametrize("spelling", ["./bag/data/a.txt", "bag/data/a.txt/x"])
def test_a_name_that_is_also_another_spelling_or_a_directory(tmp_path: Path, spelling: str) -> None:
    for made, suffix in (
        (raw_tar(PLAIN) + member(spelling, b"evil!\n") + END, ".tar"),
        (forged_zip([*entries(PLAIN), Entry(name=spelling.encode(), data=b"evil!\n")]), ".zip"),
    ):
        verdict, found = told(put(tmp_path, made, suffix))
        assert (verdict, "E-ARC-004" in found) == ("invalid", True)


@pytest.mark.parametrize("kind", [b"2", b"1", b"3", b"4", b"6", b"7", b"V", b"M", b"N"])
def test_links_devices_and_pipes_in_a_tar(tmp_path: Path, kind: bytes) -> None:
    odd = header(b"bag/data/odd", 0, kind, b"/etc/passwd")
    verdict, found = told(put(tmp_path, raw_tar(PLAIN) + odd + END))
    if kind == b"7":  # a contiguous file is a file
        assert (verdict, "E-BAG-101" in found) == ("invalid", True)
    else:
        assert (verdict, found) == ("invalid", {"E-ARC-005"})


@pytest.mark.parametrize("mode", [0o120777, 0o010644, 0o020644, 0o060644, 0o140644])
def test_links_devices_and_pipes_in_a_zip(tmp_path: Path, mode: int) -> None:
    odd = Entry(name=b"bag/data/odd", data=b"/etc/passwd", attributes=mode << 16)
    verdict, found = told(put(tmp_path, forged_zip([*entries(PLAIN), odd]), ".zip"))
    assert (verdict, found) == ("invalid", {"E-ARC-005"})


@pytest.mark.parametrize("target", ["bag/data/a.txt", "./bag/data/a.txt"])
def test_a_hard_link_is_the_earlier_member(tmp_path: Path, target: str) -> None:
    files = in_base(bag(ASCII | {"data/same": b"alpha\n"}))
    del files["bag/data/same"]
    link = header(b"bag/data/same", 0, b"1", target.encode())
    assert told(put(tmp_path, raw_tar(files) + link + END)) == ("valid", set())
    verdict, found = told(put(tmp_path, link + raw_tar(files) + END))
    assert (verdict, "E-ARC-005" in found) == ("invalid", True)


# -- every byte --------------------------------------------------------------------

SMALL = in_base(bag({"data/a.txt": b"alpha\n"}))
SAMPLE = 450


def flips(path: Path, data: bytes, seed: str) -> list[int]:
    """The offsets whose flipped byte leaves a valid bag, of a seeded sample."""
    dice = random.Random(seed)
    valid = []
    for offset in sorted(dice.sample(range(len(data)), min(SAMPLE, len(data)))):
        forged = bytearray(data)
        forged[offset] ^= dice.choice((0x01, 0xFF))
        path.write_bytes(forged)
        if verify(path).verdict.value == "valid":
            valid.append(offset)
    return valid


def test_every_byte_of_a_tar_counts_but_padding(tmp_path: Path) -> None:
    """Free are: what fills a member's last block, the end blocks (both told as
    U-ARC-011 or nothing), and the byte behind a header's checksum.
    """
    data, free = b"", set()
    for name, content in SMALL.items():
        free.add(len(data) + 155)
        start = len(data) + 512 + len(content)
        data += member(name, content)
        free |= set(range(start, len(data)))
    free |= set(range(len(data), len(data) + len(END)))
    assert set(flips(tmp_path / "bag.tar", data + END, "tar")) <= free


def test_every_byte_of_a_tar_gz_counts_but_its_header(tmp_path: Path) -> None:
    """Free are flags, time, system of the gzip header (RFC 1952 §2.3), and deflate
    codes that unpack to the very same bytes (zeros from another distance).
    """
    data = gzipped([raw_tar(SMALL), END])
    path = tmp_path / "bag.tar.gz"
    for offset in sorted(set().union(*(flips(path, data, f"gz{n}") for n in range(3)))):
        for mask in (0x01, 0xFF):
            forged = bytearray(data)
            forged[offset] ^= mask
            path.write_bytes(forged)
            if verify(path).verdict.value == "valid":
                same = gzip.decompress(forged) == gzip.decompress(data)
                assert same or offset in range(3, 10), offset


def zip_regions(data: bytes) -> set[int]:
    """What says nothing of names, sizes or bytes: versions, flag bits without a
    meaning here, times, attributes, comments' lengths, disk numbers.
    """
    free: set[int] = set()
    for start in range(len(data) - 4):
        magic = data[start : start + 4]
        if magic == b"PK\3\4":
            name, extra = struct.unpack_from("<2H", data, start + 26)
            size = struct.unpack_from("<L", data, start + 18)[0]
            free |= {start + n for n in (4, 5, 6, 7, 10, 11, 12, 13)}
            # deflated bits that unpack to the very same bytes (last-block bit, filling)
            body = start + 30 + name + extra
            free |= set(range(body, body + size))
        elif magic == b"PK\1\2":
            free |= {start + n for n in (*range(4, 10), *range(12, 16), *range(32, 42))}
            free |= {start + n for n in range(28, 32)}  # zipfile forgives the last one's lengths
        elif magic == b"PK\5\6":
            free |= {start + n for n in (*range(4, 12), 20, 21)}
    return free


def test_every_byte_of_a_zip_counts_but_what_says_nothing(tmp_path: Path) -> None:
    data = forged_zip(entries(SMALL, 8))
    path = tmp_path / "bag.zip"
    found = {offset for n in range(2) for offset in flips(path, data, f"zip{n}")}
    assert found <= zip_regions(data)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".zip"])
def test_truncated_anywhere(tmp_path: Path, suffix: str) -> None:
    data = packed(SMALL, suffix)
    whole = len(raw_tar(SMALL)) - 506 if suffix == ".tar" else len(data)
    dice = random.Random(suffix)
    for length in sorted(dice.sample(range(len(data)), min(250, len(data)))):
        path = put(tmp_path, data[:length], suffix)
        assert (verify(path).verdict.value == "valid") <= (length >= whole), length


# -- tars that say two things --------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "suffix"),
    [
        (raw_tar(PLAIN) + END + EVIL + END, ".tar"),
        (raw_tar(PLAIN) + bytes(512) + EVIL + END, ".tar"),
        (gzipped([raw_tar(PLAIN), END]) + gzipped([EVIL, END]), ".tar.gz"),
        (raw_tar(PLAIN) + END + b"garbage", ".tar"),
    ],
)
def test_bytes_behind_the_end_are_told(tmp_path: Path, made: bytes, suffix: str) -> None:
    verdict, found = told(put(tmp_path, made, suffix))
    assert verdict != "valid"
    assert found


HIDDEN = {
    "behind a damaged header": raw_tar(PLAIN) + header(b"x", checksum=b"0000000\0") + EVIL + END,
    "behind a directory's data": header(b"bag/", len(padded(raw_tar(PLAIN) + END)), b"5")
    + padded(raw_tar(PLAIN) + END)
    + EVIL
    + END,
    "behind a broken pax header": raw_tar(PLAIN)
    + member("p", b"0 path=\n", b"x")
    + member("x")
    + EVIL
    + END,
    "behind the end": raw_tar(PLAIN) + END + EVIL + END,
}


@pytest.mark.parametrize("where", HIDDEN)
def test_a_second_a_txt_that_others_would_unpack_is_never_valid(tmp_path: Path, where: str) -> None:
    assert verify(put(tmp_path, HIDDEN[where])).verdict.value != "valid"


def test_a_pax_path_that_ends_in_a_slash_is_no_file(tmp_path: Path) -> None:
    files = dict(PLAIN)
    del files["bag/data/empty"]
    made = raw_tar(files) + pax({"path": b"bag/data/empty/"}) + member("x") + END
    assert verify(put(tmp_path, made)).verdict.value != "valid"


def test_trailing_garbage_behind_gzip_is_damage(tmp_path: Path) -> None:
    path = put(tmp_path, gzipped([raw_tar(PLAIN), END]) + b"garbage", ".tar.gz")
    assert told(path) == ("invalid", {"E-ARC-001"})


def test_a_pax_size_overrides_the_header(tmp_path: Path) -> None:
    """The other way round is how parsers were made to see different members."""
    files = dict(PLAIN)
    data = files.pop("bag/data/a.txt")
    made = raw_tar(files) + pax({"size": b"6"}) + header(b"bag/data/a.txt", 0) + padded(data) + END
    assert told(put(tmp_path, made)) == ("valid", set())


@pytest.mark.parametrize(
    "made",
    [
        header(b"bag/data/x", number=b"\xff" + b"\xff" * 10 + b"\0"),
        header(b"bag/data/x", number=b"\x80" + b"\x7f" * 11),
        pax({"size": b"-1024"}) + member("bag/data/x"),
        pax({"size": b"9" * 30}) + member("bag/data/x"),
        pax({"size": b"1e9"}) + member("bag/data/x"),
        header(b"l", 1 << 30, b"L"),
        header(b"p", 1 << 30, b"x"),
        pax({"GNU.sparse.map": b"0,1,x"}) + member("bag/data/x"),
        pax({"GNU.sparse.major": b"1", "GNU.sparse.minor": b"0"}) + member("bag/data/x", b"9" * 99),
        pax({"GNU.sparse.size": b"-1"}) + member("bag/data/x"),
        member("p", b"99 path=", b"x"),
        member("p", b"12 hdrcharset=\xff\n", b"x") + member("x"),
        member("l", b"bag/data/x", b"L"),
        b"".join(member("l", b"a", b"L") for _ in range(5000)),
        b"".join(member("l", b"1 a=", b"x") for _ in range(5000)),
    ],
    ids=range(15),
)
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_tar_headers_that_lie_are_findings(tmp_path: Path, made: bytes, suffix: str) -> None:
    for data in (made, raw_tar(PLAIN) + made, made + raw_tar(PLAIN) + END):
        tar = data if suffix == ".tar" else gzipped([data])
        verdict, found = told(put(tmp_path, tar, suffix))
        assert verdict != "valid"
        assert found & {"E-ARC-001", "E-ARC-003", "U-ARC-007", "U-ARC-008", "E-BAG-101"}


SPARSE = bytes(137) + b"%c" + b"00000001000\0"


def test_a_sparse_member_is_undecided(tmp_path: Path) -> None:
    sparse = header(b"bag/data/s", 0, b"S", tail=SPARSE % 0)
    assert told(put(tmp_path, raw_tar(PLAIN) + sparse + END))[0] in ("undecided", "invalid")


def test_a_truncated_sparse_header(tmp_path: Path) -> None:
    sparse = header(b"bag/data/s", 512, b"S", tail=SPARSE % 1)
    assert verify(put(tmp_path, raw_tar(PLAIN) + sparse)).verdict.value != "valid"


def test_a_limit_of_ours_never_makes_a_bag_invalid(tmp_path: Path) -> None:
    made = forged_zip([*entries(PLAIN)[1:], Entry(name=b"bag/bagit.txt", flags=1)])
    assert verify(put(tmp_path, made, ".zip")).verdict.value == "undecided"


# -- zips that say two things ------------------------------------------------------


def forged(tmp_path: Path, change: Callable[[list[Entry]], object], **options: object) -> Path:
    made = entries(PLAIN)
    change(made)
    return put(tmp_path, forged_zip(made, **options), ".zip")  # type: ignore[arg-type]


def packed_as(entry: Entry, method: int, data: bytes | None = None) -> None:
    entry.method, entry.packed = method, data


def index_of(name: str) -> int:
    return list(PLAIN).index(f"bag/{name}")


A_TXT = index_of("data/a.txt")
LZMA = b"\x09\x04\x05\0]\0\0\1\0" + b"\xff" * 30
LOCAL: dict[str, dict[str, int | bytes]] = {
    "name": {"name": b"bag/data/A.txt"},
    "method": {"method": 8},
    "encryption": {"flags": 1},
    "crc": {"crc": 1},
    "size": {"size": 1},
    "packed size": {"packed": 1},
}


@pytest.mark.parametrize("field", LOCAL)
def test_local_header_and_directory_differ(tmp_path: Path, field: str) -> None:
    path = forged(tmp_path, lambda made: made[A_TXT].local.update(LOCAL[field]))
    verdict, found = told(path)
    assert (verdict, "E-ARC-009" in found) == ("invalid", True)


@pytest.mark.parametrize("field", ["name", "method"])
def test_local_header_of_a_tag_file_differs(tmp_path: Path, field: str) -> None:
    changes: dict[str, dict[str, int | bytes]] = {
        "name": {"name": b"bag/bagit.tyt"},
        "method": {"method": 99},
    }
    change = changes[field]
    path = forged(
        tmp_path, lambda made: (made[0].local.update(change), made[0].central.update(change))[1]
    )
    if field == "name":
        path = forged(tmp_path, lambda made: made[0].local.update(change))
    assert verify(path).verdict.value != "valid"


def test_hidden_prepended_and_overlapping_members(tmp_path: Path) -> None:
    local = forged_zip([Entry(name=b"bag/data/evil")])[:43]
    for options in ({"before": local}, {"hidden": local}):
        verdict, found = told(forged(tmp_path, lambda _made: None, **options))
        assert (verdict, "E-ARC-009" in found) == ("invalid", True)
    between = forged(tmp_path, lambda made: setattr(made[2], "after", local))
    assert told(between) == ("invalid", {"E-ARC-009"})
    for offset in (0, 10, 10_000, 0xFFFFFFFE):
        overlap = Entry(name=b"bag/data/evil", offset=offset)
        path = forged(tmp_path, lambda made, one=overlap: made.append(one))  # type: ignore[misc]
        verdict, found = told(path)
        assert (verdict, "E-ARC-001" in found) == ("invalid", True)


def test_a_member_that_runs_into_the_directory(tmp_path: Path) -> None:
    sizes = {"packed": 40}
    path = forged(
        tmp_path, lambda made: (made[-1].local.update(sizes), made[-1].central.update(sizes))
    )
    assert "E-ARC-001" in told(path)[1]


def test_a_member_without_a_whole_header(tmp_path: Path) -> None:
    at_end = len(forged_zip(entries(PLAIN))) + 40
    path = forged(tmp_path, lambda made: made.append(Entry(name=b"bag/x", offset=at_end)))
    verdict, found = told(path)
    assert (verdict, "E-ARC-001" in found) == ("invalid", True)


def test_two_end_records(tmp_path: Path) -> None:
    honest = forged_zip(entries(PLAIN))
    evil = forged_zip(entries(PLAIN | {"bag/data/a.txt": b"evil!\n"}))
    for made in (honest + evil, evil + honest, honest[:-2] + struct.pack("<H", len(evil)) + evil):
        assert verify(put(tmp_path, made, ".zip")).verdict.value == "invalid"


def test_an_end_record_within_an_end_record(tmp_path: Path) -> None:
    made = forged_zip(entries(PLAIN), comment=b"PK\5\6")
    verdict, found = told(put(tmp_path, made, ".zip"))
    assert (verdict, "E-ARC-001" in found) == ("invalid", True)


def test_a_comment_is_no_harm(tmp_path: Path) -> None:
    made = forged_zip(entries(PLAIN), comment=b"from the archive")
    assert told(put(tmp_path, made, ".zip")) == ("valid", set())


def test_trailing_garbage_behind_a_zip_is_told(tmp_path: Path) -> None:
    path = forged(tmp_path, lambda _made: None, tail=b"garbage")
    assert told(path)[1]


def test_an_end_record_that_counts_fewer_members(tmp_path: Path) -> None:
    assert verify(forged(tmp_path, lambda _made: None, end={"count": 3})).verdict.value != "valid"


def test_an_end_record_that_points_elsewhere(tmp_path: Path) -> None:
    for offset in (0, 10, 100_000):
        path = forged(tmp_path, lambda _made: None, end={"offset": offset})
        assert verify(path).verdict.value == "invalid"


def test_a_unicode_path_field_that_tells_another_name(tmp_path: Path) -> None:
    def change(made: list[Entry]) -> None:
        entry, name = made[A_TXT], b"bag/data/evil.txt"
        extra = struct.pack("<2HBL", 0x7075, 5 + len(name), 1, zlib.crc32(entry.name)) + name
        entry.local["extra"] = entry.central["extra"] = extra

    assert verify(forged(tmp_path, change)).verdict.value != "valid"


def test_a_deflated_member_that_holds_more_than_it_says(tmp_path: Path) -> None:
    def change(made: list[Entry]) -> None:
        made[A_TXT].flags, made[A_TXT].method = 8, 8
        made[A_TXT].packed = Entry(name=b"", method=8, data=b"alpha\nand more").stored()

    assert verify(forged(tmp_path, change)).verdict.value != "valid"


def test_a_backslash_in_a_zip_name(tmp_path: Path) -> None:
    """APPNOTE 4.4.17: all slashes MUST be forward slashes."""
    evil = Entry(name=b"bag/data\\a.txt", data=b"evil!\n")
    assert verify(forged(tmp_path, lambda made: made.append(evil))).verdict.value != "valid"


@pytest.mark.parametrize("flags", [0x1, 0x41])
def test_an_encrypted_payload_file_is_undecided_or_missing(tmp_path: Path, flags: int) -> None:
    path = forged(tmp_path, lambda made: setattr(made[A_TXT], "flags", flags))
    verdict, found = told(path)
    assert verdict != "valid"
    assert "U-ARC-008" in found


@pytest.mark.parametrize(
    ("field", "value"), [("method", 99), ("method", 97), ("flags", 0x20), ("flags", 0x40)]
)
def test_a_payload_file_that_cannot_be_unpacked_is_undecided(
    tmp_path: Path, field: str, value: int
) -> None:
    path = forged(tmp_path, lambda made: setattr(made[A_TXT], field, value))
    assert told(path) == ("undecided", {"U-ARC-008"})


@pytest.mark.parametrize(
    "change",
    [
        lambda made: setattr(made[0], "method", 99),
        lambda made: setattr(made[0], "flags", 0x20),
        lambda made: setattr(made[A_TXT], "version", 99),
        lambda made: made.append(Entry(name=b"")),
        lambda made: packed_as(made[A_TXT], 14, LZMA),
        lambda made: packed_as(made[0], 14, LZMA),
    ],
    ids=["method", "patched", "version", "no name", "lzma payload", "lzma tag file"],
)
def test_zips_that_the_library_chokes_on(
    tmp_path: Path, change: Callable[[list[Entry]], object]
) -> None:
    assert verify(forged(tmp_path, change)).verdict.value != "valid"


@pytest.mark.parametrize("method", [8, 12])
def test_damaged_compression(tmp_path: Path, method: int) -> None:
    for place in (0, A_TXT):

        def change(made: list[Entry], place: int = place) -> None:
            made[place].method, made[place].packed = method, b"\xff" * 20

        verdict, found = told(forged(tmp_path, change))
        assert verdict != "valid"
        assert {"E-ARC-001", "U-ARC-008", "U-BAG-201"} & found


def test_a_wrong_checksum_in_a_zip_is_damage(tmp_path: Path) -> None:
    wrong = {"crc": 1}
    path = forged(
        tmp_path, lambda made: (made[A_TXT].local.update(wrong), made[A_TXT].central.update(wrong))
    )
    assert told(path) == ("invalid", {"E-ARC-001"})


def test_a_member_shorter_than_it_says(tmp_path: Path) -> None:
    longer: dict[str, int | bytes] = {"size": 9}
    path = forged(
        tmp_path,
        lambda made: (
            made[A_TXT].local.update(longer | {"method": 8}),
            made[A_TXT].central.update(longer | {"method": 8}),
        ),
    )
    assert told(path)[0] == "invalid"


def test_a_file_of_the_bags_own_name(tmp_path: Path) -> None:
    verdict, found = told(put(tmp_path, raw_tar(PLAIN) + member("bag") + END))
    assert (verdict, "E-ARC-004" in found) == ("invalid", True)


def test_the_real_tar_of_a_bag_from_within(tmp_path: Path) -> None:
    """`tar cf bag.tar .`: the archive's root is no directory of the bag's name."""
    write_tree(tmp_path / "bag", bag())
    run("tar", "cf", "../bag.tar", ".", cwd=tmp_path / "bag")
    assert told(tmp_path / "bag.tar") == ("invalid", {"E-ARC-002"})


def test_a_guarded_stream_goes_to_no_negative_place() -> None:
    with pytest.raises(tarfile.ReadError):
        subject._Guard(io.BytesIO(), 0, 1).seek(-1)


# -- limits, in this process ----------------------------------------------------------


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MAX_MEMBERS", 3)
    assert "U-ARC-008" in told(put(tmp_path, raw_tar(PLAIN) + END))[1]


def test_too_much_to_unpack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "_FREE_EXPANSION_BYTES", 1 << 20)
    files = in_base(bag({"data/zeros": bytes(3 << 20)}))
    for made, suffix in ((gzipped([raw_tar(files), END]), ".tar.gz"), (python_zip(files), ".zip")):
        path = put(tmp_path, made, suffix)
        assert "U-ARC-007" in told(path)[1]
        assert verify(path, max_expansion=5000).verdict.value == "valid"


def test_too_much_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is met in a payload file, or in a tag file that wasn't kept."""
    path = put(tmp_path, gzipped([raw_tar(in_base(bag({"data/z": bytes(1 << 20)}))), END]), ".tgz")
    monkeypatch.setattr(subject, "_MAX_CACHED_FILE_BYTES", 0)
    tree = open_tree(str(path), findings := Findings())
    monkeypatch.setattr(tree._archive._stream, "_limit", 100)  # type: ignore[attr-defined]
    with tree.open("bagit.txt") as stream, pytest.raises(OSError, match="100"):
        stream.read(10)
    readings = list(
        tree.read(tree.walk(findings, payload=True), (ALGORITHMS["md5"],), lambda _count: None)
    )
    assert readings[0].errors[0].kind == "limit"
    assert findings.has("U-ARC-007")
    tree.close()


def test_a_header_limit_met_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = open_tree(str(put(tmp_path, raw_tar(PLAIN) + END)), findings := Findings())

    def refuse(*_given: object) -> None:
        raise subject._LimitError("refused")

    monkeypatch.setattr(tree._archive, "open", refuse)  # type: ignore[attr-defined]
    [reading, *_rest] = tree.read(tree.walk(findings, payload=True), (), lambda _count: None)
    assert reading.errors[0].kind == "limit"
    tree.close()


def test_damage_met_while_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is cut short between the index and the reading."""
    monkeypatch.setattr(subject, "_MAX_CACHED_FILE_BYTES", 0)
    path = put(tmp_path, raw_tar(PLAIN) + END)
    tree = open_tree(str(path), findings := Findings())
    path.write_bytes(b"")
    with tree.open("bagit.txt") as stream, pytest.raises(OSError, match="ends within"):
        stream.read(10)
    for reading in tree.read(tree.walk(findings, payload=True), (), lambda _count: None):
        assert reading.sizes == [0]
        assert bool(reading.errors) == (reading.listing.sizes != [0])
    tree.close()


# -- bombs, in a child with 1.5 GB of memory and limited time -----------------------------


def attacked(tmp_path: Path, data: bytes, suffix: str, seconds: int = 20) -> tuple[str, set[str]]:
    """Verdict and codes; fails where the child is killed or answers nothing."""
    ended = limited("bag", "verify", "--json", str(put(tmp_path, data, suffix)), seconds=seconds)
    return answer(ended)


def answer(ended: Ended) -> tuple[str, set[str]]:
    assert ended.code not in KILLED, "out of time"
    assert ended.code in (0, 1, 3), ended.err
    assert ended.err == ""
    report = json.loads(ended.out)
    return report["verdict"], {finding["code"] for finding in report["findings"]}


def deep(count: int) -> bytes:
    return b"bag/" + b"a/" * count + b"f"


def test_a_gzip_bomb(tmp_path: Path) -> None:
    verdict, found = attacked(tmp_path, gzipped([raw_tar(PLAIN), END]) + zeros(3 << 30), ".tar.gz")
    assert "U-ARC-007" in found
    assert verdict == "undecided"


def test_a_zip_bomb(tmp_path: Path) -> None:
    piece = zeros(64 << 20)[10:-8]
    bombs = [
        Entry(
            name=b"bag/data/%d" % n,
            method=8,
            packed=piece,
            local={"size": 64 << 20},
            central={"size": 64 << 20},
        )
        for n in range(20)
    ]
    made = forged_zip([*entries(PLAIN), *bombs])
    assert "U-ARC-007" in attacked(tmp_path, made, ".zip")[1]


def test_chained_long_names(tmp_path: Path) -> None:
    chain = [member("l", b"a" * 1_000_000, b"L")] * 900
    assert {"E-ARC-001", "U-ARC-008"} & attacked(
        tmp_path, gzipped([*chain, raw_tar(PLAIN)]), ".tar.gz"
    )[1]


def test_a_hundred_thousand_members(tmp_path: Path) -> None:
    many = (header(b"bag/data/%d" % n) for n in range(60_000))
    verdict, found = attacked(tmp_path, gzipped([raw_tar(PLAIN), *many, END]), ".tar.gz")
    assert (verdict, "E-BAG-101" in found) == ("invalid", True)


WIDE = b"a" * 1_000_000 + "😀".encode()


def linked(size: int, links: int, before: int = 0) -> bytes:
    """One payload file of zeros and many hard links to it, all listed."""
    payload = [f"data/{n}" for n in range(links)]
    digest = manifest({"x": bytes(size)}).decode().split()[0]
    lines = "".join(f"{digest}  {name}\n" for name in payload).encode()
    tags = {"manifest-sha256.txt": lines, "bag-info.txt": b"A: b\n"}
    first = header(b"bag/junk", before)
    rest = (header(b"bag/" + name.encode(), 0, b"1", b"bag/data/0") for name in payload[1:])
    return gzipped(
        [
            raw_tar(in_base(bag({}, tags))),
            first,
            bytes(before),
            header(b"bag/data/0", size),
            bytes(size),
            *rest,
            END,
        ]
    )


# Of CPU. The longest takes 2 s on a fast machine, 4 on a slow one; what grows with the
# square of its input takes 16 and more on a fast one.
BOMB_SECONDS = 10

BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "digits in a pax header, quadratic in tarfile (CVE-2024-6232)": (
        ".tar.gz",
        lambda: gzipped([member("p", b"1" * 300_000, b"x"), raw_tar(PLAIN), END]),
    ),
    "a path of 300,000 directories: every parent is kept": (
        ".tar.gz",
        lambda: gzipped([pax({"path": deep(300_000)}), member("q"), raw_tar(PLAIN), END]),
    ),
    "zip paths of 32,000 directories": (
        ".zip",
        lambda: forged_zip(
            [*entries(PLAIN), *(Entry(name=b"bag/%d/" % n + deep(32_000)) for n in range(3))]
        ),
    ),
    "nested pax headers, each 5 MB": (
        ".tar.gz",
        lambda: gzipped([*(pax({f"x{n}": WIDE}) for n in range(900)), raw_tar(PLAIN), END]),
    ),
    "global pax headers, kept for ever": (
        ".tar.gz",
        lambda: gzipped(
            [*(pax({f"x{n}": WIDE}, b"g") + member("q") for n in range(900)), raw_tar(PLAIN), END]
        ),
    ),
    "many global pax keys, gone through for each member": (
        ".tar.gz",
        lambda: gzipped(
            [
                pax({f"k{n}": b"" for n in range(60_000)}, b"g"),
                *(header(b"bag/data/%d" % n) for n in range(20_000)),
                raw_tar(PLAIN),
                END,
            ]
        ),
    ),
    "many tag files: the cache's size is summed for each": (
        ".tar.gz",
        lambda: gzipped(
            [*(member(f"bag/t/{n}", b"x") for n in range(40_000)), raw_tar(PLAIN), END]
        ),
    ),
    "lzma asks for a dictionary of 4 GB": (
        ".zip",
        lambda: lzma_zip(b"\x09\x04\x05\0]\xf0\xff\xff\xff" + bytes(100)),
    ),
    "hard links to a large member": (".tar.gz", lambda: linked(40_000_512, 4000)),
    "hard links that rewind the stream": (
        ".tar.gz",
        lambda: linked(300_032, 1500, before=100_000_000 // 512 * 512),
    ),
}


def lzma_zip(packed_bytes: bytes) -> bytes:
    made = entries(PLAIN)
    made[A_TXT].method, made[A_TXT].packed = 14, packed_bytes
    return forged_zip(made)


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_bombs(tmp_path: Path, name: str) -> None:
    suffix, make = BOMBS[name]
    attacked(tmp_path, make(), suffix, seconds=BOMB_SECONDS)
