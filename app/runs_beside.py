"""Several runs beside each other at `?runs=1,2`: which they are, what was set differently, which could join.

Which runs are shown stands in the address alone, so every choice is a link and can be sent to somebody.
"""

from collections.abc import Sequence
from html import escape

from app.context import Context
from app.forms import value_text
from app.i18n import page_path
from app.markup import heading, link, table
from app.run_view import back_link, run_cells, run_columns
from app.series import MAX_RUNS
from studio.db.jobs import JobView
from studio.params.table import Parameter, parameters

MAX_OFFERED = 20


def numbers_in(text: str) -> list[int]:
    """Runs named in an address, each once: `"3,1,3,x"` -> `[3, 1]`."""
    named = [int(part) for part in text.split(",") if part.strip().isdecimal()]
    return list(dict.fromkeys(named))[:MAX_RUNS]


def head_html(context: Context, shown: Sequence[JobView]) -> str:
    """Title, and a row for each run with a link that takes it away."""
    say = context.say
    numbers = [job.id for job in shown]
    rows = [
        [*run_cells(context, job), _link(context, [n for n in numbers if n != job.id], say("runs.take_away"))]
        for job in shown
    ]
    listed = table([*run_columns(context), ""], rows) if rows else ""
    return back_link(context) + heading(say("runs.several"), say("runs.several_note")) + listed


def below_html(context: Context, shown: Sequence[JobView], others: Sequence[JobView]) -> str:
    """Below the curves: what was set differently, and the runs that could join."""
    say = context.say
    rows = [
        [*run_cells(context, job), _link(context, [*(each.id for each in shown), job.id], say("runs.lay_beside"))]
        for job in list(others)[:MAX_OFFERED]
    ]
    offered = f'<h2 class="lu-part">{escape(say("runs.others"))}</h2>{table([*run_columns(context), ""], rows)}'
    is_full = len(shown) >= MAX_RUNS
    return differences_html(context, shown) + (offered if rows and not is_full else "")


def differences_html(context: Context, shown: Sequence[JobView]) -> str:
    """The settings in which the runs are not all alike."""
    if len(shown) < 2:
        return ""
    say = context.say
    known: dict[str, Parameter] = {}
    for job in shown:
        known |= {parameter.name: parameter for parameter in parameters(job.method)} if job.method else {}
    differing = [name for name in known if len({repr(job.values.get(name)) for job in shown}) > 1]
    rows = [
        [escape(known[name].label(context.language)), *[_value(context, known[name], job) for job in shown]]
        for name in differing
    ]
    title = f'<h2 class="lu-part">{escape(say("runs.differences"))}</h2>'
    if not rows:
        return f'{title}<p class="lu-note">{escape(say("runs.no_differences"))}</p>'
    return title + table([say("runs.column.setting"), *[f"{job.id} · {job.title}" for job in shown]], rows)


def _value(context: Context, parameter: Parameter, job: JobView) -> str:
    return escape(value_text(parameter, job.values.get(parameter.name), context))


def _link(context: Context, numbers: Sequence[int], text: str) -> str:
    query = {"runs": ",".join(str(number) for number in numbers)} if numbers else {}
    return link(page_path(context.language, "runs", **query), text)
