"""Keys, seals and time stamps from the command line, as people type it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import Ran, run
from tests.sealing import Office, copy, demo_tsa, make_source, tree, write_key

SECRET = "correct horse battery\n"


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("ARCHIVER_KEY_DIR", "ARCHIVER_PASSPHRASE_FILE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def keys_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `archiver key init` and `key new` make."""
    from archiver.cli import main

    place = tmp_path_factory.mktemp("cli")
    secret = place / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    common = ["--dir", str(place / "keys"), "--ca-dir", str(place / "stick")]
    common += ["--passphrase-file", str(secret)]
    assert main(["key", "init", "--organisation", "Comisión", *common]) == 0
    assert main(["key", "new", "ana", "--person", "Ana Pérez", *common]) == 0
    return place


@pytest.fixture
def place(keys_once: Path, tmp_path: Path) -> Path:
    """A directory with keys/, stick/, secret and a source."""
    for name in ("keys", "stick"):
        subprocess.run(["cp", "-a", keys_once / name, tmp_path], check=True)
    subprocess.run(["cp", "-a", keys_once / "secret", tmp_path], check=True)
    make_source(tmp_path / "source")
    return tmp_path


SEAL = ("--key", "ana", "--key-dir", "keys", "--passphrase-file", "secret")


def create(capsys: pytest.CaptureFixture[str], *more: object, bag: str = "bag") -> Ran:
    return run(capsys, "bag", "create", "source", "-o", bag, *SEAL, *more)


def fingerprint_in(text: str) -> str:
    """The digits of a fingerprint that is told in four lines of four groups."""
    lines = re.findall(r"(?m)^ *((?:[0-9A-F]{4} ?){4})$", text)
    return "".join(lines).replace(" ", "")


def test_what_key_init_leaves(place: Path) -> None:
    assert sorted(path.name for path in (place / "keys").iterdir()) == [
        "ana.key",
        "ana.pem",
        "ca-dir.txt",
        "ca.crl",
        "ca.pem",
        "signer.key",
        "signer.pem",
        "trust",
        "trust.json",
    ]
    assert sorted(path.name for path in (place / "stick").iterdir()) == ["ca.key", "ca.pem"]


def test_seal_and_verify(place: Path, tsa: Any, capsys: pytest.CaptureFixture[str]) -> None:
    root = tsa.directory / "root.pem"
    made = create(capsys, "--tsa", tsa.url, "--tsa-root", root)
    assert made.code == 0
    assert "sealed by Ana Pérez" in made.out
    assert "time stamp: 20" in made.out
    assert "unsigned" not in made.err
    for trust in ("keys/ca.pem", "keys/ana.pem", "keys/trust.json"):
        done = run(capsys, "bag", "verify", "bag", "--trust", trust, "--tsa-root", root)
        assert (done.code, done.err) == (0, "")
        assert re.search(r"trust +holds", done.out)
        assert re.search(r"time +holds +20", done.out)
        assert "Proved: not a byte was changed since 20" in done.out
        assert "Not proved:" in done.out
    shown = run(capsys, "key", "show", "ca", "--dir", "keys").out
    digits = fingerprint_in(shown)
    assert run(capsys, "bag", "verify", "bag", "--trust", f"sha256:{digits}").code == 0
    unknown = run(capsys, "bag", "verify", "bag")
    assert unknown.code == 4
    assert "UNKNOWN SIGNER" in unknown.out
    assert unknown.err.startswith("hint: ")
    assert "--trust" in unknown.err


def test_json(place: Path, tsa: Any, capsys: pytest.CaptureFixture[str]) -> None:
    made: Any = create(capsys, "--tsa", tsa.url, "--json").json
    assert made["signed"] is True
    (signer,) = made["signers"]
    assert signer["name"] == "Ana Pérez"
    (stamp,) = made["time_stamps"]
    assert stamp["problem"] is None
    root = tsa.directory / "root.pem"
    done: Any = run(
        capsys, "bag", "verify", "bag", "--json", "--trust", "keys/ca.pem", "--tsa-root", root
    ).json
    assert done["verdict"] == "valid"
    (signature,) = done["signatures"]
    assert (signature["holds"], signature["trust"]) == (True, "trusted")
    assert signature["proven_at"] == stamp["gen_time"]
    run(capsys, "bag", "create", "source", "-o", "bare")
    bare = run(capsys, "bag", "verify", "bare", "--json").json
    assert bare["signatures"] == []


def test_a_tsa_that_is_down(place: Path, tsa: Any, capsys: pytest.CaptureFixture[str]) -> None:
    made = create(capsys, "--tsa", "http://127.0.0.1:9/")
    assert made.code == 0
    assert "waits for its time stamp" in made.err
    assert len(list((place / "bag/signatures").glob("*.tsq"))) == 1
    assert run(capsys, "bag", "verify", "bag", "--trust", "keys/ca.pem").code == 0
    (place / "strict.toml").write_text('extends = "default"\n[proof]\ntime_stamps = 1\n')
    strict = create(capsys, "--tsa", "http://127.0.0.1:9/", "--policy", "strict.toml", bag="strict")
    assert strict.code == 4
    assert "Archiver-Time-Stamp: required" in (place / "strict/bag-info.txt").read_text()
    pending = run(capsys, "bag", "verify", "strict", "--trust", "keys/ca.pem")
    assert pending.code == 4
    assert "PENDING" in pending.out
    assert run(capsys, "bag", "timestamp", "strict", "--tsa", "http://127.0.0.1:9/").code == 5
    stamped = run(capsys, "bag", "timestamp", "strict", "--tsa", tsa.url)
    assert (stamped.code, "time stamp: 20" in stamped.out) == (0, True)
    again = run(capsys, "bag", "timestamp", "strict", "--tsa", tsa.url)
    assert (again.code, "already" in again.out) == (0, True)
    root = tsa.directory / "root.pem"
    verify = ("bag", "verify", "strict", "--trust", "keys/ca.pem")
    assert run(capsys, *verify, "--tsa-root", root).code == 0
    assert run(capsys, *verify).code == 4
    policy = ("--policy", "strict.toml", "--tsa-root", root)
    assert run(capsys, *verify, *policy).code == 0


def test_a_policy_that_wants_signatures(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "two.toml").write_text('extends = "default"\n[proof]\nsignatures = 2\n')
    assert create(capsys, "--policy", "two.toml").code == 2
    assert not (place / "bag").exists()
    assert create(capsys, "--policy", "two.toml", "--key", "signer").code == 0
    unsigned = run(capsys, "bag", "create", "source", "-o", "x", "--policy", "two.toml")
    assert unsigned.code == 2
    assert "hint:" in unsigned.err


@pytest.mark.parametrize("value", ["-1", "17", '"one"', "true", "1.5"])
def test_a_policy_with_a_wrong_count(
    value: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "bad.toml").write_text(f"[proof]\nsignatures = {value}\n")
    done = create(capsys, "--policy", "bad.toml")
    assert done.code == 2
    assert "bad.toml:2" in done.err


def test_groups_are_sealed_too(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert create(capsys, "--max-files", "1").code == 0
    for bag in ("bag-1", "bag-2"):
        assert run(capsys, "bag", "verify", bag, "--trust", "keys/ca.pem").code == 0


def test_a_second_signer(place: Path, tsa: Any, capsys: pytest.CaptureFixture[str]) -> None:
    create(capsys)
    before = tree(place / "bag", signatures=True)
    sign = ("bag", "sign", "bag", "--key-dir", "keys", "--passphrase-file", "secret", "--key")
    done = run(capsys, *sign, "signer", "--tsa", tsa.url)
    assert done.code == 0
    assert "signed by signer" in done.out
    after = tree(place / "bag", signatures=True)
    assert {path: after[path] for path in before} == before
    assert run(capsys, *sign, "signer").code == 5
    run(capsys, "key", "new", "carla", "--dir", "keys", "--ca-dir", "stick", *SEAL[4:])
    third = run(capsys, *sign, "carla", "--json").json
    assert len(third["signatures"]) == 1  # type: ignore[arg-type]
    report = run(capsys, "bag", "verify", "bag", "--trust", "keys/trust.json", "--json").json
    assert len(report["signatures"]) == 3  # type: ignore[arg-type]


def test_a_foreign_bag_is_signed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.helpers import Bag

    Bag(algorithms=("sha256",)).write(place / "foreign")
    done = run(capsys, "bag", "sign", "foreign", *SEAL)
    assert done.code == 0
    assert "tagmanifest-sha512.txt was added" in done.err
    assert run(capsys, "bag", "verify", "foreign", "--trust", "keys/ca.pem").code == 0


# -- keys


def test_list_show_export(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed = run(capsys, "key", "list", "--dir", "keys")
    assert "version 3" in listed.out
    assert re.search(r"ana +[0-9a-f]{16} +good until .* key here", listed.out)
    as_json = run(capsys, "key", "list", "--dir", "keys", "--json").json
    assert as_json["version"] == 3
    shown = run(capsys, "key", "show", "ana", "--dir", "keys")
    assert "Ana Pérez" in shown.out
    assert len(fingerprint_in(shown.out)) == 64
    assert run(capsys, "key", "show", "keys/ana.pem", "--json").json["name"] == "keys/ana.pem"
    assert run(capsys, "key", "export", "--dir", "keys", "-o", "out").code == 0
    names = sorted(path.name for path in (place / "out").iterdir())
    assert names == ["FINGERPRINT.txt", "ca.crl", "ca.pem", "trust.json"]
    assert not any(b"PRIVATE" in path.read_bytes() for path in (place / "out").iterdir())
    again = run(capsys, "key", "export", "--dir", "keys", "-o", "out")
    assert (again.code, "exists" in again.err) == (5, True)


def test_revocation_on_both_sides_of_the_date(
    place: Path, tsa: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tsa.directory / "root.pem"
    create(capsys, "--tsa", tsa.url, bag="stamped")
    create(capsys, bag="unstamped")
    old = (place / "keys/trust.json").read_bytes()
    revoke = ("key", "revoke", "--dir", "keys", "--ca-dir", "stick", *SEAL[4:])
    future = run(capsys, *revoke, "ana", "--invalid-after", "2100-01-01")
    assert (future.code, "in the future" in future.err) == (2, True)
    time.sleep(2.1)  # a stamp counts with its accuracy, a second here
    assert run(capsys, *revoke, "ana").code == 0
    verify = ("bag", "verify", "--trust", "keys/trust.json", "--tsa-root", root)
    assert run(capsys, *verify, "stamped").code == 0
    after = run(capsys, *verify, "unstamped")
    assert (after.code, "REVOKED" in after.out) == (4, True)
    assert run(capsys, *revoke, "ana", "--invalid-after", "2020-01-01").code == 0
    assert run(capsys, *verify, "stamped").code == 4
    assert "REVOKED" in run(capsys, "key", "list", "--dir", "keys").out
    (place / "old.json").write_bytes(old)
    replayed = run(capsys, "bag", "verify", "stamped", "--trust", "old.json", "--tsa-root", root)
    assert replayed.code == 4
    assert "version 5 was seen" in replayed.err
    assert "trust-lists.json" in replayed.err
    refused = create(capsys, bag="more")
    assert (refused.code, "is revoked" in refused.err) == (5, True)


def test_a_certificate_from_elsewhere(
    place: Path, office: Office, tsa: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    key, certificate = write_key(office.ben, place / "card", "ben")
    trust = ("key", "trust", "--dir", "keys", "--ca-dir", "stick", *SEAL[4:])
    assert run(capsys, *trust, certificate, "--name", "ben").code == 0
    root = tsa.directory / "root.pem"
    assert run(capsys, *trust, root, "--as-tsa-root", "--url", tsa.url).code == 0
    assert run(capsys, *trust, root).code == 2
    made = run(capsys, "bag", "create", "source", "-o", "bag", "--key", key, "--tsa", tsa.url)
    assert made.code == 0
    done = run(capsys, "bag", "verify", "bag", "--trust", "keys/trust.json")
    assert done.code == 0
    assert re.search(r"time +holds", done.out)
    names = run(capsys, "key", "export", "--dir", "keys", "-o", "out").out
    assert "tsa-root-1.pem" in names


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("key", "init", "--organisation", "X", "--dir", "keys", *SEAL[4:]), 5),
        (("key", "new", "ana", "--dir", "keys", "--ca-dir", "stick", *SEAL[4:]), 5),
        (("key", "new", "../x", "--dir", "keys", "--ca-dir", "stick", *SEAL[4:]), 2),
        (("key", "new", "x", "--type", "dsa", "--dir", "keys", *SEAL[4:]), 2),
        (("key", "show", "nobody", "--dir", "keys"), 2),
        (("key", "show", "secret", "--dir", "keys"), 5),
        (("key", "list", "--dir", "nowhere"), 2),
        (("key", "revoke", "nobody", "--dir", "keys", "--ca-dir", "stick", *SEAL[4:]), 2),
        (("key", "init", "--dir", "new"), 2),
        (("bag", "create", "source", "-o", "b", "--key", "nobody", "--key-dir", "keys"), 2),
        (("bag", "create", "source", "-o", "b", "--key", "ana", "--key-dir", "keys"), 5),
        (("bag", "create", "source", "-o", "b", *SEAL, "--tsa", "gopher://x"), 2),
        (("bag", "create", "source", "-o", "b", *SEAL, "--tsa-root", "nothing.pem"), 2),
        (("bag", "create", "source", "-o", "b", *SEAL, "--tsa-root", "keys/ana.pem"), 5),
        (("bag", "create", "source", "-o", "b", "--tsa", "http://x/"), 2),
        (("bag", "sign", "source", *SEAL), 1),
        (("bag", "sign", "nothing", *SEAL), 2),
        (("bag", "timestamp", "source"), 2),
        (("bag", "timestamp", "source", "--tsa", "http://x/"), 2),
        (("bag", "verify", "source", "--trust", "nothing.pem"), 2),
        (("bag", "verify", "source", "--trust", "secret"), 5),
        (("bag", "verify", "source", "--trust", "sha256:12ab"), 2),
        (("bag", "verify", "source", "--crl", "secret"), 5),
        (("bag", "verify", "source", "--at", "yesterday"), 2),
        (("timestamp", "request", "nothing", "-o", "out"), 2),
        (("timestamp", "import", "source", "source"), 2),
        (("setup",), 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else str(value),
)
def test_wrong_words(
    arguments: tuple[str, ...], code: int, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(str(path) for path in place.rglob("*"))
    done = run(capsys, *arguments)
    assert done.code == code, done.err
    lines = done.err.strip().split("\n")
    assert lines[0].startswith("error: ")
    assert len(lines) <= 2
    assert sorted(str(path) for path in place.rglob("*")) == before


def test_an_anchor_from_the_bag_itself_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create(capsys)
    (inside,) = (
        path
        for path in (place / "bag/signatures/certificates").iterdir()
        if path.read_bytes() == (place / "keys/ca.pem").read_bytes()
    )
    done = run(capsys, "bag", "verify", "bag", "--trust", inside)
    assert done.code == 2
    assert "lies in the bag" in done.err


def test_a_passphrase_is_in_no_file_and_no_output(
    place: Path, tsa: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    made = create(capsys, "--tsa", tsa.url)
    assert SECRET.strip() not in made.out + made.err
    for path in place.rglob("*"):
        if path.is_file() and path.name != "secret":
            assert SECRET.strip().encode() not in path.read_bytes()


def test_a_key_that_others_can_read(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "keys/ana.key").chmod(0o644)
    done = create(capsys)
    assert done.code == 5
    assert "hint: Run: chmod 600 keys/ana.key" in done.err
    assert not (place / "bag").exists()


# -- somebody at the terminal


@pytest.fixture
def typing(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is typed at the prompts for passphrases, in order; an exception is raised."""
    answers: list[Any] = []

    def getpass(_prompt: str) -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    monkeypatch.setattr("getpass.getpass", getpass)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    return answers


ASK = ("--key", "ana", "--key-dir", "keys")


def test_a_passphrase_may_be_typed_again(
    place: Path, typing: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    typing += ["wrong", "wrong again", SECRET.strip()]
    done = run(capsys, "bag", "create", "source", "-o", "bag", *ASK)
    assert done.code == 0
    assert done.err.count("passphrase is wrong") == 2
    typing += ["wrong", "wrong", "wrong", "never asked for"]
    done = run(capsys, "bag", "create", "source", "-o", "more", *ASK)
    assert (done.code, typing) == (5, ["never asked for"])
    assert not (place / "more").exists()


@pytest.mark.parametrize("error", [EOFError(), UnicodeDecodeError("utf-8", b"x", 0, 1, "x")])
def test_a_passphrase_that_cannot_be_read(
    error: Exception, place: Path, typing: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    typing.append(error)
    done = run(capsys, "bag", "create", "source", "-o", "bag", *ASK)
    assert (done.code, "could not be read" in done.err) == (5, True)


def test_a_new_passphrase_is_typed_twice_and_long_enough(
    place: Path, typing: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    typing += [SECRET.strip(), "short", "long enough now", "another one here"]
    typing += ["long enough now", "long enough now"]
    new = ("key", "new", "dora", "--dir", "keys", "--ca-dir", "stick")
    done = run(capsys, *new)
    assert (done.code, typing) == (0, [])
    assert "shorter than 12" in done.err
    assert "The two differ" in done.err


def test_revoking_asks_whether_one_is_sure(
    place: Path,
    typing: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    revoke = ("key", "revoke", "ana", "--dir", "keys", "--ca-dir", "stick", *SEAL[4:])
    before = (place / "keys/trust.json").read_bytes()
    monkeypatch.setattr("builtins.input", lambda _prompt="": "n")
    assert run(capsys, *revoke).code == 130
    assert (place / "keys/trust.json").read_bytes() == before
    assert run(capsys, *revoke, "--yes", "--json").json["version"] == 4


def test_short_passphrases_and_open_keys_are_warned_of(
    place: Path, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "short").write_text("short\n")
    (place / "short").chmod(0o600)
    new = ("key", "new", "dora", "--dir", "keys", "--ca-dir", "stick")
    files = ("--ca-passphrase-file", "secret", "--passphrase-file", "short")
    done = run(capsys, *new, *files)
    assert (done.code, "can be guessed" in done.err) == (0, True)
    key, _certificate = write_key(office.ben, place / "open", "ben")
    done = run(capsys, "bag", "create", "source", "-o", "bag", "--key", key)
    assert (done.code, "has no passphrase" in done.err) == (0, True)


def test_several_keys_with_several_passphrases(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "other").write_text("another passphrase\n")
    (place / "other").chmod(0o600)
    new = ("key", "new", "dora", "--dir", "keys", "--ca-dir", "stick")
    assert (
        run(capsys, *new, "--ca-passphrase-file", "secret", "--passphrase-file", "other").code == 0
    )
    both = (*ASK, "--key", "dora", "--passphrase-file", "secret", "--passphrase-file", "other")
    made = run(capsys, "bag", "create", "source", "-o", "bag", *both, "--json").json
    assert len(made["signers"]) == 2  # type: ignore[arg-type]
    three = run(capsys, "bag", "create", "source", "-o", "x", *both, "--passphrase-file", "other")
    assert three.code == 2


@pytest.mark.parametrize("name", ["../../x", "ana", "ca"])
def test_names_on_the_trust_list(
    name: str, place: Path, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    _key, certificate = write_key(office.ben, place / "card", "ben")
    trust = ("key", "trust", certificate, "--dir", "keys", "--ca-dir", "stick", *SEAL[4:])
    assert run(capsys, *trust, "--name", name).code == (5 if name == "ana" else 2)
    _key, ca = write_key(office.ca, place / "card", "office")
    refused = run(capsys, "key", "trust", ca, "--name", "x", *trust[3:])
    assert (refused.code, "is for issuing" in refused.err) == (5, True)
    pinned = run(capsys, "key", "trust", ca, "--as-tsa-root", "--json", *trust[3:])
    assert pinned.json["version"] == 4


def test_a_certificate_of_somebody_else_is_not_replaced(
    place: Path, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    """The certificate of a smart card lies there, on the list, without a key."""
    (place / "keys/card.pem").write_bytes(office.ben.certificate.pem)
    new = ("key", "new", "card", "--dir", "keys", "--ca-dir", "stick", *SEAL[4:])
    assert run(capsys, *new).code == 5
    assert (place / "keys/card.pem").read_bytes() == office.ben.certificate.pem
    assert not (place / "keys/card.key").exists()
    (place / "keys/stray.key").write_bytes(b"garbage")
    (place / "keys/stray.pem").write_bytes(b"garbage")
    assert run(capsys, "key", "list", "--dir", "keys").code == 0


def test_setup_recommends_no_revoked_signer(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    revoke = ("key", "revoke", "ana", "--dir", "keys", "--ca-dir", "stick", *SEAL[4:])
    assert run(capsys, *revoke).code == 0
    setup = ("setup", "--yes", "--dir", "keys", *SEAL[4:])
    assert "--key signer" in run(capsys, *setup).out
    refused = run(
        capsys,
        *("key", "init", "--organisation", "Other", "--dir", "k2", "--ca-dir", "stick"),
        *SEAL[4:],
    )
    assert (refused.code, "is that of" in refused.err) == (5, True)
    assert not (place / "k2/trust.json").exists()


def test_the_ca_does_not_seal(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--key", "stick/ca.key", "--passphrase-file", "secret")
    done = run(capsys, "bag", "create", "source", "-o", "bag", *given)
    assert (done.code, "is for issuing" in done.err) == (5, True)


def test_a_key_directory_that_everybody_can_write_to(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "keys").chmod(0o777)
    done = create(capsys)
    assert (done.code, "chmod 700 keys" in done.err) == (5, True)


def test_interrupted_while_waiting_for_a_tsa(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("archiver.seal.stamping.stamp_bag", interrupted)
    done = create(capsys, "--tsa", "http://127.0.0.1:9/")
    assert done.code == 130
    assert "bag is sealed; its time stamp waits" in done.err
    assert run(capsys, "bag", "verify", "bag", "--trust", "keys/ca.pem").code == 0


def test_further_signatures_are_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create(capsys)
    run(capsys, "bag", "sign", "bag", "--key", "signer", *SEAL[2:])
    done = run(capsys, "bag", "verify", "bag", "--trust", "keys/ca.pem")
    assert re.search(r"also signed by signer \([0-9a-f]{16}\): trusted, not dated", done.out)
    assert "had not been revoked" in done.out
    with_list = run(capsys, "bag", "verify", "bag", "--trust", "keys")
    assert (with_list.code, "had not been revoked" in with_list.out) == (0, False)
    assert "Seal: 2 signatures, 0 time stamps, 0 requests" in run(capsys, "bag", "show", "bag").out
    fast = run(capsys, "bag", "verify", "bag", "--fast", "--trust", "keys")
    assert (fast.code, "Proved" in fast.out) == (0, False)
    first = run(capsys, "bag", "verify", "bag", "--trust", "keys", "--at", "9999-01-01")
    assert first.code == 2


# -- without a network


def test_out_on_a_stick_and_back(place: Path, tsa: Any, capsys: pytest.CaptureFixture[str]) -> None:
    create(capsys)
    asked = run(capsys, "timestamp", "request", "bag", "-o", "stick2")
    assert asked.code == 0
    (request,) = (place / "stick2").glob("*.tsq")
    assert asked.out == f"{request.name}  bag\n"
    answer = request.with_suffix(".tsr")
    answer.write_bytes(demo_tsa().stamp(tsa.directory, request.read_bytes()))
    root = tsa.directory / "root.pem"
    copy(place / "bag", place / "bag2")
    done = run(capsys, "timestamp", "import", "stick2", "bag", "--tsa-root", root)
    assert (done.code, "time stamp: 20" in done.out) == (0, True)
    assert (
        run(capsys, "bag", "verify", "bag", "--trust", "keys/ca.pem", "--tsa-root", root).code == 0
    )
    before = tree(place / "bag", signatures=True)
    replay = run(capsys, "timestamp", "import", answer, "bag")
    assert (replay.code, "has it already" in replay.out) == (0, True)
    assert tree(place / "bag", signatures=True) == before
    create(capsys, bag="other")
    run(capsys, "timestamp", "request", "other", "-o", "stick4")
    foreign = run(capsys, "timestamp", "import", answer, "other", "--json")
    assert foreign.code == 5
    assert json.loads(foreign.out)["answers"][0]["problem"]
    assert run(capsys, "timestamp", "import", "stick2", "bag2", "--json").code == 0
    assert run(capsys, "timestamp", "request", "bag", "-o", "stick5", "--json").json == {
        "schema": "archiver/timestamp-request/1",
        "requests": [],
    }


def test_the_script_on_the_stick_sends_the_requests(
    place: Path, tsa: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    create(capsys)
    run(capsys, "timestamp", "request", "bag", "-o", "stick2")
    subprocess.run(["sh", "stick2/send.sh", tsa.url], cwd=place, check=True, capture_output=True)
    assert run(capsys, "timestamp", "import", "stick2", "bag").code == 0


# -- the conversation


def converse(place: Path, answers: list[tuple[str, str]], *arguments: str) -> tuple[int, str]:
    """Run `archiver setup` at a terminal of its own and answer its questions."""
    import pty
    import select

    child, terminal = pty.fork()
    if child == 0:  # pragma: no cover  # the program itself
        os.chdir(place)
        os.environ.update(HOME=str(place / "home"), LC_ALL="C.UTF-8", COLUMNS="200")
        os.environ.pop("COVERAGE_PROCESS_START", None)
        os.execv(sys.executable, [sys.executable, "-m", "archiver", "setup", *arguments])
    said, seen = "", 0
    waiting = list(answers)
    while select.select([terminal], [], [], 30)[0]:
        try:
            data = os.read(terminal, 4096)
        except OSError:
            break
        if not data:
            break
        said += data.decode("utf-8", "replace")
        while waiting and (found := said.find(waiting[0][0], seen)) >= 0:
            seen = found + len(waiting[0][0])
            os.write(terminal, (waiting.pop(0)[1] + "\n").encode())
    os.close(terminal)
    _pid, state = os.waitpid(child, 0)
    assert not waiting, said
    return os.waitstatus_to_exitcode(state), said


def test_setup_from_nothing_to_a_sealed_bag(
    tmp_path: Path, tsa: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tsa.directory / "root.pem"
    code, said = converse(
        tmp_path,
        [
            ("Language", "en"),
            ("Where keys are kept", "keys"),
            ("Name of your organisation", "Comisión"),
            ("CA's key is to lie", "~/stick"),
            ("New passphrase for the CA's key", "short"),
            ("New passphrase for the CA's key", "five unrelated words here"),
            ("again", "five unrelated words there"),
            ("New passphrase for the CA's key", "five unrelated words here"),
            ("again", "five unrelated words here"),
            ("Name of the signer", "Ana López"),
            ("Name of the signer", "ana"),
            ("in the certificate", "Ana López"),
            ("New passphrase for the key of ana", "another long passphrase"),
            ("again", "another long passphrase"),
            ("Address of a TSA", "tsa.example.org"),
            ("Address of a TSA", tsa.url),
            ("root certificate", "nothing.pem"),
            ("root certificate", str(root)),
            ("CA's passphrase, as you wrote", "wrong wrong wrong"),
            ("CA's passphrase, as you wrote", "five unrelated words here"),
            ("passphrase of ana, as you wrote", "another long passphrase"),
        ],
    )
    assert code == 0, said
    assert "They can be opened, and they sign." in said
    assert len(fingerprint_in(said.replace("\r", ""))) == 64
    assert (tmp_path / "home/stick/ca.key").exists()
    assert "five unrelated words here" not in said
    sheet = tmp_path / "keys/recovery-sheet.txt"
    assert sheet.stat().st_mode & 0o777 == 0o600
    text = sheet.read_text("utf-8")
    assert len(fingerprint_in(text)) == 64
    assert "another long" not in text
    make_source(tmp_path / "source")
    secret = tmp_path / "pass"
    secret.write_text("another long passphrase\n")
    secret.chmod(0o600)
    options = ("--key", "ana", "--key-dir", "keys", "--passphrase-file", secret, "--tsa", tsa.url)
    assert run(capsys, "bag", "create", "source", "-o", "bag", *options).code == 0
    done = run(capsys, "bag", "verify", "bag", "--trust", "keys/trust.json")
    assert done.code == 0
    assert re.search(r"time +holds", done.out)


def test_setup_again_goes_on_with_what_is_there(place: Path) -> None:
    code, said = converse(
        place,
        [
            ("Language", "english please"),
            ("Another one?", ""),
            ("Address of a TSA", ""),
        ],
        "--dir",
        "keys",
    )
    assert code == 0, said
    assert "There is one already: Comisión." in said
    assert "nothing to test" in said


@pytest.mark.parametrize("left", ["ca.key", "ca.pem", "no list", "no certificate", "not listed"])
def test_setup_goes_on_from_wherever_it_was_killed(
    left: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What each kill would have left, made by taking away what is written later."""
    keys, stick = place / "keys", place / "stick"
    if left in ("ca.key", "ca.pem", "no list"):
        gone = ["trust.json", "ca.crl", "ana.key", "ana.pem", "signer.key", "signer.pem"]
        gone += ["ca.pem", "ca-dir.txt"] if left != "no list" else []
        for name in gone:
            (keys / name).unlink()
        if left == "ca.pem":  # the certificate was written, its key not yet
            (stick / "ca.key").unlink()
    elif left == "no certificate":
        (keys / "ana.key").unlink()
    options = ("--dir", "keys", "--ca-dir", "stick", "--passphrase-file", "secret")
    if left == "not listed":
        data = (keys / "trust/0002.json").read_bytes()  # the list from before ana
        (keys / "trust.json").write_bytes(data)
        listed = run(capsys, "key", "list", "--dir", "keys")
        assert "ana: its key is here, but it is not on the trust list" in listed.out
        sealed = create(capsys)
        assert "not on the trust list" in sealed.err
        subprocess.run(["rm", "-rf", place / "bag"], check=True)
    if left == "no certificate":
        return  # an unfinished certificate is replaced: see test_keyring
    done = run(capsys, "setup", "--yes", "--organisation", "Comisión", "--name", "ana", *options)
    assert done.code == 0, done.err
    assert create(capsys).code == 0
    assert run(capsys, "bag", "verify", "bag", "--trust", "keys/trust.json").code == 0


def test_setup_in_spanish_by_its_first_question(place: Path) -> None:
    code, said = converse(
        place, [("Language", "es"), ("TSA", "")], "--dir", "keys", "--name", "ana"
    )
    assert code == 0, said
    assert "Paso 1 de 5" in said


def test_setup_without_questions(place: Path, tsa: Any, capsys: pytest.CaptureFixture[str]) -> None:
    done = run(
        capsys,
        *("setup", "--yes", "--organisation", "X", "--dir", "k2", "--ca-dir", "s2"),
        *("--passphrase-file", "secret", "--tsa", tsa.url),
        *("--tsa-root", tsa.directory / "root.pem"),
    )
    assert done.code == 0, done.err
    assert (place / "k2/trust.json").exists()
    assert (place / "s2/ca.key").exists()
    again = run(capsys, "setup", "--yes", "--dir", "k2", "--passphrase-file", "secret")
    assert again.code == 0
    missing = run(capsys, "setup", "--yes", "--dir", "k3", "--passphrase-file", "secret")
    assert missing.code == 2
