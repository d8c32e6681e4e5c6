"""``archiver bag show``: a bag's story for a person."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from archiver.bag.proofs import is_proof, sort_proofs
from archiver.cli.options import json_option
from archiver.cli.output import Output, count_files, human_size, printable
from archiver.i18n import _

__all__ = ["add_show"]

_FILES_SHOWN = 40


def add_show(app: typer.Typer) -> None:
    """``bag show``."""

    @app.command(
        help=_(
            "Tell a bag's story: what it holds, when it was made, what it records. Checks nothing."
        ),
        epilog=_("Example: archiver bag show case-001"),
    )
    def show(
        bag: Annotated[str, typer.Argument(metavar="BAG", help=_("The bag."), show_default=False)],
        as_json: Annotated[bool, json_option()] = False,
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
    proofs = sort_proofs(tuple(path for path in story.tag_files if is_proof(path)))
    if proofs.signatures:
        output.line(
            "  "
            + _("Seal: {signatures} signatures, {stamps} time stamps, {waiting} requests").format(
                signatures=len(proofs.signatures),
                stamps=len(proofs.stamps),
                waiting=len(proofs.requests),
            )
        )
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
