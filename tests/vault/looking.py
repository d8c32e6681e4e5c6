"""What the tests ask of a vault."""

from __future__ import annotations

from collections.abc import Sequence

from archiver.catalog import Item
from archiver.custody import Event, Link
from archiver.vault import Vault, open_vault
from archiver.vault.log import read_links
from archiver.vault.records import reading, writing


def links(vault: Vault, case: str) -> list[Link]:
    """The events of a case, its chain checked."""
    return read_links(case, vault.log_path(case))


def items(vault: Vault, case: str = "") -> list[Item]:
    """What the catalog knows, brought up to date."""
    with reading(vault) as records:
        return list(records.catalog.items(case=case))


def append(vault: Vault, case: str, *events: Event) -> None:
    """Write events down as the program does."""
    with writing(vault, "test", 10.0) as records:
        records.append(case, events)


def reopened(path: object) -> Vault:
    """The vault at ``path``."""
    return open_vault(str(path))


__all__: Sequence[str] = ["append", "items", "links", "reopened"]
