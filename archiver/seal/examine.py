"""What is learnt of a payload before it is sealed: scanned, identified, accepted or refused.

Job: the hook of :class:`~archiver.seal.CreateOptions` for a policy's ``[formats]`` and
``[scan]``. Limits: how files are read is the business of :mod:`archiver.identify`, how a
scanner is run that of :mod:`archiver.scan`. Events hold counts and versions, never a name.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from archiver.custody import Event
from archiver.errors import SourceError, UsageError
from archiver.i18n import _, ngettext
from archiver.identify import (
    FORMATS_PATH,
    FormatRecord,
    Identifier,
    Limits,
    identify_payload,
    installed,
    payload_files,
    to_bytes,
)
from archiver.policy import FormatPolicy, Policy
from archiver.scan import INFECTED, scan_payload
from archiver.seal import Examined
from archiver.verify.formats import PUIDS

__all__ = ["Examiner", "UnwantedError", "examining"]


class UnwantedError(SourceError):
    """What the policy refuses to archive; ``reason`` says why without the name of a file."""

    def __init__(self, reason: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(f"{path}: {reason}" if path else reason, hint=hint)
        self.reason = reason


Keep = Callable[[bytes], Mapping[str, bytes]]
"""Which tag files the records become: for a secret item they are encrypted."""


def _plain(data: bytes) -> Mapping[str, bytes]:
    return {FORMATS_PATH: data}


def _now() -> datetime:
    return datetime.now(UTC)


class Examiner:
    """Examines one staged bag after the other. ``roots``: directories that they lie below;
    one confined child serves them all then, and can read what is there. Without roots each
    bag has its own child, which can read that bag alone.

    ``waiting`` is called once a second and more: what it raises breaks the work off.

    Raises UsageError where the policy asks for what can't be done.
    """

    def __init__(
        self,
        policy: Policy,
        roots: Sequence[str] = (),
        *,
        identify: bool | None = None,
        keep: Keep = _plain,
        clock: Callable[[], datetime] = _now,
        waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self._policy, self._keep, self._clock, self._waiting = policy, keep, clock, waiting
        self._identifier = _identifier(policy.formats, roots, identify, waiting)
        self.warnings: list[str] = []
        """What a person should hear of the last bag."""
        self.summary: dict[str, Any] = {}
        """The same for programs: ``formats`` and ``scan``."""

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to do."""
        scan = self._policy.scan
        return self._identifier is not None or bool(scan.command) or scan.required

    def close(self) -> None:
        """End the child."""
        if self._identifier is not None:
            self._identifier.close()

    def __call__(self, staged: str) -> Examined:
        """See :data:`archiver.seal.Examine`. Raises SourceError for what the policy refuses."""
        self.warnings, self.summary = [], {}
        events = [*self._scanned(staged)]
        if self._identifier is None:
            return Examined({}, tuple(events))
        records = identify_payload(staged, payload_files(staged), self._identifier)
        _refuse(records, self._policy.formats)
        events += self._told(records, self._identifier)
        return Examined(self._keep(to_bytes(records)), tuple(events))

    def _scanned(self, staged: str) -> Iterator[Event]:
        scan = self._policy.scan
        if not scan.command and not scan.required:
            return
        found = scan_payload(f"{staged}/data", scan, self._waiting)
        self.summary["scan"] = found.detail()
        if found.result == INFECTED:
            if scan.found == "refuse":
                text = _("the scanner {scanner} found malware in it, and the policy refuses that")
                hint = _('Malware may be the evidence: a policy keeps it with found = "keep".')
                raise UnwantedError(text.format(scanner=found.scanner), hint=hint)
            text = _("the scanner {scanner} found malware in it; it is kept, and flagged")
            self.warnings.append(text.format(scanner=found.scanner))
        elif found.reason:
            self.warnings.append(_("not scanned for malware: {reason}").format(reason=found.reason))
        outcome = "failure" if found.reason or found.result == INFECTED else "success"
        yield Event(type="virus check", at=self._clock(), outcome=outcome, detail=found.detail())

    def _told(self, records: Sequence[FormatRecord], by: Identifier) -> Iterator[Event]:
        counts = dict(sorted(Counter(one.outcome for one in records).items()))
        self.summary["formats"] = counts
        troubled = sum(counts.get(one, 0) for one in ("failed", "timed out", "out of memory"))
        if troubled:
            text = ngettext(
                "{count} file could not be examined as it should; it is kept as it is",
                "{count} files could not be examined as they should; they are kept as they are",
                troubled,
            )
            self.warnings.append(text.format(count=troubled))
        detail: dict[str, Any] = {"files": len(records), "outcomes": counts, "tools": [*by.tools]}
        detail["confinement"] = [*by.confinement]
        if by.unusable:
            detail["unusable"] = [*by.unusable]
        yield Event(type="format identification", at=self._clock(), detail=detail)
        found = sum(1 for one in records if one.technical or one.found)
        detail = {"files": found, "tools": [*by.tools]}
        yield Event(type="metadata extraction", at=self._clock(), detail=detail)


def _identifier(
    policy: FormatPolicy,
    roots: Sequence[str],
    wanted: bool | None,
    waiting: Callable[[], None],
) -> Identifier | None:
    judges = bool(policy.accepted or policy.refused)
    on = policy.identify if wanted is None else wanted
    if judges and not (on and installed()):
        raise UsageError(
            _("the policy accepts or refuses formats, and they can't be identified"),
            hint=_("Leave --no-identify away.")
            if not on
            else _("Install the extra: pip install 'archiver[formats]'."),
        )
    if not on or not installed():
        return None
    limits = Limits(seconds=policy.seconds, memory_bytes=policy.memory_mb << 20)
    return Identifier(roots, limits, waiting=waiting)


def _refuse(records: Sequence[FormatRecord], policy: FormatPolicy) -> None:
    """Raise SourceError for the first file that the policy doesn't want."""
    for one in records:
        refused = any(_matches(one, pattern) for pattern in policy.refused)
        accepted = any(_matches(one, pattern) for pattern in policy.accepted)
        if refused or (policy.accepted and not accepted):
            named = one.puid or one.mime or one.outcome
            text = _("the policy does not accept this format ({format})")
            hint = _("Leave it out with --exclude, or choose another policy.")
            raise UnwantedError(text.format(format=named), path=one.path, hint=hint)


def _matches(record: FormatRecord, pattern: str) -> bool:
    """As ``bag verify --policy`` judges it (:mod:`archiver.verify.formats`)."""
    value = record.puid if pattern.startswith(PUIDS) else record.mime.casefold()
    return bool(value) and fnmatchcase(value, pattern.casefold())


@contextlib.contextmanager
def examining(
    policy: Policy, roots: Sequence[str] = (), *, identify: bool | None = None, **more: Any
) -> Iterator[Examiner | None]:
    """An examiner whose child ends with the block; None where there is nothing to do."""
    examiner = Examiner(policy, roots, identify=identify, **more)
    try:
        yield examiner if examiner.is_needed else None
    finally:
        examiner.close()
