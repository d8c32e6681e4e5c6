"""``archiver bag verify``: options in, one call, answers out."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from archiver.cli.agekeys import identities_option, in_secret, load_identities
from archiver.cli.options import crl_option, trust_option, tsa_root_option
from archiver.cli.output import Output, finding_json, printable
from archiver.errors import ArchiverError, UsageError
from archiver.i18n import _

__all__ = ["add_verify", "anchors_for", "bag_anchors", "moment", "worst_code"]

_FINDINGS_SHOWN = 1000


def add_verify(app: typer.Typer) -> None:
    """``bag verify``."""

    @app.command(
        help=_(
            "Check bags: directories, .tar, .tar.gz or .zip. Never writes, never fetches,"
            " and tells everything it finds."
        ),
        epilog=_("Example: archiver bag verify case-001 backup/case-002.zip"),
    )
    def verify(
        bags: Annotated[
            list[str],
            typer.Argument(metavar="BAG...", help=_("What to check."), show_default=False),
        ],
        fast: Annotated[
            bool,
            typer.Option(
                "--fast",
                help=_("Structure, completeness and Payload-Oxum only: no checksum is read."),
            ),
        ] = False,
        second_opinion: Annotated[
            bool,
            typer.Option(
                "--second-opinion", help=_("Ask the Library of Congress bagit library too.")
            ),
        ] = False,
        policy: Annotated[
            str,
            typer.Option(
                "--policy", metavar="NAME", help=_("Also check what this policy requires.")
            ),
        ] = "",
        trust: Annotated[list[str] | None, trust_option()] = None,
        tsa_root: Annotated[list[str] | None, tsa_root_option()] = None,
        crl: Annotated[list[str] | None, crl_option()] = None,
        at: Annotated[
            str,
            typer.Option(
                "--at",
                metavar="TIME",
                help=_("Judge as of this moment, in UTC: 2031-05-01 or 2031-05-01T12:00:00."),
            ),
        ] = "",
        amendments: Annotated[
            str,
            typer.Option(
                "--amendments",
                metavar="DIR",
                help=_("Also check the amendments in DIR: they must belong to this one bag."),
            ),
        ] = "",
        identity: Annotated[
            list[str] | None,
            identities_option(
                _(
                    "Hold --policy and --amendments against what is encrypted, too, with the secret"
                    " key in this age identity file (repeatable)."
                )
            ),
        ] = None,
        max_expansion: Annotated[
            int,
            typer.Option(
                "--max-expansion",
                metavar="N",
                min=1,
                help=_("Read no archive that unpacks to more than N times its size."),
            ),
        ] = 100,
        as_json: Annotated[
            bool, typer.Option("--json", help=_("Answer in JSON, one line for each bag."))
        ] = False,
        quiet: Annotated[
            bool, typer.Option("--quiet", "-q", help=_("Only the exit code, and errors."))
        ] = False,
    ) -> int:
        from archiver.describe.owed import checked_policy
        from archiver.verify import VerifyOptions

        _check_words(bags, policy, amendments, identity or [])
        output = Output(quiet=quiet)
        with in_secret(identity or (), output):
            options = VerifyOptions(
                fast=fast,
                second_opinion=second_opinion,
                policy=checked_policy(policy) if policy else None,
                anchors=bag_anchors(trust or [], tsa_root or [], crl or [], bags, output),
                at=moment(at) if at else None,
                identities=load_identities(identity) if identity else None,
                max_expansion=max_expansion,
            )
            codes = []
            for bag in bags:
                try:
                    codes += _verify_one(bag, amendments, options, output, as_json=as_json)
                except ArchiverError as error:
                    if len(bags) == 1:
                        raise
                    codes.append(output.failed(error))
            return worst_code(codes)


def _check_words(bags: list[str], policy: str, amendments: str, identity: list[str]) -> None:
    """Raises UsageError."""
    if amendments and len(bags) != 1:
        raise UsageError(_("amendments belong to one bag"), hint=_("Name that bag alone."))
    if identity and not (policy or amendments):
        raise UsageError(
            _("--identity opens what --policy or --amendments ask about"),
            hint=_("A statement is read with 'archiver statement open'."),
        )


def _verify_one(
    bag: str, amendments: str, options: Any, output: Output, *, as_json: bool
) -> list[int]:
    """Check it, and tell; the exit codes. Raises ArchiverError."""
    from archiver.cli.progress import progress_for
    from archiver.verify import verify_bag

    progress = progress_for(quiet=output.quiet)
    try:
        report = verify_bag(bag, options, progress=progress)
    finally:
        progress.clear()
    amended = _amended(amendments, report, options) if amendments else None
    if as_json:
        output.json({**_report_json(report), **_amended_json(amended)})
    elif not output.quiet:
        _print_report(report, output)
    if amended and not as_json:
        _print_amended(amended, output)
    for hint in _hints(report):
        output.hint(hint)
    return [report.exit_code, *_amended_codes(amended, options)]


def _amended(directory: str, report: Any, options: Any) -> Any:
    from archiver.verify.amendments import check_handed_out

    return check_handed_out(
        directory,
        report.bag,
        report.facts,
        options.anchors,
        options.at,
        identities=options.identities,
        max_expansion=options.max_expansion,
    )


def _amended_codes(amended: Any, options: Any) -> list[int]:
    """The exit codes of amendments: who has asked with a key what they say wants to know it."""
    if amended is None:
        return []
    if amended.problems:
        return [1]
    return [3] if options.identities and amended.secret and not amended.opened else []


def _amended_json(amended: Any) -> dict[str, object]:
    """Nothing where amendments weren't asked for."""
    from archiver.cli.described import history_json

    if amended is None:
        return {}
    history = amended.history
    known = history is not None and not amended.problems
    return {
        "amendments": {
            "count": amended.count,
            "signed": amended.signed,
            "secret": amended.secret,
            "opened": amended.opened,
            "intact": not amended.problems,
            "problems": [{"path": name, "problem": text} for name, text in amended.problems],
            "now": dict(history.now.values) if known and history.now else None,
            "history": history_json(history) if known else [],
        }
    }


def _print_amended(amended: Any, output: Output) -> None:
    """What is wrong is said to who asked to hear no more than that, too."""
    from archiver.cli.described import state_lines, step_lines

    for name, text in amended.problems:
        Output().warning(f"{name}: {text}")
    if output.quiet or amended.problems:
        return
    text = _("amendments: {count}, signed: {signed}; they belong to this bag")
    output.line("  " + text.format(count=amended.count, signed=amended.signed))
    if amended.secret and not amended.opened:
        output.line("  " + _("what they say is encrypted: --identity KEYFILE opens it"))
    elif amended.history is not None:
        if amended.history.now is not None:
            for line in state_lines(amended.history.now):
                output.line("  " + printable(line))
        for line in step_lines(amended.history):
            output.line("  " + printable(line))
    output.line("  " + _("Whether later ones were left out, only the vault's log can say."))


def bag_anchors(
    trust: list[str], tsa_roots: list[str], crls: list[str], bags: list[str], output: Output
) -> Any:
    """What the checker trusts, or None where nothing was named. Raises ArchiverError."""
    if not (trust or tsa_roots or crls):
        return None
    from archiver.verify.anchors import refuse_from_bag

    for bag in bags:
        refuse_from_bag([*trust, *tsa_roots, *crls], bag)
    return anchors_for(trust, tsa_roots, crls, output)


def anchors_for(trust: list[str], tsa_roots: list[str], crls: list[str], output: Output) -> Any:
    """The same, wherever the files lie; an older trust list than one seen before is refused."""
    if not (trust or tsa_roots or crls):
        return None
    import os

    from archiver.verify import load_anchors
    from archiver.verify.anchors import remember_lists

    anchors = load_anchors(trust=trust, tsa_roots=tsa_roots, crls=crls)
    if anchors.lists:
        state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
        seen = os.path.join(state, "archiver", "trust-lists.json")
        for warning in remember_lists(anchors.lists, seen):
            output.warning(warning)
    return anchors


def moment(text: str) -> Any:
    """A moment as people write it; without a zone it is UTC. Raises UsageError."""
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(text)
        if len(text) == len("2031-05-01"):  # a day means all of it
            found = found.replace(hour=23, minute=59, second=59)
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        if not 1950 <= found.astimezone(UTC).year <= 2999:
            raise ValueError
    except (ValueError, OverflowError) as error:
        raise UsageError(
            _("{text!r} is no time").format(text=text),
            hint=_("Write a day or a moment in UTC: 2031-05-01 or 2031-05-01T12:00:00."),
        ) from error
    return found


def _hints(report: Any) -> list[str]:
    """The next step for what is missing, each once."""
    from archiver.cli.words import HINTS

    codes = report.findings.counts
    return list(dict.fromkeys(_(text) for code, text in HINTS.items() if codes.get(code)))


def worst_code(codes: list[int]) -> int:
    """Several bags, one exit code: 1 outweighs 3, 3 outweighs 4, and that any other; 2 where all
    else is well. 0 only where all are.
    """
    others = [code for code in codes if code not in (0, 2)]
    return next((code for code in (1, 3, 4) if code in codes), max(others or codes, default=0))


def _report_json(report: Any) -> dict[str, object]:
    facts = report.facts
    return {
        "schema": "archiver/bag-verify/1",
        "bag": report.bag,
        "verdict": report.verdict.value,
        "claims": {claim.name: {"outcome": claim.outcome.value} for claim in report.claims},
        "signatures": [_signature_json(one) for one in report.seal.signatures]
        if report.seal
        else [],
        "findings": [finding_json(finding) for finding in report.findings],
        "findings_total": len(report.findings),
        "payload_files": facts.payload_files,
        "payload_bytes": facts.payload_bytes,
        "algorithms": list(facts.payload_algorithms),
    }


def _signature_json(one: Any) -> dict[str, object]:
    return {
        "file": one.file,
        "holds": one.holds,
        "problem": _(one.problem) or None,
        "declared": one.declared,
        "signer": one.signer,
        "fingerprint": one.fingerprint,
        "trust": one.trust.standing.value if one.trust else None,
        "anchor": one.trust.anchor if one.trust else None,
        "signing_time_claimed": _iso(one.signing_time),
        "proven_at": _iso(one.proven_at),
        "time_stamps": [
            {
                "file": stamp.file,
                "trusted": stamp.trusted,
                "problem": _(stamp.problem) or None,
                "gen_time": _iso(stamp.gen_time),
                "tsa": stamp.tsa,
            }
            for stamp in one.stamps
        ],
        "pending": one.pending,
    }


def _iso(time: Any) -> str | None:
    return time.isoformat() if time else None


def _print_report(report: Any, output: Output) -> None:
    from archiver.cli.words import claim_lines, signature_lines, verdict_text

    color = {"valid": "green", "complete": "green", "invalid": "red"}
    verdict = report.verdict.value
    word = output.paint(verdict_text(report), color.get(verdict, "yellow"))
    output.line(f"{printable(report.bag)}: {word}")
    for line in (*claim_lines(report), *signature_lines(report)):
        output.line("  " + printable(line))
    shown = 0
    for finding in report.findings:
        output.line(output.finding(finding))
        shown += 1
        if shown == _FINDINGS_SHOWN:
            break
    if len(report.findings) > shown:
        more = len(report.findings) - shown
        output.line("  " + _("and {count} more; --json lists more of them").format(count=more))
    for sentence in _said_of(report):
        output.line("  " + sentence)


def _said_of(report: Any) -> list[str]:
    """What the answer does not prove."""
    from archiver.cli.words import LIMITS, proven_line

    keys = ["fast"] if report.verdict.value == "complete" else []
    if report.exit_code:
        return []
    seal = report.seal
    if seal is None or not seal.counted:
        return [_(LIMITS[key]) for key in (*keys, "unsigned")]
    if keys:  # of a fast look nothing is said to be proved
        return [_(LIMITS[key]) for key in keys]
    if not seal.revocation_known:
        keys.append("revocation")
    keys.append("sealed" if seal.proven_time else "sealed-undated")
    return [printable(proven_line(seal)), *(_(LIMITS[key]) for key in keys)]
