"""Rows as a table, and the long table of their texts."""

import polars as pl
import pytest

from studio.workshop import table

CHAT = pl.DataFrame(
    {
        "row": [3, 5, 9],
        "messages": [
            [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
            [
                {"role": "user", "content": "A"},
                {"role": "assistant", "content": "B"},
                {"role": "user", "content": "C"},
                {"role": "assistant", "content": "D"},
            ],
            [{"role": "user", "content": "only"}],
        ],
    }
)
PAIRS = pl.DataFrame({"row": [3, 5], "prompt": ["a", "b"], "completion": ["x", "y"]})
STEPS = pl.DataFrame({"row": [3], "prompt": ["p"], "completions": [["s1", "s2"]], "labels": [[True, False]]})


def test_a_conversation_is_one_piece_a_turn() -> None:
    pieces = table.texts(CHAT).filter(pl.col("row") == 5)
    assert pieces.rows() == [
        (5, "messages", 0, "user", "A"),
        (5, "messages", 1, "assistant", "B"),
        (5, "messages", 2, "user", "C"),
        (5, "messages", 3, "assistant", "D"),
    ]


def test_columns_of_plain_text_are_pieces_in_row_order() -> None:
    assert table.texts(PAIRS).select("row", "column", "role", "text").rows() == [
        (3, "prompt", "user", "a"),
        (3, "completion", "assistant", "x"),
        (5, "prompt", "user", "b"),
        (5, "completion", "assistant", "y"),
    ]


def test_the_last_answer_and_what_was_asked_before_it() -> None:
    assert table.prompts(CHAT)["text"].to_list() == ["Hi", "A\nB\nC", "only"]
    assert table.answers(CHAT)["text"].to_list() == ["Hello", "D", None]
    assert table.whole_texts(PAIRS)["text"].to_list() == ["a\nx", "b\ny"]


@pytest.mark.parametrize("rows", [CHAT, PAIRS, STEPS], ids=["messages", "pairs", "stepwise"])
def test_putting_every_piece_back_unchanged_changes_nothing(rows: pl.DataFrame) -> None:
    assert table.with_texts(rows, table.texts(rows).select("row", "column", "turn", "text")).equals(rows)


def test_one_changed_turn_leaves_the_others_alone() -> None:
    changed = pl.DataFrame({"row": [5], "column": ["messages"], "turn": [3], "text": ["DD"]})
    rows = table.with_texts(CHAT, changed)
    assert rows["messages"][1].to_list()[3] == {"role": "assistant", "content": "DD"}
    assert rows["row"].to_list() == [3, 5, 9]
    assert rows.filter(pl.col("row") != 5).equals(CHAT.filter(pl.col("row") != 5))


def test_a_piece_is_named_as_findings_name_it() -> None:
    assert table.fields(table.texts(CHAT), CHAT).to_list()[:3] == [
        "messages[0].content",
        "messages[1].content",
        "messages[0].content",
    ]
    assert table.fields(table.texts(PAIRS), PAIRS).to_list() == ["prompt", "completion"] * 2
    assert table.fields(table.texts(STEPS), STEPS).to_list() == ["prompt", "completions[0]", "completions[1]"]
