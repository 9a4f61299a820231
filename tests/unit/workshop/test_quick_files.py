"""A file read the quick ways and the careful way alone: the same rows, faults, counts and hash, however damaged."""

import json
import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.errors import RefusedInput
from studio.workshop.converting.convert import convert_text, converter
from studio.workshop.versions import build
from studio.workshop.versions.layout import Row
from studio.workshop.versions.reader import iterate_problems, iterate_rows, read_manifest

EXAMPLES = 6
"""Of each shape; 300 of JSONL were run when this was written."""
TEXTS = ("Hi", "", " ", "a\n\nb", 'He said "no"', "\\", "é 你好", "x" * 300, '{"a": 1}', "\u3000")
ODD = (None, 5, 1.5, True, ["a"], {"k": "v", "l": [{"k": 1}]}, "")


def alpaca(chance: random.Random) -> dict[str, Any]:
    row = {"instruction": text(chance), "input": text(chance), "output": text(chance)}
    if chance.random() < 0.3:
        del row["input"]
    return row | ({"system": text(chance)} if chance.random() < 0.5 else {}) | beside(chance)


def pair(chance: random.Random) -> dict[str, Any]:
    return {"prompt": text(chance), "completion": text(chance)} | beside(chance)


def aliased(chance: random.Random) -> dict[str, Any]:
    return {"question": text(chance), "answer": text(chance), "system": text(chance)}


def chat(chance: random.Random) -> dict[str, Any]:
    return {"messages": turns(chance, "role", "content", ("user", "assistant", "system"))} | beside(chance)


def bare_chat(chance: random.Random) -> dict[str, Any]:
    return {"messages": turns(chance, "role", "content", ("user", "assistant", "system"))}


def sharegpt(chance: random.Random) -> dict[str, Any]:
    return {"conversations": turns(chance, "from", "value", ("human", "gpt", "system"))} | beside(chance)


def turns(chance: random.Random, role: str, content: str, speakers: tuple[str, ...]) -> list[dict[str, Any]]:
    said = list(speakers[:2]) * chance.choice((1, 1, 2))
    if chance.random() < 0.2:
        said.insert(0, speakers[2])
    if chance.random() < 0.1:
        chance.shuffle(said)
    return [{role: speaker, content: text(chance)} for speaker in said]


def text(chance: random.Random) -> Any:
    return chance.choice(ODD) if chance.random() < 0.03 else chance.choice(TEXTS[:1] * 12 + TEXTS)


def beside(chance: random.Random) -> dict[str, Any]:
    row = {"category": chance.choice(("x", "y", "é"))} if chance.random() < 0.7 else {}
    row |= {"category": chance.choice(ODD)} if chance.random() < 0.1 else {}
    return row | ({"id": chance.choice(ODD)} if chance.random() < 0.4 else {})


def damaged(line: bytes, chance: random.Random) -> bytes:
    """The line with a piece of it gone, put elsewhere, or said twice, or with odd bytes around or in it."""
    at, size = chance.randrange(len(line)), chance.randrange(1, 24)
    piece, to = line[at : at + size], chance.randrange(len(line))
    return chance.choice(
        (
            line[:at] + line[at + size :],
            line[:to] + piece + line[to:],
            line[:at] + chance.choice((b"\xff", b"\x00", b'"', b"\\", b",", b"}", b" ", b"\\ud800")) + line[at:],
            line.replace(b'": ', b'" : '),
            line.replace(b"{", b'{"id": 1, ', 1),
            line.replace(b"}", b', "category": "z"}', 1),
            b" \t" + line + b" ,",
            line + b"\r",
            b"",
        )
    )


OF = {
    alpaca: ("alpaca", {"instruction": "instruction", "input": "input", "output": "output", "system": "system"}),
    pair: ("prompt_completion", {"prompt": "prompt", "completion": "completion"}),
    aliased: ("prompt_completion", {"question": "prompt", "answer": "completion", "system": "system"}),
    chat: ("chat", {"messages": "messages"}),
    bare_chat: ("chat", {"messages": "messages"}),
    sharegpt: ("sharegpt", {"conversations": "conversations"}),
}


@pytest.mark.parametrize("make", OF, ids=lambda make: make.__name__)
@settings(max_examples=EXAMPLES, deadline=None)
@given(seed=st.integers(0, 2**32), has_category=st.booleans())
def test_the_quick_ways_and_the_careful_one_make_the_same_of_a_file(make: Any, seed: int, has_category: bool):
    chance = random.Random(seed)
    lines = [json.dumps(make(chance), ensure_ascii=chance.random() < 0.5).encode() for _ in range(80)]
    share = chance.choice((0, 0.05, 0.3))
    lines = [damaged(line, chance) if chance.random() < share else line for line in lines]
    shape, columns = OF[make]
    columns = columns | ({"category": "category"} if has_category and make not in (aliased, bare_chat) else {})
    written = {"rows.jsonl": b"\n".join(lines), "rows.json": b"[" + b",\n".join(lines) + b"]"}
    if make in (alpaca, pair, aliased):
        rows = [",".join(f'"{text(chance)}"' for _ in columns).encode() for _ in range(80)]
        rows = [damaged(row, chance) if chance.random() < share else row for row in rows]
        written["rows.csv"] = b"\n".join([",".join(columns).encode(), *rows])
    for name, data in written.items():
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / name).write_bytes(data)
            quick, careful = (
                told(Path(folder) / name, is_quick=is_quick, shape=shape, columns=columns) for is_quick in (True, False)
            )
        assert quick == careful


@pytest.mark.parametrize("make", OF, ids=lambda make: make.__name__)
def test_good_rows_take_a_quick_way(make: Any):
    chance = random.Random(7)
    rows = [make(chance) for _ in range(200)]
    shape, columns = OF[make]
    columns = columns | ({"category": "category"} if make not in (aliased, bare_chat) else {})
    reader = build.quick_reader(shape, columns, ["id", *columns])
    taken = list(reader.read([json.dumps(row).encode() for row in rows]))
    good = [convert_text(json.dumps(row), converter(shape, columns))[0] for row in rows]
    assert sum(map(bool, taken)) > 0.7 * sum(map(bool, good)) > 50


def told(source: Path, *, is_quick: bool, shape: str, columns: dict[str, str]) -> Any:
    """Everything that a version says of its file, but when it was made and how the rows lie."""
    version = source.with_name(f"version-{is_quick}")
    with pytest.MonkeyPatch.context() as patch:
        if not is_quick:
            patch.setattr(build, "quick_reader", lambda *_: None)
            patch.setattr(build, "reader_of", lambda *_: None)
        try:
            build.import_file(source, version, shape=shape, columns=columns)
        except RefusedInput as refused:
            return refused.code, refused.values
    manifest = read_manifest(version)
    rows = [(row_fields(row), json.loads(row.raw)) for row in iterate_rows(version)]
    return (
        manifest.content_hash,
        (manifest.rows, manifest.problems, manifest.problem_codes, manifest.blank_lines, manifest.speakers),
        rows,
        list(iterate_problems(version)),
    )


def row_fields(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__struct_fields__ if name != "raw"}
