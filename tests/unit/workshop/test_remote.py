"""Versions go to a remote and come back byte for byte, in DVC's layout; nothing half or damaged is taken."""

import hashlib
import importlib.util
import json

import fsspec
import pytest
import yaml
from fsspec.registry import known_implementations

from studio.errors import RefusedInput
from studio.workshop.versions.remote import PACKAGES, pull, push, tree_bytes
from tests.unit.workshop.making import pair, version


@pytest.fixture
def folder(tmp_path):
    return version(tmp_path / "v", [pair("Hi", "Hello"), pair("A", "B")], problems={2: "empty_answer"})


@pytest.fixture(params=["folder", "file", "memory"])
def remote(request, tmp_path):
    yield {"folder": str(tmp_path / "r"), "file": f"file://{tmp_path}/r", "memory": "memory://store"}[request.param]
    fsspec.filesystem("memory").store.clear()


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_version_comes_back_byte_for_byte(folder, remote, tmp_path):
    pushed = push(folder, remote, name="support", version=3)
    assert (pushed.files, pushed.copied) == (3, 3) and pushed.md5.endswith(".dir")
    pulled = pull(remote, tmp_path / "back", name="support")
    assert (pulled.version, pulled.md5) == (3, pushed.md5)
    assert content(tmp_path / "back") == content(folder)


def test_what_is_there_is_not_sent_again(folder, remote):
    push(folder, remote, name="support", version=3)
    assert push(folder, remote, name="support", version=4).copied == 0


def test_the_newest_version_is_fetched_unless_one_is_named(folder, remote, tmp_path):
    for number in (2, 10):
        push(folder, remote, name="support", version=number)
    assert pull(remote, tmp_path / "a", name="support").version == 10
    assert pull(remote, tmp_path / "b", name="support", version=2).version == 2


def test_the_layout_is_dvc_s(folder, tmp_path):
    pushed = push(folder, str(tmp_path / "r"), name="support", version=1)
    stored = tmp_path / "r" / "files" / "md5"
    for path in folder.iterdir():
        md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        assert (stored / md5[:2] / md5[2:]).read_bytes() == path.read_bytes()
    listing = json.loads((stored / pushed.md5[:2] / pushed.md5[2:]).read_text())
    assert [entry["relpath"] for entry in listing] == sorted(path.name for path in folder.iterdir())
    out = yaml.safe_load((tmp_path / "r" / "luthier" / "support" / "v1.dvc").read_text())["outs"][0]
    assert out == {"md5": pushed.md5, "size": pushed.bytes, "nfiles": 3, "hash": "md5", "path": "support"}


def test_a_folder_s_hash_is_what_dvc_computes():
    """Recorded from dvc-data 3.18: `Tree` of these two files, `as_bytes` and `digest`."""
    tree = {"b/x.txt": "0" * 32, "a.txt": "1" * 32}
    expected = f'[{{"md5": "{"1" * 32}", "relpath": "a.txt"}}, {{"md5": "{"0" * 32}", "relpath": "b/x.txt"}}]'
    assert tree_bytes(tree) == expected.encode()


def test_a_damaged_file_is_not_taken(folder, tmp_path):
    push(folder, str(tmp_path / "r"), name="support", version=1)
    for path in (tmp_path / "r" / "files").rglob("*"):
        if path.is_file() and not path.name.endswith(".dir"):
            path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(RefusedInput) as refused:
        pull(str(tmp_path / "r"), tmp_path / "back", name="support")
    assert refused.value.code == "data.remote.damaged"


def test_a_remote_cannot_write_outside_the_version(tmp_path):
    listing = tree_bytes({"../../outside.txt": "0" * 32})
    md5 = f"{hashlib.md5(listing, usedforsecurity=False).hexdigest()}.dir"
    place = tmp_path / "r" / "files" / "md5" / md5[:2]
    place.mkdir(parents=True)
    (place / md5[2:]).write_bytes(listing)
    pointer = tmp_path / "r" / "luthier" / "x" / "v1.dvc"
    pointer.parent.mkdir(parents=True)
    pointer.write_text(yaml.safe_dump({"outs": [{"md5": md5, "size": 1, "path": "x"}]}))
    with pytest.raises(RefusedInput) as refused:
        pull(str(tmp_path / "r"), tmp_path / "deep" / "back", name="x")
    assert refused.value.code == "data.remote.damaged"
    assert not (tmp_path / "outside.txt").exists()


@pytest.mark.parametrize("remote", ["http://example.com/x", "https://x", "simplecache::s3://x", "ftp://x", "", "s3://"])
def test_a_web_address_is_no_remote(folder, remote):
    with pytest.raises(RefusedInput) as refused:
        push(folder, remote, name="support", version=1)
    assert refused.value.code == "data.remote.kind"


def test_a_store_without_its_package_is_a_sentence_that_names_it(folder, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for remote, package in (("gs://bucket/data", "gcsfs"), ("sftp://host/data", "paramiko"), ("oss://b/d", "ossfs")):
        with pytest.raises(RefusedInput, match=f"pip install {package}$") as refused:
            push(folder, remote, name="support", version=1)
        assert refused.value.code == "data.remote.package"


def test_the_packages_are_those_that_fsspec_asks_for():
    for protocol, package in PACKAGES.items():
        assert package in known_implementations[protocol]["err"]


def test_what_was_never_pushed_is_told_with_what_was(folder, tmp_path):
    push(folder, str(tmp_path / "r"), name="support", version=1)
    with pytest.raises(RefusedInput, match="support"):
        pull(str(tmp_path / "r"), tmp_path / "back", name="suport")


@pytest.mark.parametrize("broken", [b"", b"outs: 3", b"outs:\n- md5: ../../etc\n", b"{"])
def test_a_broken_pointer_is_refused(folder, tmp_path, broken):
    push(folder, str(tmp_path / "r"), name="support", version=1)
    (tmp_path / "r" / "luthier" / "support" / "v1.dvc").write_bytes(broken)
    with pytest.raises(RefusedInput) as refused:
        pull(str(tmp_path / "r"), tmp_path / "back", name="support")
    assert refused.value.code == "data.remote.damaged"
