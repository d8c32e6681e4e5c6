"""Where settled files go: into a vault, or as bags into a directory.

Job: the :class:`~archiver.watch.model.Sink` protocol, twice. Limits: the order in which a
kill loses nothing is that of :mod:`archiver.ingest.batch` and :mod:`archiver.seal.batch`;
what was asked for is remembered by who calls; what both share is in
:mod:`archiver.watch.planning`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from archiver.bag.model import BagInfo
from archiver.bag.stage import sweep_batches
from archiver.catalog.model import SEALED
from archiver.describe import Description
from archiver.errors import (
    ArchiverError,
    StorageError,
)
from archiver.fixity import Result, check_copy
from archiver.i18n import _
from archiver.ingest import Ingested
from archiver.ingest import batch as ingest
from archiver.ingest.batch import StagedItem
from archiver.ingest.derivations import unknown_items
from archiver.ingest.numbers import IngestOptions
from archiver.seal import CreateOptions
from archiver.seal.batch import Order, StagedBag, commit_bags, discard_bags, stage_bags
from archiver.vault import Vault
from archiver.vault.records import reading
from archiver.verify import Verdict, verify_bag
from archiver.watch.described import SideCars
from archiver.watch.model import Done, Failed, Prepared, Unit
from archiver.watch.planning import (
    PAUSING,
    Making,
    Planned,
    SinkOptions,
    day_of,
    digests_staged,
    digests_there,
    done_of,
    failed,
    found_as,
    identifier_of,
    in_order_of_plans,
    not_staged,
    plan_all,
    source_of,
    taken,
    told_error,
    unsigned,
    why_not,
)
from archiver.watch.secret import SecretItems, has_readers

__all__ = ["DirectorySink", "SinkOptions", "VaultSink"]

_DIGITS = 12


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
        return why_not((logs, catalog), self._bags(), self._options)

    def _bags(self) -> str:
        """Where the case's bags lie, or the directory that theirs will be made in."""
        own = os.path.dirname(self._vault.bag_path(self._case, "any"))
        return own if os.path.isdir(own) else os.path.dirname(own)

    def prepare(self, units: Sequence[Unit]) -> list[Prepared | Failed]:
        """See the protocol."""
        bag, now = self._vault.bag_path(self._case, "new"), self._options.clock()
        planned = plan_all(units, bag, Making(self._options.policy, self._side_cars, now))
        ready = [one for one in planned if isinstance(one, Planned) and not one.side_car.secret]
        try:
            sources = [source_of(one) for one in ready]
            options = self._ingest_options()
            made = ingest.prepare(
                self._vault, self._case, sources, options, progress=self._options.progress
            )
        except (ArchiverError, OSError) as error:
            made = [told_error(error)] * len(ready)
        outcomes = iter(made)
        return [
            one
            if isinstance(one, Failed)
            else self._prepared_secret(one, one.side_car.secret)
            if one.side_car.secret
            else self._prepared(one, next(outcomes))
            for one in planned
        ]

    def _prepared_secret(self, planned: Planned, description: Description) -> Prepared | Failed:
        """Encrypted and staged, by itself."""
        unit = planned.unit
        try:
            info, options = source_of(planned).info, self._ingest_options()
            made, sha512 = self._secret.stage(planned.plan, description, info, options)
        except (ArchiverError, OSError) as error:
            return replace(failed(unit, told_error(error)), secret=True)
        assert made.staged is not None
        self._staged[made.item.item] = made
        in_order = dict(zip(in_order_of_plans(unit), sha512, strict=True))
        return Prepared(
            unit=unit,
            item=made.item.item,
            bag=made.path,
            digests=tuple(in_order[index] for index in range(len(sha512))),
            staged=made.staged.path,
            described=planned.side_car.digest,
            secret=True,
        )

    def _prepared(self, planned: Planned, made: StagedItem | ArchiverError) -> Prepared | Failed:
        unit = planned.unit
        if isinstance(made, ArchiverError):
            return failed(unit, made)
        if made.staged is None:
            digests = digests_there(made.path, unit)
            if digests is None:
                return Failed(unit=unit, kind="refused", reason=taken(made.item.item))
            staged = ""
            side_car = self._side_cars.there(made.path, unit, self._options.clock())
        else:
            digests, staged = digests_staged(made.staged, unit), made.staged.path
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
            made = [told_error(error)] * len(known)
        outcomes = {
            one.item: self._outcome(one, found, signed.get(one.item, ""))
            for one, found in zip(known, made, strict=True)
        }
        return [outcomes.get(one.item) or not_staged(one) for one in prepared]

    def _outcome(
        self, one: Prepared, found: Ingested | ArchiverError, signed: str
    ) -> Done | Failed:
        if not isinstance(found, ArchiverError):
            self._secret.close(one.item)
            return done_of(one, signed)
        if not one.secret:
            return failed(one.unit, found)
        # Its bag may be there, under a number that is begun: whatever it was, the journal's
        # own record of the item is what tells, so the unit waits for :meth:`resume`.
        self._secret.leave(one.item)
        return replace(failed(one.unit, found), kind="sink", secret=True)

    def abandon(self, prepared: Sequence[Prepared]) -> None:
        """See the protocol. The numbers stay begun, and are taken up again; those of what is
        secret are withdrawn.
        """
        found = [self._staged.pop(one.item) for one in prepared if one.item in self._staged]
        ingest.abandon(found)
        for one in prepared:
            self._secret.abandon(one.item, self._ingest_options(seal=False))

    def resume(self, unit: Unit, item: str, digests: Sequence[str], described: str) -> Done | None:
        """See the protocol. Raises ArchiverError where that can't be told now."""
        try:
            detail = self._secret.sealed(item, self._ingest_options(seal=False))
        except PAUSING:
            raise
        except ArchiverError:  # it is there, and not intact
            return None
        if detail is None:
            return None
        return Done(
            unit=unit,
            item=item,
            bag=self._vault.bag_path(self._case, item),
            digests=tuple(digests),
            tag_manifest_sha512=str(detail.get("tag_manifest_sha512", "")),
            described=described,
            secret=True,
        )

    def find(self, unit: Unit) -> Done | None:
        """See the protocol. Raises ArchiverError where that can't be told now."""
        options = self._ingest_options(seal=False)
        try:
            found = ingest.find(self._vault, self._case, unit.key, options)
        except PAUSING:
            raise
        except ArchiverError:  # it is there, and not intact
            return None
        if found is None:
            return None
        side_car = self._side_cars.there(found.path, unit, self._options.clock())
        return found_as(unit, found.item, found.path, side_car)

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

    def sweep(self) -> None:
        """See the protocol. Raises StorageError."""
        self._secret.settle(self._ingest_options(seal=False))
        ingest.sweep(self._vault, self._case)
        sweep_batches(os.path.join(self._vault.path, "bags"))

    def _ingest_options(self, *, seal: bool = True) -> IngestOptions:
        options = self._options
        create = options.create() if seal else unsigned(options)
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
        return why_not((), self._directory, self._options)

    def path(self, unit: Unit) -> str:
        """Where a unit's bag lies, or will."""
        newest = max(one.fingerprint.mtime_ns for one in unit.members)
        return os.path.join(self._directory, f"{day_of(newest)}-{unit.key[:_DIGITS]}")

    def prepare(self, units: Sequence[Unit]) -> list[Prepared | Failed]:
        """See the protocol."""
        making = Making(self._options.policy, self._side_cars, self._options.clock())
        found = plan_all(units, f"{self._directory}/new", making)
        planned = [self._there(one) for one in found]
        ready = [one for one in planned if isinstance(one, Planned)]
        made: Sequence[StagedBag | ArchiverError] = ()
        try:
            if ready:
                create = self._options.create()
                orders = [self._order(one, create) for one in ready]
                made = stage_bags(self._directory, orders, progress=self._options.progress)
        except (ArchiverError, OSError) as error:
            made = [told_error(error)] * len(ready)
        outcomes = iter(made)
        return [
            self._prepared(one, next(outcomes)) if isinstance(one, Planned) else one
            for one in planned
        ]

    def _there(self, planned: Planned | Failed) -> Planned | Prepared | Failed:
        """What is under the name of a unit already, made by a run before this one."""
        unit = planned.unit
        path = self.path(unit)
        if isinstance(planned, Failed) or not os.path.lexists(path):
            return planned
        done = self.find(unit)
        name = os.path.basename(path)
        if done is None:
            return Failed(unit=unit, kind="refused", reason=taken(name))
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

    def _order(self, planned: Planned, create: CreateOptions) -> Order:
        source = source_of(planned)
        options = replace(
            create,
            identifier=identifier_of(planned.unit),
            info=BagInfo((*create.info, *source.info)),
            tag_files=source.tag_files,
        )
        return Order(plan=planned.plan, destination=self.path(planned.unit), options=options)

    def _prepared(self, planned: Planned, made: StagedBag | ArchiverError) -> Prepared | Failed:
        if isinstance(made, ArchiverError):
            return failed(planned.unit, made)
        path = made.order.destination
        self._staged[path] = made
        return Prepared(
            unit=planned.unit,
            item=os.path.basename(path),
            bag=path,
            digests=digests_staged(made, planned.unit),
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
            else not_staged(one)
            for one in prepared
        ]

    def _done(self, one: Prepared, outcome: object, signed: str) -> Done | Failed:
        if isinstance(outcome, StorageError):
            return failed(one.unit, outcome)
        if isinstance(outcome, ArchiverError):  # another run was faster
            return self.find(one.unit) or failed(one.unit, outcome)
        return done_of(one, signed)

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
        return found_as(unit, os.path.basename(path), path, side_car)

    def _is_intact(self, path: str, unit: Unit) -> bool:
        """Whether the bag at ``path`` proves intact, and is that of ``unit``."""
        report = verify_bag(path, progress=self._options.progress)
        good = report.verdict in (Verdict.VALID, Verdict.UNPROVEN)
        return good and report.facts.info.first("External-Identifier") == identifier_of(unit)

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

    def sweep(self) -> None:
        """See the protocol. Raises StorageError."""
        sweep_batches(self._directory)
