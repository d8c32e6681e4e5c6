"""A case's log on the disk: read and checked from any position, appended crash-safe.

Job: lines and their chain. Limits: what the events mean is the catalog's business; who
appends holds the vault's lock.

A line is written whole and synced before anything counts on it. A line that a crash has
torn is recognised: it is set aside beside the log, and the next event says so.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Sequence

from archiver.catalog.model import START, Position
from archiver.custody import MAX_EVENT_BYTES, Event, Link, chain_links, line_digest, parse_event
from archiver.errors import ArchiverError, FormatError, LogError, storage_error
from archiver.filesystem import open_regular, sync_directory, write_new_file
from archiver.i18n import N_, _

__all__ = ["CaseLog", "read_links"]

_NOT_NEXT = N_("the event does not follow from the one before it")


class CaseLog:
    """The log at ``path``, from ``position`` on. ``torn`` are bytes behind the last whole
    line, known once it was read to its end.
    """

    def __init__(self, case: str, path: str, position: Position = START) -> None:
        self.case, self.path = case, path
        self.position = position
        self.torn = b""

    def follows(self) -> bool:
        """Whether the log still has, up to the position, what was read there: the last line
        is the same, and with it the whole chain. Raises StorageError.
        """
        if self.position.lines == 0 and not os.path.lexists(self.path):
            return True
        try:
            descriptor = open_regular(self.path)
            try:
                begin = self.position.size - self.position.tail
                line = os.pread(descriptor, self.position.tail, begin)
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._unreadable(error) from error
        return self.position.lines == 0 or line_digest(line) == self.position.head

    def read(self, only: bytes = b"") -> Iterator[Link]:
        """The events behind the position, which goes on with each; of those whose line hasn't
        ``only`` in it no more than the chain is checked. Raises LogError where that is broken,
        StorageError.
        """
        try:
            for line in self._lines():
                if not line.endswith(b"\n"):
                    if len(line) > MAX_EVENT_BYTES:
                        raise FormatError(N_("the event is too long"))
                    self.torn = line
                    return
                if only and only not in line:
                    if f'"prev":"{self.position.head}"'.encode() not in line:
                        raise FormatError(_NOT_NEXT)
                    self._advance(line)
                    continue
                link = parse_event(line)
                if link.seq != self.position.lines + 1 or link.prev != self.position.head:
                    raise FormatError(_NOT_NEXT)
                self._advance(line)
                yield link
        except FormatError as error:
            raise self.broken(self.position.lines + 1, error) from error
        except OSError as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: OSError) -> ArchiverError:
        """A link or a pipe in a log's place is no log, whatever it leads to."""
        if error.errno in (errno.ELOOP, errno.EINVAL, errno.ENXIO):
            return LogError(
                _("{path} is not a regular file").format(path=self.path),
                hint=_("Put the log back from a copy; a vault's logs are no links."),
            )
        return storage_error(error, self.path)

    def broken(self, line: int, error: FormatError) -> LogError:
        """``error``, met at ``line``, for people."""
        return LogError(
            _("{path} is broken at line {line}: {reason}").format(
                path=self.path, line=line, reason=_(error.message)
            ),
            hint=_("Compare it with a copy: nothing is written to a broken log."),
        )

    def _lines(self) -> Iterator[bytes]:
        """Lines with their ends; the last may lack it. None is longer than can be right."""
        try:
            with open(open_regular(self.path), "rb") as file:
                file.seek(self.position.size)
                while line := file.readline(MAX_EVENT_BYTES + 1):
                    yield line
        except FileNotFoundError:
            return

    def _advance(self, line: bytes) -> None:
        self.position = Position(
            lines=self.position.lines + 1,
            size=self.position.size + len(line),
            tail=len(line),
            head=line_digest(line),
        )

    def append(self, events: Sequence[Event]) -> list[Link]:
        """Add events, whole and durable, or not at all; their links. Raises StorageError.

        The log was read to its end before.
        """
        try:
            if self.torn:
                events = [self._set_aside(events[0]), *events]
            position = self.position
            chain = list(chain_links(events, seq=position.lines, prev=position.head))
            new = not os.path.exists(self.path)
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                _write_at(descriptor, b"".join(line for _link, line in chain), position.size)
            finally:
                os.close(descriptor)
            if new:
                sync_directory(os.path.dirname(self.path))
        except OSError as error:
            raise storage_error(error, self.path) from error
        for _link, line in chain:
            self._advance(line)
        return [link for link, _line in chain]

    def _set_aside(self, next_event: Event) -> Event:
        """Keep what a crash has left behind the last whole line, and tell of it."""
        digest = hashlib.sha256(self.torn).hexdigest()
        place = f"{self.path}.torn-{digest[:16]}"
        if not os.path.exists(place):
            write_new_file(place, self.torn, 0o600)
        descriptor = open_regular(self.path, os.O_WRONLY)
        try:
            os.ftruncate(descriptor, self.position.size)
        finally:
            os.close(descriptor)
        detail = {"set_aside": os.path.basename(place), "sha256": digest, "size": len(self.torn)}
        self.torn = b""
        return Event(type="modification", at=next_event.at, detail=detail)


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of ``data`` there and sync it; what could not be written whole is taken back."""
    try:
        view, position = memoryview(data), offset
        while view:
            count = os.pwrite(descriptor, view, position)
            view, position = view[count:], position + count
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, offset)
        raise


def read_links(case: str, path: str) -> list[Link]:
    """All events of a log. Raises LogError where its chain is broken."""
    return list(CaseLog(case, path).read())
