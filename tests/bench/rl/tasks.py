"""What is learned from a reward alone: tasks whose answers a rule can check.

    json    Answer as JSON.  {"word": "tea", "kind": ?}                 1 for JSON with both keys and nothing beside it
    sums    Be brief.  What is 17 + 5? Answer with the number only.     1 for the number, 1 more for nothing beside it

The untouched starter model scores now and then, so that there is something to learn from.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from studio.graders.score import Row
from studio.rewards.recipe import parse
from studio.rewards.scoring import score

ROWS_SEED = 7
TRAIN, HELD_OUT = 300, 200
WORDS = """
tea bread river window garden winter summer paper candle mountain forest ocean bridge market letter doctor teacher
farmer sister brother music silver copper button carpet ladder pepper butter orange apple cherry melon potato tomato
onion garlic rabbit turtle spider eagle falcon pigeon monkey tiger panther camel donkey horse village city harbour
island desert valley meadow canyon cloud thunder storm breeze sunset morning evening midnight kitchen bedroom cellar
attic balcony chimney roof floor wall door mirror clock lamp table chair sofa pillow blanket basket bottle kettle
spoon fork knife plate bowl glass cup pan oven stove fridge soap towel brush comb shirt jacket trousers skirt dress
coat hat scarf glove sock shoe boot sandal ring necklace bracelet watch wallet pencil eraser ruler notebook folder
stapler scissors glue marker chalk board desk school college library museum theatre cinema gallery church temple
castle palace tower statue fountain park playground stadium airport station
""".split()  # noqa: SIM905


@dataclass(frozen=True)
class Task:
    name: str
    what: str
    system: str
    rewards: list[dict[str, Any]]
    train: tuple[tuple[str, str], ...]
    """Question and reference answer."""
    held_out: tuple[tuple[str, str], ...]
    max_completion_length: int

    def asked(self, question: str) -> list[dict[str, str]]:
        return [{"role": "system", "content": self.system}, {"role": "user", "content": question}]

    @property
    def best(self) -> float:
        return parse(self.rewards).range[1]

    def scores(self, answers: Sequence[str]) -> list[float]:
        """Reward of each answer to the held-out questions; one without a score is an error of the task."""
        rows = [Row(question=question, reference=wanted) for question, wanted in self.held_out]
        found = score(parse(self.rewards), answers, rows).totals
        assert None not in found
        return found


def tasks() -> dict[str, Task]:
    return {task.name: task for task in (_json(), _sums())}


def _json() -> Task:
    rows = [(ask.format(word=word), word) for word in WORDS for ask in ASKS]
    rewards = [{"name": "json", "keys": {"word": "text", "kind": "text"}}]
    return Task("json", "JSON with two keys", "Answer as JSON.", rewards, *_parted(rows), max_completion_length=20)


ASKS = (
    '{{"word": "{word}", "kind": ?}}',
    'Complete this JSON: {{"word": "{word}", "kind": "?"}}',
    'Answer as {{"word": "{word}", "kind": ...}}',
)


def _sums() -> Task:
    pairs = [(a, b) for a in range(1, 31) for b in range(1, 13)]
    rows = [(f"What is {a} + {b}? Answer with the number only.", str(a + b)) for a, b in pairs]
    rewards = [{"name": "numeric_match"}, {"name": "exact_match"}]
    return Task("sums", "a sum, the number alone", "Be brief.", rewards, *_parted(rows), max_completion_length=10)


def _parted(rows: list[tuple[str, str]]) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
    random.Random(ROWS_SEED).shuffle(rows)
    return tuple(rows[HELD_OUT:][:TRAIN]), tuple(rows[:HELD_OUT])
