"""Every bit of a signature and of a time stamp flipped, and other damage: no flip in a
signed part passes, none raises anything but our errors.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms, tsp

from archiver.pki.certificates import Certificate
from archiver.pki.cms import CmsError, parse_signed_data
from archiver.signing import check_manifest_signature
from archiver.timestamp.token import TimestampToken, Whence, check_token, judge_token, parse_answer
from tests.sealing import Office, now, signature_of, stamps_of


def holds(data: bytes, content: bytes, certificate: Certificate) -> bool:
    try:
        signed = parse_signed_data(data)
        check_manifest_signature(signed, content)
    except CmsError as error:
        assert error.message
        return False
    return signed.certificate == certificate


def stamps(data: bytes, signed: bytes, root: Certificate) -> TimestampToken | None:
    try:
        token = parse_answer(data)
        check_token(token, signed)
    except CmsError as error:
        assert error.message
        return None
    judged = judge_token(token, [root], [], [], now())
    return token if judged.whence is Whence.TRUSTED else None


def span(data: bytes, part: Any) -> range:
    """Where the content of an ASN.1 value lies."""
    start = data.index(part.contents)
    return range(start, start + len(part.contents))


def signed_parts(data: bytes, info: Any) -> set[int]:
    """Positions that the signature covers, or that it is."""
    signed = info["content"]
    signer = signed["signer_infos"][0]
    certificate = signed["certificates"][0].chosen
    parts = [signer["signed_attrs"], signer["signature"], certificate]
    content = signed["encap_content_info"]["content"]
    if content.contents:
        parts.append(content)
    return {position for part in parts for position in span(data, part)}


def test_every_bit_of_a_signature(sealed_once: Path, office: Office) -> None:
    data = signature_of(sealed_once, office.ana).read_bytes()
    content = (sealed_once / "tagmanifest-sha512.txt").read_bytes()
    certificate = office.ana.certificate
    assert holds(data, content, certificate)
    covered = signed_parts(data, cms.ContentInfo.load(data))
    assert len(covered) > 500
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            passed = holds(bytes(changed), content, certificate)
            assert not (passed and position in covered), (position, bit)


def test_every_bit_of_what_is_signed(sealed_once: Path, office: Office) -> None:
    data = signature_of(sealed_once, office.ana).read_bytes()
    content = (sealed_once / "tagmanifest-sha512.txt").read_bytes()
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 8
        assert not holds(data, bytes(changed), office.ana.certificate)


def test_every_bit_of_a_time_stamp(
    sealed_once: Path, office: Office, tsa_root: Certificate
) -> None:
    signed = signature_of(sealed_once, office.ana).read_bytes()
    data = stamps_of(sealed_once)[0].read_bytes()
    whole = stamps(data, signed, tsa_root)
    assert whole is not None
    covered = signed_parts(data, tsp.TimeStampResp.load(data)["time_stamp_token"])
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            token = stamps(bytes(changed), signed, tsa_root)
            assert token is None or position not in covered, (position, bit)
            assert token is None or token.gen_time == whole.gen_time


@pytest.mark.parametrize("what", ["signature", "stamp"])
def test_every_truncation(
    what: str, sealed_once: Path, office: Office, tsa_root: Certificate
) -> None:
    signature = signature_of(sealed_once, office.ana).read_bytes()
    content = (sealed_once / "tagmanifest-sha512.txt").read_bytes()
    stamp = stamps_of(sealed_once)[0].read_bytes()
    if what == "signature":
        for length in range(len(signature)):
            assert not holds(signature[:length], content, office.ana.certificate)
        assert not holds(signature + b"\0", content, office.ana.certificate)
    else:
        for length in range(len(stamp)):
            assert stamps(stamp[:length], signature, tsa_root) is None
        assert stamps(stamp + b"\0", signature, tsa_root) is None


def ber(data: bytes) -> bytes:
    """The outermost SEQUENCE with an indefinite length: BER, not DER."""
    start = 2 + (data[1] & 0x7F if data[1] & 0x80 else 0)
    return b"\x30\x80" + data[start:] + b"\0\0"


def long_form(data: bytes) -> bytes:
    """The outermost length with a needless leading zero."""
    assert data[1] == 0x82
    return data[:1] + b"\x83\0" + data[2:]


@pytest.mark.parametrize("way", [ber, long_form])
def test_re_encoded(way: Any, sealed_once: Path, office: Office, tsa_root: Certificate) -> None:
    """The content is the same; whichever way it is answered, nothing is raised and a
    signed part is never another.
    """
    signature = signature_of(sealed_once, office.ana).read_bytes()
    content = (sealed_once / "tagmanifest-sha512.txt").read_bytes()
    stamp = stamps_of(sealed_once)[0].read_bytes()
    holds(way(signature), content, office.ana.certificate)
    assert not holds(way(signature), content + b"x", office.ana.certificate)
    assert not holds(way(signature), content, office.ben.certificate)
    stamps(way(stamp), signature, tsa_root)
    assert stamps(way(stamp), signature + b"x", tsa_root) is None


def test_random_bytes_and_nesting() -> None:
    chance = random.Random(7)
    begun = time.monotonic()
    for _number in range(300):
        data = chance.randbytes(chance.randrange(400))
        with pytest.raises(CmsError):
            parse_signed_data(data)
        with pytest.raises(CmsError):
            parse_answer(data)
    for deep in (b"\x30\x80" * 200_000, b"\xa0\x82\xff\xff" * 50_000, b"\x30\x84\xff\xff\xff\xff"):
        with pytest.raises(CmsError):
            parse_signed_data(deep)
        with pytest.raises(CmsError):
            parse_answer(deep)
    with pytest.raises(CmsError):
        parse_signed_data(bytes(2 << 20))
    assert time.monotonic() - begun < 20
