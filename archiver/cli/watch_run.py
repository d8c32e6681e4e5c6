"""What ``archiver watch`` does: watcher, target, keys, log, endpoints put together and run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from archiver.cli.keys import check_signers, sealing_for
from archiver.cli.output import Output, printable
from archiver.cli.watch_status import remember_folder
from archiver.i18n import _
from archiver.seal import Sealing
from archiver.watch.endpoints import Endpoints, Pages
from archiver.watch.health import Health
from archiver.watch.logs import JsonLines, Line, Lines, LineWriter, WatchLog, summary_text
from archiver.watch.model import Sink, State
from archiver.watch.service import Notifier, Pulse, Stopping
from archiver.watch.unattended import KeySink, Opener

__all__ = ["Keys", "Target", "Wish", "watch"]

_STALLED_SECONDS = 120.0
"""Without a service manager that says how long it waits: as long may a disk take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Who signs, as the options name them."""

    names: list[str]
    directory: str
    passphrase_files: list[str]
    tsa: list[str]
    tsa_roots: list[str]

    def open(self, policy: Any, *, attended: bool) -> Sealing:
        """Raises ArchiverError."""
        return sealing_for(
            self.names,
            self.directory,
            self.passphrase_files,
            self.tsa,
            self.tsa_roots,
            datetime.now(UTC),
            require_stamp=policy.proof.time_stamps > 0,
            attended=attended,
        )

    def check(self, sealing: Sealing) -> None:
        """Raises KeyringError."""
        check_signers(sealing.signers, self.directory, datetime.now(UTC), warn=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where bags go: ``vault`` with ``case``, or the directory ``path``."""

    vault: Any
    case: str
    path: str
    policy: Any

    @property
    def identifier(self) -> str:
        """What a journal belongs to, together with its folder."""
        return self.vault.identifier if self.vault else self.path

    @property
    def told(self) -> str:
        """For people."""
        return f"{self.path} ({self.case})" if self.vault else self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What else was asked for."""

    once: bool
    dry_run: bool
    hints: bool
    port: int | None
    names: bool
    as_json: bool
    quiet: bool


def watch(target: Target, rules: Sequence[tuple[str, Any]], keys: Keys, wish: Wish) -> int:
    """Run it until it is told to stop (``--once``: until all is done); the exit code."""
    output = Output(quiet=wish.quiet)
    if wish.dry_run:
        return _dry_run(target, rules, output, as_json=wish.as_json)
    hide = [target.path, *(folder for folder, _rules in rules)]
    writer, notifier = _writer(), Notifier(os.environ)
    log = WatchLog(_Quiet(writer) if wish.quiet else writer, names=wish.names, hide=hide)
    with ExitStack() as stack:
        sink = _sink(target, rules, keys, log, output)
        watcher = stack.enter_context(_watcher(target, rules, sink, wish))
        if wish.port is not None:
            stalled = notifier.watchdog_seconds or _STALLED_SECONDS
            pages = Pages(watcher.health, stalled_seconds=stalled, hide=hide)
            port = stack.enter_context(Endpoints(pages, wish.port)).port
            log.say("listening", _("listening on port {port}").format(port=port), port=port)
        whole = _run(watcher, notifier, log, once=wish.once)
        health = watcher.health()
        log.finish(health)
    return _end(health, wish, output, whole=whole)


def _run(watcher: Any, notifier: Notifier, log: WatchLog, *, once: bool) -> bool:
    """Whether it ended in order, not in the middle of something."""
    stopping = Stopping(notifier)
    log.say("started", _("watching"))
    try:
        with Pulse(watcher.health, notifier, log.look), stopping.watched() as asked:
            notifier.ready()
            if once:
                watcher.run_once(asked)
            else:
                watcher.run(asked)
    except KeyboardInterrupt:
        text = _("stopped in the middle of something: it is rolled back, and begun again next time")
        log.say("broken-off", text, level="warning")
        return False
    log.say("stopped", _("stopped; nothing is left half-done"))
    return True


class _Quiet:
    """Passes on what is wrong."""

    def __init__(self, inner: LineWriter) -> None:
        self._inner = inner

    def line(self, line: Line) -> None:
        if line.level != "info":
            self._inner.line(line)

    def live(self, text: str) -> None:
        pass


def _writer() -> LineWriter:
    """For people at a terminal, else for programs."""
    return Lines(sys.stderr, printable) if sys.stderr.isatty() else JsonLines(sys.stderr)


# Keys and target


def _sink(
    target: Target, rules: Sequence[tuple[str, Any]], keys: Keys, log: WatchLog, output: Output
) -> Sink:
    """The target, with keys as soon as they can be opened. Raises ArchiverError."""
    make = _maker(target)
    if not keys.names:
        if not target.vault:
            output.say(_("The bags are unsigned: they show damage, not who made them."))
        return make(None)
    opener = Opener(
        lambda: keys.open(target.policy, attended=False),
        keys.check,
        first=_open_first(target, keys),
    )
    allow = all(rule.unsigned == "allow" for _folder, rule in rules)

    def warn(text: str, *, unsigned: bool) -> None:
        event = "unsigned" if unsigned else "signed"
        log.say(event, log.plain(text), level="warning" if unsigned else "info")

    return KeySink(make, opener, allow_unsigned=allow, warn=warn)


def _open_first(target: Target, keys: Keys) -> Sealing | None:
    """Where somebody sits at the terminal, keys are asked for at once. Raises ArchiverError."""
    return keys.open(target.policy, attended=True) if sys.stdin.isatty() else None


def _maker(target: Target) -> Callable[[Sealing | None], Sink]:
    from archiver.watch.sinks import DirectorySink, VaultSink

    if target.vault:
        return lambda sealing: VaultSink(target.vault, target.case, target.policy, sealing)
    return lambda sealing: DirectorySink(target.path, target.policy, sealing)


@contextmanager
def _watcher(
    target: Target, rules: Sequence[tuple[str, Any]], sink: Sink, wish: Wish
) -> Iterator[Any]:
    """The watcher with its journals, which no other process has. Raises LockedError."""
    from archiver.watch.journal import Journal, journal_path
    from archiver.watch.watcher import WatchedRoot, Watcher

    with ExitStack() as stack:
        roots = []
        for folder, rule in rules:
            path = journal_path(target.identifier, folder)
            journal = stack.enter_context(Journal(path))
            remember_folder(journal, folder, target.told)
            roots.append(WatchedRoot(path=folder, policy=rule, journal=journal))
        yield Watcher(roots, sink, hints=wish.hints)


# The end


def _end(health: Health, wish: Wish, output: Output, *, whole: bool) -> int:
    refused = health.count(State.QUARANTINED)
    if wish.as_json:
        output.json(_health_json(health, whole=whole))
    elif wish.once:
        output.line(summary_text(health))
    if not whole:
        return 130
    if wish.once and (refused or health.reasons()):
        if not wish.as_json:
            for one in health.reasons():
                output.warning(one.text)
            output.hint(_("See 'archiver watch status'."))
        return 5
    return 0


def _health_json(health: Health, *, whole: bool) -> dict[str, object]:
    return {
        "schema": "archiver/watch/1",
        "ended_in_order": whole,
        "files": {state.value: health.count(state) for state in State},
        "problem": health.problem or None,
        "folders": [
            {
                "folder": one.path,
                "paused": one.paused or None,
                "degraded": one.degraded or None,
                "files": {state.value: one.count(state) for state in State},
            }
            for one in health.folders
        ],
    }


def _dry_run(
    target: Target, rules: Sequence[tuple[str, Any]], output: Output, *, as_json: bool
) -> int:
    raise NotImplementedError
