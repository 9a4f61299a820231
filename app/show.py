"""What commands print: one JSON document, or a few lines and tables for people. Nothing here decides anything."""

import json
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from studio.db.checkpoints import CheckpointView
from studio.db.comparisons import ComparisonView
from studio.db.datasets import DatasetSummary
from studio.db.jobs import JobView
from studio.db.models import ModelSummary
from studio.messages import say
from studio.paths import Workspace
from studio.workshop.problems import OPEN, unread_keys_text


def document(value: Any, *, as_json: bool, line: str | None = None) -> None:
    """One JSON document, or for people the sentence behind `line`, or the document's fields a line each."""
    if as_json or (line is None and not isinstance(value, dict)):
        sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")
    elif line:
        sys.stdout.write(say(line, **value) + "\n")
    else:
        for name, entry in value.items():
            shown = (
                entry if isinstance(entry, str | int | float) else json.dumps(entry, ensure_ascii=False, default=str)
            )
            sys.stdout.write(f"{name}: {shown}\n")


def lines(value: Any, shown: Iterable[str], *, as_json: bool) -> None:
    """One JSON document, or lines made of it."""
    if as_json:
        return document(value, as_json=True)
    sys.stdout.write("\n".join(shown) + "\n")


def plain(text: str) -> str:
    """Text that other programs wrote, without what would steer the terminal: colours, titles, the cursor."""
    return "".join(each for each in text if each in "\n\t" or unicodedata.category(each) != "Cc")


def sentence(key: str, **values: object) -> str:
    """Words for a person, to stand among other lines."""
    return say(key, **values)


def note(key: str, **values: object) -> None:
    """A sentence on stderr, beside whatever stdout holds."""
    sys.stderr.write(say(key, **values) + "\n")


def facts(found: Iterable[Any], *, as_json: bool) -> None:
    """The doctor's findings."""
    listed = [
        {"code": each.code, "ok": each.is_good, "message": say(f"doctor.{each.code}", **each.values)} for each in found
    ]
    if as_json:
        return document({"facts": listed}, as_json=True)
    for fact in listed:
        sys.stdout.write(f"{'✓' if fact['ok'] else '✗'} {fact['message']}\n")


def dataset(version: DatasetSummary, problems: Sequence[Any], *, as_json: bool) -> None:
    """A data set with every row that cannot be used; those taken out are in the document, and counted for people."""
    if as_json:
        listed = [problem_document(problem) for problem in problems]
        return document(dataset_document(version) | {"problems": listed}, as_json=True)
    counts = {"rows": version.rows, "problems": version.problems}
    lines = [say("cli.dataset", name=version.name, version=version.version, **counts)]
    lines += [f"  {problem.message()}" for problem in problems if problem.state == OPEN]
    lines += [say("cli.taken_out", count=version.excluded)] if version.excluded else []
    sys.stdout.write("\n".join(lines) + "\n")


def preview(found: Any, file: Path, *, as_json: bool) -> None:
    """What a file would become, from its beginning."""
    listed = [problem_document(problem) for problem in found.faults]
    shape, columns = (found.choice.shape, found.choice.columns) if found.choice else (None, {})
    values = {"file": str(file), "shape": shape, "format": found.format, "columns": columns}
    if as_json:
        return document(values | {"problems": listed, "unread_keys": found.unread_keys}, as_json=True)
    told = "cli.preview" if shape else "cli.preview_unknown"
    sys.stdout.write(say(told, file=file.name, shape=shape, columns=", ".join(found.all_columns)) + "\n")
    for problem in listed:
        sys.stdout.write(f"  {problem['message']}\n")
    if found.unread_keys:
        sys.stdout.write(unread_keys_text(found.unread_keys) + "\n")


def datasets(found: Sequence[DatasetSummary], *, as_json: bool) -> None:
    if as_json:
        return document([dataset_document(each) for each in found], as_json=True)
    rows = [(each.name, f"v{each.version}", each.rows, each.problems, each.format) for each in found]
    _table(("name", "version", "rows", "problems", "format"), rows)


def versions(found: Sequence[DatasetSummary], *, as_json: bool) -> None:
    """The versions of one data set, the one in use marked."""
    if as_json:
        return datasets(found, as_json=True)
    rows = [
        (
            f"v{each.version}",
            "●" if each.is_current else "",
            *(each.rows, each.problems, each.excluded),
            each.manifest.get("note") or "",
        )
        for each in found
    ]
    _table(("version", "in use", "rows", "problems", "excluded", "note"), rows)


def models(found: Sequence[ModelSummary], *, as_json: bool) -> None:
    if as_json:
        return document([asdict(each) for each in found], as_json=True)
    _table(
        ("name", "source", "architecture", "size", "path"),
        [
            (each.name, each.source, each.architecture, f"{each.size_bytes / 2**30:.2f} GiB", each.path)
            for each in found
        ],
    )


def jobs(found: Sequence[JobView], workspace: Workspace, *, as_json: bool) -> None:
    if as_json:
        return document([job_document(each, [], workspace) for each in found], as_json=True)
    rows = [(each.id, each.title, each.state, _done(each), each.model or "", each.dataset or "") for each in found]
    _table(("id", "title", "state", "progress", "model", "dataset"), rows)


def job(found: JobView, saved: Sequence[CheckpointView], workspace: Workspace, *, as_json: bool) -> None:
    if as_json:
        return document(job_document(found, saved, workspace), as_json=True)
    sys.stdout.write(f"{found.id} · {found.title} · {found.state} {_done(found)}\n")
    if found.reason:
        sys.stdout.write(say(f"errors.{found.reason}", **found.reason_values) + "\n")
    for name, value in found.last_metrics.items():
        sys.stdout.write(f"  {name}: {value}\n")
    checkpoints(saved, as_json=False)


def progress(found: JobView) -> None:
    """One line on stderr for each change while a person waits."""
    loss = found.last_metrics.get("loss")
    shown = f" · loss {loss:.4g}" if isinstance(loss, float) else ""
    sys.stderr.write(f"\r{found.id} · {found.state} {_done(found)}{shown}\033[K")
    sys.stderr.flush()


def checkpoints(found: Sequence[CheckpointView], *, as_json: bool) -> None:
    if as_json:
        return document([asdict(each) for each in found], as_json=True)
    if found:
        rows = [
            (each.id, f"{each.job_id} · {each.run}", each.step, _metrics(each), f"{each.size_bytes / 2**20:.0f} MiB")
            for each in found
        ]
        _table(("id", "run", "step", "metrics", "size"), rows)


def comparison(found: ComparisonView, *, as_json: bool) -> None:
    """Answers, prompts down and models across."""
    if as_json:
        return document(asdict(found), as_json=True)
    titles = [column["title"] for column in found.columns]
    by_place = {(answer.prompt, answer.column): _answer_text(answer) for answer in found.answers}
    rows = [
        [prompt, *(by_place.get((row, place), "") for place in range(len(titles)))]
        for row, prompt in enumerate(found.prompts)
    ]
    _table(["", *titles], rows)


def last_answer(found: ComparisonView, *, as_json: bool) -> None:
    if as_json:
        return document(asdict(found), as_json=True)
    sys.stdout.write(_answer_text(found.answers[-1]) + "\n")


def job_document(found: JobView, saved: Sequence[CheckpointView], workspace: Workspace) -> dict[str, Any]:
    """A job as the command line's JSON has it (docs/design.md, section 5)."""
    return {
        "id": found.id,
        "kind": found.kind,
        "state": found.state,
        "reason": say(f"errors.{found.reason}", **found.reason_values) if found.reason else None,
        "reason_code": found.reason,
        "folder": str(workspace.job(found.id)),
        "title": found.title,
        "method": found.method,
        "tuning": found.tuning,
        "model": found.model,
        "dataset": f"{found.dataset}@{found.dataset_version}" if found.dataset else None,
        "attempt": found.attempt,
        "phase": found.phase,
        "progress": {"done": found.progress_done, "total": found.progress_total, "seconds_left": found.seconds_left},
        "metrics": found.last_metrics,
        "figures": found.figures,
        "values": found.values,
        "chosen": found.chosen,
        "checkpoints": [
            {"id": each.id, "step": each.step, "path": each.path, "metrics": each.metrics} for each in saved
        ],
        "created_at": found.created_at,
        "started_at": found.started_at,
        "finished_at": found.finished_at,
    }


def dataset_document(found: DatasetSummary) -> dict[str, Any]:
    return {
        "name": found.name,
        "version": found.version,
        "is_current": found.is_current,
        "rows": found.rows,
        "format": found.format,
        "shape": found.shape,
        "columns": found.manifest.get("columns"),
        "problem_count": found.problems,
        "excluded": found.excluded,
        "splits": found.manifest.get("splits") or {},
        "note": found.manifest.get("note"),
        "content_hash": found.content_hash,
        "path": found.path,
        "created_at": found.created_at,
    }


def problem_document(problem: Any) -> dict[str, Any]:
    told = {name: getattr(problem, name) for name in ("row", "offset", "code", "field", "state")}
    return told | {"message": problem.message()}


def _done(found: JobView) -> str:
    return f"{found.progress_done:g}/{found.progress_total:g}" if found.progress_total else ""


def _metrics(found: CheckpointView) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in found.metrics.items() if isinstance(value, float))


def _answer_text(answer: Any) -> str:
    return say(f"errors.{answer.error}") if answer.error else answer.text


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    table = Table(*header, show_lines=False)
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console().print(table)
