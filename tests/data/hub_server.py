"""A local HTTP server with the part of the Hugging Face hub's protocol that downloads of dataset files use.

HEAD and GET of /datasets/{repo}/resolve/{revision or commit}/{path}, with ETag, X-Repo-Commit and byte ranges. It can
drop a connection half-way through a file and serve damaged content, a given number of times.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer(ThreadingHTTPServer):
    """files: content by path; drops and damages: how many more times a GET of a path is cut off or damaged; requests:
    what was asked.
    """

    daemon_threads = True

    def __init__(self, repo: str, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repo, self.files = repo, files
        self.drops: dict[str, int] = {}
        self.damages: dict[str, int] = {}
        self.requests: list[tuple[str, str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def gets(self, name: str) -> list[str | None]:
        """Range headers of the GET requests for a path."""
        return [span for method, path, span in self.requests if method == "GET" and path == name]


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, body: bool) -> None:
        server = self.server
        revision, _, name = self.path.removeprefix(f"/datasets/{server.repo}/resolve/").partition("/")
        span = self.headers.get("Range")
        server.requests.append((self.command, name, span))
        if revision not in ("main", COMMIT) or name not in server.files:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if revision in ("main", COMMIT) else "RevisionNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = server.files[name]
        etag = hashlib.sha256(content).hexdigest()
        start = int(span.removeprefix("bytes=").split("-")[0]) if span else 0
        self.send_response(206 if span else 200)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        if span:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if body:
            self._send(name, content[start:])

    def _send(self, name: str, content: bytes) -> None:
        server = self.server
        if server.damages.get(name, 0):
            server.damages[name] -= 1
            content = bytes([content[0] ^ 1]) + content[1:]
        if server.drops.get(name, 0):
            server.drops[name] -= 1
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)
            return
        self.wfile.write(content)


@contextmanager
def serving(repo: str, files: dict[str, bytes]) -> Iterator[HubServer]:
    """A running server; closed at the end."""
    with HubServer(repo, files) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
