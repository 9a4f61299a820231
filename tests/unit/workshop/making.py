"""Data set versions made for tests, without an import."""

from pathlib import Path
from typing import Any

import msgspec

from studio.workshop.problems import Problem
from studio.workshop.versions.layout import MESSAGES, PROMPT, PROMPT_COMPLETION, TrainingRow
from studio.workshop.versions.reader import Manifest, VersionWriter

COLUMNS = {
    MESSAGES: {"messages": "messages"},
    PROMPT_COMPLETION: {"prompt": "prompt", "completion": "completion"},
    PROMPT: {"prompt": "prompt"},
}
SHAPES = {MESSAGES: "chat", PROMPT_COMPLETION: "prompt_completion", PROMPT: "prompt"}


def pair(prompt: str, completion: str, **kept: Any) -> TrainingRow:
    return TrainingRow(prompt=prompt, completion=completion, **kept)


def chat(*texts: str, **kept: Any) -> TrainingRow:
    """A conversation in which user and assistant take turns."""
    roles = ("user", "assistant")
    turns = [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]
    return TrainingRow(messages=turns, **kept)


def question(text: str, **kept: Any) -> TrainingRow:
    """A question without an answer."""
    return TrainingRow(prompt=[{"role": "user", "content": text}], **kept)


def version(
    folder: Path,
    rows: list[TrainingRow],
    *,
    problems: dict[int, str] | None = None,
    splits: dict[int, str] | None = None,
) -> Path:
    """Rows numbered from 1; a number in `problems` (-> code) is skipped and kept as an open problem."""
    format = MESSAGES if rows[0].messages else PROMPT_COMPLETION if rows[0].completion else PROMPT
    writer, number = VersionWriter(folder, format=format), 0
    for row in rows:
        number += 1
        while number in (problems or {}):
            writer.add_problem(Problem(row=number, code=problems[number], raw="{}"))
            number += 1
        raw = msgspec.json.encode({name: getattr(row, name) for name in COLUMNS[format]}).decode()
        writer.add(number, raw, row, split=(splits or {}).get(number))
    finish(writer, format)
    return folder


def finish(writer: VersionWriter, format: str) -> Manifest:
    return writer.finish(
        shape=SHAPES[format],
        columns=COLUMNS[format],
        source={"file": "made.jsonl", "kind": "jsonl", "size_bytes": 1},
        parent=None,
        steps=[],
        blank_lines=0,
    )
