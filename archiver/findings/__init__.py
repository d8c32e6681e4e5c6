"""What a check returns: findings, claims with one of four outcomes, a report.

Job: hold what was found, in full, within bounded memory.
Limits: knows nothing of what is checked; the texts stand in
:mod:`archiver.findings.catalogue`.

A finding has a stable code (``E-BAG-012``), a severity, a place and a
reference. E = error: a MUST is broken, the claim fails. U = undecided: it can't
be told. W = warning: a SHOULD is broken, or something worth knowing.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from archiver.errors import ArchiverError
from archiver.findings.catalogue import CATALOGUE, Entry
from archiver.i18n import N_, _

__all__ = [
    "MAX_FINDINGS_PER_CODE",
    "Claim",
    "Finding",
    "Findings",
    "Outcome",
    "Severity",
    "VerificationError",
]

MAX_FINDINGS_PER_CODE = 10_000
"""Kept of each code; the rest is counted, so that a hostile bag can't fill memory."""


class Severity(enum.Enum):
    """How a finding weighs on its claim."""

    ERROR = "error"
    UNDECIDED = "undecided"
    WARNING = "warning"


MAX_TEXT = 5000
"""Characters kept of a path or a detail; Linux paths end at 4,096 bytes."""
_TRANSLATED = ("problem", "kind", "reason", "ours", "theirs")
"""Details that may be texts of ours; what is not in the catalogue stays as it is."""
_SEVERITIES = {"E": Severity.ERROR, "U": Severity.UNDECIDED, "W": Severity.WARNING}


class Outcome(enum.Enum):
    """What became of one claim."""

    HOLDS = "holds"
    FAILS = "fails"
    UNDECIDED = "undecided"
    NOT_ASKED = "not-asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a check found.

    ``path`` is relative to what was checked, as found (it may hold anything:
    escape before showing). ``details`` fill the message's template.
    """

    code: str
    path: str = ""
    details: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if self.code not in CATALOGUE:
            raise ValueError(f"no such finding code: {self.code}")

    @property
    def entry(self) -> Entry:
        """The code's entry in the catalogue."""
        return CATALOGUE[self.code]

    @property
    def severity(self) -> Severity:
        """From the code's first letter."""
        return _SEVERITIES[self.code[0]]

    @property
    def message(self) -> str:
        """The text for a person, in the current language, unescaped."""
        details = {key: _(value) if key in _TRANSLATED else value for key, value in self.details}
        return _(self.entry.message).format_map(details)

    @property
    def reference(self) -> str:
        """Where the rule stands."""
        return self.entry.reference


def _limited(text: str) -> str:
    """``text``, or its beginning: a hostile manifest has lines of a megabyte."""
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"


class Findings:
    """Gathers findings; counts all, keeps the first of each code."""

    def __init__(self) -> None:
        self._kept: list[Finding] = []
        self._counts: Counter[str] = Counter()

    def add(self, code: str, path: str = "", /, **details: object) -> None:
        """Note a finding; ``details`` are what its message's template names."""
        self._counts[code] += 1
        if self._counts[code] <= MAX_FINDINGS_PER_CODE:
            texts = tuple((key, _limited(str(value))) for key, value in details.items())
            self._kept.append(Finding(code=code, path=_limited(path), details=texts))

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._kept)

    def __len__(self) -> int:
        return self._counts.total()

    @property
    def counts(self) -> dict[str, int]:
        """How often each code was found, kept or not."""
        return dict(self._counts)

    def has(self, *codes: str) -> bool:
        """Whether any of these codes was found."""
        return any(self._counts[code] for code in codes)

    def not_kept(self) -> int:
        """How many findings were counted but not kept."""
        return self._counts.total() - len(self._kept)

    def outcome(self, step: str) -> Outcome:
        """What the findings of one step say: an error weighs more than a doubt."""
        severities = {code[0] for code in self._counts if CATALOGUE[code].step == step}
        if "E" in severities:
            return Outcome.FAILS
        if "U" in severities:
            return Outcome.UNDECIDED
        return Outcome.HOLDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One numbered step of a verification, its outcome and what stands behind it."""

    name: str
    outcome: Outcome
    detail: str = ""
    data: dict[str, str | int] = field(default_factory=dict)


class VerificationError(ArchiverError):
    """Well formed, but a claim does not hold; ``report`` says which and why."""

    usual_hint = N_("'archiver bag verify' says which claim does not hold, and why.")

    def __init__(self, message: str, *, report: object, exit_code: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.report = report
        self.exit_code = exit_code
