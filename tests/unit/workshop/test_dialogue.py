"""Chat logs of two people become conversations: who writes first asks, and what one writes in a row is one turn."""

import json
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.data.mending import mended_rows
from studio.messages import LANGUAGES
from studio.workshop.converting.convert import converter
from studio.workshop.converting.detect import preview
from studio.workshop.converting.recognise import shape_of
from studio.workshop.converting.turns import unread_keys
from studio.workshop.problems import RowFault, suggested_fix
from studio.workshop.versions.build import import_file, revise
from studio.workshop.versions.problem_groups import problem_groups

CHITCHAT = Path(find_spec("chitchat_dataset").origin).with_name("dataset.json")
FAULTY = {"one_sender": 3150, "last_not_assistant": 1869, "empty_message": 31}
CONVERT = converter("dialogue", {"messages": "dialogue", "system": "system"})


def log(*said: tuple, keys: tuple[str, str] = ("sender", "text")) -> dict:
    return {"messages": [dict(zip(keys, each, strict=True)) for each in said]}


def turns(row: dict) -> list[tuple[str, str]]:
    made, faults = CONVERT(row)
    assert not faults, faults
    return [(turn["role"], turn["content"]) for turn in made.messages]


def faults_of(row: dict) -> list[RowFault]:
    made, faults = CONVERT(row)
    assert made is None and faults
    for fault in faults:
        for language in LANGUAGES:
            words = fault.at(3, "").message(language)
            assert "{" not in words and not words.startswith("problems.")
    return faults


@pytest.mark.parametrize(
    "keys",
    [("sender", "text"), ("author", "content"), ("from", "text"), ("user", "text"), ("speaker", "message")]
    + [("name", "body"), ("发送者", "内容")],
)
def test_messages_in_a_row_are_joined_and_who_writes_first_asks(keys: tuple[str, str]):
    row = log(("b7", "Hi"), ("b7", "There?"), ("a1", "Yes"), ("b7", "Good"), ("a1", "So?"), keys=keys)
    assert shape_of(row) == ("dialogue", {"messages": "dialogue"})
    assert turns(row) == [("user", "Hi\nThere?"), ("assistant", "Yes"), ("user", "Good"), ("assistant", "So?")]


@pytest.mark.parametrize("sizes", [(1, 2), (2, 1), (3, 3)])
def test_lists_of_what_one_wrote_in_a_row_are_the_same_chat(sizes: tuple[int, int]):
    said = [[(who, f"{who}{n}") for n in range(size)] for who, size in zip("ab", sizes, strict=True)]
    nested = {"messages": [log(*run)["messages"] for run in said]}
    flat = log(*[each for run in said for each in run])
    assert shape_of(nested) == shape_of(flat) == ("dialogue", {"messages": "dialogue"})
    assert turns(nested) == turns(flat)
    as_text = {"messages": json.dumps(nested["messages"])}
    assert shape_of(as_text) == shape_of(nested) and turns(as_text) == turns(nested)


@pytest.mark.parametrize(
    ("senders", "roles"),
    [
        (("bot", "Ann"), ("assistant", "user")),
        (("Ann", "Bot"), ("user", "assistant")),
        (("human", "Ann"), ("user", "assistant")),
        (("human", "gpt"), ("user", "assistant")),
        ((1, "1"), ("user", "assistant")),
        (({"id": 4}, {"id": 5}), ("user", "assistant")),
    ],
)
def test_a_sender_who_is_called_by_a_role_keeps_it(senders: tuple, roles: tuple):
    row = log(*((who, "x") for who in (*senders, *senders)))
    if roles[0] == "assistant":
        row = log(*((who, "x") for who in (*senders, senders[0])))
        assert [role for role, _ in turns(row)] == [*roles, roles[0]]
    else:
        assert [role for role, _ in turns(row)] == [*roles, *roles]


def test_a_system_text_stands_in_front():
    assert turns(log(("a", "q"), ("b", "w")) | {"system": "s"})[0] == ("system", "s")
    assert turns(log(("system", "s"), ("a", "q"), ("b", "w")))[0] == ("system", "s")


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "q", "name": "Ann"}, {"role": "assistant", "content": "a"}]},
        {"messages": [{"from": "human", "value": "q", "name": "Ann", "text": "?"}, {"from": "gpt", "value": "a"}]},
        {"messages": [["q", "a"], ["r", "b"]]},
    ],
)
def test_other_shapes_of_conversations_stay_what_they_are(row: dict):
    assert shape_of(row)[0] in ("chat", "sharegpt", "pairs")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (log(), [("no_messages", "messages")]),
        (log(("a", "x"), ("a", "y")), [("one_sender", "messages")]),
        (log(("user", "x")), [("one_sender", "messages")]),
        (log(("a", "x"), ("b", "y"), ("c", "z")), [("more_than_two_senders", "messages")]),
        (log(("user", "x"), ("bot", "y"), ("Ann", "z")), [("more_than_two_senders", "messages")]),
        (log(("user", "x"), ("observation", "y")), [("tool_sends", "messages")]),
        (log(("user", "x"), ("function_call", "{}")), [("tool_sends", "messages")]),
        (log(("a", "x"), ("b", "y"), ("a", "z"), ("a", "w")), [("last_not_assistant", "messages[2]")]),
        (log(("a", "x"), ("system", "y"), ("b", "z")), [("system_not_first", "messages[1]")]),
        (log(("a", 5), ("b", "y")), [("non_text_content", "messages[0].text")]),
        (
            log(("a", None), ("b", " ")),
            [("non_text_content", "messages[0].text"), ("empty_message", "messages[1].text")],
        ),
        (log((None, "x"), ("b", "y")), [("sender_not_named", "messages[0].sender")]),
        (log((True, "x"), (" ", "y")), [("sender_not_named", f"messages[{n}].sender") for n in (0, 1)]),
        ({"messages": ["x"]}, [("turn_not_object", "messages[0]")]),
        ({"messages": [{"sender": "a"}]}, [("turn_missing_key", "messages[0].text")]),
        ({"messages": [[{"text": "a"}]]}, [("turn_missing_key", "messages[0][0].sender")]),
        ({"messages": "x"}, [("not_a_conversation", "messages")]),
        ({"id": 4}, [("missing_key", "messages")]),
    ],
)
def test_what_is_wrong_with_a_chat_log(row: dict, expected: list):
    assert [(fault.code, fault.field) for fault in faults_of(row)] == expected


A, B = ({"sender": who, "text": f"of {who}"} for who in "ab")
EMPTY = {"sender": "a", "text": " "}


@pytest.mark.parametrize(
    ("messages", "mended"),
    [
        ([A, B, A], [A, B]),
        ([A, B, A, A], [A, B]),
        ([[A], [B], [A, A]], [[A], [B]]),
        ([[A], [B], [A], [A]], [[A], [B]]),
        ([[A], [B, A], [A]], [[A], [B]]),
        ([[A, B, A]], [[A, B]]),
        ([A, EMPTY, B, EMPTY], [A, B]),
        ([[A], [EMPTY, EMPTY], [B, EMPTY]], [[A], [B]]),
    ],
)
def test_a_fix_takes_out_what_follows_the_last_answer_and_what_says_nothing(messages: list, mended: list):
    row = {"id": 7, "messages": messages}
    _, faults = CONVERT(row)
    fixed = suggested_fix(faults[0].at(3, json.dumps(row)))
    assert json.loads(fixed) == {"id": 7, "messages": mended}
    assert CONVERT(json.loads(fixed))[0] is not None


def test_a_fix_finds_a_column_whose_name_holds_brackets():
    row = {"chat[0]": [A, EMPTY, B], "chat": [EMPTY]}
    _, (fault,) = converter("dialogue", {"chat[0]": "dialogue"})(row)
    assert json.loads(suggested_fix(fault.at(1, json.dumps(row)))) == {"chat[0]": [A, B], "chat": [EMPTY]}


def test_nothing_is_proposed_where_nobody_answers():
    row = {"messages": [{"sender": "bot", "text": "x"}, A]}
    (fault,) = faults_of(row)
    assert fault.code == "last_not_assistant" and suggested_fix(fault.at(3, json.dumps(row))) is None


def test_keys_that_training_does_not_read_are_told():
    row = {"messages": [[A | {"timestamp": "2018", "edited": None}], [B | {"name": "Bo"}]]}
    assert unread_keys(row, {"messages": "dialogue"}) == {"timestamp", "name"}


TEXTS = st.text(max_size=6).filter(str.strip)


@given(st.lists(st.tuples(st.sampled_from(["ann", "bo"]), TEXTS), min_size=1, max_size=12), st.data())
def test_joining_loses_and_turns_around_nothing(said: list[tuple[str, str]], data: st.DataObject):
    said = [("ann", "first"), *said, ("bo", "last")]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(said) - 1))))
    flat = log(*said)["messages"]
    nested = [flat[start:end] for start, end in zip([0, *cuts], [*cuts, len(flat)], strict=True)]
    made = turns({"messages": flat})
    assert made == turns({"messages": nested})
    assert "\n".join(text for _, text in made) == "\n".join(text for _, text in said)
    assert [role for role, _ in made] == [("user", "assistant")[n % 2] for n in range(len(made))]


def test_all_real_chats_are_accounted_for():
    """Counted in the file itself: 3,150 chats of one person, 1,881 that the first one ends, 31 with empty messages."""
    seen = preview(CHITCHAT)
    assert (seen.choice.shape, seen.choice.confidence, set(seen.unread_keys)) == ("dialogue", 1.0, {"timestamp"})
    chats, codes = json.loads(CHITCHAT.read_text("utf-8")), Counter()
    for chat in chats.values():
        made, faults = CONVERT(chat)
        codes[faults[0].code if faults else "usable"] += 1
        if made:
            said = [each["text"] for run in chat["messages"] for each in run]
            assert "\n".join(turn["content"] for turn in made.messages) == "\n".join(said)
    assert codes == {"usable": 2118} | FAULTY and codes.total() == len(chats) == 7168


@pytest.mark.slow
def test_all_real_chats_are_imported_and_mended_by_kind(tmp_path: Path):
    made = import_file(CHITCHAT, tmp_path / "v1")
    assert (made.source_rows, made.rows, codes_of(tmp_path / "v1")) == (7168, 2118, FAULTY)
    assert made.source["unread_keys"] == {"timestamp": made.rows}
    edits = {}
    for code in ("last_not_assistant", "empty_message"):
        edits |= mended_rows(tmp_path / "v1", "open", code)[0]
    revised = revise(tmp_path / "v1", tmp_path / "v2", edits={int(row): raw for row, raw in edits.items()}, exclude=[])
    assert (revised.rows, codes_of(tmp_path / "v2")) == (4017, {"one_sender": 3150, "empty_message": 1})


def codes_of(folder: Path) -> dict[str, int]:
    return {group.code: group.rows for group in problem_groups(folder)}
