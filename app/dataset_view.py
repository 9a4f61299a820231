"""Data sets as HTML: rows as training sees them, problems, versions, a preview. Text from data is escaped here."""

import json
from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from app.context import Context
from app.i18n import bytes_text
from app.markup import chip, notice
from studio.db.datasets import DatasetSummary
from studio.db.jobs import JobView
from studio.messages import has
from studio.workshop.converting.detect import Preview, PreviewRow
from studio.workshop.problems import Problem, unread_keys_text
from studio.workshop.versions.layout import REASONING, spoken
from studio.workshop.versions.manifest import MANIFEST
from studio.workshop.versions.reader import Row

SHOWN_CHARACTERS = 4000
"""Of one text; the whole row stands in the file and in the edit box."""
SHOWN_PREVIEW_FAULTS = 8
AROUND = 40
"""Characters shown around a change."""


def title_html(context: Context, shown: DatasetSummary) -> str:
    """Name, version, counts and what the rows become in training."""
    chips = [
        chip(context.say("data.version", number=shown.version)),
        chip(rows_text(context, shown.rows), "good"),
        problem_chip(context, shown.problems),
    ]
    if shown.excluded:
        chips.append(chip(context.say("data.excluded_chip", count=shown.excluded)))
    becomes = context.say(f"data.becomes.{shown.format}", shape=context.say(f"data.shape.{shown.shape}"))
    return (
        f'<h2 class="lu-part" data-dataset="{escape(shown.name)}">{escape(shown.name)}</h2>'
        f'<div class="lu-data-chips">{"".join(chips)}</div>'
        f'<p class="lu-note">{escape(becomes)}</p>'
    )


def rows_text(context: Context, count: int) -> str:
    return context.say("data.rows_chip", count=count)


def is_damaged(shown: DatasetSummary) -> bool:
    return not (Path(shown.path) / MANIFEST).is_file()


def problem_chip(context: Context, count: int) -> str:
    if not count:
        return chip("✓ " + context.say("data.no_problems_chip"), "good")
    return chip("▲ " + context.say("data.problems_chip", count=count), "warn")


def rows_html(context: Context, rows: Iterable[Row | PreviewRow], format: str) -> str:
    """Each row as a conversation, beside the source row."""
    return "".join(row_html(context, row, format) for row in rows)


def row_html(context: Context, row: Row | PreviewRow, format: str, *, head: str = "") -> str:
    """One row; `head` is HTML beside its number."""
    title = f"<h3>{escape(context.say('data.row', row=row.row))}</h3>{head}"
    return (
        f'<article class="lu-data-row" data-row="{row.row}"><header>{title}</header>'
        f'<div class="lu-data-pair"><div>{spoken_html(context, row, format)}</div>{raw_html(context, row.raw)}</div>'
        "</article>"
    )


def spoken_html(context: Context, row: Row | PreviewRow, format: str) -> str:
    """What training gets of a row, as people read it."""
    parts = spoken(row, format)
    named = {"chosen", "rejected"} & {name for name, _ in parts}
    shown = "".join(
        (_label_html(context, name) if name in named else "") + "".join(_turn_html(context, turn) for turn in turns)
        for name, turns in parts
    )
    return shown + _beside_html(context, row, format)


def _beside_html(context: Context, row: Row | PreviewRow, format: str) -> str:
    """What a row trains on besides texts: a verdict, tools, tokens."""
    say = context.say
    if format == "unpaired" and row.label is not None:
        return chip(say("data.label.good" if row.label else "data.label.bad"), "good" if row.label else "bad")
    if format == "tokens":
        return f'<p class="lu-note">{escape(say("data.tokens", count=len(row.input_ids or [])))}</p>'
    if format == "stepwise" and row.labels:
        marks = " ".join("✓" if label else "✕" for label in row.labels)
        return f'<p class="lu-note">{escape(say("data.steps_right", marks=marks))}</p>'
    tools = getattr(row, "tools", None)
    return f'<p class="lu-note">{escape(say("data.tools", count=len(tools)))}</p>' if tools else ""


def _label_html(context: Context, name: str) -> str:
    return chip(context.say(f"data.answer.{name}"), "good" if name == "chosen" else "bad")


def _turn_html(context: Context, turn: dict[str, Any]) -> str:
    role = turn["role"]
    shown = context.say(f"data.role.{role}") if has(f"data.role.{role}") else role
    if turn.get("name"):
        shown += f" ({turn['name']})"
    thought = turn.get(REASONING)
    if thought:
        title = escape(context.say("data.reasoning"))
        thought = f'<details class="lu-thought"><summary>{title}</summary>{_cut(thought)}</details>'
    calls = turn.get("tool_calls")
    called = f"<pre>{_cut(json.dumps(calls, ensure_ascii=False, indent=1))}</pre>" if calls else ""
    speaker = f'<span class="lu-data-speaker">{escape(shown)}</span>'
    said = _cut(turn.get("content") or "")
    return f'<div class="lu-turn lu-{escape(role)}">{speaker}{thought or ""}{said}{called}</div>'


def raw_html(context: Context, raw: str) -> str:
    label = escape(context.say("data.raw"))
    return f'<pre class="lu-log" tabindex="0" aria-label="{label}">{_cut(pretty(raw))}</pre>'


def pretty(raw: str) -> str:
    try:
        return json.dumps(json.loads(raw), ensure_ascii=False, indent=2) if len(raw) < SHOWN_CHARACTERS else raw
    except (ValueError, RecursionError):
        return raw


def _cut(text: str) -> str:
    return escape(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + " …")


# -- changes ---------------------------------------------------------------------------------------------------------


def plain_text(value: Any) -> str:
    """Any value of a row as text: turns a line each, everything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(turn, dict) and "content" in turn for turn in value):
        return "\n".join(_plain_turn(turn) for turn in value)
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _plain_turn(turn: dict[str, Any]) -> str:
    thought = f"<think>{turn[REASONING]}</think> " if turn.get(REASONING) else ""
    return f"{turn.get('role')}: {thought}{turn['content']}"


def short(text: str, most: int = 160) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def change_html(context: Context, before: str, after: str) -> str:
    """The part of two texts that differs, one above the other, what goes and what comes marked."""
    start, old, new, end = difference(before, after)
    words = [context.say(f"data.change.{side}") for side in ("before", "after")]
    lines = "".join(
        f'<div><span class="lu-note">{escape(word)}</span> '
        f"{escape(start)}<{tag}>{escape(part)}</{tag}>{escape(end)}</div>"
        for word, part, tag in zip(words, (old, new), ("del", "ins"), strict=True)
    )
    return f'<div class="lu-change">{lines}</div>'


def difference(before: str, after: str) -> tuple[str, str, str, str]:
    """What two texts have in common in front, where they differ, and what they have in common behind; all cut.

    `("colour red", "color red")` -> `("colo", "u", "", "r red")`
    """
    least = min(len(before), len(after))
    same = next((place for place in range(least) if before[place] != after[place]), least)
    rest = least - same
    behind = next((place for place in range(rest) if before[-1 - place] != after[-1 - place]), rest)
    old, new = before[same : len(before) - behind], after[same : len(after) - behind]
    front, end = before[max(0, same - AROUND) : same], before[len(before) - behind :][:AROUND]
    return ("…" if same > AROUND else "") + front, _middle(old), _middle(new), end + ("…" if behind > AROUND else "")


def _middle(text: str) -> str:
    return text if len(text) <= 6 * AROUND else text[: 3 * AROUND] + " … " + text[-3 * AROUND :]


# -- preview and progress ------------------------------------------------------------------------------------------


def preview_faults(context: Context, preview: Preview) -> str:
    """The faults among the rows looked at."""
    if not preview.faults:
        return ""
    rows = len({fault.row for fault in preview.faults})
    shown = "".join(
        f"<li>{escape(each.message(context.language))}</li>" for each in preview.faults[:SHOWN_PREVIEW_FAULTS]
    )
    head = escape(context.say("data.preview_faults", count=rows, sampled=preview.sampled))
    return f'<details class="lu-notice lu-warn" open><summary>{head}</summary><ul>{shown}</ul></details>'


def unread_keys(context: Context, keys: dict[str, int]) -> str:
    """What turns say that training does not read, each key with its rows."""
    return notice(unread_keys_text(keys, context.language), "info") if keys else ""


def job_html(context: Context, job: JobView) -> str:
    """How far the import is, or in plain words why it failed; nothing once it succeeded."""
    if job.state == "succeeded":
        return ""
    if job.reason and job.state not in ("queued", "starting", "running"):
        return notice(failure_text(context, job), "bad" if job.state in ("failed", "lost") else "warn")
    share = 100 * (job.progress_done or 0) / job.progress_total if job.progress_total else 0
    doing = _doing(context, job)
    far = _how_far(job)
    return (
        f'<div class="lu-card" role="status"><strong>{escape(doing)}</strong> '
        f'<span class="lu-note">{escape(far)}</span>'
        f'<div class="lu-progress"><div style="width:{share:.1f}%"></div></div>'
        f'<p class="lu-note">{escape(context.say("data.may_close"))}</p></div>'
    )


def _doing(context: Context, job: JobView) -> str:
    """Whose turn it is, or what is being done to which data set."""
    if job.state == "queued":
        return context.say("data.waiting", name=job.title)
    phase = f"phases.{job.phase}"
    words = context.say(phase) if has(phase) else context.say("phases.starting")
    return context.say("data.working", name=job.title, doing=words)


def _how_far(job: JobView) -> str:
    if not job.progress_total:
        return ""
    done = job.progress_done or 0
    if job.progress_unit == "bytes":
        return f"{bytes_text(done)} / {bytes_text(job.progress_total)}"
    return f"{int(done):,} / {int(job.progress_total):,}"


def failure_text(context: Context, job: JobView) -> str:
    """Why a job ended, and where rows were at fault, the first of them."""
    values = dict(job.reason_values)
    problem, problem_values = values.pop("problem", None), values.pop("problem_values", {})
    words = context.say(f"errors.{job.reason}", **values)
    if problem and has(f"problems.{problem}"):
        first = Problem(row=values["row"], code=problem, field=values["field"], values=problem_values)
        words += "\n" + first.message(context.language)
    return words


def suggested_name(path: str) -> str:
    """`/tmp/Support Bot (2).jsonl` -> `Support Bot (2)`."""
    stem = Path(path).stem
    return "".join(letter if letter.isalnum() or letter in " .()+-_" else "-" for letter in stem).strip(" .-_()+")[:64]
