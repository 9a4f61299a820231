"""What a job writes for the server stays readable when there is no room left."""

import resource
from pathlib import Path

import pytest

from studio.protocol import EVENTS, EventLog, read_events


def test_an_event_that_does_not_fit_leaves_no_half_line(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.write("log", level="info", text="before")
    size = (tmp_path / EVENTS).stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, hard))
    try:
        with pytest.raises(OSError):
            log.write("log", level="info", text="does not fit" * 10)
        assert (tmp_path / EVENTS).stat().st_size == size
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    log.write("log", level="info", text="after")
    found = read_events(tmp_path, 0)
    assert ([event.data["text"] for event in found.events], found.invalid) == (["before", "after"], 0)
    assert [event.seq for event in found.events] == [0, 1]
