"""The rules for names and paths: what is safe, what is encoded, what collides.

Job: pure functions over paths as text. Limits: touches no file.
Names that are not UTF-8 appear as Python shows them, with surrogates
(PEP 383), so that the very bytes can be had back.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata

from archiver.i18n import N_

__all__ = [
    "decode_path",
    "encode_name",
    "encode_path",
    "fold",
    "has_bare_percent",
    "has_unsafe_shape",
    "is_utf8",
    "normalise",
    "path_problem",
    "short_name",
    "windows_problem",
]

_ENCODED = re.compile(r"%(0[AaDd]|25)")
_BARE_PERCENT = re.compile(r"%(?!0[AaDd]|25)")
_DRIVE = re.compile(r"[A-Za-z]:")
_WINDOWS_RESERVED = re.compile(
    r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE | re.DOTALL
)
_MAX_COMPONENT = 1024
_NAME_MAX = 255
_WINDOWS_CHARACTERS = re.compile(r'[<>:"|?*\\\x00-\x1f]')


def decode_path(path: str) -> str:
    """Undo the encoding of manifest paths: %0A, %0D and %25, nothing else (§2.1.3)."""
    if "%" not in path:
        return path
    return _ENCODED.sub(lambda found: chr(int(found[1], 16)), path)


def encode_path(path: str) -> str:
    """Encode a path for a manifest: LF, CR and % and only those (§2.1.3)."""
    return path.replace("%", "%25").replace("\n", "%0A").replace("\r", "%0D")


def has_bare_percent(path: str) -> bool:
    """Whether a % stands in ``path`` that begins none of the three encodings."""
    return _BARE_PERCENT.search(path) is not None


def has_unsafe_shape(path: str) -> bool:
    r"""Whether ``path`` leads out of a bag on some system, or depends on the machine.

    Absolute paths, ``..``, ``~user``, drive letters, UNC and ``\\?\`` (§5.1.1).
    """
    return (
        path.startswith(("/", "~", "\\"))
        or _DRIVE.match(path) is not None
        or ".." in re.split(r"[/\\]", path)
    )


def path_problem(path: str) -> str | None:
    """What keeps ``path`` from being a plain relative path, or None."""
    if not path:
        return N_("the path is empty")
    if "\0" in path:
        return N_("the path holds a NUL character")
    if any(part in ("", ".") for part in path.split("/")):
        return N_("the path holds an empty or '.' component")
    return None


def is_utf8(name: str) -> bool:
    """Whether ``name`` came from valid UTF-8, as BagIt 1.0 writes its tag files."""
    if name.isascii():
        return True
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def normalise(path: str) -> str:
    """The form in which names are compared across Unicode normalisations: NFC."""
    return path if path.isascii() else _compose(path)


def fold(path: str) -> str:
    """The form in which names that collide on some file system are equal."""
    if path.isascii():
        return path.lower()
    return _compose(_compose(path).casefold())


def _compose(path: str) -> str:
    """NFC of each component. Normalising takes quadratic time in the marks of a row, so
    what is longer than any file system's names is left as it is.
    """
    return "/".join(
        part if len(part) > _MAX_COMPONENT else unicodedata.normalize("NFC", part)
        for part in path.split("/")
    )


def windows_problem(name: str) -> str | None:
    """Why Windows can't keep ``name`` (one component), or None (§6.1.2)."""
    if _WINDOWS_RESERVED.fullmatch(name):
        return N_("reserved name")
    if name.endswith((".", " ")):
        return N_("ends with a dot or a space")
    if _WINDOWS_CHARACTERS.search(name):
        return N_("holds a character that Windows forbids")
    return None


def encode_name(name: str) -> str:
    """A lossless, portable spelling of one component that can't be kept as it is.

    That is a name that is not UTF-8, or one that would lead out of the bag where
    the backslash separates. Bytes outside UTF-8, backslashes and the equals sign
    become ``=XX``; any other name is returned unchanged. (Not ``%XX``: manifests
    would have to encode the percent sign again, and ``sha512sum -c`` could not
    find the file.)
    """
    if is_utf8(name) and ".." not in name.split("\\"):
        return name
    return "".join(
        f"={ord(character) - 0xDC00:02X}"
        if "\udc80" <= character <= "\udcff"
        else f"={ord(character):02X}"
        if character in "=\\"
        else character
        for character in name
    )


def short_name(name: str) -> str:
    """``name`` where any file system can keep it, else its beginning and a digest of it all:
    an encoded name may be three times as long as the one that it stands for.
    """
    data = name.encode("utf-8")
    if len(data) <= _NAME_MAX:
        return name
    mark = f"={hashlib.sha256(data).hexdigest()[:32]}"
    return data[: _NAME_MAX - len(mark) - 8].decode("utf-8", "ignore") + mark
