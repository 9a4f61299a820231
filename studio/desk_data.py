"""The desk's verbs about data sets. See `studio.desk`, whose rules hold here too.

A verb that makes a version refuses to start while another version of that data set is being made: both would start
from the same one. A verb that only looks gives None where the answer is kept already (`studio.workshop.reports`).
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from studio.db import datasets, jobs, models
from studio.db.datasets import DatasetSummary
from studio.db.engine import Writer
from studio.db.jobs import NewJob
from studio.errors import Conflict, RefusedInput
from studio.jobs.lifecycle import LIVE
from studio.paths import Workspace, written_path
from studio.workshop import recipe as recipes
from studio.workshop import reports
from studio.workshop.reading.encoding import named_encoding
from studio.workshop.recipe import CHECKS, Recipe

LOW_DISK_BYTES = 1 << 30
"""Under this much free space nothing large is started."""
MAX_NOTE_CHARACTERS = 2000
_LOOKING = ("look", "check", "teach", "diff", "export", "push")
"""Operations that leave the data set as it is."""
_NAME = re.compile(r"[\w][\w .()+-]{0,63}")


class DataDesk:
    """What `Desk` can do with data sets."""

    workspace: Workspace
    _writer: Writer
    _queue: Callable[[NewJob], int]

    # -- new versions --------------------------------------------------------------------------------------------

    def import_dataset(
        self,
        source: str | Path,
        name: str,
        *,
        shape: str | None = None,
        columns: dict[str, str] | None = None,
        original_name: str | None = None,
        encoding: str | None = None,
    ) -> int:
        """Queue the import of a file as a data set (a new version if the name exists); returns the job.

        Raises:
            RefusedInput: no such file or encoding, an empty file, an unusable name, or no room on the disk.
        """
        path = written_path(source)
        check_name(name)
        if encoding:
            named_encoding(encoding)
        if path is None or not path.is_file():
            raise RefusedInput("data.no_such_file", file=str(source))
        shown = original_name or path.name
        if path.stat().st_size == 0:
            raise RefusedInput("data.empty_file", file=shown)
        self._require_space(2 * path.stat().st_size)
        values = {"source": str(path), "original_name": shown, "shape": shape, "columns": columns}
        values |= {"encoding": encoding} if encoding else {}
        return self._prepare("import", name, values)

    def revise_dataset(
        self, name: str, *, edits: dict[str, str] | None = None, exclude: list[int] | None = None
    ) -> int:
        """Queue a new version with rows mended (row number -> raw JSON) or excluded; returns the job."""
        mended = {str(row): raw for row, raw in (edits or {}).items()}
        return self._change("revise", name, {"edits": mended, "exclude": list(exclude or [])})

    def clean_dataset(self, name: str, recipe: str | dict[str, Any] | None = None) -> int:
        """Queue the version that a recipe leaves: its name, its document, or None for the recommended one."""
        return self._change("clean", name, {"recipe": self._recipe_document(recipe)})

    def split_dataset(self, name: str, options: dict[str, Any] | None = None) -> int:
        """Queue a version whose rows are told apart for training, validation and test."""
        recipe = recipes.parse({"steps": [{"step": "split", "options": options or {}}]})
        return self._change("split", name, {"recipe": recipes.to_document(recipe)})

    def mix_datasets(
        self,
        name: str,
        parts: list[dict[str, Any]],
        *,
        seed: int = 42,
        convert: bool = False,
        into: str | None = None,
    ) -> int:
        """Queue a version of `name`, or a new data set, with other data sets' rows mixed in.

        Args:
            parts: {"dataset": NAME[@VERSION], "share": of the rows of the result}.
            convert: whether prompt and completion may become conversations.

        Raises:
            RefusedInput: shares that cannot be, or the data set itself as a part.
        """
        _check_shares([part.get("share") for part in parts])
        with self._writer.begin() as session:
            base = datasets.dataset(session, name)
            others = [datasets.dataset(session, str(part.get("dataset"))) for part in parts]
        for other in others:
            if other.name == base.name:
                raise RefusedInput("data.mix.same", name=other.name)
        named = [
            {"dataset": other.name, "version": other.version, "path": other.path, "share": part["share"]}
            for other, part in zip(others, parts, strict=True)
        ]
        values = {"parts": named, "seed": int(seed), "convert": bool(convert)}
        if into is None:
            return self._change("mix", name, values)
        check_name(into)
        return self._prepare("mix", into, values | {"parent": base.path})

    def balance_dataset(self, name: str, options: dict[str, Any] | None = None) -> int:
        """Queue a version in which rows of small classes stand more than once."""
        recipes.options(CHECKS, "balance", options or {})
        return self._change("balance", name, {"options": options or {}})

    def restore_rows(self, name: str, *, rows: list[int] | None = None, code: str | None = None) -> int:
        """Queue a version in which excluded rows can be used again: by number, or all of one reason."""
        if not rows and not code:
            raise RefusedInput("data.restore.nothing")
        with self._writer.begin() as session:
            ancestors = [each.path for each in datasets.ancestors(session, datasets.dataset(session, name))]
        values = {"rows": [int(row) for row in rows or []], "code": code, "ancestors": ancestors}
        return self._change("restore", name, values)

    def rollback_dataset(self, name: str, version: int) -> None:
        """Make an earlier version the current one."""
        with self._writer.begin() as session:
            datasets.dataset(session, name, version)
            datasets.set_current(session, datasets.reserve(session, name), version)

    def note_version(self, name: str, version: int, note: str) -> None:
        """Write a few words beside a version; empty ones take the note back."""
        words = note.strip()
        if len(words) > MAX_NOTE_CHARACTERS:
            raise RefusedInput("data.version.note_long", most=MAX_NOTE_CHARACTERS)
        with self._writer.begin() as session:
            datasets.set_note(session, name, version, words or None)

    # -- looking -------------------------------------------------------------------------------------------------

    def look_dataset(
        self, name: str, recipe: str | dict[str, Any] | None = None, *, model: str | None = None
    ) -> int | None:
        """Queue a look at what a recipe would do; None if that is known already.

        Args:
            model: show lengths in its tokens too, where it was inspected with this data set.
        """
        chosen = self._recipe(recipe)
        version = self._version(name)
        place = reports.look_place(self.workspace, Path(version.path), chosen)
        tokens = self._tokens(model, version) if model else None
        values = {"version": version.path, "recipe": recipes.to_document(chosen), "tokens": tokens}
        return self._report("look", version, values, place)

    def check_dataset(
        self,
        name: str,
        checks: list[str] | None = None,
        *,
        options: dict[str, dict[str, Any]] | None = None,
        against: str | None = None,
        model: str | None = None,
    ) -> int | None:
        """Queue checks (all of them unless named); None if their answer is known already.

        Args:
            options: check -> option -> value.
            against: a second data set, for leakage.
            model: measure lengths under its tokenizer.

        Raises:
            RefusedInput: an unknown check or option, or `model` was not inspected with this data set.
        """
        chosen = recipes.checks(checks, options or {})
        version = self._version(name)
        other = self._version(against) if against else None
        place = reports.check_place(
            self.workspace,
            Path(version.path),
            list(chosen),
            options or {},
            against_folder=Path(other.path) if other else None,
            model=model,
        )
        tokens = self._tokens(model, version) if model else None
        if model and tokens is None:
            raise RefusedInput("data.check.not_measured", model=model, name=version.name)
        values = {"version": version.path, "checks": chosen, "tokens": tokens}
        return self._report("check", version, values | {"against": other.path if other else None}, place)

    def diff_datasets(self, name: str, a: int, b: int) -> int | None:
        """Queue the comparison of two versions; None if it is known already."""
        with self._writer.begin() as session:
            first, second = datasets.dataset(session, name, a), datasets.dataset(session, name, b)
        place = reports.diff_place(self.workspace, Path(first.path), Path(second.path))
        return self._report("diff", second, {"a": first.path, "b": second.path}, place)

    # -- out of the studio, and in -------------------------------------------------------------------------------

    def export_dataset(self, name: str, *, format: str = "jsonl") -> int:
        """Queue a file of a version's rows, made in the workspace's `exports`."""
        from studio.workshop.versions.export import check_format

        check_format(format)
        version = self._version(name)
        self._require_space(4 * _size_bytes(version))
        file = f"{version.name}-v{version.version}.{format}"
        values = {"version": version.path, "format": format, "file": file, "place": str(self.workspace.exports)}
        return self._prepare("export", version.name, values)

    def push_dataset(self, name: str, remote: str) -> int:
        """Queue the sending of a version to a folder or object store, laid out as a DVC remote."""
        from studio.workshop.versions.remote import check_remote

        check_remote(remote)
        version = self._version(name)
        values = {"version": version.path, "number": version.version, "remote": remote, "remote_name": version.name}
        return self._prepare("push", version.name, values)

    def pull_dataset(self, remote: str, name: str, *, version: int | None = None, into: str | None = None) -> int:
        """Queue the fetching of a pushed version (the newest unless said) as a new version of `into`, or `name`."""
        from studio.workshop.versions.remote import check_remote

        check_remote(remote)
        check_name(name)
        target = into or name
        check_name(target)
        with self._writer.begin() as session:
            self._refuse_if_changing(session, target)
        return self._prepare("pull", target, {"remote": remote, "remote_name": name, "version": version})

    # -- recipes -------------------------------------------------------------------------------------------------

    def save_recipe(self, name: str, recipe: dict[str, Any]) -> None:
        """Keep a recipe under a name."""
        check_name(name)
        recipes.save(self.workspace, name, recipes.parse(recipe))

    def remove_recipe(self, name: str) -> None:
        """Delete a saved recipe."""
        check_name(name)
        recipes.remove(self.workspace, name)

    # -- what the verbs share ------------------------------------------------------------------------------------

    def _change(self, operation: str, name: str, values: dict[str, Any]) -> int:
        """Queue a new version of a data set, made from its current one.

        Raises:
            Conflict: it is being changed already; both changes would start from the same version.
        """
        with self._writer.begin() as session:
            parent = datasets.dataset(session, name)
            self._refuse_if_changing(session, parent.name)
        self._require_space(2 * _size_bytes(parent))
        return self._prepare(operation, parent.name, values | {"parent": parent.path})

    def _refuse_if_changing(self, session: Any, name: str) -> None:
        for job in jobs.list_jobs(session, kinds=("prepare",), states=LIVE | {"queued"}):
            if job.values["name"] == name and job.values["operation"] not in _LOOKING:
                raise Conflict("data.being_changed", name=name)

    def _report(self, operation: str, version: DatasetSummary, values: dict[str, Any], place: Path) -> int | None:
        """Queue what writes a report, unless it is there or under way."""
        if reports.whole(place):
            return None
        with self._writer.begin() as session:
            for job in jobs.list_jobs(session, kinds=("prepare",), states=LIVE | {"queued"}):
                if job.values.get("report") == str(place):
                    return job.id
        return self._prepare(operation, version.name, values | {"report": str(place)})

    def _prepare(self, operation: str, name: str, values: dict[str, Any]) -> int:
        values = {"operation": operation, "name": name, **values}
        return self._queue(NewJob(kind="prepare", title=name, values=values, needs_device=False))

    def _version(self, name: str) -> DatasetSummary:
        with self._writer.begin() as session:
            return datasets.dataset(session, name)

    def _recipe(self, wanted: str | dict[str, Any] | None) -> Recipe:
        return recipes.find(self.workspace, wanted)

    def _recipe_document(self, wanted: str | dict[str, Any] | None) -> dict[str, Any]:
        return recipes.to_document(self._recipe(wanted))

    def _tokens(self, model: str, version: DatasetSummary) -> dict[str, Any] | None:
        """How long the version's rows are for a model, if an inspection told."""
        with self._writer.begin() as session:
            figures = models.inspection(session, models.model(session, model).content_hash, version.content_hash)
        return figures["tokens"] if figures else None

    def _require_space(self, needed_bytes: int) -> None:
        free = shutil.disk_usage(self.workspace.root).free
        if free < needed_bytes + LOW_DISK_BYTES:
            raise RefusedInput(
                "disk.low",
                folder=str(self.workspace.root),
                free=f"{free / 2**30:.1f}",
                needed=f"{(needed_bytes + LOW_DISK_BYTES) / 2**30:.1f}",
            )


def check_name(name: str) -> None:
    """
    Raises:
        RefusedInput: it could be a path, or is too long to show.
    """
    if not _NAME.fullmatch(name or ""):
        raise RefusedInput("name.unusable", name=name)


def _size_bytes(version: DatasetSummary) -> int:
    return sum(path.stat().st_size for path in Path(version.path).glob("*.parquet"))


def _check_shares(shares: list[Any]) -> None:
    """
    Raises:
        RefusedInput: no part, a share that is none, or nothing left for the data set itself.
    """
    are_numbers = all(isinstance(share, int | float) and not isinstance(share, bool) for share in shares)
    if not shares or not are_numbers or any(not 0 < share < 1 for share in shares) or sum(shares) >= 1:
        raise RefusedInput("data.mix.shares", shares=", ".join(str(share) for share in shares) or "–")
