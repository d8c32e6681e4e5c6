"""What is made from items for looking at, beside them: ``VAULT/derived/ITEM/``.

Job: thumbnails of open items. Limits: never part of a bag, never evidence; may be deleted
and made again at any time. Made only of items whose own description says that they are
public or restricted: where nobody said so, or it can't be read, none are made.
"""

from __future__ import annotations

import json
import os

from archiver.describe import Description
from archiver.errors import ArchiverError, storage_error
from archiver.filesystem import read_regular, replace_file
from archiver.identify import Limits, payload_files
from archiver.identify.keeper import Keeper
from archiver.identify.thumbnail import THUMBNAIL_TOOL, decoded, is_installed
from archiver.policy import FormatPolicy
from archiver.vault import Vault
from archiver.vault.derived import derived_directory, forget_derived
from archiver.vault.records import reading

__all__ = ["is_open", "make_thumbnails"]

_DESCRIPTION = "metadata/description.json"
_MAX_DESCRIPTION_BYTES = 1 << 20
_MAX_THUMBNAILS = 1000


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


def _became_secret(vault: Vault, item: str) -> bool:
    """Whether an amendment has made it secret since; its bag still says what it said."""
    with reading(vault) as records:
        described = records.catalog.described(item)
    return described is not None and described.secret


def make_thumbnails(vault: Vault, case: str, item: str, policy: FormatPolicy) -> int:
    """Thumbnails of an item's pictures, where the policy wants them, the item is open, and
    Pillow is there; how many. Raises StorageError.
    """
    bag = vault.bag_path(case, item)
    if not policy.thumbnails or not is_installed() or not is_open(bag):
        return 0
    if _became_secret(vault, item):
        return 0
    forget_derived(vault, item)
    place = derived_directory(vault, item)
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
    if _became_secret(vault, item):  # meanwhile
        forget_derived(vault, item)
        return 0
    return len(index)
