"""An exFAT stick, through FUSE on a loop device."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

SIZE_BYTES = 48 << 20


class Stick:
    """The stick that is mounted at ``place``, and the process that drives it. Raises OSError
    and CalledProcessError where that can't be had here.
    """

    def __init__(self, image: Path, place: Path) -> None:
        self.place = place
        place.mkdir(exist_ok=True)
        with open(image, "wb") as file:
            file.truncate(SIZE_BYTES)
        subprocess.run(["mkfs.exfat", image], check=True, capture_output=True)
        found = subprocess.run(
            ["losetup", "-f", "--show", image], check=True, capture_output=True, text=True
        )
        self.device = found.stdout.strip()
        try:
            self.plug_in()
        except OSError:
            self.remove()
            raise

    def plug_in(self) -> None:
        """Mount it."""
        self.driver = subprocess.Popen(
            ["mount.exfat-fuse", "-d", self.device, self.place],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(100):
            if os.path.ismount(self.place):
                return
            time.sleep(0.05)
        raise OSError("no mount")

    def pull_out(self) -> None:
        """Unmount it, whatever is open there."""
        subprocess.run(["umount", "-l", self.place], check=False, capture_output=True)
        self.driver.kill()
        self.driver.wait()

    def remove(self) -> None:
        """For good."""
        self.pull_out()
        subprocess.run(["losetup", "-d", self.device], check=False, capture_output=True)
