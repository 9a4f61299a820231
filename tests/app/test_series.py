"""The numbers of a chart against plain computations."""

import math
from dataclasses import replace

import numpy as np
import pytest

from app.series import Line, SeriesCache, SeriesQuery, ema, reduce_lines
from studio.db import metrics
from studio.db.engine import next_change
from tests.app.seeding import add_curve, add_run


def plain_ema(values: list[float], weight: float) -> list[float]:
    average, smoothed = 0.0, []
    for count, value in enumerate(values, start=1):
        average = weight * average + (1 - weight) * value
        smoothed.append(average / (1 - weight**count))
    return smoothed


def series(steps, values, attempt=1) -> metrics.Series:
    count = len(steps)
    return metrics.Series(
        np.array(steps, np.int64), np.array(values, np.float64), np.full(count, attempt), (attempt, 0, count)
    )


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("count", [0, 1, 127, 128, 129, 1000])
def test_ema_is_the_plain_one(weight, count):
    values = np.random.default_rng(count).normal(size=count)
    np.testing.assert_allclose(ema(values, weight), plain_ema(values.tolist(), weight), rtol=1e-10, atol=1e-12)


def test_smoothing_goes_on_where_it_stopped():
    values = np.random.default_rng(1).normal(size=700)
    values[[5, 130, 699]] = np.nan
    line = Line()
    for start in range(0, 700, 37):
        chunk = values[start : start + 37]
        line.extend(series(range(start, start + len(chunk)), chunk))
        line.smoothed(0.6)
    finite = np.isfinite(values)
    smoothed = line.smoothed(0.6)
    np.testing.assert_allclose(smoothed[finite], plain_ema(values[finite].tolist(), 0.6), rtol=1e-9)
    assert np.isnan(smoothed[~finite]).all()


def test_a_resumed_run_is_one_line_and_its_dropped_stretch():
    line = Line()
    line.extend(series([1, 2, 3, 4, 5], [5, 4, 3, 2, 1]))
    line.smoothed(0.6)
    line.extend(series([4, 5, 6], [20, 10, 0], attempt=2))
    assert line.steps.tolist() == [1, 2, 3, 4, 5, 6]
    assert line.values.tolist() == [5, 4, 3, 20, 10, 0]
    assert (line.dropped_steps.tolist(), line.dropped_values.tolist()) == ([4, 5], [2, 1])
    np.testing.assert_allclose(line.smoothed(0.6), plain_ema([5, 4, 3, 20, 10, 0], 0.6))


def test_a_summary_tells_first_last_and_lowest():
    line = Line()
    line.extend(series([10, 20, 30, 40], [math.nan, 3.0, 1.0, 2.0]))
    told = line.summary(0.0)
    assert told == {
        "count": 4,
        "first": 3.0,
        "last": 2.0,
        "last_smooth": 2.0,
        "last_step": 40,
        "lowest": 1.0,
        "lowest_step": 30,
    }
    assert Line().summary(0.6) is None


def test_few_points_are_sent_as_they_are():
    x, (first, second) = reduce_lines(
        [(np.array([1, 3]), np.array([1.0, math.nan])), (np.array([2, 3]), np.array([5.0, 6.0]))], 10
    )
    assert x == [1, 2, 3]
    assert first == [1.0, None, False] and second == [None, 5.0, 6.0]


def test_many_points_keep_every_buckets_extremes():
    steps = np.arange(100_000)
    values = np.random.default_rng(2).normal(size=100_000)
    values[55_555] = 99.0
    x, (column,) = reduce_lines([(steps, values)], 1000)
    assert len(x) == len(column) == 1000
    assert max(column) == 99.0 and min(column) == values.min()
    assert 55_400 < x[column.index(99.0)] < 55_700
    assert x == sorted(x)


def test_an_answer_comes_once_and_then_only_when_something_is_new(filled):
    cache = SeriesCache(filled.studio.registry)
    run = filled.ids["running"]
    query = {"runs": str(run), "metric": "loss,eval_loss", "smooth": "0"}
    first = cache.answer(SeriesQuery.parse(query))
    assert first["panels"]["loss"]["x"] == list(range(1, 121))
    assert "smooth" not in first["panels"]["loss"]["lines"][0]
    again = cache.answer(SeriesQuery.parse(query | {"cursor": first["cursor"]}))
    assert again["same"]
    with filled.writer.begin() as session:
        next_change(session)  # something else changed
    again = cache.answer(SeriesQuery.parse(query | {"cursor": first["cursor"]}))
    assert again["same"]
    with filled.writer.begin() as session:
        metrics.append(session, run, 1, {"loss": [(121, 0.5)]})
        next_change(session)
    newer = cache.answer(SeriesQuery.parse(query | {"cursor": again["cursor"]}))
    assert newer["panels"]["loss"]["x"][-1] == 121 and newer["panels"]["loss"]["lines"][0]["raw"][-1] == 0.5


def test_a_window_holds_its_points_and_one_on_either_side(filled):
    cache = SeriesCache(filled.studio.registry)
    query = {"runs": str(filled.ids["running"]), "metric": "loss", "from": "10.5", "to": "20"}
    assert cache.answer(SeriesQuery.parse(query))["panels"]["loss"]["x"] == list(range(10, 22))


def test_a_run_that_is_gone_has_no_line_and_the_next_one_its_own(filled):
    cache = SeriesCache(filled.studio.registry)
    with filled.writer.begin() as session:
        newest = add_run(session, title="short", state="stopped")
        add_curve(session, newest, count=5)
    query = SeriesQuery.parse({"runs": str(newest), "metric": "loss"})
    assert len(cache.answer(query)["panels"]["loss"]["x"]) == 5
    filled.studio.desk.remove(newest)
    assert cache.answer(query)["panels"]["loss"] == {"x": [], "lines": []}
    with filled.writer.begin() as session:
        another = add_run(session, title="another", state="running")
        add_curve(session, another, count=3)
    both = SeriesQuery.parse({"runs": f"{newest},{another}", "metric": "loss"})
    assert cache.answer(both)["panels"]["loss"]["x"] == [1, 2, 3]


@pytest.mark.parametrize("query", [{"runs": "a"}, {"runs": ",".join("1" * 17)}, {"runs": "1", "from": "x"}])
def test_a_senseless_query_is_refused(query):
    with pytest.raises(ValueError):
        SeriesQuery.parse(query)


def test_a_pattern_brings_what_the_runs_have_reported_under_such_a_name(filled):
    with filled.writer.begin() as session:
        run = add_run(session, title="rules")
        told = {"rewards/json/mean": [(1, 0.5)], "rewards/json/std": [(1, 0.1)], "eval_rewards/json/mean": [(1, 0.4)]}
        metrics.append(session, run, 1, told | {"rewards/margins": [(1, 2.0)]})
        next_change(session)
    cache = SeriesCache(filled.studio.registry)
    asked = SeriesQuery.parse({"runs": str(run), "metric": "loss", "family": "rewards/*/mean,eval_rewards/*/mean"})
    first = cache.answer(asked)
    assert set(first["panels"]) == {"loss", "rewards/json/mean", "eval_rewards/json/mean"}
    assert "smooth" not in first["panels"]["eval_rewards/json/mean"]["lines"][0]
    with filled.writer.begin() as session:
        metrics.append(session, run, 1, {"rewards/sql/mean": [(1, 1.0)]})
        next_change(session)
    later = cache.answer(replace(asked, cursor=first["cursor"]))
    assert "rewards/sql/mean" in later["panels"], "a rule that comes later too"
