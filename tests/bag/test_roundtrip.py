"""Any tree goes in and comes out; any damage is found; others read what we write."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import bagit
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from archiver.bag.names import fold, has_unsafe_shape
from archiver.verify import VerifyOptions, verify_bag
from tests.bag.making import OPTIONS, make, payload, tree_bytes, verdict, with_policy, write_tree

QUICK = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
SPECIAL = ["%", "%0A", "%25", "a\nb", "a\rb", " ", " a", "a ", "~", "~a", "-n", ".a", "...", "\\",
           "*a", "#", "data", "=E9", "\u2028", "\x85", "\x0c", "é", "\U0001f600", "'", '"',
           "a" * 255, "é" * 127,
           "bagit.txt", "\t", "\x01", "$(x)", "\ufeff",
           "manifest-md5.txt"]  # fmt: skip
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40)


def legal(name: str) -> bool:
    return (
        name not in (".", "..") and len(name.encode()) <= 255 and not has_unsafe_shape(f"x/{name}")
    )


NAMES = st.one_of(st.sampled_from(SPECIAL), TEXT.filter(legal))
PATHS = st.lists(NAMES, min_size=1, max_size=5).map("/".join)
TREES = st.dictionaries(PATHS, st.binary(max_size=300), max_size=8)


@contextmanager
def place() -> Iterator[Path]:
    """A directory for one example, on a fast file system where there is one."""
    fast = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=fast) as name:
        try:
            yield Path(name)
        finally:
            subprocess.run(["chmod", "-R", "u+w", name], check=True)


def plant(base: Path, files: dict[str, bytes]) -> Path:
    """The files that can stand beside each other: no file below a file, no twins."""
    base.mkdir()
    taken: set[str] = set()
    for path, content in files.items():
        parts = path.split("/")
        folded = {fold("/".join(parts[:count])) for count in range(1, len(parts) + 1)}
        if not folded & taken:
            write_tree(base, {path: content})
            taken |= folded
    return base


@QUICK
@given(TREES)
@example({"a\nb": b"", "%0A": b"1", "x\r/y%": b"2"})
@example({"/".join(["d" * 200] * 15): b"deep"})
def test_any_tree(files: dict[str, bytes]) -> None:
    with place() as base:
        source = plant(base / "source", files)
        make(source, base / "bag")
        assert payload(base / "bag") == tree_bytes(source)
        assert verdict(base / "bag") == "valid"


# -- others read what we write

BREAKS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


def peer_can_read(path: str) -> bool:
    """bagit splits its manifests at every Unicode line break, strips names, and keeps
    % as it is; coreutils escapes backslashes."""
    return (
        not any(c in path for c in BREAKS + "%\\")
        and path == path.strip()
        and fold(path).isprintable()
    )


@QUICK
@given(TREES)
def test_peers_agree(files: dict[str, bytes]) -> None:
    with place() as base:
        source = plant(base / "source", {p: c for p, c in files.items() if peer_can_read(p)})
        make(source, base / "bag")
        if tree_bytes(source):
            for name in ("sha512", "sha256"):
                for manifest in (f"manifest-{name}.txt", f"tagmanifest-{name}.txt"):
                    command = [f"{name}sum", "--strict", "--quiet", "-c", manifest]
                    subprocess.run(command, cwd=base / "bag", check=True)
        bagit.Bag(str(base / "bag")).validate()


def test_second_opinion(tmp_path: Path) -> None:
    make(write_tree(tmp_path / "source", {"a": b"a"}), tmp_path / "bag")
    report = verify_bag(str(tmp_path / "bag"), VerifyOptions(second_opinion=True))
    assert report.exit_code == 0
    assert {c.name: c.outcome.value for c in report.claims}["second-opinion"] == "holds"


# -- we read what others write


@pytest.mark.parametrize(
    "algorithms", [["md5"], ["sha1", "sha256"], ["sha512"], ["sha3_256"], ["blake2b"]]
)
@pytest.mark.parametrize("version", ["0.97", "1.0"])
def test_bags_that_bagit_makes(tmp_path: Path, algorithms: list[str], version: str) -> None:
    files = {"a.txt": b"a", "sub dir/b%41": b"bb", "é": b"", "x\ny": b"n"}
    bag = write_tree(tmp_path / "bag", files)
    logging.disable()
    try:
        bagit.make_bag(str(bag), {"Contact-Name": "x " * 60}, checksums=algorithms)
    finally:
        logging.disable(logging.NOTSET)
    if version == "1.0":
        declare_1_0(bag)
    found = verify_bag(str(bag), VerifyOptions())
    wanted = {"valid"} if algorithms != ["sha3_256"] else {"valid", "undecided", "invalid"}
    assert found.verdict.value in wanted, list(found.findings)


def declare_1_0(bag: Path) -> None:
    """Say 1.0 in bagit.txt, and drop the tag manifests, which cover it."""
    text = (bag / "bagit.txt").read_text()
    (bag / "bagit.txt").write_text(text.replace("0.97", "1.0"))
    for manifest in bag.glob("tagmanifest-*.txt"):
        manifest.unlink()
    # bagit 0.97 leaves a percent sign as it is; 1.0 wants it encoded.
    for manifest in bag.glob("manifest-*.txt"):
        manifest.write_text(manifest.read_text().replace("b%41", "b%2541"))


# -- any damage is found


@pytest.fixture(scope="module")
def whole() -> Iterator[Path]:
    """A bag to damage copies of."""
    with place() as base:
        files = {"a.txt": b"some text", "sub/b": os.urandom(200), "empty": b"", "x\ny%": b"n"}
        options = with_policy("bag", read_only=False)
        make(write_tree(base / "source", files), base / "bag", options=options)
        yield base / "bag"


def test_it_is_whole(whole: Path) -> None:
    assert verdict(whole) == "valid"


def parts(bag: Path) -> list[str]:
    """Every file that a manifest or tag manifest lists."""
    return sorted(
        os.fsdecode(path) for path in tree_bytes(bag) if not path.startswith(b"tagmanifest-")
    )


@contextmanager
def copied(whole: Path, choice: int) -> Iterator[tuple[Path, Path]]:
    """A copy of the bag, and one of its files."""
    names = parts(whole)
    with place() as base:
        shutil.copytree(whole, base / "bag")
        yield base / "bag", base / "bag" / names[choice % len(names)]


CHOICE = st.integers(0, 10**6)


@QUICK
@given(choice=CHOICE, position=CHOICE, flip=st.integers(1, 255))
def test_a_changed_byte(whole: Path, choice: int, position: int, flip: int) -> None:
    with copied(whole, choice) as (bag, file):
        data = bytearray(file.read_bytes())
        if data:
            data[position % len(data)] ^= flip
        else:
            data = bytearray([flip])
        file.write_bytes(data)
        assert verdict(bag) == "invalid"


@QUICK
@given(choice=CHOICE, cut=CHOICE, more=st.binary(min_size=1, max_size=20))
def test_a_truncated_or_longer_file(whole: Path, choice: int, cut: int, more: bytes) -> None:
    with copied(whole, choice) as (bag, file):
        data = file.read_bytes()
        changed = data[: cut % len(data)] if data and cut % 2 else data + more
        file.write_bytes(changed)
        assert verdict(bag) == "invalid"


@QUICK
@given(choice=CHOICE, name=st.sampled_from(["z", "A.TXT", "a", "b%0A", "manifest-sha384.txt"]))
def test_a_renamed_or_deleted_file(whole: Path, choice: int, name: str) -> None:
    with copied(whole, choice) as (bag, file):
        file.rename(file.with_name(name))
        assert verdict(bag) == "invalid"
        file.with_name(name).unlink()
        assert verdict(bag) == "invalid"


@QUICK
@given(position=CHOICE, flip=st.integers(1, 255), second=st.booleans())
def test_a_changed_tag_manifest(whole: Path, position: int, flip: int, second: bool) -> None:
    """Nothing lists a tag manifest; but a changed digest or path in it agrees with nothing."""
    with copied(whole, 0) as (bag, _file):
        file = bag / f"tagmanifest-sha{256 if second else 512}.txt"
        data = bytearray(file.read_bytes())
        at = position % len(data)
        data[at] ^= flip
        file.write_bytes(data)
        found = verify_bag(str(bag), VerifyOptions())
        same = harmless(whole / file.name, bytes(data))
        assert found.verdict.value == "invalid" or same, list(found.findings)


def harmless(original: Path, changed: bytes) -> bool:
    """Whether a change says the same: the case of hex digits, white space, line breaks."""

    def entries(data: bytes) -> list[tuple[bytes, ...]] | None:
        text = data.replace(b"\r", b"\n")
        pairs = [tuple(line.split(None, 1)) for line in text.split(b"\n") if line]
        return [(p[0].lower(), p[1].lstrip(b"*")) for p in pairs if len(p) == 2]

    return entries(original.read_bytes()) == entries(changed)


@QUICK
@given(name=NAMES.filter(lambda name: name != "a.txt"), content=st.binary(max_size=5))
def test_an_added_payload_file(whole: Path, name: str, content: bytes) -> None:
    with copied(whole, 0) as (bag, _file):
        target = bag / "data" / name
        if not os.path.lexists(target):
            target.write_bytes(content)
            assert verdict(bag) == "invalid"


def test_every_algorithm_round_trips(tmp_path: Path) -> None:
    options = replace(OPTIONS, algorithms=("sha224", "sha384", "sha3512", "blake2s"))
    make(write_tree(tmp_path / "source", {"a": b"a"}), tmp_path / "bag", options=options)
    assert verdict(tmp_path / "bag") == "valid"
