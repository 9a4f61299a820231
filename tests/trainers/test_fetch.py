"""Models from a hub: fetched whole, in parts after a stop, and refused in a sentence."""

import time
from pathlib import Path

import pytest

from studio.models.folder import read_model_folder
from tests.hub import Hub, hub
from tests.trainers.jobs import ask, events_of, result_of, run, start, wait_until, write_spec, write_tiny_model


@pytest.fixture(scope="module")
def models(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """owner/small, with a file beside it that nothing takes."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "owner").mkdir()
    made = write_tiny_model(folder / "owner" / "small", starter)
    (made / "pytorch_model.bin").write_bytes(b"a pickle")
    (made / "modeling_small.py").write_text("raise SystemExit")
    return folder


def fetching(job: Path, name: str, *, attempt: int = 1) -> Path:
    return write_spec(job, kind="fetch", values={"model": name}, attempt=attempt)


def test_a_model_comes_whole_and_what_could_run_stays_there(tmp_path: Path, models: Path) -> None:
    with hub(models) as there:
        result = run("trainers.fetch", fetching(tmp_path / "job", "owner/small"), **at(there))
    assert (result.outcome, result.reason) == ("succeeded", None)
    folder = Path(result.figures["folder"])
    assert read_model_folder(folder).architecture == "LlamaForCausalLM"
    assert not list(folder.glob("*.bin")) and not list(folder.glob("*.py"))
    for path in folder.iterdir():
        assert path.read_bytes() == (models / "owner" / "small" / path.name).read_bytes()


@pytest.mark.parametrize(("name", "reason"), [("owner/other", "hub_unknown"), ("owner/small", "hub_gated")])
def test_what_the_hub_refuses_is_a_sentence(tmp_path: Path, models: Path, name: str, reason: str) -> None:
    with hub(models, gated={"owner/small"}) as there:
        result = run("trainers.fetch", fetching(tmp_path / "job", name), **at(there))
    assert (result.outcome, result.reason) == ("failed", f"job.{reason}")


def test_a_stop_while_it_downloads_is_obeyed_and_what_came_is_kept(tmp_path: Path, models: Path) -> None:
    with hub(models, bytes_a_second=100_000) as there:
        folder = fetching(tmp_path / "job", "owner/small")
        process = start("trainers.fetch", folder, **at(there))
        wait_until(lambda: there.sent > 700_000, process)
        asked = time.monotonic()
        ask(folder, "stop")
        process.wait(15)
    assert time.monotonic() - asked < 15
    assert (result_of(folder).outcome, result_of(folder).reason) == ("stopped", "job.stopped_now")
    assert [event.data["name"] for event in events_of(folder, "phase")][-1] == "fetching"
    kept = {path.name for path in (tmp_path / "job" / "output" / "model").iterdir()}
    assert "config.json" in kept and "model.safetensors" not in kept
    with hub(models) as there:
        result = run("trainers.fetch", fetching(tmp_path / "job", "owner/small", attempt=2), **at(there))
    assert result.outcome == "succeeded" and read_model_folder(result.figures["folder"]).parameters > 0


def at(there: Hub) -> dict[str, str]:
    return {"HF_ENDPOINT": there.address, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
