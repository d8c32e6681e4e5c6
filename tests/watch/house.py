"""A vault with keys of who may read, for tests of what is secret in a watched folder."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from archiver.bag.tree import DirectoryTree
from archiver.encrypt import Identities, new_identity, read_identities
from archiver.policy import Policy, load_policy
from archiver.statement.opening import open_statement, restore
from archiver.vault import Vault, create_vault
from archiver.watch.sinks import SinkOptions, VaultSink
from tests.sealing import Office
from tests.vault.looking import items
from tests.watch.test_described import everything_below
from tests.watch.units import options

NEEDLES = (b"Maria", b"Quispe", b"moving pictures", b"a.mp4")


class House:
    """A vault, and keys of who may read."""

    def __init__(self, place: Path, office: Office) -> None:
        self.place, self.office = place, office
        self.vault: Vault = create_vault(str(place / "out"), identifier="urn:x", policy="default")
        text, self.reader = new_identity()
        self.identities: Identities = read_identities(text.encode(), "key")
        self.escrow = new_identity()[1]

    def policy(self, **changes: Any) -> Policy:
        policy = load_policy("default")
        rules = {"recipients": (self.reader,), "escrow": (self.escrow,), **changes}
        return replace(policy, encryption=replace(policy.encryption, **rules))

    def options(self, **changes: Any) -> SinkOptions:
        return replace(options(self.office.ana), policy=self.policy(**changes))

    def sink(self, **changes: Any) -> VaultSink:
        return VaultSink(self.vault, "c", self.options(**changes))

    def opened(self, bag: str) -> tuple[dict[str, bytes], str]:
        """The files in it by their names, and the title."""
        tree, place = DirectoryTree(bag), self.place / "opened"
        try:
            found = open_statement(tree, self.identities)
            restore(tree, found.contents, self.identities, str(place))
        finally:
            tree.close()
        files = {
            str(one.relative_to(place)): one.read_bytes()
            for one in place.rglob("*")
            if one.is_file()
        }
        shutil.rmtree(place)
        return files, str(found.description.values.get("title"))

    def leaks(self) -> list[bytes]:
        told = everything_below(self.place / "out")
        return [one for one in NEEDLES if one in told]

    def states(self) -> list[str]:
        return [one.state for one in items(self.vault)]
