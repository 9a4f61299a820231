"""Where an attempt's temporary files lie (its `TMPDIR`), and their end.

The folder is deleted when the attempt has ended, however it ended: a process that is killed deletes nothing itself, and
an unpacked data set would stay for ever.
"""

import shutil
import socket
import tempfile
from pathlib import Path

import msgspec

from studio.protocol import read_spec

_INSIDE, _ELSEWHERE = "tmp", "luthier-a-"
_SOCKET_NAME = "s" * 40
"""As long as what libraries put behind `TMPDIR`, and a little more: multiprocessing's `pymp-12345678/listener-12345678`
has 31 characters, torch's `torch-shm-dir-123456/manager.sock` 33."""


def make_folder(attempt: Path) -> Path:
    """A folder of this attempt's own: in the attempt's folder, so on the workspace's disk, if a socket can lie there.

    It cannot where the workspace is deep (a socket's path has at most 107 bytes, on macOS 103) or on a disk that knows
    no sockets (exFAT, folders that a container shares with macOS or Windows); then it is in the system's own.
    """
    folder = attempt / _INSIDE
    folder.mkdir(exist_ok=True)
    if _takes_sockets(folder):
        return folder
    folder.rmdir()
    return Path(tempfile.mkdtemp(prefix=_ELSEWHERE))


def delete_folder(attempt: Path) -> None:
    """Delete what `make_folder` made, as the attempt's spec names it; nothing that has another name."""
    try:
        named = read_spec(attempt).temporary_path
    except (OSError, msgspec.MsgspecError):
        return
    if named and (Path(named) == attempt / _INSIDE or Path(named).name.startswith(_ELSEWHERE)):
        shutil.rmtree(named, ignore_errors=True)


def _takes_sockets(folder: Path) -> bool:
    if not hasattr(socket, "AF_UNIX"):  # Windows: nothing there makes one
        return True
    path = folder / _SOCKET_NAME
    try:
        with socket.socket(socket.AF_UNIX) as tried:
            tried.bind(str(path))
    except OSError:
        return False
    finally:
        path.unlink(missing_ok=True)
    return True
