"""Answers that must look alike: JSON, labels, patterns, SQL; and the schema read off the rows."""

import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.errors import RefusedInput
from studio.workshop.clean.task_schema import Options, derive, run
from studio.workshop.texts import sql
from studio.workshop.texts.schema import shape_of, violations
from tests.examples import examples
from tests.unit.workshop.answers import answered, codes, sentences

ORDER = {"id": "number", "who.name": "text", "who.mail": "text|nothing", "items[].price": "number", "who": "object"}


def as_json(**changes: object) -> str:
    whole = {"id": 1, "who": {"name": "Li", "mail": None}, "items": [{"price": 2.5}, {"price": 3}]}
    return json.dumps({key: value for key, value in (whole | changes).items() if value != "gone"})


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (as_json(), []),
        (as_json(note="more"), []),
        (as_json(id="1"), [("wrong_type", {"place": "id", "wanted": "number", "found": "text"})]),
        (as_json(id="gone"), [("missing_key", {"place": "id", "wanted": "number"})]),
        (as_json(who={"mail": "x"}), [("missing_key", {"place": "who.name", "wanted": "text"})]),
        (as_json(who="Li"), [("wrong_type", {"place": "who", "wanted": "object", "found": "text"})]),
        (
            as_json(items=[{"price": 1}, {"price": "two"}]),
            [("wrong_type", {"place": "items[].price", "wanted": "number", "found": "text"})],
        ),
        (as_json(items=[{"price": 1}, {"cost": 2}]), [("missing_key", {"place": "items[].price", "wanted": "number"})]),
        (as_json(items=[]), []),
        ("Sure: {}", [("not_json", {"part": "Sure: {}"})]),
        ('{"id": 1', [("not_json", {"part": '{"id": 1'})]),
    ],
)
def test_json_answers(answer: str, found: list) -> None:
    findings = run(answered(as_json(), as_json(), answer), Options(kind="json", keys=ORDER)).findings
    told = [
        (code.rsplit(".", 1)[1], json.loads(values))
        for row, code, values in findings.select("row", "code", "values").rows()
        if row == 3
    ]
    assert told == found and findings.height == len(found)


def test_keys_that_nobody_named() -> None:
    options = Options(kind="json", keys=ORDER | {"items": "list"}, other_keys=False)
    assert codes(run(answered(as_json(), as_json(note=1)), options).findings) == [(2, "extra_key", "mark")]


def test_removing_instead_of_marking() -> None:
    outcome = run(answered(as_json(), "no"), Options(kind="json", keys=ORDER, action="remove"))
    assert outcome.rows["row"].to_list() == [1] and codes(outcome.findings) == [(2, "not_json", "remove")]


def test_a_code_block_is_as_the_majority_has_it() -> None:
    bare, fenced = '{"a": 1}', '```json\n{"a": 1}\n```'
    options = Options(kind="json", keys={"a": "number"})
    assert codes(run(answered(bare, bare, fenced), options).findings) == [(3, "in_fence", "mark")]
    assert codes(run(answered(fenced, fenced, bare), options).findings) == [(3, "no_fence", "mark")]
    either = Options(kind="json", keys={"a": "number"}, fence="either")
    assert codes(run(answered(fenced, fenced, bare), either).findings) == []


def test_labels() -> None:
    rows = answered("positive", "negative", "Positive", "positve", "I cannot say")
    findings = run(rows, Options(kind="labels", labels=("positive", "negative"))).findings
    assert codes(findings) == [
        (3, "unknown_label_hint", "mark"),
        (4, "unknown_label_hint", "mark"),
        (5, "unknown_label", "mark"),
    ]
    assert json.loads(findings["values"][0])["hint"] == "positive"


def test_patterns() -> None:
    options = Options(kind="pattern", pattern="[A-Z]{2}-[0-9]+|none")
    assert codes(run(answered("AB-12", "none", "AB-12 ", "xAB-12"), options).findings) == [
        (3, "no_match", "mark"),
        (4, "no_match", "mark"),
    ]
    with pytest.raises(RefusedInput, match="look-around"):
        run(answered("a"), Options(kind="pattern", pattern="(?=a)"))
    with pytest.raises(RefusedInput, match="no type"):
        run(answered("{}"), Options(kind="json", keys={"a": "string"}))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("SELECT a, b FROM t WHERE a > 3;", None),
        ("select count(*) from t", None),
        ("select a * b as c from t", None),
        ("select a from t where note = 'select * from x'", None),
        ("select a from t -- select *\n", None),
        ("select a /* select * */ from t", None),
        ("select a from t where exists (select * from u where u.id = t.id)", None),
        ("INSERT INTO t (a) VALUES (1)", None),
        ("SELECT 1", None),
        ("with x as (select a from t) select a from x", None),
        ("SELECT * FROM t", "select_star"),
        ("SELECT t.* FROM t", "select_star"),
        ("select a, t.* from t", "select_star"),
        ("select distinct * from t", "select_star"),
        ("select a from (select\n  *\nfrom t) x", "select_star"),
        ("with x as (select * from t) select a from x", "select_star"),
        ("select a from t union all select * from u", "select_star"),
        ("insert into t select * from u", "select_star"),
        ("Hello there", "not_sql"),
        ("select your favourite", "not_sql"),
        ("You can use SELECT for that.", "not_sql"),
        ("SELECT a FROM WHERE", "not_sql"),
        ("", "not_sql"),
        ("(" * 3000, "not_sql"),
    ],
)
def test_sql(text: str, fault: str | None) -> None:
    assert sql.fault(text) == fault


def test_sql_answers() -> None:
    rows = answered("SELECT a FROM t", "SELECT * FROM t", "no idea", "SELECT b FROM t")
    assert codes(run(rows, Options(kind="sql")).findings) == [(2, "select_star", "mark"), (3, "not_sql", "mark")]
    assert codes(run(rows, Options(kind="sql", no_select_star=False)).findings) == [(3, "not_sql", "mark")]


def test_a_json_schema_is_read_off_the_rows() -> None:
    rows = answered(*[as_json(id=number) for number in range(20)], as_json(id="x", extra=1), "no JSON")
    options = derive(rows)
    assert options.kind == "json" and options.keys["id"] == "number" and options.keys["items[].price"] == "number"
    assert "extra" not in options.keys
    assert codes(run(rows, options).findings) == [(21, "wrong_type", "mark"), (22, "not_json", "mark")]
    fenced = answered(*[f"```json\n{as_json()}\n```" for _ in range(5)])
    assert derive(fenced).keys == derive(answered(as_json())).keys and not run(fenced, derive(fenced)).findings.height


def test_labels_sql_and_patterns_are_read_off_the_rows() -> None:
    assert derive(answered(*["yes", "no"] * 10, "perhaps")).labels == ("yes", "no")
    assert derive(answered(*(f"SELECT a{n} FROM t" for n in range(9)), "SELECT * FROM t")) == Options(kind="sql")
    pattern = derive(answered(*(f"AB-{n * 37}" for n in range(9)), "none"))
    assert pattern == Options(kind="pattern", pattern=r"[A-Z]+\-[0-9]+")
    assert run(answered("AB-12"), pattern).findings.height == 0
    assert derive(answered("A free text.", "Another one, quite different.", "A third.")).kind == "none"
    assert derive(answered()).kind == "none"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=examples(200), deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), JSON, max_size=3))
def test_every_value_has_the_shape_read_off_it(value: dict) -> None:
    shape = shape_of([value], type_share=0)
    assert violations(value, shape.keys, shape.optional, other_keys=False) == []


def test_the_last_answer_of_a_conversation_counts() -> None:
    turns = [("user", "a"), ("assistant", "free text"), ("user", "b"), ("assistant", "{")]
    rows = pl.DataFrame({"row": [1], "messages": [[{"role": role, "content": text} for role, text in turns]]})
    findings = run(rows, Options(kind="json")).findings
    assert findings["field"].to_list() == ["messages[3].content"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_finding_has_words(language: str) -> None:
    json_rows = answered(as_json(), as_json(id="1"), as_json(id="gone", note=1), "no", f"```\n{as_json()}\n```")
    runs = [
        (json_rows, Options(kind="json", keys=ORDER, other_keys=False)),
        (answered("a"), Options(kind="json", fence="required")),
        (answered("Yes", "else entirely"), Options(kind="labels", labels=("yes",))),
        (answered("a"), Options(kind="pattern", pattern="b")),
        (answered("SELECT * FROM t", "hm"), Options(kind="sql")),
    ]
    findings = pl.concat([run(rows, options).findings for rows, options in runs])
    assert len(set(findings["code"])) == 11 and sentences(findings, language)
