"""Several adapters on one base model as one: `python -m trainers.combine <attempt folder>`.

Each is LoRA, so what it changes is a sum of products of matrices, and a weighted sum of several is one again: peft puts
their matrices side by side, and the rank is the sum of theirs. Values of the job:

    {"model_path": "...", "adapters": [{"path": "...", "digest": "...", "weight": 0.5}, ...]}

What comes out is a checkpoint `step-1` of this job, which answers, is compared and exported like any other.
"""

from pathlib import Path
from typing import Any

from studio.errors import JobFailed
from studio.params.exporting import COMBINABLE
from trainers.attempt import Attempt, run_attempt

NAME = "combined"


def main(attempt: Attempt) -> dict[str, Any]:
    from trainers.export import check
    from trainers.models.switching import kind_of

    adapters = attempt.spec.values["adapters"]
    for each in adapters:
        check(Path(each["path"]), each["digest"])
        if kind_of(each["path"]) not in COMBINABLE:
            raise JobFailed("weights.cannot_combine", kind=kind_of(each["path"]))
    attempt.phase("loading_libraries")
    import torch
    from peft import PeftModel

    from trainers.checkpoints.manifest import digest_of, whole_folder
    from trainers.models.loading import load_model, load_tokenizer

    attempt.phase("loading_model")
    model_path = attempt.spec.values["model_path"]
    model = load_model(model_path, dtype="float32", device="cpu")
    # No bare numbers: peft tells adapters apart by their names within dotted paths, where layers have numbers.
    names = [f"part{number}" for number in range(len(adapters))]
    for name, each in zip(names, adapters, strict=True):
        if name == names[0]:
            model = PeftModel.from_pretrained(model, each["path"], name, torch_device="cpu")
        else:
            model.load_adapter(each["path"], name, torch_device="cpu")
    if any(config.use_dora for config in model.peft_config.values()):
        raise JobFailed("weights.cannot_combine", kind="DoRA")
    attempt.phase("weights.combining")
    weights = [float(each["weight"]) for each in adapters]
    with torch.no_grad():
        model.add_weighted_adapter(names, weights, NAME, combination_type="cat")
    attempt.phase("saving")
    target = Path(attempt.spec.checkpoints_path) / "step-1"
    target.parent.mkdir(parents=True, exist_ok=True)
    with whole_folder(target, step=1) as folder:
        model.save_pretrained(str(folder), selected_adapters=[NAME])
        inner = folder / NAME
        for path in inner.iterdir():
            path.replace(folder / path.name)
        inner.rmdir()
        (folder / "README.md").unlink(missing_ok=True)
        load_tokenizer(model_path).save_pretrained(folder)
    size = sum(path.stat().st_size for path in target.iterdir())
    attempt.events.write(
        "checkpoint", step=1, epoch=0.0, path=str(target), size_bytes=size, digest=digest_of(target), metrics={}
    )
    return {"rank": model.peft_config[NAME].r}


if __name__ == "__main__":
    run_attempt(main)
