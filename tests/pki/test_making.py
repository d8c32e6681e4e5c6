"""Signatures as they are made: to the byte what a library for ASN.1 would write."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from asn1crypto import cms
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from archiver.pki.cms import PrivateKey, make_signed_data, parse_signed_data
from archiver.pki.der import element, is_plain_der
from archiver.signing import check_manifest_signature
from tests.sealing import CA, SIGNER, issue, new_ec

KEYS: dict[str, Callable[[], PrivateKey]] = {
    "p256": new_ec,
    "p384": lambda: new_ec(ec.SECP384R1()),
    "p521": lambda: new_ec(ec.SECP521R1()),
    "rsa": lambda: rsa.generate_private_key(65537, 2048),
}
TIMES = [datetime(2026, 11, 25, 1, 2, 3, tzinfo=UTC), datetime(2051, 1, 1, tzinfo=UTC)]


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("now", TIMES, ids=["utc-time", "generalized-time"])
@pytest.mark.parametrize("chained", [False, True])
def test_der(kind: str, now: datetime, chained: bool) -> None:
    ca = issue(CA, new_ec())
    signer = issue(SIGNER, KEYS[kind](), ca)
    chain = signer.chain if chained else ()
    for content in (b"", b"x" * 70_000):
        data = make_signed_data(content, signer.key, signer.certificate, chain, now)
        assert is_plain_der(data)
        again = cms.ContentInfo.load(data, strict=True)
        _ = again.native  # everything is parsed
        assert again.dump(force=True) == data
        signed = parse_signed_data(data)
        check_manifest_signature(signed, content)
        assert signed.signing_time == now
        assert signed.certificate == signer.certificate
        assert set(signed.certificates) == {signer.certificate, *chain}


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65_535, 65_536])
def test_element(size: int) -> None:
    data = element(0x04, bytes(size))
    assert is_plain_der(data)
    assert data.endswith(bytes(size))
