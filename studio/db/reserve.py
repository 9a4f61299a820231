"""Room that the registry keeps back, so that a full disk can still be told: a file that is given up when it is needed.

held = Reserve(workspace / "registry.reserve", 2 << 20)
held.hold()        # at the start, and again once there is room
held.give_up()     # the disk is full: the next transaction fits
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

_ROOM = 16
"""So many times its own size must be free before it is held again."""


class Reserve:
    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes

    def hold(self) -> bool:
        """Take the room unless there is little; tells whether it is held, or need not be tried again."""
        if self._path.exists():
            return True
        if shutil.disk_usage(self._path.parent).free < _ROOM * self._size_bytes:
            return False
        try:
            with self._path.open("wb") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, self._size_bytes)
                else:
                    file.write(bytes(self._size_bytes))
        except OSError:  # a file system that keeps none: nothing is lost by it
            self.give_up()
        return True

    def give_up(self) -> None:
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
