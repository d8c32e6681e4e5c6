"""``archiver watch status | retry | release | accept``: for whoever stands at the folder.

Job: say whether a file is safe now, where, since when. Limits: reads journals and the one
file's own times; what a bag holds is proved by ``bag verify`` and ``audit``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from archiver.cli.options import json_option
from archiver.cli.output import Output, printable
from archiver.errors import ArchiverError, NotFoundError, StorageError, UsageError
from archiver.i18n import N_, _

__all__ = ["add_status", "is_watched", "remember_folder"]

_SHOWN = 20
_ARCHIVED, _CHANGED, _LOST, _UNDECIDED = "archived", "changed", "lost", "undecided"
_SAFE = (_ARCHIVED,)
_WORDS = {
    _ARCHIVED: N_("ARCHIVED"),
    _CHANGED: N_("CHANGED since it was archived; this version is not archived yet"),
    _LOST: N_("NOT SAFE: it was archived, and its bag is not there any more"),
    _UNDECIDED: N_("UNDECIDED: it was archived, and the place of its bag can't be reached"),
    "seen": N_("NOT YET ARCHIVED: it has to stay unchanged for a while first"),
    "stable": N_("NOT YET ARCHIVED: it is in the queue"),
    "ingesting": N_("NOT YET ARCHIVED: it is being archived now"),
    "quarantined": N_("NOT ARCHIVED: it is in quarantine"),
    "ignored": N_("NOT ARCHIVED: it is left out"),
    "vanished": N_("NOT ARCHIVED: it was gone before it could be"),
    "unseen": N_("NOT YET ARCHIVED: no scan has found it so far"),
}
_CODES = {_ARCHIVED: 0, _LOST: 1, _UNDECIDED: 3}
_WORST_FIRST = (1, 3, 4, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """About one file in one watched folder."""

    path: bytes
    word: str
    reason: str = ""
    item: str = ""
    bag: str = ""
    since: str = ""
    present: bool = True
    versions: tuple[Any, ...] = field(default=())

    @property
    def code(self) -> int:
        return _CODES.get(self.word, 4)


def remember_folder(journal: Any, folder: str, target: str) -> None:
    """Have a journal know whose it is: its name doesn't tell."""
    for name, value in (("folder", folder), ("target", target)):
        if journal.fact(name) != os.fsencode(value).hex():
            journal.remember(name, os.fsencode(value).hex())


def add_status(app: typer.Typer) -> None:
    """``status``, ``retry``, ``release``, ``accept``."""

    @app.command(
        help=_("Say whether a file is safe now; without FILE, how each folder stands."),
        epilog=_("Example: archiver watch status inbox/video.mp4"),
    )
    def status(
        file: Annotated[
            str,
            typer.Argument(
                metavar="[FILE]", help=_("A file or folder in a watched one."), show_default=False
            ),
        ] = "",
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        output = Output()
        with _journals() as journals:
            if file:
                return _tell_file(journals, file, output, as_json=as_json)
            return _tell_folders(journals, output, as_json=as_json)

    @app.command(
        help=_("Try again to archive files that are in quarantine."),
        epilog=_("Example: archiver watch retry inbox/video.mp4"),
    )
    def retry(
        files: Annotated[list[str], _files_argument()],
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        return _request("retry", files, _("the watcher will try again"), as_json=as_json)

    @app.command(
        help=_("Let files in quarantine be: they stay as they are, unless they change."),
        epilog=_("Example: archiver watch release inbox/broken.mp4"),
    )
    def release(
        files: Annotated[list[str], _files_argument()],
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        return _request("release", files, _("it will be left as it is"), as_json=as_json)

    @app.command(
        help=_("Say that the folder which lies there now is the right one: on a new disk, say."),
        epilog=_("Example: archiver watch accept inbox"),
    )
    def accept(
        folder: Annotated[
            str, typer.Argument(metavar="FOLDER", help=_("Which."), show_default=False)
        ],
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        return _request("accept", [folder], _("it will be watched from now on"), as_json=as_json)


def _files_argument() -> Any:
    return typer.Argument(metavar="FILE...", help=_("Which."), show_default=False)


def _request(what: str, files: list[str], told: str, *, as_json: bool) -> int:
    """Leave requests in the journals; the watcher takes them, or the next one does."""
    output, asked, running = Output(), [], True
    with _journals() as journals:
        for file in files:
            for place, path in _found(journals, file):
                asked.append(_ask(what, place, path))
                running &= place.is_watched()
    if as_json:
        output.json({"schema": "archiver/watch-request/1", "request": what, "files": asked})
    else:
        for one in asked:
            output.line(printable(f"{one}: {told}"))
    if not running:
        output.hint(_("No watcher runs for this folder now: it is done by the next one."))
    return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A watched folder and its journal."""

    folder: bytes
    target: str
    journal: Any
    renumbers: bool
    """Whether its file system gives files other inodes now and then."""

    def below(self, path: bytes) -> bytes | None:
        """``path`` relative to the folder, None where it lies elsewhere."""
        if path == self.folder:
            return b""
        return path[len(self.folder) + 1 :] if path.startswith(self.folder + b"/") else None

    def is_watched(self) -> bool:
        """Whether a watcher runs."""
        import fcntl

        try:
            descriptor = os.open(f"{self.journal.path}.lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False


@contextmanager
def _journals() -> Iterator[list[_Place]]:
    """All journals of this user."""
    from archiver.watch.journal import Journal, journal_path

    directory = os.path.dirname(journal_path("", "/"))
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    places: list[_Place] = []
    try:
        for name in names:
            if name.endswith(".sqlite"):
                journal = Journal(os.path.join(directory, name), read_only=True)
                folder, target = (bytes.fromhex(journal.fact(one)) for one in ("folder", "target"))
                place = _Place(
                    folder=folder,
                    target=os.fsdecode(target),
                    journal=journal,
                    renumbers=_renumbers(folder),
                )
                places.append(place)
        if not places:
            raise NotFoundError(
                _("no folder is watched, or was, by this user"),
                hint=_("Run it as the user who runs the watcher."),
            )
        yield places
    finally:
        for place in places:
            place.journal.close()


def _renumbers(folder: bytes) -> bool:
    from archiver.watch.scan import identify

    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False
    try:
        return identify(os.fsdecode(folder), descriptor).renumbers
    finally:
        os.close(descriptor)


def _found(journals: Iterable[_Place], file: str) -> list[tuple[_Place, bytes]]:
    """In which watched folders a file lies, with its path there. Raises NotFoundError."""
    full = os.fsencode(os.path.abspath(file))
    real = os.path.join(os.path.realpath(os.path.dirname(full)), os.path.basename(full))
    found = [
        (place, path)
        for place in journals
        for path in {place.below(full), place.below(real)}
        if path is not None
    ]
    if not found:
        raise NotFoundError(
            _("{path} lies in no folder that is watched").format(path=file),
            hint=_("See 'archiver watch status'."),
        )
    return found


def is_watched(file: str) -> bool:
    """Whether a file lies in a folder that this user watches, or has watched."""
    try:
        with _journals() as journals:
            return bool(_found(journals, file))
    except (ArchiverError, OSError):
        return False


def _ask(what: str, place: _Place, path: bytes) -> str:
    """Leave a request for a file in quarantine, or a folder. Raises UsageError."""
    from archiver.watch.model import State

    name = os.fsdecode(os.path.join(place.folder, path) if path else place.folder)
    if what == "accept":
        if path:
            raise UsageError(
                _("{path} is not a watched folder itself").format(path=name),
                hint=_("See 'archiver watch status'."),
            )
        place.journal.ask(what)
        return name
    row = place.journal.at(path)
    if row is None or row.state is not State.QUARANTINED:
        raise UsageError(
            _("{path} is not in quarantine").format(path=name),
            hint=_("See 'archiver watch status'."),
        )
    place.journal.ask(what, path)
    return name


# One file


def _answer(place: _Place, path: bytes) -> _Answer:
    from archiver.watch.model import State
    from archiver.watch.scan import fingerprint_of, same

    journal, full = place.journal, os.path.join(place.folder, path)
    now = _fingerprint(full)
    history = journal.history(path)
    row = journal.at(path)
    if row is None:
        return _Answer(path=full, word="unseen", present=now is not None)
    facts: dict[str, Any] = {
        "path": full,
        "reason": row.reason,
        "item": row.item,
        "bag": row.bag,
        "since": row.since,
        "present": now is not None,
        "versions": tuple(history),
    }
    if row.state not in (State.ARCHIVED, State.DISPOSED):
        return _Answer(word=row.state.value, **facts)
    if now is not None and (
        row.state is State.DISPOSED  # another one lies there now
        or not same(row.fingerprint, fingerprint_of(now), renumbers=place.renumbers)
    ):
        return _Answer(word=_CHANGED, **facts)
    return _Answer(word=_bag_word(row.bag), **facts)


def _bag_word(bag: str) -> str:
    if os.path.isfile(os.path.join(bag, "bagit.txt")):
        return _ARCHIVED
    return _LOST if os.path.isdir(os.path.dirname(bag)) else _UNDECIDED


def _fingerprint(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError(
            _("{path} can't be read: {reason}").format(
                path=os.fsdecode(path), reason=error.strerror
            )
        ) from error


def _tell_file(journals: list[_Place], file: str, output: Output, *, as_json: bool) -> int:
    answers: list[_Answer] = []
    found = _found(journals, file)
    for place, path in found:
        full = os.path.join(place.folder, path)
        if os.path.isdir(full) and not os.path.islink(full):
            answers += _below(place, path)
        else:
            answers.append(_answer(place, path))
    if all(one.word == "unseen" and not one.present for one in answers) and answers:
        raise NotFoundError(
            _("{path} does not exist").format(path=file), hint=_("Check the spelling of the path.")
        )
    running = any(place.is_watched() for place, _path in found)
    safe = sum(one.word in _SAFE for one in answers)
    if as_json:
        head = {"schema": "archiver/watch-status/1", "watched": running, "safe": safe}
        head["files_total"] = len(answers)
        output.json_list(head, "files", map(_answer_json, answers))
    else:
        _print(answers, safe, output)
    if safe < len(answers) and not running:
        output.warning(_("no watcher runs for this folder now"))
    codes = {one.code for one in answers}
    return next((code for code in _WORST_FIRST if code in codes), 0)


def _below(place: _Place, path: bytes) -> Iterator[_Answer]:
    """Every file that lies below a folder now."""
    top = os.path.join(place.folder, path)
    for directory, _directories, names in os.walk(top):
        for name in sorted(names):
            yield _answer(place, os.path.join(directory, name)[len(place.folder) + 1 :])


def _print(answers: list[_Answer], safe: int, output: Output) -> None:
    if len(answers) > 1:
        text = _("{safe} of {count} files are archived and unchanged since")
        output.line(text.format(safe=safe, count=len(answers)))
        answers = [one for one in answers if one.word not in _SAFE]
    for one in answers[:_SHOWN]:
        name = printable(os.fsdecode(one.path))
        reason = f" ({printable(_(one.reason))})" if one.reason else ""
        output.line(f"{name}: {_(_WORDS[one.word])}{reason}")
        if one.word in (_ARCHIVED, _CHANGED, _LOST, _UNDECIDED):
            where = _("  as {item}, since {since}, in {bag}")
            output.line(printable(where.format(item=one.item, since=one.since, bag=one.bag)))
            if not one.present:
                output.line(_("  the file itself is not in the folder any more"))
    if len(answers) > _SHOWN:
        output.line(_("and {count} more like these").format(count=len(answers) - _SHOWN))


def _answer_json(one: _Answer) -> dict[str, object]:
    return {
        "path": os.fsdecode(one.path),
        "answer": one.word,
        "safe": one.word in _SAFE,
        "reason": one.reason or None,
        "id": one.item or None,
        "bag": one.bag or None,
        "since": one.since or None,
        "present": one.present,
        "versions": [
            {"id": row.item or None, "state": row.state.value, "since": row.since}
            for row in one.versions
        ],
    }


# All folders


def _tell_folders(journals: list[_Place], output: Output, *, as_json: bool) -> int:
    rows = map(_folder_json, journals)
    if as_json:
        output.json_list({"schema": "archiver/watch-folders/1"}, "folders", rows)
        return 0
    for place, row in zip(journals, rows, strict=True):
        output.line(printable(f"{row['folder']} -> {row['target']}"))
        state = _("a watcher runs") if row["watched"] else _("no watcher runs")
        counts = ", ".join(f"{name}: {count}" for name, count in row["files"].items() if count)
        output.line(f"  {state}; {counts or _('no files yet')}")
        if row["waiting_since"]:
            text = _("  the oldest that waits was found on {time}")
            output.line(text.format(time=row["waiting_since"]))
        _print_quarantined(place, output)
    return 0


def _print_quarantined(place: _Place, output: Output) -> None:
    from archiver.watch.model import State

    rows = place.journal.in_state(State.QUARANTINED, _SHOWN + 1)
    for row in rows[:_SHOWN]:
        text = _("  quarantined: {path}: {reason}")
        name = os.fsdecode(row.path)
        output.line(printable(text.format(path=name, reason=_(row.reason))))
    if len(rows) > _SHOWN:
        output.line("  " + _("and more like these"))
    for row in place.journal.remarked(_SHOWN):
        name = os.fsdecode(row.path)
        output.line(printable(f"  {name}: {_(row.reason)}"))


def _folder_json(place: _Place) -> dict[str, Any]:
    return {
        "folder": os.fsdecode(place.folder),
        "target": place.target,
        "watched": place.is_watched(),
        "files": {state.value: count for state, count in place.journal.counts().items()},
        "waiting_since": place.journal.oldest_waiting() or None,
    }
