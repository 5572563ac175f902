"""A small HTTP proxy that opens tunnels (`CONNECT`), as an operator's egress proxy does."""

import base64
import socket

from support.relay import Listener, join


class Proxy(Listener):
    """Listens on loopback until closed. With `credentials` (USER:PASSWORD) it asks for them, by 407; `status` refuses
    every tunnel."""

    def __init__(self, credentials: str | None = None, status: int | None = None, port: int = 0) -> None:
        self.authorization = credentials and "Basic " + base64.b64encode(credentials.encode()).decode()
        self.status = status
        self.asked: list[str] = []
        super().__init__(port)

    @property
    def url(self) -> str:
        """What `--egress-proxy` takes."""
        return f"http://127.0.0.1:{self.port}"

    def serve(self, connection: socket.socket) -> None:
        """Opens the tunnel that is asked for, or refuses it."""
        with connection:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                byte = connection.recv(1)
                if not byte:
                    return
                head += byte
            lines = head.decode("latin-1").split("\r\n")
            method, target, _ = lines[0].split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
            self.asked.append(f"{method} {target}")
            status = self.status
            if self.authorization and headers.get("proxy-authorization") != self.authorization:
                status = 407
            if status is not None:
                connection.sendall(f"HTTP/1.1 {status} Refused\r\nContent-Length: 0\r\n\r\n".encode())
                return
            host, _, port = target.rpartition(":")
            with socket.create_connection((host.strip("[]"), int(port))) as there:
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                join(connection, there)
