"""Personal data is found where check digits and boundaries say so, and masked so that the text reads on."""

import string

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.workshop.clean.personal_data import Options, run
from studio.workshop.texts import personal
from tests.examples import examples
from tests.unit.workshop.answers import answered, codes, sentences

ID = "11010519491231002X"
FOUND = [
    ("li.lei@qq.com", "email"),
    ("anna+news@mail.firma.co.uk", "email"),
    ("wang@163.com", "email"),
    ("13812345678", "phone"),
    ("138-1234-5678", "phone"),
    ("+86 138 1234 5678", "phone"),
    ("+8613812345678", "phone"),
    ("(212) 555-2368", "phone"),
    ("212-555-2368", "phone"),
    ("+1 212-555-2368", "phone"),
    ("+44 20 7946 0958", "phone"),
    ("+49 (30) 901820", "phone"),
    ("010-62770334", "phone"),
    (ID, "chinese_id"),
    ("4111 1111 1111 1111", "card"),
    ("5500-0055-5555-5559", "card"),
    ("378282246310005", "card"),
    ("3782 822463 10005", "card"),
    ("6222021234567890128", "card"),
    ("DE89 3704 0044 0532 0130 00", "iban"),
    ("GB82WEST12345698765432", "iban"),
    ("85.214.132.117", "ip"),
    ("2a00:1450:4001:81b::200e", "ip"),
]


def kinds_in(text: str) -> list[str]:
    return [code for _, code, _ in codes(run(answered(text), Options(action="mark")).findings)]


@pytest.mark.parametrize(("value", "kind"), FOUND)
@pytest.mark.parametrize("around", ["It is {} now", "{}", "我的是{}请记住", "（{}）", "is {}.", "是{},还有", "\n{}\n"])
def test_it_is_found_wherever_it_stands(value: str, kind: str, around: str) -> None:
    assert kinds_in(around.format(value)) == [kind]
    new = run(answered(around.format(value)), Options()).rows["completion"][0]
    before, after = around.split("{}")
    assert new.startswith(before) and new.endswith(after) and value not in new
    assert kinds_in(new) == []


@pytest.mark.parametrize(
    "text",
    [
        "version 2.31.4.100 and v120.0.60.71, firmware 30.40.50.60",
        "Section 1.2.3.4 of the manual",
        "order 20240115123456, invoice 9876543210",
        "2024-01-15 10:30:45.123456, 15.01.2024, 20240115",
        "$1,234,567.89, 12,345,678 people, 3.14159265358979",
        "192.168.1.1, 10.0.0.1, 127.0.0.1, 192.0.2.7, 8.8.8.8",
        "icon@2x.png, git@github.com:a/b.git, react@18.2.0, name@example.com, @handle, a @ b.com",
        "ISBN 978-3-16-148410-0",
        "4111 1111 1111 1112",
        "110105194912310021",
        "DE88 3704 0044 0532 0130 00",
        "std::vector 12:30:45 fe80::1 2001:db8::1 a::b",
        "1700000000000 ms, 1700000000 s, id 138123456789012",
        "https://shop.example.org/item/13812345678 and #13812345678",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16",
        "call 911 or 12345; 555-1234",
        "00000000000000000000, 1111111111111111",
        "range 100-200-3000 and 2-3-4",
    ],
)
def test_it_is_not_seen_where_it_is_not(text: str) -> None:
    assert kinds_in(text) == []


def test_the_same_value_has_the_same_mask_and_two_have_two() -> None:
    text = "Li: li@qq.com, Wang: wang@163.com, again LI@qq.com; 13812345678, 138 1234 5678, 13987654321"
    new = run(answered(text, "li@qq.com"), Options()).rows["completion"].to_list()
    expected = "Li: name@example.com, Wang: name2@example.com, again name@example.com; "
    assert new == [expected + "13800000001, 138 0000 0001, 13900000002", "name@example.com"]


def test_tags() -> None:
    text = f"{ID}, 4111 1111 1111 1111 12/25, li@qq.com, 13812345678, 85.214.132.117, GB82WEST12345698765432"
    new = run(answered(text), Options(style="tag")).rows["completion"][0]
    assert new == "[CHINESE_ID], [CARD] 12/25, [EMAIL], [PHONE], [IP], [IBAN]"


def test_marking_and_removing_change_no_text() -> None:
    rows = answered("li@qq.com", "nobody")
    marked = run(rows, Options(action="mark"))
    assert marked.rows.equals(rows) and codes(marked.findings) == [(1, "email", "mark")]
    removed = run(rows, Options(action="remove"))
    assert removed.rows["row"].to_list() == [2] and codes(removed.findings) == [(1, "email", "remove")]
    assert run(rows, Options(email=False)).rows.equals(rows)


def test_masks_hold_across_the_turns_of_a_row() -> None:
    turns = [
        {"role": "user", "content": "I am li@qq.com, my boss is wang@163.com"},
        {"role": "assistant", "content": "Writing to wang@163.com"},
    ]
    new = run(pl.DataFrame({"row": [7], "messages": [turns]}), Options()).rows["messages"][0]
    assert new[1]["content"] == "Writing to name2@example.com"


DIGITS = st.text(string.digits, min_size=1, max_size=18)


@settings(max_examples=examples(200), deadline=None)
@given(DIGITS)
def test_one_wrong_digit_is_never_a_card(tail: str) -> None:
    base = ("4" + tail.zfill(14))[:15]
    right = [digit for digit in string.digits if personal.is_card(base + digit)]
    assert len(right) == 1


@settings(max_examples=examples(200), deadline=None)
@given(st.text(st.sampled_from(list("0123456789 -.+()@:xXab/电话,")), max_size=60))
def test_what_is_masked_once_is_not_masked_again(text: str) -> None:
    once = run(answered(text), Options()).rows
    assert run(once, Options()).rows.equals(once)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_finding_has_words(language: str) -> None:
    findings = run(answered(" , ".join(value for value, _ in FOUND)), Options()).findings
    assert set(findings["code"]) == {f"clean.personal_data.{kind}" for kind in personal.KINDS}
    assert len(sentences(findings, language)) == 6
