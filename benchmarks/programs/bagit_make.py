"""Peer: make a directory a bag, in place, with the reference library.

Arguments: DIRECTORY PROCESSES.
"""

import sys
from importlib import import_module


def main() -> None:
    """Bag the directory with the algorithms that archiver uses by default."""
    directory, processes = sys.argv[1:]
    # Imported by name because the library has no type hints.
    import_module("bagit").make_bag(
        directory, processes=int(processes), checksums=["sha256", "sha512"]
    )


if __name__ == "__main__":
    main()
