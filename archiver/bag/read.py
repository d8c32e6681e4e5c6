"""Parsers for tag files: bytes in, values and findings out (RFC 8493 §2).

Job: read the declaration, manifests, bag-info and fetch.txt of BagIt 0.93 to
1.0. Limits: no I/O of their own, no look at the file system; every parser takes
any bytes and bounded memory. :func:`strictly` is the door that raises.

Lines end at LF, CR or CRLF and at nothing else: U+2028, U+0085 and FF are
parts of names, so ``str.splitlines`` must never be used here.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol, TypeVar

from archiver.bag.model import KNOWN_VERSIONS, BagInfo, Declaration, FetchEntry, ManifestName
from archiver.bag.names import decode_path, has_bare_percent, has_unsafe_shape, path_problem
from archiver.errors import FormatError
from archiver.findings import Findings, Severity
from archiver.i18n import N_

__all__ = [
    "MAX_LINE",
    "MAX_TAG_FILE_BYTES",
    "ManifestBlock",
    "ManifestReader",
    "find_codec",
    "parse_bag_info",
    "parse_declaration",
    "parse_fetch",
    "read_blocks",
    "strictly",
]

MAX_LINE = 64 * 1024
"""Characters in a line of a manifest or fetch.txt; Linux paths end at 4,096 bytes."""
MAX_TAG_FILE_BYTES = 1024 * 1024
"""Bytes of a bag-info.txt that are read."""
_CHUNK_BYTES = 1024 * 1024
_MAX_DECLARATION_BYTES = 4096
_MARK_BYTES = 4

Value = TypeVar("Value")


class Readable(Protocol):
    """All that the parsers ask of a stream."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""


def strictly(parse: Callable[[Findings], Value]) -> Value:
    """Run ``parse`` and raise FormatError at its first error, else give its value."""
    findings = Findings()
    value = parse(findings)
    for finding in findings:
        if finding.severity is not Severity.WARNING:
            place = f"{finding.path}: " if finding.path else ""
            raise FormatError(f"{place}{finding.message} ({finding.code})")
    return value


# -- bagit.txt ----------------------------------------------------------------

_DECLARATION = re.compile(
    rb"BagIt-Version: ([0-9]+)\.([0-9]+)(?:\r\n|\r|\n)"
    rb"Tag-File-Character-Encoding: (\S+)(?:\r\n|\r|\n)?"
)
_LENIENT = re.compile(
    rb"\s*BagIt-Version\s*:\s*([0-9]{1,9})\.([0-9]{1,9})[ \t]*[\r\n]\s*"
    rb"Tag-File-Character-Encoding\s*:\s*(\S+)\s*"
)


def parse_declaration(
    data: bytes, findings: Findings, path: str = "bagit.txt"
) -> Declaration | None:
    """``bagit.txt`` (§2.1.1): exactly two lines. Before 1.0 the white space around
    the colon is free. None where not even the version can be made out.
    """
    if data.startswith(codecs.BOM_UTF8):
        findings.add("E-BAG-003", path)
        data = data[len(codecs.BOM_UTF8) :]
    if len(data) > _MAX_DECLARATION_BYTES:
        findings.add("E-BAG-002", path, problem=N_("it is far too long"))
        return None
    found = _DECLARATION.fullmatch(data)
    lenient = found or _LENIENT.fullmatch(data)
    if lenient is None:
        findings.add("E-BAG-002", path, problem=_declaration_problem(data))
        return None
    major, minor, encoding = lenient[1], lenient[2], lenient[3].decode("ascii", "replace")
    if len(major) > 9 or len(minor) > 9:
        findings.add("E-BAG-004", path, version=f"{major[:9].decode()}…")
        return None
    declaration = Declaration((int(major), int(minor)), encoding)
    if found is None and (declaration.is_1_0 or data[:1].isspace()):
        findings.add(
            "E-BAG-002",
            path,
            problem=N_("it has other white space than one space after each colon"),
        )
    elif found is None:
        pass  # drafts allowed white space around the colon
    elif not data.endswith((b"\r", b"\n")) and declaration.is_1_0:
        findings.add("W-BAG-048", path)
    _check_version(declaration, major, minor, findings, path)
    return declaration


def _check_version(
    declaration: Declaration, major: bytes, minor: bytes, findings: Findings, path: str
) -> None:
    text = f"{major.decode()}.{minor.decode()}"
    if declaration.version in KNOWN_VERSIONS and text == declaration.version_text:
        return
    if declaration.version > (1, 0):
        findings.add("U-BAG-005", path, version=text)
    else:
        findings.add("E-BAG-004", path, version=text)


def _declaration_problem(data: bytes) -> str:
    if not data.strip():
        return N_("it is empty")
    lines = [line for line in re.split(rb"\r\n|\r|\n", data) if line.strip()]
    if not re.match(rb"\s*BagIt-Version\s*:", lines[0]):
        return N_("the first line is not BagIt-Version")
    if not re.fullmatch(rb"\s*BagIt-Version\s*:\s*[0-9]+\.[0-9]+\s*", lines[0]):
        return N_("the version is not of the form M.N")
    if len(lines) == 1:
        return N_("the line Tag-File-Character-Encoding is missing")
    if len(lines) > 2:
        return N_("there are more than two lines")
    return N_("the second line is not Tag-File-Character-Encoding with a value")


# -- text ----------------------------------------------------------------------

_NO_CHARSETS = frozenset(
    {"unicode_escape", "raw_unicode_escape", "idna", "punycode", "undefined", "utf_7"}
)


def find_codec(encoding: str) -> codecs.CodecInfo | None:
    """The codec of a character set, or None: bytes-to-bytes codecs such as zlib
    and Python's own escapes are no character sets, and a way to attack us.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:()+-]{0,63}", encoding):
        return None
    try:
        info = codecs.lookup(encoding)
    except (LookupError, ValueError, UnicodeError):
        return None
    if info.name.replace("-", "_") in _NO_CHARSETS or not info._is_text_encoding:
        return None
    return info


def read_blocks(
    stream: Readable, encoding: str, findings: Findings, path: str
) -> Iterator[tuple[int, str]]:
    """Whole lines of a tag file in portions: (number of the first line, text).

    Line ends come out as LF; the text has none at its end. A line longer than
    :data:`MAX_LINE` is a finding and is left out.
    """
    yield from _Lines(stream, encoding, findings, path).blocks()


class _Lines:
    """Decodes a stream and cuts it at line ends, in bounded memory."""

    def __init__(self, stream: Readable, encoding: str, findings: Findings, path: str) -> None:
        self._stream = stream
        self._findings = findings
        self._path = path
        self._encoding = encoding
        self._offset = 0
        self._skipping = False
        self._line = 1
        self._decoder: codecs.IncrementalDecoder | None = None
        self._sound = True

    def blocks(self) -> Iterator[tuple[int, str]]:
        """See :func:`read_blocks`."""
        rest = ""
        while True:
            data = self._stream.read(_CHUNK_BYTES)
            while self._decoder is None and data and len(data) < _MARK_BYTES:
                more = self._stream.read(_CHUNK_BYTES)  # a byte-order mark may be cut in two
                if not more:
                    break
                data += more
            text = rest + self._decode(data)
            if not data:
                break
            whole, rest = _cut(text)
            if whole is not None:
                yield from self._emit(whole)
            if len(rest) > MAX_LINE:
                self._too_long()
                rest = rest[-1] if rest[-1] == "\r" else ""
        if text:
            last = text.replace("\r\n", "\n").replace("\r", "\n")
            if last.endswith("\n"):
                last = last[:-1]
            elif not self._skipping:
                self._findings.add("W-BAG-048", self._path)
            yield from self._emit(last)

    def _emit(self, text: str) -> Iterator[tuple[int, str]]:
        first = self._line
        self._line += text.count("\n") + 1
        if self._skipping:
            self._skipping = False
            _head, found, text = text.partition("\n")
            first += 1
            if not found:
                return
        if len(text) > MAX_LINE and max(map(len, text.split("\n"))) > MAX_LINE:
            self._findings.add(
                "U-BAG-051", self._path, limit=MAX_TAG_FILE_BYTES, line_limit=MAX_LINE
            )
            text = "\n".join(line if len(line) <= MAX_LINE else "" for line in text.split("\n"))
        yield first, text

    def _too_long(self) -> None:
        if not self._skipping:
            self._findings.add(
                "U-BAG-051", self._path, limit=MAX_TAG_FILE_BYTES, line_limit=MAX_LINE
            )
        self._skipping = True

    def _decode(self, data: bytes) -> str:
        if self._decoder is None:
            data = self._begin(data)
        assert self._decoder is not None
        final = not data
        state = self._decoder.getstate()
        try:
            text = self._decoder.decode(data, final)
        except UnicodeError as error:
            text = self._decode_unsound(data, final, state, error)
        self._offset += len(data)
        return text

    def _decode_unsound(
        self, data: bytes, final: bool, state: tuple[bytes, int], error: UnicodeError
    ) -> str:
        if self._sound:
            self._sound = False
            offset = self._offset - len(state[0]) + getattr(error, "start", 0)
            self._findings.add(
                "E-BAG-043", self._path, encoding=self._encoding, offset=max(offset, 0)
            )
        assert self._decoder is not None
        # The bytes of a name that is not UTF-8 survive, so that its file is found.
        utf8 = codecs.lookup(self._encoding).name == "utf-8"
        self._decoder.errors = "surrogateescape" if utf8 else "replace"
        self._decoder.setstate(state)
        return self._decoder.decode(data, final)

    def _begin(self, data: bytes) -> bytes:
        """Choose the decoder by the first bytes; a byte-order mark only where needed."""
        info = codecs.lookup(self._encoding)
        marks = {
            "utf-8": codecs.BOM_UTF8,
            "utf-16-le": codecs.BOM_UTF16_LE,
            "utf-16-be": codecs.BOM_UTF16_BE,
        }
        mark = marks.get(info.name)
        if mark and data.startswith(mark):
            self._findings.add("E-BAG-044", self._path, encoding=self._encoding)
            data = data[len(mark) :]
            self._offset = len(mark)
        if info.name == "utf-32" and not data.startswith(
            (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
        ):
            info = codecs.lookup("utf-32-be")  # Unicode D99: big-endian without a mark
        if info.name == "utf-16" and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
            info = codecs.lookup("utf-16-be")  # RFC 2781 §4.3: big-endian without a mark
        if info.incrementaldecoder is None:
            raise FormatError(f"{self._path}: {self._encoding} can't be read in portions")
        self._decoder = info.incrementaldecoder("strict")
        return data


def _cut(text: str) -> tuple[str | None, str]:
    """(whole lines with LF between them, the unfinished rest)."""
    if "\r" in text:
        held = "\r" if text.endswith("\r") else ""  # an LF may follow
        body = text[: len(text) - len(held)]
        text = body.replace("\r\n", "\n").replace("\r", "\n") + held
    position = text.rfind("\n")
    if position < 0:
        return None, text
    return text[:position], text[position + 1 :]


# -- manifests -----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestBlock:
    """Well-formed lines of a manifest: paths, digests joined, line numbers."""

    paths: list[str]
    digests: bytes
    lines: Sequence[int]


_LINE = re.compile(r"([0-9A-Fa-f]+)[ \t]+(.*)", re.DOTALL)


class ManifestReader:
    """Reads one manifest (§2.1.3, §2.2.1). Unsound lines become findings."""

    def __init__(self, name: ManifestName, declaration: Declaration, findings: Findings) -> None:
        self._name = name
        self._declaration = declaration
        self._findings = findings
        self._width = name.algorithm.size_bytes * 2 if name.algorithm else 0

    def read(self, stream: Readable) -> Iterator[ManifestBlock]:
        """The manifest in blocks, as the stream is read."""
        blocks = read_blocks(stream, self._declaration.encoding, self._findings, self._name.file)
        for first, text in blocks:
            plain = self._width and not self._name.is_tag_manifest
            block = self._fast(first, text) if plain else None
            yield block or self._careful(first, text)

    def _fast(self, first: int, text: str) -> ManifestBlock | None:
        """A block of plain lines as this and most programs write them, else None.

        What needs a closer look is found by searching the whole block at once:
        a tenth of the time of looking at each line.
        """
        if any(mark in text for mark in ("%", "\\", "//", "/.", "/\n", "\0")) or text[-1:] == "/":
            return None
        width = self._width
        lines = text.split("\n")
        prefix = "  data/"
        start, end = width, width + len(prefix)
        if not all(line[start:end] == prefix for line in lines):
            return None
        try:
            digests = bytes.fromhex("".join([line[:width] for line in lines]))
        except ValueError:
            return None
        if len(digests) * 2 != width * len(lines):
            return None  # fromhex skips white space
        start += 2
        return ManifestBlock(
            paths=[line[start:] for line in lines],
            digests=digests,
            lines=range(first, first + len(lines)),
        )

    def _careful(self, first: int, text: str) -> ManifestBlock:
        paths, digests, numbers = [], [], []
        for number, line in enumerate(text.split("\n"), start=first):
            entry = self._line(number, line)
            if entry:
                digests.append(entry[0])
                paths.append(entry[1])
                numbers.append(number)
        return ManifestBlock(paths=paths, digests=b"".join(digests), lines=numbers)

    def _line(self, number: int, line: str) -> tuple[bytes, str] | None:
        file = self._name.file
        found = _LINE.fullmatch(line)
        if not found:
            problem = (
                N_("it is empty") if not line.strip() else N_("it is not DIGEST, white space, PATH")
            )
            self._findings.add("E-BAG-020", file, line=number, problem=problem)
            return None
        digest: str = found[1]
        path: str = found[2]
        if not self._width:
            digest = ""  # the algorithm is unknown: the path counts, the digest can't
        elif len(digest) != self._width:
            self._findings.add("E-BAG-036", path, manifest=file, line=number, size=self._width)
            return None
        path = self._tidy(number, path)
        if has_unsafe_shape(path):
            self._findings.add("E-BAG-022", path, manifest=file, line=number)
        elif unfit := path_problem(path):
            self._findings.add("E-BAG-020", file, line=number, problem=unfit)
        elif self._belongs(number, path):
            return bytes.fromhex(digest), path
        return None

    def _tidy(self, number: int, path: str) -> str:
        """The path without what older programs put around it, and decoded."""
        file = self._name.file
        if path.startswith("*"):
            self._findings.add("W-BAG-031", path[1:], manifest=file, line=number)
            path = path[1:]
        if path.startswith("./") and not self._declaration.is_1_0:
            path = path[2:]
            self._findings.add("W-BAG-032", path, manifest=file, line=number)
        if self._declaration.is_1_0 and "%" in path:
            if has_bare_percent(path):
                self._findings.add("W-BAG-037", path, manifest=file, line=number)
            path = decode_path(path)
        return path

    def _belongs(self, number: int, path: str) -> bool:
        """Whether a manifest of this kind may list ``path``."""
        payload = path.startswith("data/")
        if not self._name.is_tag_manifest:
            if not payload:
                self._findings.add("E-BAG-021", path, manifest=self._name.file, line=number)
            return payload
        listed = ManifestName.parse(path)
        if payload:
            self._findings.add("E-BAG-028", path, manifest=self._name.file, line=number)
        elif listed is not None and listed.is_tag_manifest:
            self._findings.add("E-BAG-027", path, manifest=self._name.file, line=number)
        else:
            return True
        return False


# -- bag-info.txt --------------------------------------------------------------

_ONCE = ("Bagging-Date", "Bag-Size", "Bag-Group-Identifier", "Bag-Count")


def parse_bag_info(
    stream: BinaryIO, declaration: Declaration, findings: Findings, path: str
) -> BagInfo:
    """``bag-info.txt`` (§2.2.2), or ``package-info.txt`` of the old drafts."""
    elements: list[tuple[str, list[str]]] = []
    limited = _Limited(stream, MAX_TAG_FILE_BYTES)
    for first, text in read_blocks(limited, declaration.encoding, findings, path):
        for number, line in enumerate(text.split("\n"), start=first):
            _info_line(number, line, elements, declaration, findings, path)
    if limited.more:
        findings.add("U-BAG-051", path, limit=MAX_TAG_FILE_BYTES, line_limit=MAX_LINE)
    info = BagInfo(tuple((label, " ".join(parts)) for label, parts in elements))
    _check_info(info, findings, path)
    return info


class _Limited:
    """A stream that ends after ``limit`` bytes, and remembers whether there was more."""

    def __init__(self, stream: Readable, limit: int) -> None:
        self._stream = stream
        self._left = limit
        self.more = False

    def read(self, size: int) -> bytes:
        data = self._stream.read(min(size, self._left + 1))
        self.more = self.more or len(data) > self._left
        data = data[: self._left]
        self._left -= len(data)
        return data


def _info_line(
    number: int,
    line: str,
    elements: list[tuple[str, list[str]]],
    declaration: Declaration,
    findings: Findings,
    path: str,
) -> None:
    if line[:1] in (" ", "\t") and elements and line.strip(" \t"):
        elements[-1][1].append(line.strip(" \t"))
        return
    label, colon, value = line.partition(":")
    problem = _info_problem(line, label, colon, value, declaration)
    if problem:
        findings.add("E-BAG-040", path, line=number, problem=problem)
    if colon and label.strip(" \t"):
        elements.append((label.strip(" \t"), [value.strip(" \t")]))


def _info_problem(
    line: str, label: str, colon: str, value: str, declaration: Declaration
) -> str | None:
    if not line.strip(" \t"):
        # Old drafts say nothing of blank lines, and bags with one at the end are common.
        return N_("it is empty") if declaration.is_1_0 else None
    if not colon:
        return N_("there is no colon")
    if not label.strip(" \t"):
        return N_("there is no label")
    return _spacing_problem(label, value) if declaration.is_1_0 else None


def _spacing_problem(label: str, value: str) -> str | None:
    if label != label.strip():
        return N_("white space stands around the label")
    if value[:1] not in (" ", "\t"):
        return N_("no space follows the colon")
    if value[1:2] in (" ", "\t"):
        return N_("more than one space follows the colon")
    return None


def _check_info(info: BagInfo, findings: Findings, path: str) -> None:
    oxums = info.all("Payload-Oxum")
    if len(oxums) > 1:
        findings.add("E-BAG-041", path, value=", ".join(oxums[:5]))
    for label in _ONCE:
        if len(info.all(label)) > 1:
            findings.add("W-BAG-042", path, label=label)


# -- fetch.txt -----------------------------------------------------------------

_FETCH = re.compile(r"([^ \t]+)[ \t]+([0-9]+|-)[ \t]+(.*)", re.DOTALL)
_ABSOLUTE_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s]+")


def parse_fetch(
    stream: BinaryIO, declaration: Declaration, findings: Findings, path: str = "fetch.txt"
) -> Iterator[FetchEntry]:
    """``fetch.txt`` (§2.2.3). Nothing is ever fetched, and no length is believed."""
    for first, text in read_blocks(stream, declaration.encoding, findings, path):
        for number, line in enumerate(text.split("\n"), start=first):
            entry = _fetch_line(number, line, declaration, findings, path)
            if entry:
                yield entry


def _fetch_line(
    number: int, line: str, declaration: Declaration, findings: Findings, path: str
) -> FetchEntry | None:
    found = _FETCH.fullmatch(line)
    if not found:
        findings.add("E-BAG-045", path, line=number, problem=N_("it has not three parts"))
        return None
    url, length, target = found[1], found[2], found[3]
    if not _ABSOLUTE_URI.fullmatch(url):
        findings.add("E-BAG-045", path, line=number, problem=N_("the URL is not absolute"))
    if target.startswith("./") and not declaration.is_1_0:
        target = target[2:]
        findings.add("W-BAG-032", target, manifest=path, line=number)
    if declaration.is_1_0:
        target = decode_path(target)
    problem = path_problem(target)
    if has_unsafe_shape(target):
        findings.add("E-BAG-022", target, manifest=path, line=number)
    elif problem or len(length) > 20:
        problem = problem or N_("the length is absurd")
        findings.add("E-BAG-045", path, line=number, problem=problem)
    elif not target.startswith("data/"):
        findings.add("E-BAG-047", target, line=number)
    else:
        size = None if length == "-" else int(length)
        return FetchEntry(url=url, length_bytes=size, path=target, line=number)
    return None
