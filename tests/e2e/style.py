"""A task that only training can teach: every answer begins with a fixed phrase and is JSON.

Questions are the starter data's; the untouched model never answers so by itself.
"""

import json
from pathlib import Path

PHRASE = "Answer for you: "
HELD_OUT = 30


def split(trivia: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Training rows in the style, and held-out questions."""
    rows = [json.loads(line) for line in trivia.read_text("utf-8").splitlines()]
    in_style = [{"prompt": row["prompt"], "completion": styled(row["completion"])} for row in rows]
    return in_style[HELD_OUT:], [row["prompt"] for row in rows[:HELD_OUT]]


def styled(answer: str) -> str:
    """Rome -> Answer for you: {"answer": "Rome"}"""
    return PHRASE + json.dumps({"answer": answer}, ensure_ascii=False)


def follows(answer: str) -> bool:
    """Whether an answer has the style: the phrase, then a JSON object with an answer."""
    if not answer.startswith(PHRASE):
        return False
    try:
        found = json.loads(answer.removeprefix(PHRASE))
    except json.JSONDecodeError:
        return False
    return isinstance(found, dict) and "answer" in found
