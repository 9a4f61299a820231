"""A running studio for tests: a server on a workspace, and what of its registry they look at."""

import json
from collections.abc import Callable
from typing import Any

from studio.db import comparisons, jobs, metrics
from studio.db.engine import Reader
from studio.jobs.lifecycle import ENDED
from studio.paths import Workspace
from tests.e2e.server import Server, wait_until


class RunningStudio:
    """A server on a workspace, with what the tests look at."""

    def __init__(self, workspace: Workspace, *, before: str = "") -> None:
        self.workspace = workspace
        self.server = Server(workspace, before=before).start()

    def import_rows(self, rows: list[dict[str, str]]) -> None:
        path = self.workspace.root / "style.jsonl"
        path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
        job_id = self.server.do("import_dataset", source=str(path), name="style")
        assert self.until_ended(job_id) == "succeeded"

    def state(self, job_id: int) -> str:
        return self.read(lambda session: jobs.job(session, job_id).state)

    def steps(self, job_id: int) -> list[int]:
        return self.read(lambda session: metrics.points(session, job_id, "loss").steps.tolist())

    def comparison(self, number: int) -> comparisons.ComparisonView:
        return self.read(lambda session: comparisons.comparison(session, number))

    def until_ended(self, job_id: int, *, seconds: float = 120.0) -> str:
        wait_until(lambda: self.state(job_id) in ENDED, seconds=seconds, what=self.server.log)
        return self.state(job_id)

    def read(self, look: Callable[[Any], Any]) -> Any:
        reader = Reader(self.workspace.registry)
        try:
            with reader.session() as session:
                return look(session)
        finally:
            reader.close()
