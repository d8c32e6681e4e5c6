"""A process that holds what nobody may read: no core dumps, no swap in clear, no loose words.

Job: switch core dumps and debuggers off; find swap that keeps memory in clear; words about
plain files. Limits: nothing is locked into memory, and who is root on the machine reads it
all the same. Sources: prctl(2), proc_swaps(5), the kernel's device-mapper and zram pages.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import sys
from collections.abc import Iterator

from archiver.errors import ArchiverError
from archiver.i18n import N_, _

__all__ = ["SecretError", "clear_swaps", "guarded", "harden", "sits_there"]

_PR_SET_DUMPABLE = 4
_MAX_DEPTH = 10


class SecretError(ArchiverError):
    """Something went wrong while a secret was in hand: what, is said without it."""

    usual_hint = N_("Run it at a terminal to see why.")


def harden() -> None:
    """No core dump of this process or its children, and no debugger of the same user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError, TypeError):  # not Linux
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def sits_there() -> bool:
    """Whether messages go to a terminal that somebody sits at: there, and only there, may
    they name plain files. Elsewhere they may be kept, as logs are.
    """
    return sys.stderr is not None and sys.stderr.isatty()


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """What nobody has thought of is told by its kind alone, even under ``--debug``: its text
    may hold what was typed.
    """
    try:
        yield
    except (ArchiverError, KeyboardInterrupt, BrokenPipeError):
        raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SecretError(_("it can't be done: {reason}").format(reason=reason)) from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("typer", "click"):
            raise
        raise SecretError(
            _("{kind}: what it is about is not shown").format(kind=type(error).__name__),
            hint=_("This should not happen. Report what was done, without the statement."),
        ) from None


# -- swap


def clear_swaps(swaps: str = "/proc/swaps", blocks: str = "/sys/class/block") -> list[str]:
    """The areas of swap that may keep memory in clear, by their paths. Memory that is
    compressed (zram) and what dm-crypt encrypts are not among them.
    """
    try:
        with open(swaps, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.read().splitlines()[1:]
    except OSError:  # not Linux
        return []
    paths = [line.split()[0].replace("\\040", " ") for line in lines if line.strip()]
    return [path for path in paths if not _is_safe(_device(path, blocks), blocks)]


def _device(path: str, blocks: str) -> str:
    """The kernel's name of the block device that is, or holds, ``path``; "" where it has none."""
    name = os.path.basename(os.path.realpath(path))
    if os.path.isdir(os.path.join(blocks, name)):
        return name
    try:
        number = os.stat(path).st_dev
    except OSError:
        return ""
    wanted = f"{os.major(number)}:{os.minor(number)}"
    for one in os.listdir(blocks) if os.path.isdir(blocks) else ():
        if _text(os.path.join(blocks, one, "dev")) == wanted:
            return one
    return ""


def _is_safe(name: str, blocks: str, depth: int = 0) -> bool:
    if not name or depth > _MAX_DEPTH:
        return False
    place = os.path.join(blocks, name)
    if name.startswith("zram"):
        return _text(os.path.join(place, "backing_dev")) in ("", "none")
    if _text(os.path.join(place, "dm", "uuid")).startswith("CRYPT-"):
        return True
    below = os.path.join(place, "slaves")  # LVM upon LUKS
    slaves = os.listdir(below) if os.path.isdir(below) else []
    return bool(slaves) and all(_is_safe(one, blocks, depth + 1) for one in slaves)


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
