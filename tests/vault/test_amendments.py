"""Amendments: written, told, copied, handed out; every exchange and every loss is found."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from archiver.amend import Wanted
from archiver.amend import amend as write
from archiver.custody import Event
from archiver.describe.amendment import Amendment
from archiver.errors import ArchiverError, FormatError, LogError, StorageError
from archiver.policy import load_policy
from archiver.vault import Vault, open_vault
from archiver.vault.check import check_logs
from archiver.vault.checkpoint import write_checkpoint
from archiver.vault.log import CaseLog
from archiver.vault.records import Records, reading
from tests.helpers import run
from tests.sealing import NOW, Office, write_key
from tests.vault.describing import KEY, SECRET_HINT, VIDEO, amend, holds, overwrite, records
from tests.vault.looking import append, items, links

ITEM = "a-E-0001"


@pytest.fixture
def amended(filled: Vault, capsys: pytest.CaptureFixture[str]) -> Vault:
    """Two amendments of one item, one of another, none of the third."""
    for item, words in (
        (ITEM, (*VIDEO, "title=one", "place=Ayacucho")),
        (ITEM, ("title=two", "--remove", "place")),
        ("b-E-0001", ("--kind", "document", "title=letter")),
    ):
        done = amend(capsys, item, *words)
        assert done.code == 0, done.err
    return filled


def problems(vault: Vault, **anchors: Any) -> list[str]:
    report = check_logs(open_vault(vault.path), (), **anchors)
    return [f"{Path(one.path).name}: {one.problem}" for one in report.problems]


def forge(vault: Vault, **changes: Any) -> None:
    """An event that nobody's program wrote, in a chain that holds."""
    detail = {
        "item": ITEM,
        "amendment": 3,
        "kind": "video",
        "path": "0003.json",
        "sha256": "0" * 64,
    }
    detail |= changes
    log = CaseLog("a", vault.log_path("a"))
    list(log.read())
    given = {key: value for key, value in detail.items() if value is not None}
    log.append([Event(type="modification", at=NOW, detail=given)])


# -- written and told


def test_it_is_written_signed_and_told(amended: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    names = sorted(path.name for path in records(amended, ITEM).iterdir())
    assert names == ["0001.json", "0001.json.p7s", "0002.json", "0002.json.p7s"]
    shown = run(capsys, "show", ITEM, "--json").json["description"]
    assert isinstance(shown, dict)
    assert shown["now"] == {"title": "two"}
    assert [one["number"] for one in shown["amendments"]] == [1, 2]
    assert shown["amendments"][1]["changes"] == [
        {"field": "place", "before": "Ayacucho", "after": None},
        {"field": "title", "before": "one", "after": "two"},
    ]
    told = run(capsys, "show", ITEM).out
    assert "title: two" in told
    assert "place: Ayacucho -> -" in told
    assert "not described yet" in run(capsys, "show", "a-E-0002").out
    (event,) = [one.event for one in links(amended, "b") if "amendment" in one.event.detail]
    data = (records(amended, "b-E-0001") / "0001.json").read_bytes()
    assert event.type == "modification"
    assert event.detail["sha256"] == hashlib.sha256(data).hexdigest()
    assert (event.detail["path"], event.detail["kind"]) == ("0001.json", "document")
    assert "letter" not in Path(amended.log_path("b")).read_text()
    assert problems(amended) == []
    assert run(capsys, "catalog", "check").code == 0


def test_openssl_checks_its_signature(amended: Vault, office: Office, tmp_path: Path) -> None:
    import subprocess

    ca = tmp_path / "ca.pem"
    ca.write_bytes(office.ca.certificate.pem)
    place = records(amended, ITEM)
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in"]
    command += [str(place / "0001.json.p7s"), "-content", str(place / "0001.json")]
    command += ["-CAfile", str(ca), "-purpose", "any", "-out", os.devnull]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_form_changes_lists_and_tables(
    amended: Vault, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    form = tmp_path / "more.toml"
    form.write_text(
        'original = "derived"\n[[derived_from]]\nitem = "a-E-0002"\ntool = "x 1"\n'
        'parameters = "none"\n'
    )
    done = amend(capsys, ITEM, "--form", str(form), "language=es")
    assert done.code == 0, done.err
    (shown,) = [run(capsys, "show", ITEM, "--json").json["description"]]
    assert isinstance(shown, dict)
    assert shown["now"]["derived_from"][0]["item"] == "a-E-0002"
    assert shown["now"]["language"] == "es"


def test_counts_and_lists_in_words(amended: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    done = amend(capsys, "b-E-0001", "scan_dpi=300", "photographs=one.jpg")
    assert done.code == 0, done.err
    shown = run(capsys, "show", "b-E-0001", "--json").json["description"]
    assert isinstance(shown, dict)
    assert (shown["now"]["scan_dpi"], shown["now"]["photographs"]) == (300, ["one.jpg"])


@pytest.mark.parametrize(
    ("item", "words", "told"),
    [
        ("a-E-0002", ("title=x",), "what kind of item"),
        ("a-E-0002", ("--kind", "film", "title=x"), "no kind film"),
        (ITEM, ("--kind", "document", "title=x"), "stays one"),
        (ITEM, ("titel=x",), "Did you mean title?"),
        (ITEM, ("title=",), "title is empty"),
        (ITEM, ("title=two",), "changes nothing"),
        (ITEM, (), "changes nothing"),
        (ITEM, ("--remove", "place"), "no place to remove"),
        (ITEM, ("--set", "title"), "no FIELD=VALUE"),
        (ITEM, ("title=a", "title=b"), "set twice"),
        (ITEM, ("derived_from=x",), "in a form"),
        (ITEM, ("size=3",), "filled in by the program"),
        (ITEM, ("title=x", "--form", "gone.toml"), "gone.toml"),
        ("a-E-0009", ("title=x",), "there is no item"),
        ("../a-E-0001", ("title=x",), "there is no item"),
    ],
)
def test_what_is_refused(
    item: str,
    words: tuple[str, ...],
    told: str,
    amended: Vault,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = Path(amended.log_path("a")).read_bytes()
    done = amend(capsys, item, *words)
    assert done.code == 2, done.err
    assert told in done.err
    assert Path(amended.log_path("a")).read_bytes() == before
    assert problems(amended) == []


@pytest.mark.parametrize("reason", ["", " ", "a\nb", "\x1b]0;x\x07", "x" * 3000])
def test_a_reason_is_one_line(
    reason: str, amended: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    assert amend(capsys, ITEM, "title=x", reason=reason).code == 2


def test_a_reason_that_is_asked_for(
    amended: Vault, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a neighbour said so\n"))
    assert amend(capsys, ITEM, "title=x", reason="-").code == 0
    assert "a neighbour said so" in run(capsys, "show", ITEM).out
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert amend(capsys, ITEM, "title=y", reason="-").code == 2


def test_without_a_key_it_must_be_said(amended: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("describe", "amend", ITEM, "--set", "title=x", "--reason", "seen")
    assert run(capsys, *words).code == 2
    assert run(capsys, *words, "--unsigned", *KEY).code == 2
    done = run(capsys, *words, "--unsigned", "--json")
    assert (done.code, done.json["signed"], done.json["amendment"]) == (0, False, 3)
    assert not (records(amended, ITEM) / "0003.json.p7s").exists()
    assert problems(amended) == []


def test_a_policy_may_ask_for_a_signature(
    amended: Vault, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    strict = tmp_path / "strict.toml"
    strict.write_text('extends = "default"\n[proof]\nsignatures = 1\n')
    config = Path(amended.path) / "vault.toml"
    config.write_text(config.read_text().replace('"default"', json.dumps(str(strict))))
    assert amend(capsys, ITEM, "title=x", signed=False).code == 2
    assert amend(capsys, ITEM, "title=x").code == 0


def test_what_would_be_secret_is_never_written_in_clear(
    amended: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    form = Path("form.toml")
    form.write_text('confidentiality = "confidential"\ntitle = "Maria"\n')
    for words in (("confidentiality=sealed",), ("--form", "form.toml")):
        done = amend(capsys, ITEM, *words)
        assert (done.code, SECRET_HINT in done.err) == (2, True)
    for spoken in (("confidentiality=sealed", "title=Maria"), ("--form", "form.toml", "place=x")):
        done = amend(capsys, ITEM, *spoken)
        assert (done.code, "on the command line" in done.err) == (2, True)
    assert len(list(records(amended, ITEM).iterdir())) == 4
    assert problems(amended) == []


def seal_item(vault: Vault) -> None:
    """The log says that an item is secret; its record can't be read here."""
    place = records(vault, ITEM) / "0003.json.age"
    place.write_bytes(b"age-encryption.org/v1\n")
    digest = hashlib.sha256(place.read_bytes()).hexdigest()
    forge(vault, path="0003.json.age", sha256=digest)


def test_a_secret_item_tells_nothing_and_stays_secret(
    amended: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    seal_item(amended)
    assert problems(amended) == []
    shown = run(capsys, "show", ITEM)
    assert "encrypted" in shown.out
    assert "two" not in shown.out
    assert run(capsys, "show", ITEM, "--json").json["description"]["now"] is None  # type: ignore[index]
    for words in (
        ("confidentiality=public",),
        ("title=x", "--remove", "confidentiality"),
        ("title=x", "--remove", "titel"),
    ):
        done = amend(capsys, ITEM, *words)
        assert done.code == 2
        assert SECRET_HINT not in done.err
    assert "on the command line" in amend(capsys, ITEM, "title=x").err
    assert SECRET_HINT in amend(capsys, ITEM, "reencoded=no").err
    Path("form.toml").write_text('title = "Maria"\n')
    assert SECRET_HINT in amend(capsys, ITEM, "--form", "form.toml").err
    forge(amended, amendment=4, path="0004.json")
    assert "stands in clear" in run(capsys, "events", "verify").out


def test_two_writers_at_once(amended: Vault, office: Office) -> None:
    """Each number is given once; both amend what holds."""
    (item,) = [one for one in items(amended, "a") if one.item == ITEM]
    failures = []

    def work(number: int) -> None:
        try:
            for turn in range(4):
                wanted = Wanted(reason="seen", set={"title": f"{number}.{turn}"})
                policy = load_policy("default")
                write(open_vault(amended.path), item, wanted, NOW, policy=policy, wait_seconds=60)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failures == []
    assert problems(amended) == []
    numbers = [one.event.detail.get("amendment") for one in links(amended, "a")]
    mine = [one for one in numbers if one is not None]
    assert mine == list(range(1, 15))


def test_titles_do_nothing_to_a_terminal(
    amended: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    done = amend(capsys, ITEM, "title=\x1b[2Jgone")
    assert (done.code, "\x1b" in done.err) == (2, False)
    done = amend(capsys, ITEM, "description=line\nline")
    assert done.code == 0
    assert "\n  line" not in run(capsys, "show", ITEM).out


# -- what an attacker does to the files


def test_each_altered_byte_and_each_lost_file_is_found(
    amended: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in sorted(records(amended, ITEM).iterdir()):
        whole = path.read_bytes()
        for index in (0, len(whole) // 2, len(whole) - 1):
            overwrite(path, whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :])
            assert any("MODIFIED" in one for one in problems(amended)), path
        path.unlink()
        assert any(f"{path.name}: MISSING" in one for one in problems(amended)), path
        for command in (("audit",), ("catalog", "check")):
            done = run(capsys, *command)
            assert (done.code, path.name in done.err) == (1, True)
        path.write_bytes(whole)
    assert problems(amended) == []
    shutil.rmtree(records(amended, ITEM))
    assert len(problems(amended)) == 4
    assert run(capsys, "show", ITEM).code == 1
    done = amend(capsys, ITEM, "title=x")
    assert (done.code, "can't be amended" in done.err) == (1, True)


def test_exchanged_reordered_and_replayed(amended: Vault) -> None:
    here, there = records(amended, ITEM), records(amended, "b-E-0001")
    one, two = (here / "0001.json").read_bytes(), (here / "0002.json").read_bytes()
    other = (there / "0001.json").read_bytes()
    for first, second in ((two, one), (one, one), (two, two), (other, two), (one, other)):
        overwrite(here / "0001.json", first)
        overwrite(here / "0002.json", second)
        assert any("MODIFIED" in each for each in problems(amended))
    overwrite(here / "0001.json", one)
    overwrite(here / "0002.json", two)
    signatures = (here / "0001.json.p7s").read_bytes(), (here / "0002.json.p7s").read_bytes()
    overwrite(here / "0001.json.p7s", signatures[1])
    assert any("MODIFIED" in each for each in problems(amended))


def log_again(vault: Vault, number: int, data: bytes, signature: bytes = b"") -> None:
    """An attacker who writes the log, too: file and digest agree."""
    place = records(vault, ITEM)
    (place / f"{number:04}.json").write_bytes(data)
    more = {}
    if signature:
        (place / f"{number:04}.json.p7s").write_bytes(signature)
        more["signature"] = hashlib.sha256(signature).hexdigest()
    digest = hashlib.sha256(data).hexdigest()
    forge(vault, amendment=number, path=f"{number:04}.json", sha256=digest, **more)


def third(vault: Vault, **changes: Any) -> bytes:
    before = (records(vault, ITEM) / "0002.json").read_bytes()
    given: dict[str, Any] = {
        "item": ITEM,
        "number": 3,
        "at": NOW,
        "reason": "x",
        "set": {"title": "three"},
        "previous": hashlib.sha256(before).hexdigest(),
    } | changes
    return Amendment(**given).to_bytes()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"item": "a-E-0002"}, "another item's"),
        ({"item": "b-E-0001"}, "another item's"),
        ({"number": 2}, "number is another one"),
        ({"number": 9}, "number is another one"),
        ({"previous": "0" * 64}, "doesn't follow"),
        ({"kind": "document"}, "said once"),
        ({"set": {"nothing": "x"}}, "unknown key"),
    ],
)
def test_a_record_that_the_log_vouches_for_must_fit(
    changes: dict[str, Any],
    told: str,
    amended: Vault,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log_again(amended, 3, third(amended, **changes))
    assert any(told in one for one in problems(amended))
    shown = run(capsys, "show", ITEM)
    assert (shown.code, told in shown.out, "title: two" in shown.out) == (1, True, False)
    assert run(capsys, "describe", "amend", ITEM, "--set", "title=x", "--reason", "y", *KEY).code


def test_a_record_of_another_vault_is_no_json(amended: Vault) -> None:
    log_again(amended, 3, b"\x1b[2J not json")
    assert any("no JSON" in one for one in problems(amended))


def test_a_signature_over_something_else(amended: Vault, office: Office) -> None:
    signature = (records(amended, ITEM) / "0002.json.p7s").read_bytes()
    log_again(amended, 3, third(amended), signature)
    assert any("signature doesn't hold" in one for one in problems(amended))


def test_garbage_for_a_signature(amended: Vault) -> None:
    log_again(amended, 3, third(amended), b"garbage")
    assert any("signature doesn't hold" in one for one in problems(amended))


def test_whom_the_checker_trusts(
    amended: Vault,
    office: Office,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    assert problems(amended, anchors=office.anchors()) == []
    ca = tmp_path / "ca.pem"
    ca.write_bytes(office.ca.certificate.pem)
    assert run(capsys, "events", "verify", "--trust", ca).code == 0
    assert amend(capsys, ITEM, "title=x", signed=False).code == 0
    assert any(
        "nobody whom you trust" in one for one in problems(amended, anchors=office.anchors())
    )
    assert run(capsys, "events", "verify", "--trust", ca).code == 1
    assert run(capsys, "events", "verify").code == 0


def test_a_stamped_checkpoint_dates_a_signature(
    amended: Vault, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that has expired since was good when the checkpoint proves it was there."""
    late = NOW + timedelta(days=5000)
    anchors = office.anchors()
    report = check_logs(amended, (), anchors, late)
    assert any("nobody whom you trust" in one.problem for one in report.problems)
    write_checkpoint(amended, [office.ana], NOW)
    from archiver.vault.witness import CheckpointState

    monkeypatch.setattr(CheckpointState, "proven_at", property(lambda _self: NOW))
    report = check_logs(amended, (), anchors, late)
    place = str(records(amended, ITEM))
    assert [one for one in report.problems if one.path.startswith(place)] == []


@pytest.mark.parametrize("what", ["link", "pipe", "directory", "huge", "link to the same"])
def test_what_is_no_file(what: str, amended: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    path = records(amended, ITEM) / "0001.json"
    whole = path.read_bytes()
    path.unlink()
    if what == "link":
        path.symlink_to("/etc/passwd")
    elif what == "link to the same":
        path.with_name("kept").write_bytes(whole)
        path.symlink_to("kept")
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(1 << 40)
    assert any("0001.json:" in one for one in problems(amended))
    assert run(capsys, "show", ITEM).code == 1
    assert run(capsys, "audit").code == 1
    run(capsys, "replica", "add", "second", "second")
    done = run(capsys, "replica", "sync")
    assert done.code != 0
    assert not Path("second/amendments", ITEM, "0001.json").exists()
    assert run(capsys, "export", ITEM, "out").code != 0
    assert not Path("out").exists()


@pytest.mark.parametrize("name", ["0003.json", "0001.json.age", "9999.json", "x", "0001.json.tsr"])
def test_a_file_that_the_log_does_not_know(
    name: str, amended: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    (records(amended, ITEM) / name).write_bytes(b"x")
    assert any(f"{name}: ADDED" in one for one in problems(amended))
    run(capsys, "replica", "add", "second", "second")
    assert run(capsys, "replica", "sync").code == 0
    assert not Path("second/amendments", ITEM, name).exists()
    done = amend(capsys, ITEM, "title=x")
    assert done.code == 0, done.err
    if name in ("0003.json", "9999.json"):  # what lies in the way of numbers to come
        assert problems(amended) == []
        (kept,) = Path(amended.path).glob("set-aside/a/*")
        assert (kept.name.endswith(name), kept.read_bytes()) == (True, b"x")


@pytest.mark.parametrize("what", ["link", "pipe"])
def test_something_strange_under_the_next_number(
    what: str, amended: Vault, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path, victim = records(amended, ITEM) / "0003.json", tmp_path / "victim"
    victim.write_bytes(b"mine")
    if what == "link":
        path.symlink_to(victim)
    else:
        os.mkfifo(path)
    assert amend(capsys, ITEM, "title=x").code == 0
    assert (problems(amended), victim.read_bytes()) == ([], b"mine")
    assert path.is_file()
    assert not path.is_symlink()


def test_a_directory_that_no_log_knows(amended: Vault) -> None:
    for name in ("a-E-0002", "z-E-0001", "x"):
        (Path(amended.path) / "amendments" / name).mkdir()
    found = problems(amended)
    assert [one for one in found if "ADDED" in one] == [
        f"{name}: ADDED: the log knows nothing of this" for name in ("a-E-0002", "x", "z-E-0001")
    ]


@pytest.mark.parametrize("which", ["amendments", "item"])
def test_a_directory_that_leads_elsewhere(
    which: str, amended: Vault, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place = records(amended, ITEM)
    place = place.parent if which == "amendments" else place
    away = tmp_path / "away"
    shutil.move(place, away)
    place.symlink_to(away)
    before = sorted(away.rglob("*"))
    assert any("is a link" in one for one in problems(amended))
    assert amend(capsys, ITEM, "title=x").code != 0
    assert sorted(away.rglob("*")) == before


def test_a_file_where_the_directory_should_be(
    filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    (Path(filled.path) / "amendments").write_bytes(b"")
    done = amend(capsys, ITEM, *VIDEO, "title=x")
    assert (done.code, "not a directory" in done.err) == (5, True)
    assert links(filled, "a")[-1].event.type != "modification"


# -- what an attacker does to the log


@pytest.mark.parametrize(
    "changes",
    [
        {"amendment": 4, "path": "0004.json"},
        {"amendment": 2, "path": "0002.json"},
        {"amendment": 0, "path": "0000.json"},
        {"amendment": -1},
        {"amendment": "3"},
        {"amendment": True},
        {"amendment": 10_000, "path": "10000.json"},
        {"item": "b-E-0001"},
        {"item": "a-E-0009"},
        {"item": "../../x"},
        {"item": None},
        {"path": "0002.json"},
        {"path": "../0003.json"},
        {"path": "/etc/passwd"},
        {"path": None},
        {"kind": "document"},
        {"kind": "film"},
        {"kind": 7},
        {"sha256": "x"},
        {"sha256": None},
        {"signature": "x"},
        {"signature": None, "sha256": ["0" * 64]},
    ],
)
def test_a_log_that_tells_what_cannot_be(
    changes: dict[str, Any], amended: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    forge(amended, **changes)
    done = run(capsys, "events", "verify")
    assert done.code == 1
    assert "is broken at line" in done.out
    assert amend(capsys, ITEM, "title=x").code == 1
    assert run(capsys, "catalog", "rebuild").code == 1


@pytest.mark.parametrize(
    "description",
    [
        7,
        {},
        {"kind": "video", "path": "/etc/passwd", "sha256": "0" * 64},
        {"kind": "film", "path": "metadata/description.json", "sha256": "0" * 64},
        {"kind": "video", "path": "metadata/description.json", "sha256": "0"},
        {"kind": "video", "path": "metadata/description.json", "sha256": "0" * 64, "code": 7},
        {"kind": "video", "path": "metadata/description.json", "sha256": "0" * 64, "code": "\x1b["},
    ],
)
def test_a_log_that_describes_what_cannot_be(
    description: Any, filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    log = CaseLog("a", filled.log_path("a"))
    list(log.read())
    begin = Event(
        type="ingestion start", at=NOW, detail={"item": "a-E-0003", "key": "k", "number": 3}
    )
    detail = {"item": "a-E-0003", "number": 3, "description": description}
    log.append([begin, Event(type="ingestion end", at=NOW, detail=detail)])
    assert "is broken at line" in run(capsys, "events", "verify").out


def test_an_item_that_was_never_sealed_is_not_amended(
    filled: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    detail = {"item": "a-E-0003", "key": "k", "number": 3}
    append(filled, "a", Event(type="ingestion start", at=NOW, detail=detail))
    assert amend(capsys, "a-E-0003", *VIDEO, "title=x").code == 2
    forge(filled, item="a-E-0003", amendment=1, path="0001.json")
    assert "never sealed" in run(capsys, "events", "verify").out


@pytest.mark.parametrize(
    "scope", [None, [], "all", ["all", "court"], ["everything"], [7], ["court", None]]
)
def test_consent_is_withdrawn_for_what_there_is(
    scope: Any, amended: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    detail = {"item": ITEM, "consent": "withdrawn"} | ({} if scope is None else {"scope": scope})
    log = CaseLog("a", amended.log_path("a"))
    list(log.read())
    log.append([Event(type="modification", at=NOW, detail=detail)])
    assert "is broken at line" in run(capsys, "events", "verify").out


def test_consent_that_was_withdrawn_is_told(
    amended: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    for scope in (["court", "media"], ["all"]):
        detail = {"item": ITEM, "consent": "withdrawn", "scope": scope}
        append(amended, "a", Event(type="modification", at=NOW, detail=detail))
    told = run(capsys, "show", ITEM)
    assert "court, media" in told.out
    assert told.code == 0
    shown = run(capsys, "show", ITEM, "--json").json["consent_withdrawn"]
    assert isinstance(shown, list)
    assert [one["scope"] for one in shown] == [["court", "media"], ["all"]]
    assert run(capsys, "catalog", "check").code == 0
    assert problems(amended) == []


def test_the_catalog_is_made_again_to_the_byte(
    amended: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    def answers() -> list[str]:
        return [
            run(capsys, *words, "--json").out
            for words in (("show", ITEM), ("show", "b-E-0001"), ("search", "letter"))
        ]

    before = answers()
    assert run(capsys, "catalog", "rebuild").code == 0
    assert answers() == before
    os.unlink(amended.catalog)
    assert answers() == before
    assert run(capsys, "catalog", "check").code == 0


@pytest.mark.parametrize("table", ["descriptions", "amendments"])
def test_a_catalog_that_names_another_case(
    table: str, amended: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    import sqlite3

    with sqlite3.connect(amended.catalog) as connection:
        connection.execute(f"UPDATE {table} SET case_name = '../../x'")
    connection.close()
    done = run(capsys, "show", ITEM)
    assert (done.code, "is damaged" in done.err) == (5, True)
    assert run(capsys, "catalog", "check").code == 5


# -- replicas, repair, export


def test_replicas_keep_them_and_repair_brings_them_back(
    amended: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "replica", "add", "second", "second")
    assert run(capsys, "replica", "sync").code == 0
    place, copy = records(amended, ITEM), Path("second/amendments", ITEM)
    kept = {path.name: path.read_bytes() for path in place.iterdir()}
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == kept
    (place / "0001.json").unlink()
    overwrite(place / "0002.json", b"altered")
    overwrite(copy / "0001.json.p7s", b"altered")
    assert run(capsys, "audit").code == 1
    assert run(capsys, "repair", ITEM).code == 1
    assert not (place / "0001.json").exists()
    done = run(capsys, "repair", ITEM, "--yes")
    assert done.code == 0, done.err
    for where in (place, copy):
        assert {path.name: path.read_bytes() for path in where.iterdir()} == kept
    assert problems(amended) == []
    (aside,) = Path(amended.path).glob("set-aside/a/*")
    assert aside.read_bytes() == b"altered"
    assert run(capsys, "audit").code == 0
    recovered = [one.event.detail for one in links(amended, "a") if one.event.type == "recovery"]
    assert [one["amendment"] for one in recovered] == [1, 2, 1]


def test_audit_repairs_them(amended: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "replica", "add", "second", "second")
    run(capsys, "replica", "sync")
    (records(amended, ITEM) / "0001.json").unlink()
    assert run(capsys, "audit", "--repair").code == 0
    assert problems(amended) == []


def test_what_is_lost_everywhere(amended: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    (records(amended, ITEM) / "0001.json").unlink()
    for words in ((), ("--yes",)):
        done = run(capsys, "repair", ITEM, *words)
        assert (done.code, "no place has it" in done.err) == (1, True)


def test_a_replica_with_another_record_is_told(
    amended: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "replica", "add", "second", "second")
    run(capsys, "replica", "sync")
    overwrite(Path("second/amendments", ITEM, "0001.json"), b"another")
    done = run(capsys, "replica", "sync")
    assert done.code != 0
    assert "another one than the vault's" in done.out + done.err
    assert Path("second/amendments", ITEM, "0001.json").read_bytes() == b"another"


def test_a_vault_that_has_forgotten_numbers(
    amended: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    """Put back from an old copy, it would give a number again that a replica knows."""
    old = Path(amended.log_path("a")).read_bytes()
    catalog = Path(amended.catalog).read_bytes()
    assert amend(capsys, ITEM, "title=x").code == 0
    run(capsys, "replica", "add", "second", "second")
    run(capsys, "replica", "sync")
    Path(amended.log_path("a")).write_bytes(old)
    Path(amended.catalog).write_bytes(catalog)
    done = amend(capsys, ITEM, "title=y")
    assert (done.code, "knows more of a" in done.err) == (1, True)
    assert (records(amended, ITEM) / "0003.json").exists()


@pytest.mark.parametrize("form", ["out", "out.tar", "out.zip"])
def test_they_are_handed_out_and_checked(
    form: str,
    amended: Vault,
    office: Office,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    done = run(capsys, "export", ITEM, form, "--json")
    assert done.code == 0, done.err
    place = Path(f"{form}.amendments")
    assert done.json["amendments_path"] == str(tmp_path / place)
    kept = {path.name: path.read_bytes() for path in records(amended, ITEM).iterdir()}
    assert {path.name: path.read_bytes() for path in place.iterdir()} == kept
    ca = tmp_path / "ca.pem"
    ca.write_bytes(office.ca.certificate.pem)
    verify = ("bag", "verify", form, "--amendments", place)
    done = run(capsys, *verify, "--trust", ca)
    assert done.code == 0, done.err
    assert "title: two" in done.out
    assert "only the vault's log can say" in done.out
    told = run(capsys, *verify, "--json").json["amendments"]
    assert isinstance(told, dict)
    assert (told["count"], told["signed"], told["intact"]) == (2, 2, True)
    assert told["now"] == {"title": "two"}
    assert run(capsys, *verify, "-q").out == ""


def test_without_amendments_nothing_lies_beside(
    amended: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run(capsys, "export", "a-E-0002", "out", "--json")
    assert done.json["amendments_path"] is None
    assert not Path("out.amendments").exists()


def _harm(what: str, place: Path) -> None:
    first = place / "0001.json"
    whole = first.read_bytes()
    if what in ("gap", "link", "pipe"):
        first.unlink()
    if what in ("another's", "none"):
        shutil.rmtree(place)
    if what == "altered":
        first.write_bytes(whole.replace(b"one", b"two"))
    elif what == "stranger":
        (place / "readme.txt").write_text("x")
    elif what == "link":
        Path("kept").write_bytes(whole)
        first.symlink_to(Path("kept").absolute())
    elif what == "pipe":
        os.mkfifo(first)
    elif what == "another's":
        shutil.copytree("other.amendments", place)
    else:
        _harm_more(what, place, first)


def _harm_more(what: str, place: Path, first: Path) -> None:
    if what == "twice":
        shutil.copy(first, place / "0001.json.age")
    elif what == "huge":
        with first.open("wb") as file:
            file.truncate(1 << 40)
    elif what == "signature":
        (place / "0001.json.p7s").write_bytes((place / "0002.json.p7s").read_bytes())


@pytest.mark.parametrize(
    "what",
    [
        "gap",
        "altered",
        "stranger",
        "link",
        "pipe",
        "twice",
        "another's",
        "huge",
        "signature",
        "none",
    ],
)
def test_amendments_that_do_not_belong_to_a_bag(
    what: str, amended: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "export", ITEM, "out").code == 0
    assert run(capsys, "export", "b-E-0001", "other").code == 0
    place = Path("out.amendments")
    _harm(what, place)
    done = run(capsys, "bag", "verify", "out", "--amendments", place, "-q")
    assert done.code == (2 if what == "none" else 1)
    assert done.err
    if what != "none":
        done = run(capsys, "bag", "verify", "out", "--amendments", place, "--json")
        told = done.json["amendments"]
        assert isinstance(told, dict)
        assert (told["intact"], told["now"]) == (False, None)


def test_an_untrusted_amendment_of_a_trusted_bag(
    amended: Vault, office: Office, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert amend(capsys, ITEM, "title=x", signed=False).code == 0
    assert run(capsys, "export", ITEM, "out").code == 0
    ca = tmp_path / "ca.pem"
    ca.write_bytes(office.ca.certificate.pem)
    verify = ("bag", "verify", "out", "--amendments", "out.amendments")
    assert run(capsys, *verify).code == 4  # of the bag's signer nothing is known
    done = run(capsys, *verify, "--trust", ca)
    assert (done.code, "nobody whom you trust" in done.err) == (1, True)
    assert run(capsys, "bag", "verify", "out", "out", "--amendments", "out.amendments").code == 2


def test_encrypted_ones_are_said_to_be(amended: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    seal_item(amended)
    assert run(capsys, "export", ITEM, "out").code == 0
    done = run(capsys, "bag", "verify", "out", "--amendments", "out.amendments")
    assert (done.code, "encrypted" in done.out, "title" in done.out) == (4, True, False)
    assert "warning" not in done.err


def test_an_export_that_was_killed_is_taken_up(
    amended: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    """Amendments are there, and the bag is not."""
    shutil.copytree(records(amended, ITEM), "out.amendments")
    assert run(capsys, "export", ITEM, "out").code == 0
    for strange in ("file", "other", "link"):
        shutil.rmtree("again.amendments", ignore_errors=True)
        Path("again.amendments").unlink(missing_ok=True)
        if strange == "file":
            Path("again.amendments").write_text("mine")
        elif strange == "link":
            Path("again.amendments").symlink_to("out.amendments")
        else:
            Path("again.amendments").mkdir()
            Path("again.amendments/mine.txt").write_text("mine")
        done = run(capsys, "export", ITEM, "again")
        assert (done.code, "exists already" in done.err) == (5, True)
        assert not Path("again").exists()


def test_an_export_that_fails_leaves_none(
    amended: Vault, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any) -> None:
        raise StorageError("no space")

    monkeypatch.setattr("archiver.export._appear", fail)
    assert run(capsys, "export", ITEM, "out").code == 5
    assert not list(Path().glob("out*"))


def test_they_are_handed_out_from_a_replica(
    amended: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "replica", "add", "second", "second")
    run(capsys, "replica", "sync")
    (records(amended, ITEM) / "0001.json").unlink()
    assert run(capsys, "export", ITEM, "out").code == 0
    assert Path("out.amendments/0001.json").exists()


# -- errors while writing


def test_a_log_that_cannot_be_written_leaves_nothing(
    amended: Vault, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: Any) -> None:
        raise StorageError("no space")

    before = sorted(records(amended, ITEM).iterdir())
    with monkeypatch.context() as patched:
        patched.setattr(Records, "append", fail)
        assert amend(capsys, ITEM, "title=x").code == 5
    assert sorted(records(amended, ITEM).iterdir()) == before
    assert problems(amended) == []


def test_a_catalog_that_fails_after_the_log_loses_nothing(
    amended: Vault, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Records.append

    def fail(self: Records, case: str, events: Any) -> None:
        real(self, case, events)
        raise StorageError("the catalog's disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Records, "append", fail)
        assert amend(capsys, ITEM, "title=x").code == 5
    assert problems(amended) == []
    assert "title: x" in run(capsys, "show", ITEM).out


def test_no_item_has_too_many(amended: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    (item,) = [one for one in items(amended, "a") if one.item == ITEM]
    monkeypatch.setattr("archiver.amend.MAX_AMENDMENTS", 2)
    wanted = Wanted(reason="seen", set={"title": "x"})
    with pytest.raises(ArchiverError, match="too many"):
        write(amended, item, wanted, NOW, policy=load_policy("default"))


def test_a_broken_case_is_not_amended(amended: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    log = Path(amended.log_path("a"))
    log.write_bytes(log.read_bytes()[:-10] + b"x\n")
    with reading(amended) as found, pytest.raises(LogError):
        found.require("a")
    assert amend(capsys, ITEM, "title=x").code == 1
    assert amend(capsys, "b-E-0001", "title=x").code == 0


def test_a_description_in_a_bag_that_was_altered(
    filled: Vault, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    form = tmp_path / "no.toml"
    form.write_text('kind = "absence"\ntitle = "none"\n')
    assert run(capsys, "absence", "record", "--case", "a", "--form", form, *KEY).code == 0
    path = Path(filled.bag_path("a", "a-E-0003")) / "metadata/description.json"
    os.chmod(path, 0o600)
    path.write_bytes(path.read_bytes().replace(b"none", b"more"))
    done = run(capsys, "show", "a-E-0003")
    assert (done.code, "MODIFIED" in done.out, "more" in done.out) == (1, True, False)
    assert amend(capsys, "a-E-0003", "title=x").code == 1


def test_what_no_parser_takes_is_told(amended: Vault) -> None:
    with pytest.raises(FormatError):
        Amendment.parse((records(amended, ITEM) / "0001.json.p7s").read_bytes())


def test_keys_of_others(amended: Vault, office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    """Who signs is asked of the checker, not of the writer."""
    write_key(office.ben, Path("keys"), "ben")
    words = ("--set", "title=x", "--reason", "seen", "--key", "keys/ben.key")
    assert run(capsys, "describe", "amend", ITEM, *words).code == 0
    assert problems(amended, anchors=office.anchors()) == []


def test_a_statement_of_which_nobody_said_who_may_see_it_is_not_written_in_clear(
    filled: Vault, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "form.toml").write_text('kind = "statement"\ntitle = "Xochiquetzal"\n')
    done = amend(capsys, ITEM, "--form", "form.toml")
    assert (done.code, SECRET_HINT in done.err) == (2, True), done.err
    done = amend(capsys, ITEM, "--kind", "statement", "title=Xochiquetzal")
    assert (done.code, "command line" in done.err) == (2, True), done.err
    assert holds(Path(filled.path), "Xochiquetzal") == []
    (tmp_path / "form.toml").write_text(
        'kind = "statement"\ntitle = "Xochiquetzal"\nconfidentiality = "public"\n'
    )
    assert amend(capsys, ITEM, "--form", "form.toml").code == 0
    done = amend(capsys, ITEM, "--remove", "confidentiality")
    assert (done.code, SECRET_HINT in done.err) == (2, True), done.err


def test_mistakes_in_a_secret_items_form_are_not_repeated(
    filled: Vault, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "form.toml").write_text('kind = "statement"\nevent_time = "Xochiquetzal"\n')
    done = amend(capsys, ITEM, "--form", "form.toml")
    assert done.code == 2
    assert "Xochiquetzal" not in done.err
    assert "form.toml" not in done.err
    assert ":2:" in done.err
