"""How many examples a property is tried on: a third of them by default, all with `--all`."""

is_whole = False
"""Set by `tests/conftest.py` before any test is read."""
FEWEST = 25


def examples(count: int) -> int:
    """For `hypothesis.settings(max_examples=examples(200))`."""
    return count if is_whole else min(count, max(FEWEST, count // 3))
