"""Locks: one holder at a time, and a file system without locks is refused."""

import errno
import os
from pathlib import Path

import pytest

from pgolf.errors import PgolfError
from pgolf.machine.locks import acquire, locked


def test_a_held_lock_is_waited_for_and_said_so(tmp_path: Path) -> None:
    first, messages = acquire(tmp_path / "a", wait=False), list[str]()
    assert first is not None
    assert acquire(tmp_path / "a", wait=False) is None

    def let_go() -> None:
        messages.append("waiting")
        first.release()

    with locked(tmp_path / "a", let_go):
        assert acquire(tmp_path / "a", wait=False) is None
    assert messages == ["waiting"]
    after = acquire(tmp_path / "a", wait=False)
    assert after is not None
    after.release()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_refused(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated: the system call fails as it does on such a file system."""

    def refuse(file: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with (
        pytest.raises(PgolfError, match=r"this file system does not support locks \(.*paths\.out") as caught,
        locked(tmp_path / "a"),
    ):
        raise AssertionError("not held")
    assert "\n" not in str(caught.value)


def test_a_lock_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        acquire(tmp_path / "file" / "a", wait=False)
