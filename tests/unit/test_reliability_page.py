"""docs/reliability.md tells what the series found, and nothing that it did not."""

import pytest

from studio.params.methods import METHODS
from studio.params.tunings import TUNINGS
from studio.paths import PROJECT_ROOT
from tests.faults.__main__ import PAGE, results
from tests.faults.page import page
from tests.faults.ways import TINY, WAYS


def trial(name: str, kind: str, detail: str, *, survived: bool = True, tuning: str = "lora", problem: str = "") -> dict:
    known = {"name": name, "kind": kind, "tuning": tuning, "detail": detail}
    return known | {"is_survived": survived, "problem": problem}


def test_what_was_tried_and_survived_is_counted_and_a_repeated_trial_counts_once():
    told = page(
        [
            trial("kill lora 0", "kill", "after 1 s", survived=False, problem="lost"),
            trial("kill lora 0", "kill", "after 1 s"),
            trial("kill full 0", "kill", "after 2 s", tuning="full"),
            trial("damage lora 0", "damage", "a flipped bit: a", survived=False, problem="other weights"),
            trial("stop lora 0", "stop", "pause while saving, gone in 3.25 s"),
            trial("server kills 0.0", "server", "3 jobs, 1200 events, 0 lost, 0 doubled", tuning="any"),
            trial("server kills 0.1", "server", "3 jobs, 1200 events, 0 lost, 0 doubled", tuning="any"),
            trial("double start 0", "double start", "2 runs", survived=False),
            trial("attacks", "attacks", "90 tried, 1 left a mark", survived=False, tuning="any"),
        ]
    )
    assert "| lora | 1 of 1 | – | 1 of 1 | 0 of 1 |" in told and "| full | 1 of 1 | – | – | – |" in told
    assert "| together | 2 of 2 | 0 of 0 | 1 of 1 | 0 of 1 |" in told
    assert "Not tried yet: qlora," in told
    assert "| a flipped bit | 0 of 1 |" in told
    assert "within 3.2 s" in told and "saving 1" in told
    assert "2 kills (SIGKILL)" in told and "0 events lost and 0 doubled of 1,200, in 3 jobs" in told
    assert "1 rounds of two clients at the same instant: 1 double starts" in told
    assert "in Chromium: 90 tried, 1 left a mark." in told and "- attacks: 90 tried" in told
    assert "- damage lora 0: a flipped bit: a. other weights" in told


def test_every_method_and_every_way_of_tuning_can_be_hurt():
    """With a tiny model: a new one joins `tests/faults/ways.py`, or this fails."""
    ways = [WAYS[name] for name in TINY]
    assert {way.method for way in ways} == METHODS.keys()
    assert {way.tuning for way in ways if way.method == "sft"} == TUNINGS.keys()


@pytest.mark.slow
def test_the_page_in_the_docs_is_what_the_results_say():
    assert PAGE == PROJECT_ROOT / "docs" / "reliability.md"
    assert PAGE.read_text("utf-8") == page(results())
