"""Checkpoints are stamped like bags: asked for, waited for, and judged by the same rules."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from archiver.custody import Event
from archiver.pki.anchors import Anchors
from archiver.pki.certificates import Certificate, read_certificates
from archiver.seal.stamping import StampOptions, tsa_id
from archiver.vault import Vault, create_vault
from archiver.vault.check import check_logs
from archiver.vault.checkpoint import write_checkpoint
from archiver.vault.log import CaseLog
from archiver.vault.stamping import ask_for_stamps, request_stamps
from tests.helpers import Ran, run
from tests.sealing import DAY, IMPATIENT, NOW, Office, demo_tsa, now, write_key
from tests.timestamp.test_token import crl_of

DEAD = "http://127.0.0.1:9/"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A vault, the office's keys and root as files, a TSA that can be out of order."""

    vault: Vault
    tsa: Any
    base: Path
    capsys: pytest.CaptureFixture[str]

    @property
    def checkpoints(self) -> Path:
        return Path(self.vault.path) / "custody" / "checkpoints"

    def files(self, ending: str) -> list[Path]:
        return sorted(self.checkpoints.glob(f"*.{ending}"))

    def run(self, command: str, *arguments: object) -> Ran:
        return run(self.capsys, "events", command, *arguments, "--vault", self.vault.path)

    def checkpoint(self, *urls: str, more: tuple[object, ...] = ()) -> Ran:
        given = [part for url in urls or (self.tsa.url,) for part in ("--tsa", url)]
        return self.run("checkpoint", "--key", self.base / "keys/ana.key", *given, *more)

    def verify(self, *more: object) -> Ran:
        return self.run("verify", "--trust", self.base / "ca.pem", *more)

    def verify_time(self, *more: object) -> Ran:
        return self.verify("--tsa-root", self.tsa.directory / "root.pem", *more)

    def problems(self, anchors: Anchors, now: datetime | None = None) -> list[str]:
        return [one.problem for one in check_logs(self.vault, (), anchors, now).problems]

    @property
    def root(self) -> Certificate:
        (root,) = read_certificates((self.tsa.directory / "root.pem").read_bytes())
        return root


@pytest.fixture
def scene(
    tmp_path: Path,
    office: Office,
    tsa: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Scene]:
    for name in ("HOME", "XDG_STATE_HOME", "ARCHIVER_KEY_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    vault = create_vault(str(tmp_path / "vault"), identifier="urn:x", policy="default")
    write_key(office.ana, tmp_path / "keys", "ana")
    (tmp_path / "ca.pem").write_bytes(office.ca.certificate.pem)
    with demo_tsa().Tsa(tsa.directory) as own:
        made = Scene(vault=vault, tsa=own, base=tmp_path, capsys=capsys)
        happen(made, 3)
        yield made


def happen(scene: Scene, count: int) -> None:
    log = CaseLog("a", scene.vault.log_path("a"))
    list(log.read())
    log.append([Event(type="fixity check", at=NOW) for _number in range(count)])


def out_of_order(scene: Scene) -> list[bytes]:
    """Have the TSA refuse; what it was asked is counted."""
    asked: list[bytes] = []

    def refuse(handler: BaseHTTPRequestHandler, query: bytes) -> None:
        asked.append(query)
        with suppress(BrokenPipeError, ConnectionResetError):
            handler.send_error(403)

    scene.tsa.answer = refuse
    return asked


def stamped(scene: Scene, *signers: Any) -> None:
    """A checkpoint with its stamps, without the command line."""
    options = StampOptions(urls=(scene.tsa.url,), patience=IMPATIENT)
    path, _checkpoint = write_checkpoint(scene.vault, signers, NOW)
    request_stamps(scene.vault, path, options)
    results = ask_for_stamps(scene.vault, options, now())
    assert [one.problem for one in results] == [""] * len(signers)


def test_a_checkpoint_is_stamped(scene: Scene) -> None:
    root = scene.tsa.directory / "root.pem"
    made = scene.checkpoint(more=("--tsa-root", root))
    assert (made.code, "time stamp: 20" in made.out, "not checked" in made.err) == (0, True, False)
    (signature,), (stamp,) = scene.files("p7s"), scene.files("tsr")
    assert stamp.name == f"{signature.name}.{tsa_id(scene.tsa.url)}.tsr"
    assert scene.files("tsq") == []
    assert not (scene.checkpoints / "certificates").exists()  # they are in the stamp
    done = scene.verify_time()
    assert (done.code, "; proven to be there on 20" in done.out) == (0, True)
    told: Any = scene.verify_time("--json").json["checkpoints"]
    assert [sorted(one) for one in told] == [["at", "path", "signers", "stamps", "trusted"]]
    ((only,),) = [one["stamps"] for one in told]
    assert only["trusted"] is True
    gen_time = datetime.fromisoformat(only["gen_time"])
    assert abs(gen_time - datetime.now(UTC)) < timedelta(minutes=5)
    program = ["openssl", "ts", "-verify", "-data", signature, "-in", stamp, "-CAfile", root]
    assert subprocess.run(program, check=False, capture_output=True).returncode == 0


def test_in_json(scene: Scene) -> None:
    made: Any = scene.checkpoint(more=("--json",)).json
    (one,) = made["time_stamps"]
    assert (one["problem"], one["tsa"]) == (None, scene.tsa.url)
    assert one["signature"].endswith(".p7s")


def test_a_tsa_that_is_down_stands_in_nobodys_way(scene: Scene) -> None:
    out_of_order(scene)
    made = scene.checkpoint()
    assert made.code == 4
    assert "waits for its time stamp; the checkpoint is kept all the same" in made.err
    assert "asks again" in made.err
    assert (len(scene.files("tsq")), len(scene.files("tsr"))) == (1, 0)
    waits = scene.verify()
    assert (waits.code, "waits for its time stamp" in waits.out) == (0, True)
    asked = scene.verify_time()
    assert (asked.code, "still waits for its time stamp" in asked.out) == (1, True)
    del scene.tsa.answer
    happen(scene, 1)
    later = scene.checkpoint()
    assert (later.code, later.out.count("time stamp: 20")) == (0, 2)
    assert (len(scene.files("tsq")), len(scene.files("tsr"))) == (0, 2)
    assert scene.verify_time().code == 0


def test_one_that_fails_is_asked_once_however_much_waits(scene: Scene) -> None:
    asked = out_of_order(scene)
    for _number in range(3):
        assert scene.checkpoint().code == 4
    assert len(asked) == 3
    assert len(scene.files("tsq")) == 3
    newest = max(scene.files("tsq"))
    assert asked[-1] == newest.read_bytes()


def test_one_of_two_is_down(scene: Scene) -> None:
    options = StampOptions(urls=(DEAD, scene.tsa.url), patience=IMPATIENT)
    office_key = scene.base / "keys/ana.key"
    assert office_key.exists()
    assert scene.checkpoint(*options.urls).code == 4
    assert (len(scene.files("tsq")), len(scene.files("tsr"))) == (1, 1)
    assert scene.verify_time().code == 0  # one is enough


def test_older_ones_that_nobody_was_asked_for(scene: Scene, tsa: Any) -> None:
    """They get their stamp; one that has a stamp isn't brought to each new TSA."""
    bare = scene.run("checkpoint", "--key", scene.base / "keys/ana.key")
    assert (bare.code, scene.files("tsq")) == (0, [])
    missing = scene.verify_time()
    assert (missing.code, "no time stamp that you trust" in missing.out) == (1, True)
    assert scene.checkpoint().code == 0
    assert len(scene.files("tsr")) == 2
    assert scene.checkpoint(tsa.url).code == 0
    assert len(scene.files("tsr")) == 3
    assert scene.verify_time().code == 0


def test_another_root_than_the_pinned_one(scene: Scene) -> None:
    made = scene.checkpoint(more=("--tsa-root", scene.base / "ca.pem"))
    assert (made.code, "doesn't come from a pinned root" in made.err) == (4, True)
    assert (len(scene.files("tsq")), len(scene.files("tsr"))) == (1, 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ("checkpoint", "--tsa", DEAD),
        ("checkpoint", "--tsa-root", "x"),
        ("checkpoint", "--trust", "x"),
        ("checkpoint", "--against-head", "x"),
        ("verify", "--tsa", DEAD),
        ("verify", "--key", "x"),
        ("", "--tsa-root", "x"),
        ("a-E-0001", "--tsa", DEAD),
    ],
)
def test_options_that_go_elsewhere(arguments: tuple[str, ...], scene: Scene) -> None:
    done = scene.run(*arguments)
    assert done.code == 2
    assert scene.checkpoints.exists() is False


def test_interrupted_while_waiting(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("archiver.vault.stamping.ask_for_stamps", interrupted)
    done = scene.checkpoint()
    assert (done.code, "is kept; its time stamp waits" in done.err) == (130, True)
    assert len(scene.files("tsq")) == 1
    monkeypatch.undo()
    assert scene.verify().code == 0


def test_another_run_asks_just_now(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("archiver.vault.stamping.WAIT_SECONDS", 0.2)
    with scene.vault.asking("test", 0.0):
        done = scene.checkpoint()
    assert (done.code, "is being written by" in done.err) == (4, True)
    assert "000001.txt" in done.out
    assert scene.checkpoint().code == 0
    assert (len(scene.files("tsq")), len(scene.files("tsr"))) == (0, 2)


# -- stamps that don't hold


@pytest.mark.parametrize("how", ["garbage", "other", "empty", "long", "flipped"])
@pytest.mark.parametrize("roots", ["named", "none"])
def test_stamps_that_do_not_hold(how: str, roots: str, scene: Scene, office: Office) -> None:
    """Those that are broken are told, whoever is trusted."""
    stamped(scene, office.ana)
    happen(scene, 1)
    stamped(scene, office.ana)
    first, second = scene.files("tsr")
    data = bytearray(first.read_bytes())
    data[-10] ^= 1
    first.chmod(0o644)
    first.write_bytes(
        {
            "garbage": b"garbage",
            "other": second.read_bytes(),
            "empty": b"",
            "long": first.read_bytes() + b"\0" * (300 << 10),
            "flipped": bytes(data),
        }[how]
    )
    anchors = office.anchors(tsa_roots=(scene.root,)) if roots == "named" else office.anchors()
    found = scene.problems(anchors)
    assert any("the time stamp doesn't hold" in one for one in found)
    assert any("no time stamp that you trust" in one for one in found) == (roots == "named")
    (first_state, second_state) = check_logs(scene.vault, (), anchors).checkpoints
    assert first_state.proven_at is None
    assert (second_state.proven_at is None) == (roots == "none")


def test_a_stamp_that_was_taken_away(scene: Scene, office: Office) -> None:
    stamped(scene, office.ana)
    (stamp,) = scene.files("tsr")
    stamp.unlink()
    assert scene.problems(office.anchors()) == []
    named = office.anchors(tsa_roots=(scene.root,))
    assert scene.problems(named) == ["this checkpoint has no time stamp that you trust"]
    only_time = Anchors(tsa_roots=(scene.root,))
    assert scene.problems(only_time) == ["this checkpoint has no time stamp that you trust"]


def test_a_link_is_no_stamp(scene: Scene, office: Office) -> None:
    stamped(scene, office.ana)
    (stamp,) = scene.files("tsr")
    shutil.move(stamp, scene.base / "away")
    stamp.symlink_to(scene.base / "away")
    assert scene.problems(office.anchors(tsa_roots=(scene.root,))) != []


def test_a_text_that_was_taken_away_from_its_stamps(scene: Scene, office: Office) -> None:
    """The number isn't given again: else the signature would be taken for a leftover."""
    stamped(scene, office.ana)
    (scene.checkpoints / "000001.txt").unlink()
    Path(scene.vault.log_path("a")).unlink()
    assert scene.problems(Anchors()) == ["the checkpoint that it belongs to is gone"]
    path, _checkpoint = write_checkpoint(scene.vault, (), NOW)
    assert Path(path).name == "000002.txt"
    assert "the checkpoint before it is gone" in scene.problems(Anchors())


@pytest.mark.parametrize("kind", ["unknown", "leaf", "future", "revoked"])
def test_stamps_by_tsas_that_do_not_count(kind: str, scene: Scene, office: Office) -> None:
    stamped(scene, office.ana)
    (leaf,) = read_certificates((scene.tsa.directory / "tsa.pem").read_bytes())
    roots, now, told = (scene.root,), datetime.now(UTC), ""
    if kind == "unknown":
        roots = (office.false_ca.certificate,)
    elif kind == "leaf":
        roots = (leaf,)
    elif kind == "future":
        now, told = now - DAY / 2, "it is from the future"
    crls = revoking(scene, leaf) if kind == "revoked" else ()
    found = scene.problems(office.anchors(tsa_roots=roots, crls=crls), now)
    assert "this checkpoint has no time stamp that you trust" in found
    told = "its TSA's certificate was revoked" if kind == "revoked" else told
    assert any(told in one for one in found)
    assert len(found) == (2 if told else 1)


def revoking(scene: Scene, leaf: Certificate) -> Any:
    """A revocation list by the TSA's root."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from archiver.pki.keyring import SigningKey

    key: Any = load_pem_private_key((scene.tsa.directory / "root.key").read_bytes(), None)
    issuer = SigningKey(key=key, certificate=scene.root)
    revoked = SigningKey(key=key, certificate=leaf)
    return crl_of(issuer, revoked, "keyCompromise", NOW - 400 * DAY)


def test_a_stamp_by_a_stranger_takes_nothing_away(
    scene: Scene, office: Office, tmp_path: Path
) -> None:
    """Two TSAs were asked; the checker names the root of one."""
    with demo_tsa().Tsa(tmp_path / "other") as other:
        assert scene.checkpoint(scene.tsa.url, other.url).code == 0
    assert scene.verify_time().code == 0
    (state,) = check_logs(scene.vault, (), office.anchors(tsa_roots=(scene.root,))).checkpoints
    assert sorted(one.trusted for one in state.stamps) == [False, True]
    assert "stamped, by none that you trust" in scene.verify().out


def test_the_stamp_must_be_over_a_signature_that_counts(scene: Scene, office: Office) -> None:
    """A stranger's signature is stamped, Ana's is not."""
    stamped(scene, office.ana, office.mallory)
    ana = office.ana.certificate.fingerprint[:16]
    (stamp,) = [path for path in scene.files("tsr") if ana in path.name]
    stamp.unlink()
    anchors = office.anchors(tsa_roots=(scene.root,))
    assert scene.problems(anchors) == ["this checkpoint has no time stamp that you trust"]
    assert scene.problems(Anchors(tsa_roots=(scene.root,))) == []


# -- who signed it, at the proven time


@pytest.mark.parametrize("stamp", ["stamped", "bare"])
@pytest.mark.parametrize("revoked", ["before", "after"])
def test_revoked_signers(stamp: str, revoked: str, scene: Scene, office: Office) -> None:
    """Only a stamp can prove that a signature is older than the revocation."""
    if stamp == "stamped":
        stamped(scene, office.ana)
    else:
        write_checkpoint(scene.vault, (office.ana,), NOW)
    since = NOW - DAY / 2 if revoked == "before" else datetime.now(UTC) + timedelta(hours=1)
    crls = crl_of(office.ca, office.ana, "keyCompromise", since)
    now = datetime.now(UTC) + 2 * DAY
    (state,) = check_logs(
        scene.vault, (), office.anchors(crls=crls, tsa_roots=(scene.root,)), now
    ).checkpoints
    assert state.trusted == (1 if (stamp, revoked) == ("stamped", "after") else 0)
    without_roots = check_logs(scene.vault, (), office.anchors(crls=crls), now)
    assert without_roots.checkpoints[0].trusted == 0


def test_expired_signers(scene: Scene, office: Office) -> None:
    stamped(scene, office.ana)
    now = NOW + 2000 * DAY
    assert scene.problems(office.anchors(tsa_roots=(scene.root,)), now) == []
    assert scene.problems(office.anchors(), now) == [
        "nobody whom you trust has signed this checkpoint"
    ]
