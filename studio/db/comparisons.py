"""Comparisons and chats: what was asked of whom, and the answers as they grow."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from studio.db.engine import next_change
from studio.db.tables import Answer, Comparison
from studio.errors import UnknownName
from studio.protocol import utc_now

OPEN = ("waiting", "answering")


@dataclass(frozen=True, kw_only=True)
class AnswerView:
    id: int
    comparison_id: int
    prompt: int
    column: int
    messages: list[dict[str, str]]
    state: str
    text: str
    error: str | None
    """A code below `errors.`."""
    tokens: int
    seconds: float
    vote: str | None


@dataclass(frozen=True, kw_only=True)
class ComparisonView:
    id: int
    kind: str
    columns: list[dict[str, Any]]
    settings: dict[str, Any]
    created_at: str
    answers: list[AnswerView]
    """By prompt, then column."""

    @property
    def is_open(self) -> bool:
        return any(answer.state in OPEN for answer in self.answers)

    @property
    def prompts(self) -> list[str]:
        """What the person typed, by row."""
        return [answer.messages[-1]["content"] for answer in self.answers if answer.column == 0]


def add_comparison(session: Session, *, kind: str, columns: list[dict[str, Any]], settings: dict[str, Any]) -> int:
    made = Comparison(kind=kind, columns=columns, settings=settings, created_at=utc_now())
    session.add(made)
    session.flush()
    return made.id


def ask(session: Session, comparison_id: int, *, column: int, messages: list[dict[str, str]], prompt: int) -> int:
    """Add one answer to be given."""
    made = Answer(
        comparison_id=comparison_id,
        prompt=prompt,
        column=column,
        messages=messages,
        state="waiting",
        text="",
        tokens=0,
        seconds=0.0,
    )
    session.add(made)
    session.flush()
    next_change(session)
    return made.id


def comparison(session: Session, comparison_id: int) -> ComparisonView:
    """One comparison with all its answers.

    Raises:
        UnknownName: none with this number.
    """
    found = session.get(Comparison, comparison_id)
    if found is None:
        raise UnknownName("comparison.unknown", comparison=comparison_id)
    answers = session.scalars(
        select(Answer).where(Answer.comparison_id == comparison_id).order_by(Answer.prompt, Answer.column)
    )
    return ComparisonView(
        id=found.id,
        kind=found.kind,
        columns=found.columns,
        settings=found.settings,
        created_at=found.created_at,
        answers=[_view(answer) for answer in answers],
    )


def list_comparisons(session: Session, *, kind: str = "compare", limit: int = 50) -> list[ComparisonView]:
    """Newest first."""
    ids = session.scalars(
        select(Comparison.id).where(Comparison.kind == kind).order_by(Comparison.id.desc()).limit(limit)
    )
    return [comparison(session, found) for found in ids.all()]


def open_answers(session: Session) -> list[AnswerView]:
    """What a serve job has still to say, oldest first."""
    return [_view(found) for found in session.scalars(select(Answer).where(Answer.state.in_(OPEN)).order_by(Answer.id))]


def columns_of(session: Session, comparison_ids: set[int]) -> dict[int, tuple[list[dict], dict]]:
    """Comparison -> its columns and settings."""
    rows = session.execute(
        select(Comparison.id, Comparison.columns, Comparison.settings).where(Comparison.id.in_(comparison_ids))
    )
    return {found: (columns, settings) for found, columns, settings in rows}


def update_answer(session: Session, data: dict[str, Any]) -> None:
    """Take in a `sample` event: the answer's whole text so far."""
    error = data.get("error")
    state = "failed" if error else "done" if data["done"] else "answering"
    session.execute(
        update(Answer)
        .where(Answer.id == data["answer_id"], Answer.state.in_(OPEN))
        .values(
            state=state,
            text=data["text"],
            error=error,
            tokens=data.get("tokens", 0),
            seconds=data.get("seconds", 0.0),
        )
    )


def give_up(session: Session, code: str) -> None:
    """Fail every open answer, when no serve job can be had."""
    session.execute(update(Answer).where(Answer.state.in_(OPEN)).values(state="failed", error=code))
    next_change(session)


def num_prompts(session: Session, comparison_id: int) -> int:
    newest = session.scalar(select(func.max(Answer.prompt)).where(Answer.comparison_id == comparison_id))
    return 0 if newest is None else newest + 1


def _view(found: Answer) -> AnswerView:
    return AnswerView(**{name: getattr(found, name) for name in AnswerView.__dataclass_fields__})
