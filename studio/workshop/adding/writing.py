"""Asks models for new rows and judges what they say: the questions to them, and what becomes of the answers.

    draft("base", parent, [], ask)                ->  Draft(prompt of the parent, what the model answered)
    draft("backtranslate", parent, [], ask)       ->  Draft(the question put into Chinese and back, the parent's answer)
    judged(question_for_judge(...), ask)          ->  Vote("yes")

`ask` takes a conversation and gives the model's answer; how a model is loaded is not known here.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random

import msgspec

from studio.workshop.adding.written import BACKTRANSLATE, BASE, NO, UNCLEAR, WRITE, YES
from studio.workshop.texts.phrases import phrases
from studio.workshop.texts.synonyms import FIXED
from studio.workshop.versions.layout import MESSAGES, PROMPT_COMPLETION, Row, Turn
from studio.workshop.versions.manifest import ROWS, read_manifest
from studio.workshop.versions.reader import rows_at

Ask = Callable[[list[Turn]], str]

FORMATS = (MESSAGES, PROMPT_COMPLETION)
"""Those that hold one question and one answer."""
EXAMPLES = 3
LENGTHS = (0.4, 2.5)
"""A question through another language has between so many and so many times the characters."""
_HAN = re.compile(r"[\u4e00-\u9fff]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_PAIR = re.compile(
    r"(?:question|问题?)\W{0,4}[:：]\s*(?P<prompt>.+?)\s*\n+\W{0,4}(?:answer|回答|答案?)\W{0,4}[:：]\s*(?P<answer>.+)",
    re.IGNORECASE | re.DOTALL,
)
_NEXT_PAIR = re.compile(r"\n+\W{0,4}(?:question|问题?)\W{0,4}[:：]", re.IGNORECASE)
_VERDICT = re.compile(r"\b(?:yes|no)\b|是|否|不", re.IGNORECASE)


class Refused(Exception):
    """A candidate that cannot be used; the code is below problems.written."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Parent(msgspec.Struct, frozen=True, kw_only=True):
    """A row that the model is shown."""

    row: int
    turns: list[Turn]
    """All before the last answer."""
    question: str
    """The first one."""
    answer: str
    """The last one."""


class Draft(msgspec.Struct, frozen=True):
    prompt: str
    answer: str


# -- the rows --------------------------------------------------------------------------------------------------------


def parents(version: Path, kind: str, count: int, seed: int) -> list[Parent]:
    """At most `count` rows, drawn at random out of those that train and that nobody made."""
    format = read_manifest(version).format
    numbers = _training_numbers(version)
    Random(seed).shuffle(numbers)
    found: list[Parent] = []
    for begin in range(0, len(numbers), count):
        part = numbers[begin : begin + count]
        rows = rows_at(version, part)
        read = (_parent(rows[number], format) for number in part)
        found += [each for each in read if each and (kind != WRITE or _is_pair(each))]
        if len(found) >= count:
            break
    return found[:count]


def _training_numbers(version: Path) -> list[int]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(version / ROWS) as file:
        names = [name for name in ("row", "split", "origin") if name in file.schema_arrow.names]
        lines = file.read(columns=names, use_threads=False).to_pylist()
    return [line["row"] for line in lines if line.get("split") in (None, "train") and not line.get("origin")]


def _parent(row: Row, format: str) -> Parent | None:
    if format == PROMPT_COMPLETION:
        turns, answer = [{"role": "user", "content": row.prompt}], row.completion
    else:
        turns, answer = row.messages[:-1], row.messages[-1]["content"]
        if row.messages[-1]["role"] != "assistant" or any(turn["role"] == "tool" for turn in turns):
            return None
    question = next((turn["content"] for turn in turns if turn["role"] == "user"), None)
    if not question or not answer:
        return None
    plain = [{"role": turn["role"], "content": turn["content"]} for turn in turns]
    return Parent(row=row.row, turns=plain, question=question, answer=answer)


def _is_pair(parent: Parent) -> bool:
    return sum(turn["role"] == "user" for turn in parent.turns) == 1


# -- writing ---------------------------------------------------------------------------------------------------------


def draft(kind: str, parent: Parent, examples: Iterable[Parent], ask: Ask) -> Draft:
    """A new row made from `parent`.

    Raises:
        Refused: the model gave nothing that can be used.
    """
    if kind == BASE:
        return Draft(parent.question, _usable(ask(parent.turns)))
    if kind == BACKTRANSLATE:
        return Draft(_through_another_language(parent.question, ask), parent.answer)
    return _new_pair([parent, *examples], ask)


def _through_another_language(text: str, ask: Ask) -> str:
    there, back = ("English", "Chinese") if _HAN.search(text) else ("Chinese", "English")
    for language in (there, back):
        asked = f"Translate this into {language}. Say only the translation, and do not answer it.\n\n{text}"
        text = _usable(ask([_user(asked)])).strip('"“”')
        if bool(_HAN.search(text)) != (language == "Chinese"):
            raise Refused("other_language")
    return text


def check_meaning(before: str, after: str) -> None:
    """
    Raises:
        Refused: a number, address or quotation is gone or new, or the length is another altogether.
    """
    for pattern in (_NUMBER, FIXED):
        if sorted(pattern.findall(before)) != sorted(pattern.findall(after)):
            raise Refused("lost_facts")
    if not LENGTHS[0] <= len(after) / max(1, len(before)) <= LENGTHS[1]:
        raise Refused("length")


def _new_pair(shown: list[Parent], ask: Ask) -> Draft:
    pairs = "\n\n".join(f"Question: {each.question}\nAnswer: {each.answer}" for each in shown)
    asked = (
        "Here are examples of questions and of the answers that are wanted.\n\n"
        f"{pairs}\n\n"
        "Write one new question of the same kind about something else, in the same language, and its answer in the "
        "same style. Use this form and write nothing else:\nQuestion: ...\nAnswer: ..."
    )
    found = _PAIR.search(_usable(ask([_user(asked)])))
    if not found:
        raise Refused("unreadable")
    answer = _NEXT_PAIR.split(found["answer"])[0].strip()
    if not answer or set(found["prompt"]) <= set(". "):
        raise Refused("unreadable")
    return Draft(found["prompt"].strip(), answer)


def _usable(answer: str) -> str:
    text = answer.strip()
    if not text:
        raise Refused("empty")
    if text.lower().startswith(phrases("refusals", "opening")):
        raise Refused("model_refused")
    return text


# -- judging ---------------------------------------------------------------------------------------------------------


def question_for_judge(kind: str, parent: Parent, made: Draft, requirement: str) -> list[Turn]:
    """What a judge is asked about a draft."""
    if kind == BACKTRANSLATE:
        asked = f"First question:\n{parent.question}\n\nSecond question:\n{made.prompt}\n\nDo both ask for the same?"
    else:
        asked = (
            f"Question:\n{made.prompt}\n\nAnswer:\n{made.answer}\n\n"
            "Is the question clear, and is the answer right, complete and to the point?"
        )
    needed = f"What is required:\n{requirement.strip()}\n\n" if requirement.strip() else ""
    added = " Does it meet what is required?" if needed else ""
    return [_user(f"{needed}{asked}{added}\nBegin your reply with YES or NO.")]


def verdict(text: str) -> str:
    """yes, no, or unclear: the first of these words in the reply."""
    found = _VERDICT.search(text)
    if not found:
        return UNCLEAR
    return YES if found.group().lower() in ("yes", "是") else NO


def is_accepted(verdicts: list[str]) -> bool:
    """By more than half of the judges; without judges by the rules alone."""
    return not verdicts or 2 * verdicts.count(YES) > len(verdicts)


def _user(text: str) -> Turn:
    return {"role": "user", "content": text}
