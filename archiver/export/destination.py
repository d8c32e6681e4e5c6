"""Where an export is put: a place that may be written to, and the receipt beside it.

Job: refuse places in which an export would do harm; the files beside the destination. Limits:
the export itself is staged and moved by the workflow.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from archiver.bag.stage import refuse_existing, refuse_within_bag
from archiver.errors import DestinationError, FormatError, storage_error
from archiver.filesystem import (
    RenameFallback,
    read_regular,
    rename_no_replace,
    sync_directory,
    write_new_file,
)
from archiver.i18n import _
from archiver.pki.cms import MAX_CMS_BYTES
from archiver.receipt import Receipt, parse_receipt
from archiver.receipts import is_kept, kept_signature
from archiver.vault import Vault

__all__ = ["Beside", "check_destination"]

_RECEIPT_ENDING = ".receipt.txt"
_AMENDMENTS_ENDING = ".amendments"
_LONGEST_ENDING = len(f"{_RECEIPT_ENDING}.{'0' * 16}.p7s")
_LONGEST_NAME = 255
"""In bytes, on every file system that is common."""


def check_destination(vault: Vault, destination: str) -> None:
    """Raises DestinationError where nothing must be put."""
    refuse_existing(destination)
    refuse_within_bag(destination)
    for place in (vault.path, *(one.directory for one in vault.replicas())):
        if _lies_in(destination, place):
            raise DestinationError(
                _("{path} lies in the vault, or in a replica").format(path=destination),
                hint=_("Choose another destination: a stick, say."),
            )
    if len(os.fsencode(os.path.basename(destination))) + _LONGEST_ENDING > _LONGEST_NAME:
        raise DestinationError(
            _("{path}: the name is too long for a receipt beside it").format(path=destination),
            hint=_("Choose a shorter name."),
        )


def _lies_in(path: str, place: str) -> bool:
    """Whether ``path`` lies in ``place``, by whichever links and mounts lead there."""
    if not os.path.isdir(place):
        return False
    inside, wanted = os.path.realpath(os.path.dirname(path)), os.stat(place)
    while True:
        if os.path.samestat(os.stat(inside), wanted):
            return True
        inside, before = os.path.dirname(inside), inside
        if inside == before:
            return False


class Beside:
    """The receipt and its signatures beside the destination, and the item's ``amendments``,
    by the names of their files. What is there must be what an export left that was killed:
    the vault keeps the same, so that nothing is lost.
    """

    def __init__(
        self,
        vault: Vault,
        case: str,
        destination: str,
        amendments: Mapping[str, bytes] | None = None,
    ) -> None:
        self.path = destination + _RECEIPT_ENDING
        self.amendments_path = destination + _AMENDMENTS_ENDING
        self.amendments = dict(amendments or {})
        self._vault, self._case = vault, case
        self._left()  # what can't go is told before the long part
        self._made: list[str] = []

    def signature_path(self, fingerprint: str) -> str:
        """Where a signature over the receipt is put."""
        return f"{self.path}.{fingerprint[:16]}.p7s"

    def _left(self) -> list[str]:
        """What is there and may go, in the order in which it may. Raises DestinationError for
        the rest.
        """
        return [*self._left_amendments(), *self._left_receipt()]

    def _left_amendments(self) -> Iterator[str]:
        """Files of ours in a directory of ours, then the directory."""
        path = self.amendments_path
        if not os.path.lexists(path):
            return
        if not self.amendments or os.path.islink(path) or not os.path.isdir(path):
            raise _in_the_way(path)
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            raise storage_error(error, path) from error
        for name in names:
            ours = self.amendments.get(name)
            if ours is None or _content(os.path.join(path, name)) != ours:
                raise _in_the_way(os.path.join(path, name))
        yield from (os.path.join(path, name) for name in names)
        yield path

    def _left_receipt(self) -> Iterator[str]:
        """Signatures of ours, then the text."""
        directory, name = os.path.split(self.path)
        try:
            found = [one for one in os.listdir(directory) if one.startswith(f"{name}.")]
        except OSError as error:
            raise storage_error(error, directory) from error
        receipt = self._kept_text()
        for one in found:
            path = os.path.join(directory, one)
            ending = one.removeprefix(name)
            kept = kept_signature(self._vault, receipt, ending) if receipt else b""
            if not kept or _content(path) != kept:
                raise _in_the_way(path)
            yield path
        if receipt:
            yield self.path

    def _kept_text(self) -> Receipt | None:
        if not os.path.lexists(self.path):
            return None
        try:
            receipt = parse_receipt(_content(self.path) or b"")
        except FormatError as error:
            raise _in_the_way(self.path) from error
        if receipt.case != self._case or not is_kept(self._vault, receipt):
            raise _in_the_way(self.path)
        return receipt

    def write(self, receipt: Receipt, signatures: Mapping[str, bytes], staging: str) -> None:
        """Put them there, the text last, each in one rename from the directory ``staging``.
        Raises DestinationError, StorageError.
        """
        files = {self.signature_path(one): data for one, data in signatures.items()}
        files[self.path] = receipt.text()
        left, path = self._left(), self.path
        try:
            for path in left:
                (os.rmdir if os.path.isdir(path) else os.unlink)(path)
            path = self.amendments_path
            self._write_amendments(staging)
            for path, data in files.items():
                staged = os.path.join(staging, f"{len(self._made)}.receipt")
                write_new_file(staged, data, 0o644)
                with contextlib.suppress(RenameFallback):
                    rename_no_replace(staged, path)
                self._made.append(path)
            sync_directory(os.path.dirname(self.path))
        except FileExistsError as error:
            raise _in_the_way(path) from error
        except OSError as error:
            raise storage_error(error, path) from error

    def _write_amendments(self, staging: str) -> None:
        if not self.amendments:
            return
        staged = os.path.join(staging, "amendments")
        os.mkdir(staged, 0o700)
        for name, data in self.amendments.items():
            write_new_file(os.path.join(staged, name), data, 0o644)
        with contextlib.suppress(RenameFallback):
            rename_no_replace(staged, self.amendments_path)
        os.chmod(self.amendments_path, 0o755)  # noqa: S103  # its receiver is somebody else
        self._made += [os.path.join(self.amendments_path, name) for name in self.amendments]
        self._made.append(self.amendments_path)

    def take_away(self) -> None:
        """Remove what was put there, as far as that can be done."""
        for path in self._made:
            with contextlib.suppress(OSError):
                (os.rmdir if os.path.isdir(path) else os.unlink)(path)


def _content(path: str) -> bytes | None:
    """What a file holds, as far as it can be ours; None where it can't be read."""
    try:
        return read_regular(path, MAX_CMS_BYTES + 1)
    except OSError:
        return None


def _in_the_way(path: str) -> DestinationError:
    return DestinationError(
        _("{path} exists already").format(path=path),
        hint=_("Nothing is ever replaced: choose another name, or move it away yourself."),
    )
