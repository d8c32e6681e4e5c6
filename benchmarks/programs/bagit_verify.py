"""Peer: verify a bag with the reference library. Arguments: BAG PROCESSES."""

import sys
from importlib import import_module


def main() -> None:
    """Validate the bag; bagit raises, and so this exits with 1, when it is not valid."""
    bag, processes = sys.argv[1:]
    # Imported by name because the library has no type hints.
    import_module("bagit").Bag(bag).validate(processes=int(processes))


if __name__ == "__main__":
    main()
