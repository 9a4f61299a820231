"""Has a model write candidates for new rows, and others judge them: `python -m trainers.write <attempt folder>`.

The models answer one question at a time, as they do in a serve job (`trainers.models.generation`). The job leaves a
report at `<output_path>/report` (`studio.workshop.adding.written`) and no version: what becomes of the candidates a
person decides. A stop ends it at once, and nothing is kept.
"""

import shutil
import threading
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from studio.errors import JobFailed
from studio.protocol import utc_now
from studio.workshop.adding import writing
from studio.workshop.adding.writing import Draft, Parent, Refused
from studio.workshop.adding.written import BACKTRANSLATE, BASE, WRITE, Candidate, Vote, WrittenReport, keep
from trainers.attempt import Attempt, run_attempt

MAX_VERDICT_TOKENS = 48
WRITER_TEMPERATURE = {WRITE: 0.8, BACKTRANSLATE: 0.0, BASE: 0.0}


def main(attempt: Attempt) -> dict[str, Any]:
    values = attempt.spec.values
    output = Path(attempt.spec.output_path)
    shutil.rmtree(output, ignore_errors=True)  # what an attempt that was killed left behind
    attempt.phase("reading_data")
    kind, version = values["kind"], Path(values["version"])
    parents = writing.parents(version, kind, values["count"], values["seed"])
    attempt.phase("loading_libraries")
    models = _Models(attempt, total=len(parents) * (1 + (kind == BACKTRANSLATE) + len(values["judges"])))
    attempt.phase("data.written.write")
    drafts = _drafts(models, values, parents)
    _refuse_known(version, kind, parents, drafts)
    attempt.phase("data.written.judge")
    votes = _votes(models, values, parents, drafts)
    candidates = [
        _candidate(number, parent, drafts[number - 1], votes[number - 1]) for number, parent in enumerate(parents, 1)
    ]
    report = _report(values, candidates)
    keep(output / "report", report, candidates)
    return {"report": values["report"], "candidates": report.candidates, "accepted": report.accepted}


def _drafts(models: "_Models", values: dict[str, Any], parents: list[Parent]) -> list[Draft | str]:
    """What the model wrote from each parent, or the code of why that is of no use."""
    kind, random = values["kind"], Random(values["seed"])
    made: list[Draft | str] = []
    for number, parent in enumerate(parents):
        others = [each for each in parents if each.row != parent.row]
        examples = random.sample(others, min(writing.EXAMPLES - 1, len(others)))
        settings = {"temperature": WRITER_TEMPERATURE[kind], "seed": values["seed"] + number}
        ask = models.asker(values["writer"], max_new_tokens=values["max_new_tokens"], **settings)
        try:
            draft = writing.draft(kind, parent, examples, ask)
            if kind == BACKTRANSLATE:
                writing.check_meaning(parent.question, draft.prompt)
            made.append(draft)
        except Refused as refused:
            made.append(refused.code)
    return made


def _refuse_known(version: Path, kind: str, parents: list[Parent], drafts: list[Draft | str]) -> None:
    """Replace drafts that ask what some row, or another draft, asks already by the code that says so."""
    import polars as pl

    from studio.workshop import table
    from studio.workshop.similarity.fresh import fresh

    places = [place for place, draft in enumerate(drafts) if isinstance(draft, Draft)]
    if kind == BASE or not places:
        return
    asked = table.texts(table.load(version)).filter(pl.col("role") == "user")
    # A question that went through another language may be like its own parent; a new one like none.
    groups = [parents[place].row if kind == BACKTRANSLATE else -1 for place in places]
    prompts = pl.Series([drafts[place].prompt for place in places], dtype=pl.String)
    taken = fresh(asked["text"], asked["row"].to_list(), prompts, groups)
    for place, is_new in zip(places, taken, strict=True):
        if not is_new:
            drafts[place] = "known"


def _votes(
    models: "_Models", values: dict[str, Any], parents: list[Parent], drafts: list[Draft | str]
) -> list[list[Vote]]:
    """Each draft's votes. One judge goes through all drafts before the next is loaded."""
    votes: list[list[Vote]] = [[] for _ in drafts]
    for judge in values["judges"]:
        ask = models.asker(judge, max_new_tokens=MAX_VERDICT_TOKENS, may_be_cut=True)
        for parent, draft, own in zip(parents, drafts, votes, strict=True):
            if not isinstance(draft, Draft):
                continue
            question = writing.question_for_judge(values["kind"], parent, draft, values["requirement"])
            try:
                said = ask(question)
            except Refused:  # longer than the judge can read
                said = ""
            own.append(Vote(judge=judge["title"], verdict=writing.verdict(said), text=said))
    return votes


def _candidate(number: int, parent: Parent, draft: Draft | str, votes: list[Vote]) -> Candidate:
    code = draft if isinstance(draft, str) else None
    if code is None and not writing.is_accepted([vote.verdict for vote in votes]):
        code = "voted_down"
    made = draft if isinstance(draft, Draft) else Draft("", "")
    return Candidate(
        number=number,
        parent=parent.row,
        prompt=made.prompt,
        answer=made.answer,
        before=parent.question,
        before_answer=parent.answer,
        accepted=code is None,
        code=code,
        votes=tuple(votes),
    )


def _report(values: dict[str, Any], candidates: list[Candidate]) -> WrittenReport:
    writer, judges = values["writer"], values["judges"]
    return WrittenReport(
        dataset=values["name"],
        version=values["number"],
        content_hash=values["content_hash"],
        kind=values["kind"],
        model=writer["title"],
        judges=tuple(judge["title"] for judge in judges),
        requirement=values["requirement"],
        asked=len(candidates),
        candidates=sum(bool(each.prompt) for each in candidates),
        accepted=sum(each.accepted for each in candidates),
        refused=dict(Counter(each.code for each in candidates if each.code)),
        judged_itself=any(judge["place"] == writer["place"] for judge in judges),
        created_at=utc_now(),
    )


class _Models:
    """The models that are asked, with a count of their answers."""

    def __init__(self, attempt: Attempt, *, total: int) -> None:
        import torch
        import transformers

        from trainers.models.generation import Models
        from trainers.models.loading import own_device

        transformers.utils.logging.disable_progress_bar()
        torch.set_num_threads(attempt.spec.threads or torch.get_num_threads())
        self._attempt = attempt
        self._models = Models(own_device(attempt.spec.device))
        self._total = total
        self._done = 0

    def asker(self, asked: dict[str, Any], *, may_be_cut: bool = False, **settings: Any) -> writing.Ask:
        """A function that has one model answer; an answer cut off at its last token is refused unless that may be."""
        from trainers.models.generation import Place, Sampling

        place, sampling = Place(**asked["place"]), Sampling(**settings)

        def ask(messages: list[dict[str, Any]]) -> str:
            try:
                said = self._models.answer(
                    place, messages, sampling, on_text=lambda text, tokens: None, cancelled=threading.Event()
                )
            except JobFailed as error:
                if error.reason != "answer_prompt_too_long":
                    raise
                raise Refused("too_long") from error
            finally:
                self._done += 1
                self._attempt.events.write(
                    "progress", done=self._done, total=self._total, unit="answers", seconds_left=None
                )
            if said.tokens >= sampling.max_new_tokens and not may_be_cut:
                raise Refused("cut")
            return said.text

        return ask


if __name__ == "__main__":
    run_attempt(main)
