"""``archiver absence record | answer``: what should exist and doesn't."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any

import typer

from archiver.cli.agekeys import begin_in_secret, identities_option, load_identities
from archiver.cli.amend import amend_item, asked_for, reason_option, unsigned_record_option
from archiver.cli.bag_sign import code_of_stamps, stamps_json, tell_stamps, wait_for_stamps
from archiver.cli.describing import ask_option
from archiver.cli.keys import require_signers
from archiver.cli.options import (
    identify_option,
    json_option,
    key_dir_option,
    key_option,
    passphrase_option,
    passphrases_option,
    policy_option,
    quiet_option,
    tsa_option,
    tsa_root_option,
    unsigned_option,
    wait_option,
)
from archiver.cli.output import Output, printable
from archiver.cli.owed import tell_owed
from archiver.cli.secret import take_secret
from archiver.cli.taking import derive, refuse_unknown, sealing_of
from archiver.cli.vault import catalog_option, find_item, find_vault, vault_option
from archiver.errors import UsageError
from archiver.i18n import _
from archiver.secrecy import guarded, harden

__all__ = ["absence_app"]


def absence_app(settings: dict[str, Any], summary: str) -> typer.Typer:
    """The group ``archiver absence``."""
    app = typer.Typer(
        help=summary, rich_markup_mode=None, no_args_is_help=True, context_settings=settings
    )
    _add_record(app)
    _add_answer(app)
    return app


def _add_record(app: typer.Typer) -> None:
    @app.command(
        help=_(
            "Seal an absence as an item of the case: what should exist, who was asked for it and"
            " until when, and the documents that show it."
        ),
        epilog=_(
            "Example: archiver absence record --case caso-014 --form none-opened.toml request.pdf"
            " --key ana-laptop"
        ),
    )
    def record(
        case: Annotated[str, typer.Option("--case", metavar="ID", help=_("The case."))],
        documents: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="[DOCUMENT...]",
                help=_("What shows it; without any, the form itself is kept."),
                show_default=False,
            ),
        ] = None,
        form: Annotated[
            str, typer.Option("--form", metavar="FILE.toml", help=_("What is absent: a form."))
        ] = "",
        ask: Annotated[bool, ask_option()] = False,
        key: Annotated[list[str] | None, key_option()] = None,
        unsigned: Annotated[bool, unsigned_option()] = False,
        key_dir: Annotated[str, key_dir_option()] = "",
        passphrase_file: Annotated[list[str] | None, passphrases_option()] = None,
        tsa: Annotated[list[str] | None, tsa_option()] = None,
        tsa_root: Annotated[list[str] | None, tsa_root_option()] = None,
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        again: Annotated[
            bool,
            typer.Option("--again", help=_("Make another item of a source that is there already.")),
        ] = False,
        policy: Annotated[
            str,
            policy_option(),
        ] = "",
        identify: Annotated[bool | None, identify_option()] = None,
        wait: Annotated[float, wait_option()] = 10.0,
        as_json: Annotated[bool, json_option()] = False,
        quiet: Annotated[bool, quiet_option()] = False,
    ) -> int:
        from datetime import UTC, datetime

        from archiver.absence import refuse_empty
        from archiver.cli.secret import encrypts
        from archiver.describe.owed import checked_policy
        from archiver.ingest import IngestOptions
        from archiver.seal import CreateOptions
        from archiver.vault import check_case

        check_case(case)
        shown_by = documents or []
        _check_words(form, shown_by, ask=ask)
        opened, output = find_vault(vault, catalog), Output(quiet=quiet)
        rules, now = checked_policy(policy or opened.policy), datetime.now(UTC)
        now = now.replace(microsecond=0)
        require_signers(key or [], rules.proof.signatures, unsigned=unsigned)
        description, draft = _described(
            form,
            case,
            (opened.path, *shown_by),
            now,
            ask=ask,
            encrypts=encrypts(rules),
        )
        refuse_empty(description)
        refuse_unknown(opened, description)
        sealing = sealing_of(key, key_dir, passphrase_file, tsa, tsa_root, now, rules)
        create = CreateOptions(policy=rules, now=now, identifier="", sealing=sealing)
        options = IngestOptions(create=create, again=again, wait_seconds=wait)
        one = _Recording(opened, case, form, description, shown_by, output, identify, as_json)
        return one.secret(options) if description.is_secret else one.plain(options, draft)


def _check_words(form: str, documents: Sequence[str], *, ask: bool) -> None:
    """Raises UsageError."""
    if not form and not ask:
        raise UsageError(
            _("nothing says what is absent"),
            hint=_("Give --form FILE.toml (see 'archiver describe new --kind absence'), or --ask."),
        )
    if not form and not documents:
        raise UsageError(
            _("an absence needs a document that shows it, or a form that is kept"),
            hint=_(
                "Name a document, or make a form of the answers first: archiver describe new"
                " --kind absence --ask -o FILE.toml"
            ),
        )


def _described(
    form: str, case: str, paths: Iterable[str], now: datetime, *, ask: bool, encrypts: bool
) -> Any:
    """What the form and the answers say, and the draft that the answers are kept in. Raises
    ArchiverError.
    """
    from archiver.absence import ABSENCE, check_absence
    from archiver.cli.describing import load_quietly

    def allow(description: Any) -> None:
        check_absence(description, encrypts=encrypts)

    given = load_quietly(form, now, kind=ABSENCE, case=case) if form else None
    if not ask:
        assert given is not None
        allow(given)
        return given, None
    from archiver.cli.ask import Interview, Talk
    from archiver.cli.draft import draft_for
    from archiver.describe.moment import recorded_now

    harden()  # what is typed may turn out to be secret
    talk, draft = Talk(), draft_for("absence record", case=case, paths=paths)
    answers = dict(given.values) if given else {"case": case}
    with guarded():
        interview = Interview(talk, draft, allow, ABSENCE, answers)
        return interview.run(recorded_now(now)), draft


@dataclass(frozen=True, slots=True)
class _Recording:
    """One absence, and how it is told of."""

    vault: Any
    case: str
    form: str
    description: Any
    documents: Sequence[str]
    output: Output
    identify: bool | None
    as_json: bool

    def secret(self, options: Any) -> int:
        """Encrypt what shows it, or the form; the exit code. Raises ArchiverError."""
        from archiver.bag.plan import PlanOptions
        from archiver.cli.describing import without_names
        from archiver.seal import plan_sources

        sources = list(self.documents) or [self.form]
        with without_names(self.form):
            plan = plan_sources(sources, self.vault.bag_path(self.case, "new"), PlanOptions())
        given = (self.vault, self.case, plan, self.description, options, self.output)
        return take_secret(
            *given,
            form=self.form if self.documents else "",
            identify=self.identify,
            as_json=self.as_json,
        )

    def plain(self, options: Any, draft: Any) -> int:
        """Seal it in clear, as it may be; the exit code. Raises ArchiverError."""
        from archiver.seal.examine import examining

        policy, sealing = options.create.policy, options.create.sealing
        output = self.output
        with examining(policy, identify=self.identify) as examiner:
            create = replace(options.create, examine=examiner)
            made = self._seal(replace(options, create=create))
        if draft is not None:
            draft.remove()
        for warning in examiner.warnings if examiner else ():
            output.warning(warning)
        derive(self.vault, self.case, made.item, policy.formats, output)
        stamps = wait_for_stamps(made.path, sealing.stamps, output) if sealing else ()
        if self.as_json:
            output.json(
                {
                    "schema": "archiver/absence-record/1",
                    "id": made.item,
                    "path": made.path,
                    "payload_files": made.payload_files,
                    "signed": sealing is not None,
                    "time_stamps": stamps_json(stamps),
                    **(examiner.summary if examiner else {}),
                }
            )
        else:
            output.line(printable(_("{item}: the absence is sealed").format(item=made.item)))
        tell_stamps(stamps, output, as_json=self.as_json)
        tell_owed(policy, made.path, output)
        return code_of_stamps(sealing, stamps, policy, output)

    def _seal(self, options: Any) -> Any:
        from archiver.absence import record_absence
        from archiver.cli.progress import progress_for

        progress = progress_for(quiet=self.output.quiet)
        try:
            return record_absence(
                self.vault,
                self.case,
                self.form,
                self.description,
                self.documents,
                options,
                progress=progress,
                say=self.output.say,
            )
        finally:
            progress.clear()


def _add_answer(app: typer.Typer) -> None:
    @app.command(
        help=_("Write down that somebody who was asked has answered, as an amendment."),
        epilog=_(
            "Example: archiver absence answer caso-014-E-0007 --answer 'no record was found'"
            " --answered-at 2026-04-02 --key ana-laptop"
        ),
    )
    def answer(
        item: Annotated[
            str, typer.Argument(metavar="ID", help=_("The absence."), show_default=False)
        ],
        answer: Annotated[
            str,
            typer.Option("--answer", metavar="TEXT|-", help=_("The answer; - asks for it.")),
        ],
        answered_at: Annotated[
            str,
            typer.Option("--answered-at", metavar="WHEN", help=_("When it came (else today).")),
        ] = "",
        asked: Annotated[
            int,
            typer.Option(
                "--asked",
                metavar="N",
                min=0,
                help=_("Who answered, where several were asked: the first is 1."),
            ),
        ] = 0,
        reason: Annotated[str, reason_option()] = "",
        identity: Annotated[
            list[str] | None,
            identities_option(
                _("Read what was asked of a secret one, with this age identity file (repeatable).")
            ),
        ] = None,
        policy: Annotated[
            str,
            policy_option(),
        ] = "",
        key: Annotated[str, key_option()] = "",
        unsigned: Annotated[bool, unsigned_record_option()] = False,
        key_dir: Annotated[str, key_dir_option()] = "",
        passphrase_file: Annotated[str, passphrase_option()] = "",
        vault: Annotated[str, vault_option()] = "",
        catalog: Annotated[str, catalog_option()] = "",
        wait: Annotated[float, wait_option()] = 10.0,
        as_json: Annotated[bool, json_option()] = False,
    ) -> int:
        from datetime import UTC, datetime

        from archiver.absence import Answered, answering

        at = answered_at or datetime.now(UTC).date().isoformat()
        opened = find_vault(vault, catalog)
        history = _opened(opened, item, answer, identity or [])
        said = asked_for(answer, _("Answer: "))
        wanted = answering(
            Answered(answer=said, at=at, whom=asked), reason or _("an answer came"), history
        )
        signing = (key, key_dir, passphrase_file)
        return amend_item(
            opened,
            item,
            wanted,
            signing,
            policy=policy,
            unsigned=unsigned,
            wait=wait,
            as_json=as_json,
        )


def _opened(vault: Any, item: str, answer: str, identity: list[str]) -> Any:
    """What was said of a secret absence; None of another. Raises ArchiverError."""
    from archiver.statement.opening import history_of
    from archiver.vault.records import reading

    with reading(vault) as records:
        one = find_item(records, item)
        described = records.catalog.described(one.item)
    if described is None or not described.secret:
        return None
    if not identity:
        raise UsageError(
            _("{item} is secret: who was asked can't be read").format(item=item),
            hint=_("Give --identity KEYFILE."),
        )
    if answer != "-":
        raise UsageError(
            _("the answer about a secret item can't be given on the command line"),
            hint=_("Others can read it there: --answer - asks for it."),
        )
    begin_in_secret(Output())
    with guarded():
        return history_of(vault, one, lambda: load_identities(identity))
