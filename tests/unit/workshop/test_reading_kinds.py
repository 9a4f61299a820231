"""Kinds, encodings, archives and spreadsheets: what is read, as what, and what is refused with a sentence."""

import datetime
import gzip
import io
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from studio.errors import RefusedInput
from studio.paths import SAMPLES
from studio.workshop.reading import limits
from studio.workshop.reading.opening import open_source
from studio.workshop.reading.source import RawRow, Source
from tests.unit.workshop.sheets import write_xlsx

ROWS = [{"a": "1 ä"}, {"a": "2"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def opened(path: Path, content: bytes) -> tuple[Source, list[RawRow]]:
    path.write_bytes(content)
    source = open_source(path)
    return source, list(source.rows())


def codes(rows: list[RawRow]) -> dict[int, str]:
    return {row.row: row.fault.code for row in rows if row.fault}


def refusal(path: Path, content: bytes | None = None) -> str:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RefusedInput) as caught:
        list(open_source(path).rows())
    assert path.name in caught.value.message("en") and path.name in caught.value.message("zh")
    return caught.value.code


def packed(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


# -- encodings -----------------------------------------------------------------------------------------------------

SENTENCES = {
    "gb18030": "请问你们的发货时间是多久?我们通常在两天内发货,周末除外。",
    "big5": "請問你們的發貨時間是多久?我們通常在兩天內發貨,週末除外。",
    "shift_jis": "これは日本語のテキストです。注文はまだですか?",
    "euc_kr": "주문은 어디에 있나요? 내일 도착할 예정입니다.",
    "cp1251": "Привет, где мой заказ? Он будет завтра.",
    "koi8_r": "Привет, где мой заказ? Он будет завтра.",
    "cp1252": "Is the café open? Ja, für Gäste ist es geöffnet – täglich.",
    "utf-16-le": "Is the café open? 你好",
    "utf-16-be": "Is the café open? 你好",
    "utf-32-le": "Is the café open? 你好",
    "utf-32-be": "Is the café open? 你好",
    "utf-16": "Is the café open? 你好",
    "utf-32": "Is the café open? 你好",
    "utf-8-sig": "Is the café open? 你好",
    "utf-8": "Is the café open? 你好",
}


@pytest.mark.parametrize("encoding", SENTENCES)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.txt"])
def test_text_of_any_encoding_is_read_right(tmp_path: Path, encoding: str, name: str):
    sentence = SENTENCES[encoding]
    rows = [{"question": sentence, "answer": "ok"}, {"question": "plain", "answer": sentence}]
    text = {
        "a.jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\r\n" for row in rows),
        "a.json": json.dumps(rows, ensure_ascii=False, indent=1),
        "a.csv": "question,answer\n" + "".join(f'"{row["question"]}","{row["answer"]}"\n' for row in rows),
        "a.txt": sentence,
    }[name]
    source, read = opened(tmp_path / name, text.encode(encoding))
    assert [row.value for row in read] == ([{"text": sentence}] if name == "a.txt" else rows)
    assert 0 <= source.confidence <= 1
    assert source.encoding == "utf-8" or not encoding.startswith("utf-8")


@pytest.mark.parametrize("encoding", ["gb18030", "cp1252", "utf-16", "utf-8-sig"])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_offsets_are_bytes_of_the_file_as_it_is(tmp_path: Path, encoding: str, name: str):
    lines = [json.dumps({"n": n, "t": SENTENCES.get(encoding, "é")}, ensure_ascii=False) for n in range(3000)]
    text = "\n".join(lines) if name == "a.jsonl" else "[" + ", ".join(lines) + "]"
    content = text.encode(encoding)
    _, rows = opened(tmp_path / name, content)
    assert len(rows) == 3000
    codec = {"utf-16": "utf-16-le", "utf-8-sig": "utf-8"}.get(encoding, encoding)
    for row in rows[::97]:
        assert content[row.offset :].startswith(row.raw.encode(codec)), row.row


def test_a_bad_byte_is_one_bad_row_in_any_encoding(tmp_path: Path):
    good = ['{"a": "é is fine, and ü too"}\n'] * 5
    source, rows = opened(tmp_path / "a.jsonl", "".join(good).encode() + b'{"a": "\xe9"}\n' + good[0].encode())
    assert (source.encoding, codes(rows)) == ("utf-8", {6: "not_utf8"})
    line = '{"a": "请问你们的发货时间是多久"}\n'.encode("gb18030")
    source, rows = opened(tmp_path / "b.jsonl", line * 9000 + b'{"a": "\xff\xff"}\n' + line)
    assert (source.encoding, codes(rows)) == ("gb18030", {9001: "reading.bad_byte"})
    assert rows[9000].offset == len(line) * 9000 and rows[9001].offset == len(line) * 9000 + 12
    assert rows[9001].value == rows[0].value


def test_letters_far_behind_the_beginning_still_tell_the_encoding(tmp_path: Path):
    content = b'{"a": "plain"}\n' * 40_000 + '{"a": "请问你们的发货时间是多久"}\n'.encode("gb18030") * 4
    source, rows = opened(tmp_path / "a.jsonl", content)
    assert source.encoding == "gb18030" and not codes(rows)


@pytest.mark.parametrize("word", ["café", "Gäste", "señor", "naïve", "Müller"])
def test_one_accent_is_enough_for_a_latin_script(tmp_path: Path, word: str):
    content = f"question,answer\nIs the {word} here?,Yes\n".encode("cp1252")
    assert opened(tmp_path / "a.csv", content)[1][0].value["question"] == f"Is the {word} here?"


def test_lone_carriage_returns_end_lines(tmp_path: Path):
    _, rows = opened(tmp_path / "a.jsonl", LINES.replace("\n", "\r").encode())
    assert [(row.row, row.value, row.offset) for row in rows] == [(1, ROWS[0], 0), (2, ROWS[1], 14)]
    _, rows = opened(tmp_path / "a.csv", b"a,b\r1,2\r3,4\r")
    assert [row.value for row in rows] == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


# -- JSON as it is found -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('{"a": 1, "b": {"c": 1, "c": 2}}', "reading.duplicate_key"),
        ('{"a" : 1, "a" : 2}', "reading.duplicate_key"),
        ('{"a": 1} {"a": 2}', "reading.several_values"),
        ("{'a': 'b', 'c': None}", "reading.python_literal"),
        ("{“a”: “b”}", "reading.smart_quotes"),
        ('{"a": 1,}', "reading.trailing_comma"),
        ('{"a": "\t"}', "reading.control_character"),
        ('{"a": ' + "[" * 300 + "]" * 300 + "}", "too_deep"),
        ("\0\0\0\0", "not_json"),
        ('{"a": Infinity}', "odd_number"),
    ],
)
def test_a_slip_is_named(tmp_path: Path, line: str, code: str):
    _, rows = opened(tmp_path / "a.jsonl", ('{"a": 1}\n' + line + '\n{"a": 3}\n').encode())
    assert codes(rows) == {2: code}
    assert rows[1].offset == 9
    for language in ("en", "zh"):
        message = rows[1].fault.at(2, "", 9).message(language)
        assert "2" in message and "{" not in message.replace("{" + line[1:12], "").replace(line[:12], "")[:6]


def test_what_is_plain_is_accepted(tmp_path: Path):
    content = '\ufeff{"a": 1},\n\ufeff{"a": 2},\n{"a": "\\"a\\": 1, \\"a\\": 2"}\n{"a": "x\\\\"}'
    _, rows = opened(tmp_path / "a.jsonl", content.encode())
    assert [row.value for row in rows] == [{"a": 1}, {"a": 2}, {"a": '"a": 1, "a": 2'}, {"a": "x\\"}]
    _, rows = opened(tmp_path / "b.jsonl", b'{"a": 1}{"a": 2} {"a": 3}\n{"a": 4}')
    assert [row.value["a"] for row in rows] == [1, 2, 3, 4]
    _, rows = opened(tmp_path / "c.json", b'[{"a": 1},\n{"a": 2},\n]')
    assert [row.value["a"] for row in rows] == [1, 2]
    _, rows = opened(tmp_path / "d.jsonl", b'[{"a": 1}]\n[{"a": 2}]\n')
    assert [row.value for row in rows] == [[{"a": 1}], [{"a": 2}]]


def test_lines_and_rows_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "MAX_ROW_BYTES", 1000)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n {"a": "' + b"x" * 3000 + b'"}\nbroken\n{"a": 2}')
    source, other = open_source(path), open_source(path)
    assert [source.line_row(*line) for line in source.lines()] == list(other.rows())
    assert source.blank_lines == other.blank_lines == 1
    assert source.done == source.total


def test_an_unclosed_quotation_mark_costs_one_line(tmp_path: Path):
    _, rows = opened(tmp_path / "a.csv", b'a,b\n1,"x\n2,y\n3,z\n"4\n5,"6"\n')
    assert codes(rows) == {1: "csv_quote", 4: "csv_quote"}
    assert [row.value["a"] for row in rows if row.value] == ["2", "3", "5"]
    assert [row.offset for row in rows] == [4, 9, 13, 17, 20]


@pytest.mark.parametrize("content", [b"sep=;\na;b\n1,5;2\n", b"\xef\xbb\xbfa;b\n1,5;2\n", b"a|b\n1,5|2\n"])
def test_the_separator_is_found(tmp_path: Path, content: bytes):
    assert opened(tmp_path / "a.csv", content)[1][0].value == {"a": "1,5", "b": "2"}


def test_an_unnamed_index_column_gets_a_name(tmp_path: Path):
    assert opened(tmp_path / "a.csv", b",q\n0,x\n")[1][0].value == {"column 1": "0", "q": "x"}


# -- text ----------------------------------------------------------------------------------------------------------


def test_a_short_text_is_one_row_and_a_long_one_is_cut_between_paragraphs(tmp_path: Path):
    assert opened(tmp_path / "a.txt", b"One.\r\n\r\nTwo.\r\n")[1][0].value == {"text": "One.\n\nTwo."}
    paragraphs = [f"Paragraph {n}. " + "word " * (n % 60) for n in range(400)]
    content = "\n\n".join(paragraphs).encode()
    source, rows = opened(tmp_path / "b.txt", content)
    assert source.kind == "text" and len(rows) > 10
    assert "\n\n".join(row.value["text"] for row in rows) == content.decode()
    assert all(len(row.value["text"]) <= limits.TEXT_ROW_CHARACTERS for row in rows)
    assert all(content[row.offset :].startswith(row.value["text"].encode()) for row in rows)


def test_markdown_keeps_headings_with_their_text_and_code_whole(tmp_path: Path):
    code = "```python\n" + "x = 1\n\n" * 900 + "```"
    content = "\n\n".join(f"## Part {n}\n\n" + "Words. " * 300 for n in range(6)) + "\n\n## Code\n\n" + code
    source, rows = opened(tmp_path / "a.md", content.encode())
    assert source.kind == "markdown" and len(rows) > 3
    assert all(row.value["text"].startswith("## ") for row in rows)
    assert code in rows[-1].value["text"]


def test_json_lines_called_txt_are_json_lines(tmp_path: Path):
    assert opened(tmp_path / "a.txt", LINES.encode())[0].kind == "jsonl"
    assert opened(tmp_path / "b.txt", b"[1] Smith et al.\n")[0].kind == "text"


# -- archives ------------------------------------------------------------------------------------------------------


def test_gzip_and_zip_hold_any_kind(tmp_path: Path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "p.parquet")
    files = {
        "a.jsonl": LINES.encode(),
        "a.json": json.dumps(ROWS).encode(),
        "a.csv": "a\n1 ä\n2\n".encode(),
        "a.parquet": (tmp_path / "p.parquet").read_bytes(),
        "a.xlsx": write_xlsx(tmp_path / "x.xlsx", {"S": [["a"], ["1 ä"], ["2"]]}).read_bytes(),
    }
    for name, content in files.items():
        source, rows = opened(tmp_path / f"{name}.gz", gzip.compress(content))
        assert [row.value for row in rows] == ROWS, name
        assert source.members == [name]
        source = open_source(packed(tmp_path / f"{name}.zip", {f"folder/{name}": content, "README.txt": b"hello"}))
        assert [row.value for row in source.rows()] == ROWS, name
        assert (source.members, source.skipped) == ([f"folder/{name}"], ["README.txt"])
    assert not list(Path(tmp_path).glob("unpacked*"))


def test_several_files_of_a_zip_are_read_in_name_order(tmp_path: Path):
    members = {
        "b.jsonl": b'{"a": 3}\n{"a"',
        "a.jsonl": b'{"a": 1}\n\n{"a": 2}',
        "__MACOSX/._a.jsonl": b"\0\5",
        ".x": b"",
    }
    path = packed(tmp_path / "a.zip", members)
    source, other = open_source(path), open_source(path)
    rows = list(source.rows())
    assert [(row.row, row.value) for row in rows] == [(1, {"a": 1}), (3, {"a": 2}), (4, {"a": 3}), (5, None)]
    assert source.members == ["a.jsonl", "b.jsonl"] and source.blank_lines == 1
    assert [other.line_row(*line) for line in other.lines()] == rows


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"../a.jsonl": b"{}"}, "archive_outside"),
        ({"/etc/a.jsonl": b"{}"}, "archive_outside"),
        ({"..\\a.jsonl": b"{}"}, "archive_outside"),
        ({"a.jsonl": b"{}", "b.csv": b"a\n"}, "archive_mixed"),
        ({"a.exe": b"MZ"}, "archive_empty"),
        ({"a.zip": b"PK"}, "archive_nested"),
        ({"a.jsonl": gzip.compress(b"{}")}, "archive_nested"),
        ({}, "archive_empty"),
    ],
)
def test_an_archive_that_is_not_opened_says_why(tmp_path: Path, members: dict[str, bytes], code: str):
    assert refusal(packed(tmp_path / "a.zip", members)) == f"data.reading.{code}"


def test_locked_damaged_and_nested_archives_are_refused(tmp_path: Path):
    content = packed(tmp_path / "a.zip", {"a.jsonl": LINES.encode()}).read_bytes()
    locked = bytearray(content)
    locked[6] |= 1
    locked[content.index(b"PK\x01\x02") + 8] |= 1
    assert refusal(tmp_path / "locked.zip", bytes(locked)) == "data.reading.archive_locked"
    assert refusal(tmp_path / "cut.zip", content[:-30]) == "data.reading.archive_damaged"
    whole = gzip.compress(LINES.encode() * 50_000)
    assert refusal(tmp_path / "cut.jsonl.gz", whole[:12]) == "data.reading.archive_damaged"
    assert refusal(tmp_path / "two.jsonl.gz", gzip.compress(whole)) == "data.reading.archive_nested"


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "RATIO_FROM_BYTES", 1 << 20)
    zeros = b'{"a": "' + b"0" * (8 << 20) + b'"}\n'
    assert refusal(packed(tmp_path / "a.zip", {"a.jsonl": zeros})) == "data.reading.archive_bomb"
    assert refusal(tmp_path / "a.jsonl.gz", gzip.compress(zeros)) == "data.reading.archive_bomb"
    monkeypatch.setattr(limits, "MAX_RATIO", 1 << 20)
    assert len(list(open_source(tmp_path / "a.zip").rows())) == 1
    monkeypatch.setattr(limits, "MAX_UNPACKED_BYTES", 4 << 20)
    assert refusal(tmp_path / "a.zip") == "data.reading.archive_bomb"


# -- spreadsheets --------------------------------------------------------------------------------------------------


def test_cells_keep_their_types(tmp_path: Path):
    day = datetime.date(2026, 3, 1)
    cells = [["q", "n", "x", "d", "b"], ["text", 3, 2.5, day, True], ["", "", "", "", ""], ["007", "", "", "", ""]]
    source = open_source(write_xlsx(tmp_path / "a.xlsx", {"S": cells}))
    rows = list(source.rows())
    assert rows[0].value == {"q": "text", "n": 3, "x": 2.5, "d": day, "b": True}
    assert type(rows[0].value["n"]) is int
    assert json.loads(rows[0].raw)["d"] == "2026-03-01"
    assert rows[1].value["q"] == "007" and source.blank_lines == 1


def test_sheets_with_the_same_columns_follow_and_others_are_reported(tmp_path: Path):
    sheets = {"Empty": [], "One": [["a"], ["1"]], "Notes": [["by", "on"], ["x", "y"]], "Two": [["a"], ["2"]]}
    source = open_source(write_xlsx(tmp_path / "a.xlsx", sheets))
    rows = list(source.rows())
    assert [row.value for row in rows] == [{"a": "1"}, {"a": "2"}, None]
    assert codes(rows) == {3: "reading.sheet_not_read"}
    assert (source.options["sheets"], source.skipped) == (["One", "Two"], ["Notes"])
    assert "Notes" in rows[2].fault.at(3, "").message("zh")


def test_formulas_are_their_stored_values_and_do_nothing(tmp_path: Path):
    rows = list(open_source(write_xlsx(tmp_path / "a.xlsx", {"S": [["a"], ["=1+1"]]}, formulas=True)).rows())
    assert rows[0].value == {"a": 2}


def test_two_cells_far_apart_take_no_memory(tmp_path: Path):
    path = write_xlsx(tmp_path / "a.xlsx", {"S": [["a"], ["b"]]}, far_cell="XFD1048576")
    assert refusal(path) == "data.reading.spreadsheet_far_cells"


def test_what_is_no_spreadsheet_is_refused(tmp_path: Path):
    content = write_xlsx(tmp_path / "a.xlsx", {"S": [["a"], ["b"]]}).read_bytes()
    assert refusal(tmp_path / "cut.xlsx", content[:-50]) == "data.reading.archive_damaged"
    assert refusal(tmp_path / "old.xlsx", b"\xd0\xcf\x11\xe0" + bytes(600)) == "data.reading.spreadsheet_locked"
    assert refusal(tmp_path / "old.xls", b"\xd0\xcf\x11\xe0" + bytes(600)) == "data.unsupported_format"
    word = packed(tmp_path / "a.docx", {"[Content_Types].xml": b"<x/>", "word/document.xml": b"<x/>"})
    assert refusal(word) == "data.unsupported_format"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", b"<x/>")
        archive.writestr("xl/workbook.xml", b"<x/>")
    assert refusal(tmp_path / "b.xlsx", buffer.getvalue()) == "data.reading.spreadsheet_damaged"


# -- the zoo -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "count", "faults"),
    [
        ("latin1.csv", 2, {}),
        ("gb18030.csv", 3, {}),
        ("utf16.jsonl", 6, {}),
        ("old_mac.jsonl", 3, {}),
        ("array.jsonl", 3, {}),
        ("unclosed_quote.csv", 3, {1: "csv_quote"}),
        ("numbers.xlsx", 3, {3: "reading.sheet_not_read"}),
    ],
)
def test_broken_files_are_read_as_told(name: str, count: int, faults: dict[int, str]):
    rows = list(open_source(SAMPLES / "broken" / name).rows())
    assert (len(rows), codes(rows)) == (count, faults)


def test_each_slip_is_told_by_its_line():
    rows = list(open_source(SAMPLES / "broken" / "slips.jsonl").rows())
    assert sorted(codes(rows)) == [*range(2, 12), 13]


@pytest.mark.parametrize(
    ("name", "code"),
    [("outside.zip", "outside"), ("mixed.zip", "mixed"), ("nested.zip", "nested")],
)
def test_archives_of_the_zoo_are_refused(name: str, code: str):
    assert refusal(SAMPLES / "broken" / name) == f"data.reading.archive_{code}"


def test_half_an_archive_of_the_zoo_ends_in_one_fault():
    *rows, last = open_source(SAMPLES / "broken" / "cut_off.jsonl.gz").rows()
    assert last.fault.code == "reading.archive_cut_off" and not codes(rows)
