"""Where things lie: the checkout's data folders and the workspace. Nothing else in the studio spells a path.

`Workspace` only names places and makes its folders; it opens and reads nothing.
"""

import os
from dataclasses import dataclass
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = PROJECT_ROOT / "templates"
SAMPLES = PROJECT_ROOT / "data"
LOCALES = PROJECT_ROOT / "app" / "locales"


@dataclass(frozen=True)
class Workspace:
    """One person's studio on disk (`LUTHIER_HOME`, default `~/luthier`)."""

    root: Path

    @property
    def registry(self) -> Path:
        return self.root / "registry.sqlite"

    @property
    def lock(self) -> Path:
        """Held by the one server that may write here."""
        return self.root / "server.lock"

    @property
    def server_json(self) -> Path:
        """Address and token of the running server, mode 600."""
        return self.root / "server.json"

    @property
    def secrets(self) -> Path:
        """Tokens of services outside, mode 600 (`studio.tokens`)."""
        return self.root / "secrets"

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def exports(self) -> Path:
        return self.root / "exports"

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def recipes(self) -> Path:
        """A person's own cleaning recipes."""
        return self.root / "recipes"

    @property
    def reports(self) -> Path:
        """What looking at data sets found out; can be made again."""
        return self.cache / "reports"

    @property
    def starter_model(self) -> Path:
        return self.models / "starter"

    @property
    def starter_data(self) -> Path:
        return self.root / "starter-data"

    def job(self, job_id: int) -> Path:
        return self.jobs / str(job_id)

    def attempt(self, job_id: int, number: int) -> Path:
        return self.job(job_id) / "attempts" / str(number)

    def checkpoints(self, job_id: int) -> Path:
        return self.job(job_id) / "checkpoints"

    def make(self) -> "Workspace":
        """Create the folders that must exist, the root readable by its owner alone."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self.datasets, self.jobs, self.models, self.exports, self.uploads, self.cache):
            folder.mkdir(exist_ok=True)
        return self


def workspace(home: str | Path | None = None) -> Workspace:
    """The workspace at `home`, else at `LUTHIER_HOME`, else at `~/luthier`."""
    chosen = home or os.environ.get("LUTHIER_HOME") or Path.home() / "luthier"
    return Workspace(Path(chosen).expanduser().resolve())


def written_path(text: str | Path) -> Path | None:
    """The path that a person wrote, links and `~` resolved; None where no system could have such a one."""
    try:
        path = Path(text).expanduser().resolve()
        path.exists()  # a name that is too long, or holds what no name may hold, shows only when it is looked at
    except (OSError, ValueError, RuntimeError):
        return None
    return path
