"""What a page suggests for a faulty row mends that fault, and nothing is suggested that is not certain."""

import json

import pytest

from studio.workshop.converting.convert import convert_text, converter
from studio.workshop.converting.shapes import checked_mapping
from studio.workshop.problems import suggested_fix


def chat(*turns: tuple) -> dict:
    return {"id": 7, "messages": [{"role": role, "content": content} for role, content in turns]}


@pytest.mark.parametrize(
    ("shape", "row", "mended"),
    [
        ("chat", chat(("hummany", "q"), ("gpt", "a")), chat(("human", "q"), ("gpt", "a"))),
        ("chat", chat(("user", "q"), ("assistant", 42)), chat(("user", "q"), ("assistant", "42"))),
        ("chat", chat(("user", "q"), ("gpt", "a"), ("user", "b")), chat(("user", "q"), ("gpt", "a"))),
        ("chat", chat(("system", " "), ("user", "q"), ("gpt", "a")), chat(("user", "q"), ("gpt", "a"))),
        ("prompt_completion", {"promt": "q", "completion": "a"}, {"prompt": "q", "completion": "a"}),
        ("prompt_completion", {"prompt": "q", "completion": 1.5}, {"prompt": "q", "completion": "1.5"}),
    ],
)
def test_a_certain_fault_is_mended_and_the_row_can_be_used(shape: str, row: dict, mended: dict):
    convert = converter(shape, checked_mapping(shape, None, file="f"))
    _, (fault,) = convert(row)
    fixed = suggested_fix(fault.at(3, json.dumps(row)))
    assert json.loads(fixed) == mended
    assert convert_text(fixed, convert)[1] == []


@pytest.mark.parametrize(
    "row",
    [
        chat(("xyzzy", "q"), ("gpt", "a")),
        chat(("user", "q"), ("gpt", "")),
        chat(("user", "q"), ("gpt", ["a"])),
        chat(("user", "q"), ("gpt", True)),
        chat(("user", ""), ("gpt", "a")),
        chat(("gpt", "a")),
    ],
)
def test_nothing_uncertain_is_suggested(row: dict):
    _, faults = converter("chat", {"messages": "messages"})(row)
    assert [suggested_fix(fault.at(3, json.dumps(row))) for fault in faults] == [None] * len(faults)


def test_a_key_with_dots_and_brackets_is_found():
    row = {"a.b[0]": 5, "completion": "x"}
    _, (fault,) = converter("prompt_completion", {"a.b[0]": "prompt", "completion": "completion"})(row)
    assert json.loads(suggested_fix(fault.at(1, json.dumps(row)))) == {"a.b[0]": "5", "completion": "x"}
