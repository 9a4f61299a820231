"""Checkpoints: every saved step; asking several models the same, at `?compare=ID`; talking to one, at `?talk=ID`.

`?pick=3,5` comes with those checkpoints ticked, `?chat=3` with that one chosen to talk to. Answers grow in the registry
and are drawn from there, so closing the page loses none.
"""

from html import escape
from typing import Any

import gradio as gr

from app.checkpoints import taking_out
from app.context import Context
from app.i18n import bytes_text, number_text, page_path, when_text
from app.markup import empty_page, heading, link, notice, table
from app.pages.shell import POLL_SECONDS, bind, number_in, query_of, redraw_on_change
from studio.db import checkpoints, comparisons, jobs, models
from studio.db.checkpoints import CheckpointView
from studio.db.comparisons import AnswerView, ComparisonView
from studio.desk_asking import MAX_COLUMNS, SETTINGS
from studio.errors import RefusedInput, UnknownName

FAST_SECONDS = 0.5
"""Between two looks while an answer grows."""
_VOTE_SCRIPT = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-vote]');
  if (button) trigger('select', { answer: button.dataset.answer, vote: button.dataset.vote });
});
"""


def build(context: Context) -> None:
    say = context.say
    title_html = gr.HTML(heading(say("checkpoints.title"), say("checkpoints.note")), elem_id="checkpoints-title")
    with gr.Column(visible=False, elem_id="checkpoints-list-view") as list_column:
        table_html = gr.HTML(elem_id="checkpoints-table")
        with gr.Group():
            pick_group = gr.CheckboxGroup([], label=say("checkpoints.pick"), info=say("checkpoints.pick_help"))
            pick_group.elem_id = "checkpoints-pick"
            prompts_box = gr.Textbox(
                label=say("checkpoints.prompts"),
                info=say("checkpoints.prompts_help"),
                lines=4,
                elem_id="checkpoints-prompts",
            )
            compare_button = gr.Button(say("checkpoints.compare"), variant="primary", elem_id="checkpoints-compare")
        with gr.Accordion(say("checkpoints.chat"), open=False, elem_id="checkpoints-chat-fold"):
            chat_choice = gr.Dropdown([], label=say("checkpoints.chat_with"), elem_id="checkpoints-chat-model")
            first_box = gr.Textbox(label=say("checkpoints.message"), lines=2, elem_id="checkpoints-first-message")
            chat_button = gr.Button(say("checkpoints.start_chat"), elem_id="checkpoints-chat")
        with gr.Accordion(say("checkpoints.settings"), open=False, elem_id="checkpoints-settings"):
            settings = _settings_fields(context)
        taking_out.build(context)
        saved_html = gr.HTML(elem_id="checkpoints-saved")
    with gr.Column(visible=False, elem_id="checkpoints-answers-view") as answers_column:
        answers_html = gr.HTML(elem_id="checkpoints-answers", js_on_load=_VOTE_SCRIPT)
        with gr.Row(visible=False) as talk_row:
            message_box = gr.Textbox(label=say("checkpoints.message"), lines=2, scale=4, elem_id="checkpoints-message")
            say_button = gr.Button(say("checkpoints.say"), variant="primary", elem_id="checkpoints-say")
    target = gr.Textbox(visible=False)
    ticked = gr.Checkbox(visible=False)
    timer = gr.Timer(POLL_SECONDS)
    outputs = [list_column, table_html, pick_group, chat_choice, saved_html, answers_column, answers_html, talk_row]
    outputs += [title_html, ticked, timer]
    redraw_on_change(context, draw, inputs=[ticked], outputs=outputs, timer=timer)
    go = "(address) => { if (address) location.href = address; }"
    compare_button.click(bind(compare, context), [pick_group, prompts_box, *settings], [target]).success(
        None, [target], js=go
    )
    chat_button.click(bind(start_chat, context), [chat_choice, first_box, *settings], [target]).success(
        None, [target], js=go
    )
    gr.on(
        [say_button.click, message_box.submit], bind(talk, context), [message_box], [message_box, answers_html, timer]
    )
    answers_html.select(bind(vote, context), None, [answers_html], show_progress="hidden")


def _settings_fields(context: Context) -> list[gr.components.Component]:
    """In the order of `studio.desk_asking.SETTINGS`: seed, temperature, top_p, max_new_tokens, system."""
    say = context.say
    with gr.Row():
        seed = gr.Number(SETTINGS["seed"], label=say("checkpoints.setting.seed"), precision=0, minimum=0)
        temperature = gr.Slider(0, 2, SETTINGS["temperature"], step=0.05, label=say("checkpoints.setting.temperature"))
        top_p = gr.Slider(0.05, 1, SETTINGS["top_p"], step=0.05, label=say("checkpoints.setting.top_p"))
        longest = gr.Number(
            SETTINGS["max_new_tokens"], label=say("checkpoints.setting.max_new_tokens"), precision=0, minimum=1
        )
    system = gr.Textbox(SETTINGS["system"], label=say("checkpoints.setting.system"), lines=2)
    fields = [seed, temperature, top_p, longest, system]
    for name, component in zip(SETTINGS, fields, strict=True):
        component.elem_id = f"checkpoints-{name.replace('_', '-')}"
    return fields


# -- drawing ---------------------------------------------------------------------------------------------------------


def draw(context: Context, query: dict[str, str], is_ticked: bool) -> list[Any]:
    """The whole page for what the address names."""
    shown = number_in(query, "compare") or number_in(query, "talk")
    if shown is not None:
        return [gr.update(visible=False), *[gr.skip()] * 4, gr.update(visible=True), *_draw_answers(context, shown)]
    with context.registry.session() as session:
        saved = checkpoints.list_checkpoints(session)
        bases = [model.name for model in models.list_models(session)]
        made = comparisons.list_comparisons(session, limit=20) + comparisons.list_comparisons(
            session, kind="chat", limit=20
        )
    choices = column_choices(context, bases, saved)
    if is_ticked:  # what a person has ticked and typed since is theirs; only what there is to choose may have changed
        lists = [table_html(context, saved), gr.update(choices=choices), gr.update(choices=choices)]
        return [gr.skip(), *lists, saved_html(context, made), *[gr.skip()] * 4, True, gr.skip()]
    return [
        gr.update(visible=True),
        table_html(context, saved),
        gr.update(choices=choices, value=_picked(query, bases, choices)),
        gr.update(choices=choices, value=_chat_with(query, choices)),
        saved_html(context, made),
        gr.update(visible=False),
        "",
        gr.update(visible=False),
        gr.skip(),
        True,
        gr.update(value=POLL_SECONDS),
    ]


def _picked(query: dict[str, str], bases: list[str], choices: list[tuple[str, str]]) -> list[str]:
    """What the address ticks, and the first untouched model beside it."""
    known = {value for _, value in choices}
    picked = [f"checkpoint:{number}" for number in query.get("pick", "").split(",")]
    return ([f"model:{bases[0]}"] if bases and known & set(picked) else []) + [each for each in picked if each in known]


def _chat_with(query: dict[str, str], choices: list[tuple[str, str]]) -> str | None:
    wanted = f"checkpoint:{query.get('chat', '')}"
    values = [value for _, value in choices]
    return wanted if wanted in values else values[-1] if values else None


def _draw_answers(context: Context, number: int) -> list[Any]:
    try:
        with context.registry.session() as session:
            found = comparisons.comparison(session, number)
    except UnknownName as error:
        gone = back_link(context) + notice(error.message(context.language), "bad")
        return [gone, gr.update(visible=False), gr.skip(), True, gr.update(value=POLL_SECONDS)]
    is_chat = found.kind == "chat"
    title = heading(context.say(f"checkpoints.{found.kind}_title", number=found.id))
    pause = FAST_SECONDS if found.is_open else POLL_SECONDS
    return [answers_html(context, found), gr.update(visible=is_chat), title, True, gr.update(value=pause)]


def column_choices(context: Context, bases: list[str], saved: list[CheckpointView]) -> list[tuple[str, str]]:
    """What can be asked: untouched models first, then each saved step. Label and value."""
    choices = [(context.say("checkpoints.base", name=name), f"model:{name}") for name in bases]
    for each in saved:
        label = context.say("checkpoints.choice", run=each.job_id, title=each.run, step=f"{each.step:,}")
        if "eval_loss" in each.metrics:
            label += context.say("checkpoints.choice_score", value=number_text(each.metrics["eval_loss"]))
        choices.append((label, f"checkpoint:{each.id}"))
    return choices


def table_html(context: Context, saved: list[CheckpointView]) -> str:
    say, language = context.say, context.language
    if not saved:
        start = link(page_path(language, "train"), say("runs.start"), classes="lu-button")
        return empty_page(say("checkpoints.empty"), start)
    names = ("run", "step", "epoch", "loss", "eval_loss", "size", "saved")
    rows = [
        [
            link(page_path(language, "runs", run=each.job_id), f"{each.job_id} · {each.run}"),
            f"{each.step:,}",
            number_text(each.epoch),
            number_text(each.metrics.get("loss")),
            number_text(each.metrics.get("eval_loss")),
            bytes_text(each.size_bytes),
            escape(when_text(each.created_at, language)),
            link(page_path(language, "runs", run=each.job_id, on=each.id), say("runs.further.from_here"))
            if each.method
            else "",
        ]
        for each in saved
    ]
    return table([*[say(f"checkpoints.column.{name}") for name in names], ""], rows)


def saved_html(context: Context, made: list[ComparisonView]) -> str:
    """Links to earlier comparisons and chats."""
    if not made:
        return ""
    say, language = context.say, context.language
    rows = []
    for each in sorted(made, key=lambda one: -one.id):
        where = {"talk" if each.kind == "chat" else "compare": each.id}
        first = each.prompts[0] if each.prompts else "–"
        rows.append(
            [
                link(
                    page_path(language, "checkpoints", **where), say(f"checkpoints.{each.kind}_title", number=each.id)
                ),
                escape(" · ".join(column["title"] for column in each.columns)),
                escape(first if len(first) < 80 else first[:80] + "…"),
                escape(when_text(each.created_at, language)),
            ]
        )
    names = ("comparison", "models", "first_prompt", "saved")
    return table([say(f"checkpoints.column.{name}") for name in names], rows, caption=say("checkpoints.saved"))


def back_link(context: Context) -> str:
    back = link(page_path(context.language, "checkpoints"), context.say("checkpoints.back"))
    return f'<p class="lu-note">{back}</p>'


def answers_html(context: Context, found: ComparisonView) -> str:
    """The grid of a comparison, or the turns of a chat, as far as they have grown."""
    waits = notice(waiting_sentence(context), "info") if found.is_open else ""
    shown = " · ".join(
        f"{context.say(f'checkpoints.setting.{name}')}: {found.settings[name]}"
        for name in SETTINGS
        if found.settings.get(name) not in ("", None)
    )
    body = _turns(context, found) if found.kind == "chat" else _grid(context, found)
    return f'{back_link(context)}<p class="lu-note">{escape(shown)}</p>{waits}{body}'


def _grid(context: Context, found: ComparisonView) -> str:
    headings = [context.say("checkpoints.prompt"), *[column["title"] for column in found.columns]]
    cells = {(answer.prompt, answer.column): answer for answer in found.answers}
    rows = []
    for row, prompt in enumerate(found.prompts):
        answers = [_cell(context, cells.get((row, place))) for place in range(len(found.columns))]
        rows.append([f'<div class="lu-answer">{escape(prompt)}</div>', *answers])
    return f'<div class="lu-grid">{table(headings, rows)}</div>'


def _turns(context: Context, found: ComparisonView) -> str:
    title = f'<p class="lu-note">{escape(found.columns[0]["title"])}</p>'
    turns = "".join(
        f'<div class="lu-turn lu-user">{escape(answer.messages[-1]["content"])}</div>'
        f'<div class="lu-turn">{_cell(context, answer)}</div>'
        for answer in found.answers
    )
    return title + turns


def _cell(context: Context, answer: AnswerView | None) -> str:
    if answer is None:
        return "–"
    if answer.state == "waiting":
        return f'<span class="lu-soft">{escape(context.say("checkpoints.waiting"))}</span>'
    growing = " lu-growing" if answer.state == "answering" else ""
    text = f'<div class="lu-answer{growing}">{escape(answer.text)}</div>'
    if answer.state == "failed":
        return text + notice(context.say(f"errors.{answer.error}"), "bad")
    if answer.state == "answering":
        return text
    speed = context.say("checkpoints.speed", tokens=answer.tokens, seconds=f"{answer.seconds:.1f}")
    return f'{text}<p class="lu-note">{escape(speed)} {_votes(context, answer)}</p>'


def _votes(context: Context, answer: AnswerView) -> str:
    return " ".join(
        f'<button type="button" data-answer="{answer.id}" data-vote="{"" if answer.vote == vote else vote}"'
        f' aria-pressed="{str(answer.vote == vote).lower()}" title="{escape(context.say(f"checkpoints.vote.{vote}"))}"'
        f' class="lu-chip lu-{"good" if answer.vote == vote == "up" else "bad" if answer.vote == vote else "soft"}">'
        f"{mark}</button>"
        for vote, mark in (("up", "▲"), ("down", "▼"))
    )


def waiting_sentence(context: Context) -> str:
    """What the answers wait for: the device, the start of the serve job, or only their turn."""
    with context.registry.session() as session:
        serving = jobs.list_jobs(session, kinds=("serve",), limit=1)
        holders = [jobs.job(session, holder) for holder in jobs.lease_holders(session).values()]
    state = serving[0].state if serving else None
    blocking = [job for job in holders if job.kind != "serve"]
    if blocking and state not in ("starting", "running"):
        return context.say("checkpoints.waits_for_run", run=blocking[0].id, title=blocking[0].title)
    if state == "running" and serving[0].phase == "serving":
        return context.say("checkpoints.answering")
    return context.say("checkpoints.loading")


# -- doing -----------------------------------------------------------------------------------------------------------


def compare(context: Context, picked: list[str], prompts: str, *settings: Any) -> str:
    """Start a comparison; returns its address."""
    if not picked:
        raise RefusedInput("comparison.columns", most=MAX_COLUMNS)
    made = context.desk.compare([column_of(value) for value in picked], (prompts or "").splitlines(), _chosen(settings))
    return page_path(context.language, "checkpoints", compare=made)


def start_chat(context: Context, chat_with: str | None, text: str, *settings: Any) -> str:
    """Say the first thing to one model; returns the conversation's address."""
    if not chat_with:
        raise RefusedInput("comparison.columns", most=MAX_COLUMNS)
    made = context.desk.chat(text or "", column=column_of(chat_with), settings=_chosen(settings))
    return page_path(context.language, "checkpoints", talk=made)


def talk(context: Context, request: gr.Request, text: str) -> list[Any]:
    """Say the next thing in the conversation of the address."""
    number = number_in(query_of(request), "talk")
    context.desk.chat(text or "", comparison=number)
    return ["", _shown(context, number), gr.update(value=FAST_SECONDS)]


def vote(context: Context, request: gr.Request, event: gr.EventData) -> str:
    """Keep or take back a vote that was clicked in the grid."""
    context.desk.vote(int(event._data["answer"]), event._data["vote"] or None)
    query = query_of(request)
    return _shown(context, number_in(query, "compare") or number_in(query, "talk"))


def column_of(value: str) -> dict[str, Any]:
    """`model:starter` or `checkpoint:4` as the desk wants it."""
    kind, _, name = value.partition(":")
    return {"checkpoint": int(name)} if kind == "checkpoint" else {"model": name}


def _chosen(settings: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(SETTINGS, settings, strict=True))


def _shown(context: Context, number: int | None) -> str:
    with context.registry.session() as session:
        return answers_html(context, comparisons.comparison(session, number or 0))
