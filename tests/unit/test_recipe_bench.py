"""The recipe bench's own arithmetic: fixed rows, values as the form fills them in, no result measured twice."""

import json
from dataclasses import replace

import pytest

from studio.advisor.presets import presets_for
from tests.bench.recipes import figures, plan, results, settings
from tests.bench.recipes.figures import Cell
from tests.bench.recipes.page import page
from tests.bench.recipes.tasks import HELD_OUT_ROWS, TOPICS, TRAIN_ROWS, tasks, word_f1
from tests.unit.advisor.conftest import facts  # noqa: F401 - a fixture

VERSIONS = {"torch": "2", "trl": "1"}


@pytest.fixture
def small(facts):  # noqa: F811
    """The plan over the real tasks, with facts that need no model."""
    return plan.Plan(tasks(), lambda task: facts(rows=len(task.train), longest=60, variety=0.8))


def measure(task, values):
    """Stands for a run: what it gives is told by the rate alone."""
    return (0.1, 3.0, 0, 0.0) if values is None else (1 - values["learning_rate"], values["learning_rate"], 20, 1.0)


def results_of(plan_, path, *, recipes=("default", "rate-2e-4"), seeds=(1, 2)):
    wanted = plan_.combinations(recipes, seeds)
    return list(plan.work(plan_, wanted, measure, path=path, versions=VERSIONS, until=1.0, now=lambda: 0.0))


# -- tasks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", tasks(), ids=lambda task: task.name)
def test_rows_are_fixed_and_none_is_on_both_sides(task):
    assert (len(task.train), len(task.held_out)) == (TRAIN_ROWS, HELD_OUT_ROWS)
    assert not {question for question, _ in task.train} & {question for question, _ in task.held_out}
    assert all(task.score(answer, answer) == 1.0 for _, answer in task.held_out)
    assert all(task.score("", answer) == 0.0 for _, answer in task.held_out)


def test_committed_results_are_of_these_rows():
    hashes = {task.name: task.rows_hash for task in tasks()}
    done = [result for result in results.read() if result.rows_hash == hashes[result.task]]
    assert {result.task for result in done if result.recipe == settings.DEFAULT} == set(hashes)


def test_held_out_messages_have_every_topic_as_often():
    (topic,) = (task for task in tasks() if task.name == "topic")
    answers = [answer for _, answer in topic.held_out]
    assert {name: answers.count(name) for name in TOPICS} == dict.fromkeys(TOPICS, HELD_OUT_ROWS // len(TOPICS))


@pytest.mark.parametrize(
    ("answer", "wanted", "score"),
    [("Rome", "Rome", 1), ("The city of Rome.", "rome", 0.5), ("Paris", "Rome", 0), ("", "Rome", 0)],
)
def test_word_f1(answer, wanted, score):
    assert word_f1(answer, wanted) == score


# -- recipes ---------------------------------------------------------------------------------------------------------


def test_every_preset_is_compared_with_its_own_values(small):
    of_adapters = {preset.name for preset in presets_for("sft") if preset.values.get("tuning", "lora") == "lora"}
    assert of_adapters <= set(settings.RECIPES), "other ways of tuning are `tests/bench/methods/tunings.py`'s"
    values = small.values("style", "small-sft")
    assert (values["learning_rate"], values["num_train_epochs"], values["lora_dropout"]) == (1e-5, 2.5, 0.2)
    assert settings.differing(values, small.defaults["style"]).keys() >= {"learning_rate", "lora_dropout"}


def test_what_does_not_change_the_learning_does_not_make_another_recipe(small):
    values = small.values("style", settings.DEFAULT)
    assert settings.key(values) == settings.key(values | {"seed": 7, "save_steps": 1, "run_name": "x"})
    assert settings.key(values) == settings.key(small.values("format", settings.DEFAULT, seed=3))
    assert settings.key(values) != settings.key(values | {"lora_r": 9})


def test_a_parameter_that_the_studio_gets_later_leaves_results_valid_until_it_is_used(small, monkeypatch):
    values = small.values("style", settings.DEFAULT)
    later = {name: value for name, value in values.items() if name != "packing"}
    monkeypatch.setattr(settings, "KEYED", settings.KEYED - {"packing"})
    assert settings.key(values) == settings.key(later)
    assert settings.key(values | {"packing": True}) != settings.key(later)


def test_no_rows_are_held_out_twice(small):
    assert all(small.values("style", recipe)["validation_split"] == 0 for recipe in settings.RECIPES)


# -- results ---------------------------------------------------------------------------------------------------------


def test_a_second_call_does_only_what_is_missing(small, tmp_path):
    path = tmp_path / "results.jsonl"
    assert len(results_of(small, path, seeds=(1,))) == len(tasks()) * 3
    assert {result.seed for result in results_of(small, path)} == {2}
    assert results_of(small, path) == []


def test_nothing_is_begun_after_the_time(small, tmp_path):
    path, times = tmp_path / "results.jsonl", iter([0.0, 0.5, 1.0])
    wanted = small.combinations(settings.RECIPES, (1,))
    done = plan.work(small, wanted, measure, path=path, versions=VERSIONS, until=1.0, now=lambda: next(times))
    assert len(list(done)) == 2 and len(results.read(path)) == 2


def test_the_default_is_compared_before_the_rest_and_seed_by_seed(small):
    order = [(each.recipe, each.seed) for each in small.combinations(settings.RECIPES, (1, 2))]
    assert order[0] == (results.UNTOUCHED, 0) and order[len(tasks())] == (settings.DEFAULT, 1)
    assert order.index((settings.DEFAULT, 2)) > order.index((list(settings.RECIPES)[-1], 1))


def test_equal_values_are_measured_once_and_count_for_both_names(small, tmp_path):
    path = tmp_path / "results.jsonl"
    rate = small.values("style", settings.DEFAULT)["learning_rate"]
    same = next(name for name, said in settings.RECIPES.items() if said == {"learning_rate": rate})
    assert [
        each for each in results_of(small, path, recipes=("default", same), seeds=(1,)) if each.recipe == same
    ] == []
    known = results.found(small.combinations((same,), (1,)), results.read(path))
    assert {result.recipe for result in known.values()} == {results.UNTOUCHED, settings.DEFAULT}
    assert {each.recipe for each in known} == {results.UNTOUCHED, same}


def test_a_line_that_a_kill_cut_off_is_done_again(small, tmp_path):
    path = tmp_path / "results.jsonl"
    done = results_of(small, path, seeds=(1,))
    path.write_text(path.read_text("utf-8")[:-10], "utf-8")
    assert results.read(path) == done[:-1]
    assert [again.identity for again in results_of(small, path, seeds=(1,))] == [done[-1].identity]
    assert [json.loads(line)["task"] for line in path.read_text("utf-8").splitlines()] == [each.task for each in done]


def test_results_of_other_rows_do_not_count(small, tmp_path):
    path = tmp_path / "results.jsonl"
    done = results_of(small, path)
    known = results.found(small.combinations(("default",), (1,)), [replace(each, rows_hash="old") for each in done])
    assert known == {}


# -- figures ---------------------------------------------------------------------------------------------------------


def test_equal_figures_share_their_places():
    assert figures.ranks({"a": 0.9, "b": 0.8, "c": 0.9, "d": 0.1}) == {"a": 1.5, "c": 1.5, "b": 3, "d": 4}


def test_the_lowest_loss_and_the_highest_score_rank_first():
    table = {("a", "t"): Cell({1: 0.9}, {1: 2.0}), ("b", "t"): Cell({1: 0.5}, {1: 1.0})}
    assert list(figures.mean_ranks(table, ["a", "b"], ["t"], by="score")) == ["a", "b"]
    assert list(figures.mean_ranks(table, ["a", "b"], ["t"], by="loss")) == ["b", "a"]


def test_recipes_stand_by_their_mean_over_the_tasks():
    table = {("a", "t"): Cell({1: 0.9}, {1: 2.0}), ("a", "u"): Cell({1: 0.2}, {1: 1.0})}
    table |= {("b", task): Cell({1: 0.6}, {1: 1.2}) for task in "tu"}
    assert figures.mean_figures(table, ["a", "b"], ["t", "u"], by="score") == pytest.approx({"b": 0.6, "a": 0.55})
    assert list(figures.mean_figures(table, ["a", "b"], ["t", "u"], by="loss")) == ["b", "a"]
    assert list(figures.mean_figures(table, ["a", "b"], ["t"], by="score")) == ["a", "b"]


@pytest.mark.parametrize(
    ("scores", "default", "seeds", "difference", "word"),
    [
        ({1: 0.9, 2: 1.0}, {1: 0.5, 2: 0.6}, 2, 0.4, "better"),
        ({1: 0.5, 2: 0.6}, {1: 0.9, 2: 1.0}, 2, -0.4, "worse"),
        ({1: 0.5, 2: 0.9}, {1: 0.6, 2: 0.6}, 2, 0.1, "alike"),
        ({1: 0.9}, {1: 0.5, 2: 0.6}, 1, 0.4, "one seed"),
        ({3: 0.9}, {1: 0.5}, 0, 0, "–"),
    ],
)
def test_better_is_more_than_the_spread_over_shared_seeds(scores, default, seeds, difference, word):
    found = figures.compared(Cell(scores), Cell(default))
    assert (found.seeds, found.word) == (seeds, word) and found.difference == pytest.approx(difference)


def test_the_page_tells_figures_spread_and_what_was_not_measured(small, tmp_path):
    text = page(small, results_of(small, tmp_path / "results.jsonl"))
    assert "| rate-2e-4 | 1.00 | 1.0 | 1.00 ± 0.00 (2) |" in text
    assert "| 64, 40 |" in text and "0.10, 3.00" in text and "torch 2, trl 1" in text
    assert "rank-32" not in text
    one = page(small, results_of(small, tmp_path / "one.jsonl", seeds=(1,)))
    assert "| default | 1.00 | 2.5 | 1.00 (1) |" in one and "one seed" in one
