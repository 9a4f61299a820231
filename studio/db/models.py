"""Registered models, and what inspect jobs found out about them."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from studio.db.engine import next_change
from studio.db.tables import Inspection, Model
from studio.errors import UnknownName
from studio.protocol import ModelRef, utc_now


@dataclass(frozen=True, kw_only=True)
class ModelSummary:
    id: int
    name: str
    source: str
    path: str
    architecture: str
    size_bytes: int
    content_hash: str
    license: str | None
    facts: dict[str, Any]
    created_at: str

    def ref(self) -> ModelRef:
        """The model as a job's spec names it."""
        return ModelRef(name=self.name, path=self.path, content_hash=self.content_hash)


def list_models(session: Session) -> list[ModelSummary]:
    return [_summary(found) for found in session.scalars(select(Model).order_by(Model.id))]


def model(session: Session, name: str) -> ModelSummary:
    """A registered model by name, or by its folder.

    Raises:
        UnknownName: none of that name.
    """
    found = session.scalar(select(Model).where((Model.name == name) | (Model.path == name)))
    if found is None:
        known = ", ".join(session.scalars(select(Model.name).limit(10)))
        raise UnknownName("model.unknown", name=name, known=known or "–")
    return _summary(found)


def by_id(session: Session, model_id: int) -> ModelSummary:
    return _summary(session.get_one(Model, model_id))


def add_model(session: Session, *, name: str, source: str, path: str, facts: dict[str, Any]) -> int:
    """Enter a model, or bring the entry of this name up to date.

    `facts` holds at least architecture, size_bytes and content_hash.
    """
    found = session.scalar(select(Model).where(Model.name == name))
    if found is None:
        found = Model(name=name, created_at=utc_now())
        session.add(found)
    found.source, found.path, found.facts, found.license = source, path, facts, facts.get("license")
    found.architecture, found.size_bytes = facts["architecture"], facts["size_bytes"]
    found.content_hash = facts["content_hash"]
    next_change(session)
    session.flush()
    return found.id


def inspection(session: Session, model_hash: str, dataset_hash: str | None = None) -> dict[str, Any] | None:
    """The figures of a finished inspect job on this content, or None."""
    found = session.get(Inspection, _key(model_hash, dataset_hash))
    return found.figures if found else None


def any_inspection(session: Session, model_hash: str) -> dict[str, Any] | None:
    """What is known of the model itself, whichever data set it was looked at with; the figures may hold more."""
    found = select(Inspection).where(Inspection.key.startswith(model_hash, autoescape=True)).limit(1)
    kept = session.scalar(found)
    return kept.figures if kept else None


def keep_inspection(session: Session, model_hash: str, dataset_hash: str | None, figures: dict[str, Any]) -> None:
    session.merge(Inspection(key=_key(model_hash, dataset_hash), figures=figures))
    next_change(session)


def _key(model_hash: str, dataset_hash: str | None) -> str:
    return f"{model_hash}:{dataset_hash}" if dataset_hash else model_hash


def _summary(found: Model) -> ModelSummary:
    return ModelSummary(**{name: getattr(found, name) for name in ModelSummary.__dataclass_fields__})
