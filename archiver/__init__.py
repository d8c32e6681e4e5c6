"""Package evidence into BagIt bags (RFC 8493) that anyone can check.

The library road begins at :mod:`archiver.seal` (make a bag) and
:mod:`archiver.verify` (check one); ``docs/architecture.md`` draws the layers.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
