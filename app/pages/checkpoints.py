"""Checkpoints: every saved step, a chat with any of them, and several side by side with the untouched model.

State is the address: `?compare=3` shows a comparison, `?chat=4` a conversation, `?run=12` picks that run's steps. The
answers are the registry's; this page asks the desk and redraws what has grown.
"""

from html import escape
from typing import Any

import gradio as gr

from app import markup
from app.context import Context
from app.i18n import bytes_text, page_path, when_text
from app.pages.shell import bind, redraw_on_change
from studio.db import checkpoints, comparisons, jobs, models
from studio.db.checkpoints import CheckpointView
from studio.db.comparisons import AnswerView, ComparisonView
from studio.desk import MAX_COLUMNS, SETTINGS
from studio.errors import RefusedInput, UnknownName
from studio.jobs.lifecycle import LIVE

GROWING_SECONDS = 0.5
"""How often answers are looked at while some are open."""
_SHOW_ADDRESS = "(id) => {{ if (id) history.replaceState(null, '', '?{name}=' + id); }}"


def build(context: Context) -> None:
    """Lay the page out and wire it."""
    say = context.say
    gr.HTML(markup.heading(say("checkpoints.title"), say("checkpoints.note")), padding=False)
    overview = gr.HTML(overview_html(context), elem_id="checkpoints-list", padding=False)
    redraw_on_change(context, overview_html, outputs=[overview])
    compared, talk = (gr.Number(visible=False, precision=0) for _ in range(2))
    with gr.Tabs(elem_id="checkpoints-tabs") as tabs:
        with gr.Tab(say("checkpoints.compare.tab"), id="compare"):
            pick, questions = _build_compare(context, compared)
        with gr.Tab(say("checkpoints.chat.tab"), id="chat"):
            partner = _build_chat(context, talk)
    page = gr.context.Context.root_block
    page.load(bind(opened, context), None, [pick, partner, questions, compared, talk, tabs], show_progress="hidden")


def opened(context: Context, request: gr.Request) -> tuple[Any, ...]:
    """Fill the page from its address."""
    query = dict(request.query_params)
    run, compare, chat = (_number(query.get(name)) for name in ("run", "compare", "chat"))
    choices = choices_of(context)
    picked = _picked_for(context, run, compare)
    partner = picked[-1] if picked else (choices[0][1] if choices else None)
    return (
        gr.update(choices=choices, value=[value for value in picked if value in {each[1] for each in choices}]),
        gr.update(choices=choices, value=partner),
        "\n".join(_view(context, compare).prompts) if compare else gr.skip(),
        compare,
        chat,
        gr.Tabs(selected="chat" if chat else "compare"),
    )


# -- comparing ---------------------------------------------------------------------------------------------------------


def _build_compare(context: Context, compared: gr.Number) -> tuple[gr.CheckboxGroup, gr.Textbox]:
    say = context.say
    pick = gr.CheckboxGroup(label=say("checkpoints.compare.pick", most=MAX_COLUMNS), elem_id="checkpoints-pick")
    questions = gr.Textbox(
        label=say("checkpoints.compare.questions"),
        info=say("checkpoints.compare.questions_help"),
        lines=4,
        elem_id="checkpoints-questions",
    )
    settings = _build_settings(context)
    start = gr.Button(say("checkpoints.compare.start"), variant="primary", elem_id="checkpoints-compare")
    grid = gr.HTML(elem_id="checkpoints-grid", padding=False)
    _show_growing(context, compared, grid, draw=grid_html)
    asked = start.click(bind(start_comparison, context), [pick, questions, *settings], compared, show_progress="hidden")
    asked.success(None, compared, None, js=_SHOW_ADDRESS.format(name="compare"))
    saved = gr.HTML(saved_html(context), elem_id="checkpoints-saved", padding=False)
    redraw_on_change(context, saved_html, outputs=[saved])
    return pick, questions


def _build_settings(context: Context) -> list[gr.components.Component]:
    """How answers are made, in the order of `settings_of`'s arguments."""
    say = context.say
    with gr.Accordion(say("checkpoints.settings.title"), open=False, elem_id="checkpoints-settings"):
        with gr.Row():
            length = gr.Slider(
                1,
                1024,
                SETTINGS["max_new_tokens"],
                step=1,
                label=say("checkpoints.settings.max_new_tokens"),
                elem_id="checkpoints-max-new-tokens",
            )
            temperature = gr.Slider(
                0,
                2,
                SETTINGS["temperature"],
                step=0.05,
                label=say("checkpoints.settings.temperature"),
                info=say("checkpoints.settings.temperature_help"),
                elem_id="checkpoints-temperature",
            )
            seed = gr.Number(
                SETTINGS["seed"],
                precision=0,
                label=say("checkpoints.settings.seed"),
                info=say("checkpoints.settings.seed_help"),
                elem_id="checkpoints-seed",
            )
        system = gr.Textbox(label=say("checkpoints.settings.system"), elem_id="checkpoints-system")
    return [length, temperature, seed, system]


def start_comparison(
    context: Context, picked: list[str], questions: str, length: float, temperature: float, *rest: Any
) -> int:
    """Ask every picked model every question; returns the comparison's number."""
    if not picked:
        raise RefusedInput("comparison.columns", most=MAX_COLUMNS)
    columns = [_column(value) for value in picked]
    # The untouched model first, then by run and step: the eye reads from before to after.
    columns.sort(key=lambda column: (column.get("checkpoint") is not None, column.get("checkpoint") or 0))
    return context.desk.compare(columns, (questions or "").splitlines(), settings_of(length, temperature, *rest))


def settings_of(length: float, temperature: float, seed: float | None, system: str) -> dict[str, Any]:
    chosen_seed = SETTINGS["seed"] if seed is None else int(seed)
    return {"max_new_tokens": int(length), "temperature": temperature, "seed": chosen_seed, "system": system or ""}


def grid_html(context: Context, view: ComparisonView) -> str:
    """Questions down, models across."""
    say = context.say
    by_place = {(answer.prompt, answer.column): answer for answer in view.answers}
    rows = [
        [
            f"<strong>{escape(prompt)}</strong>",
            *(_answer_html(context, by_place[row, column]) for column in range(len(view.columns))),
        ]
        for row, prompt in enumerate(view.prompts)
    ]
    headings = [say("checkpoints.compare.question"), *(_column_title(context, column) for column in view.columns)]
    state = _waiting_html(context) if view.is_open else markup.notice(say("checkpoints.compare.done"), "good")
    shown = ", ".join(f"{name} {value}" for name, value in view.settings.items() if value not in ("", None))
    caption = say("checkpoints.compare.caption", number=view.id, settings=shown)
    return f'{state}<div class="lu-grid">{markup.table(headings, rows, caption=caption)}</div>'


def saved_html(context: Context) -> str:
    """Earlier comparisons, each a link."""
    with context.registry.session() as session:
        found = comparisons.list_comparisons(session, limit=10)
    if not found:
        return ""
    rows = [
        [
            markup.link(page_path(context.language, "checkpoints", compare=view.id), f"#{view.id}"),
            escape(" · ".join(_column_title(context, column) for column in view.columns)),
            escape(view.prompts[0] if view.prompts else ""),
            escape(when_text(view.created_at, context.language)),
        ]
        for view in found
    ]
    names = ("number", "models", "question", "when")
    return markup.table(
        [context.say(f"checkpoints.saved.{name}") for name in names],
        rows,
        caption=context.say("checkpoints.saved.title"),
    )


# -- chat --------------------------------------------------------------------------------------------------------------


def _build_chat(context: Context, talk: gr.Number) -> gr.Dropdown:
    say = context.say
    with gr.Row(equal_height=True):
        partner = gr.Dropdown(label=say("checkpoints.chat.with"), elem_id="checkpoints-partner", scale=3)
        fresh = gr.Button(say("checkpoints.chat.new"), elem_id="checkpoints-new-chat", scale=1)
    turns = gr.HTML(elem_id="checkpoints-turns", padding=False)
    message = gr.Textbox(
        label=say("checkpoints.chat.message"),
        lines=2,
        submit_btn=say("checkpoints.chat.send"),
        elem_id="checkpoints-say",
    )
    settings = _build_settings(context)
    _show_growing(context, talk, turns, draw=turns_html)
    said = message.submit(
        bind(say_something, context), [message, partner, talk, *settings], [talk, message], show_progress="hidden"
    )
    said.success(None, talk, None, js=_SHOW_ADDRESS.format(name="chat"))
    fresh.click(bind(new_chat, context), None, [talk, turns], show_progress="hidden")
    partner.input(bind(new_chat, context), None, [talk, turns], show_progress="hidden")
    return partner


def say_something(
    context: Context, text: str, partner: str | None, talk: float | None, length: float, *rest: Any
) -> tuple[int, str]:
    """Send a message; returns the chat's number and an empty box."""
    if talk:
        return context.desk.chat(text or "", comparison=int(talk)), ""
    if not partner:
        raise RefusedInput("comparison.columns", most=MAX_COLUMNS)
    return context.desk.chat(text or "", column=_column(partner), settings=settings_of(length, *rest)), ""


def new_chat(context: Context) -> tuple[None, str]:
    return None, ""


def turns_html(context: Context, view: ComparisonView) -> str:
    """A conversation, oldest turn first."""
    title = f'<p class="lu-note">{escape(_column_title(context, view.columns[0]))}</p>'
    turns = "".join(
        f'<div class="lu-turn lu-user">{escape(answer.messages[-1]["content"])}</div>'
        f'<div class="lu-turn">{_answer_html(context, answer)}</div>'
        for answer in view.answers
    )
    return title + turns + (_waiting_html(context) if view.is_open else "")


# -- what both share ---------------------------------------------------------------------------------------------------


def _show_growing(context: Context, number: gr.Number, shown: gr.HTML, *, draw: Any) -> None:
    """Redraw a comparison while it grows: quickly while answers are open, not at all afterwards."""
    timer = gr.Timer(GROWING_SECONDS, active=False)

    def look(context: Context, current: float | None) -> tuple[Any, Any]:
        if not current:
            return gr.skip(), gr.Timer(active=False)
        view = _view(context, int(current))
        return draw(context, view), gr.Timer(active=view.is_open)

    for event in (timer.tick, number.change):
        event(bind(look, context), number, [shown, timer], show_progress="hidden")


def overview_html(context: Context) -> str:
    """Every saved step of every run."""
    say = context.say
    with context.registry.session() as session:
        found = checkpoints.list_checkpoints(session)
    if not found:
        action = markup.link(page_path(context.language, "train"), say("checkpoints.to_train"), classes="lu-button")
        return markup.empty_page(say("checkpoints.empty"), action)
    names = ("run", "step", "epoch", "loss", "eval_loss", "size", "when")
    table = markup.table(
        [say(f"checkpoints.columns.{name}") for name in names], [_row(context, each) for each in found]
    )
    return f"<details open><summary>{escape(say('checkpoints.count', count=len(found)))}</summary>{table}</details>"


def choices_of(context: Context) -> list[tuple[str, str]]:
    """What can be asked: untouched models first, then checkpoints, newest run first."""
    with context.registry.session() as session:
        bases = [
            (context.say("checkpoints.untouched", model=each.name), f"model:{each.name}")
            for each in models.list_models(session)
        ]
        saved = [
            (_checkpoint_title(context, each), f"checkpoint:{each.id}")
            for each in checkpoints.list_checkpoints(session)
        ]
    return bases + saved


def _picked_for(context: Context, run: int | None, compare: int | None) -> list[str]:
    """What is ticked when the page opens: the columns of a comparison, or a run's base with its first and last step."""
    if compare:
        return [_value(column) for column in _view(context, compare).columns]
    with context.registry.session() as session:
        if run is None:
            newest = checkpoints.list_checkpoints(session, limit=1)
            run = newest[0].job_id if newest else None
        saved = checkpoints.list_checkpoints(session, run) if run is not None else []
    if not saved:
        return []
    ends = [saved[0], saved[-1]] if len(saved) > 1 else saved
    return [f"model:{saved[0].model}", *(f"checkpoint:{each.id}" for each in ends)]


def _view(context: Context, number: int) -> ComparisonView:
    with context.registry.session() as session:
        return comparisons.comparison(session, number)


def _row(context: Context, each: CheckpointView) -> list[str]:
    return [
        markup.link(page_path(context.language, "runs", run=each.job_id), f"{each.job_id} · {each.run}"),
        str(each.step),
        f"{each.epoch:.2f}",
        _loss(each, "loss"),
        _loss(each, "eval_loss"),
        bytes_text(each.size_bytes),
        escape(when_text(each.created_at, context.language)),
    ]


def _loss(each: CheckpointView, name: str) -> str:
    value = each.metrics.get(name)
    return "–" if value is None else f"{value:.4f}"


def _checkpoint_title(context: Context, each: CheckpointView) -> str:
    loss = _loss(each, "eval_loss" if "eval_loss" in each.metrics else "loss")
    return context.say("checkpoints.choice", run=each.job_id, title=each.run, step=each.step, loss=loss)


def _column_title(context: Context, column: dict[str, Any]) -> str:
    if column.get("checkpoint") is None:
        return context.say("checkpoints.untouched", model=column["model"])
    return column["title"]


def _answer_html(context: Context, answer: AnswerView) -> str:
    if answer.error:
        return f'<span class="lu-bad">{escape(context.say(f"errors.{answer.error}"))}</span>'
    growing = " lu-growing" if answer.state == "answering" else ""
    text = escape(answer.text) if answer.text or answer.state == "done" else escape(context.say("checkpoints.waiting"))
    return f'<div class="lu-answer{growing}">{text}</div>'


def _waiting_html(context: Context) -> str:
    """What the answers wait for, in one sentence."""
    with context.registry.session() as session:
        holders = [jobs.job(session, holder) for holder in jobs.lease_holders(session).values()]
        serving = jobs.list_jobs(session, kinds=("serve",), states=LIVE | {"queued"}, limit=1)
    training = [job for job in holders if job.kind == "train"]
    if serving and serving[0].state == "queued" and training:
        return markup.notice(
            context.say("checkpoints.waits_for_run", run=training[0].id, title=training[0].title), "warn"
        )
    if not serving or serving[0].state != "running":
        return markup.notice(context.say("checkpoints.model_loading"), "info")
    return markup.notice(context.say("checkpoints.answering"), "info")


def _column(value: str) -> dict[str, Any]:
    """`model:starter` or `checkpoint:3` as the desk wants it."""
    kind, _, name = value.partition(":")
    return {"checkpoint": int(name)} if kind == "checkpoint" else {"model": name}


def _value(column: dict[str, Any]) -> str:
    return f"checkpoint:{column['checkpoint']}" if column.get("checkpoint") is not None else f"model:{column['model']}"


def _number(text: str | None) -> int | None:
    """A number from the address.

    Raises:
        UnknownName: it is none.
    """
    if not text:
        return None
    if not text.isdecimal():
        raise UnknownName("comparison.unknown", comparison=text)
    return int(text)
