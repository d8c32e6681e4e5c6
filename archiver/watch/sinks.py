"""Where settled files go: into a vault, or as bags into a directory.

Job: the :class:`~archiver.watch.model.Sink` protocol, twice. Limits: the order in which a
kill loses nothing is that of :mod:`archiver.ingest.batch` and :mod:`archiver.seal.batch`;
what was asked for is remembered by who calls.

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
from archiver.bag.stage import BatchStaging, sweep_batches
from archiver.catalog.model import SEALED
from archiver.describe import Description
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
from archiver.fixity import Result, check_copy
from archiver.i18n import _
from archiver.ingest import batch as ingest
from archiver.ingest.batch import Source, StagedItem
from archiver.ingest.derivations import unknown_items
from archiver.ingest.numbers import IngestOptions
from archiver.policy import Policy
from archiver.seal import CreateOptions, Examine, FileList, Sealing, plan_sources
from archiver.seal.batch import Order, StagedBag, commit_bags, discard_bags, stage_bags
from archiver.seal.examine import UnwantedError
from archiver.seal.plain import PlainSourceError, refuse_plain
from archiver.statement.making import ExaminePlain
from archiver.vault import Vault
from archiver.vault.records import reading
from archiver.verify import Verdict, verify_bag
from archiver.watch.described import SideCar, SideCars
from archiver.watch.model import Done, Failed, Fingerprint, Prepared, Unit
from archiver.watch.secret import SecretItems, has_readers

__all__ = ["DirectorySink", "SinkOptions", "VaultSink"]

FOLLOWS = "Archiver-Follows"
"""What bag-info.txt calls the item or bag of the version before."""
_DIGITS = 12
_UNFIT = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EFBIG, errno.EINVAL)
"""What a file system answers that works, and can't keep this very file."""
_PAUSING = (StorageError, LockedError, CatalogError, LogError, KeyringError, NotFoundError)
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


class VaultSink:
    """Items of one case of a vault."""

    def __init__(self, vault: Vault, case: str, options: SinkOptions) -> None:
        self._vault, self._case, self._options = vault, case, options
        self._staged: dict[str, StagedItem] = {}
        self._secret = SecretItems(vault, case, options.progress, options.examine_plain)
        self._side_cars = SideCars(
            case=case,
            encrypts=has_readers(options.policy),
            unknown=lambda names: unknown_items(self._vault, names),
            beat=lambda: options.progress.within(0),
        )

    def problem(self) -> str:
        """See the protocol."""
        vault = self._vault
        if not os.path.isdir(os.path.dirname(vault.log_path(self._case))):
            return _("there is no vault at {path}").format(path=vault.path)
        logs, catalog = (os.path.dirname(one) for one in (vault.log_path("c"), vault.catalog))
        return _problem((logs, catalog), self._bags(), self._options)

    def _bags(self) -> str:
        """Where the case's bags lie, or the directory that theirs will be made in."""
        own = os.path.dirname(self._vault.bag_path(self._case, "any"))
        return own if os.path.isdir(own) else os.path.dirname(own)

    def prepare(self, units: Sequence[Unit]) -> list[Prepared | Failed]:
        """See the protocol."""
        bag, now = self._vault.bag_path(self._case, "new"), self._options.clock()
        planned = _plan_all(units, bag, _Making(self._options.policy, self._side_cars, now))
        ready = [one for one in planned if isinstance(one, _Planned) and not one.side_car.secret]
        try:
            sources = [_source(one) for one in ready]
            options = self._ingest_options()
            made = ingest.prepare(
                self._vault, self._case, sources, options, progress=self._options.progress
            )
        except (ArchiverError, OSError) as error:
            made = [_told(error)] * len(ready)
        outcomes = iter(made)
        return [
            one
            if isinstance(one, Failed)
            else self._prepared_secret(one, one.side_car.secret)
            if one.side_car.secret
            else self._prepared(one, next(outcomes))
            for one in planned
        ]

    def _prepared_secret(self, planned: _Planned, description: Description) -> Prepared | Failed:
        """Encrypted and staged, by itself."""
        unit = planned.unit
        try:
            info, options = _source(planned).info, self._ingest_options()
            made, sha512 = self._secret.stage(planned.plan, description, info, options)
        except (ArchiverError, OSError) as error:
            return _failed(unit, _told(error))
        assert made.staged is not None
        self._staged[made.item.item] = made
        in_order = dict(zip(_in_order_of_plans(unit), sha512, strict=True))
        return Prepared(
            unit=unit,
            item=made.item.item,
            bag=made.path,
            digests=tuple(in_order[index] for index in range(len(sha512))),
            staged=made.staged.path,
            described=planned.side_car.digest,
        )

    def _prepared(self, planned: _Planned, made: StagedItem | ArchiverError) -> Prepared | Failed:
        unit = planned.unit
        if isinstance(made, ArchiverError):
            return _failed(unit, made)
        if made.staged is None:
            digests = _digests_there(made.path, unit)
            if digests is None:
                return Failed(unit=unit, kind="refused", reason=_taken(made.item.item))
            staged = ""
            side_car = self._side_cars.there(made.path, unit, self._options.clock())
        else:
            digests, staged = _digests_staged(made.staged, unit), made.staged.path
            side_car = planned.side_car
        self._staged[made.item.item] = made
        return Prepared(
            unit=unit,
            item=made.item.item,
            bag=made.path,
            digests=digests,
            staged=staged,
            described=side_car.digest,
            note=side_car.note,
        )

    def commit(self, prepared: Sequence[Prepared]) -> list[Done | Failed]:
        """See the protocol."""
        known = [one for one in prepared if one.item in self._staged]
        staged = [self._staged.pop(one.item) for one in known]
        signed = {one.item.item: one.staged.signed_digest for one in staged if one.staged}
        try:
            made = ingest.commit(self._vault, self._case, staged, self._ingest_options(seal=False))
        except (ArchiverError, OSError) as error:
            made = [_told(error)] * len(known)
        for one in known:
            self._secret.close(one.item)
        outcomes = {
            one.item: _failed(one.unit, found)
            if isinstance(found, ArchiverError)
            else _done(one, signed.get(one.item, ""))
            for one, found in zip(known, made, strict=True)
        }
        return [outcomes.get(one.item) or _not_staged(one) for one in prepared]

    def abandon(self, prepared: Sequence[Prepared]) -> None:
        """See the protocol. The numbers stay begun, and are taken up again."""
        found = [self._staged.pop(one.item) for one in prepared if one.item in self._staged]
        ingest.abandon(found)
        for one in prepared:
            self._secret.abandon(one.item, self._ingest_options(seal=False))

    def resume(self, unit: Unit, item: str, digests: Sequence[str], described: str) -> Done | None:
        """See the protocol. Raises ArchiverError where that can't be told now."""
        detail = self._secret.sealed(item, self._ingest_options(seal=False))
        if detail is None:
            return None
        return Done(
            unit=unit,
            item=item,
            bag=self._vault.bag_path(self._case, item),
            digests=tuple(digests),
            tag_manifest_sha512=str(detail.get("tag_manifest_sha512", "")),
            described=described,
        )

    def find(self, unit: Unit) -> Done | None:
        """See the protocol. Raises ArchiverError where that can't be told now."""
        options = self._ingest_options(seal=False)
        try:
            found = ingest.find(self._vault, self._case, unit.key, options)
        except _PAUSING:
            raise
        except ArchiverError:  # it is there, and not intact
            return None
        if found is None:
            return None
        side_car = self._side_cars.there(found.path, unit, self._options.clock())
        return _found(unit, found.item, found.path, side_car)

    def is_proved(self, done: Done, replicas: int) -> bool:
        """See the protocol. What can't be told is not proved."""
        try:
            return self._is_proved(done, replicas)
        except (ArchiverError, OSError):
            return False

    def _is_proved(self, done: Done, replicas: int) -> bool:
        progress = self._options.progress
        with reading(self._vault) as records:
            if self._case in records.broken:
                return False
            item = records.catalog.item(done.item)
        if item is None or item.state != SEALED:
            return False
        if item.detail.get("tag_manifest_sha512") != done.tag_manifest_sha512:
            return False
        if check_copy(self._vault.storage(), item, progress=progress).result is not Result.GOOD:
            return False
        proved = 0
        for place in self._vault.replicas() if replicas else ():
            good = (
                not place.reachable()
                and check_copy(place, item, progress=progress).result is Result.GOOD
            )
            proved += good
        return proved >= replicas

    def hides(self, item: str) -> bool:
        """See the protocol. Raises ArchiverError."""
        return self._secret.is_secret(item)

    def sweep(self) -> None:
        """See the protocol. Raises StorageError."""
        self._secret.settle(self._ingest_options(seal=False))
        ingest.sweep(self._vault, self._case)
        sweep_batches(os.path.join(self._vault.path, "bags"))

    def _ingest_options(self, *, seal: bool = True) -> IngestOptions:
        options = self._options
        create = options.create() if seal else _unsigned(options)
        return IngestOptions(
            create=create, wait_seconds=options.wait_seconds, progress=options.progress
        )


class DirectorySink:
    """Bags in a directory, without a vault. A bag's name comes from its unit alone: the day
    of its newest member, and its key.
    """

    def __init__(self, directory: str, options: SinkOptions) -> None:
        self._directory, self._options = os.path.abspath(directory), options
        self._staged: dict[str, StagedBag | None] = {}
        self._side_cars = SideCars(beat=lambda: options.progress.within(0))

    def problem(self) -> str:
        """See the protocol."""
        if not os.path.isdir(self._directory):
            return _("the directory {path} does not exist").format(path=self._directory)
        return _problem((), self._directory, self._options)

    def path(self, unit: Unit) -> str:
        """Where a unit's bag lies, or will."""
        newest = max(one.fingerprint.mtime_ns for one in unit.members)
        return os.path.join(self._directory, f"{_day(newest)}-{unit.key[:_DIGITS]}")

    def prepare(self, units: Sequence[Unit]) -> list[Prepared | Failed]:
        """See the protocol."""
        making = _Making(self._options.policy, self._side_cars, self._options.clock())
        found = _plan_all(units, f"{self._directory}/new", making)
        planned = [self._there(one) for one in found]
        ready = [one for one in planned if isinstance(one, _Planned)]
        made: Sequence[StagedBag | ArchiverError] = ()
        try:
            if ready:
                create = self._options.create()
                orders = [self._order(one, create) for one in ready]
                made = stage_bags(self._directory, orders, progress=self._options.progress)
        except (ArchiverError, OSError) as error:
            made = [_told(error)] * len(ready)
        outcomes = iter(made)
        return [
            self._prepared(one, next(outcomes)) if isinstance(one, _Planned) else one
            for one in planned
        ]

    def _there(self, planned: _Planned | Failed) -> _Planned | Prepared | Failed:
        """What is under the name of a unit already, made by a run before this one."""
        unit = planned.unit
        path = self.path(unit)
        if isinstance(planned, Failed) or not os.path.lexists(path):
            return planned
        done = self.find(unit)
        name = os.path.basename(path)
        if done is None:
            return Failed(unit=unit, kind="refused", reason=_taken(name))
        self._staged[path] = None
        return Prepared(
            unit=unit,
            item=name,
            bag=path,
            digests=done.digests,
            staged="",
            described=done.described,
            note=done.note,
        )

    def _order(self, planned: _Planned, create: CreateOptions) -> Order:
        source = _source(planned)
        options = replace(
            create,
            identifier=_identifier(planned.unit),
            info=BagInfo((*create.info, *source.info)),
            tag_files=source.tag_files,
        )
        return Order(plan=planned.plan, destination=self.path(planned.unit), options=options)

    def _prepared(self, planned: _Planned, made: StagedBag | ArchiverError) -> Prepared | Failed:
        if isinstance(made, ArchiverError):
            return _failed(planned.unit, made)
        path = made.order.destination
        self._staged[path] = made
        return Prepared(
            unit=planned.unit,
            item=os.path.basename(path),
            bag=path,
            digests=_digests_staged(made, planned.unit),
            staged=made.path,
            described=planned.side_car.digest,
            note=planned.side_car.note,
        )

    def commit(self, prepared: Sequence[Prepared]) -> list[Done | Failed]:
        """See the protocol."""
        staged = {one.bag: self._staged.pop(one.bag) for one in prepared if one.bag in self._staged}
        bags = [one for one in staged.values() if one is not None]
        signed = {one.order.destination: one.signed_digest for one in bags}
        written = dict(zip(signed, commit_bags(bags), strict=True))
        return [
            self._done(one, written.get(one.bag), signed.get(one.bag, ""))
            if one.bag in staged
            else _not_staged(one)
            for one in prepared
        ]

    def _done(self, one: Prepared, outcome: object, signed: str) -> Done | Failed:
        if isinstance(outcome, StorageError):
            return _failed(one.unit, outcome)
        if isinstance(outcome, ArchiverError):  # another run was faster
            return self.find(one.unit) or _failed(one.unit, outcome)
        return _done(one, signed)

    def abandon(self, prepared: Sequence[Prepared]) -> None:
        """See the protocol."""
        found = [self._staged.pop(one.bag, None) for one in prepared]
        discard_bags([one for one in found if one is not None])

    def find(self, unit: Unit) -> Done | None:
        """See the protocol."""
        path = self.path(unit)
        if not os.path.isdir(path) or os.path.islink(path) or not self._is_intact(path, unit):
            return None
        side_car = self._side_cars.there(path, unit, self._options.clock())
        return _found(unit, os.path.basename(path), path, side_car)

    def _is_intact(self, path: str, unit: Unit) -> bool:
        """Whether the bag at ``path`` proves intact, and is that of ``unit``."""
        report = verify_bag(path, progress=self._options.progress)
        good = report.verdict in (Verdict.VALID, Verdict.UNPROVEN)
        return good and report.facts.info.first("External-Identifier") == _identifier(unit)

    def resume(self, *_noted: object) -> None:
        """See the protocol. Nothing is encrypted here: :meth:`find` tells all."""

    def is_proved(self, done: Done, replicas: int) -> bool:
        """See the protocol. A directory has no replicas."""
        if replicas or os.path.islink(done.bag) or not os.path.isdir(done.bag):
            return False
        try:
            report = verify_bag(done.bag, progress=self._options.progress)
        except (ArchiverError, OSError):
            return False
        good = report.verdict in (Verdict.VALID, Verdict.UNPROVEN)
        same = report.facts.signed_digest == done.tag_manifest_sha512
        return good and same and not report.findings.has("E-SIG-002")

    def hides(self, _item: str) -> bool:
        """See the protocol. Nothing is secret here."""
        return False

    def sweep(self) -> None:
        """See the protocol. Raises StorageError."""
        sweep_batches(self._directory)


def _unsigned(options: SinkOptions) -> CreateOptions:
    """For what makes no bags: no key is asked for."""
    return CreateOptions(
        policy=options.policy, now=options.clock(), identifier="", workers=options.workers
    )


def _problem(places: Iterable[str], disk: str, options: SinkOptions) -> str:
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
class _Planned:
    """A unit that is as it was when it was settled."""

    unit: Unit
    plan: Plan
    side_car: SideCar


@dataclass(frozen=True, slots=True)
class _Making:
    """What holds for all units that are planned together."""

    policy: Policy
    side_cars: SideCars
    now: datetime


def _plan_all(units: Sequence[Unit], bag: str, making: _Making) -> list[_Planned | Failed]:
    """Each unit planned, or what stands against it. One that is asked for twice is made once."""
    met: set[str] = set()
    planned: list[_Planned | Failed] = []
    for unit in units:
        if unit.key in met:
            reason = _("it is being archived already")
            planned.append(Failed(unit=unit, kind="changed", reason=reason))
        else:
            planned.append(_plan(unit, bag, making))
        met.add(unit.key)
    return planned


def _plan(unit: Unit, bag: str, making: _Making) -> _Planned | Failed:
    if not _is_same(unit):
        return _changed(unit)
    try:
        side_car = making.side_cars.of(unit, making.now)
        if side_car.held:
            return Failed(unit=unit, kind="refused", reason=side_car.held)
        names = tuple(os.fsdecode(one.path) for one in unit.members)
        plan = plan_sources(FileList(os.fsdecode(unit.root), names), bag, _PLAN)
        if side_car.secret is None:
            refuse_plain(plan, making.policy)
    except OSError as error:
        reason = _("its description can't be read: {reason}").format(reason=error.strerror)
        return Failed(unit=unit, kind="refused", reason=reason)
    except PlainSourceError as error:
        return Failed(unit=unit, kind="refused", reason=error.reason)
    except ArchiverError as error:
        return _failed(unit, error)
    if not _plans_the_same(plan, unit):
        return _changed(unit)
    return _Planned(unit=unit, plan=plan, side_car=side_car)


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


def _source(planned: _Planned) -> Source:
    unit = planned.unit
    follows = ((FOLLOWS, unit.follows),) if unit.follows else ()
    tag_files = planned.side_car.files
    return Source(key=unit.key, plan=planned.plan, info=BagInfo(follows), tag_files=tag_files)


# -- what became of them


def _changed(unit: Unit) -> Failed:
    return Failed(unit=unit, kind="changed", reason=_("it changed, or went away"))


def _not_staged(one: Prepared) -> Failed:
    return Failed(unit=one.unit, kind="changed", reason=_("it is not staged any more"))


def _taken(name: str) -> str:
    return _("something else lies in the place of {name}, or it is not intact").format(name=name)


def _failed(unit: Unit, error: ArchiverError) -> Failed:
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
    kind = "sink" if isinstance(error, _PAUSING) else "refused"
    return Failed(unit=unit, kind=kind, reason=error.message)


def _told(error: ArchiverError | OSError) -> ArchiverError:
    """What keeps a whole batch from being made."""
    return error if isinstance(error, ArchiverError) else storage_error(error, "")


def _reason(error: ArchiverError) -> str:
    if isinstance(error, UnwantedError):
        return error.reason
    findings = getattr(error, "findings", None)
    if findings is not None:  # the plan's; their paths are left out
        return "; ".join(dict.fromkeys(f"{_(one.message)} ({one.code})" for one in findings))
    return _("it can't be read")


def _done(one: Prepared, signed: str) -> Done:
    return Done(
        unit=one.unit,
        item=one.item,
        bag=one.bag,
        digests=one.digests,
        tag_manifest_sha512=signed or _signed_digest(one.bag),
        described=one.described,
        note=one.note,
    )


def _found(unit: Unit, item: str, path: str, side_car: SideCar) -> Done | None:
    """A bag that was verified, as what was made of ``unit``; None where it wasn't."""
    digests, signed = _digests_there(path, unit), _signed_digest(path)
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


def _identifier(unit: Unit) -> str:
    """A URI that is the same for the same unit, and tells nothing of it."""
    state = hashlib.sha256(b"archiver/watch/1\0" + unit.key.encode()).digest()
    return uuid.UUID(bytes=state[:16], version=5).urn


def _day(mtime_ns: int) -> str:
    try:
        return datetime.fromtimestamp(mtime_ns // 1_000_000_000, UTC).strftime("%Y%m%d")
    except (ValueError, OverflowError, OSError):
        return "00000000"


def _digests_staged(staged: StagedBag, unit: Unit) -> tuple[str, ...]:
    found = staged.digests()
    return tuple(found[os.fsdecode(one.path)] for one in unit.members)


def _digests_there(bag: str, unit: Unit) -> tuple[str, ...] | None:
    """The digests of a finished bag in the order of the unit's members; None where it was
    made of others. Bags list files as plans do: by directory, then by name.
    """
    order = _in_order_of_plans(unit)
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


def _in_order_of_plans(unit: Unit) -> list[int]:
    """The indices of the members in the order in which a plan lists them."""
    paths = [os.fsdecode(one.path) for one in unit.members]
    by_path = sorted(range(len(paths)), key=paths.__getitem__)

    def directory(index: int) -> str:
        return paths[index].rpartition("/")[0]

    return sorted(by_path, key=directory)
