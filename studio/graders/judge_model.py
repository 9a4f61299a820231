"""A judge model's mark, brought into a fixed range: what it is asked, and how its reply is read.

    marks 1 to 10          "Score: 7/10"            ->  0.667
    labels wrong, right    "I would say: right."    ->  1
                           "7 or 8"                 ->  missing: no_mark

The model itself is run by a trainer. A reply that names no mark for certain is a missing score, never a 0.
"""

import math
import re
from typing import Annotated

import msgspec
from msgspec import Meta

from studio.errors import RefusedInput
from studio.graders.score import Row, Score, missing

MOST_CHARACTERS = 4000
PLACES = ("question", "answer", "reference")
"""What stands in braces in a question of one's own."""
_PLACE = re.compile(r"\{(question|answer|reference)\}")
_NUMBER = r"[-+]?\d+(?:\.\d+)?"
_MARK = re.compile(rf"(?<![\w.])({_NUMBER})(?:\s*(?:/|out of|of)\s*\d+)?(?![\w]|\.\d)", re.IGNORECASE)
_NAMED = re.compile(rf"(?:score|mark|rating|评分|得分|分数|打分)[\s\"'*:：=是为]*({_NUMBER})", re.IGNORECASE)
_CHINESE = re.compile("[\u3400-\u9fff]")
_WORDS = {
    "en": {
        "lead": "You judge answers.",
        "question": "Question:",
        "reference": "A right answer:",
        "answer": "Answer to judge:",
        "criterion": "Judge whether the answer is right, complete and clear.",
        "marks": "Give a mark from {least} (worst) to {most} (best). Reply with the number alone.",
        "labels": "Reply with one of these words alone: {labels}.",
    },
    "zh": {
        "lead": "你来评判回答。",
        "question": "问题：",
        "reference": "正确答案：",
        "answer": "要评判的回答：",
        "criterion": "评判这个回答是否正确、完整、清楚。",
        "marks": "打 {least}（最差）到 {most}（最好）的分。只回复一个数字。",
        "labels": "只回复其中一个词：{labels}。",
    },
}


class Options(msgspec.Struct, frozen=True, kw_only=True):
    model: str = ""
    """Who judges: a model's name, or the number of a checkpoint."""
    criterion: str = ""
    """What it is asked to judge, in plain words; empty: whether the answer is right, complete and clear."""
    question: str = ""
    """All that it is asked, with {question}, {answer} and {reference} in their places; empty: the usual question."""
    labels: tuple[str, ...] = ()
    """Words to choose from instead of marks, from worst to best."""
    least: Annotated[int, Meta(ge=0, le=100)] = 1
    most: Annotated[int, Meta(ge=1, le=100)] = 10
    most_tokens: Annotated[int, Meta(ge=1, le=2048)] = 32
    """How much it may write; what stands before </think> is not read."""


def check(options: Options) -> None:
    """
    Raises:
        RefusedInput: no model is named, marks or labels have no range, or a question that no answer stands in.
    """
    if not options.model.strip():
        raise RefusedInput("reward.no_model", name="judge_model")
    if options.least >= options.most:
        raise RefusedInput("reward.no_marks", least=options.least, most=options.most)
    if max(len(options.criterion), len(options.question)) > MOST_CHARACTERS:
        raise RefusedInput("reward.long_criterion", most=MOST_CHARACTERS)
    if options.question.strip() and "{answer}" not in options.question:
        raise RefusedInput("reward.no_answer_asked")
    if options.labels and len({each.strip().casefold() for each in options.labels} - {""}) < 2:
        raise RefusedInput("reward.few_labels")


def asked(answer: str, row: Row, options: Options) -> str:
    """What the judge is asked about one answer; in Chinese where the question is."""
    texts = {"question": row.question, "answer": answer, "reference": row.reference or "–"}
    if options.question.strip():
        return _PLACE.sub(lambda place: texts[place[1]], options.question)
    words = _WORDS["zh" if _CHINESE.search(row.question) else "en"]
    shown = ["question", "reference", "answer"] if row.reference else ["question", "answer"]
    wanted = words["labels"].format(labels=", ".join(options.labels)) if options.labels else words["marks"]
    parts = [
        words["lead"],
        *(f"{words[name]}\n{texts[name]}" for name in shown),
        options.criterion.strip() or words["criterion"],
        wanted.format(least=options.least, most=options.most) if not options.labels else wanted,
    ]
    return "\n\n".join(parts)


def read(said: str, options: Options) -> Score:
    """The mark that a reply names, from 0 to 1; missing where it names none, several, or one beyond the scale."""
    said = said.rpartition("</think>")[2]
    if options.labels:
        return _label(said, options.labels)
    named = _NAMED.findall(said) or _MARK.findall(said)
    if len(set(map(float, named))) != 1:
        return missing("no_mark")
    return normalised(float(named[0]), options)


def normalised(mark: float | None, options: Options) -> Score:
    """The mark from 0 to 1; missing where the judge gave none, or one beyond its scale."""
    if mark is None or not math.isfinite(mark):
        return missing("no_mark")
    if not options.least <= mark <= options.most:
        return missing("mark_beyond", f"{mark:g}")
    return Score((mark - options.least) / (options.most - options.least))


def _label(said: str, labels: tuple[str, ...]) -> Score:
    """The place of the one label that is named; a label inside a longer one that is named does not count."""
    text, found = said.casefold(), []
    for label in sorted(labels, key=len, reverse=True):
        word = re.escape(label.strip().casefold())
        pattern = word if _CHINESE.search(label) else rf"(?<!\w){word}(?!\w)"
        if re.search(pattern, text):
            found.append(label)
            text = re.sub(pattern, " ", text)
    return Score(labels.index(found[0]) / (len(labels) - 1)) if len(found) == 1 else missing("no_mark")
