"""Texts joined and cut into pieces without losing a token, and trained on from end to end."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from studio.errors import JobFailed
from studio.protocol import DatasetRef
from tests.trainers.jobs import (
    SFT,
    events_of,
    model_ref,
    result_of,
    run_here,
    saved_by,
    write_dataset,
    write_spec,
)
from trainers import pretrain
from trainers.rows.chunks import Count, cut, ended
from trainers.rows.data import IGNORED, Rendered

END = 2
PRETRAIN = {name: value for name, value in SFT.items() if name != "packing"} | {"method": "pretrain", "max_length": 32}
TEXTS = [
    f"Bench {n} is made of {kind}, and {kind} is heavy when it is wet, as every joiner in town {n} knows."
    for n in range(30)
    for kind in ("oak", "ash")
]


def rendered(lengths: list[int]) -> list[Rendered]:
    ids = iter(range(10, 10**6))
    return [Rendered(n, row := [next(ids) for _ in range(size)], list(row)) for n, size in enumerate(lengths, 1)]


@pytest.mark.parametrize("size", [3, 7, 16])
def test_pieces_hold_every_token_in_order(size: int) -> None:
    draw = random.Random(size)
    for _ in range(200):
        rows = rendered([draw.randrange(1, 20) for _ in range(draw.randrange(1, 12))])
        count = Count()
        pieces = list(cut(ended(rows, END), size, count))
        told = [token for row in rows for token in (*row.input_ids, END)]
        assert [token for piece in pieces for token in piece.input_ids] == told
        assert (count.rows, count.tokens) == (len(rows), len(told))
        lengths = [len(piece.input_ids) for piece in pieces]
        assert all(2 <= length <= size for length in lengths), "nothing can be learned from one token"
        assert all(length == size for length in lengths[:-2])
        assert all(piece.labels == piece.input_ids for piece in pieces)


def test_a_piece_bears_the_number_of_the_row_that_it_begins_in() -> None:
    pieces = list(cut(ended(rendered([3, 5, 1, 1]), END), 4, Count()))
    assert [(piece.row, len(piece.input_ids)) for piece in pieces] == [(1, 4), (2, 4), (2, 4), (4, 2)]


def test_an_end_that_stands_there_is_not_doubled() -> None:
    rows = [Rendered(1, [5, 6, END], []), Rendered(2, [5, END, 9], []), Rendered(3, [5, 6], [])]
    assert [row.input_ids for row in ended(rows, END)] == [[5, 6, END], [5, END, 9], [5, 6, END]]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    return write_dataset(tmp_path_factory.mktemp("texts") / "v1", [{"text": text} for text in TEXTS])


def spec_of(job: Path, model: Path, rows: DatasetRef, *, attempt: int = 1, **changes: Any) -> Path:
    fields = {"resume_from": changes.pop("resume_from", [])}
    return write_spec(job, attempt=attempt, values=PRETRAIN | changes, dataset=rows, model=model_ref(model), **fields)


def test_a_run_learns_every_token_and_resumes_as_if_nothing_had_happened(
    tmp_path: Path, tiny: Path, texts: DatasetRef
) -> None:
    settings = {"max_steps": 12, "save_steps": 4, "validation_split": 0.1, "eval_steps": 4}
    left_alone = spec_of(tmp_path / "1", tiny, texts, **settings)
    run_here(pretrain.main, left_alone)
    resumed = spec_of(tmp_path / "2", tiny, texts, attempt=2, resume_from=saved_by(left_alone)[:1], **settings)
    run_here(pretrain.main, resumed)
    assert [each.step for each in saved_by(resumed)] == [8, 12]
    assert result_of(left_alone).outcome == "succeeded"
    ends = [(tmp_path / n / "checkpoints" / "step-12" / "adapter_model.safetensors").read_bytes() for n in "12"]
    assert ends[0] == ends[1]
    told = [event.data["values"] for event in events_of(left_alone, "metric")]
    held_out = [values["eval_loss"] for values in told if "eval_loss" in values]
    assert held_out[-1] < held_out[0]
    told = [event.data["values"] for event in events_of(left_alone, "alert") if event.data["code"] == "texts_cut"]
    assert {each["side"]: each["rows"] for each in told} == {"train": 54, "validation": 6}


def test_a_single_text_gives_pieces_to_both_sides(tmp_path: Path, tiny: Path, tokenizer: Any) -> None:
    rows = write_dataset(tmp_path / "v1", [{"text": " ".join(TEXTS)}])
    train, validation = prepared(tmp_path, tiny, rows, tokenizer, validation_split=0.1)
    assert len(validation) == round(0.1 * (len(train) + len(validation)))
    whole = tokenizer(" ".join(TEXTS))["input_ids"]
    assert pretrain.num_tokens(train) + pretrain.num_tokens(validation) == len(whole) + 1


def test_conversations_are_read_whole_where_a_person_insists(tmp_path: Path, tiny: Path, tokenizer: Any) -> None:
    rows = write_dataset(tmp_path / "v1", [{"prompt": "Which wood?", "completion": "Oak."}] * 8)
    train, _ = prepared(tmp_path, tiny, rows, tokenizer, validation_split=0.0)
    assert all(-100 not in labels for labels in train["labels"])
    assert "Which wood?" in tokenizer.decode([token for piece in train["input_ids"] for token in piece])


def test_a_lost_token_ends_the_run(tmp_path: Path, tiny: Path, texts: DatasetRef, monkeypatch: Any) -> None:
    real: Callable = pretrain.num_tokens
    monkeypatch.setattr(pretrain, "num_tokens", lambda dataset: real(dataset) - 1)
    folder = spec_of(tmp_path / "1", tiny, texts)
    assert run_here(pretrain.main, folder).reason == "job.tokens_lost"


def prepared(place: Path, model: Path, rows: DatasetRef, tokenizer: Any, **changes: Any) -> Any:
    from studio.protocol import read_spec
    from trainers.attempt import Attempt

    folder = spec_of(place / "job", model, rows, **changes)
    return pretrain.prepare_data(Attempt(folder, read_spec(folder)), tokenizer)


def test_nothing_to_read_is_refused(tmp_path: Path, tiny: Path, tokenizer: Any) -> None:
    rows = write_dataset(tmp_path / "v1", [{"input_ids": [10**6]}])
    with pytest.raises(JobFailed) as refused:
        prepared(tmp_path, tiny, rows, tokenizer)
    assert refused.value.code.endswith("no_usable_rows")


@pytest.mark.parametrize("kind", ["texts", "conversations"])
def test_what_was_known_before_is_read_again_and_scored_beside(tmp_path: Path, tiny: Path, kind: str) -> None:
    """Old texts come whole, as pieces; of old conversations the answers alone are learned."""
    texts = [{"text": text} for text in TEXTS]
    old = texts[::-1] if kind == "texts" else [{"prompt": f"{n}?", "completion": f"It is {n}."} for n in range(30)]
    values = PRETRAIN | {"continual": "replay", "replay_ratio": 0.5, "max_steps": 4, "save_steps": 2, "max_length": 64}
    data = {
        "dataset": write_dataset(tmp_path / "v1", texts),
        "old_dataset": write_dataset(tmp_path / "old", old),
        "model": model_ref(tiny),
    }
    whole = write_spec(tmp_path / "job", values=values, **data)
    assert run_here(pretrain.main, whole).outcome == "succeeded"
    scored = [event.data["step"] for event in events_of(whole, "metric") if "eval_old_loss" in event.data["values"]]
    assert scored[0] == 0
    again = write_spec(tmp_path / "second", values=values, resume_from=saved_by(whole)[:1], **data)
    assert run_here(pretrain.main, again).outcome == "succeeded"
    ends = [folder.parents[1] / "checkpoints" / "step-4" / "adapter_model.safetensors" for folder in (whole, again)]
    assert ends[0].read_bytes() == ends[1].read_bytes()
    (train,) = (Dataset.from_file(str(path)) for path in (whole / "cache").glob("old-train.arrow"))
    is_masked = any(IGNORED in labels for labels in train["labels"])
    assert is_masked is (kind == "conversations") and max(map(len, train["input_ids"])) <= values["max_length"]
    assert (len(set(map(len, train["input_ids"][:-1]))) == 1) is (kind == "texts"), "pieces are full but for the last"
