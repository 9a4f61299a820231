"""Source rows told from what is trained: many at once the same as one by one."""

from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.workshop.converting.plain import plain_texts, source_text
from studio.workshop.table import load
from studio.workshop.versions.build import import_file
from studio.workshop.versions.layout import row_of
from studio.workshop.versions.manifest import Manifest
from studio.workshop.versions.old_layouts import turn_fields
from studio.workshop.versions.reader import read_manifest
from tests.examples import examples

TEXTS = st.text(alphabet=st.sampled_from('aé你"\\/\n\t\x01\x7f\u2028😀{}[]:, '), min_size=1, max_size=8)
OTHERS = {"name": st.just("Ann"), "weight": st.integers(0, 1), "tool_call_id": st.just("c1")}
OTHERS |= {"reasoning_content": st.just("Hm.")}
TURN = turn_fields()


def told(rows: pl.DataFrame, known: Manifest) -> list[str | None]:
    return rows.select(plain_texts(rows, known)).to_series().to_list()


def one_by_one(rows: pl.DataFrame, known: Manifest) -> list[str]:
    return [source_text(row_of(line, known.format), known) for line in rows.iter_rows(named=True)]


def manifest(tmp: Path, line: str) -> Manifest:
    (tmp / "a.jsonl").write_text((line + "\n") * 3, "utf-8")
    return import_file(tmp / "a.jsonl", tmp / "v")


def test_chats_and_pairs_of_any_text(tmp_path_factory):
    said = {
        "chat": '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}',
        "sharegpt": '{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}',
    }
    known = {shape: manifest(tmp_path_factory.mktemp(shape), line) for shape, line in said.items()}
    pairs = manifest(tmp_path_factory.mktemp("pairs"), '{"answer": "Hello", "question": "Hi"}')
    assert {shape: each.shape for shape, each in known.items()} == {shape: shape for shape in said}

    @settings(max_examples=examples(150), deadline=None)
    @given(st.lists(st.tuples(TEXTS, TEXTS, st.fixed_dictionaries({}, optional=OTHERS)), min_size=1, max_size=4))
    def check(rows: list) -> None:
        beside = {"extra": [None] * len(rows), "category": [None] * len(rows)}
        turns = [
            [{"role": "user", "content": a}, {"role": "assistant", "content": b} | others] for a, b, others in rows
        ]
        schema = {"messages": pl.List(pl.Struct(TURN)), "tools": pl.String, "extra": pl.String, "category": pl.String}
        chats = pl.DataFrame({"messages": turns, "tools": beside["extra"]} | beside, schema=schema)
        for each in known.values():
            expected = [text if not row[2] else None for row, text in zip(rows, one_by_one(chats, each), strict=True)]
            assert told(chats, each) == expected
        schema = dict.fromkeys(("prompt", "completion", "extra", "category"), pl.String)
        asked = pl.DataFrame(
            {"prompt": [r[0] for r in rows], "completion": [r[1] for r in rows]} | beside, schema=schema
        )
        assert told(asked, pairs) == one_by_one(asked, pairs)

    check()


def test_rows_with_more_are_left_to_the_slower_way(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(
        '{"question": "Hi", "answer": "Hello", "id": 7}\n{"question": "a", "answer": "b"}\n'
    )
    import_file(tmp_path / "a.jsonl", tmp_path / "v")
    assert told(load(tmp_path / "v"), read_manifest(tmp_path / "v")) == [None, '{"question":"a","answer":"b"}']
