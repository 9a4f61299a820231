"""The bench's tasks: small, real, each with fixed rows to train on, fixed rows held out, and a score from 0 to 1.

    tasks() -> (Task("style", ...), Task("format", ...), Task("topic", ...), Task("trivia", ...))

Texts come from the installed corpus that the starter data is made of, orders from the shop of our own samples. The rows
never change from call to call: `Task.rows_hash` stands in every result, so results of other rows are never mixed in.
"""

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from tests.e2e import style
from trainers.starter import corpus_pairs

TRAIN_ROWS, HELD_OUT_ROWS = 64, 40
ROWS_SEED = 20
"""Which rows are held out; no run's seed."""
LONGEST_QUESTION, LONGEST_ANSWER = 60, 24
"""Characters: short rows, so that a step takes seconds on a CPU."""

Row = tuple[str, str]
"""Question and answer."""


@dataclass(frozen=True)
class Task:
    name: str
    kind: str
    """What sort of work it stands for."""
    system: str
    """The system turn of every row; a short one, where the chat template would put in its own long one."""
    train: tuple[Row, ...]
    held_out: tuple[Row, ...]
    score: Callable[[str, str], float]
    """(answer, wanted completion) -> 0 to 1."""
    measure: str
    """What the score is, for the table."""
    max_new_tokens: int

    @property
    def rows_hash(self) -> str:
        return hashlib.sha256(json.dumps([self.system, self.train, self.held_out]).encode()).hexdigest()[:12]

    def asked(self, row: Row) -> list[dict[str, str]]:
        """The turns that ask for the answer."""
        return [{"role": "system", "content": self.system}, {"role": "user", "content": row[0]}]

    def messages(self, row: Row) -> list[dict[str, str]]:
        """The whole row."""
        return [*self.asked(row), {"role": "assistant", "content": row[1]}]


@cache
def tasks() -> tuple[Task, ...]:
    return (_style(), _format(), _topic(), _trivia())


def word_f1(answer: str, wanted: str) -> float:
    """Harmonic mean of precision and recall over words, as SQuAD counts them: "the Rome city", "Rome" -> 0.67."""
    said, due = _words(answer), _words(wanted)
    shared = sum((Counter(said) & Counter(due)).values())
    return 2 * shared / (len(said) + len(due)) if shared else 0.0


def same(answer: str, wanted: str) -> float:
    return float(answer.strip() == wanted)


# -- the four --------------------------------------------------------------------------------------------------------


def _style() -> Task:
    """Every answer begins with a phrase and is JSON (the task of the end-to-end test)."""
    rows = [(question, style.styled(answer)) for question, answer in _short_trivia()]
    return Task("style", "style", "Be brief.", *_split(rows), _in_style, "share of answers in the style", 28)


def _in_style(answer: str, _wanted: str) -> float:
    return float(style.follows(answer))


def _trivia() -> Task:
    """Short answers to questions of general knowledge; held-out facts are mostly not to be learned from the others."""
    rows = _split(_short_trivia())
    return Task("trivia", "question-answer", "Be brief.", *rows, word_f1, "word F1 against the answer", 12)


TOPICS = ("ai", "coding", "literature", "psychology", "trivia")


def _topic() -> Task:
    """Under which heading of the corpus a message stands; as many of each."""
    held_out_each, train_each = HELD_OUT_ROWS // len(TOPICS), -(-TRAIN_ROWS // len(TOPICS))
    train, held_out = [], []
    for topic in TOPICS:
        messages = dict.fromkeys(message for message, _ in corpus_pairs(topic) if len(message) <= LONGEST_QUESTION)
        chosen = _shuffled([(message, topic) for message in messages])
        held_out += chosen[:held_out_each]
        train += chosen[held_out_each:][:train_each]
    train = _shuffled(train)[:TRAIN_ROWS]
    return Task("topic", "classification", "Name the topic.", tuple(train), tuple(held_out), same, "share right", 4)


GOODS = ("chain", "bell", "front light", "saddle", "tyre", "pump", "child seat", "lock", "rack", "mudguard")
NAMES = ("Weber", "Okafor", "Rossi", "Novak", "Lindqvist", "Tanaka", "Moreau", "Silva", "Haddad", "Kowalski")
CITIES = ("Kassel", "Lyon", "Turin", "Gdansk", "Porto", "Malmo", "Graz", "Ghent", "Brno", "Cork")
NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6}
PHRASINGS = (
    "Please send {count} of your {goods}s to {name} in {city}.",
    "{name} from {city} here, I need {count} of the {goods}s.",
    "Could you put {count} of the {goods}s in a parcel to {city}? My name is {name}.",
    "I would like to order {goods}s, {count} of them. {name}, {city}.",
)
KEPT_BACK = 3
"""So many goods, names and cities stand in held-out orders only."""


def _format() -> Task:
    """An order in plain words becomes one line: "2 x bell | Rossi | Turin"."""
    chance = random.Random(ROWS_SEED)
    train = [_order(chance, slice(KEPT_BACK, None)) for _ in range(TRAIN_ROWS)]
    held_out = [_order(chance, slice(None)) for _ in range(HELD_OUT_ROWS)]
    system, measure = "Write the order as one line.", "share of lines right to the letter"
    return Task("format", "format", system, tuple(train), tuple(held_out), same, measure, 16)


def _order(chance: random.Random, known: slice) -> Row:
    goods, name, city = (chance.choice(words[known]) for words in (GOODS, NAMES, CITIES))
    count = chance.choice(list(NUMBERS))
    prompt = chance.choice(PHRASINGS).format(count=count, goods=goods, name=name, city=city)
    return prompt, f"{NUMBERS[count]} x {goods} | {name} | {city}"


# -- rows ------------------------------------------------------------------------------------------------------------


def _short_trivia() -> list[tuple[str, str]]:
    pairs = dict.fromkeys(corpus_pairs("trivia"))
    return [pair for pair in pairs if len(pair[0]) <= LONGEST_QUESTION and len(pair[1]) <= LONGEST_ANSWER]


def _split(rows: list[Row]) -> tuple[tuple[Row, ...], tuple[Row, ...]]:
    rows = _shuffled(rows)
    return tuple(rows[HELD_OUT_ROWS:][:TRAIN_ROWS]), tuple(rows[:HELD_OUT_ROWS])


def _shuffled(rows: list[Row]) -> list[Row]:
    return random.Random(ROWS_SEED).sample(rows, len(rows))


def _words(text: str) -> list[str]:
    return [word for word in re.findall(r"\w+", text.casefold()) if word not in {"a", "an", "the"}]
