"""The Mix tab: rows of other data sets among this one's, each with its share of the whole."""

from html import escape
from typing import Any

from app.context import Context
from app.data import controls
from app.data.panel import Pressed, State, Tab, Told
from app.markup import notice
from studio.db import datasets
from studio.db.datasets import DatasetSummary
from studio.errors import RefusedInput

USUAL_SHARE = 5.0


def draw(context: Context, chosen: DatasetSummary, state: State) -> str:
    """State: shares (data set -> percent), convert, into, seed."""
    say = context.say
    others = _others(context, chosen.name)
    lead = f"<p>{escape(say('data.mix.lead'))}</p>"
    if not others:
        return lead + notice(say("data.mix.no_others"))
    shares = _shares(state)
    lines = "".join(_line(context, chosen, each, shares.get(each.name)) for each in others)
    needs_conversion = chosen.format == "messages" and any(
        each.format == "prompt_completion" for each in others if each.name in shares
    )
    convert = controls.checkbox(
        "convert",
        say("data.mix.convert"),
        bool(state.get("convert")),
        note=say("data.mix.convert_note"),
        change="shares",
    )
    into = controls.text(
        "into", say("data.mix.into"), state.get("into", ""), note=say("data.mix.into_note"), change="shares"
    )
    seed = controls.number(
        "seed",
        say("data.mix.seed"),
        state.get("seed", 42),
        step="1",
        least=0,
        note=say("data.mix.seed_note"),
        change="shares",
    )
    sentence, refusal = _result(context, chosen, others, shares)
    press = controls.button("mix", say("data.mix.do"), kind="primary", why_not=refusal)
    return lead + controls.form(
        f'<div class="lu-mix">{lines}</div>',
        convert if needs_conversion else "",
        f'<div class="lu-form lu-options">{into}{seed}</div>',
        f'<p class="lu-figure lu-num" role="status">{escape(sentence)}</p>',
        controls.buttons(press),
    )


def press(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    state = _entered(told) if told.fields else state
    if told.do != "mix":
        return Pressed(state)
    parts = [{"dataset": name, "share": percent / 100} for name, percent in _shares(state).items()]
    job = context.desk.mix_datasets(
        chosen.name, parts, seed=state["seed"], convert=state["convert"], into=state["into"] or None
    )
    return Pressed({}, job=job)


TAB = Tab("mix", draw, press)


def _entered(told: Told) -> State:
    shares = {name.removeprefix("share."): value for name, value in told.fields.items() if name.startswith("share.")}
    numbers = {name: _percent(value) for name, value in shares.items()}
    seed = told.text("seed")
    return {
        "shares": {name: percent for name, percent in numbers.items() if percent},
        "convert": bool(told.fields.get("convert")),
        "into": told.text("into"),
        "seed": int(seed) if seed.isascii() and seed.isdecimal() and len(seed) < 10 else 42,
    }


def _percent(value: Any) -> float:
    try:
        percent = float(value or 0)
    except (TypeError, ValueError) as error:
        raise RefusedInput("data.page.no_number", name="%", text=str(value)[:40]) from error
    return percent if 0 < percent < 100 else 0.0


def _shares(state: State) -> dict[str, float]:
    return dict(state.get("shares", {}))


def _others(context: Context, name: str) -> list[DatasetSummary]:
    with context.registry.session() as session:
        return [each for each in datasets.list_datasets(session) if each.name != name]


def _line(context: Context, chosen: DatasetSummary, each: DatasetSummary, percent: float | None) -> str:
    """One data set: its share, or why it does not fit."""
    say = context.say
    fits = each.format == chosen.format or (each.format, chosen.format) == ("prompt_completion", "messages")
    label = f"{each.name} · {say('data.rows_chip', count=each.rows)}"
    if not fits:
        why = say("data.mix.other_format", kind=say(f"data.format.{each.format}"))
        return f'<p class="lu-note">{escape(label)}: {escape(why)}</p>'
    return controls.number(
        f"share.{each.name}", label, percent, least=0, most=99, note=say("data.mix.share_note"), change="shares"
    )


def _result(
    context: Context, chosen: DatasetSummary, others: list[DatasetSummary], shares: dict[str, float]
) -> tuple[str, str]:
    """What comes of it in rows, and why it cannot be where it cannot."""
    say = context.say
    if not shares:
        return "", say("data.mix.choose")
    rest = 100 - sum(shares.values())
    if rest <= 0:
        return "", say("data.mix.too_much")
    rows = {each.name: each.rows for each in others}
    wanted = {name: max(1, round(chosen.rows * percent / rest)) for name, percent in shares.items() if name in rows}
    drawn = {name: min(count, rows[name]) for name, count in wanted.items()}
    parts = " + ".join(f"{count:,} {name}" for name, count in drawn.items())
    sentence = say("data.mix.result", own=chosen.rows, parts=parts, total=chosen.rows + sum(drawn.values()))
    short = [name for name, count in wanted.items() if count > rows[name]]
    if short:
        sentence += " " + say("data.mix.short", names=", ".join(short))
    return sentence, ""
