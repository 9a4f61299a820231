"""Prompts, and prompts with answers that were judged: what preference training and rewards read.

    {"prompt": "Hi", "chosen": "Hello", "rejected": "Go"}   -> prompt [user], chosen [assistant], rejected [assistant]
    {"chosen": [u, a1, u2, a2], "rejected": [u, a1, u2, b]} -> prompt [u, a1, u2], chosen [a2], rejected [b]
    {"input": {"messages": [u]}, "preferred_output": [a], "non_preferred_output": [b]}   the same

A prompt that is not named apart is what both answers have in common, cut between turns and nowhere else.
"""

import re
from typing import Any

from studio.workshop.converting.parts import Parts
from studio.workshop.converting.turns import KEYS, check_prompt, check_turns, listed, read_turns
from studio.workshop.problems import RowFault, kind_of, shorten
from studio.workshop.versions.layout import Turn

_MARK = re.compile(r"\n\n(Human|Assistant): ?")
"""How conversations written as one text mark who speaks."""
_SPEAKER_OF_MARK = {"Human": "user", "Assistant": "assistant"}


def preference(parts: Parts) -> dict[str, Any]:
    prompt = _prompt(parts)
    chosen, rejected = _answer(parts, "chosen"), _answer(parts, "rejected")
    if parts.faults:
        return {}
    if prompt is None:
        prompt = _common(chosen, rejected)
        if not prompt:
            other = {"other": parts.column("rejected")}
            parts.faults.append(RowFault("no_common_prompt", parts.column("chosen"), other))
    else:
        chosen, rejected = (_without_repeated(prompt, answer) for answer in (chosen, rejected))
        prompt = _with_system(parts, prompt)
    if not parts.faults:
        shared = 0 if parts.names("prompt") else len(prompt)
        chosen, rejected = chosen[shared:], rejected[shared:]
        _check(parts, prompt, {"chosen": chosen, "rejected": rejected})
    if not parts.faults and chosen == rejected:
        parts.faults.append(RowFault("same_answers", parts.column("rejected"), {"other": parts.column("chosen")}))
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def unpaired(parts: Parts) -> dict[str, Any]:
    prompt, answer = _prompt(parts), _answer(parts, "completion")
    label = parts.label(parts.value("label"), parts.column("label")) if parts.has("label") else parts.missing("label")
    if parts.faults:
        return {}
    if prompt is None:
        prompt, answer = answer[:-1], answer[-1:]
    else:
        answer = _without_repeated(prompt, answer)
    prompt = _with_system(parts, prompt)
    _check(parts, prompt, {"completion": answer})
    return {"prompt": prompt, "completion": answer, "label": label}


def prompt_only(parts: Parts) -> dict[str, Any]:
    prompt = _prompt(parts)
    if prompt is None:
        return {}
    prompt = _with_system(parts, prompt)
    if not parts.faults:
        check_prompt(prompt, parts.column("prompt"), parts.faults)
    return {"prompt": prompt}


def check_answer(turns: list[Turn], column: str, faults: list[RowFault]) -> None:
    """An answer begins and ends with the assistant."""
    if not turns:
        faults.append(RowFault("empty_answer", column))
    elif turns[0]["role"] != "assistant":
        faults.append(RowFault("answer_not_assistant", f"{column}[0]", {"role": turns[0]["role"]}))
    elif turns[-1]["role"] != "assistant":
        values = {"turn": len(turns), "role": turns[-1]["role"]}
        faults.append(RowFault("last_not_assistant", f"{column}[{len(turns) - 1}]", values))


def _check(parts: Parts, prompt: list[Turn], answers: dict[str, list[Turn]]) -> None:
    check_prompt(prompt, parts.column("prompt"), parts.faults)
    for part, answer in answers.items():
        check_answer(answer, parts.column(part), parts.faults)
        check_turns(answer, parts.column(part), 0, parts.faults)


def _prompt(parts: Parts) -> list[Turn] | None:
    """The prompt's turns; None where no column plays that part, or its value is at fault."""
    if not parts.names("prompt"):
        return None
    if not parts.has("prompt"):
        parts.missing("prompt")
        return None
    value = listed(parts.value("prompt"))
    if isinstance(value, dict) and isinstance(value.get("messages"), list):  # OpenAI's `input`
        return read_turns(value["messages"], f"{parts.column('prompt')}.messages", parts.faults, KEYS)
    if isinstance(value, list):
        return read_turns(value, parts.column("prompt"), parts.faults, KEYS)
    text = parts.text("prompt", needed=True, is_prompt=True)
    more = parts.text("input", needed=False)
    if text is None:
        return None
    return _marked_turns(text) or [{"role": "user", "content": f"{text}\n\n{more}" if more else text}]


def _answer(parts: Parts, part: str) -> list[Turn]:
    """An answer's turns: a text is one turn of the assistant."""
    column = parts.column(part)
    if not parts.has(part):
        parts.missing(part)
        return []
    value = listed(parts.value(part))
    if isinstance(value, dict):
        return [turn for turn in read_turns([value], column, parts.faults, KEYS) if turn["role"]]
    if isinstance(value, list):
        return read_turns(value, column, parts.faults, KEYS)
    if not isinstance(value, str):
        parts.faults.append(RowFault("wrong_type", column, {"found": kind_of(value), "value": shorten(value)}))
    elif not value.strip():
        parts.faults.append(RowFault("empty_answer", column))
    else:
        return _marked_turns(value) or [{"role": "assistant", "content": value}]
    return []


def _marked_turns(text: str) -> list[Turn]:
    """`"\\n\\nHuman: Hi\\n\\nAssistant: Hello"` as turns; nothing for a text without such marks at its front."""
    if not _MARK.match(text):
        return []
    pieces = _MARK.split(text)[1:]
    turns = [
        {"role": _SPEAKER_OF_MARK[mark], "content": said.strip()}
        for mark, said in zip(pieces[::2], pieces[1::2], strict=True)
    ]
    return [turn for turn in turns if turn["content"]]  # a prompt may end with the bare mark of who answers


def _common(chosen: list[Turn], rejected: list[Turn]) -> list[Turn]:
    """The turns with which both begin, up to the last before they differ that is not the assistant's."""
    count = 0
    for one, other in zip(chosen, rejected, strict=False):
        if one != other:
            break
        count += 1
    while count and chosen[count - 1]["role"] == "assistant":
        count -= 1
    return chosen[:count]


def _without_repeated(prompt: list[Turn], answer: list[Turn]) -> list[Turn]:
    """The answer behind the prompt, where a source writes the prompt in front of it once more."""
    said = [(turn["role"], turn["content"]) for turn in prompt]
    begins = [(turn["role"], turn["content"]) for turn in answer[: len(prompt)]]
    return answer[len(prompt) :] if said == begins else answer


def _with_system(parts: Parts, prompt: list[Turn]) -> list[Turn]:
    system = parts.text("system", needed=False)
    return [{"role": "system", "content": system}, *prompt] if system else prompt
