"""A large upload from a process of its own: `python -m tests.security.sending http://127.0.0.1:7860 5000000000`."""

import socket
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

HEAD = b'--x\r\nContent-Disposition: form-data; name="files"; filename="big.jsonl"\r\n\r\n'
TAIL = b"\r\n--x--\r\n"


def body_of(size: int) -> Iterator[bytes]:
    """A form with one file of so many bytes."""
    yield HEAD
    line = b'{"prompt": "a", "completion": "b"}\n' * 30_000
    while size > 0:
        yield line[:size]
        size -= len(line)
    yield TAIL


def main(url: str, size: int) -> None:
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=600) as raw:
        length = size + len(HEAD) + len(TAIL)
        told = f"POST /en/gradio_api/upload HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: {length}\r\n"
        raw.sendall(f"{told}Content-Type: multipart/form-data; boundary=x\r\n\r\n".encode())
        for part in body_of(size):
            raw.sendall(part)
        sys.exit(0 if raw.recv(100).startswith(b"HTTP/1.1 200") else 1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
