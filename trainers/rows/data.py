"""From rows.parquet to the tokens and labels that a model is trained on, and what had to be left out.

Tokenising is ours, so that the same code shows a person what will be trained (`trainers.inspect`), trains on it
(`trainers.sft`) and asks the trained model (`trainers.serve`): trl gets `input_ids` and `labels`. It follows trl's own
rules (`tests/trainers/test_data.py` compares them): the chat template renders the conversation, and a label other than
-100 stands on the answers only. Raw text is learned from end to end, and rows that bring their tokens keep them. No
torch here.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2

from studio.errors import JobFailed
from studio.protocol import DatasetRef
from studio.workshop.reports import DIFFICULTY
from studio.workshop.versions.layout import (
    MESSAGES,
    PREFERENCE,
    PROMPT_COMPLETION,
    TEXT,
    TOKENS,
    TRAINED_COLUMNS,
    UNPAIRED,
    row_of,
)
from trainers.attempt import Attempt
from trainers.rows.templates import Templates
from trainers.rows.thinking import Thinking, divided, is_covered, other_thought, without_reasoning

IGNORED = -100
ROWS = "rows.parquet"
NAMED_ROWS = 20
"""So many row numbers are spelled out in an alert; the rest is counted."""
BATCH_ROWS = 1000
"""Rows of a data set that are read at once, and of tokens that are written at once."""
MIDDLE = 0.5
"""How hard a row counts that was changed or added since the others were scored."""

Messages = list[dict[str, Any]]

TRAIN, VALIDATION = "train", "validation"


class RowLeftOut(Exception):
    """This row cannot be trained on; `code` is below `alerts.`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Sample:
    """What one row gives to learn from: a conversation, raw text, or tokens."""

    messages: Messages = field(default_factory=list)
    tools: list[Any] | None = None
    """Tool descriptions that the chat template shows to the model."""
    text: str | None = None
    input_ids: list[int] | None = None
    labels: list[int] | None = None
    """Beside `input_ids`; None: every token is learned."""

    @property
    def num_bytes(self) -> int:
        """Of its text in UTF-8, which tells long rows from short ones in any language; or how many tokens it has."""
        if self.input_ids is not None:
            return len(self.input_ids)
        turns = (turn.get(part) for turn in self.messages for part in ("content", "reasoning_content"))
        return sum(len(text.encode()) for text in (self.text, *turns) if isinstance(text, str))

    @property
    def num_tool_bytes(self) -> int:
        """Of the tools and their calls, which some chat templates show and others leave out."""
        parts = (self.tools, *(turn.get("tool_calls") for turn in self.messages))
        return sum(len(json.dumps(part, ensure_ascii=False).encode()) for part in parts if part)


@dataclass(frozen=True)
class Rendered:
    """One row as the model sees it."""

    row: int
    """Number in the source file, from 1."""
    input_ids: list[int]
    labels: list[int]
    """The token itself where the model learns to say it, else IGNORED."""
    last_answer_only: bool = False
    """Of several answers only the last could be marked."""
    reasoning_unread: bool = False
    """The row holds what the assistant thinks, and the model's chat template leaves it out, wholly or in part."""

    @property
    def answer_tokens(self) -> int:
        return sum(label != IGNORED for label in self.labels)


@dataclass
class Findings:
    """Rows that are not trained on as they stand: alert code -> row numbers."""

    rows: dict[str, list[int]] = field(default_factory=dict)

    def add(self, code: str, row: int) -> None:
        self.rows.setdefault(code, []).append(row)

    def named(self, code: str) -> dict[str, Any]:
        """Values of the alert: how many, and which."""
        numbers = self.rows[code]
        more = ", …" if len(numbers) > NAMED_ROWS else ""
        return {"count": len(numbers), "rows": ", ".join(map(str, numbers[:NAMED_ROWS])) + more}


USED = frozenset({"rows_shortened", "rows_with_last_answer_only", "data.reasoning_unread"})
"""Findings about rows that are learned from all the same."""


def tell_left_out(attempt: Attempt, code: str, findings: Findings, dataset: str) -> None:
    """One alert of all rows of another data set than the run's own that are left out, whatever the reason."""
    numbers = sorted({abs(row) for reason, rows in findings.rows.items() if reason not in USED for row in rows})
    if numbers:
        attempt.alert(code, dataset=dataset, **Findings({code: numbers}).named(code))


class Renderer:
    """Turns conversations into tokens with a tokenizer's chat template, or as plain text where it has none."""

    def __init__(self, tokenizer: Any, *, reasoning: str = "keep") -> None:
        """`reasoning` of a row: keep what the assistant thinks before it answers, or strip it."""
        self.tokenizer = tokenizer
        self._strips = reasoning == "strip"
        self.has_template = bool(tokenizer.chat_template)
        self._templates = templates = Templates(tokenizer)
        self._training_template: str | None = None
        self._asked_for_training_template = False
        self._tools: list[Any] | None = None
        self._ready: dict[tuple[int, bool], list[int] | jinja2.TemplateError] = {}
        self._thinking = Thinking(tokenizer.chat_template, lambda turns: templates.apply(turns)["input_ids"])

    def render(self, row: int, sample: Sample) -> Rendered:
        """Tokens and labels of a whole row.

        Raises:
            RowLeftOut: it holds no answer to learn, the chat template refuses it, or its tokens are not this model's.
        """
        if sample.input_ids is not None:
            return self._given(row, sample.input_ids, sample.labels)
        if sample.text is not None:
            return self._text(row, sample.text)
        turns = [without_reasoning(message) for message in sample.messages] if self._strips else sample.messages
        answers = [i for i, message in enumerate(turns) if i > 0 and _is_learned(message)]
        if not answers:
            raise RowLeftOut("rows_without_answer")
        try:
            return self._conversation(row, turns, answers, sample.tools)
        except jinja2.TemplateError as error:
            raise RowLeftOut("rows_refused_by_template") from error
        finally:
            self._tools, self._ready = None, {}

    def prompt(self, messages: Messages) -> list[int]:
        """Tokens that ask the model for the next answer."""
        if self.has_template:
            return self._ids(messages, add_generation_prompt=True)
        return self.tokenizer(_plain_prompt(messages))["input_ids"]

    def answer(self, prompt: Messages, answer: Messages) -> tuple[list[int], list[int]]:
        """Tokens of a question and of one answer to it, which ends as the model is to end it.

        Raises:
            RowLeftOut: there is no answer, or the chat template refuses the two.
        """
        if not any(message.get("content") or message.get("tool_calls") for message in answer):
            raise RowLeftOut("rows_without_answer")
        asked = [self._shown(message) for message in prompt]
        both = asked + [self._shown(message) for message in answer]
        try:
            begins, full = self.prompt(asked), self._answered(asked, both)
        except jinja2.TemplateError as error:
            raise RowLeftOut("rows_refused_by_template") from error
        size = _common_prefix(begins, full)
        return full[:size], full[size:]

    def _answered(self, asked: Messages, both: Messages) -> list[int]:
        if self.has_template:
            return self._ids(both)
        answer = "\n".join(message["content"] for message in both[len(asked) :])
        return self.tokenizer(_plain_prompt(asked) + answer + self.tokenizer.eos_token)["input_ids"]

    def _shown(self, message: dict[str, Any]) -> dict[str, Any]:
        """A turn as the chat template reads it: what is thought where the template shows it, no weight."""
        return {key: value for key, value in self._thinking.shown(message).items() if key != "weight"}

    def _conversation(self, row: int, turns: Messages, answers: list[int], tools: list[Any] | None) -> Rendered:
        messages = [self._shown(message) for message in turns]
        is_unread = any(map(self._thinking.leaves_out, turns))
        if not self.has_template:
            return replace(self._plain(row, messages[: answers[-1] + 1]), reasoning_unread=is_unread)
        self._tools = tools
        made = self._templated(row, messages, answers)
        # Where a template leaves out thoughts of earlier turns, it leaves out the first.
        learned = answers[-1:] if made.last_answer_only else answers
        first = next((i for i in learned if divided(turns[i])[0]), None)
        if not is_unread and first is not None and first < len(turns) - 1:
            changed = [*messages[:first], self._shown(other_thought(turns[first])), *messages[first + 1 :]]
            is_unread = self._templated(row, changed, answers).input_ids == made.input_ids
        return replace(made, reasoning_unread=is_unread)

    def _given(self, row: int, input_ids: list[int], labels: list[int] | None) -> Rendered:
        if max(input_ids) >= len(self.tokenizer):
            raise RowLeftOut("data.foreign_tokens")
        return Rendered(row, input_ids, list(input_ids) if labels is None else labels)

    def _text(self, row: int, text: str) -> Rendered:
        end = self.tokenizer.eos_token
        ids = self.tokenizer(text if text.endswith(end) else text + end)["input_ids"]
        return Rendered(row, ids, list(ids))

    def _plain(self, row: int, messages: Messages) -> Rendered:
        prompt, answer = _plain_prompt(messages[:-1]), messages[-1]["content"]
        full = self.tokenizer(prompt + answer + self.tokenizer.eos_token)["input_ids"]
        start = _common_prefix(self.tokenizer(prompt)["input_ids"], full)
        return Rendered(row, full, _labels(full, [(start, len(full))]))

    def _templated(self, row: int, messages: Messages, answers: list[int]) -> Rendered:
        wanted = {(len(messages), False)}.union(*({(i, True), (i + 1, False)} for i in answers))
        self._ready = self._templates.beginnings(messages, sorted(wanted), tools=self._tools)
        full = self._ids(messages)
        spans = [self._span(messages, i, full) for i in answers]
        if None not in spans:
            return Rendered(row, full, _labels(full, spans))
        marked = self._marked_by_template(messages, answers)
        if marked is not None:
            return Rendered(row, *marked)
        # The template renders earlier turns differently once later ones follow: only the last answer is certain.
        messages = messages[: answers[-1] + 1]
        full = self._ids(messages)
        start = _common_prefix(self.prompt(messages[:-1]), full)
        return Rendered(row, full, _labels(full, [(start, len(full))]), last_answer_only=len(answers) > 1)

    def _span(self, messages: Messages, answer: int, full: list[int]) -> tuple[int, int] | None:
        """Where one answer stands in the rendered conversation, its end-of-turn token included."""
        until = full if answer == len(messages) - 1 else self._ids(messages[: answer + 1])
        if full[: len(until)] != until:
            return None
        return _common_prefix(self.prompt(messages[:answer]), full), len(until)

    def _marked_by_template(self, messages: Messages, answers: list[int]) -> tuple[list[int], list[int]] | None:
        """Tokens and labels by a template with generation marks: the model's own, or trl's for this family.

        Such a template marks every answer; where not all are learned, the others' marks are taken away again.
        """
        if not self._asked_for_training_template:
            self._training_template = self._templates.for_training()
            self._asked_for_training_template = True
        if self._training_template is None or is_covered(messages):
            return None
        made = self._templates.apply(
            messages, tools=self._tools, chat_template=self._training_template, return_assistant_tokens_mask=True
        )
        ids, mask = made["input_ids"], made["assistant_masks"]
        said = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        if said != answers:
            mask = _only([answer in answers for answer in said], mask)
        return None if mask is None else ids, [
            token if marked else IGNORED for token, marked in zip(ids, mask, strict=True)
        ]

    def _ids(self, messages: Messages, *, add_generation_prompt: bool = False) -> list[int]:
        ready = self._ready.get((len(messages), add_generation_prompt))
        if isinstance(ready, jinja2.TemplateError):
            raise ready
        if ready is not None:
            return ready
        made = self._templates.apply(messages, tools=self._tools, add_generation_prompt=add_generation_prompt)
        return made["input_ids"]


def num_batches(dataset: DatasetRef) -> int:
    """Batches of BATCH_ROWS rows, of all sides, as `conversations` counts them."""
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(Path(dataset.path) / ROWS) as file:
        return -(-file.metadata.num_rows // BATCH_ROWS)


def conversations(
    dataset: DatasetRef, *, split: str | None = TRAIN, batches: range | None = None
) -> Iterator[tuple[int, Sample]]:
    """Number and content of every row of a data set version that is on this side of its split, in order.

    A version that was not split is to train on as a whole; `split` None gives the rows of all sides. Memory is bounded.

    Args:
        batches: only these of the batches of BATCH_ROWS rows.
    """
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(Path(dataset.path) / ROWS) as file:
        there = set(file.schema_arrow.names)
        columns = [name for name in ("row", *TRAINED_COLUMNS[dataset.format], "split") if name in there]
        for number, batch in enumerate(file.iter_batches(BATCH_ROWS, columns=columns)):
            for line in batch.to_pylist() if batches is None or number in batches else ():
                if split in (None, line.get("split") or TRAIN):
                    yield line["row"], _sample(row_of(line, dataset.format), dataset.format)


def _sample(fields: dict[str, Any], format: str) -> Sample:
    if format == MESSAGES:
        return Sample(messages=fields["messages"], tools=fields.get("tools"))
    if format == PROMPT_COMPLETION:
        return Sample(messages=_as_messages(fields["prompt"], fields["completion"]))
    if format == TEXT:
        return Sample(text=fields["text"])
    if format == PREFERENCE:
        return _asked(fields["prompt"], max(fields["chosen"], fields["rejected"], key=_letters))
    if format == UNPAIRED:
        return _asked(fields["prompt"], fields["completion"])
    assert format == TOKENS, format
    return Sample(input_ids=fields["input_ids"], labels=fields.get("labels"))


def render_rows(
    rows: Iterable[tuple[int, Sample]], renderer: Renderer, *, max_length: int | None, findings: Findings
) -> Iterator[Rendered]:
    """Render rows, cut to `max_length`; what is left out or shortened is noted in `findings`."""
    for number, sample in rows:
        try:
            rendered = renderer.render(number, sample)
        except RowLeftOut as reason:
            findings.add(reason.code, number)
            continue
        if rendered.reasoning_unread:
            findings.add("data.reasoning_unread", number)
        if rendered.last_answer_only:
            findings.add("rows_with_last_answer_only", number)
        if max_length is not None and len(rendered.input_ids) > max_length:
            rendered = Rendered(number, rendered.input_ids[:max_length], rendered.labels[:max_length])
            findings.add("rows_shortened" if rendered.answer_tokens else "rows_cut_off", number)
        if rendered.answer_tokens:
            yield rendered


def difficulties(dataset: DatasetRef) -> dict[int, float]:
    """Row number -> how hard the row is, from 0 to 1, as the version keeps it; not of rows changed since.

    Raises:
        JobFailed: no_difficulty: nobody had the rows of this version scored.
    """
    import pyarrow.parquet

    path = Path(dataset.path) / DIFFICULTY
    if not path.is_file():
        raise JobFailed("no_difficulty", dataset=dataset.name, version=dataset.version)
    table = pyarrow.parquet.read_table(path, columns=["row", "difficulty"])
    return dict(zip(table["row"].to_pylist(), table["difficulty"].to_pylist(), strict=True))


def write_tokens(rows: Iterable[Rendered], path: Path) -> int:
    """Write rendered rows to an Arrow stream file that `datasets.Dataset.from_file` maps; returns how many."""
    import pyarrow as pa

    tokens = pa.list_(pa.int32())
    schema = pa.schema({"row": pa.int64(), "input_ids": tokens, "labels": tokens})
    count = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for batch in _batches(rows):
            columns = [[getattr(row, name) for row in batch] for name in schema.names]
            arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            count += len(batch)
    return count


def held_out(count: int, share: float, *, seed: int) -> tuple[list[int], list[int]]:
    """Indices to train on and to validate with; a share above 0 holds out at least one row if two are there."""
    import numpy

    if share == 0 or count < 2:
        return list(range(count)), []
    size = min(max(1, round(count * share)), count - 1)
    chosen = set(numpy.random.default_rng(seed).permutation(count)[:size].tolist())
    return [i for i in range(count) if i not in chosen], sorted(chosen)


def segments(rendered: Rendered, tokenizer: Any) -> list[list]:
    """The row as `[[text, is_trained], ...]`, for showing what is learned."""
    pieces: list[list] = []
    tokens: list[int] = []
    for index, token in enumerate(rendered.input_ids):
        tokens.append(token)
        is_last = index + 1 == len(rendered.input_ids)
        trained = rendered.labels[index] != IGNORED
        if is_last or (rendered.labels[index + 1] != IGNORED) != trained:
            pieces.append([tokenizer.decode(tokens), trained])
            tokens = []
    return pieces


def _as_messages(prompt: str, completion: str) -> Messages:
    return [{"role": "user", "content": prompt}, {"role": "assistant", "content": completion}]


def _asked(prompt: Messages, answer: Messages) -> Sample:
    """A question and one answer to it: of a pair the longer one, as it decides the row's length."""
    return Sample(messages=[turn | {"weight": 0} for turn in prompt] + answer)


def _letters(turns: Messages) -> int:
    return sum(len(turn["content"] or "") for turn in turns)


def _is_learned(message: dict[str, Any]) -> bool:
    return message["role"] == "assistant" and message.get("weight") != 0


def _only(wanted: list[bool], mask: list[int]) -> list[int] | None:
    """The mask with the runs of ones that are not wanted set to zero; None if they are not one a wanted entry."""
    runs = [list(group) for _, group in groupby(mask)]
    if sum(run[0] for run in runs) != len(wanted):
        return None
    is_wanted = iter(wanted)
    return [mark for run in runs for mark in (run if run[0] and next(is_wanted) else [0] * len(run))]


def _plain_prompt(messages: Messages) -> str:
    """What a model without chat template reads before it answers: the texts, a line break between them."""
    text = "\n".join(message["content"] for message in messages)
    return text if not text or text[-1].isspace() else text + "\n"


def _labels(ids: list[int], spans: Iterable[tuple[int, int]]) -> list[int]:
    labels = [IGNORED] * len(ids)
    for start, end in spans:
        labels[start:end] = ids[start:end]
    return labels


def _common_prefix(a: list[int], b: list[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _batches(rows: Iterable[Rendered]) -> Iterator[list[Rendered]]:
    batch: list[Rendered] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch
