"""Time-stamp answers: read, compared with what was asked, judged (RFC 3161 §2.4.2, RFC 5816).

Job: bytes to a :class:`TimestampToken`, and whether it proves a time. Limits: the
asserted time is the TSA's genTime, never a clock of ours.

Two readers have to agree before a stamp counts: ours, which is strict, and
``rfc3161-client``, which checks the signature with OpenSSL.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from asn1crypto import cms, core, tsp

from archiver.i18n import N_
from archiver.pki.certificates import Certificate
from archiver.pki.cms import (
    CmsError,
    MismatchError,
    SignedData,
    check_signature,
    parse_signed_data,
)
from archiver.pki.der import is_plain_der
from archiver.pki.paths import Crl, cannot_be_attributed, find_path, revocations_in
from archiver.timestamp.request import Request

__all__ = [
    "MAX_ANSWER_BYTES",
    "StampTrust",
    "TimestampToken",
    "Whence",
    "check_answer",
    "check_token",
    "judge_token",
    "parse_answer",
]

MAX_ANSWER_BYTES = 256 << 10
"""Answers with whole chains have some ten thousand bytes."""
_STRONG = ("sha256", "sha384", "sha512")
_MAX_ACCURACY = timedelta(days=1)
_FIRST, _LAST = datetime(1990, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
_SKEW = timedelta(minutes=5)
"""How far a TSA's clock may be ahead of the checker's before its stamps are from the future."""


class _Answer(core.Sequence):  # type: ignore[misc]  # asn1crypto has no types
    """TimeStampResp; in asn1crypto's own the token isn't optional."""

    _fields = [  # noqa: RUF012  # as asn1crypto wants it
        ("status", tsp.PKIStatusInfo),
        ("time_stamp_token", cms.ContentInfo, {"optional": True}),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimestampToken:
    """A TimeStampToken as it was signed. ``gen_time`` is aware, ``accuracy`` what the TSA
    allows for; ``digest`` and ``imprint`` are the messageImprint.
    """

    answer: bytes
    gen_time: datetime
    accuracy: timedelta
    digest: str
    imprint: bytes
    nonce: int | None
    signed: SignedData

    @property
    def latest(self) -> datetime:
        """The latest moment that the stamp can mean."""
        return self.gen_time + self.accuracy

    @property
    def certificate(self) -> Certificate:
        """The TSA's certificate, as the token holds it."""
        return self.signed.certificate


def parse_answer(data: bytes) -> TimestampToken:
    """Read a TimeStampResp (DER). Raises CmsError, also where the TSA refused."""
    if len(data) > MAX_ANSWER_BYTES:
        raise CmsError(N_("it is too long to be a time stamp"))
    if not is_plain_der(data):
        raise CmsError(N_("it is not a time-stamp answer in DER"))
    try:
        answer = _Answer.load(data, strict=True)
        status = answer["status"]["status"].native
        token = answer["time_stamp_token"]
        if status != "granted" or isinstance(token, core.Void):
            raise CmsError(N_("the TSA refused the request"))
        raw = token.dump()
    except CmsError:
        raise
    except Exception as error:  # asn1crypto parses as it goes, and raises whatever it meets
        raise CmsError(N_("it is not a time-stamp answer in DER")) from error
    signed = parse_signed_data(raw)
    if signed.content_type != "tst_info" or signed.content is None:
        raise CmsError(N_("it holds no time-stamp token"))
    try:
        return _token(data, signed, signed.content)
    except CmsError:
        raise
    except Exception as error:  # as above
        raise CmsError(N_("its time-stamp token can't be read")) from error


def _token(data: bytes, signed: SignedData, content: bytes) -> TimestampToken:
    if not is_plain_der(content):
        raise CmsError(N_("its time-stamp token can't be read"))
    info = tsp.TSTInfo.load(content, strict=True)
    imprint = info["message_imprint"]
    if info["version"].native != "v1":
        raise CmsError(N_("its time-stamp token is of a version that isn't known here"))
    gen_time, accuracy = info["gen_time"].native, _accuracy(info["accuracy"])
    if not isinstance(gen_time, datetime) or gen_time.tzinfo is None:
        raise CmsError(N_("its time can't be read"))
    if not timedelta(0) <= accuracy <= _MAX_ACCURACY or not _FIRST < gen_time < _LAST:
        raise CmsError(N_("its time is none that a clock could show"))
    return TimestampToken(
        answer=data,
        gen_time=gen_time.astimezone(UTC),
        accuracy=accuracy,
        digest=str(imprint["hash_algorithm"]["algorithm"].native),
        imprint=bytes(imprint["hashed_message"].native),
        nonce=info["nonce"].native,
        signed=signed,
    )


def _accuracy(found: core.Asn1Value) -> timedelta:
    if isinstance(found, core.Void):
        return timedelta(0)
    parts = found.native
    return timedelta(
        seconds=parts["seconds"] or 0,
        milliseconds=parts["millis"] or 0,
        microseconds=parts["micros"] or 0,
    )


def check_token(token: TimestampToken, data: bytes) -> None:
    """Check that ``token`` stamps ``data`` and is signed by a certificate for stamping.

    Raises MismatchError, CmsError. Whose certificate it is, isn't judged here.
    """
    if token.digest not in _STRONG:
        raise CmsError(N_("its imprint is by a weak digest algorithm"))
    if not hmac.compare_digest(hashlib.new(token.digest, data).digest(), token.imprint):
        raise MismatchError(N_("it was made over other bytes"))
    assert token.signed.content is not None
    check_signature(token.signed, token.signed.content)
    if problem := token.certificate.why_not_tsa():
        raise CmsError(problem)


def check_answer(token: TimestampToken, request: Request, data: bytes) -> None:
    """Check that ``token`` answers ``request`` for ``data`` (RFC 3161 §2.4.2).

    Raises MismatchError where it answers another one, CmsError where it is no stamp.
    """
    if token.digest != request.digest or token.imprint != request.imprint:
        raise MismatchError(N_("it was made over other bytes"))
    if token.nonce != request.nonce:
        raise MismatchError(N_("it answers another request (its nonce is another one)"))
    check_token(token, data)


class Whence(enum.Enum):
    """What is to be said of a stamp that matches."""

    TRUSTED = "trusted"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"
    FUTURE = "future"
    DISPUTED = "disputed"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class StampTrust:
    """The answer for one stamp."""

    whence: Whence
    path: tuple[Certificate, ...] = ()
    """From the TSA's certificate to the root, where trusted."""

    @property
    def anchor(self) -> Certificate | None:
        """The root it rests on."""
        return self.path[-1] if self.path else None


def judge_token(
    token: TimestampToken,
    roots: Sequence[Certificate],
    others: Sequence[Certificate],
    crls: Sequence[Crl],
    now: datetime,
    hints: Sequence[Crl] = (),
) -> StampTrust:
    """Whether a stamp that :func:`check_token` found right comes from a pinned root.

    ``others`` are certificates from anywhere, steps of a path; ``hints`` revocation lists
    from anywhere, which count where their issuer is known. ``now`` is aware.
    """
    known = (*token.signed.certificates, *others)
    roots = [one for one in roots if one.is_ca]
    path = find_path(token.certificate, known, roots, token.gen_time)
    if path is None or len(path.certificates) < 2:
        return StampTrust(whence=_why_not(token, roots, known))
    if token.gen_time - _SKEW > now:
        return StampTrust(whence=Whence.FUTURE)
    revocations = revocations_in(path.certificates, known, (*crls, *hints))
    if any(not one.is_innocent or one.since <= token.latest for one in revocations):
        return StampTrust(whence=Whence.REVOKED)
    if cannot_be_attributed(path.certificates, known, crls):
        return StampTrust(whence=Whence.UNDECIDED)
    if not _second_reader_agrees(token, path.certificates):
        return StampTrust(whence=Whence.DISPUTED)
    return StampTrust(whence=Whence.TRUSTED, path=path.certificates)


def _why_not(
    token: TimestampToken, roots: Sequence[Certificate], known: Sequence[Certificate]
) -> Whence:
    """Expired where a path was good at another time, else unknown."""
    for moment in (token.certificate.not_after, token.certificate.not_before):
        path = find_path(token.certificate, known, roots, moment)
        if path is not None and len(path.certificates) > 1:
            return Whence.EXPIRED
    return Whence.UNKNOWN


def _second_reader_agrees(token: TimestampToken, path: Sequence[Certificate]) -> bool:
    """What ``rfc3161-client`` says of the very same bytes."""
    from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response

    try:
        answer = decode_timestamp_response(token.answer)
        verifier = VerifierBuilder(
            roots=[path[-1].parsed], intermediates=[one.parsed for one in path[1:-1]]
        ).build()
        verified = verifier.verify(answer, token.imprint)
    except (VerificationError, ValueError):
        return False
    return verified and answer.tst_info.gen_time.replace(microsecond=0) == token.gen_time.replace(
        microsecond=0
    )
