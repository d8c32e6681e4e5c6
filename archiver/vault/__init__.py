"""A vault: a directory in which sealed bags are kept, readable without us (docs/vault.md).

Job: make and open one, its lock, its paths. Limits: what happens to its items is told in
:mod:`archiver.vault.log`; workflows stand above.

::

    VAULT/
      vault.toml             identifier, layout, policy
      replicas.json          where else copies are kept
      bags/<case>/<item>/    sealed bags: the truth
      custody/<case>.jsonl   what happened: hash-chained, allots the numbers
      custody/checkpoints/   the state of all logs at a moment, signed
      amendments/<item>/     what was learnt later of an item: signed records
      catalog.sqlite         an index of it all, made again from the logs
      catalog.search.sqlite  an index of the words of descriptions, made again from these
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from archiver.catalog.model import CASE
from archiver.errors import (
    AlreadyExistsError,
    LockedError,
    NotFoundError,
    UsageError,
    VaultError,
    storage_error,
)
from archiver.filesystem import (
    NETWORK_TYPES,
    file_system_type,
    read_regular,
    replace_file,
    write_new_file,
)
from archiver.i18n import _
from archiver.storage.local import MARK_FILE, LocalStorage
from archiver.tomlfile import TomlText

__all__ = ["CASE", "CUSTODY", "Vault", "check_case", "create_vault", "open_vault"]

CONFIG_FILE = "vault.toml"
LAYOUT = 1
BAGS, CUSTODY = "bags", "custody"
CATALOG_FILE = "catalog.sqlite"
_IDENTIFIER = re.compile(r"[!-~]{1,200}")
_LOCK_FILE, _COPYING_FILE, _ASKING_FILE = ".lock", ".copying.lock", ".asking.lock"
_REPLICAS_FILE = "replicas.json"
_POLL_SECONDS = 0.1
_MAX_CONFIG_BYTES = 1 << 16


class OwnStorage(LocalStorage):
    """The vault itself: it needs no mark, it was opened."""

    __slots__ = ()

    def reachable(self) -> str:
        """See the protocol."""
        if not os.path.isdir(os.path.join(self.directory, BAGS)):
            return _("{path} is not there").format(path=os.path.join(self.directory, BAGS))
        return self.leads_elsewhere()


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    """An open vault. ``path`` is absolute, ``catalog`` the path of its index."""

    path: str
    identifier: str
    policy: str
    catalog: str

    def bag_path(self, case: str, item: str) -> str:
        """Where an item's bag lies. Raises VaultError for what can be no item's name."""
        if not CASE.fullmatch(case) or os.path.basename(item) != item or item in ("", ".", ".."):
            raise VaultError(_("{item!r} can't be an item's name").format(item=item))
        return os.path.join(self.path, BAGS, case, item)

    def log_path(self, case: str) -> str:
        """Where a case's log lies. Raises VaultError for what can be no case's name."""
        if not CASE.fullmatch(case):
            raise VaultError(_("{case!r} can't be a case's name").format(case=case))
        return os.path.join(self.path, CUSTODY, f"{case}.jsonl")

    def cases(self) -> list[str]:
        """The cases that have a log. Raises StorageError."""
        try:
            names = os.listdir(os.path.join(self.path, CUSTODY))
        except OSError as error:
            raise storage_error(error, self.path) from error
        found = (name.removesuffix(".jsonl") for name in names if name.endswith(".jsonl"))
        return sorted(name for name in found if CASE.fullmatch(name))

    def without_log(self) -> list[str]:
        """Directories of cases that have bags and no log: it was lost, or removed."""
        place, known = os.path.join(self.path, BAGS), set(self.cases())
        names = sorted(os.listdir(place)) if os.path.isdir(place) else []
        lost = (name for name in names if name not in known and not name.startswith("."))
        paths = (os.path.join(place, name) for name in lost)
        return [path for path in paths if os.path.isdir(path)]

    def small_files(self) -> list[str]:
        """What belongs to the vault beside bags and logs: its name, checkpoints, receipts.
        Paths in it.
        """
        found = [CONFIG_FILE]
        for top in (f"{CUSTODY}/checkpoints", "receipts"):
            for directory, _directories, names in os.walk(os.path.join(self.path, top)):
                within = os.path.relpath(directory, self.path)
                found += [os.path.join(within, one) for one in names if not one.startswith(".")]
        return sorted(found)

    @property
    def search_index(self) -> str:
        """Where the index of words lies: beside the catalog."""
        return f"{self.catalog.removesuffix('.sqlite')}.search.sqlite"

    def refuse_links(self, directory: str) -> None:
        """Raises VaultError where ``directory``, a path in the vault, leads elsewhere: what is
        written there must lie in the vault.
        """
        place = self.path
        for part in directory.split("/"):
            place = os.path.join(place, part)
            if os.path.islink(place):
                raise VaultError(
                    _("{path} is a link: a vault has none").format(path=place),
                    hint=_("Put there what it leads to, and take the link away."),
                )

    def storage(self) -> LocalStorage:
        """The vault's own copies, as a place like any other; its name is ""."""
        return OwnStorage("", self.path, self.identifier)

    def replicas(self) -> list[LocalStorage]:
        """The places that replicas are kept in. Raises VaultError."""
        path = os.path.join(self.path, _REPLICAS_FILE)
        try:
            found = json.loads(read_regular(path, _MAX_CONFIG_BYTES))
            return [self._replica(name, place) for name, place in sorted(found["replicas"].items())]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            problem: Exception = error
        except RecursionError as error:
            problem = error
        raise VaultError(
            _("{path} is damaged").format(path=path),
            hint=_("Put it back from a copy, or remove it and add the replicas again."),
        ) from problem

    def _replica(self, name: str, place: Mapping[str, str]) -> LocalStorage:
        """One of the file, which a stranger may have written."""
        if not CASE.fullmatch(name) or not os.path.isabs(place["directory"]):
            raise ValueError(name)
        location = str(place["location"])
        return LocalStorage(name, place["directory"], self.identifier, location)

    def set_replicas(self, replicas: Sequence[LocalStorage]) -> None:
        """Note the places. Raises StorageError. The caller holds the lock."""
        path = os.path.join(self.path, _REPLICAS_FILE)
        places = {
            one.name: {"directory": one.directory, "location": one.location} for one in replicas
        }
        data = json.dumps({"replicas": places, "schema": "archiver/replicas/1"}, indent=1)
        try:
            replace_file(path, data.encode() + b"\n", 0o644)
        except OSError as error:
            raise storage_error(error, path) from error

    @contextmanager
    def locked(self, what: str, wait_seconds: float) -> Iterator[None]:
        """Be the one writer (:func:`archiver.vault.records.writing` is for events). Raises
        LockedError, which says who is, after ``wait_seconds``.

        The lock is the kernel's: that of a writer that was killed is gone with it.
        """
        with _locked(os.path.join(self.path, _LOCK_FILE), what, wait_seconds):
            yield

    @contextmanager
    def copying(self, what: str, wait_seconds: float) -> Iterator[None]:
        """Be the one who makes copies of bags, which takes long: others may write meanwhile.
        Taken before :meth:`locked`, never after. Raises LockedError.
        """
        with _locked(os.path.join(self.path, _COPYING_FILE), what, wait_seconds):
            yield

    @contextmanager
    def asking(self, what: str, wait_seconds: float) -> Iterator[None]:
        """Be the one who asks TSAs, which may be slow: others may write meanwhile. Raises
        LockedError.
        """
        with _locked(os.path.join(self.path, _ASKING_FILE), what, wait_seconds):
            yield


@contextmanager
def _locked(path: str, what: str, wait_seconds: float) -> Iterator[None]:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        _take(descriptor, wait_seconds, os.path.dirname(path))
        _note(descriptor, json.dumps({"pid": os.getpid(), "what": what}).encode())
        try:
            yield
        finally:
            _note(descriptor, b"")
    finally:
        with suppress(OSError):  # the lock is gone with it all the same
            os.close(descriptor)


def _note(descriptor: int, text: bytes) -> None:
    """Say who holds the lock, for people; that a disk has no room for it is no failure."""
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text, 0)


def _take(descriptor: int, wait_seconds: float, place: str) -> None:
    end = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= end:
                raise LockedError(
                    _("{path} is being written by {who}").format(
                        path=place, who=_holder(descriptor)
                    ),
                    hint=_("Wait until it has finished, or give --wait SECONDS."),
                ) from error
        except OSError as error:
            raise storage_error(error, place) from error
        time.sleep(_POLL_SECONDS)


def _holder(descriptor: int) -> str:
    try:
        note = json.loads(os.pread(descriptor, 4096, 0))
        return _("process {pid} ({what})").format(pid=int(note["pid"]), what=str(note["what"]))
    except (ValueError, KeyError, TypeError):
        return _("another process")


def check_case(case: str) -> str:
    """A case's name that is fit for files everywhere. Raises UsageError."""
    if not CASE.fullmatch(case):
        raise UsageError(
            _("{case!r} can't be a case's name").format(case=case),
            hint=_("Use small letters, digits and - . _, for example: caso-014."),
        )
    return case


def create_vault(path: str, *, identifier: str, policy: str, catalog: str = "") -> Vault:
    """A new vault at ``path``, which must not exist or be an empty directory; ``catalog`` as
    for :func:`open_vault`.

    Raises AlreadyExistsError, StorageError.
    """
    path = os.path.abspath(path)
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        if set(os.listdir(path)) - {BAGS, CUSTODY, _LOCK_FILE, "lost+found"}:
            raise AlreadyExistsError(
                _("{path} is not empty").format(path=path),
                hint=_("Choose a new directory for the vault."),
            )
        for name in (BAGS, CUSTODY):
            os.makedirs(os.path.join(path, name), mode=0o700, exist_ok=True)
        text = (
            "# An archiver vault (docs/vault.md). Don't edit the identifier: it is in its logs.\n"
            "# The policy is a name, or a file: its path from here or from the root.\n"
            f'layout = {LAYOUT}\nidentifier = "{identifier}"\npolicy = {json.dumps(policy)}\n'
        )
        write_new_file(os.path.join(path, CONFIG_FILE), text.encode(), 0o644)
    except OSError as error:
        raise storage_error(error, path) from error
    return _vault(path, identifier, policy, catalog)


def default_catalog(path: str, identifier: str) -> str:
    """Where the catalog of the vault at ``path`` lies where nothing else is said: in it, or
    in the user's state directory where the vault is on another machine's disk, on which a
    database can't be trusted to keep its locks (https://www.sqlite.org/faq.html#q5).
    """
    if file_system_type(path) not in NETWORK_TYPES:
        return os.path.join(path, CATALOG_FILE)
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    name = hashlib.sha256(identifier.encode()).hexdigest()[:16]
    return os.path.join(state, "archiver", "catalogs", f"{name}.sqlite")


def open_vault(path: str, catalog: str = "") -> Vault:
    """The vault at ``path``, with its index at ``catalog`` (:func:`default_catalog`). Raises
    NotFoundError, VaultError.
    """
    path = os.path.abspath(path)
    place = os.path.join(path, CONFIG_FILE)
    if os.path.lexists(os.path.join(path, MARK_FILE)):
        raise VaultError(
            _("{path} is a replica, no vault").format(path=path),
            hint=_("Name the vault itself. If its disk died, see docs/vault.md, Replicas."),
        )
    try:
        data = read_regular(place, _MAX_CONFIG_BYTES)
    except OSError as error:
        raise NotFoundError(
            _("there is no vault at {path}").format(path=path),
            hint=_("Make one with 'archiver init VAULT', or name one: --vault DIR."),
        ) from error
    try:
        config = TomlText(data.decode("utf-8")).table
        layout, identifier, policy = (config[key] for key in ("layout", "identifier", "policy"))
        if not isinstance(policy, str) or not _IDENTIFIER.fullmatch(identifier):
            raise TypeError
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise VaultError(
            _("{path} is damaged").format(path=place),
            hint=_("Put it back from a copy; the bags and logs don't depend on it."),
        ) from error
    if layout != LAYOUT:
        raise VaultError(
            _("{path}: layout {layout} is not known to this release").format(
                path=place, layout=layout
            ),
            hint=_("Use a newer release."),
        )
    if policy.endswith(".toml"):  # one that lies in the vault moves with it
        policy = os.path.join(path, policy)
    return _vault(path, identifier, policy, catalog)


def _vault(path: str, identifier: str, policy: str, catalog: str) -> Vault:
    catalog = os.path.abspath(catalog) if catalog else default_catalog(path, identifier)
    try:
        os.makedirs(os.path.dirname(catalog), mode=0o700, exist_ok=True)
    except OSError as error:
        raise storage_error(error, catalog) from error
    return Vault(path=path, identifier=identifier, policy=policy, catalog=catalog)
