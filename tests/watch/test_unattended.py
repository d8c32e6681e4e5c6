"""Keys that come later, expire, are revoked: real keys, real files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archiver.cli.keys import check_signers, sealing_for
from archiver.errors import KeyringError, UsageError
from archiver.pki.passphrase import find_passphrase
from archiver.seal import Sealing
from archiver.watch.model import Done, Failed, Prepared, Unit
from archiver.watch.unattended import KeySink, Opener
from tests.sealing import Office, write_key

UNIT = Unit(root=b"/in", members=(), key="00")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Recording:
    """A sink that only notes who was to sign what was prepared."""

    sealing: Sealing | None
    prepared: list[str] = field(default_factory=list)

    def problem(self) -> str:
        return ""

    def prepare(self, units: Sequence[Unit]) -> list[Prepared | Failed]:
        self.prepared += [unit.key for unit in units]
        return []

    def commit(self, prepared: Sequence[Prepared]) -> list[Done | Failed]:
        return []

    def abandon(self, prepared: Sequence[Prepared]) -> None:
        pass

    def find(self, unit: Unit) -> Done | None:
        return None

    def is_proved(self, done: Done, replicas: int) -> bool:
        return False

    def sweep(self) -> None:
        pass


class Room:
    """A key directory, an opener and the sinks that were made."""

    def __init__(self, place: Path, office: Office, *, allow: bool) -> None:
        self.keys, self.office, self.clock = place / "keys", office, Clock()
        self.warnings: list[tuple[str, bool]] = []
        self.sinks: list[Recording] = []
        self.opener = Opener(self._open, self._check, clock=self.clock)
        self.sink = KeySink(self._make, self.opener, allow_unsigned=allow, warn=self._warn)

    def _open(self) -> Sealing:
        now = datetime.now(UTC)
        return sealing_for(["ana"], str(self.keys), [], [], [], now, attended=False)

    def _check(self, sealing: Sealing) -> None:
        check_signers(sealing.signers, str(self.keys), datetime.now(UTC))

    def _make(self, sealing: Sealing | None) -> Recording:
        self.sinks.append(Recording(sealing))
        return self.sinks[-1]

    def _warn(self, text: str, *, unsigned: bool) -> None:
        self.warnings.append((text, unsigned))

    def bring_key(self) -> None:
        write_key(self.office.ana, self.keys, "ana")

    def signed(self) -> list[bool]:
        """Of everything that was prepared, whether it was signed."""
        return [sink.sealing is not None for sink in self.sinks for _key in sink.prepared]


def test_files_wait_for_the_key(tmp_path: Path, office: Office) -> None:
    room = Room(tmp_path, office, allow=False)
    assert "no key to sign with" in room.sink.problem()
    (failed,) = room.sink.prepare([UNIT])
    assert isinstance(failed, Failed)
    assert failed.kind == "sink"
    room.bring_key()
    assert room.sink.problem()  # it isn't tried all the time
    room.clock.now = 11.0
    assert room.sink.problem() == ""
    room.sink.prepare([UNIT])
    assert room.signed() == [True]
    assert room.warnings == []


def test_unsigned_where_the_policy_says_so(tmp_path: Path, office: Office) -> None:
    room = Room(tmp_path, office, allow=True)
    assert room.sink.problem() == ""
    room.sink.prepare([UNIT])
    room.bring_key()
    room.clock.now = 11.0
    assert room.sink.problem() == ""
    room.sink.prepare([UNIT])
    assert room.signed() == [False, True]
    assert [unsigned for _text, unsigned in room.warnings] == [True, False]


def test_a_signer_that_may_not_sign_any_more(tmp_path: Path, office: Office) -> None:
    room = Room(tmp_path, office, allow=False)
    room.bring_key()
    assert room.sink.problem() == ""
    late = datetime(2200, 1, 1, tzinfo=UTC)
    sealing, _problem = room.opener.look()
    assert sealing
    with pytest.raises(KeyringError, match="valid from"):
        check_signers(sealing.signers, str(room.keys), late)
    (room.keys / "trust.json").write_text("{")  # a list that can't be read is no permission
    room.clock.now = 61.0
    assert "no key to sign with" in room.sink.problem()
    (room.keys / "trust.json").unlink()
    room.clock.now = 72.0
    assert room.sink.problem() == ""


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("correct horse\n")
    return path


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o666, 0o620, 0o601])
def test_a_passphrase_file_that_others_can_read(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    with pytest.raises(KeyringError, match="can be read by others"):
        find_passphrase(str(secret), {})


@pytest.mark.parametrize(("mode", "good"), [(0o400, True), (0o440, True), (0o444, False)])
def test_a_credential_of_systemd(secret: Path, mode: int, good: bool) -> None:
    directory = secret.parent / "credentials"
    directory.mkdir()
    secret.rename(directory / "archiver-passphrase")
    (directory / "archiver-passphrase").chmod(mode)
    environment = {"CREDENTIALS_DIRECTORY": str(directory)}
    if good:
        assert find_passphrase("", environment) == b"correct horse"
    else:
        with pytest.raises(KeyringError):
            find_passphrase("", environment)


def test_a_passphrase_file_of_another_user(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that an access list lets us read, say."""
    if os.geteuid() != 0:
        pytest.skip("needs root to give files away")
    secret.chmod(0o600)
    os.chown(secret, 12345, 12345)
    assert find_passphrase(str(secret), {}) == b"correct horse"  # root reads what it is told to
    monkeypatch.setattr(os, "geteuid", lambda: 12346)
    with pytest.raises(KeyringError, match="belongs to another user"):
        find_passphrase(str(secret), {})
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert find_passphrase(str(secret), {}) == b"correct horse"


def test_no_passphrase_and_nobody_there(tmp_path: Path) -> None:
    with pytest.raises((KeyringError, UsageError)):
        sealing_for(["x"], str(tmp_path), [], [], [], datetime.now(UTC), attended=False)
