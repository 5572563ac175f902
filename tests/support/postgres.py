"""PostgreSQL for the tests: a private server in a folder of its own, and what one may do to a server known by its URL.

As a program it keeps such a server beyond its own life, for `./test`:

    python tests/support/postgres.py start FOLDER    prints the URL of its superuser
    python tests/support/postgres.py stop FOLDER

PostgreSQL refuses to run as root. Root therefore runs it as the user `postgres`, or `nobody`, in a folder that this
user owns and can reach.
"""

import itertools
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.ports import HOST, free_port

SUPERUSER = "postgres"
# Debian's folders, one for each major version.
DEBIAN_FOLDERS = Path("/usr/lib/postgresql")
PACKAGES = "install Debian's packages postgresql and postgresql-client (15 or newer)"
COMMAND_SECONDS_MAX = 120
# A path of a Unix socket may have 107 bytes, `/.s.PGSQL.12345` among them.
SOCKET_FOLDER_BYTES_MAX = 90
TRUST = """\
local all,replication all trust
host all,replication all 127.0.0.1/32 trust
"""
SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "64MB",
    "listen_addresses": HOST,
    "log_line_prefix": "%m [%p] %a %d ",
    "log_connections": "on",
    "log_lock_waits": "on",
    "max_wal_size": "512MB",
}
# A crash of the whole machine is no part of the ordinary run.
WITHOUT_FSYNC = {"fsync": "off", "full_page_writes": "off"}

_numbers = itertools.count()


def program(name: str) -> str:
    """The path of one of PostgreSQL's programs: of the newest version that Debian's packages installed, or in PATH."""
    versions = [folder for folder in DEBIAN_FOLDERS.glob("*/bin") if (folder / name).exists()]
    if versions:
        return str(max(versions, key=lambda folder: [int(part) for part in folder.parent.name.split(".")]) / name)
    found = shutil.which(name)
    if found:
        return found
    config = shutil.which("pg_config")
    if config:
        path = Path(subprocess.check_output([config, "--bindir"], text=True).strip()) / name
        if path.exists():
            return str(path)
    raise AssertionError(f"PostgreSQL's {name} is not installed: {PACKAGES}")


def _environment() -> dict[str, str]:
    # No PG* variable of the machine takes part.
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "PGCONNECT_TIMEOUT": "10"}


class Cluster:
    """A running server, known by the URL of its superuser."""

    def __init__(self, superuser_url: str) -> None:
        self._parts = urlsplit(superuser_url)
        assert self._parts.scheme in ("postgres", "postgresql"), f"not the URL of a PostgreSQL server: {superuser_url}"

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._parts.port or 5432

    def url(self, database: str = "postgres", user: str | None = None) -> str:
        """The URL of a database."""
        at = f"{self._parts.hostname}:{self.port}"
        return f"postgres://{quote(user or self._parts.username or SUPERUSER)}@{at}/{quote(database)}"

    def sql(self, text: str, database: str = "postgres", seconds: float = COMMAND_SECONDS_MAX) -> list[list[str]]:
        """Runs statements, each on its own, and gives the rows of all of them as text."""
        done = subprocess.run(
            [*_psql(self.url(database)), "-c", text],
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"{text}: {done.stderr}"
        return [line.split("\t") for line in done.stdout.splitlines()]

    def value(self, text: str, database: str = "postgres") -> str:
        """The only value of a question's only row."""
        [[value]] = self.sql(text, database)
        return value

    def create_database(self, name: str | None = None, template: str | None = None) -> str:
        """Creates a database, a copy of `template` if that is given, and gives its name."""
        name = name or f"test_{os.getpid()}_{next(_numbers)}"
        self.sql(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
        return name

    def drop_database(self, name: str) -> None:
        """Drops a database, with everybody who is connected to it."""
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def terminate_backends(self, database: str) -> int:
        """Ends every connection to a database but the asking one; gives their number."""
        return len(
            self.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                f"WHERE datname = '{database}' AND pid <> pg_backend_pid()"
            )
        )

    @contextmanager
    def holding(self, text: str, database: str, user: str | None = None) -> Iterator[None]:
        """Keeps a transaction open in which `text` ran, and rolls it back at the end."""
        session = subprocess.Popen(
            _psql(self.url(database, user)),
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert session.stdin is not None and session.stdout is not None
        try:
            session.stdin.write(f"BEGIN;\n{text};\n\\echo held\n")
            session.stdin.flush()
            lines = []
            while not lines or lines[-1].strip() != "held":
                line = session.stdout.readline()
                assert line, f"{text}: {''.join(lines)}"
                lines.append(line)
            yield
        finally:
            # The backend that it leaves rolls back.
            session.stdin.close()
            session.wait(COMMAND_SECONDS_MAX)


def _psql(url: str) -> list[str]:
    return [program("psql"), "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", "-d", url]


class Postgres(Cluster):
    """A private server with its data, its log and its socket in one folder."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        fsync: bool = False,
        settings: Mapping[str, str] | None = None,
        authentication: str = TRUST,
        wrap: Sequence[str] = (),
        root: Path = Path("/"),
        log_folder: Path | None = None,
    ) -> None:
        """Without `folder` it makes one that it removes at the end. `wrap` is a command that ends by replacing itself
        with the server, and `root` where its `/` is seen from here; `authentication` are the lines of pg_hba.conf;
        `log_folder` is where the write-ahead log lies, if not with the data."""
        self._own_folder = folder is None
        self._root = root
        self._log_folder = log_folder
        self.folder = folder or Path(tempfile.mkdtemp(prefix="stentor-pg-"))
        self.data = self.folder / "data"
        self.log_path = self.folder / "postgres.log"
        self.settings = SETTINGS | ({} if fsync else WITHOUT_FSYNC) | dict(settings or {})
        self.authentication = authentication
        self.wrap = list(wrap)
        super().__init__(f"postgres://{SUPERUSER}@{HOST}:{free_port()}/postgres")

    @property
    def log(self) -> str:
        """Everything that the server logged."""
        path = self._seen(self.log_path)
        return path.read_text(errors="replace") if path.exists() else ""

    def create(self) -> "Postgres":
        """Makes the folder and the data, without starting."""
        self.make_folder(self.folder)
        self._require_reach()
        # Small segments of the log, for small disks.
        self._run(
            *("initdb", "-D", self.data, "-U", SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"),
            "--wal-segsize=4",
            *([f"--waldir={self.make_folder(self._log_folder)}"] if self._log_folder else []),
        )
        self.configure()
        return self

    def make_folder(self, path: Path) -> Path:
        """Makes a folder that the server may write in, and gives its path."""
        seen = self._seen(path)
        seen.mkdir(parents=True, exist_ok=True)
        owner = _owner()
        if owner is not None:
            os.chown(seen, owner.pw_uid, owner.pw_gid)
        return path

    def write(self, path: Path, text: str) -> Path:
        """Writes a file that is the server's and nobody else's, and gives its path."""
        seen = self._seen(path)
        seen.touch(mode=0o600)
        seen.write_text(text)
        owner = _owner()
        if owner is not None:
            os.chown(seen, owner.pw_uid, owner.pw_gid)
        return path

    def configure(self, **settings: str) -> None:
        """Writes the configuration, with `settings` from now on too; what runs sees it when it is started again."""
        self.settings |= settings
        lines = self.settings | {"port": str(self.port), "unix_socket_directories": str(self.folder)}
        text = "".join(f"{name} = '{value}'\n" for name, value in lines.items())
        self.write(self.data / "postgresql.auto.conf", text)
        self.write(self.data / "pg_hba.conf", self.authentication)

    def alter(self, **settings: str) -> None:
        """Sets settings while it runs, for connections that are open too."""
        self.configure(**settings)
        self.sql("SELECT pg_reload_conf()")

    def start(self) -> "Postgres":
        """Starts it, and waits until it takes connections."""
        self._run("pg_ctl", "start", "-w", "-t", "60", "-s", "-D", self.data, "-l", self.log_path)
        return self

    def stop(self, mode: str = "fast") -> None:
        """Stops it: `smart` waits for clients, `fast` ends them, `immediate` is a crash."""
        self._run("pg_ctl", "stop", "-w", "-t", "60", "-s", "-m", mode, "-D", self.data)

    def restart(self, mode: str = "fast") -> None:
        """Stops and starts it."""
        self.stop(mode)
        self.start()

    def standby(self) -> "Postgres":
        """A running copy of this running server that follows it, in a folder of its own."""
        standby = Postgres()
        standby.make_folder(standby.folder)
        # `-R` makes it a standby, `-c fast` does not wait for the next checkpoint.
        copied = ["-h", HOST, "-p", str(self.port), "-U", SUPERUSER, "-D", standby.data]
        self._run("pg_basebackup", "-R", "-c", "fast", *copied)
        follow = f"host={HOST} port={self.port} user={SUPERUSER}"
        standby.configure(primary_conninfo=follow)
        return standby.start()

    def promote(self) -> None:
        """Makes a standby a primary."""
        self._run("pg_ctl", "promote", "-w", "-t", "60", "-s", "-D", self.data)

    def running(self) -> bool:
        """Is there a postmaster?"""
        try:
            return Path(f"/proc/{self._postmaster()}").exists()
        except FileNotFoundError:
            return False

    def pause(self) -> None:
        """SIGSTOP for all of its processes: connections stay open, and nobody answers."""
        # The postmaster first, so that it makes no more of them.
        os.kill(self._postmaster(), signal.SIGSTOP)
        for pid in self._children():
            _kill(pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT for all of its processes."""
        for pid in [*self._children(), self._postmaster()]:
            _kill(pid, signal.SIGCONT)

    def discard(self) -> None:
        """Ends it, whatever its state, and removes the folder if it made it."""
        if self.running():
            self.resume()
            self.stop("immediate")
        if self._own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _postmaster(self) -> int:
        return int(self._seen(self.data / "postmaster.pid").read_text().split("\n", 1)[0])

    def _seen(self, path: Path) -> Path:
        return self._root / path.relative_to("/")

    def _children(self) -> list[int]:
        found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self._postmaster())], capture_output=True, text=True)
        return [int(pid) for pid in found.stdout.split()]

    def _require_reach(self) -> None:
        path = str(self.folder)
        assert len(path.encode()) <= SOCKET_FOLDER_BYTES_MAX, f"{path} is too long for a Unix socket in it"
        reached = subprocess.run([*self.wrap, *as_owner(), "test", "-w", path], check=False)
        owner = _owner()
        assert reached.returncode == 0, (
            f"PostgreSQL cannot run as root, and the user {owner.pw_name if owner else 'of this process'} cannot write "
            f"in {path}: choose a folder that everybody can reach, for example under /tmp"
        )

    def _run(self, name: str, *words: str | Path) -> None:
        command = [*self.wrap, *as_owner(), program(name), *map(str, words)]
        done = subprocess.run(
            command,
            cwd="/",
            env=_environment(),
            # Not a pipe: a started server inherits it and keeps it open.
            stdin=subprocess.DEVNULL,
            stdout=(output := tempfile.TemporaryFile("w+")),
            stderr=subprocess.STDOUT,
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )
        output.seek(0)
        assert done.returncode == 0, f"{shlex.join(command)}: {output.read()}\n{self.log[-4_000:]}"


def _owner() -> pwd.struct_passwd | None:
    """The user that PostgreSQL runs as, `None` for the one who asks."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")


def as_owner() -> list[str]:
    """The command that runs another one as the user that PostgreSQL runs as."""
    owner = _owner()
    if owner is None:
        return []
    return ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups", "--"]


def _kill(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        # A backend that ended meanwhile.
        pass


def main(words: list[str]) -> None:
    """`start FOLDER` and `stop FOLDER`."""
    match words:
        case ["start", folder]:
            postgres = Postgres(Path(folder).absolute()).create().start()
            print(postgres.url())
        case ["stop", folder]:
            postgres = Postgres(Path(folder).absolute())
            if postgres.running():
                postgres.stop("immediate")
            shutil.rmtree(postgres.folder, ignore_errors=True)
        case _:
            sys.exit("usage: postgres.py (start|stop) FOLDER")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except AssertionError as error:
        sys.exit(str(error))
