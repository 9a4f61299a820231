"""Below the head of a run that goes wrong: what was seen, why it matters, and a button that tries again with a change.

`draw(context, job_id) -> HTML` of a panel on the run's page, `press(context, job_id, told)` the address to go to.
"""

from collections.abc import Mapping
from html import escape
from typing import Any

from app.context import Context
from app.data import controls
from app.data.panel import Told
from app.i18n import page_path
from app.markup import link
from app.rewards import words
from app.runs.alarm_words import sentence_values
from app.runs.requests import asked, request_name
from studio.alarms.curves import read_curves
from studio.alarms.watching import Alarm, watch
from studio.db import jobs, lineage
from studio.db.jobs import JobView
from studio.errors import RefusedInput, UnknownName
from studio.jobs.lifecycle import LIVE
from studio.params.methods import METHODS
from studio.params.table import parameters
from studio.rewards.recipe import parse

_TONES = {"warning": ("warn", "⚠"), "info": ("info", "ⓘ")}


def draw(context: Context, job_id: int | None) -> str:
    """The panel; empty where nothing is wrong, or the run's method has no alarms."""
    found = _found(context, job_id)
    if found is None:
        return ""
    job, alarms, may_try = found
    return "".join(_alarm_html(context, job, alarm, may_try=may_try) for alarm in alarms)


def press(context: Context, job_id: int, told: Told) -> str:
    """Queue what a button proposes; what it says is looked up anew, so that nothing else can be asked for."""
    if told.do != "try_again":
        return ""
    _, alarms, _ = _found(context, job_id) or (None, [], False)
    chosen = next((alarm for alarm in alarms if alarm.code == told.data.get("code")), None)
    place = told.number("place")
    if chosen is None or place is None or place >= len(chosen.changes):
        return ""
    new = context.desk.try_again(job_id, chosen.changes[place], request_id=asked(told))
    return page_path(context.language, "runs", run=new)


def _found(context: Context, job_id: int | None) -> tuple[JobView, list[Alarm], bool] | None:
    """The run, its alarms, and whether it can be tried again; None where there is no such training run."""
    if job_id is None:
        return None
    try:
        with context.registry.session() as session:
            job = jobs.job(session, job_id)
            if job.kind != "train" or not METHODS[job.method or "sft"].prefers:
                return None
            alarms = watch(read_curves(session, job_id), job.values)
            origin = lineage.origin(session, job_id)
    except UnknownName:
        return None
    return job, alarms, origin is None or origin.weights_only


def _alarm_html(context: Context, job: JobView, alarm: Alarm, *, may_try: bool) -> str:
    say, (tone, mark) = context.say, _TONES[alarm.rule.severity]
    values = sentence_values(alarm, _titles(context, job))
    texts = [say(f"alarms.{part}.{alarm.code}", **values) for part in ("seen", "why", "hint")]
    tries = _tries(context, job, alarm) if may_try else []
    goto = _goto(context, job, alarm)
    stays = say("alarms.stays") if tries and job.state in LIVE else ""
    return (
        f'<section class="lu-alarm lu-{tone}"><p class="lu-alarm-head">'
        f'<strong><span aria-hidden="true">{mark}</span> {escape(say(f"alarms.title.{alarm.code}"))}</strong></p>'
        + "".join(f"<p>{escape(text)}</p>" for text in texts)
        + controls.buttons(*tries, goto)
        + (f'<p class="lu-note">{escape(stays)}</p>' if stays else "")
        + "</section>"
    )


def _tries(context: Context, job: JobView, alarm: Alarm) -> list[str]:
    """A button for each change, the likeliest first."""
    return [
        controls.button(
            "try_again",
            context.say("alarms.try_again", change=_change_words(context, job, alarm, change)),
            request=request_name(context, f"alarm-{alarm.code}-{place}", job.id),
            code=alarm.code,
            place=place,
        )
        for place, change in enumerate(alarm.changes)
    ]


def _change_words(context: Context, job: JobView, alarm: Alarm, change: Mapping[str, Any]) -> str:
    table = {parameter.name: parameter for parameter in parameters(job.values["method"])}
    said = []
    for name, new in change.items():
        if name == "rewards":
            rule = _titles(context, job).get(alarm.values["full_rule"], alarm.values["full_rule"])
            said.append(context.say("alarms.half_weight", rule=rule))
        else:
            known = {"old": _shown(context, job.values[name]), "new": _shown(context, new)}
            said.append(context.say("alarms.change", setting=table[name].label(context.language), **known))
    return context.say("common.list_comma").join(said)


def _goto(context: Context, job: JobView, alarm: Alarm) -> str:
    if not alarm.rule.goto or not job.dataset:
        return ""
    page, _, tab = alarm.rule.goto.partition("/")
    address = page_path(context.language, page, dataset=job.dataset, tab=tab)
    return link(address, context.say(f"alarms.goto.{tab}"), classes="lu-button lu-second")


def _titles(context: Context, job: JobView) -> dict[str, str]:
    try:
        return words.titles(context, parse(job.values.get("rewards")))
    except RefusedInput:
        return {}


def _shown(context: Context, value: Any) -> str:
    if isinstance(value, bool):
        return context.say("alarms.on" if value else "alarms.off")
    return f"{value:g}" if isinstance(value, int | float) else str(value)
