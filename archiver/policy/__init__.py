"""Policies: what is asked of bags, read from TOML into frozen values.

Job: find, read, check and merge policy files. Limits: knows nothing of what it
judges; every later part adds its keys to :data:`_FIELDS` through its dataclass.
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archiver.digest import ALGORITHMS
from archiver.errors import PolicyError
from archiver.i18n import _
from archiver.tomlfile import TomlText, hint_for

__all__ = [
    "AuditPolicy",
    "BagPolicy",
    "DescribePolicy",
    "EncryptionPolicy",
    "FormatPolicy",
    "KeepPolicy",
    "Policy",
    "ProofPolicy",
    "ScanPolicy",
    "SidecarPolicy",
    "WatchPolicy",
    "load_policy",
    "policy_names",
]

_MAX_CHAIN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BagPolicy:
    """``[bag]``: how bags are made."""

    algorithms: tuple[str, ...] = ("sha512", "sha256")
    read_only: bool = True
    verify_after: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SidecarPolicy:
    """``[sidecar]``: what ``metadata/filesystem.jsonl`` may tell."""

    owners: bool = False
    extended_attributes: bool = False
    absolute_link_targets: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofPolicy:
    """``[proof]``: how many trusted signatures a bag needs, and how many trusted time
    stamps, each from another TSA, each of them.
    """

    signatures: int = 0
    time_stamps: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPolicy:
    """``[audit]``: how often every copy of a bag that a vault keeps is read."""

    every_days: int = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPolicy:
    """``[watch]``: when a file in a watched folder has settled, what becomes one bag, and
    what happens to the original then.

    Patterns are those of a shell and go by a file's name, or by its path below the folder
    where they hold a ``/``; ``.part``, without wildcards, is the end of a name.
    """

    quiet_seconds: int = 5
    share_quiet_seconds: int = 30
    empty_quiet_seconds: int = 30
    unproved_quiet_seconds: int = 30
    ignore: tuple[str, ...] = (".DS_Store", "Thumbs.db", "desktop.ini", ".nfs*", ".fuse_hidden*")
    temporary: tuple[str, ...] = (
        ".part",
        ".partial",
        ".crdownload",
        ".filepart",
        ".download",
        ".tmp",
        ".swp",
        "~$*",
        ".~lock.*",
        ".goutputstream-*",
    )
    group: str = "file"
    done_marker: str = ".done"
    originals: str = "keep"
    move_to: str = ""
    required_replicas: int = 0
    large_bytes: int = 268_435_456
    unsigned: str = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribePolicy:
    """``[describe]``: which fields of a description are owed, of any kind and of each; the
    names are those of :mod:`archiver.describe.fields`. ``required``: a bag without a
    description doesn't satisfy the policy. Nothing waits for a description to be sealed.
    """

    required: bool = False
    any: tuple[str, ...] = ()
    document: tuple[str, ...] = ()
    photograph: tuple[str, ...] = ()
    video: tuple[str, ...] = ()
    audio: tuple[str, ...] = ()
    statement: tuple[str, ...] = ()
    social_media_post: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()
    physical_object_record: tuple[str, ...] = ()
    absence: tuple[str, ...] = ()

    def wanted(self, kind: str) -> tuple[str, ...]:
        """What is owed by a description of ``kind``: "social-media-post" and the like."""
        own: tuple[str, ...] = getattr(self, kind.replace("-", "_"))
        return tuple(dict.fromkeys((*self.any, *own)))


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatPolicy:
    """``[formats]``: whether formats are identified, how much time and memory the child
    that does it may take for one file, and which are accepted or refused: PRONOM's
    identifiers (``fmt/199``) or MIME types with wildcards (``video/*``). With none named
    all are accepted.
    """

    identify: bool = True
    seconds: int = 20
    memory_mb: int = 512
    accepted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    thumbnails: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanPolicy:
    """``[scan]``: the command of a virus scanner, ``{path}`` in it is what to scan. What is
    found is kept all the same unless ``found`` is "refuse"; ``required``: a bag that was not
    scanned doesn't satisfy the policy. ``clean`` and ``infected`` are its exit codes.
    """

    command: tuple[str, ...] = ()
    seconds: int = 600
    found: str = "keep"
    required: bool = False
    clean: int = 0
    infected: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptionPolicy:
    """``[encryption]``: what is encrypted before it is put into a bag ("never"; "secret":
    what is confidential or sealed; "always") and for whom: age recipients. ``escrow`` gets
    everything too; ``identity`` are those of identity envelopes alone.
    """

    payload: str = "secret"
    recipients: tuple[str, ...] = ()
    escrow: tuple[str, ...] = ()
    identity: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepPolicy:
    """``[keep]``: how many replicas a vault is to have beside its own copy, and for how many
    years at least its bags are kept (0: for good); ``legal_hold``: until a court says so.
    """

    replicas: int = 0
    retention_years: int = 0
    legal_hold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A whole policy, with what it extends merged in."""

    name: str
    description: str = ""
    bag: BagPolicy = field(default_factory=BagPolicy)
    sidecar: SidecarPolicy = field(default_factory=SidecarPolicy)
    proof: ProofPolicy = field(default_factory=ProofPolicy)
    audit: AuditPolicy = field(default_factory=AuditPolicy)
    watch: WatchPolicy = field(default_factory=WatchPolicy)
    describe: DescribePolicy = field(default_factory=DescribePolicy)
    formats: FormatPolicy = field(default_factory=FormatPolicy)
    scan: ScanPolicy = field(default_factory=ScanPolicy)
    encryption: EncryptionPolicy = field(default_factory=EncryptionPolicy)
    keep: KeepPolicy = field(default_factory=KeepPolicy)


_TABLES: dict[str, type[Any]] = {
    "bag": BagPolicy,
    "sidecar": SidecarPolicy,
    "proof": ProofPolicy,
    "audit": AuditPolicy,
    "watch": WatchPolicy,
    "describe": DescribePolicy,
    "formats": FormatPolicy,
    "scan": ScanPolicy,
    "encryption": EncryptionPolicy,
    "keep": KeepPolicy,
}
_MAX_COUNT = 16
_A_DAY = 86_400
_LIMITS = {
    "every_days": (1, 36_500),
    "quiet_seconds": (1, _A_DAY),
    "share_quiet_seconds": (1, _A_DAY),
    "empty_quiet_seconds": (1, _A_DAY),
    "unproved_quiet_seconds": (1, _A_DAY),
    "large_bytes": (1, 1 << 62),
    "seconds": (1, 86_400),
    "memory_mb": (64, 1 << 20),
    "clean": (0, 255),
    "infected": (0, 255),
    "retention_years": (0, 1000),
}
"""Of whole numbers; the others go from 0 to :data:`_MAX_COUNT`."""
_CHOICES = {
    "group": ("file", "folder"),
    "originals": ("keep", "move", "delete"),
    "unsigned": ("wait", "allow"),
    "found": ("keep", "refuse"),
    "payload": ("never", "secret", "always"),
}
"""Texts that only a few words will do for."""
_PATTERNS = ("ignore", "temporary")
_NAMES = ("done_marker",)
"""Texts that must be the name of a file."""
_TOP_LEVEL = ("description", "extends", *_TABLES)


def _directory() -> Path:
    """Where the shipped policies lie: in the wheel, else beside the package."""
    inside = Path(__file__).parent.parent / "policies"
    return inside if inside.is_dir() else Path(__file__).parent.parent.parent / "policies"


def policy_names() -> list[str]:
    """The policies that ship, by name."""
    return sorted(path.stem for path in _directory().glob("*.toml"))


def load_policy(name: str) -> Policy:
    """The policy ``name``: one that ships, or a path that ends in ``.toml``.

    Raises PolicyError with file, line and the nearest known key.
    """
    merged: dict[str, Any] = {}
    for table in reversed(_chain(name)):
        for key, value in table.items():
            merged[key] = {**merged.get(key, {}), **value} if key in _TABLES else value
    tables = {key: kind(**merged.get(key, {})) for key, kind in _TABLES.items()}
    if tables["watch"].originals == "move" and not tables["watch"].move_to:
        raise PolicyError(
            _("policy {name}: originals are to be moved, but move_to doesn't say where").format(
                name=name
            )
        )
    return Policy(name=name, description=merged.get("description", ""), **tables)


def _chain(name: str) -> list[dict[str, Any]]:
    """The policy's table and those it extends, nearest first."""
    chain: list[dict[str, Any]] = []
    origin, wanted = Path(), name
    while wanted:
        if len(chain) == _MAX_CHAIN:
            raise PolicyError(
                _("policy {name}: extends too many others, or itself").format(name=name)
            )
        path = _find(wanted, origin)
        table = _read(path)
        chain.append(table)
        origin, wanted = path.parent, table.pop("extends", "")
    return chain


def _find(name: str, origin: Path) -> Path:
    if name.endswith(".toml"):
        return origin / name
    path = _directory() / f"{name}.toml"
    if name in policy_names():
        return path
    known = policy_names()
    near = difflib.get_close_matches(name, known, n=1)
    hint = (
        _("Did you mean {near}?").format(near=near[0])
        if near
        else _("Known policies: {known}; or give a path that ends in .toml.").format(
            known=", ".join(known)
        )
    )
    raise PolicyError(_("there is no policy named {name}").format(name=name), hint=hint)


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        raise PolicyError(
            _("policy {path} can't be read: {reason}").format(path=path, reason=error)
        ) from error
    try:
        parsed = TomlText(text)
    except ValueError as error:
        raise PolicyError(_("policy {path}: {reason}").format(path=path, reason=error)) from error
    if not parsed.table:
        raise PolicyError(
            _("policy {path} is empty").format(path=path),
            hint=_("A policy without rules would approve of anything; write down what is wanted."),
        )
    _Checker(path, parsed).check(parsed.table)
    return parsed.table


class _Checker:
    """Checks the keys and types of one file, and says where they are wrong."""

    def __init__(self, path: Path, text: TomlText) -> None:
        self._path, self._text = path, text

    def check(self, table: dict[str, Any]) -> None:
        for key, value in table.items():
            if key not in _TOP_LEVEL:
                self._unknown(key, "", _TOP_LEVEL)
            if key in _TABLES:
                self._check_table(key, value)
            elif not isinstance(value, str):
                self._fail(key, "", _("{key} must be text").format(key=key))

    def _check_table(self, name: str, value: object) -> None:
        if not isinstance(value, dict):
            self._fail(name, "", _("{key} must be a table").format(key=name))
        assert isinstance(value, dict)
        fields = {item.name: item for item in dataclasses.fields(_TABLES[name])}
        for key, given in value.items():
            if key not in fields:
                self._unknown(key, name, tuple(fields))
            value[key] = self._check_value(key, name, fields[key].default, given)

    def _check_value(self, key: str, table: str, default: object, given: object) -> object:
        if isinstance(default, bool):
            if not isinstance(given, bool):
                self._fail(key, table, _("{key} must be true or false").format(key=key))
            return given
        if isinstance(default, int):
            least, limit = _LIMITS.get(key, (0, _MAX_COUNT))
            if type(given) is not int or not least <= given <= limit:
                text = _("{key} must be a whole number from {least} to {limit}")
                self._fail(key, table, text.format(key=key, least=least, limit=limit))
            return given
        if isinstance(default, str):
            return self._check_text(key, table, given)
        return self._check_list(key, table, given)

    def _check_text(self, key: str, table: str, given: object) -> str:
        if not isinstance(given, str) or "\0" in given:
            self._fail(key, table, _("{key} must be text").format(key=key))
        assert isinstance(given, str)
        choices = _CHOICES.get(key)
        if choices and given not in choices:
            text = _("{key} must be one of: {choices}")
            self._fail(key, table, text.format(key=key, choices=", ".join(choices)))
        if key in _NAMES and (given in ("", ".", "..") or "/" in given):
            self._fail(key, table, _("{key} must be the name of a file").format(key=key))
        return given

    def _check_list(self, key: str, table: str, given: object) -> tuple[str, ...]:
        if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
            self._fail(key, table, _("{key} must be a list of names").format(key=key))
        assert isinstance(given, list)
        if key in _PATTERNS:
            if any(not item.strip("*") or "\0" in item for item in given):
                text = _("{key}: a pattern must not be empty or match every name")
                self._fail(key, table, text.format(key=key))
            return tuple(given)
        if key != "algorithms":
            return tuple(given)
        unknown = [item for item in given if item not in ALGORITHMS]
        if unknown or not given:
            text = _("{key}: {value} is no known digest algorithm")
            self._fail(key, table, text.format(key=key, value=(unknown or [""])[0]))
        return tuple(given)

    def _unknown(self, key: str, table: str, known: tuple[str, ...]) -> None:
        self._fail(key, table, _("unknown key {key}").format(key=key), hint_for(key, known))

    def _fail(self, key: str, table: str, message: str, hint: str = "") -> None:
        place = f"{self._path}:{self._text.line(key, table)}"
        raise PolicyError(
            _("policy {place}: {message}").format(place=place, message=message), hint=hint
        )
