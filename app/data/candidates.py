"""Rows that models write: who writes and who judges, then every candidate with its votes, to be ticked and taken.

Off until it is unfolded and asked for, and labelled: the guides disagree about such rows. A candidate becomes a row
only when a person has ticked it.
"""

from html import escape
from pathlib import Path
from typing import Any

from app import dataset_view as view
from app.context import Context
from app.data import chosen_answers, controls
from app.data.panel import Pressed, State, Told
from app.i18n import number_text, page_path, when_text
from app.markup import chip, link, notice
from app.pages.checkpoints import column_choices, column_of
from studio.db import checkpoints, models
from studio.db.datasets import DatasetSummary
from studio.desk_adding import MOST_JUDGES
from studio.errors import RefusedInput
from studio.workshop.adding import written
from studio.workshop.adding.writing import FORMATS
from studio.workshop.adding.written import MOST_CANDIDATES, Candidate, WrittenReport
from studio.workshop.versions.manifest import read_manifest

PAGE_CANDIDATES, SAMPLE = 10, 10
ACCEPTED, REFUSED, SAMPLED = "accepted", "refused", "sample"
VIEWS = (ACCEPTED, SAMPLED, REFUSED)
LIST = "candidates"
_JUDGE, _TAKE = "judge:", "take:"
_VERDICTS = {written.YES: "good", written.NO: "bad"}


def written_html(context: Context, chosen: DatasetSummary, state: State) -> str:
    """The ways to candidates, and those of the newest or chosen report.

    State: ask, choose (the forms as they were sent), report (a folder's name), view, from, ticked.
    """
    say = context.say
    label = notice(say("data.written.label"), "warn")
    note = f'<p class="lu-note">{escape(say("data.written.help"))}</p>'
    inner = label + note + _ask_html(context, chosen, state)
    return (
        chosen_answers.taken_html(context, chosen)
        + chosen_answers.form_html(context, chosen, state)
        + controls.fold(say("data.written.title"), inner, key="written", is_open="ask" in state)
        + _report_html(context, chosen, state)
    )


def press(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    match told.do:
        case "choose_answers":
            return chosen_answers.press(context, chosen, state, told)
        case "write":
            return _written(context, chosen, state, told)
        case "accept":
            return _accepted(context, chosen, state, told)
        case "report":
            return Pressed({**state, "report": told.text("report"), "from": 0, "ticked": []})
        case "view":
            return Pressed({**state, "view": told.text("view"), "from": 0})
        case "tick":
            return Pressed({**state, "ticked": _ticked(state, told)})
        case "tick_all":
            folder = _folder(context, chosen, state)
            found = written.read_candidates(folder, count=MOST_CANDIDATES, accepted=True) if folder else []
            return Pressed({**state, "ticked": [each.number for each in found]})
        case "untick":
            return Pressed({**state, "ticked": []})
        case "back" | "forward":
            turn = PAGE_CANDIDATES * (-1 if told.do == "back" else 1)
            return Pressed({**state, "from": max(0, state.get("from", 0) + turn)})
    return Pressed(state)


# -- acts ----------------------------------------------------------------------------------------------------------


def _written(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    judges = [name.removeprefix(_JUDGE) for name, is_on in told.fields.items() if name.startswith(_JUDGE) and is_on]
    ask = {name: told.text(name) for name in ("kind", "model", "count", "max_new_tokens", "requirement")}
    job = context.desk.write_rows(
        chosen.name,
        column_of(ask["model"]),
        ask["kind"],
        judges=[column_of(each) for each in judges],
        options={
            "requirement": ask["requirement"],
            **{name: _whole(context, name, ask[name]) for name in ("count", "max_new_tokens")},
        },
    )
    kept = {name: value for name, value in state.items() if name not in ("report", "from", "ticked", "view")}
    return Pressed({**kept, "ask": {**ask, "judges": judges}}, job=job)


def _accepted(context: Context, chosen: DatasetSummary, state: State, told: Told) -> Pressed:
    folder, ticked = _folder(context, chosen, state), _ticked(state, told)
    if folder is None or not ticked:
        raise RefusedInput("data.page.nothing_ticked")
    job = context.desk.accept_rows(chosen.name, folder, ticked, into=told.text("into") or None)
    return Pressed({**state, "ticked": []}, job=job)


def _ticked(state: State, told: Told) -> list[int]:
    """What is ticked on this page of candidates and on the others."""
    here = {int(name.removeprefix(_TAKE)): is_on for name, is_on in told.fields.items() if name.startswith(_TAKE)}
    others = {number for number in state.get("ticked", []) if number not in here}
    return sorted(others | {number for number, is_on in here.items() if is_on})


def _whole(context: Context, name: str, text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return int(text)
    raise RefusedInput("data.page.no_number", name=context.say(f"data.written.{name}"), text=text[:40])


# -- asking --------------------------------------------------------------------------------------------------------


def _ask_html(context: Context, chosen: DatasetSummary, state: State) -> str:
    """Who writes what, and who judges; filled in, or why nobody can."""
    say = context.say
    format = read_manifest(Path(chosen.path)).format
    if format not in FORMATS:
        return notice(say("errors.data.written.format", name=chosen.name, format=say(f"data.format.{format}")))
    with context.registry.session() as session:
        bases, saved = [each.name for each in models.list_models(session)], checkpoints.list_checkpoints(session)
    choices = column_choices(context, bases, saved)
    if not choices:
        add = link(page_path(context.language, "models"), say("data.written.to_models"))
        return notice(say("data.written.no_model")) + f"<p>{add}</p>"
    ask: dict[str, Any] = state.get("ask") or {}
    judges = ask.get("judges", [f"model:{name}" for name in bases[:MOST_JUDGES]])
    kinds = [(say(f"data.written.kind.{kind}"), kind) for kind in written.KINDS]
    ticks = "".join(controls.checkbox(_JUDGE + value, words, value in judges) for words, value in choices)
    usual = written.Options()
    return controls.form(
        '<div class="lu-form lu-options">'
        + controls.select("kind", say("data.written.what"), kinds, ask.get("kind") or written.WRITE)
        + controls.select("model", say("data.written.model"), choices, ask.get("model") or choices[0][1])
        + controls.number(
            "count",
            say("data.written.count"),
            int(ask.get("count") or usual.count),
            least=1,
            most=MOST_CANDIDATES,
            step="1",
        )
        + controls.number(
            "max_new_tokens",
            say("data.written.max_new_tokens"),
            int(ask.get("max_new_tokens") or usual.max_new_tokens),
            least=16,
            most=2048,
            step="1",
            note=say("data.written.max_new_tokens_note"),
        )
        + "</div>",
        controls.labelled_group(say("data.written.judges"), ticks, say("data.written.judges_note")),
        controls.area(
            "requirement",
            say("data.written.requirement"),
            ask.get("requirement", ""),
            rows=2,
            draft=f"requirement-{chosen.name}",
        ),
        controls.buttons(controls.button("write", say("data.written.button"), kind="primary")),
    )


# -- what they wrote -----------------------------------------------------------------------------------------------


def _folder(context: Context, chosen: DatasetSummary, state: State) -> Path | None:
    """The report that was chosen, or the newest one."""
    known = written.reports_of(context.desk.workspace, chosen.name)
    return next((each for each in known if each.name == state.get("report")), known[0] if known else None)


def _report_html(context: Context, chosen: DatasetSummary, state: State) -> str:
    folder = _folder(context, chosen, state)
    if folder is None:
        return ""
    say, report = context.say, written.read_report(folder)
    title = f'<h2 class="lu-part">{escape(say("data.written.candidates"))}</h2>'
    told = chosen_answers.told_html(context, report) if report.rollout else _told_html(context, report)
    head = title + _reports_html(context, chosen, folder) + told
    return head + (_candidates_html(context, folder, report, state) if report.candidates else "")


def _told_html(context: Context, report: WrittenReport) -> str:
    counts = {"count": report.candidates, "asked": report.asked, "accepted": report.accepted}
    told = context.say("data.written.told", model=report.model, **counts)
    itself = notice(context.say("data.written.judged_itself"), "warn") if report.judged_itself else ""
    return f"<p>{escape(told)}</p>{itself}"


def _reports_html(context: Context, chosen: DatasetSummary, folder: Path) -> str:
    """Which of the reports is shown, where there are several."""
    known = written.reports_of(context.desk.workspace, chosen.name)
    if len(known) < 2:
        return ""
    choices = []
    for each in known:
        report = written.read_report(each)
        kind = context.say(f"data.written.short.{report.kind}")
        choices.append((f"{when_text(report.created_at, context.language)} · {report.model} · {kind}", each.name))
    label = context.say("data.written.report")
    return controls.form(controls.select("report", label, choices, folder.name, change="report"))


def _candidates_html(context: Context, folder: Path, report: WrittenReport, state: State) -> str:
    """A page of candidates in a form: ticks, votes, and what to do with those that are ticked."""
    say = context.say
    wanted = state.get("view") if state.get("view") in VIEWS else ACCEPTED if report.accepted else REFUSED
    found = _viewed(folder, wanted)
    start = state.get("from", 0) if state.get("from", 0) < len(found) else 0
    shown = found[start : start + PAGE_CANDIDATES]
    counts = {ACCEPTED: report.accepted, SAMPLED: min(SAMPLE, report.accepted)}
    counts[REFUSED] = report.candidates - report.accepted
    choices = [(say(f"data.written.view.{each}", count=counts[each]), each) for each in VIEWS]
    ticked = set(state.get("ticked", []))
    place = say("data.rows.place_of", first=start + 1, last=start + len(shown), total=len(found))
    turn = controls.pager(
        say("data.back"), say("data.forward"), place, has_back=start > 0, has_forward=start + len(shown) < len(found)
    )
    return controls.form(
        controls.select("view", say("data.written.shown"), choices, wanted, change="view"),
        "".join(_candidate_html(context, report, each, is_ticked=each.number in ticked) for each in shown),
        turn if len(found) > PAGE_CANDIDATES else "",
        _take_html(context, report, len(ticked)),
        list_=LIST,
    )


def _viewed(folder: Path, wanted: str) -> list[Candidate]:
    found = written.read_candidates(folder, count=MOST_CANDIDATES, accepted=wanted != REFUSED)
    if wanted != SAMPLED:
        return found
    drawn = set(written.sample(folder, SAMPLE))
    return [each for each in found if each.number in drawn]


def _take_html(context: Context, report: WrittenReport, ticked: int) -> str:
    say = context.say
    area = "chosen" if report.rollout else "written"
    every = controls.button("tick_all", say(f"data.{area}.tick_all", count=report.accepted), kind="link")
    none = controls.button("untick", say("data.written.untick"), kind="link")
    own = say("data.chosen.into", name=report.dataset) if report.rollout else ""
    into = controls.text("into", say("data.written.into"), own, note=say("data.written.into_note"))
    why_not = "" if ticked else say("data.written.none_ticked")
    label = context.say("data.written.take", count=ticked)
    take = controls.button("accept", label, kind="primary", why_not=why_not)
    return controls.buttons(every if report.accepted else "", none if ticked else "") + into + controls.buttons(take)


def _candidate_html(context: Context, report: WrittenReport, each: Candidate, *, is_ticked: bool) -> str:
    say = context.say
    name = say("data.written.from_row", row=each.parent)
    can_be_taken = bool(each.prompt and each.answer)
    tick = controls.checkbox(f"{_TAKE}{each.number}", name, is_ticked, change="tick") if can_be_taken else escape(name)
    why = "" if each.accepted else f'<p class="lu-note">{escape(each.message(context.language))}</p>'
    votes = "".join(
        chip(f"{vote.judge}: {say(f'data.written.verdict.{vote.verdict}')}", _VERDICTS.get(vote.verdict, "soft"))
        for vote in each.votes
    )
    said = "".join(f"<li>{escape(vote.judge)}: {escape(view.short(vote.text, 400))}</li>" for vote in each.votes)
    if each.reward is not None:
        votes += chip(say("data.chosen.reward", value=number_text(each.reward)), "good" if each.accepted else "soft")
    judged = f'<div class="lu-data-chips">{votes}</div>' if votes else ""
    if said:
        judged += controls.fold(say("data.written.said"), f"<ul>{said}</ul>", key=f"votes-{each.number}")
    return f'<div class="lu-line">{tick}{why}{_texts(context, report, each)}{judged}</div>'


def _texts(context: Context, report: WrittenReport, each: Candidate) -> str:
    """What the model wrote, beside what it started from."""
    before, after = f"{each.before} → {each.before_answer}", f"{each.prompt} → {each.answer}"
    if report.kind != written.WRITE:
        return view.change_html(context, before, after)
    sides = (("example", before), ("new", after))
    lines = "".join(
        f'<div><span class="lu-note">{escape(context.say(f"data.written.side.{side}"))}</span> '
        f"{escape(view.short(text.strip(), 1000))}</div>"
        for side, text in sides
    )
    return f'<div class="lu-change">{lines}</div>'
