"""What a checker trusts: anchors from outside of the bag, and whom they lead to.

Job: hold the anchors, answer for one certificate at one time. Limits: reads no files
and no bags; certificates that came with a bag are only ever steps of a path.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from archiver.pki.certificates import Certificate, unique
from archiver.pki.paths import Crl, Path, cannot_be_attributed, find_path, revocations_in
from archiver.pki.trustlist import TrustList

__all__ = ["Anchors", "Proven", "Standing", "Trust", "judge_signer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """Everything the checker brought. ``fingerprints`` name certificates that may come
    from anywhere: who knows the fingerprint knows the certificate.
    """

    certificates: tuple[Certificate, ...] = ()
    fingerprints: frozenset[str] = frozenset()
    lists: tuple[TrustList, ...] = ()
    tsa_roots: tuple[Certificate, ...] = ()
    crls: tuple[Crl, ...] = ()

    @property
    def names_signers(self) -> bool:
        """Whether there is anything that could vouch for a signer."""
        return bool(self.certificates or self.fingerprints or self.lists)

    def stamping_roots(self, signer: Certificate) -> tuple[Certificate, ...]:
        """The TSA roots that were named, and those of the trust lists that know ``signer``:
        one office's TSA doesn't date another's signatures.
        """
        lists = (one for one in self.lists if one.find(signer.fingerprint) is not None)
        pinned = (one.certificate for each in lists for one in each.tsa_roots)
        return unique([*self.tsa_roots, *pinned])


@dataclass(frozen=True, slots=True)
class Proven:
    """When a signature was there at the latest, by a trusted stamp (aware, and already
    with the TSA's accuracy added).
    """

    moment: datetime


class Standing(enum.Enum):
    """What is to be said of a signer."""

    TRUSTED = "trusted"
    UNKNOWN = "unknown"
    SAME_NAME = "same-name"
    NOT_LISTED = "not-listed"
    EXPIRED = "expired"
    REVOKED = "revoked"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """The answer for one signer. ``anchor`` names whom it rests on, where trusted."""

    standing: Standing
    anchor: str = ""
    since: datetime | None = None
    """From when it is revoked, where it is."""
    path: tuple[Certificate, ...] = field(default=(), repr=False)
    """From the signer to what trust rests on, where there is such a path."""


def judge_signer(
    certificate: Certificate,
    others: Iterable[Certificate],
    anchors: Anchors,
    proven: Proven | None,
    now: datetime,
    hints: Sequence[Crl] = (),
) -> Trust:
    """Whether ``certificate`` is trusted for a signature that was there at ``proven``, or,
    where no time is proven, now. ``others`` are steps that a path may take, ``hints``
    revocation lists that came with the bag: they count where their issuer is known.

    A revocation outweighs every anchor. Without a proven time it always counts: the
    signer's own clock can't be believed once the key is in other hands.
    """
    others = unique(others)
    moment = proven.moment if proven else now
    answers = [
        *(_by_list(certificate, one, moment) for one in anchors.lists),
        *_by_certificates(certificate, others, anchors, moment),
    ]
    known = (*anchors.certificates, *(one.authority for one in anchors.lists), *others)
    paths = [one.path for one in answers if one.path] or [(certificate,)]
    revoked = _revoked_since(certificate, paths, known, anchors, hints)
    if revoked is not None and (proven is None or proven.moment >= revoked):
        return Trust(standing=Standing.REVOKED, since=revoked)
    for wanted in (Standing.TRUSTED, Standing.EXPIRED, Standing.NOT_LISTED, Standing.SAME_NAME):
        for answer in answers:
            if answer.standing is wanted:
                return _unless_undecided(answer, known, anchors)
    return Trust(standing=Standing.UNKNOWN)


def _revoked_since(
    certificate: Certificate,
    paths: Sequence[Sequence[Certificate]],
    known: Sequence[Certificate],
    anchors: Anchors,
    hints: Sequence[Crl],
) -> datetime | None:
    """From when on the signer is revoked, by whichever source says the earliest. ``paths``
    are those that trust would rest on.
    """
    entries = (trust.find(certificate.fingerprint) for trust in anchors.lists)
    found = [one.invalid_after for one in entries if one and one.invalid_after]
    crls = (*anchors.crls, *hints)
    found += [one.since for path in paths for one in revocations_in(path, known, crls)]
    return min(found, default=None)


def _unless_undecided(answer: Trust, known: Sequence[Certificate], anchors: Anchors) -> Trust:
    """A revocation list that can't be attributed leaves open what it says."""
    if answer.standing is Standing.TRUSTED and cannot_be_attributed(
        answer.path, known, anchors.crls
    ):
        return Trust(standing=Standing.UNDECIDED, anchor=answer.anchor)
    return answer


def _by_list(certificate: Certificate, trust: TrustList, moment: datetime) -> Trust:
    entry = trust.find(certificate.fingerprint)
    if entry is None:
        if find_path(certificate, (), [trust.authority], moment) is not None:
            return Trust(standing=Standing.NOT_LISTED)
        namesake = trust.authority.subject == certificate.issuer
        return Trust(standing=Standing.SAME_NAME if namesake else Standing.UNKNOWN)
    within = entry.valid_from <= moment <= entry.valid_until and certificate.valid_at(moment)
    return Trust(
        standing=Standing.TRUSTED if within else Standing.EXPIRED,
        anchor=f"{trust.organisation}: {entry.name}",
        path=(certificate,),
    )


def _by_certificates(
    certificate: Certificate,
    others: Sequence[Certificate],
    anchors: Anchors,
    moment: datetime,
) -> Iterable[Trust]:
    listed = {one.authority.fingerprint for one in anchors.lists}
    roots = [one for one in anchors.certificates if one.fingerprint not in listed]
    pinned = anchors.fingerprints - listed
    roots += [one for one in (certificate, *others) if one.fingerprint in pinned]
    path = find_path(certificate, others, roots, moment)
    if path is not None and _passes_a_list(path, anchors):
        return  # what its CA's list says of it is all there is to say
    if path is not None:
        yield Trust(standing=Standing.TRUSTED, anchor=path.anchor.name, path=path.certificates)
        return
    earlier = _path_at_another_time(certificate, others, roots)
    if earlier is not None and not _passes_a_list(earlier, anchors):
        yield Trust(
            standing=Standing.EXPIRED, anchor=earlier.anchor.name, path=earlier.certificates
        )
    elif any(one.subject == certificate.issuer for one in roots):
        yield Trust(standing=Standing.SAME_NAME)


def _passes_a_list(path: Path, anchors: Anchors) -> bool:
    """Whether a path runs through a CA whose list was given, by whichever certificate."""
    authorities = {one.authority.holder for one in anchors.lists}
    return any(one.holder in authorities for one in path.certificates[1:])


def _path_at_another_time(
    certificate: Certificate, others: Sequence[Certificate], roots: Sequence[Certificate]
) -> Path | None:
    """A path while the certificate was valid: then it is expired, or not valid yet."""
    for moment in (certificate.not_after, certificate.not_before):
        path = find_path(certificate, others, roots, moment)
        if path is not None:
            return path
    return None
