"""Home: on the first visit what this is and the two ways in; later what runs, what ran last, what needs attention."""

from html import escape

import gradio as gr

from app.context import Context
from app.i18n import page_path, when_text
from app.markup import heading, link, notice, state_chip
from app.pages.shell import machine_line, redraw_on_change
from app.run_view import score_text, sentence
from studio.db import datasets, jobs
from studio.db.jobs import JobView
from studio.hardware import sqlite_fact
from studio.jobs.lifecycle import LIVE

SAMPLE_QUERY = {"sample": "1"}
_CARDS = 6
_ACTIVE = LIVE | {"queued", "paused"}
_STEPS = ("data", "train", "runs", "checkpoints")


def build(context: Context) -> None:
    body_html = gr.HTML(elem_id="home-body")
    redraw_on_change(context, draw, outputs=[body_html])


def draw(context: Context, query: dict[str, str]) -> str:
    """The page's body as it stands now."""
    with context.registry.session() as session:
        active = jobs.list_jobs(session, kinds=("train",), states=_ACTIVE, limit=_CARDS)
        ended = jobs.list_jobs(session, kinds=("train",), limit=4 * _CARDS)
        has_data = bool(datasets.list_datasets(session))
    return later(context, active, ended) if active or ended or has_data else first_visit(context)


def first_visit(context: Context) -> str:
    say, language = context.say, context.language
    steps = "".join(
        f"<li><strong>{escape(say(f'home.step.{name}.title'))}</strong>"
        f'<p class="lu-note">{escape(say(f"home.step.{name}.text"))}</p></li>'
        for name in _STEPS
    )
    ways = link(page_path(language, "data", **SAMPLE_QUERY), say("home.try_sample"), classes="lu-button")
    ways += link(page_path(language, "data"), say("home.upload"), classes="lu-button lu-second")
    return (
        heading(say("home.title"))
        + f'<p class="lu-lead">{escape(say("home.lead"))}</p><div class="lu-buttons">{ways}</div>'
        + f'<ol class="lu-steps">{steps}</ol>'
        + f'<p class="lu-note">{escape(say("home.machine", machine=machine_line(context)))}</p>'
    )


def later(context: Context, active: list[JobView], newest: list[JobView]) -> str:
    """What runs and waits, however long ago it was asked for, and what ended last."""
    say, language = context.say, context.language
    ended = [job for job in newest if job.state not in _ACTIVE and not job.is_archived][:_CARDS]
    troubled = [job for job in ended if job.state in ("failed", "lost")]
    parts = [heading(say("home.later_title"))]
    ways = link(page_path(language, "train"), say("home.train"), classes="lu-button")
    ways += link(page_path(language, "data"), say("home.upload"), classes="lu-button lu-second")
    parts.append(f'<div class="lu-buttons">{ways}</div>')
    parts += [notice(say("home.attention", run=job.id, title=job.title), "warn") for job in troubled[:2]]
    parts.append(_cards(context, say("home.active"), active, say("home.nothing_active")))
    if ended:
        parts.append(_cards(context, say("home.ended"), ended, ""))
    return "".join([*parts, _registry_note(context)])


def _registry_note(context: Context) -> str:
    """What to know of an SQLite that is old; nothing of a newer one."""
    keeper = sqlite_fact()
    if keeper.is_good:
        return ""
    return f'<p class="lu-note">{escape(context.say(f"doctor.{keeper.code}", **keeper.values))}</p>'


def _cards(context: Context, title: str, runs: list[JobView], otherwise: str) -> str:
    head = f'<h2 class="lu-part">{escape(title)}</h2>'
    if not runs:
        return f'{head}<p class="lu-note">{escape(otherwise)}</p>'
    return f'{head}<div class="lu-cards">{"".join(_card(context, job) for job in runs)}</div>'


def _card(context: Context, job: JobView) -> str:
    name = link(page_path(context.language, "runs", run=job.id), f"{job.id} · {job.title}")
    about = " · ".join(part for part in (job.model, job.dataset, score_text(context, job)) if part)
    return (
        f'<article class="lu-card"><h3>{name}</h3>{state_chip(job.state, context.say)}'
        f"<p>{escape(sentence(context, job, None) if job.state in LIVE else about)}</p>"
        f'<p class="lu-note">{escape(when_text(job.created_at, context.language))}</p></article>'
    )
