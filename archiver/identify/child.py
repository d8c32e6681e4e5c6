"""The confined child: reads files that may be hostile, and answers in lines of JSON.

Job: a small process that stays outside and waits, and within it the one that reads. Limits:
nobody believes it; what it answers is bounded and checked by :mod:`archiver.identify.keeper`.

1. The outer process takes namespaces, where it may, and starts the inner one. 2. The inner
one gives up all rights that it can (:mod:`archiver.identify.confine`). 3. Only then it loads
the libraries: their threads are confined too, and nothing is ever forked once they run.
4. It says how it is confined, then answers one request after the other, tool by tool.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from archiver.identify import confine
from archiver.identify.tools import Tool, load_tool

__all__ = ["main"]

_OPEN_FILES = 64
_SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/localtime", "/dev/urandom")


def main() -> NoReturn:  # pragma: no cover - in a process that is killed in the end
    """The program: the first line that it reads is its order, a JSON object (see the keeper)."""
    order = json.loads(_first_line())
    signal.signal(signal.SIGTERM, _end_all)
    confine.die_with_parent(signal.SIGTERM)
    if os.getppid() != order["parent"]:
        os._exit(1)  # it has ended already
    namespaces = order["namespaces"] and confine.new_namespaces()
    inner = os.fork()
    if inner:
        _wait(inner)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    confine.die_with_parent()
    try:
        _work(order, namespaces=namespaces)
    except BaseException as error:  # noqa: BLE001 - the parent hears of it, whatever it is
        with contextlib.suppress(OSError):
            os.write(2, f"{type(error).__name__}: {error}"[:2000].encode("utf-8", "replace"))
        os._exit(1)
    os._exit(0)


def _first_line() -> bytes:  # pragma: no cover - as main
    """Of standard input; what follows is left to the process that answers."""
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(0, 1 << 16)  # nothing else comes before it is answered
        if not piece:
            os._exit(1)
        line += piece
    return bytes(line)


def _end_all(_number: int, _frame: object) -> NoReturn:  # pragma: no cover - as main
    """Who asked has ended: so does the whole process group, which nobody can leave."""
    os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _wait(inner: int) -> NoReturn:  # pragma: no cover - as main
    """Hold none of the pipes, so that their end is heard; end as the inner one ends."""
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    _pid, status = os.waitpid(inner, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _work(order: dict[str, Any], *, namespaces: bool) -> None:  # pragma: no cover - as main
    answers = os.dup(1)
    os.dup2(2, 1)  # what a library prints is no answer
    with open("/proc/self/statm", "rb", buffering=0) as memory:
        places = [*_SYSTEM, sys.prefix, sys.base_prefix, *sys.path, *order["readable"]]
        confine.no_new_privileges()
        landlock = confine.read_only_view(places) if order["landlock"] else 0
        filtered = confine.filter_calls() if order["filter"] else False
        confine.limit(resource.RLIMIT_CORE, 0)
        confine.limit(resource.RLIMIT_FSIZE, 0)
        confine.limit(resource.RLIMIT_NOFILE, _OPEN_FILES)
        confine.limit(resource.RLIMIT_CPU, order["cpu_seconds"])
        tools, unusable = _load(order)
        pages = int(memory.read().split()[0])
    used = pages * resource.getpagesize()
    confine.limit(resource.RLIMIT_AS, used + order["memory_bytes"])
    _send(answers, {"confinement": _told(landlock, filtered=filtered, namespaces=namespaces)})
    versions = {name: tool.version for name, tool in tools.items()}
    _send(answers, {"tools": versions, "unusable": unusable})
    with open(0, "rb", closefd=False) as requests:
        _answer(tools, requests, answers)


def _load(order: dict[str, Any]) -> tuple[dict[str, Tool], dict[str, str]]:
    """The tools, and those that are installed and can't be used, with the reason."""
    memory, tools, unusable = int(order["memory_bytes"]), {}, {}
    for name in order["tools"]:
        try:
            tools[name] = load_tool(name, order["programs"], memory)
        except Exception as error:  # noqa: BLE001 - a library that lacks another, say
            unusable[name] = f"{type(error).__name__}: {error}"[:200]
    return tools, unusable


def _told(landlock: int, *, filtered: bool, namespaces: bool) -> list[str]:
    """What was had, in words for the record."""
    told = ["limits", "no new privileges"]
    if namespaces:
        told.append("namespaces: user, network, processes")
    if landlock:
        told.append(f"landlock {landlock}")
    if filtered:
        told.append("seccomp")
    return told


def _answer(tools: Mapping[str, Tool], requests: Iterable[bytes], answers: int) -> None:
    for line in requests:
        request = json.loads(line)
        tool = tools[request["tool"]]
        try:
            answer = tool.run(request["path"])
        except MemoryError:
            answer = {"error": "memory"}
        except Exception as error:  # noqa: BLE001 - parsers of others fail as they like
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        _send(answers, answer)


def _send(answers: int, answer: dict[str, Any]) -> None:
    data = memoryview(json.dumps(answer, default=str).encode("ascii") + b"\n")
    while data:
        data = data[os.write(answers, data) :]
