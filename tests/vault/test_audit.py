"""Audits: damage is found and named, in every way a bag can be damaged; history is kept."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from archiver.audit import AuditOptions, audit, open_incidents
from archiver.errors import UnreadableError
from archiver.fixity import Result
from archiver.summary import summarise
from archiver.vault import Vault
from archiver.vault.check import check_logs
from archiver.vault.records import reading
from tests.bag.making import ENVIRONMENT, ROOT
from tests.faults.test_disks import tmpfs
from tests.helpers import Ran, run
from tests.sealing import DAY, NOW
from tests.tracing import STRACE, needs_strace
from tests.vault.looking import links


@pytest.fixture
def vault(filled: Vault) -> Vault:
    return filled


def bag(vault: Vault) -> Path:
    place = Path(vault.bag_path("a", "a-E-0001"))
    for path in [place, *place.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return place


def results(vault: Vault, now: datetime = NOW, **options: Any) -> dict[str, str]:
    found = audit(vault, AuditOptions(**options), lambda: now)
    return {one.item: one.result.value for one in found}


GOOD = {"a-E-0001": "good", "a-E-0002": "good", "b-E-0001": "good"}


def test_all_is_good(vault: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    done = run(capsys, "audit")
    assert (done.code, done.out.count(": good")) == (0, 3)
    assert "copies checked: 3, good: 3; open incidents: none" in done.err
    assert check_logs(vault).problems == ()
    events = links(vault, "a")[-2:]
    assert [link.event.type for link in events] == ["fixity check"] * 2


def flip(place: Path) -> None:
    path = place / "data/x.bin"
    data = bytearray(path.read_bytes())
    data[2500] ^= 1
    path.write_bytes(bytes(data))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit flipped": flip,
    "a byte cut": lambda place: (place / "data/x.bin").write_bytes(b"x" * 4999),
    "a file gone": lambda place: (place / "data/x.bin").unlink(),
    "a file added": lambda place: (place / "data/y").write_bytes(b""),
    "a tag file added": lambda place: (place / "metadata/y").write_bytes(b""),
    "the tag manifest gone": lambda place: (place / "tagmanifest-sha512.txt").unlink(),
    "the signatures gone": lambda place: shutil.rmtree(place / "signatures"),
    "the declaration gone": lambda place: (place / "bagit.txt").unlink(),
}


@pytest.mark.parametrize("damage", sorted(DAMAGES))
def test_damage(damage: str, vault: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    DAMAGES[damage](bag(vault))
    done = run(capsys, "audit")
    assert done.code == 1
    assert "a-E-0001: DAMAGED" in done.out
    assert "b-E-0001: good" in done.out
    assert [str(one) for one in open_incidents(vault)] == ["a-E-0001"]
    assert "maria" not in Path(vault.log_path("a")).read_text()
    assert "DAMAGED" in run(capsys, "list", "--case", "a").out


def test_an_exchanged_bag(vault: Vault) -> None:
    """It is sound by itself, and not the one that was sealed."""
    place, other = bag(vault), Path(vault.bag_path("a", "a-E-0002"))
    shutil.rmtree(place)
    shutil.copytree(other, place)
    assert results(vault)["a-E-0001"] == "damaged"


def test_a_bag_gone_and_a_disk_gone(vault: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    place = bag(vault)
    place.rename(place.with_name(".elsewhere"))
    assert results(vault) == GOOD | {"a-E-0001": "missing"}
    bags = Path(vault.path) / "bags"
    bags.rename(bags.with_name("unmounted"))
    assert results(vault) == {}  # nothing can be said of what was there
    gone = run(capsys, "audit", "--all", "--quiet")
    assert (gone.code, "bags is not there" in gone.err) == (1, True)
    bags.with_name("unmounted").rename(bags)
    place.with_name(".elsewhere").rename(place)
    assert run(capsys, "audit", "--all").code == 0
    assert open_incidents(vault) == []


def test_an_incident_stays_open_until_it_is_good_again(
    vault: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    place = bag(vault)
    data = (place / "data/x.bin").read_bytes()
    flip(place)
    assert run(capsys, "audit").code == 1
    later = run(capsys, "audit", "--due")  # what is open is always due, and nothing else is
    assert (later.code, "copies checked: 1" in later.err) == (1, True)
    (place / "data/x.bin").write_bytes(data)
    assert run(capsys, "audit", "-q").code == 0
    assert "copies checked: 0" in run(capsys, "audit").err


def test_the_oldest_come_first(vault: Vault) -> None:
    assert results(vault, NOW - 100 * DAY, size_bytes=1) == {"a-E-0001": "good"}
    assert results(vault, NOW - 50 * DAY, size_bytes=1) == {"a-E-0002": "good"}
    every = timedelta(days=90)
    with reading(vault) as records:
        due = records.catalog.due([""], before=NOW - every)
    assert [one.item.item for one in due] == ["b-E-0001", "a-E-0001"]
    assert results(vault, seconds=0.0) == {}
    assert results(vault, every=every) == {"b-E-0001": "good", "a-E-0001": "good"}
    assert results(vault, every=every) == {}
    assert list(results(vault)) == ["a-E-0002", "a-E-0001", "b-E-0001"]


def test_a_passing_fault_is_read_once_more(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    from archiver.verify import verify_bag as real

    calls: list[str] = []

    def flaky(path: str, *limits: Any, **options: Any) -> Any:
        calls.append(path)
        if len(calls) == 1:
            raise UnreadableError("input/output error")
        return real(path, *limits, **options)

    monkeypatch.setattr("archiver.fixity.verify_bag", flaky)
    assert results(vault) == GOOD
    assert len(calls) == 4


@needs_strace
def test_a_disk_that_answers_eio_is_no_damage(vault: Vault) -> None:
    """The real error, from every read of a payload file."""
    calls = "readv,read,pread64,preadv"
    strace = [*STRACE, "-o", "/dev/null", "-P", f"{bag(vault)}/data/x.bin"]
    strace += ["-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO"]
    command = [sys.executable, "-m", "archiver", "audit", "--json", "--vault", vault.path]
    done = subprocess.run(
        [*strace, *command],
        env=ENVIRONMENT,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["id"]: one["result"] for one in lines[:-1]} == GOOD | {"a-E-0001": "undecided"}
    assert lines[-1]["open_incidents"] == ["a-E-0001"]
    assert done.returncode == 3


def test_a_broken_log_is_told_and_the_other_cases_are_checked(
    vault: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    log = Path(vault.log_path("a"))
    log.write_bytes(log.read_bytes() + b"garbage\n")
    done = run(capsys, "audit", "--all")
    assert (done.code, done.out) == (1, "b-E-0001: good\n")
    assert "a.jsonl is broken at line 5" in done.err
    listed = run(capsys, "list")
    assert (listed.code, listed.out.count("sealed")) == (1, 3)
    assert run(capsys, "show", "a-E-0001").code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("--all", "--due"),
        ("--all", "--days", "1"),
        ("--for", "soon"),
        ("--for", "2"),
        ("--bytes", "much"),
        ("--days", "-1"),
        ("--sample", "0%"),
        ("--sample", "101%"),
        ("--sample", "some"),
        ("--rate", "fast"),
    ],
)
def test_wrong_words(
    arguments: tuple[str, ...], vault: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    done: Ran = run(capsys, "audit", *arguments)
    assert done.code == 2
    assert done.err.startswith("error: ")


def test_limits_from_the_command_line(vault: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "audit", "--for", "0s").out == ""
    one = run(capsys, "audit", "--bytes", "1", "--json").out.splitlines()
    assert len(one) == 2
    assert json.loads(one[1])["checked"] == 1
    assert Result.GOOD.value == json.loads(one[0])["result"]


def test_a_sample_is_a_random_part(vault: Vault) -> None:
    met: set[tuple[str, ...]] = set()
    for seed in range(40):
        chance = random.Random(seed)
        met.add(tuple(sorted(results(vault, share=0.5, chance=chance))))
    assert {len(one) for one in met} == {0, 1, 2, 3}
    assert results(vault, share=1.0) == GOOD


def test_a_limit_on_bytes_a_second(vault: Vault) -> None:
    """The payload of each is 5,003 to 5,005 bytes; tag files are small, and count too."""
    begun = time.monotonic()
    assert results(vault, rate_bytes=20_000) == GOOD
    assert time.monotonic() - begun >= 3 * 5_000 / 20_000


def test_disks_are_read_beside_each_other(
    vault: Vault,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two at a time where there are two disks, one after the other on each."""
    with tmpfs(tmp_path / "other", "size=9m") as other:
        run(capsys, "replica", "add", "other", other / "r")
        run(capsys, "replica", "add", "same", "same")
        assert run(capsys, "replica", "sync").code == 0
        busy: Counter[int] = Counter()
        most: Counter[int] = Counter()
        from archiver.fixity import check_copy as real

        def watched(storage: Any, *arguments: Any, **options: Any) -> Any:
            disk = os.stat(storage.directory).st_dev
            busy[disk] += 1
            most[disk] = max(most[disk], busy[disk])
            most[0] = max(most[0], sum(busy.values()))
            time.sleep(0.05)
            try:
                return real(storage, *arguments, **options)
            finally:
                busy[disk] -= 1

        monkeypatch.setattr("archiver.audit.check_copy", watched)
        found = list(audit(vault, AuditOptions(), lambda: datetime.now(UTC)))
        assert len(found) == 9
        assert {one.result for one in found} == {Result.GOOD}
        assert sorted(most.values()) == [1, 1, 2]
        # Who stops listening stops them all.
        listening = audit(vault, AuditOptions(), lambda: datetime.now(UTC))
        next(listening)
        listening.close()  # type: ignore[attr-defined]
        assert sum(busy.values()) == 0


def test_repairing_as_it_goes(vault: Vault, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "replica", "add", "second", "second")
    run(capsys, "replica", "sync")
    flip(bag(vault))
    shutil.rmtree("second/bags/b/b-E-0001")
    done = run(capsys, "audit", "--all", "--repair")
    assert (done.code, done.out.count("repaired")) == (0, 2)
    assert run(capsys, "audit", "--all").code == 0


def test_the_policy_says_how_often(
    vault: Vault, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "often.toml").write_text('extends = "default"\n[audit]\nevery_days = 1\n')
    config = Path(vault.path) / "vault.toml"
    config.chmod(0o644)
    config.write_text(config.read_text().replace('"default"', json.dumps(f"{tmp_path}/often.toml")))
    results(vault, datetime.now(UTC) - 2 * DAY)
    assert "copies checked: 3" in run(capsys, "audit").err
    assert "copies checked: 0" in run(capsys, "audit").err
    (tmp_path / "often.toml").write_text('extends = "default"\n[audit]\nevery_days = 0\n')
    wrong = run(capsys, "audit")
    assert (wrong.code, "from 1 to 36500" in wrong.err) == (2, True)


def test_a_check_by_a_clock_that_was_wrong_is_no_excuse(
    vault: Vault, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dated in the future it would not be due for years."""
    now = datetime.now(UTC)
    results(vault, now)
    results(vault, now + 4000 * DAY, size_bytes=1)
    ninety = timedelta(days=90)
    summary = summarise(vault, 90, now)
    assert (summary.overdue, summary.integrity.level) == (1, 1)
    assert results(vault, now, every=ninety) == {"a-E-0001": "good"}
    assert results(vault, now, every=ninety) == {}
    assert summarise(vault, 90, now).overdue == 0
    results(vault, now + 4000 * DAY, size_bytes=1)
    assert sorted(results(vault, now)) == sorted(GOOD)  # --all, each once
