"""Files of a version's rows: made on request, listed with a link to fetch each."""

import os
import shutil
from html import escape
from pathlib import Path

from app.context import Context
from app.data import controls
from app.i18n import bytes_text, path_text
from studio.db.datasets import DatasetSummary
from studio.paths import Workspace

FORMATS = {"jsonl": "JSONL", "parquet": "Parquet", "csv": "CSV"}
"""Ending -> name."""


def exports_html(context: Context, chosen: DatasetSummary) -> str:
    """A button a format, and the files that were made of this data set."""
    say = context.say
    made = controls.buttons(
        *(controls.button("export", say("data.export.as", format=name), format=each) for each, name in FORMATS.items())
    )
    title = f'<h2 class="lu-part">{escape(say("data.export.title"))}</h2>'
    note = f'<p class="lu-note">{escape(say("data.export.note", number=chosen.version))}</p>'
    files = "".join(_file_html(context, each) for each in _files(context.desk.workspace, chosen.name))
    return title + note + made + (f"<ul>{files}</ul>" if files else "")


def _files(workspace: Workspace, name: str) -> list[Path]:
    found = [
        path for each in FORMATS for path in workspace.exports.glob(f"*.{each}") if path.name.startswith(f"{name}-v")
    ]
    return sorted(found, key=lambda path: -path.stat().st_mtime_ns)


def _file_html(context: Context, path: Path) -> str:
    address = f"/{context.language}/gradio_api/file={fetchable(context.desk.workspace, path)}"
    link = f'<a href="{escape(address)}" download="{escape(path.name)}">{escape(path.name)}</a>'
    where = escape(f"{bytes_text(path.stat().st_size)} · {path_text(path)}")
    return f'<li>{link} <span class="lu-note">{where}</span></li>'


def fetchable(workspace: Workspace, path: Path) -> Path:
    """The same file where the pages' own server gives files out; a link to it, where the disk knows links."""
    place = workspace.cache / "gradio" / "exports" / path.name
    place.parent.mkdir(parents=True, exist_ok=True)
    if not place.exists() or place.stat().st_mtime_ns != path.stat().st_mtime_ns:
        place.unlink(missing_ok=True)
        try:
            os.link(path, place)
        except OSError:
            shutil.copy2(path, place)
    return place
