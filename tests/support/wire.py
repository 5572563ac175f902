"""Raw sockets, for requests that no library would send."""

import socket
import struct
from dataclasses import dataclass

ANSWER_SECONDS_MAX = 60.0


@dataclass(frozen=True)
class RawAnswer:
    """What came back until the server closed, or until the answer was whole."""

    status: int | None
    headers: dict[str, str]
    body: bytes
    closed: bool


def connect(port: int, seconds: float = ANSWER_SECONDS_MAX) -> socket.socket:
    """A connection to a server on this machine."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=seconds)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def reset(connection: socket.socket) -> None:
    """Closes with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def head(method: str, path: str, key: str | None, *lines: str) -> bytes:
    """A request's head; `lines` are header lines without their ends."""
    start = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    authorization = [f"Authorization: Bearer {key}"] if key else []
    return "\r\n".join([*start, *authorization, *lines, "", ""]).encode("latin-1")


def send_as_far_as_taken(connection: socket.socket, data: bytes) -> None:
    """Sends; the other end may refuse to take all of it."""
    try:
        connection.sendall(data)
    except OSError:
        pass


def read_answer(connection: socket.socket) -> RawAnswer:
    """Reads one answer. `status` is `None` when the connection ended without one."""
    received = b""
    closed = False
    while not _whole(received) and not closed:
        try:
            chunk = connection.recv(65_536)
        except ConnectionError:
            chunk = b""
        closed = not chunk
        received += chunk
    if b"\r\n\r\n" not in received:
        return RawAnswer(None, {}, received, closed)
    status, headers, body = _parts(received)
    return RawAnswer(status, headers, body, closed)


def exchange(port: int, *parts: bytes) -> RawAnswer:
    """Sends `parts` one after the other on a new connection and reads the answer."""
    with connect(port) as connection:
        for part in parts:
            send_as_far_as_taken(connection, part)
        return read_answer(connection)


def closes(connection: socket.socket) -> bool:
    """Reads on until the server closes; `False` if it does not within the connection's timeout."""
    try:
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


def _whole(received: bytes) -> bool:
    if b"\r\n\r\n" not in received:
        return False
    status, headers, body = _parts(received)
    if status == 100:
        return False
    return len(body) >= int(headers.get("content-length", "0"))


def _parts(received: bytes) -> tuple[int, dict[str, str], bytes]:
    head_bytes, _, body = received.partition(b"\r\n\r\n")
    lines = head_bytes.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines[1:])
    return int(lines[0].split()[1]), {name.lower(): value.strip() for name, _, value in pairs}, body
