"""The programs and libraries that say what a file is, one class each; all run in the child.

Job: ask, and keep of the answer what a record has room for. Limits: nothing here trusts the
file or the answer; a tool that isn't installed isn't asked.

A tool gives ``format`` (puid, mime, format, version, basis, warnings, class), ``technical``
and ``found``: what the file says of places, devices, times and people.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

__all__ = ["NAMES", "Tool", "installed", "load_tool", "programs"]

NAMES = ("siegfried", "mediainfo", "exiftool", "c2pa")
_MAX_ANSWER_BYTES = 4 << 20


class Tool(Protocol):
    """What a record calls it is ``version``."""

    version: str

    def run(self, path: str) -> dict[str, Any]:
        """What it says of the file. May raise anything, or never return."""
        ...


def installed() -> tuple[str, ...]:
    """The tools that can be had here; none where the extra "formats" isn't installed."""
    found = []
    if importlib.util.find_spec("pygfried"):
        found.append("siegfried")
    if importlib.util.find_spec("pymediainfo"):
        found.append("mediainfo")
    if found and shutil.which("exiftool"):
        found.append("exiftool")
    return (*found, "c2pa") if found else ()


def programs() -> dict[str, str]:
    """Where programs lie: looked for outside, where everything can be seen."""
    path = shutil.which("exiftool")
    return {"exiftool": os.path.realpath(path)} if path else {}


def load_tool(name: str, where: Mapping[str, str], memory_bytes: int) -> Tool:
    """The tool ``name``, or the class ``module:Class`` (tests bring some of their own)."""
    if name == "siegfried":
        return _Siegfried()
    if name == "mediainfo":
        return _MediaInfo()
    if name == "exiftool":
        return _ExifTool(where["exiftool"], memory_bytes)
    module, _colon, kind = (name if ":" in name else "archiver.identify.c2pa:C2pa").partition(":")
    tool: Tool = getattr(importlib.import_module(module), kind)()
    return tool


def _version(package: str) -> str:
    from importlib.metadata import version

    return version(package)


class _Siegfried:
    """PRONOM's signatures, by pygfried."""

    def __init__(self) -> None:
        import pygfried

        self._scanner = pygfried.Scanner()
        self.version = f"pygfried {_version('pygfried')}"
        details = self._asked("/dev/urandom/")
        self.version += f" / PRONOM {details}" if details else ""

    def _asked(self, path: str) -> str:
        """Which signatures it has; no file is needed to learn that."""
        try:
            answer = self._scanner.identify_many([path])
            return str(answer["identifiers"][0]["details"])
        except Exception:  # noqa: BLE001 - then the record doesn't say
            return ""

    def run(self, path: str) -> dict[str, Any]:
        if os.path.getsize(path) == 0:
            return {"format": {"warnings": ["the file is empty"]}}
        (answer,) = self._scanner.identify(path, detailed=True)["files"]
        matches = answer["matches"]
        best = next((one for one in matches if one["id"] != "UNKNOWN"), None)
        warnings = [one["warning"] for one in matches if one["warning"]]
        if answer["errors"]:
            warnings.append(answer["errors"])
        if best is None:
            return {"format": {"warnings": warnings}}
        others = [one["id"] for one in matches if one is not best]
        if others:
            warnings.append("also possible: " + ", ".join(others))
        wanted = {"puid": "id", "mime": "mime", "format": "format", "version": "version"}
        told = {key: best.get(name, "") for key, name in wanted.items()}
        told |= {"basis": best["basis"], "class": best.get("class", ""), "warnings": warnings}
        return {"format": told}


_TRACK_FIELDS = (
    "Format",
    "Format_Profile",
    "CodecID",
    "Duration",
    "OverallBitRate",
    "BitRate",
    "Width",
    "Height",
    "Rotation",
    "FrameRate",
    "FrameCount",
    "BitDepth",
    "Channels",
    "SamplingRate",
    "Language",
    "Encoded_Library",
    "IsTruncated",
)
_MAX_TRACKS = 16


class _MediaInfo:
    """Codecs, duration, frame size, rates, by MediaInfo."""

    def __init__(self) -> None:
        from pymediainfo import MediaInfo

        self._parse = MediaInfo.parse
        self.version = f"pymediainfo {_version('pymediainfo')}"
        MediaInfo.can_parse()

    def run(self, path: str) -> dict[str, Any]:
        text = self._parse(path, output="JSON")
        answer = json.loads(text)
        media = answer.get("media") or {}
        tracks = media.get("track", [])[:_MAX_TRACKS]
        technical: list[dict[str, Any]] = []
        found: dict[str, dict[str, Any]] = {}
        for track in tracks:
            kept = {key: track[key] for key in _TRACK_FIELDS if track.get(key)}
            technical.append({"type": track.get("@type", ""), **kept})
            kind = str(track.get("@type", "")).casefold()
            for topic, key, value in _media_claims(track):
                found.setdefault(topic, {})[f"{kind} {key}"] = value
        if len(technical) <= 1 and not (tracks and tracks[0].get("Format")):
            return {}
        return {"technical": {"tracks": technical}, "found": found}


_CLAIMS = {
    "gps": ("gps", "location", "xyz", "geo"),
    "times": ("date", "time"),
    "device": ("make", "model", "serial", "lens", "hardware", "software", "encoded_app", "device"),
    "people": ("performer", "director", "artist", "author", "creator", "owner", "byline"),
}
"""By topic: parts of names, folded."""
_NO_CLAIMS = ("duration", "timecode", "timescale", "exposuretime", "file_", "_string", "delay")
_PAST = ("unit", "timezone_offset")


def _topic(name: str) -> str:
    """Of what a tag with this name tells, or ""."""
    folded = name.casefold()
    if any(part in folded for part in _NO_CLAIMS):
        return ""
    for topic, parts in _CLAIMS.items():
        if any(part in folded for part in parts) and not folded.endswith(_PAST):
            return topic
    return ""


def _media_claims(track: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    more = track.get("extra")
    fields = {**track, **(more if isinstance(more, dict) else {})}
    for key, value in fields.items():
        topic = _topic(key)
        if topic and isinstance(value, str | int | float) and not key.startswith("Format"):
            yield topic, key, value


_TECHNICAL = (
    "ImageWidth",
    "ImageHeight",
    "PageCount",
    "Pages",
    "PDFVersion",
    "FileType",
    "BitsPerSample",
    "ColorComponents",
    "Orientation",
    "Compression",
    "Duration",
    "Encryption",
    "Linearized",
    "Warning",
)
_UNASKED = ("System", "ExifTool")
"""Groups that tell of the copy and of the tool, not of the file."""


class _ExifTool:
    """GPS, dates, devices, pages, by exiftool, which stays and answers one after the other."""

    def __init__(self, program: str, memory_bytes: int) -> None:
        self._program, self._memory = program, memory_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self.version = "exiftool"
        version = self._ask(["-ver"]).strip().decode("ascii", "replace")
        self.version = f"exiftool {version[:20]}"

    def run(self, path: str) -> dict[str, Any]:
        arguments = ["-json", "-G1", "-n", "-struct", "-api", "largefilesupport=1"]
        answer = self._ask([*arguments, path])
        records = json.loads(answer.decode("utf-8", "replace") or "[]")
        if not records or os.fsencode(records[0].get("SourceFile", "")) != os.fsencode(path):
            if not os.fsencode(path).isascii() and records:
                return _exif_facts(records[0])  # it spells such names in its own way
            return {}
        return _exif_facts(records[0])

    def close(self) -> None:
        """End it. The next question starts another."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    stream.close()  # type: ignore[union-attr]
            self._process = None

    def _ask(self, arguments: list[str]) -> bytes:
        try:
            return self._asked(arguments)
        except OSError:
            self.close()
            raise

    def _asked(self, arguments: list[str]) -> bytes:
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        lines = b"".join(_argument(one) for one in arguments)
        process.stdin.write(lines + b"-execute\n")
        process.stdin.flush()
        answer = bytearray()
        while not answer.endswith(b"{ready}\n"):
            piece = os.read(process.stdout.fileno(), 1 << 16)
            if not piece:
                raise ChildProcessError("exiftool ended")
            answer += piece
            if len(answer) > _MAX_ANSWER_BYTES:
                raise ChildProcessError("exiftool answered without end")
        return bytes(answer[: -len(b"{ready}\n")])

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            command = [self._program, "-config", "", "-stay_open", "True", "-@", "-"]
            pipe = subprocess.PIPE
            environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": "/nonexistent"}
            self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment)
            if hasattr(resource, "prlimit"):
                bound = (self._memory, self._memory)
                resource.prlimit(self._process.pid, resource.RLIMIT_AS, bound)
        return self._process


def _argument(text: str) -> bytes:
    """One line for exiftool. Paths are absolute, so none begins with a dash; a line break is
    escaped as in C.
    """
    data = os.fsencode(text)
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
        data = b"#[CSTR]" + data
    return data + b"\n"


def _exif_facts(record: Mapping[str, Any]) -> dict[str, Any]:
    technical: dict[str, Any] = {}
    found: dict[str, dict[str, Any]] = {}
    for tag, value in record.items():
        group, _colon, name = tag.partition(":")
        if group in _UNASKED and name != "Warning":
            continue
        if name in _TECHNICAL:
            technical.setdefault(name, value)
            continue
        topic = "gps" if group == "GPS" else _topic(name)
        if topic and isinstance(value, str | int | float):
            found.setdefault(topic, {})[f"{tag}"] = value
    return {"technical": technical, "found": found}
