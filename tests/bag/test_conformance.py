"""The Library of Congress conformance suite, and that verifying leaves no trace."""

import os
import shutil
from pathlib import Path

import pytest

from tests.helpers import codes, snapshot, verify

SHARED = Path(os.environ.get("ARCHIVER_SHARED", Path(__file__).parents[2].parent / "shared"))
SUITE = SHARED / "conformance" / "bagit"
BAGS = sorted(bag for bag in SUITE.glob("v*/*/*") if bag.is_dir())
JUDGED = [bag for bag in BAGS if bag.parent.name in {"valid", "invalid", "linux-only"}]
OLD_NS = 1_000_000_000 * 10**9

pytestmark = pytest.mark.skipif(
    not BAGS, reason=f"no conformance suite at {SUITE} (see ARCHIVER_SHARED)"
)

REFUSED = {
    "baginfo-missing-encoding": "E-BAG-002",
    "bom-in-bagit.txt": "E-BAG-003",
    "corrupt-data-file": "E-BAG-200",
    "corrupt-tag-file": "E-BAG-200",
    "extra-file-in-bag": "E-BAG-101",
    "invalid-version-number": "E-BAG-002",
    "missing-baginfo": "E-BAG-103",
    "missing-bagit.txt": "E-BAG-001",
    "bagit-with-invalid-whitespace": "E-BAG-002",
    "notAllManifestsListAllFiles": "E-BAG-101",
    "same-filename-listed-twice-with-different-hashes": "E-BAG-025",
    "same-filename-listed-twice-with-the-same-hash": "E-BAG-023",
}
WARNED = {
    "made-with-md5sum-tools": "W-BAG-031",
    "relative-path": "W-BAG-032",
    "same-filename-listed-twice-with-the-same-hash": "W-BAG-024",
}
MISSING_HERE = {
    # One of two twins is there; where names are compared exactly the other is missing.
    "duplicate-file-with-different-case": "W-BAG-033",
    "same-filename-listed-twice-with-different-normalization": "W-BAG-033",
    # Copies of the suite lose its data/.DS_Store.
    "special-system-files": "E-BAG-100",
}
# Both lead out through a variable that only a Windows shell would fill in.
NOT_PAYLOAD = {
    "out-of-scope-file-paths-using-shortcut": "E-BAG-021",
    "out-of-scope-file-paths-using-shortcut-for-fetch": "E-BAG-047",
}


def name_of(bag: Path) -> str:
    return "-".join(bag.parts[-3:])


def test_the_suite_is_whole() -> None:
    assert len(JUDGED) == 48


@pytest.mark.parametrize("bag", [bag for bag in BAGS if bag.parent.name == "valid"], ids=name_of)
def test_valid_bags_are_valid(bag: Path) -> None:
    report = verify(bag)
    assert (report.verdict.value, report.exit_code) == ("valid", 0), list(report.findings)


@pytest.mark.parametrize("name", WARNED)
def test_warning_bags_are_valid_and_warned_of(name: str) -> None:
    report = verify(SUITE / "v0.97" / "warning" / name)
    assert report.verdict.value == "valid", list(report.findings)
    assert WARNED[name] in codes(report.findings)


@pytest.mark.parametrize("name", MISSING_HERE)
def test_warning_bags_with_a_file_that_is_not_there_say_so(name: str) -> None:
    bag = SUITE / "v0.97" / "warning" / name
    if name == "special-system-files" and (bag / "data" / ".DS_Store").exists():
        pytest.skip("this copy of the suite is whole")
    report = verify(bag)
    assert report.exit_code == 1
    assert {"E-BAG-100", MISSING_HERE[name]} <= codes(report.findings)


@pytest.mark.parametrize("bag", [bag for bag in BAGS if bag.parent.name == "invalid"], ids=name_of)
def test_invalid_bags_are_refused_for_their_fault(bag: Path) -> None:
    report = verify(bag)
    assert (report.verdict.value, report.exit_code) == ("invalid", 1)
    assert REFUSED.get(bag.name, "E-BAG-022") in codes(report.findings)


@pytest.mark.parametrize(
    "bag", [bag for bag in BAGS if bag.parent.name.endswith("-only")], ids=name_of
)
def test_paths_that_lead_out_on_any_system_are_refused(bag: Path) -> None:
    report = verify(bag)
    assert report.exit_code == 1
    linux = bag.parent.name == "linux-only"
    code = "E-BAG-022" if linux else NOT_PAYLOAD.get(bag.name, "E-BAG-022")
    assert code in codes(report.findings)


@pytest.mark.parametrize("bag", BAGS, ids=name_of)
def test_verifying_leaves_no_trace(bag: Path, tmp_path: Path) -> None:
    copy = tmp_path / "bag"
    shutil.copytree(bag, copy, symlinks=True)
    before = snapshot(copy)
    paths = [copy, *copy.rglob("*")]
    modified = {path: path.lstat().st_mtime_ns for path in paths}
    for path in paths:  # an old access time, so that relatime would bring it up to date
        os.utime(path, ns=(OLD_NS, modified[path]))
    changed = {path: path.lstat().st_ctime_ns for path in paths}
    verify(copy)
    for path in paths:
        stat = path.lstat()
        assert stat.st_ctime_ns == changed[path], path
        assert stat.st_atime_ns == OLD_NS, path
    assert {key: value[:4] + value[5:] for key, value in snapshot(copy).items()} == {
        key: value[:4] + value[5:] for key, value in before.items()
    }
