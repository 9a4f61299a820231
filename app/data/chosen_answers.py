"""Rejection sampling on the tab "Add rows": which run answers, how many answers, and what is said of those it kept.

The candidates themselves are shown, ticked and taken as all others are (`app.data.candidates`).
"""

from html import escape
from typing import Any

from app.context import Context
from app.data import controls
from app.data.panel import Pressed, State, Told
from app.i18n import number_text, page_path
from app.markup import link, notice
from app.pages.checkpoints import column_choices, column_of
from studio.db import checkpoints
from studio.db.datasets import DatasetSummary
from studio.desk_rewards import FORMATS
from studio.errors import RefusedInput
from studio.params.methods import METHODS
from studio.rewards.keeping import Options
from studio.workshop.adding.written import WrittenReport

MUCH_MORE_ALIKE = 0.6
"""Kept answers with less than this part of the variety that the data's own have call for a warning."""
FEW_QUESTIONS = 0.3
"""So does keeping answers of a smaller share of the questions than this."""
NUMBERS = {"rows": 1000, "samples": 64, "best": 64}


def form_html(context: Context, chosen: DatasetSummary, state: State) -> str:
    """The form, folded; or what is missing for it. State: choose, the form as it was sent."""
    say = context.say
    note = f'<p class="lu-note">{escape(say("data.chosen.help"))}</p>'
    return controls.fold(
        say("data.chosen.title"), note + _fields(context, chosen, state), key="chosen", is_open="choose" in state
    )


def press(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    """The button "Write and choose answers"."""
    sent = {name: told.text(name).strip() for name in ("who", *NUMBERS, "threshold")}
    options: dict[str, Any] = {name: _number(context, name, sent[name], int) for name in NUMBERS if sent[name]}
    if sent["threshold"]:
        options["threshold"] = _number(context, "threshold", sent["threshold"], float)
    job = context.desk.choose_answers(chosen.name, column_of(sent["who"]), options=options)
    kept = {name: value for name, value in state.items() if name not in ("report", "from", "ticked", "view")}
    return Pressed({**kept, "choose": sent}, job=job)


def told_html(context: Context, report: WrittenReport) -> str:
    """What came of it, what to beware of, and what comes next."""
    say, found = context.say, report.rollout
    assert found is not None
    told = say(
        "data.chosen.told",
        model=report.model,
        count=report.candidates,
        asked=report.asked,
        accepted=report.accepted,
        questions=found.questions_kept,
        mean=number_text(found.mean),
        threshold=number_text(found.threshold),
    )
    lines = [f"<p>{escape(told)}</p>"]
    if found.variety is not None:
        shares = {"variety": f"{found.variety:.0%}"}
        if found.variety_before is not None:
            shares["before"] = f"{found.variety_before:.0%}"
        key = "variety" if "before" in shares else "variety_alone"
        lines.append(f'<p class="lu-note">{escape(say(f"data.chosen.{key}", **shares))}</p>')
    lines += [notice(each, "warn") for each in _warnings(context, report)]
    if report.accepted:
        lines.append(notice(say("data.chosen.next", base=found.base)))
    return "".join(lines)


def taken_html(context: Context, chosen: DatasetSummary) -> str:
    """Of a data set of chosen answers: the way to train the untouched model on it."""
    steps = chosen.manifest.get("steps", [])
    base = steps[-1].get("parameters", {}).get("base") if steps else None
    if not base:
        return ""
    address = page_path(context.language, "train", dataset=chosen.name, model=base, method="sft")
    label = context.say("data.chosen.train", base=base, name=chosen.name)
    return f"<p>{link(address, label, classes='lu-button')}</p>"


def _warnings(context: Context, report: WrittenReport) -> list[str]:
    found, say = report.rollout, context.say
    assert found is not None
    warnings = []
    if found.rounds:
        warnings.append(say("data.chosen.again", rounds=found.rounds))
    if found.variety is not None and found.variety < MUCH_MORE_ALIKE * (found.variety_before or 0):
        warnings.append(say("data.chosen.alike"))
    if found.questions_kept < FEW_QUESTIONS * report.asked:
        warnings.append(say("data.chosen.few", questions=found.questions_kept, asked=report.asked))
    return warnings


def _fields(context: Context, chosen: DatasetSummary, state: State) -> str:
    say = context.say
    if chosen.format not in FORMATS:
        kind = say(f"data.format.{chosen.format}")
        return notice(say("errors.reward.format", name=chosen.name, format=kind))
    with context.registry.session() as session:
        saved = [each for each in checkpoints.list_checkpoints(session) if _learned_from_rewards(each.method)]
    if not saved:
        to_train = link(
            page_path(context.language, "train", dataset=chosen.name, method="grpo"), _say(context, "to_train")
        )
        return notice(_say(context, "no_run")) + f"<p>{to_train}</p>"
    choices = column_choices(context, [], list(reversed(saved)))
    sent, usual = state.get("choose") or {}, Options()
    numbers = "".join(
        controls.number(
            name, _say(context, name), int(sent.get(name) or getattr(usual, name)), least=1, most=most, step="1"
        )
        for name, most in NUMBERS.items()
    )
    return controls.form(
        '<div class="lu-form lu-options">'
        + controls.select("who", _say(context, "who"), choices, sent.get("who") or choices[0][1])
        + numbers
        + controls.text(
            "threshold", _say(context, "threshold"), sent.get("threshold", ""), note=_say(context, "threshold_note")
        )
        + "</div>",
        controls.buttons(controls.button("choose_answers", _say(context, "button"), kind="primary")),
    )


def _learned_from_rewards(method: str | None) -> bool:
    return method in METHODS and METHODS[method].answers_itself


def _say(context: Context, key: str) -> str:
    return context.say(f"data.chosen.{key}")


def _number(context: Context, name: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise RefusedInput("data.page.no_number", name=_say(context, name), text=text[:40]) from None
