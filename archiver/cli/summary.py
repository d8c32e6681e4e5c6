"""``archiver audit --summary``: how a vault stands."""

from __future__ import annotations

from typing import Any

from archiver.cli.output import Output, count_files, human_size, printable
from archiver.i18n import _, ngettext

__all__ = ["print_summary"]


def print_summary(
    vault: Any,
    every_days: float,
    output: Output,
    *,
    replicas: int = 0,
    as_json: bool,
    quiet: bool,
) -> int:
    """Print it; the exit code: 1 while something is not good, as for an audit. ``replicas``
    are those that the policy wants.
    """
    from datetime import UTC, datetime

    from archiver.summary import summarise

    found = summarise(vault, every_days, datetime.now(UTC))
    if as_json:
        output.json(_summary_json(found))
    elif not quiet:
        for line in _lines(found):
            output.line(printable(line))
    _warn_of_few(found.copies, replicas, output)
    return 1 if found.open_incidents or found.broken_logs else 0


def _warn_of_few(copies: Any, replicas: int, output: Output) -> None:
    few = sum(count for number, count in copies.items() if number <= replicas)
    if replicas and few:
        text = ngettext(
            "the policy wants {wanted} copies on different disks: {count} bag has fewer",
            "the policy wants {wanted} copies on different disks: {count} bags have fewer",
            few,
        )
        output.warning(text.format(wanted=replicas + 1, count=few))


def _lines(found: Any) -> list[str]:
    lines = [f"{_bags(found.bags)}, {count_files(found.files)}, {human_size(found.size_bytes)}"]
    lines += [_place_line(place) for place in found.places]
    for copies, count in sorted(found.copies.items()):
        disks = ngettext("good copies on {count} disk", "good copies on {count} disks", copies)
        lines.append(f"{disks.format(count=copies)}: {_bags(count)}")
    oldest = found.oldest.isoformat(" ", "seconds") if found.oldest else _("never")
    lines.append(_("oldest check: {time}").format(time=oldest))
    text = _("not read for {days} days: {count} copies")
    lines.append(text.format(days=f"{found.every_days:g}", count=found.overdue))
    text = _("open incidents: {count}; explained: {explained}")
    lines.append(text.format(count=found.open_incidents, explained=found.explained))
    if found.broken_logs:
        lines.append(_("broken logs: {cases}").format(cases=", ".join(found.broken_logs)))
    lines += _level_lines(_("NDSA storage"), found.storage)
    lines += _level_lines(_("NDSA integrity"), found.integrity)
    return lines


def _bags(count: int) -> str:
    return ngettext("{count} bag", "{count} bags", count).format(count=count)


def _place_line(place: Any) -> str:
    parts = [
        (place.good, _("good")),
        (place.unchecked, _("not checked yet")),
        (place.damaged, _("DAMAGED")),
        (place.missing, _("MISSING")),
        (place.undecided, _("UNDECIDED")),
        (place.pending, _("pending")),
    ]
    told = ", ".join(f"{count} {word}" for count, word in parts if count) or _("nothing")
    name = place.name or _("the vault")
    line = f"{name}: {told}"
    if place.location:
        line += f" ({place.location})"
    return f"{line}; {place.unreachable}" if place.unreachable else line


def _level_lines(name: str, level: Any) -> list[str]:
    not_more = _("not more")
    return [
        _("{area}: level {level} of 4").format(area=name, level=level.level),
        *(f"  {not_more}: {reason}" for reason in level.reasons),
    ]


def _summary_json(found: Any) -> dict[str, object]:
    return {
        "schema": "archiver/audit-summary/1",
        "at": found.at.isoformat(),
        "bags": found.bags,
        "files": found.files,
        "bytes": found.size_bytes,
        "copies": {str(copies): count for copies, count in sorted(found.copies.items())},
        "oldest_check": found.oldest.isoformat() if found.oldest else None,
        "overdue": found.overdue,
        "every_days": found.every_days,
        "open_incidents": found.open_incidents,
        "explained": found.explained,
        "broken_logs": list(found.broken_logs),
        "ndsa": {
            "storage": {"level": found.storage.level, "reasons": list(found.storage.reasons)},
            "integrity": {"level": found.integrity.level, "reasons": list(found.integrity.reasons)},
        },
        "places": [
            {
                "name": place.name or None,
                "location": place.location or None,
                "unreachable": place.unreachable or None,
                "good": place.good,
                "damaged": place.damaged,
                "missing": place.missing,
                "undecided": place.undecided,
                "unchecked": place.unchecked,
                "pending": place.pending,
                "oldest_check": place.oldest.isoformat() if place.oldest else None,
            }
            for place in found.places
        ],
    }
