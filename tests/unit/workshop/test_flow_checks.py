"""Balance, amount, lengths and difficulty: figures that can be counted by hand, and the versions that answer them."""

from collections import Counter

import polars as pl
import pytest

from studio.errors import RefusedInput
from studio.messages import LANGUAGES, say
from studio.workshop import checking, reports
from studio.workshop.checks import amount, balance, difficulty, lengths
from studio.workshop.recipe import CHECKS
from studio.workshop.table import load
from studio.workshop.versions import remedies
from studio.workshop.versions.reader import iterate_rows, read_manifest
from tests.unit.workshop.making import chat, pair, version


def classes(**sizes: int) -> list:
    return [pair(f"{name} {n}?", "yes", category=name) for name, size in sizes.items() for n in range(size)]


# -- balance -----------------------------------------------------------------------------------------------------------


def test_classes_are_counted_weighed_and_given_targets(tmp_path):
    rows = load(version(tmp_path / "v", classes(refund=90, delivery=10)))
    found = balance.run(rows, balance.Options())
    assert [(each.category, each.rows, each.target) for each in found.categories] == [
        ("refund", 90, 90),
        ("delivery", 10, 50),
    ]
    assert [each.weight for each in found.categories] == [pytest.approx(100 / 180, abs=1e-4), 5.0]
    assert (found.ratio, found.is_balanced, found.added, found.uncategorised) == (9, False, 40, 0)


def test_only_rows_that_train_are_counted(tmp_path):
    splits = {n: "test" for n in range(3, 11)}
    rows = load(version(tmp_path / "v", classes(a=10, b=2), splits=splits))
    found = balance.run(rows, balance.Options())
    assert {each.category: each.rows for each in found.categories} == {"a": 2, "b": 2}
    assert found.is_balanced


def test_without_categories_there_is_nothing_to_balance(tmp_path):
    folder = version(tmp_path / "v", [pair("Q", "A")])
    found = balance.run(load(folder), balance.Options())
    assert (found.categories, found.ratio, found.uncategorised, found.added) == ([], None, 1, 0)
    with pytest.raises(RefusedInput, match="there are: 0"):
        remedies.balance(folder, {}, tmp_path / "no")


def test_resampling_repeats_small_classes_and_says_which_row(tmp_path):
    folder = version(tmp_path / "v", classes(refund=9, delivery=4), splits={1: "test"})
    manifest = remedies.balance(folder, {"max_factor": 3}, tmp_path / "v2")
    rows = list(iterate_rows(tmp_path / "v2"))
    assert Counter(row.category for row in rows) == {"refund": 9, "delivery": 8}
    new = [row for row in rows if row.origin]
    assert [row.row for row in new] == [14, 15, 16, 17]
    by_number = {row.row: row for row in rows}
    for row in new:
        assert row.prompt == by_number[int(row.origin.removeprefix("balance:"))].prompt
    assert manifest.steps[-1].parameters["added"] == {"delivery": 4}
    again = remedies.balance(folder, {"max_factor": 3}, tmp_path / "v3")
    assert again.content_hash == manifest.content_hash


# -- amount ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "level"), [(9, "too_few"), (10, "least"), (49, "least"), (50, "start"), (100, "growing"), (400, "enough")]
)
def test_levels_change_where_the_documents_say(tmp_path, count, level):
    rows = load(version(tmp_path / "v", [pair(f"Q {n}", f"A long answer number {n}") for n in range(count)]))
    found = amount.run(rows, amount.Options())
    assert (found.level, found.task, found.train_rows) == (level, "other", count)
    for advice in found.advice:
        for language in LANGUAGES:
            assert "{" not in say(f"problems.checks.{advice.code}", language, **advice.values)
            assert say(f"problems.checks.{advice.code}", language, **advice.values) != f"problems.checks.{advice.code}"


def test_the_task_is_told_from_the_answers(tmp_path):
    labels = load(version(tmp_path / "a", [pair(f"Is {n} good?", ("good", "bad")[n % 2]) for n in range(40)]))
    talks = load(version(tmp_path / "b", [chat(f"Q {n}", "A", f"And {n}?", f"B {n}") for n in range(40)]))
    assert amount.run(labels, amount.Options()).task == "classification"
    assert amount.run(talks, amount.Options()).task == "dialogue"
    assert amount.run(talks, amount.Options(task="other")).task == "other"


def test_domains_below_four_hundred_rows_are_named(tmp_path):
    rows = [pair(f"Q {n}", f"A {n} is the answer", category="big" if n < 400 else "small") for n in range(420)]
    found = amount.run(load(version(tmp_path / "v", rows)), amount.Options())
    assert [(each.category, each.rows) for each in found.categories_short] == [("small", 20)]
    assert "amount.domains" in [each.code for each in found.advice]


# -- lengths -----------------------------------------------------------------------------------------------------------

TOKENS = {
    "lengths": {"p50": 10, "p90": 90, "p95": 95, "p99": 99, "max": 100, "mean": 20.0},
    "is_sample": False,
    "share_above": {"512": 0.25},
}


def test_shares_come_from_the_inspection_or_are_called_estimates(tmp_path):
    rows = load(version(tmp_path / "v", [pair("x" * 10, "y" * 30), pair("x" * 20, "y" * 100)]))
    found = lengths.run(rows, lengths.Options(limits=(16, 512)), tokens=TOKENS)
    assert (found.source, found.p99, found.tokens_per_character) == ("tokens", 99, pytest.approx(20 / 80))
    by_limit = {each.max_length: each for each in found.limits}
    assert (by_limit[512].cut_share, by_limit[512].is_estimate) == (0.25, False)
    assert (by_limit[16].cut_share, by_limit[16].cut_rows, by_limit[16].is_estimate) == (0.5, 1, True)


def test_without_an_inspection_nothing_is_guessed(tmp_path):
    rows = load(version(tmp_path / "v", [pair("ab", "cd"), pair("你好", "世界!")]))
    found = lengths.run(rows, lengths.Options())
    assert (found.source, found.max, found.mean, found.limits) == ("characters", 5, 4.5, [])


# -- difficulty --------------------------------------------------------------------------------------------------------


def test_long_rare_and_many_turns_are_hard(tmp_path):
    talks = [chat("hello there", "hello you") for _ in range(8)]
    talks.append(chat("hello", "eigenvalues of the hessian", "why curvature", "because gradients vanish orthogonally"))
    talks.append(chat("hi", "ho"))
    found = difficulty.run(load(version(tmp_path / "v", talks)), difficulty.Options())
    assert found.hardest[0] == 9
    scores = dict(found.scores.iter_rows())
    assert min(scores.values()) >= 0 and max(scores.values()) <= 1
    assert len({scores[row] for row in range(1, 9)}) == 1
    assert sum(found.histogram.counts) == 10


def test_each_part_of_the_score_can_be_switched_off(tmp_path):
    rows = load(version(tmp_path / "v", [pair("a", "b" * n) for n in (5, 1, 9)]))
    only_length = difficulty.Options(rare_words=0, turns=0)
    assert dict(difficulty.run(rows, only_length).scores.iter_rows()) == {1: 0.5, 2: 0, 3: 1}
    assert dict(difficulty.run(rows, difficulty.Options(length=0, rare_words=0)).scores.iter_rows())[1] == 0.5


def test_a_chinese_character_is_a_word(tmp_path):
    rows = [pair("你好", "你好") for _ in range(5)] + [pair("你好", "魑魅")]
    found = difficulty.run(load(version(tmp_path / "v", rows)), difficulty.Options(length=0, turns=0))
    assert found.hardest[0] == 6


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_chunks_do_not_show(tmp_path, monkeypatch, chunk):
    rows = load(version(tmp_path / "v", [pair(f"word{n % 4} common", "x" * n) for n in range(1, 20)]))
    whole = difficulty.run(rows, difficulty.Options()).scores
    monkeypatch.setattr(difficulty, "CHUNK_ROWS", chunk)
    assert difficulty.run(rows, difficulty.Options()).scores.equals(whole)


def test_an_ordered_version_has_the_same_rows_and_their_difficulty(tmp_path):
    folder = version(tmp_path / "v", [pair("a", "b" * n) for n in (5, 1, 9)], problems={2: "empty_answer"})
    manifest = remedies.order(folder, {}, tmp_path / "v2")
    assert manifest.content_hash == read_manifest(folder).content_hash
    stored = pl.read_parquet(tmp_path / "v2" / reports.DIFFICULTY)
    assert (stored.columns, stored["row"].to_list()) == (["row", "difficulty"], [1, 3, 4])


# -- together ----------------------------------------------------------------------------------------------------------


def test_checks_run_together_and_are_kept_as_one_report(tmp_path):
    folder = version(tmp_path / "v", classes(refund=9, delivery=4))
    chosen = {"amount": {}, "balance": {"ratio": 2}, "lengths": {}, "difficulty": {}}
    phases = []
    found = checking.check(folder, chosen, tmp_path / "r", extras={"tokens": TOKENS}, phase=phases.append)
    assert reports.read_checks(tmp_path / "r") == found
    assert list(found) == list(chosen) and phases[0] == "data.checks.amount"
    assert found["lengths"]["source"] == "tokens" and found["balance"]["is_balanced"] is False
    assert pl.read_parquet(tmp_path / "r" / reports.SCORES).height == 13
    assert reports.count_findings(tmp_path / "r") == 0


def test_every_check_answers_in_json(tmp_path):
    rows = [
        pair(f"Where is parcel {n}?", f"It is on its way, {n} days.", category=("a", "b")[n % 2]) for n in range(40)
    ]
    folder = version(tmp_path / "v", rows, splits={n: "test" if n % 8 == 0 else "train" for n in range(1, 41)})
    found = checking.check(folder, {name: {} for name in CHECKS}, tmp_path / "r", extras={"against": load(folder)})
    assert set(found) == set(CHECKS) and reports.read_checks(tmp_path / "r") == found
    for each in reports.iterate_findings(tmp_path / "r" / reports.FINDINGS):
        for language in LANGUAGES:
            assert each.message(language) != f"problems.{each.code}"
