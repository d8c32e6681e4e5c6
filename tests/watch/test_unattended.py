"""Keys that come later, expire, are revoked: real keys, real files."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from archiver.cli.keys import check_signers, sealing_for
from archiver.errors import KeyringError, UsageError
from archiver.pki.passphrase import find_passphrase
from archiver.seal import Sealing
from archiver.watch.unattended import Opener
from tests.sealing import Office, write_key


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Room:
    """A key directory and an opener."""

    def __init__(self, place: Path, office: Office, *, allow: bool) -> None:
        self.keys, self.office, self.clock = place / "keys", office, Clock()
        self.warnings: list[bool] = []
        self.opened = 0
        self.opener = Opener(
            self._open, self._check, allow_unsigned=allow, warn=self._warn, clock=self.clock
        )

    def _open(self) -> Sealing:
        self.opened += 1
        now = datetime.now(UTC)
        return sealing_for(["ana"], str(self.keys), [], [], [], now, attended=False)

    def _check(self, sealing: Sealing) -> None:
        check_signers(sealing.signers, str(self.keys), datetime.now(UTC))

    def _warn(self, text: str, *, unsigned: bool) -> None:
        assert text
        self.warnings.append(unsigned)

    def bring_key(self) -> None:
        write_key(self.office.ana, self.keys, "ana")

    def sealing(self, seconds_later: float = 0.0) -> Sealing | None:
        self.clock.now += seconds_later
        return self.opener.sealing()


def test_files_wait_for_the_key(tmp_path: Path, office: Office) -> None:
    room = Room(tmp_path, office, allow=False)
    with pytest.raises(KeyringError, match="no key to sign with: there is no signer named ana"):
        room.sealing()
    room.bring_key()
    with pytest.raises(KeyringError):  # it isn't tried all the time
        room.sealing(5)
    assert room.sealing(6)
    assert room.sealing(600)
    assert room.opened == 2
    assert room.warnings == []


def test_unsigned_where_the_policy_says_so(tmp_path: Path, office: Office) -> None:
    room = Room(tmp_path, office, allow=True)
    assert room.sealing() is None
    assert room.sealing(11) is None
    room.bring_key()
    assert room.sealing(11)
    assert room.warnings == [True, False]


def test_a_signer_that_may_not_sign_any_more(tmp_path: Path, office: Office) -> None:
    room = Room(tmp_path, office, allow=False)
    room.bring_key()
    sealing = room.sealing()
    assert sealing
    with pytest.raises(KeyringError, match="valid from"):
        check_signers(sealing.signers, str(room.keys), datetime(2200, 1, 1, tzinfo=UTC))
    (room.keys / "trust.json").write_text("{")  # a list that can't be read is no permission
    assert room.sealing(30)
    with pytest.raises(KeyringError, match="no key to sign with"):
        room.sealing(31)
    (room.keys / "trust.json").unlink()
    assert room.sealing(11)


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
