"""Measure it: the button beside the memory bar, what becomes of it, and what earlier runs taught."""

from typing import Any

import pytest

from app.pages import models as models_page
from app.pages import train
from studio.db import jobs, measurements
from studio.db.tables import MemoryMeasurement
from studio.hardware import Machine
from studio.memory.stack import installed_stack
from studio.messages import LANGUAGES
from studio.protocol import utc_now
from tests.app.conftest import Filled
from tests.app.test_train_page import HASH, MACHINE, Page
from tests.app.test_train_page import fixture_studio as fixture_studio


def probe_jobs(studio: Filled) -> list[Any]:
    with studio.studio.registry.session() as session:
        return jobs.list_jobs(session, kinds=("probe_memory",))


def press(page: Page, do: str) -> Page:
    return page.press(train.press, do=do, code="")


def settle(studio: Filled, job_id: int, state: str, reason: str | None = None, **values: Any) -> None:
    with studio.writer.begin() as session:
        jobs.move(session, job_id, "starting")
        jobs.move(session, job_id, state, reason=reason, values=values)


def teach(studio: Filled, values: dict[str, Any], *, peak: int, **changes: Any) -> None:
    """A run or probe of these values on the page's machine."""
    batch = {"rows": values["per_device_train_batch_size"], "tokens": 70}
    with studio.writer.begin() as session:
        given: dict[str, Any] = {
            "job_id": changes.pop("job_id", 900),
            "attempt": 1,
            "kind": "probe_memory",
            "outcome": "succeeded",
            "model_hash": HASH,
            "device": "cpu",
            "device_bytes": MACHINE.ram_bytes,
            "libraries": dict(installed_stack().versions),
            "values": values,
            "longest_row": 70,
            "peaks": {"peak_bytes": peak, "seen": batch, "tried": batch, "evaluated": batch},
            "prediction": {},
            "measured_at": utc_now(),
        }
        measurements.keep(session, MemoryMeasurement(**given | changes))
        jobs.next_change(session)


def measured(studio: Filled) -> tuple[Page, dict[str, Any]]:
    """A page, and the values of the probe that its button queued."""
    page = press(Page(studio), "measure")
    (job,) = probe_jobs(studio)
    return page, job.values


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_press_queues_one_measurement_that_can_be_stopped(studio: Filled, language: str) -> None:
    page = Page(studio, language=language)
    say = page.context.say
    assert 'data-do="measure"' in page.plan and say("train.measured.note") in page.plan
    press(press(page, "measure"), "measure")
    (job,) = probe_jobs(studio)
    assert (job.state, job.model, job.dataset) == ("queued", "starter", "trivia")
    assert say("train.measured.waits") in page.plan and 'data-do="measure"' not in page.plan
    press(page, "unmeasure")
    assert probe_jobs(studio)[0].state == "cancelled" and 'data-do="measure"' in page.plan


def test_while_it_measures_the_page_says_what(studio: Filled) -> None:
    page, _ = measured(studio)
    with studio.writer.begin() as session:
        jobs.move(session, probe_jobs(studio)[0].id, "starting")
    assert page.context.say("train.measured.measuring") in page.tick().plan
    page.type(per_device_train_batch_size=2)
    assert page.context.say("train.measured.measuring_others") in page.plan


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_measurement_that_failed_says_why(studio: Filled, language: str) -> None:
    page, _ = measured(studio)
    page = Page(studio, language=language)
    values = {"device": "cpu", "phase": "memory.measuring", "batch": 8, "length": 64}
    settle(studio, probe_jobs(studio)[0].id, "failed", "job.out_of_memory", **values)
    assert page.context.say("errors.job.out_of_memory", **values) in page.tick().plan
    assert 'data-do="measure"' in page.plan


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_was_measured_is_shown_as_measured(studio: Filled, language: str) -> None:
    _, values = measured(studio)
    settle(studio, probe_jobs(studio)[0].id, "succeeded")
    teach(studio, values, peak=5 << 30)
    page = Page(studio, language=language)
    say = page.context.say
    before = say("train.measured.exactly", predicted="§").split("§")[0]
    assert "5.0 GiB" in page.plan and before in page.plan
    assert 'data-do="measure"' not in page.plan
    assert 'data-do="measure"' in page.type(lora_r=64).plan


@pytest.mark.parametrize("language", LANGUAGES)
def test_runs_like_it_are_counted_in_a_sentence(studio: Filled, language: str) -> None:
    _, values = measured(studio)
    settle(studio, probe_jobs(studio)[0].id, "succeeded")
    page = Page(studio, language=language)
    teach(studio, values | {"optim": "sgd"}, peak=4 << 30, kind="train")
    assert page.context.say("train.measured.run", predicted="§").split("§")[0] in page.tick().plan
    teach(studio, values | {"optim": "adafactor"}, peak=4 << 30, kind="train", job_id=901)
    assert page.context.say("train.measured.runs", count=2, predicted="§").split("§")[0] in page.tick().plan


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_ran_out_of_memory_never_fits(studio: Filled, language: str) -> None:
    _, values = measured(studio)
    settle(studio, probe_jobs(studio)[0].id, "succeeded")
    teach(studio, values, peak=1 << 30, outcome=measurements.OUT_OF_MEMORY)
    names = ("per_device_train_batch_size", "gradient_checkpointing", "tuning", "max_length")
    chosen = {name: values[name] for name in names}  # else the advisor finds a way around it
    page = Page(studio, language=language, draft={"chosen": chosen})
    assert page.context.say("train.measured.ran_out") in page.plan
    assert f'lu-chip lu-good">✓ {page.context.say("train.verdict.fits")}' not in page.plan


def test_the_form_is_filled_with_what_did_not_run_out(studio: Filled) -> None:
    _, values = measured(studio)
    settle(studio, probe_jobs(studio)[0].id, "succeeded")
    teach(studio, values, peak=1 << 30, outcome=measurements.OUT_OF_MEMORY)
    page = Page(studio)
    assert page.context.say("train.verdict.fits") in page.plan
    assert page.context.say("train.measured.ran_out") not in page.plan


def test_another_machine_learns_nothing_of_it(studio: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    _, values = measured(studio)
    settle(studio, probe_jobs(studio)[0].id, "succeeded")
    teach(studio, values, peak=5 << 30)
    larger = Machine(cpu_count=4, ram_bytes=64 << 30, ram_free_bytes=60 << 30)
    monkeypatch.setattr("studio.hardware.read_machine", lambda: larger)
    assert "lu-learned" not in Page(studio).plan


def test_a_models_card_says_how_many_runs_went_in(studio: Filled) -> None:
    _, values = measured(studio)
    teach(studio, values, peak=5 << 30, kind="train")
    context = studio.context("en")
    assert context.say("train.measured.run", predicted="§").split("§")[0] in models_page.draw(context, {})
