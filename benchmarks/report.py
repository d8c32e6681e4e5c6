"""Everything one run of the benchmarks found out, and its form as JSON."""

import json
from dataclasses import asdict, dataclass

from benchmarks.environment import Environment
from benchmarks.measure import Row
from benchmarks.targets import Verdict


@dataclass(frozen=True)
class Report:
    """The circumstances, the figures and the verdicts of one run.

    `scale` and `rounds` are what the run was started with; `notes` say what is unusual.
    """

    environment: Environment
    scale: float
    rounds: int
    notes: tuple[str, ...]
    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]


def to_json(report: Report) -> str:
    """The report as JSON, with the seconds of every round; sizes in bytes."""
    return json.dumps(asdict(report), indent=2, ensure_ascii=False) + "\n"
