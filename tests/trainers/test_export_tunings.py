"""What each way of tuning leaves: merged where that can be, and as it is in the hands of peft or transformers alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from tests.trainers import test_tunings as tunings
from tests.trainers.jobs import run_here, write_spec
from tests.trainers.resumed import rows_of, run_of
from tests.trainers.test_export import adapter, lora
from trainers import export
from trainers.checkpoints.manifest import digest_of
from trainers.models.generation import Models, Place
from trainers.tuning import bottleneck

pytestmark = tunings.pytestmark
rows, trained = tunings.rows, tunings.trained
"""Fixtures: real runs of four steps, one for each way."""

IDS = torch.arange(3, 19)[None]
NOT_QUICK = pytest.mark.slow
BESIDE = ("prompt", "p-tuning", "prefix", "projected", "bottleneck")
"""They add something beside the weights."""
WHOLE = ("top layer", "named")


def exported(job: Path, place: dict[str, Any], *, merge: bool) -> tuple[Any, Path]:
    values = {"place": place, "base": "tiny", "merge": merge, "folder": "out"}
    folder = write_spec(job, kind="export", values=values)
    return run_here(export.main, folder), job / "output" / "export" / "out"


def put_on(tiny: Path, checkpoint: Path) -> dict[str, Any]:
    return {"model_path": str(tiny), "adapter_path": str(checkpoint), "digest": digest_of(checkpoint)}


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(input_ids=IDS).logits.float()


def read(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def check_merged(job: Path, tiny: Path, checkpoint: Path) -> None:
    """The merged model answers as the adapter does on the whole base model, which it is a part of now."""
    result, folder = exported(job, put_on(tiny, checkpoint), merge=True)
    assert result.outcome == "succeeded", result
    merged, wanted = logits(read(folder)), tunings.scores(Models("cpu"), Place(str(tiny), str(checkpoint)))
    untouched = logits(read(tiny))
    # Far nearer than what was learned is large.
    assert (merged - wanted).abs().max() < 0.02 * (wanted - untouched).abs().max()
    assert not (folder / "adapter_config.json").exists()


@pytest.mark.parametrize("more", [{"use_dora": True}, {"use_rslora": True}], ids=["dora", "rslora"])
def test_other_kinds_of_lora_are_merged(tmp_path: Path, tiny: Path, more: dict[str, bool]) -> None:
    check_merged(tmp_path / "job", tiny, adapter(tiny, tmp_path / "step-1", lora(**more)))


@NOT_QUICK
@pytest.mark.parametrize("way", ["pissa", "4 bits", "8 bits", "lora+"])
def test_what_a_run_leaves_is_merged(tmp_path: Path, tiny: Path, trained: tunings.Trained, way: str) -> None:
    """Also where it was trained beside a base model that is not the untouched one: cut by PiSSA, squeezed by QLoRA."""
    check_merged(tmp_path, tiny, trained(way))


@NOT_QUICK
@pytest.mark.parametrize("way", [way for way in tunings.WAYS if way not in (*WHOLE, "bottleneck")])
def test_an_adapter_answers_in_peft_as_it_did_here(
    tmp_path: Path, tiny: Path, trained: tunings.Trained, way: str
) -> None:
    from peft import PeftModel

    checkpoint = trained(way)
    result, folder = exported(tmp_path, put_on(tiny, checkpoint), merge=False)
    assert result.outcome == "succeeded", result
    elsewhere = logits(PeftModel.from_pretrained(read(tiny), str(folder)))
    assert torch.equal(elsewhere, tunings.scores(Models("cpu"), Place(str(tiny), str(checkpoint))))
    assert not torch.equal(elsewhere, logits(read(tiny)))
    left = {path.name for path in folder.iterdir()}
    assert not left & {"optimizer.pt", "manifest.json", "trained_weights.safetensors"}


@NOT_QUICK
@pytest.mark.parametrize("way", [*WHOLE, "full"])
def test_a_whole_model_answers_in_transformers_as_it_did_here(
    tmp_path: Path, tiny: Path, trained: tunings.Trained, way: str
) -> None:
    if way == "full":
        run_of(tmp_path / "full", tiny, rows_of(tmp_path / "rows"), tuning="full", max_steps=2, save_steps=2)
        checkpoint = tmp_path / "full" / "checkpoints" / "step-2"
    else:
        checkpoint = trained(way)
    place = {"model_path": str(checkpoint), "digest": digest_of(checkpoint)}
    result, folder = exported(tmp_path / "job", place, merge=False)
    assert result.outcome == "succeeded", result
    assert torch.equal(logits(read(folder)), tunings.scores(Models("cpu"), Place(str(checkpoint))))
    assert not torch.equal(logits(read(folder)), logits(read(tiny)))
    assert not (folder / "optimizer.pt").exists()


@NOT_QUICK
def test_bottleneck_adapters_leave_whole_and_answer_here_only(
    tmp_path: Path, tiny: Path, trained: tunings.Trained
) -> None:
    from peft import PeftModel

    checkpoint = trained("bottleneck")
    result, folder = exported(tmp_path, put_on(tiny, checkpoint), merge=False)
    assert result.outcome == "succeeded", result
    model = read(tiny)
    bottleneck.put_on(model, bottleneck.size_of(folder))
    bottleneck.load(model, folder)
    assert torch.equal(logits(model), tunings.scores(Models("cpu"), Place(str(tiny), str(checkpoint))))
    assert not torch.equal(logits(model), logits(read(tiny)))
    with pytest.raises(KeyError, match="BOTTLENECK"):  # what the page says of it
        PeftModel.from_pretrained(read(tiny), str(folder))


@NOT_QUICK
@pytest.mark.parametrize("way", BESIDE)
def test_what_stands_beside_the_weights_says_why_it_is_not_merged(
    tmp_path: Path, tiny: Path, trained: tunings.Trained, way: str
) -> None:
    result, folder = exported(tmp_path, put_on(tiny, trained(way)), merge=True)
    assert (result.outcome, result.reason) == ("failed", "job.weights.cannot_merge")
    assert not list(folder.glob("*.safetensors"))
