"""What can be done with a run: which buttons it has, why one is grey, and what each asks the desk for."""

from html import escape

from app.context import Context
from studio.db import jobs
from studio.db.jobs import JobView
from studio.jobs.lifecycle import ENDED, LIVE, RESUMABLE

ACTIONS = ("stop", "stop_now", "pause", "resume", "save", "sooner", "remove")


def belongs(job: JobView, action: str, place: int | None) -> bool:
    """Whether a button is shown: in the states where it can be meant, greyed or not."""
    if action == "remove":
        return job.state in ENDED
    if action == "resume":
        return job.state in RESUMABLE
    if action == "sooner":
        return place is not None and place > 1
    return job.state in LIVE or (action == "stop" and job.state in ("queued", "paused"))


def refusal(job: JobView, action: str, place: int | None) -> str | None:
    """Why an action is not possible now: a key below `runs.why.`; None if it is possible."""
    if action in ("stop", "stop_now"):
        if job.state in ("queued", "paused"):
            return None if action == "stop" else "not_running"
        if action == "stop_now" and job.wish in ("stop", "pause"):
            return None  # saving may take long; a person may lose patience
        return _live_refusal(job)
    if action in ("pause", "save"):
        return _live_refusal(job)
    if action == "resume":
        return None if job.state in RESUMABLE else "not_resumable"
    if action == "sooner":
        return None if place is not None and place > 1 else "not_behind"
    return "still_there" if job.state in LIVE | {"queued", "paused"} else None


def _live_refusal(job: JobView) -> str | None:
    if job.state not in LIVE:
        return "not_running"
    return "asked_already" if job.wish in ("stop", "stop_now", "pause") else None


def why_html(context: Context, job: JobView, place: int | None) -> str:
    """Below the buttons: why each greyed one is grey."""
    by_reason: dict[str, list[str]] = {}
    for action in ACTIONS:
        reason = refusal(job, action, place) if belongs(job, action, place) else None
        if reason:
            by_reason.setdefault(reason, []).append(context.say(f"runs.action.{action}"))
    lines = [
        f"{context.say('common.list_comma').join(actions)}: {context.say(f'runs.why.{reason}')}"
        for reason, actions in by_reason.items()
    ]
    return "".join(f'<p class="lu-note">{escape(line)}</p>' for line in lines)


def act(context: Context, job_id: int, action: str) -> None:
    """One button's verb."""
    desk = context.desk
    if action in ("stop", "stop_now"):
        desk.stop(job_id, now=action == "stop_now")
    elif action == "pause":
        desk.pause(job_id)
    elif action == "resume":
        desk.resume(job_id)
    elif action == "save":
        desk.save_now(job_id)
    else:
        with context.registry.session() as session:
            waiting = [job.id for job in jobs.queue(session)]
        if job_id in waiting:
            desk.move(job_id, waiting.index(job_id))  # one place nearer: counted from 1
