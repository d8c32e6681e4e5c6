"""RFC 8493, rule by rule: what is accepted, what is refused and as what.

The numbers in the test ids are those of the checklist in docs (shared/rfc8493-checklist.md).
Every bag is made by hand; the writer's rules are checked on bags that the program made.
"""

import os
import re
import socket
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from archiver.bag import read
from archiver.digest import ALGORITHMS
from tests.helpers import (
    FILES,
    Bag,
    Ran,
    codes,
    digest,
    encoded_line,
    plain_line,
    problems,
    run,
    snapshot,
    verify,
)

OLD = ("0.93", "0.94", "0.95", "0.96", "0.97")
EXIT = {"valid": 0, "invalid": 1, "undecided": 3}
NFC, NFD = "data/\N{LATIN SMALL LETTER E WITH ACUTE}", "data/e\N{COMBINING ACUTE ACCENT}"


@dataclass(frozen=True)
class Case:
    """A bag, the verdict on it, and codes that must be among the findings."""

    bag: Bag
    verdict: str
    codes: frozenset[str]
    after: Callable[[Path], None] | None = None


def accepted(
    name: str, bag: Bag, *warnings: str, after: Callable[[Path], None] | None = None
) -> object:
    return pytest.param(Case(bag, "valid", frozenset(warnings), after), id=f"{name}-accepted")


def refused(
    name: str,
    bag: Bag,
    *expected: str,
    verdict: str = "invalid",
    after: Callable[[Path], None] | None = None,
) -> object:
    return pytest.param(Case(bag, verdict, frozenset(expected), after), id=f"{name}-refused")


def judge(case: Case, tmp_path: Path) -> None:
    base = case.bag.write(tmp_path / "bag")
    if case.after is not None:
        case.after(base)
    report = verify(base)
    found = list(report.findings)
    assert report.verdict.value == case.verdict, found
    assert report.exit_code == EXIT[case.verdict]
    assert case.codes <= codes(found), found
    if case.verdict == "valid":
        assert not problems(found)


def declared(data: bytes) -> Bag:
    return Bag().set("bagit.txt", data)


def listing(line: Callable[[str, str], bytes], **options: str) -> Bag:
    """A bag whose payload manifest has its lines written by ``line``."""
    return Bag(line=line, **options)  # type: ignore[arg-type]


def separated(by: bytes) -> Bag:
    return Bag(line=lambda checksum, path: plain_line(checksum, path).replace(b"  ", by, 1))


def changed(bag: Bag, change: Callable[[bytes], bytes], path: str = "manifest-sha512.txt") -> Bag:
    return bag.edit(path, change)


def named(*names: str, version: str = "1.0", **options: object) -> Bag:
    """A bag with empty payload files of these names."""
    return Bag({f"data/{name}": b"" for name in names}, version=version, **options)  # type: ignore[arg-type]


def extra_line(path: str, **options: str) -> Bag:
    """A sound bag whose manifest lists one more path."""
    bag = Bag(**options)  # type: ignore[arg-type]
    return changed(bag, lambda data: data + plain_line("0" * 128, path))


def twice(other: str | None = None, **options: str) -> Bag:
    """A manifest that lists data/a.txt again, with this digest or the same."""
    again = plain_line(other or digest("sha512", FILES["data/a.txt"]), "data/a.txt")
    return changed(Bag(**options), lambda data: data + again)  # type: ignore[arg-type]


def without(path: str, bag: Bag | None = None) -> Bag:
    """The manifest lists everything but ``path``."""
    bag = bag or Bag()
    return changed(
        bag,
        lambda data: b"".join(
            line for line in data.splitlines(True) if not line.endswith(path.encode() + b"\n")
        ),
    )


def fetching(line: str, **options: str) -> Bag:
    return Bag(tag_files={"fetch.txt": line.encode()}, **options)  # type: ignore[arg-type]


def holey(line: str = "http://localhost/x 3 data/x\n") -> Bag:
    """data/x is listed and in fetch.txt, but not in the bag."""
    bag = Bag({**FILES, "data/x": b"abc"}, tag_files={"fetch.txt": line.encode()})
    del bag.payload["data/x"]
    return bag


Step = Callable[[Path], None]


def steps(*all_of_them: Step) -> Step:
    def run_all(base: Path) -> None:
        for step in all_of_them:
            step(base)

    return run_all


def link(target: str, name: str = "data/link") -> Step:
    return lambda base: os.symlink(target, base / name)


def fifo(name: str) -> Step:
    return lambda base: os.mkfifo(base / name)


def move(name: str, target: str) -> Step:
    return lambda base: os.rename(base / name, base / target)


def make_directory(name: str) -> Step:
    return lambda base: os.mkdir(base / name)


def remove(name: str) -> Step:
    def one(base: Path) -> None:
        path = base / name
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()

    return one


def put(name: str, data: bytes) -> Step:
    def one(base: Path) -> None:
        (base / name).write_bytes(data)

    return one


def bind_socket(base: Path) -> None:
    here = os.open(base / "data", os.O_RDONLY | os.O_DIRECTORY)
    try:  # socket addresses are short, temporary paths long
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"/proc/self/fd/{here}/socket")
    finally:
        os.close(here)


V1 = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
UTF8_BOM = b"\xef\xbb\xbf"


def utf16(bag: Bag, encoding: str = "utf-16") -> Bag:
    for path, data in list(bag.tags.items()):
        if path != "bagit.txt" and data is not None:
            bag.set(path, data.decode().encode(encoding))
    tag_manifest = bag.tag_manifest("sha512").decode().encode(encoding)
    return bag.set("tagmanifest-sha512.txt", tag_manifest)


DECLARATION = [
    accepted("01-all-parts", Bag()),
    accepted("01-empty-payload", Bag({})),
    refused("01-no-bagit.txt", Bag().set("bagit.txt", None), "E-BAG-001"),
    refused("01-no-manifest", Bag().set("manifest-sha512.txt", None), "E-BAG-007"),
    refused("01-no-data", Bag({}), "E-BAG-008", after=remove("data")),
    refused(
        "01-data-is-a-file",
        Bag({}),
        "E-BAG-008",
        after=steps(remove("data"), put("data", b"")),
    ),
    accepted("02-crlf", declared(V1.replace(b"\n", b"\r\n"))),
    accepted("02-cr", declared(V1.replace(b"\n", b"\r"))),
    accepted("02-no-last-line-end", declared(V1[:-1]), "W-BAG-048"),
    *(
        refused(f"02-{name}", declared(data), "E-BAG-002")
        for name, data in {
            "empty": b"",
            "blank": b" \n\n",
            "swapped": b"Tag-File-Character-Encoding: UTF-8\nBagIt-Version: 1.0\n",
            "one-line": b"BagIt-Version: 1.0\n",
            "three-lines": V1 + b"More: x\n",
            "blank-third-line": V1 + b"\n",
            "blank-line-between": V1.replace(b"\n", b"\n\n", 1),
            "blank-first-line": b"\n" + V1,
            "two-spaces": V1.replace(b": ", b":  "),
            "tab": V1.replace(b": ", b":\t"),
            "space-before-colon": V1.replace(b": ", b" : "),
            "trailing-space": V1.replace(b"1.0\n", b"1.0 \n"),
            "lower-case-label": V1.replace(b"BagIt", b"bagit"),
            "no-encoding": b"BagIt-Version: 1.0\nTag-File-Character-Encoding: \n",
            "form-feed-between": V1.replace(b"\n", b"\f", 1),
            "no-version": V1.replace(b"1.0", b"1"),
            "binary": bytes(range(256)),
            "utf-16": V1.decode().encode("utf-16"),
            "too-long": V1 + b" " * 5000,
            "huge": b"x" * 100_000,
        }.items()
    ),
    accepted(
        "02-before-1.0-white-space",
        Bag(version="0.97").set(
            "bagit.txt", b"BagIt-Version :0.97\nTag-File-Character-Encoding:\tUTF-8\n"
        ),
    ),
    refused(
        "02-before-1.0-leading-space",
        Bag().set("bagit.txt", b" BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-8\n"),
        "E-BAG-002",
    ),
    refused("03-bom", declared(UTF8_BOM + V1), "E-BAG-003"),
    refused("03-bom-before-1.0", declared(UTF8_BOM + V1.replace(b"1.0", b"0.97")), "E-BAG-003"),
    *(accepted(f"04-version-{version}", Bag(version=version)) for version in (*OLD, "1.0")),
    *(
        refused(
            f"04-version-{version}",
            Bag().set("bagit.txt", V1.replace(b"1.0", version.encode())),
            code,
        )
        for version, code in {
            "0.92": "E-BAG-004",
            "0.98": "E-BAG-004",
            "1.00": "E-BAG-004",
            "01.0": "E-BAG-004",
            "0.970": "E-BAG-004",
            "0." + "9" * 40: "E-BAG-004",
            "9" * 40 + ".0": "E-BAG-004",
            "\N{ARABIC-INDIC DIGIT ONE}.0": "E-BAG-002",
        }.items()
    ),
    *(
        refused(
            f"04-version-{version}",
            Bag().set("bagit.txt", V1.replace(b"1.0", version.encode())),
            "U-BAG-005",
            verdict="undecided",
        )
        for version in ("1.1", "2.0", "1.97")
    ),
    *(
        accepted(f"05-encoding-{name}", Bag(encoding=name))
        for name in ("UTF-8", "utf-8", "US-ASCII", "ISO-8859-1", "windows-1252", "Shift_JIS")
    ),
    *(
        refused(
            f"05-encoding-{name}",
            Bag().edit(
                "bagit.txt",
                lambda data, name=name: data.replace(b"UTF-8", name.encode()),  # type: ignore[misc]
            ),
            "U-BAG-006",
            verdict="undecided",
        )
        for name in (
            "zlib",
            "zlib_codec",
            "base64",
            "hex",
            "bz2",
            "rot13",
            "quopri",
            "uu",
            "unicode_escape",
            "Unicode-Escape",
            "raw_unicode_escape",
            "undefined",
            "punycode",
            "idna",
            "no-such",
            "../utf8",
            "os.path",
            "utf-8\0",
            "%s",
            "x" * 200,
        )
    ),
]

PAYLOAD_MANIFESTS = [
    accepted("06-in-every-manifest", Bag(algorithms=("sha256", "sha512"))),
    refused(
        "06-not-in-every-manifest",
        without("data/a.txt", Bag(algorithms=("sha256", "sha512"))),
        "E-BAG-102",
    ),
    refused("06-in-no-manifest", without("data/a.txt"), "E-BAG-101"),
    refused("06-twice", twice(), "E-BAG-023"),
    refused("06-twice-with-another-digest", twice("0" * 128), "E-BAG-025"),
    refused(
        "06-twice-by-encoding",
        changed(named("a%"), lambda d: d + d.replace(b"%25", b"%")),
        "E-BAG-023",
    ),
    *(
        accepted(
            f"07-in-one-of-two-{version}",
            without("data/a.txt", Bag(algorithms=("sha256", "sha512"), version=version)),
        )
        for version in OLD
    ),
    refused("07-in-none-before-1.0", without("data/a.txt", Bag(version="0.97")), "E-BAG-101"),
    accepted("07-twice-before-1.0", twice(version="0.97"), "W-BAG-024"),
    refused("07-twice-before-1.0-differing", twice("0" * 128, version="0.97"), "E-BAG-025"),
    *(
        refused(f"08-{name}", Bag(tag_files={name: Bag().manifest("sha512")}), "E-BAG-009")
        for name in (
            "manifest-SHA256.txt",
            "manifest-sha3_256.txt",
            "manifest-sha-512.txt",
            "manifest-.txt",
            "MANIFEST-md5.txt",
            "manifest-md5.TXT",
            "tagmanifest-SHA256.txt",
            "manifest-m\N{LATIN SMALL LETTER D WITH CARON}5.txt",
            "manifest-a\nb.txt",
        )
    ),
    accepted(
        "08-no-manifest-name", Bag(tag_files={"manifest.txt": b"x", "my-manifest-md5.txt": b""})
    ),
    accepted("09-upper-case-hex", listing(lambda c, p: plain_line(c.upper(), p))),
    accepted("09-mixed-case-hex", listing(lambda c, p: plain_line(c[:9].upper() + c[9:], p))),
    refused("09-too-short", listing(lambda c, p: plain_line(c[2:], p)), "E-BAG-036"),
    refused("09-odd", listing(lambda c, p: plain_line(c[1:], p)), "E-BAG-036"),
    refused("09-too-long", listing(lambda c, p: plain_line(c + "00", p)), "E-BAG-036"),
    refused("09-no-hex", listing(lambda c, p: plain_line("g" + c[1:], p)), "E-BAG-020"),
    refused(
        "09-spaced-hex", listing(lambda c, p: plain_line(c[:64] + " " + c[65:], p)), "E-BAG-036"
    ),
    refused(
        "09-fullwidth",
        listing(lambda c, p: plain_line("\N{FULLWIDTH DIGIT ONE}" + c[1:], p)),
        "E-BAG-020",
    ),
    *(
        accepted(f"10-separator-{name}", separated(s))
        for name, s in {"space": b" ", "tab": b"\t", "mixed": b" \t  \t"}.items()
    ),
    *(
        refused(
            f"10-separator-{name}",
            separated(s),
            "E-BAG-020",
        )
        for name, s in {
            "none": b"",
            "vt": b"\v",
            "nbsp": "\N{NO-BREAK SPACE}".encode(),
            "nul": b"\0",
        }.items()
    ),
    refused("11-backslash", extra_line("data\\a.txt"), "E-BAG-021"),
    accepted("11-backslash-in-a-name", named("a\\b")),
    accepted("12-long-path", Bag({f"data/{'/'.join(['d' * 200] * 15)}/f": b"x"})),
    refused("12-longer-than-linux-knows", extra_line("data/" + "x/" * 5000 + "x"), "E-BAG-100"),
    *(
        refused(f"13-{path}", extra_line(path), "E-BAG-021")
        for path in ("bagit.txt", "data", "datax/a", "Data/a.txt", "DATA/a.txt")
    ),
    accepted("14-encoded", named("a\nb", "a\rb", "a%b", "%", "%0A", "%250D", "a\r\nb")),
    accepted(
        "14-hex-in-any-case",
        listing(lambda c, p: encoded_line(c, p).replace(b"%0A", b"%0a").replace(b"%0D", b"%0d")),
    ),
    accepted("14-lower-case-hex", changed(named("a\nb"), lambda d: d.replace(b"%0A", b"%0a"))),
    refused(
        "14-nothing-else-is-decoded",
        changed(named("a b"), lambda d: d.replace(b"a b", b"a%20b")),
        "E-BAG-100",
        "E-BAG-101",
        "W-BAG-037",
    ),
    refused(
        "14-decoded-only-once",
        changed(named("a\nb"), lambda d: d.replace(b"%0A", b"%250A")),
        "E-BAG-100",
    ),
    accepted(
        "14-bare-percent",
        listing(plain_line),
    ),
    accepted(
        "14-bare-percent-is-warned-of",
        changed(named("100% b"), lambda d: d.replace(b"%25", b"%")),
        "W-BAG-037",
    ),
    refused("14-encoded-slash-dots", extra_line("data/..%2Fx"), "E-BAG-100"),
    refused("14-encoded-way-out", extra_line("data/a/%0A/../x"), "E-BAG-022"),
    accepted(
        "15-percent-is-literal-before-1.0",
        named("a%0Ab", "%25", "x%y", version="0.97", line=plain_line),
    ),
    accepted("15-encoded-before-1.0", named("a\nb", "c\rd", version="0.97"), "W-BAG-034"),
    accepted("15-literal-name-first", named("a%0Ab", "a%0Ac", version="0.97", line=plain_line)),
    refused("15-percent-25-alone-stays", named("a%b", version="0.97"), "E-BAG-100", "E-BAG-101"),
    refused(
        "15-changed-under-its-encoded-name",
        named("a\nb", version="0.97"),
        "E-BAG-200",
        "W-BAG-034",
        after=put("data/a\nb", b"changed"),
    ),
    refused("16-directory", extra_line("data/dir"), "E-BAG-026"),
    refused("16-directory-with-slash", extra_line("data/dir/"), "E-BAG-020"),
    refused(
        "16-empty-directory-unlisted-is-none-of-bagit",
        extra_line("data/new"),
        "E-BAG-026",
        after=make_directory("data/new"),
    ),
    accepted("16-empty-directory", Bag(), after=make_directory("data/empty")),
    accepted(
        "16a-white-space-in-names", named(" a", "b ", " ", "\t", "c\t", "d\u00a0", "  x  /y ")
    ),
    refused(
        "16a-trailing-space-is-part",
        listing(lambda c, p: plain_line(c, p + " ")),
        "E-BAG-100",
        "E-BAG-101",
    ),
    *(
        refused(f"16b-{name}", changed(Bag(version=version), lambda d, x=x: d + x), "E-BAG-020")  # type: ignore[misc]
        for version in ("1.0", "0.97")
        for name, x in {
            f"blank-line-{version}": b"\n",
            f"spaces-{version}": b"  \n",
            f"digest-only-{version}": b"0" * 128 + b"\n",
            f"digest-and-spaces-{version}": b"0" * 128 + b"  \n",
            f"path-only-{version}": b"data/a.txt\n",
            f"leading-space-{version}": b" " + b"0" * 128 + b"  data/a.txt\n",
            f"comment-{version}": b"# hello\n",
            f"nul-{version}": b"0" * 128 + b"  data/a\0b\n",
            f"empty-part-{version}": b"0" * 128 + b"  data//a.txt\n",
            f"dot-part-{version}": b"0" * 128 + b"  data/./a.txt\n",
        }.items()
    ),
]


def tag_listing(change: Callable[[bytes], bytes], **options: object) -> Bag:
    """A bag with ``change`` made to its tag manifest."""
    bag = Bag(**options)  # type: ignore[arg-type]
    return bag.set("tagmanifest-sha512.txt", change(bag.tag_manifest("sha512")))


def drop(name: bytes) -> Callable[[bytes], bytes]:
    return lambda data: b"".join(x for x in data.splitlines(True) if not x.endswith(name + b"\n"))


def add(path: str, checksum: str = "0" * 128) -> Callable[[bytes], bytes]:
    return lambda data: data + plain_line(checksum, path)


def two_tag_manifests() -> Bag:
    """sha256 lists a tag file that sha512 doesn't."""
    bag = Bag(algorithms=("sha256", "sha512"), tag_files={"notes.txt": b"x"})
    return bag.set("tagmanifest-sha512.txt", drop(b"notes.txt")(bag.tag_manifest("sha512")))


TAG_MANIFESTS = [
    accepted("17-lists-every-manifest", Bag(algorithms=("sha256", "sha512"))),
    accepted("17-no-tag-manifest", Bag(tag_algorithms=())),
    refused("17-manifest-not-listed", tag_listing(drop(b"manifest-sha512.txt")), "E-BAG-029"),
    refused(
        "17-manifest-not-listed-before-1.0",
        tag_listing(drop(b"manifest-sha512.txt"), version="0.97"),
        "E-BAG-029",
    ),
    refused("17-empty-tag-manifest", Bag().set("tagmanifest-sha512.txt", b""), "E-BAG-029"),
    refused("18-lists-itself", tag_listing(add("tagmanifest-sha512.txt")), "E-BAG-027"),
    refused("18-lists-another", tag_listing(add("tagmanifest-md5.txt")), "E-BAG-027"),
    accepted("18-likeness-elsewhere", Bag(tag_files={"old/tagmanifest-sha512.txt": b"x"})),
    refused(
        "19-lists-payload",
        tag_listing(add("data/a.txt", digest("sha512", FILES["data/a.txt"]))),
        "E-BAG-028",
    ),
    accepted("21-same-set", Bag(algorithms=("sha256", "sha512"), tag_files={"notes.txt": b"x"})),
    accepted("21-other-set", two_tag_manifests(), "W-BAG-030"),
    accepted("20-unlisted-tag-file", tag_listing(drop(b"notes.txt"), tag_files={"notes.txt": b""})),
    accepted("22-other-algorithms", Bag(algorithms=("sha512",), tag_algorithms=("sha256",))),
]

INFO = [
    *(
        accepted(f"23-{name}", Bag(info=text))
        for name, text in {
            "space": "A: b\n",
            "tab": "A:\tb\n",
            "empty-value": "A: \n",
            "colons": "A: b:c: d\n",
            "trailing-space": "A: b  \n",
            "empty-file": "",
            "spaces-in-label": "A b c: d\n",
        }.items()
    ),
    *(
        refused(f"23-{name}", Bag(info=text), "E-BAG-040")
        for name, text in {
            "no-space": "A:b\n",
            "two-spaces": "A:  b\n",
            "space-and-tab": "A: \tb\n",
            "no-colon": "hello\n",
            "no-label": ": b\n",
            "blank-label": "  : b\n",
            "blank-line": "A: b\n\nC: d\n",
            "nothing-after-colon": "A:\n",
            "nbsp": "A:\N{NO-BREAK SPACE}b\n",
        }.items()
    ),
    *(
        accepted(f"24-{version}", Bag(info="A:b\nB  :  c\nC\t:\td\n\n", version=version))
        for version in OLD
    ),
    *(
        refused(f"24-{name}", Bag(info=text, version="0.97"), "E-BAG-040")
        for name, text in {"no-colon": "hello\n", "no-label": " : b\n"}.items()
    ),
    refused("25-space-before-colon", Bag(info="A : b\n"), "E-BAG-040"),
    refused("25-leading-space", Bag(info=" A: b\n"), "E-BAG-040"),
    refused("25-nbsp-before-colon", Bag(info="A\N{NO-BREAK SPACE}: b\n"), "E-BAG-040"),
    accepted("26-repeated-labels", Bag(info="Contact-Name: A\nContact-Name: B\nX: 1\nX: 1\n")),
    accepted("27-folded", Bag(info="A: one\n two\n\tthree\n   four\nB: x\n")),
    refused("27-folded-before-any-label", Bag(info=" one\nA: b\n"), "E-BAG-040"),
    refused("27-continuation-of-nothing-but-space", Bag(info="A: b\n  \n"), "E-BAG-040"),
    accepted("28-lower-case-label", Bag(info="payload-oxum: 9.2\n")),
    refused("28-lower-case-label-wrong", Bag(info="pAYLOAD-oXUM: 9.3\n"), "E-BAG-104"),
    accepted("29-oxum", Bag(info="Payload-Oxum: 9.2\n")),
    refused("29-oxum-twice", Bag(info="Payload-Oxum: 9.2\nPayload-Oxum: 9.2\n"), "E-BAG-041"),
    *(
        refused(f"29-oxum-{value}", Bag(info=f"Payload-Oxum: {value}\n"), "E-BAG-041")
        for value in (
            "9",
            "9.",
            ".2",
            "9.2.0",
            "-9.2",
            "9,2",
            "9 .2",
            "0x9.2",
            "9.2x",
            "1" * 31 + ".2",
            "\N{ARABIC-INDIC DIGIT NINE}.2",
        )
    ),
    *(
        refused(f"29-oxum-{value}", Bag(info=f"Payload-Oxum: {value}\n"), "E-BAG-104")
        for value in ("9.1", "8.2", "0.0", "1" * 30 + ".2")
    ),
    refused(
        "30-right-oxum-is-no-checksum",
        Bag(info="Payload-Oxum: 9.2\n"),
        "E-BAG-200",
        after=put("data/a.txt", b"ALPHA\n"),
    ),
    accepted("31-repeated-bagging-date", Bag(info="Bagging-Date: 2020-01-01\n" * 2), "W-BAG-042"),
    accepted("31-repeated-size", Bag(info="Bag-Size: 1 B\nBAG-SIZE: 1 B\n"), "W-BAG-042"),
    *(
        refused(
            f"32-package-info-{version}",
            Bag(info="Payload-Oxum: 1.1\n", version=version),
            "E-BAG-104",
        )
        for version in ("0.93", "0.94", "0.95")
    ),
    accepted(
        "32-bag-info-is-another-file-in-0.95",
        Bag(version="0.95", tag_files={"bag-info.txt": b"Payload-Oxum: 1.1\n"}),
    ),
    refused("32-bag-info-from-0.96", Bag(info="Payload-Oxum: 1.1\n", version="0.96"), "E-BAG-104"),
]

URL = "http://localhost/"
FETCH = [
    accepted("33-fetched-already", fetching(f"{URL} 6 data/a.txt\n")),
    accepted("33-tabs-and-spaces", fetching(f"{URL}\t \t6\tdata/a.txt\r\n")),
    accepted("33-empty", fetching("")),
    accepted("34-any-scheme", fetching("urn:x:y 6 data/a.txt\n")),
    accepted("35-unknown-length", fetching(f"{URL} - data/a.txt\n")),
    accepted("35-length-is-not-believed", fetching(f"{URL} {'9' * 20} data/a.txt\n")),
    *(
        refused(f"{name}-{version}", fetching(text, version=version), "E-BAG-045")
        for version in ("1.0", "0.97")
        for name, text in {
            "33-two-parts": f"{URL} data/a.txt\n",
            "33-blank-line": f"{URL} 6 data/a.txt\n\n",
            "33-no-path": f"{URL} 6 \n",
            "34-relative": "x.html 6 data/a.txt\n",
            "34-path": "/etc/passwd 6 data/a.txt\n",
            "34-space-in-url": "http://localhost/a b 6 data/a.txt\n",
            "34-vt-in-url": "http://localhost/a\vb 6 data/a.txt\n",
            "35-negative": f"{URL} -6 data/a.txt\n",
            "35-hex": f"{URL} 0x6 data/a.txt\n",
            "35-absurd": f"{URL} {'9' * 5000} data/a.txt\n",
            "36-dot": f"{URL} 6 data/./a.txt\n",
            "36-nul": f"{URL} 6 data/a\0.txt\n",
        }.items()
    ),
    accepted(
        "36-encoded", named("a\nb%", tag_files={"fetch.txt": f"{URL} 0 data/a%0Ab%25\n".encode()})
    ),
    refused(
        "36-not-decoded-before-1.0",
        named("a\nb", version="0.97", tag_files={"fetch.txt": f"{URL} 0 data/a%0Ac\n".encode()}),
        "E-BAG-046",
    ),
    refused("37-not-listed", fetching(f"{URL} 6 data/new.txt\n"), "E-BAG-046"),
    refused(
        "37-not-in-every-manifest",
        without(
            "data/a.txt",
            Bag(
                algorithms=("sha256", "sha512"),
                tag_files={"fetch.txt": f"{URL} 6 data/a.txt\n".encode()},
            ),
        ),
        "E-BAG-046",
    ),
    refused("38-tag-file", fetching(f"{URL} 6 bag-info.txt\n"), "E-BAG-047"),
    *(
        refused(f"38-{path}", fetching(f"{URL} 6 {path}\n"), "E-BAG-022")
        for path in ("../x", "/etc/passwd", "~/x", "data/../../x", "C:\\x", "\\\\srv\\x")
    ),
    refused("39-unfetched", holey(), "E-BAG-105"),
    refused("39-unfetched-without-length", holey(f"{URL} - data/x\n"), "E-BAG-105"),
    refused("40-stated-size-is-not-allocated", holey(f"{URL} {'9' * 18} data/x\n"), "E-BAG-105"),
    refused("41-nothing-is-fetched", holey("file:///etc/passwd - data/x\n"), "E-BAG-105"),
    accepted(
        "62-dot-slash-in-fetch-before-1.0",
        fetching(f"{URL} 6 ./data/a.txt\n", version="0.97"),
        "W-BAG-032",
    ),
    refused("62-dot-slash-in-fetch", fetching(f"{URL} 6 ./data/a.txt\n"), "E-BAG-045"),
]

ODD_NAMES = (
    "a\N{LINE SEPARATOR}b",
    "a\N{PARAGRAPH SEPARATOR}b",
    "a\x85b",
    "a\fb",
    "a\vb",
    "a\x1cb",
    "a\x1eb",
    "\N{ZERO WIDTH NO-BREAK SPACE}",
    "\N{RIGHT-TO-LEFT OVERRIDE}txt.exe",
)

TAG_FORMAT = [
    *(
        accepted(f"42-{name}", changed(Bag(), lambda d, e=end: d.replace(b"\n", e)))  # type: ignore[misc]
        for name, end in {"lf": b"\n", "cr": b"\r", "crlf": b"\r\n"}.items()
    ),
    accepted(
        "42-mixed-ends",
        changed(
            named("a", "b", "c"), lambda d: d.replace(b"\n", b"\r", 1).replace(b"\n", b"\r\n", 1)
        ),
    ),
    accepted("42-nothing-else-ends-a-line", named(*ODD_NAMES)),
    accepted("42-nothing-else-ends-a-line-before-1.0", named(*ODD_NAMES, version="0.97")),
    accepted("42-in-bag-info", Bag(info="A: b\u2028C\x85D\fE\n")),
    refused("42-crlfcr", changed(Bag(), lambda d: d.replace(b"\n", b"\r\n\r")), "E-BAG-020"),
    refused(
        "42-line-separator-hides-no-line",
        changed(Bag(), lambda d: d[:-1] + "\u2028".encode() + plain_line("0" * 128, "data/x")),
        "E-BAG-100",
    ),
    accepted("43-no-last-line-end", changed(Bag(), lambda d: d[:-1]), "W-BAG-048"),
    refused(
        "44-no-txt",
        Bag().set("manifest-sha512", Bag().manifest("sha512")).set("manifest-sha512.txt", None),
        "E-BAG-007",
    ),
    accepted(
        "45-latin-1",
        Bag({}, encoding="ISO-8859-1", info="A: \N{LATIN SMALL LETTER E WITH ACUTE}\n"),
    ),
    accepted("45-bagit.txt-is-always-utf-8", utf16(Bag(encoding="UTF-16", info=b"A: b\n"))),
    accepted("45-utf-16le", utf16(Bag(encoding="UTF-16LE"), "utf-16-le")),
    accepted("45-utf-16-without-mark-is-big-endian", utf16(Bag(encoding="UTF-16"), "utf-16-be")),
    accepted("45-utf-32", utf16(Bag(encoding="UTF-32"), "utf-32")),
    refused("45-not-utf-8", Bag(info=b"A: \xff\n"), "E-BAG-043"),
    refused("45-not-ascii", Bag(encoding="US-ASCII", info=b"A: \xc3\xa9\n"), "E-BAG-043"),
    refused("45-manifest-not-utf-8", named("\udcff"), "E-BAG-043"),
    refused("45-cut-in-a-character", Bag(info=b"A: \xc3"), "E-BAG-043"),
    refused("45-overlong", Bag(info=b"A: \xc0\xaf\n"), "E-BAG-043"),
    refused("45-surrogate", Bag(info=b"A: \xed\xa0\x80\n"), "E-BAG-043"),
    refused(
        "45-utf-16-declared-ascii-found",
        Bag(encoding="UTF-16").set("tagmanifest-sha512.txt", b""),
        "E-BAG-020",
    ),
    refused("46-bom-in-manifest", changed(Bag(), lambda d: UTF8_BOM + d), "E-BAG-044"),
    refused("46-bom-in-bag-info", Bag(info=UTF8_BOM + b"A: b\n"), "E-BAG-044"),
    refused(
        "46-bom-with-utf-16le",
        utf16(Bag(encoding="UTF-16LE").set("bag-info.txt", "\ufeffA: b\n".encode()), "utf-16-le"),
        "E-BAG-044",
    ),
    accepted("47-any-tag-file", Bag(tag_files={"x/y/z.bin": bytes(range(256)), "empty": b""})),
    refused(
        "47-any-tag-file-is-verified",
        Bag(tag_files={"x/y/z.bin": b"1"}),
        "E-BAG-200",
        after=put("x/y/z.bin", b"2"),
    ),
]

ALGORITHM = [
    *(accepted(f"48-50-{name}", Bag(algorithms=(name,))) for name in ALGORITHMS),
    accepted("50-weak-alone-is-warned-of", Bag(algorithms=("md5", "sha1")), "W-BAG-203"),
    *(
        refused(
            f"51-{name}-changed",
            Bag(algorithms=(name,)),
            "E-BAG-200",
            after=put("data/a.txt", b"ALPHA\n"),
        )
        for name in ALGORITHMS
    ),
    refused(
        "51-unknown-beside-a-known",
        Bag(algorithms=("sha512", "whirlpool")),
        "U-BAG-010",
        verdict="undecided",
    ),
    refused("51-unknown-alone", Bag(algorithms=("whirlpool",)), "U-BAG-010", verdict="undecided"),
    refused(
        "51-unknown-tag-manifest",
        Bag(tag_algorithms=("sha512", "crc32")),
        "U-BAG-010",
        verdict="undecided",
    ),
    refused(
        "51-unknown-and-changed",
        Bag(algorithms=("sha512", "whirlpool")),
        "E-BAG-200",
        after=put("data/a.txt", b"ALPHA\n"),
    ),
    *(
        refused(
            f"51-{wrong}-wrong-among-three",
            Bag(algorithms=("md5", "sha256", "sha512")).edit(
                f"manifest-{wrong}.txt",
                lambda d: bytes([d[0] ^ 1]) + d[1:] if d[:1] in b"0123456789" else b"0" + d[1:],
            ),
            "E-BAG-200",
        )
        for wrong in ("md5", "sha256", "sha512")
    ),
    refused(
        "51-tag-file-changed",
        Bag(info="A: b\n"),
        "E-BAG-200",
        after=put("bag-info.txt", b"A: c\n"),
    ),
    refused(
        "51-manifest-changed-beside-its-file",
        Bag(),
        "E-BAG-200",
        after=steps(
            put("data/a.txt", b"ALPHA\n"),
            put("manifest-sha512.txt", Bag({**FILES, "data/a.txt": b"ALPHA\n"}).manifest("sha512")),
        ),
    ),
]

COMPLETENESS = [
    refused(
        "53-tag-file-gone",
        Bag(info="A: b\n"),
        "E-BAG-103",
        after=remove("bag-info.txt"),
    ),
    refused("53-tag-file-never-there", tag_listing(add("x/y.txt")), "E-BAG-103"),
    refused(
        "53-directory-in-tag-manifest", tag_listing(add("x"), tag_files={"x/y": b""}), "E-BAG-103"
    ),
    refused(
        "54-payload-file-gone",
        Bag(),
        "E-BAG-100",
        after=remove("data/dir/b.bin"),
    ),
    refused(
        "54-payload-file-added",
        Bag(),
        "E-BAG-101",
        after=put("data/dir/new", b""),
    ),
    refused(
        "54-hidden-file-added",
        Bag(),
        "E-BAG-101",
        after=put("data/.new", b""),
    ),
    refused(
        "54-renamed",
        Bag(),
        "E-BAG-100",
        "E-BAG-101",
        after=move("data/a.txt", "data/A.txt"),
    ),
    refused(
        "54-swapped",
        Bag({"data/a": b"1", "data/b": b"2"}),
        "E-BAG-200",
        after=steps(
            put("data/a", b"2"),
            put("data/b", b"1"),
        ),
    ),
    refused("54-truncated", Bag(), "E-BAG-200", after=put("data/a.txt", b"")),
    refused(
        "54-manifest-emptied",
        Bag(),
        "E-BAG-101",
        "E-BAG-200",
        after=put("manifest-sha512.txt", b""),
    ),
]

WAYS_OUT = (
    "/etc/passwd",
    "//x/y",
    "../x",
    "data/../../x",
    "data/..",
    "~/x",
    "~root/x",
    "C:\\x",
    "c:x",
    "\\\\srv\\share\\x",
    "\\\\?\\C:\\x",
    "data\\..\\..\\x",
    "data/x\\..\\..\\..\\y",
    "\\x",
)

SAFETY = [
    *(refused(f"56-payload-{path}", extra_line(path), "E-BAG-022") for path in WAYS_OUT),
    *(
        refused(f"56-old-{path}", extra_line(path, version="0.97"), "E-BAG-022")
        for path in WAYS_OUT
    ),
    *(refused(f"56-tag-{path}", tag_listing(add(path)), "E-BAG-022") for path in WAYS_OUT),
    refused("56-md5sum-way-out", extra_line("*/etc/passwd"), "E-BAG-022"),
    refused("56-dot-slash-way-out", extra_line("./../x", version="0.97"), "E-BAG-022"),
    refused("56-link-out", Bag(), "E-BAG-107", after=link("/etc/passwd")),
    refused("56-relative-link-out", Bag(), "E-BAG-107", after=link("../../x")),
    refused("56-dangling-link", Bag(), "E-BAG-107", after=link("nothing")),
    refused("56-link-to-itself", Bag(), "E-BAG-107", after=link("link")),
    refused("56-link-to-the-bag", Bag(), "E-BAG-107", after=link("..")),
    refused("56-link-through-a-file", Bag(), "E-BAG-107", after=link("a.txt/x")),
    refused("56-tag-link-out", Bag(), "E-BAG-107", after=link("/etc/passwd", "link")),
    refused(
        "56-manifest-is-a-link-out",
        Bag(),
        "E-BAG-107",
        "E-BAG-007",
        after=steps(
            move("manifest-sha512.txt", "../m"),
            link("../m", "manifest-sha512.txt"),
        ),
    ),
    refused(
        "56-payload-file-is-a-link-out",
        Bag(),
        "E-BAG-107",
        "E-BAG-100",
        after=steps(
            move("data/a.txt", "../a.txt"),
            link("../../a.txt", "data/a.txt"),
        ),
    ),
    refused(
        "56-data-is-a-link-out",
        Bag(),
        "E-BAG-107",
        "E-BAG-008",
        after=steps(
            move("data", "../data"),
            link("../data", "data"),
        ),
    ),
    refused("56-link-to-a-directory", Bag(), "E-BAG-109", after=link("dir")),
    refused("56-link-to-a-directory-out", Bag(), "E-BAG-107", after=link("/etc")),
    accepted(
        "56-link-within",
        Bag({**FILES, "data/link": FILES["data/a.txt"]}),
        "W-BAG-108",
        after=steps(
            remove("data/link"),
            link("dir/../a.txt", "data/link"),
        ),
    ),
    accepted(
        "56-tag-link-within",
        Bag(tag_files={"x": b"same", "y": b"same"}),
        "W-BAG-108",
        after=steps(remove("x"), link("y", "x")),
    ),
    refused(
        "56-link-within-to-another-content",
        Bag(),
        "E-BAG-200",
        after=steps(
            remove("data/a.txt"),
            link("dir/b.bin", "data/a.txt"),
        ),
    ),
    refused("56-link-within-unlisted", Bag(), "E-BAG-101", after=link("a.txt")),
    refused("57-fifo", Bag(), "E-BAG-106", after=fifo("data/pipe")),
    refused(
        "57-fifo-listed",
        Bag(),
        "E-BAG-106",
        "E-BAG-100",
        after=steps(remove("data/a.txt"), fifo("data/a.txt")),
    ),
    refused(
        "57-fifo-as-manifest",
        Bag(),
        "E-BAG-011",
        "E-BAG-007",
        after=steps(
            remove("manifest-sha512.txt"),
            fifo("manifest-sha512.txt"),
        ),
    ),
    refused(
        "57-fifo-as-bagit.txt",
        Bag(),
        "E-BAG-011",
        "E-BAG-001",
        after=steps(remove("bagit.txt"), fifo("bagit.txt")),
    ),
    refused(
        "57-fifo-as-bag-info",
        Bag(info="A: b\n"),
        "E-BAG-011",
        "E-BAG-103",
        after=steps(remove("bag-info.txt"), fifo("bag-info.txt")),
    ),
    refused(
        "57-link-to-a-fifo",
        Bag(),
        "E-BAG-106",
        after=steps(fifo("data/pipe"), link("pipe", "data/link")),
    ),
    refused("57-socket", Bag(), "E-BAG-106", after=bind_socket),
]

PRACTICAL = [
    accepted(
        "60-nfd-on-disk-nfc-listed",
        changed(Bag({NFD: b"x"}), lambda d: unicodedata.normalize("NFC", d.decode()).encode()),
        "W-BAG-035",
    ),
    accepted(
        "60-nfc-on-disk-nfd-listed",
        changed(Bag({NFC: b"x"}), lambda d: unicodedata.normalize("NFD", d.decode()).encode()),
        "W-BAG-035",
    ),
    accepted(
        "60-directory-too",
        changed(
            Bag({f"{NFD}/x": b"x"}),
            lambda d: unicodedata.normalize("NFC", d.decode()).encode(),
        ),
        "W-BAG-035",
    ),
    refused(
        "60-respelt-and-changed",
        changed(Bag({NFD: b"x"}), lambda d: unicodedata.normalize("NFC", d.decode()).encode()),
        "E-BAG-200",
        "W-BAG-035",
        after=put(NFD, b"y"),
    ),
    accepted("60-both-there", Bag({NFC: b"x", NFD: b"y"}), "W-BAG-033"),
    accepted("60-case-twins", Bag({"data/a": b"x", "data/A": b"y"}), "W-BAG-033"),
    refused(
        "60-one-of-two-there",
        Bag({NFC: b"x", NFD: b"x"}),
        "W-BAG-033",
        "E-BAG-100",
        after=remove(NFD),
    ),
    refused(
        "60-other-spelling-added",
        Bag({NFC: b"x"}),
        "E-BAG-101",
        after=put(NFD, b"x"),
    ),
    refused(
        "60-case-is-never-forgiven",
        Bag({"data/a": b"x"}),
        "E-BAG-100",
        "E-BAG-101",
        after=move("data/a", "data/A"),
    ),
    accepted(
        "61-md5sum", listing(lambda c, p: plain_line(c, "*" + p).replace(b"  ", b" ")), "W-BAG-031"
    ),
    accepted(
        "61-md5sum-before-1.0",
        listing(lambda c, p: plain_line(c, "*" + p), version="0.97"),
        "W-BAG-031",
    ),
    refused("61-two-asterisks", listing(lambda c, p: plain_line(c, "**" + p)), "E-BAG-021"),
    accepted(
        "62-dot-slash-before-1.0",
        listing(lambda c, p: plain_line(c, "./" + p), version="0.97"),
        "W-BAG-032",
    ),
    refused("62-dot-slash-in-1.0", listing(lambda c, p: plain_line(c, "./" + p)), "E-BAG-020"),
    accepted(
        "62-in-tag-manifest-before-1.0",
        tag_listing(lambda d: d.replace(b"  ", b"  ./"), version="0.97"),
        "W-BAG-032",
    ),
]

CASES = [
    *DECLARATION,
    *PAYLOAD_MANIFESTS,
    *TAG_MANIFESTS,
    *INFO,
    *FETCH,
    *TAG_FORMAT,
    *ALGORITHM,
    *COMPLETENESS,
    *SAFETY,
    *PRACTICAL,
]


@pytest.mark.parametrize("case", CASES)
def test_rule(case: Case, tmp_path: Path) -> None:
    judge(case, tmp_path)


# -- what the tests above leave open ---------------------------------------------------


@pytest.mark.parametrize("between", [b"", b" ", b"\f", b"\v"])
def test_02_before_1_0_the_declaration_has_two_lines_too(between: bytes, tmp_path: Path) -> None:
    data = b"BagIt-Version: 0.97" + between + b"Tag-File-Character-Encoding: UTF-8\n"
    report = verify(Bag(version="0.97").set("bagit.txt", data).write(tmp_path / "bag"))
    assert report.verdict.value == "invalid"


def test_05_names_that_iana_registers_with_a_colon_are_read(tmp_path: Path) -> None:
    report = verify(Bag(encoding="ISO_8859-1:1987").write(tmp_path / "bag"))
    assert report.verdict.value == "valid"


def test_45_utf_32_without_a_mark_is_a_finding(tmp_path: Path) -> None:
    assert verify(Bag(encoding="UTF-32").write(tmp_path / "bag")).exit_code == 1


def test_45_a_name_that_no_file_can_have_is_a_finding(tmp_path: Path) -> None:
    bag = Bag(encoding="UTF-7")
    bag.edit("manifest-sha512.txt", lambda data: data + plain_line("0" * 128, "data/+2AA-"))
    assert verify(bag.write(tmp_path / "bag")).exit_code != 0


def test_41_a_plain_verify_opens_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a socket was made")

    base = holey().write(tmp_path / "bag")
    monkeypatch.setattr(socket, "socket", refuse)
    assert "E-BAG-105" in codes(verify(base).findings)
    assert not (base / "data" / "x").exists()


def test_60_tag_files_are_matched_across_normalisations_too(tmp_path: Path) -> None:
    bag = Bag(tag_files={NFD.removeprefix("data/"): b"x"})
    nfc = unicodedata.normalize("NFC", bag.tag_manifest("sha512").decode()).encode()
    report = verify(bag.set("tagmanifest-sha512.txt", nfc).write(tmp_path / "bag"))
    assert report.verdict.value == "valid"


def test_57_a_pipe_behind_a_link_is_not_opened(tmp_path: Path) -> None:
    base = Bag().write(tmp_path / "bag")
    os.mkfifo(base / "data" / "pipe")
    os.symlink("pipe", base / "data" / "link")
    opened: list[str] = []
    real = os.open

    def watch(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if path == "pipe" and not flags & getattr(os, "O_PATH", 0):
            opened.append(path)
        return real(path, flags, mode, dir_fd=dir_fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", watch)
        assert "E-BAG-106" in codes(verify(base).findings)
    assert not opened


@pytest.mark.parametrize("target", ["{base}/data/a.txt", "../../bag/data/a.txt"])
def test_56_a_link_that_leaves_the_bag_and_comes_back_is_refused(
    target: str, tmp_path: Path
) -> None:
    base = Bag({**FILES, "data/link": FILES["data/a.txt"]}).write(tmp_path / "bag")
    (base / "data/link").unlink()
    os.symlink(target.format(base=base), base / "data" / "link")
    assert "E-BAG-107" in codes(verify(base).findings)


def test_58_not_even_a_broken_bag_is_touched(tmp_path: Path) -> None:
    bag = Bag(info="A: b\n", version="0.97").set("fetch.txt", b"http://localhost/x 1 data/new\n")
    base = bag.write(tmp_path / "bag")
    (base / "data/a.txt").unlink()
    (base / "data/new-file").write_bytes(b"x")
    os.symlink("/etc/passwd", base / "data/link")
    os.mkfifo(base / "data/pipe")
    before = snapshot(base)
    assert verify(base).exit_code == 1
    assert snapshot(base) == before


@pytest.mark.parametrize("option", [(), ("--fast",), ("--json",), ("--quiet",)])
def test_the_command_gives_the_same_verdict(
    option: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = Bag().write(tmp_path / "good"), without("data/a.txt").write(tmp_path / "bad")
    assert run(capsys, "bag", "verify", *option, good).code == 0
    assert run(capsys, "bag", "verify", *option, bad).code == 1


# -- the writer's side -----------------------------------------------------------------

SOURCE = {
    "plain.txt": b"plain\n",
    "a\nb": b"lf",
    "c\rd": b"cr",
    "100%": b"percent",
    "%0A": b"literal",
    " space ": b"spaces",
    "x y\u2028z\x85": b"no line ends",
    "dir/sub/\N{LATIN SMALL LETTER E WITH ACUTE}": b"nfc",
    "empty-file": b"",
}


def source(base: Path, files: dict[str, bytes] | None = None) -> Path:
    for name, data in (SOURCE if files is None else files).items():
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return base


Create = Callable[..., Ran]


@pytest.fixture
def create(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Create:
    def make(*arguments: object) -> Ran:
        return run(capsys, "bag", "create", *arguments, "-o", tmp_path / "bag")

    return make


def lines(path: Path) -> list[str]:
    text = path.read_bytes().decode("utf-8")
    assert text.endswith("\n")
    return text.split("\n")[:-1]


def listed(path: Path) -> list[str]:
    return [line.split("  ", 1)[1] for line in lines(path)]


def all_files(base: Path) -> set[str]:
    return {str(path.relative_to(base)) for path in base.rglob("*") if path.is_file()}


@pytest.fixture
def made(tmp_path: Path, create: Create) -> Path:
    base = source(tmp_path / "source")
    (base / "empty").mkdir()
    info = "Contact-Name: " + "a rather long name " * 10
    assert create(base, "--info", info, "--algorithm", "sha256").code == 0
    return tmp_path / "bag"


def manifests(base: Path, kind: str = "") -> list[Path]:
    return sorted(base.glob(f"{kind}manifest-*.txt"))


def test_w01_w02_w03_the_declaration(made: Path) -> None:
    assert (made / "bagit.txt").read_bytes() == V1
    assert (made / "data").is_dir()


def test_w06_every_payload_file_once_in_every_manifest(made: Path) -> None:
    expected = sorted(encoded_line("", f"data/{name}").decode()[2:-1] for name in SOURCE)
    for manifest in manifests(made):
        assert sorted(listed(manifest)) == expected


def test_w08_w44_w48_w49_manifest_names(made: Path) -> None:
    assert [path.name for path in manifests(made)] == ["manifest-sha256.txt", "manifest-sha512.txt"]


def test_w08_sha3_is_written_without_an_underscore(tmp_path: Path, create: Create) -> None:
    assert create(source(tmp_path / "source"), "--algorithm", "sha3256").code == 0
    assert (tmp_path / "bag" / "manifest-sha3256.txt").is_file()
    assert verify(tmp_path / "bag").exit_code == 0


@pytest.mark.parametrize("name", ["md5", "sha1", "sha3_256", "SHA512", "no-such"])
def test_w08_other_algorithms_are_refused(name: str, tmp_path: Path, create: Create) -> None:
    assert create(source(tmp_path / "source"), "--algorithm", name).code == 2
    assert not (tmp_path / "bag").exists()


def test_w11_w13_only_paths_below_data(made: Path) -> None:
    for manifest in manifests(made):
        assert all(path.startswith("data/") for path in listed(manifest))


def test_w14_lf_cr_and_percent_are_encoded_and_nothing_else(made: Path) -> None:
    paths = listed(manifests(made)[0])
    assert {"data/a%0Ab", "data/c%0Dd", "data/100%25", "data/%250A"} <= set(paths)
    assert "data/x y\u2028z\x85" in paths
    assert "data/ space " in paths


def test_w16_w65_empty_directories_stand_only_in_the_side_car(made: Path) -> None:
    assert not any(path == "data/empty" for path in listed(manifests(made)[0]))
    records = (made / "metadata" / "filesystem.jsonl").read_text("utf-8")
    assert '"path": "data/empty"' in records
    assert '"empty": true' in records


def test_w17_to_w22_tag_manifests(made: Path) -> None:
    tag_manifests = manifests(made, "tag")
    algorithms = [path.name.removeprefix("manifest-") for path in manifests(made)]
    assert [path.name.removeprefix("tagmanifest-") for path in tag_manifests] == algorithms
    expected = {
        path
        for path in all_files(made)
        if not path.startswith("data/") and not path.startswith("tagmanifest-")
    }
    assert {"bagit.txt", "bag-info.txt", "manifest-sha512.txt"} <= expected
    for path in tag_manifests:
        assert set(listed(path)) == expected


def test_w26_w27_bag_info_is_folded_and_reads_back_the_same(made: Path) -> None:
    for line in lines(made / "bag-info.txt"):
        assert len(line) <= 79
        assert re.match(r"[^\s:][^:]*: |[ \t]\S", line)
    value = verify(made).facts.info.first("contact-name")
    assert value == ("a rather long name " * 10).strip()


def test_w26_labels_repeat_in_order(tmp_path: Path, create: Create) -> None:
    given = [x for value in "zayz" for x in ("--info", f"Keyword: {value}")]
    assert create(source(tmp_path / "source"), *given).code == 0
    assert verify(tmp_path / "bag").facts.info.all("Keyword") == list("zayz")


def test_w29_w31_what_may_stand_once_stands_once(made: Path) -> None:
    info = verify(made).facts.info
    size = sum(map(len, SOURCE.values()))
    assert info.all("Payload-Oxum") == [f"{size}.{len(SOURCE)}"]
    for label in ("Bagging-Date", "Bag-Size"):
        assert len(info.all(label)) == 1


@pytest.mark.parametrize("label", ["Payload-Oxum", "payload-oxum", "Bagging-Date", "Bag-Size"])
def test_w29_w31_computed_labels_can_not_be_given(
    label: str, tmp_path: Path, create: Create
) -> None:
    assert create(source(tmp_path / "source"), "--info", f"{label}: 1.1").code == 2


@pytest.mark.parametrize("label", ["Bag-Group-Identifier", "Bag-Count"])
def test_w31_what_must_not_repeat_is_refused(label: str, tmp_path: Path, create: Create) -> None:
    given = ["--info", f"{label}: 1", "--info", f"{label.lower()}: 2"]
    assert create(source(tmp_path / "source"), *given).code == 2


@pytest.mark.parametrize(
    "info", ["no colon", ": v", " A: v", "A : v", "A\n: v", "A: b\nC: d", "A: b\rc"]
)
def test_w25_labels_and_values_that_would_not_read_back_are_refused(
    info: str, tmp_path: Path, create: Create
) -> None:
    assert create(source(tmp_path / "source"), "--info", info).code == 2
    assert not (tmp_path / "bag").exists()


def test_w36_w43_w46_line_ends_and_no_marks(made: Path) -> None:
    for path in all_files(made):
        if not path.startswith("data/"):
            data = (made / path).read_bytes()
            assert data.endswith(b"\n"), path
            assert b"\r" not in data, path
            assert not data.startswith(UTF8_BOM), path


def test_what_was_made_is_valid_to_us_and_to_the_reference(made: Path) -> None:
    report = verify(made)
    assert report.verdict.value == "valid"
    assert {name: (made / "data" / name).read_bytes() for name in SOURCE} == SOURCE


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (("a", "A"), "E-SRC-004"),
        ((NFC[5:], NFD[5:]), "E-SRC-004"),
        (("stra\N{LATIN SMALL LETTER SHARP S}e", "STRASSE"), "E-SRC-004"),
        (("ok", os.fsdecode(b"\xff")), "E-SRC-005"),
    ],
    ids=["case", "normalisation", "folding", "not-utf-8"],
)
def test_w59_w66_names_that_would_be_lost_are_refused_before_copying(
    names: Iterable[str], code: str, tmp_path: Path, create: Create
) -> None:
    base = source(tmp_path / "source", dict.fromkeys(names, b"x"))
    before = snapshot(base)
    ran = create(base)
    assert ran.code == 5
    assert code in ran.err
    assert snapshot(base) == before
    assert sorted(tmp_path.iterdir()) == [base]


def test_w66_or_kept_under_a_lossless_spelling(tmp_path: Path, create: Create) -> None:
    names = ["a", "A", os.fsdecode(b"n\xff")]
    base = source(tmp_path / "source", dict.fromkeys(names, b"x"))
    assert create(base, "--encode-names").code == 0
    assert verify(tmp_path / "bag").exit_code == 0
    records = (tmp_path / "bag/metadata/filesystem.jsonl").read_text("utf-8")
    assert f'"name_bytes": "{b"n".hex()}ff"' in records


def test_w63_windows_names_are_warned_about_and_kept(tmp_path: Path, create: Create) -> None:
    names = ["CON", "nul.txt", "dot.", "space ", "a:b", "what?"]
    ran = create(source(tmp_path / "source", dict.fromkeys(names, b"x")))
    assert ran.code == 0
    assert ran.err.count("W-SRC-020") == len(names)
    assert {path.name for path in (tmp_path / "bag/data").iterdir()} == set(names)


def test_w64_a_bag_is_not_bagged_unless_asked_for(tmp_path: Path, create: Create) -> None:
    inner = Bag().write(tmp_path / "inner")
    refusal = create(inner)
    assert (refusal.code, "E-SRC-008" in refusal.err) == (5, True)
    assert create(inner, "--bag-in-bag").code == 0
    assert verify(tmp_path / "bag").exit_code == 0


def test_line_limit_is_above_any_path() -> None:
    assert read.MAX_LINE > 4096 * 3 + 128 + 2
