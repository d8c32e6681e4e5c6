"""What ``archiver watch`` does: watcher, target, keys, log, endpoints put together and run."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from archiver.cli.agekeys import begin_in_secret
from archiver.cli.keys import check_signers, sealing_for, stamp_options
from archiver.cli.output import Output, printable
from archiver.cli.watch_status import remember_folder
from archiver.errors import storage_error
from archiver.i18n import N_, _
from archiver.seal import Sealing
from archiver.seal.examine import Examiner
from archiver.seal.stamping import StampOptions
from archiver.watch.clock import Beats
from archiver.watch.endpoints import Endpoints, Pages
from archiver.watch.health import Health
from archiver.watch.journal import Journal, journal_path
from archiver.watch.logs import JsonLines, Line, Lines, LineWriter, WatchLog, summary_text
from archiver.watch.model import Sink, State
from archiver.watch.secret import has_readers
from archiver.watch.service import Living, Notifier, Pulse, StoppableSink, Stopping
from archiver.watch.stamper import Stamper
from archiver.watch.unattended import Opener
from archiver.watch.watcher import Planned, WatchedRoot, Watcher

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

    def stamps(self) -> StampOptions:
        """Raises UsageError, KeyringError."""
        return stamp_options(self.tsa, self.tsa_roots, self.directory)

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
    identify: bool | None = None


def watch(target: Target, rules: Sequence[tuple[str, Any]], keys: Keys, wish: Wish) -> int:
    """Run it until it is told to stop (``--once``: until all is done); the exit code."""
    output = Output(quiet=wish.quiet)
    if wish.dry_run:
        return _dry_run(target, rules, output, as_json=wish.as_json)
    if target.vault and has_readers(target.policy):
        begin_in_secret(output)
    hide = [target.path, *(folder for folder, _rules in rules)]
    notifier = Notifier(os.environ)
    log = WatchLog(_writer(quiet=wish.quiet), names=wish.names, hide=hide)
    if target.policy.describe.required:
        text = _("the policy {policy} wants descriptions; what has none is sealed all the same")
        log.say("describe", text.format(policy=target.policy.name), policy=target.policy.name)
    with ExitStack() as stack:
        making = _Making(target, rules, keys, log, identify=wish.identify)
        stack.callback(making.examiner.close)
        stamper = making.stamper()
        watcher = stack.enter_context(_watcher(target, rules, making, wish))
        if stamper:
            stack.enter_context(stamper)
        if wish.port is not None:
            stalled = notifier.watchdog_seconds or _STALLED_SECONDS
            pages = Pages(watcher.health, stalled_seconds=stalled, hide=hide)
            port = stack.enter_context(Endpoints(pages, wish.port)).port
            log.say("listening", _("listening on port {port}").format(port=port), port=port)
        whole = _run(watcher, making.stopping(notifier), notifier, log, once=wish.once)
        if stamper and wish.once and whole:
            stamper.drain()
        health = watcher.health()
    if stamper and stamper.left_out:
        text = _("bags that wait for their time stamp: {count} (archiver bag timestamp)")
        text = text.format(count=stamper.left_out)
        log.say("stamps-wait", text, level="warning", count=stamper.left_out)
    return _end(health, wish, output, whole=whole)


def _run(
    watcher: Watcher, stopping: Stopping, notifier: Notifier, log: WatchLog, *, once: bool
) -> bool:
    """Whether it ended in order, not in the middle of something."""
    log.say("started", _("watching"))
    with stopping.watched(watcher.wake) as asked, Pulse(watcher.health, notifier, log.look):
        notifier.ready()
        if once:
            watcher.run_once(asked)
        else:
            watcher.run(asked)
    log.finish(watcher.health())
    if stopping.broken_off.is_set():
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


def _writer(*, quiet: bool) -> LineWriter:
    """For people at a terminal, else for programs."""
    writer: LineWriter
    writer = Lines(sys.stderr, printable) if sys.stderr.isatty() else JsonLines(sys.stderr)
    return _Quiet(writer) if quiet else writer


class _Making:
    """How bags are made, signed, stamped, and how that is stopped. Raises ArchiverError where
    a key can't be opened and somebody sits at the terminal.
    """

    def __init__(
        self,
        target: Target,
        rules: Sequence[tuple[str, Any]],
        keys: Keys,
        log: WatchLog,
        *,
        identify: bool | None,
    ) -> None:
        self._target, self._keys, self.log = target, keys, log
        self.beats = Beats()
        self._broken_off = threading.Event()
        self._living = Living(self.beats.beat, self._broken_off)
        self.examiner = self._examiner(identify)
        self._stamper: Stamper | None = None
        self._sealing: Callable[[], Sealing | None] = lambda: None
        if keys.names:
            attended = sys.stdin.isatty()
            self._sealing = Opener(
                lambda: keys.open(target.policy, attended=False),
                keys.check,
                allow_unsigned=all(rule.unsigned == "allow" for _folder, rule in rules),
                warn=self._warn,
                first=keys.open(target.policy, attended=True) if attended else None,
            ).sealing
        elif not target.vault:
            self._warn(_("bags are unsigned: they show damage, not who made them"), unsigned=True)

    def _examiner(self, identify: bool | None) -> Examiner:
        """One for as long as the watcher lives. Raises UsageError."""
        target = self._target
        place = target.path
        if target.vault:
            place = os.path.dirname(target.vault.bag_path(target.case, "any"))
        alive = self._living
        return Examiner(target.policy, (place,), identify=identify, waiting=lambda: alive.within(0))

    def stopping(self, notifier: Notifier) -> Stopping:
        """Who hears signals; what is being made ends when it is broken off."""
        return Stopping(notifier, broken_off=self._broken_off)

    def stamper(self) -> Stamper | None:
        """Who asks for time stamps, if any are wanted."""
        if self._keys.names and self._keys.tsa:
            self._stamper = Stamper(self._keys.stamps(), self._tell_stamps)
        return self._stamper

    def sink(self) -> Sink:
        """Where bags go."""
        from archiver.watch.sinks import DirectorySink, SinkOptions, VaultSink

        target = self._target
        options = SinkOptions(
            policy=target.policy,
            sealing=self._sealing,
            progress=self._living,
            examine=self.examiner if self.examiner.is_needed else None,
            examine_plain=self.examiner.before_encryption if self.examiner.is_needed else None,
        )
        inner: Sink
        if target.vault:
            inner = VaultSink(target.vault, target.case, options)
        else:
            inner = DirectorySink(target.path, options)
        return StoppableSink(inner, self._stamper.add if self._stamper else lambda _bag: None)

    def _warn(self, text: str, *, unsigned: bool) -> None:
        event, level = ("unsigned", "warning") if unsigned else ("signed", "info")
        self.log.say(event, self.log.plain(text), level=level)

    def _tell_stamps(self, problem: str) -> None:
        if problem:
            text = _("time stamps wait: {reason}").format(reason=self.log.plain(problem))
            self.log.say("stamps-wait", text, level="warning")
        else:
            self.log.say("stamps-go-on", _("time stamps arrive again"))


@contextmanager
def _watcher(
    target: Target, rules: Sequence[tuple[str, Any]], making: _Making, wish: Wish
) -> Iterator[Watcher]:
    """The watcher with its journals, which no other process has. Raises LockedError."""
    with ExitStack() as stack:
        roots = []
        for folder, rule in rules:
            journal = stack.enter_context(Journal(journal_path(target.identifier, folder)))
            remember_folder(journal, folder, target.told)
            if journal.set_aside:
                text = _("a journal was unreadable: it was set aside and begun anew")
                making.log.say("journal-set-aside", text, level="warning")
            roots.append(WatchedRoot(path=folder, policy=rule, journal=journal))
        if not target.vault:
            _make_directory(target.path)
        yield Watcher(
            roots, making.sink(), beats=making.beats, hints=wish.hints, tell=making.log.file
        )


def _make_directory(path: str) -> None:
    """Only the last part: a parent that is missing may be a disk that is missing."""
    try:
        os.mkdir(path)
    except FileExistsError:
        return
    except OSError as error:
        raise storage_error(error, path) from error


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
        for one in health.reasons():
            output.error(one.text, "")
        output.hint(_("See 'archiver watch status'."))
        return 5
    return 0


def _health_json(health: Health, *, whole: bool) -> dict[str, object]:
    return {
        "schema": "archiver/watch/1",
        "ended_in_order": whole,
        "files": {state.value: health.count(state) for state in State},
        "problem": health.problem or None,
        "left": health.left or None,
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


# Only saying

_PLANS = {
    State.SEEN: N_("would be archived"),
    State.STABLE: N_("would be archived"),
    State.INGESTING: N_("would be archived"),
    State.ARCHIVED: N_("is archived already"),
    State.QUARANTINED: N_("is in quarantine"),
    State.IGNORED: N_("is left out"),
    State.VANISHED: N_("can't be looked at"),
}


def _dry_run(
    target: Target, rules: Sequence[tuple[str, Any]], output: Output, *, as_json: bool
) -> int:
    """Nothing is written; the watcher may be running."""
    code = 0
    with ExitStack() as stack:
        roots = []
        for folder, rule in rules:
            path = journal_path(target.identifier, folder)
            known = os.path.exists(path)
            journal = stack.enter_context(Journal(path if known else "", read_only=known))
            roots.append(WatchedRoot(path=folder, policy=rule, journal=journal))
        for one in Watcher(roots, _NoSink(), hints=False).dry_run():
            code = 5 if one.state is State.VANISHED else code
            _tell_plan(one, output, as_json=as_json)
    return code


def _tell_plan(one: Planned, output: Output, *, as_json: bool) -> None:
    if as_json:
        output.json(
            {
                "schema": "archiver/watch-plan/1",
                "folder": one.root,
                "path": os.fsdecode(one.path),
                "bag_of": os.fsdecode(one.group),
                "state": one.state.value,
                "reason": one.reason or None,
            }
        )
        return
    name = printable(os.path.join(one.root, os.fsdecode(one.path)))
    reason = f" ({printable(one.reason)})" if one.reason else ""
    output.line(f"{name}: {_(_PLANS.get(one.state, one.state.value))}{reason}")


class _NoSink(StoppableSink):
    """A dry run puts nothing anywhere."""

    def __init__(self) -> None:
        pass
