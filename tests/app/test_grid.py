"""Several values of a setting: how many runs that makes, what they share, and that they are all queued or none."""

import threading
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app import client
from app.context import Context
from app.pages import runs as runs_page
from app.runs import grid, queue_view
from studio.db import jobs, runs
from studio.desk import Desk
from studio.errors import RefusedInput, SpecRefused
from studio.hardware import Gpu, Machine
from studio.params.grid import MOST_RUNS, can_be_tried, combinations, values_of
from studio.params.table import parameters
from tests.app.conftest import Filled, serving
from tests.app.test_train_page import Page, fixture_studio
from tests.e2e.luthier import luthier_here

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


def test_a_run_that_wants_a_gpu_is_checked_against_that_one(studio: Filled) -> None:
    gpus = tuple(Gpu(place, "card", size << 30, size << 30, (8, 9)) for place, size in enumerate((24, 1)))
    machine = Machine(cpu_count=8, ram_bytes=64 << 30, ram_free_bytes=50 << 30, gpus=gpus)
    desk = Desk(studio.workspace, studio.writer, machine=machine)
    large = SPEC | {"tuning": "full", "per_device_train_batch_size": 8}
    desk.train(large, device="cuda:0")
    assert [job.wanted_device for job in queued(studio)] == ["cuda:0"]
    with pytest.raises(SpecRefused):
        desk.train(large, device="cuda:1")
    with pytest.raises(RefusedInput, match="cuda:0, cuda:1"):
        desk.train(SPEC, device="cuda:7")
    (job,) = queued(studio)
    desk.set_device(job.id, "cuda:1")
    desk.set_device(job.id, None)
    assert queued(studio)[0].wanted_device is None
    context = Context("en", desk, studio.studio.registry)
    assert '<option value="cuda:1">GPU 1</option>' in queue_view.draw(context)


SPEC = {"model_name_or_path": "starter", "dataset": "trivia", "max_steps": 3}


def test_two_clients_that_press_train_fifty_times_at_once_never_get_two_runs_of_one_press(studio: Filled) -> None:
    """Over HTTP, as the command line asks."""
    got: dict[int, list[int]] = {press: [] for press in range(50)}
    barrier = threading.Barrier(2)
    with serving(studio.workspace, studio.studio) as url:
        address = {"url": url, "token": studio.studio.token}

        def press_all() -> None:
            for press, numbers in got.items():
                barrier.wait()
                numbers.append(client._post(address, "train", {"spec": SPEC, "request_id": f"press {press}"}))

        both = [threading.Thread(target=press_all) for _ in range(2)]
        for each in both:
            each.start()
        for each in both:
            each.join()
    assert all(len(numbers) == 2 and len(set(numbers)) == 1 for numbers in got.values())
    with studio.writer.begin() as session:
        waiting = [each.id for each in jobs.waiting(session)]
        plans = [len(jobs.events(session, each, types=("plan",))) for each in waiting]
    assert sorted(waiting) == sorted(numbers[0] for numbers in got.values()) and set(plans) == {1}


def test_a_command_whose_answer_was_lost_asks_again_for_the_same_run(
    studio: Filled, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[str] = []

    def post(address: Any, verb: str, arguments: dict[str, Any]) -> Any:
        done = getattr(studio.studio.desk, verb)(**arguments)
        asked.append(verb)
        if len(asked) == 1:
            raise ConnectionError("the line broke after the server had done it")
        return done

    monkeypatch.setattr(client, "_running", lambda workspace: {"url": "", "token": ""})
    monkeypatch.setattr(client, "_post", post)
    (tmp_path / "spec.yaml").write_text("".join(f"{name}: {value}\n" for name, value in SPEC.items()))
    ran = luthier_here(studio.workspace, "train", tmp_path / "spec.yaml", "--json")
    assert ran.code == 0 and asked == ["train", "train"] and [job.id for job in queued(studio)] == [ran.document["id"]]


def test_grids_and_the_queue_are_commands(studio: Filled, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    desk = studio.studio.desk
    monkeypatch.setattr(client, "call", lambda workspace, verb, **arguments: getattr(desk, verb)(**arguments))
    (tmp_path / "spec.yaml").write_text("".join(f"{name}: {value}\n" for name, value in SPEC.items()))

    def luthier(*words: object) -> Any:
        ran = luthier_here(studio.workspace, *words, "--json")
        assert ran.code == 0, ran.err
        return ran.document

    made = luthier("train", tmp_path / "spec.yaml", "--try", "seed=1,2", "--try", "learning_rate=1e-4,2e-4")
    assert len(made["jobs"]) == 4 and made["tag"] == "trivia grid"
    assert [each["waits_for"] for each in luthier("jobs", "queue")["waiting"]][:3] == ["starts", "device", "behind"]
    assert luthier("jobs", "queue", "--start", "by_hand")["waiting"][0]["waits_for"] == "held"
    first = made["jobs"][0]
    luthier("jobs", "stop", first)
    luthier("jobs", "edit", first, "--title", "renamed", "--tags", "a,b", "--note", "see")
    assert [each["id"] for each in luthier("jobs", "find", "renamed")] == [first]
    assert luthier("jobs", "again", first)["id"] > made["jobs"][-1]
    luthier("jobs", "archive", first)
    assert first not in [each["id"] for each in luthier("jobs", "find", "renamed")]
    assert [each["id"] for each in luthier("jobs", "find", "renamed", "--archived")] == [first]
    luthier("jobs", "rm", first, "--keep-files")
    assert luthier_here(studio.workspace, "train", tmp_path / "spec.yaml", "--try", "seed").code == 2
    assert luthier_here(studio.workspace, "train", tmp_path / "spec.yaml", "--gpu", "cuda:3").code == 2
    assert luthier_here(studio.workspace, "jobs", "queue", "--after-failure", "maybe").code == 2
