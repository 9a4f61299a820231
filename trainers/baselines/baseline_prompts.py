"""The ways in which the bench asks a row, fitted to what the model can read.

ways(ask, rows, task, renderer, room=2048)  ->  [Way("plain", ...), Way("system", ...), Way("examples", shown=4), ...]
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from studio.evaluation import prompts
from studio.evaluation.baseline import CONTEXT, EXAMPLES, PLAIN, RETRIEVED, SYSTEM, Ask, rules
from studio.evaluation.prompts import Messages, Retriever, question_and_answer
from studio.evaluation.task import Task
from trainers.baselines.baseline_rows import Numbered, Rows, examples_of
from trainers.rows.data import Renderer, Sample

MOST_PASTED_TOKENS = 1024
"""A pasted text up to this long is shown whole; of a longer one the likest passages."""


@dataclass(frozen=True)
class Way:
    """One way to ask."""

    kind: str
    put: Callable[[Messages], Messages]
    """A row's messages as they are asked."""
    system: str = ""
    is_proposed: bool = False
    shown: int = 0


def ways(ask: Ask, rows: Rows, task: Task, renderer: Renderer, *, room: int) -> list[Way]:
    """Those that were asked for and fit; the plain way is always among them.

    Args:
        room: tokens that a question and its answer may have together with what is put before them.
    """
    answers = [question_and_answer(sample.messages)[1] for _, sample in rows.pool]
    language = prompts.language_of(answers)
    made = {
        PLAIN: lambda: Way(PLAIN, lambda messages: messages),
        SYSTEM: lambda: _system(ask, task, answers, language),
        EXAMPLES: lambda: _examples(ask, rows, renderer, room),
        RETRIEVED: lambda: _retrieved(rows.pool, renderer, room, language),
        CONTEXT: lambda: _context(ask.context, renderer, room, language),
    }
    wanted = [PLAIN, *(kind for kind in made if kind in ask.kinds and kind != PLAIN)]
    return [way for kind in wanted if (way := made[kind]()) is not None]


def _system(ask: Ask, task: Task, answers: Sequence[str], language: str) -> Way:
    typed = ask.system.strip()
    text = typed or prompts.proposed_system(task, answers, goal=ask.goal, language=language)
    return Way(SYSTEM, partial(prompts.with_system, text=text), text, not typed)


def _examples(ask: Ask, rows: Rows, renderer: Renderer, room: int) -> Way | None:
    """As many examples as the longest row leaves room for."""
    found = examples_of(rows.pool, rules()["examples"], ask.held.seed)
    longest = max((sample for _, sample in rows.compared), key=lambda sample: _size(sample.messages, renderer))
    while found and _size(prompts.with_examples(longest.messages, found), renderer) > room:
        found.pop()
    return Way(EXAMPLES, partial(prompts.with_examples, examples=found), shown=len(found)) if found else None


def _retrieved(pool: Numbered, renderer: Renderer, room: int, language: str) -> Way | None:
    pairs = [question_and_answer(sample.messages) for _, sample in pool]
    if not pairs:
        return None
    retriever = Retriever([asked for asked, _ in pairs], [f"{asked} {said}" for asked, said in pairs])
    return _with_found(RETRIEVED, retriever, renderer, room, language)


def _context(text: str, renderer: Renderer, room: int, language: str) -> Way | None:
    passages = prompts.passages_of(text)
    if not passages:
        return None
    if len(renderer.tokenizer(text)["input_ids"]) <= min(MOST_PASTED_TOKENS, room // 2):
        put = partial(prompts.with_passages, passages=[text.strip()], language=language)
        return Way(CONTEXT, put, shown=1)
    return _with_found(CONTEXT, Retriever(passages, passages), renderer, room, language)


def _with_found(kind: str, retriever: Retriever, renderer: Renderer, room: int, language: str) -> Way:
    most = rules()["passages"]

    def put(messages: Messages) -> Messages:
        question, _ = question_and_answer(messages)
        found = retriever.find(question, most)
        while True:
            made = prompts.with_passages(messages, found, language=language)
            if not found or _size(made, renderer) <= room:
                return made
            found = found[:-1]

    return Way(kind, put, shown=most)


def _size(messages: Messages, renderer: Renderer) -> int:
    """About the tokens of a row: an answer's own end is left out."""
    return len(renderer.prompt([{key: value for key, value in turn.items() if key != "weight"} for turn in messages]))


def asked(way: Way, rows: Numbered) -> Numbered:
    """The rows as this way asks them."""
    return [(row, Sample(messages=way.put(sample.messages), tools=sample.tools)) for row, sample in rows]
