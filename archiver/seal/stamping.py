"""Time stamps for signatures: asked for, waited for, brought in.

Job: requests beside the signatures of a bag, or of another
:class:`~archiver.seal.proofs.ProofPlace`, answers in their place. Limits: an answer is
believed as far as it goes (imprint, nonce, its signature); whose it is, is judged
when the bag is verified, or here where roots are pinned.

A TSA that is down never stands in the way: the request is in the bag before
anything is sent, and waits there.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography import x509

from archiver.bag.proofs import crl_path, request_path, stamp_path
from archiver.errors import (
    ArchiverError,
    DestinationError,
    FormatError,
    RemoteError,
    storage_error,
)
from archiver.filesystem import sync_directory
from archiver.i18n import _
from archiver.pki.certificates import Certificate
from archiver.pki.cms import MAX_CMS_BYTES, CmsError
from archiver.pki.paths import read_crls
from archiver.seal.proofs import ProofPlace, add_certificates, add_proof
from archiver.timestamp.client import Patience, ask_tsa, check_url, fetch
from archiver.timestamp.request import (
    IMPRINT,
    NONCE_BITS,
    Request,
    make_request,
    parse_request,
)
from archiver.timestamp.token import (
    MAX_ANSWER_BYTES,
    TimestampToken,
    check_answer,
    judge_token,
    parse_answer,
)

__all__ = [
    "StampOptions",
    "StampResult",
    "Waiting",
    "add_requests",
    "ask_for_stamp",
    "stamp_bag",
    "store_answer",
    "tsa_id",
    "waiting_requests",
]

_MAX_CRL_BYTES = 2 << 20
_CRL_SECONDS = 20.0
"""For all lists of one stamp together."""
_MAX_CRLS = 8


def _random_nonce() -> int:
    return secrets.randbits(NONCE_BITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class StampOptions:
    """Which TSAs to ask, and how. ``roots`` are their pinned roots, ``pinned`` those of
    single ones by URL: where there are any, an answer from elsewhere is refused, and the
    revocation lists of the day are fetched.
    """

    urls: tuple[str, ...] = ()
    roots: tuple[Certificate, ...] = ()
    pinned: Mapping[str, tuple[Certificate, ...]] = field(default_factory=dict)
    patience: Patience = field(default_factory=Patience)
    nonce: Callable[[], int] = _random_nonce


@dataclass(frozen=True, slots=True, kw_only=True)
class StampResult:
    """What became of one request: ``gen_time`` where a stamp came, else ``problem``."""

    signature: str
    url: str
    gen_time: datetime | None = None
    problem: str = ""
    checked: bool = False
    """Whether it comes from a pinned root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A request in ``place`` without its answer; ``data`` are its bytes, ``asked`` what they
    say, ``signed`` are the bytes of the signature.
    """

    place: ProofPlace
    signature: str
    request: str
    data: bytes
    asked: Request
    signed: bytes

    @property
    def tsa(self) -> str:
        """The part of the name that tells TSAs apart."""
        return self.request.removeprefix(f"{self.signature}.").removesuffix(".tsq")


def tsa_id(url: str) -> str:
    """16 digits for a TSA: its host's name doesn't go into a file's name."""
    return hashlib.sha256(check_url(url).encode()).hexdigest()[:16]


def add_requests(
    place: ProofPlace,
    options: StampOptions,
    *,
    signatures: Sequence[str] | None = None,
    unaddressed: bool = False,
) -> None:
    """Have a request waiting for each signature (all, or ``signatures``) and TSA that has
    neither stamp nor request.

    ``unaddressed``: where a signature has none at all, one that any TSA may answer.
    """
    if not options.urls and not unaddressed:
        return
    proofs = place.files()
    for signature in proofs.signatures if signatures is None else signatures:
        data = place.read(signature, MAX_CMS_BYTES)
        for url in options.urls:
            names = (stamp_path(signature, tsa_id(url)), request_path(signature, tsa_id(url)))
            if not any(name in (*proofs.stamps, *proofs.requests) for name in names):
                add_proof(place, names[1], make_request(data, options.nonce()))
        if unaddressed and not (proofs.stamps_of(signature) or proofs.requests_of(signature)):
            request = make_request(data, options.nonce())
            add_proof(
                place, request_path(signature, hashlib.sha256(request).hexdigest()[:16]), request
            )


def waiting_requests(place: ProofPlace) -> Iterator[Waiting]:
    """The requests in ``place`` that wait for an answer; those that ask for a stamp over
    something else than their signature are passed over.
    """
    proofs = place.files()
    for signature in proofs.signatures if proofs.requests else ():
        for request in proofs.requests_of(signature):
            signed = place.read(signature, MAX_CMS_BYTES)
            data = place.read(request, MAX_ANSWER_BYTES)
            try:
                asked = parse_request(data)
            except FormatError:
                continue
            if asked.imprint == hashlib.new(IMPRINT, signed).digest():
                yield Waiting(
                    place=place,
                    signature=signature,
                    request=request,
                    data=data,
                    asked=asked,
                    signed=signed,
                )


def stamp_bag(bag: str, options: StampOptions, now: datetime) -> tuple[StampResult, ...]:
    """Ask each TSA for a stamp over each signature that has none by it yet.

    What a TSA doesn't give is told, not raised; the request waits. Raises StorageError.
    """
    place = ProofPlace(bag)
    add_requests(place, options)
    waiting = tuple(waiting_requests(place))
    return tuple(
        ask_for_stamp(one, url, options, now)
        for url in options.urls
        for one in waiting
        if one.tsa == tsa_id(url)
    )


def ask_for_stamp(waiting: Waiting, url: str, options: StampOptions, now: datetime) -> StampResult:
    """Ask the TSA at ``url`` for the answer to a request that waits. What it doesn't give is
    told, not raised. Raises StorageError.
    """
    roots = (*options.roots, *options.pinned.get(url, ()))
    try:
        answer = ask_tsa(url, waiting.data, options.patience)
        token, path = store_answer(waiting, answer, roots, now)
    except RemoteError as error:
        return StampResult(signature=waiting.signature, url=url, problem=error.message)
    if waiting.place.with_certificates:
        _keep_crls(waiting.place, path)
    return StampResult(
        signature=waiting.signature, url=url, gen_time=token.gen_time, checked=bool(path)
    )


def store_answer(
    waiting: Waiting, answer: bytes, roots: Sequence[Certificate], now: datetime
) -> tuple[TimestampToken, tuple[Certificate, ...]]:
    """Check an answer against the request that waits, and put it in its place: the token,
    and its path to one of ``roots``, which is empty where none are pinned.

    Raises RemoteError where it is not what was asked for; then nothing was changed.
    """
    try:
        token = parse_answer(answer)
        check_answer(token, waiting.asked, waiting.signed)
    except CmsError as error:
        raise RemoteError(
            _("the answer for {file} is refused: {reason}").format(
                file=waiting.request, reason=_(error.message)
            )
        ) from error
    path = judge_token(token, roots, (), (), now).path if roots else ()
    if roots and not path:
        raise RemoteError(
            _("the answer for {file} is refused: it doesn't come from a pinned root").format(
                file=waiting.request
            )
        )
    place, name = waiting.place, stamp_path(waiting.signature, waiting.tsa)
    if place.with_certificates:
        add_certificates(place, token.signed.certificates)
    try:
        add_proof(place, name, answer)
    except DestinationError:
        # A run before this one was killed right here, or something else lies in its place.
        if place.read(name, MAX_ANSWER_BYTES) != answer:
            raise
    request = place.path(waiting.request)
    try:
        os.unlink(request)
        sync_directory(os.path.dirname(request))
    except OSError as error:
        raise storage_error(error, request) from error
    return token, path


def _keep_crls(place: ProofPlace, path: Sequence[Certificate]) -> None:
    """Keep the revocation lists of the day for the path of a stamp, as far as they are to
    be had.

    Only for a path that leads to a pinned root, and only a few: else a stranger could have
    us fetch whatever addresses please them.
    """
    urls = sorted({url for one in path for url in _crl_urls(one)})[:_MAX_CRLS]
    deadline = time.monotonic() + _CRL_SECONDS
    for url in urls:
        left = deadline - time.monotonic()
        if left <= 0:
            return
        try:
            data = fetch(urllib.request.Request(check_url(url)), _MAX_CRL_BYTES, left)  # noqa: S310  # checked
            if all(any(crl.issued_by(one) for one in path) for crl in read_crls(data)):
                add_proof(place, crl_path(hashlib.sha256(data).hexdigest()), data)
        except ArchiverError:
            continue


def _crl_urls(certificate: Certificate) -> Iterator[str]:
    points = certificate.extension(x509.CRLDistributionPoints)
    for point in points or ():
        for name in point.full_name or ():
            if isinstance(name, x509.UniformResourceIdentifier):
                yield name.value
