"""Readers: what a file is, and that every row of it comes out once, usable or with its fault."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.errors import RefusedInput
from studio.paths import SAMPLES
from studio.workshop.reading import limits
from studio.workshop.reading.jsontext import parse_row
from studio.workshop.reading.opening import open_source
from studio.workshop.reading.source import RawRow


def read(path: Path, content: str | bytes) -> list[RawRow]:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(open_source(path).rows())


def codes(rows: list[RawRow]) -> dict[int, str]:
    return {row.row: row.fault.code for row in rows if row.fault}


def test_jsonl_numbers_rows_by_line_and_counts_blank_ones(tmp_path: Path):
    source_path = tmp_path / "a.jsonl"
    source_path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\r\n{"a": 2}\r\n{"a": 3}')
    source = open_source(source_path)
    rows = list(source.rows())
    assert [(row.row, row.value) for row in rows] == [(1, {"a": 1}), (3, {"a": 2}), (4, {"a": 3})]
    assert source.blank_lines == 1
    assert source.done == source.total


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"a": 1', "json_cut_off"),
        (b'{"a" 1}', "not_json"),
        (b'{"a": NaN}', "odd_number"),
        (b'{"a": -Infinity}', "odd_number"),
        (b'{"a": "\\ud800"}', "lone_surrogate"),
        (b'{"a": "\xff"}', "not_utf8"),
        (b"[" * 100_000, "too_deep"),
        (b'{"a": 1} trailing', "not_json"),
        (b'{"a": "x\x00"}', "reading.control_character"),
    ],
)
def test_a_broken_line_is_a_numbered_fault_and_the_rest_is_read(tmp_path: Path, line: bytes, code: str):
    rows = read(tmp_path / "a.jsonl", b'{"a": 1}\n' + line + b'\n{"a": 3}\n')
    assert codes(rows) == {2: code}
    assert rows[2].value == {"a": 3}


def test_a_line_over_the_limit_is_stepped_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "MAX_ROW_BYTES", 100)
    rows = read(tmp_path / "a.jsonl", '{"a": 1}\n{"a": "' + "x" * 5000 + '"}\n{"a": 3}\n')
    assert codes(rows) == {2: "too_long"}
    assert rows[2] == RawRow(3, '{"a": 3}', {"a": 3}, None, 9 + 5010)


ROWS = [{"prompt": 'a, {b} [c] \\ "d"', "completion": "é你"}, {"prompt": [], "completion": {"x": None}}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("array.json", json.dumps(ROWS)),
        ("array.jsonl", json.dumps(ROWS, ensure_ascii=False)),
        ("pretty.json", json.dumps(ROWS, indent=2)),
        ("keyed.json", json.dumps({"17": ROWS[0], "18": ROWS[1]}, indent=1)),
        ("keyed_minified.json", json.dumps({"17": ROWS[0], "18": ROWS[1]})),
        ("wrapped.json", json.dumps({"data": ROWS})),
        ("pretty_rows.jsonl", "\n".join(json.dumps(row, indent=2) for row in ROWS)),
        ("lines.json", "\n".join(json.dumps(row) for row in ROWS)),
    ],
)
@pytest.mark.parametrize("chunk", [7, 1 << 20])
def test_every_layout_of_json_gives_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str, chunk: int
):
    monkeypatch.setattr(limits, "CHUNK_BYTES", max(chunk, 40) if "wrapped" in name else chunk)
    rows = read(tmp_path / name, content)
    keys = [{"key": "17"}, {"key": "18"}] if "keyed" in name else [{}, {}]
    expected = [row | key for row, key in zip(ROWS, keys, strict=True)]
    assert [row.value for row in rows] == expected
    assert [json.loads(row.raw) for row in rows] == expected
    assert [row.row for row in rows] == [1, 2]


def test_a_key_is_kept_but_never_in_the_place_of_a_column(tmp_path: Path):
    rows = read(
        tmp_path / "a.json", '{"q\\"1": {"key": 5, "p": "a"}, "é": {}, "x": {"p": {"key": 1}}, "y": {"p": "b" }}'
    )
    assert [row.value for row in rows] == [
        {"key": 5, "p": "a"},
        {"key": "é"},
        {"p": {"key": 1}},
        {"p": "b", "key": "y"},
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[{"a": 1}, {"a": 2', {2: "array_cut_off"}),
        ('[{"a": 1}', {2: "array_not_closed"}),
        ('[{"a": 1} ]\n{"a": 2}', {2: "text_after_end"}),
        ('{"train": [{"a": 1}], "test": [{"a": 2}]}', {2: "text_after_end"}),
        ('[{"a" 1}, {"a": 2}]', {1: "not_json"}),
    ],
)
def test_a_damaged_array_loses_nothing_without_a_word(tmp_path: Path, content: str, expected: dict):
    assert codes(read(tmp_path / "a.json", content)) == expected


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
            max_leaves=6,
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([1, 3, 16]),
)
def test_any_array_is_read_whole_at_any_chunk_size(tmp_path: Path, values: list, chunk: int):
    kept, limits.CHUNK_BYTES = limits.CHUNK_BYTES, chunk
    try:
        rows = read(tmp_path / "a.json", "[" + ", ".join(json.dumps(value) for value in values) + "]")
    finally:
        limits.CHUNK_BYTES = kept
    assert [row.value for row in rows] == values


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1, max_size=80), st.sampled_from([".json", ".jsonl", ".csv", ".parquet"]))
def test_any_bytes_give_rows_faults_or_one_refusal(tmp_path: Path, content: bytes, suffix: str):
    try:
        rows = read(tmp_path / f"a{suffix}", content)
    except RefusedInput as error:
        assert error.message("zh") != error.code
        return
    for row in rows:
        if row.fault:
            assert row.fault.at(row.row, row.raw).message("en").startswith(("Row", "More", "The"))


def test_csv_quotes_line_breaks_and_wrong_cell_counts(tmp_path: Path):
    content = 'question;answer\r\n"a; ""b""\nc";d\r\n;\r\ne\r\nf;g;h\r\n'
    rows = read(tmp_path / "a.csv", content)
    assert rows[0].value == {"question": 'a; "b"\nc', "answer": "d"}
    assert codes(rows) == {2: "csv_columns", 3: "csv_columns"}
    assert json.loads(rows[2].raw)["column 3"] == "h"


def test_csv_numbers_stay_text_and_bad_bytes_are_one_bad_row(tmp_path: Path):
    rows = read(tmp_path / "a.csv", b"a,b\n1,2\n\xff,x\n3,4\n")
    assert rows[0].value == {"a": "1", "b": "2"}
    assert codes(rows) == {2: "not_utf8"}


def test_parquet_streams_nested_rows(tmp_path: Path):
    values = [{"messages": [{"role": "user", "content": f"n{n}"}]} for n in range(1200)]
    pq.write_table(pa.Table.from_pylist(values), tmp_path / "a.bin")
    source = open_source(tmp_path / "a.bin", original_name="a.parquet")
    assert source.kind == "parquet"
    assert [row.value for row in source.rows()] == values
    assert source.done == source.total == 1200


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("a.jsonl", b"", "data.empty_file"),
        ("a.jsonl", b"\xef\xbb\xbf \r\n\n", "data.empty_file"),
        ("a.jsonl", b"Dear all,\nhello\n", "data.not_json"),
        ("a.bin", b"x", "data.unsupported_format"),
        ("a.xlsx", b"PK\x03\x04rest", "data.reading.archive_damaged"),
        ("a.parquet", b"hello", "data.not_parquet"),
        ("a.parquet", b"PAR1 hello", "data.not_parquet"),
        ("a.csv", b"a,a\n1,2\n", "data.csv_header"),
        ("a.jsonl", b"\x00\x01\x02abc", "data.not_text"),
    ],
)
def test_a_file_without_rows_is_refused_with_a_sentence(tmp_path: Path, name: str, content: bytes, code: str):
    with pytest.raises(RefusedInput) as caught:
        read(tmp_path / name, content)
    assert caught.value.code == code
    assert name in caught.value.message("en") and name in caught.value.message("zh")


def test_a_missing_file_is_refused(tmp_path: Path):
    with pytest.raises(RefusedInput, match="not there"):
        open_source(tmp_path / "none.jsonl")


def test_broken_json_says_where():
    _, fault = parse_row('{"a": 1, "b" 2}')
    assert (fault.code, fault.values["position"]) == ("not_json", 14)
    assert fault.at(7, "").message("en").startswith("Row 7 is not valid JSON at character 14")


def test_samples_read_without_a_fault():
    for path in sorted(SAMPLES.glob("*.*")):
        if path.suffix != ".md":
            rows = list(open_source(path).rows())
            assert len(rows) >= 8 and not codes(rows), path.name
