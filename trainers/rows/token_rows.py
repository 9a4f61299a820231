"""The rows of a data set as tokens that a model is trained on and validated with, in the order and with the weight that
the spec asks for.

    train, validation = prepare_data(attempt, tokenizer)   ->  datasets.Dataset with row, input_ids, labels; or None

The tokens lie in `<attempt>/cache/{train,validation}.arrow`. What becomes of one row is `trainers.rows.data`'s.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.errors import JobFailed
from trainers.attempt import Attempt
from trainers.rows.sides import both_sides

if TYPE_CHECKING:
    from trainers.rows.data import Findings
    from trainers.rows.token_cache import Kept


def prepare_data(attempt: Attempt, tokenizer: Any) -> tuple[Any, Any]:
    """Training and validation rows as trl data sets; rows that cannot be used are reported by number.

    Raises:
        JobFailed: no_usable_rows.
    """
    from trainers.rows.data import Findings

    findings = Findings()
    train, validation = both_sides(attempt, lambda split: _tokens(attempt, tokenizer, split, findings), findings)
    return named(attempt, weighed(attempt, in_order(attempt, train))), validation


def weighed(attempt: Attempt, rows: Any) -> Any:
    """The rows as they are, or each with its weight."""
    from studio.params.weights import weighs_rows

    if not weighs_rows(attempt.spec.values):
        return rows
    from trainers.losses.row_weights import WEIGHT, row_weights
    from trainers.rows.data import IGNORED

    answers = ((label != IGNORED for label in labels) for labels in rows["labels"])
    tokens = {row: sum(answer) for row, answer in zip(rows["row"], answers, strict=True)}
    weights = row_weights(attempt.spec.dataset, tokens, attempt.spec.values)
    return rows.add_column(WEIGHT, [weights[row] for row in rows["row"]])


def named(attempt: Attempt, rows: Any) -> Any:
    """The rows as they are, or each with its category, where the run is to tell of them.

    Raises:
        JobFailed: no_categories.
    """
    if not attempt.spec.values.get("task_shares"):
        return rows
    from trainers.losses.row_weights import TASK, row_categories

    categories = row_categories(attempt.spec.dataset, rows["row"])
    if len({each for each in categories.values() if each is not None}) < 2:
        raise JobFailed("no_categories", dataset=attempt.spec.dataset.name, version=attempt.spec.dataset.version)
    return rows.add_column(TASK, [categories[row] or "–" for row in rows["row"]])


def in_order(attempt: Attempt, rows: Any) -> Any:
    """The rows as they are, or easy ones first (`trainers.rows.curricula`); by chance where a control is asked for."""
    import numpy

    from studio.params.curriculum import follows_difficulty, is_control

    if not follows_difficulty(attempt.spec.values):
        return rows
    if is_control(attempt.spec.values):
        # As `held_out` does: what `shuffle` would write beside the tokens counts as rows of the run.
        return rows.select(numpy.random.default_rng(attempt.spec.seed).permutation(len(rows)).tolist())
    return _easy_first(attempt, rows)


def _easy_first(attempt: Attempt, rows: Any) -> Any:
    from trainers.rows.data import MIDDLE, Findings, difficulties

    hardness, numbers = difficulties(attempt.spec.dataset), list(rows["row"])
    unknown = Findings({"data.no_score": [number for number in numbers if number not in hardness]})
    if unknown.rows["data.no_score"]:
        attempt.alert("data.no_score", **unknown.named("data.no_score"))
    return rows.select(sorted(range(len(numbers)), key=lambda place: hardness.get(numbers[place], MIDDLE)))


def check_counts(data: Any, expected: int) -> None:
    """Compare the rows that went into trl with those of the data set that it has made of them.

    Raises:
        JobFailed: rows_lost.
    """
    found = sum(map(len, data["seq_lengths"])) if "seq_lengths" in data.column_names else len(data)
    if found != expected:
        raise JobFailed("rows_lost", expected=expected, found=found)


def _tokens(attempt: Attempt, tokenizer: Any, split: str, findings: "Findings") -> Any | None:
    """The usable rows on one side of the split as a data set on disk; None if there are none."""
    from datasets import Dataset

    from trainers.rows.token_cache import TokenCache

    cache, path = TokenCache(attempt.spec, split), attempt.folder / "cache" / f"{split}.arrow"
    kept = cache.take(path)
    if kept is None:
        kept = _rendered(attempt, tokenizer, split, path)
        cache.keep(path, kept)
    for code, rows in kept.findings.items():
        findings.rows.setdefault(code, []).extend(rows)
    return Dataset.from_file(str(path)) if kept.count else None


def _rendered(attempt: Attempt, tokenizer: Any, split: str, path: Path) -> "Kept":
    from trainers.rows.data import Findings, Renderer, conversations, render_rows, write_tokens
    from trainers.rows.parts import processes_for, write_parts
    from trainers.rows.token_cache import Kept

    dataset, max_length, found = attempt.spec.dataset, attempt.spec.values["max_length"], Findings()
    renderer = partial(Renderer, tokenizer, reasoning=attempt.spec.values.get("reasoning", "keep"))
    processes = processes_for(dataset.rows, attempt.spec.threads)
    if processes > 1:
        made = write_parts(dataset, renderer, path, split=split, max_length=max_length, processes=processes)
        if made is not None:
            return Kept(made[0], made[1].rows)
    rows = conversations(dataset, split=split)
    count = write_tokens(render_rows(rows, renderer(), max_length=max_length, findings=found), path)
    return Kept(count, found.rows)
