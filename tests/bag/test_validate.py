"""The check of a whole bag: what the checklist's bags leave open."""

import io
import os
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from archiver.bag import tree as tree_module
from archiver.bag.tree import DirectoryTree, Listing, Reading
from archiver.bag.validate import BagFacts, check_bag
from archiver.digest.engine import FileError
from archiver.digest.worker import open_beneath
from archiver.findings import MAX_FINDINGS_PER_CODE, Findings
from tests.helpers import FILES, Bag, check, codes, digest, plain_line, problems, verify

UNREADABLE = {"U-BAG-201", "U-BAG-049"}


class Broken(io.RawIOBase):
    """Some bytes, then an error of the disk."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, _size: int = -1) -> bytes:
        if not self._data:
            raise OSError(5, "Input/output error")
        given, self._data = self._data, b""
        return given


class FaultyTree(DirectoryTree):
    """A directory on a failing disk: ``faults`` by path give what opening gives."""

    def __init__(self, base: Path, **faults: bytes | None) -> None:
        super().__init__(str(base))
        self.faults = {name.replace("_", "-") + ".txt": data for name, data in faults.items()}

    def open(self, path: str) -> BinaryIO:
        if path not in self.faults:
            return super().open(path)
        data = self.faults[path]
        if data is None:
            raise OSError(13, "Permission denied")
        return Broken(data)  # type: ignore[return-value]


def examine(tree: DirectoryTree, *, fast: bool = False) -> Findings:
    findings = Findings()
    check_bag(tree, findings, fast=fast)
    tree.close()
    assert all(finding.message for finding in findings)
    return findings


def test_facts_are_what_was_found(tmp_path: Path) -> None:
    bag = Bag(algorithms=("sha256", "sha512"), tag_algorithms=("md5",), info="Contact-Name: A\n")
    facts, findings = check(bag.write(tmp_path / "bag"))
    assert isinstance(facts, BagFacts)
    assert facts.declaration is not None
    assert facts.info.first("contact-name") == "A"
    assert (facts.payload_files, facts.payload_bytes) == (2, 9)
    assert (facts.payload_algorithms, facts.tag_algorithms) == (("sha256", "sha512"), ("md5",))
    assert not len(findings)


def test_facts_of_what_is_no_bag(tmp_path: Path) -> None:
    facts, findings = check(tmp_path)
    assert (facts.declaration, facts.payload_files, facts.payload_algorithms) == (None, 0, ())
    assert codes(findings) == {"E-BAG-001", "E-BAG-007", "E-BAG-008"}


def test_all_is_told_not_the_first(tmp_path: Path) -> None:
    bag = Bag(info="Payload-Oxum: 1.1\nbad\n", algorithms=("sha256", "sha512"))
    base = bag.write(tmp_path / "bag")
    (base / "data/a.txt").write_bytes(b"ALPHA\n")
    (base / "data/dir/b.bin").unlink()
    (base / "data/new").write_bytes(b"")
    (base / "bag-info.txt").write_bytes(b"Payload-Oxum: 1.2\nbad\n")
    findings = check(base)[1]
    assert findings.counts == {
        "E-BAG-040": 1,
        "E-BAG-100": 1,
        "E-BAG-101": 1,
        "E-BAG-104": 1,
        "E-BAG-200": 4,
    }


def test_a_modified_file_names_both_digests(tmp_path: Path) -> None:
    base = Bag().write(tmp_path / "bag")
    (base / "data/a.txt").write_bytes(b"ALPHA\n")
    (finding,) = check(base)[1]
    details = dict(finding.details)
    assert finding.path == "data/a.txt"
    assert details["expected"] == digest("sha512", b"alpha\n")
    assert details["found"] == digest("sha512", b"ALPHA\n")


def test_fast_reads_no_payload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = Bag().write(tmp_path / "bag")
    (base / "data/a.txt").write_bytes(b"ALPHA\n")
    monkeypatch.setattr(DirectoryTree, "read", None)
    assert not len(check(base, fast=True)[1])
    (base / "data/a.txt").unlink()
    assert codes(check(base, fast=True)[1]) == {"E-BAG-100"}


def test_fast_matches_respelt_names_without_reading(tmp_path: Path) -> None:
    bag = Bag({"data/e\u0301": b"x"}).edit(
        "manifest-sha512.txt", lambda data: data.replace("e\u0301".encode(), "\xe9".encode())
    )
    assert codes(check(bag.write(tmp_path / "bag"), fast=True)[1]) == {"W-BAG-035"}


def test_many_files_of_many_directories(tmp_path: Path) -> None:
    files = {f"data/{i % 7}/{i % 3}/{i}": str(i).encode() for i in range(900)}
    base = Bag(files, algorithms=("md5", "sha512")).write(tmp_path / "bag")
    assert not problems(check(base)[1])
    (base / "data/5/1/775").write_bytes(b"changed")
    assert [one.path for one in check(base)[1]] == ["data/5/1/775"] * 2


@pytest.mark.parametrize("path", ["bagit", "bag_info", "manifest_sha512", "fetch"])
@pytest.mark.parametrize("data", [None, b""])
def test_a_tag_file_that_can_not_be_read_is_a_doubt(
    path: str, data: bytes | None, tmp_path: Path
) -> None:
    base = Bag(info="A: b\n", tag_files={"fetch.txt": b""}).write(tmp_path / "bag")
    findings = examine(FaultyTree(base, **{path: data}))
    assert codes(findings) & UNREADABLE


@pytest.mark.parametrize("path", ["bag_info", "manifest_sha256", "fetch"])
def test_a_tag_file_that_can_not_be_read_is_a_doubt_even_in_fast(path: str, tmp_path: Path) -> None:
    bag = Bag(
        info="Archiver-Seal: x\n", algorithms=("sha256", "sha512"), tag_files={"fetch.txt": b""}
    )
    findings = examine(FaultyTree(bag.write(tmp_path / "bag"), **{path: None}), fast=True)
    outcomes = {findings.outcome(step).value for step in ("structure", "complete")}
    assert "undecided" in outcomes


def test_a_manifest_that_breaks_off_is_a_doubt(tmp_path: Path) -> None:
    base = Bag(algorithms=("sha256", "sha512")).write(tmp_path / "bag")
    broken = plain_line("0" * 128, "data/new")
    findings = examine(FaultyTree(base, manifest_sha512=broken))
    assert codes(findings) & UNREADABLE


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("changed", "U-BAG-202"),
        ("damaged", "E-ARC-001"),
        ("limit", "U-ARC-008"),
        ("io", "U-BAG-201"),
        ("worker", "U-BAG-201"),
    ],
)
def test_what_reading_a_file_can_meet(
    kind: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Bag().write(tmp_path / "bag")
    real = DirectoryTree.read

    def fail(*arguments: object) -> Iterator[Reading]:
        for one in real(*arguments):  # type: ignore[arg-type]
            if one.listing.path == "data":
                errors = {0: FileError(kind, 5, "why")}
                yield Reading(listing=one.listing, sizes=[0], digests=bytes(64), errors=errors)
            else:
                yield one

    monkeypatch.setattr(DirectoryTree, "read", fail)
    findings = check(base)[1]
    assert [(one.code, one.path) for one in findings] == [(code, "data/a.txt")]


@pytest.mark.parametrize("fault", ["deep", "unreadable"])
def test_what_can_not_be_looked_at_is_not_told_to_be_missing(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Bag({**FILES, "data/dir/deeper/x": b""}).write(tmp_path / "bag")
    real = open_beneath

    def deny(root: int, path: str, flags: int) -> int:
        if path == "data/dir/deeper":
            raise PermissionError(13, "Permission denied")
        return real(root, path, flags)

    if fault == "deep":
        monkeypatch.setattr(tree_module, "MAX_DEPTH", 2)
    else:
        monkeypatch.setattr(tree_module, "open_beneath", deny)
    assert verify(base).verdict.value == "undecided"


def test_a_tag_file_that_can_not_be_looked_at_is_not_told_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.bag.making import make, write_tree

    base = tmp_path / "bag"
    make(write_tree(tmp_path / "source", {"a.txt": b"a"}), base)
    real = open_beneath

    def deny(root: int, path: str, flags: int) -> int:
        if path == "metadata":
            raise PermissionError(13, "Permission denied")
        return real(root, path, flags)

    monkeypatch.setattr(tree_module, "open_beneath", deny)
    report = verify(base)
    assert report.verdict.value == "undecided"
    assert report.findings.has("U-BAG-110")


def test_an_encoding_we_do_not_know_gives_doubts_and_no_errors(tmp_path: Path) -> None:
    bag = Bag(info=b"A: \xe9\n").edit("bagit.txt", lambda data: data.replace(b"UTF-8", b"x-new"))
    assert verify(bag.write(tmp_path / "bag")).verdict.value == "undecided"


def test_a_directory_tree_is_not_walked_out_of_a_stranger_s_manifest(tmp_path: Path) -> None:
    bag = Bag().edit(
        "manifest-sha512.txt", lambda data: data + plain_line("0" * 128, "data/x/" * 900 + "x")
    )
    assert problems(check(bag.write(tmp_path / "bag"))[1]) == {"E-BAG-100"}


@pytest.mark.parametrize("entries", [30_000])
def test_a_manifest_of_missing_files_takes_bounded_memory_and_time(
    entries: int, tmp_path: Path
) -> None:
    base = Bag(tag_algorithms=()).write(tmp_path / "bag")
    with (base / "manifest-sha512.txt").open("ab") as file:
        file.writelines(plain_line("0" * 128, f"data/missing/{n}") for n in range(entries))
    start = time.process_time()
    tracemalloc.start()
    findings = check(base)[1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert findings.counts == {"E-BAG-100": entries}
    assert findings.not_kept() == entries - MAX_FINDINGS_PER_CODE
    assert peak < 60 << 20
    assert time.process_time() - start < 8


def test_a_file_that_reading_passes_over_is_a_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = Bag().write(tmp_path / "bag")
    real = DirectoryTree.read

    def forget(*arguments: object) -> Iterator[Reading]:
        return (one for one in real(*arguments) if one.listing.path != "data")  # type: ignore[arg-type]

    monkeypatch.setattr(DirectoryTree, "read", forget)
    assert verify(base).verdict.value == "undecided"


def test_of_a_tree_seen_in_part_nothing_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DirectoryTree, "cut_short", True)
    facts, findings = check(Bag().write(tmp_path / "bag"))
    assert (facts.declaration, len(findings)) == (None, 0)


def test_a_missing_tag_file_is_told_for_the_manifests_that_list_it(tmp_path: Path) -> None:
    bag = Bag(algorithms=("sha256", "sha512"))
    listed = bag.tag_manifest("sha512") + plain_line("0" * 128, "gone.txt")
    base = bag.set("tagmanifest-sha512.txt", listed).write(tmp_path / "bag")
    missing = [one for one in check(base)[1] if one.code == "E-BAG-103"]
    assert [dict(one.details)["manifest"] for one in missing] == ["tagmanifest-sha512.txt"]


def test_strays_are_told_with_nothing_missing(tmp_path: Path) -> None:
    base = Bag().write(tmp_path / "bag")
    (base / "data/new").mkdir()
    (base / "data/new/one").write_bytes(b"")
    (base / "data/dir/two").write_bytes(b"")
    found = {(one.code, one.path) for one in check(base)[1]}
    assert found == {("E-BAG-101", "data/new/one"), ("E-BAG-101", "data/dir/two")}


def test_two_files_for_one_listed_name(tmp_path: Path) -> None:
    one, two, listed = "\u1e9b\u0323", "\u017f\u0323\u0307", "\u017f\u0307\u0323"
    base = Bag({f"data/{listed}": b"x"}).write(tmp_path / "bag")
    (base / "data" / listed).rename(base / "data" / one)
    (base / "data" / two).write_bytes(b"x")
    findings = check(base)[1]
    assert codes(findings) == {"W-BAG-035", "E-BAG-101"}


def test_progress_hears_of_every_file(tmp_path: Path) -> None:
    class Counter:
        files = size = 0

        def expect(self, size_bytes: int, files: int) -> None: ...

        def within(self, size_bytes: int) -> None: ...

        def clear(self) -> None: ...

        def done(self, size_bytes: int, files: int) -> None:
            self.files += files
            self.size += size_bytes

    base = Bag(tag_algorithms=()).write(tmp_path / "bag")
    counter, tree = Counter(), DirectoryTree(str(base))
    check_bag(tree, Findings(), progress=counter)
    tree.close()
    assert (counter.files, counter.size) == (2, 9)


def mutations() -> Iterator[object]:
    """Every way to change one file of a small bag a little: none may be called valid."""
    changes: dict[str, Callable[[bytes], bytes]] = {
        "append": lambda data: data + b"x",
        "cut": lambda data: data[:-1],
        "first-bit": lambda data: bytes([data[0] ^ 1]) + data[1:],
        "middle-bit": lambda data: (
            data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :]
        ),
        "empty": lambda _data: b"",
    }
    files = [
        "bagit.txt",
        "bag-info.txt",
        "manifest-sha512.txt",
        "tagmanifest-sha512.txt",
        "data/a.txt",
        "data/dir/b.bin",
    ]
    for path in files:
        for name, change in changes.items():
            yield pytest.param(path, change, id=f"{path}-{name}")


@pytest.mark.parametrize(("path", "change"), list(mutations()))
def test_no_single_change_goes_unnoticed(
    path: str, change: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    base = Bag(info="A: b\n").write(tmp_path / "bag")
    data = (base / path).read_bytes()
    (base / path).write_bytes(change(data))
    report = verify(base)
    if path == "tagmanifest-sha512.txt" and change(data) == data[:-1]:
        assert codes(report.findings) == {"W-BAG-048"}  # a line end is no statement
    else:
        assert report.exit_code == 1


def test_listing_is_used_for_paths_only() -> None:
    assert Listing("data", ["x"], [0]).paths() == [os.path.join("data", "x")]
