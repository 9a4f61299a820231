"""How fast finished runs were on this machine: what the next run's time is forecast from.

    {"parameters": 134515008, "tuning": "lora", "gradient_checkpointing": False, "dtype": "float32",
     "device": "cpu", "seconds_per_token": 0.0057}

Kept apart from the jobs, so that removing a run loses no experience.
"""

from dataclasses import asdict, dataclass

from sqlalchemy.orm import Session

from studio.db.tables import Preference

_KEY = "speeds"
MOST = 200
"""Older ones are forgotten."""


@dataclass(frozen=True, kw_only=True)
class MeasuredSpeed:
    """One finished run."""

    parameters: int
    """Of the model."""
    tuning: str
    gradient_checkpointing: bool
    dtype: str
    device: str
    """cpu, or the GPU's name."""
    seconds_per_token: float
    """Of training, without evaluating and saving; padding is no token."""
    writes: bool = False
    """The model wrote the answers that it learned from, and that is part of the time."""
    asks_reference: bool = False
    """Each batch went through a reference model as well."""


def keep_speed(session: Session, speed: MeasuredSpeed) -> None:
    before = session.get(Preference, _KEY)
    runs = before.value["runs"] if before else []
    session.merge(Preference(key=_KEY, value={"runs": [*runs, asdict(speed)][-MOST:]}))


def list_speeds(session: Session) -> tuple[MeasuredSpeed, ...]:
    """Newest last."""
    found = session.get(Preference, _KEY)
    return tuple(MeasuredSpeed(**run) for run in found.value["runs"]) if found else ()
