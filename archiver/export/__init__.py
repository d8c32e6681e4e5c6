"""Bags are handed out: a copy of an item that is proved good, with a receipt.

Job: the workflow: a good copy, the export, what the log says of it, in an order in which no
export can be in anybody's hands that the log doesn't know. Limits: sends nothing; the vault's
bags are only read.

0. What a witness has withdrawn is not handed out (:mod:`archiver.consent`); this is asked once
   more in step 3, and whether anything was amended since.
1. A copy is read in full and found to be what was sealed: the vault's own, else a replica.
2. It is written to hidden staging beside the destination, synced, read back, and compared
   with what the log kept at the sealing.
3. The receipt is kept in the vault, then the export is in the log.
4. The item's amendments appear beside the destination in a directory of their own, then the
   receipt, then the export itself, in one rename each.

A kill before 3 leaves nothing but hidden staging, which the next export to the same place
removes. A kill between 3 and 4 leaves a receipt for an export that never appeared: it stays
open in the log, which is harmless; its text beside the destination gives way to the next.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from archiver.bag.pack import list_entries, pack_directory, pack_tar, pack_zip
from archiver.bag.progress import Progress, Silent
from archiver.bag.stage import Staging
from archiver.catalog.model import SEALED, Amended, Item
from archiver.consent import Permission, refuse_without
from archiver.describe import DESCRIPTION_PATH, Description
from archiver.describe.amendment import SEALED_ENDING, fold_amendments
from archiver.errors import (
    ArchiverError,
    DestinationError,
    FormatError,
    LogError,
    NoIntactReplicaError,
    NotFoundError,
    SourceError,
    StorageError,
    VaultError,
    storage_error,
)
from archiver.export.destination import Beside, check_destination
from archiver.filesystem import RenameFallback, rename_no_replace, sync_directory, sync_tree
from archiver.fixity import Result, check_copy, judge, look_at
from archiver.i18n import _
from archiver.pki.keyring import SigningKey
from archiver.receipt import Archive, Receipt, check_purpose
from archiver.receipts import exporting, keep_receipt, withdrawing
from archiver.signing import sign_manifest
from archiver.storage import Storage
from archiver.vault import Vault
from archiver.vault.amendments import amendments_told, files_of, read_record
from archiver.vault.records import writing
from archiver.vault.sealed import refuse_changed
from archiver.verify import VerifyOptions, verify_bag

__all__ = ["ExportRequest", "Exported", "export", "form_of"]

_RECORD = ".json"
_PACK = {"tar": pack_tar, "zip": pack_zip}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """How an item is to be handed out: ``receipt`` is the receipt's identifier, 32
    hexadecimal digits by chance; ``signers`` sign it for the house; ``permission`` says why a
    statement may be; ``amendments`` are those from which that was decided, as the log told them
    (None: those that it tells when the export begins).
    """

    form: str
    receipt: str
    purpose: str = ""
    amendments: Sequence[Amended] | None = None
    signers: tuple[SigningKey, ...] = ()
    permission: Permission | None = None
    wait_seconds: float = 60.0
    workers: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was handed out, and the receipt that lies beside it; ``source`` is the name of
    the replica that it was copied from, "" for the vault's own copy; ``amendments`` where
    these lie, "" where there are none.
    """

    path: str
    receipt: Receipt
    receipt_path: str
    signatures: tuple[str, ...]
    source: str
    amendments: str = ""


def form_of(destination: str) -> str:
    """The form that a destination's ending asks for."""
    ending = os.path.splitext(destination)[1].lower()
    return {".tar": "tar", ".zip": "zip"}.get(ending, "directory")


def export(
    vault: Vault,
    item: Item,
    destination: str,
    request: ExportRequest,
    clock: Callable[[], datetime],
    *,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _text: None,
) -> Exported:
    """Hand ``item`` out at ``destination``, which must not exist. ``clock`` gives aware times;
    ``say`` hears of copies that are not good, or can't be reached.

    Raises ArchiverError; then nothing was handed out, and nothing is left but, where it was in
    the log already, an event there that says so. (Where the very last step, the sync of the
    directory, fails, it is handed out and the error says so.)
    """
    destination = os.path.abspath(destination)
    known = request.amendments
    if known is None:
        known = amendments_told(vault, item)
    run = _Run(vault, item, request, known, progress or Silent(), say)
    sealed = run.sealed_digest()
    check_purpose(request.purpose)
    refuse_without(vault, item, request.permission)
    staging = Staging(destination, "export")
    try:
        check_destination(vault, destination)
        beside = Beside(vault, item.case, destination, run.amendments())
    except DestinationError:
        staging.sweep()
        raise
    staging.open()
    try:
        source = run.good_copy()
        copied = source.path(item.case, item.item)
        run.check_history(copied, beside.amendments)
        staged, mode = run.stage(staging, copied)
        run.read_back(staged)
        receipt = run.receipt(sealed, staged, clock().replace(microsecond=0))
        signatures = _sign(receipt, request)
        run.write_down(receipt, signatures)

        with run.withdrawn_unless_gone(staged, receipt, beside):
            beside.write(receipt, signatures, staging.path)
            _appear(staged, destination, mode)
    finally:
        staging.discard()
    return Exported(
        path=destination,
        receipt=receipt,
        receipt_path=beside.path,
        signatures=tuple(beside.signature_path(one) for one in signatures),
        source=source.name,
        amendments=beside.amendments_path if beside.amendments else "",
    )


def _sign(receipt: Receipt, request: ExportRequest) -> dict[str, bytes]:
    """The house's signatures, by the fingerprints of their certificates."""
    return {
        one.certificate.fingerprint: sign_manifest(receipt.text(), one, receipt.at)
        for one in request.signers
    }


@dataclass(frozen=True, slots=True)
class _Run:
    """One export while it is made."""

    vault: Vault
    item: Item
    request: ExportRequest
    known: Sequence[Amended]
    progress: Progress
    say: Callable[[str], None]

    def sealed_digest(self) -> str:
        """What the log kept when the item was sealed."""
        item = self.item
        if item.state != SEALED:
            raise NotFoundError(
                _("{item} has no bag: it was never sealed").format(item=item.item),
                hint=_("See 'archiver show {item}'.").format(item=item.item),
            )
        refuse_changed(self.vault, [item])
        digest = item.detail.get("tag_manifest_sha512")
        if not isinstance(digest, str) or len(digest) != 128:
            raise LogError(
                _("{path}: the log doesn't say which bag was sealed").format(
                    path=self.vault.log_path(item.case)
                ),
                hint=_("See 'archiver events verify'."),
            )
        return digest

    def amendments(self) -> dict[str, bytes]:
        """The records of the item and their signatures, by the names of their files, as the
        log tells them: the vault's own, else a replica's. Raises NoIntactReplicaError.
        """
        wanted = {name: digest for one in self.known for name, digest in files_of(one).items()}
        if not wanted:
            return {}
        found, places = dict[str, bytes](), list(self._places())
        for name, digest in wanted.items():
            for place in places:
                with contextlib.suppress(FormatError):
                    found[os.path.basename(name)] = read_record(place.file_path(name), digest)
                    break
            else:
                raise NoIntactReplicaError(
                    _("{name} is not intact anywhere; nothing was handed out").format(name=name),
                    hint=_("See 'archiver events verify' and 'archiver repair'."),
                )
        return found

    def check_history(self, copied: str, amendments: Mapping[str, bytes]) -> None:
        """Whether what was amended follows, step by step, what the bag at ``copied`` says: a log
        that was computed anew could have put records in another order. Of those that are
        encrypted only who has a key can tell. Raises FormatError.
        """
        records = [data for name, data in sorted(amendments.items()) if name.endswith(_RECORD)]
        if not records or any(name.endswith(SEALED_ENDING) for name in amendments):
            return
        digest, first = str(self.item.description.get("sha256", "")), None
        if digest:
            path = os.path.join(copied, *DESCRIPTION_PATH.split("/"))
            first = Description.parse(read_record(path, digest))
        problem = fold_amendments(self.item.item, first, digest, records).problem
        if problem:
            raise FormatError(
                _("{item}: {problem}; nothing was handed out").format(
                    item=self.item.item, problem=problem
                ),
                hint=_("See 'archiver events verify'."),
            )

    def good_copy(self) -> Storage:
        """The first copy that is what was sealed. Raises NoIntactReplicaError."""
        item = self.item
        for place in self._places():
            checked = check_copy(place, item, workers=self.request.workers, progress=self.progress)
            if checked.result is Result.GOOD and self._is_plain(checked.path):
                return place
            text = _("{item} ({place}) is not good, and was not taken; see 'archiver audit'")
            self.say(text.format(item=item.item, place=place.name or _("the vault's own")))
        raise NoIntactReplicaError(
            _("no copy of {item} is intact; nothing was handed out").format(item=item.item),
            hint=_("Bring the replicas that can't be reached now, and see 'archiver audit'."),
        )

    def _places(self) -> Iterator[Storage]:
        yield self.vault.storage()
        for place in self.vault.replicas():
            problem = place.reachable()
            if problem:
                self.say(f"{place.name}: {problem}")
            else:
                yield place

    def _is_plain(self, path: str) -> bool:
        """Whether there is nothing in the copy that can't be handed out: links, devices."""
        try:
            for _entry in list_entries(path):
                pass
        except SourceError as error:
            self.say(error.message)
            return False
        return True

    def stage(self, staging: Staging, source: str) -> tuple[str, int | None]:
        """Write the export where nobody sees it, durable; its path, and the mode that it is
        to have once it was renamed, if that is another one.
        """
        name, form = self.item.item, self.request.form
        try:
            if form == "directory":
                pack_directory(source, staging.bag, self.progress)
                sync_tree(staging.bag)
                return staging.bag, stat.S_IMODE(os.lstat(source).st_mode)
            staged = os.path.join(staging.path, f"{name}.{form}")
            _PACK[form](source, staged, name, self.progress)
            os.chmod(staged, 0o644)
            sync_directory(staging.path)
        except OSError as error:
            raise storage_error(error, staging.destination) from error
        return staged, None

    def read_back(self, staged: str) -> None:
        """Whether what was written is what was sealed, to the byte."""
        workers = self.request.workers
        if self.request.form == "directory":
            found, _findings = look_at(staged, self.item, workers=workers, progress=self.progress)
        else:
            report = verify_bag(staged, VerifyOptions(workers=workers), progress=self.progress)
            found, _findings = judge(report, self.item)
        if found is not Result.GOOD:
            raise StorageError(
                _("what was written to {path} can't be read back").format(path=staged),
                hint=_(
                    "The disk or the memory is failing, or its names don't go into this form:"
                    " try another form, disk or machine."
                ),
            )

    def receipt(self, sealed: str, staged: str, now: datetime) -> Receipt:
        """The receipt for what was staged."""
        try:
            return Receipt(
                vault=self.vault.identifier,
                identifier=self.request.receipt,
                item=self.item.item,
                form=self.request.form,
                at=now,
                tag_manifest_sha512=sealed,
                archive=_archive(staged),
                purpose=check_purpose(self.request.purpose),
                consent=self.request.permission.line() if self.request.permission else "",
            )
        except ValueError as error:
            raise VaultError(
                _("the vault's identifier or the item's name can't stand in a receipt"),
                hint=_("Was vault.toml edited? Put it back from a copy."),
            ) from error

    def write_down(self, receipt: Receipt, signatures: Mapping[str, bytes]) -> None:
        """Keep the receipt, then say in the log that the item is handed out."""
        case = self.item.case
        with writing(self.vault, f"export {case}", self.request.wait_seconds) as records:
            if case in records.broken:
                raise records.broken[case]
            permission = self.request.permission
            refuse_without(self.vault, self.item, permission)  # withdrawn since it began
            self._refuse_amended()
            keep_receipt(self.vault, receipt, signatures)
            told = permission.detail() if permission else None
            records.append(case, [exporting(receipt, list(signatures), receipt.at, told)])

    def _refuse_amended(self) -> None:
        """What was learnt since it began goes with it, and may have taken consent back."""
        now = amendments_told(self.vault, self.item)
        if [one.sha256 for one in now] != [one.sha256 for one in self.known]:
            raise VaultError(
                _("{item} was amended meanwhile; nothing was handed out").format(
                    item=self.item.item
                ),
                hint=_("Begin again: what was learnt goes with it."),
            )

    @contextlib.contextmanager
    def withdrawn_unless_gone(
        self, staged: str, receipt: Receipt, beside: Beside
    ) -> Iterator[None]:
        """Where the export didn't leave its staging, nothing of it stays, and the log says so."""
        try:
            yield
        except BaseException:
            if os.path.lexists(staged):
                beside.take_away()
                wait, case = self.request.wait_seconds, self.item.case
                with (
                    contextlib.suppress(ArchiverError),  # what came first has to be told
                    writing(self.vault, f"export {case}", wait) as records,
                ):
                    records.append(case, [withdrawing(receipt, receipt.at)])
            raise


def _archive(staged: str) -> Archive | None:
    """The digest of the one file, read from the disk again."""
    if os.path.isdir(staged):
        return None
    try:
        with open(staged, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return Archive(digest, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise storage_error(error, staged) from error


def _appear(staged: str, destination: str, mode: int | None) -> None:
    """Let it be seen, replacing nothing. A directory has to be writable to be renamed: then
    it gets its ``mode``.
    """
    try:
        with contextlib.suppress(RenameFallback):
            rename_no_replace(staged, destination)
    except FileExistsError as error:
        raise DestinationError(_("{path} exists already").format(path=destination)) from error
    except OSError as error:
        raise storage_error(error, destination) from error
    try:
        if mode is not None:
            os.chmod(destination, mode)
        sync_directory(os.path.dirname(destination))
    except OSError as error:
        raise StorageError(
            _("{path} was handed out, and it is not certain that it is on the disk").format(
                path=destination
            ),
            hint=_("Check it with 'archiver bag verify'."),
        ) from error
