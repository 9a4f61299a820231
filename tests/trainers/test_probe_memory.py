"""Peaks by phase of real runs, and the probe: two real steps on the longest batch, the same figures as a run's own."""

import dataclasses
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from studio.db import datasets, jobs, measurements, models
from studio.db.engine import Writer
from studio.db.jobs import NewJob
from studio.hardware import read_machine
from studio.jobs.lifecycle import ENDED
from studio.jobs.supervisor import Supervisor
from studio.memory.estimate import Shapes
from studio.memory.inventory import from_figures
from studio.memory.measured import estimate_here
from studio.paths import Workspace
from studio.protocol import DatasetRef, read_spec
from tests.trainers.jobs import (
    SFT,
    ask,
    events_of,
    model_ref,
    result_of,
    run_here,
    start,
    wait_until,
    write_dataset,
    write_spec,
)
from trainers import inspect, probe_memory, sft
from trainers.attempt import Attempt
from trainers.training.peaks import Peaks

PHASES = ["load", "forward_and_loss", "layer_backward", "optimizer_step", "evaluation"]
LONG = "What is it? " * 12


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    pairs = [{"prompt": f"What is {i} plus {i}?", "completion": f"It is {2 * i}."} for i in range(11)]
    pairs[6]["prompt"] = pairs[8]["prompt"] = LONG  # one of them may be held out
    return write_dataset(tmp_path_factory.mktemp("data") / "v1", pairs)


def spec_of(job: Path, model: Path, rows: DatasetRef, *, kind: str = "train", **changes: Any) -> Path:
    return write_spec(job, kind=kind, values=SFT | changes, dataset=rows, model=model_ref(model))


def peaks_of(folder: Path) -> dict[str, Any]:
    (event,) = events_of(folder, "peaks")
    return event.data


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, tiny: Path, rows: DatasetRef) -> tuple[Path, Any]:
    """A run over two epochs: every row, the longest included, after the optimizer has its states."""
    changes = {"max_steps": 10, "validation_split": 0.1, "eval_steps": 5, "gradient_accumulation_steps": 1}
    folder = spec_of(tmp_path_factory.mktemp("run"), tiny, rows, **changes)
    return folder, run_here(sft.main, folder)


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory, tiny: Path, rows: DatasetRef) -> tuple[Path, Any]:
    changes = {"validation_split": 0.1, "gradient_accumulation_steps": 8}
    folder = spec_of(tmp_path_factory.mktemp("probe"), tiny, rows, kind="probe_memory", **changes)
    return folder, run_here(probe_memory.main, folder)


def test_a_run_tells_its_peaks_by_phase(ran: tuple[Path, Any]) -> None:
    folder, result = ran
    peaks = peaks_of(folder)
    assert result.outcome == "succeeded"
    assert list(peaks["phases"]) == PHASES
    assert all(0 < size <= peaks["peak_bytes"] for size in peaks["phases"].values())
    assert max(peaks["phases"].values()) >= 0.9 * peaks["peak_bytes"]  # between phases it saves, which counts too
    assert result.figures["peak_memory_bytes"] == peaks["peak_bytes"] == peaks["host_peak_bytes"]


def test_a_run_tells_the_largest_batch_that_it_came_to(ran: tuple[Path, Any], rows: DatasetRef) -> None:
    peaks = peaks_of(ran[0])
    assert peaks["tried"] == {"rows": 2, "tokens": peaks["seen"]["tokens"]}
    assert peaks["seen"]["tokens"] > 40, "the long row was not seen in two epochs"
    assert peaks["evaluated"]["rows"] == 1


def test_the_probe_trains_on_the_longest_row_only(probed: tuple[Path, Any], ran: tuple[Path, Any]) -> None:
    folder, result = probed
    peaks, run = peaks_of(folder), peaks_of(ran[0])
    assert result.outcome == "succeeded"
    assert list(peaks["phases"]) == PHASES
    longest = run["seen"]["tokens"]
    assert peaks["seen"] == peaks["tried"] == {"rows": 2, "tokens": longest}
    assert peaks["evaluated"] == {"rows": 4, "tokens": longest}
    assert result.figures["phases"] == peaks["phases"]


def test_the_probe_saves_nothing(probed: tuple[Path, Any]) -> None:
    folder, _ = probed
    assert not list((folder.parents[1] / "checkpoints").glob("*")) and not events_of(folder, "checkpoint")


@pytest.mark.parametrize("packing", [False, True])
def test_rows_for_two_steps_fill_every_batch(packing: bool) -> None:
    from trainers.rows.data import Rendered

    longest = [Rendered(1, [1] * 40, [1] * 40), Rendered(2, [1] * 30, [1] * 30)]
    values = SFT | {"packing": packing, "max_length": 100, "gradient_accumulation_steps": 2}
    made = list(probe_memory.training_rows(longest, values))
    wanted = 2 * 2 * 2
    if packing:
        assert sum(len(row.input_ids) for row in made) >= wanted * 100
    else:
        assert [row.row for row in made] == [1] * wanted


def test_a_probe_can_be_stopped_at_once(tmp_path: Path, tiny: Path, rows: DatasetRef) -> None:
    folder = spec_of(tmp_path / "job", tiny, rows, kind="probe_memory")
    process = start("trainers.probe_memory", folder)
    wait_until(lambda: events_of(folder, "phase"), process)
    ask(folder, "stop")
    process.wait(30)
    assert result_of(folder).outcome == "stopped"


def test_what_a_run_had_got_before_it_ran_out_is_told(
    tmp_path: Path, tiny: Path, rows: DatasetRef, monkeypatch
) -> None:
    folder = spec_of(tmp_path / "job", tiny, rows)
    begin_step = Peaks.begin_step

    def no_room_in_the_second_step(self: Peaks) -> None:
        if self.steps == 1:
            raise MemoryError
        begin_step(self)

    monkeypatch.setattr(Peaks, "begin_step", no_room_in_the_second_step)
    attempt = Attempt(folder, read_spec(folder))
    with pytest.raises(MemoryError) as error, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # as in run_here
        sft.main(attempt)
    assert attempt.failed(error.value).reason == "job.out_of_memory"
    peaks = peaks_of(folder)
    assert peaks["tried"]["rows"] == 2 and peaks["peak_bytes"] >= peaks["phases"]["layer_backward"]


def test_the_mark_of_resident_memory_rises_and_is_set_back() -> None:
    gauge = Peaks().gauge
    gauge.reset()
    before = gauge.read()
    held = bytearray(200 << 20)
    held[::4096] = b"x" * len(held[::4096])  # only touched pages are resident
    assert gauge.read() - before >= 190 << 20
    del held
    gauge.reset()
    assert gauge.read() - before < 20 << 20
    assert gauge.totals()["host_peak_bytes"] - before >= 190 << 20


def test_ordinary_steps_are_not_measured() -> None:
    gauge = CountingGauge()
    peaks = Peaks(gauge=gauge)
    for step in range(100):
        peaks.begin_batch(2, 30 if step == 50 else 20, is_training=True)
        peaks.end_loss()
        peaks.begin_step()
        peaks.end_step()
    # Four moments in each of the first steps and the one with a larger batch, and then not until the next of those.
    assert gauge.resets <= 4 * (3 + 1) + 1
    assert peaks.seen.tokens == 30


class CountingGauge:
    can_reset = True
    resets = 0

    def read(self) -> int:
        return 1

    def reset(self) -> None:
        self.resets += 1

    def totals(self) -> dict[str, int]:
        return {}


def test_what_a_process_needed_is_the_next_prediction(tmp_path: Path, tiny: Path, rows: DatasetRef, tokenizer) -> None:
    """From a queued probe through the supervisor, a process and the registry to the estimate of the same settings."""
    place = Workspace(tmp_path / "luthier").make()
    writer = Writer(place.registry)
    with writer.begin() as session:
        facts = {"architecture": "LlamaForCausalLM", "size_bytes": 1, "content_hash": "tiny"}
        models.add_model(session, name="tiny", source="local", path=str(tiny), facts=facts)
        manifest = {"format": rows.format, "shape": "x", "rows": rows.rows, "problems": 0, "excluded": 0}
        owner, known = datasets.reserve(session, "data"), {"content_hash": "rows"}
        datasets.add_version(session, owner, number=1, path=rows.path, job_id=1, manifest=manifest | known)
        models.keep_inspection(session, "tiny", None, {"inventory": inspect.inventory(tiny, tokenizer)})
        new = NewJob(kind="probe_memory", title="t", values=dict(SFT), needs_device=True, model_id=1, method="sft")
        job_id = jobs.add_job(session, dataclasses.replace(new, dataset_version_id=1))
    supervisor, state = Supervisor(place, writer), None
    for _ in range(1200):
        supervisor.tick()
        with writer.begin() as session:
            state = jobs.job(session, job_id).state
        if state in ENDED:
            break
        time.sleep(0.1)
    with writer.begin() as session:
        figures = jobs.job(session, job_id).figures
        experience = measurements.experience(session, "tiny")
        model = from_figures(models.any_inspection(session, "tiny")["inventory"])
    writer.close()
    assert state == "succeeded"
    machine, shapes = read_machine(), Shapes(figures["seen"]["tokens"])
    asked = {"values": SFT, "shapes": shapes, "machine": machine}
    found = estimate_here(model, **asked, experience=experience)
    assert found.is_measured and found.allocated_bytes == figures["peak_memory_bytes"]
    assert found.predicted_bytes == estimate_here(model, **asked).allocated_bytes
