"""A watcher's health, as tests want it."""

from __future__ import annotations

from typing import Any

from archiver.watch.health import FolderHealth, Health
from archiver.watch.model import State


def folder(path: str = "/srv/inbox/witness-maria", **more: Any) -> FolderHealth:
    counts = {state: more.pop(state.value, 0) for state in State}
    return FolderHealth(path=path, counts=counts, **more)


def health(*folders: FolderHealth, **more: Any) -> Health:
    return Health(folders=folders or (folder(),), **more)
