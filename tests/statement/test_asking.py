"""A statement that is typed: at a real terminal, and kept nowhere else."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from archiver.cli.asking import Terminal, ask_files, ask_identity, ask_statement
from archiver.errors import UsageError
from tests.bag.making import ROOT
from tests.statement.scene import FILES, ITEM, NAME, Scene

TITLE = "Invented: the shots at the bridge"


class Session:
    """A program at a terminal of its own. ``seen`` is all that stood on the screen."""

    def __init__(self, words: Sequence[object], stdout: Path | None = None) -> None:
        self.master, slave = pty.openpty()
        settings = termios.tcgetattr(slave)
        settings[1] &= ~termios.ONLCR
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        out = open(stdout, "wb") if stdout else None  # noqa: SIM115
        self.process = subprocess.Popen(
            ["setsid", "-c", sys.executable, "-m", "archiver", *map(str, words)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"},
            stdin=slave,
            stdout=out or slave,
            stderr=slave,
        )
        os.close(slave)
        if out:
            out.close()
        self.seen = ""

    def read(self, seconds: float) -> bool:
        """Whether something came."""
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self.master, 65_536)
        except OSError:
            return False
        self.seen += data.decode("utf-8", "replace")
        return bool(data)

    def answer(self, question: str, text: str) -> None:
        """Type ``text`` once ``question`` stands there."""
        start, end = len(self.seen), time.monotonic() + 30
        while question not in self.seen[start:]:
            assert time.monotonic() < end, f"{question!r} is not in {self.seen!r}"
            self.read(0.2)
        os.write(self.master, f"{text}\n".encode())

    def end(self) -> int:
        """Its exit code, once everything was read."""
        while self.process.poll() is None or self.read(0.1):
            self.read(0.1)
        os.close(self.master)
        return self.process.wait()


ANSWERS = {
    "code of the witness": ["Xochiquetzal\x15W-12"],
    "A short title": ["Invented: \\\nthe shots at the bridge"],
    "When it was collected": ["yesterday", "2026-11-20"],
    "Who else was there": ["R-03; I-01"],
    "Use in court": ["ask"],
    "The name of the witness": [NAME],
    "How to reach": ["+51 999 123 456"],
    "Remove them now?": ["y"],
}
"""What is typed; everything else is left empty."""


def type_all(session: Session, answers: dict[str, list[str]]) -> int:
    """Answer every question as it comes, until the program ends; its exit code."""
    told = 0
    while session.process.poll() is None:
        session.read(0.2)
        question = session.seen[told:].rsplit("\n", 1)[-1]
        if question.endswith(": "):
            told = len(session.seen)
            ready = next((left for key, left in answers.items() if key in question and left), [""])
            os.write(session.master, f"{ready.pop(0)}\n".encode())
    return session.end()


def test_everything_is_asked_for_and_nothing_goes_to_the_streams(scene: Scene) -> None:
    out = scene.base / "stdout"
    words = ["statement", "new", "--case", "c", "--unsigned", *scene.recipients(), "--json"]
    session = Session(words, out)
    answers = {key: [*value] for key, value in ANSWERS.items()}
    answers["A file of the statement"] = ["/nonexistent", str(scene.files[0])]
    assert type_all(session, answers) == 0, session.seen
    assert "There is no such file" in session.seen
    assert "must be a date or time" in session.seen
    assert NAME not in out.read_text()
    assert TITLE not in out.read_text()
    assert not scene.files[0].exists()
    description = scene.open(ITEM, "--json").json["description"]
    assert isinstance(description, dict)
    assert (description["title"], description["collected_at"]) == (TITLE, "2026-11-20")
    assert description["consent"] == {"court": "ask"}
    assert description["persons_present"] == ["R-03", "I-01"]
    assert description["confidentiality"] == "confidential"
    assert NAME in scene.open(ITEM, "--who", key="identity").out


class Typed(Terminal):
    """A terminal whose answers are known: for what the other tests don't type."""

    def __init__(self, *answers: str) -> None:
        self.answers: Iterator[str] = iter(answers)
        self.said: list[str] = []

    def __exit__(self, *_ignored: object) -> None:
        pass

    def say(self, text: str) -> None:
        self.said.append(text)

    def ask(self, question: str) -> str:
        self.said.append(question)
        return next(self.answers, "")


def test_wrong_answers_are_asked_again() -> None:
    terminal = Typed("W-1", "", "", "2026-02-30", "2026-02-28")
    values = ask_statement(terminal, {"case": "c"})
    assert values["collected_at"] == "2026-02-28"
    assert any("must be a date or time" in one for one in terminal.said)
    assert "consent" not in values
    assert not any("What it was made from" in one for one in terminal.said)


def test_the_code_is_asked_for_until_it_is_one() -> None:
    terminal = Typed("?", "", "Xochiquetzal", "X-12")
    assert ask_statement(terminal, {"case": "c"}) == {"case": "c", "witness_code": "X-12"}
    assert sum("that is no code" in one for one in terminal.said) == 2
    assert any("For example: W-07" in one for one in terminal.said)


def test_choices_are_understood_by_their_beginning() -> None:
    """A question that is left open is one that has to be asked again, of a person who is gone."""
    asked = iter(["W-1"])
    terminal = Typed()
    said = {"signed": "thumb", "first account": "sí", "Use in court": "a", "else was there": ";"}

    def ask(question: str) -> str:
        return next((one for key, one in said.items() if key in question), next(asked, ""))

    terminal.ask = ask  # type: ignore[method-assign]
    values = ask_statement(terminal, {"case": "c"})
    assert not any("for a minor" in one for one in terminal.said)
    assert (values["signed"], values["first_account"]) == ("thumb-printed", "yes")
    assert values["consent"] == {"court": "ask"}
    assert "persons_present" not in values


def test_who_the_witness_is_can_t_be_left_out_by_mistake() -> None:
    terminal = Typed("", "", "", "", "", NAME)
    assert ask_identity(terminal) == {"name": NAME}
    assert any("--no-identity" in one for one in terminal.said)


def test_files_are_asked_for_until_there_are_no_more(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    terminal = Typed("~nobody/x", str(tmp_path / "a"), "")
    assert ask_files(terminal) == [str(tmp_path / "a")]


def test_no_terminal_is_said() -> None:
    with pytest.raises(UsageError, match="nobody is at a terminal"):
        Terminal("/nonexistent/tty")


def test_a_terminal_is_read_line_by_line() -> None:
    master, slave = pty.openpty()
    place = os.ttyname(slave)
    with Terminal(place) as terminal:
        os.write(master, b"\xff\n" + "a long \\\nanswer\nsí\nn\n".encode() + b"\x04")
        assert terminal.ask("\x1b[31mquestion") == "a long answer"
        assert terminal.confirm("Sure?")
        assert not terminal.confirm("Sure?")
        with pytest.raises(KeyboardInterrupt):
            terminal.ask("more")
    shown = b""
    while select.select([master], [], [], 0.1)[0]:
        shown += os.read(master, 4096)
    assert b"\x1b" not in shown
    assert "UTF-8" in shown.decode("utf-8", "replace")
    os.close(slave)
    os.close(master)


def test_at_a_terminal_plain_files_are_named_to_who_sits_there(scene: Scene) -> None:
    session = Session(scene.words())
    session.answer("Remove them now?", "n")
    assert session.end() == 0
    for name in (*FILES, "form.toml", "who.toml"):
        assert name in session.seen
    assert "--remove-original" in session.seen
    assert all(one.exists() for one in scene.files)
    session = Session(scene.words(files=[scene.home / "missing"]))
    assert session.end() == 5
    assert "missing" in session.seen
    scene.write("form.toml", 'witness = "x"')
    session = Session(scene.words())
    assert session.end() == 2
    assert "unknown key witness" in session.seen


def test_breaking_it_off_leaves_nothing(scene: Scene) -> None:
    words = ["statement", "new", "--case", "c", "--unsigned", *scene.recipients()]
    session = Session(words)
    session.answer("code of the witness", "W-12")
    session.answer("title", "\x03")
    assert session.end() == 130
    assert sorted(os.listdir(scene.vault.path + "/bags")) == []
