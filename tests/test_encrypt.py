"""age: what we make, the real program opens; what it makes, we open; nothing else passes."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archiver.bag.encrypted import age_file_bytes
from archiver.encrypt import (
    MAX_KEY_FILE_BYTES,
    Identities,
    decrypt,
    decrypt_bytes,
    encrypt,
    encrypt_bytes,
    join_identities,
    lock_identity,
    new_identity,
    parse_recipient,
    read_identities,
    read_recipients,
)
from archiver.errors import ArchiverError, FormatError, KeyringError, UsageError

ROOT = Path(__file__).parent.parent
PLAIN = b"I saw it.\n" * 20_000
needs_age = pytest.mark.skipif(
    not shutil.which("age") and os.environ.get("ARCHIVER_CI") != "1", reason="age is needed"
)


class Pair:
    """A key pair, and its file."""

    def __init__(self, place: Path | None = None) -> None:
        self.text, self.recipient = new_identity()
        self.identities = read_identities(self.text.encode(), "key")
        if place:
            place.write_text(self.text)
            place.chmod(0o600)
            self.file = place


def age(*words: object, data: bytes = b"") -> bytes:
    done = subprocess.run(["age", *map(str, words)], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# -- with the real program


@needs_age
def test_age_opens_what_we_make_with_each_of_the_keys(tmp_path: Path) -> None:
    pairs = [Pair(tmp_path / name) for name in ("reader", "other", "escrow")]
    cipher = encrypt_bytes(PLAIN, [one.recipient for one in pairs])
    for one in pairs:
        assert age("-d", "-i", one.file, data=cipher) == PLAIN
    stranger = Pair(tmp_path / "stranger")
    done = subprocess.run(
        ["age", "-d", "-i", stranger.file], input=cipher, capture_output=True, check=False
    )
    assert done.returncode != 0
    assert done.stdout == b""


@needs_age
@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 131_072, 1_000_003])
def test_we_open_what_age_makes(tmp_path: Path, size: int) -> None:
    one, data = Pair(tmp_path / "key"), os.urandom(size)
    cipher = age("-r", one.recipient, data=data)
    assert decrypt_bytes(cipher, one.identities, size) == data
    assert age("-d", "-i", one.file, data=encrypt_bytes(data, [one.recipient])) == data


@needs_age
def test_keys_of_age_keygen_are_read() -> None:
    made = subprocess.run(["age-keygen"], capture_output=True, check=True)
    found = read_identities(made.stdout, "key")
    assert found.recipients[0] in made.stdout.decode()
    assert age("-r", found.recipients[0], data=b"x")


@needs_age
def test_a_file_of_recipients_is_that_of_age(tmp_path: Path) -> None:
    pairs = [Pair(tmp_path / str(number)) for number in range(3)]
    text = "# readers\n\n" + "".join(f"{one.recipient}\r\n" for one in pairs)
    (tmp_path / "list").write_text(text)
    found = read_recipients(text.encode(), "list")
    assert found == tuple(one.recipient for one in pairs)
    cipher = age("-R", tmp_path / "list", data=b"hello")
    assert [decrypt_bytes(cipher, one.identities, 5) for one in pairs] == [b"hello"] * 3


@needs_age
@pytest.mark.parametrize("armor", [[], ["-a"]])
def test_an_identity_that_age_has_protected(tmp_path: Path, armor: list[str]) -> None:
    """``age -p`` asks at a terminal alone: it gets one."""
    pair = Pair(tmp_path / "key")
    command = ["age", "-p", *armor, "-o", str(tmp_path / "protected"), str(pair.file)]
    at_a_terminal(command, ["correct horse", "correct horse"], b"assphrase")
    data = (tmp_path / "protected").read_bytes()
    asked: list[str] = []

    def ask(place: str) -> bytes:
        asked.append(place)
        return b"correct horse"

    assert read_identities(data, "key", ask).recipients == (pair.recipient,)
    assert asked == ["key"]
    with pytest.raises(KeyringError, match="passphrase"):
        read_identities(data, "key", lambda _place: b"wrong")
    with pytest.raises(KeyringError, match="nobody is there"):
        read_identities(data, "key")
    with pytest.raises(KeyringError, match="passphrase"):
        read_identities(data[:-20], "key", ask)


def at_a_terminal(command: list[str], answers: list[str], sign: bytes) -> bytes:
    """Run a program that asks at the terminal; each answer after ``sign`` was seen."""
    import pty

    master, slave = pty.openpty()
    with subprocess.Popen(
        ["setsid", "-c", *command],
        stdin=slave,
        stdout=slave,
        stderr=slave,
    ) as process:
        os.close(slave)
        seen = b""
        for answer in answers:
            mark = b""
            while sign not in mark:
                mark += os.read(master, 4096)
            seen += mark
            os.write(master, answer.encode() + b"\n")
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:
                break
            seen += data
        os.close(master)
    assert process.returncode == 0, seen
    return seen


def test_our_protected_identity_is_opened_again() -> None:
    pair = Pair()
    locked = lock_identity(pair.text, "contraseña larga".encode())
    assert pair.text.encode() not in locked
    found = read_identities(locked, "key", lambda _place: "contraseña larga".encode())
    assert found.recipients == (pair.recipient,)
    with pytest.raises(KeyringError):
        read_identities(locked, "key", lambda _place: b"\xff\xfe")
    with pytest.raises(KeyringError, match="too long"):
        read_identities(locked + b"x" * MAX_KEY_FILE_BYTES, "key", lambda _place: b"x")


# -- what is altered is refused


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data[:-16],
        lambda data: data[: len(data) // 2],
        lambda data: data[:100],
        lambda data: b"",
        lambda data: data + b"\0",
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data[:300] + bytes([data[300] ^ 1]) + data[301:],
        lambda data: data.replace(b"X25519", b"X25518"),
        lambda data: b"age-encryption.org/v1\n" + os.urandom(500),
        lambda data: os.urandom(len(data)),
        lambda data: PLAIN,
        lambda data: data[: 254 + 65_552] + data[254 + 2 * 65_552 :],
    ],
)
def test_altered_ciphertext_is_refused(change: Callable[[bytes], bytes]) -> None:
    pair = Pair()
    cipher = change(encrypt_bytes(PLAIN, [pair.recipient]))
    with pytest.raises((FormatError, KeyringError)) as caught:
        decrypt_bytes(cipher, pair.identities, len(PLAIN))
    assert "I saw it" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_every_bit_of_a_small_ciphertext_counts() -> None:
    pair = Pair()
    cipher = encrypt_bytes(b"x", [pair.recipient])
    for at in range(len(cipher)):
        changed = cipher[:at] + bytes([cipher[at] ^ 1]) + cipher[at + 1 :]
        with pytest.raises((FormatError, KeyringError)):
            decrypt_bytes(changed, pair.identities, 1)


def test_the_wrong_key_is_told_from_a_damaged_file() -> None:
    pair, stranger = Pair(), Pair()
    cipher = encrypt_bytes(b"x", [pair.recipient])
    with pytest.raises(KeyringError, match="none of the keys opens it"):
        decrypt_bytes(cipher, stranger.identities, 1)
    both = join_identities([stranger.identities, pair.identities])
    assert decrypt_bytes(cipher, both, 1) == b"x"
    assert both.recipients == (stranger.recipient, pair.recipient)


def test_small_things_that_are_large_are_refused() -> None:
    """A stranger encrypts four gigabytes of nothing as a description."""
    pair = Pair()
    cipher = encrypt_bytes(b"\0" * 300_000, [pair.recipient])
    with pytest.raises(FormatError, match="longer than it may be"):
        decrypt_bytes(cipher, pair.identities, 299_999)
    assert len(decrypt_bytes(cipher, pair.identities, 300_000)) == 300_000


# -- streams


class Endless:
    """So many bytes, never held together."""

    def __init__(self, size: int) -> None:
        self.left = size

    def read(self, size: int, /) -> bytes:
        size = min(size, self.left)
        self.left -= size
        return b"\1" * size


class Count:
    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes, /) -> None:
        self.size += len(data)


_STREAMING = """
import resource, sys
from tests.test_encrypt import Count, Endless, Pair
from archiver.encrypt import decrypt, encrypt
pair, size, place = Pair(), int(sys.argv[1]), sys.argv[2]
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
with open(place, "wb") as file:
    encrypt(Endless(1 << 20), file, [pair.recipient])
before = peak()
with open(place, "wb") as file:
    encrypt(Endless(size), file, [pair.recipient] * 3)
count = Count()
with open(place, "rb") as file:
    decrypt(file, count, pair.identities)
assert count.size == size, count.size
print(peak() - before)
"""


def test_memory_is_bounded_whatever_the_size(tmp_path: Path) -> None:
    """A hundred megabytes, through less than eight."""
    size = 100 << 20
    done = subprocess.run(
        [sys.executable, "-c", _STREAMING, str(size), str(tmp_path / "cipher")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 8 << 20


@pytest.mark.parametrize("error", [OSError(28, "No space"), KeyboardInterrupt(), ValueError("x")])
def test_what_reader_or_writer_raise_comes_out_as_it_is(error: BaseException) -> None:
    pair = Pair()

    class Failing:
        def read(self, size: int, /) -> bytes:
            raise error

        def write(self, data: bytes, /) -> None:
            raise error

    with pytest.raises(type(error)):
        encrypt(Failing(), io.BytesIO(), [pair.recipient])
    with pytest.raises(type(error)):
        encrypt(io.BytesIO(PLAIN), Failing(), [pair.recipient])
    with pytest.raises(type(error)):
        decrypt(Failing(), io.BytesIO(), pair.identities)
    cipher = encrypt_bytes(PLAIN, [pair.recipient])
    with pytest.raises(type(error)):
        decrypt(io.BytesIO(cipher), Failing(), pair.identities)


class FailsAt(io.BytesIO):
    """A disk that is full at one of the writes, the last one too, and has room after it."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, data: Any, /) -> int:
        self.number -= 1
        if self.number == 0:
            raise OSError(28, "No space")
        return super().write(data)


@pytest.mark.parametrize("size", [0, 1, 1000, 65_535, 65_536, 65_537, 200_000])
def test_an_error_at_any_write_comes_out(size: int) -> None:
    """pyrage drops what is raised at the last one: half a file would pass for a whole one."""
    pair, plain = Pair(), b"x" * size
    cipher = encrypt_bytes(plain, [pair.recipient])
    assert len(cipher) == age_file_bytes(cipher, size)

    def into(writer: FailsAt, way: str) -> None:
        if way == "encrypt":
            encrypt(io.BytesIO(plain), writer, [pair.recipient])
        else:
            decrypt(io.BytesIO(cipher), writer, pair.identities)

    for way in ("encrypt", "decrypt"):
        failed = 0
        for number in range(1, 100):
            writer = FailsAt(number)
            try:
                into(writer, way)
            except OSError:
                failed += 1
            else:
                assert writer.number > 0
                break
        assert failed == number - 1
        assert failed or (way, size) == ("decrypt", 0)


@pytest.mark.parametrize("size", [1, 1000, 65_536])
def test_one_byte_more_than_the_limit_is_refused(size: int) -> None:
    pair = Pair()
    cipher = encrypt_bytes(b"x" * size, [pair.recipient])
    assert len(decrypt_bytes(cipher, pair.identities, size)) == size
    with pytest.raises(FormatError, match="longer than it may be"):
        decrypt_bytes(cipher, pair.identities, size - 1)


def test_a_library_that_loses_some_of_it_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    import pyrage

    def losing(source: Any, sink: Any, keys: Any) -> None:
        whole = io.BytesIO()
        real(source, whole, keys)
        sink.write(whole.getvalue()[:-1])

    real = pyrage.encrypt_io
    monkeypatch.setattr(pyrage, "encrypt_io", losing)
    with pytest.raises(KeyringError, match="could not be encrypted"):
        encrypt_bytes(PLAIN, [Pair().recipient])


def test_nobody_to_encrypt_for() -> None:
    with pytest.raises(UsageError, match="nobody"):
        encrypt_bytes(b"x", [])


# -- keys are read strictly, and never shown


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "is no age recipient", "begin with age1"),
        ("maria@example.org", "is no age recipient", "begin with age1"),
        ("age1short", "is no age recipient", "62 characters"),
        ("ssh-ed25519 AAAA", "is no age recipient", "SSH"),
        ("age1" + "b" * 58, "is no age recipient", "begin with age1"),
        ("age1" + "q" * 58, "misspelt", "Copy it again"),
        ("age1" + "q" * 400, "is no age recipient", "62 characters"),
        ("AGE1QQ", "is no age recipient", "begin with age1"),
    ],
)
def test_what_is_no_recipient(text: str, message: str, hint: str) -> None:
    with pytest.raises(KeyringError, match=message) as caught:
        parse_recipient(text)
    assert hint in caught.value.hint
    assert len(caught.value.message) < 150
    with pytest.raises(KeyringError, match=r"list:2: " if text else "no recipient"):
        read_recipients(f"#\n{text}\n".encode(), "list")


def test_each_changed_character_of_a_recipient_is_noticed() -> None:
    good = Pair().recipient
    for at in range(4, len(good)):
        other = "q" if good[at] != "q" else "p"
        with pytest.raises(KeyringError, match="misspelt"):
            parse_recipient(good[:at] + other + good[at + 1 :])
    assert parse_recipient(f" {good}\n") == good


@pytest.mark.parametrize("line", ["name = 'Xochiquetzal'", "age1Xochiquetzal", "age1" + "q" * 58])
def test_nothing_of_a_file_is_shown_that_holds_no_recipients(line: str) -> None:
    """It is another file than was meant, a form perhaps."""
    with pytest.raises(KeyringError, match="form.toml:3: what stands there is ") as caught:
        read_recipients(f"# Xochiquetzal\n\n{line}\n".encode(), "form.toml")
    told = caught.value.message + caught.value.next_step
    assert not any(one in told for one in ("Xochi", "qqq"))


def test_a_secret_key_in_place_of_a_recipient_is_not_shown() -> None:
    pair = Pair()
    secret = pair.text.split("\n")[1]
    for text in (secret, secret.lower(), pair.text):
        with pytest.raises(KeyringError) as caught:
            parse_recipient(text)
        assert "SECRET KEY" in str(caught.value).upper()
        assert secret[20:40] not in f"{caught.value.message}{caught.value.hint}".upper()
    with pytest.raises(KeyringError) as caught:
        read_recipients(pair.text.encode(), "list")
    assert secret[20:40] not in f"{caught.value.message}{caught.value.hint}"
    assert secret[20:40] not in repr(pair.identities)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no secret key"),
        (b"# only a comment\n", "no secret key"),
        (b"hunter2\n", "key:1: this is no age secret key"),
        (b"\xff\xfe\0", "no text"),
        (b"#\nAGE-SECRET-KEY-1" + b"Q" * 58, "key:2: the secret key is misspelt"),
        (b"#" * (MAX_KEY_FILE_BYTES + 1), "too long"),
    ],
)
def test_what_is_no_identity_file(data: bytes, message: str) -> None:
    with pytest.raises(KeyringError, match=message) as caught:
        read_identities(data, "key")
    assert "hunter2" not in f"{caught.value.message}{caught.value.hint}"


def test_a_recipient_is_no_identity() -> None:
    with pytest.raises(KeyringError, match="no age secret key") as caught:
        read_identities(Pair().recipient.encode(), "key")
    assert "nothing can be opened" in caught.value.hint


def test_broken_armor_is_no_traceback() -> None:
    for data in (b"-----BEGIN AGE ENCRYPTED FILE-----\n!!\n", b"age-encryption.org/v1\n\n"):
        with pytest.raises(KeyringError):
            read_identities(data, "key", lambda _place: b"x")


def test_without_pyrage_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrage", None)
    calls: list[Callable[[], object]] = [
        new_identity,
        lambda: parse_recipient("age1" + "q" * 58),
        lambda: encrypt_bytes(b"", ["age1" + "q" * 58]),
        lambda: decrypt_bytes(b"", Identities(()), 1),
    ]
    for call in calls:
        with pytest.raises(ArchiverError) as caught:
            call()
        assert "archiver[encrypt]" in caught.value.hint


def test_the_program_starts_without_pyrage() -> None:
    """The core needs no extra: nothing imports it before something is encrypted."""
    script = (
        "import sys; sys.modules['pyrage'] = None\n"
        "from archiver.cli import main\n"
        "raise SystemExit(main(['statement', 'key', '-o', '/nonexistent/x']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 5
    assert "archiver[encrypt]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("stanzas", [2_000, 200_000])
def test_a_header_without_end_is_refused_at_once(stanzas: int) -> None:
    """pyrage alone needs hours for it, and all of it in memory."""
    text, _recipient = new_identity()
    stanza = b"-> X25519 " + b"A" * 43 + b"\n" + b"B" * 43 + b"\n"
    data = b"age-encryption.org/v1\n" + stanza * stanzas + b"--- " + b"C" * 43 + b"\n" + b"x" * 64
    source, begun = io.BytesIO(data), time.monotonic()
    with pytest.raises(FormatError):
        decrypt(source, io.BytesIO(), read_identities(text.encode(), "key"))
    assert time.monotonic() - begun < 5
    assert source.tell() < 1 << 17
