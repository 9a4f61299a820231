"""A broken element of an array costs itself and no other, and nothing inside a text is ever taken for a row."""

import json
import random
import time
from pathlib import Path

import pytest

from studio.workshop.reading import limits
from studio.workshop.reading.opening import open_source
from tests.unit.workshop.real_rows import utterances

CHAT = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}'
PAIR = '{"prompt": "a", "completion": "b"}'


def read(path: Path, text: str) -> tuple[list, list]:
    """The values read, and (row, byte offset, code, text) of every fault."""
    path.write_bytes(text.encode())
    rows = list(open_source(path).rows())
    assert [row.row for row in rows] == list(range(1, len(rows) + 1))
    faults = [(row.row, row.offset, row.fault.code, row.raw) for row in rows if row.fault]
    return [row.value for row in rows if not row.fault], faults


@pytest.mark.parametrize(
    "broken",
    [
        '{"prompt": "he said "hi" to me", "completion": "b"}',
        '{"prompt": "he said "hi", "completion": "b"}',
        '{"prompt": "a", "completion": "b',
        '{"prompt": "a", "completion": b"}',
        '{"prompt": {"a": 1, "completion": "b"}',
        '{"prompt": ["a", "b", "completion": "b"}',
        '{"prompt": "a", "completion": [1, 2}',
        '{"prompt": "a", "completion": "b"}}',
        '{"prompt": "a", "completion": "b"]',
        "{'prompt': 'it\"s', 'completion': 'b'}",
        '{"prompt": "{", "completion": "}" "}',
    ],
)
@pytest.mark.parametrize("between", [", ", ",\n", ",\n  ", "\n, ", ","])
@pytest.mark.parametrize(("before", "layout"), [(3, "[%s]"), (1, "[\n%s\n]\n"), (2, '{"data": [%s]}')])
def test_one_broken_element_costs_itself(tmp_path: Path, broken: str, between: str, before: int, layout: str):
    text = layout % between.join([*[PAIR] * before, broken, *[PAIR] * 4])
    good, faults = read(tmp_path / "a.json", text)
    ((row, offset, _, raw),) = faults
    if broken == PAIR + "}":  # the bracket too many is told, the row is kept
        assert len(good) == before + 5 and raw == "}"
    else:
        begin = len(layout.split("%s")[0] + (PAIR + between) * before)
        assert good == [json.loads(PAIR)] * (before + 4)
        assert (row, offset, raw) == (before + 1, begin, broken)


@pytest.mark.parametrize(
    "broken", [CHAT[:-2], CHAT[:-3], CHAT.replace("Hi", '"Hi"'), CHAT.replace("}]", "]"), CHAT.replace("[", "", 1)]
)
def test_broken_chats_cost_themselves_too_the_first_one_as_well(tmp_path: Path, broken: str):
    for texts in ([CHAT] * 2 + [broken] + [CHAT] * 3, [broken] + [CHAT] * 3, [broken, CHAT, broken, broken, CHAT]):
        good, faults = read(tmp_path / "a.json", "[" + ", ".join(texts) + "]")
        assert good == [json.loads(CHAT)] * texts.count(CHAT)
        assert faults[0][3] == broken and "".join(fault[3] for fault in faults).count(broken) == texts.count(broken)


def test_an_object_keyed_by_id_goes_on_with_the_next_id(tmp_path: Path):
    text = f'{{"17": {PAIR}, "18": {{"prompt": "a "quote", "completion": "b"}}, "19": {PAIR}, "20": {PAIR}}}'
    good, (fault,) = read(tmp_path / "a.json", text)
    assert [value["key"] for value in good] == ["17", "19", "20"] and fault[:2] == (2, text.index('{"prompt": "a "'))


@pytest.mark.parametrize("count", [1, 2, 3, 30, 200])
def test_a_list_that_stands_unescaped_in_a_broken_text_is_never_taken_for_rows(tmp_path: Path, count: int):
    inner = ", ".join(['{"prompt": "inner", "completion": "inner"}'] * count)
    for inside in (f"[{inner}]", inner, f"[{inner}", "\n" + inner + "\n"):
        broken = f'{{"prompt": "Write JSON", "completion": "Here: {inside} and so on"}}'
        text = "[" + ", ".join([PAIR, broken, PAIR, PAIR]) + "]"
        good, faults = read(tmp_path / "a.json", text)
        assert all(value == json.loads(PAIR) for value in good) and faults


def test_where_objects_within_look_like_rows_nothing_is_guessed(tmp_path: Path):
    tree = '{"id": 1, "parts": [{"id": 2, "parts": []}, {"id": 3, "parts": []}]}'
    good, faults = read(tmp_path / "a.json", f"[{tree}, {tree[:-2]}, {tree}, {tree}]")
    assert good == [json.loads(tree)] and [fault[2] for fault in faults] == ["array_cut_off"]


def test_another_list_behind_the_rows_is_still_reported_and_not_read(tmp_path: Path):
    text = f'{{"train": [{PAIR}, {PAIR}], "test": [{PAIR}, {PAIR}, {PAIR}]}}'
    good, faults = read(tmp_path / "a.json", text)
    assert len(good) == 2 and [fault[2] for fault in faults] == ["text_after_end"]


@pytest.mark.parametrize("indent", [None, 1])
def test_real_rows_with_one_sign_lost_or_put_in_lose_hardly_another_and_gain_none(tmp_path: Path, indent: int | None):
    said = utterances()[:120]
    rows = [{"id": n, "turns": [{"role": "user", "content": text}]} for n, text in enumerate(said)]
    text = json.dumps(rows, indent=indent, ensure_ascii=False)
    chance = random.Random(7)
    for _ in range(40):
        at = chance.choice([place for place, sign in enumerate(text) if sign in '{}[]",:\\' and place > 100])
        mutated = text[:at] + chance.choice(["", text[at] * 2, '"', "}", "]", "{"]) + text[at + 1 :]
        good, faults = read(tmp_path / "a.json", mutated)
        if [fault[2] for fault in faults] == ["text_after_end"]:
            continue  # a bracket that ends the array
        changed = [value for value in good if isinstance(value, dict) and value not in rows]
        assert len(changed) <= 1 and len(good) >= len(rows) - 2, (at, mutated[at - 30 : at + 30], len(good))


def test_it_works_across_pieces_and_stays_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "CHUNK_BYTES", 500)
    texts = [CHAT, CHAT[:-2], CHAT.replace("Hi", 'H"i'), CHAT] * 40
    good, faults = read(tmp_path / "a.json", "[" + ", ".join([CHAT, *texts]) + "]")
    assert len(good) == 81 and {json.dumps(value) for value in good} == {CHAT} and len(faults) == 40


@pytest.mark.parametrize("broken", [CHAT[:-2], CHAT.replace("Hi", 'H"i'), '{"messages": ', CHAT + "}"])
def test_an_array_of_nothing_but_broken_elements_ends_soon(tmp_path: Path, broken: str):
    began = time.process_time()
    _, faults = read(tmp_path / "a.json", "[" + CHAT + ", " + ", ".join([broken, broken, CHAT] * 250) + "]")
    assert faults and time.process_time() - began < 5
