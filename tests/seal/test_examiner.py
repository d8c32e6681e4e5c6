"""Formats and scanner of a policy, where bags are made."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from archiver.bag.plan import PlanOptions
from archiver.custody import CUSTODY_PATH, Event, read_chain
from archiver.errors import SourceError, UsageError
from archiver.identify import tools
from archiver.policy import FormatPolicy, Policy, ScanPolicy
from archiver.seal import plan_sources
from archiver.seal.batch import Order, StagedBag, commit_bags, stage_bags
from archiver.seal.examine import Examiner, PlainSource, UnwantedError, examining
from tests.bag.making import OPTIONS, leftovers, make, verdict
from tests.identify.hostile import picture
from tests.identify.looking import none_left
from tests.sealing import make_source
from tests.test_scan import EICAR, GREP, script

pytestmark = pytest.mark.skipif(
    "siegfried" not in tools.installed() and not os.environ.get("ARCHIVER_CI"),
    reason="pygfried isn't installed",
)
PNG = picture("PNG")


def policy(**changes: Any) -> Policy:
    changed: dict[str, Any] = {}
    for name, value in changes.items():
        changed.setdefault("scan" if name.startswith("scan_") else "formats", {})[
            name.removeprefix("scan_").removeprefix("formats_")
        ] = value
    return replace(
        OPTIONS.policy,
        formats=FormatPolicy(**changed.get("formats", {})),
        scan=ScanPolicy(**changed.get("scan", {})),
    )


def sealed(tmp_path: Path, files: Mapping[str, bytes], chosen: Policy, **more: Any) -> Examiner:
    source = make_source(tmp_path / "source", dict(files))
    examiner = Examiner(chosen, **more)
    try:
        options = replace(OPTIONS, policy=chosen, examine=examiner)
        make(source, tmp_path / "bag", options=options)
    finally:
        examiner.close()
    assert verdict(tmp_path / "bag") == "valid"
    return examiner


def events(bag: Path) -> dict[str, Event]:
    lines = (bag / CUSTODY_PATH).read_bytes().splitlines(keepends=True)
    return {link.event.type: link.event for link in read_chain(lines)}


def test_records_and_events(tmp_path: Path) -> None:
    examiner = sealed(tmp_path, {"a.png": PNG, "secret name.txt": b"x"}, policy())
    lines = (tmp_path / "bag/metadata/formats.jsonl").read_text().splitlines()
    assert [json.loads(one).get("puid") for one in lines[1:]] == ["fmt/11", "x-fmt/111"]
    told = events(tmp_path / "bag")
    detail = told["format identification"].detail
    assert (detail["files"], detail["outcomes"]) == (2, {"identified": 2})
    assert detail["tools"][0].startswith("pygfried")
    assert "limits" in detail["confinement"]
    assert told["metadata extraction"].detail["files"] in (0, 1)
    assert "virus check" not in told
    assert "secret" not in (tmp_path / "bag" / CUSTODY_PATH).read_text()
    assert examiner.summary == {"formats": {"identified": 2}}
    assert examiner.warnings == []
    assert none_left() == []


def test_off_by_the_policy_or_by_the_switch(tmp_path: Path) -> None:
    assert not Examiner(policy(formats_identify=False)).is_needed
    assert not Examiner(policy(), identify=False).is_needed
    assert Examiner(policy(formats_identify=False), identify=True).is_needed
    with examining(policy(), identify=False) as nobody:
        assert nobody is None
    with examining(policy()) as somebody:
        assert somebody is not None


def test_where_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archiver.seal.examine.installed", lambda: ())
    assert not Examiner(policy()).is_needed
    with pytest.raises(UsageError, match="can't be identified") as raised:
        Examiner(policy(refused=("image/*",)))
    assert "archiver[formats]" in raised.value.hint


def test_a_policy_that_judges_formats_and_the_switch() -> None:
    with pytest.raises(UsageError) as raised:
        Examiner(policy(accepted=("image/*",)), identify=False)
    assert "--no-identify" in raised.value.hint


@pytest.mark.parametrize("pattern", ["image/*", "image/png", "fmt/11", "fmt/1*", "IMAGE/PNG"])
def test_a_refused_format_stops_the_bag(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(SourceError, match=r"data/a\.png: .*fmt/11") as raised:
        sealed(tmp_path, {"a.png": PNG, "b.txt": b"b"}, policy(refused=(pattern,)))
    assert isinstance(raised.value, UnwantedError)
    assert "a.png" not in raised.value.reason
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "bag").exists()
    assert none_left() == []


def test_only_what_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(UnwantedError, match=r"b\.qqq.*unknown"):
        sealed(tmp_path, {"a.png": PNG, "b.qqq": b"\1\2\xff\xfe"}, policy(accepted=("image/*",)))
    sealed(tmp_path / "2", {"a.png": PNG, "b.txt": b"b"}, policy(accepted=("fmt/11", "text/*")))


def test_a_scanner_that_finds_nothing(tmp_path: Path) -> None:
    command = (script(tmp_path, GREP), "{path}")
    examiner = sealed(tmp_path, {"a": b"a"}, policy(scan_command=command), identify=False)
    event = events(tmp_path / "bag")["virus check"]
    assert (event.outcome, event.detail) == (
        "success",
        {"result": "clean", "scanner": "scanner"},
    )
    assert examiner.summary == {"scan": {"result": "clean", "scanner": "scanner"}}
    assert not (tmp_path / "bag/metadata/formats.jsonl").exists()


def test_malware_is_kept_and_flagged(tmp_path: Path) -> None:
    command = (script(tmp_path, GREP), "{path}")
    examiner = sealed(tmp_path, {"a": EICAR.encode()}, policy(scan_command=command))
    event = events(tmp_path / "bag")["virus check"]
    assert (event.outcome, event.detail["result"]) == ("failure", "infected")
    assert "found malware" in examiner.warnings[0]
    assert (tmp_path / "bag/data/a").read_bytes() == EICAR.encode()


def test_malware_is_refused_where_the_policy_says_so(tmp_path: Path) -> None:
    command = (script(tmp_path, GREP), "{path}")
    chosen = policy(scan_command=command, scan_found="refuse")
    with pytest.raises(UnwantedError, match="found malware"):
        sealed(tmp_path, {"a": EICAR.encode()}, chosen)
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "bag").exists()


@pytest.mark.parametrize(
    ("command", "reason"),
    [((), "no scanner is configured"), (("/nowhere/scan", "{path}"), "absent")],
)
def test_a_skip_is_said_and_is_no_success(
    tmp_path: Path, command: tuple[str, ...], reason: str
) -> None:
    chosen = policy(scan_command=command, scan_required=True)
    examiner = sealed(tmp_path, {"a": b"a"}, chosen, identify=False)
    event = events(tmp_path / "bag")["virus check"]
    assert event.outcome == "failure"
    assert (event.detail["result"], event.detail["reason"]) == ("not scanned", reason)
    assert reason in examiner.warnings[0]


def test_a_batch_has_one_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from archiver.identify import keeper

    started: list[object] = []
    start = keeper.Child._start

    def counted(*given: Any) -> Any:
        started.append(given)
        return start(*given)

    monkeypatch.setattr(keeper.Child, "_start", counted)
    (tmp_path / "out").mkdir()
    examiner = Examiner(policy(), (str(tmp_path / "out"),))
    options, orders = replace(OPTIONS, examine=examiner, workers=0), []
    for number in range(4):
        source = make_source(tmp_path / f"s{number}", {"a.png": PNG})
        goal = str(tmp_path / f"out/{number}")
        plan = plan_sources([str(source)], goal, PlanOptions())
        orders.append(Order(plan=plan, destination=goal, options=options))
    made = stage_bags(str(tmp_path / "out"), orders)
    commit_bags([one for one in made if isinstance(one, StagedBag)])
    examiner.close()
    assert len(started) == 1
    for number in range(4):
        assert "format identification" in events(tmp_path / f"out/{number}")


def test_what_is_secret_has_a_child_of_its_own_and_leaves_the_other_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archiver.identify import keeper

    readable: list[list[str]] = []
    start = keeper.Child._start

    def counted(self: Any, roots: Any, *given: Any) -> Any:
        readable.append(list(roots))
        return start(self, roots, *given)

    monkeypatch.setattr(keeper.Child, "_start", counted)
    (tmp_path / "out/data").mkdir(parents=True)
    (tmp_path / "out/data/a.png").write_bytes(PNG)
    secret = tmp_path / "b.png"
    secret.write_bytes(PNG)
    examiner = Examiner(policy(), (str(tmp_path / "out"),))
    for _number in range(2):
        assert examiner(str(tmp_path / "out")).tag_files
        source = PlainSource(path=str(secret), name="data/0001", label="file 1")
        assert examiner.before_encryption([source]).tag_files
    assert examiner(str(tmp_path / "out")).tag_files
    assert examiner._identifier is not None
    assert examiner._secretly is not None
    assert examiner._identifier._keeper._child is not None
    assert examiner._secretly._keeper._child is None
    examiner.close()
    assert readable == [[str(tmp_path / "out")], [str(secret)], [str(secret)]]


def test_files_that_go_wrong_are_told_in_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from archiver.identify import asking
    from tests.identify.looking import FAULTS

    monkeypatch.setattr(asking, "installed", lambda: FAULTS)
    chosen = policy(seconds=1)
    examiner = sealed(tmp_path, {"a": b"hang:", "b": b"leave:", "c": b"good"}, chosen)
    assert examiner.summary["formats"] == {"failed": 1, "identified": 1, "timed out": 1}
    assert examiner.warnings == [
        "2 files could not be examined as they should; they are kept as they are"
    ]
