"""Registries with something in them, for the pages' tests and benches: written as server and jobs would write them."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from studio.db import comparisons, jobs, metrics, models
from studio.db.engine import Writer, next_change
from studio.db.queue import next_checkpoint_number
from studio.db.tables import Checkpoint, Job
from studio.paths import Workspace
from studio.protocol import utc_now

STATES_TO = {
    "queued": (),
    "running": ("starting", "running"),
    "paused": ("starting", "running", "paused"),
    "succeeded": ("starting", "running", "succeeded"),
    "failed": ("starting", "running", "failed"),
    "stopped": ("starting", "running", "stopped"),
    "lost": ("starting", "running", "lost"),
    "cancelled": ("cancelled",),
}


def add_starter(session: Session) -> int:
    facts = {"architecture": "LlamaForCausalLM", "size_bytes": 270_000_000, "content_hash": "0" * 64}
    return models.add_model(
        session, name="starter", source="local", path="/models/starter", facts=facts | {"license": "apache-2.0"}
    )


def add_run(
    session: Session,
    *,
    title: str,
    state: str = "running",
    model_id: int | None = None,
    values: Mapping[str, Any] | None = None,
) -> int:
    """A training run that went through the legal states to `state`."""
    new = jobs.NewJob(
        kind="train",
        title=title,
        values={"method": "sft", "tuning": "lora", "learning_rate": 2e-4, "max_steps": 60, "seed": 42} | (values or {}),
        needs_device=True,
        method="sft",
        tuning="lora",
        chosen=["max_steps"],
        model_id=model_id,
    )
    job_id = jobs.add_job(session, new)
    for step in STATES_TO[state]:
        assert jobs.move(session, job_id, step)
    job = session.get_one(Job, job_id)
    job.attempt = int(bool(STATES_TO[state]) and state != "cancelled")
    if state == "running":
        job.phase, job.progress_done, job.progress_total, job.seconds_left = "training", 23, 60, 95.0
    return job_id


def add_curve(
    session: Session, job_id: int, *, count: int, attempt: int = 1, start: int = 1, lift: float = 0.0
) -> None:
    """A falling loss with a little waviness, its learning rate and gradient norm, and a held-out loss now and then."""
    points: dict[str, list[tuple[int, float]]] = {"loss": [], "learning_rate": [], "grad_norm": [], "eval_loss": []}
    for step in range(start, start + count):
        loss = 1.0 + lift + 2.0 * math.exp(-step / (0.2 * count + 1)) + 0.2 * math.sin(step * 12.9898)
        points["loss"].append((step, loss))
        points["learning_rate"].append((step, 2e-4 * (1 - step / (start + count))))
        points["grad_norm"].append((step, 0.5 + 0.4 * abs(math.sin(step * 78.233))))
        if step % max(1, count // 10) == 0:
            points["eval_loss"].append((step, loss + 0.1))
    metrics.append(session, job_id, attempt, points)
    job = session.get_one(Job, job_id)
    job.last_metrics = {name: each[-1][1] for name, each in points.items() if each} | {"step": start + count - 1}
    job.change = next_change(session)


def add_checkpoint(session: Session, job_id: int, step: int) -> int:
    made = Checkpoint(
        id=next_checkpoint_number(session),
        job_id=job_id,
        attempt=1,
        step=step,
        epoch=step / 30,
        path=f"/jobs/{job_id}/checkpoints/step-{step}",
        size_bytes=4_400_000,
        digest="0" * 64,
        metrics={"loss": 1.4, "eval_loss": 1.5 - step / 1000},
        created_at=utc_now(),
    )
    session.add(made)
    session.flush()
    return made.id


def add_comparison(session: Session, checkpoint_ids: list[int], *, text: str = "Hello <b>there</b>") -> int:
    """The untouched model and checkpoints on two prompts; the last answer still grows."""
    columns = [{"model": "starter", "checkpoint": None, "title": "starter"}]
    columns += [{"model": "starter", "checkpoint": each, "title": f"first try · {each}"} for each in checkpoint_ids]
    settings = {"seed": 42, "temperature": 0.0, "top_p": 1.0, "max_new_tokens": 64, "system": ""}
    made = comparisons.add_comparison(session, kind="compare", columns=columns, settings=settings)
    answers = [
        comparisons.ask(session, made, column=place, prompt=row, messages=[{"role": "user", "content": prompt}])
        for row, prompt in enumerate(("What is a <luthier>?", "Name three woods."))
        for place in range(len(columns))
    ]
    for answer in answers:
        is_last = answer == answers[-1]
        data = {"answer_id": answer, "text": text, "done": not is_last, "tokens": 12, "seconds": 1.5}
        comparisons.update_answer(session, data)
    return made


def fill(workspace: Workspace) -> dict[str, int]:
    """A workspace as it looks after a few days: ids of what is in it, by what it is."""
    workspace.make()
    writer = Writer(workspace.registry)
    with writer.begin() as session:
        starter = add_starter(session)
        ended = add_run(session, title="first try", state="succeeded", model_id=starter)
        add_curve(session, ended, count=300)
        saved = [add_checkpoint(session, ended, step) for step in (20, 40, 60)]
        add_run(session, title="too high a rate", state="failed", model_id=starter)
        running = add_run(session, title="<i>second</i> try", state="running", model_id=starter)
        add_curve(session, running, count=120, lift=0.3)
        add_run(session, title="waits", state="queued", model_id=starter)
        comparison = add_comparison(session, saved[:2])
    writer.close()
    log = workspace.attempt(running, 1)
    log.mkdir(parents=True, exist_ok=True)
    Path(log / "train.log").write_text("step 1\nstep 2 <b>bold</b>\n", "utf-8")
    return {"ended": ended, "running": running, "checkpoint": saved[0], "comparison": comparison}
