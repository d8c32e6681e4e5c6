"""What a search costs at scale: `python -m benchmarks.search [--scale S] FILES…`.

An index of 100,000 descriptions that never were, their words as unevenly common as those of
a language; questions by the most common of them, which is the worst there is.
"""

import argparse
import itertools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from archiver.catalog import item_name
from archiver.catalog.fulltext import Entry, Filter, match_expression, open_words
from benchmarks.figures import Figure, tell

_DESCRIPTIONS, _WORDS, _VOCABULARY = 100_000, 70, 20_000
_BATCH, _ROUNDS = 500, 15
_SYLLABLES = ("ka", "chi", "ru", "ma", "no", "pe", "sa", "lla", "qui", "to", "ñu", "ví", "re", "za")
_LIMIT_MS = 100


def _vocabulary(chance: random.Random) -> list[str]:
    return ["".join(chance.choices(_SYLLABLES, k=chance.randint(2, 4))) for _ in range(_VOCABULARY)]


def _entries(count: int, words: list[str], chance: random.Random) -> Iterator[Entry]:
    weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(len(words))))
    for number in range(1, count + 1):
        said = chance.choices(words, cum_weights=weights, k=_WORDS)
        day = f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}"
        yield Entry(
            item=item_name("c", number),
            case="c",
            kind=("video", "document")[number % 2],
            secret=False,
            confidentiality="public",
            first_day=day,
            last_day=day,
            title=" ".join(said[:8]),
            body=" ".join(said[8:]),
            formats=("fmt/199", "video/mp4"),
        )


def _milliseconds(work: Callable[[], object]) -> float:
    times = []
    for _number in range(_ROUNDS):
        begun = time.perf_counter()
        work()
        times.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(times)


def _figures(place: Path, count: int) -> Iterator[Figure]:
    chance = random.Random(1)
    words = _vocabulary(chance)
    path = str(place / "words.sqlite")
    begun = time.perf_counter()
    with open_words(path) as index:
        entries = _entries(count, words, chance)
        while batch := list(itertools.islice(entries, _BATCH)):
            index.take(batch)
        index.merge()
    seconds = time.perf_counter() - begun
    size = Path(path).stat().st_size / 1e6
    yield Figure(f"{count:,} descriptions taken in", f"{seconds:.1f} s, {size:.0f} MB")
    questions = {
        "the most common word": [words[0]],
        "the two most common words": words[:2],
        "these two in quotes": [f'"{words[0]} {words[1]}"'],
        "a beginning of two letters": ["ka*"],
        "a rare word": [words[-1]],
    }
    wanted = Filter(kind="video", since="2026-02-01")
    for what, asked in questions.items():

        def ask(asked: list[str] = asked) -> None:
            with open_words(path) as index:
                index.find(match_expression(asked), wanted, 21)

        found = _milliseconds(ask)
        yield Figure(what, f"{found:.0f} ms", f"< {_LIMIT_MS} ms", found < _LIMIT_MS)
    begun = time.perf_counter()
    with open_words(path) as index:
        index.take([Entry(item=item_name("c", 1), case="c", kind="video", secret=True)])
        index.purge()
    yield Figure("one item made secret, without a trace", f"{time.perf_counter() - begun:.1f} s")


def main(arguments: list[str]) -> int:
    """Print the table, and write it to the files that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("files", nargs="*")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        figures = list(_figures(Path(place), max(1, int(_DESCRIPTIONS * options.scale))))
    return tell(figures, options.files)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
