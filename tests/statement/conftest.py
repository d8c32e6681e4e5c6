"""The scene for all tests of statements."""

from tests.statement.scene import scene

__all__ = ["scene"]
