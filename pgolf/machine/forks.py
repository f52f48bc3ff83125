"""Jobs as forks of a server that has imported everything: a job starts in milliseconds, a new process in seconds.

Each job is still a process of its own, in its own session, with its own environment, folder and output. The server has
one thread and has computed nothing, so that a fork of it is safe; where that does not hold, it refuses.
"""

import atexit
import gc
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, NoReturn

from pgolf.machine.interrupts import leave_when_interrupted
from pgolf.machine.processes import PARENT, die_with_parent

NUMBER = struct.Struct("q")
NO_FORK = -1  # instead of the id of a process: the server cannot fork safely
READ_ONCE = ("PYTHON", "OMP_", "MKL_", "KMP_", "OPENBLAS_", "LD_")  # variables that a process reads when it starts
START_S = 60.0


class ForkedProcess:
    """A job of a server, with the methods of `subprocess.Popen` that `wait` of pgolf.machine.processes uses."""

    def __init__(self, pid: int, status: socket.socket):
        self.pid, self.status = pid, status
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for a signal. Raises TimeoutExpired."""
        if self.returncode is None:
            self.status.settimeout(timeout)
            try:
                answer = self.status.recv(NUMBER.size)
            except TimeoutError:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0) from None
            # A server that is killed takes its jobs with it.
            self.returncode = NUMBER.unpack(answer)[0] if answer else -signal.SIGKILL
            self.status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class ForkServer:
    """A running server. command: starts it, with the number of its control socket as the last argument."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]):
        self.control, theirs = socket.socketpair()
        self.lock = threading.Lock()
        with theirs:
            self.process = subprocess.Popen(
                [*command, str(theirs.fileno())],
                # With one thread of OpenBLAS, numpy starts none.
                env={**environment, PARENT: str(os.getpid()), "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def start(self, words: Sequence[str], environment: Mapping[str, str], errors: IO[bytes]) -> ForkedProcess | None:
        """Start a job on some arguments, its errors going to a file and its output nowhere. None if that failed."""
        ours, theirs = socket.socketpair()
        request = json.dumps([list(words), dict(environment), os.getcwd()]).encode()
        answer = b""
        with theirs, suppress(OSError), self.lock:  # the server may have ended
            socket.send_fds(self.control, [NUMBER.pack(len(request))], [theirs.fileno(), errors.fileno()])
            self.control.sendall(request)
        with suppress(OSError):
            ours.settimeout(START_S)
            answer = ours.recv(NUMBER.size)
        pid = NUMBER.unpack(answer)[0] if answer else NO_FORK
        if pid == NO_FORK:
            ours.close()
            return None
        return ForkedProcess(pid, ours)

    def close(self) -> None:
        """End the server and its jobs."""
        self.control.close()
        self.process.wait()


_servers: dict[tuple[object, ...], ForkServer] = {}


def start_forked(
    server: Sequence[str], words: Sequence[str], environment: Mapping[str, str], errors: IO[bytes]
) -> ForkedProcess | None:
    """Start a job on a server of this process, which is started if there is none. None where a fork is not possible.

    server: its command. environment: of the job; a server serves jobs whose variables that are read once are its own.
    """
    if sys.platform != "linux":
        return None
    read_once = sorted(item for item in environment.items() if item[0].startswith(READ_ONCE))
    key = (os.getpid(), *server, *read_once)
    for _ in range(2):  # a server may have been killed
        if key not in _servers:
            _servers[key] = ForkServer(server, environment)
            atexit.register(_servers[key].close)
        if (job := _servers[key].start(words, environment, errors)) is not None:
            return job
        ended = _servers.pop(key)
        atexit.unregister(ended.close)
        ended.close()
    return None


def serve(control: socket.socket, job: Callable[[list[str]], int]) -> None:
    """Fork a process per request until the client ends. job: the command, from its arguments to the exit code."""
    die_with_parent()
    gc.collect()
    gc.freeze()  # what has been imported stays in memory that all jobs share
    wake, wakes = socket.socketpair()
    for end in (wake, wakes):
        end.setblocking(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes.fileno())
    jobs: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([control, wake], [], [])
        if wake in ready:
            wake.recv(4096)
            _reap(jobs)
        if control in ready:
            head, fds, _, _ = socket.recv_fds(control, NUMBER.size, 2)
            if not head:
                return
            words, environment, folder = json.loads(_exactly(control, NUMBER.unpack(head)[0]))
            status = socket.socket(fileno=fds[0])
            pid = os.fork() if _is_alone() else NO_FORK
            if pid == 0:
                for other in (control, wake, wakes, status, *jobs.values()):
                    other.close()
                _become(job, words, environment, folder, fds[1])
            status.send(NUMBER.pack(pid))
            os.close(fds[1])
            if pid == NO_FORK:
                status.close()
            else:
                jobs[pid] = status


def _is_alone() -> bool:
    """Whether this process has one thread, seen from outside Python; only Linux says so."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def _exactly(control: socket.socket, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        parts.append(control.recv(min(size, 1 << 16)))
        if not parts[-1]:
            raise EOFError
        size -= len(parts[-1])
    return b"".join(parts)


def _reap(jobs: dict[int, socket.socket]) -> None:
    """Tell the client the exit code of every job that has ended."""
    for pid in list(jobs):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with jobs.pop(pid) as client, suppress(OSError):  # the client may have ended
                client.send(NUMBER.pack(os.waitstatus_to_exitcode(status)))


def _become(
    job: Callable[[list[str]], int], words: list[str], environment: dict[str, str], folder: str, errors: int
) -> NoReturn:
    """Execute a job in this forked process, which looks as if it had been started anew. Does not return."""
    code = 1
    try:
        parent = str(os.getppid())
        os.setsid()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        leave_when_interrupted()
        os.dup2(errors, 2)
        os.close(errors)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update({**environment, PARENT: parent})
        sys.path[0] = folder
        sys.argv[1:] = words
        code = job(words)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
