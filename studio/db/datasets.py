"""Data sets and their versions in the registry; the rows themselves lie in the versions' folders."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from studio.db.engine import next_change
from studio.db.tables import Dataset, DatasetVersion
from studio.errors import UnknownName
from studio.protocol import DatasetRef, utc_now
from studio.workshop.reports import DIFFICULTY


@dataclass(frozen=True, kw_only=True)
class DatasetSummary:
    """One version of a data set."""

    name: str
    version: int
    is_current: bool
    version_id: int
    parent: int | None
    rows: int
    problems: int
    excluded: int
    format: str
    shape: str
    path: str
    content_hash: str
    manifest: dict[str, Any]
    created_at: str

    def ref(self) -> DatasetRef:
        """The version as a job's spec names it."""
        return DatasetRef(
            name=self.name,
            version=self.version,
            path=self.path,
            content_hash=self.content_hash,
            format=self.format,
            rows=self.rows,
            splits=self.manifest.get("splits", {}),
        )

    @property
    def training_rows(self) -> int:
        """Rows that are neither for validation nor for the test."""
        return self.ref().training_rows

    @property
    def validation_rows(self) -> int:
        """Rows that the version's own split holds out for validation."""
        return self.manifest.get("splits", {}).get("validation", 0)

    @property
    def has_difficulty(self) -> bool:
        """Whether the version keeps how hard each row is."""
        return (Path(self.path) / DIFFICULTY).is_file()


def list_datasets(session: Session) -> list[DatasetSummary]:
    """Each data set at its current version, newest first."""
    query = _summaries().where(DatasetVersion.number == Dataset.current_version).order_by(DatasetVersion.id.desc())
    return [_summary(row) for row in session.execute(query)]


def dataset(session: Session, name: str, number: int | None = None) -> DatasetSummary:
    """A data set by `name` or `name@version`, at that version or the current one.

    Raises:
        UnknownName: no data set, or no version, of that name.
    """
    if number is None and "@" in name:
        name, _, digits = name.rpartition("@")
        number = int(digits.removeprefix("v")) if digits.removeprefix("v").isdecimal() else -1
    wanted = Dataset.current_version if number is None else number
    row = session.execute(_summaries().where(Dataset.name == name, DatasetVersion.number == wanted)).first()
    if row is None:
        known = ", ".join(session.scalars(select(Dataset.name).where(Dataset.current_version.is_not(None)).limit(10)))
        raise UnknownName("data.unknown", name=name if number is None else f"{name}@{number}", known=known or "–")
    return _summary(row)


def by_version_id(session: Session, version_id: int) -> DatasetSummary:
    return _summary(session.execute(_summaries().where(DatasetVersion.id == version_id)).one())


def versions(session: Session, name: str) -> list[DatasetSummary]:
    """All versions of a data set, newest first."""
    query = _summaries().where(Dataset.name == name).order_by(DatasetVersion.number.desc())
    return [_summary(row) for row in session.execute(query)]


def ancestors(session: Session, version: DatasetSummary) -> list[DatasetSummary]:
    """The versions that this one was made from, newest first."""
    by_number = {each.version: each for each in versions(session, version.name)}
    found, number = [], version.parent
    while number in by_number:
        found.append(by_number[number])
        number = by_number[number].parent
    return found


def reserve(session: Session, name: str) -> int:
    """The id of the data set of this name, made if new; it is listed once it has a version."""
    known = session.scalar(select(Dataset.id).where(Dataset.name == name))
    if known is not None:
        return known
    made = Dataset(name=name, created_at=utc_now(), current_version=None)
    session.add(made)
    session.flush()
    return made.id


def next_number(session: Session, dataset_id: int) -> int:
    newest = session.scalar(select(func.max(DatasetVersion.number)).where(DatasetVersion.dataset_id == dataset_id))
    return (newest or 0) + 1


def add_version(
    session: Session, dataset_id: int, *, number: int, path: str, job_id: int, manifest: dict[str, Any]
) -> None:
    """Enter a finished version folder and make it the current one."""
    session.add(
        DatasetVersion(
            dataset_id=dataset_id,
            number=number,
            parent=session.get_one(Dataset, dataset_id).current_version,
            job_id=job_id,
            path=path,
            manifest=manifest,
            created_at=utc_now(),
            **{key: manifest[key] for key in ("format", "shape", "rows", "problems", "excluded", "content_hash")},
        )
    )
    set_current(session, dataset_id, number)


def set_current(session: Session, dataset_id: int, number: int) -> None:
    session.get_one(Dataset, dataset_id).current_version = number
    next_change(session)


def set_note(session: Session, name: str, number: int, note: str | None) -> None:
    """Keep a person's words about a version beside its manifest; the version's folder never changes.

    Raises:
        UnknownName: no such version.
    """
    version = session.get_one(DatasetVersion, dataset(session, name, number).version_id)
    version.manifest = version.manifest | {"note": note}
    next_change(session)


def _summaries() -> Select:
    return select(Dataset, DatasetVersion).join(DatasetVersion, DatasetVersion.dataset_id == Dataset.id)


def _summary(row: Any) -> DatasetSummary:
    owner, version = row
    same = (
        "parent",
        "rows",
        "problems",
        "excluded",
        "format",
        "shape",
        "path",
        "content_hash",
        "manifest",
        "created_at",
    )
    return DatasetSummary(
        name=owner.name,
        version=version.number,
        is_current=version.number == owner.current_version,
        version_id=version.id,
        **{key: getattr(version, key) for key in same},
    )
