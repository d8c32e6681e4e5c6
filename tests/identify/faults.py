"""Tools that misbehave, for the confined child: what a parser does that was taken over."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

MARK = "98765.4321"
"""How long a daemon sleeps: by that it is known in /proc."""


class Tool:
    version = "fault 1"

    def run(self, path: str) -> dict[str, Any]:
        data = Path(path).read_bytes()
        try:
            return self.act(path, data)
        except OSError as error:
            return {"technical": {"refused": os.strerror(error.errno or 0)}}

    def act(self, path: str, data: bytes) -> dict[str, Any]:
        raise NotImplementedError


class ByContent(Tool):
    """Does what the file says."""

    def act(self, path: str, data: bytes) -> dict[str, Any]:
        kind = data.split(b":")[0].decode("ascii", "replace")
        if kind in ACTS:
            return ACTS[kind]().act(path, data)
        return {"format": {"puid": "fmt/1", "mime": "x/y"}, "technical": {"pid": os.getpid()}}


class Hang(Tool):
    def act(self, path: str, data: bytes) -> dict[str, Any]:
        while True:
            time.sleep(1)


class Spin(Tool):
    def act(self, path: str, data: bytes) -> dict[str, Any]:
        while True:
            pass


class Eat(Tool):
    def act(self, path: str, data: bytes) -> dict[str, Any]:
        held = []
        while True:
            held.append(bytearray(16 << 20))


class EatInC(Tool):
    """As a library that doesn't look whether there was memory."""

    def act(self, path: str, data: bytes) -> dict[str, Any]:
        libc = ctypes.CDLL(None)
        libc.malloc.restype = ctypes.c_void_p
        while True:
            place = libc.malloc(ctypes.c_size_t(16 << 20))
            if not place:
                os.write(2, b"terminate called after throwing std::bad_alloc")
                os.abort()
            ctypes.memset(place, 1, 16 << 20)


class Die(Tool):
    def act(self, path: str, data: bytes) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGSEGV) if not data.endswith(b"raw") else None
        ctypes.string_at(0)
        return {}


class Leave(Tool):
    def act(self, path: str, data: bytes) -> dict[str, Any]:
        os._exit(0)


class Flood(Tool):
    def act(self, path: str, data: bytes) -> dict[str, Any]:
        return {"technical": {"x": "y" * (1 << 22)}}


class Noise(Tool):
    """On both streams, then an answer."""

    def act(self, path: str, data: bytes) -> dict[str, Any]:
        for stream in (1, 2):
            os.write(stream, b"z" * (1 << 20))
        return {"technical": {"said": "enough"}}


class Lie(Tool):
    def act(self, path: str, data: bytes) -> dict[str, Any]:
        esc = "\x1b]0;owned\x07\x9b31m\u202e"
        return {
            "format": {
                "puid": "fmt/1\x1b[2J",
                "mime": "video/mp4\n\x1b[31m",
                "format": esc,
                "version": ["not", "text"],
                "basis": "\ud800",
                "warnings": [esc, 7, {"a": "b"}],
                "class": 5,
            },
            "technical": {"deep": [[[[[[[["x"]]]]]]]], "n": float("nan"), "big": 1 << 80},
            "found": {"gps": {esc: esc}, "times": "not a table"},
            "c2pa": ["x"],
        }


class Daemon(Tool):
    """Leaves a process behind that tries to be nobody's."""

    def act(self, path: str, data: bytes) -> dict[str, Any]:
        if os.fork() == 0:
            with contextlib.suppress(OSError):
                os.setsid()
            if os.fork():
                os._exit(0)
            os.execv("/bin/sleep", ["sleep", MARK])
        time.sleep(60 if data.endswith(b"stay") else 0.3)
        return {"technical": {"left": True}}


class Write(Tool):
    """Everything by which a file system could be changed."""

    def act(self, path: str, data: bytes) -> dict[str, Any]:
        attempts = {
            "append": lambda: open(path, "ab").write(b"x"),  # noqa: SIM115
            "create": lambda: open(path + ".new", "wb").write(b"x"),  # noqa: SIM115
            "temporary": lambda: open("/tmp/archiver-was-here", "wb").close(),
            "unlink": lambda: os.unlink(path),
            "rename": lambda: os.rename(path, path + ".moved"),
            "chmod": lambda: os.chmod(path, 0o777),
            "utime": lambda: os.utime(path, (1, 1)),
            "truncate": lambda: os.truncate(path, 0),
            "mkdir": lambda: os.mkdir(path + ".d"),
            "link": lambda: os.link(path, path + ".l"),
            "symlink": lambda: os.symlink(path, path + ".s"),
            "setxattr": lambda: os.setxattr(path, "user.x", b"y"),
            "fifo": lambda: os.mkfifo(path + ".f"),
            "chown": lambda: os.chown(path, os.getuid(), os.getgid()),
        }
        return {"technical": {name: _outcome(attempt) for name, attempt in attempts.items()}}


class Network(Tool):
    def act(self, path: str, data: bytes) -> dict[str, Any]:
        port = int(data.split(b":")[1])

        def connect(family: int, address: Any) -> None:
            with socket.socket(family) as line:
                line.settimeout(1)
                line.connect(address)

        attempts = {
            "tcp": lambda: connect(socket.AF_INET, ("127.0.0.1", port)),
            "abstract": lambda: connect(socket.AF_UNIX, "\0archiver-test"),
            "pair": socket.socketpair,
        }
        return {"technical": {name: _outcome(attempt) for name, attempt in attempts.items()}}


class Pry(Tool):
    """Looks at, and for, what is none of its business."""

    def act(self, path: str, data: bytes) -> dict[str, Any]:
        secret, parent = data.decode().split(":")[1:3]
        attempts = {
            "secret": lambda: open(secret).read(),  # noqa: SIM115
            "list": lambda: os.listdir(os.path.dirname(secret)),
            "environ": lambda: open(f"/proc/{parent}/environ").read(),  # noqa: SIM115
            "passwd": lambda: open("/etc/passwd").read(),  # noqa: SIM115
            "signal": lambda: os.kill(int(parent), 0),
            "run": lambda: subprocess.run(["cat", secret], check=True, capture_output=True),
        }
        return {"technical": {name: _outcome(attempt) for name, attempt in attempts.items()}}


class Environment(Tool):
    def act(self, path: str, data: bytes) -> dict[str, Any]:
        return {"technical": {"environ": sorted(os.environ)}}


def _outcome(attempt: Any) -> str:
    try:
        attempt()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"refused: {type(error).__name__}"
    return "done"


class Forked(Tool):
    """What a child of its own may do: no more than itself."""

    def act(self, path: str, data: bytes) -> dict[str, Any]:
        code = f"open({path + '.forked'!r}, 'w').write('x')"
        done = subprocess.run([sys.executable, "-S", "-c", code], check=False, capture_output=True)
        return {"technical": {"code": done.returncode}}


ACTS: dict[str, type[Tool]] = {
    "hang": Hang,
    "spin": Spin,
    "eat": Eat,
    "eat-c": EatInC,
    "die": Die,
    "leave": Leave,
    "flood": Flood,
    "noise": Noise,
    "lie": Lie,
    "daemon": Daemon,
    "write": Write,
    "network": Network,
    "pry": Pry,
    "environment": Environment,
    "forked": Forked,
}
