"""What can be done with a run: which buttons it has, why one is grey, and what each asks the desk for."""

from html import escape

from app.context import Context
from studio.db.jobs import JobView
from studio.jobs.lifecycle import LIVE, RESUMABLE

ACTIONS = ("stop", "stop_now", "pause", "resume", "save")


def belongs(job: JobView, action: str) -> bool:
    """Whether a button is shown: in the states where it can be meant, greyed or not."""
    if action == "resume":
        return job.state in RESUMABLE
    return job.state in LIVE or (action == "stop" and job.state in ("queued", "paused"))


def label(context: Context, job: JobView, action: str) -> str:
    """What a button says: a run that waits has nothing to save."""
    return context.say("runs.action.cancel" if action == "stop" and job.state == "queued" else f"runs.action.{action}")


def refusal(job: JobView, action: str) -> str | None:
    """Why an action is not possible now: a key below `runs.why.`; None if it is possible."""
    if action in ("stop", "stop_now"):
        if job.state in ("queued", "paused"):
            return None if action == "stop" else "not_running"
        if action == "stop_now" and job.wish in ("stop", "pause"):
            return None  # saving may take long; a person may lose patience
        return _live_refusal(job)
    if action in ("pause", "save"):
        return _live_refusal(job)
    return None if job.state in RESUMABLE else "not_resumable"


def _live_refusal(job: JobView) -> str | None:
    if job.state not in LIVE:
        return "not_running"
    return "asked_already" if job.wish in ("stop", "stop_now", "pause") else None


def why_html(context: Context, job: JobView) -> str:
    """Below the buttons: why each greyed one is grey."""
    by_reason: dict[str, list[str]] = {}
    for action in ACTIONS:
        reason = refusal(job, action) if belongs(job, action) else None
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
    else:
        desk.save_now(job_id)
