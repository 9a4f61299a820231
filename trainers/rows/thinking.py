"""What an assistant thinks before it answers: taken out of a turn, or shown to the model as its chat template can.

    {"content": "<think>Six and one.</think>7"}   -> ("Six and one.", "7")
    {"content": "7", "reasoning_content": "..."}  -> ("...", "7")

Some templates read it in a field of its own, some show the answer as it stands, and some cut out whatever stands before
`</think>`, as those of DeepSeek-R1 do: they are made for asking, where no earlier thought is shown. For it to be
learned, the two tags are hidden from such a template and put back into its text, which is then as the model writes it.
"""

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

import jinja2

from studio.workshop.converting.turns import REASONING_KEYS
from studio.workshop.versions.layout import REASONING

Turn = dict[str, Any]

_BLOCK = re.compile(
    r"\A(?:\s*<think(?:ing)?>(?P<inside>.*?)|(?P<before>(?:(?!<think).)*?))</think(?:ing)?>\s*", re.DOTALL
)
"""The opening tag may be missing: it is the end of some models' prompts, and so no part of what they wrote."""
CLOSES = "</think>"
_HIDDEN = {"<think>": "\ue0f0think\ue0f1", CLOSES: "\ue0f0/think\ue0f1"}
_FIELD, _TEXT, _COVERED = "field", "text", "covered"
"""Where a template shows it: in a field of its own, in the answer as it stands, or there with hidden tags."""


def divided(turn: Turn) -> tuple[str | None, str | None]:
    """What is thought and what is said; no thought where there is none."""
    said = turn.get("content")
    if turn["role"] != "assistant" or turn.get(REASONING):
        return turn.get(REASONING), said
    found = _BLOCK.match(said) if said and "</think" in said else None
    return ((found["inside"] or found["before"] or "").strip(), said[found.end() :]) if found else (None, said)


def without_reasoning(turn: Turn) -> Turn:
    """A turn of what is said alone; where nothing is, there is no answer to learn (`weight` 0)."""
    kept = {key: value for key, value in turn.items() if key != REASONING}
    if turn["role"] != "assistant" or not turn.get("content"):
        return kept
    _, answer = divided(kept)
    is_empty = not answer.strip() and not turn.get("tool_calls")
    return kept | {"content": answer} | ({"weight": 0} if is_empty else {})


def other_thought(turn: Turn) -> Turn:
    """The turn with something else thought before the same answer."""
    thought, answer = divided(turn)
    kept = {key: value for key, value in turn.items() if key != REASONING}
    changed = f"{thought} {thought}"
    return turn | {REASONING: changed} if turn.get(REASONING) else kept | {"content": _text(changed, answer)}


def is_covered(turns: list[Turn]) -> bool:
    return any(_HIDDEN[CLOSES] in turn["content"] for turn in turns if isinstance(turn.get("content"), str))


def put_back(text: str) -> str:
    """A rendered conversation with the tags that were hidden from its template."""
    for tag, hidden in _HIDDEN.items():
        text = text.replace(hidden, tag)
    return text


class Thinking:
    """How one chat template shows what is thought, found out by rendering two thoughts that differ."""

    def __init__(self, template: str | dict[str, str] | None, render: Callable[[list[Turn]], list[int]]) -> None:
        self._template = (template.get("default") if isinstance(template, dict) else template) or ""
        self._key = next((key for key in REASONING_KEYS if _reads(self._template, key)), None)
        self._render = render

    def shown(self, turn: Turn) -> Turn:
        """The turn as the template reads it, without a field that it does not read."""
        thought, _ = divided(turn)
        if thought is None or self.leaves_out(turn):
            return {key: value for key, value in turn.items() if key != REASONING}
        return self._placed(turn, self._place)

    def leaves_out(self, turn: Turn) -> bool:
        """It holds a thought that no model with this template can be shown."""
        thought, answer = divided(turn)
        if not thought or self._place == _FIELD:
            return False
        if self._place == _TEXT and not turn.get(REASONING):
            return False
        return self._place is None or not answer or CLOSES not in self._template

    @cached_property
    def _place(self) -> str | None:
        if not self._template:
            return _TEXT
        places = [_FIELD] * bool(self._key) + [_TEXT] + [_COVERED] * (CLOSES in self._template)
        return next((place for place in places if self._is_shown(place)), None)

    def _is_shown(self, place: str) -> bool:
        turns = ({"role": "assistant", "content": _text(thought, "c")} for thought in ("a", "b"))
        try:
            asked = {"role": "user", "content": "d"}
            first, second = (self._render([asked, self._placed(turn, place)]) for turn in turns)
        except jinja2.TemplateError:
            return False
        return first != second

    def _placed(self, turn: Turn, place: str | None) -> Turn:
        is_field = bool(turn.get(REASONING))
        if place == _TEXT and not is_field:
            return turn
        thought, answer = divided(turn)
        kept = {key: value for key, value in turn.items() if key != REASONING}
        if place == _FIELD:
            return kept | ({} if is_field else {"content": answer}) | ({self._key: thought} if thought else {})
        return kept | {"content": _text(thought or "", answer, hidden=place == _COVERED)}


def _text(thought: str, answer: str | None, *, hidden: bool = False) -> str:
    """As the models write it that think in their answer."""
    opens, closes = _HIDDEN.values() if hidden else _HIDDEN
    return f"{opens}\n{thought}\n{closes}\n\n{answer or ''}"


def _reads(template: str, key: str) -> bool:
    return re.search(rf"""(?:\.|["']){key}\b""", template) is not None
