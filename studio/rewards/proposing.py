"""A reward proposed from the data: what its answers are says what can be judged by rule.

    answers 42, 1,234, ...                  ->  numeric_match
    answers yes, no, no, ...                ->  label with these labels
    answers {"name": "Ann"}, ...            ->  json: form and values
    answers Richard Nixon, Paris, ...       ->  exact_match, where it is named, and a penalty for rambling
    free text                               ->  similarity to the reference, and penalties for repetition and length

Used inside jobs only: it brings polars along.
"""

import re
from collections.abc import Sequence
from typing import Any

from studio.evaluation.task import JSON, LABELS, SHORT, Task, task_of
from studio.graders.answers import words
from studio.graders.format_tags import between
from studio.graders.numbers import NUMERALS, numbers, units
from studio.rewards.recipe import ANSWER, Recipe, parse

MOST = 0.9
"""Share of the answers of which something must hold to be taken for the rule."""
MOST_LABELS = 30
_TAGS = ("think", "answer")


def proposed(answers: Sequence[str], task: Task | None = None) -> Recipe:
    """
    Args:
        answers: those of the data.
        task: what kind they are, where that is known.
    """
    if _share(answers, lambda text: all(between(text, tag) for tag in _TAGS)) >= MOST:
        inner = [between(text, "answer") or "" for text in answers]
        rules = [rule | {"part": ANSWER} for rule in _rules(inner, task_of(inner))]
        return parse([*rules, {"name": "format_tags", "tags": list(_TAGS), "weight": 0.3}])
    return parse(_rules(answers, task or task_of(answers)))


def _rules(answers: Sequence[str], task: Task) -> list[dict[str, Any]]:
    if task.kind != JSON and _share(answers, _is_one_number) >= MOST:
        return [{"name": "numeric_match"}, _length_penalty(answers)]
    if task.kind == LABELS:
        return [{"name": "label", "labels": _labels(answers, task.schema.labels)}]
    if task.kind == JSON:
        form = {"keys": task.schema.keys, "optional": list(task.schema.optional)}
        return [{"name": "json", "match": "values", **{name: value for name, value in form.items() if value}}]
    if task.schema.kind == "sql":
        return [{"name": "sql", "match": "same"}, {"name": "similarity", "weight": 0.5}]
    if task.kind == SHORT:
        return [{"name": "exact_match", "match": "named"}, _length_penalty(answers)]
    measure = "chrf" if _share(answers, lambda text: bool(re.search("[\u3040-\u9fff]", text))) > 0.5 else "rouge_l"
    return [{"name": "similarity", "measure": measure}, {"name": "repetition"}, _length_penalty(answers)]


def _labels(answers: Sequence[str], frequent: Sequence[str]) -> list[str]:
    """With the rare ones, where they are few: an answer that is none of the labels could not be judged."""
    every = list(dict.fromkeys([*frequent, *(text.strip() for text in answers if text.strip())]))
    return every if len(every) <= MOST_LABELS else list(frequent)


def _length_penalty(answers: Sequence[str]) -> dict[str, Any]:
    """Nothing is taken off up to the longest answers' length, all of it at twice that."""
    lengths = sorted(len(words(text)) for text in answers) or [0]
    longest = max(8, lengths[int(0.95 * (len(lengths) - 1))])
    return {"name": "length_penalty", "max": 2 * longest, "buffer": longest, "weight": 0.5}


def _is_one_number(text: str) -> bool:
    """A number and its unit, and nothing else: AB-123 is a code."""
    rest = "".join(each for each in text.casefold() if each.isalpha() and each not in NUMERALS)
    return len(numbers(text)) == 1 and (not rest or rest in units())


def _share(answers: Sequence[str], holds: Any) -> float:
    return sum(map(bool, map(holds, answers))) / len(answers) if answers else 0.0
