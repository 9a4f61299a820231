"""What kind of answer a data set wants, when one counts as right, and whether it has the wanted form.

    task_of(["yes", "no", "yes", ...])                 ->  labels: right is what names this label and no other
    task_of(['{"name": "Ann"}', ...])                  ->  json: right is the same value
    task_of(["Richard Nixon", "1963", ...])            ->  short: right is what names it
    task_of(["Take the wheel out and ...", ...])       ->  free: no rule can say what is right

The form is the data set's schema where it has one (`studio.workshop.clean.task_schema`), else length and opening words
of the training rows. Used inside jobs only: it brings polars along.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl

from studio.graders.answers import exact_match, names, token_f1, words
from studio.workshop.clean import task_schema

LABELS, JSON, SHORT, FREE = "labels", "json", "short", "free"
SHORT_WORDS, SHORT_SHARE = 6, 0.9
"""Answers of which so many have at most so many words can be told right by rule."""
OPENING_WORDS, OPENING_HAN, OPENING_SHARE = 2, 4, 0.6
LENGTH_SLACK = 2.0
"""An answer may be this many times as long as all but the longest 5 % of the wanted ones, or as short."""
_FENCED = re.compile(r"\s*```[A-Za-z0-9]*[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)


@dataclass(frozen=True)
class Task:
    kind: str
    """labels, json, short or free."""
    schema: task_schema.Options
    """Of kind none where the answers have nothing in common."""
    shortest: int
    longest: int
    """Characters that an answer of the wanted form has."""
    opening: str = ""
    """Words that most wanted answers begin with; empty where they do not."""

    @property
    def is_decidable(self) -> bool:
        """Whether a rule can tell right from wrong."""
        return self.kind != FREE


@dataclass(frozen=True)
class Score:
    """What one answer is worth."""

    right: bool | None
    """None where no rule can say."""
    exact: bool
    f1: float
    follows: bool
    """It has the wanted form."""


def task_of(answers: Sequence[str], schema: task_schema.Options | None = None) -> Task:
    """Read the task off wanted answers.

    Args:
        schema: what a person said that answers must look like; None: what most of them have in common.
    """
    schema = schema or _derived(answers)
    kind = _kind(answers, schema)
    lengths = sorted(map(len, answers)) or [0]
    low, high = lengths[int(0.05 * (len(lengths) - 1))], lengths[int(0.95 * (len(lengths) - 1))]
    return Task(kind, schema, int(low / LENGTH_SLACK), int(high * LENGTH_SLACK), _opening(answers))


def scores(task: Task, said: Sequence[str], wanted: Sequence[str]) -> list[Score]:
    """A score for each answer."""
    follow = _follow(task, said)
    return [
        Score(_is_right(task, ours, theirs), exact_match(ours, theirs), token_f1(ours, theirs), fits)
        for ours, theirs, fits in zip(said, wanted, follow, strict=True)
    ]


def _derived(answers: Sequence[str]) -> task_schema.Options:
    schema = task_schema.derive(_as_rows(answers))
    if schema.kind == "pattern" and not _are_short(answers):
        return task_schema.Options()  # sentences that are built alike are no codes
    if schema.kind not in ("json", "sql"):
        return schema
    is_fenced = sum(bool(_FENCED.match(text)) for text in answers) > len(answers) / 2
    return msgspec.structs.replace(schema, fence="required" if is_fenced else "forbidden")


def _kind(answers: Sequence[str], schema: task_schema.Options) -> str:
    if schema.kind in (LABELS, JSON):
        return schema.kind
    return SHORT if _are_short(answers) else FREE


def _are_short(answers: Sequence[str]) -> bool:
    short = sum(0 < len(words(text)) <= SHORT_WORDS for text in answers)
    return bool(answers) and short >= SHORT_SHARE * len(answers)


def _opening(answers: Sequence[str]) -> str:
    openings = Counter(_first_words(text) for text in answers if len(words(text)) > SHORT_WORDS)
    if not openings:
        return ""
    opening, count = openings.most_common(1)[0]
    return opening if count >= OPENING_SHARE * len(answers) else ""


def _first_words(text: str) -> str:
    found = words(text)
    is_han = found and found[0] >= "\u3040"
    return "".join(found[:OPENING_HAN]) if is_han else " ".join(found[:OPENING_WORDS])


def _is_right(task: Task, said: str, wanted: str) -> bool | None:
    if task.kind == LABELS:
        named = [label for label in task.schema.labels if names(said, label)]
        # "very good" names "good" too: of labels within one another the longest counts.
        outer = [each for each in named if not any(each != other and names(other, each) for other in named)]
        return bool(outer) and all(exact_match(each, wanted) for each in outer)
    if task.kind == JSON:
        ours, theirs = _json(said), _json(wanted)
        return theirs is not None and ours == theirs
    return names(said, wanted) if task.kind == SHORT else None


def _json(text: str) -> Any:
    inner = found[1] if (found := _FENCED.match(text)) else text
    try:
        return msgspec.json.decode(inner.encode("utf-8", "surrogatepass"))
    except (msgspec.DecodeError, RecursionError):
        return None


def _follow(task: Task, said: Sequence[str]) -> list[bool]:
    if task.schema.kind != "none":
        findings = task_schema.run(_as_rows(said), task_schema.Options(**_marking(task.schema))).findings
        faulty = set(findings["row"].to_list())
        return [bool(text.strip()) and place not in faulty for place, text in enumerate(said)]
    return [_has_form(task, text) for text in said]


def _marking(schema: task_schema.Options) -> dict[str, Any]:
    return msgspec.structs.asdict(schema) | {"action": "mark"}


def _has_form(task: Task, text: str) -> bool:
    opens = not task.opening or _first_words(text) == task.opening
    return opens and bool(text.strip()) and task.shortest <= len(text.strip()) <= task.longest


def _as_rows(answers: Sequence[str]) -> pl.DataFrame:
    texts = pl.Series(list(answers), dtype=pl.String)
    return pl.DataFrame(
        {"row": range(len(texts)), "prompt": pl.repeat("?", len(texts), eager=True), "completion": texts}
    )
