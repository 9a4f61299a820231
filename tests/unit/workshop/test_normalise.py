"""The usual form: what changes, what stays, and that twice is once."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.workshop.clean.normalise import Options, normalised, run
from studio.workshop.texts import spans
from tests.examples import examples
from tests.unit.workshop.answers import answered, codes, sentences

EVERYTHING = Options(dates="iso", numbers="plain")


@pytest.mark.parametrize(
    ("text", "usual"),
    [
        ("Cafe\u0301", "Café"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("a  b \nc\u00a0d\t\n", "a b\nc d"),
        ("Ａ１ｂ,你好，世界！", "A1b,你好，世界！"),
        ("x `a  b`  y", "x `a  b` y"),
        ("```\r\na  b \r\n```", "```\na  b \n```"),
        ("  indented a  b", "  indented a b"),
        ("- a\n  - b", "- a\n  - b"),
        ("　　段落", "  段落"),
    ],
)
def test_texts(text: str, usual: str) -> None:
    outcome = run(answered(text, "ok"), Options())
    assert outcome.rows["completion"].to_list() == [usual, "ok"]
    assert codes(outcome.findings) == ([(1, "text", "change")] if text != usual else [])


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("on 4 March 2024", "on 2024-03-04"),
        ("March 4th, 2024 was", "2024-03-04 was"),
        ("2024年3月4日", "2024-03-04"),
        ("2024/3/4 and 2024.03.04", "2024-03-04 and 2024-03-04"),
        ("13/04/2024", "2024-04-13"),
        ("04/13/2024", "2024-04-13"),
        ("05/05/2024", "2024-05-05"),
        ("31 February 2024", "31 February 2024"),
        ("https://a.org/2024/03/04/x", "https://a.org/2024/03/04/x"),
        ("`4 March 2024`", "`4 March 2024`"),
        ("version 2024.3.4.1", "version 2024.3.4.1"),
    ],
)
def test_dates(text: str, iso: str) -> None:
    assert normalised(text, Options(dates="iso")) == iso
    assert normalised(text, Options()) == text


def test_a_date_that_may_be_two_days_is_marked_and_stays() -> None:
    rows = answered("on 03/04/2024")
    outcome = run(rows, Options(dates="iso"))
    assert outcome.rows.equals(rows) and codes(outcome.findings) == [(1, "ambiguous_date", "mark")]
    assert normalised("03/04/2024", Options(dates="iso", date_order="day_first")) == "2024-04-03"
    assert normalised("03/04/2024", Options(dates="iso", date_order="month_first")) == "2024-03-04"


@pytest.mark.parametrize(
    ("text", "plain", "grouped"),
    [
        ("1,234,567 people", "1234567 people", "1,234,567 people"),
        ("12345 of 1234", "12345 of 1234", "12,345 of 1234"),
        ("12,34 and 1.234,5", "12,34 and 1.234,5", "12,34 and 1.234,5"),
        ("0012345, a12345", "0012345, a12345", "0012345, a12345"),
    ],
)
def test_numbers(text: str, plain: str, grouped: str) -> None:
    assert normalised(text, Options(numbers="plain")) == plain
    assert normalised(text, Options(numbers="grouped")) == grouped
    assert normalised(text, Options()) == text


def test_role_names() -> None:
    turns = [{"role": "Human", "content": "Hi", "weight": 1.0}, {"role": "gpt", "content": "Hello", "weight": None}]
    fine = [{"role": "user", "content": "A", "weight": None}, {"role": "assistant", "content": "B", "weight": None}]
    rows = pl.DataFrame({"row": [1, 2], "messages": [turns, fine]})
    outcome = run(rows, Options())
    assert [turn["role"] for turn in outcome.rows["messages"][0]] == ["user", "assistant"]
    assert outcome.rows["messages"][1].to_list() == fine and outcome.rows.schema == rows.schema
    assert outcome.findings.select("row", "field", "before", "after").rows() == [
        (1, "messages[0].role", "Human", "user"),
        (1, "messages[1].role", "gpt", "assistant"),
    ]
    assert run(rows, Options(role_names=False)).rows.equals(rows)


LETTERS = list("ab 　\u00a0\t\r\n`~.,/-:1２３4Ａｚé") + [
    "e\u0301",
    "```",
    "    ",
    "<think>",
    "</think>",
    "March 4, 2024",
]
LETTERS += ["2024/1/2", "1,234", "{", "}", '"', "年", "月", "日"]
TEXTS = st.lists(st.sampled_from(LETTERS), max_size=40).map("".join)


@settings(max_examples=examples(400), deadline=None)
@given(TEXTS)
def test_twice_is_once(text: str) -> None:
    once = normalised(text, EVERYTHING)
    assert normalised(once, EVERYTHING) == once


@settings(max_examples=examples(200), deadline=None)
@given(TEXTS)
def test_code_comes_out_as_it_went_in(text: str) -> None:
    text = text.replace("\r", "")
    new, place = normalised(text, EVERYTHING), 0
    for start, end in spans.protected(text.strip("\n")):
        part = text.strip("\n")[start:end]
        place = new.index(part, place) + len(part)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(TEXTS.filter(bool), min_size=1, max_size=5))
def test_no_text_that_would_change_is_overlooked(texts: list[str]) -> None:
    rows = answered(*texts)
    expected = [normalised(text, EVERYTHING) or text for text in texts]
    assert run(rows, EVERYTHING).rows["completion"].to_list() == expected


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_finding_has_words(language: str) -> None:
    rows = pl.DataFrame({"row": [1], "messages": [[{"role": "gpt", "content": "on 03/04/2024  x"}]]})
    assert len(sentences(run(rows, EVERYTHING).findings, language)) == 3
