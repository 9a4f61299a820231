"""A row edited on the page: what was typed goes into the source, and nothing else of the source is lost."""

import json
from typing import Any

import msgspec
import pytest

from app.data.editing import faults, texts, with_texts
from studio.workshop.converting.convert import convert_text, converter
from studio.workshop.converting.shapes import format_of
from studio.workshop.versions.manifest import Manifest
from studio.workshop.versions.reader import Row

CHAT = {"messages": "messages", "tools": "tools"}
CALL = {"type": "function", "function": {"name": "open", "arguments": {"who": "ann@example.com"}}}


def known(shape: str, columns: dict[str, str]) -> Manifest:
    given = {"format": format_of(shape, columns), "shape": shape, "columns": columns, "source": {"file": "a.jsonl"}}
    counts = {"source_rows": 1, "rows": 1, "problems": 0, "excluded": 0, "blank_lines": 0, "problem_codes": {}}
    return Manifest(**given, **counts, parent=None, steps=[], content_hash="", created_at="")


def row_of(source: dict[str, Any], manifest: Manifest) -> Row:
    made, found = convert_text(json.dumps(source), converter(manifest.shape, manifest.columns))
    assert made is not None, found
    return Row(row=1, raw=json.dumps(source), **msgspec.structs.asdict(made))


def edited(source: dict[str, Any], manifest: Manifest, typed: dict[str, str]) -> Any:
    made = with_texts(row_of(source, manifest), manifest, typed)
    return None if made is None else json.loads(made)


def test_what_training_does_not_read_stays_in_the_source():
    source = {
        "messages": [
            {"role": "user", "content": "Hi", "id": 7, "seen_at": "2026-01-02"},
            {"role": "assistant", "content": "Hello", "score": 0.5, "by": {"model": "m", "tokens": [1, 2]}},
        ],
        "topic": "greeting",
    }
    wanted = json.loads(json.dumps(source))
    wanted["messages"][1]["content"] = "Good day."
    assert edited(source, known("chat", CHAT), {"messages.1": "Good day."}) == wanted


def test_of_equal_texts_the_one_that_was_edited_changes():
    turns = [{"role": role, "content": "Yes", "id": at} for at, role in enumerate(["user", "assistant"] * 2)]
    source = {"title": "Yes", "messages": turns}
    made = edited(source, known("chat", CHAT), {"messages.2": "No", "messages.3": "Well"})
    assert made["title"] == "Yes"
    assert [turn["content"] for turn in made["messages"]] == ["Yes", "Yes", "No", "Well"]
    assert [turn["id"] for turn in made["messages"]] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("shape", "columns", "source", "name", "path"),
    [
        (
            "sharegpt",
            {"conversations": "conversations"},
            {"conversations": [{"from": "human", "value": "Hi", "id": 1}, {"from": "gpt", "value": "Yo", "id": 2}]},
            "messages.1",
            ("conversations", 1, "value"),
        ),
        (
            "chat",
            CHAT,
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
                    {"role": "assistant", "content": "Yo", "x": 1},
                ]
            },
            "messages.0",
            ("messages", 0, "content", 0, "text"),
        ),
        (
            "preference",
            {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
            {
                "prompt": "Hi",
                "chosen": {"role": "assistant", "content": "Yo", "id": 3},
                "rejected": {"role": "assistant", "content": "No", "id": 4},
            },
            "rejected.0",
            ("rejected", "content"),
        ),
        (
            "alpaca",
            {"instruction": "instruction", "output": "output"},
            {"instruction": "Add", "output": "2", "n": 10**30},
            "completion.0",
            ("output",),
        ),
        ("text", {"text": "text"}, {"text": "Once", "page": [4]}, "text.0", ("text",)),
    ],
)
def test_each_shape_keeps_the_rest_of_its_source(shape, columns, source, name, path):
    wanted = json.loads(json.dumps(source))
    held = wanted
    for key in path[:-1]:
        held = held[key]
    held[path[-1]] = "Another text"
    assert edited(source, known(shape, columns), {name: "Another text"}) == wanted


def test_what_a_cleaning_step_hid_does_not_come_back_with_an_edit():
    """The stored source is the file's; the row that training gets is masked since."""
    manifest = known("chat", CHAT)
    call = {"role": "assistant", "content": "Opening.", "tool_calls": [CALL]}
    row = row_of({"messages": [{"role": "user", "content": "I am ann@example.com"}, call], "tools": []}, manifest)
    masked = json.loads(json.dumps(row.messages).replace("ann@example.com", "[e-mail]"))
    made = with_texts(msgspec.structs.replace(row, messages=masked), manifest, {"messages.1": "Done."})
    assert "ann@" not in made and json.loads(made)["messages"][1]["content"] == "Done."


def test_a_cleaned_text_is_written_into_the_source_beside_its_other_keys():
    manifest = known("chat", CHAT)
    source = {"messages": [{"role": "user", "content": "<b>Hi</b>", "id": 1}, {"role": "assistant", "content": "Yo"}]}
    row = row_of(source, manifest)
    cleaned = [row.messages[0] | {"content": "Hi"}, row.messages[1]]
    made = json.loads(with_texts(msgspec.structs.replace(row, messages=cleaned), manifest, {"messages.1": "Hello"}))
    assert made["messages"] == [{"role": "user", "content": "Hi", "id": 1}, {"role": "assistant", "content": "Hello"}]


def test_an_unusable_text_is_handed_back_with_its_fault_at_its_turn():
    manifest = known("chat", CHAT)
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi"}]
    made = with_texts(row_of({"messages": turns}, manifest), manifest, {"messages.1": " "})
    assert [(each.code, each.field) for each in faults(made, manifest)] == [
        ("empty_answer_turn", "messages[1].content")
    ]


def test_texts_that_the_source_puts_together_cannot_be_put_back_one_by_one():
    manifest = known("alpaca", {"instruction": "instruction", "input": "input", "output": "output"})
    row = row_of({"instruction": "Add", "input": "1 2", "output": "3"}, manifest)
    assert [text for *_, text in texts(row, manifest.format)] == ["Add\n\n1 2", "3"]
    assert with_texts(row, manifest, {"prompt.0": "Add 4 5"}) is None
    assert json.loads(with_texts(row, manifest, {"completion.0": "4"})) == {
        "instruction": "Add",
        "input": "1 2",
        "output": "4",
    }


def test_line_ends_that_a_browser_changed_are_no_edit():
    source = {"messages": [{"role": "user", "content": "a\r\nb"}, {"role": "assistant", "content": "c"}]}
    made = edited(source, known("chat", CHAT), {"messages.0": "a\nb", "messages.1": "d"})
    assert [turn["content"] for turn in made["messages"]] == ["a\r\nb", "d"]


def test_a_turn_put_together_of_several_messages_is_edited_too():
    said = [{"sender": who, "text": text, "at": 5} for who, text in (("ann", "Hi"), ("ann", "There?"), ("bo", "Yes"))]
    source, logs = {"messages": said, "id": 3}, known("dialogue", {"messages": "dialogue"})
    assert edited(source, logs, {"messages.1": "No"}) == source | {"messages": [*said[:2], said[2] | {"text": "No"}]}
    told = edited(source, logs, {"messages.0": "Hello?"})
    assert told["messages"] == [{"sender": "user", "text": "Hello?"}, {"sender": "assistant", "text": "Yes"}]
    assert told["id"] == 3 and faults(json.dumps(told), logs) == []
