"""No pair of like rows on two sides, ever; each category in its share; the same again tomorrow."""

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.messages import LANGUAGES, say
from studio.workshop.clean.outcome import CHANGE, FINDINGS_SCHEMA, MARK
from studio.workshop.clean.split import Options, report, run
from studio.workshop.similarity import vectors as tfidf
from studio.workshop.similarity.join import SLACK
from studio.workshop.stratify import assign, quotas
from tests.examples import examples
from tests.unit.workshop.real_rows import corpus, utterances


def distinct(count: int, **columns: list) -> pl.DataFrame:
    """Rows that share no word."""
    texts = [f"question{place}" for place in range(count)], [f"answer{place}" for place in range(count)]
    return pl.DataFrame({"row": range(1, count + 1), "prompt": texts[0], "completion": texts[1], **columns})


def split(rows: pl.DataFrame, **options: object) -> pl.DataFrame:
    return run(rows, Options(**options)).rows


def sizes(rows: pl.DataFrame) -> dict[str, int]:
    return dict(rows["split"].value_counts().iter_rows())


def check_no_pair_across(texts: list[str], sides: list[str]) -> None:
    found = tfidf.of_texts([pl.Series(texts)])
    weights = found.weights[found.of_text]
    for start in range(0, len(texts), 2000):
        near = (weights[start : start + 2000] @ weights.T).tocoo()
        reaches = near.data >= 0.95 - SLACK
        for one, other in zip(near.row[reaches] + start, near.col[reaches], strict=True):
            assert sides[one] == sides[other], (texts[one], texts[other])


@pytest.mark.parametrize("language", ["english", "chinese", "french"])
def test_no_like_rows_stand_on_two_sides_of_real_rows(language: str) -> None:
    rows = corpus(language)
    made = split(rows, validation=0.1)
    check_no_pair_across([f"{a}\n{b}" for a, b in rows.select("prompt", "completion").rows()], made["split"].to_list())
    sides = {each.side: each for each in report(made)}
    assert sides["test"].share == pytest.approx(0.1, abs=0.02)
    assert sides["validation"].share == pytest.approx(0.1, abs=0.02)


def test_no_like_utterances_stand_on_two_sides() -> None:
    texts = utterances()[:8000]
    made = split(pl.DataFrame({"row": range(len(texts)), "text": texts}))
    check_no_pair_across(texts, made["split"].to_list())
    assert sizes(made)["test"] == 800


TEXTS = st.lists(st.sampled_from(["a", "b", "c", "d", "e e e", "f", "g"]), min_size=1, max_size=9).map(" ".join)
ROWS = st.lists(st.tuples(TEXTS, st.sampled_from(["x", "y", None])), min_size=1, max_size=40)


@settings(max_examples=examples(200), deadline=None)
@given(ROWS, st.integers(0, 5), st.sampled_from([0.0, 0.2]))
def test_no_like_rows_stand_on_two_sides_of_tables_made_to_be_hard(rows: list, seed: int, validation: float) -> None:
    texts, categories = zip(*rows, strict=True)
    table = pl.DataFrame(
        {"row": range(len(rows)), "text": texts, "category": categories}, schema_overrides={"category": pl.String}
    )
    made = split(table, seed=seed, validation=validation, test=0.2)
    check_no_pair_across(list(texts), made["split"].to_list())
    assert made.drop("split").equals(table)
    assert made["split"].null_count() == 0
    assert "train" in made["split"]


@pytest.mark.parametrize("count", [2, 5, 10, 37, 200])
def test_a_tenth_is_held_out_and_at_least_one_row(count: int) -> None:
    assert sizes(split(distinct(count))) == {
        "train": count - max(1, round(count / 10)),
        "test": max(1, round(count / 10)),
    }


def test_each_category_stands_in_its_share_on_each_side() -> None:
    rows = distinct(1000, category=["common"] * 700 + ["rare"] * 200 + [None] * 100)
    sides = {each.side: each for each in report(split(rows, validation=0.2))}
    assert sides["test"].categories == {"common": 70, "rare": 20, "": 10}
    assert sides["validation"].categories == {"common": 140, "rare": 40, "": 20}
    assert {each.distance for each in sides.values()} == {0.0}


def test_without_stratifying_only_the_number_counts() -> None:
    rows = distinct(100, category=["a"] * 50 + ["b"] * 50)
    outcome = run(rows, Options(stratify=False))
    assert sizes(outcome.rows)["test"] == 10
    assert outcome.findings.filter(pl.col("action") == MARK).is_empty()


def test_the_distance_is_half_the_sum_of_the_gaps() -> None:
    rows = distinct(4, category=["a", "a", "b", "b"], split=["train", "train", "train", "test"])
    sides = {each.side: each for each in report(rows)}
    assert sides["test"].distance == 0.5
    assert sides["test"].missing == ["a"]
    assert sides["train"].distance == pytest.approx(1 / 6, abs=1e-6)


def test_the_same_rows_are_split_the_same_way_and_another_seed_splits_them_otherwise() -> None:
    rows = corpus("english", "science", "money", "trivia")
    assert split(rows).equals(split(rows))
    assert not split(rows)["split"].equals(split(rows, seed=1)["split"])


def test_appended_rows_move_few_others() -> None:
    rows = distinct(1000)
    before, after = split(rows[:900])["split"], split(rows)["split"][:900]
    assert (before != after).sum() <= 10
    assert sizes(split(rows))["test"] == 100


def test_rows_that_ask_the_same_stand_on_one_side_unless_half_of_all_do() -> None:
    rows = distinct(100).with_columns(prompt=pl.lit("asked ") + (pl.col("row") % 20).cast(pl.String))
    made = split(rows)
    assert made.group_by("prompt").agg(pl.col("split").n_unique())["split"].max() == 1
    assert sizes(made)["test"] == 10
    assert sizes(split(rows.with_columns(prompt=pl.lit("write a poem"))))["test"] == 10
    assert split(rows, same_prompt=False).group_by("prompt").agg(pl.col("split").n_unique())["split"].max() == 2


def test_made_rows_and_what_they_were_made_from_train() -> None:
    rows = distinct(100, origin=[None] * 50 + [f"augment:synonyms:{row}" for row in range(1, 41)] + ["balance:41"] * 10)
    for seed in range(5):
        made = split(rows, seed=seed, test=0.1)
        held_out = made.filter(pl.col("split") == "test")["row"]
        assert set(held_out) <= set(range(42, 51))
        assert len(held_out) == 5


def test_rows_mixed_in_from_elsewhere_are_split_as_all_others() -> None:
    assert sizes(split(distinct(100, origin=["mix:general@2:7"] * 100)))["test"] == 10
    mixed = ["mix:general@2:7<augment:written:starter:3"] * 50 + [None] * 50
    held_out = split(distinct(100, origin=mixed)).filter(pl.col("split") != "train")
    assert held_out["row"].min() > 50


def test_tech_support_has_too_few_distinct_rows_and_it_says_so() -> None:
    outcome = run(corpus("english", "tech_support")[:9], Options())
    assert sizes(outcome.rows) == {"train": 8, "test": 1}
    same = pl.DataFrame({"row": [4, 5, 6], "text": ["all the same"] * 3})
    outcome = run(same, Options(validation=0.1))
    assert sizes(outcome.rows) == {"train": 3}
    assert outcome.findings["code"].to_list() == ["clean.split.no_test", "clean.split.no_validation"]


def test_a_category_that_is_too_small_is_named() -> None:
    outcome = run(distinct(60, category=["big"] * 58 + ["tiny"] + ["two"]), Options())
    marks = outcome.findings.filter(pl.col("action") == MARK)
    assert [(row, code, json.loads(values)) for row, code, values in marks["row", "code", "values"].rows()] == [
        (59, "clean.split.small_test", {"category": "tiny", "size": 1}),
        (60, "clean.split.small_test", {"category": "two", "size": 1}),
    ]


def test_findings_tell_each_row_that_changes_its_side_and_a_second_time_nothing() -> None:
    outcome = run(distinct(30, split=["validation"] * 2 + ["train"] * 28), Options())
    assert outcome.findings.schema == FINDINGS_SCHEMA
    changes = outcome.findings.filter(pl.col("action") == CHANGE)
    assert {row for row in changes["row"]} >= {1, 2}
    assert set(changes.filter(pl.col("row") <= 2)["before"]) == {"validation"}
    assert run(outcome.rows, Options()).findings.is_empty()


def test_nothing_to_split() -> None:
    outcome = run(distinct(3).clear(), Options())
    assert outcome.rows.schema["split"] == pl.String
    assert outcome.findings.is_empty()
    assert report(outcome.rows) == []


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "what", ["train", "test", "validation", "no_test", "no_validation", "small_test", "small_validation"]
)
def test_every_finding_has_words(language: str, what: str) -> None:
    assert say(f"problems.clean.split.{what}", language, row=7, field="", category="c", size=1, count=3)


def test_quotas_add_up_and_leave_a_row_of_each_category_to_train() -> None:
    assert quotas([90, 10], [0.1, 0.1]).tolist() == [[9, 1], [9, 1]]
    assert quotas([3] * 20, [0.1]).sum() == 6
    assert quotas([1, 1, 1], [0.5]).tolist() == [[0, 0, 0]]
    assert quotas([2, 3], [0.5, 0.4]).sum(axis=0).tolist() == [1, 2]
    assert quotas([5], [0.0]).tolist() == [[0]]


def test_groups_that_do_not_fit_are_taken_where_they_come_nearer() -> None:
    groups = np.repeat(np.arange(10), 7)
    placed = assign(groups, np.zeros(70, int), np.array([[10]]), np.zeros(70, bool))
    assert np.bincount(placed).tolist() == [63, 7]
