"""The name of what a press asks for, so that the same press twice, in one window or two, queues one run.

request_name(context, "again", 7)  ->  "again-7-41", with 41 the highest number of a job when the page was drawn
asked(told)                        ->  "again-7-41-c3a1", another one where the form holds something else
"""

import hashlib
import json

from app.context import Context
from app.data.panel import Told
from studio.db.queue import last_number


def request_name(context: Context, do: str, number: int) -> str:
    """The same until any job is queued: only then can the same press mean another run."""
    with context.registry.session() as session:
        return f"{do}-{number}-{last_number(session)}"


def asked(told: Told) -> str | None:
    """The press's own name, with what the form held; None where the button bears none."""
    name = told.data.get("request")
    fields = json.dumps(told.fields, sort_keys=True, default=str)
    return f"{name}-{hashlib.sha256(fields.encode()).hexdigest()[:8]}" if name else None
