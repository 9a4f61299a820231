"""Mutated files of every kind: each gives rows and faults, or one refusal, and soon. Never a traceback or a hang."""

import gzip
import json
import time
import zipfile
from functools import cache
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from studio.errors import RefusedInput, StudioError
from studio.workshop.reading.opening import open_source
from studio.workshop.reading.repair import propose_repair
from tests.unit.workshop.sheets import write_xlsx

ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"Wo ist Paket {n}? 你好"},
            {"role": "assistant", "content": 'He said "so".'},
        ]
    }
    for n in range(6)
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
TABLE = "question,answer\n" + "".join(f'"Où est {n}, ""ici""?",oui\r\n' for n in range(8))
MOST_SECONDS = 10
"""In which the first answer to any file must come."""
INSERTED = [
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"\\",
    b"\0",
    b"\r",
    b"\n",
    b"\xff",
    b"\xef\xbb\xbf",
    b"'",
    b":",
    b"\x1b$B",
]


@cache
def valid(kind: str) -> bytes:
    text = {
        "a.jsonl": LINES.encode(),
        "u16.jsonl": LINES.encode("utf-16"),
        "gb.jsonl": LINES.encode("gb18030"),
        "a.json": json.dumps(ROWS, indent=1).encode(),
        "k.json": json.dumps({str(n): row for n, row in enumerate(ROWS)}).encode(),
        "w.json": json.dumps({"data": ROWS}).encode(),
        "a.csv": TABLE.encode(),
        "l1.csv": TABLE.encode("cp1252"),
        "a.tsv": TABLE.replace(",", "\t").encode(),
        "a.txt": ("Ein Absatz.\n\n" * 40).encode(),
        "a.md": ("# Teil\n\nEin *Absatz*.\n\n```\ncode\n\n```\n" * 9).encode(),
        "a.jsonl.gz": gzip.compress(LINES.encode()),
    }
    return text.get(kind) or _written(kind)


def _written(kind: str) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / kind
        if kind == "a.xlsx":
            write_xlsx(path, {"S": [["a", "b"], ["x", 3], ["y", 4.5]], "T": [["c"], ["z"]]})
        elif kind == "a.parquet":
            pq.write_table(pa.Table.from_pylist(ROWS), path)
        else:
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("a.jsonl", LINES)
                archive.writestr("b.jsonl", LINES.encode("utf-16"))
        return path.read_bytes()


TEXTS = ["a.jsonl", "u16.jsonl", "gb.jsonl", "a.json", "k.json", "w.json", "a.csv", "l1.csv", "a.tsv", "a.txt", "a.md"]
PACKED = ["a.jsonl.gz", "a.zip", "a.xlsx", "a.parquet"]


def survive(path: Path, content: bytes) -> None:
    """Read it whole; whatever comes out has its sentence."""
    path.write_bytes(content)
    began = time.monotonic()
    try:
        rows = list(open_source(path).rows())
    except StudioError as error:
        for language in ("en", "zh"):
            assert error.message(language) != f"errors.{error.code}"
        rows = []
    assert [row.row for row in rows] == sorted({row.row for row in rows})
    for row in rows:
        assert row.offset is None or 0 <= row.offset <= len(content) * 1100
        if row.fault:
            assert not row.fault.at(row.row, row.raw, row.offset).message("zh").startswith("problems.")
            proposal = propose_repair(row.raw)
            assert proposal is None or json.loads(proposal)
        elif path.suffix in (".json", ".jsonl"):
            assert json.loads(row.raw) == row.value
    assert time.monotonic() - began < MOST_SECONDS


@st.composite
def mutations(draw: st.DrawFn, content: bytes) -> bytes:
    """Some bytes changed, put in, taken out, doubled, or the end cut off."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(["flip", "insert", "remove", "double", "cut", "move"])):
            case "flip":
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "insert":
                data[at:at] = draw(st.sampled_from(INSERTED)) * draw(st.sampled_from([1, 1, 1, 2, 40, 3000]))
            case "remove":
                del data[at : at + draw(st.integers(1, 200))]
            case "double":
                data[at:at] = data[at : at + draw(st.integers(1, 200))]
            case "cut":
                del data[max(at, len(data) // 4) :]
            case "move":
                data = data[at:] + data[:at]
    return bytes(data)


def mutated(kind: str, examples: int, path: Path) -> None:
    """Without shrinking: to make one failing file smaller would take minutes, and it is small already."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(mutations(valid(kind)))
    def run(content: bytes) -> None:
        survive(path / kind, content)

    run()


@pytest.mark.parametrize("kind", TEXTS + PACKED)
def test_a_mutated_file_gives_rows_faults_or_one_refusal(kind: str, tmp_path: Path):
    mutated(kind, 25, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", TEXTS + PACKED)
def test_many_mutated_files_do(kind: str, tmp_path: Path):
    mutated(kind, 3000, tmp_path)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("a.jsonl", "\ufeff\ufeff".encode() + LINES.encode()),
        ("a.jsonl", LINES.encode() + "\ufeff".encode() * 3000),
        ("a.jsonl", LINES.replace("\n", ",\n").encode()),
        ("a.json", b"[" + "\ufeff".encode() * 3000 + b"]"),
        ("a.json", b'[{"prompt": "Hi", "completion": "Hello"}, \xef\xbb\xbf {"prompt": "Hi", "completion": "Hello"}]'),
        ("a.zip", valid("a.zip").replace(b"a.jsonl", b"\0.jsonl")),
        ("a.csv", b"sep="),
        ("u16.jsonl", (LINES + "\ufeff" + LINES).encode("utf-16")),
    ],
    ids=[
        "two marks",
        "many marks",
        "commas",
        "marks for rows",
        "a mark between",
        "no name",
        "no separator",
        "a mark inside",
    ],
)
def test_files_that_mutation_found(kind: str, content: bytes, tmp_path: Path):
    survive(tmp_path / kind, content)


def test_a_sheet_that_does_not_unpack_is_refused(tmp_path: Path):
    data = bytearray(valid("a.xlsx"))
    with zipfile.ZipFile(BytesIO(data)) as book:
        sheet = next(info for info in book.infolist() if info.filename.startswith("xl/worksheets/"))
    begin = sheet.header_offset + 30 + len(sheet.filename)
    data[begin : begin + 20] = b"\x0d" * 20
    path = tmp_path / "a.xlsx"
    path.write_bytes(data)
    with pytest.raises(RefusedInput) as refused:
        list(open_source(path).rows())
    assert refused.value.code == "data.reading.spreadsheet_damaged"


def test_an_unmutated_file_has_no_fault(tmp_path: Path):
    for kind in TEXTS + PACKED:
        (tmp_path / kind).write_bytes(valid(kind))
        rows = list(open_source(tmp_path / kind).rows())
        assert rows and [row.fault.code for row in rows if row.fault] == ["reading.sheet_not_read"] * (kind == "a.xlsx")


SUFFIXES = [".jsonl", ".json", ".csv", ".tsv", ".txt", ".md", ".xlsx", ".parquet", ".zip", ".gz", ".jsonl.gz", ""]
MAGICS = [
    b"",
    b"PK\x03\x04",
    b"\x1f\x8b\x08",
    b"PAR1",
    b"\xff\xfe",
    b"\xfe\xff",
    b'{"',
    b'[{"a": ',
    b"a,b\n",
    b"\x1b$B",
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=120), st.sampled_from(SUFFIXES), st.sampled_from(MAGICS))
def test_any_bytes_under_any_name_do(tmp_path: Path, content: bytes, suffix: str, magic: bytes):
    survive(tmp_path / f"a{suffix}", magic + content)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 1_000_000,
        b"[[" + b"[]," * 400_000,
        b'{"a":' * 200_000,
        b'["' + b'\\"' * 700_000,
        b"{" * 100_000 + b"\n" * 1_000_000,
        b'{"a": ' + b"1" * 1_000_000 + b"}",
        b"'" * 1_000_000,
        b'"\n' * 1_000_000,
        b"{'a':" * 300_000,
        b"\xff\xfe" + b"[\0" * 1_000_000,
        b"\x81" * 1_000_000,
    ],
    ids=lambda content: repr(content[:6]),
)
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".md"])
def test_the_first_answer_to_a_megabyte_of_spite_comes_soon(tmp_path: Path, content: bytes, suffix: str):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    began = time.process_time()
    try:
        for _ in zip(open_source(path).rows(), range(50), strict=False):
            pass
    except StudioError:
        pass
    assert time.process_time() - began < MOST_SECONDS
