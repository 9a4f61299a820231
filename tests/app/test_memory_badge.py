"""The models page says of each model whether it fits this machine, or that nobody has looked at it yet."""

import re
from types import SimpleNamespace
from typing import Any

import pytest

from app.i18n import bytes_text
from app.memory_badge import badge_of
from app.pages import models as page
from studio.db import jobs, models
from studio.hardware import Machine
from studio.messages import LANGUAGES
from tests.app.conftest import Filled
from tests.app.test_memory_fit import GIB, gpu, large
from tests.app.test_train_page import HASH, MACHINE, ROWS_HASH, add_model, inspected


def on(*gpus: Any) -> Machine:
    return Machine(8, 64 * GIB, 60 * GIB, tuple(gpus))


@pytest.fixture(name="unseen")
def fixture_unseen(empty: Filled, monkeypatch: pytest.MonkeyPatch) -> Filled:
    monkeypatch.setattr("studio.hardware.read_machine", lambda: MACHINE)
    add_model(empty, "<i>starter</i>")
    return empty


@pytest.mark.parametrize(("gib", "verdict"), [(80, "fits"), (24, "fits"), (12, "too_large")])
def test_an_8b_model_on_cards_of_several_sizes(gib: int, verdict: str) -> None:
    badge = badge_of(large(), on(gpu(gib)))
    assert badge.estimate.verdict == verdict
    assert (badge.qlora is not None) == (gib == 12)
    assert badge.length == 1024 and 1 <= badge.batch <= 8


def test_the_badge_is_of_the_machines_own_memory() -> None:
    cpu, card = badge_of(inspected(), MACHINE), badge_of(inspected(), on(gpu(24)))
    assert (cpu.estimate.device, card.estimate.device) == ("cpu", "cuda")
    assert card.estimate.allocated_bytes <= card.estimate.available_bytes


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_card_carries_the_verdict_and_the_number(unseen: Filled, language: str) -> None:
    context = unseen.context(language)
    with unseen.writer.begin() as session:
        models.keep_inspection(session, HASH, ROWS_HASH, inspected())
    drawn = page.draw(context, {})
    assert context.say("models.fit.fits") in drawn and context.say("models.fit.title") in drawn
    assert len(re.findall(r"[\d.]+ GiB", drawn)) >= 2 and "data-look" not in drawn and "models.fit" not in drawn


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("card", "verdict", "tone", "has_qlora"),
    [
        (gpu(24), "fits", "good", False),
        (gpu(17.5), "tight", "warn", True),
        (gpu(19, free=14), "tight", "warn", True),
        (gpu(12), "too_large", "bad", True),
        (gpu(4), "too_large", "bad", False),
    ],
    ids=["fits", "tight", "tight beside others", "too large", "too large for QLoRA too"],
)
def test_a_card_says_fits_tight_or_does_not_fit(
    unseen: Filled,
    monkeypatch: pytest.MonkeyPatch,
    language: str,
    card: Any,
    verdict: str,
    tone: str,
    has_qlora: bool,
) -> None:
    monkeypatch.setattr("studio.hardware.read_machine", lambda: on(card))
    context, badge = unseen.context(language), badge_of(large(), on(card))
    with unseen.writer.begin() as session:
        models.keep_inspection(session, HASH, ROWS_HASH, large())
    drawn = page.draw(context, {})
    words = {each: context.say(f"models.fit.{each}") for each in ("fits", "tight", "too_large")}
    assert [each for each in words if words[each] in drawn] == [verdict] and len(set(words.values())) == 3
    assert f'<span class="lu-chip lu-{tone}">{words[verdict]}</span>' in drawn
    needed, there = bytes_text(badge.estimate.allocated_bytes), bytes_text(badge.estimate.available_bytes)
    assert needed in drawn and there in drawn and "models.fit" not in drawn
    assert (context.say("models.fit.qlora", needed="§").split("§")[0] in drawn) == has_qlora
    assert not has_qlora or bytes_text(badge.qlora.allocated_bytes) in drawn


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_model_nobody_looked_at_has_a_button_that_looks(unseen: Filled, language: str) -> None:
    context = unseen.context(language)
    drawn = page.draw(context, {})
    assert context.say("models.fit.unseen") in drawn and 'data-look="&lt;i&gt;starter&lt;/i&gt;"' in drawn
    drawn = page.look(context, SimpleNamespace(_data={"model": "<i>starter</i>"}))
    assert context.say("models.fit.looking") in drawn and "data-look" not in drawn
    with unseen.writer.begin() as session:
        assert [job.model for job in jobs.list_jobs(session, kinds=("inspect",))] == ["<i>starter</i>"]


def test_a_failed_look_says_why_and_can_be_repeated(unseen: Filled) -> None:
    context = unseen.context("en")
    page.look(context, SimpleNamespace(_data={"model": "<i>starter</i>"}))
    with unseen.writer.begin() as session:
        job = jobs.list_jobs(session, kinds=("inspect",))[0]
        for state in ("starting", "running"):
            jobs.move(session, job.id, state)
        values = {"path": "/models/starter", "error": "bad <file>"}
        jobs.move(session, job.id, "failed", reason="job.model_unreadable", values=values)
    drawn = page.draw(context, {})
    assert context.say("models.fit.failed") in drawn and "bad &lt;file&gt;" in drawn
    assert context.say("models.fit.again") in drawn


def test_another_models_inspection_is_not_taken(unseen: Filled) -> None:
    with unseen.writer.begin() as session:
        models.keep_inspection(session, "b" * 64, None, inspected())
        assert models.any_inspection(session, HASH) is None
        models.keep_inspection(session, HASH, None, {"inventory": {}})
        assert models.any_inspection(session, HASH) == {"inventory": {}}
