"""A version whose rows all begin with one system prompt."""

from studio.workshop.versions.reader import iterate_problems, iterate_rows, read_manifest
from studio.workshop.versions.system_prompt import add_system_prompt
from tests.unit.workshop.making import chat, pair, version

SYSTEM = "Be brief."


def turns(row):
    return [(turn["role"], turn["content"]) for turn in row.messages]


def test_pairs_become_conversations_and_keep_numbers_sides_and_problems(tmp_path):
    rows = [pair("Hi", "Hello", category="greeting", extra={"id": 7}), pair("A", "B")]
    parent = version(tmp_path / "v1", rows, problems={2: "empty_answer"}, splits={1: "train", 3: "validation"})
    made = add_system_prompt(parent, SYSTEM, tmp_path / "v2")
    first, second = iterate_rows(tmp_path / "v2")
    assert (first.row, second.row) == (1, 3) and (first.split, second.split) == ("train", "validation")
    assert turns(first) == [("system", SYSTEM), ("user", "Hi"), ("assistant", "Hello")]
    assert (first.category, first.extra) == ("greeting", {"id": 7})
    assert '"content":"Be brief."' in first.raw
    assert [(each.row, each.code, each.state) for each in iterate_problems(tmp_path / "v2")] == [
        (2, "empty_answer", "open")
    ]
    before = read_manifest(parent)
    assert (made.rows, made.problems, made.splits) == (before.rows, before.problems, before.splits)
    assert (made.parent, made.shape, made.format) == (before.content_hash, "chat", "messages")
    assert made.steps[-1].operation == "system_prompt" and made.steps[-1].parameters == {"system": SYSTEM}
    assert made.content_hash != before.content_hash


def test_a_conversations_own_system_prompt_gives_way(tmp_path):
    row = chat("Hi", "Hello")
    own = chat("Hi", "Hello")
    own.messages.insert(0, {"role": "system", "content": "Old."})
    parent = version(tmp_path / "v1", [row, own])
    add_system_prompt(parent, SYSTEM, tmp_path / "v2")
    first, second = iterate_rows(tmp_path / "v2")
    assert turns(first) == turns(second) == [("system", SYSTEM), ("user", "Hi"), ("assistant", "Hello")]
    add_system_prompt(tmp_path / "v2", "Be kind.", tmp_path / "v3")
    assert [turns(each)[0] for each in iterate_rows(tmp_path / "v3")] == [("system", "Be kind.")] * 2
