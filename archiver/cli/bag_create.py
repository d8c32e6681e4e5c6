"""``archiver bag create``: options in, one call, answers out."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from archiver.cli.bag_making import Making
from archiver.cli.describing import (
    ask_option,
    describe_option,
    find_description,
    without_names,
    without_path,
)
from archiver.cli.keys import require_signers
from archiver.cli.options import (
    identify_option,
    json_option,
    key_dir_option,
    key_option,
    passphrases_option,
    quiet_option,
    tsa_option,
    tsa_root_option,
)
from archiver.cli.output import Output
from archiver.cli.secret import encrypts
from archiver.cli.sizes import parse_size
from archiver.errors import UsageError
from archiver.i18n import _

__all__ = ["add_create"]

_WARNINGS_SHOWN = 20
_FINDINGS_SHOWN = 1000


def add_create(app: typer.Typer) -> None:
    """``bag create``."""

    @app.command(
        help=_(
            "Make a bag from files and directories. Sources are only read; the bag appears"
            " whole or not at all, and nothing is ever replaced."
        ),
        epilog=_(
            "Example: archiver bag create evidence/ -o case-001 --info 'Contact-Name: Archive'"
        ),
    )
    def create(
        sources: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="SOURCE...",
                help=_("What to pack: one directory (its content goes below data/), or several."),
                show_default=False,
            ),
        ] = None,
        output: Annotated[
            str,
            typer.Option(
                "--output", "-o", metavar="BAG", help=_("The bag to make; must not exist.")
            ),
        ] = "",
        algorithm: Annotated[
            list[str] | None,
            typer.Option(
                "--algorithm",
                metavar="NAME",
                help=_("A digest algorithm (repeatable); sha512 is always there."),
            ),
        ] = None,
        info: Annotated[
            list[str] | None,
            typer.Option(
                "--info", metavar="'LABEL: VALUE'", help=_("A line for bag-info.txt (repeatable).")
            ),
        ] = None,
        policy: Annotated[
            str,
            typer.Option(
                "--policy", metavar="NAME", help=_("The policy to follow, or a .toml file.")
            ),
        ] = "default",
        key: Annotated[
            list[str] | None,
            key_option(
                _("Seal with this key (repeatable): a name in the key directory, or a file.")
            ),
        ] = None,
        key_dir: Annotated[str, key_dir_option()] = "",
        passphrase_file: Annotated[list[str] | None, passphrases_option()] = None,
        tsa: Annotated[list[str] | None, tsa_option()] = None,
        tsa_root: Annotated[list[str] | None, tsa_root_option()] = None,
        exclude: Annotated[
            list[str] | None,
            typer.Option(
                "--exclude",
                metavar="PATTERN",
                help=_("Leave out names (or, with a /, paths) like this; recorded."),
            ),
        ] = None,
        files_from: Annotated[
            str | None,
            typer.Option(
                "--files-from",
                metavar="FILE",
                help=_(
                    "Read the files to pack from FILE (- for standard input),"
                    " one a line or NUL-separated."
                ),
            ),
        ] = None,
        base: Annotated[
            str,
            typer.Option(
                "--base", metavar="DIR", help=_("With --files-from: the names are relative to DIR.")
            ),
        ] = ".",
        encode_names: Annotated[
            bool,
            typer.Option(
                "--encode-names",
                help=_("Keep names that collide or are not UTF-8 under a lossless spelling."),
            ),
        ] = False,
        record_links_out: Annotated[
            bool,
            typer.Option(
                "--record-links-out",
                help=_("Record symbolic links that leave the source instead of refusing."),
            ),
        ] = False,
        bag_in_bag: Annotated[
            bool, typer.Option("--bag-in-bag", help=_("Pack a source that is itself a bag."))
        ] = False,
        verify_after: Annotated[
            bool | None,
            typer.Option(
                "--verify-after/--no-verify-after",
                help=_("Read the bag back from the disk before it appears."),
                show_default=False,
            ),
        ] = None,
        identify: Annotated[bool | None, identify_option()] = None,
        max_files: Annotated[
            int | None,
            typer.Option(
                "--max-files",
                metavar="N",
                min=1,
                help=_("Make a group of bags, BAG-1, BAG-2..., of at most N files each."),
            ),
        ] = None,
        max_bytes: Annotated[
            str,
            typer.Option(
                "--max-bytes",
                metavar="SIZE",
                help=_("The same by size: bytes, or with K, M, G or T (powers of 1000)."),
            ),
        ] = "",
        describe: Annotated[str, describe_option()] = "",
        ask: Annotated[bool, ask_option()] = False,
        as_json: Annotated[bool, json_option()] = False,
        quiet: Annotated[bool, quiet_option()] = False,
    ) -> int:
        from archiver.bag.plan import PlanOptions
        from archiver.describe.owed import checked_policy

        chosen = checked_policy(policy)
        options = PlanOptions(
            exclude=tuple(exclude or ()),
            encode_names=encode_names,
            bag_in_bag=bag_in_bag,
            record_links_out=record_links_out,
            absolute_link_targets=chosen.sidecar.absolute_link_targets,
        )
        request = _CreateRequest(
            sources=sources or [],
            output=output,
            files_from=files_from,
            base=base,
            algorithms=tuple(algorithm or ()),
            info=info or [],
            verify_after=verify_after,
            identify=identify,
            max_files=max_files,
            max_bytes=parse_size(max_bytes) if max_bytes else None,
            keys=tuple(key or ()),
            key_dir=key_dir,
            passphrase_files=tuple(passphrase_file or ()),
            tsa=tuple(tsa or ()),
            tsa_roots=tuple(tsa_root or ()),
            describe=describe,
            ask=ask,
        )
        return _create(request, chosen, options, Output(quiet=quiet), as_json=as_json, quiet=quiet)


class _CreateRequest:
    """The options of ``bag create`` that need reading first."""

    def __init__(self, **values: Any) -> None:
        self.sources: list[str] = values["sources"]
        self.output: str = values["output"]
        self.files_from: str | None = values["files_from"]
        self.base: str = values["base"]
        self.algorithms: tuple[str, ...] = values["algorithms"]
        self.info: list[str] = values["info"]
        self.verify_after: bool | None = values["verify_after"]
        self.identify: bool | None = values["identify"]
        self.max_files: int | None = values["max_files"]
        self.max_bytes: int | None = values["max_bytes"]
        self.keys: tuple[str, ...] = values["keys"]
        self.key_dir: str = values["key_dir"]
        self.passphrase_files: tuple[str, ...] = values["passphrase_files"]
        self.tsa: tuple[str, ...] = values["tsa"]
        self.tsa_roots: tuple[str, ...] = values["tsa_roots"]
        self.describe: str = values["describe"]
        self.ask: bool = values["ask"]

    def check(self) -> None:
        """Raise UsageError where something essential is missing."""
        if not self.output:
            raise UsageError(
                _("no bag was named"), hint=_("Say where the bag is to be made: -o BAG.")
            )
        if bool(self.sources) == (self.files_from is not None):
            raise UsageError(
                _("name what to pack: SOURCE..., or --files-from FILE, not both"),
                hint=_("See 'archiver bag create --help'."),
            )

    def sealing(self, policy: Any, now: Any) -> Any:
        """The seal that is asked for, with open keys, or None. Raises ArchiverError."""
        wanted = policy.proof
        needed = max(wanted.signatures, 1 if wanted.time_stamps else 0)
        if self.tsa and not self.keys:
            raise UsageError(
                _("a time stamp is for a signature, and no key was given"),
                hint=_("Name who signs with --key NAME; 'archiver setup' makes a key."),
            )
        require_signers(self.keys, needed, unsigned=False, kept=False)
        if not self.keys:
            return None
        from archiver.cli.keys import sealing_for

        return sealing_for(
            self.keys,
            self.key_dir,
            self.passphrase_files,
            self.tsa,
            self.tsa_roots,
            now,
            require_stamp=wanted.time_stamps > 0,
        )

    def elements(self) -> list[tuple[str, str]]:
        """``--info`` as (label, value)."""
        pairs = []
        for line in self.info:
            label, colon, value = line.partition(":")
            if not colon:
                raise UsageError(
                    _("--info {line!r} has no colon").format(line=line),
                    hint=_("Write it as 'Label: value', for example 'Contact-Name: Archive'."),
                )
            pairs.append((label, value))
        return pairs


def _create(
    request: _CreateRequest,
    policy: Any,
    plan_options: Any,
    output: Output,
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    from datetime import UTC, datetime

    from archiver.bag.stage import refuse_existing
    from archiver.bag.write import check_info
    from archiver.seal.plain import refuse_plain

    request.check()
    info = check_info(request.elements())
    now = datetime.now(UTC)
    plans = _told_plans(request, plan_options, output)
    targets = _targets(request.output, len(plans))
    for target in targets:
        refuse_existing(target)
    sealing = request.sealing(policy, now)
    described = find_description(
        request.describe,
        ask=request.ask,
        command="bag create",
        paths=[request.output],
        now=now,
        encrypts=encrypts(policy),
    )
    if not described.secret:
        output.limited(plans[0].findings, _WARNINGS_SHOWN)
        for plan in plans:
            with without_path():
                refuse_plain(plan, policy)
    making = Making(request, policy, now, sealing, described, output, as_json=as_json, quiet=quiet)
    code = making.secret(plans, info) if described.secret else making.plain(plans, targets, info)
    described.used()
    if sealing is None:
        output.say(
            _(
                "The bag is unsigned: its checksums show accidents, but whoever can change a file"
                " can also change its checksum."
            )
        )
    return code


def _told_plans(request: _CreateRequest, plan_options: Any, output: Output) -> list[Any]:
    """The plan, or the plans of a group. Says all that stands against it."""
    from archiver.seal import RefusedError

    try:
        with without_names(request.describe):
            return _plans(request, plan_options)
    except RefusedError as error:
        for finding in list(error.findings)[:_FINDINGS_SHOWN]:
            if finding.code[0] == "E":
                output.say_line(output.finding(finding))
        raise


def _plans(request: _CreateRequest, plan_options: Any) -> list[Any]:
    from archiver.bag.plan import split_plan
    from archiver.seal import plan_sources

    sources = _file_list(request) if request.files_from is not None else request.sources
    plan = plan_sources(sources, request.output, plan_options)
    if request.max_files is None and request.max_bytes is None:
        return [plan]
    return split_plan(plan, max_files=request.max_files, max_bytes=request.max_bytes)


def _targets(bag: str, count: int) -> list[str]:
    """BAG, or BAG-1 to BAG-count with leading zeros, so that they sort."""
    if count == 1:
        return [bag]
    width = len(str(count))
    return [f"{bag.rstrip('/')}-{number:0{width}}" for number in range(1, count + 1)]


def _file_list(request: _CreateRequest) -> Any:
    """``--files-from``: names separated by NUL where there is one, else by line breaks."""
    from archiver.seal import FileList

    assert request.files_from is not None
    try:
        if request.files_from == "-":
            data = sys.stdin.buffer.read()
        else:
            with open(request.files_from, "rb") as file:
                data = file.read()
    except OSError as error:
        raise UsageError(
            _("{path}: {reason}").format(path=request.files_from, reason=error.strerror)
        ) from error
    separator = b"\0" if b"\0" in data else b"\n"
    names = [os.fsdecode(name) for name in data.split(separator) if name]
    if not names:
        raise UsageError(_("{path} names no files").format(path=request.files_from))
    return FileList(request.base, tuple(name.removeprefix("./") for name in names))
