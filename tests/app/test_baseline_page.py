"""The train page's fold about the untouched model: what it offers, follows, tells and carries into the rows."""

import re
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from app import baseline_view
from app.baseline_report_view import verdict_text
from app.pages import runs
from studio.db import datasets, jobs, metrics, models
from studio.db.tables import Job
from studio.evaluation import baseline
from studio.evaluation.baseline import Asked
from studio.messages import LANGUAGES
from tests.app.conftest import Filled
from tests.app.test_train_page import Page, fixture_studio  # noqa: F401 - the studio of these tests
from tests.unit.evaluation.test_baseline import report, result


class Fold:
    """The fold on a page whose form is filled in."""

    def __init__(self, studio: Filled, language: str = "en") -> None:
        self.studio, self.page = studio, Page(studio, language=language)
        self.context = self.page.context

    @property
    def html(self) -> str:
        return baseline_view.draw(self.context, "trivia", "starter")

    def press(self, do: str, fields: dict[str, Any] | None = None, **data: str) -> str:
        event = SimpleNamespace(_data={"do": do, "fields": fields or {}, **data})
        return baseline_view.press(self.context, event, *self.page.given)

    def jobs(self, kind: str) -> list[jobs.JobView]:
        with self.context.registry.session() as session:
            return jobs.list_jobs(session, kinds=(kind,))

    def move(self, job_id: int, *states: str, **found: Any) -> None:
        with self.studio.writer.begin() as session:
            for state in states:
                assert jobs.move(session, job_id, state, **found)

    def keep(self, *prompts: Any, answers: list[Asked] | None = None, **changes: Any) -> None:
        with self.context.registry.session() as session:
            content = datasets.dataset(session, "trivia").content_hash
            model = models.model(session, "starter").content_hash
        place = baseline.place(self.studio.workspace, model, content, [])
        baseline.keep(place, report(*prompts, **changes), answers or [])


@pytest.fixture(name="fold")
def fixture_fold(studio: Filled) -> Fold:
    return Fold(studio)


PLAIN = result(loss=2.5, right=1, answered=20, low=0.01)
SYSTEM = msgspec.structs.replace(
    result("system", loss=1.5, right=8, answered=20, low=0.2), system="Be <brief>.", is_proposed=True
)


def test_it_offers_to_ask_and_then_follows_the_job_until_it_is_cancelled(fold: Fold) -> None:
    assert "Try the untouched model first" in fold.html and 'data-do="ask"' in fold.html
    typed = {"system": True, "examples": False, "retrieved": True, "time": "10"}
    # Two fields share a name with a way to ask: the box says whether, the text says what.
    shown = fold.press("ask", typed | {"system_text": " Be kind. ", "context_text": "We open at nine."})
    (job,) = fold.jobs("baseline")
    asked = job.values["ask"]
    assert asked["kinds"] == ["plain", "system", "retrieved", "context"]
    assert (asked["system"], asked["context"], asked["seconds"]) == ("Be kind.", "We open at nine.", 600)
    assert "being asked" in shown and f'data-job="{job.id}"' in shown and 'data-do="ask"' not in shown
    shown = fold.press("cancel", job=str(job.id))
    assert fold.jobs("baseline")[0].state == "cancelled" and 'data-do="ask"' in shown


def test_progress_and_failure_are_told_in_words(fold: Fold) -> None:
    fold.press("ask")
    (job,) = fold.jobs("baseline")
    fold.move(job.id, "starting", "running")
    with fold.studio.writer.begin() as session:
        row = session.get_one(Job, job.id)
        row.phase, row.progress_done, row.progress_total, row.seconds_left = "baseline.answers", 8, 40, 75.0
    assert 'aria-valuenow="20"' in fold.html and "Letting the model answer" in fold.html and "1 min 15 s" in fold.html
    values = {"dataset": "trivia", "version": 1}
    fold.move(job.id, "failed", reason="job.baseline.no_rows", values=values)
    assert "could not be asked" in fold.html and "At least two rows" in fold.html


def test_prompts_stand_side_by_side_with_the_best_one_marked(fold: Fold) -> None:
    answers = [
        Asked(
            row=17,
            question="Who <was> it?",
            wanted="Nixon",
            answers={"plain": "Kennedy", "system": "Nixon"},
            right={"plain": False, "system": True},
        )
    ]
    fold.keep(PLAIN, SYSTEM, answers=answers)
    html = fold.html
    assert "gets 8 of 20 rows right (40 %)" in html and "has to beat that" in html
    lines = re.findall(r"<tr><td>(.*?)</td></tr>", html)
    assert len(lines) == 2 and "best" in lines[1] and "best" not in lines[0]
    assert "8 of 20" in lines[1] and "20–100 %" in lines[1]
    assert "Who &lt;was&gt; it?" in html and "✓" in html and "✕" in html and "Row 17" in html
    assert "Be &lt;brief&gt;." in html and "<brief>" not in html
    assert "begins at 2.5 and has to fall below 1.5" in html


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("prompt", "changes", "words"),
    [
        (result(right=49, answered=50, low=0.9), {}, {"en": "may not need to train", "zh": "也许不需要训练"}),
        (result(right=1, answered=20), {}, {"en": "unlikely to work", "zh": "很难见效"}),
        (result(right=9, answered=20), {}, {"en": "has to beat", "zh": "要超过它"}),
        (result(right=2, answered=4), {}, {"en": "Only 4 rows", "zh": "只答了 4 条"}),
        (result(answered=9), {"task": "free"}, {"en": "judge for yourself", "zh": "自己判断"}),
    ],
)
def test_what_it_means_is_said(studio: Filled, language: str, prompt: Any, changes: Any, words: Any) -> None:
    fold = Fold(studio, language)
    fold.keep(prompt, **changes)
    assert words[language] in fold.html
    assert words[language] in verdict_text(fold.context, report(prompt, **changes))
    assert not re.search(r"baseline\.[a-z_]+|\{[a-z_]+\}", fold.html)


def test_the_checks_of_the_plan_hear_of_it(fold: Fold) -> None:
    assert 'data-finding="base_' not in fold.page.tick().parts["plan"]
    fold.keep(result(right=1, answered=20))
    fold.page = Page(fold.studio)
    assert 'data-finding="base_cannot"' in fold.page.parts["plan"] and "only 5 %" in fold.page.parts["plan"]
    fold.keep(result(right=50, answered=50, low=0.93))
    fold.page = Page(fold.studio)
    assert 'data-finding="base_suffices"' in fold.page.parts["plan"]
    assert '#train-baseline-field"' in fold.page.parts["plan"]


def test_its_system_prompt_is_carried_into_the_rows(fold: Fold) -> None:
    assert 'data-do="carry"' not in fold.html
    fold.keep(PLAIN, SYSTEM)
    assert 'data-do="carry"' in fold.html and "become conversations" in fold.html
    shown = fold.press("carry")
    (job,) = [each for each in fold.jobs("prepare") if each.values.get("operation") == "system_prompt"]
    assert job.values["system"] == "Be <brief>." and "Writing the new version" in shown


def test_a_version_that_carries_one_says_so(fold: Fold) -> None:
    steps = [{"operation": "system_prompt", "parameters": {"system": "Be kind."}, "rows_in": 9, "rows_out": 9}]
    manifest = {"format": "messages", "shape": "chat", "problems": 0, "excluded": 0, "rows": 9, "steps": steps}
    with fold.studio.writer.begin() as session:
        owner = datasets.reserve(session, "trivia")
        datasets.add_version(
            session, owner, number=2, path="/data/v2", job_id=1, manifest=manifest | {"content_hash": "c" * 64}
        )
    assert "begins with the system prompt “Be kind.”" in fold.html and "tab=versions" in fold.html


def test_a_run_started_after_it_begins_there(fold: Fold) -> None:
    plan = {name: fold.page.fields[name] for name in ("validation_split", "seed", "max_length")}
    held = msgspec.structs.replace(
        report(PLAIN).held,
        validation_split=plan["validation_split"],
        seed=int(plan["seed"]),
        max_length=int(plan["max_length"]),
        per_device_eval_batch_size=int(fold.page.fields["per_device_eval_batch_size"]),
    )
    fold.keep(PLAIN, SYSTEM, held=held)
    run = fold.context.desk.train({"model_name_or_path": "starter", "dataset": "trivia"})
    with fold.context.registry.session() as session:
        point = metrics.points(session, run, "eval_loss")
        line = metrics.points(session, run, "eval_loss_prompted")
    assert (point.steps.tolist(), point.values.tolist()) == ([0], [2.5])
    assert line.values.tolist() == [1.5, 1.5] and line.steps[0] == 0 < line.steps[1]
    assert runs.draw(fold.context, {"run": str(run)})


def test_nothing_is_shown_where_there_is_nothing_to_ask(fold: Fold) -> None:
    assert baseline_view.draw(fold.context, None, "starter") == ""
    assert baseline_view.draw(fold.context, "trivia", "gone") == ""
