"""Shapes are told by a vote, can be overridden, and the preview is quick on any size."""

import json
import time
from pathlib import Path

import pytest

from studio.errors import RefusedInput
from studio.paths import SAMPLES
from studio.workshop.converting.detect import preview
from studio.workshop.converting.recognise import shape_of
from studio.workshop.converting.shapes import checked_mapping, shape_with


@pytest.mark.parametrize(
    ("name", "shape", "format"),
    [
        ("chat", "chat", "messages"),
        ("sharegpt", "sharegpt", "messages"),
        ("alpaca", "alpaca", "prompt_completion"),
        ("prompt_completion", "prompt_completion", "prompt_completion"),
        ("chat_tools", "chat", "messages"),
        ("pairs", "pairs", "messages"),
        ("dialogue", "dialogue", "messages"),
        ("chat_completion", "chat_completion", "messages"),
        ("preference", "preference", "preference"),
        ("preference_implicit", "preference", "preference"),
        ("unpaired", "unpaired", "unpaired"),
        ("stepwise", "stepwise", "stepwise"),
        ("prompt", "prompt", "prompt"),
        ("text", "text", "text"),
        ("tokens", "tokens", "tokens"),
    ],
)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_samples_show_their_shape(name: str, shape: str, format: str, language: str):
    (path,) = SAMPLES.glob(f"{name}.{language}.*")
    seen = preview(path, limit=3)
    assert (seen.choice.shape, seen.format, seen.choice.confidence) == (shape, format, 1.0)
    assert len(seen.rows) == 3 and not seen.faults and seen.is_whole


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"Question": "q", "Answer": "a"}, ("prompt_completion", {"Question": "prompt", "Answer": "completion"})),
        ({"问题": "q", "答案": "a"}, ("prompt_completion", {"问题": "prompt", "答案": "completion"})),
        ({"input": "q", "output": "a"}, ("prompt_completion", {"input": "prompt", "output": "completion"})),
        ({"instruction": "q", "response": "a"}, ("alpaca", {"instruction": "instruction", "response": "output"})),
        ({"conversations": [{"role": "user", "content": ""}]}, ("chat", {"conversations": "messages"})),
        ({"messages": [{"from": "human", "value": ""}]}, ("sharegpt", {"messages": "conversations"})),
        ({"text": "x"}, ("text", {"text": "text"})),
        ({"messages": []}, None),
        ({"prompt": "q", "reply": "a"}, None),
        ({"prompt": "q", "solution": "a"}, ("prompt", {"prompt": "prompt"})),
        ({"problem": "q", "answer": "4", "level": 2}, ("prompt", {"problem": "prompt"})),
        ({"conversation": [["q", "a"]]}, ("pairs", {"conversation": "pairs"})),
        ({"messages": '[["q", "a"]]'}, ("pairs", {"messages": "pairs"})),
        (
            {"input": {}, "preferred_output": [], "non_preferred_output": []},
            (
                "preference",
                {"preferred_output": "chosen", "non_preferred_output": "rejected", "input": "prompt"},
            ),
        ),
        (
            {"instruction": "i", "input": "x", "chosen": "a", "rejected": "b"},
            (
                "preference",
                {"chosen": "chosen", "rejected": "rejected", "instruction": "prompt", "input": "input"},
            ),
        ),
        (
            {"conversations": [{"from": "human", "value": "q"}], "chosen": {}, "rejected": {}},
            (
                "preference",
                {"chosen": "chosen", "rejected": "rejected", "conversations": "prompt"},
            ),
        ),
        (
            {"prompt": "q", "completion": "a", "label": "👍"},
            (
                "unpaired",
                {"completion": "completion", "label": "label", "prompt": "prompt"},
            ),
        ),
        ({"messages": [], "kto_tag": True}, ("unpaired", {"messages": "completion", "kto_tag": "label"})),
        (
            {"prompt": "q", "completion": "a", "label": 3},
            (
                "prompt_completion",
                {"prompt": "prompt", "completion": "completion"},
            ),
        ),
        (
            {"prompt": "q", "completion": "a", "category": "x"},
            (
                "prompt_completion",
                {"prompt": "prompt", "completion": "completion", "category": "category"},
            ),
        ),
        (
            {"prompt": "q", "completions": ["s"], "labels": [True]},
            (
                "stepwise",
                {"prompt": "prompt", "completions": "completions", "labels": "labels"},
            ),
        ),
        ({"input_ids": [1], "labels": [1]}, ("tokens", {"input_ids": "input_ids", "labels": "labels"})),
        ("x", None),
    ],
)
def test_shape_of_one_row(row: object, expected: tuple | None):
    assert shape_of(row) == expected


def write(path: Path, rows: list) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_the_majority_wins_and_the_others_are_named(tmp_path: Path):
    rows = [{"prompt": "q", "completion": "a"}] * 8 + [{"instruction": "q", "output": "a"}] * 2
    seen = preview(write(tmp_path / "a.jsonl", rows))
    assert (seen.choice.shape, seen.choice.confidence, seen.choice.against) == ("prompt_completion", 0.8, [9, 10])
    assert {fault.row for fault in seen.faults} == {9, 10}


def test_an_optional_column_of_some_rows_is_not_left_out(tmp_path: Path):
    rows = [{"prompt": "q", "completion": "a"}] * 5 + [{"prompt": "q", "completion": "a", "system": "s"}]
    seen = preview(write(tmp_path / "a.jsonl", rows))
    assert seen.choice.columns["system"] == "system" and seen.choice.confidence == 1.0
    assert seen.rows[-1].prompt == "s\n\nq"


def test_unknown_columns_are_listed_and_can_be_named(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", [{"frage": "q", "antwort": "a"}])
    assert preview(path).choice is None and preview(path).all_columns == ["frage", "antwort"]
    seen = preview(path, columns={"frage": "prompt", "antwort": "completion"})
    assert (seen.choice.shape, seen.rows[0].prompt, seen.rows[0].completion) == ("prompt_completion", "q", "a")


def test_a_chosen_shape_beats_the_vote(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", [{"prompt": "q", "completion": "a", "instruction": "i", "output": "o"}])
    assert preview(path).choice.shape == "alpaca"
    assert (
        preview(path, shape="prompt_completion", columns={"prompt": "prompt", "completion": "completion"})
        .rows[0]
        .prompt
        == "q"
    )


@pytest.mark.parametrize(
    ("shape", "columns", "code"),
    [
        ("chats", None, "data.unknown_shape"),
        ("alpaca", {"a": "prompt"}, "data.unknown_part"),
        ("alpaca", {"a": "instruction"}, "data.part_missing"),
        ("prompt_completion", {"a": "prompt", "b": "prompt", "c": "completion"}, "data.part_twice"),
    ],
)
def test_a_mapping_that_cannot_be_is_refused(shape: str, columns: dict | None, code: str):
    with pytest.raises(RefusedInput) as caught:
        checked_mapping(shape, columns, file="f.csv")
    assert caught.value.code == code and "{" not in caught.value.message("zh")


def test_preview_of_a_large_file_reads_its_beginning_only(tmp_path: Path):
    path = tmp_path / "a.jsonl"
    line = json.dumps({"prompt": "q", "completion": "a" * 3000}).encode() + b"\n"
    with path.open("wb") as file:
        file.write(line * 1000)
        file.truncate(1 << 30)  # sparse: a gigabyte without writing one
    started = time.perf_counter()
    seen = preview(path, limit=5)
    assert time.perf_counter() - started < 1
    assert not seen.is_whole and seen.sampled < 500 and len(seen.rows) == 5


def test_pairs_with_earlier_exchanges_become_conversations():
    for language in ("en", "zh"):
        seen = preview(SAMPLES / f"alpaca_history.{language}.json")
        assert (seen.choice.shape, seen.format, seen.choice.confidence) == ("alpaca", "messages", 1.0)
        assert {len(row.messages) for row in seen.rows} == {2, 4}


def test_a_shape_chosen_by_a_person_takes_its_own_columns(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", [{"prompt": "q", "answer": "4", "id": n} for n in range(3)])
    assert preview(path).choice.shape == "prompt_completion"
    seen = preview(path, shape="prompt")
    assert (seen.format, seen.choice.columns) == ("prompt", {"prompt": "prompt"})
    assert seen.rows[2].extra == {"answer": "4", "id": 2}


@pytest.mark.parametrize(
    ("columns", "shape"),
    [
        ({"a": "prompt", "b": "completion"}, "prompt_completion"),
        ({"a": "prompt"}, "prompt"),
        ({"a": "text"}, "text"),
        ({"a": "chosen", "b": "rejected"}, "preference"),
        ({"a": "instruction", "b": "output", "c": "category"}, "alpaca"),
        ({"a": "messages", "b": "tools"}, "chat"),
        ({"a": "completion", "b": "label"}, "unpaired"),
    ],
)
def test_the_parts_that_a_person_names_tell_the_shape(columns: dict, shape: str):
    assert shape_with(columns) == shape
