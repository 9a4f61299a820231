"""What asking the untouched model came to, and what that means."""

import msgspec
import pytest

from studio.errors import RefusedInput
from studio.evaluation import baseline
from studio.evaluation.baseline import BaselineReport, Held, PromptResult, best_of, eval_loss, verdict_of
from studio.paths import Workspace

HELD = Held(validation_split=0.1, seed=42, max_length=128, per_device_eval_batch_size=4, load_in_4bit=False)


def result(kind="plain", *, loss=2.0, right=None, answered=0, low=0.0, follows=1.0, rows=50):
    return PromptResult(
        kind=kind,
        rows=rows,
        loss=loss,
        right=right,
        answered=answered,
        interval=None if right is None else (low, 1.0),
        follows=follows,
        validation_loss=loss,
    )


def report(*prompts, **changes):
    best = best_of(prompts)
    known = {
        "model": "starter",
        "dataset": "trivia",
        "version": 1,
        "task": "short",
        "wanted": {"kind": "none", "labels": [], "keys": [], "shortest": 1, "longest": 40, "opening": ""},
        "held": HELD,
        "is_held_out": True,
        "validation_rows": 50,
        "rows": 50,
        "prompts": list(prompts),
        "best": best,
        "verdict": verdict_of(next(each for each in prompts if each.kind == best)),
        "loss_seconds": 1.0,
        "answer_seconds": 2.0,
        "most_seconds": 3.0,
        "created_at": "2026-01-01T00:00:00Z",
    }
    return BaselineReport(**(known | changes))


def test_the_best_prompt_is_most_often_right_and_else_least_surprised():
    plain, system = result(loss=2.0), result("system", loss=1.5)
    assert best_of([plain, system]) == "system"
    often = result(loss=2.0, right=8, answered=10)
    seldom = result("system", loss=1.5, right=7, answered=10)
    assert best_of([often, seldom]) == "plain"
    assert best_of([result(right=3, answered=4), result("system", loss=1.5, right=0, answered=4)]) == "system"
    assert best_of([plain, result("context", loss=0.1, rows=3), result("examples", loss=None, rows=0)]) == "plain"


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (result(right=48, answered=50, low=0.865), "suffices"),
        (result(right=48, answered=50, low=0.84), "between"),
        (result(right=29, answered=29, low=0.88), "between"),
        (result(right=48, answered=50, low=0.865, follows=0.9), "between"),
        (result(right=3, answered=20), "cannot"),
        (result(right=4, answered=20), "between"),
        (result(right=0, answered=19), "unknown"),
        (result(), "unknown"),
    ],
)
def test_what_the_answers_say(found, verdict):
    assert verdict_of(found) == verdict


def test_losses_are_averaged_as_a_trainer_averages_batches():
    losses = [(1, 1.0), (3, 2.0), (10, 0.5)]
    assert eval_loss(losses, 1) == pytest.approx(3.5 / 3)
    assert eval_loss(losses, 2) == pytest.approx((2 * 7 / 4 + 0.5) / 3)
    assert eval_loss(losses, 8) == pytest.approx(12 / 14) and eval_loss([], 8) is None


def test_the_newest_whole_report_on_model_and_rows_is_found(tmp_path):
    workspace = Workspace(tmp_path / "w").make()
    first, second, other = (
        baseline.place(workspace, "m" * 64, rows * 64, [n]) for rows, n in (("r", 1), ("r", 2), ("s", 1))
    )
    assert len({first, second, other}) == 3 and baseline.newest(workspace, "m" * 64, "r" * 64) is None
    for folder, loss in ((first, 3.0), (second, 2.0), (other, 1.0)):
        baseline.keep(folder, report(result(loss=loss)), [baseline.Asked(row=7, question="?", wanted="!")])
    found = baseline.newest(workspace, "m" * 64, "r" * 64)
    assert found.folder == second and found.report.best_prompt.loss == 2.0
    assert baseline.read_answers(second)[0].row == 7
    (second / "report.json").write_bytes(b"{")
    assert baseline.newest(workspace, "m" * 64, "r" * 64).folder == first
    with pytest.raises(RefusedInput):
        baseline.read_answers(tmp_path)
    assert msgspec.to_builtins(found.report)["held"]["seed"] == 42
