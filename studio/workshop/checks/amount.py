"""Are there enough rows? Advice by number and kind of task; quality and coverage count for more than number.

    40 rows               ->  level "least", advice amount.least
    3,000 rows of labels  ->  level "enough", advice amount.enough

The limits are those of KNOWHOW, section 4: 10 at least, 50 to 100 good ones already show an effect, hundreds for
classification, thousands for dialogue, about 400 for each domain of a mixed set.
"""

from typing import Any, Literal

import msgspec
import polars as pl

from studio.workshop.checks.balance import trains
from studio.workshop.clean.outcome import no_findings
from studio.workshop.table import answers

LEAST, START, EFFECT = 10, 50, 100
ENOUGH = {"classification": 300, "dialogue": 2000, "other": 400}
ROWS_PER_DOMAIN = 400
LABEL_CHARACTERS, MOST_LABELS = 40, 50


class Options(msgspec.Struct, frozen=True, kw_only=True):
    task: Literal["auto", "classification", "dialogue", "other"] = "auto"
    """What is to be learned; auto tells it from the answers."""


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    """Words: problems.checks.<code>."""
    values: dict[str, Any] = {}


class DomainRows(msgspec.Struct, frozen=True, kw_only=True):
    category: str
    rows: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    rows: int
    train_rows: int
    task: str
    level: str
    """too_few, least, start, growing or enough."""
    advice: list[Advice]
    categories_short: list[DomainRows]
    """Domains with fewer rows than about 400."""
    findings: pl.DataFrame


def run(rows: pl.DataFrame, options: Options) -> Report:
    trained = trains(rows)
    task = _task(trained) if options.task == "auto" else options.task
    level = _level(trained.height, ENOUGH[task])
    short = _short_domains(trained) if task != "classification" else []
    advice = [Advice(code=f"amount.{level}", values={"rows": trained.height, "enough": ENOUGH[task]})]
    if short:
        advice.append(Advice(code="amount.domains", values={"count": len(short), "enough": ROWS_PER_DOMAIN}))
    advice.append(Advice(code="amount.quality"))
    return Report(
        rows=rows.height,
        train_rows=trained.height,
        task=task,
        level=level,
        advice=advice,
        categories_short=short,
        findings=no_findings(),
    )


def _level(rows: int, enough: int) -> str:
    for limit, level in ((LEAST, "too_few"), (START, "least"), (EFFECT, "start"), (enough, "growing")):
        if rows < limit:
            return level
    return "enough"


def _task(rows: pl.DataFrame) -> str:
    """Few different short answers are labels; more than one question in a row is a dialogue."""
    given = answers(rows)["text"].drop_nulls()
    if (
        len(given)
        and given.n_unique() <= min(MOST_LABELS, len(given) / 5)
        and given.str.len_chars().max() <= LABEL_CHARACTERS
    ):
        return "classification"
    turns = rows["messages"].list.len() if "messages" in rows.columns else pl.Series([0])
    return "dialogue" if (turns.mean() or 0) > 3 else "other"


def _short_domains(rows: pl.DataFrame) -> list[DomainRows]:
    counts = rows.filter(pl.col("category").is_not_null()).group_by("category").len().sort("len", "category")
    if counts.height < 2:
        return []
    return [DomainRows(category=name, rows=size) for name, size in counts.iter_rows() if size < ROWS_PER_DOMAIN]
