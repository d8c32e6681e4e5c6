"""Keys and their directory: strong derivation, checked modes, certificates from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from archiver.errors import ArchiverError, DestinationError, FormatError, KeyringError, UsageError
from archiver.pki.certificates import (
    Certificate,
    parse_fingerprint,
    read_certificates,
    short,
    spoken,
)
from archiver.pki.keyring import (
    NewSigner,
    check_name,
    create_authority,
    create_signer,
    default_directory,
    open_authority,
    open_signer,
    signer_names,
)
from archiver.pki.keys import encrypt_key, is_encrypted, new_key, read_key
from archiver.pki.passphrase import find_passphrase
from tests.sealing import DAY, NOW, SIGNER, Office, issue, new_ec, rsa_key, write_key

SECRET = b"correct horse battery"


def ask(_place: str) -> bytes:
    return SECRET


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA and one signer, made as `archiver key init` makes them."""
    place = tmp_path_factory.mktemp("keys")
    authority = create_authority(str(place), "Comisión", SECRET, NOW)
    create_signer(str(place), NewSigner(name="ana", person="Ana Pérez"), authority, SECRET, NOW)
    return place


def openssl(*arguments: object, **options: object) -> subprocess.CompletedProcess[bytes]:
    command = ["openssl", *(str(one) for one in arguments)]
    return subprocess.run(command, capture_output=True, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_modes(made: Path) -> None:
    assert {path.name: path.stat().st_mode & 0o777 for path in made.iterdir()} == {
        "ca.key": 0o600,
        "ca.pem": 0o644,
        "ana.key": 0o600,
        "ana.pem": 0o644,
    }


def test_the_derivation_is_slow(made: Path) -> None:
    text = openssl("asn1parse", "-in", made / "ana.key").stdout.decode()
    assert "PBES2" in text
    (rounds,) = re.findall(r"INTEGER\s+:(0927C0)", text)
    assert int(rounds, 16) >= 600_000


def test_openssl_opens_it(made: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET)
    done = openssl("pkey", "-in", made / "ana.key", "-passin", f"file:{secret}", "-noout")
    assert done.returncode == 0, done.stderr
    secret.write_bytes(b"wrong")
    assert openssl("pkey", "-in", made / "ana.key", "-passin", f"file:{secret}").returncode != 0


def test_certificates(made: Path) -> None:
    ca, ana = (read_certificates((made / f"{one}.pem").read_bytes())[0] for one in ("ca", "ana"))
    assert openssl("verify", "-CAfile", made / "ca.pem", made / "ana.pem").returncode == 0
    assert ca.is_ca
    assert not ana.is_ca
    assert ana.name == "Ana Pérez"
    assert ana.why_not_signer() == ""
    assert ana.why_not_tsa() != ""
    assert ana.not_before <= NOW - DAY
    assert (ca.not_after - NOW).days > 9000
    text = openssl("x509", "-in", made / "ca.pem", "-noout", "-text").stdout.decode()
    assert "CA:TRUE, pathlen:0" in text


def test_fingerprints(made: Path) -> None:
    (ca,) = read_certificates((made / "ca.pem").read_bytes())
    told = openssl("x509", "-in", made / "ca.pem", "-noout", "-fingerprint", "-sha256").stdout
    digits = told.decode().strip().partition("=")[2].replace(":", "").lower()
    assert ca.fingerprint == digits
    assert short(ca.fingerprint) == digits[:16]
    lines = spoken(digits).split("\n")
    assert [len(line.split(" ")) for line in lines] == [4, 4, 4, 4]
    for text in (digits, f"sha256:{digits}", spoken(digits), f"SHA256:{digits.upper()}"):
        assert parse_fingerprint(text) == digits
    for text in ("", digits[:-1], digits + "0", "sha1:" + digits, "zz" + digits[2:]):
        assert parse_fingerprint(text) is None


def test_opening(made: Path) -> None:
    signer = open_signer("ana", [str(made)], ask, NOW)
    assert [one.name for one in signer.chain] == ["Comisión archive CA"]
    assert open_authority(str(made), ask).certificate == signer.chain[0]
    for given in (made / "ana.key", made / "ana.pem"):
        assert open_signer(str(given), [], ask, NOW).certificate == signer.certificate
    assert signer_names(str(made)) == ["ana"]
    assert signer_names(str(made / "nothing")) == []


def test_a_wrong_passphrase(made: Path) -> None:
    with pytest.raises(KeyringError, match="passphrase is wrong"):
        open_signer("ana", [str(made)], lambda _place: b"wrong", NOW)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o666])
def test_a_key_that_others_can_read(mode: int, made: Path, tmp_path: Path) -> None:
    for name in ("ana.key", "ana.pem"):
        (tmp_path / name).write_bytes((made / name).read_bytes())
    (tmp_path / "ana.key").chmod(mode)
    with pytest.raises(KeyringError) as caught:
        open_signer("ana", [str(tmp_path)], ask, NOW)
    assert f"chmod 600 {tmp_path}/ana.key" in caught.value.hint


def test_an_unknown_name(made: Path) -> None:
    with pytest.raises(UsageError) as caught:
        open_signer("nobody", [str(made)], ask, NOW)
    assert "ana" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        open_signer("nobody", [str(made / "x")], ask, NOW)
    assert "setup" in caught.value.hint
    with pytest.raises(UsageError):
        open_signer("nothing.key", [], ask, NOW)


def test_the_ca_is_elsewhere(tmp_path: Path) -> None:
    with pytest.raises(KeyringError) as caught:
        open_authority(str(tmp_path), ask)
    assert "--ca-dir" in caught.value.hint


def test_nothing_is_ever_replaced(made: Path) -> None:
    authority = open_authority(str(made), ask)
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    with pytest.raises(DestinationError):
        create_authority(str(made), "Other", SECRET, NOW)
    with pytest.raises(DestinationError):
        create_signer(str(made), NewSigner(name="ana"), authority, SECRET, NOW)
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before


@pytest.mark.parametrize(
    "name", ["", "ca", "CA", "trust", "../x", "a/b", ".hidden", "-x", "a b", "x" * 65, "a\n", "a:b"]
)
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(UsageError):
        check_name(name)


@pytest.mark.parametrize("name", ["ana", "ana-laptop", "José", "a.b@c+1", "7"])
def test_names_that_can(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("organisation", ["", "  ", "a\nb", "a\x00"])
def test_an_organisation_needs_a_name(organisation: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        create_authority(str(tmp_path), organisation, SECRET, NOW)


# -- keys and certificates from elsewhere


@pytest.mark.parametrize("form", ["pem", "der", "p12"])
def test_from_elsewhere(form: str, office: Office, tmp_path: Path) -> None:
    key, certificate = write_key(office.ana, tmp_path, "ana")
    given = key
    if form == "der":
        key.write_bytes(
            office.ana.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        )
        certificate.unlink()
        (tmp_path / "ana.crt").write_bytes(office.ana.certificate.der)
    elif form == "p12":
        given = tmp_path / "card.p12"
        given.write_bytes(
            pkcs12.serialize_key_and_certificates(
                b"ana",
                office.ana.key,
                office.ana.certificate.parsed,
                [office.ca.certificate.parsed],
                BestAvailableEncryption(SECRET),
            )
        )
        given.chmod(0o600)
    signer = open_signer(str(given), [], ask, NOW)
    assert signer.certificate == office.ana.certificate
    assert signer.chain == ((office.ca.certificate,) if form != "der" else ())


def test_key_and_certificate_in_one_file(office: Office, tmp_path: Path) -> None:
    key, certificate = write_key(office.ana, tmp_path, "x")
    both = tmp_path / "both.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    both.chmod(0o600)
    assert open_signer(str(both), [], ask, NOW).certificate == office.ana.certificate


@pytest.mark.parametrize("kind", ["none", "other", "garbage"])
def test_a_key_without_its_certificate(kind: str, office: Office, tmp_path: Path) -> None:
    _key, certificate = write_key(office.ana, tmp_path, "ana")
    if kind == "none":
        certificate.unlink()
    else:
        data = office.ben.certificate.pem if kind == "other" else b"-----BEGIN CERTIFICATE-----"
        certificate.write_bytes(data)
    with pytest.raises(KeyringError) as caught:
        open_signer(str(tmp_path / "ana.key"), [], ask, NOW)
    assert caught.value.hint


@pytest.mark.parametrize("kind", ["expired", "future", "usage"])
def test_a_signer_that_cannot_seal_today(kind: str, office: Office, tmp_path: Path) -> None:
    from tests.sealing import usage

    changes = {
        "expired": {"first": NOW - 9 * DAY, "last": NOW - DAY},
        "future": {"first": NOW + DAY},
        "usage": {"key_usage": usage("key_encipherment")},
    }
    signer = issue(SIGNER, new_ec(), office.ca, **changes[kind])  # type: ignore[arg-type]
    write_key(signer, tmp_path, "x")
    with pytest.raises(KeyringError):
        open_signer(str(tmp_path / "x.key"), [], ask, NOW)


@pytest.mark.parametrize("kind", ["ed25519", "dsa", "rsa1024", "secp256k1"])
def test_keys_that_not_every_openssl_checks(kind: str, tmp_path: Path) -> None:
    makers: dict[str, Any] = {
        "ed25519": ed25519.Ed25519PrivateKey.generate,
        "dsa": lambda: dsa.generate_private_key(2048),
        "rsa1024": lambda: rsa_key(1024),
        "secp256k1": lambda: new_ec(ec.SECP256K1()),
    }
    key = makers[kind]()
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(KeyringError, match="can't sign bags"):
        read_key(data, None, "x")


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa3072"])
def test_new_keys(kind: str) -> None:
    key = new_key(kind)
    sealed = encrypt_key(key, SECRET)
    assert is_encrypted(sealed)
    assert read_key(sealed, SECRET, "x").public_key() == key.public_key()
    with pytest.raises(KeyringError):
        read_key(sealed, None, "x")


def test_whether_a_key_is_encrypted() -> None:
    key = new_ec()
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    locked = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    assert not is_encrypted(plain)
    assert is_encrypted(locked)
    assert not is_encrypted(b"garbage")
    for data in (b"garbage", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"):
        with pytest.raises(KeyringError):
            read_key(data, None, "x")
    with pytest.raises(KeyringError, match="not encrypted"):
        read_key(plain, b"x", "x")


# -- certificates


@pytest.mark.parametrize("data", [b"", b"x", b"\x30\x00", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_what_is_no_certificate(data: bytes) -> None:
    with pytest.raises(FormatError):
        read_certificates(data)


def test_too_many_certificates(office: Office) -> None:
    with pytest.raises(FormatError, match="more than"):
        read_certificates(office.ca.certificate.pem * 65)
    assert len(read_certificates(office.ca.certificate.pem * 3)) == 1


def test_weak_keys_are_refused() -> None:
    weak = issue(SIGNER, rsa_key(1024)).certificate
    with pytest.raises(FormatError, match="weak"):
        weak.public_key()
    with pytest.raises(FormatError):
        Certificate.parse(issue(SIGNER, new_ec(ec.SECP256K1())).certificate.der).public_key()


# -- passphrases


def test_where_a_passphrase_comes_from(tmp_path: Path) -> None:
    def file(name: str, data: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(data)
        path.chmod(0o600)
        return str(path)

    option, variable = file("option", b"one\nmore\n"), file("variable", b"two\r\n")
    file("archiver-passphrase", b"three")
    credentials = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    named = {"ARCHIVER_PASSPHRASE_FILE": variable}
    assert find_passphrase(option, named | credentials) == b"one"
    assert find_passphrase("", named | credentials) == b"two"
    assert find_passphrase("", credentials) == b"three"
    assert find_passphrase("", {}) is None
    assert find_passphrase("", {"CREDENTIALS_DIRECTORY": str(tmp_path / "none")}) is None


@pytest.mark.parametrize(
    ("data", "mode"), [(b"", 0o600), (b"\nx", 0o600), (b"secret", 0o644), (b"x" * 70_000, 0o600)]
)
def test_passphrase_files_that_cannot_be(data: bytes, mode: int, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(data)
    path.chmod(mode)
    with pytest.raises(KeyringError):
        find_passphrase(str(path), {})
    with pytest.raises(ArchiverError):
        find_passphrase(str(tmp_path / "nothing"), {})


def test_a_passphrase_through_a_pipe() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"secret\n")
    os.close(writing)
    assert find_passphrase(f"/dev/fd/{reading}", {}) == b"secret"
    os.close(reading)


def test_the_default_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARCHIVER_KEY_DIR", "/keys")
    assert default_directory() == "/keys"
    monkeypatch.delenv("ARCHIVER_KEY_DIR")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/config")
    assert default_directory() == "/config/archiver/keys"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/anna")
    assert default_directory() == "/anna/.config/archiver/keys"
