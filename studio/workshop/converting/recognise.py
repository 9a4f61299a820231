"""Which shape one row shows, told by the names of its columns and what stands in them.

    {"Question": "Hi", "Answer": "Hello"}                    -> prompt_completion, Question: prompt, Answer: completion
    {"prompt": "Hi", "chosen": "Hello", "rejected": "Go"}    -> preference
    {"id": 4, "frage": "Hi"}                                 -> None

The most telling shapes are asked first. A file's shape is the vote of its rows (`detect.py`).
"""

from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any

from studio.workshop.converting.dialogue import is_dialogue
from studio.workshop.converting.labels import LABEL_WORDS
from studio.workshop.converting.shapes import (
    ALPACA,
    CATEGORY,
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
)
from studio.workshop.converting.turns import listed

_CONVERSATIONS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns", "对话")
_ANSWERS = ("output", "response", "answer", "completion", "输出", "回答")
_INSTRUCTIONS = ("instruction", "instructions", "指令")
_INPUTS = ("input", "context", "输入")
_SYSTEMS = ("system", "system_prompt", "系统提示")
_HISTORIES = ("history", "历史")
_TOOLS = ("tools", "functions")
_CATEGORIES = ("category", "categories", "类别", "分类")
_ASKED = ("prompt", "question", "instruction", "query", "input", "问题", "提问", "提示")
_SAID = ("completion", "response", "answer", "output", "回答", "答案")
_LABELS = ("label", "kto_tag", "thumbs", "is_good", "feedback", "标签")
_JUDGED = (
    ("chosen", "rejected"),
    ("preferred_output", "non_preferred_output"),
    ("chosen_response", "rejected_response"),
    ("preferred", "rejected"),
    ("preferred", "dispreferred"),
    ("response_chosen", "response_rejected"),
    ("win", "lose"),
    ("better", "worse"),
    ("优选", "劣选"),
)
_STEPS = (("completions", "labels"), ("steps", "labels"))
_PROMPTS = ("prompt", "problem", "提示")
_BESIDE_PROMPTS = frozenset(
    ("answer", "solution", "ground_truth", "final_answer", "target", "reference", "reward_model", "tests", "test_cases")
    + ("id", "index", "source", "data_source", "ability", "extra_info", "metadata", "split", "task", "system")
    + ("level", "type", "subject", "category", "difficulty", "答案", "类别")
)
"""Columns that stand beside a prompt in prompts-only sets; any other may be its answer, so a person must say."""
_TEXTS = ("text", "content", "文本", "正文")
_PAIRS = (
    ("prompt", "completion"),
    ("prompt", "response"),
    ("prompt", "answer"),
    ("prompt", "output"),
    ("question", "answer"),
    ("question", "response"),
    ("question", "output"),
    ("query", "response"),
    ("query", "answer"),
    ("query", "output"),
    ("input", "output"),
    ("input", "response"),
    ("user", "assistant"),
    ("user", "bot"),
    ("human", "assistant"),
    ("human", "gpt"),
    ("request", "response"),
    ("source", "target"),
    ("input", "target"),
    ("q", "a"),
    ("问题", "答案"),
    ("问题", "回答"),
    ("提问", "回答"),
    ("问", "答"),
    ("输入", "输出"),
)

Names = dict[str, str]
"""A column's name in lower case -> as it is written."""


def shape_of(row: Any) -> tuple[str, Mapping] | None:
    """The shape of one row and the mapping of its columns; None if it shows none."""
    for shape in RECOGNISERS:
        mapping = mapping_for(shape, row)
        if mapping:
            return shape, mapping
    return None


def mapping_for(shape: str, row: Any) -> Mapping | None:
    """The mapping of a row's columns if it can be read as this shape."""
    if not isinstance(row, dict):
        return None
    names = {name.strip().lower(): name for name in row if isinstance(name, str)}
    found = RECOGNISERS[shape](row, names)
    return found | _optional(names, found, CATEGORY, _CATEGORIES) if found else None


def _tokens(row: dict, names: Names) -> Mapping | None:
    column = names.get("input_ids")
    if column is None or not isinstance(_listed(row[column]), list):
        return None
    return {column: "input_ids"} | ({names["labels"]: "labels"} if "labels" in names else {})


def _preference(row: dict, names: Names) -> Mapping | None:
    judged = _first_pair(names, _JUDGED)
    if not judged:
        return None
    found = {judged[0]: "chosen", judged[1]: "rejected"}
    found |= _optional(names, found, "prompt", (*_ASKED, *_CONVERSATIONS))
    if "prompt" in found.values() and names.get("input") not in (None, *found):
        found |= {names["input"]: "input"}
    return found | _optional(names, found, "system", _SYSTEMS)


def _stepwise(row: dict, names: Names) -> Mapping | None:
    steps, asked = _first_pair(names, _STEPS), _first(names, _ASKED)
    if not steps or not asked or not isinstance(_listed(row[steps[0]]), list):
        return None
    return {asked: "prompt", steps[0]: "completions", steps[1]: "labels"}


def _unpaired(row: dict, names: Names) -> Mapping | None:
    label = _first(names, _LABELS)
    if not label or not _is_label(row[label]):
        return None
    said = _first(names, _SAID)
    if said:
        found = {said: "completion", label: "label"}
        found |= _optional(names, found, "prompt", _ASKED)
    else:
        said = _first(names, _CONVERSATIONS)
        found = {said: "completion", label: "label"} if said else {}
    return found | _optional(names, found, "system", _SYSTEMS) if found else None


def _conversation(shape: str, part: str) -> Callable[[dict, Names], Mapping | None]:
    def recognise(row: dict, names: Names) -> Mapping | None:
        for wanted in _CONVERSATIONS:
            column = names.get(wanted)
            if column and turn_shape(row[column]) == shape:
                found = {column: part} | _optional(names, {}, "tools", _TOOLS if shape in TURN_KEYS else ())
                return found | _optional(names, found, "system", _SYSTEMS)
        return None

    return recognise


def _chat_completion(row: dict, names: Names) -> Mapping | None:
    for prompt, completion in _PAIRS:
        if prompt in names and completion in names:
            columns = names[prompt], names[completion]
            if all(turn_shape(row[column]) in (CHAT, SHAREGPT) for column in columns):
                found = {columns[0]: "prompt", columns[1]: "completion"}
                found |= _optional(names, found, "tools", _TOOLS)
                return found | _optional(names, found, "system", _SYSTEMS)
    return None


def _alpaca(row: dict, names: Names) -> Mapping | None:
    instruction, answer = _first(names, _INSTRUCTIONS), _first(names, _ANSWERS)
    if not instruction or not answer:
        return None
    found = {instruction: "instruction", answer: "output"}
    found |= _optional(names, found, "input", _INPUTS)
    return found | _optional(names, found, "system", _SYSTEMS) | _history(row, names)


def _pair(row: dict, names: Names) -> Mapping | None:
    pair = _first_pair(names, _PAIRS)
    if not pair:
        return None
    found = {pair[0]: "prompt", pair[1]: "completion"}
    return found | _optional(names, found, "system", _SYSTEMS) | _history(row, names)


def _history(row: dict, names: Names) -> Mapping:
    """A column of earlier turns, where a row fills it: a pair without any stays a pair."""
    column = _first(names, _HISTORIES)
    return {column: "history"} if column and _listed(row[column]) else {}


def _prompt(row: dict, names: Names) -> Mapping | None:
    asked = _first(names, _PROMPTS)
    if not asked or not names.keys() - {asked.strip().lower()} <= _BESIDE_PROMPTS:
        return None
    return {asked: "prompt"} | _optional(names, {}, "system", _SYSTEMS)


def _text(row: dict, names: Names) -> Mapping | None:
    column = _first(names, _TEXTS)
    return {column: "text"} if column and isinstance(row[column], str) else None


RECOGNISERS = MappingProxyType(
    {
        TOKENS: _tokens,
        PREFERENCE: _preference,
        STEPWISE: _stepwise,
        UNPAIRED: _unpaired,
        CHAT: _conversation(CHAT, "messages"),
        SHAREGPT: _conversation(SHAREGPT, "conversations"),
        PAIRS: _conversation(PAIRS, "pairs"),
        DIALOGUE: _conversation(DIALOGUE, "dialogue"),
        CHAT_COMPLETION: _chat_completion,
        ALPACA: _alpaca,
        PROMPT_COMPLETION: _pair,
        PROMPT: _prompt,
        TEXT: _text,
    }
)
"""Shape -> what recognises it, the most telling first."""


def turn_shape(turns: Any) -> str | None:
    """How the turns of a conversation are written, told by the first turn that shows it."""
    if isinstance(read := listed(turns), list) and is_dialogue(read):
        return DIALOGUE
    if isinstance(turns, str) and turns.lstrip().startswith("["):  # a conversation as JSON text in a table's cell
        if turns.lstrip().removeprefix("[").lstrip().startswith("["):
            return PAIRS
        return SHAREGPT if '"from"' in turns and '"role"' not in turns else CHAT
    if not isinstance(turns, list):
        return None
    for turn in turns:
        if isinstance(turn, list):
            return PAIRS if len(turn) == 2 else None
        for shape, keys in TURN_KEYS.items():
            if isinstance(turn, dict) and any(key in turn for key in keys):
                return shape
    return None


def _listed(value: Any) -> Any:
    """A list in a table's cell, which can only hold it as text, counts as one."""
    return [value] if isinstance(value, str) and value.lstrip().startswith("[") else value


def _is_label(value: Any) -> bool:
    return isinstance(value, bool) or isinstance(value, str) and value.strip().lower() in LABEL_WORDS


def _first(names: Names, wanted: Iterable[str]) -> str | None:
    return next((names[name] for name in wanted if name in names), None)


def _first_pair(names: Names, wanted: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    return next(((names[a], names[b]) for a, b in wanted if a in names and b in names), None)


def _optional(names: Names, taken: Mapping, part: str, wanted: Iterable[str]) -> Mapping:
    """The first of the columns that plays no part yet."""
    column = next((names[name] for name in wanted if name in names and names[name] not in taken), None)
    return {column: part} if column else {}
