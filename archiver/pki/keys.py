"""Private keys: made, encrypted, read (RFC 5958, RFC 8018).

Job: bytes to keys and back. Limits: where they lie is the business of
:mod:`archiver.pki.keyring`; a passphrase is asked for by whoever calls.
"""

from __future__ import annotations

import os
import re

from asn1crypto import algos, core
from asn1crypto import keys as asn1_keys
from asn1crypto import pem as asn1_pem
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_pem_private_key,
    pkcs12,
)

from archiver.errors import KeyringError
from archiver.i18n import _
from archiver.pki.certificates import Certificate
from archiver.pki.cms import PrivateKey

__all__ = [
    "KEY_KINDS",
    "PassphraseError",
    "encrypt_key",
    "is_encrypted",
    "new_key",
    "read_key",
    "read_pkcs12",
]

ROUNDS = 600_000
"""PBKDF2-HMAC-SHA256, as OWASP asks for; every OpenSSL since 1.1 reads it."""
_SALT_BYTES, _BLOCK_BYTES, _KEY_BYTES = 16, 16, 32

KEY_KINDS = ("p256", "p384", "rsa3072")


def new_key(kind: str) -> PrivateKey:
    """A new key of one of :data:`KEY_KINDS`."""
    if kind == "rsa3072":
        return rsa.generate_private_key(public_exponent=65537, key_size=3072)
    return ec.generate_private_key(ec.SECP384R1() if kind == "p384" else ec.SECP256R1())


def encrypt_key(key: PrivateKey, passphrase: bytes) -> bytes:
    """``key`` as encrypted PKCS #8 in PEM: PBES2 with PBKDF2-HMAC-SHA256 and AES-256-CBC.

    ``cryptography`` itself writes 2,048 rounds, which are too few.
    """
    plain = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    salt, vector = os.urandom(_SALT_BYTES), os.urandom(_BLOCK_BYTES)
    secret = PBKDF2HMAC(hashes.SHA256(), _KEY_BYTES, salt, ROUNDS).derive(passphrase)
    padder = PKCS7(8 * _BLOCK_BYTES).padder()
    padded = padder.update(plain) + padder.finalize()
    encryptor = Cipher(algorithms.AES(secret), modes.CBC(vector)).encryptor()
    derivation = {
        "algorithm": "pbkdf2",
        "parameters": {
            "salt": algos.Pbkdf2Salt({"specified": core.OctetString(salt)}),
            "iteration_count": ROUNDS,
            "prf": {"algorithm": "sha256", "parameters": core.Null()},
        },
    }
    scheme = {"algorithm": "aes256_cbc", "parameters": vector}
    sealed = asn1_keys.EncryptedPrivateKeyInfo(
        {
            "encryption_algorithm": {
                "algorithm": "pbes2",
                "parameters": {"key_derivation_func": derivation, "encryption_scheme": scheme},
            },
            "encrypted_data": encryptor.update(padded) + encryptor.finalize(),
        }
    )
    return bytes(asn1_pem.armor("ENCRYPTED PRIVATE KEY", sealed.dump()))


def is_encrypted(data: bytes) -> bool:
    """Whether a key file asks for a passphrase."""
    if re.search(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----", data):
        return b"ENCRYPTED" in data
    try:
        load_der_private_key(data, None)
    except TypeError:
        return True
    except ValueError:
        return False
    return False


def read_key(data: bytes, passphrase: bytes | None, place: str) -> PrivateKey:
    """The key in a PEM or DER file. Raises KeyringError, which names ``place``."""
    load = load_pem_private_key if b"-----BEGIN" in data else load_der_private_key
    try:
        key = load(data, passphrase)
    except TypeError as error:
        raise KeyringError(
            _("{path}: the key is encrypted, and no passphrase was given").format(path=place)
            if passphrase is None
            else _("{path}: the key is not encrypted, but a passphrase was given").format(
                path=place
            ),
        ) from error
    except Exception as error:  # ValueError, UnsupportedAlgorithm: no common base
        raise wrong_passphrase(place) from error
    return accepted(key, place)


def read_pkcs12(
    data: bytes, passphrase: bytes | None, place: str
) -> tuple[PrivateKey, list[Certificate]]:
    """Key and certificates, the signer's first, of a ``.p12`` file. Raises KeyringError."""
    try:
        bundle = pkcs12.load_pkcs12(data, passphrase)
        found = [bundle.cert, *bundle.additional_certs]
        certificates = [
            Certificate.parse(one.certificate.public_bytes(Encoding.DER)) for one in found if one
        ]
    except Exception as error:  # ValueError, UnsupportedAlgorithm: no common base
        raise wrong_passphrase(place) from error
    if bundle.key is None or bundle.cert is None:
        raise KeyringError(_("{path} doesn't hold a key with its certificate").format(path=place))
    return accepted(bundle.key, place), certificates


class PassphraseError(KeyringError):
    """A passphrase that doesn't open the key, or a damaged file: which, can't be told."""


def wrong_passphrase(place: str) -> PassphraseError:
    """The one error for both."""
    return PassphraseError(
        _("{path}: the passphrase is wrong, or the file is damaged").format(path=place),
        hint=_("Try again; a passphrase file's first line is taken, without its line end."),
    )


def accepted(key: object, place: str) -> PrivateKey:
    """``key``, if it is of a kind that every OpenSSL checks in CMS."""
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= 2048:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in (
        "secp256r1",
        "secp384r1",
        "secp521r1",
    ):
        return key
    raise KeyringError(
        _("{path}: this kind of key can't sign bags").format(path=place),
        hint=_("Use P-256, P-384 or RSA from 2,048 bits: every openssl can check those."),
    )
