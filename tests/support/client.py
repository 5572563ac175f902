"""The API over HTTP, on kept-alive connections, without any retry: what happened is what the caller sees."""

import http.client
import json
import select
import threading
import time
from dataclasses import dataclass
from typing import Any

REQUEST_SECONDS_MAX = 60.0
# A connection that waited longer is opened anew, so that no request crosses the server's close of an idle one.
IDLE_SECONDS_MAX = 5.0

Json = dict[str, Any] | list[Any]


@dataclass(frozen=True)
class Answer:
    """One answer. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def expect(self, status: int) -> Any:
        """Fails unless the status is `status`; gives the body as JSON, `None` when it is empty."""
        assert self.status == status, f"{self.status} instead of {status}: {self.body[:2000]!r}"
        return self.json() if self.body else None

    def problem(self, status: int, code: str | None = None) -> dict[str, Any]:
        """Fails unless this is a problem document (RFC 9457) with `status` and, if given, `code`."""
        document = self.expect(status)
        media_type = self.headers.get("content-type", "").split(";")[0]
        assert media_type == "application/problem+json", self.headers
        missing = {"type", "title", "status", "detail", "code"} - document.keys()
        assert not missing, f"{missing} missing in {document}"
        assert document["status"] == status, document
        if code is not None:
            assert document["code"] == code, document
        return document

    def fields(self) -> list[str]:
        """The fields that a 422 names."""
        return [error["field"] for error in self.problem(422)["errors"]]


class Client:
    """Requests with one key to one server. May be shared by threads, each of which has its own connection."""

    def __init__(self, host: str, port: int, key: str | None, headers: dict[str, str] | None = None) -> None:
        self.host, self.port, self.key = host, port, key
        self.headers = dict(headers or {})
        self._local = threading.local()

    def with_key(self, key: str | None) -> "Client":
        """The same with another key, or with none."""
        return Client(self.host, self.port, key, self.headers)

    def for_tenant(self, tenant: str) -> "Client":
        """The same, acting for `tenant` (id or uid) by the header `X-Tenant`."""
        return Client(self.host, self.port, self.key, self.headers | {"X-Tenant": tenant})

    def request(
        self,
        method: str,
        path: str,
        body: Json | bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Sends one request; a body of `bytes` goes out as it is, anything else as JSON."""
        sent = dict(self.headers)
        if self.key is not None:
            sent["Authorization"] = f"Bearer {self.key}"
        if body is not None:
            sent["Content-Type"] = "application/json"
        sent |= headers or {}
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection = self._connection()
        try:
            connection.request(method, path, body=raw, headers=sent)
            response = connection.getresponse()
            answer = Answer(
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                response.read(),
            )
        except BaseException:
            self.close()
            raise
        self._local.used_at = time.monotonic()
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        """`GET`."""
        return self.request("GET", path, headers=headers)

    def post(self, path: str, body: Json | bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """`POST`."""
        return self.request("POST", path, body, headers)

    def put(self, path: str, body: Json | bytes) -> Answer:
        """`PUT`."""
        return self.request("PUT", path, body)

    def patch(self, path: str, body: Json | bytes) -> Answer:
        """`PATCH`."""
        return self.request("PATCH", path, body)

    def delete(self, path: str) -> Answer:
        """`DELETE`."""
        return self.request("DELETE", path)

    def pages(self, path: str, limit: int = 250) -> list[dict[str, Any]]:
        """Every item of a list, through all its pages."""
        items: list[dict[str, Any]] = []
        cursor = ""
        separator = "&" if "?" in path else "?"
        while True:
            page = self.get(f"{path}{separator}limit={limit}{cursor}").expect(200)
            items += page["data"]
            if page["next_cursor"] is None:
                return items
            assert page["data"], "an empty page that says there is more"
            cursor = f"&cursor={page['next_cursor']}"

    def close(self) -> None:
        """Closes this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def _connection(self) -> http.client.HTTPConnection:
        if time.monotonic() - getattr(self._local, "used_at", 0.0) > IDLE_SECONDS_MAX or self._was_closed():
            self.close()
        if getattr(self._local, "connection", None) is None:
            self._local.connection = http.client.HTTPConnection(self.host, self.port, timeout=REQUEST_SECONDS_MAX)
        return self._local.connection

    def _was_closed(self) -> bool:
        """Has the server closed this thread's connection, as it does when it ends? Between two requests there is
        nothing else to read."""
        connection = getattr(self._local, "connection", None)
        if connection is None or connection.sock is None:
            return False
        readable, _, _ = select.select([connection.sock], [], [], 0)
        return bool(readable)
