"""What is made from items for looking at, beside them: ``VAULT/derived/ITEM/``.

Job: thumbnails of open items. Limits: never part of a bag, never evidence; may be deleted
and made again at any time. Made only of items whose own description says that they are
public or restricted: where nobody said so, or it can't be read, none are made.
"""

from __future__ import annotations

import json
import os
import re
import shutil

from archiver.describe import Description
from archiver.errors import ArchiverError, storage_error
from archiver.filesystem import read_regular, replace_file
from archiver.identify import Limits, payload_files
from archiver.identify.keeper import Keeper
from archiver.identify.thumbnail import THUMBNAIL_TOOL, decoded, is_installed
from archiver.policy import FormatPolicy
from archiver.vault import Vault

__all__ = ["DERIVED", "forget_derived", "is_open", "make_thumbnails"]

DERIVED = "derived"
_DESCRIPTION = "metadata/description.json"
_MAX_DESCRIPTION_BYTES = 1 << 20
_MAX_THUMBNAILS = 1000
_ITEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")


def is_open(bag: str) -> bool:
    """Whether the description in the bag says that anybody who sees the vault may see it."""
    if os.path.lexists(os.path.join(bag, f"{_DESCRIPTION}.age")):
        return False
    try:
        data = read_regular(os.path.join(bag, _DESCRIPTION), _MAX_DESCRIPTION_BYTES)
        found = Description.parse(data)
    except (ArchiverError, OSError):
        return False
    return "confidentiality" in found.values and not found.is_secret


def make_thumbnails(vault: Vault, case: str, item: str, policy: FormatPolicy) -> int:
    """Thumbnails of an item's pictures, where the policy wants them, the item is open, and
    Pillow is there; how many. Raises StorageError.
    """
    bag = vault.bag_path(case, item)
    if not policy.thumbnails or not is_installed() or not is_open(bag):
        return 0
    forget_derived(vault, item)
    place = _place(vault, item)
    limits = Limits(seconds=policy.seconds, memory_bytes=policy.memory_mb << 20)
    index: list[dict[str, str]] = []
    try:
        with Keeper([bag], limits, [THUMBNAIL_TOOL]) as keeper:
            for path, name in payload_files(bag):
                answer = keeper.ask(THUMBNAIL_TOOL, path, limits.seconds)
                data = decoded(answer.values.get("thumbnail"))
                if data and len(index) < _MAX_THUMBNAILS:
                    file = f"{len(index) + 1:04}.jpg"
                    os.makedirs(place, 0o700, exist_ok=True)
                    replace_file(os.path.join(place, file), data, 0o444)
                    index.append({"file": file, "path": name})
        if index:
            lines = "".join(json.dumps(one, sort_keys=True) + "\n" for one in index)
            replace_file(os.path.join(place, "index.jsonl"), lines.encode("ascii"), 0o444)
    except OSError as error:
        raise storage_error(error, place) from error
    return len(index)


def forget_derived(vault: Vault, item: str) -> None:
    """Remove what was made of an item: when it becomes confidential, say. Raises StorageError."""
    place = _place(vault, item)
    try:
        if os.path.lexists(place):
            shutil.rmtree(place)
    except OSError as error:
        raise storage_error(error, place) from error


def _place(vault: Vault, item: str) -> str:
    if not _ITEM.fullmatch(item):
        raise ValueError(f"no item's number: {item}")
    return os.path.join(vault.path, DERIVED, item)
