"""A desk where statements are taken, for tests that look for traces of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from archiver.encrypt import new_identity
from tests.bag.making import ENVIRONMENT
from tests.faults.leaking import Needle, Place, photograph, rationals

LATITUDE = rationals((13, 1), (31, 1), (3_141_593, 65_537))
LONGITUDE = rationals((71, 1), (58, 1), (2_718_281, 82_589))
NEEDLES: dict[str, Needle] = {
    "name": "Xóchitl Ñandubay-Zzyzx",
    "part of the name": "ñandubayzzyzx",
    "handle": "@xochi_zzyzx_1982",
    "address": "xochitl.zzyzx@correo.invalid",
    "number": "+51 984 771 203",
    "home": "-13.518333, -71.978056",
    "path": "Entrevistas a la señora Zzyzx",
    "file": "declaración Quispe-Zzyzx 2.txt",
    "latitude": LATITUDE,
    "longitude": LONGITUDE,
    "words": "vi cómo los uniformados dispararon",
    # What exiftool makes of the coordinates: they stand in records of formats.
    "latitude, read": b"13.52998227",
    "longitude, read": b"71.97580926",
}
"""All of it invented."""


class Desk:
    """Where a statement is taken: plain files at ``home``, which is in memory and isn't
    searched; all that the program could write to is in ``place``.
    """

    def __init__(self, base: Path, made: Place) -> None:
        self.place, self.root = made, made.root
        self.home = base / "home"
        self.folder = self.home / str(NEEDLES["path"])
        self.folder.mkdir(parents=True)
        self.keys = {name: self._key(name) for name in ("reader", "escrow", "identity")}
        self.vault = self.root / "vault"
        for name in ("user", "tmp", "streams"):
            (self.root / name).mkdir()
        self.runs = 0
        (self.home / "typed").touch()
        self._write_statement()
        assert self.run("init", "vault").returncode == 0

    def _key(self, name: str) -> str:
        text, recipient = new_identity()
        (self.home / f"{name}.key").write_text(text)
        (self.home / f"{name}.key").chmod(0o600)
        return recipient

    def _write_statement(self) -> None:
        told = {name: one for name, one in NEEDLES.items() if isinstance(one, str)}
        text = "\n".join(f"{name}: {one}" for name, one in told.items())
        self.files = {
            self.folder / str(NEEDLES["file"]): text.encode() * 40,
            self.folder / "photo.jpg": photograph(LATITUDE, LONGITUDE, told["name"]),
        }
        for path, data in self.files.items():
            path.write_bytes(data)
        (self.home / "list").write_bytes(b"\0".join(os.fsencode(one) for one in self.files))
        lines = "".join(f"{name.replace(' ', '_')} = '''{one}'''\n" for name, one in told.items())
        (self.home / "who.toml").write_text(lines)
        (self.home / "form.toml").write_text(
            f"witness_code = 'W-07'\ntitle = '''{told['name']}'''\n"
            f"description = '''{text}'''\ninterviewer = '''{told['handle']}'''\n"
            "[consent]\nexplained = true\nlawyer = 'yes'\n"
        )

    def environment(self) -> dict[str, str]:
        """Everything that the program may choose to write to is searched."""
        user = str(self.root / "user")
        names = ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
        return {
            **{key: one for key, one in ENVIRONMENT.items() if not key.startswith("ARCHIVER_")},
            **dict.fromkeys(names, user),
            "XDG_RUNTIME_DIR": user,
            **dict.fromkeys(("TMPDIR", "TEMP", "TMP", "SQLITE_TMPDIR"), str(self.root / "tmp")),
            "ARCHIVER_VAULT": "vault",
        }

    def words(self) -> list[str]:
        """``statement new``: no name is an argument."""
        home = self.home
        keys = self.keys
        return [
            "statement", "new", "--case", "c", "--unsigned", "--form", str(home / "form.toml"),
            "--identity", str(home / "who.toml"), "--files-from", str(home / "list"),
            "--recipient", keys["reader"], "--escrow", keys["escrow"],
            "--identity-recipient", keys["identity"],
        ]  # fmt: skip

    def start(self, *words: object, strace: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """The program, its streams in files that are searched too."""
        self.runs += 1
        with (
            open(self.root / "streams" / str(self.runs), "wb") as stream,
            open(self.home / "typed", "rb") as typed,
        ):
            return subprocess.Popen(
                [*strace, sys.executable, "-m", "archiver", *map(str, words)],
                env=self.environment(),
                cwd=self.root,
                stdin=typed,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )

    def run(self, *words: object, strace: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        """The same, waited for."""
        process = self.start(*words, strace=strace)
        try:
            process.wait(300)
        finally:
            process.kill()
            process.wait()
        return process

    def said(self) -> str:
        """What the last run printed."""
        return (self.root / "streams" / str(self.runs)).read_text("utf-8", "replace")
