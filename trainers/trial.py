"""Tries a reward before a run learns from it: `python -m trainers.trial <attempt folder>`.

The base model answers questions of the data several times, unless its answers are kept already or none is named; then
the reward is laid on those, on the data's own answers and on ones that cost nothing; models that it asks are loaded for
that and have as much time again. It leaves

    <output_path>/samples    what the model said (`studio.rewards.kept`)
    <output_path>/asked      what models that the reward asks said of answers, now and before
    <output_path>/report     what trying the reward came to

A stop ends it at once, and nothing is kept.
"""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from studio.errors import JobFailed, RefusedInput
from studio.protocol import utc_now
from studio.rewards import kept
from studio.rewards.kept import Asking, Samples, Trial
from studio.rewards.report import Mark, TrialReport
from trainers.attempt import Attempt, run_attempt

if TYPE_CHECKING:
    from studio.graders.score import Score
    from studio.rewards.answers_to_try import Tried
    from studio.rewards.questions import Question
    from studio.rewards.recipe import Recipe
    from trainers.rows.data import Renderer

BATCHES = (8, 32)
"""Answers written side by side: few at first, so that little time gives some too; then many, which is quicker each."""
MORE_TOKENS = 64
MOST_ANSWER_TOKENS = 512
"""An answer may be so much longer than the data's longest one, and never longer than this."""
TOKENS_WITHOUT_REFERENCE = 128
ROWS_JUDGED = 4
"""Whose answers are judged before the clock is looked at."""


def main(attempt: Attempt) -> dict[str, Any]:
    from studio.rewards.questions import questions

    values, dataset = attempt.spec.values, attempt.spec.dataset
    output = Path(attempt.spec.output_path)
    shutil.rmtree(output, ignore_errors=True)  # what an attempt that was killed left behind
    asking = msgspec.convert(values["asking"], Asking)

    attempt.phase("reading_data")
    asked = questions(Path(dataset.path), count=asking.rows, seed=asking.seed)
    if not asked:
        raise JobFailed("reward.no_rows", dataset=dataset.name, version=dataset.version)
    samples = samples_of(attempt, asked, asking, output)
    attempt.phase("reward.try")
    report, is_proposed = tried(attempt, asked, samples, asking)
    found = Trial(
        dataset=dataset.name,
        version=dataset.version,
        model=samples.model if samples else None,
        is_proposed=is_proposed,
        sampled=len(samples.answers) if samples else 0,
        verdict=report.verdict,
        report=report,
        created_at=utc_now(),
    )
    kept.keep(output / "report", found)
    return {"report": values["report"], "samples": values.get("samples"), "verdict": report.verdict}


def tried(
    attempt: Attempt, asked: "Sequence[Question]", samples: Samples | None, asking: Asking
) -> tuple[TrialReport, bool]:
    """The report; whether the reward was proposed from the data.

    Questions that the model was not asked for want of time are left out where it was asked others.
    """
    from studio.rewards import recipe
    from studio.rewards.answers_to_try import answers_to_try
    from studio.rewards.judges import asked_names
    from studio.rewards.proposing import proposed
    from studio.rewards.trial import trial

    values = attempt.spec.values
    rows = [each.row for each in asked]
    reward = (
        recipe.parse(values["reward"])
        if values["reward"]
        else proposed([row.reference for row in rows if row.reference])
    )
    answers = answers_to_try(rows, samples.answers if samples else {}, seed=asking.seed)
    marks = msgspec.convert(values["marks"], list[Mark])
    given = None
    if asked_names(reward):
        answers, given = judged(attempt, reward, asked, answers, asking)
        rows = [row for row in rows if row.number in {each.row for each in answers}]
    return trial(reward, rows, answers, marks=marks, given=given), values["reward"] is None


def judged(
    attempt: Attempt, reward: "Recipe", asked: "Sequence[Question]", answers: "Sequence[Tried]", asking: Asking
) -> "tuple[list[Tried], dict[str, list[Score]]]":
    """What the models that the reward asks say of the answers to as many questions as the time allows, drawn by chance;
    those answers, and their scores in the same order."""
    from random import Random

    attempt.phase("reward.load")
    from trainers.rewards.asked_models import AskedModels
    from trainers.training.recipe import load_libraries

    place = attempt.spec.values.get("asked")
    scores = kept.read_asked(Path(place)) if place else {}
    models = AskedModels(reward, attempt.spec.asked_models, load_libraries(attempt), kept=scores)
    attempt.phase("reward.ask")
    by_number = {each.row.number: each for each in asked}
    order = Random(asking.seed).sample(list(by_number), len(by_number))
    began, scored, given = time.monotonic(), [], {}
    for done in range(0, len(order), ROWS_JUDGED):
        part = [each for number in order[done : done + ROWS_JUDGED] for each in answers if each.row == number]
        known = [by_number[each.row] for each in part]
        said = models.scores([each.text for each in part], [it.row for it in known], [it.turns for it in known])
        scored += part
        for key, found in said.items():
            given.setdefault(key, []).extend(found)
        spent = time.monotonic() - began
        count = min(done + ROWS_JUDGED, len(order))
        left = min(asking.seconds - spent, spent / count * (len(order) - count))
        attempt.events.write("progress", done=count, total=len(order), unit="rows", seconds_left=round(max(0, left), 1))
        if spent >= asking.seconds:
            break
    kept.keep(Path(attempt.spec.output_path) / "asked", kept.AskedScores(scores=scores))
    return scored, given


def samples_of(attempt: Attempt, asked: "Sequence[Question]", asking: Asking, output: Path) -> Samples | None:
    """The base model's answers: kept ones, or asked for now; None where no model is named."""
    place = attempt.spec.values.get("samples")
    if place is None or attempt.spec.model is None:
        return None
    try:
        return kept.read_samples(Path(place))
    except RefusedInput:
        pass
    attempt.phase("loading_libraries")
    from trainers.models.generation import Place
    from trainers.score import load_libraries

    models = load_libraries(attempt)
    attempt.phase("loading_model")
    with models.ready(Place(attempt.spec.model.path)) as (model, renderer):
        attempt.phase("reward.sample")
        began = time.monotonic()
        answers = sample(attempt, model, renderer, asked, asking)
    found = Samples(model=attempt.spec.model.name, seconds=round(time.monotonic() - began, 1), answers=answers)
    kept.keep(output / "samples", found)
    return found


def sample(
    attempt: Attempt, model: Any, renderer: "Renderer", asked: "Sequence[Question]", asking: Asking
) -> dict[int, list[str]]:
    """{row: several answers}, of as many questions as the time allows, drawn by chance."""
    from random import Random

    import torch

    from trainers.models.batched import answer_all

    torch.manual_seed(asking.seed)
    began, answers = time.monotonic(), {}
    until, tokens = began + asking.seconds, _answer_tokens(renderer, asked)
    order = Random(asking.seed).sample(list(asked), len(asked))
    while len(answers) < len(order):
        together = max(1, BATCHES[min(len(answers), 1)] // asking.samples)
        part = order[len(answers) : len(answers) + together]
        prompts = [renderer.prompt(each.turns) for each in part for _ in range(asking.samples)]
        said = answer_all(model, renderer, prompts, max_new_tokens=tokens, until=until, temperature=asking.temperature)
        if said is None:
            break
        for place, each in enumerate(part):
            answers[each.row.number] = [text.strip() for text in said[place * asking.samples :][: asking.samples]]
        left = min(until - time.monotonic(), (time.monotonic() - began) / len(answers) * (len(order) - len(answers)))
        attempt.events.write(
            "progress", done=len(answers), total=len(order), unit="rows", seconds_left=round(max(0.0, left), 1)
        )
    return answers


def _answer_tokens(renderer: "Renderer", asked: "Sequence[Question]") -> int:
    wanted = [each.row.reference for each in asked if each.row.reference]
    if not wanted:
        return TOKENS_WITHOUT_REFERENCE
    longest = max(len(ids) for ids in renderer.tokenizer(wanted)["input_ids"])
    return min(MOST_ANSWER_TOKENS, longest + MORE_TOKENS)


if __name__ == "__main__":
    run_attempt(main)
