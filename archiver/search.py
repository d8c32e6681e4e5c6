"""Words of descriptions, found: which items speak of something.

Job: what of a description may be searched, an index that is brought up to date before each
question, the question. Limits: nothing is indexed that isn't what the log says, no protected
field, and of a secret item nothing but its kind and its code.

An item that nobody has described can't be found: ``list --undescribed`` shows it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from archiver.bag.proofs import SIGNED_FILE
from archiver.catalog.fulltext import (
    Entry,
    Filter,
    Found,
    WordIndex,
    match_expression,
    open_words,
)
from archiver.catalog.model import START, Described, Item, Position
from archiver.describe import Description, Field, fields_of
from archiver.describe.fields import SECRET
from archiver.describe.graph import sources_of
from archiver.errors import LogError, StorageError, UsageError
from archiver.filesystem import read_regular
from archiver.i18n import _
from archiver.vault import Vault
from archiver.vault.amendments import tell_described
from archiver.vault.log import CaseLog
from archiver.vault.records import Records
from archiver.verify.formats import FORMATS_PATH

__all__ = ["Answer", "Filter", "days_of", "search"]

_CALLED_TOO = {"application/mp4": "video/mp4"}
"""PRONOM's name of a format, and the one that people look for it by."""
_MAX_FORMATS_BYTES = 16 << 20
_MAX_MANIFEST_BYTES = 64 << 20
_MAX_FORMATS = 1000
_MANY = 2000
"""So many new entries leave the index in pieces that slow every question down."""
_TIMES = ("event_time", "collected_at")
"""By which of its times an item is found: the first that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``more``: there are more than were asked for. ``problems`` are (item, why) of those
    that aren't what the log says, and can't be found.
    """

    found: tuple[Found, ...]
    more: bool
    problems: tuple[tuple[str, str], ...]


def search(
    vault: Vault,
    records: Records,
    words: Sequence[str],
    wanted: Filter,
    *,
    limit: int = 20,
    tell: Callable[[int], None] = lambda _count: None,
) -> Answer:
    """Items for ``words``, the best first. ``tell`` hears how many descriptions were read for
    the index. Where its file can't be written, one in memory is made.

    Raises UsageError where there is nothing to look for, CatalogError.
    """
    expression = match_expression(words)
    if not expression and (any(word.strip() for word in words) or wanted == Filter()):
        raise UsageError(
            _("there is nothing to search for"),
            hint=_("Give words with letters or digits, or a filter: see 'archiver search --help'."),
        )
    wanted = _by_secrecy(wanted)
    with contextlib.ExitStack() as stack:
        try:
            index = stack.enter_context(open_words(vault.search_index))
            problems = _Update(vault, records, index, tell).run()
        except StorageError:  # read-only, full
            index = stack.enter_context(open_words())
            problems = _Update(vault, records, index, tell).run()
        found = index.find(expression, wanted, limit + 1)
    return Answer(found=tuple(found[:limit]), more=len(found) > limit, problems=problems)


def _by_secrecy(wanted: Filter) -> Filter:
    """Which of the two a secret item is, nobody knows here."""
    if wanted.confidentiality in SECRET:
        return replace(wanted, confidentiality="", secret=True)
    return wanted


class _Update:
    """Brings an index up to what the logs say."""

    def __init__(
        self, vault: Vault, records: Records, index: WordIndex, tell: Callable[[int], None]
    ) -> None:
        self._vault, self._catalog, self._index = vault, records.catalog, index
        self._tell = tell
        self._problems: dict[str, str] = {}
        self._count = 0

    def run(self) -> tuple[tuple[str, str], ...]:
        """Take in what is new; what couldn't be, and why."""
        known, positions = self._index.positions(), self._catalog.positions()
        retry = self._index.unread()
        for case in sorted({*known, *positions}):
            here, there = positions.get(case), known.get(case, START)
            if here == there:
                continue
            if here is None or not self._follows(case, there, here):
                self._index.forget(case)
                there = START
            if here is not None:
                self._take_case(case, there, here)
        self._again([item for item in retry if item not in self._problems])
        if self._count >= _MANY:
            self._index.merge()
        self._index.purge()
        return tuple(sorted(self._problems.items()))

    def _follows(self, case: str, there: Position, here: Position) -> bool:
        """Whether the log is the one that was read, as far as it was."""
        if there.lines > here.lines:
            return False
        try:
            return CaseLog(case, self._vault.log_path(case), there).follows()
        except (LogError, StorageError):
            return False

    def _take_case(self, case: str, there: Position, here: Position) -> None:
        seq = there.lines
        while page := self._catalog.described_since(case, seq):
            self._take(page)
            seq = page[-1].seq
        self._index.note(case, here)

    def _again(self, items: Sequence[str]) -> None:
        """What couldn't be read may have been repaired since."""
        found = (self._catalog.described(item) for item in items)
        page = [one for one in found if one is not None]
        if page:
            self._take(page)

    def _take(self, page: Sequence[Described]) -> None:
        items = {one.item: one for one in self._catalog.named([one.item for one in page])}
        entries, unread = [], []
        for one in page:
            told = tell_described(self._vault, self._catalog, items[one.item], one)
            if told.problem:
                self._problems[one.item] = told.problem
                unread.append((one.item, one.case))
            elif told.secret or told.now is None or told.now.is_secret:
                entries.append(_secret(one))
            else:
                formats = _formats(self._vault, items[one.item])
                entries.append(_entry(one, told.now, formats))
        self._index.take(entries, unread)
        self._count += len(page)
        self._tell(len(page))


def _secret(one: Described) -> Entry:
    return Entry(item=one.item, case=one.case, kind=one.kind, secret=True, body=one.code)


def _entry(one: Described, now: Description, formats: Iterable[str]) -> Entry:
    first, last = next(
        (days for key in _TIMES if (days := days_of(str(now.values.get(key, ""))))[0]), ("", "")
    )
    return Entry(
        item=one.item,
        case=one.case,
        kind=one.kind,
        secret=False,
        confidentiality=now.confidentiality,
        first_day=first,
        last_day=last,
        title=str(now.values.get("title", "")),
        body="\n".join(_texts(fields_of(now.kind), now.values)),
        formats=tuple(formats),
        sources=sources_of(now.values),
    )


def _texts(fields: Mapping[str, Field], values: Mapping[str, Any]) -> Iterator[str]:
    """The texts that may be searched: none of a protected field."""
    for key, field in fields.items():
        value = values.get(key)
        if value is None or field.protected or key == "title":
            continue
        if field.type == "text":
            yield str(value)
        elif field.type == "texts":
            yield from map(str, value)
        elif field.type in ("table", "tables"):
            inner = {one.key: one for one in field.fields}
            for table in value if field.type == "tables" else [value]:
                yield from _texts(inner, table)


def days_of(when: str) -> tuple[str, str]:
    """The first and the last day of a time as fields have it: of a month, a year, or of that
    very day, as it is written there. ("", "") where it is not known.
    """
    if not when[:4].isdigit():
        return "", ""
    if len(when) == 4:
        return f"{when}-01-01", f"{when}-12-31"
    if len(when) == 7:
        return f"{when}-01", f"{when}-31"
    return when[:10], when[:10]


def _formats(vault: Vault, item: Item) -> Iterator[str]:
    """The PUIDs and MIME types of an item's files: what the sealed bag says, or nothing."""
    bag = vault.bag_path(item.case, item.item)
    try:
        data = read_regular(os.path.join(bag, FORMATS_PATH), _MAX_FORMATS_BYTES + 1)
        listed = read_regular(os.path.join(bag, SIGNED_FILE), _MAX_MANIFEST_BYTES + 1)
    except OSError:
        return
    sealed = item.detail.get("tag_manifest_sha512")
    line = f"{hashlib.sha512(data).hexdigest()}  {FORMATS_PATH}".encode()
    if hashlib.sha512(listed).hexdigest() != sealed or line not in listed.split(b"\n"):
        return
    found: set[str] = set()
    for text in data.split(b"\n"):
        with contextlib.suppress(ValueError, RecursionError, AttributeError):
            record = json.loads(text)
            found |= {one for key in ("puid", "mime") if isinstance(one := record.get(key), str)}
    found |= {_CALLED_TOO[one] for one in found if one in _CALLED_TOO}
    yield from sorted(found - {""})[:_MAX_FORMATS]
