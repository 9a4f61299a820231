"""Graders that tell right from wrong: exact, numeric, label, JSON, SQL, similarity."""

import pytest

from studio.errors import RefusedInput, UnknownName
from studio.graders.declared import grade, options
from studio.graders.numbers import Number, convert, numbers
from studio.graders.score import Row
from studio.graders.similarity import chrf, rouge_l


def score(name, answer, wanted=None, source=None, question="", **chosen):
    row = Row(question=question, reference=wanted, source=source)
    return grade(name, [answer], [row], options(name, chosen))[0]


@pytest.mark.parametrize(
    ("answer", "wanted", "match", "value"),
    [
        ("Richard Nixon.", "richard nixon", "whole", 1),
        ("It was Richard Nixon, in 1969.", "Richard Nixon", "whole", 0),
        ("It was Richard Nixon, in 1969.", "Richard Nixon", "named", 1),
        (" ".join(["well"] * 60) + " Nixon", "Nixon", "named", 0),  # who says everything names nothing
        ("richard nixon", "Richard Nixon", "strict", 0),
        (" Richard Nixon\n", "Richard Nixon", "strict", 1),
        ("北京。", "北京", "whole", 1),
        ("首都是北京", "北京", "named", 1),
        ("", "Nixon", "whole", 0),
        ("!", "!", "whole", 1),
    ],
)
def test_exact_match(answer, wanted, match, value):
    assert score("exact_match", answer, wanted, match=match).value == value


@pytest.mark.parametrize("name", ["exact_match", "numeric_match", "similarity"])
@pytest.mark.parametrize("wanted", [None, "", " \n"])
def test_without_a_reference_the_score_is_missing_and_no_zero(name, wanted):
    found = score(name, "Nixon 7", wanted)
    assert (found.value, found.why) == (None, "no_reference")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It costs $1,234.50 or 1.2万元", [Number(1234.5, "$"), Number(12000, "元")]),
        ("3/4 of it", [Number(0.75)]),
        ("½", [Number(0.5)]),
        ("三万五千", [Number(35000)]),
        ("二〇二四", [Number(2024)]),
        ("三点一四", [Number(3.14)]),
        ("一亿二千万", [Number(120_000_000)]),
        ("一百零五", [Number(105)]),
        ("十二", [Number(12)]),
        ("负二十", [Number(-20)]),
        ("答案是五。", [Number(5)]),
        ("五公里", [Number(5, "公里")]),
        ("一般来说", []),
        ("万一", [Number(1)]),
        ("-5", [Number(-5)]),
        ("5-3", [Number(5), Number(3)]),
        ("12,345,678", [Number(12_345_678)]),
        ("1.5e3 kg", [Number(1500, "kg")]),
        ("２５％", [Number(25, "%")]),
        ("2 million", [Number(2_000_000)]),
        ("3k", [Number(3000)]),
        ("none at all", []),
    ],
)
def test_numbers_as_people_write_them(text, found):
    assert numbers(text) == pytest.approx(found) if not found else numbers(text) == found


def test_numbers_beyond_all_measure_end():
    assert numbers("9" * 500)[0].value == float("inf")
    assert numbers("1e999")[0].value == float("inf")
    assert numbers("九" + "亿" * 5000)
    assert score("numeric_match", "1e999", "1e999").value == 0
    assert score("numeric_match", "1/0", "1").value == 1  # a fraction of nothing is read without it


def test_units_are_converted():
    assert convert(Number(5, "km"), "m") == 5000
    assert convert(Number(2, "小时"), "minutes") == 120
    assert convert(Number(5, "km"), "kg") is None


@pytest.mark.parametrize(
    ("answer", "wanted", "chosen", "value"),
    [
        ("The total is 1234.50.", "1,234.5", {}, 1),
        ("5000 m", "5 km", {}, 1),
        ("5000", "5 km", {}, 0),
        ("5000 kg", "5 km", {}, 0),
        ("5 kg", "5 km", {"units": "ignore"}, 1),
        ("二十五", "25", {}, 1),
        ("First 6, then 7, so 42", "42", {}, 1),
        ("42 because 6 times 7", "42", {}, 0),
        ("42 because 6 times 7", "42", {"which": "first"}, 1),
        ("It is 42", "42", {"which": "only"}, 1),
        ("6 times 7 is 42", "42", {"which": "only"}, 0),
        ("50 %", "0.5", {}, 1),
        ("50", "50 %", {}, 1),
        ("0.5", "50 %", {}, 1),
        ("101", "100", {"tolerance": 0.01}, 1),
        ("102", "100", {"tolerance": 0.01}, 0),
        ("-7", "7", {}, 0),
        ("", "7", {}, 0),
        ("no idea", "7", {}, 0),
    ],
)
def test_numeric_match(answer, wanted, chosen, value):
    assert score("numeric_match", answer, wanted, **chosen).value == value


def test_a_wanted_answer_without_a_number_is_missing():
    assert score("numeric_match", "7", "seven").why == "no_number_wanted"


@pytest.mark.parametrize(
    ("answer", "wanted", "match", "value"),
    [
        ("Yes.", "yes", "named", 1),
        ("I think it is yes", "yes", "named", 1),
        ("I think it is yes", "yes", "whole", 0),
        ("yes or no", "yes", "named", 0),
        ("maybe", "yes", "named", 0),
        ("no", "yes", "named", 0),
        ("", "yes", "named", 0),
    ],
)
def test_label(answer, wanted, match, value):
    assert score("label", answer, wanted, labels=["yes", "no"], match=match).value == value


def test_of_labels_within_one_another_the_longest_counts():
    labels = ["good", "very good"]
    assert score("label", "very good", "good", labels=labels).value == 0
    assert score("label", "very good", "very good", labels=labels).value == 1


def test_a_wanted_label_that_is_none_of_them_is_missing():
    found = score("label", "yes", "perhaps", labels=["yes", "no"])
    assert (found.value, found.why, found.detail) == (None, "unknown_label", "perhaps")


KEYS = {"name": "text", "age": "number"}


@pytest.mark.parametrize(
    ("answer", "chosen", "value", "why"),
    [
        ('{"name": "Ann", "age": 3}', {}, 1, ""),
        ('```json\n{"name": "Ann", "age": 3}\n```', {}, 1, ""),
        ('```json\n{"name": "Ann", "age": 3}\n```', {"fence": "forbidden"}, 0, "in_fence"),
        ('{"name": "Ann", "age": 3}', {"fence": "required"}, 0, "no_fence"),
        ('{"name": "Ann"}', {}, 0, "missing_key"),
        ('{"name": "Ann"}', {"optional": ["age"]}, 1, ""),
        ('{"name": "Ann", "age": "3"}', {}, 0, "wrong_type"),
        ('{"name": "Ann", "age": 3, "x": 1}', {"other_keys": False}, 0, "extra_key"),
        ('{"name": "Ann", "age": 300}', {"schema": {"properties": {"age": {"maximum": 150}}}}, 0, "schema"),
        ("Here you are: {}", {}, 0, "not_json"),
        ("", {}, 0, "not_json"),
        ("[" * 100_000, {}, 0, "not_json"),
        ("\ud800", {}, 0, "not_json"),
    ],
)
def test_json_of_the_right_form(answer, chosen, value, why):
    found = score("json", answer, keys=KEYS, **chosen)
    assert (found.value, found.why) == (value, why)


def test_json_values_count_by_share_and_made_up_ones_are_wrong():
    wanted = '{"name": "Ann", "age": 4}'
    assert score("json", '{"age": 4, "name": "ann"}', wanted, match="values").value == 1
    assert score("json", '{"name": "Ann", "age": 3}', wanted, match="values").value == 0.5
    assert score("json", '{"name": "Ann", "age": 4, "x": 1, "y": 2}', wanted, match="values").value == 0.5
    assert score("json", '{"name": true, "age": 4}', '{"name": 1, "age": 4}', match="values").value == 0.5
    assert score("json", "{}", "Ann", match="values").why == "reference_not_json"
    assert score("json", "{}", match="values").why == "no_reference"


def test_a_schema_that_is_none_or_lies_elsewhere_is_refused():
    for schema in ({"type": "nonsense"}, {"$ref": "http://example.com/schema.json"}, {"pattern": "("}):
        with pytest.raises(RefusedInput) as refused:
            options("json", {"schema": schema})
        assert refused.value.code == "reward.bad_schema"
    with pytest.raises(RefusedInput) as refused:
        options("json", {"keys": {"name": "string"}})
    assert "text, number" in refused.value.message()


@pytest.mark.timeout(10)
def test_a_pattern_inside_a_schema_cannot_hang():
    schema = {"type": "string", "pattern": "^(a+)+$"}
    assert score("json", '"' + "a" * 5000 + '!"', schema=schema).value == 0


@pytest.mark.parametrize(
    ("answer", "chosen", "value", "why"),
    [
        ("SELECT name FROM users", {}, 1, ""),
        ("```sql\nSELECT name FROM users\n```", {}, 1, ""),
        ("SELECT * FROM users", {}, 0, "select_star"),
        ("SELECT * FROM users", {"no_select_star": False}, 1, ""),
        ("SELECT count(*) FROM users", {}, 1, ""),
        ("I would look into the table.", {}, 0, "not_sql"),
        ("", {}, 0, "not_sql"),
        ("SELECT name FROM users " * 10_000, {}, 0, "not_sql"),
    ],
)
def test_sql(answer, chosen, value, why):
    found = score("sql", answer, **chosen)
    assert (found.value, found.why) == (value, why)


def test_the_same_query_in_another_spelling():
    wanted = "SELECT name FROM users WHERE age > 3"
    assert score("sql", "select Name\nfrom Users -- all\nwhere age>3;", wanted, match="same").value == 1
    assert score("sql", "select name from users where age > 4", wanted, match="same").value == 0
    assert score("sql", "select name from users", "Ann", match="same").why == "reference_not_sql"
    with pytest.raises(RefusedInput):
        options("sql", {"dialect": "klingon"})


def test_rouge_l_as_googles_rouge_score_reckons_it():
    assert rouge_l("The cat sat on the mat.", "The cat is on the mat.") == pytest.approx(0.8333333333)
    assert rouge_l("Paris is the capital of France", "The capital of France is Paris") == pytest.approx(0.6666666667)


@pytest.mark.parametrize(
    ("said", "wanted", "value"),
    [
        ("The cat sat on the mat.", "The cat is on the mat.", 0.6717273492),
        ("苹果是红色的", "苹果是一种红色水果", 0.1928792705),
        ("Paris is the capital of France", "The capital of France is Paris", 0.7685913483),
        ("a", "a", 1.0),
        ("abc", "xyz", 0.0),
        ("", "abc", 0.0),
    ],
)
def test_chrf_as_sacrebleu_reckons_it(said, wanted, value):
    assert chrf(said, wanted) == pytest.approx(value)


def test_similarity_to_reference_or_source():
    assert score("similarity", "猫坐在垫子上", "猫坐在垫子上").value == 1
    assert score("similarity", "", "a cat").value == 0
    assert score("similarity", "a cat", source="a cat", to="source").value == 1
    assert score("similarity", "a cat", "a cat", to="source").why == "no_source"
    half = score("similarity", "a cat", "a dog")
    assert half.value == 0.5 and score("similarity", "a cat", "a dog", least=0.5).value == 0


def test_what_there_is_not_is_refused_with_the_closest():
    with pytest.raises(UnknownName) as refused:
        options("exact_mach", {})
    assert refused.value.values["hint"] == "exact_match"
    with pytest.raises(UnknownName) as refused:
        options("length", {"mx": 3})
    assert refused.value.values["hint"] == "max"
    for name, chosen in [
        ("length", {"min": -1}),
        ("length", {"min": 9, "max": 3}),
        ("length_penalty", {"max": 3, "buffer": 9}),
        ("label", {"labels": ["one"]}),
        ("contains", {}),
        ("python_checks", {"checks": []}),
        ("python_checks", {"checks": ["os.system"]}),
        ("format_tags", {"tags": ["a b"]}),
        ("language", {"language": "English"}),
        ("judge_model", {}),
        ("judge_model", {"model": "m", "question": "Is it good?"}),
        ("judge_model", {"model": "m", "labels": ["good"]}),
        ("reward_model", {"model": "m", "mean": float("nan")}),
        ("reward_model", {"model": "m", "mean": 1.0}),
    ]:
        with pytest.raises(RefusedInput):
            options(name, chosen)
