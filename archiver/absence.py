"""Absences: what should exist and doesn't, sealed like any other item, with what shows it.

Job: an absence recorded, its answer written down. Limits: what an absence says is a
description like others; which answers are overdue is asked in :mod:`archiver.vault.owed`.

An item needs a payload: the documents that show the absence, or, where there are none, the
form itself, as its author wrote it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from archiver.amend import Wanted
from archiver.bag.plan import PlanOptions
from archiver.bag.progress import Progress
from archiver.describe import DESCRIPTION_PATH, Description
from archiver.describe.amendment import History
from archiver.errors import UsageError
from archiver.i18n import _
from archiver.ingest import Ingested, IngestOptions, ingest
from archiver.seal import plan_sources
from archiver.seal.plain import refuse_plain
from archiver.vault import Vault
from archiver.vault.amendments import Told

__all__ = ["ABSENCE", "Answered", "answering", "check_absence", "record_absence", "refuse_empty"]

ABSENCE = "absence"


def check_absence(description: Description, *, encrypts: bool = False) -> None:
    """Raises UsageError where ``description`` is none of an absence that can be recorded;
    ``encrypts``: by a policy that says for whom what is secret is encrypted.
    """
    if description.kind != ABSENCE:
        raise UsageError(
            _("this form describes no absence, but a {kind}").format(kind=description.kind),
            hint=_("See 'archiver ingest'."),
        )
    if description.is_secret and not encrypts:
        raise UsageError(
            _("an absence that is confidential or sealed can't be recorded here"),
            hint=_(
                "Nothing was done. Give a policy whose [encryption] names recipients and escrow;"
                " or record it as restricted, without what is secret."
            ),
        )


def refuse_empty(description: Description) -> None:
    """Raises UsageError where nothing says what is absent: the item would say nothing, and its
    number is given for good.
    """
    if not any(description.values.get(key) for key in ("should_exist", "title", "description")):
        raise UsageError(
            _("nothing says what is absent"),
            hint=_("Nothing was done. Say in should_exist what should be there, and isn't."),
        )


def record_absence(
    vault: Vault,
    case: str,
    form: str,
    description: Description,
    documents: Sequence[str],
    options: IngestOptions,
    *,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> Ingested:
    """Seal the absence that ``description`` tells of, read from the file ``form``, in clear, as
    the next item of ``case``; one that is secret is taken by :func:`archiver.statement.take`.
    Raises ArchiverError.
    """
    check_absence(description)
    data = description.to_bytes()
    sources = list(documents) or [form]
    plan = plan_sources(sources, vault.bag_path(case, "new"), PlanOptions())
    refuse_plain(plan, options.create.policy)
    create = replace(options.create, tag_files={**options.create.tag_files, DESCRIPTION_PATH: data})
    # Two absences may be shown by the same documents: what is said of them tells them apart.
    values = hashlib.sha256(repr(sorted(description.values.items())).encode()).hexdigest()
    key = [*sources, f"/{ABSENCE}#{values}"]
    return ingest(
        vault, case, key, plan, replace(options, create=create), progress=progress, say=say
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """Who answered, counted from 1 (0: the only one who was asked), what and when."""

    answer: str
    at: str
    whom: int = 0


def answering(answered: Answered, reason: str, opened: History | None = None) -> Wanted:
    """The amendment that writes an answer down (:func:`archiver.amend.amend`). ``opened`` is
    what somebody's key has opened of a secret one.
    """

    def change(told: Told) -> Mapping[str, Any]:
        now = told.now
        if told.secret and opened is not None:
            if len(opened.steps) != len(told.amendments):
                raise UsageError(_("it was amended meanwhile"), hint=_("Run the command again."))
            now = opened.now
        if told.kind != ABSENCE or now is None:
            raise UsageError(
                _("this is no absence, or what is said of it can't be read here"),
                hint=_("See 'archiver show ID'."),
            )
        asked = [dict(one) for one in now.values.get("asked", [])]
        if not asked:
            raise UsageError(
                _("nothing says who was asked"),
                hint=_(
                    "Say it first: 'archiver describe amend ID --form FILE.toml', with [[asked]]."
                ),
            )
        if len(asked) != 1 and not 0 < answered.whom <= len(asked):
            raise UsageError(
                _("{count} were asked: which of them has answered?").format(count=len(asked)),
                hint=_("Give --asked N, as 'archiver show' lists them: the first is 1."),
            )
        index = max(answered.whom, 1) - 1
        if index >= len(asked):
            raise UsageError(_("only {count} were asked").format(count=len(asked)))
        asked[index] |= {"answer": answered.answer, "answered_at": answered.at}
        # Of several, what one has answered is not what all of them have.
        return {"asked": asked} | ({"answer": answered.answer} if len(asked) == 1 else {})

    return Wanted(reason=reason, change=change)
