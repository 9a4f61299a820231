"""What a reward model's run page says of its held-out pairs."""

import pytest

from app.runs import reward_scores
from studio.db import jobs
from studio.db.engine import next_change
from tests.app.conftest import Filled
from tests.app.seeding import add_run

PAIRS = {"pairs": 40, "accuracy": 0.8, "margin": 1.25, "mean": 0.1, "std": 1.5, "longer_is_better": 0.6}
BARS = {"edges": [-1.0, 0.0, 1.0], "better": [10, 30], "worse": [32, 8]}


def drawn(filled: Filled, language: str = "en", **changed: float | None) -> str:
    lengths = {"length_correlation": 0.2, "accuracy_when_shorter": 0.75}
    with filled.writer.begin() as session:
        run = add_run(session, title="judge", state="running", values={"method": "reward"})
        for step in (10, 20):
            told = {"step": step, **PAIRS, **BARS, **lengths, **changed}
            jobs.record_event(session, run, type="reward_scores", data=told)
        next_change(session)
    return reward_scores.draw(filled.context(language), run)


def test_the_newest_evaluation_is_told_with_its_bars(filled: Filled) -> None:
    html = drawn(filled)
    assert "At step 20" in html and "80 %" in html and "40 held-out pairs" in html
    assert html.count('class="lu-bars-pair"') == 2 and "It may judge by length" not in html


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("changed", [{"length_correlation": 0.8}, {"accuracy_when_shorter": 0.5}])
def test_a_model_that_likes_length_is_named(filled: Filled, language: str, changed: dict[str, float]) -> None:
    sentence = {"en": "It may judge by length", "zh": "它可能只看长短"}[language]
    assert sentence in drawn(filled, language, **changed)


def test_nothing_is_said_of_lengths_that_do_not_vary_or_of_other_runs(filled: Filled) -> None:
    assert "length" not in drawn(filled, length_correlation=None, longer_is_better=None)
    assert reward_scores.draw(filled.context(), filled.ids["running"]) == ""
