"""What leaves the studio works without it, merged or not; several adapters as one answer as their sum."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.security.evil import PICKLES, write_pickle
from tests.trainers.jobs import events_of, run_here, write_spec
from trainers import combine, export
from trainers.checkpoints.manifest import digest_of, whole_folder
from trainers.models.generation import Models, Place

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:Unsupported layer type:UserWarning")

IDS = torch.arange(8, 40)[None]


def adapter(tiny: Path, folder: Path, config: Any, seed: int = 0) -> Path:
    """A checkpoint with an adapter whose weights are all drawn at random."""
    from peft import get_peft_model

    from trainers.models.loading import load_model, load_tokenizer

    torch.manual_seed(seed)
    model = get_peft_model(load_model(tiny, dtype="float32", device="cpu"), config)
    with torch.no_grad():
        for weight in (each for each in model.parameters() if each.requires_grad):
            weight += 0.05 * torch.randn_like(weight)
    with whole_folder(folder) as inside:
        model.save_pretrained(str(inside))
        (inside / "optimizer.pt").write_bytes(b"only training needs this")
        load_tokenizer(tiny).save_pretrained(inside)
    return folder


def lora(**more: Any) -> Any:
    from peft import LoraConfig

    return LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", **more)


def ia3() -> Any:
    from peft import IA3Config

    return IA3Config(
        target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"], task_type="CAUSAL_LM"
    )


def norms() -> Any:
    from peft import LNTuningConfig

    return LNTuningConfig(target_modules=["norm", "input_layernorm"], task_type="CAUSAL_LM")


def prompt() -> Any:
    from peft import PromptTuningConfig

    return PromptTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM")


def exported(job: Path, tiny: Path, checkpoint: Path, *, merge: bool) -> tuple[Any, Path]:
    place = {"model_path": str(tiny), "adapter_path": str(checkpoint), "digest": digest_of(checkpoint)}
    values = {"place": place, "base": "tiny", "merge": merge, "folder": "out"}
    folder = write_spec(job, kind="export", values=values)
    return run_here(export.main, folder), job / "output" / "export" / "out"


def scores(tiny: Path, checkpoint: Path) -> torch.Tensor:
    with Models("cpu").ready(Place(str(tiny), str(checkpoint), digest=digest_of(checkpoint))) as (model, _):
        return model(input_ids=IDS).logits


@pytest.mark.parametrize("kind", [lora, ia3, norms])
def test_a_merged_model_needs_transformers_alone_and_answers_as_the_adapter_did(
    tmp_path: Path, tiny: Path, kind: Any
) -> None:
    checkpoint = adapter(tiny, tmp_path / "step-1", kind())
    result, folder = exported(tmp_path / "job", tiny, checkpoint, merge=True)
    assert result.outcome == "succeeded", result
    merged = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    untouched = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    assert torch.allclose(merged(input_ids=IDS).logits, scores(tiny, checkpoint), atol=1e-3)
    assert not torch.allclose(merged(input_ids=IDS).logits, untouched(input_ids=IDS).logits, atol=1e-2)
    assert AutoTokenizer.from_pretrained(folder).chat_template
    assert not (folder / "adapter_config.json").exists()


def test_a_model_of_16_bits_is_merged_exactly_and_stays_one(tmp_path: Path, tiny: Path) -> None:
    short = tmp_path / "short"
    AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.bfloat16).save_pretrained(short)
    AutoTokenizer.from_pretrained(tiny).save_pretrained(short)
    result, folder = exported(tmp_path / "job", short, adapter(short, tmp_path / "step-1", lora()), merge=True)
    assert result.outcome == "succeeded", result
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == torch.bfloat16


def test_an_adapter_leaves_without_what_only_training_needs_and_without_names_of_this_machine(
    tmp_path: Path, tiny: Path
) -> None:
    from peft import PeftModel

    checkpoint = adapter(tiny, tmp_path / "step-1", lora())
    result, folder = exported(tmp_path / "job", tiny, checkpoint, merge=False)
    assert result.outcome == "succeeded", result
    assert not {"optimizer.pt", "manifest.json", "README.md"} & {path.name for path in folder.iterdir()}
    assert str(tmp_path) not in (folder / "adapter_config.json").read_text()
    base = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    assert torch.equal(PeftModel.from_pretrained(base, str(folder))(input_ids=IDS).logits, scores(tiny, checkpoint))


def test_what_stands_beside_the_weights_is_not_merged(tmp_path: Path, tiny: Path) -> None:
    checkpoint = adapter(tiny, tmp_path / "step-1", prompt())
    result, _ = exported(tmp_path / "job", tiny, checkpoint, merge=True)
    assert (result.outcome, result.reason) == ("failed", "job.weights.cannot_merge")


def test_a_damaged_checkpoint_does_not_leave(tmp_path: Path, tiny: Path) -> None:
    checkpoint = adapter(tiny, tmp_path / "step-1", lora())
    weights = checkpoint / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    result, _ = exported(tmp_path / "job", tiny, checkpoint, merge=False)
    assert (result.outcome, result.reason) == ("failed", "job.answer_checkpoint_damaged")


def combined(job: Path, tiny: Path, parts: dict[Path, float]) -> tuple[Any, Path]:
    adapters = [{"path": str(path), "digest": digest_of(path), "weight": weight} for path, weight in parts.items()]
    folder = write_spec(job, kind="combine", values={"model_path": str(tiny), "adapters": adapters})
    return run_here(combine.main, folder), folder


def test_several_adapters_become_their_weighted_sum(tmp_path: Path, tiny: Path) -> None:
    """Of what they change in each weight: half of one and a quarter of another that has another rank and factor."""
    first = adapter(tiny, tmp_path / "a" / "step-1", lora(), seed=1)
    second = adapter(tiny, tmp_path / "b" / "step-1", lora(use_rslora=True), seed=2)
    result, folder = combined(tmp_path / "job", tiny, {first: 0.5, second: 0.25})
    assert result.outcome == "succeeded", result
    (told,) = events_of(folder, "checkpoint")
    made = Path(told.data["path"])
    assert told.data["digest"] == digest_of(made)

    def changes(checkpoint: Path) -> torch.Tensor:
        with Models("cpu").ready(Place(str(tiny), str(checkpoint), digest=digest_of(checkpoint))) as (model, _):
            layer = model.get_submodule("base_model.model.model.layers.1.mlp.down_proj")
            return layer.get_delta_weight(layer.active_adapters[0])

    assert torch.allclose(changes(made), 0.5 * changes(first) + 0.25 * changes(second), atol=1e-6)
    assert not torch.allclose(scores(tiny, made), scores(tiny, first), atol=1e-3)


@pytest.mark.parametrize("kind", [ia3, lambda: lora(use_dora=True)], ids=["ia3", "dora"])
def test_what_cannot_be_added_up_is_refused(tmp_path: Path, tiny: Path, kind: Any) -> None:
    checkpoint = adapter(tiny, tmp_path / "a" / "step-1", kind())
    result, _ = combined(tmp_path / "job", tiny, {checkpoint: 0.5})
    assert (result.outcome, result.reason) == ("failed", "job.weights.cannot_combine")


@pytest.mark.parametrize("way", ["as it is", "merged", "combined"])
def test_a_checkpoint_with_a_pickle_that_was_put_there_does_not_leave(tmp_path: Path, tiny: Path, way: str) -> None:
    """And nobody opens it, or the mark would appear. One file is of the checkpoint's own names: `optimizer.pt`."""
    mark, other = tmp_path / "mark", adapter(tiny, tmp_path / "other" / "step-1", lora())
    for name in (*PICKLES, "sub/adapter_model.bin"):
        checkpoint = shutil.copytree(other, tmp_path / name.replace("/", "-") / "step-1")
        (checkpoint / name).parent.mkdir(exist_ok=True)
        write_pickle(checkpoint / name, mark)
        job = checkpoint.with_name("job")
        if way == "combined":
            result, _ = combined(job, tiny, {other: 0.5, checkpoint: 0.5})
        else:
            result, _ = exported(job, tiny, checkpoint, merge=way == "merged")
        assert (result.outcome, result.reason) == ("failed", "job.answer_checkpoint_damaged"), name
        assert not mark.exists() and not list(job.rglob("*.safetensors")), name
