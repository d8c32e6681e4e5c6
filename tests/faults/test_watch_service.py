"""The watcher as a service, with real faults: entries 30, 31, 32 and 36 of the fault list.

Oracle after each: every file lies in exactly one valid bag (or in none, and a next run makes
one), staging is empty, logs and journal agree.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.watching import SECONDS, Site, watching
from tests.sealing import Office, write_key


@pytest.fixture
def site(tmp_path: Path, office: Office) -> Site:
    return Site(tmp_path, office)


def test_a_second_watcher_refuses(site: Site) -> None:
    """30."""
    with watching(site) as first:
        second = site.run(*site.command())
        assert second.returncode == 5
        assert "watched by another process already: pid" in second.stderr
        assert "archiver watch status" in second.stderr
        assert site.once().returncode == 5
        site.fill(3)
        site.wait_for("f2.bin")
        assert site.run(*site.command("--dry-run")).returncode == 0  # which only looks
        assert first.stop()[0] == 0
    site.judge()


def test_sigterm_under_load(site: Site, tally: Counter[str], full: bool) -> None:
    """31: what was begun is finished or rolled back, in time, at whatever moment."""
    chance = random.Random(31)
    for number in range(30 if full else 3):
        site.fill(60, first=60 * number)
        big = site.inbox / f"big{number}.bin"
        big.write_bytes(chance.randbytes(24 << 20))
        with watching(site) as running:
            time.sleep(chance.uniform(0.0, 3.5))
            code, seconds = running.stop(chance.choice([signal.SIGTERM, signal.SIGINT]))
            assert code == 0, running.log()
            assert seconds < SECONDS / 2
            assert "STOPPING=1" in running.heard()
            assert running.events()[-1]["event"] == "stopped"
        if full or not number:
            site.judge(complete=False)
        tally["stopped"] += 1
    done = site.once()
    assert done.returncode == 0, done.stderr
    site.judge()


def test_who_is_in_a_hurry(site: Site, tally: Counter[str], full: bool) -> None:
    """31: the second signal breaks off in the middle of a file; it is made by the next run."""
    site.policy("quiet_seconds = 1", "unproved_quiet_seconds = 1", "large_bytes = 1000000")
    with open(site.inbox / "big.bin", "wb") as file:
        file.writelines(os.urandom(64 << 20) for _piece in range(24 if full else 6))
    with watching(site) as running:
        until = time.monotonic() + SECONDS
        while not list((site.vault / "bags").glob("a/.archiver-*/**/big.bin")):
            assert time.monotonic() < until
            assert running.process.poll() is None, running.log()
            time.sleep(0.005)
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.05)
        code, seconds = running.stop()
        assert seconds < 20
        assert code in (0, 130)
        tally["broken off"] += code == 130
        assert running.events()[-1]["event"] == ("broken-off" if code else "stopped")
    assert code == 130
    site.judge(complete=False)
    assert site.bags() == []
    done = site.once()
    assert done.returncode == 0, done.stderr
    site.judge()
    assert [bag.name for bag in site.bags()] == ["a-E-0001"]


def test_a_frozen_worker_is_no_sign_of_life(site: Site) -> None:
    """32: no ping while a worker hangs, though the process and its endpoints live."""
    with watching(site, watchdog_seconds=4.0) as running:
        assert "WATCHDOG=1" in running.heard(2.5)
        site.fill(1)
        site.wait_for("f0.bin")
        with open(site.inbox / "big.bin", "wb") as file:
            file.writelines(os.urandom(64 << 20) for _piece in range(4))
        until, frozen = time.monotonic() + SECONDS, list[int]()
        while not frozen:
            assert time.monotonic() < until, running.log()
            frozen = running.workers()
            for worker in frozen:
                os.kill(worker, signal.SIGSTOP)
        running.heard(3.5)  # the last pings from before
        assert "WATCHDOG=1" not in running.heard(3.0)
        code, body = running.ask("/healthz")
        assert code == 503
        assert json.loads(body)["alive"] is False
        assert json.loads(body)["beats"]["scanner_seconds"] < 4
        assert running.ask("/metrics")[0] == 200
        for worker in frozen:
            os.kill(worker, signal.SIGCONT)
        running.wait_until("WATCHDOG=1")
        site.wait_for("big.bin")
        assert running.ask("/healthz")[0] == 200
        assert running.stop()[0] == 0
    site.judge()


def test_a_frozen_process_is_ended_and_the_next_one_goes_on(site: Site) -> None:
    """32: what the service manager does when no ping comes."""
    site.fill(200)
    with watching(site, watchdog_seconds=4.0) as running:
        time.sleep(1.0)
        running.process.send_signal(signal.SIGSTOP)
        running.heard(0.5)
        assert running.heard(2.0) == []
        running.process.kill()  # WatchdogSignal=SIGABRT, or at last SIGKILL
        running.process.wait()
        with watching(site) as again:
            site.wait_for("f199.bin")
            assert again.stop()[0] == 0
    done = site.once()
    assert done.returncode == 0, done.stderr
    site.judge()


def test_originals_stay_while_a_replica_is_down(site: Site) -> None:
    """36."""
    site.policy("quiet_seconds = 1", 'originals = "delete"', "required_replicas = 1")
    second, away = site.place / "second", site.place / "away"
    assert site.run("replica", "add", "second", str(second)).returncode == 0
    second.rename(away)  # the disk is out
    site.fill(5)
    assert site.once().returncode == 0
    assert len(list(site.inbox.iterdir())) == 5
    site.judge()
    second.mkdir()  # the mount point is there, the disk is not
    assert site.once().returncode == 0
    assert len(list(site.inbox.iterdir())) == 5
    second.rmdir()
    away.rename(second)
    assert site.once().returncode == 0  # it is back, and has no copies yet
    assert len(list(site.inbox.iterdir())) == 5
    assert site.run("replica", "sync").returncode == 0
    (copy,) = second.rglob("f3.bin")
    copy.chmod(0o644)
    copy.write_bytes(copy.read_bytes()[:-1] + b"X")
    assert site.once().returncode == 0
    assert [path.name for path in site.inbox.iterdir()] == ["f3.bin"]  # its copy is damaged
    assert site.status("f0.bin") == 0
    assert site.status("f3.bin") == 0


def test_the_key_comes_later(site: Site, office: Office) -> None:
    """Files wait, /readyz says why without names; then everything is signed."""
    shutil.rmtree(site.place / "keys")
    (site.place / "keys").mkdir(mode=0o700)
    site.fill(4)
    with watching(site) as running:
        until = time.monotonic() + SECONDS
        while running.ask("/readyz")[0] == 200:
            assert time.monotonic() < until
            time.sleep(0.2)
        code, body = running.ask("/readyz")
        assert code == 503
        (reason,) = json.loads(body)["reasons"]
        assert "no key to sign with" in reason["reason"]
        assert str(site.place) not in body
        assert site.bags() == []
        assert site.status("f0.bin") == 4
        write_key(office.ana, site.place / "keys", "ana")
        site.wait_for("f3.bin", 60 + SECONDS)
        assert running.ask("/readyz")[0] == 200
        assert running.stop()[0] == 0
        events = [one["event"] for one in running.events()]
        assert events.index("target-waits") < events.index("target-goes-on")
        assert "f0.bin" not in running.log()
        assert str(site.place) not in running.log()
    site.judge()


def test_without_its_key_unsigned_where_the_policy_says_so(site: Site) -> None:
    site.policy("quiet_seconds = 1", 'unsigned = "allow"')
    shutil.rmtree(site.place / "keys")
    (site.place / "keys").mkdir(mode=0o700)
    site.fill(2)
    done = site.once()
    assert done.returncode == 0, done.stderr
    assert "made unsigned, as the policy allows" in done.stderr
    site.judge(signed=False)
    site.policy("quiet_seconds = 1")
    site.fill(1, first=2)
    done = site.once()
    assert done.returncode == 5
    assert "no key to sign with" in done.stderr
    assert len(site.bags()) == 2


def test_the_log_of_many_files_is_short(site: Site, full: bool) -> None:
    """Below 1 MB for 100,000 files, however it is counted: lines don't grow with files."""
    count = 3000 if full else 600
    with watching(site) as running:
        site.fill(count, size=100)
        site.wait_for(f"f{count - 1}.bin", 10 * SECONDS)
        until = time.monotonic() + 10 * SECONDS
        while json.loads(running.ask("/readyz")[1])["waiting"]:
            assert time.monotonic() < until
            time.sleep(0.5)
        assert running.stop()[0] == 0
        assert len(running.log()) < 10 * count
        assert "f1" not in running.log()
    site.judge()
