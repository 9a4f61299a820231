"""What the processor does faster is measured once, kept, and decides what a form is filled in with."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from studio import cpu_speed
from studio.cpu_speed import CpuSpeed


def test_a_little_faster_is_not_enough() -> None:
    assert CpuSpeed(float32=10, bfloat16=11).dtype == "float32"
    assert CpuSpeed(float32=10, bfloat16=13).dtype == "bfloat16"


def test_what_was_measured_is_kept_for_this_processor_and_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cpu_speed.measured(tmp_path) is None
    found = cpu_speed.measure(tmp_path)
    assert found is not None and found.float32 > 0 < found.bfloat16
    assert cpu_speed.measured(tmp_path) == found
    monkeypatch.setattr(cpu_speed, "_processor", lambda: "another one")
    assert cpu_speed.measured(tmp_path) is None


def test_what_cannot_be_read_was_not_measured(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    for content in ("{", "[]", json.dumps({"of": cpu_speed._what(), "speed": {"float64": 1}})):
        (tmp_path / "cache" / "cpu_speed.json").write_text(content)
        assert cpu_speed.measured(tmp_path) is None


def test_a_form_follows_it() -> None:
    from studio.advisor.facts import facts_from
    from studio.advisor.prefill import prefill
    from studio.hardware import Machine

    machine = Machine(cpu_count=2, ram_bytes=24 << 30, ram_free_bytes=16 << 30)
    for dtype, reason in (("float32", "precision_cpu"), ("bfloat16", "precision_cpu_short")):
        filled = prefill(facts_from(None, machine=replace(machine, cpu_dtype=dtype), rows=100), {})["dtype"]
        assert (filled.value, filled.reason) == (dtype, reason)
