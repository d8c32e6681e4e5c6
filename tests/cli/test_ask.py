"""``--ask``, typed into a real terminal; drafts."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.cli.ask import Interview, Talk
from archiver.cli.draft import Draft, draft_for
from archiver.describe import Description, read_form
from archiver.describe.description import canonical
from archiver.errors import UsageError
from archiver.seal.described import InClearError, described_in, description_files
from tests.helpers import run

ROOT = Path(__file__).parents[2]
PROMPT = re.compile(r"\[(\w+)\]:? $")
SECONDS = 40


class Terminal:
    """The program at a terminal of its own."""

    def __init__(self, place: Path, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "XDG_STATE_HOME": str(place / "state"),
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "archiver", *arguments],
            stdin=slave,
            stdout=subprocess.PIPE,
            stderr=slave,
            cwd=place,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self.seen = ""

    def read_until_asked(self) -> str:
        """What it says up to its next question; "" where it ended. The field that it asks for
        is the last word in brackets.
        """
        end = time.monotonic() + SECONDS
        begun = len(self.seen)
        while time.monotonic() < end:
            found = PROMPT.search(self.seen[begun:])
            if found:
                return found[1]
            ready, _w, _x = select.select([self.master], [], [], 0.2)
            if ready:
                try:
                    data = os.read(self.master, 65536)
                except OSError:  # it has ended
                    return ""
                if not data:
                    return ""
                self.seen += data.decode("utf-8", "replace").replace("\r\n", "\n")
        raise AssertionError(f"it asks nothing: {self.seen[-500:]}")

    def type(self, text: str | bytes) -> None:
        data = text if isinstance(text, bytes) else text.encode()
        os.write(self.master, data + b"\n")

    def answer(self, answers: dict[str, list[str | bytes]]) -> None:
        """Answer each question by its field; what isn't there is skipped."""
        left = {key: list(given) for key, given in answers.items()}
        while field := self.read_until_asked():
            self.type(left[field].pop(0) if left.get(field) else "")
            self.seen += "\n"

    def end(self) -> tuple[int, str]:
        """The exit code and what it wrote to standard output."""
        assert self.process.stdout is not None
        code = self.process.wait(SECONDS)
        out = self.process.stdout.read().decode()
        self.process.stdout.close()
        return code, out

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    (tmp_path / "source/video.mp4").write_bytes(b"moving pictures")
    return tmp_path


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for one in opened:
        one.close()


def start(terminals: list[Terminal], place: Path, *arguments: str) -> Terminal:
    terminals.append(Terminal(place, *arguments))
    return terminals[-1]


def drafts(place: Path) -> list[Path]:
    return sorted((place / "state").rglob("*.json"))


def test_a_bag_is_described_by_answers(place: Path, terminals: list[Terminal]) -> None:
    terminal = start(terminals, place, "bag", "create", "source", "-o", "bag", "--ask")
    terminal.answer(
        {
            "kind": ["what?", "vid"],
            "confidentiality": ["r", "restricted"],
            "title": ["?", "\x1b[2J", b"\xff\xfe", "La demolición"],
            "event_time": ["yesterday", "2026-03"],
            "original": ["der"],
            "item": ["c-E-0001"],
            "tool": ["ffmpeg"],
            "exculpatory": ["sí"],
            "reencoded": ["u"],
        }
    )
    code, out = terminal.end()
    assert code == 0, terminal.seen
    assert out.startswith("bag: 1 file")
    found = described_in(str(place / "bag"))
    assert found is not None
    assert found.kind == "video"
    assert found.values == {
        "title": "La demolición",
        "original": "derived",
        "derived_from": [{"item": "c-E-0001", "tool": "ffmpeg"}],
        "confidentiality": "restricted",
        "exculpatory": "yes",
        "event_time": "2026-03",
        "reencoded": "unknown",
    }
    assert found.recorded["program"].startswith("archiver")
    said = terminal.seen
    assert "event_time must be a date or time. As in 2026-03-01" in said
    assert "confidentiality must be one of: public, restricted" in said
    assert "title holds control characters" in said
    assert "For example: Demolition of a house" in said
    assert "  video: A video" in said
    assert said.index("[confidentiality]") < said.index("[case]") < said.index("[exculpatory]")
    assert drafts(place) == []


def test_answers_are_taken_up_again(place: Path, terminals: list[Terminal]) -> None:
    command = ("bag", "create", "source", "-o", "bag", "--ask")
    first = start(terminals, place, *command)
    for field, text in (("kind", "video"), ("confidentiality", "public"), ("case", "c"),
                        ("title", "first")):  # fmt: skip
        assert first.read_until_asked() == field
        assert drafts(place) == [] or field in ("case", "title")
        first.type(text)
        first.seen += "\n"
    assert first.read_until_asked() == "description"
    (draft,) = drafts(place)
    assert stat.S_IMODE(draft.stat().st_mode) == 0o600
    assert stat.S_IMODE(draft.parent.stat().st_mode) == 0o700
    first.interrupt()
    code, _out = first.end()
    assert code == 130
    assert not (place / "bag").exists()
    second = start(terminals, place, *command)
    assert second.read_until_asked() == "description"
    assert "3 answers of an earlier run are taken up again" in second.seen
    second.type(".")
    assert second.end()[0] == 0
    found = described_in(str(place / "bag"))
    assert found is not None
    assert found.values == {"case": "c", "title": "first", "confidentiality": "public"}
    assert drafts(place) == []


@pytest.mark.parametrize(
    ("kind", "word"), [("video", "sealed"), ("statement", "confidential"), ("statement", "")]
)
def test_nothing_confidential_is_written(
    kind: str, word: str, place: Path, terminals: list[Terminal]
) -> None:
    for command in (
        ("bag", "create", "source", "-o", "bag", "--ask"),
        ("describe", "new", "-o", "f.toml", "--ask"),
    ):
        terminal = start(terminals, place, *command)
        terminal.answer({"kind": [kind], "confidentiality": [word]})
        assert terminal.end()[0] == 2
        assert "Nothing of these answers is written to the disk" in terminal.seen
        assert "statement new" in terminal.seen
    files = [path for path in place.rglob("*") if path.is_file()]
    assert [path.name for path in files] == ["video.mp4"]


def test_an_open_statement_has_no_draft(place: Path, terminals: list[Terminal]) -> None:
    terminal = start(terminals, place, "bag", "create", "source", "-o", "bag", "--ask")
    terminal.answer(
        {
            "kind": ["statement"],
            "confidentiality": ["public"],
            "persons_present": ["T-1", "I-2"],
            "explained": ["yes"],
            "media": ["ask"],
            "title": ["x"],
        }
    )
    assert terminal.end()[0] == 0, terminal.seen
    assert not (place / "state/archiver/drafts").exists()
    found = described_in(str(place / "bag"))
    assert found is not None
    assert found.values["persons_present"] == ["T-1", "I-2"]
    assert found.values["consent"] == {"explained": "yes", "media": "ask"}


def test_what_the_form_says_is_not_asked(place: Path, terminals: list[Terminal]) -> None:
    (place / "f.toml").write_text("kind = 'document'\ntitle = 'x'\nconfidentiality = 'public'\n")
    command = ("bag", "create", "source", "-o", "bag", "--ask", "--describe", "f.toml")
    terminal = start(terminals, place, *command)
    terminal.answer({"scan_dpi": ["many", "600"], "photographs": ["a", "b"]})
    assert terminal.end()[0] == 0
    for key in ("kind", "title", "confidentiality"):
        assert f"[{key}]" not in terminal.seen
    found = described_in(str(place / "bag"))
    assert found is not None
    assert (found.values["scan_dpi"], found.values["photographs"]) == (600, ["a", "b"])
    assert "scan_dpi must be a whole number" in terminal.seen


def test_a_form_is_made_of_answers(place: Path, terminals: list[Terminal]) -> None:
    terminal = start(terminals, place, "describe", "new", "--kind", "audio", "--ask")
    terminal.answer({"confidentiality": ["public"], "title": ['say "x" \\ y'], "case": ["."]})
    code, out = terminal.end()
    assert code == 0
    assert read_form(out.encode(), "f").values == {"confidentiality": "public"}
    terminal = start(
        terminals, place, "describe", "new", "--kind", "audio", "--ask", "-o", "f.toml"
    )
    terminal.answer({"title": ['say "x" \\ y']})
    assert terminal.end()[0] == 0
    found = read_form((place / "f.toml").read_bytes(), "f")
    assert found.values == {"title": 'say "x" \\ y'}
    assert stat.S_IMODE((place / "f.toml").stat().st_mode) == 0o600
    assert drafts(place) == []  # nobody said who may see it


def test_nobody_answers_any_more(place: Path, terminals: list[Terminal]) -> None:
    terminal = start(terminals, place, "describe", "new", "--ask")
    assert terminal.read_until_asked() == "kind"
    os.write(terminal.master, b"\x04")
    assert terminal.end()[0] == 130
    terminal = start(terminals, place, "describe", "new", "--ask")
    assert terminal.read_until_asked() == "kind"
    terminal.type(".")
    assert terminal.end()[0] == 130


# -- drafts


@pytest.fixture
def draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Draft:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return draft_for("bag create", case="c", paths=["out"])


def test_a_draft_is_kept_and_removed(draft: Draft, monkeypatch: pytest.MonkeyPatch) -> None:
    assert draft.load() == ("", {})
    draft.save("video", {"title": "ñ"})
    assert draft.load() == ("video", {"title": "ñ"})
    draft.save("video", {"title": "x"})
    assert draft_for("bag create", case="c", paths=[os.path.abspath("out")]).load()[1] == {
        "title": "x"
    }
    for other in (
        draft_for("ingest", case="c", paths=["out"]),
        draft_for("bag create", case="d", paths=["out"]),
        draft_for("bag create", case="c", paths=["other"]),
    ):
        assert other.load() == ("", {})
    assert "out" not in draft.path.removeprefix(os.environ["XDG_STATE_HOME"])
    draft.remove()
    draft.remove()
    assert draft.load() == ("", {})
    assert os.listdir(os.path.dirname(draft.path)) == []


@pytest.mark.parametrize(
    "what", ["link", "fifo", "shared", "nonsense", "nested", "kind", "kinds", "key", "directory"]
)
def test_drafts_that_are_none(what: str, draft: Draft, tmp_path: Path) -> None:
    draft.save("video", {"title": "x"})
    path = Path(draft.path)
    if what == "shared":
        path.chmod(0o666)
    elif what == "nonsense":
        path.write_bytes(b"\xff")
    elif what == "nested":
        path.write_bytes(b'{"a":' * 200_000)
    elif what in ("kind", "kinds", "key"):
        record = {"kind": {"kind": "film", "kinds": ["video"], "key": "video"}[what], "titel": "x"}
        path.write_bytes(canonical({"schema": "archiver/draft/1", **record}))
    else:
        path.rename(tmp_path / "elsewhere")
        if what == "link":
            path.symlink_to(tmp_path / "elsewhere")
        elif what == "directory":
            path.mkdir()
        else:
            os.mkfifo(path)
    assert draft.load() == ("", {})


def test_a_draft_that_can_not_be_kept(draft: Draft, tmp_path: Path) -> None:
    from archiver.errors import StorageError

    (tmp_path / "state").write_text("no directory")
    with pytest.raises(StorageError):
        draft.save("video", {})
    assert Description(kind="video").values == {}


# -- the same in this process


class Sitting(Talk):
    """Somebody who answers each question by its field, and skips the others."""

    def __init__(self, **answers: list[str]) -> None:
        self.left, self.said = answers, list[str]()

    def say(self, text: str) -> None:
        self.said.append(text)

    def ask(self, question: str) -> str:
        self.said.append(question)
        field = question.rstrip(":").rpartition("[")[2].rstrip("]")
        answers = self.left.get(field, [])
        answer = answers.pop(0) if answers else ""
        if answer == "^C":
            raise KeyboardInterrupt
        return answer


@pytest.mark.parametrize("end", [".", "^C"])
def test_what_was_answered_of_a_table_counts_wherever_it_ends(draft: Draft, end: str) -> None:
    def sit(**more: list[str]) -> Sitting:
        return Sitting(kind=["absence"], confidentiality=["public"], at=["2026"], **more)

    whole = [{"whom": "A", "at": "2026"}]
    if end == ".":
        found = Interview(sit(whom=["A", "."]), draft).run({"at": "now"})
        assert found.values["asked"] == whole
        found = Interview(sit(whom=["A"], reference=["."]), None).run({"at": "now"})
        assert found.values["asked"] == whole
        return
    with pytest.raises(KeyboardInterrupt):
        Interview(sit(whom=["A", "^C"]), draft).run({"at": "now"})
    assert draft.load()[1]["asked"] == whole


def test_a_conversation(draft: Draft) -> None:
    talk = Sitting(
        kind=["", "film", "absence"],
        confidentiality=["p", "?", "public"],
        original=["copy"],
        title=["", "x"],
        whom=["A", "B"],
        at=["2026", "2027"],
        shown_by=["?", "\x00", "c-E-0001"],
        language=["."],
    )
    found = Interview(talk, draft).run({"at": "now"})
    assert found.kind == "absence"
    assert found.recorded == {"at": "now"}
    assert found.values["asked"] == [{"whom": "A", "at": "2026"}, {"whom": "B", "at": "2027"}]
    assert "derived_from" not in found.values
    assert "shown_by" not in found.values  # behind the end
    told = "\n".join(talk.said)
    assert "  video: A video" in told
    assert "confidentiality must be one of" in told
    assert draft.load()[0] == "absence"


def test_optional_lists_numbers_and_tables(draft: Draft) -> None:
    given = {"confidentiality": "public"}
    talk = Sitting(scan_dpi=["9" * 30, "300"], photographs=["?", "\x00", "a", "b"], redacted=["s"])
    found = Interview(talk, draft, kind="document", answers=dict(given)).run({})
    assert found.values == {**given, "scan_dpi": 300, "photographs": ["a", "b"], "redacted": "yes"}
    talk = Sitting(media=["no"], explained=["y"], research=["ask"])
    found = Interview(talk, None, kind="statement", answers=dict(given)).run({})
    assert found.values["consent"] == {"explained": "yes", "media": "no", "research": "ask"}
    assert any("Nothing of these answers" in one for one in talk.said)
    talk = Sitting()
    found = Interview(talk, None, kind="statement", answers=dict(given)).run({})
    assert found.values == given


def test_an_interruption_keeps_what_may_be_kept(draft: Draft) -> None:
    talk = Sitting(kind=["video"], confidentiality=["restricted"], case=["c"], title=["^C"])
    with pytest.raises(KeyboardInterrupt):
        Interview(talk, draft).run({})
    assert "takes them up again" in talk.said[-1]
    assert draft.load() == ("video", {"confidentiality": "restricted", "case": "c"})
    again = Sitting(title=["x"])
    found = Interview(again, draft, answers={"case": "d"}).run({})
    assert found.values == {"confidentiality": "restricted", "case": "d", "title": "x"}
    other = Sitting(title=["^C"])
    with pytest.raises(KeyboardInterrupt):
        Interview(other, draft, kind="audio").run({})  # another kind: not of that
    assert not any("taken up" in one for one in other.said)
    for answers in ({"kind": ["."]}, {"kind": ["^C"]}):
        draft.remove()
        with pytest.raises(KeyboardInterrupt):
            Interview(Sitting(**answers), draft).run({})
        assert draft.load() == ("", {})


def test_a_draft_of_what_becomes_confidential_goes(draft: Draft) -> None:
    draft.save("video", {"title": "Maria"})
    talk = Sitting(confidentiality=["sealed"], case=["^C"])
    with pytest.raises(KeyboardInterrupt):
        Interview(talk, draft).run({})
    assert not os.path.exists(draft.path)
    draft.save("video", {"title": "Maria"})
    with pytest.raises(InClearError):
        Interview(Sitting(confidentiality=["sealed"]), draft, description_files).run({})
    assert not os.path.exists(draft.path)


def test_questions_at_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    master, slave = pty.openpty()
    os.write(master, b" x \n\xff\n\x04")
    with open(slave, encoding="utf-8", errors="strict") as file:
        monkeypatch.setattr(sys, "stdin", file)
        talk = Talk()
        assert talk.ask("a\x1b[2J:") == "x"
        assert talk.ask("b:") == ""
    os.close(master)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with pytest.raises(UsageError):
        Talk()
    with pytest.raises(KeyboardInterrupt):
        talk.ask("c:")
    err = capsys.readouterr().err
    assert "a\\x1b[2J: " in err
    assert "That was no text in UTF-8." in err


def test_commands_ask_too(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "state"))
    monkeypatch.chdir(place)
    monkeypatch.setattr(
        "archiver.cli.ask.Talk", lambda: Sitting(confidentiality=["public"], title=["x"])
    )
    assert run(capsys, "describe", "new", "--kind", "video", "--ask", "-o", "f.toml").code == 0
    done = run(capsys, "bag", "create", "source", "-o", "bag", "--ask", "--describe", "f.toml")
    assert done.code == 0
    found = described_in("bag")
    assert found is not None
    assert found.values == {"title": "x", "confidentiality": "public"}
    assert drafts(place) == []
