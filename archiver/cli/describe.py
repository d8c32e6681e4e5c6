"""``archiver describe``: what people say of items."""

from __future__ import annotations

from typing import Any

import typer

from archiver.cli.amend import add_amend

__all__ = ["describe_app"]


def describe_app(settings: dict[str, Any], summary: str) -> typer.Typer:
    """The group ``archiver describe``."""
    app = typer.Typer(
        help=summary, rich_markup_mode=None, no_args_is_help=True, context_settings=settings
    )

    @app.callback()
    def group() -> None:
        pass  # with one command only, typer would make no group

    add_amend(app)
    return app
