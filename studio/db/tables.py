"""The registry's tables. Their history is in `migrations/`; a test compares the two.

Times are UTC text as `studio.protocol.utc_now` writes it. JSON columns hold what is shown or passed on, never what is
searched by. `change` columns carry the registry's change number at the row's last change, so a page can ask cheaply
whether what it shows has moved.
"""

from typing import Any

from sqlalchemy import JSON, CheckConstraint, ForeignKey, Index, UniqueConstraint, false
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from studio.jobs.lifecycle import STATES


class Base(DeclarativeBase):
    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON}


class Clock(Base):
    """One row: the number of the last change anywhere, and the position counter of the queue."""

    __tablename__ = "clock"
    id: Mapped[int] = mapped_column(primary_key=True)
    change: Mapped[int]
    last_job: Mapped[int] = mapped_column(server_default="0")
    """The highest number that a job ever had: none is given twice, so no run finds another one's files."""
    last_checkpoint: Mapped[int] = mapped_column(server_default="0")
    """The same of checkpoints: a chat or a bookmark names its own by number."""


class Dataset(Base):
    __tablename__ = "datasets"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[str]
    current_version: Mapped[int | None]
    """Number of the version in use; rolling back moves it."""


class DatasetVersion(Base):
    """An immutable folder: rows.parquet, problems.parquet, manifest.json."""

    __tablename__ = "dataset_versions"
    __table_args__ = (UniqueConstraint("dataset_id", "number"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    number: Mapped[int]
    parent: Mapped[int | None]
    job_id: Mapped[int | None]
    """The job that made it, which may have been removed since."""
    path: Mapped[str]
    format: Mapped[str]
    """trl type of the rows: messages or prompt_completion."""
    shape: Mapped[str]
    """Shape of the source: chat, sharegpt, alpaca, prompt_completion."""
    rows: Mapped[int]
    problems: Mapped[int]
    """Source rows that cannot be used and are not excluded by hand."""
    excluded: Mapped[int]
    content_hash: Mapped[str]
    manifest: Mapped[dict[str, Any]]
    created_at: Mapped[str]


class Model(Base):
    __tablename__ = "models"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    source: Mapped[str]
    """starter, local or hub."""
    path: Mapped[str]
    architecture: Mapped[str]
    size_bytes: Mapped[int]
    content_hash: Mapped[str]
    license: Mapped[str | None]
    facts: Mapped[dict[str, Any]]
    """Parsed config.json, chat template present or not; what the page and the calculator show."""
    created_at: Mapped[str]


class Job(Base):
    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(f"state IN ({', '.join(repr(state) for state in STATES)})", name="job_state_known"),
        Index("jobs_by_state", "state", "position"),
        Index("jobs_by_kind", "kind", "id"),
        Index("jobs_by_kind_state", "kind", "state"),
        # Everything that the list of runs filters by, so that no filter reads the wide rows themselves.
        Index(
            "jobs_listed",
            *("kind", "is_archived", "id", "state", "title", "model_id", "dataset_version_id", "disk_bytes"),
        ),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    """train, inspect, prepare, serve, fetch, and others (`docs/design.md`)."""
    method: Mapped[str | None]
    tuning: Mapped[str | None]
    title: Mapped[str]
    request_id: Mapped[str | None] = mapped_column(unique=True)
    """Chosen by the asker: the same request asked twice is one job."""
    state: Mapped[str]
    reason: Mapped[str | None]
    reason_values: Mapped[dict[str, Any]]
    wish: Mapped[str | None]
    """stop, stop_now, save or pause: what a person asked for; not a state."""
    wish_number: Mapped[int]
    wish_at: Mapped[str | None]
    position: Mapped[int]
    """Order in the queue."""
    needs_device: Mapped[bool]
    """Whether it must hold a lease while it runs."""
    wanted_device: Mapped[str | None]
    """The one device that it may run on, cuda:1; null: any."""
    is_archived: Mapped[bool] = mapped_column(server_default=false())
    """Out of the list, with everything kept."""
    disk_bytes: Mapped[int | None]
    """What its folder held when that was last looked at."""
    values: Mapped[dict[str, Any]]
    """The resolved spec's values; `chosen` names those that a person set."""
    chosen: Mapped[list[Any]]
    figures: Mapped[dict[str, Any]]
    dataset_version_id: Mapped[int | None] = mapped_column(ForeignKey("dataset_versions.id"))
    model_id: Mapped[int | None] = mapped_column(ForeignKey("models.id"))
    attempt: Mapped[int]
    """Number of the newest attempt; 0 before the first."""
    phase: Mapped[str | None]
    progress_done: Mapped[float | None]
    progress_total: Mapped[float | None]
    progress_unit: Mapped[str | None]
    seconds_left: Mapped[float | None]
    last_metrics: Mapped[dict[str, Any]]
    """Last value of each metric."""
    change: Mapped[int]
    created_at: Mapped[str]
    started_at: Mapped[str | None]
    finished_at: Mapped[str | None]


class JobTag(Base):
    """A word that a person, or a grid, gave to a run."""

    __tablename__ = "job_tags"
    __table_args__ = (Index("jobs_by_tag", "tag", "job_id"),)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(primary_key=True)


class JobNote(Base):
    """What a person wrote about a run."""

    __tablename__ = "job_notes"
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    text: Mapped[str]


class Attempt(Base):
    """One process of a job, and how far its events have been read."""

    __tablename__ = "attempts"
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    pid: Mapped[int | None]
    process_started_at: Mapped[float | None]
    """Seconds since the epoch as psutil tells it; only compared within 5 s (it follows the wall clock)."""
    started_at: Mapped[str]
    ended_at: Mapped[str | None]
    exit_code: Mapped[int | None]
    event_offset: Mapped[int]
    invalid_lines: Mapped[int]
    start_step: Mapped[int]
    """Step that the attempt resumed from; 0 for a fresh start."""


class Lease(Base):
    """Who holds a device: the primary key lets one job hold it."""

    __tablename__ = "leases"
    device: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))


class JobEvent(Base):
    """Everything that happened to a job except metric points; transitions have type `state` and no seq."""

    __tablename__ = "job_events"
    __table_args__ = (UniqueConstraint("job_id", "attempt", "seq"), Index("events_by_job_type", "job_id", "type", "id"))
    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    seq: Mapped[int | None]
    time: Mapped[str]
    type: Mapped[str]
    data: Mapped[dict[str, Any]]


class MetricChunk(Base):
    """Up to `metrics.CHUNK_POINTS` points of one series of one attempt, packed: int64 steps, float64 values."""

    __tablename__ = "metric_chunks"
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    count: Mapped[int]
    steps: Mapped[bytes]
    values: Mapped[bytes]


class Checkpoint(Base):
    __tablename__ = "checkpoints"
    __table_args__ = (UniqueConstraint("job_id", "step"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    step: Mapped[int]
    epoch: Mapped[float]
    path: Mapped[str]
    size_bytes: Mapped[int]
    digest: Mapped[str]
    metrics: Mapped[dict[str, Any]]
    created_at: Mapped[str]


class Comparison(Base):
    """Prompts down, models across; a chat is a comparison of one column that grows by a prompt a turn."""

    __tablename__ = "comparisons"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    """compare or chat."""
    columns: Mapped[list[Any]]
    """Per column: {"model": name, "checkpoint": id or null, "title": text}."""
    settings: Mapped[dict[str, Any]]
    """seed, temperature, top_p, max_new_tokens, system."""
    created_at: Mapped[str]


class Answer(Base):
    __tablename__ = "answers"
    __table_args__ = (
        UniqueConstraint("comparison_id", "prompt", "column"),
        Index("answers_open", "state"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    comparison_id: Mapped[int] = mapped_column(ForeignKey("comparisons.id", ondelete="CASCADE"))
    prompt: Mapped[int]
    """Row in the grid, from 0."""
    column: Mapped[int]
    messages: Mapped[list[Any]]
    """What the model is asked: role and content of each turn."""
    state: Mapped[str]
    """waiting, answering, done or failed."""
    text: Mapped[str]
    error: Mapped[str | None]
    tokens: Mapped[int]
    seconds: Mapped[float]
    vote: Mapped[str | None]


class Inspection(Base):
    """What an inspect job found out, kept by content so that it is asked once."""

    __tablename__ = "inspections"
    key: Mapped[str] = mapped_column(primary_key=True)
    """<model content hash>, or <model content hash>:<data set content hash>."""
    figures: Mapped[dict[str, Any]]


class MemoryMeasurement(Base):
    """What one attempt of a run, or one probe, really took, with all that is needed to predict it again."""

    __tablename__ = "memory_measurements"
    __table_args__ = (UniqueConstraint("job_id", "attempt"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int]
    """The job, which may have been removed since: its experience stays."""
    attempt: Mapped[int]
    kind: Mapped[str]
    """train or probe_memory."""
    outcome: Mapped[str]
    """succeeded, stopped, paused, failed, or out_of_memory."""
    model_hash: Mapped[str]
    """Key of the model's inventory among the inspections."""
    device: Mapped[str]
    """cpu, or the GPU's name."""
    device_bytes: Mapped[int]
    """All the memory that it has."""
    libraries: Mapped[dict[str, Any]]
    """Library -> version."""
    values: Mapped[dict[str, Any]]
    """The resolved values of the run."""
    longest_row: Mapped[int | None]
    """Tokens of the data set's longest row, as it was inspected."""
    peaks: Mapped[dict[str, Any]]
    """The job's event `peaks`: by phase, altogether, and the largest batches; empty where it never came so far."""
    prediction: Mapped[dict[str, Any]]
    """What the run was shown when it started."""
    predicted_bytes: Mapped[int | None]
    """What the calculator alone says of the batches that the run came to."""
    calculator: Mapped[str]
    """Which calculator said so; another one says it anew."""
    measured_at: Mapped[str]


class Preference(Base):
    """Small settings of this studio: the last form, measured speeds."""

    __tablename__ = "preferences"
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]


class Annotator(Base):
    """Somebody who marks rows: a name, no account."""

    __tablename__ = "annotators"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[str]


class LabelRound(Base):
    """Rows of a data set that annotators are asked to mark, under one guide."""

    __tablename__ = "label_rounds"
    __table_args__ = (UniqueConstraint("dataset_id", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    dataset_id: Mapped[int] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"))
    name: Mapped[str]
    guide: Mapped[str]
    """What to judge and how, Markdown shown as text."""
    scale: Mapped[dict[str, Any]]
    """A `studio.workshop.labelling.marks.Scale`."""
    tags: Mapped[list[Any]]
    """Offered to annotators, who may add others."""
    num_annotators: Mapped[int]
    """Marks wanted a row."""
    sampling: Mapped[dict[str, Any]]
    """by (all, random, findings, disagreement), count, seed."""
    version_number: Mapped[int]
    """Version whose rows the tasks' digests tell."""
    is_closed: Mapped[bool]
    created_at: Mapped[str]


class LabelTask(Base):
    """One row of a round."""

    __tablename__ = "label_tasks"
    __table_args__ = (UniqueConstraint("round_id", "row"), Index("tasks_in_order", "round_id", "place"))
    id: Mapped[int] = mapped_column(primary_key=True)
    round_id: Mapped[int] = mapped_column(ForeignKey("label_rounds.id", ondelete="CASCADE"))
    place: Mapped[int]
    row: Mapped[int]
    digest: Mapped[str | None]
    """Hash of what training gets of the row, in the round's version; null: it is not in there."""


class Mark(Base):
    """What one annotator said of one row as it was then: it counts while the row's digest is the same."""

    __tablename__ = "marks"
    __table_args__ = (
        UniqueConstraint("task_id", "annotator_id", "digest"),
        CheckConstraint("state IN ('claimed', 'skipped', 'done')", name="mark_state_known"),
        Index("marks_by_annotator", "annotator_id", "saved_at"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("label_tasks.id", ondelete="CASCADE"))
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotators.id"))
    digest: Mapped[str]
    state: Mapped[str]
    """claimed: on the annotator's screen; skipped: left to others; done."""
    rating: Mapped[str | None]
    tags: Mapped[list[Any]]
    correction: Mapped[str | None]
    note: Mapped[str]
    is_flagged: Mapped[bool]
    seconds: Mapped[float | None]
    """From being shown to being saved."""
    claimed_at: Mapped[str]
    saved_at: Mapped[str | None]


class LabelDecision(Base):
    """An arbiter's final word on a row as it was then."""

    __tablename__ = "label_decisions"
    task_id: Mapped[int] = mapped_column(ForeignKey("label_tasks.id", ondelete="CASCADE"), primary_key=True)
    digest: Mapped[str] = mapped_column(primary_key=True)
    annotator_id: Mapped[int] = mapped_column(ForeignKey("annotators.id"))
    rating: Mapped[str | None]
    tags: Mapped[list[Any]]
    correction: Mapped[str | None]
    note: Mapped[str]
    decided_at: Mapped[str]


class Pipeline(Base):
    """Several stages in a row, each beginning with the weights of the one before."""

    __tablename__ = "pipelines"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    request_id: Mapped[str | None] = mapped_column(unique=True)
    is_stopped: Mapped[bool]
    """A person stopped it: no further stage begins until it is resumed."""
    created_at: Mapped[str]


class PipelineStage(Base):
    """A run that is settled completely, and the job that it became when its turn came."""

    __tablename__ = "pipeline_stages"
    pipeline_id: Mapped[int] = mapped_column(ForeignKey("pipelines.id", ondelete="CASCADE"), primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)
    """From 0."""
    title: Mapped[str]
    values: Mapped[dict[str, Any]]
    chosen: Mapped[list[Any]]
    plan: Mapped[dict[str, Any]]
    """What the event `plan` of its job will tell."""
    wanted_device: Mapped[str | None]
    dataset_version_id: Mapped[int] = mapped_column(ForeignKey("dataset_versions.id"))
    model_id: Mapped[int] = mapped_column(ForeignKey("models.id"))
    job_id: Mapped[int | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), unique=True)
    began_at: Mapped[str | None]
    """Null: its turn has not come. With no job: its run was deleted."""
