"""From units to plans, and from what came of them to what the watcher hears.

Job: what both sinks share: units compared with the disk and planned, errors told without the
names of files, digests in the order of a unit's members. Limits: makes no bags.

A unit is compared with what is on the disk before it is copied and while it is: a file that
was replaced and given its old times back has another inode or ctime.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from archiver.bag.model import BagInfo
from archiver.bag.names import decode_path
from archiver.bag.plan import Plan, PlanOptions
from archiver.bag.progress import Progress, Silent
from archiver.bag.proofs import SIGNED_FILE
from archiver.bag.sidecar import sizes_and_times
from archiver.bag.stage import BatchStaging
from archiver.errors import (
    ArchiverError,
    CatalogError,
    DestinationError,
    FormatError,
    KeyringError,
    LockedError,
    LogError,
    NotFoundError,
    SourceError,
    StorageError,
    storage_error,
)
from archiver.filesystem import free_space
from archiver.i18n import _
from archiver.ingest.batch import Source
from archiver.policy import Policy
from archiver.seal import CreateOptions, Examine, FileList, Sealing, plan_sources
from archiver.seal.batch import StagedBag
from archiver.seal.examine import UnwantedError
from archiver.seal.plain import PlainSourceError, refuse_plain
from archiver.statement.making import ExaminePlain
from archiver.watch.described import SideCar, SideCars
from archiver.watch.model import Done, Failed, Fingerprint, Prepared, Unit

__all__ = [
    "FOLLOWS",
    "PAUSING",
    "Making",
    "Planned",
    "SinkOptions",
    "day_of",
    "digests_staged",
    "digests_there",
    "done_of",
    "failed",
    "found_as",
    "identifier_of",
    "in_order_of_plans",
    "not_staged",
    "plan_all",
    "source_of",
    "taken",
    "told_error",
    "unsigned",
    "why_not",
]

FOLLOWS = "Archiver-Follows"
"""What bag-info.txt calls the item or bag of the version before."""
_UNFIT = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EFBIG, errno.EINVAL)
"""What a file system answers that works, and can't keep this very file."""
PAUSING = (StorageError, LockedError, CatalogError, LogError, KeyringError, NotFoundError)
_PLAN = PlanOptions(encode_names=True)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _unsealed() -> Sealing | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkOptions:
    """How bags are made. ``sealing`` is asked for each batch: it gives None where bags are to
    stay unsigned, and raises KeyringError where they must wait for a key. ``reserve_bytes``
    stay free: below that nothing is begun. ``progress`` hears of all that is copied and read:
    what it raises breaks that off.
    """

    policy: Policy
    sealing: Callable[[], Sealing | None] = _unsealed
    clock: Callable[[], datetime] = _now
    algorithms: tuple[str, ...] = ()
    info: BagInfo = field(default_factory=BagInfo)
    reserve_bytes: int = 1 << 20
    wait_seconds: float = 10.0
    workers: int | None = None
    progress: Progress = field(default_factory=Silent)
    examine: Examine | None = None
    examine_plain: ExaminePlain | None = None

    def create(self, identifier: str = "") -> CreateOptions:
        """For the bags of one batch. Raises KeyringError."""
        return CreateOptions(
            policy=self.policy,
            now=self.clock(),
            identifier=identifier,
            algorithms=self.algorithms,
            info=self.info,
            sealing=self.sealing(),
            examine=self.examine,
            verify_after=True,
            workers=self.workers,
        )


def unsigned(options: SinkOptions) -> CreateOptions:
    """For what makes no bags: no key is asked for."""
    return CreateOptions(
        policy=options.policy, now=options.clock(), identifier="", workers=options.workers
    )


def why_not(places: Iterable[str], disk: str, options: SinkOptions) -> str:
    """Why nothing can be written, found by trying; "" where it can."""
    try:
        options.sealing()
        for place in (disk, *places):
            if os.statvfs(place).f_flag & os.ST_RDONLY or not os.access(place, os.W_OK):
                return _("{path} can't be written").format(path=place)
        free, files = free_space(disk)
        if free < options.reserve_bytes or files == 0:
            return _("no space left in {path}").format(path=disk)
        probe = BatchStaging(disk)
        probe.open()
        probe.close()
    except ArchiverError as error:
        return error.message
    except OSError as error:
        return _("{path} can't be used: {reason}").format(path=disk, reason=error.strerror)
    return ""


# -- from units to plans


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A unit that is as it was when it was settled."""

    unit: Unit
    plan: Plan
    side_car: SideCar


@dataclass(frozen=True, slots=True)
class Making:
    """What holds for all units that are planned together."""

    policy: Policy
    side_cars: SideCars
    now: datetime


def plan_all(units: Sequence[Unit], bag: str, making: Making) -> list[Planned | Failed]:
    """Each unit planned, or what stands against it. One that is asked for twice is made once."""
    met: set[str] = set()
    planned: list[Planned | Failed] = []
    for unit in units:
        if unit.key in met:
            reason = _("it is being archived already")
            planned.append(Failed(unit=unit, kind="changed", reason=reason))
        else:
            planned.append(_plan(unit, bag, making))
        met.add(unit.key)
    return planned


def _plan(unit: Unit, bag: str, making: Making) -> Planned | Failed:
    if not _is_same(unit):
        return _changed(unit)
    side_car = _side_car(unit, making)
    if isinstance(side_car, Failed):
        return side_car
    secret = side_car.secret is not None
    try:
        names = tuple(os.fsdecode(one.path) for one in unit.members)
        plan = plan_sources(FileList(os.fsdecode(unit.root), names), bag, _PLAN)
        if not secret:
            refuse_plain(plan, making.policy)
    except PlainSourceError as error:  # where nothing is to be in clear, no name is told either
        return Failed(unit=unit, kind="refused", reason=error.reason, secret=True)
    except ArchiverError as error:
        return replace(failed(unit, error), secret=secret)
    if not _plans_the_same(plan, unit):
        return _changed(unit)
    return Planned(unit=unit, plan=plan, side_car=side_car)


def _side_car(unit: Unit, making: Making) -> SideCar | Failed:
    """What is said of a unit. As long as that isn't read, it may be secret."""
    try:
        side_car = making.side_cars.of(unit, making.now)
    except OSError as error:
        reason = _("its description can't be read: {reason}").format(reason=error.strerror)
        return Failed(unit=unit, kind="refused", reason=reason, secret=True)
    except ArchiverError as error:
        return replace(failed(unit, error), secret=True)
    if side_car.held:
        return Failed(unit=unit, kind="refused", reason=side_car.held, secret=True)
    return side_car


def _is_same(unit: Unit) -> bool:
    """Whether every member is on the disk as it was when it settled."""
    for one in unit.members:
        try:
            found = os.lstat(os.path.join(unit.root, one.path))
        except OSError:
            return False
        wanted = one.fingerprint
        if not stat.S_ISREG(found.st_mode) or found.st_dev != wanted.device:
            return False
        planned = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
        if not _fits(planned, wanted):
            return False
    return True


def _fits(planned: tuple[int, int, int, int], wanted: Fingerprint) -> bool:
    """(size, mtime, ctime, inode) against a fingerprint; where ctime or inode are 0 they
    mean nothing on that file system, and are not compared.
    """
    size_bytes, mtime_ns, ctime_ns, inode = planned
    return (
        size_bytes == wanted.size_bytes
        and mtime_ns == wanted.mtime_ns
        and wanted.ctime_ns in (0, ctime_ns)
        and wanted.inode in (0, inode)
    )


def _plans_the_same(plan: Plan, unit: Unit) -> bool:
    """Whether what was planned, and will be compared while it is copied, is what settled."""
    found = {
        os.fsencode(f"{directory.path}/{name}" if directory.path else name): directory.planned(i)
        for directory in plan.directories
        for i, name in enumerate(directory.names)
    }
    return len(found) == len(unit.members) and all(
        one.path in found and _fits(found[one.path], one.fingerprint) for one in unit.members
    )


def source_of(planned: Planned) -> Source:
    """What becomes an item, or a bag."""
    unit = planned.unit
    follows = ((FOLLOWS, unit.follows),) if unit.follows else ()
    tag_files = planned.side_car.files
    return Source(key=unit.key, plan=planned.plan, info=BagInfo(follows), tag_files=tag_files)


# -- what became of them


def _changed(unit: Unit) -> Failed:
    return Failed(unit=unit, kind="changed", reason=_("it changed, or went away"))


def not_staged(one: Prepared) -> Failed:
    """It was asked for once more, or by another run."""
    return Failed(unit=one.unit, kind="changed", reason=_("it is not staged any more"))


def taken(name: str) -> str:
    """Why it can't lie where it should."""
    return _("something else lies in the place of {name}, or it is not intact").format(name=name)


def failed(unit: Unit, error: ArchiverError) -> Failed:
    """``error`` as what it means for a unit, without the names of files in its text."""
    if isinstance(error, SourceError | FormatError):
        if not _is_same(unit):
            return _changed(unit)
        return Failed(unit=unit, kind="refused", reason=_reason(error))
    if isinstance(error, StorageError) and error.errno:
        kind = "refused" if error.errno in _UNFIT else "sink"
        reason = _("it can't be written: {reason}").format(reason=os.strerror(error.errno))
        return Failed(unit=unit, kind=kind, reason=reason)
    if isinstance(error, DestinationError):  # made by another run; the next look will tell
        return Failed(unit=unit, kind="changed", reason=_("it is being archived already"))
    kind = "sink" if isinstance(error, PAUSING) else "refused"
    return Failed(unit=unit, kind=kind, reason=error.message)


def told_error(error: ArchiverError | OSError) -> ArchiverError:
    """What keeps a whole batch from being made."""
    return error if isinstance(error, ArchiverError) else storage_error(error, "")


def _reason(error: ArchiverError) -> str:
    if isinstance(error, UnwantedError):
        return error.reason
    findings = getattr(error, "findings", None)
    if findings is not None:  # the plan's; their paths are left out
        return "; ".join(dict.fromkeys(f"{_(one.message)} ({one.code})" for one in findings))
    return _("it can't be read")


def done_of(one: Prepared, signed: str) -> Done:
    """``signed`` is the SHA-512 of what was signed, "" where it has to be read."""
    return Done(
        unit=one.unit,
        item=one.item,
        bag=one.bag,
        digests=one.digests,
        tag_manifest_sha512=signed or _signed_digest(one.bag),
        described=one.described,
        note=one.note,
        secret=one.secret,
    )


def found_as(unit: Unit, item: str, path: str, side_car: SideCar) -> Done | None:
    """A bag that was verified, as what was made of ``unit``; None where it wasn't."""
    digests, signed = digests_there(path, unit), _signed_digest(path)
    if digests is None or not signed:
        return None
    return Done(
        unit=unit,
        item=item,
        bag=path,
        digests=digests,
        tag_manifest_sha512=signed,
        described=side_car.digest,
        note=side_car.note,
    )


def _signed_digest(bag: str) -> str:
    """SHA-512 of what is signed; "" where it can't be read."""
    try:
        with open(os.path.join(bag, SIGNED_FILE), "rb") as file:
            return hashlib.file_digest(file, "sha512").hexdigest()
    except OSError:
        return ""


def identifier_of(unit: Unit) -> str:
    """A URI that is the same for the same unit, and tells nothing of it."""
    state = hashlib.sha256(b"archiver/watch/1\0" + unit.key.encode()).digest()
    return uuid.UUID(bytes=state[:16], version=5).urn


def day_of(mtime_ns: int) -> str:
    """YYYYMMDD, in UTC; zeros for what no calendar has."""
    try:
        return datetime.fromtimestamp(mtime_ns // 1_000_000_000, UTC).strftime("%Y%m%d")
    except (ValueError, OverflowError, OSError):
        return "00000000"


def digests_staged(staged: StagedBag, unit: Unit) -> tuple[str, ...]:
    """Of a unit's members, as they were copied."""
    found = staged.digests()
    return tuple(found[os.fsdecode(one.path)] for one in unit.members)


def digests_there(bag: str, unit: Unit) -> tuple[str, ...] | None:
    """The digests of a finished bag in the order of the unit's members; None where it was
    made of others. Bags list files as plans do: by directory, then by name.
    """
    order = in_order_of_plans(unit)
    try:
        with open(os.path.join(bag, "manifest-sha512.txt"), encoding="utf-8", newline="\n") as file:
            lines = [line.rstrip("\n").split("  ", 1) for line in file]
        records = sizes_and_times(bag)
    except (OSError, ValueError, KeyError):
        return None
    if len(lines) != len(order) or any(len(line) != 2 for line in lines):
        return None
    digests = {}
    for index, (digest, path) in zip(order, lines, strict=True):
        wanted = unit.members[index].fingerprint
        if records.get(decode_path(path)) != (wanted.size_bytes, wanted.mtime_ns):
            return None
        digests[index] = digest
    return tuple(digests[index] for index in range(len(order)))


def in_order_of_plans(unit: Unit) -> list[int]:
    """The indices of the members in the order in which a plan lists them."""
    paths = [os.fsdecode(one.path) for one in unit.members]
    by_path = sorted(range(len(paths)), key=paths.__getitem__)

    def directory(index: int) -> str:
        return paths[index].rpartition("/")[0]

    return sorted(by_path, key=directory)
