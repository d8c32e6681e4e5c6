"""Statements of witnesses: encrypted before they are bagged, sealed like any item.

Job: :func:`take`: plain files in, a sealed item out, in an order in which a kill leaves
ciphertext at most. Limits: asks nobody anything; what is typed comes as values.

1. What killed runs have left is brought to an end. 2. The plain files are examined, where that
is asked for, in a child that writes nothing. 3. Every file is encrypted as it is read,
for the readers and the escrow, into a directory of the vault that holds nothing else; then
the identity envelope, for its own recipients alone, the description, and the list of what
became of which file. 4. The ciphertexts are ingested like any source, under a key made by
chance. In clear stand the witness's code, the kind, sizes and times.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from archiver.bag.plan import PlanOptions
from archiver.errors import ArchiverError, SourceError
from archiver.fixity import Result, look_at
from archiver.i18n import _
from archiver.ingest import Ingested, IngestOptions, Told, ingest
from archiver.seal import plan_sources
from archiver.statement.envelope import DESCRIPTION_PATH
from archiver.statement.making import ExaminePlain, make, opened, state_of
from archiver.statement.model import Heard, Keys, Plain, Statement, check_keys, check_statement
from archiver.statement.staging import description_fact, end_of, settle_left, staged_in
from archiver.vault import Vault
from archiver.vault.records import reading

__all__ = [
    "Heard",
    "Keys",
    "Plain",
    "Statement",
    "Taken",
    "check_keys",
    "remove_original",
    "take",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A statement that is sealed and in the log; ``originals`` are the plain files as they
    were read, with their digests; ``settled`` are items that a killed run had begun.
    """

    ingested: Ingested
    originals: tuple[tuple[Plain, str], ...]
    settled: tuple[str, ...] = field(default=())


def take(
    vault: Vault,
    case: str,
    statement: Statement,
    keys: Keys,
    options: IngestOptions,
    *,
    examine: ExaminePlain | None = None,
    heard: Heard | None = None,
) -> Taken:
    """Encrypt, seal and ingest ``statement``, as the next item of ``case``. ``examine`` looks at
    the plain files before. Raises ArchiverError; then nothing of it is left, and its number is
    withdrawn.
    """
    heard = heard or Heard()
    check_statement(statement, options.create.policy)
    settled = settle_left(vault, options)
    with staged_in(vault, case) as staged:
        made = make(
            staged,
            statement,
            keys,
            case,
            options.create,
            examine=examine,
            encrypting=heard.encrypting,
        )
        plan = plan_sources([staged.payload], vault.bag_path(case, "new"), PlanOptions())
        data = made.create.tag_files[DESCRIPTION_PATH]
        fact = description_fact(data, statement.kind, statement.code)
        with _withdrawn_unless_done(vault, case, staged.key, options):
            ingested = ingest(
                vault,
                case,
                [staged.payload],
                plan,
                replace(options, create=made.create),
                told=Told(staged.key, {"description": fact}),
                progress=heard.sealing,
                say=heard.say,
            )
    return Taken(ingested=ingested, originals=made.originals, settled=tuple(settled))


@contextlib.contextmanager
def _withdrawn_unless_done(
    vault: Vault, case: str, key: str, options: IngestOptions
) -> Iterator[None]:
    """A statement's source is gone with its run: a number that was begun is not taken up."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(ArchiverError):  # what came first has to be told
            end_of(vault, case, key, options)
        raise


# -- what still lies in clear


def remove_original(vault: Vault, item: str, plain: Plain, sha256: str) -> None:
    """Remove a plain file, once the sealed bag has been read again and is what the log says,
    and the file is still what was encrypted. On an SSD its bytes may stay: the caller says so.

    Raises SourceError, and StorageError where the bag isn't good.
    """
    with reading(vault) as records:
        one = records.catalog.item(item)
    bag = vault.bag_path(one.case, item) if one else ""
    if one is None or look_at(bag, one)[0] is not Result.GOOD:
        raise SourceError(
            _("{item} is not intact: nothing was removed").format(item=item),
            hint=_("See 'archiver audit'."),
        )
    if os.path.islink(plain.path):
        raise SourceError(
            _("{file} is a link: what it leads to was not removed").format(file=plain.label)
        )
    with opened(plain) as file:
        same = hashlib.file_digest(file, "sha256").hexdigest() == sha256
        found = os.fstat(file.fileno())
    try:
        if not same or state_of(os.lstat(plain.path)) != state_of(found):
            raise SourceError(
                _("{file} is not what was sealed: it was not removed").format(file=plain.label)
            )
        os.unlink(plain.path)
    except OSError as error:
        raise SourceError(
            _("{file} can't be removed: {reason}").format(file=plain.label, reason=error.strerror)
        ) from None
    if found.st_nlink > 1:
        raise SourceError(
            _("{file} was removed, and is still there under another name (a hard link)").format(
                file=plain.label
            )
        )
