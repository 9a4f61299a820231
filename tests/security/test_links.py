"""Links and paths that would have a data set's version read or write somewhere else."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from studio.db import datasets, jobs
from studio.db.engine import Writer
from studio.db.jobs import NewJob
from studio.db.tables import Job
from studio.errors import RefusedInput, UnknownName
from studio.jobs.products import take_product
from studio.paths import Workspace
from studio.workshop.versions.remote import pull

MANIFEST = {"format": "text", "shape": "text", "rows": 1, "problems": 0, "excluded": 0, "content_hash": "0" * 32}


@pytest.mark.parametrize("linked", ["rows.parquet", "deep/rows.parquet", ""])
def test_a_version_with_a_link_in_it_is_not_taken_over(workspace: Workspace, secret_file: Path, linked: str) -> None:
    writer = Writer(workspace.registry)
    new = NewJob(kind="prepare", title="x", values={"name": "x", "operation": "clean"}, needs_device=False)
    with writer.begin() as session:
        job_id = jobs.add_job(session, new)
    made = workspace.job(job_id) / "output" / "version"
    (made / linked).parent.mkdir(parents=True)
    (made / linked).symlink_to(secret_file if linked else secret_file.parent)
    with pytest.raises(RefusedInput) as refused, writer.begin() as session:
        job = session.get_one(Job, job_id)
        job.figures = {"manifest": MANIFEST}
        take_product(session, workspace, job)
    assert refused.value.code == "data.version.link" and "{" not in refused.value.message("zh")
    with writer.begin() as session, pytest.raises(UnknownName):
        datasets.dataset(session, "x")
    assert not list(workspace.datasets.rglob("*.parquet")) and secret_file.exists()
    writer.close()


def place(store: Path, content: bytes, *, directory: bool = False) -> str:
    """An object of a remote as DVC lays it out; returns its md5."""
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    path = store / "files" / "md5" / md5[:2] / (md5[2:] + (".dir" if directory else ""))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5 + (".dir" if directory else "")


def remote_with(store: Path, tree: dict[str, str]) -> None:
    """A remote whose version 1 of `evil` has these files: name -> md5."""
    listing = json.dumps([{"md5": md5, "relpath": name} for name, md5 in tree.items()]).encode()
    out = {"md5": place(store, listing, directory=True), "size": 1, "hash": "md5", "path": "evil"}
    (store / "luthier" / "evil").mkdir(parents=True)
    (store / "luthier" / "evil" / "v1.dvc").write_text(yaml.safe_dump({"outs": [out]}))


@pytest.mark.parametrize("name", ["../escaped", "a/../../escaped", "/tmp/luthier-escaped", "..", "deep/../../escaped"])
def test_a_remote_writes_only_into_the_folder_that_it_is_pulled_to(tmp_path: Path, name: str) -> None:
    remote_with(
        tmp_path / "store", {"rows.parquet": place(tmp_path / "store", b"r"), name: place(tmp_path / "store", b"x")}
    )
    with pytest.raises(RefusedInput):
        pull(str(tmp_path / "store"), tmp_path / "into" / "version", name="evil")
    assert not (tmp_path / "escaped").exists() and not (tmp_path / "into" / "escaped").exists()
    assert not Path("/tmp/luthier-escaped").exists()


def test_a_link_in_a_remote_brings_no_file_of_this_machine(tmp_path: Path, secret_file: Path) -> None:
    store = tmp_path / "store"
    md5 = place(store, b"what it says it is")
    remote_with(store, {"rows.parquet": md5})
    held = store / "files" / "md5" / md5[:2] / md5[2:]
    held.unlink()
    held.symlink_to(secret_file)
    with pytest.raises(RefusedInput):
        pull(str(store), tmp_path / "version", name="evil")
    assert not list((tmp_path / "version").iterdir())
