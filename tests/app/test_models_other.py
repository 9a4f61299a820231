"""Would a model fit that one does not have? The models page answers from its config.json alone."""

import json
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import pytest

from app.memory import not_owned as page
from app.memory.fitted import _fit, fitted
from app.memory_command import machine_with
from app.memory_options import asked
from studio.errors import RefusedInput
from studio.memory import survey
from studio.memory.inventory import Module
from studio.messages import LANGUAGES
from tests.app.conftest import Filled
from tests.unit.memory.test_estimate import LLAMA_8B

NEW = {**LLAMA_8B, "intermediate_size": 14080}
"""Nobody has asked about it before, and it does not ship."""


@pytest.fixture(autouse=True)
def without_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a closer look would ask another process is held against its own tests (test_memory_command.py)."""

    def refuse(request: dict[str, Any]) -> None:
        raise AssertionError("arithmetic asks nobody")

    monkeypatch.setattr(survey, "_ask", refuse)


def answered(empty: Filled, place: str, language: str = "en", config: dict[str, Any] = NEW, length: int = 2048) -> str:
    return page.first_look(empty.context(language), None, json.dumps(config), place, length)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("place", "verdicts"),
    [("80 GiB", ["fits", "fits", "fits"]), ("24 GiB", ["too_large", "fits", "fits"]), ("8 GiB", ["too_large"] * 2)],
)
def test_each_way_of_training_has_its_verdict(empty: Filled, place: str, verdicts: list[str], language: str) -> None:
    drawn = answered(empty, place, language)
    say = empty.context(language).say
    lines = drawn.split("<article")[1:]
    assert len(lines) == 3
    for line, verdict in zip(lines, verdicts, strict=False):
        assert say(f"models.fit.{verdict}") in line
    assert "7.9B" in drawn and escape(say("models.other.closer")) in drawn
    assert "{" not in drawn and "models.other" not in drawn


def test_its_numbers_are_those_of_the_search(empty: Filled) -> None:
    drawn = answered(empty, "24GiB", config=LLAMA_8B)
    found = page.fitted_at_once(
        LLAMA_8B,
        asked(["--tuning", "lora", "--max-length", "2048"]),
        empty.context("en").desk.workspace,
        machine_with("24GiB"),
    )
    assert found is not None
    assert page.bytes_text(found.fit.estimate.allocated_bytes) in drawn
    assert f"Rows at once: {found.settings['per_device_train_batch_size']}," in drawn


def test_a_file_does_as_well_as_a_text(empty: Filled, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(NEW), "utf-8")
    drawn = page.first_look(empty.context("en"), str(path), "", "24 GiB", 2048)
    assert drawn == answered(empty, "24 GiB")


def test_of_an_unknown_family_the_first_look_says_that_it_goes_on(empty: Filled) -> None:
    drawn = answered(empty, "24 GiB", config={**NEW, "model_type": "never_seen"})
    assert "ten seconds" in drawn and "<article" not in drawn


SMALL = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
SEES = {
    "model_type": "llava",
    "text_config": {"model_type": "llama", **SMALL, "vocab_size": 512},
    "vision_config": {"model_type": "clip_vision_model", **SMALL, "image_size": 28, "patch_size": 14},
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_model_that_sees_is_told_plainly_and_with_a_wide_band(empty: Filled, language: str) -> None:
    context = empty.context(language)
    words = asked(["--tuning", "lora", "--max-length", "2048"])
    plain = page.fitted_at_once(LLAMA_8B, words, context.desk.workspace, machine_with("24GiB"))
    assert plain is not None
    tower = Module("Linear", "model.vision_tower.layers.*.fc1", (4096, 1024), 24)
    seeing = _fit(replace(plain.model, modules=(*plain.model.modules, tower)), words, machine_with("24GiB"))
    drawn = page.answer_html(context, page.Question(LLAMA_8B, machine_with("24GiB"), 2048), [seeing], is_closer=True)
    low, high = seeing.fit.estimate.device_bytes
    band = context.say("models.rough.band", low=page.bytes_text(low), high=page.bytes_text(high))
    assert escape(band) in drawn and escape(context.say("memory.notes.tower_not_counted")) in drawn
    assert low < seeing.fit.estimate.allocated_bytes and high > 1.7 * low
    assert context.say("models.rough.band", low="", high="")[:8] not in answered(empty, "24GiB", language, LLAMA_8B)


@pytest.mark.slow
def test_the_page_answers_for_a_config_with_a_vision_tower(empty: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    context = empty.context("en")
    assert "ten seconds" in page.first_look(context, None, json.dumps(SEES), "24 GiB", 128)
    drawn = page.second_look(context, None, json.dumps(SEES), "24 GiB", 128)
    assert "<article" in drawn and "pictures" in drawn and "rough figure" in drawn


def test_compressed_models_are_told(empty: Filled) -> None:
    assert "compressed" in answered(empty, "24 GiB", config={**NEW, "quantization_config": {"bits": 4}})


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "memory.no_config_given"),
        ("  ", "memory.no_config_given"),
        ("{", "memory.no_json_config"),
        ("[1]", "memory.no_json_config"),
        ("[" * 100_000, "memory.no_json_config"),
        ('"' + "x" * 2_000_000 + '"', "memory.no_json_config"),
        ('{"hidden_size": 4}', "memory.no_family"),
        (json.dumps({**NEW, "hidden_size": -4096}), "memory.odd_dimension"),
        (json.dumps({**NEW, "num_hidden_layers": 10**9}), "memory.odd_dimension"),
    ],
)
def test_what_is_no_config_is_refused_in_a_sentence(empty: Filled, text: str, code: str) -> None:
    with pytest.raises(RefusedInput) as refused:
        page.first_look(empty.context("en"), None, text, "24 GiB", 2048)
    assert refused.value.code == code
    for language in LANGUAGES:
        assert "{" not in refused.value.message(language) and code not in refused.value.message(language)


@pytest.mark.parametrize("length", [None, 0, 15, 10**9])
def test_rows_of_no_length_are_refused(empty: Filled, length: int | None) -> None:
    with pytest.raises(RefusedInput, match="tokens"):
        page.first_look(empty.context("en"), None, json.dumps(NEW), "24 GiB", length)


@pytest.mark.parametrize("place", ["", "a large one", "-3 GiB"])
def test_no_size_of_a_gpu(empty: Filled, place: str) -> None:
    with pytest.raises(RefusedInput, match="24GiB"):
        page.first_look(empty.context("en"), None, json.dumps(NEW), place, 2048)


def test_what_ships_with_its_traces_is_answered_closely_at_once(empty: Filled) -> None:
    """A machine without a GPU needs no trace."""
    context = empty.context("en")
    drawn = page.second_look(context, None, json.dumps(LLAMA_8B), page.HERE, 1024)
    found = fitted(
        LLAMA_8B, asked(["--tuning", "qlora", "--max-length", "1024"]), context.desk.workspace, page._machine(page.HERE)
    )
    assert page.bytes_text(found.fit.estimate.allocated_bytes) in drawn and "ten seconds" not in drawn
