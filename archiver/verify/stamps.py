"""Whether a time stamp proves a time (docs/proof.md, step 7).

Job: one stamp over one signature, judged by what the checker brought. Limits: opens no
files; bags and the checkpoints of a vault are judged by the very same rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.x509 import Name

from archiver.i18n import N_
from archiver.pki.anchors import Anchors, Proven
from archiver.pki.certificates import Certificate
from archiver.pki.cms import CmsError
from archiver.pki.paths import Crl
from archiver.timestamp.token import Whence, check_token, judge_token, parse_answer

__all__ = ["NO_ROOTS", "Judge", "Stamp", "proven_by"]

NO_ROOTS = N_("no root of a TSA was named that you trust")
_WHENCE = {
    Whence.UNKNOWN: N_("its TSA doesn't lead to a root that you trust"),
    Whence.EXPIRED: N_("its TSA's certificate was not valid at that time"),
    Whence.REVOKED: N_("its TSA's certificate was revoked"),
    Whence.FUTURE: N_("it is from the future"),
    Whence.DISPUTED: N_("two readers of time stamps disagree about it"),
    Whence.UNDECIDED: N_("nobody is known who signed the revocation list for its TSA"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """One time stamp: ``gen_time`` and ``tsa`` are claims unless it is ``trusted``.

    ``stranger``: all that is wrong with it is that its TSA isn't one the checker named.
    """

    file: str
    trusted: bool
    problem: str = ""
    stranger: bool = False
    gen_time: datetime | None = None
    latest: datetime | None = None
    tsa: str = ""
    root: str = ""
    issuers: tuple[Name, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """What stamps are judged by: the checker's ``anchors`` as of ``now`` (aware);
    ``known`` certificates and revocation lists as ``hints`` may come from anywhere.
    """

    anchors: Anchors
    now: datetime
    known: tuple[Certificate, ...] = ()
    hints: Sequence[Crl] = ()

    def stamp(self, file: str, answer: bytes, data: bytes, signer: Certificate) -> Stamp:
        """What is to be said of ``answer``, kept in ``file``, as a stamp over ``data``, which
        is a signature by ``signer``.
        """
        try:
            token = parse_answer(answer)
            check_token(token, data)
        except CmsError as error:
            return Stamp(file=file, trusted=False, problem=error.message)
        roots = self.anchors.stamping_roots(signer)
        judged = judge_token(token, roots, self.known, self.anchors.crls, self.now, self.hints)
        trusted, stranger = judged.whence is Whence.TRUSTED, judged.whence is Whence.UNKNOWN
        problem = "" if trusted else _WHENCE[judged.whence]
        return Stamp(
            file=file,
            trusted=trusted,
            problem=NO_ROOTS if stranger and not roots else problem,
            stranger=stranger,
            gen_time=token.gen_time,
            latest=token.latest,
            tsa=token.certificate.name,
            issuers=tuple(one.issuer for one in token.signed.certificates),
            root=judged.anchor.fingerprint if judged.anchor else "",
        )


def proven_by(stamps: Iterable[Stamp]) -> Proven | None:
    """When a signature was there at the latest: what the earliest trusted stamp says."""
    times = [one.latest for one in stamps if one.trusted and one.latest]
    return Proven(min(times)) if times else None
