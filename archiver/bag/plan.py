"""Plan before touching anything: what a bag will hold, and what stands against it.

Job: walk the sources and answer links, special files, twins, odd names and
unreadable files before a byte is copied. Limits: opens directories, never
files; writes nothing. A plan of a million files takes about 120 MB: names, and
per directory one array for each file attribute.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from array import array
from collections import Counter
from collections.abc import Iterator, MutableSequence, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from archiver.bag.names import (
    encode_name,
    fold,
    has_unsafe_shape,
    is_utf8,
    path_problem,
    short_name,
    windows_problem,
)
from archiver.bag.tree import kind_of_mode
from archiver.digest.worker import open_beneath
from archiver.findings import Findings
from archiver.i18n import N_

__all__ = [
    "Note",
    "Plan",
    "PlanOptions",
    "PlannedDirectory",
    "plan_bag",
    "plan_files",
    "split_plan",
]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
MAX_DEPTH = 500
"""Directories below a source: what Python's own tree functions stand."""
_PATH_MAX = 4095
_ARRAY_LIMIT = 2**63
_STAGING_ROOM = "/.archiver-staging-0123456789abcdef/bag/"
_TROUBLE_ON_WINDOWS = re.compile(
    r'[<>:"|?*\\\x00-\x1f]|[. ](?:/|\Z)|(?:\A|/)(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|/|\Z)',
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """What the person asked for where a source is not plain."""

    exclude: tuple[str, ...] = ()
    encode_names: bool = False
    bag_in_bag: bool = False
    record_links_out: bool = False
    absolute_link_targets: bool = False


@dataclass(slots=True, kw_only=True)
class PlannedDirectory:
    """Files of one source directory: where they come from, where they go.

    ``root`` is an absolute path, ``path`` the directory below it, ``target``
    the directory in the bag. The arrays go with ``names``; times in ns.
    """

    root: str
    path: str
    target: str
    names: list[str] = field(default_factory=list)
    renamed: dict[int, str] = field(default_factory=dict)
    sizes: MutableSequence[int] = field(default_factory=lambda: array("q"))
    mtimes: MutableSequence[int] = field(default_factory=lambda: array("q"))
    ctimes: MutableSequence[int] = field(default_factory=lambda: array("q"))
    inodes: MutableSequence[int] = field(default_factory=lambda: array("Q"))
    modes: MutableSequence[int] = field(default_factory=lambda: array("I"))
    mtime_ns: int = 0
    mode: int = -1
    """Permission bits of the source directory; -1 where it was not walked."""
    original: str = ""
    empty: bool = False
    is_source: bool = False

    def add(self, name: str, found: os.stat_result) -> None:
        """One more file."""
        if found.st_mtime_ns >= _ARRAY_LIMIT:
            self.mtimes = list(self.mtimes)  # a time after the year 2262
        self.names.append(name)
        self.sizes.append(found.st_size)
        self.mtimes.append(found.st_mtime_ns)
        self.ctimes.append(found.st_ctime_ns)
        self.inodes.append(found.st_ino)
        self.modes.append(stat.S_IMODE(found.st_mode))

    def part(self, start: int, stop: int) -> PlannedDirectory:
        """The same directory with only some of its files."""
        return replace(
            self,
            names=self.names[start:stop],
            renamed={i - start: name for i, name in self.renamed.items() if start <= i < stop},
            sizes=self.sizes[start:stop],
            mtimes=self.mtimes[start:stop],
            ctimes=self.ctimes[start:stop],
            inodes=self.inodes[start:stop],
            modes=self.modes[start:stop],
        )

    def target_name(self, index: int) -> str:
        """A file's name in the bag."""
        return self.renamed.get(index, self.names[index]) if self.renamed else self.names[index]

    def target_names(self) -> list[str]:
        """All files' names in the bag."""
        if not self.renamed:
            return self.names
        return [self.target_name(index) for index in range(len(self.names))]

    def planned(self, index: int) -> tuple[int, int, int, int]:
        """(size, mtime, ctime, inode): what makes a change noticed."""
        return self.sizes[index], self.mtimes[index], self.ctimes[index], self.inodes[index]


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A source path that is recorded but not copied: ``kind`` is link, or
    directory where it is only known by a file that was named below it.
    """

    kind: str
    target: str
    name_bytes: bytes
    value: str | None


@dataclass(slots=True)
class Plan:
    """What a bag will hold. Usable only where ``findings`` has no errors."""

    directories: list[PlannedDirectory] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    excluded: Counter[str] = field(default_factory=Counter)
    """How many source paths each pattern kept out. Their names stay out too."""
    findings: Findings = field(default_factory=Findings)
    files: int = 0
    size_bytes: int = 0
    allocated_bytes: int = 0
    """What the sources take on their disk: less than their size where they have holes."""


def plan_bag(sources: Sequence[str], bag: str, options: PlanOptions) -> Plan:
    """Plan the bag ``bag`` (a path that needn't exist) from ``sources``.

    One directory: its content goes below ``data/``. Several sources, or files:
    each goes to ``data/NAME``. Problems are findings of the plan.
    """
    return _Planner(bag, options).run(sources)


def plan_files(base: str, paths: Sequence[str], bag: str, options: PlanOptions) -> Plan:
    """Plan the bag ``bag`` from files named one by one, relative to ``base``.

    Each goes to ``data/PATH``. Names that lead out of ``base`` are refused.
    """
    return _Planner(bag, options).run_list(base, paths)


def split_plan(plan: Plan, *, max_files: int | None, max_bytes: int | None) -> list[Plan]:
    """Cut a plan into plans of at most so many files and bytes each, in its order.

    A file that is larger than ``max_bytes`` gets a plan of its own. What is
    recorded but not copied goes into the first.
    """
    parts = [Plan(notes=plan.notes, excluded=plan.excluded, findings=plan.findings)]
    for directory in plan.directories:
        start = waiting = 0
        for index, size in enumerate(directory.sizes):
            files = parts[-1].files + index - start
            total = parts[-1].size_bytes + waiting
            full = max_files is not None and files >= max_files
            if full or (max_bytes is not None and files and total + size > max_bytes):
                _add_part(parts[-1], directory, start, index)
                parts.append(Plan(findings=plan.findings))
                start, waiting = index, 0
            waiting += size
        _add_part(parts[-1], directory, start, len(directory.names))
    return parts


def _add_part(plan: Plan, directory: PlannedDirectory, start: int, stop: int) -> None:
    if start == stop and directory.names:
        return
    part = directory.part(start, stop)
    plan.directories.append(part)
    plan.files += len(part.names)
    plan.size_bytes += sum(part.sizes)
    plan.allocated_bytes += sum(part.sizes)


class _Planner:
    def __init__(self, bag: str, options: PlanOptions) -> None:
        self._bag = os.path.realpath(bag)
        self._options = options
        self._plan = Plan()
        self._findings = self._plan.findings
        self._may_read_all = not hasattr(os, "geteuid") or os.geteuid() == 0
        self._patterns = [
            (pattern, re.compile(fnmatch.translate(pattern))) for pattern in options.exclude
        ]

    def run(self, sources: Sequence[str]) -> Plan:
        admitted = [(source, self._admit(source)) for source in sources]
        single = len(sources) == 1 and stat.S_ISDIR(admitted[0][1] or 0)
        targets: dict[str, str] = {}
        for source, mode in admitted:
            if mode is None:
                continue
            root = os.path.realpath(source)
            name = os.path.basename(root)
            if stat.S_ISDIR(mode):
                stored = "" if single else self._top_name(source, name, targets)
                target = f"data/{stored}" if stored else "data"
                self._tree(root, source, target, name if stored not in ("", name) else "")
            elif not self._excluded_by(name, name, source):
                self._file(source, root, f"data/{self._top_name(source, name, targets)}")
        return self._finish()

    def _finish(self) -> Plan:
        self._plan.files = sum(len(directory.names) for directory in self._plan.directories)
        self._plan.size_bytes = sum(sum(one.sizes) for one in self._plan.directories)
        return self._plan

    def run_list(self, base: str, paths: Sequence[str]) -> Plan:
        """The plan for files named one by one."""
        if self._admit(base) is None:
            return self._finish()
        root = os.path.realpath(base)
        descriptor = os.open(root, _DIRECTORY)
        try:
            walk = _Walk(descriptor, root, base)
            directories = self._by_directory(walk, paths)
            for directory in sorted(directories):
                self._listed(walk, directory, directories[directory])
        finally:
            os.close(descriptor)
        return self._finish()

    def _by_directory(self, walk: _Walk, paths: Sequence[str]) -> dict[str, list[str]]:
        """The names by their directories, without what is excluded or can't be taken."""
        directories: dict[str, list[str]] = {}
        spellings: dict[str, str] = {}
        for path in sorted(set(paths)):
            directory, _slash, name = path.rpartition("/")
            if self._leads_out(path) or path_problem(path):
                self._findings.add("E-SRC-012", path)
            elif not self._excluded(walk, directory, name):
                self._check_twins(walk, path, spellings)
                directories.setdefault(directory, []).append(name)
        return directories

    def _leads_out(self, path: str) -> bool:
        """Encoded, no name leads out of a bag below ``data/``; as it is one may elsewhere."""
        if self._options.encode_names:
            return path.startswith("/") or ".." in path.split("/")
        return has_unsafe_shape(path)

    def _check_twins(self, walk: _Walk, path: str, spellings: dict[str, str]) -> None:
        """A directory on the way to ``path`` must not collide with another name."""
        prefix = ""
        for part in path.split("/")[:-1]:
            prefix = f"{prefix}/{part}" if prefix else part
            twin = spellings.setdefault(fold(prefix), prefix)
            if twin != prefix:
                self._findings.add("E-SRC-004", walk.show(path), twin=twin)
                spellings[fold(prefix)] = prefix  # said once
        if (twin := spellings.get(fold(path), path)) != path or fold(path) in spellings:
            self._findings.add("E-SRC-004", walk.show(path), twin=twin)

    def _listed(self, walk: _Walk, path: str, names: list[str]) -> None:
        """Plan the files of one directory that were named."""
        planned = PlannedDirectory(
            root=walk.root, path=path, target=self._listed_target(walk, path)
        )
        for name, stored in zip(names, self._stored_names(walk, path, names), strict=True):
            inner = f"{path}/{name}" if path else name
            try:
                with _opened(walk.descriptor, path) as directory:
                    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
            except OSError as error:
                missing = isinstance(error, FileNotFoundError | NotADirectoryError)
                code = "E-SRC-001" if missing else "E-SRC-002"
                self._findings.add(code, walk.show(inner), reason=error.strerror or str(error))
                continue
            if stat.S_ISREG(found.st_mode):
                self._plan_file(walk, planned, inner, name, stored, found)
            else:
                kind = kind_of_mode(found.st_mode)
                self._findings.add("E-SRC-003", walk.show(inner), kind=kind)
        self._plan.directories.append(planned)

    def _listed_target(self, walk: _Walk, path: str) -> str:
        """Where a directory goes; what had to be respelt on the way is noted once."""
        target = "data"
        for part in path.split("/") if path else ():
            stored = encode_name(part)
            if self._options.encode_names:
                stored = short_name(stored)
            target = f"{target}/{stored}"
            if stored == part:
                continue
            if not self._options.encode_names:
                self._findings.add(_odd_name(part), walk.show(path))
            note = Note(kind="directory", target=target, name_bytes=os.fsencode(part), value=None)
            if note not in self._plan.notes:
                self._plan.notes.append(note)
        return target

    def _admit(self, source: str) -> int | None:
        """The mode of a source that can be archived, else a finding and None."""
        try:
            mode = os.lstat(source).st_mode
        except OSError as error:
            missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            code = "E-SRC-001" if missing else "E-SRC-002"
            self._findings.add(code, source, reason=error.strerror or str(error))
            return None
        if stat.S_ISLNK(mode):
            self._findings.add("E-SRC-010", source)
            return None
        real = os.path.realpath(source)
        if self._bag == real or self._bag.startswith(real.rstrip("/") + "/"):
            self._findings.add("E-SRC-007", source)
            return None
        return mode

    def _top_name(self, source: str, name: str, targets: dict[str, str]) -> str:
        """The name of one of several sources below ``data/``."""
        stored = short_name(encode_name(name)) if self._options.encode_names else name
        if not self._options.encode_names and stored != encode_name(name):
            self._findings.add(_odd_name(name), source)
        if fold(stored) in targets:
            if self._options.encode_names:
                stored = _set_apart(stored, targets, [])
                self._findings.add("W-SRC-022", source, target=stored)
            else:
                twin = targets[fold(stored)]
                code = "E-SRC-006" if twin == stored else "E-SRC-004"
                self._findings.add(code, source, target=f"data/{stored}", twin=twin)
        targets[fold(stored)] = stored
        return stored

    def _file(self, source: str, path: str, target: str) -> None:
        """A source that is a file: a directory of one."""
        parent, name = os.path.split(path)
        directory, _slash, stored = target.rpartition("/")
        planned = PlannedDirectory(root=parent, path="", target=directory)
        found = os.lstat(source)
        if not stat.S_ISREG(found.st_mode):
            self._findings.add("E-SRC-003", source, kind=kind_of_mode(found.st_mode))
            return
        if not self._may_read_all and not os.access(source, os.R_OK):
            self._findings.add("E-SRC-002", source, reason=N_("permission denied"))
        self._add(planned, name, stored, found)
        self._plan.directories.append(planned)

    def _tree(self, root: str, shown: str, target: str, original: str) -> None:
        """Walk one source directory, files before subdirectories, both sorted."""
        try:
            if not self._options.bag_in_bag and self._is_bag(root):
                self._findings.add("E-SRC-008", shown)
                return
            descriptor = os.open(root, _DIRECTORY)
        except OSError as error:
            self._findings.add("E-SRC-002", shown, reason=error.strerror or str(error))
            return
        try:
            walk = _Walk(descriptor, root, shown)
            stack = [("", target, original)]
            while stack:
                path, goal, original = stack.pop()
                children = self._directory(walk, path, goal, original)
                stack.extend(reversed(children))
        finally:
            os.close(descriptor)

    @staticmethod
    def _is_bag(root: str) -> bool:
        """Whether ``root`` is a bag. An OSError other than "not there" is the caller's."""
        try:
            declaration = os.lstat(os.path.join(root, "bagit.txt"))
            payload = os.lstat(os.path.join(root, "data"))
        except FileNotFoundError:
            return False
        return stat.S_ISREG(declaration.st_mode) and stat.S_ISDIR(payload.st_mode)

    def _directory(
        self, walk: _Walk, path: str, target: str, original: str
    ) -> list[tuple[str, str, str]]:
        """Plan one directory; its subdirectories as (path, target, original name)."""
        planned = PlannedDirectory(root=walk.root, path=path, target=target, original=original)
        planned.is_source = not path
        if path.count("/") >= MAX_DEPTH or self._is_too_long(target):
            self._findings.add("E-SRC-013", walk.show(path))
            return []
        try:
            found, entries = _read_directory(walk.descriptor, path)
        except OSError as error:
            self._findings.add("E-SRC-002", walk.show(path), reason=error.strerror or str(error))
            return []
        planned.mtime_ns, planned.mode = found.st_mtime_ns, stat.S_IMODE(found.st_mode)
        planned.empty = not entries
        kept = [entry for entry in entries if not self._excluded(walk, path, entry[0])]
        stored = self._stored_names(walk, path, [name for name, _found in kept])
        children = []
        for (name, entry), goal in zip(kept, stored, strict=True):
            inner = f"{path}/{name}" if path else name
            if stat.S_ISREG(entry.st_mode):
                self._plan_file(walk, planned, inner, name, goal, entry)
            elif stat.S_ISDIR(entry.st_mode):
                children.append((inner, f"{target}/{goal}", name if goal != name else ""))
            elif stat.S_ISLNK(entry.st_mode):
                self._plan_link(walk, inner, f"{target}/{goal}", name)
            else:
                kind = kind_of_mode(entry.st_mode)
                self._findings.add("E-SRC-003", walk.show(inner), kind=kind)
        self._plan.directories.append(planned)
        if planned.empty and path:
            self._findings.add("W-SRC-024", walk.show(path))
        return children

    def _is_too_long(self, target: str) -> bool:
        """Whether the bag's own place leaves too little of PATH_MAX for ``target``."""
        return len(os.fsencode(f"{self._bag}{_STAGING_ROOM}{target}")) > _PATH_MAX

    def _plan_file(
        self,
        walk: _Walk,
        planned: PlannedDirectory,
        path: str,
        name: str,
        stored: str,
        found: os.stat_result,
    ) -> None:
        if not self._may_read_all and not os.access(path, os.R_OK, dir_fd=walk.descriptor):
            self._findings.add("E-SRC-002", walk.show(path), reason=N_("permission denied"))
        self._add(planned, name, stored, found)

    def _add(
        self, planned: PlannedDirectory, name: str, stored: str, found: os.stat_result
    ) -> None:
        if stored != name:
            planned.renamed[len(planned.names)] = stored
        planned.add(name, found)
        self._plan.allocated_bytes += min(found.st_size, found.st_blocks * 512)

    def _plan_link(self, walk: _Walk, path: str, target: str, name: str) -> None:
        try:
            leads = os.readlink(path, dir_fd=walk.descriptor)
            real = os.path.realpath(os.path.join(walk.root, path))
        except OSError as error:
            self._findings.add("E-SRC-002", walk.show(path), reason=error.strerror or str(error))
            return
        inside = f"{real}/".startswith(f"{walk.root}/") and os.path.exists(real)
        if not inside and not self._options.record_links_out:
            self._findings.add("E-SRC-009", walk.show(path))
            return
        told = self._options.absolute_link_targets or not _names_places(leads, path)
        self._findings.add("W-SRC-021", walk.show(path))
        self._plan.notes.append(
            Note(
                kind="link",
                target=target,
                name_bytes=os.fsencode(name),
                value=leads if told else None,
            )
        )

    def _excluded(self, walk: _Walk, path: str, name: str) -> bool:
        inner = f"{path}/{name}" if path else name
        return self._excluded_by(inner, name, walk.show(inner))

    def _excluded_by(self, path: str, name: str, shown: str) -> bool:
        """Patterns with a slash are for the whole path, others for the name."""
        for pattern, matcher in self._patterns:
            if matcher.match(path if "/" in pattern else name):
                self._findings.add("W-SRC-023", shown, pattern=pattern)
                self._plan.excluded[pattern] += 1
                return True
        return False

    def _stored_names(self, walk: _Walk, path: str, names: list[str]) -> list[str]:
        """The names in the bag; those that can't be kept are findings, or encoded."""
        plain = all(name.isascii() and "\\" not in name for name in names)
        if plain and len({name.lower() for name in names}) == len(names):
            stored = names
        else:
            stored = self._distinct(walk, path, names)
        if _TROUBLE_ON_WINDOWS.search("/".join(stored)):
            self._warn_of_windows(walk, path, stored)
        return stored

    def _distinct(self, walk: _Walk, path: str, names: list[str]) -> list[str]:
        taken: dict[str, str] = {}
        stored = []
        for name in names:
            goal = (
                short_name(encode_name(name)) if self._options.encode_names else encode_name(name)
            )
            shown = walk.show(f"{path}/{name}" if path else name)
            if goal != name and not self._options.encode_names:
                self._findings.add(_odd_name(name), shown)
            if fold(goal) in taken:
                if not self._options.encode_names:
                    self._findings.add("E-SRC-004", shown, twin=taken[fold(goal)])
                goal = _set_apart(goal, taken, names)
            if goal != name and self._options.encode_names:
                self._findings.add("W-SRC-022", shown, target=goal)
            taken[fold(goal)] = name
            stored.append(goal)
        return stored

    def _warn_of_windows(self, walk: _Walk, path: str, names: list[str]) -> None:
        for name in names:
            problem = windows_problem(name)
            if problem:
                shown = walk.show(f"{path}/{name}" if path else name)
                self._findings.add("W-SRC-020", shown, problem=problem)


@dataclass(frozen=True, slots=True)
class _Walk:
    """One source directory: its open root, and how its paths are shown."""

    descriptor: int
    root: str
    shown: str

    def show(self, path: str) -> str:
        return os.path.join(self.shown, path) if path else self.shown


def _names_places(leads: str, path: str) -> bool:
    """Whether a link's target tells of directories outside of the source: absolute, or
    climbing out of it, even to come back.
    """
    depth = path.count("/")
    for part in leads.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return True
    return os.path.isabs(leads)


def _odd_name(name: str) -> str:
    """Why a name needs another spelling."""
    return "E-SRC-014" if is_utf8(name) else "E-SRC-005"


def _set_apart(name: str, taken: dict[str, str], names: list[str]) -> str:
    """``name`` with the first number that makes it unlike all others."""
    others = {fold(other) for other in names}
    number = 2
    while fold(f"{name}={number}") in taken or fold(f"{name}={number}") in others:
        number += 1
    return f"{name}={number}"


def _read_directory(
    root: int, path: str
) -> tuple[os.stat_result, list[tuple[str, os.stat_result]]]:
    """A directory's own attributes, and its entries sorted by name."""
    with _opened(root, path) as descriptor:
        found = os.fstat(descriptor)
        with os.scandir(descriptor) as scan:
            entries = [(entry.name, entry.stat(follow_symlinks=False)) for entry in scan]
    entries.sort(key=lambda entry: entry[0])
    return found, entries


@contextmanager
def _opened(root: int, path: str) -> Iterator[int]:
    descriptor = open_beneath(root, path or ".", _DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
