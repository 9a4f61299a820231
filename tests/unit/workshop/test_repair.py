"""Proposals for broken lines: right or none, and never a changed text."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.workshop.reading.jsontext import parse_row
from studio.workshop.reading.repair import _texts, _unescaped, propose_repair


@pytest.mark.parametrize(
    ("broken", "proposal"),
    [
        ("{'a': None, 'b': \"it's\"}", {"a": None, "b": "it's"}),
        ('{"a": True, "b": "True, None, NaN"}', {"a": True, "b": "True, None, NaN"}),
        ('{"a": "b",}', {"a": "b"}),
        ('{"a": [1, 2,], "b": ",}"}', {"a": [1, 2], "b": ",}"}),
        ('{"a": NaN}', {"a": None}),
        ('{"a": "x\ty\x00"}', {"a": "x\ty\x00"}),
        ("{“prompt”: “Hi there”, “completion”: “Yes”}", {"prompt": "Hi there", "completion": "Yes"}),
        ('{“prompt”: "say “hi”"}', {"prompt": "say “hi”"}),
        ('{"a": "he said "hi" to me", "b": 1}', {"a": 'he said "hi" to me', "b": 1}),
        ('{"a": "x" "b": "y"}', {"a": "x", "b": "y"}),
        ('{a: 1, b: "x"}', {"a": 1, "b": "x"}),
        ('{"a": "it\\\'s"}', {"a": "it's"}),
        ('{"a": "Yes, use the link in ', {"a": "Yes, use the link in "}),
        ('{"m": [{"role": "user", "content": "你', {"m": [{"role": "user", "content": "你"}]}),
        ('{"a": 1,', {"a": 1}),
        ('{"a": "b"}}', {"a": "b"}),
    ],
)
def test_what_is_plain_is_proposed(broken: str, proposal: dict):
    assert parse_row(broken)[1] is not None
    assert json.loads(propose_repair(broken)) == proposal


@pytest.mark.parametrize(
    "unsure",
    [
        '{"a": 1, "a": 2}',
        "{'a': 1, 'a': 2}",
        "{'a': (1, 2)}",
        "{'a': 'it's'}",
        '{"a": 1, "b',
        '{"a": 1, "b":',
        '{"a": "\\ud800"}',
        '{"a": "x\\u00',
        '{"a": "\\d+"}',
        '{"a": 1}{"b": 2}',
        '{"a": "x"}, and so on',
        "Dear all,",
        "",
        "{",
        "{" * 5000,
    ],
)
def test_what_is_not_plain_is_left_alone(unsure: str):
    assert propose_repair(unsure) is None


def test_what_is_whole_needs_no_proposal():
    assert propose_repair('{"a": 1}') is None
    assert propose_repair('{"a": 1},') is None


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
VALUES = st.dictionaries(
    TEXTS, st.recursive(TEXTS | st.integers() | st.none() | st.booleans(), lambda inner: st.lists(inner, max_size=3)),
    min_size=1, max_size=4,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_python_and_commas_are_taken_back_exactly(value: dict):
    for broken in (repr(value), json.dumps(value, ensure_ascii=False)[:-1] + ",}"):
        proposal = propose_repair(broken)
        if parse_row(broken)[1] is None:
            assert proposal is None
        elif proposal is not None:
            assert json.loads(proposal) == value
        else:
            assert broken == repr(value)  # an escape that Python has and JSON has not


@settings(max_examples=100, deadline=None)
@given(VALUES, st.data())
def test_no_text_is_ever_changed(value: dict, data: st.DataObject):
    """A cut or a lost character: each text proposed stands in the broken line as it is."""
    whole = json.dumps(value, ensure_ascii=False)
    at = data.draw(st.integers(0, len(whole) - 1))
    for broken in (whole[:at], whole[:at] + whole[at + 1 :], whole[:at] + '"' + whole[at:]):
        proposal = propose_repair(broken)
        if proposal is not None:
            for text in _texts(json.loads(proposal)):
                assert (
                    text in broken or json.dumps(text, ensure_ascii=False)[1:-1] in broken or text in _unescaped(broken)
                )


@pytest.mark.parametrize(
    "line", ['{"a' * 1300, "{'" * 30_000, "{“" * 30_000, '{"a": "' + 'x" ' * 1300, "{" + "a:" * 1900]
)
def test_guessing_takes_no_time(line: str):
    began = time.process_time()
    propose_repair(line)
    assert time.process_time() - began < 1
