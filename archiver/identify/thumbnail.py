"""Small pictures of pictures, made by Pillow in the confined child.

Job: one tool more. Limits: the picture is made anew from its dots: nothing else of the file
(no EXIF, no profile) gets into it.
"""

from __future__ import annotations

import base64
import importlib.util
import io
from typing import Any

__all__ = ["THUMBNAIL_TOOL", "Thumbnail", "decoded", "is_installed"]

THUMBNAIL_TOOL = "archiver.identify.thumbnail:Thumbnail"
_SIDE = 256
_MAX_DOTS = 100_000_000
_MAX_BYTES = 128 << 10


def is_installed() -> bool:
    """Whether the extra "thumbnails" is there."""
    return importlib.util.find_spec("PIL") is not None


class Thumbnail:
    """As a tool, see :mod:`archiver.identify.tools`."""

    def __init__(self) -> None:
        import PIL
        from PIL import Image

        Image.init()  # before anything is forbidden to be loaded
        self.version = f"pillow {PIL.__version__}"

    def run(self, path: str) -> dict[str, Any]:
        """``thumbnail``: a JPEG in base64, of at most 256 dots a side; nothing for what
        Pillow doesn't know.
        """
        from PIL import Image, ImageOps, UnidentifiedImageError

        try:
            with Image.open(path) as found:
                if found.width * found.height > _MAX_DOTS:
                    return {}
                found.draft("RGB", (_SIDE, _SIDE))
                small = ImageOps.exif_transpose(found).convert("RGB")
        except UnidentifiedImageError:
            return {}
        small.thumbnail((_SIDE, _SIDE))
        bare = Image.new("RGB", small.size)
        bare.paste(small)
        out = io.BytesIO()
        bare.save(out, "JPEG", quality=75)
        return {"thumbnail": base64.b64encode(out.getvalue()).decode("ascii")}


def decoded(value: object) -> bytes:
    """The JPEG of an answer, b"" where it is none: the child is not believed."""
    if not isinstance(value, str) or len(value) > 2 * _MAX_BYTES:
        return b""
    try:
        data = base64.b64decode(value, validate=True)
    except ValueError:
        return b""
    whole = data[:3] == b"\xff\xd8\xff" and data[-2:] == b"\xff\xd9"
    return data if whole and len(data) <= _MAX_BYTES else b""
