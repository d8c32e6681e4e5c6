"""Which plain files a secret item is made of.

Job: files that were named, or a plan of sources, into :class:`Plain` values. Limits: opens no
file. A link or an empty directory has no ciphertext that could stand for it: it is refused.
"""

from __future__ import annotations

import os

from archiver.bag.plan import Plan, PlannedDirectory
from archiver.errors import SourceError
from archiver.i18n import _
from archiver.secrecy import sits_there
from archiver.statement.model import Plain

__all__ = ["plain_file", "plain_files"]

_PAYLOAD = "data/"


def plain_file(path: str, number: int) -> Plain:
    """One that was named, as number ``number``, from 1 on. Raises SourceError where its name is
    empty: to :class:`Plain` that is standard input, to a shell a variable that was not set.
    """
    if not path:
        raise SourceError(
            _("file {number} has an empty name").format(number=number),
            hint=_("Was a variable of a script not set? Standard input is -."),
        )
    return Plain(path, _label(path, number))


def plain_files(plan: Plan) -> tuple[Plain, ...]:
    """All of a plan's, by the paths that they would have below ``data/``. Raises SourceError."""
    if any(note.kind == "link" for note in plan.notes):
        raise _no_place(_("a link can't be kept in what is encrypted"))
    if any(directory.empty for directory in plan.directories):
        raise _no_place(_("an empty directory can't be kept in what is encrypted"))
    found: list[Plain] = []
    for directory in plan.directories:
        for index, name in enumerate(directory.names):
            path = os.path.join(directory.root, directory.path, name)
            found.append(
                Plain(
                    path,
                    _label(path, len(found) + 1),
                    name=_name(directory, index),
                    state=directory.planned(index),
                )
            )
    return tuple(found)


def _no_place(text: str) -> SourceError:
    return SourceError(text, hint=_("Leave it out, or pack everything into one archive first."))


def _name(directory: PlannedDirectory, index: int) -> str:
    return f"{directory.target}/{directory.target_name(index)}".removeprefix(_PAYLOAD)


def _label(path: str, number: int) -> str:
    """How messages call it: by its path only where nobody but who named it sees them."""
    return path if sits_there() else _("file {number}").format(number=number)
