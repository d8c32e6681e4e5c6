"""What is learnt of a payload before it is sealed: scanned, identified, accepted or refused.

Job: the hook of :class:`~archiver.seal.CreateOptions` for a policy's ``[formats]`` and
``[scan]``; the same for plain files before they are encrypted. Limits: how files are read is
the business of :mod:`archiver.identify`, how a scanner is run that of :mod:`archiver.scan`.
Events hold counts and versions, never a name; of what is secret no counts either.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    identify_files,
    identify_payload,
    installed,
    payload_files,
    to_bytes,
)
from archiver.policy import FormatPolicy, Policy
from archiver.scan import INFECTED, ScanResult, scan_payload, scan_plain
from archiver.seal import Examined
from archiver.verify.formats import PUIDS

__all__ = ["Examiner", "PlainSource", "UnwantedError", "examining"]


class UnwantedError(SourceError):
    """What the policy refuses to archive; ``reason`` says why without the name of a file."""

    def __init__(self, reason: str, *, path: str = "", hint: str = "") -> None:
        super().__init__(f"{path}: {reason}" if path else reason, hint=hint)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class PlainSource:
    """A plain file that is to be encrypted: its path, "" where it comes through a pipe; what it
    will be called in the bag; how messages call it.
    """

    path: str
    name: str
    label: str


def _now() -> datetime:
    return datetime.now(UTC)


class Examiner:
    """Examines one staged bag after the other. ``roots``: directories that they lie below;
    one confined child serves them all then, and can read what is there. Without roots each
    bag has its own child, which can read that bag alone. So has what is secret, in any case:
    no file that is open is ever looked at by who could read a secret one.

    ``waiting`` is called once a second and more: what it raises breaks the work off. Several
    threads may use it: one is served after the other.

    Raises UsageError where the policy asks for what can't be done.
    """

    def __init__(
        self,
        policy: Policy,
        roots: Sequence[str] = (),
        *,
        identify: bool | None = None,
        clock: Callable[[], datetime] = _now,
        waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self._policy, self._clock, self._waiting = policy, clock, waiting
        self._identifier = _identifier(policy.formats, roots, identify, waiting)
        self._secretly = _identifier(policy.formats, (), identify, waiting)
        self._turn = threading.Lock()
        self.warnings: list[str] = []
        """What a person should hear of the last bag."""
        self.summary: dict[str, Any] = {}
        """The same for programs: ``formats`` and ``scan``."""

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to do."""
        scan = self._policy.scan
        scans = bool(scan.command or scan.secret_command or scan.required)
        return self._identifier is not None or scans

    def close(self) -> None:
        """End the child."""
        if self._identifier is not None:
            self._identifier.close()

    @contextlib.contextmanager
    def _in_turn(self) -> Iterator[None]:
        """One thread at a time; one that waits can be broken off."""
        while not self._turn.acquire(timeout=1.0):
            self._waiting()
        try:
            self.warnings, self.summary = [], {}
            yield
        finally:
            self._turn.release()

    def __call__(self, staged: str) -> Examined:
        """See :data:`archiver.seal.Examine`. Raises SourceError for what the policy refuses."""
        with self._in_turn():
            return self._examined(staged)

    def _examined(self, staged: str) -> Examined:
        scan, events = self._policy.scan, list[Event]()
        if scan.command or scan.required:
            events += self._judged(scan_payload(f"{staged}/data", scan, self._waiting))
        if self._identifier is None:
            return Examined({}, tuple(events))
        records = identify_payload(staged, payload_files(staged), self._identifier)
        _refuse(records, self._policy.formats)
        counts = self._counted(records)
        with_facts = sum(1 for one in records if one.technical or one.found)
        events += self._told(
            self._identifier,
            {"files": len(records), "outcomes": counts},
            {"files": with_facts},
        )
        return Examined({FORMATS_PATH: to_bytes(records)}, tuple(events))

    def before_encryption(self, files: Sequence[PlainSource]) -> Examined:
        """The same of plain files. The records, whose tag file the caller has to encrypt, call
        them by their names in the bag; the events say that there are records, and nothing of
        what is in them. Raises SourceError for what the policy refuses.
        """
        with self._in_turn():
            return self._examined_plain(files)

    def _examined_plain(self, files: Sequence[PlainSource]) -> Examined:
        scan, events = self._policy.scan, list[Event]()
        if scan.command or scan.secret_command or scan.required:
            paths = [one.path for one in files]
            events += self._judged(scan_plain(paths, scan, self._waiting))
        if self._secretly is None:
            return Examined({}, tuple(events))
        with self._secretly as identifier:  # nothing of them stays in the memory of a child
            records = identify_files([(one.path, one.name) for one in files], identifier)
        labels = {one.name: one.label for one in files}
        _refuse(records, self._policy.formats, labels)
        self._counted(records)
        events += self._told(identifier, {}, {})
        return Examined({FORMATS_PATH: to_bytes(records)}, tuple(events))

    def _judged(self, found: ScanResult) -> Iterator[Event]:
        """The event of a scan. Raises SourceError where what was found is refused."""
        self.summary["scan"] = found.detail()
        if found.result == INFECTED:
            if self._policy.scan.found == "refuse":
                text = _("the scanner {scanner} found malware in it, and the policy refuses that")
                hint = _('Malware may be the evidence: a policy keeps it with found = "keep".')
                raise UnwantedError(text.format(scanner=found.scanner), hint=hint)
            text = _("the scanner {scanner} found malware in it; it is kept, and flagged")
            self.warnings.append(text.format(scanner=found.scanner))
        elif found.reason:
            self.warnings.append(_("not scanned for malware: {reason}").format(reason=found.reason))
        outcome = "failure" if found.reason or found.result == INFECTED else "success"
        yield Event(type="virus check", at=self._clock(), outcome=outcome, detail=found.detail())

    def _counted(self, records: Sequence[FormatRecord]) -> dict[str, int]:
        """How often each outcome came; trouble is warned of."""
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
        return counts

    def _told(
        self, by: Identifier, identified: Mapping[str, Any], extracted: Mapping[str, Any]
    ) -> Iterator[Event]:
        """Who was asked; the rest is said by its caller."""
        tools = {"tools": [*by.tools]}
        detail = {**identified, **tools, "confinement": [*by.confinement]}
        if by.unusable:
            detail["unusable"] = [*by.unusable]
        yield Event(type="format identification", at=self._clock(), detail=detail)
        yield Event(type="metadata extraction", at=self._clock(), detail={**extracted, **tools})


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


def _refuse(
    records: Sequence[FormatRecord], policy: FormatPolicy, labels: Mapping[str, str] | None = None
) -> None:
    """Raise SourceError for the first file that the policy doesn't want. ``labels``: how it is
    called, where not by its path in the bag.
    """
    for one in records:
        refused = any(_matches(one, pattern) for pattern in policy.refused)
        accepted = any(_matches(one, pattern) for pattern in policy.accepted)
        if refused or (policy.accepted and not accepted):
            named = one.puid or one.mime or one.outcome
            text = _("the policy does not accept this format ({format})")
            hint = _("Leave it out with --exclude, or choose another policy.")
            called = labels[one.path] if labels else one.path
            raise UnwantedError(text.format(format=named), path=called, hint=hint)


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
