"""Exports and receipts: what is handed out is what was sealed, and the log knows of it."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from archiver.bag.pack import list_entries, pack_directory, pack_tar, pack_zip
from archiver.bag.progress import Silent
from archiver.custody import Event, Link, chain_lines, line_digest
from archiver.errors import (
    ArchiverError,
    DestinationError,
    FormatError,
    LogError,
    SourceError,
    StorageError,
    UsageError,
)
from archiver.export import Exported, ExportRequest, export, form_of
from archiver.receipt import Archive, Receipt, check_purpose, parse_receipt
from archiver.receipts import receipts_of, text_path
from archiver.signing import sign_manifest
from archiver.vault import Vault
from archiver.vault.check import check_logs
from tests.faults.test_disks import tmpfs
from tests.helpers import Ran, run
from tests.sealing import NOW, Office, make_source, new_ec, rsa_key, tree, write_key
from tests.vault.looking import append, items, links
from tests.vault.test_audit import DAMAGES, flip

ITEM = "a-E-0001"
FORMS = ("directory", "tar", "zip")
IDENTIFIER = "0123456789abcdef" * 2


def bag(vault: Vault | Path, item: str = ITEM) -> Path:
    """A bag in a vault or replica; made writable, so that tests can damage it."""
    found = Path(vault.path if isinstance(vault, Vault) else vault) / "bags" / item[0] / item
    for path in [found, *found.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
    return found


def events(vault: Vault, case: str = "a") -> list[Link]:
    return [one for one in links(vault, case) if one.event.type == "dissemination"]


def hand_out(vault: Vault, destination: Path | str, form: str = "", **changes: object) -> Exported:
    (item,) = (one for one in items(vault) if one.item == ITEM)
    request: dict[str, object] = {"form": form or form_of(str(destination)), "receipt": IDENTIFIER}
    return export(vault, item, str(destination), ExportRequest(**request | changes), lambda: NOW)  # type: ignore[arg-type]


def hidden(place: Path) -> list[str]:
    return [one.name for one in place.iterdir() if one.name.startswith(".")]


def shell(*words: object, cwd: Path | None = None) -> str:
    done = subprocess.run([str(one) for one in words], capture_output=True, cwd=cwd, check=False)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout.decode()


# -- the export


@pytest.mark.parametrize("form", FORMS)
def test_what_is_handed_out_is_what_was_sealed(
    form: str,
    filled: Vault,
    tmp_path: Path,
    office: Office,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Checked with the real tar, unzip and sha512sum, and with ``bag verify``."""
    out = tmp_path / "out"
    out.mkdir()
    made = out / (ITEM if form == "directory" else f"{ITEM}.{form}")
    answer = run(capsys, "export", ITEM, made, "--purpose", "file 12/2026", "--json").json
    (tmp_path / "ca.pem").write_bytes(office.ca.certificate.pem)
    trust = ("--trust", tmp_path / "ca.pem")
    verified = run(capsys, "bag", "verify", made, *trust)
    assert verified.code == 0, verified.out
    if form != "directory":
        assert "W-ARC-006" not in verified.out
        found = shell("sha256sum", made).split()[0]
        assert (answer["archive_sha256"], answer["archive_bytes"]) == (found, made.stat().st_size)
        shell(*{"tar": ("tar", "xf"), "zip": ("unzip", "-q")}[form], made, cwd=out)
    unpacked, original = out / ITEM, Path(filled.bag_path("a", ITEM))
    assert tree(unpacked, signatures=True) == tree(original, signatures=True)
    shell("sha512sum", "-c", "--strict", "manifest-sha512.txt", cwd=unpacked)
    shell("sha512sum", "-c", "--strict", "tagmanifest-sha512.txt", cwd=unpacked)
    for path in [original, *original.rglob("*")]:
        copy = (unpacked / path.relative_to(original)).stat()
        assert stat.S_IMODE(copy.st_mode) == stat.S_IMODE(path.stat().st_mode), path
        scale = 10**9 if form == "zip" else 1  # its times have whole seconds
        assert copy.st_mtime_ns // scale == path.stat().st_mtime_ns // scale, path
    receipt = parse_receipt(Path(str(answer["receipt_path"])).read_bytes())
    assert (receipt.item, receipt.form, receipt.purpose) == (ITEM, form, "file 12/2026")
    assert receipt.vault == filled.identifier
    digest = shell("sha512sum", unpacked / "tagmanifest-sha512.txt").split()[0]
    assert receipt.tag_manifest_sha512 == answer["tag_manifest_sha512"] == digest
    assert hidden(out) == []


def test_what_the_log_says(filled: Vault, tmp_path: Path) -> None:
    made = hand_out(filled, tmp_path / "out.tar", purpose="for the court of first instance")
    (link,) = events(filled)
    text = made.receipt.text()
    assert link.event.detail == {
        "act": "export",
        "form": "tar",
        "item": ITEM,
        "receipt": IDENTIFIER,
        "receipt_sha256": hashlib.sha256(text).hexdigest(),
        "signers": [],
    }
    log = Path(filled.log_path("a")).read_text()
    assert "court" not in log
    assert "out.tar" not in log
    kept = Path(text_path(filled, "a", IDENTIFIER))
    assert kept.read_bytes() == Path(made.receipt_path).read_bytes() == text
    assert check_logs(filled).problems == ()


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_the_same_bag_gives_the_same_archive(form: str, filled: Vault, tmp_path: Path) -> None:
    made = [
        hand_out(filled, tmp_path / f"{name}.{form}", receipt=name * 32).receipt.archive
        for name in ("1", "2")
    ]
    assert made[0] == made[1]


def test_a_tar_names_nobody(filled: Vault, tmp_path: Path) -> None:
    hand_out(filled, tmp_path / "out.tar")
    with tarfile.open(tmp_path / "out.tar") as archive:
        members = archive.getmembers()
    assert {(one.uid, one.gid, one.uname, one.gname) for one in members} == {(0, 0, "", "")}
    names = [one.name for one in members]
    assert names == sorted(names, key=lambda name: name.split("/"))
    assert {one.partition("/")[0] for one in names} == {ITEM}


def test_a_zip_is_not_packed(filled: Vault, tmp_path: Path) -> None:
    hand_out(filled, tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert {one.compress_type for one in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.testzip() is None


@pytest.mark.parametrize(
    ("name", "given", "form"),
    [
        ("x", "", "directory"),
        ("x.TAR", "", "tar"),
        ("x.zip", "", "zip"),
        ("x.tar", "directory", "directory"),
        ("x", "zip", "zip"),
    ],
)
def test_which_form(
    name: str, given: str, form: str, filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run(capsys, "export", ITEM, name, *(("--as", given) if given else ()))
    assert done.code == 0, done.err
    assert Path(name).is_dir() == (form == "directory")
    assert ("its name ends in" in done.err) == (name == "x" and form == "zip")
    (link,) = events(filled)
    assert link.event.detail["form"] == form


@pytest.mark.parametrize("damage", [*sorted(DAMAGES), "gone", "link"])
def test_only_from_a_good_copy(
    damage: str, filled: Vault, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = bag(filled)
    before = tree(place, signatures=True)
    assert run(capsys, "replica", "add", "second", tmp_path / "second").code == 0
    assert run(capsys, "replica", "sync").code == 0
    if damage == "gone":
        shutil.rmtree(place)
    elif damage == "link":
        place.rename(tmp_path / "away")
        place.symlink_to(tmp_path / "away")
    else:
        DAMAGES[damage](place)
    done = run(capsys, "export", ITEM, "out", "--json")
    assert (done.code, done.json["from"]) == (0, "second"), done.err
    assert "is not good" in done.err
    assert tree(tmp_path / "out", signatures=True) == before
    flip(bag(tmp_path / "second"))
    none = run(capsys, "export", ITEM, "other.tar")
    assert (none.code, "no copy of a-E-0001 is intact" in none.err) == (1, True)
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(("other", "."))] == []
    assert len(events(filled)) == 1


def test_a_replica_that_is_not_there(
    filled: Vault, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "replica", "add", "second", tmp_path / "second")
    run(capsys, "replica", "sync")
    (tmp_path / "second").rename(tmp_path / "unmounted")
    flip(bag(filled))
    done = run(capsys, "export", ITEM, "out.tar")
    assert (done.code, "second: " in done.err) == (1, True)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["link", "fifo", "dangling"])
def test_nothing_but_files_and_directories(
    kind: str, form: str, filled: Vault, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = bag(filled) / "signatures" / "odd"
    if kind == "fifo":
        os.mkfifo(odd)
    else:
        odd.symlink_to("../bagit.txt" if kind == "link" else "/nowhere")
    done = run(capsys, "export", ITEM, f"out.{form}", "--as", form)
    assert done.code == 1, done.err
    assert [one for one in tmp_path.iterdir() if one.name.startswith(("out", "."))] == []
    with pytest.raises(SourceError, match="not a regular file"):
        list(list_entries(str(bag(filled))))


def inside(name: str) -> Callable[[Path], Path]:
    return lambda base: base / name


DESTINATIONS: dict[str, Callable[[Path], Path]] = {
    "exists": inside("one"),
    "in the vault": inside("vault/out"),
    "among the bags": inside("vault/bags/a/a-E-0009"),
    "in a bag": inside("vault/bags/a/a-E-0001/data/out"),
    "the vault": inside("vault"),
    "in a replica": inside("second/out.tar"),
    "by a link": inside("link/out"),
    "dangling": inside("dangling"),
    "no directory": inside("nowhere/out"),
    "too long": inside("x" * 230),
    "under a file": inside("one/x.bin/out"),
}


@pytest.mark.parametrize("where", sorted(DESTINATIONS))
def test_where_nothing_is_put(
    where: str, filled: Vault, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "replica", "add", "second", tmp_path / "second")
    (tmp_path / "link").symlink_to("vault/bags")
    (tmp_path / "dangling").symlink_to("vault/bags/new")
    before = tree(tmp_path, signatures=True)
    done = run(capsys, "export", ITEM, DESTINATIONS[where](tmp_path))
    assert done.code == 5, done.err
    assert "hint: " in done.err
    after = tree(tmp_path, signatures=True)
    changing = ("vault/catalog.sqlite", "vault/.lock")
    for name in {*before, *after}:
        assert name.startswith(changing) or before.get(name) == after.get(name), name


def test_a_bind_mount_of_the_vault_is_the_vault(filled: Vault, tmp_path: Path) -> None:
    (tmp_path / "bound").mkdir()
    command = ["mount", "--bind", filled.path, str(tmp_path / "bound")]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting needs root")
    try:
        with pytest.raises(DestinationError, match="lies in the vault"):
            hand_out(filled, tmp_path / "bound/bags/out")
    finally:
        shell("umount", "-l", tmp_path / "bound")


@pytest.mark.parametrize("form", FORMS)
def test_a_disk_that_is_full(
    form: str,
    filled: Vault,
    tmp_path: Path,
    office: Office,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "ca.pem").write_bytes(office.ca.certificate.pem)
    trust, made = ("--trust", tmp_path / "ca.pem"), []
    for size in (4, 16, 40, 120, 400):
        with tmpfs(tmp_path / f"d{size}", f"size={size}k") as disk:
            done = run(capsys, "export", ITEM, disk / f"out.{form}", "--as", form)
            made.append(done.code == 0)
            if done.code:
                assert (done.code, "no space" in done.err) == (5, True), done.err
                assert list(disk.iterdir()) == []
            else:
                verified = run(capsys, "bag", "verify", disk / f"out.{form}", *trust)
                assert verified.code == 0, verified.out
    assert not made[0]
    assert made[-1]
    assert made == sorted(made)
    assert check_logs(filled).problems == ()


def test_an_export_that_could_not_appear_is_withdrawn(
    filled: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody makes the destination in the very last moment."""
    from archiver.export.destination import Beside

    write = Beside.write

    def and_then(self: Beside, *arguments: object) -> None:
        write(self, *arguments)  # type: ignore[arg-type]
        (tmp_path / "out.tar").write_bytes(b"mine")

    monkeypatch.setattr(Beside, "write", and_then)
    with pytest.raises(DestinationError):
        hand_out(filled, tmp_path / "out.tar")
    assert (tmp_path / "out.tar").read_bytes() == b"mine"
    assert [one.name for one in tmp_path.iterdir() if "receipt" in one.name] == []
    assert [one.event.outcome for one in events(filled)] == ["success", "failure"]
    (sent,) = receipts_of(filled, "a").values()
    assert (sent.withdrawn, sent.is_open) == (True, False)


def test_a_receipt_left_by_a_kill_gives_way_and_nothing_else_does(
    filled: Vault, tmp_path: Path, office: Office
) -> None:
    out, text = tmp_path / "out.tar", tmp_path / "out.tar.receipt.txt"
    first = hand_out(filled, out, signers=(office.ben,))
    assert first.signatures == (f"{text}.{office.ben.certificate.fingerprint[:16]}.p7s",)
    out.unlink()  # as if it had never appeared
    second = hand_out(filled, out, receipt="f" * 32)
    assert second.receipt.identifier == "f" * 32
    assert not Path(first.signatures[0]).exists()
    out.unlink()
    (tmp_path / "out.tar.receipt.txt.p7s").write_bytes(b"the receiver's, not imported yet")
    with pytest.raises(DestinationError, match="exists already"):
        hand_out(filled, out, receipt="e" * 32)
    (tmp_path / "out.tar.receipt.txt.p7s").unlink()
    text.write_bytes(text.read_bytes().replace(b"form tar", b"form zip"))
    with pytest.raises(DestinationError, match="exists already"):
        hand_out(filled, out, receipt="e" * 32)
    text.unlink()
    text.symlink_to("/etc/passwd")
    with pytest.raises(DestinationError, match="exists already"):
        hand_out(filled, out, receipt="e" * 32)
    assert len(events(filled)) == 2


@pytest.mark.parametrize("form", FORMS)
def test_what_was_written_is_read_back(
    form: str, filled: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A memory or disk that fails: one byte of a payload file turns over on its way."""
    from archiver.bag import pack

    read = pack._Source.read

    def turned(self: pack._Source, size: int = 1 << 20) -> bytes:
        data = read(self, size)
        return data.replace(b"xxxx", b"xxxy", 1)

    monkeypatch.setattr(pack._Source, "read", turned)
    with pytest.raises(StorageError, match="can't be read back"):
        hand_out(filled, tmp_path / "out", form)
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(("out", "."))] == []
    assert events(filled) == []


def test_a_sync_that_fails_behind_the_rename(
    filled: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there, the log knows of it, and the error says so."""
    from archiver.filesystem import sync_directory

    def fails(path: str) -> None:
        if path == str(tmp_path):
            raise OSError(errno.EIO, "Input/output error")
        sync_directory(path)

    monkeypatch.setattr("archiver.export.sync_directory", fails)
    with pytest.raises(StorageError, match="was handed out"):
        hand_out(filled, tmp_path / "out.tar")
    assert (tmp_path / "out.tar").exists()
    assert [one.event.outcome for one in events(filled)] == ["success"]


def test_nothing_is_handed_out_whose_log_is_broken(filled: Vault, tmp_path: Path) -> None:
    (item,) = (one for one in items(filled) if one.item == ITEM)
    log = Path(filled.log_path("a"))
    log.write_bytes(log.read_bytes().replace(b"ingestion end", b"ingestion enD"))
    request = ExportRequest(form="tar", receipt=IDENTIFIER)
    with pytest.raises(LogError):
        export(filled, item, str(tmp_path / "out.tar"), request, lambda: NOW)
    assert [one.name for one in tmp_path.iterdir() if one.name.startswith(("out", "."))] == []
    assert not (Path(filled.path) / "receipts").exists()


def test_an_item_that_was_never_sealed(filled: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    detail = {"item": "a-E-0003", "key": "k", "number": 3}
    append(filled, "a", Event(type="ingestion start", at=NOW, detail=detail))
    done = run(capsys, "export", "a-E-0003", "out.tar")
    assert (done.code, "never sealed" in done.err) == (2, True)
    for name in ("a-E-0009", "../../etc"):
        assert run(capsys, "export", name, "out.tar").code == 2


@pytest.mark.parametrize("digest", [None, 7, "x", ["x"]])
def test_a_log_that_lacks_the_digest(
    digest: object, filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bag without a tag manifest must not be taken for one that the log knows."""
    append(
        filled,
        "a",
        Event(
            type="ingestion start",
            at=NOW,
            detail={"item": "a-E-0003", "key": "k", "number": 3},
        ),
        Event(
            type="ingestion end",
            at=NOW,
            detail={
                "item": "a-E-0003",
                "number": 3,
                "payload_bytes": 1,
                "payload_files": 1,
                "tag_manifest_sha512": digest,
            },
        ),
    )
    done = run(capsys, "export", "a-E-0003", "out.tar")
    assert (done.code, "which bag was sealed" in done.err) == (1, True)


@pytest.mark.parametrize(
    "purpose",
    ["two\nlines", "cr\rhere", "\x1b[31mred", "\u202eturned", "x" * 501, "a\0b", "a\u2028b"],
)
def test_purposes_that_are_refused(
    purpose: str, filled: Vault, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run(capsys, "export", ITEM, "out.tar", "--purpose", purpose)
    assert (done.code, "one line" in done.err) == (2, True)
    with pytest.raises(UsageError):
        hand_out(filled, tmp_path / "out.tar", purpose=purpose)
    assert events(filled) == []
    assert check_purpose("  für das Gericht ") == "für das Gericht"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("out", "--as", "rar"), 2),
        (("out.tar.gz",), 2),
        (("out", "--key", "nobody"), 2),
    ],
)
def test_wrong_words(
    words: tuple[str, ...], code: int, filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "export", ITEM, *words).code == code
    assert events(filled) == []


# -- packing


def odd_bag(base: Path) -> Path:
    """Names and times that archives find hard; no real bag, since most can't stand in one."""
    files = {
        "plain": b"x",
        f"{'long/' * 30}name": b"deep",
        "ñandú \u0301.txt": b"accents",
        "-rf": b"",
        "old": b"1970",
        "fraction": b"ns",
    }
    place = make_source(base / "odd", files)
    (place / "empty").mkdir()
    os.utime(place / "old", (0, 0))
    os.utime(place / "fraction", ns=(1_700_000_001_123_456_700, 1_700_000_001_123_456_700))
    (place / "plain").chmod(0o640)
    return place


@pytest.mark.parametrize("form", FORMS)
def test_odd_names_and_times(form: str, tmp_path: Path) -> None:
    place, out = odd_bag(tmp_path), tmp_path / "out"
    out.mkdir()
    if form == "directory":
        (out / "base").mkdir()
        pack_directory(str(place), str(out / "base"), Silent())
    elif form == "tar":
        pack_tar(str(place), str(tmp_path / "x.tar"), "base", Silent())
        shell("tar", "xf", tmp_path / "x.tar", cwd=out)
    else:
        pack_zip(str(place), str(tmp_path / "x.zip"), "base", Silent())
        shell("unzip", "-q", tmp_path / "x.zip", cwd=out)
    assert tree(out / "base") == tree(place)
    assert (out / "base/empty").is_dir()
    assert stat.S_IMODE((out / "base/plain").stat().st_mode) == 0o640
    found = (out / "base/fraction").stat().st_mtime_ns
    assert found == 1_700_000_001_123_456_700 // (10**9 if form == "zip" else 1) * (
        10**9 if form == "zip" else 1
    )
    assert (out / "base/old").stat().st_mtime == 0


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    place = make_source(tmp_path / "odd", {"x": b"x"})
    (place / os.fsdecode(b"\xff")).write_bytes(b"y")
    pack_tar(str(place), str(tmp_path / "x.tar"), "base", Silent())
    with tarfile.open(tmp_path / "x.tar", errors="surrogateescape") as archive:
        assert os.fsdecode(b"base/\xff") in archive.getnames()
    with pytest.raises(SourceError, match="not UTF-8"):
        pack_zip(str(place), str(tmp_path / "x.zip"), "base", Silent())


@pytest.mark.parametrize("change", ["grown", "cut", "swapped", "gone", "link"])
def test_a_file_that_changes_meanwhile(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make_source(tmp_path / "odd", {"x": b"12345"})
    file, other, lstat = place / "x", tmp_path / "y", os.lstat
    other.write_bytes(b"54321")

    def happens() -> None:
        if change in ("grown", "cut"):
            file.write_bytes(b"123456" if change == "grown" else b"1234")
            return
        file.unlink()
        if change == "swapped":
            other.rename(file)
        elif change == "link":
            file.symlink_to(other)

    def and_then(path: str) -> os.stat_result:
        status = lstat(path)
        if path == str(file):
            happens()
        return status

    monkeypatch.setattr("archiver.bag.pack.os.lstat", and_then)
    with pytest.raises(SourceError):
        pack_tar(str(place), str(tmp_path / "x.tar"), "base", Silent())


MEMORY = """
import resource, sys
from archiver.bag.pack import pack_tar, pack_zip
from archiver.bag.progress import Silent
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
{"tar": pack_tar, "zip": pack_zip}[sys.argv[1]](sys.argv[2], sys.argv[3], "base", Silent())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("form", ["tar", "zip"])
def test_memory_stays_flat(form: str, tmp_path: Path) -> None:
    place = make_source(tmp_path / "large", {"small": b"x"})
    with open(place / "hole", "wb") as file:
        file.truncate(200 << 20)
    grown = shell(sys.executable, "-c", MEMORY, form, place, tmp_path / "out")
    assert int(grown) < 20 << 10  # KiB


# -- the receipt's text


def receipt(**changes: object) -> Receipt:
    values: dict[str, object] = {
        "vault": "urn:x",
        "identifier": IDENTIFIER,
        "item": ITEM,
        "form": "tar",
        "at": NOW,
        "tag_manifest_sha512": "ab" * 64,
        "archive": Archive("cd" * 32, 12),
        "purpose": "for the court",
    }
    return Receipt(**values | changes)  # type: ignore[arg-type]


def test_one_form_only() -> None:
    for one in (receipt(), receipt(form="directory", archive=None), receipt(purpose="")):
        assert parse_receipt(one.text()) == one
    data = receipt().text()
    others = [
        b"",
        data[:-1],
        data + b"\n",
        data + b"x y\n",
        b"\xef\xbb\xbf" + data,
        data.replace(b"\n", b"\r\n"),
        data.replace(b"size 12", b"size 012"),
        data.replace(b"size 12", b"size " + b"9" * 5000),
        data.replace(b"form tar", b"form  tar"),
        data.replace(b"form tar\n", b"form tar\nform tar\n"),
        data.replace(b"form tar\n", b""),
        data.replace(b"form tar", b"form directory"),
        data.replace(b"archive-size 12\n", b""),
        data.replace(b"item a-E", b"item ../a-E"),
        data.replace(b"en I have", b"en I have not"),
        data.replace(b"receipt 1\n", b"receipt 2\n"),
        data.replace(b"for the", b"for\x1bthe"),
        data.replace(b"court", b"\xff"),
        data.replace(b"urn:x", b"urn:x "),
        b"x" * (17 << 10),
    ]
    for other in others:
        with pytest.raises(FormatError):
            parse_receipt(other)


@pytest.mark.parametrize(
    "changes",
    [
        {"vault": "a\nb"},
        {"vault": ""},
        {"identifier": "../x"},
        {"item": "../a-E-0001"},
        {"form": "rar"},
        {"archive": None},
        {"archive": Archive("x", 1)},
        {"tag_manifest_sha512": "x"},
        {"purpose": "a\nreceipt b"},
    ],
)
def test_a_receipt_that_exists_is_well_formed(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a receipt"):
        receipt(**changes)


def test_a_vault_whose_identifier_breaks_lines(filled: Vault, tmp_path: Path) -> None:
    from dataclasses import replace

    with pytest.raises(ArchiverError, match="identifier"):
        hand_out(replace(filled, identifier="urn:x\nitem b-E-0001"), tmp_path / "out.tar")
    assert events(filled) == []


# -- what comes back


@pytest.fixture
def sent(filled: Vault, tmp_path: Path) -> Path:
    """The receipt of an export."""
    return Path(hand_out(filled, tmp_path / "out.tar").receipt_path)


def state(capsys: pytest.CaptureFixture[str]) -> str:
    listed = run(capsys, "receipt", "list", "--json")
    assert listed.code == 0, listed.err
    return str(listed.json["state"])


def file(capsys: pytest.CaptureFixture[str], text: Path, *words: object) -> Ran:
    return run(capsys, "receipt", "import", text, *words)


def signed(text: Path, signer: object, data: bytes | None = None) -> Path:
    path = text.with_name(f"{getattr(signer, 'certificate').fingerprint[:8]}.p7s")  # noqa: B009
    path.write_bytes(sign_manifest(data or text.read_bytes(), signer, NOW))  # type: ignore[arg-type]
    return path


def test_signed_by_the_receiver(
    sent: Path, filled: Vault, office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert state(capsys) == "open"
    key, _certificate = write_key(office.ben, tmp_path / "keys", "ben")
    made = run(capsys, "receipt", "sign", sent, "--key", key)
    assert (made.code, f"item {ITEM}" in made.out) == (0, True)
    (signature,) = tmp_path.glob("*.p7s")
    assert run(capsys, "receipt", "sign", sent, "--key", key).code == 5
    (tmp_path / "ca.pem").write_bytes(office.ca.certificate.pem)
    done = file(capsys, sent, "--signature", signature, "--trust", tmp_path / "ca.pem")
    assert (done.code, "signed by Ben" in done.out) == (0, True), done.err
    event = events(filled)[-1].event
    fingerprint = office.ben.certificate.fingerprint
    digest = hashlib.sha256(signature.read_bytes()).hexdigest()
    assert event.detail == {
        "act": "return",
        "item": ITEM,
        "paper": False,
        "receipt": IDENTIFIER,
        "signatures": [{"certificate": fingerprint, "sha256": digest}],
        "signed": True,
    }
    assert "Ben" not in Path(filled.log_path("a")).read_text()
    kept = Path(filled.path) / f"receipts/a/{IDENTIFIER}.{fingerprint[:16]}.p7s"
    assert kept.read_bytes() == signature.read_bytes()
    again = file(capsys, sent, "--signature", signature)
    assert (again.code, "filed already" in again.err) == (5, True)
    assert state(capsys) == "signed"
    assert run(capsys, "receipt", "list", "--open").out == ""
    other = file(capsys, sent, "--signature", signed(sent, office.mallory), "--json")
    assert (other.code, len(other.json["signers"])) == (0, 1)  # type: ignore[arg-type]
    assert len(receipts_of(filled, "a")[IDENTIFIER].signatures) == 2


@pytest.mark.parametrize("kind", ["p256", "rsa"])
def test_signed_with_openssl(
    kind: str, sent: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The very command that the export prints."""
    from tests.sealing import SIGNER, issue

    write_key(issue(SIGNER, new_ec() if kind == "p256" else rsa_key()), tmp_path, "ben")
    printed = run(capsys, "export", ITEM, "second.tar").out
    command = printed[printed.index("openssl") : printed.index("What comes back")]
    command = command.replace("CERT.pem", "ben.pem").replace("KEY.pem", "ben.key")
    shell("sh", "-c", command, cwd=tmp_path)
    text = tmp_path / "second.tar.receipt.txt"
    assert file(capsys, text, "--signature", f"{text}.p7s").code == 0
    wrong = file(capsys, sent, "--signature", f"{text}.p7s")
    assert (wrong.code, "doesn't hold" in wrong.err) == (1, True)


def test_on_paper(sent: Path, filled: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = file(capsys, sent)
    assert (nothing.code, "nothing says" in nothing.err) == (2, True)
    assert file(capsys, sent, "--paper").code == 0
    assert state(capsys) == "paper"
    assert (events(filled)[-1].event.detail["paper"], len(events(filled))) == (True, 2)
    assert file(capsys, sent, "--paper").code == 5
    assert "signed on paper" in run(capsys, "receipt", "list").out


def refused(filled: Vault, done: Ran, code: int, word: str) -> None:
    assert (done.code, word in done.err) == (code, True), (done.code, done.err)
    assert len(events(filled)) == 1
    assert list(Path(filled.path).glob("receipts/*/*.p7s")) == []


@pytest.mark.parametrize("how", ["edited", "crlf", "bom", "other vault", "other receipt"])
def test_texts_that_are_not_what_was_handed_out(
    how: str, sent: Path, filled: Vault, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each with a signature that holds over it."""
    data = sent.read_bytes()
    changed, code, word = {
        "edited": (data.replace(b"archive-size ", b"archive-size 1"), 1, "was changed"),
        "crlf": (data.replace(b"\n", b"\r\n"), 1, "not a receipt"),
        "bom": (b"\xef\xbb\xbf" + data, 1, "not a receipt"),
        "other vault": (data.replace(b"vault urn:", b"vault urn:x:"), 2, "handed out nothing"),
        "other receipt": (data.replace(IDENTIFIER.encode(), b"e" * 32), 2, "handed out nothing"),
    }[how]
    assert changed != data
    sent.write_bytes(changed)
    done = file(capsys, sent, "--signature", signed(sent, office.ben), "--paper")
    refused(filled, done, code, word)


def test_a_receipt_of_a_case_that_is_not_there(
    sent: Path, filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    sent.write_bytes(sent.read_bytes().replace(b"item a-E", b"item zz-E"))
    refused(filled, file(capsys, sent, "--paper"), 2, "handed out nothing")


@pytest.mark.parametrize("how", ["other text", "garbage", "pem", "empty", "embedded"])
def test_signatures_that_do_not_hold(
    how: str,
    sent: Path,
    filled: Vault,
    office: Office,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = signed(sent, office.ben, b"other" if how == "other text" else None)
    if how == "embedded":
        write_key(office.ben, tmp_path, "ben")
        words = "-sign -binary -nodetach -cades -signer ben.pem -inkey ben.key -outform DER"
        shell("openssl", "cms", *words.split(), "-in", sent, "-out", path, cwd=tmp_path)
    elif how == "pem":
        text = shell("openssl", "pkcs7", "-inform", "DER", "-in", path, "-outform", "PEM")
        path.write_text(text)
    elif how != "other text":
        path.write_bytes(b"garbage" if how == "garbage" else b"")
    good = signed(sent, office.ana)
    done = file(capsys, sent, "--signature", good, "--signature", path)
    refused(filled, done, 1, "doesn't hold")


def test_signers_who_are_not_trusted(
    sent: Path, filled: Vault, office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ca.pem").write_bytes(office.ca.certificate.pem)
    trust = ("--trust", tmp_path / "ca.pem")
    both = [("--signature", signed(sent, one)) for one in (office.ben, office.mallory)]
    done = file(capsys, sent, *both[0], *both[1], *trust)
    refused(filled, done, 4, "nobody whom you trust")
    ca = signed(sent, office.ca)
    refused(filled, file(capsys, sent, "--signature", ca, *trust), 4, "nobody whom you trust")
    refused(filled, file(capsys, sent, "--paper", *trust), 2, "--trust goes with")


def test_a_signature_that_is_given_twice(
    sent: Path, filled: Vault, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    path = signed(sent, office.ben)
    twice = ("--signature", path, "--signature", path)
    refused(filled, file(capsys, sent, *twice), 2, "given twice")
    other = path.with_name("again.p7s")  # ECDSA: another signature by the same signer
    other.write_bytes(sign_manifest(sent.read_bytes(), office.ben, NOW))
    assert other.read_bytes() != path.read_bytes()
    twice = ("--signature", path, "--signature", other)
    refused(filled, file(capsys, sent, *twice), 2, "given twice")
    assert file(capsys, sent, "--signature", path).code == 0
    assert file(capsys, sent, "--signature", other).code == 5


def test_who_hands_out_does_not_receive(
    filled: Vault, office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = run(capsys, "export", ITEM, "out.tar", "--key", "keys/ana.key", "--json").json
    (signature,) = made["receipt_signatures"]  # type: ignore[misc]
    text = Path(str(made["receipt_path"]))
    done = file(capsys, text, "--signature", signature)  # type: ignore[has-type]
    assert (done.code, "who handed it out" in done.err) == (4, True)
    assert state(capsys) == "open"
    (tmp_path / "ca.pem").write_bytes(office.ca.certificate.pem)
    words = "cms -verify -binary -inform DER -purpose any -CAfile ca.pem -out /dev/null"
    shell("openssl", *words.split(), "-in", signature, "-content", text, cwd=tmp_path)  # type: ignore[has-type]


def test_a_try_that_was_killed_is_gone_on_with(
    sent: Path, filled: Vault, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    fingerprint = office.ben.certificate.fingerprint[:16]
    left = Path(filled.path) / f"receipts/a/{IDENTIFIER}.{fingerprint}.p7s"
    left.write_bytes(b"left before the event was there")
    path = signed(sent, office.ben)
    assert file(capsys, sent, "--signature", path).code == 0
    assert left.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("how", ["gone", "changed", "signature gone", "signature changed"])
def test_kept_files_that_are_not_what_they_were(
    how: str, sent: Path, filled: Vault, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    assert file(capsys, sent, "--signature", signed(sent, office.ben)).code == 0
    pattern = "*.p7s" if "signature" in how else "*.txt"
    (kept,) = Path(filled.path).glob(f"receipts/a/{pattern}")
    kept.unlink()
    if "changed" in how:
        kept.write_bytes(b"changed")
    listed = run(capsys, "receipt", "list")
    word = "MODIFIED" if "changed" in how else "MISSING"
    assert (listed.code, word in listed.err) == (1, True)
    done = file(capsys, sent, "--paper")
    if how == "changed":
        assert (done.code, "not what was handed out" in done.err) == (5, True)
    else:
        assert done.code == 0
        assert Path(text_path(filled, "a", IDENTIFIER)).exists()


GOOD = {
    "act": "export",
    "form": "tar",
    "item": ITEM,
    "receipt": "e" * 32,
    "receipt_sha256": "a" * 64,
    "signers": [],
}
RETURN = {
    "act": "return",
    "item": ITEM,
    "receipt": IDENTIFIER,
    "paper": False,
    "signed": True,
    "signatures": [{"certificate": "a" * 64, "sha256": "b" * 64}],
}


@pytest.mark.parametrize(
    "detail",
    [
        {**GOOD, "receipt": "../../../../tmp/x"},
        {**GOOD, "receipt": 7},
        {**GOOD, "receipt": IDENTIFIER},
        {**GOOD, "item": "../a-E-0001"},
        {**GOOD, "item": "b-E-0001"},
        {**GOOD, "form": "\x1b[31m"},
        {**GOOD, "receipt_sha256": "x"},
        {**GOOD, "signers": ["../x"]},
        {**GOOD, "signers": None},
        {**GOOD, "act": "other"},
        {"receipt": IDENTIFIER},
        {**RETURN, "receipt": "d" * 32},
        {**RETURN, "item": "a-E-0002"},
        {**RETURN, "signatures": [{"certificate": "../../x", "sha256": "b" * 64}]},
        {**RETURN, "signatures": [7]},
    ],
    ids=str,
)
def test_a_log_that_tells_what_cannot_be(
    detail: dict[str, object], sent: Path, filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hostile vault: what its log names must not become a path."""
    last = links(filled, "a")[-1]
    event = Event(type="dissemination", at=NOW, detail=detail)
    (line,) = chain_lines([event], seq=last.seq, prev=line_digest(last.line()))
    with open(filled.log_path("a"), "ab") as log:
        log.write(line)
    listed = run(capsys, "receipt", "list")
    assert (listed.code, "what can't be" in listed.err) == (1, True)
    done = file(capsys, sent, "--paper")
    assert (done.code, "what can't be" in done.err) == (1, True)


def test_disseminations_of_another_kind_are_left_alone(
    sent: Path, filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    append(filled, "a", Event(type="dissemination", at=NOW, detail={"report": "x"}))
    assert state(capsys) == "open"


def test_files_that_are_not_there(sent: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert file(capsys, Path("nowhere")).code == 2
    assert file(capsys, sent, "--signature", "nowhere").code == 2
    assert file(capsys, Path("vault"), "--paper").code == 3
    assert run(capsys, "receipt", "sign", "nowhere", "--key", "keys/ana.key").code == 2
    assert run(capsys, "receipt", "sign", "one/x.bin", "--key", "keys/ana.key").code == 1
