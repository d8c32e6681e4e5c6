"""The contract of the command line: codes, streams, JSON, escapes."""

from __future__ import annotations

import json
import os
import pty
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from archiver import cli
from archiver.bag.progress import Silent
from archiver.cli import output as output_module
from archiver.cli.output import Output, human_size, printable, settings
from archiver.cli.progress import ProgressLine, progress_for
from tests.bag.archives import (
    ASCII,
    ROOT,
    Entry,
    bag,
    become_nobody,
    entries,
    forged_zip,
    in_base,
    nobody,
    write_tree,
)
from tests.helpers import run

TWO_LINES = re.compile(r"\Aerror: [^\n]+\nhint: [^\n]+\n\Z")
EVIL = "e\x1b[31m\u202e\n\x07.txt"


@pytest.fixture
def valid(tmp_path: Path) -> str:
    return str(write_tree(tmp_path / "valid", bag(ASCII)))


@pytest.fixture
def altered(tmp_path: Path) -> str:
    path = write_tree(tmp_path / "altered", bag(ASCII))
    (path / "data/a.txt").write_bytes(b"alphA\n")
    return str(path)


@pytest.fixture
def undecided(tmp_path: Path) -> str:
    files = bag(ASCII)
    tags = {name: files[name] for name in ("bagit.txt", "bag-info.txt", "manifest-sha256.txt")}
    files = bag(ASCII, tags | {"manifest-sha999.txt": files["manifest-sha256.txt"]})
    return str(write_tree(tmp_path / "undecided", files))


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANGUAGE", "LC_MESSAGES", "LANG", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setattr(signal, "signal", lambda *_given: None)


def program(*arguments: str, env: dict[str, str] | None = None, **options: Any) -> Any:
    return subprocess.run(
        [sys.executable, "-m", "archiver", *arguments],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        check=False,
        **({"capture_output": True, "text": True} | options),
    )


def shell(line: str, **env: str) -> Any:
    """``line`` in bash, ``archiver`` being the program."""
    alias = f'archiver() {{ "{sys.executable}" -m archiver "$@"; }}; set -o pipefail; {line}'
    return subprocess.run(
        ["bash", "-c", alias], cwd=ROOT, env={**os.environ, **env}, capture_output=True, check=False
    )


# -- exit codes --------------------------------------------------------------------


def test_codes_of_verify(valid: str, altered: str, undecided: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, code in (
        ([valid], 0),
        ([valid, "--fast"], 0),
        ([altered], 1),
        ([undecided], 3),
        ([str(tmp_path / "empty")], 1),
        ([str(tmp_path / "absent")], 2),
        ([__file__], 2),
        ([], 2),
        ([valid, "--no-such-option"], 2),
        ([valid, "--policy", "absent"], 2),
        ([valid, "--policy", "default"], 4),
        ([valid, altered, undecided], 1),
        ([valid, undecided], 3),
        ([valid, str(tmp_path / "absent")], 2),
        ([str(tmp_path / "absent"), altered], 1),
    ):
        assert cli.main(["bag", "verify", *arguments]) == code, arguments


def test_errors_are_two_lines_on_stderr(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, valid: str
) -> None:
    for arguments in (
        ["bag", "verify", str(tmp_path / "absent\x1b[2J\n")],
        ["bag", "verify", "--no-such-option", valid],
        ["bag", "verify", valid, "--policy", "absent"],
        ["bag", "show", str(tmp_path)],
        ["bag", "create", str(tmp_path)],
        ["bag", "create", "-o", str(tmp_path / "new")],
        ["bag", "create", valid, "-o", str(tmp_path / "n"), "--info", "no colon\x1b"],
        ["no-such-command"],
    ):
        assert cli.main(arguments) in (1, 2), arguments
        told = capsys.readouterr()
        assert told.out == ""
        assert TWO_LINES.match(told.err), told.err
        assert "\x1b" not in told.err


def test_the_destination_exists(
    valid: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s").write_bytes(b"")
    source = str(tmp_path / "s")
    assert cli.main(["bag", "create", source, "-o", valid]) == 5
    assert TWO_LINES.match(capsys.readouterr().err)


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["bag", "-h"], ["bag", "verify", "--help"]):
        assert cli.main(arguments) == 0
        assert "Example:" in capsys.readouterr().out or arguments == ["bag", "-h"]
    assert cli.main([]) == 2
    assert "Usage" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert re.search(r"\d+\.\d+", capsys.readouterr().out)


@pytest.mark.parametrize("kind", ["directory", "archive"])
def test_an_unreadable_bag_cannot_be_decided(valid: str, kind: str) -> None:
    """As somebody else than root; code 3: unreadable file."""
    cli.main(["bag", "verify", "-q", valid])  # everything is imported by now
    with nobody() as place:
        path = place / ("bag.tar" if kind == "archive" else "bag")
        path.mkdir() if kind == "directory" else path.write_bytes(b"x")
        path.chmod(0)
        become_nobody()
        assert cli.main(["bag", "verify", str(path)]) == 3


# -- streams -------------------------------------------------------------------------


def test_json_is_one_document_for_each_bag(
    valid: str, altered: str, undecided: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["bag", "verify", "--json", valid, altered, undecided]) == 1
    told = capsys.readouterr()
    documents = [json.loads(line) for line in told.out.splitlines()]
    assert [document["verdict"] for document in documents] == ["valid", "invalid", "undecided"]
    assert {document["schema"] for document in documents} == {"archiver/bag-verify/1"}
    for document in documents:
        assert {"bag", "verdict", "claims", "findings"} <= document.keys()
        outcomes = {claim["outcome"] for claim in document["claims"].values()}
        assert outcomes <= {"holds", "fails", "undecided", "not-asked"}
    [found] = documents[1]["findings"]
    assert {"code", "severity", "path", "message", "reference"} <= found.keys()
    assert told.err == ""


def test_hostile_names_are_escaped_for_people_and_whole_in_json(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    path = write_tree(tmp_path / f"bag{EVIL}", bag(ASCII))
    (path / "data" / EVIL).write_bytes(b"")
    (Path(os.fsencode(path / "data").decode()) / "\udcff").write_bytes(b"")
    assert cli.main(["bag", "verify", str(path)]) == 1
    people = capsysbinary.readouterr().out.decode()
    assert not set("\x1b\u202e\x07") & set(people)
    assert "\\x1b[31m\\u202e\\n\\x07" in people
    assert "\\xff" in people
    assert cli.main(["bag", "verify", "--json", str(path)]) == 1
    document = json.loads(capsysbinary.readouterr().out)
    assert document["bag"] == str(path)
    assert f"data/{EVIL}" in {finding["path"] for finding in document["findings"]}
    assert cli.main(["bag", "show", str(path)]) == 0
    assert b"\x1b" not in capsysbinary.readouterr().out


def test_hostile_labels_are_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = bag(ASCII) | {"bag-info.txt": "Evil\x1b]0;x\x07: v\u202e\x9b31m\n".encode()}
    cli.main(["bag", "show", str(write_tree(tmp_path / "b", files))])
    assert not set("\x1b\x07\u202e\x9b") & set(capsys.readouterr().out)


def test_quiet(valid: str, altered: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bag", "verify", "-q", valid, altered]) == 1
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("mode", ["NO_COLOR", "--no-color", "color"])
def test_colours_only_on_a_terminal_that_wants_them(valid: str, mode: str) -> None:
    leader, follower = pty.openpty()
    env = {"NO_COLOR": "1"} if mode == "NO_COLOR" else {}
    extra = [mode] if mode.startswith("--") else []
    program("bag", "verify", valid, *extra, env=env, capture_output=False, stdout=follower)
    os.close(follower)
    shown = os.read(leader, 65536)
    os.close(leader)
    assert (b"\x1b[" in shown) == (mode == "color")
    assert b"\x1b[" not in program("bag", "verify", valid, text=False).stdout


def test_a_stdout_that_is_not_utf_8(tmp_path: Path) -> None:
    path = write_tree(tmp_path / "ñ", bag())
    (path / "data/日本").write_bytes(b"")
    done = program("bag", "verify", str(path), env={"PYTHONIOENCODING": "ascii"}, text=False)
    assert done.returncode == 1
    assert b"\\u65e5\\u672c" in done.stdout
    assert done.stderr == b""


def test_a_reader_that_has_gone_does_not_say_not_intact(valid: str) -> None:
    done = shell(f"(sleep 0.3; archiver bag verify {valid}; echo code $? >&2) | true")
    assert b"Exception" not in done.stderr
    assert done.stderr.strip() == b"code 5"


def test_an_answer_that_cannot_be_written(valid: str) -> None:
    done = shell(f"archiver bag verify {valid} > /dev/full")
    assert done.returncode == 5
    assert b"Traceback" not in done.stderr


def test_closed_streams(tmp_path: Path) -> None:
    done = shell(f"archiver bag verify {tmp_path}/absent >&-")
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_a_broken_pipe_within_a_command(
    valid: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*_given: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(Output, "line", broken)
    saved = os.dup(1)
    monkeypatch.setattr(os, "dup2", lambda *_given: None)
    assert cli.main(["bag", "verify", valid]) == 5
    os.close(saved)
    assert capfd.readouterr().err == ""


# -- flags that hold everywhere ---------------------------------------------------------


def test_flags_stand_anywhere(valid: str, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ["--lang", "es", "bag", "verify", valid],
        ["bag", "verify", "--lang=es", "--no-color", valid],
        ["bag", "--debug", "verify", valid],
        ["bag", "verify", "--", valid],
    ):
        assert cli.main(arguments) == 0
    assert capsys.readouterr().err == ""
    assert cli.main(["--lang", "tlh\x1b", "bag", "verify", valid]) == 0
    told = capsys.readouterr().err
    assert "no language" in told
    assert "\x1b" not in told
    assert cli.main(["bag", "verify", "--", "--debug"]) == 2
    assert "--debug" in capsys.readouterr().err
    assert cli.main(["bag", "verify", valid, "--lang"]) == 0


def test_debug_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception, match="absent"):
        cli.main(["--debug", "bag", "verify", str(tmp_path / "absent")])
    monkeypatch.setattr("archiver.verify.verify_bag", lambda *_a, **_k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["--debug", "bag", "verify", str(tmp_path)])


def test_what_should_not_happen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("archiver.verify.verify_bag", lambda *_a, **_k: 1 / 0)
    assert cli.main(["bag", "verify", str(tmp_path)]) == 5
    assert TWO_LINES.match(capsys.readouterr().err)


def test_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("archiver.verify.verify_bag", lambda *_a, **_k: cli._interrupt(15, None))
    assert cli.main(["bag", "verify", str(tmp_path)]) == 130
    assert capsys.readouterr().err in ("", "error: interrupted\n")  # typer answers 130 itself


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_real_signal(tmp_path: Path, number: int) -> None:
    path = write_tree(tmp_path / "bag", bag({"data/x": b""}))
    with (path / "data/x").open("wb") as file:
        file.truncate(1 << 40)
    with subprocess.Popen(
        [sys.executable, "-m", "archiver", "bag", "verify", str(path)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
    ) as running:
        time.sleep(1.2)
        running.send_signal(number)
        _out, told = running.communicate(timeout=10)
    assert running.returncode == 130
    assert b"Traceback" not in told


def test_python_m_archiver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["archiver", "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("archiver", run_name="__main__")
    assert left.value.code == 0


# -- create ----------------------------------------------------------------------------------


def test_create_verify_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_tree(tmp_path / "s", {f"{n}.txt": b"x" for n in range(50)})
    (source / "CON").write_bytes(b"")
    (source / "link").symlink_to("0.txt")
    made = str(tmp_path / "bag")
    assert cli.main(["bag", "create", str(source), "-o", made, "--info", "A: b", "--json"]) == 0
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert document["schema"] == "archiver/bag-create/1"
    assert (document["payload_files"], document["signed"]) == (51, False)
    assert "warning:" in told.err
    assert cli.main(["bag", "show", made]) == 0
    assert "and 11 more" in capsys.readouterr().out
    assert cli.main(["bag", "show", "--json", made]) == 0
    assert json.loads(capsys.readouterr().out)["filesystem"]["kinds"]["link"] == 1
    assert cli.main(["bag", "create", str(source), "-o", made + "2"]) == 0
    told = capsys.readouterr()
    assert "unsigned" in told.err
    assert "51 files" in told.out
    assert cli.main(["bag", "create", str(source), "-o", made + "3", "-q"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("separator", ["\n", "\0"])
def test_files_from(tmp_path: Path, separator: str) -> None:
    source = write_tree(tmp_path / "s", {"a": b"1", "b/c d": b"2", "no": b"3"})
    names = separator.join(["a", "./b/c d", ""])
    made = tmp_path / "bag"
    done = program(
        *("bag", "create", "--files-from", "-", "--base", str(source), "-o", str(made), "--json"),
        input=names,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["payload_files"] == 2
    (tmp_path / "list").write_text(names)
    assert cli.main(
        ["bag", "create", "--files-from", str(tmp_path / "list"), "--base", str(source), "-o",
         str(tmp_path / "bag2")]
    ) == 0  # fmt: skip


@pytest.mark.parametrize("listed", ["", "../s/a\n", "/etc/passwd\n", "absent\n"])
def test_files_from_what_cannot_be(tmp_path: Path, listed: str) -> None:
    write_tree(tmp_path / "s", {"a": b"1"})
    (tmp_path / "list").write_text(listed)
    code = cli.main(
        ["bag", "create", "--files-from", str(tmp_path / "list"), "--base", str(tmp_path / "s"),
         "-o", str(tmp_path / "bag")]
    )  # fmt: skip
    assert code == (2 if listed in ("", "absent\n") else 5)
    assert not (tmp_path / "bag").exists()
    given = ["bag", "create", "--files-from", str(tmp_path / "absent"), "-o", str(tmp_path / "b")]
    assert cli.main(given) == 2


def test_what_stands_in_the_way_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_tree(tmp_path / "s", {"a": b"1"})
    os.mkfifo(source / "pipe")
    assert cli.main(["bag", "create", str(source), "-o", str(tmp_path / "b")]) in (2, 5)
    assert "E-SRC-003" in capsys.readouterr().err


def test_many_findings_are_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_tree(tmp_path / "b", bag(ASCII) | {f"data/x/{n}": b"" for n in range(1005)})
    assert cli.main(["bag", "verify", str(path)]) == 1
    assert re.search(r"and \d+ more; --json", capsys.readouterr().out)


def test_show_of_a_side_car_out_of_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = '{"schema": "archiver/filesystem/1"}\n{"type": "file", "mtime_ns": 1%s}\n' % (
        "0" * 40
    )
    files = bag(ASCII) | {"metadata/filesystem.jsonl": records.encode()}
    assert cli.main(["bag", "show", str(write_tree(tmp_path / "b", files))]) == 0
    assert "0000" in capsys.readouterr().out


def test_show_of_a_damaged_archive(tmp_path: Path) -> None:
    made = entries(in_base(bag(ASCII)))
    made[0].method, made[0].packed = 8, b"\xff" * 9
    (tmp_path / "bag.zip").write_bytes(forged_zip(made))
    assert cli.main(["bag", "show", str(tmp_path / "bag.zip")]) == 1


@pytest.mark.parametrize("command", ["show", "verify"])
def test_a_zip_of_an_unknown_method(tmp_path: Path, command: str) -> None:
    made = entries(in_base(bag(ASCII)))
    made[0] = Entry(name=made[0].name, data=made[0].data, method=99)
    (tmp_path / "bag.zip").write_bytes(forged_zip(made))
    assert cli.main(["bag", command, str(tmp_path / "bag.zip")]) in (1, 3)


# -- parts ------------------------------------------------------------------------------------


def test_printable_and_sizes() -> None:
    assert printable("año 日本") == "año 日本"
    assert printable("a\x1b\u202e\u2028\x85\udcff\ud800\t") == (
        "a\\x1b\\u202e\\u2028\\x85\\xff\\ud800\\t"
    )
    assert [human_size(n) for n in (0, 999, 1000, 1.5e9, 1e18)] == [
        "0 B", "999 B", "1.0 KB", "1.5 GB", "1000.0 PB"
    ]  # fmt: skip


def test_warnings_are_limited(capsys: pytest.CaptureFixture[str]) -> None:
    from archiver.findings import Findings

    findings = Findings()
    for number in range(5):
        findings.add("W-SRC-021", f"x{number}\x1b")
    Output().limited(findings, 2)
    told = capsys.readouterr().err
    assert told.count("warning:") == 3
    assert "and 3 more" in told
    assert "\x1b" not in told


def test_progress(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert isinstance(progress_for(quiet=True), Silent)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    line = progress_for(quiet=False)
    assert isinstance(line, ProgressLine)
    line.clear()
    assert "%" not in line.text(0)
    line._next = 0
    line.expect(100, 2)
    line.within(90)
    line.within(90)
    assert "100%" in line.text(line._begun + 1)
    line.done(150, 1)
    line._next = 0
    line.done(0, 0)
    assert "1:00:00 left" in ProgressLine.text(slow(), 3600.0)
    line.clear()
    assert capsys.readouterr().err.endswith("\r\x1b[K")


def slow() -> ProgressLine:
    line = ProgressLine()
    line._begun = 0.0
    line.expect(7200, 1)
    line._bytes = 3600
    return line


def test_paint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(settings, "color", True)
    assert Output().paint("x", "red") == "\033[31mx\033[0m"
    monkeypatch.setattr(settings, "color", False)
    assert Output().paint("x", "red") == "x"
    assert output_module._COLORS


@pytest.mark.parametrize(
    ("codes", "worst"),
    [([], 0), ([0, 0], 0), ([0, 2], 2), ([2, 4], 4), ([5, 0], 5), ([2, 5], 5), ([5, 4], 4),
     ([4, 3, 5], 3), ([3, 1], 1)],
)  # fmt: skip
def test_several_exit_codes_are_one_that_hides_no_failure(codes: list[int], worst: int) -> None:
    from archiver.cli.bag_verify import worst_code

    assert worst_code(codes) == worst


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (("bag", "verify", "x", "--trust"), "archiver bag verify"),
        (("bag", "verify", "x", "--nosuch"), "archiver bag verify"),
        (("ingest", "--case"), "archiver ingest"),
        (("watch", "status", "--json=3"), "archiver watch status"),
        (("nosuch", "--x"), "archiver"),
    ],
)
def test_a_wrong_option_leads_to_the_help_of_its_command(
    words: tuple[str, ...], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done = run(capsys, *words)
    assert done.code == 2
    assert done.err.splitlines()[1] == f"hint: See '{command} --help'."
