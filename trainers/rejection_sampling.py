"""Has a run's model answer questions, and keeps the answers that earn most: `python -m trainers.rejection_sampling`.

The model answers each question several times, the reward is laid on every answer, and `studio.rewards.keeping` chooses.
The job leaves a report of candidates at `<output_path>/report` (`studio.workshop.adding.written`) and no version: a
person looks at them first. A stop ends it at once, and nothing is kept.
"""

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.errors import JobFailed
from studio.protocol import utc_now
from studio.rewards import keeping
from studio.rewards.kept import Asking
from studio.workshop.adding.written import REJECTION_SAMPLING, Candidate, Rollout, WrittenReport, keep
from trainers.attempt import Attempt, run_attempt
from trainers.trial import sample

if TYPE_CHECKING:
    from studio.rewards.questions import Question

Rewards = dict[int, list[float | None]]


def main(attempt: Attempt) -> dict[str, Any]:
    from studio.rewards import recipe
    from studio.rewards.questions import questions

    values, dataset = attempt.spec.values, attempt.spec.dataset
    output = Path(attempt.spec.output_path)
    shutil.rmtree(output, ignore_errors=True)  # what an attempt that was killed left behind
    chosen, reward = keeping.options(values["keeping"]), recipe.parse(values["reward"])

    attempt.phase("reading_data")
    asked = questions(Path(dataset.path), count=chosen.rows, seed=chosen.seed)
    if not asked:
        raise JobFailed("reward.no_rows", dataset=dataset.name, version=dataset.version)
    answers = _answers(attempt, asked, chosen)
    attempt.phase("reward.try")
    rewards = _rewards(attempt, asked, answers, reward)
    threshold = keeping.threshold_of(reward, chosen)
    choices = keeping.choose(answers, rewards, threshold=threshold, best=chosen.best)
    candidates = _candidates(asked, choices)
    report = _report(values, candidates, asked=len(answers), threshold=threshold)
    keep(output / "report", report, candidates)
    return {"report": values["report"], "candidates": report.candidates, "accepted": report.accepted}


def _answers(attempt: Attempt, asked: "Sequence[Question]", chosen: keeping.Options) -> dict[int, list[str]]:
    attempt.phase("loading_libraries")
    from trainers.models.generation import Place
    from trainers.score import load_libraries

    models = load_libraries(attempt)
    attempt.phase("loading_model")
    asking = Asking(
        rows=chosen.rows,
        samples=chosen.samples,
        seconds=chosen.seconds,
        temperature=chosen.temperature,
        seed=chosen.seed,
    )
    with models.ready(Place(**attempt.spec.values["writer"]["place"])) as (model, renderer):
        attempt.phase("reward.sample")
        answers = sample(attempt, model, renderer, asked, asking)
    models.forget()
    if not answers:
        raise JobFailed("reward.choosing.no_time", seconds=round(chosen.seconds))
    return answers


def _rewards(attempt: Attempt, asked: "Sequence[Question]", answers: dict[int, list[str]], reward: Any) -> Rewards:
    from studio.rewards.scoring import score

    known = {each.row.number: each for each in asked}
    flat = [(known[number], text) for number, texts in answers.items() for text in texts]
    texts, rows = [text for _, text in flat], [question.row for question, _ in flat]
    given = _given(attempt, reward, texts, [question for question, _ in flat])
    totals = iter(score(reward, texts, rows, given=given).totals)
    return {number: [next(totals) for _ in said] for number, said in answers.items()}


def _given(attempt: Attempt, reward: Any, texts: list[str], asked: "list[Question]") -> dict[str, Any] | None:
    """What the models that the reward asks say; None where it asks none."""
    from studio.rewards.judges import asked_names

    if not asked_names(reward):
        return None
    attempt.phase("reward.load")
    from trainers.rewards.asked_models import AskedModels
    from trainers.training.recipe import load_libraries

    models = AskedModels(reward, attempt.spec.asked_models, load_libraries(attempt))
    attempt.phase("reward.ask")
    return models.scores(texts, [each.row for each in asked], [each.turns for each in asked])


def _candidates(asked: "Sequence[Question]", choices: Sequence[keeping.Choice]) -> list[Candidate]:
    known = {each.row.number: each.row for each in asked}
    return [
        Candidate(
            number=number,
            parent=each.row,
            prompt=known[each.row].question,
            answer=each.text,
            before=known[each.row].question,
            before_answer=known[each.row].reference or "",
            accepted=not each.code,
            code=each.code or None,
            reward=each.reward,
        )
        for number, each in enumerate(choices, 1)
    ]


def _report(values: dict[str, Any], candidates: list[Candidate], *, asked: int, threshold: float) -> WrittenReport:
    kept = [each for each in candidates if each.accepted]
    own = [each.before_answer for each in {each.parent: each for each in candidates}.values() if each.before_answer]
    rewards = [each.reward for each in candidates if each.reward is not None]
    rollout = Rollout(
        checkpoint=values["writer"]["checkpoint"],
        base=values["base"],
        reward=values["reward"],
        threshold=threshold,
        mean=sum(rewards) / len(rewards) if rewards else None,
        questions_kept=len({each.parent for each in kept}),
        variety=keeping.variety([each.answer for each in kept]),
        variety_before=keeping.variety(own),
        rounds=values["rounds"],
    )
    return WrittenReport(
        dataset=values["name"],
        version=values["number"],
        content_hash=values["content_hash"],
        kind=REJECTION_SAMPLING,
        model=values["writer"]["title"],
        judges=(),
        requirement="",
        asked=asked,
        candidates=len(candidates),
        accepted=len(kept),
        refused=dict(Counter(each.code for each in candidates if each.code)),
        judged_itself=False,
        created_at=utc_now(),
        rollout=rollout,
    )


if __name__ == "__main__":
    run_attempt(main)
