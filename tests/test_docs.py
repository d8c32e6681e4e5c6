"""The documents say what the program does: README commands run, pages are today's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pip._internal.models.index import PyPI

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def program_environment() -> dict[str, str]:
    """An environment in which ``archiver`` is this checkout's."""
    binaries = Path(sys.executable).parent
    return {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}


def run_tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_generated_pages_are_up_to_date() -> None:
    done = run_tool("tools/make_docs.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def modules() -> set[str]:
    """Every package and module below ``archiver``, but for those that are one command each."""
    base = ROOT / "archiver"
    names = {
        ".".join(path.relative_to(base).with_suffix("").parts).removesuffix("__init__").rstrip(".")
        for path in base.rglob("*.py")
    }
    return {one for one in names if one and not one.startswith("cli.")}


def test_every_module_has_its_row_in_the_architecture() -> None:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([\w.]+)`", row)]
    assert sorted(named) == sorted(modules())


def test_every_message_is_translated_and_compiled() -> None:
    done = run_tool("tools/make_messages.py", "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def readme_sessions() -> list[tuple[str, str]]:
    """(command, expected output) of the README's transcripts."""
    text = (ROOT / "README.md").read_text("utf-8")
    steps = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _newline, expected = step.partition("\n")
            steps.append((command, expected))
    return steps


def test_readme_transcript_is_what_the_commands_print(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    made_copy = False
    for command, expected in readme_sessions():
        if command.endswith("verify copy") and not made_copy:
            made_copy = True
            damage_a_copy(tmp_path)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=program_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        assert done.stdout == expected, command
    assert made_copy


def test_readme_seals_as_it_says(tmp_path: Path) -> None:
    """The blocks in bash and Python, one after the other in one directory."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    secret = tmp_path / "secret"
    secret.write_text("correct horse battery\n")
    secret.chmod(0o600)
    text = (ROOT / "README.md").read_text("utf-8")
    environment = {**program_environment(), "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    (shell,) = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    (python,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for command in (["bash", "-ec", shell], [sys.executable, "-c", python]):
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout == "valid\n"


def damage_a_copy(place: Path) -> None:
    """Flip the bit that the demo flips."""
    shutil.copytree(place / "case-001", place / "copy")
    video = place / "copy" / "data" / "media" / "derribo-caseta.mp4"
    video.parent.chmod(0o755)
    video.chmod(0o644)
    data = bytearray(video.read_bytes())
    data[10_000] ^= 1
    video.write_bytes(data)


def test_demo_runs_and_names_the_damaged_file() -> None:
    done = subprocess.run(
        ["sh", "examples/demo.sh"],
        cwd=ROOT,
        env=program_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "E-BAG-200 data/media/derribo-caseta.mp4" in done.stdout
    assert "$ bagit.py --validate forged\nvalid" in done.stdout
    assert "E-SIG-003 signatures/" in done.stdout
    assert "case-001-E-0001: DAMAGED: it is not what was sealed" in done.stdout
    assert "case-001-E-0001: repaired" in done.stdout
    assert "copies checked: 2, good: 2; open incidents: none" in done.stderr
    assert "0001.age\nfiles.json.age\nidentity.age\n" in done.stdout
    assert "name: Yolanda Quirquincho Invención" in done.stdout  # with the identity's key alone
    assert "case-002-E-0005              due on 2021-07-25" in done.stdout
    assert "marcas de ataduras en las [muñecas]" in done.stdout
    assert '<object xsi:type="intellectualEntity">' in done.stdout
    assert "error: the witness has not consented: media" in done.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text("utf-8")):
        if "://" not in target:
            assert (document.parent / target).exists(), target


def test_every_exit_code_is_documented() -> None:
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    for code in (0, 1, 2, 3, 4, 5, 130):
        assert f"| {code} |" in page


def tracked_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False
    ).stdout
    if not listing:
        pytest.skip("no git checkout")
    return [ROOT / os.fsdecode(name) for name in listing.split(b"\0") if name]


def test_lock_files_have_hashes_and_name_no_index() -> None:
    for lock in ROOT.glob("*.lock"):
        text = lock.read_text("utf-8")
        assert "--hash=sha256:" in text
        assert not re.search(r"--(extra-)?index-url|--find-links|https?://|file://", text), lock


STANDARD_DIRECTORIES = {
    "bin",
    "boot",
    "dev",
    "etc",
    "lib",
    "lib32",
    "lib64",
    "libx32",
    "lost+found",
    "media",
    "mnt",
    "opt",
    "proc",
    "run",
    "sbin",
    "srv",
    "sys",
    "tmp",
    "usr",
    "var",
    "home",
}
"""The file system hierarchy standard's; what else stands at the root is this machine's own."""


def test_nothing_names_this_machine_or_a_package_index() -> None:
    """What must not be named is asked of the machine and of pip, so it isn't named here."""
    own = {entry.name for entry in Path("/").iterdir() if entry.is_dir()} - STANDARD_DIRECTORIES
    places = {f"/{name}/" for name in own} | {f"{Path.home()}/", f"{ROOT}/"}
    hosts = {PyPI.netloc, PyPI.file_storage_domain}
    names = [re.escape(name.encode()) for name in sorted(places | hosts)]
    forbidden = re.compile(b"|".join([*names, rb"/home/[a-z]"]))
    for path in tracked_files():
        if path.is_file() and path != Path(__file__):
            found = forbidden.search(path.read_bytes())
            assert found is None, f"{path}: {found}"
