"""``python -m archiver``: the same as the ``archiver`` command."""

import sys

from archiver.cli import main

if __name__ == "__main__":
    sys.exit(main())
