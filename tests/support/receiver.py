"""The other end of a delivery: a small HTTP/1.1 server that keeps every byte and answers by a script."""

import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from support.waiting import DEADLINE_SECONDS, until

BACKLOG = 1_024
HEAD_BYTES_MAX = 64 * 1_024


@dataclass
class Received:
    """One request as it arrived. `answered` is the status written back, 0 until the whole answer was handed over."""

    number: int
    connection: int
    at: float
    method: str
    target: str
    raw_head: bytes
    headers: list[tuple[str, str]]
    body: bytes
    answered: int = 0

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """The value of the only header of this name; fails when there are two."""
        values = [value for known, value in self.headers if known.lower() == name.lower()]
        assert len(values) <= 1, f"{name} was sent {len(values)} times"
        return values[0] if values else None

    @property
    def webhook_id(self) -> str:
        """`webhook-id`."""
        value = self.header("webhook-id")
        assert value is not None, self.raw_head
        return value


@dataclass(frozen=True)
class Reply:
    """What is answered: after `wait_seconds`, and after `gate` is set, if there is one. Status 0 closes unanswered."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b"ok"
    wait_seconds: float = 0.0
    gate: threading.Event | None = field(default=None, compare=False)

    def to_bytes(self) -> bytes:
        """The answer on the wire."""
        lines = [f"HTTP/1.1 {self.status} Scripted", f"Content-Length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


Script = Callable[[Received], Reply]


def always(status: int, **reply: object) -> Script:
    """Answers every request alike."""
    made = Reply(status, **reply)  # type: ignore[arg-type]
    return lambda _: made


def in_turn(statuses: Iterable[int]) -> Script:
    """Answers with one status after the other, each `webhook-id` on its own; the last one is repeated."""
    given = list(statuses)
    seen: dict[str, int] = {}
    lock = threading.Lock()

    def reply(request: Received) -> Reply:
        with lock:
            turn = seen.get(request.webhook_id, 0)
            seen[request.webhook_id] = turn + 1
        return Reply(given[min(turn, len(given) - 1)])

    return reply


def to_some(script: Script, is_meant: Callable[[int], bool]) -> Script:
    """Answers as `script` the events that are meant by their number, from 0 in the order in which they came first; others with 200."""
    numbers: dict[str, int] = {}
    lock = threading.Lock()

    def reply(request: Received) -> Reply:
        with lock:
            number = numbers.setdefault(request.webhook_id, len(numbers))
        return script(request) if is_meant(number) else Reply()

    return reply


class Receiver:
    """Listens on a loopback address until closed. Scripts are given per path; other paths are answered with 200."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self.scripts: dict[str, Script] = {}
        self.connections = 0
        self._received: list[Received] = []
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server((host, 0), backlog=BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, path: str = "/hook", script: Script | None = None) -> str:
        """The URL of `path`, whose requests `script` answers from now on."""
        if script is not None:
            self.scripts[path.partition("?")[0]] = script
        return f"http://{self.host}:{self.port}{path}"

    def requests(self, path: str | None = None) -> list[Received]:
        """What has arrived so far, in order."""
        with self._lock:
            return [request for request in self._received if path is None or request.path == path]

    def wait_for(self, count: int, path: str | None = None, seconds: float = DEADLINE_SECONDS) -> list[Received]:
        """Waits until `count` requests have arrived, and gives all there are."""
        what = f"{count} requests at {path or 'the receiver'}"
        until(lambda: len(self.requests(path)) >= count, what, seconds)
        return self.requests(path)

    def close(self) -> None:
        """Stops listening and ends every connection and every wait."""
        self._closing.set()
        # Closing alone does not wake a thread that accepts.
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        with self._lock:
            left = list(self._open)
        for connection in left:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self.connections += 1
                number = self.connections
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                while (request := self._read(stream, number)) is not None:
                    if not self._answer(connection, request):
                        return
        except OSError:
            # The sender died in the middle, as it does when a test kills it.
            pass
        finally:
            with self._lock:
                self._open.discard(connection)

    def _read(self, stream, number: int) -> Received | None:
        raw_head = b""
        while not raw_head.endswith(b"\r\n\r\n"):
            line = stream.readline(HEAD_BYTES_MAX)
            if not line:
                return None
            raw_head += line
        lines = raw_head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:] if line)]
        length = int(dict((name.lower(), value) for name, value in headers)["content-length"])
        body = stream.read(length)
        if len(body) < length:
            return None
        with self._lock:
            request = Received(len(self._received), number, time.monotonic(), method, target, raw_head, headers, body)
            self._received.append(request)
        return request

    def _answer(self, connection: socket.socket, request: Received) -> bool:
        reply = self.scripts.get(request.path, always(200))(request)
        if reply.gate is not None:
            # Closing the receiver opens every gate.
            while not reply.gate.wait(0.05) and not self._closing.is_set():
                pass
        if self._closing.wait(reply.wait_seconds) or reply.status == 0:
            return False
        connection.sendall(reply.to_bytes())
        request.answered = reply.status
        return True
