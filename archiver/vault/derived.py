"""Where what is made from items for looking at lies: ``VAULT/derived/ITEM/``.

Job: the place, and its end. Limits: makes nothing (:mod:`archiver.derive` does).
"""

from __future__ import annotations

import os
import re
import shutil

from archiver.errors import VaultError, storage_error
from archiver.i18n import _
from archiver.vault import Vault

__all__ = ["DERIVED", "derived_directory", "forget_derived"]

DERIVED = "derived"
_ITEM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")


def derived_directory(vault: Vault, item: str) -> str:
    """Where an item's derivatives lie. Raises ValueError where that is no item's name,
    VaultError where a link would lead out of the vault.
    """
    if not _ITEM.fullmatch(item):
        raise ValueError(f"no item's number: {item}")
    top = os.path.join(vault.path, DERIVED)
    if os.path.islink(top):
        raise VaultError(
            _("{path} is a link; what is kept here must lie here").format(path=top),
            hint=_("Take it away: what lies there can be made again."),
        )
    return os.path.join(top, item)


def forget_derived(vault: Vault, item: str) -> None:
    """Remove what was made of an item: when it becomes confidential, say. Raises StorageError."""
    place = derived_directory(vault, item)
    try:
        if os.path.islink(place):
            os.unlink(place)
        elif os.path.lexists(place):
            shutil.rmtree(place)
    except OSError as error:
        raise storage_error(error, place) from error
