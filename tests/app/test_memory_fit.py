"""Make it fit, the memory bar and what is said of the machine: the train page on cards of several sizes."""

import re
from dataclasses import replace
from typing import Any

import pytest

from app.forms import short_label
from app.pages import train
from app.training_form import table
from studio.db import models
from studio.hardware import Gpu, Machine
from studio.memory.inventory import from_config
from studio.messages import LANGUAGES
from tests.app.conftest import Filled
from tests.app.test_train_page import HASH, ROWS_HASH, Page, inspected
from tests.app.test_train_page import fixture_studio as fixture_studio
from tests.unit.memory.test_estimate import LLAMA_8B

GIB = 1 << 30
HEAVY = {"per_device_train_batch_size": 512, "gradient_checkpointing": False}


def gpu(gib: float, *, free: float | None = None, index: int = 0) -> Gpu:
    free_bytes = int((gib if free is None else free) * GIB)
    return Gpu(index, f"Card {index}", int(gib * GIB), free_bytes, (8, 9))


def large() -> dict[str, Any]:
    """What an inspect job would find out about an 8B model."""
    found = from_config(LLAMA_8B)
    modules = [vars(each) | {"shape": list(each.shape), "dtype": "bfloat16"} for each in found.modules]
    sizes = {name: getattr(found, name) for name in ("hidden_size", "num_hidden_layers", "intermediate_size")}
    facts = {"modules": modules, "tied_embeddings": False, "vocab_size": found.vocab_size, "num_heads": 32}
    return {"inventory": sizes | facts}


@pytest.fixture(name="on")
def fixture_on(studio: Filled, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A page on a machine with these GPUs."""

    def open_page(*gpus: Gpu, language: str = "en", **machine: Any) -> Page:
        made = replace(Machine(8, 64 * GIB, 60 * GIB, tuple(gpus)), **machine)
        monkeypatch.setattr("studio.hardware.read_machine", lambda: made)
        return Page(studio, language=language)

    return open_page


def verdict(page: Page) -> str:
    chip = re.search(r'<span class="lu-chip lu-(good|warn|bad)">', page.plan).group(1)
    return {"good": "fits", "warn": "tight", "bad": "too_large"}[chip]


# -- make it fit -----------------------------------------------------------------------------------------------------


def test_what_fits_has_no_button(on: Any) -> None:
    page = on(gpu(24))
    assert verdict(page) == "fits" and 'data-do="fit"' not in page.plan


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_press_makes_it_fit_and_says_what_was_changed(on: Any, language: str) -> None:
    page = on(gpu(2), language=language).type(**HEAVY)
    assert verdict(page) == "too_large" and 'data-do="fit"' in page.plan
    page.press(train.press, do="fit", code="")
    assert verdict(page) == "fits" and 'data-do="fit"' not in page.plan
    assert page.fields["per_device_train_batch_size"] < 512
    assert page.context.say("train.changed") not in page.reasons["per_device_train_batch_size"]
    filled = page.context.say("train.filled_in", reason="").strip()
    assert filled in page.reasons["per_device_train_batch_size"], "marked as filled in, with its reason"
    assert "512" in page.plan and 'data-do="unfit"' in page.plan
    assert page.start(), "it can be started as it stands"


def test_only_what_must_go_is_given_back(on: Any) -> None:
    page = on(gpu(2)).type(**HEAVY, learning_rate=1e-5, optim="adafactor")
    page.press(train.press, do="fit", code="")
    assert set(page.chosen) == {"optim", "learning_rate"}


def test_the_press_can_be_undone(on: Any) -> None:
    page = on(gpu(2)).type(**HEAVY)
    before = page.chosen
    page.press(train.press, do="fit", code="").press(train.press, do="unfit", code="")
    assert page.chosen == before and verdict(page) == "too_large"
    assert 'data-do="unfit"' not in page.plan and 'data-do="fit"' in page.plan


def test_what_was_given_back_is_forgotten_once_it_is_set_anew(on: Any) -> None:
    page = on(gpu(2)).type(**HEAVY).press(train.press, do="fit", code="")
    page.tick()
    assert 'data-do="unfit"' in page.plan, "still there after the page was drawn again"
    page.type(per_device_train_batch_size=2)
    assert 'data-do="unfit"' not in page.plan and page.chosen["per_device_train_batch_size"] == 2


def test_the_tuning_goes_only_where_the_rest_does_not_help(on: Any) -> None:
    page = on(gpu(1.5)).pick(tuning="full")
    assert verdict(page) == "too_large"
    page.press(train.press, do="fit", code="")
    assert page.fields["tuning"] != "full" and verdict(page) == "fits"


def test_rows_cut_for_a_persons_settings_can_be_made_whole(studio: Filled, on: Any) -> None:
    """A batch so large that only shorter rows fit beside it: whole rows come back with one press."""
    found = inspected()
    found["tokens"]["lengths"] |= {"p95": 1500, "p99": 1800, "max": 2000}
    with studio.writer.begin() as session:
        models.keep_inspection(session, HASH, ROWS_HASH, found)
    page = on(gpu(4)).type(per_device_train_batch_size=64)
    assert verdict(page) == "fits" and page.fields["max_length"] < 2000 and 'data-do="fit"' in page.plan
    page.press(train.press, do="fit", code="")
    assert page.fields["max_length"] >= 2000 and verdict(page) == "fits"


def test_a_press_on_what_fits_by_now_changes_nothing(on: Any) -> None:
    page = on(gpu(24)).type(learning_rate=1e-5)
    before = dict(page.fields)
    page.press(train.press, do="fit", code="")
    assert page.fields == before


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_press_makes_a_result_that_this_machine_can_serve(studio: Filled, on: Any, language: str) -> None:
    """8B answers in 15 GiB with 2-byte weights, which a card of 12 GiB does not have."""
    sees = {"tokens": inspected()["tokens"], "samples": []}
    with studio.writer.begin() as session:
        models.keep_inspection(session, HASH, ROWS_HASH, large() | sees)
    page = on(gpu(12), language=language)
    assert page.fields["tuning"] == "qlora" and 'data-finding="cannot_serve"' not in page.plan
    page.pick(tuning="lora")
    button = re.search(r'data-do="mend" data-code="cannot_serve">([^<]+)</button>', page.plan)
    assert button and button.group(1) == page.context.say("train.mend")
    page.press(train.press, do="mend", code="cannot_serve")
    assert page.fields["tuning"] == "qlora" and page.chosen == {} and 'data-finding="cannot_serve"' not in page.plan


def test_eight_bits_that_cannot_be_served_become_four(studio: Filled, on: Any) -> None:
    sees = {"tokens": inspected()["tokens"], "samples": []}
    with studio.writer.begin() as session:
        models.keep_inspection(session, HASH, ROWS_HASH, large() | sees)
    page = on(gpu(8)).pick(load_in_8bit=True)
    assert page.fields["tuning"] == "qlora" and page.chosen == {"load_in_8bit": True}
    assert verdict(page) == "too_large" and 'data-do="mend" data-code="cannot_serve"' in page.plan
    page.press(train.press, do="mend", code="cannot_serve")
    assert page.fields["load_in_8bit"] is False and 'data-finding="cannot_serve"' not in page.plan


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_machine_too_small_for_anything_says_by_how_much(on: Any, language: str) -> None:
    page = on(gpu(0.5), language=language)
    assert verdict(page) == "too_large" and 'data-do="fit"' not in page.plan
    told = re.escape(page.context.say("train.memory.nothing_fits", needed="@", lack="#"))
    assert re.search(told.replace("@", r"[\d.]+ [GM]iB").replace("\\#", r"[\d.]+ [GM]iB"), page.plan)


# -- the bar ---------------------------------------------------------------------------------------------------------


def test_the_bar_ends_at_the_card_and_shows_the_drivers_band(on: Any) -> None:
    page = on(gpu(24))
    widths = [float(each) for each in re.findall(r'class="lu-part-\d" style="width:([\d.]+)%', page.plan)]
    assert 0 < sum(widths) <= 95 and "24.0 GiB · Card 0" in page.plan
    band = re.search(r'lu-memory-band" aria-hidden="true"><i style="left:([\d.]+)%;width:([\d.]+)%', page.plan)
    left, width = map(float, band.groups())
    assert left >= sum(widths) - 0.1 and width > 0 and left + width <= 100.1


def test_the_bar_follows_every_change(on: Any) -> None:
    page = on(gpu(24))
    bars = {re.search(r'<div class="lu-memory".*?</div>', page.plan).group()}
    for change in ({"max_length": 32}, {"lora_r": 256}, {"optim": "sgd"}, {"per_device_train_batch_size": 2}):
        bars.add(re.search(r'<div class="lu-memory".*?</div>', page.type(**change).plan).group())
    assert len(bars) == 5


def test_beyond_the_card_the_mark_stays_inside_the_bar(on: Any) -> None:
    page = on(gpu(2)).type(**HEAVY)
    mark = float(re.search(r'<b style="left:([\d.]+)%', page.plan).group(1))
    widths = [float(each) for each in re.findall(r'class="lu-part-\d" style="width:([\d.]+)%', page.plan)]
    assert 0 < mark < sum(widths) <= 100.1
    assert "lu-memory-bracket" not in page.plan, "no word on what the driver shows of a run that cannot be"


def test_the_three_largest_parts_say_what_shrinks_them(on: Any) -> None:
    page = on(gpu(24))
    assert page.plan.count("lu-memory-knob") == 3
    assert page.plan.count("<li><i class=") > 3


# -- the machine -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_gpu_two_gpus_and_a_busy_one_are_told_plainly(on: Any, language: str) -> None:
    page = on(language=language)
    assert page.context.say("train.memory.no_gpu") in page.plan
    page = on(gpu(24), gpu(24, free=23, index=1), language=language)
    assert page.context.say("train.memory.several", count=2, name="Card 0") in page.plan
    assert page.context.say("train.memory.no_gpu") not in page.plan
    page = on(gpu(24, free=20), language=language)
    assert page.context.say("train.memory.busy", held="4.0 GiB", free="20.0 GiB") in page.plan
    assert page.context.say("train.memory.busy_enough") in page.plan
    page = on(gpu(24, free=1), language=language)
    assert page.context.say("train.memory.busy_not_enough") in page.plan


@pytest.mark.parametrize("language", LANGUAGES)
def test_main_memory_that_others_hold_is_told_as_such(on: Any, language: str) -> None:
    page = on(language=language, ram_free_bytes=GIB)
    assert verdict(page) == "tight"
    told = re.escape(page.context.say("train.memory.more_than_free_cpu", needed="@", free="1.0 GiB", limit="54.4 GiB"))
    assert re.search(told.replace("@", r"[\d.]+ GiB"), page.plan)


def test_no_word_of_bfloat16_where_nothing_computes_in_it(on: Any) -> None:
    page = on()
    assert short_label(table()["dtype"], "en") not in page.plan


def test_a_desktop_on_the_card_is_no_word_worth(on: Any) -> None:
    page = on(gpu(24, free=23.4))
    assert page.context.say("train.memory.busy_enough") not in page.plan
