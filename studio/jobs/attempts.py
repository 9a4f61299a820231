"""What an attempt is given: its spec, complete and resolved, and its environment."""

import os

from sqlalchemy import select
from sqlalchemy.orm import Session

from studio.db import datasets, judges, lineage, models
from studio.db.tables import Checkpoint, Job
from studio.jobs import processes
from studio.paths import Workspace
from studio.protocol import CheckpointRef, DatasetRef, Spec

_HUB_TOKENS = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})
"""Only a download needs them; a job that loads a stranger's model has none to lose."""


def saved_checkpoints(session: Session, job_id: int) -> list[CheckpointRef]:
    """Newest first."""
    found = session.scalars(select(Checkpoint).where(Checkpoint.job_id == job_id).order_by(Checkpoint.step.desc()))
    return [CheckpointRef(step=each.step, path=each.path, digest=each.digest) for each in found]


def spec_of(
    session: Session, job: Job, workspace: Workspace, device: str, threads: int, saved: list[CheckpointRef]
) -> Spec:
    """
    Args:
        saved: the job's checkpoints, newest first.
    """
    origin = lineage.origin(session, job.id)
    return Spec(
        job_id=job.id,
        attempt=job.attempt,
        kind=job.kind,
        values=job.values,
        checkpoints_path=str(workspace.checkpoints(job.id)),
        output_path=str(workspace.job(job.id) / "output"),
        device=device,
        threads=threads,
        seed=job.values.get("seed", 42),
        dataset=datasets.by_version_id(session, job.dataset_version_id).ref() if job.dataset_version_id else None,
        old_dataset=_old_dataset(session, job),
        model=models.by_id(session, job.model_id).ref() if job.model_id else None,
        resume_from=saved,
        start_from=origin.ref() if origin and not origin.weights_only else None,
        weights_from=origin.ref() if origin and origin.weights_only else None,
        asked_models=judges.asked_models(session, job.values),
        libraries=_library_versions(),
        cache_path=str(workspace.cache),
    )


def _old_dataset(session: Session, job: Job) -> DatasetRef | None:
    name = job.values.get("old_dataset")
    return datasets.dataset(session, name).ref() if name else None


def _library_versions() -> dict[str, str]:
    """What is installed, read from package metadata: nothing is imported."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "bitsandbytes"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def environment_of(workspace: Workspace, spec: Spec) -> dict[str, str]:
    """The job's environment: no hub access unless it is there to fetch, its caches inside the workspace."""
    environment = {name: value for name, value in os.environ.items() if spec.kind == "fetch" or name not in _HUB_TOKENS}
    environment |= {
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore::FutureWarning,ignore::DeprecationWarning",  # nothing a person could act on
        "TOKENIZERS_PARALLELISM": "false",
        processes.ATTEMPT: str(workspace.attempt(spec.job_id, spec.attempt)),
        "TRITON_CACHE_DIR": str(workspace.cache / "triton"),
        "LUTHIER_TRACES": str(workspace.cache / "traces"),
        "HF_DATASETS_CACHE": str(workspace.cache / "datasets"),
    }
    if spec.kind != "fetch":
        environment |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    if spec.temporary_path:
        environment["TMPDIR"] = spec.temporary_path
    if spec.threads:
        environment["OMP_NUM_THREADS"] = str(spec.threads)
    if spec.device == "cpu":
        # Threads that wait without spinning: beside another busy program, a browser say, four steps took 36 s this way
        # and 91 s with OpenMP's default; alone 27 s and 20 s (docs/measurements.md).
        environment.setdefault("OMP_WAIT_POLICY", "passive")
    if spec.device.startswith("cuda:"):
        environment["CUDA_VISIBLE_DEVICES"] = spec.device.removeprefix("cuda:")
    return environment
