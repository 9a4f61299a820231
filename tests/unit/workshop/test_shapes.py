"""Every shape becomes the training row that its trl type asks for, or says what is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.messages import LANGUAGES
from studio.workshop.converting.convert import converter
from studio.workshop.converting.recognise import shape_of
from studio.workshop.converting.shapes import FORMAT_OF_SHAPE, SHAPES, checked_mapping, format_of
from studio.workshop.versions.build import import_file
from studio.workshop.versions.layout import spoken, trained
from studio.workshop.versions.reader import iterate_rows


def user(text: Any) -> dict:
    return {"role": "user", "content": text}


def assistant(text: Any, **more: Any) -> dict:
    return {"role": "assistant", "content": text, **more}


def converted(row: Any, shape: str | None = None) -> dict:
    """The trained columns of a row that is read by its own shape."""
    if shape is None:
        shape, mapping = shape_of(row)
    else:
        mapping = checked_mapping(shape, None, file="f")
    made, faults = converter(shape, mapping)(row)
    assert not faults, faults
    assert spoken(made, format_of(shape, mapping)) or shape == "tokens"
    return trained(made, format_of(shape, mapping))


def faults_of(shape: str, row: Any) -> list:
    made, faults = converter(shape, checked_mapping(shape, None, file="f"))(row)
    assert (made is None) == bool(faults)
    for fault in faults:
        for language in LANGUAGES:
            words = fault.at(3, "").message(language)
            assert "{" not in words and not words.startswith("problems.")
    return [(fault.code, fault.field) for fault in faults]


CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
TOOL = {"type": "function", "function": {"name": "add"}}
YES, NO = [assistant("yes")], [assistant("no")]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            {"messages": [user([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), assistant("c")]},
            {"messages": [user("ab"), assistant("c")]},
        ),
        (
            {"messages": [user("q") | {"name": "Ann"}, assistant("x", weight=0), user("r"), assistant("y", weight=1)]},
            {"messages": [user("q") | {"name": "Ann"}, assistant("x", weight=0), user("r"), assistant("y", weight=1)]},
        ),
        (
            {"messages": [user("q"), assistant("a", name=None, tool_calls=None, weight=None)]},
            {"messages": [user("q"), assistant("a")]},
        ),
        (
            {
                "messages": [
                    user("q"),
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [{**CALL, "function": {"name": "add", "arguments": '{"a": 1}'}}],
                    },
                    {"role": "tool", "tool_call_id": "c1", "content": "2"},
                    assistant("2"),
                ],
                "tools": [TOOL],
            },
            {
                "messages": [
                    user("q"),
                    assistant("", tool_calls=[CALL]),
                    {"role": "tool", "tool_call_id": "c1", "content": "2"},
                    assistant("2"),
                ],
                "tools": [TOOL],
            },
        ),
        (
            {
                "conversations": [
                    {"from": "human", "value": "q"},
                    {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 1}}'},
                    {"from": "observation", "value": "2"},
                    {"from": "gpt", "value": "2"},
                ],
                "tools": '[{"name": "add"}]',
                "system": "s",
            },
            {
                "messages": [
                    {"role": "system", "content": "s"},
                    user("q"),
                    assistant("", tool_calls=[{"type": "function", "function": CALL["function"]}]),
                    {"role": "tool", "content": "2"},
                    assistant("2"),
                ],
                "tools": [TOOL],
            },
        ),
        (
            {"conversation": [["a", "b"], ["c", "d"]]},
            {"messages": [user("a"), assistant("b"), user("c"), assistant("d")]},
        ),
        (
            {"instruction": "c", "input": "x", "output": "d", "history": [["a", "b"]]},
            {"messages": [user("a"), assistant("b"), user("c\n\nx"), assistant("d")]},
        ),
        (
            {"prompt": [user("a"), assistant("b"), user("c")], "completion": [assistant("d")]},
            {"messages": [user("a"), assistant("b", weight=0), user("c"), assistant("d")]},
        ),
        ({"prompt": "q", "chosen": "yes", "rejected": "no"}, {"prompt": [user("q")], "chosen": YES, "rejected": NO}),
        (
            {"prompt": "q", "chosen": [user("q"), *YES], "rejected": [user("q"), *NO]},
            {"prompt": [user("q")], "chosen": YES, "rejected": NO},
        ),
        (
            {"chosen": [user("q"), *YES], "rejected": [user("q"), *NO]},
            {"prompt": [user("q")], "chosen": YES, "rejected": NO},
        ),
        (
            {"chosen": "\n\nHuman: q\n\nAssistant: yes", "rejected": "\n\nHuman: q\n\nAssistant: no"},
            {"prompt": [user("q")], "chosen": YES, "rejected": NO},
        ),
        (
            {"input": {"messages": [user("q")]}, "preferred_output": YES, "non_preferred_output": NO},
            {"prompt": [user("q")], "chosen": YES, "rejected": NO},
        ),
        (
            {
                "conversations": [{"from": "human", "value": "q"}],
                "chosen": {"from": "gpt", "value": "yes"},
                "rejected": {"from": "gpt", "value": "no"},
            },
            {"prompt": [user("q")], "chosen": YES, "rejected": NO},
        ),
        (
            {"instruction": "q", "input": "x", "chosen": "yes", "rejected": "no"},
            {"prompt": [user("q\n\nx")], "chosen": YES, "rejected": NO},
        ),
        (
            {"prompt": "q", "completion": "yes", "label": "👍"},
            {"prompt": [user("q")], "completion": YES, "label": True},
        ),
        (
            {"messages": [user("q"), assistant("no")], "kto_tag": False},
            {"prompt": [user("q")], "completion": NO, "label": False},
        ),
        (
            {"prompt": "q", "completions": ["s", "t"], "labels": [True, 0]},
            {"prompt": "q", "completions": ["s", "t"], "labels": [True, False]},
        ),
        ({"prompt": "q", "solution": "4"}, {"prompt": [user("q")]}),
        ({"text": " t \n"}, {"text": " t \n"}),
        ({"input_ids": [1, 2], "labels": [-100, 2]}, {"input_ids": [1, 2], "labels": [-100, 2]}),
        ({"input_ids": "[1, 2]"}, {"input_ids": [1, 2]}),
    ],
)
def test_what_a_row_becomes(row: dict, expected: dict):
    assert converted(row) == expected


@pytest.mark.parametrize(
    ("shape", "row", "expected"),
    [
        (
            "chat",
            {"messages": [user([{"type": "image_url"}]), assistant("a")]},
            [("non_text_part", "messages[0].content[0]")],
        ),
        (
            "chat",
            {"messages": [user([{"type": "text", "text": 5}]), assistant("a")]},
            [("non_text_content", "messages[0].content[0].text")],
        ),
        ("chat", {"messages": [user("q"), assistant("a", weight=0.5)]}, [("wrong_weight", "messages[1].weight")]),
        ("chat", {"messages": [user("q"), assistant("a", weight=True)]}, [("wrong_weight", "messages[1].weight")]),
        ("chat", {"messages": [user("q"), assistant("a", weight=0)]}, [("nothing_to_learn", "messages")]),
        ("chat", {"messages": [user("q"), assistant("a", name=5)]}, [("wrong_type", "messages[1].name")]),
        (
            "chat",
            {"messages": [user("q"), assistant("a", tool_calls=[5])]},
            [("broken_tool_call", "messages[1].tool_calls")],
        ),
        ("chat", {"messages": [user("q"), assistant("a")], "tools": "x"}, [("broken_tools", "tools")]),
        (
            "sharegpt",
            {"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": "add"}]},
            [("broken_tool_call", "conversations[1].value")],
        ),
        ("pairs", {"pairs": [["q"]]}, [("pair_not_two", "pairs[0]")]),
        ("pairs", {"pairs": [["q", 5]]}, [("non_text_content", "pairs[0][1]")]),
        ("pairs", {"pairs": []}, [("no_messages", "pairs")]),
        ("preference", {"prompt": "q", "chosen": "a", "rejected": "a"}, [("same_answers", "rejected")]),
        ("preference", {"prompt": "q", "chosen": "", "rejected": "a"}, [("empty_answer", "chosen")]),
        ("preference", {"prompt": "q", "chosen": 1, "rejected": "a"}, [("wrong_type", "chosen")]),
        ("preference", {"prompt": "", "chosen": "b", "rejected": "a"}, [("empty_prompt", "prompt")]),
        ("unpaired", {"prompt": "q", "completion": "a", "label": 3}, [("wrong_label", "label")]),
        ("unpaired", {"prompt": "q", "completion": "a"}, [("missing_key", "label")]),
        ("stepwise", {"prompt": "q", "completions": ["a"], "labels": []}, [("lengths_differ", "completions")]),
        ("stepwise", {"prompt": "q", "completions": [5], "labels": [True]}, [("step_not_text", "completions[0]")]),
        ("stepwise", {"prompt": "q", "completions": "a", "labels": [True]}, [("not_a_list", "completions")]),
        ("prompt", {"prompt": [user("q"), assistant("a")]}, [("prompt_ends_with_answer", "prompt")]),
        ("prompt", {"prompt": 5}, [("wrong_type", "prompt")]),
        ("text", {"text": " "}, [("empty_text", "text")]),
        ("text", {"text": 5}, [("wrong_type", "text")]),
        ("tokens", {"input_ids": [1, "2"]}, [("not_token", "input_ids[1]")]),
        ("tokens", {"input_ids": [1], "labels": [1, 2]}, [("lengths_differ", "input_ids")]),
        ("tokens", {"input_ids": []}, [("empty_text", "input_ids")]),
    ],
)
def test_what_is_wrong_with_a_row(shape: str, row: dict, expected: list):
    assert faults_of(shape, row) == expected


def test_a_prompt_is_cut_between_turns_and_not_inside_words():
    row = {"chosen": [user("q"), assistant("The answer is 4")], "rejected": [user("q"), assistant("The answer is 40")]}
    assert converted(row)["chosen"] == [assistant("The answer is 4")]


def test_answers_without_a_common_prompt_are_a_fault():
    made, faults = converter("preference", {"chosen": "chosen", "rejected": "rejected"})(
        {"chosen": "a b", "rejected": "a c"}
    )
    assert made is None and [fault.code for fault in faults] == ["no_common_prompt"]


def test_what_no_part_took_is_kept_and_a_category_is_named():
    made, _ = converter("text", {"text": "text", "kind": "category"})({"text": "t", "kind": ["a", 1], "id": 10**30})
    assert (made.extra, made.category) == ({"id": 10**30}, '["a",1]')


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3) | st.sampled_from(["user", "gpt", "[", "{"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "from", "value", "messages", "type", "text"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(shape=st.sampled_from(SHAPES), data=st.data())
def test_no_row_makes_conversion_fall_over(shape: str, data: st.DataObject):
    mapping = checked_mapping(shape, None, file="f")
    row = data.draw(st.dictionaries(st.sampled_from([*mapping, "other"]), ANYTHING))
    made, faults = converter(shape, mapping)(row)
    assert (made is None) == bool(faults)
    shape_of(row)
    if made:
        assert trained(made, FORMAT_OF_SHAPE[shape])
    for fault in faults:
        assert fault.at(1, "").message("zh")


def test_numbers_beyond_64_bits_survive_in_what_is_kept(tmp_path: Path):
    row = {"text": "t", "id": 10**30}
    (tmp_path / "a.jsonl").write_text(json.dumps(row), "utf-8")
    import_file(tmp_path / "a.jsonl", tmp_path / "v")
    (made,) = iterate_rows(tmp_path / "v")
    assert made.extra == {"id": 10**30} and json.loads(made.raw) == row
