"""Policy files that are wrong, or a stranger's: every mistake with its line, nothing waits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from archiver.describe.fields import KINDS, fields_of
from archiver.describe.owed import checked_policy, known_fields
from archiver.errors import PolicyError
from archiver.policy import MistakesError, load_policy
from archiver.policy.load import MAX_POLICY_BYTES
from archiver.policy.recipient import is_recipient
from archiver.tomlfile import TomlText

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
"""From age's own documentation."""


def write(directory: Path, text: str | bytes) -> str:
    path = directory / "p.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def mistakes(directory: Path, text: str) -> list[tuple[str, str, str]]:
    """(FILE:LINE, message, hint) of all."""
    with pytest.raises(MistakesError) as raised:
        checked_policy(write(directory, text))
    assert raised.value.exit_code == 2
    return [
        (one.place.removeprefix(f"{directory}/"), one.message, one.hint)
        for one in raised.value.mistakes
    ]


WRONG = [
    ("[describe]\nvidio = []", "p.toml:2", "unknown key vidio", "video"),
    (
        "[describe]\nvideo = [\n  'title',\n  'event_tiem',\n]",
        "p.toml:4",
        "event_tiem",
        "event_time",
    ),
    ("[describe]\ndataset = ['event_time']", "p.toml:2", "no field", ""),
    ("[describe]\nany = ['event_time']", "p.toml:2", "no field", ""),
    ("[describe]\nany = ['mime_type']", "p.toml:2", "filled in by the program", "Leave it out"),
    ("[describe]\nany = ['']", "p.toml:2", "no field", ""),
    ("[describe]\nany = 'title'", "p.toml:2", "must be a list", ""),
    ("[describe]\nrequired = 1", "p.toml:2", "true or false", ""),
    ("[describe]\nsocial-media-post = []", "p.toml:2", "unknown key", "social_media_post"),
    ('[describe]\nvideo = ["event\\u005ftiem"]\n[keep]', "p.toml:2", "event_tiem", "event_time"),
    ('[describe]\nvideo = [\n"event\\u005ftiem"]', "p.toml:2", "event_tiem", "event_time"),
    ("[formats]\naccepted = ['fmt/199',\n'video']", "p.toml:3", "video is no format", "fmt/199"),
    ("[formats]\nrefused = ['Video/*']", "p.toml:2", "no format", "small letters"),
    ("[formats]\nrefused = ['[a]/b']", "p.toml:2", "no format", ""),
    ("[formats]\nrefused = ['a/b\\u0000']", "p.toml:2", "no format", ""),
    ("[formats]\nseconds = 0", "p.toml:2", "from 1 to 86400", ""),
    ("[formats]\nmemory_mb = 1.5", "p.toml:2", "whole number", ""),
    ("[formats]\nmemory_mb = nan", "p.toml:2", "whole number", ""),
    ("[formats]\nidentfy = true", "p.toml:2", "unknown key identfy", "identify"),
    ("[scan]\nfound = 'delete'", "p.toml:2", "one of: keep, refuse", ""),
    ("[scan]\nfound = 'kepp'", "p.toml:2", "one of: keep, refuse", "keep"),
    ("[scan]\ncommand = ['clamscan']", "p.toml:2", "where the path goes", "clamdscan"),
    ("[scan]\ncommand = ['{path}']", "p.toml:2", "where the path goes", ""),
    ("[scan]\ncommand = ['a', '', '{path}']", "p.toml:2", "empty", ""),
    ("[scan]\ncommand = 'clamscan {path}'", "p.toml:2", "must be a list", ""),
    ("[scan]\nsecret_command = ['a', '{path}']", "p.toml:2", "is told no path", "clamdscan"),
    ("[scan]\nsecret_command = ['']", "p.toml:2", "empty", ""),
    ("[scan]\nsecret_command = 'clamscan -'", "p.toml:2", "must be a list", ""),
    ("[scan]\nsecret_comand = []", "p.toml:2", "unknown key", "secret_command"),
    ("[scan]\nclean = 256", "p.toml:2", "from 0 to 255", ""),
    ("[scan]\nclean = 1", "p.toml:2", "same exit code", ""),
    ("[scan]\n\ninfected = 0", "p.toml:3", "same exit code", ""),
    ("[encryption]\npayload = 'all'", "p.toml:2", "never, secret, always", "always"),
    ("[encryption]\nrecipients = ['age1x']", "p.toml:2", "no age recipient", "62 characters"),
    ("[encryption]\nescrow = ['ana@example.org']", "p.toml:2", "no age recipient", ""),
    ("[encryption]\nidentity = ['']", "p.toml:2", "no age recipient", ""),
    ("[encryption]\nrecipient = []", "p.toml:2", "unknown key", "recipients"),
    ("[keep]\nreplicas = 17", "p.toml:2", "from 0 to 16", ""),
    ("[keep]\nreplicas = -1", "p.toml:2", "from 0 to 16", ""),
    ("[keep]\nreplicas = true", "p.toml:2", "whole number", ""),
    ("[keep]\nretention_year = 3", "p.toml:2", "unknown key", "retention_years"),
    ("[keep]\nlegal_hold = 'yes'", "p.toml:2", "true or false", ""),
    ("\nkeep.replica = 1", "p.toml:2", "unknown key replica", "replicas"),
    ("\nkeep = { replica = 1 }", "p.toml:2", "unknown key replica", "replicas"),
    ("\n['keep']\nreplica = 1", "p.toml:3", "unknown key replica", "replicas"),
    ("description = '''\n[keep]\n'''\n[scan]\nfond = 'keep'", "p.toml:5", "unknown key", "found"),
    ("\n[watch]\noriginals = 'move'", "p.toml:3", "move_to doesn't say where", ""),
    ("extends = 1", "p.toml:1", "must be text", ""),
    ("\n\n[bag", "p.toml:3", "", ""),
]


@pytest.mark.parametrize(("text", "place", "message", "hint"), WRONG)
def test_each_mistake_has_its_line_and_what_was_meant(
    tmp_path: Path, text: str, place: str, message: str, hint: str
) -> None:
    ((where, said, next_step),) = mistakes(tmp_path, text)
    assert where == place
    assert message in said
    assert hint in next_step


def test_all_mistakes_are_told_those_of_what_is_extended_too(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text("[keep]\nreplica = 1\n")
    text = "extends = 'base.toml'\n[scan]\nfond = 'keep'\n[describe]\nvideo = ['a', 'b']\n"
    found = mistakes(tmp_path, text)
    assert [place for place, _message, _hint in found] == [
        "p.toml:3",
        "p.toml:5",
        "p.toml:5",
        "base.toml:2",
    ]
    with pytest.raises(PolicyError, match="and 3 more"):
        checked_policy(write(tmp_path, text))


def test_a_mistake_in_what_is_extended_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text("[keep]\n\nreplica = 1\n")
    ((place, _message, hint),) = mistakes(tmp_path, "extends = 'base.toml'\n[bag]\n")
    assert (place, hint) == ("base.toml:3", "Did you mean replicas?")


def test_an_unknown_name_to_extend_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(PolicyError) as raised:
        checked_policy(write(tmp_path, "\nextends = 'evidense'\n"))
    assert "p.toml:2" in raised.value.message
    assert "evidence" in raised.value.hint


def test_a_private_key_is_never_repeated(tmp_path: Path) -> None:
    secret = "age-secret-key-1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"
    for text in (secret, secret.upper(), f" {secret}"):
        found = mistakes(tmp_path, f"[encryption]\nrecipients = ['{RECIPIENT}', '{text}']\n")
        assert "private key" in found[0][1]
        assert "qqqq" not in repr(found)


def test_recipients_are_taken_with_the_right_checksum_only(tmp_path: Path) -> None:
    made = checked_policy(write(tmp_path, f"[encryption]\nrecipients = ['{RECIPIENT}']\n"))
    assert made.encryption.recipients == (RECIPIENT,)
    for place in range(4, len(RECIPIENT)):
        other = "q" if RECIPIENT[place] != "q" else "p"
        assert not is_recipient(RECIPIENT[:place] + other + RECIPIENT[place + 1 :])
    for text in (RECIPIENT.upper(), RECIPIENT + "q", RECIPIENT[:-1], "", "age1", "age" * 30):
        assert not is_recipient(text)


def test_formats_that_are_taken(tmp_path: Path) -> None:
    patterns = [
        "fmt/199",
        "x-fmt/2*",
        "video/*",
        "application/vnd.ms-excel",
        "*/xml",
        "image/svg+xml",
    ]
    made = checked_policy(write(tmp_path, f"[formats]\naccepted = {patterns}\n"))
    assert list(made.formats.accepted) == patterns


def test_fields_that_can_be_named() -> None:
    assert "title" in known_fields("any")
    assert "event_time" not in known_fields("any")
    for kind in KINDS:
        assert set(known_fields(kind.replace("-", "_"))) == set(fields_of(kind))


# -- files that are no policies


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    for name in (str(tmp_path / "pipe.toml"), write(tmp_path, "extends = 'pipe.toml'\n[bag]\n")):
        with pytest.raises(PolicyError, match="no regular file"):
            load_policy(name)


def test_devices_and_links_to_them_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    with pytest.raises(PolicyError, match="no regular file"):
        load_policy(str(tmp_path / "zero.toml"))


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="too large"):
        load_policy(write(tmp_path, b"#" * (MAX_POLICY_BYTES + 1)))


@pytest.mark.parametrize("text", ["extends = '../x/p.toml'", "extends = './p.toml'"])
def test_loops_by_other_names_end(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(PolicyError, match="itself"):
        load_policy(write(tmp_path / "x", text + "\n[bag]\n"))


def test_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "p.toml").symlink_to("p.toml")
    with pytest.raises(PolicyError, match="can't be read"):
        load_policy(str(tmp_path / "p.toml"))


def test_a_chain_that_is_too_long(tmp_path: Path) -> None:
    for number in range(12):
        (tmp_path / f"{number}.toml").write_text(f"extends = '{number + 1}.toml'\n[bag]\n")
    with pytest.raises(PolicyError, match="too many"):
        load_policy(str(tmp_path / "0.toml"))


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 50_000,
        "[" + "a." * 20_000 + "b]",
        "a." * 100_000 + "b = 1",
        '"a" . ' * 20_000 + "b = 1",
        "a" * 100_000 + " = 1",
        "".join(f"k{number} = 1\n" for number in range(15_000)),
        "[bag]\n" + "".join(f"k{number} = 1\n" for number in range(15_000)),
        "[bag]\nalgorithms = [" + "'a'," * 20_000 + "]",
        "[formats]\naccepted = [" + "'a/b'," * 5_000 + "]",
        "description = '''\n[" + " " * 200_000 + "'''\n[bag]\nx = 1",
        "description = '''\n" + "[\n" * 60_000 + "'''\n[bag]\nx = 1",
        "x = " + "9" * 10_000,
        "x = 1979-99-99",
        "\ufeff[bag]\nx = 1",
        "extends = '\\u0000.toml'",
        "description = '\\u0000'\nx = 1",
    ],
    ids=range(16),
)
@pytest.mark.timeout(120)
def test_hostile_files_are_refused_soon_and_in_few_words(tmp_path: Path, text: str) -> None:
    with pytest.raises(PolicyError) as raised:
        checked_policy(
            write(tmp_path, text.replace("'\\u0000", '"\\u0000').replace("toml'", 'toml"'))
        )
    assert len(raised.value.message) < 2000
    assert len(getattr(raised.value, "mistakes", ())) <= 100


@pytest.mark.parametrize("part", ['"\\""', '"a\\\\"', "x", "'y'", '"é"'])
def test_a_key_of_sixty_thousand_parts_is_refused_at_once(part: str) -> None:
    """tomllib would take hours, and fourteen gigabytes."""
    with pytest.raises(ValueError, match="a key has too many parts"):
        TomlText(f"kind = 'video'\n{'.'.join([part] * 60_000)} = 1\n")
