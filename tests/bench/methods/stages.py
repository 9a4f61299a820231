"""What texts and heads of labels bring: `python -m tests.bench.methods.stages --minutes 20 [--only NAME ...]`.

Continued pre-training on the starter corpus's sentences, judged by sentences held out; a head of labels for messages
(their topic) and one for words (what of an order is goods, name and city), judged by macro F1; and texts, then
examples, as a pipeline has them, beside the examples alone. The studio trains the starter model with what its form
fills in. Each in a process of its own. A result is a line of `results.jsonl` as soon as it is there, and what stands
there is not run again. `--page` writes the table into `docs/methods.md`.
"""

import argparse
import json
import math
import random
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy
import torch

from studio.advisor.complete import complete
from studio.protocol import CheckpointRef, DatasetRef
from tests.bench.methods.book import Book, alone
from tests.bench.recipes.runs import SAVE_ONCE, Bench, _figures, _last_checkpoint
from tests.bench.recipes.settings import facts_of
from tests.bench.recipes.tasks import CITIES, GOODS, NAMES, ROWS_SEED, TOPICS, Row, Task, tasks
from tests.bench.throughput.recording import Recorder, watching
from tests.trainers.jobs import model_ref, run_here, write_dataset, write_spec
from trainers import classify, inspect, pretrain, sft
from trainers.attempt import Attempt
from trainers.checkpoints.manifest import digest_of
from trainers.models.generation import Place
from trainers.models.labelling import load_with_head, say_label
from trainers.rows.data import Renderer
from trainers.starter import corpus_pairs
from trainers.training.class_loss import f1_of

BOOK = Book("stages")
SEED = 1
TEXTS, HELD_OUT_TEXTS = 150, 30
SHORTEST_TEXT = 40
"""Characters."""
LEARN: Mapping[str, Callable[[Attempt], dict[str, Any]]] = {
    "pretrain": pretrain.main,
    "classify": classify.main,
    "sft": sft.main,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--only", nargs="*", choices=RUNS, default=list(RUNS))
    parser.add_argument("--one", choices=RUNS, help="measure this in this process")
    parser.add_argument("--page", action="store_true", help="only write the table")
    asked = parser.parse_args()
    warnings.simplefilter("ignore", FutureWarning)
    if asked.one:
        with tempfile.TemporaryDirectory() as scratch:
            BOOK.tell({"run": asked.one, "seed": SEED, **RUNS[asked.one](_Bench(Path(scratch)))})
        return
    if not asked.page:
        until, done = time.monotonic() + 60 * asked.minutes, {line["run"] for line in BOOK.lines()}
        for name in asked.only:
            if name not in done and time.monotonic() < until:
                alone(BOOK.room, name)
    BOOK.write(section())


# -- the rows --------------------------------------------------------------------------------------------------------


def texts() -> tuple[list[str], list[str]]:
    """Sentences to learn and sentences held out: what the corpus answers, without what the task of topics asks."""
    asked = {question for question, _ in topic().held_out}
    pairs = [pair for name in TOPICS for pair in corpus_pairs(name)]
    told = [answer for question, answer in pairs if question not in asked and len(answer) >= SHORTEST_TEXT]
    chosen = random.Random(ROWS_SEED).sample(list(dict.fromkeys(told)), TEXTS + HELD_OUT_TEXTS)
    return chosen[HELD_OUT_TEXTS:], chosen[:HELD_OUT_TEXTS]


def topic() -> Task:
    return next(task for task in tasks() if task.name == "topic")


def orders() -> Task:
    return next(task for task in tasks() if task.name == "format")


KINDS = {**dict.fromkeys(GOODS, "goods"), **dict.fromkeys(NAMES, "name"), **dict.fromkeys(CITIES, "city")}


def tags_of(order: str) -> list[str]:
    """A label for each word of an order: goods, name, city, or O."""
    words = [word.strip(".,?!") for word in order.split()]
    tags = ["O"] * len(words)
    for name, kind in KINDS.items():
        parts = name.split()
        for place in range(len(words) - len(parts) + 1):
            if " ".join(words[place : place + len(parts)]).removesuffix("s") == name.removesuffix("s"):
                tags[place : place + len(parts)] = [kind] * len(parts)
    return tags


# -- the runs --------------------------------------------------------------------------------------------------------


class _Bench(Bench):
    def learn(
        self, method: str, rows: list[dict[str, Any]], *, begins: CheckpointRef | None = None, **chosen: Any
    ) -> tuple[Path, dict[str, Any]]:
        """The checkpoint, and what the run took."""
        place = Path(tempfile.mkdtemp(dir=self._scratch))
        dataset = write_dataset(place / "data" / "v1", rows)
        values = self._filled_in(place, dataset, len(rows), {"method": method, **chosen})
        fields = {"weights_from": begins} if begins else {}
        job = place / "job"
        folder = write_spec(job, dataset=dataset, model=model_ref(self._model), values=values, seed=SEED, **fields)
        recorder = Recorder()
        with watching(recorder):
            figures = _figures(run_here(LEARN[method], folder))
        return _last_checkpoint(job), {
            "learning_rate": values["learning_rate"],
            "steps": figures["steps"],
            "processor_seconds_a_step": round(recorder.usual_processor_seconds, 3),
            "peak_bytes": figures["peak_memory_bytes"],
        }

    def _filled_in(self, place: Path, dataset: DatasetRef, rows: int, chosen: dict[str, Any]) -> dict[str, Any]:
        folder = write_spec(place / "look", kind="inspect", dataset=dataset, model=model_ref(self._model))
        facts = facts_of(_figures(run_here(inspect.main, folder)), rows)
        named = {"model_name_or_path": "starter", "dataset": "task", "seed": SEED, "validation_split": 0.0}
        values, _ = complete({**named, **chosen}, facts)
        return values | {"save_steps": SAVE_ONCE}

    def loss_of(self, held_out: Iterable[str], saved: Path | None) -> float:
        """Mean loss of a token of the texts, each read by itself."""
        place = self.place(saved)
        with self._models.ready(place) as (model, renderer), torch.inference_mode():
            losses = [self._text_loss(model, renderer, text) for text in held_out]
        return sum(loss for loss, _ in losses) / sum(count for _, count in losses)

    def _text_loss(self, model: Any, renderer: Renderer, text: str) -> tuple[float, int]:
        ids = torch.tensor([[*renderer.tokenizer(text)["input_ids"], renderer.tokenizer.eos_token_id]])
        found = model(input_ids=ids, labels=ids)
        return float(found.loss) * (ids.shape[1] - 1), ids.shape[1] - 1

    def place(self, saved: Path | None) -> Place:
        if saved is None:
            return Place(str(self._model))
        is_adapter = (saved / "adapter_config.json").exists()
        return Place(str(self._model), str(saved)) if is_adapter else Place(str(saved))

    def said(self, questions: Iterable[str], saved: Path) -> list[str]:
        model, renderer, head = load_with_head(self.place(saved), "cpu")
        return [say_label(model, renderer, head, [{"role": "user", "content": each}]) for each in questions]


def _texts(tuning: str, **chosen: Any) -> Callable[[_Bench], dict[str, Any]]:
    def run(bench: _Bench) -> dict[str, Any]:
        learned, held_out = texts()
        saved, took = bench.learn("pretrain", [{"text": text} for text in learned], tuning=tuning, **chosen)
        return took | _scores("perplexity", *(math.exp(bench.loss_of(held_out, each)) for each in (None, saved)))

    return run


def _messages(tuning: str, **chosen: Any) -> Callable[[_Bench], dict[str, Any]]:
    def run(bench: _Bench) -> dict[str, Any]:
        task = topic()
        rows = [{"prompt": message, "completion": label} for message, label in task.train]
        saved, took = bench.learn("classify", rows, task_type="SEQ_CLS", tuning=tuning, **chosen)
        said = [each.splitlines()[0].rpartition(" ")[0].rpartition(" ")[0] for each in bench.said(_asked(task), saved)]
        wanted = [label for _, label in task.held_out]
        return took | _scores("macro F1", macro_f1(wanted, [TOPICS[0]] * len(wanted)), macro_f1(wanted, said))

    return run


def _words(**chosen: Any) -> Callable[[_Bench], dict[str, Any]]:
    def run(bench: _Bench) -> dict[str, Any]:
        task = orders()
        rows = [{"text": order, "extra": json.dumps({"tags": tags_of(order)})} for order, _ in task.train]
        saved, took = bench.learn("classify", rows, task_type="TOKEN_CLS", tuning="lora", **chosen)
        wanted = [tag for order in _asked(task) for tag in tags_of(order)]
        said = [pair.rpartition("/")[2] for line in bench.said(_asked(task), saved) for pair in line.split()]
        return took | _scores("macro F1", macro_f1(wanted, ["O"] * len(wanted)), macro_f1(wanted, said))

    return run


def _pipeline(bench: _Bench) -> dict[str, Any]:
    # Stages of a pipeline train the same weights: the second's layers are chosen for the first.
    rows = [{"text": text} for text in texts()[0]]
    first, _ = bench.learn("pretrain", rows, tuning="lora", lora_target_modules=["all-linear"])
    begins = CheckpointRef(step=int(first.name.removeprefix("step-")), path=str(first), digest=digest_of(first))
    return _examples(bench, begins)


def _examples(bench: _Bench, begins: CheckpointRef | None = None) -> dict[str, Any]:
    task = topic()
    saved, took = bench.learn("sft", _rows(task), begins=begins)
    before, after = (
        bench.judged(task, bench.place(each))[0] for each in (Path(begins.path) if begins else None, saved)
    )
    return took | _scores("share right", before, after)


RUNS: Mapping[str, Callable[[_Bench], dict[str, Any]]] = {
    "texts, LoRA": _texts("lora"),
    "texts, full": _texts("full"),
    "labels of messages, LoRA": _messages("lora"),
    "labels of messages, full": _messages("full"),
    "labels of words, LoRA": _words(),
    "examples alone": _examples,
    "texts, then examples": _pipeline,
    "texts, LoRA, 2e-4": _texts("lora", learning_rate=2e-4),
    "labels of messages, LoRA, 2e-4": _messages("lora", learning_rate=2e-4),
    "labels of words, LoRA, 1e-4": _words(learning_rate=1e-4),
}


def _rows(task: Task) -> list[dict[str, Any]]:
    return [{"messages": task.messages(row)} for row in task.train]


def _asked(task: Task) -> list[str]:
    held_out: tuple[Row, ...] = task.held_out
    return [question for question, _ in held_out]


def _scores(measure: str, before: float, after: float) -> dict[str, Any]:
    return {"measure": measure, "before": round(before, 4), "after": round(after, 4)}


def macro_f1(wanted: list[str], said: list[str]) -> float:
    """The mean over labels, as the studio's own evaluation counts it."""
    labels = sorted({*wanted, *said})
    counts = numpy.zeros((len(labels), len(labels)), dtype=int)
    for due, told in zip(wanted, said, strict=True):
        counts[labels.index(due), labels.index(told)] += 1
    return fmean(score for score in f1_of(counts) if score is not None)


# -- the page --------------------------------------------------------------------------------------------------------


def section() -> str:
    found = {line["run"]: line for line in BOOK.lines()}
    lines = [
        "## Texts, labels, and stages in a row",
        "",
        f"Continued pre-training on {TEXTS} sentences of the starter corpus (perplexity on {HELD_OUT_TEXTS} held out, "
        "less is better); a head of labels for the topic of 64 messages, and for goods, name and city among the words "
        "of 64 orders (macro F1 on 40 held out, before: always the same label); the same topics learned as answers, "
        "from the untouched model and from what the texts left. The form's own filling for the starter model, one "
        "seed. `python -m tests.bench.methods.stages`.",
        "",
        "| | rate | steps | measured by | before | after | seconds a step | peak GiB |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(name, found[name]) for name in RUNS if name in found),
        "",
    ]
    return "\n".join(lines)


def _row(name: str, line: Mapping[str, Any]) -> str:
    cells = [
        f"{line['learning_rate']:g}",
        f"{line['steps']}",
        line["measure"],
        f"{line['before']:.2f}",
        f"{line['after']:.2f}",
        f"{line['processor_seconds_a_step']:.2f}",
        f"{line['peak_bytes'] / 2**30:.2f}",
    ]
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
