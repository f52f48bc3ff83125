"""`python -m pgolf.sweep.server FD`: fork a worker per request on the socket FD. A sweep starts it for its runs."""

import gc
import socket
import sys

from pgolf.machine.forks import serve
from pgolf.sweep.worker import main

if __name__ == "__main__":
    gc.collect()
    gc.freeze()  # the imported modules stay in memory that all workers share
    serve(socket.socket(fileno=int(sys.argv[1])), main)
