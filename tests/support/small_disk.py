"""A disk that is soon full: a small tmpfs in a private mount namespace, which one holder process keeps alive over
restarts of what runs on it. A test reaches into it through the holder's root directory in /proc. Root may do that as it
is, anybody else in a user namespace, where the system allows those.
"""

import os
import subprocess
from pathlib import Path

DISK_MEBIBYTES = 48
BLOCK = b"\0" * 65_536
MOUNT = 'mount -t tmpfs -o size="$2" tmpfs "$1" && echo mounted && exec cat'


class SmallDisk:
    """A tmpfs of its own mount namespace at `path`."""

    def __init__(self, path: Path, mebibytes: int = DISK_MEBIBYTES) -> None:
        path.mkdir()
        self.path = path
        self._is_root = os.geteuid() == 0
        self._holder = subprocess.Popen(
            [
                "unshare",
                # The user keeps its name, since PostgreSQL refuses to be root in a namespace too.
                *([] if self._is_root else ["--map-current-user", "--keep-caps"]),
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                MOUNT,
                "sh",
                str(path),
                f"{mebibytes}m",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None and self._holder.stderr is not None
        if self._holder.stdout.readline().strip() != "mounted":
            raise AssertionError(
                "a small disk needs mount namespaces (run ./test as root): " + self._holder.stderr.read()
            )

    @property
    def wrap(self) -> list[str]:
        """The command that runs another one in the namespace."""
        namespaces = f"/proc/{self._holder.pid}/ns"
        as_user = [] if self._is_root else [f"--user={namespaces}/user", "--preserve-credentials"]
        return ["nsenter", *as_user, f"--mount={namespaces}/mnt", "--"]

    @property
    def _filler(self) -> Path:
        return self.root / self.path.relative_to("/") / "filler"

    @property
    def root(self) -> Path:
        """Where the test sees the namespace's `/`."""
        return Path(f"/proc/{self._holder.pid}/root")

    def fill(self) -> None:
        """Takes all the space that is left."""
        with self._filler.open("ab", buffering=0) as filler:
            try:
                while filler.write(BLOCK):
                    pass
            except OSError:
                return

    def free(self) -> None:
        """Gives the space back."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        """Ends the namespace, and with it the disk."""
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.wait(10)
