"""How much the rows of a data set differ, and whether a chat template belongs to its tokenizer: cheap looks, no model.

300 rows "Name the capital of <country>."  ->  {"variety": 0.03, "json_answers": 0.0}
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from trainers.rows.data import Sample

MOST_ROWS = 300
"""The figures are comparable because every data set is told by about so many rows, evenly spread."""
ALIKE = 0.6
"""From this share of three-word sequences that other rows have too, a row says nothing of its own. Ours."""
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|\w+")
_MARKER = re.compile(r"<\|[^|<>{}]{1,40}\|>")


def variety_of(samples: Iterable[Sample]) -> dict[str, float | None]:
    """Share of rows that say something of their own, and share of answers that are JSON; None where there is none.

    Of a conversation the last question and the last answer count, so that a system prompt that all share does not.
    """
    turns = [_last_turns(sample) for sample in samples]
    rows = [_sequences(" ".join(parts)) for parts in turns]
    seen = Counter(sequence for row in rows for sequence in row)
    told = [sum(seen[sequence] > 1 for sequence in row) / len(row) for row in rows if row]
    answers = [parts[-1] for parts in turns if parts and parts[-1].strip()]
    return {
        "variety": round(sum(share < ALIKE for share in told) / len(told), 3) if told else None,
        "json_answers": round(sum(map(_is_json, answers)) / len(answers), 3) if answers else None,
    }


def unknown_markers(tokenizer: Any) -> list[str]:
    """Marks like <|im_start|> in the chat template that the tokenizer cuts into pieces: another model's template."""
    template = tokenizer.chat_template
    texts = template.values() if isinstance(template, dict) else [template or ""]
    marks = {mark for text in texts for mark in _MARKER.findall(text)}
    return sorted(mark for mark in marks if len(tokenizer.encode(mark, add_special_tokens=False)) != 1)


def _last_turns(sample: Sample) -> list[str]:
    if sample.text is not None:
        return [sample.text]
    spoken = [turn for turn in sample.messages if turn["role"] in ("user", "assistant")]
    return [str(turn.get("content") or "") for turn in spoken[-2:]]


def _sequences(text: str) -> set[tuple[str, ...]]:
    words = _WORD.findall(text.casefold())
    return set(zip(words, words[1:], words[2:], strict=False)) or ({tuple(words)} if words else set())


def _is_json(text: str) -> bool:
    text = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```").strip()
    if not text.startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
