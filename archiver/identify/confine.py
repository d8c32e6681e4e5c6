"""Takes rights away from this process, for good: Landlock, seccomp, limits, namespaces.

Job: the system calls, by ctypes; each says whether it could be had. Limits: Linux; what a
kernel or a container doesn't allow is left out, and named by its absence in the answer.
Everything here has to be done before a library that starts threads is loaded: Landlock holds
for the thread that asks, and for what it starts afterwards.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress

__all__ = [
    "die_with_parent",
    "filter_calls",
    "limit",
    "new_namespaces",
    "no_new_privileges",
    "read_only_view",
]

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_NEW_USER, _NEW_NET, _NEW_PID, _NEW_IPC = 0x10000000, 0x40000000, 0x20000000, 0x08000000
_LANDLOCK = (444, 445, 446)
"""create_ruleset, add_rule, restrict_self: the same on every architecture."""
_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many rights over files an ABI knows (landlock(7)); from 5 on, 16."""
_EPERM, _ENOSYS = 1, 38

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _prctl(option: int, *values: int) -> bool:
    padded = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    return bool(_libc.prctl(option, *padded) == 0)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Get this signal when the thread that started this process ends."""
    _prctl(_PR_SET_PDEATHSIG, number)


def new_namespaces() -> bool:
    """No network, and children that are a world of their own: when their first process ends,
    the kernel kills all others. False where that isn't allowed.
    """
    wanted = _NEW_USER | _NEW_NET | _NEW_PID | _NEW_IPC
    return bool(_libc.unshare(ctypes.c_int(wanted)) == 0)


def limit(kind: int, value: int) -> None:
    """A limit that can't be raised again, nor be above one that is there."""
    hard = resource.getrlimit(kind)[1]
    bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (bound, bound))


def no_new_privileges() -> None:
    """Nothing that is run gets more rights than this process has."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def read_only_view(places: Iterable[str]) -> int:
    """Nothing but ``places`` can be read or run, and nothing be written or made (Landlock);
    the ABI's number, 0 where there is none.
    """
    abi = int(_libc.syscall(_LANDLOCK[0], None, ctypes.c_size_t(0), 1))
    if abi < 1:
        return 0
    rights = (1 << _FS_BITS.get(abi, 16)) - 1
    attributes = struct.pack("=Q", rights)
    if abi >= 4:
        attributes += struct.pack("=Q", 3)  # no TCP: neither bind nor connect
    if abi >= 6:
        attributes += struct.pack("=Q", 3)  # no abstract sockets, no signals to others
    ruleset = int(_libc.syscall(_LANDLOCK[0], attributes, ctypes.c_size_t(len(attributes)), 0))
    if ruleset < 0:
        return 0
    for place in places:
        with suppress(OSError):
            _allow(ruleset, place)
    restricted = _libc.syscall(_LANDLOCK[2], ruleset, 0) == 0
    os.close(ruleset)
    return abi if restricted else 0


def _allow(ruleset: int, place: str) -> None:
    descriptor = os.open(place, os.O_PATH | os.O_CLOEXEC)
    try:
        access = _EXECUTE | _READ_FILE | (_READ_DIR if os.path.isdir(place) else 0)
        rule = struct.pack("=Qi", access, descriptor)
        _libc.syscall(_LANDLOCK[1], ruleset, 1, rule, 0)
    finally:
        os.close(descriptor)


# -- calls that are refused: seccomp, see its page in section 2

_X86_64 = (
    (41, 42, 49, 50, 53),  # socket, connect, bind, listen, socketpair
    (62, 101, 109, 112, 200, 424, 310, 311, 438),  # kill, ptrace, setsid and the like
    (76, 77, 82, 83, 84, 85, 86, 87, 88, 285),  # truncate, rename, mkdir, unlink…
    (258, 259, 263, 264, 265, 266, 316),  # the same with …at
    (90, 91, 92, 93, 94, 132, 133, 235, 260, 261, 268, 280, 452),  # modes, owners, times
    (188, 189, 190, 197, 198, 199),  # extended attributes
    (155, 161, 165, 166, 272, 308, 304),  # mount, chroot, unshare, setns, open_by_handle_at
    (240, 248, 249, 250, 298, 321, 323, 425),  # mq_open, keys, perf, bpf, io_uring
)
_AARCH64 = (
    (198, 199, 200, 201, 203),
    (117, 129, 130, 154, 157, 270, 271, 424, 438),
    (33, 34, 35, 36, 37, 38, 45, 46, 47, 276),
    (52, 53, 54, 55, 88, 452),
    (5, 6, 7, 14, 15, 16),
    (39, 40, 41, 51, 97, 265, 268),
    (180, 217, 218, 219, 241, 280, 282, 425),
)
_MACHINES: dict[str, tuple[int, tuple[tuple[int, ...], ...], tuple[tuple[int, int], ...]]] = {
    "x86_64": (0xC000003E, _X86_64, ((2, 1), (257, 2))),
    "aarch64": (0xC00000B7, _AARCH64, ((56, 2),)),
}
"""By machine: its AUDIT_ARCH, calls that are refused, and those that open a file, with the
place of their flags.
"""
_OPENAT2 = 437
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000


def filter_calls() -> bool:
    """No sockets, no writing, no signals to others, no namespaces, from any thread that is
    started from here on. False where the kernel or this machine has no such filter.
    """
    known = _MACHINES.get(platform.machine())
    if known is None:
        return False
    program = b"".join(_program(*known))
    buffer = ctypes.create_string_buffer(program)
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    return bool(
        _libc.prctl(
            _PR_SET_SECCOMP,
            ctypes.c_ulong(2),
            ctypes.c_char_p(head),
            ctypes.c_ulong(0),
            ctypes.c_ulong(0),
        )
        == 0
    )


def _program(
    arch: int, refused: Iterable[Iterable[int]], opening: Iterable[tuple[int, int]]
) -> Iterator[bytes]:
    """The filter in classic BPF; each row is (code, jump if true, jump if not, operand)."""
    yield _row(_LOAD, 4)  # the architecture
    yield _row(_EQUAL, arch, 1, 0)
    yield _row(_RETURN, _KILL)
    yield _row(_LOAD, 0)  # the call's number
    yield _row(_AT_LEAST, 0x40000000, 0, 1)  # x32
    yield _row(_RETURN, _ERRNO | _EPERM)
    for number in (one for group in refused for one in group):
        yield _row(_EQUAL, number, 0, 1)
        yield _row(_RETURN, _ERRNO | _EPERM)
    yield _row(_EQUAL, _OPENAT2, 0, 1)  # its flags can't be seen from here
    yield _row(_RETURN, _ERRNO | _ENOSYS)
    for number, place in opening:
        yield _row(_EQUAL, number, 0, 4)
        yield _row(_LOAD, 16 + 8 * place)
        yield _row(_ANY_BIT, _WRITING, 0, 1)
        yield _row(_RETURN, _ERRNO | _EPERM)
        yield _row(_RETURN, _ALLOW)
    yield _row(_RETURN, _ALLOW)


def _row(code: int, operand: int, true: int = 0, false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, true, false, operand)
