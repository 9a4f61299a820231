"""Public rows that nothing was fitted to: each model, way of training and stack is met, and by the causes named."""

from statistics import fmean

import pytest

from studio.memory.stack import coefficients
from tests.bench.held_out import CAUSES, ROWS, driver_errors, errors, grouped, medians, untold, way_of


@pytest.mark.parametrize("kind", [lambda row: row["model"], way_of, lambda row: row["stack"]])
def test_every_model_way_and_stack_is_met_with_nothing_fitted(kind):
    groups = grouped(kind)
    assert len(groups) >= 3
    for rows in groups.values():
        found = [abs(each) for each in errors(rows)]
        assert sum(found) / len(found) <= 0.005 and max(found) <= 0.01


@pytest.mark.parametrize("cause", [cause for cause in CAUSES if not cause.startswith("cuBLAS")])
def test_without_a_cause_rows_are_missed(cause):
    with untold(*CAUSES[cause]):
        assert max(abs(each) for each in errors(ROWS)) > 0.005


def test_what_the_driver_keeps_besides_is_the_median_of_these_rows():
    kept = coefficients()["bands"]["kept_besides"]
    assert kept == pytest.approx(medians(), abs=0.006)


@pytest.mark.parametrize("held_back", ["", "model", "tuning"])
def test_what_the_driver_showed_is_met_by_rows_of_others(held_back):
    assert fmean(abs(each) for each in driver_errors(held_back)) <= 0.05
