"""What was learnt of an item later is written down beside its bag: signed, numbered, for good.

Job: the workflow: record and signature, then the log, in an order in which a kill loses
nothing. Limits: changes no bag; what an amendment may say stands in
:mod:`archiver.describe.amendment`.

1. The signature is written, then the record: whole, durable, replacing nothing. 2. The log
says that it is there. A kill before 2 leaves files that the log doesn't know: they count for
nothing, ``events verify`` names them, and the next amendment of the item puts them aside.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from archiver.catalog.fulltext import remove_words
from archiver.catalog.model import SEALED, Item, is_item
from archiver.consent import check_code
from archiver.custody import Event
from archiver.describe.amendment import (
    MAX_AMENDMENTS,
    SEALED_ENDING,
    Amendment,
    apply_amendment,
    record_name,
)
from archiver.describe.description import MAX_DESCRIPTION_BYTES
from archiver.describe.fields import SECRET, fields_of
from archiver.describe.graph import in_order, sources_of
from archiver.describe.values import FieldError, check_fields
from archiver.encrypt import encrypt_bytes
from archiver.errors import (
    ArchiverError,
    FormatError,
    LogError,
    NotFoundError,
    PolicyError,
    UsageError,
    VaultError,
    storage_error,
)
from archiver.filesystem import open_regular, sync_directory, write_new_file
from archiver.i18n import _
from archiver.pki.keyring import SigningKey
from archiver.policy import Policy
from archiver.signing import sign_manifest
from archiver.vault import Vault
from archiver.vault.amendments import Told, amendments_told, directory_of, tell
from archiver.vault.derivations import lineage
from archiver.vault.derived import forget_derived
from archiver.vault.log import read_links
from archiver.vault.records import Records, writing
from archiver.vault.sealed import other_than_the_log, refuse_changed
from archiver.verify.amendments import SIGNATURE_ENDING

__all__ = ["Amended", "Wanted", "amend"]

_LEFT = re.compile(r"([0-9]{4})\.json(?:\.age)?(?:\.p7s)?")
_PARTIAL = re.compile(r"\.[0-9a-f]{16}\.partial")
_MODE = 0o444


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be changed, and why. ``kind`` says what an item is that nobody has described
    yet; ``change`` gives what to set from what holds now, where that depends on it.
    """

    reason: str
    set: Mapping[str, Any] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    kind: str = ""
    change: Callable[[Told], Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Amended:
    """An amendment that is written and in the log."""

    item: str
    number: int
    path: str
    sha256: str
    signed: bool


def amend(
    vault: Vault,
    item: Item,
    wanted: Wanted,
    now: datetime,
    *,
    policy: Policy,
    signer: SigningKey | None = None,
    wait_seconds: float = 10.0,
) -> Amended:
    """Write an amendment of ``item`` down. Raises ArchiverError; then nothing of it counts.

    What holds now is asked under the vault's lock: of two who write at once, the second
    amends what the first has made of it.
    """
    with writing(vault, f"amend {item.item}", wait_seconds) as records:
        records.require(item.case)
        _refuse_links(vault, item.item)
        records.refuse_forgotten(item.case)
        found = records.catalog.item(item.item)
        if found is None or found.state != SEALED:
            raise NotFoundError(
                _("{item} has no bag: it was never sealed").format(item=item.item),
                hint=_("See 'archiver show {item}'.").format(item=item.item),
            )
        told = tell(vault, records.catalog, found)
        _refuse_other_index(vault, found, told)
        if told.problem:
            raise LogError(
                _("{item} can't be amended: {reason}").format(item=item.item, reason=told.problem),
                hint=_("See 'archiver events verify'; put it back with 'archiver repair'."),
            )
        _set_aside_left(vault, found, len(told.amendments))
        amendment, kind = _amendment(records, found, told, wanted, now)
        secret = told.secret or apply_amendment(told.now, amendment).is_secret
        hides = secret and not told.secret
        if secret:
            _refuse_readerless(policy)
        if hides:  # a kill behind the log would leave its pictures for good
            forget_derived(vault, item.item)
        made = _write(records, found, amendment, kind, policy, signer, secret=secret)
        if hides:  # its words are gone with the next search anyway
            remove_words(vault.search_index)
        return made


def _refuse_other_index(vault: Vault, item: Item, told: Told) -> None:
    """An index that somebody has changed must not let the words of a secret item be written in
    clear, or a record that doesn't follow the last. Raises CatalogError, LogError.
    """
    refuse_changed(vault, [item])
    log = amendments_told(vault, item)
    path = str(item.description.get("path", ""))
    secret = path.endswith(SEALED_ENDING) or any(one.secret for one in log)
    known = [one.sha256 for one in told.amendments]
    if secret != told.secret or known != [one.sha256 for one in log]:
        raise other_than_the_log(vault, item.item)


def _refuse_links(vault: Vault, item: str) -> None:
    """What is written must lie in the vault. Raises VaultError."""
    directory = directory_of(vault, item)
    if problem := vault.storage().reachable():
        raise VaultError(problem)
    for path in (os.path.dirname(directory), directory):
        if os.path.lexists(path) and (os.path.islink(path) or not os.path.isdir(path)):
            raise VaultError(
                _("{path} is not a directory, so nothing can be added to it").format(path=path),
                hint=_("See 'archiver events verify'; take it away yourself."),
            )


# -- what is to be written


def _amendment(
    records: Records, item: Item, told: Told, wanted: Wanted, now: datetime
) -> tuple[Amendment, str]:
    """The record, checked against what holds now, and the kind of the item."""
    described = records.catalog.described(item.item)
    if told.kind and wanted.kind not in ("", told.kind):
        raise UsageError(
            _("{item} is a {kind}, and stays one").format(item=item.item, kind=told.kind),
            hint=_("Leave the kind out."),
        )
    if not told.kind and not wanted.kind:
        raise UsageError(
            _("nobody has described {item} yet: what kind of item is it?").format(item=item.item),
            hint=_("Say it with --kind, or with kind = … in the form."),
        )
    kind = told.kind or wanted.kind
    given = wanted.change(told) if wanted.change else wanted.set
    try:
        values = check_fields(given, fields_of(kind))
    except FieldError as problem:
        raise UsageError(problem.message, hint=problem.hint) from problem
    if "witness_code" in values:
        check_code(str(values["witness_code"]))
    if values.get("case", item.case) != item.case:
        raise UsageError(
            _("{item} belongs to the case {case}, and stays there").format(
                item=item.item, case=item.case
            ),
            hint=_("Leave the case out; to have it in another, ingest it there."),
        )
    try:
        amendment = Amendment(
            item=item.item,
            number=len(told.amendments) + 1,
            at=now,
            reason=wanted.reason,
            previous=described.last_sha256 if described else "",
            kind="" if told.kind else kind,
            remove=tuple(sorted(set(wanted.remove))),
            set=values,
        )
        _fits(told, amendment, kind)
        _refuse_circles(records, item.item, values)
    except FormatError as error:
        raise UsageError(_(error.message), hint=error.hint) from error
    return amendment, kind


def _refuse_circles(records: Records, item: str, values: Mapping[str, Any]) -> None:
    """What it was made from is there, and was not made from it. Raises FormatError."""
    sources = sources_of(values)
    known = {one.item for one in records.catalog.named(sources) if one.state == SEALED}
    for one in sources:
        if one not in known:
            text = _("derived_from names items that are not in the vault: {names}")
            if not is_item(one):
                text = _("derived_from names what is no item")
            raise FormatError(text.format(names=one))
    edges = lineage(records.vault, records.catalog, sources)
    in_order({item: sources, **{one: below for one, below in edges.items() if one != item}})


def _fits(told: Told, amendment: Amendment, kind: str) -> None:
    """Raises FormatError where it doesn't fit to what holds now. Of a secret item that isn't
    known here; but what makes it secret can't be taken away.
    """
    if amendment.number > MAX_AMENDMENTS:
        raise FormatError(_("{item} has too many amendments").format(item=amendment.item))
    if told.secret:
        open_now = amendment.set.get("confidentiality", SECRET[0]) not in SECRET
        if open_now or "confidentiality" in amendment.remove:
            raise FormatError(_("what is secret stays secret: its bag is what it is"))
        unknown = set(amendment.remove) - set(fields_of(kind))
        if unknown:
            raise FormatError(_("unknown key {key}").format(key=min(unknown)))
        return
    now = told.history.now if told.history else None
    for key in amendment.remove:
        if now is None or key not in now.values:
            raise FormatError(
                _("there is no {key} to remove").format(key=key),
                hint=_("See 'archiver show {item}'.").format(item=amendment.item),
            )
    after = apply_amendment(now, amendment)
    if now is not None and after.values == now.values:
        raise FormatError(
            _("the amendment changes nothing"),
            hint=_("Say what holds with --set or --form, what doesn't with --remove."),
        )


def _refuse_readerless(policy: Policy) -> None:
    """Raises PolicyError where ``policy`` doesn't say for whom what is secret is encrypted."""
    if not policy.encryption.recipients:
        raise PolicyError(
            _("policy {name}: nothing can be encrypted yet, and this item is secret").format(
                name=policy.name
            ),
            hint=_("Nothing was done. Give --policy FILE.toml, one with [encryption] recipients."),
        )


def _sealed(data: bytes, policy: Policy) -> bytes:
    """``data`` encrypted for those who may read secret items. Raises PolicyError.

    The one place where a record of a secret item is made unreadable before it touches the
    disk; without it there is no such record.
    """
    _refuse_readerless(policy)
    rules = policy.encryption
    return encrypt_bytes(data, dict.fromkeys((*rules.recipients, *rules.escrow)))


# -- how it is written


def _write(
    records: Records,
    item: Item,
    amendment: Amendment,
    kind: str,
    policy: Policy,
    signer: SigningKey | None,
    *,
    secret: bool,
) -> Amended:
    data = amendment.to_bytes()
    if len(data) > MAX_DESCRIPTION_BYTES:
        raise UsageError(
            _("the amendment is too long"),
            hint=_("Say less, or put what it says into a file of its own."),
        )
    if secret:
        data = _sealed(data, policy)
    signature = sign_manifest(data, signer, amendment.at) if signer else None
    name = record_name(amendment.number, sealed=secret)
    path = os.path.join(directory_of(records.vault, item.item), name)
    detail = {
        "amendment": amendment.number,
        "item": item.item,
        "kind": kind,
        "path": name,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    if signature is not None:
        detail["signature"] = hashlib.sha256(signature).hexdigest()
    try:
        _lay_down(path, data, signature)
        event = Event(type="modification", at=amendment.at, detail=detail)
        records.append(item.case, [event])
    except BaseException:
        with contextlib.suppress(ArchiverError, OSError):  # what came first has to be told
            _take_back(records, item, amendment.number)
        raise
    return Amended(
        item=item.item,
        number=amendment.number,
        path=path,
        sha256=str(detail["sha256"]),
        signed=signature is not None,
    )


def _lay_down(path: str, data: bytes, signature: bytes | None) -> None:
    """The signature first: a record that is there is signed."""
    directory = os.path.dirname(path)
    try:
        top = os.path.dirname(directory)
        for place in (top, directory):
            if not os.path.isdir(place):
                os.mkdir(place, 0o700)
                sync_directory(os.path.dirname(place))
        if signature is not None:
            write_new_file(path + SIGNATURE_ENDING, signature, _MODE)
        write_new_file(path, data, _MODE)
    except OSError as error:
        raise storage_error(error, path) from error


def _take_back(records: Records, item: Item, number: int) -> None:
    """After an error: where the log doesn't know the record, it is as if it never was."""
    for link in read_links(item.case, records.vault.log_path(item.case)):
        told = (link.event.detail.get("item"), link.event.detail.get("amendment"))
        if told == (item.item, number):
            return
    directory = directory_of(records.vault, item.item)
    for name in os.listdir(directory):
        left = _LEFT.fullmatch(name)
        if left and int(left[1]) == number:
            os.unlink(os.path.join(directory, name))


def _set_aside_left(vault: Vault, item: Item, known: int) -> None:
    """Records that the log doesn't know, left by a run that was killed, or put there by
    somebody, go to ``set-aside/``: nothing that may be evidence is removed.
    """
    directory = directory_of(vault, item.item)
    if not os.path.isdir(directory):
        return
    try:
        for name in sorted(os.listdir(directory)):
            path, left = os.path.join(directory, name), _LEFT.fullmatch(name)
            if _PARTIAL.fullmatch(name):
                os.unlink(path)
            elif left and int(left[1]) > known:
                _move_aside(vault, item, path)
    except OSError as error:
        raise storage_error(error, directory) from error


def _move_aside(vault: Vault, item: Item, path: str) -> None:
    try:
        with open(open_regular(path), "rb") as file:
            mark = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError:  # a link or a pipe: what it is, is all that can be kept of it
        mark = "strange"
    place = os.path.join(vault.path, "set-aside", item.case)
    os.makedirs(place, mode=0o700, exist_ok=True)
    target = os.path.join(place, f"{item.item}.amendment-{mark}-{os.path.basename(path)}")
    os.replace(path, target)
    sync_directory(place)
    sync_directory(os.path.dirname(path))
