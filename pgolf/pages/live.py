"""A page that is made anew while its files change, served on the loopback address only."""

import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pgolf.errors import PgolfError
from pgolf.pages.html.elements import text
from pgolf.pages.terminal import key_of, labels, title_of
from pgolf.records.metrics import METRICS
from pgolf.records.plan import PLAN
from pgolf.records.record import RECORD
from pgolf.records.sweep_state import report as sweep_state
from pgolf.records.sweep_state import studies

LOOPBACK = "127.0.0.1"
REFRESH_S = 15
WATCHED = (PLAN, RECORD, METRICS)  # names of files whose change makes a new page
HOSTS = (LOOPBACK, "localhost")


def changes_of(folder: Path) -> tuple[tuple[str, int], ...]:
    """(path, modification time in ns) of every file that a page of this folder depends on."""
    found = []
    for name in WATCHED:
        for path in folder.rglob(name):
            try:
                found.append((str(path), path.stat().st_mtime_ns))
            except OSError:  # a run that is being repeated
                continue
    return tuple(sorted(found))


class LivePage:
    """The newest page of a folder. make: returns the whole page; it may raise PgolfError."""

    def __init__(self, folder: Path, make: Callable[[], str]):
        self.folder, self.make = folder, make
        self.lock = threading.Lock()
        self.seen: tuple[tuple[str, int], ...] | None = None
        self.page = ""

    def current(self) -> bytes:
        """The page, made again if a file has changed. A folder that cannot be shown gives a page with the reason.

        What runs is looked up each time: no file tells that a process has been killed.
        """
        with self.lock:
            now = changes_of(self.folder)
            if now != self.seen:
                try:
                    page = self.make()
                except PgolfError as error:
                    page = f"<!doctype html><meta charset=utf-8><title>pgolf</title><body><pre>{text(error)}</pre>"
                refresh = f'<meta http-equiv="refresh" content="{REFRESH_S}">'
                self.page = page.replace("<title>", f"{refresh}<title>", 1)
                self.seen = now
            place = next((mark for mark in ('<div class="page">', "<body") if mark in self.page), "<body")
            opening = self.page.find(">", self.page.index(place)) + 1
            return (self.page[:opening] + running(self.folder) + self.page[opening:]).encode()


def running(folder: Path) -> str:
    """The number of runs in each state, the time that is left, and the runs that go on, as HTML."""
    try:
        states = [sweep_state(study) for study in studies(folder)]
    except PgolfError as error:
        return f"<pre>{text(error)}</pre>"
    lines = []
    for state in states:
        lines.append(title_of(state).plain)
        label = labels(state)
        going = [row for row in state["cells"] if row["state"] == "running"]
        lines += [f"  {label[key_of(row)]}, seed {row['seed']}: {row['note']}" for row in going]
    listed = "\n".join(map(text, lines))
    return f'<pre role="status" class="state">{listed}</pre>'


def server_of(page: LivePage, port: int) -> ThreadingHTTPServer:
    """A server of one page at /. port: 0 for any free one. Raises OSError if the port is taken."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = (self.headers.get("Host") or "").rpartition(":")[0]
            if host not in HOSTS:  # a page of another site that resolves its name to this machine
                self.send_error(HTTPStatus.FORBIDDEN)
            elif self.path != "/":
                self.send_error(HTTPStatus.NOT_FOUND)
            else:
                content = page.current()
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Print nothing."""

    return ThreadingHTTPServer((LOOPBACK, port), Handler)


def serve(page: LivePage, port: int, say: Callable[[str], None] = print) -> None:
    """Serve until Ctrl-C. Raises PgolfError if the port cannot be used, KeyboardInterrupt."""
    try:
        server = server_of(page, port)
    except (OSError, OverflowError) as error:
        raise PgolfError(f"--port: cannot be used ({port}: {error}). Give another one, or 0 for any free one") from None
    with server:
        began = time.monotonic()
        page.current()
        took_s = time.monotonic() - began
        say(f"http://{LOOPBACK}:{server.server_port}/ shows {page.folder} ({took_s:.1f} s per page); Ctrl-C ends it")
        server.serve_forever()
