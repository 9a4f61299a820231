"""Ends a run whose main thread shows no sign of life any more: a loader that waits for ever, a disk that is gone.

The training loop calls `beat` between any two pieces of work. A silence of 15 minutes, and of 20 times the longest one
that the run had before, ends the process with the reason `hung`; where every thread stood is in train.log.
"""

import faulthandler
import os
import sys
import threading
import time

from studio.errors import JobFailed
from trainers.attempt import Attempt

LEAST_SECONDS = 900.0
TIMES = 20
POLLS = 100
"""Looks in the least silence."""


class Watchdog:
    def __init__(self, attempt: Attempt, *, least_seconds: float | None = None) -> None:
        self._attempt = attempt
        self._least = LEAST_SECONDS if least_seconds is None else least_seconds
        self._longest = self._silent = 0.0
        self._ended = threading.Event()

    @property
    def limit_seconds(self) -> float:
        return max(self._least, TIMES * self._longest)

    def start(self) -> None:
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def beat(self) -> None:
        """A sign of life."""
        self._longest, self._silent = max(self._longest, self._silent), 0.0

    def _watch(self) -> None:
        pause = self._least / POLLS
        looked = time.monotonic()
        while not self._ended.wait(pause):
            now = time.monotonic()
            # A process that was stopped for an hour (SIGSTOP, a suspended machine) has not been silent for an hour.
            self._silent += min(now - looked, 2 * pause)
            looked = now
            if self._silent > self.limit_seconds:
                self._end()

    def _end(self) -> None:
        faulthandler.dump_traceback(sys.__stderr__, all_threads=True)
        minutes = max(1, round(self._silent / 60))
        try:
            self._attempt.end(self._attempt.failed(JobFailed("hung", minutes=minutes)))
        finally:
            os._exit(1)
