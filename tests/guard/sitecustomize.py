"""No test talks to another machine: an audit hook that refuses every address but this one's.

Python imports this file by itself at the start of every process that has its folder on PYTHONPATH (tests/conftest.py
puts it there, so servers and jobs have it too). A refused address raises OSError and is written to the file that
LUTHIER_SOCKET_LOG names; one line there fails the whole test session, even if the code took the error silently.

An audit hook rather than patched methods: it costs no import (not even of `socket`), and sees C code that goes through
the interpreter's socket module as well. It does not see libraries that open sockets on their own (a browser, a Rust
client): the browser has its own rule, and for the rest hub access is off.
"""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec

ADDRESS_EVENTS = ("socket.connect", "socket.sendto", "socket.sendmsg")
NAME_EVENTS = ("socket.getaddrinfo", "socket.gethostbyname")
HERE = ("", "localhost", "0.0.0.0", "::", "::1")


def refuse_outside(event: str, arguments: tuple) -> None:
    if event in ADDRESS_EVENTS:
        address = arguments[1]
        # Unix sockets have a path, netlink a pair of numbers, and sendmsg on a connected socket nothing.
        host = address[0] if isinstance(address, tuple) and address else None
    elif event in NAME_EVENTS:
        host = arguments[0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if isinstance(host, str) and not is_here(host):
        record(event, host)
        raise OSError(f"the tests' socket guard refused {event} to {host}")


def is_here(host: str) -> bool:
    host = host.lower().rstrip(".").removeprefix("::ffff:")
    return host in HERE or host.startswith("127.")


def record(event: str, host: str) -> None:
    path = os.environ.get("LUTHIER_SOCKET_LOG")
    if path:
        with open(path, "a", encoding="utf-8") as log:
            log.write(f"{event} {host} in process {os.getpid()}: {' '.join(sys.orig_argv)}\n")


def watch() -> None:
    """Once a process: a hook cannot be taken off again."""
    if not getattr(sys, "luthier_socket_guard", False):
        sys.luthier_socket_guard = True
        sys.addaudithook(refuse_outside)


def run_hidden_sitecustomize() -> None:
    """The machine's own sitecustomize, which this one stands before, still has its turn."""
    here = os.path.dirname(os.path.abspath(__file__))
    others = [place for place in sys.path if os.path.abspath(place or ".") != here]
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


watch()
if __name__ == "sitecustomize":
    run_hidden_sitecustomize()
