"""The coefficients have evidence for the libraries that are installed and pinned; with others the band widens."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from studio.memory import survey
from studio.memory.estimate import Shapes, estimate
from studio.memory.inventory import from_config
from studio.memory.stack import LIBRARIES, Stack, coefficients, installed_stack
from studio.paths import PROJECT_ROOT
from tests.unit.memory.test_estimate import LLAMA_8B, settings

PINNED = dict(re.findall(r"^([\w-]+)==([\w.]+)$", (PROJECT_ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE))


def test_each_library_has_a_covered_range() -> None:
    assert set(coefficients()["covered"]) == set(LIBRARIES)


def without_evidence(entries: Any, told: Any, place: str = "") -> list[str]:
    """Places of entries that say nowhere where they come from, `told` being what is said of numbers.

    {"bands": {"one": 3, "two": 4}}, {"bands": {"one": "measured"}}  ->  [".bands.two"]
    """
    if isinstance(told, str) or (isinstance(entries, dict) and entries.get("evidence")):
        return []
    if isinstance(entries, dict) and "when" not in entries:
        parts = entries.items()
    elif isinstance(entries, list):
        parts = enumerate(entries)
    else:
        return [place]
    said = told if isinstance(told, dict) else {}
    return [found for name, each in parts for found in without_evidence(each, said.get(name), f"{place}.{name}")]


def test_every_entry_says_where_it_comes_from() -> None:
    entries = {name: each for name, each in coefficients().items() if name not in ("version", "evidence")}
    told = coefficients()["evidence"]
    assert without_evidence(entries, told) == []
    assert told.keys() <= entries.keys()
    assert all(told[name].keys() <= entries[name].keys() for name in told if isinstance(told[name], dict))


def test_the_pinned_libraries_are_covered() -> None:
    pinned = Stack(versions={name: PINNED[name] for name in LIBRARIES})
    assert pinned.uncovered == [], "look at every entry of coefficients.yaml with these versions, then widen `covered`"


def test_the_installed_libraries_are_covered() -> None:
    assert installed_stack().uncovered == []


@pytest.mark.parametrize(
    ("versions", "outside"),
    [
        ({"transformers": "6.0.0"}, ["transformers 6.0.0"]),
        ({"trl": "0.9.6", "torch": "2.13.0"}, ["trl 0.9.6"]),
        ({"torch": "2.4.1", "transformers": "4.48.1", "trl": "0.13", "peft": "0.13.2"}, []),
    ],
)
def test_versions_without_evidence_are_named(versions: dict[str, str], outside: list[str]) -> None:
    assert Stack(versions=versions).uncovered == outside


def test_outside_the_covered_range_the_band_is_wider_and_says_so() -> None:
    def found(version: str):
        stack = Stack(versions=installed_stack().versions | {"transformers": version})
        return estimate(from_config(LLAMA_8B), settings(), shapes=Shapes(512), stack=stack)

    inside, outside = found(PINNED["transformers"]), found("5.99")
    assert inside.allocated_bytes == outside.allocated_bytes
    assert outside.notes == ("stack_not_covered",) and inside.notes == ()
    assert outside.device_bytes[0] < inside.device_bytes[0] and outside.device_bytes[1] > inside.device_bytes[1]


def test_a_trace_holds_for_a_torch_built_for_another_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models = yaml.safe_load((survey.SHIPPED / "models.yaml").read_text("utf-8"))
    config = {"model_type": "llama", **models["llama"]["Llama-2-7b"]}
    before = survey.known(config, cache=tmp_path)
    there = installed_stack().versions
    other = Stack(versions={**there, "torch": there["torch"].partition("+")[0] + "+cu130"})
    monkeypatch.setattr(survey, "installed_stack", lambda: other)
    assert survey.known(config, cache=tmp_path) == before and before is not None and before.profiles


def test_a_family_that_is_not_followed_says_so_without_a_trace() -> None:
    def notes(family: str) -> tuple[str, ...]:
        return estimate(from_config({**LLAMA_8B, "model_type": family}), settings(), shapes=Shapes(512)).notes

    assert "layers_by_formula" in notes("olmo2") and "layers_by_formula" not in notes("llama")
