"""The page that is served while runs go on."""

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from made_records import STUDY, cell_folder, put, record, study_of
from pgolf import report
from pgolf.errors import PgolfError
from pgolf.machine.locks import acquire
from pgolf.pages.live import LivePage, serve, server_of
from pgolf.records.record import LOCK

PAGE = "<!doctype html><html><head><title>x</title></head><body class=a><p>tables</p></body></html>"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[int, list[int]]]:
    """A port that serves the page of a study, and how often the page was made."""
    made: list[int] = []

    def make() -> str:
        made.append(1)
        if len(made) > 1:
            raise PgolfError("rows <cannot> be read")
        return PAGE

    server = server_of(LivePage(study_of(tmp_path, {"tied": [2.0], "mos": [1.9, 1.8]}), make), 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port, made
    server.shutdown()
    server.server_close()
    thread.join()


def get(port: int, path: str = "/", host: str = "127.0.0.1") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Host": f"{host}:{port}"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_the_page_is_made_again_only_when_a_file_has_changed(served: tuple[int, list[int]], tmp_path: Path) -> None:
    port, made = served
    status, page = get(port)
    assert status == 200
    assert "<p>tables</p>" in page
    assert 'http-equiv="refresh"' in page
    assert "4 runs: 3 ok, 1 waiting</pre>" in page
    assert get(port) == (200, page)
    assert len(made) == 1
    lock = acquire(tmp_path / STUDY / cell_folder("tied", 2) / LOCK, wait=False)
    assert lock is not None
    assert "4 runs: 3 ok, 1 running;" in get(port)[1], "what runs is looked up each time"
    lock.release()
    assert get(port) == (200, page), "as after a kill"
    assert len(made) == 1
    put(tmp_path / STUDY, record("tied", 2, 2.0))
    assert "rows &lt;cannot&gt; be read" in get(port)[1]
    assert len(made) == 2


def test_only_this_machine_and_only_the_page(served: tuple[int, list[int]]) -> None:
    port, _ = served
    assert get(port, "/../secret")[0] == 404
    assert get(port, host="example.org")[0] == 403


def test_a_port_that_is_taken_is_named(served: tuple[int, list[int]], tmp_path: Path) -> None:
    port, _ = served
    with pytest.raises(PgolfError, match=f"--port: cannot be used .{port}"):
        serve(LivePage(tmp_path, lambda: PAGE), port)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--port", "8001"], "--port: belongs to --live (8001)"),
        (["--live", "--out", "x.html"], "--live: writes no file"),
        (["--live", "--port", "70000"], "must be from 0 to 65,535"),
    ],
)
def test_options_that_do_not_go_together(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report.main([str(tmp_path), *words]) == 2
    assert message in capsys.readouterr().err
