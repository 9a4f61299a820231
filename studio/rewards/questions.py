"""The questions of a data set version, with what graders need to know of them.

    questions(version, count=100, seed=42)  ->  [Question(turns=[{"role": "user", "content": "6 x 7?"}],
                                                          row=Row(question="6 x 7?", reference="42", number=17)), ...]

Rows that are kept for validation or the test are not asked. Of a pair the better answer is the reference; of an answer
with a thumb only one whose thumb is up. pyarrow comes along, so this is for jobs.
"""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from studio.errors import RefusedInput
from studio.evaluation.prompts import last_answer, last_question
from studio.graders.score import Row
from studio.workshop.versions import layout
from studio.workshop.versions.layout import MESSAGES, PREFERENCE, PROMPT, PROMPT_COMPLETION, UNPAIRED
from studio.workshop.versions.reader import ROWS, open_table, read_manifest, rows_at

FORMATS = (MESSAGES, PROMPT_COMPLETION, PREFERENCE, UNPAIRED, PROMPT)
SOURCES = ("source", "context", "document", "passage", "article", "原文", "材料")
"""Columns of the source file that hold a text which an answer rests on."""
_SPARE = 2

Turns = list[dict[str, Any]]


class Question(msgspec.Struct, frozen=True, kw_only=True):
    turns: Turns
    """What the model is shown."""
    row: Row


def questions(version: Path, *, count: int, seed: int) -> list[Question]:
    """Up to `count` of them, drawn by chance, in the data set's order.

    Raises:
        RefusedInput: rows of a format without questions.
    """
    format = read_manifest(version).format
    if format not in FORMATS:
        raise RefusedInput("reward.format", name=version.parent.name, format=format)
    with open_table(version, ROWS) as file:
        table = file.read(columns=["row", "split"])
    known = zip(table["row"].to_pylist(), table["split"].to_pylist(), strict=True)
    numbers = [row for row, split in known if split in (None, layout.SPLITS[0])]
    drawn = Random(seed).sample(numbers, min(len(numbers), _SPARE * count))
    found = rows_at(version, drawn)
    made = {number: question for number in drawn if (question := question_of(number, found[number], format))}
    return [made[number] for number in sorted(list(made)[:count])]


def question_of(number: int, row: layout.Row, format: str) -> Question | None:
    """None where nothing is asked."""
    turns, reference = _asked(row, format)
    place = next((at for at in range(len(turns) - 1, -1, -1) if turns[at]["role"] == "user"), None)
    if place is None or not (turns[place].get("content") or "").strip():
        return None
    source = next((text for name in SOURCES if isinstance(text := (row.extra or {}).get(name), str)), None)
    known = Row(question=turns[place]["content"], reference=reference, source=source, number=number)
    return Question(turns=[_plain(turn) for turn in turns], row=known)


def _asked(row: layout.Row, format: str) -> tuple[Turns, str | None]:
    """The turns before the answer, and the answer where there is a good one."""
    if format == MESSAGES:
        messages = row.messages or []
        end = last_answer(messages)
        if end is None or last_question(messages) is None:
            return [], None
        return messages[:end], messages[end]["content"]
    turns = _turns(row.prompt, "user")
    if format == PREFERENCE:
        return turns, _last_text(row.chosen)
    is_good = format == PROMPT_COMPLETION or (format == UNPAIRED and row.label)
    return turns, _last_text(row.completion) if is_good else None


def _turns(said: str | Turns | None, role: str) -> Turns:
    return [{"role": role, "content": said}] if isinstance(said, str) else list(said or [])


def _last_text(said: str | Sequence[dict[str, Any]] | None) -> str | None:
    turns = _turns(said, "assistant")
    return (turns[-1].get("content") or None) if turns else None


def _plain(turn: dict[str, Any]) -> dict[str, Any]:
    return {"role": turn["role"], "content": turn.get("content") or ""}
