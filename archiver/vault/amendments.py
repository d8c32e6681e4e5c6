"""Amendments as they lie in a vault, and what they make of an item's description.

Job: paths, reading, checks of ``amendments/<item>/`` against the log. Limits: writes nothing
(:mod:`archiver.amend` does). The log is the truth: it says which records there are and what
their digests are; whatever else lies there counts for nothing, and is named.

::

    VAULT/amendments/<item>/0001.json         a record; 0001.json.age where its item is secret
    VAULT/amendments/<item>/0001.json.p7s     a signature over the bytes of that file
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from archiver.catalog import Catalog, facts
from archiver.catalog.model import Amended, Described, Item
from archiver.describe import DESCRIPTION_PATH, Description
from archiver.describe.amendment import History, fold_amendments, record_name
from archiver.errors import FormatError, storage_error
from archiver.filesystem import read_regular
from archiver.i18n import _
from archiver.pki.anchors import Anchors
from archiver.pki.cms import MAX_CMS_BYTES
from archiver.vault import Vault
from archiver.vault.log import CaseLog
from archiver.verify.amendments import MAX_RECORD_BYTES, SIGNATURE_ENDING, signature_problem

__all__ = [
    "AMENDMENTS",
    "SIGNATURE_ENDING",
    "Problem",
    "Told",
    "amendments_told",
    "check_amendments",
    "directory_of",
    "file_problem",
    "files_of",
    "lost_files",
    "read_record",
    "record_path",
    "strange_directories",
    "tell",
    "tell_described",
]

AMENDMENTS = "amendments"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is not as the log tells it."""

    path: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is known of an item: ``history`` is None where nobody has described it, and where
    it is ``secret``: then its records are encrypted. ``problem`` is why no more is told.
    """

    kind: str = ""
    secret: bool = False
    code: str = ""
    history: History | None = None
    amendments: tuple[Amended, ...] = ()
    problem: str = ""

    @property
    def now(self) -> Description | None:
        """What holds now; None where that isn't known."""
        return None if self.problem or self.history is None else self.history.now


def directory_of(vault: Vault, item: str) -> str:
    """Where an item's amendments lie. ``item`` is a name that the log knows."""
    return os.path.join(vault.path, AMENDMENTS, item)


def record_path(vault: Vault, one: Amended) -> str:
    """Where a record lies."""
    name = record_name(one.number, sealed=one.secret)
    return os.path.join(directory_of(vault, one.item), name)


def files_of(one: Amended) -> dict[str, str]:
    """The files of an amendment, as paths in a vault or a replica, with their digests."""
    name = f"{AMENDMENTS}/{one.item}/{record_name(one.number, sealed=one.secret)}"
    signature = {name + SIGNATURE_ENDING: one.signature} if one.signature else {}
    return {name: one.sha256, **signature}


def file_problem(path: str, sha256: str, limit: int = MAX_RECORD_BYTES) -> str:
    """What stands against the file at ``path``, which should have that digest, or ""."""
    try:
        read_record(path, sha256, limit)
    except FormatError as error:
        return error.message
    return ""


def read_record(path: str, sha256: str, limit: int = MAX_RECORD_BYTES) -> bytes:
    """The bytes of a file that the log knows. Raises FormatError where it isn't that file."""
    try:
        data = read_regular(path, limit + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FormatError(_("MISSING: the log says that it was written")) from error
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EINVAL, errno.ENXIO):
            raise FormatError(_("it is not a regular file")) from error
        reason = error.strerror or str(error)
        raise FormatError(_("can't be read: {reason}").format(reason=reason)) from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise FormatError(_("MODIFIED: this is not what was written"))
    return data


def lost_files(place: str, amendments: Sequence[Amended]) -> Iterator[tuple[str, str]]:
    """(name, problem) of the files of ``amendments`` that aren't in ``place``, the directory
    of a vault or replica, as the log tells them.
    """
    for one in amendments:
        for name, sha256 in files_of(one).items():
            problem = file_problem(os.path.join(place, *name.split("/")), sha256)
            if problem:
                yield name, problem


# -- what holds


def tell(vault: Vault, catalog: Catalog, item: Item) -> Told:
    """What is known of ``item``: each record is read, and must have the log's digest."""
    described = catalog.described(item.item)
    if described is None:
        return Told()
    return tell_described(vault, catalog, item, described)


def tell_described(vault: Vault, catalog: Catalog, item: Item, described: Described) -> Told:
    """The same where what the catalog says of it was asked before."""
    amendments = tuple(catalog.amendments(item.item)) if described.amendments else ()
    told = Told(
        kind=described.kind,
        secret=described.secret,
        code=described.code,
        amendments=amendments,
    )
    if described.secret:
        return told
    return _folded(vault, item, described, told)


def _folded(vault: Vault, item: Item, described: Described, told: Told) -> Told:
    where = ""
    try:
        first = None
        if described.sha256:
            where = os.path.join(vault.bag_path(item.case, item.item), DESCRIPTION_PATH)
            first = Description.parse(read_record(where, described.sha256))
            if first.kind != described.kind:
                raise FormatError(_("it is of another kind than the log says"))
        records = []
        for one in told.amendments:
            where = record_path(vault, one)
            records.append(read_record(where, one.sha256))
    except FormatError as error:
        return replace(told, problem=f"{where}: {_(error.message)}")
    history = fold_amendments(item.item, first, described.sha256, records)
    problem = history.problem
    if not problem and history.now is not None and history.now.kind != described.kind:
        problem = _("it is of another kind than the log says")
    return replace(told, history=history, problem=problem)


def amendments_told(vault: Vault, item: Item) -> list[Amended]:
    """The amendments of an item, from the case's log itself: what may be handed out isn't
    decided by an index that anybody could have changed. Raises LogError, FormatError.
    """
    found = []
    for link in CaseLog(item.case, vault.log_path(item.case)).read():
        fact = facts.fact_of(item.case, link)
        if isinstance(fact, facts.Amended) and fact.item == item.item:
            found.append(
                Amended(
                    case=item.case,
                    item=fact.item,
                    number=fact.number,
                    seq=link.seq,
                    at=link.event.at,
                    secret=fact.secret,
                    sha256=fact.sha256,
                    signature=fact.signature,
                )
            )
    return found


# -- whether they are those that were written


Proven = Callable[[Amended], datetime | None]
"""Since when an amendment was there at the latest, or None."""


def check_amendments(
    vault: Vault,
    catalog: Catalog,
    case: str,
    *,
    anchors: Anchors | None = None,
    now: datetime,
    proven: Proven = lambda _one: None,
) -> Iterator[Problem]:
    """Every amendment of a case: there, as it was written, of this item, in its order; its
    signature holds, and where ``anchors`` name signers, is by one of them.
    """
    for name in catalog.amended(case=case):
        item = catalog.item(name)
        assert item is not None  # the log can't amend what it doesn't know
        amendments = catalog.amendments(name)
        found = [*_of_files(vault, amendments), *_strangers(vault, name, amendments)]
        if not found:
            told = tell(vault, catalog, item)
            if told.problem:
                found.append(Problem(path=directory_of(vault, name), problem=told.problem))
        yield from found
        for one in amendments:
            yield from _of_signature(vault, one, anchors, now, proven(one))


def _of_files(vault: Vault, amendments: Sequence[Amended]) -> Iterator[Problem]:
    for name, problem in lost_files(vault.path, amendments):
        yield Problem(path=os.path.join(vault.path, *name.split("/")), problem=problem)


def strange_directories(vault: Vault, catalog: Catalog) -> Iterator[Problem]:
    """What lies in ``amendments/`` and is no item's whose log tells of amendments."""
    top = os.path.join(vault.path, AMENDMENTS)
    for name in _names(top):
        if catalog.item(name) is None or not catalog.amendments(name):
            yield Problem(path=os.path.join(top, name), problem=_added())


def _strangers(vault: Vault, item: str, amendments: Sequence[Amended]) -> Iterator[Problem]:
    """What lies beside the records, and a directory that is a link."""
    place = directory_of(vault, item)
    for path in (os.path.dirname(place), place):
        if os.path.islink(path):
            text = _("{path} is a link; what is kept here must lie here").format(path=path)
            yield Problem(path=path, problem=text)
    known = {name.rsplit("/", 1)[1] for one in amendments for name in files_of(one)}
    for name in _names(place):
        if name not in known:
            yield Problem(path=os.path.join(place, name), problem=_added())


def _added() -> str:
    return _("ADDED: the log knows nothing of this")


def _names(directory: str) -> list[str]:
    """What lies there; hidden names are a run's that was ended, and nobody's."""
    try:
        if not stat.S_ISDIR(os.lstat(directory).st_mode):
            return []
        return sorted(name for name in os.listdir(directory) if not name.startswith("."))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise storage_error(error, directory) from error


def _of_signature(
    vault: Vault, one: Amended, anchors: Anchors | None, now: datetime, proven: datetime | None
) -> Iterator[Problem]:
    path = record_path(vault, one)
    try:
        data = read_record(path, one.sha256)
    except FormatError:
        return  # told already
    problem = signature_problem(
        data, _signature(path, one), anchors or Anchors(), now=now, proven=proven
    )
    if problem:
        yield Problem(path=path + (SIGNATURE_ENDING if one.signature else ""), problem=problem)


def _signature(path: str, one: Amended) -> bytes | None:
    """Its bytes; None where it has none, or where that it is lost was told already."""
    if not one.signature:
        return None
    try:
        return read_record(path + SIGNATURE_ENDING, one.signature, MAX_CMS_BYTES)
    except FormatError:
        return None
