"""A receiver that takes every connection and says nothing, made of raw sockets."""

import selectors
import socket
import threading

HOST = "127.0.0.1"
CHUNK = 65536
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
POLL_SECONDS = 0.05


class Silence:
    """Answers the first `answered` requests, and holds all others open until their sender gives up. One thread serves
    however many connections there are."""

    def __init__(self, answered: int = 0) -> None:
        self._listener = socket.create_server((HOST, 0), backlog=4096)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._to_answer = answered
        self._waiting: set[socket.socket] = set()
        self._closing = threading.Event()
        self.requests = 0
        self.open_most = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def url(self, path: str = "/silent") -> str:
        """Where it is."""
        return f"http://{HOST}:{self._listener.getsockname()[1]}{path}"

    @property
    def open(self) -> int:
        """Requests that have come and have no answer."""
        return len(self._waiting)

    def close(self) -> None:
        """Ends every connection."""
        self._closing.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._closing.is_set():
            for key, _ in self._selector.select(POLL_SECONDS):
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._read(key.fileobj)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_READ)

    def _read(self, connection: socket.socket) -> None:
        try:
            chunk = connection.recv(CHUNK)
        except OSError:
            chunk = b""
        if not chunk:
            self._waiting.discard(connection)
            self._selector.unregister(connection)
            connection.close()
        # A request of these tests has one chunk with a head.
        elif b"\r\n\r\n" in chunk:
            self.requests += 1
            if self._to_answer > 0:
                self._to_answer -= 1
                connection.sendall(OK)
            else:
                self._waiting.add(connection)
                self.open_most = max(self.open_most, self.open)
