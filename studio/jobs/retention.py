"""Which checkpoints of a run stay, where it keeps only so many.

    save_total_limit 2, saved 10 20 30 40 50 with the best at 20  ->  10 and 30 go, 20 40 50 stay

Never deleted: the newest one that is complete (the registry knows no other), the best one by held-out loss, and those
in use: a run that has not ended goes on from them, or a person asked them something.
"""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from studio.db import lineage
from studio.db.checkpoints import list_checkpoints
from studio.db.tables import Checkpoint, Job


def surplus(saved: Sequence[tuple[int, float | None]], *, limit: int, used: set[int]) -> list[int]:
    """The numbers of checkpoints that may go.

    Args:
        saved: (number, held-out loss) of each, oldest first.
        limit: how many stay at least; below 1 all do.
        used: numbers that stay in any case.
    """
    if limit < 1:
        return []
    scored = [(loss, number) for number, loss in saved if loss is not None]
    staying = {number for number, _ in saved[-limit:]} | used | ({min(scored)[1]} if scored else set())
    return [number for number, _ in saved if number not in staying]


def forget_surplus(session: Session, job: Job) -> list[str]:
    """Take a run's surplus checkpoints out of the registry; returns their folders, to be deleted once that is kept."""
    limit = job.values.get("save_total_limit") or 0
    if limit < 1:
        return []
    saved = [(each.id, each.metrics.get("eval_loss")) for each in list_checkpoints(session, job.id)]
    if len(saved) <= limit:
        return []
    gone = [
        session.get_one(Checkpoint, number)
        for number in surplus(saved, limit=limit, used=lineage.used_checkpoints(session))
    ]
    for checkpoint in gone:
        session.delete(checkpoint)
    return [checkpoint.path for checkpoint in gone]
