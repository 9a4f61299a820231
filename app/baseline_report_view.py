"""HTML of what asking the untouched model came to: the verdict, the prompts side by side, answers to read."""

from html import escape
from typing import Any

from app.context import Context
from app.data import controls
from app.i18n import duration_text, number_text
from app.markup import notice, table
from studio.errors import RefusedInput
from studio.evaluation import baseline
from studio.evaluation.baseline import (
    CANNOT,
    PLAIN,
    SUFFICES,
    SYSTEM,
    UNKNOWN,
    Asked,
    BaselineReport,
    Kept,
    PromptResult,
    rules,
)

SHOWN_ANSWERS = 12
_TONES = {SUFFICES: ("good", "✓"), CANNOT: ("warn", "▲")}


def report_html(context: Context, kept: Kept, *, is_pairs: bool) -> str:
    """Everything about a report.

    Args:
        is_pairs: the rows have no place for a system prompt yet.
    """
    report = kept.report
    tone, icon = _TONES.get(report.verdict, ("info", "ⓘ"))
    return (
        notice(f"{icon} {verdict_text(context, report)}", tone)
        + prompts_html(context, report)
        + _notes(context, report)
        + _system(context, report, is_pairs=is_pairs)
        + answers_html(context, kept)
    )


def prompt_name(context: Context, prompt: PromptResult) -> str:
    """How the model was asked, to stand in a sentence: `with 4 examples`."""
    return context.say(f"baseline.kind.{prompt.kind}", count=prompt.shown)


def verdict_text(context: Context, report: BaselineReport) -> str:
    """What it means, in a sentence."""
    best = report.best_prompt
    name = prompt_name(context, best)
    if best.right is None and report.task == "free":
        return context.say("baseline.verdict.free", prompt=name)
    if report.verdict == UNKNOWN or best.share is None:
        return context.say("baseline.verdict.few", prompt=name, count=best.answered)
    percent = round(100 * best.share)
    values = {"prompt": name, "right": best.right, "count": best.answered, "percent": percent}
    return context.say(f"baseline.verdict.{report.verdict}", **values)


def prompts_html(context: Context, report: BaselineReport) -> str:
    """The prompts side by side, in the order in which they were asked."""
    say = context.say
    is_decidable = any(each.right is not None for each in report.prompts)
    names = ["prompt", "loss", *(["right"] if is_decidable else []), "f1", "follows"]
    rows = [_row(context, each, report, is_decidable=is_decidable) for each in report.prompts]
    caption = say(
        "baseline.caption", count=report.rows, dataset=report.dataset, version=report.version, model=report.model
    )
    return table([say(f"baseline.column.{name}") for name in names], rows, caption=caption)


def _row(context: Context, prompt: PromptResult, report: BaselineReport, *, is_decidable: bool) -> list[str]:
    say, is_best = context.say, prompt.kind == report.best
    name = escape(prompt_name(context, prompt))
    mark = f' <span class="lu-chip lu-good">✓ {escape(say("baseline.best"))}</span>' if is_best else ""
    if prompt.loss is None:
        return [name, escape(say("baseline.does_not_fit")), *["–"] * (2 + is_decidable)]
    right = [_right(context, prompt)] if is_decidable else []
    cells = [_number(number_text(prompt.loss)), *right, _number(_percent(prompt.f1)), _number(_percent(prompt.follows))]
    return [f"<b>{name}</b>{mark}" if is_best else name, *cells]


def _right(context: Context, prompt: PromptResult) -> str:
    if prompt.right is None or prompt.interval is None:
        return escape(context.say("baseline.not_asked"))
    low, high = (round(100 * each) for each in prompt.interval)
    told = context.say("baseline.right_cell", right=prompt.right, count=prompt.answered)
    span = context.say("baseline.interval", low=low, high=high)
    return f'{_number(told)} <span class="lu-note lu-num" style="white-space:nowrap">{escape(span)}</span>'


def _notes(context: Context, report: BaselineReport) -> str:
    """What the columns mean, what was left out, how long it took."""
    say, wanted, plain, best = context.say, report.wanted, report.of(PLAIN), report.best_prompt
    lines = [_loss_note(context, plain, best)] if plain and plain.loss is not None else []
    if report.task != "free":
        lines.append(say(f"baseline.right_means.{report.task}"))
    form = say(
        f"baseline.wanted.{wanted['kind']}",
        labels=", ".join(wanted["labels"]),
        keys=", ".join(wanted["keys"]),
        shortest=wanted["shortest"],
        longest=wanted["longest"],
    )
    opening = say("baseline.wanted.opening", opening=wanted["opening"]) if wanted["opening"] else ""
    lines.append(f"{form} {opening}".strip())
    if report.verdict == SUFFICES:
        enough = rules()["suffices"]
        shares = {name: round(100 * enough[name]) for name in ("share", "low", "follows")}
        lines.append(say("baseline.rule", rows=enough["rows"], **shares))
    if report.left_out:
        lines.append(say("baseline.left_out", count=sum(report.left_out.values())))
    spent = (duration_text(each, context.language) for each in (report.loss_seconds, report.answer_seconds))
    lines.append(say("baseline.seconds", **dict(zip(("losses", "answers"), spent, strict=True))))
    return "".join(f'<p class="lu-note">{escape(line)}</p>' for line in lines)


def _loss_note(context: Context, plain: PromptResult, best: PromptResult) -> str:
    starts = number_text(plain.validation_loss if plain.validation_loss is not None else plain.loss)
    if best.kind == PLAIN:
        return context.say("baseline.loss_note_plain", loss=starts)
    least = number_text(best.validation_loss if best.validation_loss is not None else best.loss)
    return context.say("baseline.loss_note", loss=starts, best=least)


def _system(context: Context, report: BaselineReport, *, is_pairs: bool) -> str:
    """The system prompt that was tried, and the button that carries it into the rows."""
    say, prompt = context.say, report.of(SYSTEM)
    if prompt is None or not prompt.system or prompt.loss is None:
        return ""
    title = say("baseline.proposed" if prompt.is_proposed else "baseline.typed")
    note = say("baseline.carry_pairs" if is_pairs else "baseline.carry_note")
    button = controls.buttons(controls.button("carry", say("baseline.carry")))
    return (
        f'<p class="lu-note">{escape(title)}</p><div class="lu-sample">{escape(prompt.system)}</div>'
        f'{button}<p class="lu-note">{escape(note)}</p>'
    )


def answers_html(context: Context, kept: Kept) -> str:
    """Some answered rows: the question, the wanted answer, and what every prompt brought."""
    try:
        rows = [each for each in baseline.read_answers(kept.folder) if each.answers]
    except RefusedInput:
        return ""
    if not rows:
        return ""
    say = context.say
    listed = "".join(_answered(context, kept.report, each) for each in rows[:SHOWN_ANSWERS])
    more = f'<p class="lu-note">{escape(say("baseline.more_answers", count=SHOWN_ANSWERS, total=len(rows)))}</p>'
    inner = (more if len(rows) > SHOWN_ANSWERS else "") + listed
    return controls.fold(say("baseline.examples"), inner, key="baseline-answers")


def _answered(context: Context, report: BaselineReport, asked: Asked) -> str:
    say = context.say
    shown = [(say("baseline.asked"), asked.question), (say("baseline.answer"), asked.wanted)]
    heads = "".join(_pair(escape(name), text) for name, text in shown)
    said = "".join(
        _pair(_mark(asked, each.kind) + escape(prompt_name(context, each)), asked.answers[each.kind])
        for each in report.prompts
        if each.kind in asked.answers
    )
    title = escape(say("baseline.row", row=asked.row))
    return f'<article class="lu-card"><p class="lu-note">{title}</p><dl class="lu-facts">{heads}{said}</dl></article>'


def _mark(asked: Asked, kind: str) -> str:
    right: Any = asked.right.get(kind)
    if right is None:
        return ""
    return '<span class="lu-good">✓</span> ' if right else '<span class="lu-bad">✕</span> '


def _pair(name: str, text: str) -> str:
    return f"<div><dt>{name}</dt><dd>{escape(text) or '–'}</dd></div>"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{round(100 * share)} %"


def _number(text: str) -> str:
    return f'<span class="lu-num" style="white-space:nowrap">{escape(text)}</span>'
