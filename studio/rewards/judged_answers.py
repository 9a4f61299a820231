"""Answers that experts judge, and the preference pairs that come of it: two small writers of data set versions.

    sampled(v1, samples, folder)    a row for each answer that a model gave to v1's questions, to be rated
    pairs([Judged(question=q, answer="4", score=1.0), Judged(question=q, answer="5", score=0.2)])
        ->  [Pair(question=q, chosen="4", rejected="5", ...)]

Of two answers to one question the one with the higher score is chosen; a cheat is rejected beside the best answer that
is none, whatever it scored. Both versions name the one that they come from as their parent. pyarrow comes along, so
this is for jobs.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from studio.errors import RefusedInput
from studio.rewards.kept import Samples
from studio.rewards.questions import question_of
from studio.rewards.report import CHEAT
from studio.workshop.versions.layout import MESSAGES, PREFERENCE, PROMPT_COMPLETION, Row, TrainingRow
from studio.workshop.versions.manifest import Manifest, Step, read_manifest
from studio.workshop.versions.reader import read_rows, rows_at
from studio.workshop.versions.writer import VersionWriter

SAMPLED, PAIRS = "sampled", "rated_pairs"
LEAST_APART = 0.2
"""Of the scale: answers whose mean ratings lie nearer are no pair. Ours: one star of five is 0.25."""
MOST_OF_A_QUESTION = 6
"""Pairs; the widest apart come first, so that one question does not fill the data."""
_PAGE = 2000

Turns = list[dict[str, Any]]


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, and what it is worth to those who judged it."""

    question: Turns
    answer: str
    score: float | None
    """From 0 to 1; None where nobody rated it."""
    is_cheat: bool = False
    row: int = 0
    """That it was shown as."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    question: Turns
    chosen: Judged
    rejected: Judged


def sampled(version: Path, samples: Samples, folder: Path) -> tuple[Manifest, dict[str, int]]:
    """Write a version of conversations, one for each different answer of the model to each question.

    Raises:
        RefusedInput: none of the questions is in the version.
    """
    known = read_manifest(version)
    rows, writer = rows_at(version, samples.answers), VersionWriter(folder, format=MESSAGES)
    questions = made = said_twice = 0
    for number, answers in samples.answers.items():
        asked = question_of(number, rows[number], known.format) if number in rows else None
        if asked is None:
            continue
        questions += 1
        distinct = list(dict.fromkeys(text for text in answers if text.strip()))
        said_twice += len(answers) - len(distinct)
        for text in distinct:
            made += 1
            messages = [*asked.turns, {"role": "assistant", "content": text}]
            extra = {"question_row": number, "model": samples.model}
            _add(writer, made, TrainingRow(messages=messages, extra=extra), {"messages": messages, **extra})
    if not made:
        raise RefusedInput("reward.nothing_sampled")
    counts = {"questions": questions, "answers": made, "left_out": said_twice}
    step = Step(operation=SAMPLED, parameters={"model": samples.model, **counts}, rows_in=known.rows, rows_out=made)
    manifest = _finish(writer, known, "chat", {"messages": "messages"}, step)
    return manifest, counts


def rated(version: Path, scores: Mapping[int, float], cheats: Iterable[int]) -> list[Judged]:
    """The answers of a version that was marked: row -> mean rating from 0 to 1, and rows tagged as cheats."""
    known, caught = read_manifest(version), set(cheats)
    if known.format not in (MESSAGES, PROMPT_COMPLETION):
        raise RefusedInput("reward.no_rated_answers", format=known.format)
    found, start = [], 0
    while page := read_rows(version, start=start, count=_PAGE):
        start += len(page)
        for row in page:
            answer = _answer_of(row) if row.row in scores or row.row in caught else None
            asked = question_of(row.row, row, known.format) if answer else None
            if asked is not None:
                is_cheat = row.row in caught
                score = scores.get(row.row)
                found.append(Judged(question=asked.turns, answer=answer, score=score, is_cheat=is_cheat, row=row.row))
    return found


def marked(version: Path, marks: Sequence[Mapping[str, Any]]) -> list[Judged]:
    """Answers that were marked while a reward was tried, {row, answer, rating}, and the data's own as good ones."""
    known = read_manifest(version)
    rows = rows_at(version, {int(each["row"]) for each in marks})
    asked = {number: question_of(number, row, known.format) for number, row in rows.items()}
    found = []
    for number, question in asked.items():
        if question is None:
            continue
        own = [each for each in marks if int(each["row"]) == number]
        found += [
            Judged(
                question=question.turns,
                answer=str(each["answer"]),
                score=1.0 if each["rating"] == "good" else 0.0,
                is_cheat=each["rating"] == CHEAT,
                row=number,
            )
            for each in own
        ]
        reference = question.row.reference
        if reference and reference.strip() and reference not in [each["answer"] for each in own]:
            found.append(Judged(question=question.turns, answer=reference, score=1.0, row=number))
    return found


def pairs(judged: Sequence[Judged], *, least_apart: float = LEAST_APART) -> list[Pair]:
    """Of each question the answers that are far enough apart, and each cheat beside the best honest answer."""
    by_question: dict[bytes, list[Judged]] = defaultdict(list)
    for each in judged:
        by_question[msgspec.json.encode(each.question)].append(each)
    found: list[Pair] = []
    for answers in by_question.values():
        honest = sorted(
            (each for each in answers if not each.is_cheat and each.score is not None), key=lambda it: -it.score
        )
        wide = [
            Pair(question=better.question, chosen=better, rejected=worse)
            for place, better in enumerate(honest)
            for worse in honest[place + 1 :]
            if better.score - worse.score >= least_apart and better.answer.strip() != worse.answer.strip()
        ]
        wide.sort(key=lambda it: it.rejected.score - it.chosen.score)
        cheats = [each for each in answers if each.is_cheat]
        found += [
            Pair(question=each.question, chosen=honest[0], rejected=each)
            for each in cheats
            if honest and honest[0].answer.strip() != each.answer.strip()
        ]
        found += wide[:MOST_OF_A_QUESTION]
    return found


def write_pairs(
    version: Path, judged: Sequence[Judged], folder: Path, *, parameters: Mapping[str, Any]
) -> tuple[Manifest, dict[str, int]]:
    """Write the pairs as a version of preferences.

    Args:
        parameters: what else the version's step tells, as the round that the ratings come from.

    Raises:
        RefusedInput: there is no pair: every question has one answer alone, or all are rated alike.
    """
    known, made = read_manifest(version), pairs(judged)
    if not made:
        raise RefusedInput("reward.no_pairs", count=len(judged))
    writer = VersionWriter(folder, format=PREFERENCE)
    for number, each in enumerate(made, 1):
        sides = {name: [{"role": "assistant", "content": it.answer}] for name, it in _sides(each)}
        extra = {f"{name}_row": it.row for name, it in _sides(each)}
        extra |= {f"{name}_score": it.score for name, it in _sides(each)} | {"is_cheat": each.rejected.is_cheat}
        row = {"prompt": each.question, **sides}
        _add(writer, number, TrainingRow(**row, extra=extra), row | extra)
    in_pairs = {id(side) for each in made for _, side in _sides(each)}
    counts = {
        "pairs": len(made),
        "cheats": sum(each.rejected.is_cheat for each in made),
        "answers": len(judged),
        "unpaired": sum(id(each) not in in_pairs for each in judged),
    }
    step = Step(operation=PAIRS, parameters={**parameters, **counts}, rows_in=known.rows, rows_out=len(made))
    return _finish(writer, known, "preference", {name: name for name in ("prompt", "chosen", "rejected")}, step), counts


def _sides(pair: Pair) -> tuple[tuple[str, Judged], tuple[str, Judged]]:
    return ("chosen", pair.chosen), ("rejected", pair.rejected)


def _answer_of(row: Row) -> str | None:
    if row.messages is not None:
        last = row.messages[-1] if row.messages else {}
        return last.get("content") if last.get("role") == "assistant" else None
    return row.completion if isinstance(row.completion, str) else None


def _add(writer: VersionWriter, number: int, row: TrainingRow, source: dict[str, Any]) -> None:
    writer.add(number, msgspec.json.encode(source).decode(), row)


def _finish(writer: VersionWriter, parent: Manifest, shape: str, columns: dict[str, str], step: Step) -> Manifest:
    source = {"file": f"{step.operation}.jsonl", "kind": "jsonl", "size_bytes": 0}
    return writer.finish(
        shape=shape, columns=columns, source=source, parent=parent.content_hash, steps=[step], blank_lines=0
    )
