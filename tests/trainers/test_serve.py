"""The serve job over HTTP, with real processes; and the switching of adapters, looked at from inside."""

import json
import threading
import urllib.error
import urllib.request
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.trainers.jobs import ask, events_of, read_json, result_of, start, wait_until, write_spec
from trainers.checkpoints.manifest import whole_folder

ASKED = [{"role": "user", "content": "Which is the capital of France?"}]


@pytest.fixture(scope="module")
def adapters(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two checkpoints with adapters that change every answer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    made = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        config = LoraConfig(r=4, lora_alpha=64, target_modules="all-linear", init_lora_weights=False)
        with warnings.catch_warnings():
            # peft uses a name that this transformers announces to rename.
            warnings.simplefilter("ignore", FutureWarning)
            model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny), config)
        target = tmp_path_factory.mktemp("checkpoints") / f"step-{seed}"
        with whole_folder(target, step=seed) as folder:
            model.save_pretrained(folder)
        made.append(target)
    return made


def question(answer_id: int, model: Path, adapter: Path | None = None, **settings: Any) -> dict[str, Any]:
    settings = {"seed": 7, "temperature": 0.0, "top_p": 1.0, "max_new_tokens": 12} | settings
    path = None if adapter is None else str(adapter)
    return {
        "answer_id": answer_id,
        "model_path": str(model),
        "adapter_path": path,
        "load_in_4bit": False,
        "messages": ASKED,
        "settings": settings,
    }


def post(folder: Path, path: str, body: Any, *, token: str | None = None) -> int:
    where = read_json(folder / "serve.json")
    request = urllib.request.Request(
        f"http://127.0.0.1:{where['port']}{path}",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {token or where['token']}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def answers(folder: Path) -> dict[int, dict[str, Any]]:
    return {e.data["answer_id"]: e.data for e in events_of(folder, "sample") if e.data["done"]}


def test_a_serve_job_answers_streams_and_leaves(
    tmp_path: Path, tiny: Path, starter: Path, adapters: list[Path]
) -> None:
    folder = write_spec(tmp_path / "job", kind="serve", values={"idle_seconds": 3})
    process = start("trainers.serve", folder)
    wait_until((folder / "serve.json").exists, process)
    assert (folder / "serve.json").stat().st_mode & 0o777 == 0o600
    assert post(folder, "/answers", {"answers": []}, token="wrong") == 401
    assert post(folder, "/answers", {"answers": "?"}) == post(folder, "/cancel", []) == 400
    assert post(folder, "/elsewhere", {}) == 404
    wanted = [
        question(1, starter, max_new_tokens=40),
        question(2, tiny),
        question(3, tiny, adapters[0]),
        question(4, tiny, adapters[1]),
        question(5, tiny),
        question(6, tiny, adapters[0]),
        question(7, tiny, temperature=1.0),
        question(8, tiny, temperature=1.0),
        question(9, tiny, temperature=1.0, seed=8),
        question(10, tiny, tmp_path / "gone"),
        question(11, tmp_path / "gone"),
        question(12, tiny, max_new_tokens=0),
        question(2, starter),  # known already: ignored
    ]
    assert post(folder, "/answers", {"answers": wanted}) == 200
    process.wait(120)
    result, made = result_of(folder), answers(folder)
    assert (result.outcome, result.figures) == ("succeeded", {"answers": 9})
    assert not (folder / "serve.json").exists()
    assert "Paris" in made[1]["text"]
    assert len({made[i]["text"] for i in (2, 3, 4)}) == 3
    assert (made[2]["text"], made[3]["text"]) == (made[5]["text"], made[6]["text"])
    assert made[7]["text"] == made[8]["text"] != made[9]["text"]
    assert made[10]["error"] == "job.answer_checkpoint_missing"
    assert made[11]["error"] == "job.answer_model_missing"
    assert made[12]["error"] == "job.answer_bad_request"
    growing = [e.data["text"] for e in events_of(folder, "sample") if e.data["answer_id"] == 1]
    assert len(growing) > 1 and all(b.startswith(a) for a, b in zip(growing, growing[1:], strict=False))
    loads = [e for e in events_of(folder, "phase") if e.data["name"] == "loading_model"]
    assert len(loads) == 3, "the starter, the tiny base once for all its adapters, and the one that is gone"


def test_cancel_drops_answers_and_stop_ends_in_the_middle_of_one(tmp_path: Path, small_starter: Path) -> None:
    folder = write_spec(tmp_path / "job", kind="serve", values={"idle_seconds": 60})
    process = start("trainers.serve", folder)
    wait_until((folder / "serve.json").exists, process)
    long = {"max_new_tokens": 4000, "temperature": 1.5}
    post(folder, "/answers", {"answers": [question(i, small_starter, **long) for i in (1, 2)]})
    post(folder, "/answers", {"answers": [question(3, small_starter, max_new_tokens=40)]})
    wait_until(lambda: events_of(folder, "sample"), process)
    post(folder, "/cancel", {"answer_ids": [1, 2]})
    wait_until(lambda: 3 in answers(folder), process, seconds=30)
    assert set(answers(folder)) == {3}
    post(folder, "/answers", {"answers": [question(4, small_starter, **long)]})
    wait_until(lambda: events_of(folder, "sample")[-1].data["answer_id"] == 4, process)
    ask(folder, "stop")
    assert process.wait(3) == 0
    assert (result_of(folder).outcome, result_of(folder).figures) == ("stopped", {"answers": 1})
    assert 4 not in answers(folder)


# transformers names its own attribute in a deprecated way when peft puts an adapter on.
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_one_base_carries_its_adapters_and_damage_is_seen(tiny: Path, adapters: list[Path], tmp_path: Path) -> None:
    import shutil

    from studio.errors import JobFailed
    from trainers.models.generation import Models, Place, Sampling
    from trainers.models.switching import MAX_ADAPTERS

    models = Models("cpu")

    def text(adapter: Path | None, messages: list[dict[str, str]] = ASKED) -> str:
        place = Place(str(tiny), adapter and str(adapter))
        return models.answer(
            place, messages, Sampling(max_new_tokens=8), on_text=lambda *_: None, cancelled=threading.Event()
        ).text

    untouched, first = text(None), text(adapters[0])
    assert len(models) == 1
    copies = [tmp_path / f"step-{i}" for i in range(MAX_ADAPTERS + 1)]
    for each in copies:
        shutil.copytree(adapters[1], each)
    assert len({text(each) for each in copies}) == 1
    assert (text(None), text(adapters[0])) == (untouched, first), "also after its adapter made room for others"
    with pytest.raises(JobFailed, match="longer"):
        text(None, [{"role": "user", "content": "word " * 300}])
    (copies[0] / "adapter_config.json").write_text("{}")
    with pytest.raises(JobFailed) as caught:
        Models("cpu")._adapter(models._base(Place(str(tiny))), Place(str(tiny), str(copies[0])))
    assert caught.value.reason == "answer_checkpoint_damaged"
