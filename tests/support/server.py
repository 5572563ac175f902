"""A real server, in a directory of its own."""

import os
import signal
import string
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from support.client import Client
from support.ports import HOST, free_port
from support.process import binary, environment
from support.waiting import until

ROOT_KEY = "stn_root_" + (string.digits + string.ascii_letters)[:43]
# What the log says when a handler, or anything else, panicked.
PANIC = "a panic:"
READY_SECONDS_MAX = 30.0
EXIT_SECONDS_MAX = 40.0
LOG_TAIL_BYTES = 4_000


class Server:
    """`stentor serve`, which may be killed and started again on the same data and port."""

    def __init__(
        self,
        directory: Path,
        *,
        options: Sequence[str] = (),
        variables: Mapping[str, str] | None = None,
        wrap: Sequence[str] = (),
        data: Path | None = None,
        allow: Sequence[str] = ("127.0.0.0/8",),
        root_key: str | None = ROOT_KEY,
        database_url: str | None = None,
    ) -> None:
        """`wrap` is a command that ends by replacing itself with the server; `allow` are destinations. Without
        `root_key` the server makes one; without `database_url` it keeps a file in its data folder."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.data = data or directory / "data"
        self.log_path = directory / "server.log"
        self.options, self.wrap, self.allow = list(options), list(wrap), list(allow)
        self.database_url = database_url
        self.database_variables = {"STENTOR_DATABASE_URL": database_url} if database_url else {}
        named = {"STENTOR_ROOT_KEY": root_key} if root_key else {}
        self.variables = dict(variables or {}) | named | self.database_variables
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Client:
        """A client with the root key."""
        return self.client(ROOT_KEY)

    def client(self, key: str | None) -> Client:
        """A client with `key`."""
        return Client(HOST, self.port, key)

    @property
    def log(self) -> str:
        """Everything that was logged, over all starts."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        assert self.process is not None, "the server was not started"
        return self.process.pid

    def command(self) -> list[str]:
        """The whole command line."""
        listen = f"{HOST}:{self.port}"
        words = [str(binary()), "serve", "--listen", listen, "--data", str(self.data), *self.options]
        for destination in self.allow:
            words += ["--allow-destination", destination]
        return [*self.wrap, *words]

    def spawn(self) -> "Server":
        """Starts the process without waiting for it."""
        assert self.process is None or self.process.poll() is not None, "the server is running"
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.directory,
                env=environment(self.variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self

    def start(self) -> "Server":
        """Starts the process and waits until it says that it is ready."""
        self.spawn()
        try:
            until(self._ready, "the server is ready", READY_SECONDS_MAX)
        except AssertionError as error:
            raise AssertionError(f"{error}; its log ends:\n{self.log[-LOG_TAIL_BYTES:]}") from None
        return self

    def _ready(self) -> bool:
        assert self.process is not None
        code = self.process.poll()
        assert code is None, f"the server ended with {code}"
        return self.answers("/readyz") == 200

    def answers(self, path: str) -> int | None:
        """The status of a `GET` on a fresh connection, or `None` when nobody answers."""
        client = self.client(None)
        try:
            return client.get(path).status
        except OSError:
            return None
        finally:
            client.close()

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the running server."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """`kill -9`, and waits until the process is gone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(EXIT_SECONDS_MAX)

    def stop(self) -> int:
        """SIGTERM; waits, and gives the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self, seconds: float = EXIT_SECONDS_MAX) -> int:
        """Waits for the process to end, and gives its exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def running(self) -> bool:
        """Is there a process?"""
        return self.process is not None and self.process.poll() is None

    def discard(self) -> None:
        """Ends the process, if there is one, and fails if the server ever panicked."""
        if self.running():
            self.signal(signal.SIGCONT)
            self.kill()
        at = self.log.find(PANIC)
        assert at < 0, f"the server panicked:\n{self.log[max(0, at - 200) : at + LOG_TAIL_BYTES]}"

    def cpu_seconds(self) -> float:
        """Processor time used so far, in user and system mode."""
        # The command's name, the second field, may contain spaces and ends with the last bracket.
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        user, system = int(fields[11]), int(fields[12])
        return (user + system) / os.sysconf("SC_CLK_TCK")

    def resident_bytes(self) -> int:
        """Memory held (RSS)."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
