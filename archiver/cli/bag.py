"""``archiver bag create | verify | show``.

Job: options in, one call, answers out. See docs/cli.md for the contract.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from archiver.cli.output import Output, count_files, human_size, printable
from archiver.errors import ArchiverError, UsageError
from archiver.i18n import _

__all__ = ["bag_app"]

_WARNINGS_SHOWN = 20
_FINDINGS_SHOWN = 1000
_FILES_SHOWN = 40


def bag_app(settings: dict[str, Any]) -> typer.Typer:
    """The group ``archiver bag``."""
    app = typer.Typer(
        help=_("Make, check and look at bags."),
        rich_markup_mode=None,
        no_args_is_help=True,
        context_settings=settings,
    )
    _add_create(app)
    _add_verify(app)
    _add_show(app)
    return app


def _add_create(app: typer.Typer) -> None:
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
        as_json: Annotated[bool, typer.Option("--json", help=_("Answer in JSON."))] = False,
        quiet: Annotated[
            bool, typer.Option("--quiet", "-q", help=_("No warnings, no progress."))
        ] = False,
    ) -> int:
        from archiver.bag.plan import PlanOptions
        from archiver.policy import load_policy

        chosen = load_policy(policy)
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
            max_files=max_files,
            max_bytes=_size(max_bytes) if max_bytes else None,
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
        self.max_files: int | None = values["max_files"]
        self.max_bytes: int | None = values["max_bytes"]

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
    import uuid
    from datetime import UTC, datetime

    from archiver.bag.stage import refuse_existing
    from archiver.bag.write import check_info
    from archiver.cli.progress import progress_for
    from archiver.seal import CreateOptions, create_bag

    request.check()
    info = check_info(request.elements())
    now = datetime.now(UTC)
    plans = _plans(request, plan_options, output)
    output.limited(plans[0].findings, _WARNINGS_SHOWN)
    targets = _targets(request.output, len(plans))
    for target in targets:
        refuse_existing(target)
    group = uuid.uuid4().urn
    for number, (plan, target) in enumerate(zip(plans, targets, strict=True), start=1):
        options = CreateOptions(
            policy=policy,
            now=now,
            identifier=uuid.uuid4().urn,
            algorithms=request.algorithms,
            info=_group_info(info, group, number, len(plans)),
            verify_after=request.verify_after,
        )
        progress = progress_for(quiet=quiet)
        try:
            made = create_bag(plan, target, options, progress=progress, say=output.say)
        finally:
            progress.clear()
        _told_of_creation(made, plan, target, output, as_json=as_json)
    output.say(
        _(
            "The bag is unsigned: its checksums show accidents, but whoever can change a file"
            " can also change its checksum."
        )
    )
    return 0


def _plans(request: _CreateRequest, plan_options: Any, output: Output) -> list[Any]:
    """The plan, or the plans of a group. Says all that stands against it."""
    from archiver.bag.plan import split_plan
    from archiver.seal import plan_sources

    sources = _file_list(request) if request.files_from is not None else request.sources
    try:
        plan = plan_sources(sources, request.output, plan_options)
    except ArchiverError as error:
        for finding in list(getattr(error, "findings", ()))[:_FINDINGS_SHOWN]:
            if finding.code[0] == "E":
                output.say_line(output.finding(finding))
        raise
    if request.max_files is None and request.max_bytes is None:
        return [plan]
    return split_plan(plan, max_files=request.max_files, max_bytes=request.max_bytes)


def _targets(bag: str, count: int) -> list[str]:
    """BAG, or BAG-1 to BAG-count with leading zeros, so that they sort."""
    if count == 1:
        return [bag]
    width = len(str(count))
    return [f"{bag.rstrip('/')}-{number:0{width}}" for number in range(1, count + 1)]


def _group_info(info: Any, group: str, number: int, count: int) -> Any:
    """bag-info.txt of one bag of a group (RFC 8493 §2.2.2)."""
    if count == 1:
        return info
    if info.first("Bag-Count") is not None:
        raise UsageError(
            _("{label} is computed by the program and can't be given").format(label="Bag-Count")
        )
    elements = [("Bag-Count", f"{number} of {count}")]
    if info.first("Bag-Group-Identifier") is None:
        elements.insert(0, ("Bag-Group-Identifier", group))
    return info.with_elements(elements)


def _size(text: str) -> int:
    """``4G`` as bytes."""
    units = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
    digits = text.rstrip("KMGTkmgt")
    unit = units.get(text[len(digits) :].upper())
    if not digits.isdecimal() or unit is None or int(digits) == 0:
        raise UsageError(
            _("{text!r} is no size").format(text=text),
            hint=_("Write bytes, or a number with K, M, G or T: 4G."),
        )
    return int(digits) * unit


def _told_of_creation(made: Any, plan: Any, bag: str, output: Output, *, as_json: bool) -> None:
    from archiver.cli.words import WEAKNESSES

    for weakness in sorted(made.weaknesses):
        if weakness in WEAKNESSES:
            output.warning(_(WEAKNESSES[weakness]))
    for directory in made.changed_directories[:_WARNINGS_SHOWN]:
        text = _("{path} changed meanwhile: what was added there is not in the bag")
        output.warning(text.format(path=directory))
    if made.resumed_files:
        output.say(
            _("went on from an interrupted run: {count} files were already there").format(
                count=made.resumed_files
            )
        )
    if as_json:
        output.json(
            {
                "schema": "archiver/bag-create/1",
                "bag": bag,
                "payload_bytes": made.payload_bytes,
                "payload_files": made.payload_files,
                "signed": False,
                "resumed_files": made.resumed_files,
                "weaknesses": sorted(made.weaknesses),
                "changed_directories": list(made.changed_directories),
                "warnings": [_finding_json(finding) for finding in plan.findings],
            }
        )
        return
    output.line(
        f"{printable(bag)}: {count_files(made.payload_files)}, {human_size(made.payload_bytes)}"
    )


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


def _add_verify(app: typer.Typer) -> None:
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
        from archiver.cli.progress import progress_for
        from archiver.policy import load_policy
        from archiver.verify import VerifyOptions, verify_bag

        output = Output(quiet=quiet)
        options = VerifyOptions(
            fast=fast,
            second_opinion=second_opinion,
            policy=load_policy(policy) if policy else None,
            max_expansion=max_expansion,
        )
        codes = []
        for bag in bags:
            progress = progress_for(quiet=quiet)
            try:
                report = verify_bag(bag, options, progress=progress)
            except ArchiverError as error:
                if len(bags) == 1:
                    raise
                output.error(error.message, error.hint)
                codes.append(error.exit_code)
                continue
            finally:
                progress.clear()
            codes.append(report.exit_code)
            if as_json:
                output.json(_report_json(report))
            elif not quiet:
                _print_report(report, output)
        return _worst(codes)


def _worst(codes: list[int]) -> int:
    """Several bags, one exit code: 1 outweighs 3, 3 outweighs 4; 2 where all else is well."""
    return next((code for code in (1, 3, 4, 2) if code in codes), 0)


def _finding_json(finding: Any) -> dict[str, object]:
    return {
        "code": finding.code,
        "severity": finding.severity.value,
        "path": finding.path,
        "message": finding.message,
        "details": dict(finding.details),
        "reference": finding.reference,
    }


def _report_json(report: Any) -> dict[str, object]:
    facts = report.facts
    return {
        "schema": "archiver/bag-verify/1",
        "bag": report.bag,
        "verdict": report.verdict.value,
        "claims": {claim.name: {"outcome": claim.outcome.value} for claim in report.claims},
        "findings": [_finding_json(finding) for finding in report.findings],
        "findings_total": len(report.findings),
        "payload_files": facts.payload_files,
        "payload_bytes": facts.payload_bytes,
        "algorithms": list(facts.payload_algorithms),
    }


def _print_report(report: Any, output: Output) -> None:
    from archiver.cli.words import VERDICTS, claim_lines

    color = {"valid": "green", "complete": "green", "invalid": "red"}
    verdict = report.verdict.value
    word = output.paint(_(VERDICTS[verdict]), color.get(verdict, "yellow"))
    output.line(f"{printable(report.bag)}: {word}")
    for line in claim_lines(report):
        output.line("  " + line)
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
    from archiver.cli.words import LIMITS

    keys = ["fast"] if report.verdict.value == "complete" else []
    if report.exit_code == 0:
        keys.append("unsigned")
    return [_(text) for text in map(LIMITS.__getitem__, keys)]


def _add_show(app: typer.Typer) -> None:
    @app.command(
        help=_(
            "Tell a bag's story: what it holds, when it was made, what it records. Checks nothing."
        ),
        epilog=_("Example: archiver bag show case-001"),
    )
    def show(
        bag: Annotated[str, typer.Argument(metavar="BAG", help=_("The bag."), show_default=False)],
        as_json: Annotated[bool, typer.Option("--json", help=_("Answer in JSON."))] = False,
    ) -> int:
        from archiver.bag.opening import open_tree
        from archiver.bag.story import tell_story
        from archiver.errors import FormatError
        from archiver.findings import Findings

        tree = open_tree(bag, Findings())
        try:
            story = tell_story(tree)
        except OSError as error:
            raise FormatError(_("{bag}: {reason}").format(bag=bag, reason=error)) from error
        finally:
            tree.close()
        output = Output()
        if as_json:
            output.json(_story_json(bag, story))
        else:
            _print_story(bag, story, output)
        return 0


def _story_json(bag: str, story: Any) -> dict[str, object]:
    side = story.sidecar
    return {
        "schema": "archiver/bag-show/1",
        "bag": bag,
        "version": story.declaration.version_text,
        "encoding": story.declaration.encoding,
        "info": [list(element) for element in story.info],
        "algorithms": list(story.algorithms),
        "payload_files": story.payload_files,
        "payload_bytes": story.payload_bytes,
        "files": [{"path": path, "size": size} for path, size in story.files],
        "tag_files": list(story.tag_files),
        "filesystem": None
        if side is None
        else {
            "kinds": side.kinds,
            "renamed": side.renamed,
            "empty_directories": side.empty_directories,
            "earliest_mtime_ns": side.earliest_mtime_ns,
            "latest_mtime_ns": side.latest_mtime_ns,
        },
    }


def _print_story(bag: str, story: Any, output: Output) -> None:
    output.line(f"{printable(bag)}: BagIt {story.declaration.version_text}")
    for label, value in story.info:
        output.line(f"  {printable(label)}: {printable(value)}")
    output.line(
        "  "
        + _("Payload: {files}, {size}; digests: {algorithms}").format(
            files=count_files(story.payload_files),
            size=human_size(story.payload_bytes),
            algorithms=", ".join(story.algorithms) or _("none"),
        )
    )
    for path, size in story.files[:_FILES_SHOWN]:
        output.line(f"    {human_size(size):>9}  {printable(path)}")
    if story.payload_files > _FILES_SHOWN:
        count = story.payload_files - _FILES_SHOWN
        output.line("    " + _("and {count} more").format(count=count))
    if story.sidecar is not None:
        _print_sidecar(story.sidecar, output)
    output.line(
        "  " + _("Nothing was checked: this is what the bag says. To check it: archiver bag verify")
    )


def _print_sidecar(side: Any, output: Output) -> None:
    from datetime import UTC, datetime

    def day(nanoseconds: int) -> str:
        try:
            return datetime.fromtimestamp(nanoseconds // 10**9, UTC).isoformat(" ", "seconds")
        except (OverflowError, ValueError, OSError):
            return str(nanoseconds)

    if side.earliest_mtime_ns is not None:
        output.line(
            "  "
            + _("Files last changed between {first} and {last}").format(
                first=day(side.earliest_mtime_ns), last=day(side.latest_mtime_ns)
            )
        )
    output.line(
        "  "
        + _(
            "Recorded beside the payload: {links} symbolic links, {empty} empty directories,"
            " {excluded} exclusions, {renamed} names stored under another spelling"
        ).format(
            links=side.kinds.get("link", 0),
            empty=side.empty_directories,
            excluded=side.kinds.get("excluded", 0),
            renamed=side.renamed,
        )
    )
