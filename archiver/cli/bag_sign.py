"""``archiver bag sign | timestamp``: proof for a bag that is finished."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from archiver.cli.options import (
    json_option,
    key_dir_option,
    key_option,
    passphrases_option,
    quiet_option,
    tsa_option,
    tsa_root_option,
)
from archiver.cli.output import Output, printable
from archiver.errors import UsageError
from archiver.i18n import _

__all__ = [
    "add_sign",
    "add_timestamp",
    "answered_enough",
    "code_of_stamps",
    "refuse_unsigned",
    "stamps_json",
    "tell_lacking",
    "tell_stamps",
    "wait_for_stamps",
]


def add_sign(app: typer.Typer) -> None:
    """``bag sign``."""

    @app.command(
        help=_(
            "Add a signature to a finished bag. The bag is checked first; nothing outside of"
            " signatures/ is touched."
        ),
        epilog=_("Example: archiver bag sign case-001 --key ana-laptop"),
    )
    def sign(
        bag: Annotated[
            str, typer.Argument(metavar="BAG", help=_("A bag in a directory."), show_default=False)
        ],
        key: Annotated[list[str], key_option()],
        key_dir: Annotated[str, key_dir_option()] = "",
        passphrase_file: Annotated[list[str] | None, passphrases_option()] = None,
        tsa: Annotated[list[str] | None, tsa_option()] = None,
        tsa_root: Annotated[list[str] | None, tsa_root_option()] = None,
        no_check: Annotated[
            bool,
            typer.Option(
                "--no-check", help=_("Don't read the payload again: you have checked it already.")
            ),
        ] = False,
        as_json: Annotated[bool, json_option()] = False,
        quiet: Annotated[bool, quiet_option()] = False,
    ) -> int:
        from datetime import UTC, datetime

        from archiver.cli.keys import sealing_for
        from archiver.cli.progress import progress_for
        from archiver.seal.finished import sign_finished

        output = Output(quiet=quiet)
        now = datetime.now(UTC)
        sealing = sealing_for(key, key_dir, passphrase_file or [], tsa or [], tsa_root or [], now)
        progress = progress_for(quiet=quiet)
        try:
            made = sign_finished(
                bag, sealing.signers, now, read_payload=not no_check, progress=progress
            )
        finally:
            progress.clear()
        if made.added_manifest:
            text = _("{file} was added to the bag, which had none: it is what is signed")
            output.warning(text.format(file=made.added_manifest))
        results = wait_for_stamps(bag, sealing.stamps, output)
        if as_json:
            output.json(
                {
                    "schema": "archiver/bag-sign/1",
                    "bag": bag,
                    "signatures": list(made.signatures),
                    "added_manifest": made.added_manifest or None,
                    "time_stamps": stamps_json(results),
                }
            )
        else:
            names = ", ".join(one.certificate.name for one in sealing.signers)
            text = _("{bag}: signed by {names}")
            output.line(printable(text.format(bag=bag, names=names)))
        tell_stamps(results, output, as_json=as_json)
        return 0


def add_timestamp(app: typer.Typer) -> None:
    """``bag timestamp``."""

    @app.command(
        help=_("Get time stamps for the signatures of bags, those that wait for one included."),
        epilog=_("Example: archiver bag timestamp case-001 --tsa http://tsa.example.org/"),
    )
    def timestamp(
        bags: Annotated[
            list[str],
            typer.Argument(metavar="BAG...", help=_("Bags in directories."), show_default=False),
        ],
        tsa: Annotated[list[str] | None, tsa_option()] = None,
        tsa_root: Annotated[list[str] | None, tsa_root_option()] = None,
        key_dir: Annotated[str, key_dir_option()] = "",
        as_json: Annotated[
            bool, typer.Option("--json", help=_("Answer in JSON, one line for each bag."))
        ] = False,
        quiet: Annotated[bool, quiet_option()] = False,
    ) -> int:
        from archiver.cli.keys import stamp_options

        if not tsa:
            raise UsageError(
                _("no TSA was named"),
                hint=_("Give --tsa URL; without a network see 'archiver timestamp --help'."),
            )
        options = stamp_options(tsa, tsa_root or [], key_dir)
        output = Output(quiet=quiet)
        codes = []
        for bag in bags:
            refuse_unsigned(bag)
        for bag in bags:
            results = wait_for_stamps(bag, options, output)
            codes.append(5 if any(one.problem for one in results) else 0)
            if as_json:
                output.json(
                    {
                        "schema": "archiver/bag-timestamp/1",
                        "bag": bag,
                        "time_stamps": stamps_json(results),
                    }
                )
            elif not results:
                text = _("{bag}: has these time stamps already")
                output.line(printable(text.format(bag=bag)))
            tell_stamps(results, output, as_json=as_json)
        return max(codes)


def refuse_unsigned(bag: str) -> None:
    """Raise UsageError where there is no signature that could be stamped."""
    import os

    from archiver.seal.proofs import ProofPlace

    if not os.path.isdir(bag):
        there = os.path.exists(bag)
        raise UsageError(
            _("{path} is not a directory").format(path=bag)
            if there
            else _("{path}: {reason}").format(path=bag, reason=_("it is not there")),
            hint=_("Name a bag in a directory; unpack an archive first."),
        )
    if not ProofPlace(bag).files().signatures:
        raise UsageError(
            _("{path} has no signature that could be stamped").format(path=bag),
            hint=_("Sign it first: archiver bag sign BAG --key NAME."),
        )


def wait_for_stamps(bag: str, options: Any, output: Output) -> Any:
    """Ask the TSAs and wait; whoever interrupts that is told how to go on."""
    if not options.urls:
        return ()
    from datetime import UTC, datetime

    from archiver.seal.stamping import stamp_bag

    output.say(_("asking for time stamps"))
    try:
        return stamp_bag(bag, options, datetime.now(UTC))
    except KeyboardInterrupt:
        output.warning(_("{bag} is sealed; its time stamp waits").format(bag=bag))
        output.hint(_("Get it with: archiver bag timestamp BAG --tsa URL."))
        raise


def tell_stamps(
    results: Any, output: Output, *, as_json: bool, waits: str = "", later: str = ""
) -> None:
    """What became of the requests: stamps as results, what failed as warnings. ``waits`` and
    ``later`` say so of something else than a bag.
    """
    waits = waits or _("{file} waits for its time stamp; the bag is sealed all the same")
    for one in results:
        if one.problem:
            output.warning(one.problem)
            output.warning(waits.format(file=one.signature))
        elif not as_json:
            when = one.gen_time.isoformat(" ", "seconds")
            text = _("time stamp: {time} by {url} over {file}").format(
                time=when, url=one.url, file=one.signature
            )
            output.line("  " + printable(text))
        if not one.problem and not one.checked:
            text = _("the TSA's root was not checked: no root of {url} is pinned")
            output.warning(text.format(url=one.url))
    if any(one.problem for one in results):
        output.hint(
            later
            or _(
                "Later: archiver bag timestamp BAG --tsa URL; offline: archiver timestamp request."
            )
        )


def answered_enough(stamps: Any, policy: Any) -> bool:
    """Whether every signature got as many answers as the policy wants stamps; whose they
    are is judged when the bag is verified.
    """
    signatures = {one.signature for one in stamps}
    wanted = policy.proof.time_stamps
    return bool(signatures) and all(
        sum(1 for one in stamps if one.signature == signature and not one.problem) >= wanted
        for signature in signatures
    )


def tell_lacking(output: Output) -> None:
    """A policy asks for more stamps than there are: that is made up for, but not forgotten."""
    output.warning(_("the policy requires time stamps that are not there yet"))
    if not output.quiet:
        output.hint(_("Get them with: archiver bag timestamp BAG --tsa URL."))


def code_of_stamps(sealing: Any, stamps: Any, policy: Any, output: Output) -> int:
    """4 where the policy asks for stamps that aren't there yet, and that is told; else 0."""
    if not sealing or not sealing.require_stamp or answered_enough(stamps, policy):
        return 0
    tell_lacking(output)
    return 4


def stamps_json(results: Any) -> list[dict[str, object]]:
    """The same for programs."""
    return [
        {
            "signature": one.signature,
            "tsa": one.url,
            "gen_time": one.gen_time.isoformat() if one.gen_time else None,
            "problem": one.problem or None,
        }
        for one in results
    ]
