"""Versions in an object store: a server on loopback that speaks S3, and a client that is not ours to look into it."""

import json
import logging
from collections.abc import Iterator

import pytest
import yaml

from studio.errors import RefusedInput
from studio.workshop.versions.reader import read_manifest
from studio.workshop.versions.remote import pull, push
from tests.object_store import ObjectStore
from tests.unit.workshop.making import pair, version

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with ObjectStore() as opened, pytest.MonkeyPatch.context() as patched:
        for name, value in opened.environment.items():
            patched.setenv(name, value)
        yield opened


@pytest.fixture
def folder(tmp_path):
    return version(tmp_path / "v", [pair("Hi", "Hello"), pair("你好", "B")], problems={2: "empty_answer"})


def test_a_version_comes_back_from_a_store_byte_for_byte(store, folder, tmp_path):
    remote = f"s3://{store.bucket}/团队 data"
    pushed = push(folder, remote, name="support", version=3)
    assert (pushed.files, pushed.copied) == (3, 3)
    assert push(folder, remote, name="support", version=4).copied == 0, "what is there is not sent again"
    pulled = pull(remote, tmp_path / "back", name="support", version=3)
    assert pulled.md5 == pushed.md5
    assert {path.name: path.read_bytes() for path in (tmp_path / "back").iterdir()} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }
    assert read_manifest(tmp_path / "back").content_hash == read_manifest(folder).content_hash


def test_another_client_finds_dvc_s_layout(store, folder):
    pushed = push(folder, f"s3://{store.bucket}/dvc", name="support", version=1)
    out = yaml.safe_load(store.read("dvc/luthier/support/v1.dvc"))["outs"][0]
    assert out == {"md5": pushed.md5, "size": pushed.bytes, "nfiles": 3, "hash": "md5", "path": "support"}
    listing = json.loads(store.read(f"dvc/files/md5/{out['md5'][:2]}/{out['md5'][2:]}"))
    for entry in listing:
        held = store.read(f"dvc/files/md5/{entry['md5'][:2]}/{entry['md5'][2:]}")
        assert held == (folder / entry["relpath"]).read_bytes()


def test_what_was_damaged_in_the_store_is_not_taken(store, folder, tmp_path):
    push(folder, f"s3://{store.bucket}/damaged", name="support", version=1)
    for key in store.keys("damaged/files/"):
        if not key.endswith(".dir"):
            store.write(key, store.read(key)[:-1] + b"?")
    with pytest.raises(RefusedInput) as refused:
        pull(f"s3://{store.bucket}/damaged", tmp_path / "back", name="support")
    assert refused.value.code == "data.remote.damaged"


def test_a_bucket_that_is_not_there_and_a_name_that_is_not_there(store, folder, tmp_path):
    with pytest.raises(RefusedInput, match="s3://elsewhere/x did not do what was asked.*bucket") as refused:
        push(folder, "s3://elsewhere/x", name="support", version=1)
    assert refused.value.code == "data.remote.refused"
    push(folder, f"s3://{store.bucket}/named", name="support", version=1)
    with pytest.raises(RefusedInput, match="There are: support"):
        pull(f"s3://{store.bucket}/named", tmp_path / "back", name="suport")
