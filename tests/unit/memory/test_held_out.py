"""Public rows that the coefficients were not fitted to: known models and ways of training are met all the same.

What the bench prints (`python -m tests.bench.held_out`) includes models and ways that nothing was fitted to.
"""

import pytest

from studio.memory.stack import coefficients
from tests.bench import held_out

ROWS = [row for row in held_out.ALL_ROWS if row["grade"] == "A"]


def errors_of(splits):
    return [abs(error) for _, known, held in splits for error in held_out._held_out_errors(known, held)]


def test_without_any_fit_nothing_is_met():
    errors = [abs(each) for each in held_out._held_out_errors([], ROWS)]
    assert max(errors) > 0.1
    assert coefficients()["loss"]["plain"][1]["per_token"]["V"] == 14


@pytest.mark.slow
def test_larger_batches_by_the_smallest():
    errors = errors_of([held_out._by_the_smallest(ROWS)])
    assert len(errors) >= 10 and sum(errors) / len(errors) <= 0.01 and max(errors) <= 0.03


@pytest.mark.slow
def test_each_row_by_all_others():
    errors = errors_of(held_out._each(ROWS, lambda row: row["id"]))
    assert len(errors) == len(ROWS) and sum(errors) / len(errors) <= 0.01 and max(errors) <= 0.03
