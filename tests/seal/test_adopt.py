"""Bags of other tools taken over: as they are, made strong, sealed; the original untouched."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import bagit
import pytest

from archiver.bag.duplicate import list_bag
from archiver.bag.progress import Progress
from archiver.bag.proofs import SIGNED_FILE
from archiver.errors import (
    ArchiverError,
    DestinationError,
    FormatError,
    SourceError,
    StorageError,
    UnreadableError,
    UsageError,
)
from archiver.pki.keyring import SigningKey
from archiver.policy import load_policy
from archiver.seal import Sealing, check_written
from archiver.seal.adopt import AdoptedBag, AdoptOptions, adopt_bag
from archiver.seal.lacking import PAYLOAD_MANIFEST, SET_ASIDE
from archiver.seal.proofs import ProofPlace
from archiver.seal.stamping import StampOptions, waiting_requests
from archiver.verify import Verdict
from tests.bag.making import At, leftovers, staging_path
from tests.bag.test_conformance import BAGS, name_of
from tests.helpers import Bag, snapshot
from tests.sealing import (
    FILES,
    NOW,
    Office,
    check,
    found,
    make_source,
    regenerate,
    signature_of,
    stamps_of,
    tree,
)

URL = "http://127.0.0.1:9/"
OLD_NS = 1_000_000_000 * 10**9 + 123
BOTH = (PAYLOAD_MANIFEST, SIGNED_FILE)
VALID = [bag for bag in BAGS if bag.parent.name == "valid"]


def options(*signers: SigningKey, read_only: bool = True, **sealing: Any) -> AdoptOptions:
    policy = load_policy("default")
    return AdoptOptions(
        policy=replace(policy, bag=replace(policy.bag, read_only=read_only)),
        now=NOW,
        sealing=Sealing(signers=signers, stamps=StampOptions(urls=(URL,)), **sealing),
        workers=0,
    )


class Adopter:
    """Adopts into a directory of its own; whatever happens, the original stays as it was."""

    def __init__(self, place: Path, office: Office) -> None:
        self.office, self.goal = office, place / "vault" / "item"
        self.goal.parent.mkdir()
        self.said: list[str] = []

    def __call__(
        self, bag: Path, *signers: SigningKey, progress: Progress | None = None, **more: Any
    ) -> AdoptedBag:
        asked = options(*(signers or (self.office.ana,)), **more)
        before = snapshot(bag) if bag.is_dir() else {}
        try:
            made = adopt_bag(
                str(bag), str(self.goal), asked, progress=progress, say=self.said.append
            )
        finally:
            if progress is None and before:
                assert snapshot(bag) == before
            assert leftovers(self.goal.parent) == []
        return made

    def refused(self, bag: Path, kind: type[ArchiverError], match: str = ".", **more: Any) -> str:
        """The hint of a refusal that leaves nothing behind."""
        with pytest.raises(kind, match=match) as caught:
            self(bag, **more)
        assert type(caught.value) is kind
        assert not os.path.lexists(self.goal)
        return caught.value.next_step


@pytest.fixture
def adopter(tmp_path: Path, office: Office) -> Adopter:
    return Adopter(tmp_path, office)


def library_bag(place: Path, *algorithms: str) -> Path:
    """A bag made by the Library of Congress's program, with an empty directory."""
    make_source(place)
    (place / "empty").mkdir()
    bagit.make_bag(str(place), checksums=list(algorithms), bag_info={"Contact-Name": "X"})
    return place


def check_kept(bag: Path, goal: Path, made: AdoptedBag) -> None:
    """Everything of the original is there, byte for byte."""
    moved = {Path(place).name: place for place in made.set_aside}
    for path in sorted(bag.rglob("*")):
        name = str(path.relative_to(bag))
        copy = goal / moved.get(name, name)
        assert not copy.is_symlink()
        assert copy.is_dir() == path.is_dir()
        if path.is_file():
            assert copy.read_bytes() == path.read_bytes(), name
            assert copy.stat().st_mtime_ns == path.stat().st_mtime_ns, name


@pytest.mark.parametrize(
    ("algorithms", "added", "aside"),
    [
        (("md5",), BOTH, ("md5",)),
        (("sha1",), BOTH, ("sha1",)),
        (("md5", "sha1"), BOTH, ("md5", "sha1")),
        (("sha256",), BOTH[1:], ()),
        (("sha512",), (), ()),
        (("md5", "sha512"), (), ()),
    ],
)
def test_a_bag_of_the_reference_library(
    algorithms: tuple[str, ...],
    added: tuple[str, ...],
    aside: tuple[str, ...],
    adopter: Adopter,
    tmp_path: Path,
) -> None:
    bag = library_bag(tmp_path / "bag", *algorithms)
    made = adopter(bag)
    assert (made.path, made.added, made.was_sealed) == (str(adopter.goal), added, False)
    assert made.set_aside == tuple(f"{SET_ASIDE}/tagmanifest-{one}.txt" for one in aside)
    assert (made.payload_files, made.payload_bytes) == (2, sum(map(len, FILES.values())))
    assert made.signatures == (f"signatures/{signature_of(adopter.goal, adopter.office.ana).name}",)
    check_kept(bag, adopter.goal, made)
    assert (adopter.goal / "data/empty").is_dir()
    new = {*made.added, *made.set_aside}
    assert set(tree(adopter.goal)) - set(tree(bag)) == new
    report = check(adopter.goal, adopter.office.anchors())
    assert (report.verdict, report.facts.weakly_listed) == (Verdict.VALID, 0)
    assert report.facts.signed_digest == made.tag_manifest_sha512
    assert set(algorithms) <= set(report.facts.payload_algorithms)
    bagit.Bag(str(adopter.goal)).validate()
    assert len(list(waiting_requests(ProofPlace(str(adopter.goal))))) == 1


def test_openssl_and_sha512sum_agree(adopter: Adopter, tmp_path: Path) -> None:
    adopter(library_bag(tmp_path / "bag", "md5"))
    ca = tmp_path / "ca.pem"
    ca.write_bytes(adopter.office.ca.certificate.pem)
    signature = signature_of(adopter.goal, adopter.office.ana)
    openssl = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", str(signature)]
    content = ["-content", str(adopter.goal / SIGNED_FILE), "-CAfile", str(ca)]
    subprocess.run(
        [*openssl, *content, "-purpose", "any", "-out", "/dev/null"],
        check=True,
        capture_output=True,
    )
    for program, manifest in (
        ("sha512sum", PAYLOAD_MANIFEST),
        ("sha512sum", SIGNED_FILE),
        ("md5sum", "manifest-md5.txt"),
        ("md5sum", f"{SET_ASIDE}/tagmanifest-md5.txt"),  # it still says the truth
    ):
        command = [program, "--check", "--strict", "--quiet", manifest]
        subprocess.run(command, cwd=adopter.goal, check=True, capture_output=True)


def test_what_was_added_is_sealed(adopter: Adopter, tmp_path: Path) -> None:
    """An unlisted tag file too: a change of any of them is found out."""
    bag = library_bag(tmp_path / "bag", "md5")
    (bag / "notes").mkdir()
    (bag / "notes/unlisted.txt").write_bytes(b"kept")
    adopter(bag, read_only=False)
    for name in tree(adopter.goal):
        path = adopter.goal / name
        path.chmod(0o644)
        before = path.read_bytes()
        path.write_bytes(before + b" ")
        assert check(adopter.goal, adopter.office.anchors()).exit_code == 1, name
        path.write_bytes(before)
    assert "notes/unlisted.txt" in tree(adopter.goal)
    assert check(adopter.goal, adopter.office.anchors()).exit_code == 0


def test_the_original_is_only_read(adopter: Adopter, tmp_path: Path) -> None:
    """Not even an access time is changed, and a read-only bag can be taken over."""
    bag = library_bag(tmp_path / "bag", "sha1")
    paths = [bag, *bag.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o440)
        os.utime(path, ns=(OLD_NS, OLD_NS))
    made = adopt_bag(str(bag), str(adopter.goal), options(adopter.office.ana))
    for path in paths:
        assert path.stat().st_atime_ns == OLD_NS, path
        copy = adopter.goal / path.relative_to(bag)
        if copy.exists() and path.name != "bag":
            assert copy.stat().st_mtime_ns == OLD_NS
            assert stat.S_IMODE(copy.stat().st_mode) == stat.S_IMODE(path.stat().st_mode)
    check_kept(bag, adopter.goal, made)
    for path in paths:
        path.chmod(0o755)


@pytest.mark.parametrize("read_only", [True, False])
def test_permissions(read_only: bool, adopter: Adopter, tmp_path: Path) -> None:
    bag = library_bag(tmp_path / "bag", "md5")
    (bag / "data/video.mp4").chmod(0o640)
    adopter(bag, read_only=read_only)
    for path in [adopter.goal, *adopter.goal.rglob("*")]:
        writable = bool(stat.S_IMODE(path.lstat().st_mode) & 0o222)
        name = str(path.relative_to(adopter.goal))
        if path.is_dir():
            assert writable is (not read_only or "signatures" in name), name
        elif "signatures" in name or name in BOTH:
            assert not writable
        else:
            assert writable is not read_only, name
    kept = stat.S_IMODE((adopter.goal / "data/video.mp4").stat().st_mode)
    assert kept == (0o440 if read_only else 0o640)


# -- bags that are sealed already


def test_anothers_seal_stays(sealed: Path, adopter: Adopter, office: Office, tsa_root: Any) -> None:
    before = tree(sealed, signatures=True)
    made = adopter(sealed, office.ben)
    assert (made.was_sealed, made.added, made.set_aside) == (True, (), ())
    after = tree(adopter.goal, signatures=True)
    assert {path: after[path] for path in before} == before
    assert len(stamps_of(adopter.goal)) == 1
    report = check(adopter.goal, office.anchors(tsa_roots=(tsa_root,)))
    assert report.seal is not None
    assert {one.signer: one.trusted for one in report.seal.signatures} == {"Ana": True, "Ben": True}


def test_who_has_signed_already_signs_no_more(sealed: Path, adopter: Adopter) -> None:
    before = tree(sealed, signatures=True)
    made = adopter(sealed)
    assert made.was_sealed
    assert len(made.signatures) == 1
    after = tree(adopter.goal, signatures=True)
    assert {path: after[path] for path in before} == before
    assert len(ProofPlace(str(adopter.goal)).files().signatures) == 1


def test_a_signer_whom_the_bags_own_anchor_does_not_know(
    sealed: Path, adopter: Adopter, office: Office
) -> None:
    """Ana's declared seal can't be trusted by Mallory's anchor: unproven, and adopted."""
    adopter(sealed, office.mallory)
    assert check(adopter.goal, office.anchors()).exit_code == 0


def test_an_adopted_bag_can_be_adopted(adopter: Adopter, tmp_path: Path, office: Office) -> None:
    adopter(library_bag(tmp_path / "bag", "md5"))
    first = adopter.goal
    adopter.goal = first.parent / "again"
    made = adopter(first, office.ben)
    assert (made.added, made.set_aside, made.was_sealed) == ((), (), True)
    assert check(adopter.goal, office.anchors()).exit_code == 0


def test_a_bag_that_was_altered_after_it_was_sealed(sealed: Path, adopter: Adopter) -> None:
    (sealed / "data/video.mp4").write_bytes(b"another film")
    (sealed / "bag-info.txt").write_text(
        "".join(
            line
            for line in (sealed / "bag-info.txt").read_text().splitlines(keepends=True)
            if not line.startswith("Payload-Oxum")
        )
    )
    regenerate(sealed)
    adopter.refused(sealed, FormatError, "so it was not adopted")
    adopter.refused(sealed, FormatError, "so it was not adopted", read_only=False)


def test_a_false_signature_under_our_name(adopter: Adopter, tmp_path: Path, office: Office) -> None:
    bag = library_bag(tmp_path / "bag", "sha512")
    place = signature_of(bag, office.ana)
    place.parent.mkdir()
    place.write_bytes(b"no signature")
    adopter.refused(bag, FormatError)


def test_without_a_seal(adopter: Adopter, tmp_path: Path) -> None:
    bag = library_bag(tmp_path / "bag", "md5")
    made = adopt_bag(str(bag), str(adopter.goal), replace(options(), sealing=None))
    assert (made.signatures, made.added) == ((), BOTH)
    assert not (adopter.goal / "signatures").exists()
    assert check(adopter.goal).exit_code == 0


def test_a_request_that_any_tsa_may_answer(adopter: Adopter, tmp_path: Path) -> None:
    bag = library_bag(tmp_path / "bag", "md5")
    sealing = Sealing(signers=(adopter.office.ana,), stamps=StampOptions(), require_stamp=True)
    adopt_bag(str(bag), str(adopter.goal), replace(options(), sealing=sealing))
    assert len(list(waiting_requests(ProofPlace(str(adopter.goal))))) == 1


# -- all kinds of bags


@pytest.mark.skipif(not VALID, reason="no conformance suite (see ARCHIVER_SHARED)")
@pytest.mark.parametrize("original", VALID, ids=name_of)
def test_the_conformance_suite(original: Path, adopter: Adopter, tmp_path: Path) -> None:
    bag = tmp_path / "bag"
    shutil.copytree(original, bag)
    declared = (bag / "bagit.txt").read_text("latin-1").upper()
    if "UTF-8" not in declared and not (bag / SIGNED_FILE).exists():
        assert "--bag-in-bag" in adopter.refused(bag, FormatError, "UTF-8")
        return
    made = adopter(bag)
    check_kept(bag, adopter.goal, made)
    assert check(adopter.goal, adopter.office.anchors()).exit_code == 0


@pytest.mark.parametrize("version", ["0.93", "0.95", "0.97", "1.0"])
@pytest.mark.parametrize("algorithms", [("md5",), ("sha256",), ("md5", "sha256")])
@pytest.mark.parametrize("tags", [True, False])
def test_versions(
    version: str, algorithms: tuple[str, ...], tags: bool, adopter: Adopter, tmp_path: Path
) -> None:
    bag = Bag(
        algorithms=algorithms,
        tag_algorithms=algorithms if tags else (),
        version=version,
        info="Source-Organization: X\n",
    ).write(tmp_path / "bag")
    made = adopter(bag)
    weak = algorithms == ("md5",)
    assert made.added == (BOTH if weak or not tags else BOTH[1:])
    assert bool(made.set_aside) is (weak and tags)
    check_kept(bag, adopter.goal, made)
    assert check(adopter.goal, adopter.office.anchors()).exit_code == 0


def test_names_that_are_encoded(adopter: Adopter, tmp_path: Path) -> None:
    names = ["100%.txt", "%0A", "line\nbreak", "return\r", "a b", "ü", "e\u202fnarrow", " lead"]
    payload = {f"data/{name}": name.encode() for name in names}
    bag = Bag(payload, algorithms=("md5",), tag_files={"50%.txt": b"t"}).write(tmp_path / "bag")
    made = adopter(bag)
    check_kept(bag, adopter.goal, made)
    report = check(adopter.goal, adopter.office.anchors())
    assert (report.exit_code, report.facts.payload_files) == (0, len(names))
    lines = (adopter.goal / PAYLOAD_MANIFEST).read_bytes()
    assert b"  data/line%0Abreak\n" in lines
    assert b"  data/100%25.txt\n" in lines


def test_line_breaks_in_a_name_before_1_0(adopter: Adopter, tmp_path: Path) -> None:
    """The reference library encodes them in 0.97 too, where the draft says nothing of it."""
    place = tmp_path / "bag"
    place.mkdir()
    (place / "line\nbreak").write_bytes(b"x")
    bagit.make_bag(str(place), checksums=["md5"])
    adopter(place)
    assert check(adopter.goal, adopter.office.anchors()).exit_code == 0
    bagit.Bag(str(adopter.goal)).validate()


@pytest.mark.parametrize("version", ["0.97", "1.0"])
def test_names_in_another_normalisation(version: str, adopter: Adopter, tmp_path: Path) -> None:
    composed = "data/caf\u00e9.txt"
    bag = Bag({composed: b"x"}, algorithms=("md5",), version=version).write(tmp_path / "bag")
    (bag / composed).rename(bag / unicodedata.normalize("NFD", composed))
    made = adopter(bag)
    check_kept(bag, adopter.goal, made)
    assert check(adopter.goal, adopter.office.anchors()).exit_code == 0


@pytest.mark.parametrize("algorithm", ["md5", "sha256"])
def test_tag_files_in_another_normalisation(
    algorithm: str, adopter: Adopter, tmp_path: Path
) -> None:
    """Whether the old tag manifest stays or is set aside."""
    composed = "caf\u00e9.txt"
    bag = Bag(algorithms=(algorithm,), tag_files={composed: b"x"}).write(tmp_path / "bag")
    (bag / composed).rename(bag / unicodedata.normalize("NFD", composed))
    made = adopter(bag)
    check_kept(bag, adopter.goal, made)
    assert check(adopter.goal, adopter.office.anchors()).exit_code == 0


def test_more_such_names_than_are_told(
    adopter: Adopter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    payload = {f"data/caf\u00e9{n}": b"x" for n in range(3)}
    bag = Bag(payload, algorithms=("md5",)).write(tmp_path / "bag")
    for name in payload:
        (bag / name).rename(bag / unicodedata.normalize("NFD", name))
    monkeypatch.setattr("archiver.findings.MAX_FINDINGS_PER_CODE", 2)
    assert "--bag-in-bag" in adopter.refused(bag, FormatError, "spell 3 names")


def test_twins_are_both_kept(adopter: Adopter, tmp_path: Path) -> None:
    bag = Bag({"data/A": b"1", "data/a": b"2"}, algorithms=("md5",)).write(tmp_path / "bag")
    made = adopter(bag)
    check_kept(bag, adopter.goal, made)
    assert made.payload_files == 2


def test_many_files_on_all_cores(adopter: Adopter, tmp_path: Path) -> None:
    payload = {f"data/{n % 7}/{n}": str(n).encode() * 50 for n in range(1500)}
    bag = Bag(payload, algorithms=("md5",)).write(tmp_path / "bag")
    asked = replace(options(adopter.office.ana), workers=2)
    made = adopt_bag(str(bag), str(adopter.goal), asked)
    assert made.payload_files == 1500
    check_kept(bag, adopter.goal, made)
    assert check(adopter.goal, adopter.office.anchors()).exit_code == 0


# -- refusals


Change = Callable[[Path], object]
LINK = "symbolic link"


def write(path: str, data: bytes = b"other") -> Change:
    def change(bag: Path) -> None:
        (bag / path).parent.mkdir(parents=True, exist_ok=True)
        (bag / path).write_bytes(data)

    return change


def link(path: str, target: str) -> Change:
    def change(bag: Path) -> None:
        (bag / path).parent.mkdir(parents=True, exist_ok=True)
        (bag / path).symlink_to(target)

    return change


def pipe(path: str) -> Change:
    return lambda bag: os.mkfifo(bag / path)


def listing(line: str) -> Change:
    def change(bag: Path) -> None:
        with open(bag / "manifest-md5.txt", "a") as file:
            file.write(line)
        (bag / "tagmanifest-md5.txt").unlink()

    return change


@pytest.mark.parametrize(
    ("change", "kind", "match"),
    [
        (write("data/video.mp4", b"moving pictures" * 99 + b"moved  pictures"), FormatError, "mp4"),
        (write("data/video.mp4"), FormatError, "Payload-Oxum"),
        (write("bag-info.txt"), FormatError, "bag-info.txt"),
        (write("data/more"), FormatError, "data/more"),
        (write("signatures/more.exe"), FormatError, "signatures/"),
        (lambda bag: (bag / "data/video.mp4").unlink(), FormatError, "video.mp4"),
        (lambda bag: (bag / "bagit.txt").unlink(), FormatError, "bagit.txt"),
        (pipe("data/pipe"), FormatError, "data/pipe"),
        (pipe("pipe"), FormatError, "pipe"),
        (link("notes/link", "/etc/hostname"), FormatError, "notes/link"),
        (link("notes/link", "../bag-info.txt"), FormatError, LINK),
        (link("data/link", "video.mp4"), FormatError, "data/link"),
        (link("signatures", "data"), FormatError, "signatures"),
        (link("signatures/x.p7s", "../bag-info.txt"), FormatError, LINK),
        (listing(f"{'0' * 32}  data/../../outside\n"), FormatError, "outside"),
        (listing(f"{'0' * 32}  /etc/hostname\n"), FormatError, "hostname"),
        (listing(f"{'0' * 32}  {'x' * 200_000}\n"), FormatError, "manifest-md5.txt"),
        (write("manifest-blake3.txt", b"00  data/video.mp4\n"), FormatError, "blake3"),
        (write("metadata"), FormatError, "is taken"),
        (write("metadata/adopted"), FormatError, "is taken"),
        (write(f"{SET_ASIDE}/tagmanifest-md5.txt"), FormatError, "is taken"),
        (write("no\x07te"), FormatError, "can't stand in"),
        (write("signatures"), FormatError, "not a directory"),
    ],
)
def test_what_is_refused(
    change: Change, kind: type[ArchiverError], match: str, adopter: Adopter, tmp_path: Path
) -> None:
    bag = library_bag(tmp_path / "bag", "md5")
    change(bag)
    assert adopter.refused(bag, kind, match)


def test_a_bag_with_files_to_fetch(adopter: Adopter, tmp_path: Path) -> None:
    bag = Bag(algorithms=("md5",), version="0.97").set(
        "fetch.txt", b"http://example.org/a 6 data/a.txt\n"
    )
    place = bag.write(tmp_path / "bag")
    (place / "data/a.txt").unlink()
    assert "fetch" in adopter.refused(place, FormatError, "data/a.txt").lower()
    (place / "data/a.txt").write_bytes(b"alpha\n")
    adopter(place)
    assert check(adopter.goal, adopter.office.anchors()).exit_code == 0


@pytest.mark.parametrize(
    ("bag", "kind", "match"),
    [
        (Bag(algorithms=("md5",), encoding="ISO-8859-1"), FormatError, "UTF-8"),
        (Bag(algorithms=("md5",), tag_algorithms=("sha512",)), FormatError, "there already"),
        (
            Bag(algorithms=("md5",)).set("manifest-made9up.txt", b"0000000000000000  data/a.txt\n"),
            UnreadableError,
            "made9up",
        ),
    ],
)
def test_bags_to_which_nothing_can_be_added(
    bag: Bag, kind: type[ArchiverError], match: str, adopter: Adopter, tmp_path: Path
) -> None:
    place = bag.write(tmp_path / "bag")
    if kind is UnreadableError:
        (place / "tagmanifest-md5.txt").unlink()
        for name in ("data/dir/b.bin",):
            with open(place / "manifest-made9up.txt", "a") as file:
                file.write(f"0000000000000000  {name}\n")
    hint = adopter.refused(place, kind, match)
    assert ("--bag-in-bag" in hint) is (kind is FormatError)


def test_a_strong_manifest_that_is_not_whole(adopter: Adopter, tmp_path: Path) -> None:
    bag = Bag(algorithms=("md5", "sha512"), tag_algorithms=("md5",), version="0.97")
    place = bag.edit(PAYLOAD_MANIFEST, lambda data: data.split(b"\n")[0] + b"\n").write(
        tmp_path / "bag"
    )
    assert "--bag-in-bag" in adopter.refused(place, FormatError, "there already")


def test_a_sha512_tag_manifest_that_is_not_whole(adopter: Adopter, tmp_path: Path) -> None:
    bag = library_bag(tmp_path / "bag", "sha512")
    (bag / "more.txt").write_bytes(b"unlisted")
    assert "--bag-in-bag" in adopter.refused(bag, FormatError, "more.txt is not listed")


def test_what_is_no_bag_at_all(adopter: Adopter, tmp_path: Path) -> None:
    (tmp_path / "bag.zip").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    assert "Unpack" in adopter.refused(tmp_path / "bag.zip", UsageError, "archive")
    adopter.refused(tmp_path / "nothing", UsageError)
    adopter.refused(tmp_path / "pipe", UsageError)


def test_a_bag_that_may_not_be_read(adopter: Adopter, tmp_path: Path) -> None:
    bag = library_bag(tmp_path / "bag", "md5")
    (bag / "data/video.mp4").chmod(0)
    if os.access(bag / "data/video.mp4", os.R_OK):
        pytest.skip("root may read everything")
    with pytest.raises(UnreadableError):
        adopt_bag(str(bag), str(adopter.goal), options(adopter.office.ana))
    assert leftovers(adopter.goal.parent) == []


def test_where_it_may_not_go(adopter: Adopter, tmp_path: Path, office: Office) -> None:
    bag = library_bag(tmp_path / "bag", "md5")
    staging_path(adopter.goal).mkdir()  # what a run left that was killed after its rename
    adopter.goal.mkdir()
    with pytest.raises(DestinationError, match="exists already"):
        adopter(bag)
    assert list(adopter.goal.iterdir()) == []
    before = snapshot(bag)
    for place in (bag / "new", bag / "data/new"):
        with pytest.raises(DestinationError, match="lies in the bag"):
            adopt_bag(str(bag), str(place), options(office.ana))
    with pytest.raises(DestinationError):
        adopt_bag(str(bag), str(tmp_path / "no/place"), options(office.ana))
    assert snapshot(bag) == before


def test_what_an_earlier_run_left_is_cleared_away(adopter: Adopter, tmp_path: Path) -> None:
    bag = library_bag(tmp_path / "bag", "md5")
    left = staging_path(adopter.goal)
    make_source(left / "bag" / "data")
    (left / "bag" / "data" / "link").symlink_to(bag)
    adopter(bag)
    assert check(adopter.goal, adopter.office.anchors()).exit_code == 0


def test_a_signing_that_fails_leaves_nothing(
    adopter: Adopter, tmp_path: Path, office: Office
) -> None:
    bag = library_bag(tmp_path / "bag", "md5")
    broken = SigningKey(key=office.ben.key, certificate=office.ana.certificate)
    with pytest.raises(ArchiverError):
        adopter(bag, broken)
    assert list(adopter.goal.parent.iterdir()) == []


# -- somebody who changes the bag meanwhile


def swap_for_link(path: Path, target: str) -> Callable[[], None]:
    def swap() -> None:
        path.rename(path.with_name("away"))
        path.symlink_to(target)

    return swap


@pytest.mark.parametrize("name", ["data/video.mp4", "data/sub", "data", "bag-info.txt"])
def test_a_link_put_in_a_files_place(name: str, adopter: Adopter, tmp_path: Path) -> None:
    bag = library_bag(tmp_path / "bag", "md5")
    secret = tmp_path / "secret"
    make_source(secret)
    target = secret / ("" if (bag / name).is_dir() else "video.mp4")
    progress = At("expect", swap_for_link(bag / name, str(target)))
    with pytest.raises((SourceError, UnreadableError)):
        adopter(bag, progress=progress)
    assert not adopter.goal.exists()


def test_a_pipe_put_in_a_files_place(adopter: Adopter, tmp_path: Path) -> None:
    bag = library_bag(tmp_path / "bag", "md5")

    def swap() -> None:
        (bag / "data/video.mp4").unlink()
        os.mkfifo(bag / "data/video.mp4")

    adopter.refused(bag, SourceError, "video.mp4", progress=At("expect", swap))


def test_a_file_that_changes_while_it_is_copied(adopter: Adopter, tmp_path: Path) -> None:
    bag = library_bag(tmp_path / "bag", "md5")
    path = bag / "data/video.mp4"
    change = At("expect", lambda: path.write_bytes(path.read_bytes().upper()))
    assert adopter.refused(bag, SourceError, "changed while it was read", progress=change)


class Meanwhile:
    """Has something done to the original after it was looked at, before it is listed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:

        def listed(path: str) -> Any:
            action()
            return list_bag(path)

        monkeypatch.setattr("archiver.seal.adopt.list_bag", listed)


def test_a_change_before_the_copy_does_not_slip_through(
    adopter: Adopter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = library_bag(tmp_path / "bag", "md5")
    path = bag / "data/video.mp4"
    Meanwhile(monkeypatch, lambda: path.write_bytes(b"x" * path.stat().st_size))
    adopter.refused(bag, FormatError, "video.mp4", progress=At("", None))


def test_a_change_that_is_undone_does_not_slip_through(
    adopter: Adopter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = library_bag(tmp_path / "bag", "md5")
    path = bag / "data/video.mp4"
    right = path.read_bytes()
    Meanwhile(monkeypatch, lambda: path.write_bytes(b"x" * len(right)))

    def undone(*arguments: Any) -> Any:
        path.write_bytes(right)
        return check_written(*arguments)

    monkeypatch.setattr("archiver.seal.adopt.check_written", undone)
    assert adopter.refused(bag, StorageError, "its copy is not", progress=At("", None))


def test_weak_manifests_put_in_the_place_of_strong_ones(
    adopter: Adopter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = library_bag(tmp_path / "bag", "sha256")
    weak = library_bag(tmp_path / "weak", "md5")

    def swap() -> None:
        bag.rename(tmp_path / "away")
        weak.rename(bag)

    Meanwhile(monkeypatch, swap)
    adopter.refused(bag, FormatError, progress=At("", None))


@pytest.mark.parametrize("step", ["rename", "mkdir", "utime", "chmod"])
def test_an_error_of_the_disk_leaves_nothing(
    step: str, adopter: Adopter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = library_bag(tmp_path / "bag", "md5")
    (bag / "notes").mkdir()
    real = getattr(os, step)

    def broken(path: Any, *arguments: Any, **more: Any) -> Any:
        if more.get("dir_fd") is not None or "metadata" in str(arguments):
            raise OSError(5, "Input/output error")
        return real(path, *arguments, **more)

    monkeypatch.setattr(os, step, broken)
    assert adopter.refused(bag, StorageError, "Input/output error")


def test_a_directory_that_vanishes_while_it_is_listed(
    adopter: Adopter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bag = library_bag(tmp_path / "bag", "md5")
    Meanwhile(monkeypatch, lambda: shutil.rmtree(bag))
    adopter.refused(bag, UnreadableError, progress=At("", None))


def test_nothing_said_is_left_out(adopter: Adopter, tmp_path: Path) -> None:
    adopter(library_bag(tmp_path / "bag", "md5"))
    assert any(f"{SET_ASIDE}/tagmanifest-md5.txt" in text for text in adopter.said)
    assert not found(check(adopter.goal, adopter.office.anchors()))
