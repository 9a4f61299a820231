"""The first batch of a run as the model got it, below its curves: what it was not taught stands grey.

`draw(context, job_id) -> HTML`; empty where the run has told none.
"""

from html import escape

from app.context import Context
from app.data import controls
from app.plan_view import segments_html
from studio.db import jobs


def draw(context: Context, job_id: int | None) -> str:
    if job_id is None:
        return ""
    with context.registry.session() as session:
        told = jobs.events(session, job_id, types=("batch",))[:1]
    if not told:
        return ""
    say, batch = context.say, told[0].data
    counted = say("runs.batch.counted", count=batch["count"], tokens=batch["tokens"], learned=batch["learned"])
    notes = [say("runs.batch.note"), counted, *([say("runs.batch.cut")] if batch["is_cut"] else [])]
    inner = f'<p class="lu-note lu-num">{escape(" ".join(notes))}</p>' + "".join(map(segments_html, batch["rows"]))
    return controls.fold(say("runs.batch.title"), inner, key="runs-batch")
