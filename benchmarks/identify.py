"""What it costs to tell formats: `python -m benchmarks.identify [--scale S] FILES…`.

Bags of small files of several formats are made with identification off and on, turn by turn,
on one core: this process and all that it starts are bound to it, so that the clock counts
for all of them. Then single tools, each by itself.
"""

import argparse
import io
import os
import shutil
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from archiver.bag.plan import PlanOptions
from archiver.identify import Limits, installed
from archiver.identify.keeper import Keeper
from archiver.policy import load_policy
from archiver.seal import CreateOptions, create_bag, plan_sources
from archiver.seal.examine import Examiner
from benchmarks.figures import Figure, tell

_FILES, _TURNS, _TARGET_MS = 1000, 3, 6.0


def _picture(kind: str, number: int) -> bytes:
    out = io.BytesIO()
    noise = Image.frombytes("RGB", (48, 32), os.urandom(48 * 32 * 3))
    more = {"exif": _exif(number)} if kind == "JPEG" else {}
    noise.save(out, kind, **more)
    return out.getvalue()


def _exif(number: int) -> Image.Exif:
    found = Image.Exif()
    found[0x010F], found[0x0110] = "Maker", f"Model {number}"
    found.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0), 3: "E", 4: (13.0, 24.0, 0.0)})
    return found


def _pdf(number: int) -> bytes:
    return (
        b"%%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
        b"2 0 obj<</Type/Pages/Count %d/Kids[]>>endobj\ntrailer<</Root 1 0 R>>\n%%%%EOF\n" % number
    )


def _docx(number: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", f"<document>{number}</document>" * 50)
    return out.getvalue()


def _text(number: int) -> bytes:
    return f"Line {number}: nothing to see here.\n".encode() * 40


_KINDS: dict[str, Callable[[int], bytes]] = {
    "jpg": lambda number: _picture("JPEG", number),
    "png": lambda number: _picture("PNG", number),
    "pdf": _pdf,
    "docx": _docx,
    "txt": _text,
}


def _write(place: Path, count: int) -> None:
    place.mkdir()
    kinds = list(_KINDS)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        (place / f"{number:05}.{kind}").write_bytes(_KINDS[kind](number))


def _made(source: Path, bag: Path, *, identify: bool) -> float:
    """Seconds, the child's beginning and end included."""
    begun, policy = time.perf_counter(), load_policy("default")
    policy = replace(policy, bag=replace(policy.bag, read_only=False))
    examiner = Examiner(policy, identify=identify)
    options = CreateOptions(
        policy=policy,
        now=datetime.now(UTC),
        identifier="urn:x",
        workers=0,
        examine=examiner if examiner.is_needed else None,
    )
    plan = plan_sources([str(source)], str(bag), PlanOptions())
    create_bag(plan, str(bag), options)
    examiner.close()
    return time.perf_counter() - begun


def _bags(place: Path, count: int) -> Iterator[Figure]:
    source = place / "source"
    _write(source, count)
    clock: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(_TURNS):
        for identify in (False, True):
            bag = place / f"bag-{turn}-{identify}"
            clock[identify].append(_made(source, bag, identify=identify))
            shutil.rmtree(bag)
    for identify, name in ((False, "off"), (True, "on")):
        each = statistics.median(clock[identify]) / count * 1e3
        yield Figure(
            f"a bag of {count:,} small files, identification {name}",
            f"{each:.2f} ms per file",
        )
    pairs = zip(clock[True], clock[False], strict=True)
    added = statistics.median(on - off for on, off in pairs) / count * 1e3
    yield Figure(
        "identification adds, on one core",
        f"{added:.2f} ms per file",
        f"< {_TARGET_MS:.0f} ms",
        added < _TARGET_MS,
    )


def _tools(place: Path) -> Iterator[Figure]:
    source = place / "source"
    for kind in _KINDS:
        paths = [str(one) for one in sorted(source.glob(f"*.{kind}"))][:100]
        told = []
        with Keeper([str(place)], Limits()) as keeper:
            for tool in keeper.tools:
                keeper.ask(tool, paths[0], 20)
                begun = time.perf_counter()
                for path in paths:
                    keeper.ask(tool, path, 20)
                told.append(f"{tool} {(time.perf_counter() - begun) / len(paths) * 1e3:.2f}")
        yield Figure(f"each tool about one {kind}, in ms", ", ".join(told))


def main(arguments: list[str]) -> int:
    """Print the table, and write it to the files that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("files", nargs="*")
    options = parser.parse_args(arguments)
    if not installed():
        sys.stderr.write("the extra 'formats' isn't installed: there is nothing to measure\n")
        return 0
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as place:
        figures = list(_bags(Path(place), max(50, int(_FILES * options.scale))))
        figures += _tools(Path(place))
    return tell(figures, options.files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
