"""Data sets as HTML: rows as training sees them, problems, versions, a preview. Text from data is escaped here."""

import json
from collections.abc import Iterable
from html import escape
from pathlib import Path

from app.context import Context
from app.i18n import bytes_text, when_text
from app.markup import chip, notice, table
from studio.db.datasets import DatasetSummary
from studio.db.jobs import JobView
from studio.messages import has
from studio.workshop.detect import Preview, PreviewRow
from studio.workshop.problems import EXCLUDED, Problem
from studio.workshop.versions import Row

SHOWN_CHARACTERS = 4000
"""Of one text; the whole row stands in the file and in the edit box."""
SHOWN_PREVIEW_FAULTS = 8


def title_html(context: Context, shown: DatasetSummary) -> str:
    """Name, version, counts and what the rows become in training."""
    chips = [
        chip(context.say("data.version", number=shown.version)),
        chip(context.say("data.rows_chip", count=shown.rows), "good"),
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


def problem_chip(context: Context, count: int) -> str:
    if not count:
        return chip("✓ " + context.say("data.no_problems_chip"), "good")
    return chip("▲ " + context.say("data.problems_chip", count=count), "warn")


def rows_html(context: Context, rows: Iterable[Row | PreviewRow]) -> str:
    """Each row as a conversation, beside the source row."""
    return "".join(_row_html(context, row) for row in rows)


def _row_html(context: Context, row: Row | PreviewRow) -> str:
    turns = row.messages or [
        {"role": "user", "content": row.prompt or ""},
        {"role": "assistant", "content": row.completion or ""},
    ]
    spoken = "".join(_turn_html(context, turn["role"], turn["content"]) for turn in turns)
    return (
        f'<article class="lu-data-row" data-row="{row.row}"><h3>{escape(context.say("data.row", row=row.row))}</h3>'
        f'<div class="lu-data-pair"><div>{spoken}</div>{_raw_html(context, row.raw)}</div></article>'
    )


def _turn_html(context: Context, role: str, content: str) -> str:
    speaker = f'<span class="lu-data-speaker">{escape(context.say(f"data.role.{role}"))}</span>'
    return f'<div class="lu-turn lu-{escape(role)}">{speaker}{_cut(content)}</div>'


def _raw_html(context: Context, raw: str) -> str:
    label = escape(context.say("data.raw"))
    return f'<pre class="lu-log" tabindex="0" aria-label="{label}">{_cut(_pretty(raw))}</pre>'


def _pretty(raw: str) -> str:
    try:
        return json.dumps(json.loads(raw), ensure_ascii=False, indent=2) if len(raw) < SHOWN_CHARACTERS else raw
    except (ValueError, RecursionError):
        return raw


def _cut(text: str) -> str:
    return escape(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + " …")


# -- problems and versions -----------------------------------------------------------------------------------------


def problems_html(context: Context, problems: list[Problem], codes: dict[str, int]) -> str:
    """How many of each kind, then the faults by row number, each with its reason."""
    if not problems:
        return notice(context.say("data.no_problems"), "good")
    kinds = "".join(
        f"<li>{chip(str(count), 'warn')} {escape(_kind(context, code))}</li>" for code, count in codes.items()
    )
    lines = ((str(each.row), _reason(context, each), f"<code>{_short(each.raw)}</code>") for each in problems)
    headings = [context.say(f"data.problem_column.{name}") for name in ("row", "reason", "raw")]
    return f'<ul class="lu-data-kinds">{kinds}</ul>' + table(headings, lines)


def _kind(context: Context, code: str) -> str:
    return context.say(f"data.kind.{code}")


def _reason(context: Context, problem: Problem) -> str:
    words = escape(problem.message(context.language))
    if problem.state == EXCLUDED:
        return f"{chip(context.say('data.excluded'))} {words}"
    return words


def _short(raw: str) -> str:
    return escape(raw[:120] + ("…" if len(raw) > 120 else ""))


def faults_html(context: Context, problems: Iterable[Problem]) -> str:
    """The faults of a row that somebody is mending."""
    return "".join(notice(each.message(context.language), "warn") for each in problems)


def versions_html(context: Context, versions: list[DatasetSummary]) -> str:
    headings = [context.say(f"data.version_column.{name}") for name in ("number", "rows", "problems", "made", "from")]
    return table(headings, (_version_cells(context, each) for each in versions))


def _version_cells(context: Context, version: DatasetSummary) -> list[str]:
    number = str(version.version)
    if version.is_current:
        number += " " + chip(context.say("data.current"), "info")
    steps = version.manifest.get("steps", [])
    last = steps[-1] if steps else {"operation": "import", "parameters": {}}
    rows = last["parameters"].get("rows", [])
    values = {"file": version.manifest.get("source", {}).get("file", "–"), "count": len(rows)}
    made = escape(context.say(f"data.step.{last['operation']}", **values))
    counts = (f"{version.rows:,}", f"{version.problems:,}")
    return [number, *counts, escape(when_text(version.created_at, context.language)), made]


# -- preview and progress ------------------------------------------------------------------------------------------


def preview_html(context: Context, preview: Preview) -> str:
    """What the file is taken for, what it becomes, its faults, and its first rows."""
    size = bytes_text(preview.size_bytes)
    about = context.say(f"data.looked_at.{'all' if preview.is_whole else 'first'}", count=preview.sampled, size=size)
    return "".join(
        (
            f'<p class="lu-note">{escape(preview.file)} · {escape(about)}</p>',
            _choice_html(context, preview),
            _preview_faults(context, preview),
            rows_html(context, preview.rows),
        )
    )


def _choice_html(context: Context, preview: Preview) -> str:
    choice = preview.choice
    if choice is None:
        return notice(context.say("data.shape_unknown", columns=", ".join(preview.all_columns) or "–"), "warn")
    shape = context.say(f"data.shape.{choice.shape}")
    found = context.say("data.shape_found", shape=shape, percent=f"{100 * choice.confidence:.0f}")
    becomes = context.say(f"data.becomes.{preview.format}", shape=shape)
    return notice(f"{found} {becomes}", "good" if choice.confidence >= 0.9 else "warn")


def _preview_faults(context: Context, preview: Preview) -> str:
    if not preview.faults:
        return ""
    rows = len({fault.row for fault in preview.faults})
    shown = "".join(
        f"<li>{escape(each.message(context.language))}</li>" for each in preview.faults[:SHOWN_PREVIEW_FAULTS]
    )
    head = escape(context.say("data.preview_faults", rows=rows, sampled=preview.sampled))
    return f'<details class="lu-notice lu-warn" open><summary>{head}</summary><ul>{shown}</ul></details>'


def job_html(context: Context, job: JobView) -> str:
    """How far the import is, or in plain words why it failed; nothing once it succeeded."""
    if job.state == "succeeded":
        return ""
    if job.reason and job.state not in ("queued", "starting", "running"):
        return notice(failure_text(context, job), "bad" if job.state in ("failed", "lost") else "warn")
    share = 100 * (job.progress_done or 0) / job.progress_total if job.progress_total else 0
    doing = context.say("data.waiting" if job.state == "queued" else "data.working", name=job.title)
    far = _how_far(job)
    return (
        f'<div class="lu-card" role="status"><strong>{escape(doing)}</strong> '
        f'<span class="lu-note">{escape(far)}</span>'
        f'<div class="lu-progress"><div style="width:{share:.1f}%"></div></div>'
        f'<p class="lu-note">{escape(context.say("data.may_close"))}</p></div>'
    )


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
