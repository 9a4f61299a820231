"""A .gz that ends too early: the rows before the cut are kept, the rest is one fault."""

import gzip
import json
from pathlib import Path

import pytest

from studio.errors import RefusedInput
from studio.workshop.converting.detect import preview
from studio.workshop.reading.opening import open_source
from studio.workshop.versions.build import import_file
from studio.workshop.versions.reader import iterate_rows, read_problems
from tests.unit.workshop.real_rows import utterances


def chats() -> list[dict]:
    texts = utterances()[:6000]
    return [{"prompt": a, "completion": b} for a, b in zip(texts[::2], texts[1::2], strict=True)]


WRITERS = {
    "a.jsonl.gz": lambda rows: "".join(json.dumps(row) + "\n" for row in rows),
    "a.json.gz": json.dumps,
    "a.csv.gz": lambda rows: "prompt,completion\n" + "".join(f'"{r["prompt"]}","{r["completion"]}"\n' for r in rows),
}


@pytest.mark.parametrize("name", WRITERS)
def test_rows_before_the_cut_are_kept_and_the_rest_is_one_fault(tmp_path: Path, name: str):
    rows = [
        row for row in chats() if '"' not in row["prompt"] + row["completion"] and all(map(str.strip, row.values()))
    ]
    whole = gzip.compress(WRITERS[name](rows).encode())
    path = tmp_path / name
    path.write_bytes(whole[: len(whole) * 2 // 3])
    made = import_file(path, tmp_path / "v")
    kept = [(row.row, row.prompt, row.completion) for row in iterate_rows(tmp_path / "v")]
    assert 0.4 * len(rows) < made.rows < 0.9 * len(rows) and made.problems == 1
    first = kept[0][0]
    assert [each[1:] for each in kept] == [(row["prompt"], row["completion"]) for row in rows[: made.rows]]
    (problem,) = read_problems(tmp_path / "v", start=0, count=9)
    assert (problem.row, problem.code) == (made.rows + first, "reading.archive_cut_off")
    assert "breaks off" in problem.message("en") and problem.offset
    assert preview(path).rows
    assert [row.fault.code for row in open_source(path).rows() if row.fault] == ["reading.archive_cut_off"]


def test_a_whole_one_and_one_without_any_row(tmp_path: Path):
    data = gzip.compress(WRITERS["a.jsonl.gz"](chats()[:50]).encode())
    (tmp_path / "a.jsonl.gz").write_bytes(data)
    assert [row.fault for row in open_source(tmp_path / "a.jsonl.gz").rows()] == [None] * 50
    (tmp_path / "b.jsonl.gz").write_bytes(data[:12])
    with pytest.raises(RefusedInput):
        open_source(tmp_path / "b.jsonl.gz")


def test_damage_in_the_middle_is_still_refused(tmp_path: Path):
    data = bytearray(gzip.compress(WRITERS["a.jsonl.gz"](chats()).encode()))
    data[len(data) // 2 : len(data) // 2 + 200] = b"\xff" * 200
    (tmp_path / "a.jsonl.gz").write_bytes(data)
    with pytest.raises(RefusedInput) as refused:
        import_file(tmp_path / "a.jsonl.gz", tmp_path / "v")
    assert refused.value.code == "data.reading.archive_damaged"
