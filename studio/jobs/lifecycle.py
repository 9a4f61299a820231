"""A job's life as data: its states, the legal transitions, and the reasons for each end.

    queued -> starting -> running -> succeeded | failed | stopped | lost
    running -> paused -> queued, and queued -> cancelled

A wish ("stop", "pause") is a column of the job, not a state. Only `studio.db.jobs.move` changes a state, and it
writes an event row for each change.
"""

from types import MappingProxyType

TRANSITIONS = MappingProxyType(
    {
        "queued": frozenset({"starting", "cancelled"}),
        "starting": frozenset({"running", "failed", "stopped", "paused", "lost", "succeeded", "queued"}),
        "running": frozenset({"succeeded", "failed", "stopped", "paused", "lost", "queued"}),
        "paused": frozenset({"queued", "stopped"}),
        "succeeded": frozenset({"queued"}),
        "failed": frozenset({"queued"}),
        "stopped": frozenset({"queued"}),
        "lost": frozenset({"queued"}),
        "cancelled": frozenset(),
    }
)
"""From a state to those it may become. `-> queued` is a resume; from `running` it is the studio's own restart of a
process killed from outside."""

STATES = tuple(TRANSITIONS)
LIVE = frozenset({"starting", "running"})
WAITING = frozenset({"queued"})
ENDED = frozenset({"succeeded", "failed", "stopped", "lost", "cancelled"})
RESUMABLE = frozenset({"stopped", "failed", "lost", "paused"})


def is_legal(old: str, new: str) -> bool:
    return new in TRANSITIONS[old]
