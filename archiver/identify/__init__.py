"""What the files of a payload are: formats and technical metadata, asked of a confined child.

Job: one record for each file, whatever happens. Limits: preservation never waits for an
answer longer than the limits say, and never fails for want of one. Nothing is verified here.

The libraries are extras: :func:`~archiver.identify.tools.installed` says which are there.
"""

from archiver.identify.asking import (
    Identifier,
    identify_files,
    identify_payload,
    payload_files,
)
from archiver.identify.keeper import Limits
from archiver.identify.record import FORMATS_PATH, FormatRecord, parse_records, to_bytes
from archiver.identify.tools import installed

__all__ = [
    "FORMATS_PATH",
    "FormatRecord",
    "Identifier",
    "Limits",
    "identify_files",
    "identify_payload",
    "installed",
    "parse_records",
    "payload_files",
    "to_bytes",
]
