"""Follows a data job: what it does, how far it is, Cancel, and in plain words why it failed."""

from typing import Any

import gradio as gr

from app import dataset_view as view
from app.context import Context
from studio.db import jobs
from studio.db.jobs import JobView
from studio.errors import Conflict
from studio.jobs.lifecycle import LIVE, WAITING

FOLLOW_SECONDS = 0.7
KINDS = ("prepare", "write", "score", "trial", "rejection_sampling")
"""Of jobs that are about a data set."""
LOOKING = ("look", "check", "teach", "diff", "export", "push", "write", "score", "try_reward", "choose_answers")
"""Operations that leave a data set as it is."""


def parts(context: Context) -> dict[str, Any]:
    """The components; `values` and `idle` give what they show."""
    return {
        "job": gr.Number(visible=False, elem_id="data-job"),
        "timer": gr.Timer(FOLLOW_SECONDS, active=False),
        "progress": gr.HTML(visible=False, elem_id="data-progress", padding=False),
        "cancel": gr.Button(context.say("data.cancel"), size="sm", visible=False, elem_id="data-cancel"),
    }


def values(context: Context, seen: JobView) -> list[Any]:
    """The parts for a job as it was seen."""
    is_live = seen.state in LIVE | WAITING
    html = view.job_html(context, seen)
    progress = gr.update(value=html, visible=bool(html))
    return [seen.id if is_live else None, gr.Timer(active=is_live), progress, gr.update(visible=is_live)]


def started(context: Context, job_id: int) -> list[Any]:
    """The parts for a job just queued: the timer runs in any case, and its looks find out how the job ends."""
    return [job_id, gr.Timer(active=True), *values(context, job(context, job_id))[2:]]


def idle() -> list[Any]:
    shut = gr.update(visible=False)
    return [None, gr.Timer(active=False), shut, shut]


def cancel(context: Context, job_id: float | None) -> None:
    if job_id:
        context.desk.stop(int(job_id), now=True)


def job(context: Context, job_id: int) -> JobView:
    with context.registry.session() as session:
        return jobs.job(session, job_id)


def under_way(context: Context) -> int | None:
    """The data job that runs, or waits longest."""
    live = _live(context)
    return live[-1].id if live else None


def makes_version(job: JobView) -> bool:
    return job.values.get("operation") not in LOOKING


def refuse_while_changing(context: Context, name: str) -> None:
    """
    Raises:
        Conflict: a version of this data set is being made; a second change would start from the same version.
    """
    if any(each.values.get("name") == name and makes_version(each) for each in _live(context)):
        raise Conflict("data.being_changed", name=name)


def stop_looking(context: Context, name: str) -> None:
    """End the looks at a data set that wait or run."""
    for each in _live(context):
        if each.values.get("name") == name and each.values.get("operation") == "look":
            context.desk.stop(each.id, now=True)


def _live(context: Context) -> list[JobView]:
    with context.registry.session() as session:
        return jobs.list_jobs(session, kinds=KINDS, states=LIVE | WAITING)
