"""Ways of tuning: each trains what the calculator counts, changes the model, goes on bit for bit, and answers again."""

import threading
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.errors import JobFailed
from studio.memory.adapters import trained as counted
from studio.memory.inventory import from_figures
from studio.memory.stack import installed_stack
from studio.params.tunings import TUNINGS, is_compressed, keeps_model
from studio.protocol import CheckpointRef, DatasetRef
from tests.trainers.jobs import SFT, events_of, model_ref, run_here, write_dataset, write_spec
from trainers import sft
from trainers.checkpoints.manifest import digest_of, read_manifest
from trainers.inspect import figures_of
from trainers.models import loading
from trainers.models.batched import answer_all
from trainers.models.generation import Models, Place, Sampling
from trainers.models.model_config import read_config
from trainers.models.scoring import answer_losses
from trainers.rows.data import Findings, Sample, render_rows

# peft and trl use names that this transformers announces to rename.
pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    # peft's own layer-norm tuning says it of the norms.
    pytest.mark.filterwarnings("ignore:Unsupported layer type:UserWarning"),
    # transformers hands them to whatever writes; peft counts positions from its own tokens on.
    pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning"),
]

WAYS: dict[str, dict[str, Any]] = {
    "top layer": {"tuning": "freeze", "freeze_trainable_layers": 1, "freeze_trainable_modules": ["all"]},
    "named": {
        "tuning": "freeze",
        "freeze_trainable_layers": 1,
        "freeze_trainable_modules": ["mlp", "layers.0.self_attn"],
    },
    "4 bits": {"tuning": "qlora"},
    "8 bits": {"tuning": "qlora", "load_in_8bit": True},
    "pissa": {"tuning": "lora", "init_lora_weights": "pissa", "lora_dropout": 0.0},
    "lora+": {"tuning": "lora", "loraplus_lr_ratio": 16.0},
    "bottleneck": {"tuning": "bottleneck", "bottleneck_size": 8},
    "ia3": {"tuning": "ia3"},
    "norms": {"tuning": "ln_tuning"},
    "prompt": {"tuning": "prompt_tuning", "num_virtual_tokens": 4},
    "p-tuning": {"tuning": "p_tuning", "num_virtual_tokens": 4, "encoder_hidden_size": 16},
    "prefix": {"tuning": "prefix_tuning", "num_virtual_tokens": 4, "prefix_projection": False},
    "projected": {"tuning": "prefix_tuning", "num_virtual_tokens": 4, "prefix_projection": True},
}

QUICK = ("named", "pissa", "ia3", "p-tuning", "prefix", "bottleneck")
"""Those that differ most in what they save."""
EACH = pytest.mark.parametrize(
    "way", [way if way in QUICK else pytest.param(way, marks=pytest.mark.slow) for way in WAYS]
)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    pairs = [{"prompt": f"What is {i} plus {i}?", "completion": f"It is {2 * i}."} for i in range(12)]
    return write_dataset(tmp_path_factory.mktemp("data") / "v1", pairs)


Trained = Callable[[str], Path]


@pytest.fixture(scope="module")
def trained(tiny: Path, rows: DatasetRef, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Way -> the folder of its last checkpoint: four steps, saved every two."""
    return cache(lambda way: run(tmp_path_factory.mktemp("job"), tiny, rows, way))


def values_of(way: str) -> dict[str, Any]:
    own = WAYS[way]
    lora = {name for name in SFT if name.startswith("lora_") and own["tuning"] not in ("lora", "qlora")}
    return {name: value for name, value in SFT.items() if name not in lora} | own | {"max_steps": 4, "save_steps": 2}


def run(job: Path, model: Path, rows: DatasetRef, way: str, *, attempt: int = 1, **fields: Any) -> Path:
    folder = write_spec(job, attempt=attempt, values=values_of(way), dataset=rows, model=model_ref(model), **fields)
    result = run_here(sft.main, folder)
    assert result.outcome == "succeeded", result
    return Path(events_of(folder, "checkpoint")[-1].data["path"])


def place(model: Path, checkpoint: Path, way: str) -> Place:
    values, digest = values_of(way), digest_of(checkpoint)
    if keeps_model(values["tuning"]):
        return Place(str(checkpoint), digest=digest)
    is_int8 = bool(values.get("load_in_8bit"))
    squeezed = is_compressed(values["tuning"])
    return Place(str(model), str(checkpoint), squeezed and not is_int8, digest=digest, load_in_8bit=is_int8)


def scores(models: Models, where: Place) -> torch.Tensor:
    with models.ready(where) as (model, _), torch.inference_mode():
        return model(input_ids=torch.arange(3, 19)[None]).logits


def weights(checkpoint: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in checkpoint.glob("*.safetensors")}


def test_every_way_of_the_table_is_tried() -> None:
    assert {each["tuning"] for each in WAYS.values()} | {"full", "lora"} == set(TUNINGS)


@EACH
def test_what_is_trained_is_what_the_calculator_counts(tiny: Path, trained: Trained, way: str) -> None:
    model = from_figures(figures_of(read_config(tiny)))
    told = read_manifest(trained(way))["trained_parameters"]
    assert counted(model, values_of(way), installed_stack()).parameters == told


@EACH
def test_a_run_goes_on_bit_for_bit(tmp_path: Path, tiny: Path, rows: DatasetRef, trained: Trained, way: str) -> None:
    middle = trained(way).with_name("step-2")
    found = [CheckpointRef(step=2, path=str(middle), digest=digest_of(middle))]
    resumed = run(tmp_path, tiny, rows, way, attempt=2, resume_from=found)
    assert weights(resumed) == weights(trained(way)) != weights(middle)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_validation_leaves_the_squeezed_base_model_as_it_was(
    tiny: Path, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a processor with AVX-512 for bfloat16 bitsandbytes packs 4-bit weights anew, rounded and without gradients."""
    monkeypatch.setattr("bitsandbytes.nn.modules.has_avx512bf16", lambda: True)
    squeezed = loading.squeezed("float32", in_4bit=bits == 4, in_8bit=bits == 8)
    model = loading.load_model(tiny, dtype="float32", device="cpu", quantization=squeezed)
    model.get_input_embeddings().weight.requires_grad_()
    tokens = torch.arange(3, 35)[None]

    def learned() -> torch.Tensor:
        model.train()
        (gradient,) = torch.autograd.grad(
            model(input_ids=tokens, labels=tokens).loss, [model.get_input_embeddings().weight]
        )
        return gradient

    before = learned()
    with torch.no_grad():
        model.eval()(input_ids=tokens)
    assert torch.equal(learned(), before)


def check_in_turn(tiny: Path, trained: Trained, ways: Iterable[str]) -> None:
    together = Models("cpu")
    places = {way: place(tiny, trained(way), way) for way in ways} | {"base": Place(str(tiny))}
    alone = {way: scores(Models("cpu"), where) for way, where in places.items()}
    for way in (*places, *reversed(places)):
        assert torch.equal(scores(together, places[way]), alone[way]), way
    assert len({tuple(answer.flatten().tolist()) for answer in alone.values()}) == len(places)


def test_they_answer_in_turn_each_as_if_it_were_alone(tiny: Path, trained: Trained) -> None:
    check_in_turn(tiny, trained, QUICK)


@pytest.mark.slow
def test_all_answer_in_turn_each_as_if_it_were_alone(tiny: Path, trained: Trained) -> None:
    check_in_turn(tiny, trained, WAYS)


@EACH
def test_what_is_written_is_what_is_likeliest(tiny: Path, trained: Trained, way: str) -> None:
    """Token by token with a cache of keys and values, as without one."""
    models, where = Models("cpu"), place(tiny, trained(way), way)
    asked = [{"role": "user", "content": "What is 3 plus 3?"}]
    made = models.answer(where, asked, Sampling(max_new_tokens=5), on_text=lambda *_: None, cancelled=threading.Event())
    with models.ready(where) as (model, renderer), torch.inference_mode():
        ids = list(renderer.prompt(asked))
        begun = len(ids)
        for _ in range(made.tokens):
            row = torch.tensor([ids])
            ids.append(int(model(input_ids=row, attention_mask=torch.ones_like(row)).logits[0, -1].argmax()))
        assert made.tokens and renderer.tokenizer.decode(ids[begun:], skip_special_tokens=True) == made.text


def test_nothing_stands_between_a_learned_prompt_and_a_question(
    tiny: Path, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = ("What is 3 plus 3?", "Hi?", "What is 4 plus 4, and why is that so in the end?", "What is 5 plus 5?")
    with Models("cpu").ready(place(tiny, trained("p-tuning"), "p-tuning")) as (model, renderer):
        asked = [list(renderer.prompt([{"role": "user", "content": each}])) for each in questions]
        generate, masks = model.generate, []

        def watched(**given: Any) -> Any:
            masks.append(given["attention_mask"])
            return generate(**given)

        def answers(prompts: list[list[int]]) -> list[str] | None:
            return answer_all(model, renderer, prompts, max_new_tokens=8, until=time.monotonic() + 60)

        monkeypatch.setattr(model, "generate", watched)
        found = answers(asked)
        assert sorted(map(len, masks)) == [1, 1, 2] and all(mask.all() for mask in masks)
        assert found == [answer for each in asked for answer in answers([each])]


@EACH
def test_an_answers_loss_is_what_training_counts(tiny: Path, trained: Trained, way: str) -> None:
    turns = [(f"What is {n}?", f"It is {'so ' * n}{n}.") for n in range(1, 4)]
    rows = [Sample([{"role": "user", "content": q}, {"role": "assistant", "content": a}]) for q, a in turns]
    with Models("cpu").ready(place(tiny, trained(way), way)) as (model, renderer):
        told = answer_losses(model, renderer, enumerate(rows), max_length=None, findings=Findings())
        found = {each.row: each.loss for each in told}
        for row in render_rows(enumerate(rows), renderer, max_length=None, findings=Findings()):
            ids, labels = torch.tensor([row.input_ids]), torch.tensor([row.labels])
            with torch.inference_mode():
                loss = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels).loss
            assert found[row.row] == pytest.approx(loss.item(), rel=1e-3)


def test_what_pissa_leaves_works_on_the_untouched_base(tiny: Path) -> None:
    """As the model answered in which it was trained, and with other matrices taken out on another machine too."""
    from peft import get_peft_model

    from trainers.models.loading import load_model
    from trainers.tuning import kinds
    from trainers.tuning.beginnings import Pissa

    values = values_of("pissa")

    def begun(seed: int) -> tuple[Any, Pissa]:
        torch.manual_seed(seed)
        base = load_model(tiny, dtype="float32", device="cpu")
        model = get_peft_model(base, kinds.prepare(base, values))
        return model, Pissa(model)

    ids = torch.arange(3, 19)[None]
    untouched = load_model(tiny, dtype="float32", device="cpu")(input_ids=ids).logits
    (model, first), (other, second) = begun(0), begun(1)
    assert torch.allclose(model(input_ids=ids).logits, untouched, atol=1e-4)
    name, kept = next((name, weight) for name, weight in first.weights.items())
    assert not torch.equal(kept, second.weights[name]), "the quick decomposition is drawn at random"
    with torch.no_grad():
        for weight in (each for each in model.parameters() if each.requires_grad):
            weight += 0.01 * torch.randn_like(weight)
    expected = model(input_ids=ids).logits
    second.put_back(first.weights)
    other.load_state_dict(
        {name: weight for name, weight in model.state_dict().items() if "lora_" in name}, strict=False
    )
    assert torch.allclose(other(input_ids=ids).logits, expected, atol=1e-4)
    assert not torch.allclose(expected, untouched, atol=1e-2)


def test_a_model_that_hears_no_prompt_is_refused(tiny: Path) -> None:
    """One whose prefix is lost on the way answers as it did without."""
    from peft import get_peft_model

    from trainers.models.loading import load_model
    from trainers.tuning import kinds, prompts

    model = get_peft_model(load_model(tiny, dtype="float32", device="cpu"), kinds.prepare(None, values_of("prompt")))
    prompts.check(model)
    own = model.base_model.forward
    model.base_model.forward = lambda inputs_embeds=None, attention_mask=None, **given: own(
        inputs_embeds=inputs_embeds[:, 4:] if inputs_embeds is not None else None, **given
    )
    with pytest.raises(JobFailed) as refused:
        prompts.check(model)
    assert refused.value.reason == "prompt_unheard"


@pytest.mark.parametrize("tuning", ["freeze", "ia3", "ln_tuning", "bottleneck"])
def test_names_that_a_model_lacks_are_refused(tiny: Path, tuning: str) -> None:
    from trainers.tuning import kinds

    strange = torch.nn.Module()
    strange.config = read_config(tiny)
    strange.layer = torch.nn.Bilinear(2, 2, 2)
    values = {"freeze_trainable_layers": 1, "freeze_trainable_modules": ["mlp"], "bottleneck_size": 4, "seed": 1}
    with pytest.raises(JobFailed) as refused:
        kinds.prepare(strange, values | {"tuning": tuning})
    assert refused.value.reason in ("unknown_layers", "nothing_to_tune")


def test_lora_plus_gives_b_a_rate_of_its_own(tiny: Path, trained: Trained) -> None:
    state = torch.load(trained("lora+") / "optimizer.pt", weights_only=True)["param_groups"]
    assert [group["initial_lr"] / state[0]["initial_lr"] for group in state] == [1.0, 16.0]
    assert len(state[0]["params"]) == len(state[1]["params"])
