"""A version whose rows all begin with one system prompt.

    prompt "Hi", completion "Hello"   ->  messages: system "Be brief.", user "Hi", assistant "Hello"
    a conversation                    ->  the same after the system prompt, which takes the place of its own

Pairs become conversations, because a pair has no place for a system prompt: their source text is then that
conversation, and the old one stands in the version before. Going back is a rollback.
"""

from pathlib import Path

import msgspec

from studio.workshop.versions.layout import MESSAGES, Row
from studio.workshop.versions.reader import (
    Manifest,
    Step,
    TrainingRow,
    VersionWriter,
    iterate_problems,
    iterate_rows,
    read_manifest,
)

_encode = msgspec.json.Encoder().encode


def add_system_prompt(parent: Path, system: str, folder: Path) -> Manifest:
    """Write the version with `system` before every row of `parent`, in bounded memory; numbers and splits stay."""
    known = read_manifest(parent)
    writer = VersionWriter(folder, format=MESSAGES)
    try:
        for row in iterate_rows(parent):
            made = _with_system(row, system)
            raw = row.raw if known.format == MESSAGES else _encode({"messages": made.messages}).decode()
            writer.add(row.row, raw, made, split=row.split, origin=row.origin)
        for problem in iterate_problems(parent):
            writer.add_problem(problem)
    finally:
        writer.close()
    step = Step(operation="system_prompt", parameters={"system": system}, rows_in=known.rows, rows_out=writer.rows)
    is_chat = known.format == MESSAGES
    return writer.finish(
        shape=known.shape if is_chat else "chat",
        columns=known.columns if is_chat else {"messages": "messages"},
        source=known.source,
        parent=known.content_hash,
        steps=[*known.steps, step],
        blank_lines=known.blank_lines,
        speakers=known.speakers,
    )


def _with_system(row: Row, system: str) -> TrainingRow:
    turns = row.messages or [
        {"role": "user", "content": row.prompt},
        {"role": "assistant", "content": row.completion},
    ]
    rest = turns[1:] if turns[0]["role"] == "system" else turns
    messages = [{"role": "system", "content": system}, *rest]
    return TrainingRow(messages=messages, tools=row.tools, extra=row.extra, category=row.category)
