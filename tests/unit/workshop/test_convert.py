"""Rows of each shape become training rows, or say everything that is wrong with them."""

from typing import Any

import pytest

from studio.messages import LANGUAGES, catalogue
from studio.workshop.converting.convert import converter
from studio.workshop.converting.shapes import ALPACA, CHAT, PROMPT_COMPLETION, SHAREGPT, checked_mapping
from studio.workshop.problems import closest, kind_of, shorten


def faults_of(shape: str, row: Any, mapping: dict | None = None) -> list:
    made, faults = converter(shape, mapping or checked_mapping(shape, None, file="f"))(row)
    assert (made is None) == bool(faults)
    for fault in faults:
        for language in LANGUAGES:  # every sentence can be filled in
            assert "{" not in fault.at(3, "").message(language).replace("{" + '"', "")
    return [(fault.code, fault.field) for fault in faults]


def chat(*turns: tuple[str, Any]) -> dict:
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def test_chat_roles_are_mapped_and_kept_in_order():
    row = chat(("developer", "s"), ("human", "q"), ("gpt", "a"), ("user", "q2"), ("assistant", "a2"))
    made, _ = converter(CHAT, {"messages": "messages"})(row)
    assert [turn["role"] for turn in made.messages] == ["system", "user", "assistant", "user", "assistant"]


def test_sharegpt_with_a_system_column():
    row = {"system": "be kind", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}
    made, _ = converter(SHAREGPT, {"conversations": "conversations", "system": "system"})(row)
    assert made.messages == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "a"},
    ]


def test_a_conversation_as_text_in_a_table_cell():
    made, faults = converter(CHAT, {"messages": "messages"})(
        {"messages": '[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]'}
    )
    assert not faults and made.messages[1] == {"role": "assistant", "content": "a"}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"instruction": "Sum", "input": "1 2", "output": "3"}, ("Sum\n\n1 2", "3")),
        ({"instruction": "Sum", "input": "", "output": "3"}, ("Sum", "3")),
        ({"instruction": "Sum", "input": None, "output": "3"}, ("Sum", "3")),
        ({"instruction": "Sum", "output": "3", "system": "S"}, ("S\n\nSum", "3")),
    ],
)
def test_alpaca_prompt_is_instruction_blank_line_input(row: dict, expected: tuple):
    made, _ = converter(ALPACA, checked_mapping(ALPACA, None, file="f"))(row)
    assert (made.prompt, made.completion) == expected


def test_prompt_and_completion_text_is_not_touched():
    made, _ = converter(PROMPT_COMPLETION, {"q": "prompt", "a": "completion"})({"q": " x\n", "a": " y "})
    assert (made.prompt, made.completion) == (" x\n", " y ")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([1], [("not_object", "")]),
        ({"message": []}, [("missing_key_hint", "messages")]),
        ({"xyz": []}, [("missing_key", "messages")]),
        ({"messages": 7}, [("not_a_conversation", "messages")]),
        ({"messages": "hello"}, [("not_a_conversation", "messages")]),
        ({"messages": []}, [("no_messages", "messages")]),
        ({"messages": [3]}, [("turn_not_object", "messages[0]")]),
        ({"messages": [{"role": "user"}]}, [("turn_missing_key", "messages[0].content")]),
        (chat(("user", "q")), [("no_assistant", "messages")]),
        (chat(("assistant", "a")), [("no_user", "messages")]),
        (chat(("user", "q"), ("assistant", "a"), ("user", "q")), [("last_not_assistant", "messages[2]")]),
        (chat(("user", "q"), ("user", "q"), ("assistant", "a")), [("same_role_twice", "messages[1]")]),
        (chat(("user", "q"), ("system", "s"), ("assistant", "a")), [("system_not_first", "messages[1]")]),
        (chat(("hummany", "q"), ("assistant", "a")), [("unknown_role_hint", "messages[0].role")]),
        (chat(("xyzzy", "q"), ("assistant", "a")), [("unknown_role", "messages[0].role")]),
        (chat((5, "q"), ("assistant", "a")), [("unknown_role", "messages[0].role")]),
        (chat(("user", "q"), ("assistant", 5)), [("non_text_content", "messages[1].content")]),
        (chat(("user", "q"), ("assistant", None)), [("non_text_content", "messages[1].content")]),
        (chat(("user", "q"), ("assistant", ["part"])), [("non_text_content", "messages[1].content")]),
        (chat(("user", "q"), ("assistant", " \n")), [("empty_answer_turn", "messages[1].content")]),
        (chat(("user", ""), ("assistant", "a")), [("empty_turn", "messages[0].content")]),
        (
            chat(("user", 1), ("assistant", "")),
            [("non_text_content", "messages[0].content"), ("empty_answer_turn", "messages[1].content")],
        ),
    ],
)
def test_faults_of_a_conversation(row: Any, expected: list):
    assert faults_of(CHAT, row) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("text", [("not_object", "")]),
        ({"prompt": "q"}, [("missing_key", "completion")]),
        ({"prompt": "q", "completio": "a"}, [("missing_key_hint", "completion")]),
        ({"prompt": "q", "completion": " "}, [("empty_answer", "completion")]),
        ({"prompt": "", "completion": "a"}, [("empty_prompt", "prompt")]),
        ({"prompt": "q", "completion": 42}, [("wrong_type", "completion")]),
        ({"prompt": ["q"], "completion": None}, [("wrong_type", "prompt"), ("wrong_type", "completion")]),
        ({"prompt": "q", "completion": "a", "system": 3}, [("wrong_type", "system")]),
    ],
)
def test_faults_of_a_pair(row: Any, expected: list):
    assert faults_of(PROMPT_COMPLETION, row) == expected


def test_the_sentence_of_two_user_turns_names_row_and_messages():
    _, (fault,) = converter(CHAT, {"messages": "messages"})(
        chat(("user", "a"), ("assistant", "b"), ("user", "c"), ("user", "d"), ("assistant", "e"))
    )
    assert fault.at(17, "").message("en").startswith("Row 17: messages 3 and 4 are both from the user.")


def test_types_are_named_in_the_reader_s_language():
    _, (fault,) = converter(PROMPT_COMPLETION, {"p": "prompt", "c": "completion"})({"p": "q", "c": 42})
    assert "a number (42)" in fault.at(1, "").message("en")
    assert "数字（42）" in fault.at(1, "").message("zh")


def test_every_code_has_its_words_and_its_short_name_in_both_languages():
    for language in LANGUAGES:
        words = {key.removesuffix("_one") for key in catalogue(language)}
        codes = {key.removeprefix("problems.") for key in words if key.startswith("problems.")}
        codes = {code for code in codes if "." not in code and not code.endswith("_counted")}
        kinds = {key.removeprefix("data.kind.") for key in words if key.startswith("data.kind.")}
        assert codes == {kind for kind in kinds if "." not in kind}


def test_small_words():
    assert shorten("a\n b" + "x" * 100).endswith("…") and len(shorten("x" * 500)) == 60
    assert [kind_of(value) for value in (True, 1, 1.5, "", [], {}, None)] == [
        "boolean",
        "number",
        "number",
        "text",
        "list",
        "object",
        "nothing",
    ]
    assert closest("Hummany", ["human", "gpt"]) == "human"
    assert closest("zzz", ["human"]) is None
