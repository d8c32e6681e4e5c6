"""When something was recorded, and how good the clock was.

Job: what the program itself says in a description. Limits: asks the kernel, starts no
program, and asks no server.
"""

from __future__ import annotations

import ctypes
from datetime import UTC, datetime

from archiver import __version__

__all__ = ["clock_quality", "recorded_now", "zone_name"]

_TIMEX_BYTES = 1024
"""More than any kernel's ``struct timex`` has; zeros in it mean: change nothing."""
_TIME_ERROR = 5


def recorded_now(now: datetime) -> dict[str, str]:
    """``recorded`` of a description: at, clock, time_zone, program. ``now`` is aware."""
    return {
        "at": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "clock": clock_quality(),
        "time_zone": zone_name(now),
        "program": f"archiver {__version__}",
    }


def clock_quality() -> str:
    """Whether something keeps this machine's clock right, as its kernel knows it (adjtimex(2)):
    "synchronised", "unsynchronised", "unknown".
    """
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (OSError, AttributeError):  # another system
        return "unknown"
    if state < 0:
        return "unknown"
    return "unsynchronised" if state == _TIME_ERROR else "synchronised"


def zone_name(now: datetime) -> str:
    """The offset from UTC at ``now`` on this machine, with its name: ``-05:00 EST``."""
    local = now.astimezone()
    offset, name = local.strftime("%z"), local.tzname() or ""
    shown = f"{offset[:3]}:{offset[3:5]}"
    return f"{shown} {name}" if name.isascii() and name.isalpha() else shown
