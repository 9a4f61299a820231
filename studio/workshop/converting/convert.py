"""One source row -> one training row, or every reason why not. Pure, explicit, and ours: nothing is cast or dropped.

    {"conversations": [{"from": "human", "value": "Hi"}, ...]}      -> messages=[{"role": "user", "content": "Hi"}, ...]
    {"instruction": "Sum", "input": "1 2", "output": "3", "id": 7}  -> prompt="Sum\\n\\n1 2", completion="3",
                                                                       extra={"id": 7}

Numbers stay numbers, so a number where text belongs is a fault and not a string; columns that play no part are kept in
`extra`. Turns are read in `turns.py`, prompts with judged answers in `judged.py`.
"""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from studio.workshop.converting import judged
from studio.workshop.converting.dialogue import read_dialogue
from studio.workshop.converting.parts import Parts
from studio.workshop.converting.shapes import (
    ALPACA,
    CHAT,
    CHAT_COMPLETION,
    DIALOGUE,
    PAIRS,
    PREFERENCE,
    PROMPT,
    PROMPT_COMPLETION,
    SHAREGPT,
    STEPWISE,
    TEXT,
    TOKENS,
    TURN_KEYS,
    UNPAIRED,
    Mapping,
    column_of,
)
from studio.workshop.converting.turns import check_order, listed, read_pairs, read_tools, read_turns
from studio.workshop.problems import RowFault, kind_of, shorten
from studio.workshop.reading.jsontext import parse_row
from studio.workshop.versions.layout import TrainingRow, json_text

MAX_FAULTS = 10
"""Faults reported for one row; a person mends it and sees the rest."""

Converted = tuple[TrainingRow | None, list[RowFault]]
Converter = Callable[[Any], Converted]
_Fields = dict[str, Any]


def converter(shape: str, mapping: Mapping) -> Converter:
    """The function that turns one parsed row of this shape into `(row, [])` or `(None, faults)`."""
    make = _MAKERS[shape]
    columns = {part: column for column, part in mapping.items()}
    category = column_of(mapping, "category")

    def convert(row: Any) -> Converted:
        if not isinstance(row, dict):
            return None, [RowFault("not_object", "", {"found": kind_of(row)})]
        parts = Parts(row, columns)
        fields = make(parts)
        if parts.faults:
            return None, parts.faults[:MAX_FAULTS]
        extra = {name: value for name, value in row.items() if name not in mapping}
        return TrainingRow(**fields, extra=extra or None, category=_category(row.get(category))), []

    return convert


def convert_text(text: str, convert: Converter) -> Converted:
    """Parse one row's JSON text and convert it: what an edited row goes through."""
    value, fault = parse_row(text)
    return (None, [fault]) if fault else convert(value)


def _category(value: Any) -> str | None:
    """A category is a name; a rating or a list of tags is named by its JSON text."""
    if value is None or isinstance(value, str):
        return value or None
    return json_text(value)


# -- conversations -------------------------------------------------------------------------------------------------


def _chat(shape: str, part: str) -> Callable[[Parts], _Fields]:
    def make(parts: Parts) -> _Fields:
        column, turns = parts.column(part), _turns(parts, part)
        system = parts.text("system", needed=False)
        tools = read_tools(parts.value("tools"), parts.column("tools"), parts.faults)
        if turns is None:
            return {}
        messages = [{"role": "system", "content": system}] if system else []
        messages += read_turns(turns, column, parts.faults, TURN_KEYS[shape])
        if not parts.faults:
            check_order(messages, column, len(messages) - len(turns), parts.faults)
        return {"messages": messages, "tools": tools}

    return make


def _turns(parts: Parts, part: str) -> list[Any] | None:
    """A column's list of turns."""
    if not parts.has(part):
        parts.missing(part)
        return None
    value = parts.value(part)
    turns = listed(value)
    if isinstance(turns, list):
        return turns
    found = {"found": kind_of(value), "value": shorten(value)}
    parts.faults.append(RowFault("not_a_conversation", parts.column(part), found))
    return None


def _pair_list(parts: Parts) -> _Fields:
    pairs, system = _turns(parts, "pairs"), parts.text("system", needed=False)
    if pairs is None:
        return {}
    column = parts.column("pairs")
    messages = [{"role": "system", "content": system}] if system else []
    messages += read_pairs(pairs, column, parts.faults)
    if not pairs:
        parts.faults.append(RowFault("no_messages", column))
    return {"messages": messages}


def _dialogue(parts: Parts) -> _Fields:
    turns, system = _turns(parts, "dialogue"), parts.text("system", needed=False)
    if turns is None:
        return {}
    messages = [{"role": "system", "content": system}] if system else []
    messages += read_dialogue(turns, parts.column("dialogue"), parts.faults, has_system=bool(system))
    return {"messages": messages}


def _chat_completion(parts: Parts) -> _Fields:
    """One conversation: what the assistant says within the prompt is read and not learned."""
    asked, answered = _turns(parts, "prompt"), _turns(parts, "completion")
    system = parts.text("system", needed=False)
    tools = read_tools(parts.value("tools"), parts.column("tools"), parts.faults)
    if asked is None or answered is None:
        return {}
    prompt = [{"role": "system", "content": system}] if system else []
    prompt += read_turns(asked, parts.column("prompt"), parts.faults, TURN_KEYS[CHAT])
    completion = read_turns(answered, parts.column("completion"), parts.faults, TURN_KEYS[CHAT])
    if not parts.faults:
        judged.check_answer(completion, parts.column("completion"), parts.faults)
        check_order(prompt + completion, parts.column("completion"), len(prompt), parts.faults)
    unlearned = [turn | {"weight": 0} if turn["role"] == "assistant" else turn for turn in prompt]
    return {"messages": unlearned + completion, "tools": tools}


# -- prompt and completion -----------------------------------------------------------------------------------------


def _pair(asked: tuple[str, ...], answer: str) -> Callable[[Parts], _Fields]:
    """The parts `asked` make the prompt, a blank line between them; the first is the one that must hold text."""

    def make(parts: Parts) -> _Fields:
        system = parts.text("system", needed=False)
        texts = [parts.text(part, needed=part == asked[0], is_prompt=part == asked[0]) for part in asked]
        completion = parts.text(answer, needed=True)
        if completion is not None and not completion.strip():
            parts.faults.append(RowFault("empty_answer", parts.column(answer)))
        if parts.names("history"):
            return _with_history(parts, system, texts, completion)
        return {"prompt": "\n\n".join(text for text in (system, *texts) if text), "completion": completion}

    return make


def _with_history(parts: Parts, system: str | None, asked: list[str | None], completion: str | None) -> _Fields:
    """A pair with the turns before it: a conversation."""
    history = listed(parts.value("history")) or []
    if not isinstance(history, list):
        found = {"found": kind_of(history), "value": shorten(history)}
        parts.faults.append(RowFault("not_a_conversation", parts.column("history"), found))
        return {}
    messages = [{"role": "system", "content": system}] if system else []
    messages += read_pairs(history, parts.column("history"), parts.faults)
    messages.append({"role": "user", "content": "\n\n".join(text for text in asked if text)})
    return {"messages": [*messages, {"role": "assistant", "content": completion}]}


# -- steps, texts, tokens ------------------------------------------------------------------------------------------


def _stepwise(parts: Parts) -> _Fields:
    prompt = parts.text("prompt", needed=True, is_prompt=True)
    steps, labels = parts.items("completions"), parts.items("labels")
    if steps is None or labels is None:
        return {}
    for index, step in enumerate(steps):
        if not isinstance(step, str) or not step.strip():
            values = {"step": index + 1, "found": kind_of(step), "value": shorten(step)}
            parts.faults.append(RowFault("step_not_text", f"{parts.column('completions')}[{index}]", values))
    made = [parts.label(value, f"{parts.column('labels')}[{index}]") for index, value in enumerate(labels)]
    if not steps:
        parts.faults.append(RowFault("empty_answer", parts.column("completions")))
    parts.check_lengths("completions", steps, "labels", labels)
    return {"prompt": prompt, "completions": steps, "labels": made}


def _text(parts: Parts) -> _Fields:
    text = parts.text("text", needed=True)
    if text is not None and not text.strip():
        parts.faults.append(RowFault("empty_text", parts.column("text")))
    return {"text": text}


def _tokens(parts: Parts) -> _Fields:
    ids = parts.integers("input_ids", least=0)
    labels = parts.integers("labels", least=-100) if parts.value("labels") is not None else None
    if ids is not None and labels is not None:
        parts.check_lengths("input_ids", ids, "labels", labels)
    if ids == []:
        parts.faults.append(RowFault("empty_text", parts.column("input_ids")))
    return {"input_ids": ids, "labels": labels}


_MAKERS = MappingProxyType(
    {
        CHAT: _chat(CHAT, "messages"),
        SHAREGPT: _chat(SHAREGPT, "conversations"),
        PAIRS: _pair_list,
        DIALOGUE: _dialogue,
        CHAT_COMPLETION: _chat_completion,
        ALPACA: _pair(("instruction", "input"), "output"),
        PROMPT_COMPLETION: _pair(("prompt",), "completion"),
        PREFERENCE: judged.preference,
        UNPAIRED: judged.unpaired,
        STEPWISE: _stepwise,
        PROMPT: judged.prompt_only,
        TEXT: _text,
        TOKENS: _tokens,
    }
)
