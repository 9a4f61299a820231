"""The prompts of the bench: how the same row is asked in several ways. Pure functions of messages and texts.

    plain       the row as it is trained
    system      with a system prompt: the person's, or one put together from what the rows want
    examples    after other rows and their answers, as turns of the conversation
    retrieved   with the training rows most like the question, found by TF-IDF
    context     with a text that a person pasted, or the passages of it most like the question

Whatever is put before a row bears `weight` 0, so the loss stays that of the row's own answers.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import yaml

from studio.evaluation.task import JSON, LABELS, Task
from studio.graders.answers import words
from studio.paths import TEMPLATES

MOST_LABELS = 30
PASSAGE_CHARACTERS = 600
_HAN = re.compile(r"[\u3400-\u9fff]")

Messages = list[dict[str, Any]]


@cache
def _sentences() -> Mapping[str, Mapping[str, str]]:
    return yaml.safe_load((TEMPLATES / "prompts" / "system.yaml").read_text("utf-8"))


def language_of(texts: Sequence[str]) -> str:
    """zh where at least a fifth of the letters are Han, else en."""
    text = "".join(texts)
    return "zh" if text and len(_HAN.findall(text)) >= 0.2 * len(text) else "en"


def proposed_system(task: Task, answers: Sequence[str], *, goal: str = "", language: str = "en") -> str:
    """A system prompt that says what the rows want: the goal, then the form of the answers."""
    say = _sentences()[language]
    told = [goal.strip()] if goal.strip() else []
    if task.kind == LABELS:
        told.append(say["labels"].format(labels=", ".join(task.schema.labels[:MOST_LABELS])))
    elif task.kind == JSON:
        told.append(say["json"].format(keys=", ".join(task.schema.keys)))
    elif task.schema.kind == "sql":
        told.append(say["sql"])
    elif task.is_decidable:
        told.append(say["short"])
    else:
        lengths = sorted(len(words(answer)) for answer in answers) or [0]
        told.append(say["free"].format(words=_round(lengths[len(lengths) // 2])))
    if task.opening:
        told.append(say["opening"].format(opening=task.opening))
    return ("" if language == "zh" else " ").join(told)


def _round(count: int) -> int:
    return count if count < 10 else round(count, -1)


def with_system(messages: Messages, text: str) -> Messages:
    """The conversation with this system prompt in place of its own."""
    rest = messages[1:] if messages and messages[0]["role"] == "system" else messages
    return [{"role": "system", "content": text}, *rest]


def with_examples(messages: Messages, examples: Sequence[Messages]) -> Messages:
    """The conversation after others, each a question and its answer; a system prompt stays first."""
    start = int(bool(messages) and messages[0]["role"] == "system")
    turns = [_not_learned(turn) for example in examples for turn in example if turn["role"] != "system"]
    return [*messages[:start], *turns, *messages[start:]]


def with_passages(messages: Messages, passages: Sequence[str], *, language: str = "en") -> Messages:
    """The conversation with passages before its last question."""
    place = last_question(messages)
    if place is None or not passages:
        return messages
    listed = "\n".join(f"- {passage}" for passage in passages)
    asked = _sentences()[language]["context"].format(passages=listed, question=messages[place]["content"])
    return [*messages[:place], {**messages[place], "content": asked}, *messages[place + 1 :]]


def last_question(messages: Messages) -> int | None:
    """Where the user's turn stands that the last answer answers."""
    end = last_answer(messages)
    turns = range((len(messages) if end is None else end) - 1, -1, -1)
    return next((place for place in turns if messages[place]["role"] == "user"), None)


def last_answer(messages: Messages) -> int | None:
    """Where the last answer stands that is learned, with a question before it."""
    turns = range(len(messages) - 1, 0, -1)
    return next((place for place in turns if _is_answer(messages[place])), None)


def question_and_answer(messages: Messages) -> tuple[str, str] | None:
    """The last question and its answer; None where the row has none, or it is no text (a call of a tool)."""
    asked, said = last_question(messages), last_answer(messages)
    if asked is None or said is None:
        return None
    return messages[asked]["content"] or "", messages[said]["content"]


def passages_of(text: str) -> list[str]:
    """A pasted text in paragraphs; long ones are cut at the ends of sentences."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        passage = ""
        for sentence in re.split(r"(?<=[.!?。！？])\s*", " ".join(paragraph.split())):
            if passage and len(passage) + len(sentence) > PASSAGE_CHARACTERS:
                found.append(passage)
                passage = ""
            passage = f"{passage} {sentence}".strip()
        if passage:
            found.append(passage)
    return found


class Retriever:
    """Finds the passages most like a question: cosine of TF-IDF vectors over words, Han characters by themselves."""

    def __init__(self, keys: Sequence[str], passages: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._passages = list(passages)
        self._vectorizer = TfidfVectorizer(analyzer=words)
        self._vectors = self._vectorizer.fit_transform(keys) if any(map(words, keys)) else None

    def find(self, question: str, count: int) -> list[str]:
        """At most `count` passages that share a word with the question, the likest first."""
        if self._vectors is None:
            return []
        likeness = (self._vectors @ self._vectorizer.transform([question]).T).toarray().ravel()  # (passages,)
        order = likeness.argsort(kind="stable")[::-1][:count]
        return [self._passages[place] for place in order if likeness[place] > 0]


def _is_answer(turn: Mapping[str, Any]) -> bool:
    return turn["role"] == "assistant" and turn.get("weight") != 0 and bool(turn.get("content"))


def _not_learned(turn: Mapping[str, Any]) -> dict[str, Any]:
    return {**turn, "weight": 0} if turn["role"] == "assistant" else dict(turn)
