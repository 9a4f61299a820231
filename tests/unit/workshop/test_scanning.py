"""Rows are found as a plain look at every row finds them, however far a scan is and wherever it stopped."""

import json
import random
from pathlib import Path

import pytest

from studio.workshop import cleaning, recipe
from studio.workshop.versions import scanning, writer
from studio.workshop.versions.build import import_file, revise
from studio.workshop.versions.finding import NONE, Found, Wanted, find_rows, place_of
from studio.workshop.versions.layout import Row, spoken
from studio.workshop.versions.reader import ROWS, iterate_rows, open_table, read_manifest

WORDS = ("Frage", "NÄHE", "straße", "你好", "a.b", "100 %", "\\d", "ſee", "x")


def row_of(number: int, *, is_chat: bool) -> dict:
    chance = random.Random(number)
    asked, said = (" ".join(chance.choices(WORDS, k=3)) for _ in range(2))
    beside = {} if number % 7 == 0 else {"category": chance.choice("xyz")}
    beside |= {"note": f"id {number}"} if number % 5 == 0 else {}
    if not is_chat:
        return {"prompt": asked, "completion": said} | beside
    return {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]} | beside


@pytest.fixture(scope="module", params=[True, False], ids=["chats", "pairs"])
def version(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scanning")
    lines = [json.dumps(row_of(number, is_chat=request.param), ensure_ascii=False) for number in range(300)]
    lines[40:44] = ["{"] * 4
    (folder / "rows.jsonl").write_text("\n".join(lines), "utf-8")
    import_file(folder / "rows.jsonl", folder / "made")
    cleaning.apply(folder / "made", recipe.parse({"steps": [{"step": "split", "options": {}}]}), folder / "split")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "GROUP_ROWS", 8)
        revise(folder / "split", folder / "version", edits={}, exclude=[10])
    with open_table(folder / "version", ROWS) as file:
        assert file.num_row_groups > 5
    return folder / "version"


def is_like(row: Row, wanted: Wanted, format: str) -> bool:
    said = [turn["content"] for _, turns in spoken(row, format) for turn in turns]
    texts = [row.raw, json.dumps(row.extra, ensure_ascii=False), row.category or "", *said]
    return (
        any(wanted.search.lower() in text.lower() for text in texts)
        and wanted.split in ("", row.split)
        and (not wanted.category or row.category == (None if wanted.category == NONE else wanted.category))
        and (not wanted.numbers or row.row in wanted.numbers)
    )


ASKED = [
    Wanted(search="fraGE"),
    Wanted(search="nähe"),
    Wanted(search="你好"),
    Wanted(search="a.b straße"),
    Wanted(search="nothing of the kind"),
    Wanted(search="id 25"),
    Wanted(category="y"),
    Wanted(category=NONE),
    Wanted(category="none is called so"),
    Wanted(split="test"),
    Wanted(split="train", category="x", search="100 %"),
    Wanted(numbers=(299, 3, 42, 17, 4000)),
    Wanted(numbers=tuple(range(0, 400, 3)), search="x"),
    Wanted(numbers=(5000,)),
]


@pytest.mark.parametrize("wanted", ASKED)
def test_every_page_is_that_of_a_plain_look_at_all_rows(version: Path, wanted: Wanted):
    format = read_manifest(version).format
    right = [row for row in iterate_rows(version) if is_like(row, wanted, format)]
    for start in (0, 7, len(right) - 1, len(right), 1000):
        found = find_rows(version, wanted, start=start, count=5)
        start = max(0, start)
        assert found.rows == right[start : start + 5] and found.has_more == (start + 5 < len(right))
        assert found.total in (None, len(right))
    assert find_rows(version, wanted, start=0, count=1000).total == len(right)


@pytest.mark.parametrize("wanted", ASKED)
def test_a_scan_that_is_stopped_again_and_again_comes_to_the_same(
    version: Path, wanted: Wanted, monkeypatch: pytest.MonkeyPatch
):
    right = find_rows(version, wanted, start=0, count=1000)
    scanning._kept_scan.cache_clear()
    monkeypatch.setattr(scanning, "COUNTING_SECONDS", 0)
    shares, rows = [0.0], []
    while not rows or rows[-1].is_unfinished:
        rows.append(find_rows(version, wanted, start=0, count=1000, seconds=0))
        shares.append(rows[-1].share)
        assert rows[-1].rows == right.rows[: len(rows[-1].rows)]
    assert (rows[-1].rows, rows[-1].total) == (right.rows, len(right.rows))
    assert shares == sorted(shares) and shares[-1] == 1 and len(shares) > 3


def test_a_first_page_leaves_the_rest_unread(version: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scanning, "COUNTING_SECONDS", 0)
    scanning._kept_scan.cache_clear()
    wanted = Wanted(search="x")
    first: Found = find_rows(version, wanted, start=0, count=2)
    assert len(first.rows) == 2 and first.has_more and first.total is None and first.share < 0.2
    assert not first.is_unfinished
    later = find_rows(version, wanted, start=2, count=2)
    assert later.rows == find_rows(version, wanted, start=0, count=4).rows[2:]


def test_a_row_is_found_by_its_number(version: Path):
    numbers = [row.row for row in iterate_rows(version)]
    for number in (0, 1, 8, 9, 39, 41, 44, 45, 299, 300, 301, 10_000):
        assert place_of(version, number) == sum(each < number for each in numbers)
