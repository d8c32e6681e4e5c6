"""``archiver bag create | verify | show | sign | timestamp``: the group.

Job: put its commands together; each has a module of its own. See docs/cli.md for the
contract.
"""

from __future__ import annotations

from typing import Any

import typer

from archiver.cli.bag_create import add_create
from archiver.cli.bag_show import add_show
from archiver.cli.bag_sign import add_sign, add_timestamp
from archiver.cli.bag_verify import add_verify

__all__ = ["bag_app"]


def bag_app(settings: dict[str, Any], summary: str) -> typer.Typer:
    """The group ``archiver bag``."""
    app = typer.Typer(
        help=summary,
        rich_markup_mode=None,
        no_args_is_help=True,
        context_settings=settings,
    )
    add_create(app)
    add_verify(app)
    add_show(app)
    add_sign(app)
    add_timestamp(app)
    return app
