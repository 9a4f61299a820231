"""Measures how surprised a model is by every row of a version: `python -m trainers.score <attempt folder>`.

It leaves two things, which the server moves to their places (`studio.jobs.products`):

    <output_path>/losses    a loss for each row (`studio.workshop.row_losses`)
    <output_path>/report    the check `difficulty` with that loss in its score

A stop ends it at once, and nothing is kept.
"""

import shutil
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from studio.workshop import checking, row_losses
from studio.workshop.row_losses import LossReport, Scorer
from trainers.attempt import Attempt, run_attempt
from trainers.rows.data import Findings, Renderer, conversations

if TYPE_CHECKING:
    from trainers.models.scoring import RowLoss

PROGRESS_SECONDS = 0.5
SHORTENED = "rows_shortened"
NOTED = (SHORTENED, "rows_with_last_answer_only", "data.reasoning_unread")
"""Findings about rows that do have a loss."""


def main(attempt: Attempt) -> dict[str, Any]:
    values, dataset = attempt.spec.values, attempt.spec.dataset
    scorer = msgspec.convert(values["scorer"], Scorer)
    output = Path(attempt.spec.output_path)
    shutil.rmtree(output, ignore_errors=True)  # what an attempt that was killed left behind

    numbers = [row for row, _ in conversations(dataset, split=None)]
    lines, noted = known_before(values, Path(dataset.path))
    known = lines.keys() | noted.keys()
    if len(known) < len(numbers):
        found, findings = ask(attempt, scorer, known)
        lines |= {each.row: (each.tokens, each.loss) for each in found}
        noted |= {row: code for code, rows in findings.rows.items() if code not in NOTED for row in rows}
        noted |= dict.fromkeys(findings.rows.get(SHORTENED, ()), SHORTENED)
    report = report_of(scorer, numbers, lines, noted, carried=len(known))
    row_losses.keep(output / "losses", report, lines, numbers, noted)
    losses = row_losses.read(output / "losses")
    options = {"difficulty": values["options"]}
    checking.check(Path(dataset.path), options, output / "report", extras={"losses": losses}, phase=attempt.phase)
    return {"losses": values["losses"], "report": values["report"], **msgspec.to_builtins(report)}


def known_before(values: dict[str, Any], version: Path) -> tuple[dict[int, tuple[int, float]], dict[int, str]]:
    """Tokens and loss, and notes, of the rows that are as they were in an earlier version where they were measured."""
    if not values.get("before"):
        return {}, {}
    table = row_losses.carried(Path(values["before"]["losses"]), Path(values["before"]["version"]), version)
    lines = {row: (tokens, loss) for row, tokens, loss, _ in table.iter_rows() if loss is not None}
    return lines, {row: code for row, _, _, code in table.iter_rows() if code is not None}


def ask(attempt: Attempt, scorer: Scorer, known: set[int]) -> tuple[list["RowLoss"], Findings]:
    """What the model says of all rows but the known ones."""
    attempt.phase("loading_libraries")
    models = load_libraries(attempt)
    from trainers.models.generation import Place

    attempt.phase("loading_model")
    with models.ready(Place(**scorer.place)) as (model, renderer):
        attempt.phase("data.losses")
        findings = Findings()
        return measure(attempt, model, renderer, scorer.max_length, findings, known), findings


def load_libraries(attempt: Attempt) -> Any:
    """Import what takes seconds; gives the models that can be loaded, none of them yet."""
    import torch
    import transformers

    from trainers.models.generation import Models
    from trainers.models.loading import own_device

    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(attempt.spec.threads or torch.get_num_threads())
    return Models(own_device(attempt.spec.device))


def measure(
    attempt: Attempt, model: Any, renderer: Renderer, max_length: int, findings: Findings, known: set[int]
) -> list["RowLoss"]:
    """The losses of all rows that have one but for the known ones, whichever side of the split they are on."""
    from trainers.models.scoring import answer_losses

    longest = getattr(model.config.get_text_config(), "max_position_embeddings", None) or max_length
    rows = (each for each in conversations(attempt.spec.dataset, split=None) if each[0] not in known)
    made = answer_losses(model, renderer, rows, max_length=min(max_length, longest), findings=findings)
    found, told, started = [], 0.0, time.monotonic()
    for each in made:
        found.append(each)
        now = time.monotonic()
        if now - told >= PROGRESS_SECONDS:
            told = now
            report_progress(attempt, len(found), attempt.spec.dataset.rows - len(known), now - started)
    return found


def report_progress(attempt: Attempt, done: int, total: int, seconds: float) -> None:
    left = round(seconds / done * max(0, total - done), 1)
    attempt.events.write("progress", done=done, total=total, unit="rows", seconds_left=left)


def report_of(
    scorer: Scorer, rows: list[int], lines: dict[int, tuple[int, float]], noted: dict[int, str], *, carried: int
) -> LossReport:
    """Counts and the mean over all answer tokens."""
    tokens = sum(count for count, _ in lines.values())
    notes = Counter(noted.values())
    return LossReport(
        model=scorer.title,
        load_in_4bit=bool(scorer.place.get("load_in_4bit")),
        max_length=scorer.max_length,
        rows=len(rows),
        scored=len(lines),
        tokens=tokens,
        loss=sum(count * loss for count, loss in lines.values()) / tokens if tokens else None,
        cut=notes.pop(SHORTENED, 0),
        left_out=dict(notes),
        carried=carried,
    )


if __name__ == "__main__":
    run_attempt(main)
