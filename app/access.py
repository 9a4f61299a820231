"""Who may come in where a login is asked for: a password or a one-time code, sessions, and a limit on wrong tries.

    access = Access(on_new_code=print)       # prints a code; each is good for one browser, then the next is printed
    access = Access(password="...")          # kept as a scrypt hash only
    session = access.enter("...", address="192.168.1.7", device=mark)
    access.knows(session), access.leave(session)
    mark = access.mark_device()              # of a browser that has been in: its tries are counted apart

Everything stands in memory alone, so a restart of the server ends every session.
"""

import hashlib
import hmac
import secrets
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable

SESSION_SECONDS = 7 * 86_400.0
_TRY_SECONDS = 60.0
_TRIES_OF_ONE = 5
_TRIES_OF_ALL = 30
_MAX_SESSIONS = 1000


class TooManyTries(Exception):
    """Wrong passwords came too quickly; `seconds` until the next try is looked at."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"{seconds} seconds")
        self.seconds = seconds


class Access:
    """One server's door. Its methods may be called from any thread."""

    def __init__(
        self,
        *,
        password: str | None = None,
        on_new_code: Callable[[str], None] = lambda code: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Without a `password` a one-time code is made, and told to `on_new_code` before anything else happens."""
        self.asks_for = "code" if password is None else "password"
        self._salt = secrets.token_bytes(16)
        self._on_new_code = on_new_code
        self._now = now
        self._lock = threading.Lock()
        self._ends: dict[bytes, float] = {}
        self._wrong: dict[str, deque[float]] = defaultdict(deque)
        self._devices: dict[str, None] = {}
        self._expected = b""
        if password is None:
            self._make_code()
        else:
            self._expected = self._hash(password)

    def enter(self, secret: str, *, address: str, device: str = "") -> str | None:
        """A new session's id, or None where the secret is wrong.

        Args:
            device: a mark of `mark_device`, from a browser that has been in before. It has five tries of its own, so
                that strangers who guess, at its own address or at thirty others, keep it out no longer.

        Raises:
            TooManyTries: five wrong ones came from this address within a minute, or thirty from all together.
        """
        with self._lock:
            name = self._name_of(address, device)
            self._require_patience(name)
            tried = self._now()
            self._wrong[name].append(tried)  # taken back when it was right: tries at the same time all count
        offered = self._hash(secret)
        with self._lock:
            if not hmac.compare_digest(offered, self._expected):
                return None
            self._wrong.pop(name, None)
            session = secrets.token_urlsafe(32)
            self._ends[_digest(session)] = self._now() + SESSION_SECONDS
            while len(self._ends) > _MAX_SESSIONS:
                del self._ends[next(iter(self._ends))]
            if self.asks_for == "code":
                self._make_code()
        return session

    def mark_device(self) -> str:
        """A mark for a browser that has just come in."""
        mark = secrets.token_urlsafe(32)
        with self._lock:
            self._devices[_device_name(mark)] = None
            while len(self._devices) > _MAX_SESSIONS:
                del self._devices[next(iter(self._devices))]
        return mark

    def knows(self, session: str) -> bool:
        """Whether a session has begun here and neither ended nor run out."""
        with self._lock:
            return self._ends.get(_digest(session), 0.0) > self._now()

    def leave(self, session: str) -> None:
        with self._lock:
            self._ends.pop(_digest(session), None)

    def _make_code(self) -> None:
        code = secrets.token_urlsafe(24)
        self._expected = self._hash(code)
        self._on_new_code(code)

    def _hash(self, secret: str) -> bytes:
        # scrypt's parameters are RFC 7914's for interactive logins: 16 MiB and some 50 ms a try.
        return hashlib.scrypt(secret.encode("utf-8", "replace")[:1024], salt=self._salt, n=16_384, r=8, p=1)

    def _name_of(self, address: str, device: str) -> str:
        """By what tries are counted."""
        name = _device_name(device)
        return name if name in self._devices else address

    def _require_patience(self, name_here: str) -> None:
        since = self._now() - _TRY_SECONDS
        for name in list(self._wrong):
            tries = self._wrong[name]
            while tries and tries[0] <= since:
                tries.popleft()
            if not tries:
                del self._wrong[name]
        strangers = [tries for name, tries in self._wrong.items() if name not in self._devices]
        of_all = sorted(each for tries in strangers for each in tries)
        limits = [(self._wrong.get(name_here, ()), _TRIES_OF_ONE)]
        limits += [] if name_here in self._devices else [(of_all, _TRIES_OF_ALL)]
        for tries, limit in limits:
            if len(tries) >= limit:
                raise TooManyTries(max(1, int(tries[-limit] - since) + 1))


def _digest(session: str) -> bytes:
    return hashlib.sha256(session.encode("utf-8", "replace")).digest()


def _device_name(mark: str) -> str:
    return f"device {_digest(mark).hex()}"
