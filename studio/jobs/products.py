"""What a succeeded job leaves for the studio: a data set version, an inspection, a model."""

import shutil
from pathlib import Path

import msgspec
from sqlalchemy.orm import Session

from studio.db import datasets, models
from studio.db.speeds import MeasuredSpeed, keep_speed
from studio.db.tables import Job
from studio.errors import RefusedInput
from studio.hardware import device_name
from studio.memory.methods import asks_beside
from studio.models.folder import read_model_folder
from studio.params.adversarial import passes
from studio.params.methods import method_of
from studio.paths import Workspace
from studio.protocol import read_spec, sync_folder

MODEL_SOURCES = {"fetch": "hub", "unpack": "gguf"}
"""Where the model of such a job comes from: how its folder begins, and what its card says."""


def take_product(session: Session, workspace: Workspace, job: Job) -> None:
    """Enter a finished job's product in the registry.

    Raises:
        OSError: it cannot be moved to its place.
    """
    _TAKE.get(job.kind, _take_nothing)(session, workspace, job)


def _take_prepared(session: Session, workspace: Workspace, job: Job) -> None:
    """A version, a report or an export: whichever the operation left."""
    if job.figures.get("manifest"):
        _take_version(session, workspace, job)
    elif job.figures.get("report"):
        _take_report(workspace, job)
    elif job.values["operation"] == "export":
        _take_export(workspace, job)


def _take_scores(session: Session, workspace: Workspace, job: Job) -> None:
    """A model's losses on the rows, and what they make of the rows' difficulty."""
    _take_report(workspace, job, "losses")
    _take_report(workspace, job)


def _take_asked(session: Session, workspace: Workspace, job: Job) -> None:
    """What the untouched model was asked and said."""
    _take_report(workspace, job)


def _take_trial(session: Session, workspace: Workspace, job: Job) -> None:
    """What trying a reward came to, the model's answers where it was asked, and what the reward's own models said."""
    if job.values.get("samples"):
        _take_report(workspace, job, "samples")
    if job.values.get("asked"):
        _take_report(workspace, job, "asked")
    _take_report(workspace, job)


def _take_report(workspace: Workspace, job: Job, name: str = "report") -> None:
    """Keep what was found under the name of what it was found in."""
    made, place = workspace.job(job.id) / "output" / name, Path(job.values[name])
    place.parent.mkdir(parents=True, exist_ok=True)
    if made.exists():
        shutil.rmtree(place, ignore_errors=True)
        made.rename(place)


def _take_export(workspace: Workspace, job: Job) -> None:
    made = workspace.job(job.id) / "output" / "export"
    for path in made.iterdir() if made.exists() else ():
        path.replace(workspace.exports / path.name)


def _take_weights(session: Session, workspace: Workspace, job: Job) -> None:
    """A checkpoint for other programs."""
    _take_export(workspace, job)


def _take_version(session: Session, workspace: Workspace, job: Job) -> None:
    """Move the version folder to its place, then enter it. Both can be done again after a crash between them."""
    dataset_id = datasets.reserve(session, job.values["name"])
    number = datasets.next_number(session, dataset_id)
    made = workspace.job(job.id) / "output" / "version"
    place = workspace.datasets / str(dataset_id) / f"v{number}"
    place.parent.mkdir(parents=True, exist_ok=True)
    if made.exists():
        _refuse_links(made)
        if place.exists():  # left by a server that died before it could enter it
            shutil.rmtree(place)
        made.rename(place)
        sync_folder(place.parent)
    manifest = job.figures["manifest"]
    datasets.add_version(session, dataset_id, number=number, path=str(place), job_id=job.id, manifest=manifest)
    _drop_upload(workspace, job)


def _refuse_links(folder: Path) -> None:
    """A version is files and nothing else: what is read of it later lies in it, whoever's rows a job worked on."""
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink():
            raise RefusedInput("data.version.link", file=path.name)


def _drop_upload(workspace: Workspace, job: Job) -> None:
    """Delete the imported file if it was an upload to the studio; a file elsewhere is the person's own."""
    source = Path(job.values.get("source", ""))
    if source.is_relative_to(workspace.uploads) or source.is_relative_to(workspace.cache):
        source.unlink(missing_ok=True)


def _take_inspection(session: Session, workspace: Workspace, job: Job) -> None:
    model = models.by_id(session, job.model_id)
    if job.figures.get("inventory"):
        models.keep_inspection(session, model.content_hash, None, {"inventory": job.figures["inventory"]})
    if job.dataset_version_id:
        version = datasets.by_version_id(session, job.dataset_version_id)
        models.keep_inspection(session, model.content_hash, version.content_hash, job.figures)


def _take_model(session: Session, workspace: Workspace, job: Job) -> None:
    """Move a fetched or unpacked model among the others; it gets another name if the wished one is taken."""
    taken = {known.name for known in models.list_models(session)}
    name = job.values["name"] if job.values["name"] not in taken else f"{job.values['name']} ({job.id})"
    made, place = workspace.job(job.id) / "output" / "model", workspace.models / f"{MODEL_SOURCES[job.kind]}-{job.id}"
    if made.exists():
        made.rename(place)
        sync_folder(place.parent)
    facts = msgspec.to_builtins(read_model_folder(place))
    models.add_model(session, name=name, source=MODEL_SOURCES[job.kind], path=str(place), facts=facts)


def _take_speed(session: Session, workspace: Workspace, job: Job) -> None:
    """Training leaves checkpoints, which were entered as they came, and how fast it was.

    A run that went on from a checkpoint counts tokens that its last process did not see, so it is left out.
    """
    seconds, tokens = job.figures.get("train_seconds"), job.last_metrics.get("num_tokens")
    base = models.by_id(session, job.model_id) if job.model_id else None
    known = models.inspection(session, base.content_hash) if base else None
    if not seconds or not tokens or known is None or job.attempt != 1:
        return
    spec = read_spec(workspace.attempt(job.id, job.attempt))
    if spec.start_from:
        return
    same = {name: job.values[name] for name in ("tuning", "gradient_checkpointing", "dtype")}
    device, parameters = device_name(spec.device), known["inventory"]["parameters"]
    # As a run without adversarial training would take.
    each = seconds / tokens / passes(job.values)
    same |= {"device": device, "parameters": parameters, "writes": method_of(job.values).answers_itself}
    same |= {"asks_reference": asks_beside(job.values)}
    keep_speed(session, MeasuredSpeed(**same, seconds_per_token=each))


def _take_nothing(session: Session, workspace: Workspace, job: Job) -> None:
    """Serving leaves answers, which were entered as they came."""


_TAKE = {
    "train": _take_speed,
    "prepare": _take_prepared,
    "write": _take_prepared,
    "rejection_sampling": _take_prepared,
    "baseline": _take_asked,
    "score": _take_scores,
    "trial": _take_trial,
    "inspect": _take_inspection,
    "fetch": _take_model,
    "unpack": _take_model,
    "export": _take_weights,
}
