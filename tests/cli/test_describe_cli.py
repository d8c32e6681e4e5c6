"""``archiver describe``, and what ``bag create`` and ``ingest`` do with descriptions."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from archiver.describe import KINDS, Description, read_form
from archiver.i18n import use_language
from archiver.seal.described import described_in, description_fact
from archiver.vault import open_vault
from archiver.vault.records import reading
from archiver.verify import Verdict, verify_bag
from tests.describe.making import filled
from tests.helpers import run
from tests.sealing import Office, make_source, write_key

Capture = pytest.CaptureFixture[str]
TITLE = "Demolition of a house"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "source").mkdir()
    (tmp_path / "source/video.mp4").write_bytes(b"moving pictures")
    return tmp_path


def form(path: str, kind: str = "video", **changes: str) -> str:
    """A whole one, of what wasn't made from other items."""
    text = filled(kind, **changes).decode()
    Path(path).write_text(re.sub(r"\[\[derived_from\]\]\n(#.*\n|\w+ = .*\n)+", "", text))
    return path


# -- describe new


@pytest.mark.parametrize("kind", KINDS)
def test_new_prints_a_form(kind: str, capsys: Capture) -> None:
    done = run(capsys, "describe", "new", "--kind", kind)
    assert done.code == 0
    assert read_form(done.out.encode(), "f").kind == kind


def test_new_writes_a_form_in_spanish_too(capsys: Capture, place: Path) -> None:
    try:
        done = run(capsys, "describe", "new", "--kind", "video", "-o", "v.toml", "--lang", "es")
    finally:
        use_language("en")
    assert (done.code, done.out) == (0, "")
    assert read_form((place / "v.toml").read_bytes(), "f").kind == "video"
    assert not stat.S_IMODE(os.stat("v.toml").st_mode) & 0o111


@pytest.mark.parametrize("what", ["file", "link", "directory"])
def test_new_writes_over_nothing(what: str, capsys: Capture, place: Path) -> None:
    target = place / "v.toml"
    if what == "file":
        target.write_text("mine")
    elif what == "link":
        target.symlink_to("elsewhere")
    else:
        target.mkdir()
    done = run(capsys, "describe", "new", "--kind", "video", "-o", "v.toml")
    assert done.code == 5
    assert "is there already" in done.err
    assert not (place / "elsewhere").exists()
    assert what != "file" or target.read_text() == "mine"


def test_new_says_what_is_wrong(capsys: Capture) -> None:
    for given, code, word in (
        ((), 2, "no kind was named"),
        (("--kind", "vidoe"), 2, "Did you mean video?"),
        (("--ask",), 2, "nobody is there"),
        (("--kind", "video", "-o", "no/where"), 5, "cannot write"),
    ):
        done = run(capsys, "describe", "new", *given)
        assert done.code == code
        assert word in done.err


# -- describe check, schema


def test_check_says_what_is_wrong_and_what_is_owed(capsys: Capture, place: Path) -> None:
    form("good.toml")
    done = run(capsys, "describe", "check", "good.toml")
    assert (done.code, done.out) == (0, "good.toml: complete\n")
    (place / "part.toml").write_text("kind = 'video'\ntitle = 'x'\n[[derived_from]]\nitem = 'y'\n")
    done = run(capsys, "describe", "check", "part.toml", "good.toml")
    assert done.code == 4
    assert "part.toml: owed: case (The case that it belongs to)\n" in done.out
    assert "part.toml: owed: derived_from.tool (The program or device" in done.out
    assert "title" not in done.out.replace("good.toml", "")
    (place / "bad.toml").write_text("kind = 'video'\ntitel = 'x'\n\nreencoded = 'maybe'\n")
    done = run(capsys, "describe", "check", "part.toml", "bad.toml", "good.toml")
    assert done.code == 2
    assert "bad.toml:2: unknown key titel. Did you mean title?\n" in done.out
    assert "bad.toml:4: reencoded must be one of: yes, no, unknown.\n" in done.out
    done = run(capsys, "describe", "check", "part.toml", "bad.toml", "--json")
    assert done.code == 2
    part, bad = json.loads(done.out)["files"]
    assert (part["state"], bad["state"]) == ("incomplete", "unreadable")
    assert "derived_from.tool" in part["owed"]
    assert [one["line"] for one in bad["mistakes"]] == [2, 4]


def test_check_against_policy_kind_and_case(capsys: Capture, place: Path) -> None:
    (place / "p.toml").write_text("[describe]\nany = ['title']\nsocial_media_post = ['url']\n")
    (place / "f.toml").write_text("title = 'x'\n")
    check = ("describe", "check", "f.toml", "--policy", "p.toml")
    assert run(capsys, *check).code == 2
    assert run(capsys, *check, "--kind", "video").code == 0
    done = run(capsys, *check, "--kind", "social-media-post")
    assert (done.code, done.out) == (4, "f.toml: owed: url (Its address)\n")
    assert run(capsys, *check, "--kind", "film").code == 2
    form("g.toml")
    assert run(capsys, "describe", "check", "g.toml", "--case", "caso-014").code == 0
    done = run(capsys, "describe", "check", "g.toml", "--case", "other")
    assert done.code == 2
    assert "it belongs to the case caso-014, not to other" in done.out


def test_what_a_form_says_steers_no_terminal(capsys: Capture, place: Path) -> None:
    (place / "f.toml").write_text('kind = "video"\n"\\u001b[2J\\u202e" = 1\n"a\\nb" = 1\n')
    for command in (("describe", "check", "f.toml"), ("bag", "create", "source", "-o", "bag",
                    "--describe", "f.toml")):  # fmt: skip
        done = run(capsys, *command)
        assert done.code == 2
        told = done.out + done.err
        assert told.replace("\n", "").isprintable()
        assert "\\x1b[2J" in told


@pytest.mark.parametrize("what", ["missing", "directory", "fifo", "large"])
def test_forms_that_are_none(what: str, capsys: Capture, place: Path) -> None:
    target = place / "f.toml"
    if what == "directory":
        target.mkdir()
    elif what == "fifo":
        os.mkfifo(target)
    elif what == "large":
        with target.open("wb") as file:
            file.truncate(1 << 40)
    for command in (("describe", "check", "f.toml"), ("bag", "create", "source", "-o", "bag",
                    "--describe", "f.toml")):  # fmt: skip
        assert run(capsys, *command).code == 2
    assert not (place / "bag").exists()


def test_the_schema_is_printed(capsys: Capture) -> None:
    done = run(capsys, "describe", "schema")
    assert json.loads(done.out)["$schema"].endswith("2020-12/schema")


# -- describe ID


def test_what_is_no_command_is_an_item(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARCHIVER_VAULT", str(tmp_path / "vault"))
    assert run(capsys, "init", str(tmp_path / "vault")).code == 0
    for name in ("c-E-0001", "nonsense"):
        for words in ((name,), ("amend", name)):
            done = run(
                capsys, "describe", *words, "--reason", "x", "--set", "title=y", "--unsigned"
            )
            assert done.code == 2
            assert f"there is no item {name} in the vault" in done.err
    assert run(capsys, "describe", "schema").code == 0
    assert run(capsys, "describe", "--nonsense").code == 2
    assert run(capsys, "describe", "--help").code == 0


# -- bag create


def test_a_bag_is_described(capsys: Capture, place: Path) -> None:
    form("f.toml")
    done = run(capsys, "bag", "create", "source", "-o", "bag", "--describe", "f.toml")
    assert done.code == 0, done.err
    data = (place / "bag/metadata/description.json").read_bytes()
    described = Description.parse(data)
    assert described.values["title"] == TITLE
    assert set(described.recorded) == {"at", "clock", "time_zone", "program"}
    assert described.to_bytes() == data
    listed = listed_in(place / "bag/tagmanifest-sha512.txt")
    assert "metadata/description.json" in listed
    assert verify_bag(str(place / "bag")).verdict is not Verdict.INVALID
    os.chmod(place / "bag/metadata", 0o755)
    os.chmod(place / "bag/metadata/description.json", 0o644)
    (place / "bag/metadata/description.json").write_bytes(data.replace(b"house", b"horse"))
    assert verify_bag(str(place / "bag")).verdict is Verdict.INVALID


def listed_in(path: Path) -> list[str]:
    return [line.split("  ", 1)[1] for line in path.read_text().splitlines()]


def test_every_bag_of_a_group_is_described(capsys: Capture, place: Path) -> None:
    (place / "source/other.mp4").write_bytes(b"more")
    form("f.toml")
    done = run(
        capsys, "bag", "create", "source", "-o", "b", "--max-files", "1", "--describe", "f.toml"
    )
    assert done.code == 0, done.err
    assert described_in("b-1") == described_in("b-2") != None  # noqa: E711


@pytest.mark.parametrize(
    ("kind", "word", "refused"),
    [
        ("video", "confidential", True),
        ("video", "sealed", True),
        ("statement", "confidential", True),
        ("statement", "restricted", True),
        ("statement", "public", False),
        ("video", "restricted", False),
    ],
)
def test_nothing_confidential_is_put_in_clear(
    kind: str, word: str, refused: bool, capsys: Capture, place: Path
) -> None:
    form("f.toml", kind, confidentiality=f'"{word}"')
    done = run(capsys, "bag", "create", "source", "-o", "bag", "--describe", "f.toml")
    assert (place / "bag").exists() is not refused
    assert done.code == (2 if refused else 0)
    if refused:
        assert "statement new" in done.err
        assert TITLE not in done.err
    left = [path for path in place.rglob("*") if path.is_file() and path.name != "f.toml"]
    found = [path for path in left if TITLE.encode() in path.read_bytes()]
    assert bool(found) is not refused


def test_a_wrong_form_is_refused_before_anything_is_made(capsys: Capture, place: Path) -> None:
    (place / "f.toml").write_text("kind = 'video'\ntitel = 'x'\n")
    done = run(capsys, "bag", "create", "source", "-o", "bag", "--describe", "f.toml")
    assert done.code == 2
    assert done.err == ("error: f.toml:2: unknown key titel\nhint: Did you mean title?\n")
    assert sorted(os.listdir(place)) == ["f.toml", "source"]


# -- ingest


@pytest.fixture
def vault(place: Path, office: Office, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ARCHIVER_VAULT", str(place / "vault"))
    write_key(office.ana, place / "keys", "ana")
    assert run(capsys, "init", "vault").code == 0
    return str(place / "vault")


def ingest(capsys: Capture, source: str, *more: str, case: str = "caso-014") -> Any:
    return run(capsys, "ingest", source, "--case", case, "--key", "keys/ana.key", *more)


def logged(vault: str, item: str) -> dict[str, Any]:
    opened = open_vault(vault)
    with reading(opened) as records:
        found = records.catalog.item(item)
    assert found is not None
    return dict(found.detail)


def test_an_item_is_described_and_the_log_knows_it(
    vault: str, capsys: Capture, place: Path
) -> None:
    form("f.toml")
    done = ingest(capsys, "source", "--describe", "f.toml")
    assert done.code == 0, done.err
    bag = open_vault(vault).bag_path("caso-014", "caso-014-E-0001")
    data = (Path(bag) / "metadata/description.json").read_bytes()
    assert logged(vault, "caso-014-E-0001")["description"] == {
        "kind": "video",
        "path": "metadata/description.json",
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    assert run(capsys, "audit", "--all").code == 0
    assert run(capsys, "events", "verify").code in (0, 4)
    make_source(place / "plain", {"x": b"x"})
    assert ingest(capsys, "plain").code == 0
    assert "description" not in logged(vault, "caso-014-E-0002")


def test_the_case_is_that_of_the_item(vault: str, capsys: Capture, place: Path) -> None:
    form("f.toml")
    done = ingest(capsys, "source", "--describe", "f.toml", case="other")
    assert done.code == 2
    assert "it belongs to the case caso-014, not to other" in done.err
    assert not os.path.exists(open_vault(vault).bag_path("other", "other-E-0001"))
    (place / "g.toml").write_text("kind = 'video'\n")
    assert ingest(capsys, "source", "--describe", "g.toml", case="other").code == 0
    found = described_in(open_vault(vault).bag_path("other", "other-E-0001"))
    assert found is not None
    assert found.values == {"case": "other"}


def test_what_it_was_made_from_must_be_there(vault: str, capsys: Capture, place: Path) -> None:
    lines = "kind = 'video'\noriginal = 'derived'\n"
    entry = "[[derived_from]]\nitem = '{}'\ntool = 'x'\nparameters = 'y'\n"
    own = entry.format("caso-014-E-0001")
    (place / "f.toml").write_text(lines + entry.replace("'{}'", '"\\u001b[2J"'))
    (place / "g.toml").write_text(lines + own)
    refused = ingest(capsys, "source", "--describe", "f.toml")
    assert refused.code == 2
    assert "control characters" in refused.err
    done = ingest(capsys, "source", "--describe", "g.toml")
    assert done.code == 2
    assert "that are not in the vault: caso-014-E-0001" in done.err
    assert not os.path.exists(open_vault(vault).bag_path("caso-014", "caso-014-E-0001"))
    make_source(place / "first", {"x": b"x"})
    assert ingest(capsys, "first").code == 0
    assert ingest(capsys, "source", "--describe", "g.toml").code == 0
    many = lines + "".join(entry.format(f"x-E-{number:04}") for number in range(1, 13))
    (place / "h.toml").write_text(many)
    make_source(place / "third", {"x": b"xx"})
    done = ingest(capsys, "third", "--describe", "h.toml")
    assert done.code == 2
    assert "x-E-0010 and 2 more" in done.err


def test_a_withdrawn_item_is_nothing_to_be_made_from(
    vault: str, capsys: Capture, place: Path
) -> None:
    """One that was begun under the very number that the new item takes up again, neither."""
    from archiver.ingest.derivations import unknown_items
    from archiver.ingest.numbers import IngestOptions, begin
    from archiver.policy import load_policy
    from archiver.seal import CreateOptions
    from tests.sealing import NOW

    opened = open_vault(vault)
    create = CreateOptions(policy=load_policy("default"), now=NOW, identifier="")
    begin(opened, "caso-014", ["key"], IngestOptions(create=create))
    assert unknown_items(opened, ["caso-014-E-0001"]) == ("caso-014-E-0001",)
    assert unknown_items(opened, []) == ()


def test_confidential_items_are_refused(vault: str, capsys: Capture, place: Path) -> None:
    form("f.toml", confidentiality='"sealed"')
    done = ingest(capsys, "source", "--describe", "f.toml")
    assert done.code == 2
    assert "statement new" in done.err
    for path in (place / "vault").rglob("*"):
        if path.is_file():
            assert TITLE.encode() not in path.read_bytes()


def test_a_bag_is_adopted_as_it_is(vault: str, capsys: Capture, place: Path) -> None:
    form("f.toml")
    assert run(capsys, "bag", "create", "source", "-o", "b", "--describe", "f.toml").code == 0
    done = ingest(capsys, "b", "--adopt", "--describe", "f.toml")
    assert done.code == 2
    assert "archiver describe ID" in done.err
    assert ingest(capsys, "b", "--adopt").code == 0
    assert logged(vault, "caso-014-E-0001")["description"]["kind"] == "video"
    assert ingest(capsys, "b", "--adopt", case="other").code == 0
    assert "description" not in logged(vault, "other-E-0001")  # it names another case


@pytest.mark.parametrize("what", ["link", "directory", "nested", "large", "fifo", "linked-dir"])
def test_a_hostile_bag_has_no_description(what: str, place: Path) -> None:
    metadata = place / "bag/metadata"
    metadata.mkdir(parents=True)
    target = metadata / "description.json"
    good = Description.checked("video", {"title": "x"}).to_bytes()
    (place / "good.json").write_bytes(good)
    if what == "link":
        target.symlink_to(place / "good.json")
    elif what == "directory":
        target.mkdir()
    elif what == "nested":
        target.write_bytes(b'{"kind":' + b"[" * ((1 << 20) - 8))
    elif what == "large":
        with target.open("wb") as file:
            file.truncate(1 << 40)
    elif what == "fifo":
        os.mkfifo(target)
    else:
        (place / "real").mkdir()
        (place / "real/description.json").write_bytes(good)
        metadata.rmdir()
        metadata.symlink_to(place / "real")
    assert description_fact(str(place / "bag"), "c") is None
    assert described_in(str(place / "bag")) is None


def test_what_should_not_stand_in_clear_is_not_told_further(place: Path) -> None:
    (place / "bag/metadata").mkdir(parents=True)
    for values, told in (({"confidentiality": "sealed"}, False), ({"case": "c"}, True),
                         ({"case": "d"}, False), ({}, True)):  # fmt: skip
        data = Description.checked("video", values).to_bytes()
        (place / "bag/metadata/description.json").write_bytes(data)
        assert (description_fact(str(place / "bag"), "c") is not None) is told


def test_what_a_killed_run_described_is_told(
    vault: str, capsys: Capture, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archiver import ingest as module

    form("f.toml")
    form("g.toml", title="'Another'")
    real = getattr(module, "end")  # noqa: B009

    def killed(*given: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "end", killed)
    assert ingest(capsys, "source", "--describe", "f.toml").code == 130
    monkeypatch.setattr(module, "end", real)
    done = ingest(capsys, "source", "--describe", "g.toml")
    assert done.code == 0, done.err
    assert "caso-014-E-0001 was made with another description" in done.err
    bag = open_vault(vault).bag_path("caso-014", "caso-014-E-0001")
    data = (Path(bag) / "metadata/description.json").read_bytes()
    told = logged(vault, "caso-014-E-0001")["description"]["sha256"]
    assert told == hashlib.sha256(data).hexdigest()


# -- watch


def test_a_watched_folder_tells_of_descriptions(
    capsys: Capture, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "inbox").mkdir()
    (place / "out").mkdir()
    for name, text in (
        ("good", "kind = 'video'\n"),
        ("bad", "kind = 'video'\nmaria = 1\n"),
        ("secret", "kind = 'video'\nconfidentiality = 'sealed'\ntitle = 'Maria'\n"),
    ):
        (place / f"inbox/{name}.mp4").write_bytes(name.encode())
        (place / f"inbox/{name}.mp4.toml").write_text(text)
    command = ("watch", "inbox", "-o", "out", "--unsigned", "--once", "--quiet-period", "1s")
    done = run(capsys, *command)
    assert done.code == 5  # one is in quarantine
    told = done.out + done.err
    assert "descriptions not understood: 1; the last: its description is not" in told
    assert not re.search("[mM]aria|bad.mp4", told)
    status = run(capsys, "watch", "status")
    assert "quarantined: secret.mp4: its description is, or may be, that of some" in status.out
    assert "archiver statement new" in status.out
    assert "  bad.mp4.toml: its description is not understood: line 2: unknown key" in status.out
    assert "aria" not in status.out
    one = run(capsys, "watch", "status", "inbox/bad.mp4")
    assert one.code == 0
    assert "ARCHIVED (its description is not understood: line 2: unknown key)" in one.out
    assert run(capsys, "watch", "status", "inbox/secret.mp4").code == 4
    for path in (place / "out").rglob("*"):
        assert path.is_dir() or b"Maria" not in path.read_bytes()
