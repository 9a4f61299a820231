"""Several values of a setting: how many runs that makes, what they share, and that they are all queued or none."""

import threading
from html import unescape
from types import SimpleNamespace
from typing import Any

import pytest

from app.pages import runs as runs_page
from app.runs import grid
from studio.db import jobs, runs
from studio.errors import RefusedInput, SpecRefused
from studio.params.grid import MOST_RUNS, can_be_tried, combinations, values_of
from studio.params.table import parameters
from tests.app.conftest import Filled
from tests.app.test_train_page import Page, fixture_studio

__all__ = ["fixture_studio"]
TABLE = {each.name: each for each in parameters("sft")}


def fields(*lines: tuple[str, str]) -> dict[str, str]:
    padded = [*lines, *[("", "")] * (grid.LINES - len(lines))]
    return {
        f"{part}{place}": line[side]
        for place, line in enumerate(padded)
        for side, part in enumerate(("setting", "values"))
    }


def pressed(page: Page, do: str, *lines: tuple[str, str], device: str = "") -> tuple[str, str]:
    """HTML of the fold, and the address that it leads to."""
    event: Any = SimpleNamespace(_data={"do": do, "fields": fields(*lines)})
    drawn, address = grid.press(page.context, event, page.parts["request"], device, *page.given)
    return unescape(drawn), address


def queued(studio: Filled) -> list[Any]:
    with studio.writer.begin() as session:
        return [job for job in reversed(jobs.list_jobs(session, kinds=("train",)))]


# -- values and their product ----------------------------------------------------------------------------------------


def test_values_are_read_as_a_person_types_them():
    assert values_of(TABLE["learning_rate"], "1e-4, 0.0002;1e-4\uff0c 5e-4 ") == [1e-4, 2e-4, 5e-4]
    assert values_of(TABLE["lora_r"], "8\u300116") == [8, 16]
    assert values_of(TABLE["gradient_checkpointing"], "true, False") == [True, False]
    choice = next(each for each in TABLE["tuning"].choices if each.value == "qlora")
    assert values_of(TABLE["tuning"], f"lora, {choice.label('zh')}", "zh") == ["lora", "qlora"]


@pytest.mark.parametrize(
    ("name", "typed"), [("learning_rate", "fast"), ("lora_r", "8, 1.5"), ("lora_r", "0"), ("tuning", "x")]
)
def test_a_value_that_is_none_is_named(name, typed):
    with pytest.raises(RefusedInput) as refused:
        values_of(TABLE[name], typed)
    assert typed.split(",")[-1].strip() in str(refused.value) and TABLE[name].label("en") in str(refused.value)


def test_the_product_has_every_combination_once():
    made = combinations({"learning_rate": [1e-4, 2e-4], "lora_r": [8, 16, 32], "seed": []})
    assert len(made) == 6 and made[0] == {"learning_rate": 1e-4, "lora_r": 8}
    assert len({tuple(each.values()) for each in made}) == 6


@pytest.mark.parametrize("tried", [{}, {"lora_r": [8]}, {"seed": list(range(MOST_RUNS + 1))}])
def test_too_few_and_too_many_are_refused(tried):
    with pytest.raises(RefusedInput):
        combinations(tried)


def test_what_makes_another_kind_of_run_cannot_be_tried():
    names = {name for name, each in TABLE.items() if can_be_tried(each)}
    assert {"learning_rate", "lora_r", "tuning", "seed"} <= names
    assert not {"dataset", "model_name_or_path", "method", "run_name", "lora_target_modules"} & names


# -- the fold --------------------------------------------------------------------------------------------------------


def test_the_count_is_shown_before_anything_is_queued(studio: Filled) -> None:
    page = Page(studio)
    drawn, address = pressed(page, "change", ("learning_rate", "1e-4, 2e-4"), ("lora_r", "8, 16, 32"))
    assert "2 × 3 = 6 runs." in drawn and "Queue 6 runs" in drawn and address == "" and queued(studio) == []
    assert "altogether" in drawn


@pytest.mark.parametrize(
    "line", [("learning_rate", "1e-4, much"), ("lora_r", "8"), ("seed", ", ".join(map(str, range(99))))]
)
def test_a_fault_is_said_in_the_fold_and_nothing_queued(studio: Filled, line: tuple[str, str]) -> None:
    drawn, address = pressed(Page(studio), "queue", line)
    assert 'class="lu-notice lu-bad"' in drawn and address == "" and queued(studio) == []


def test_a_combination_that_clashes_is_named_and_nothing_queued(studio: Filled) -> None:
    lines = (("curriculum", "none, easy_to_hard"), ("packing", "true, false"))
    drawn, _ = pressed(Page(studio), "change", *lines)
    assert "disabled" in drawn and "cannot be trained" in drawn
    drawn, address = pressed(Page(studio), "queue", *lines)
    assert address == "" and queued(studio) == []


def test_the_runs_of_a_grid_share_a_tag_and_lie_side_by_side(studio: Filled) -> None:
    page = Page(studio).type(max_steps=20, run_name="rates")
    _, address = pressed(page, "queue", ("learning_rate", "1e-4, 2e-4"), ("seed", "1, 2"))
    assert address == "/en/runs?tag=rates"
    made = queued(studio)
    assert [(job.values["learning_rate"], job.values["seed"]) for job in made] == [
        (1e-4, 1), (1e-4, 2), (2e-4, 1), (2e-4, 2),
    ]  # fmt: skip
    assert all(job.values["max_steps"] == 20 for job in made)
    listed = runs_page.draw(page.context, {"tag": "rates"})[3]
    numbers = "%2C".join(str(job.id) for job in made)
    assert f"runs={numbers}" in listed
    drawn = runs_page.draw(page.context, {"runs": ",".join(str(job.id) for job in made)})
    shown = unescape(" ".join(each for each in drawn if isinstance(each, str)))
    assert TABLE["learning_rate"].label("en") in shown and TABLE["seed"].label("en") in shown


def test_pressed_twice_is_one_grid_and_another_one_gets_a_tag_of_its_own(studio: Filled) -> None:
    page = Page(studio).type(run_name="rates")
    lines = (("seed", "1, 2"),)
    assert pressed(page, "queue", *lines)[1] == pressed(page, "queue", *lines)[1] and len(queued(studio)) == 2
    assert pressed(Page(studio).type(run_name="rates"), "queue", *lines)[1] == "/en/runs?tag=rates+2"
    assert len(queued(studio)) == 4


def test_a_grid_without_a_name_is_called_after_its_data(studio: Filled) -> None:
    assert pressed(Page(studio), "queue", ("seed", "1, 2"))[1] == "/en/runs?tag=trivia+grid"
    assert pressed(Page(studio).type(run_name="n" * 99), "queue", ("seed", "1, 2"))[1].endswith("=" + "n" * 40)


def test_a_grid_is_queued_whole_or_not_at_all(studio: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = {"model_name_or_path": "starter", "dataset": "trivia"}
    with pytest.raises(SpecRefused):
        studio.studio.desk.train_grid(spec, {"lora_r": [8, -1]})
    added = runs.add_tag
    seen: list[int] = []

    def breaks(session, job_id, tag):
        seen.append(job_id)
        if len(seen) == 3:
            raise OSError("the disk is gone")
        added(session, job_id, tag)

    monkeypatch.setattr(runs, "add_tag", breaks)
    with pytest.raises(OSError):
        studio.studio.desk.train_grid(spec, {"seed": [1, 2, 3, 4]})
    assert queued(studio) == []


def test_two_clients_that_press_train_fifty_times_at_once_never_get_two_runs_of_one_press(studio: Filled) -> None:
    desk, spec = studio.studio.desk, {"model_name_or_path": "starter", "dataset": "trivia"}
    got: dict[int, set[int]] = {press: set() for press in range(50)}
    barrier = threading.Barrier(2)

    def client() -> None:
        for press, numbers in got.items():
            barrier.wait()
            numbers.add(desk.train(spec, request_id=f"press {press}"))

    both = [threading.Thread(target=client) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert all(len(numbers) == 1 for numbers in got.values())
    assert len(set.union(*got.values())) == 50
    with studio.writer.begin() as session:
        assert len(jobs.waiting(session)) == 50
        plans = [len(jobs.events(session, each.id, types=("plan",))) for each in jobs.waiting(session)]
    assert set(plans) == {1}
