"""Pushes versions to a folder or object store and pulls them back, in the layout of a DVC remote.

    <remote>/files/md5/0a/1b2c...        a file, named by the md5 of its bytes
    <remote>/files/md5/9f/e8d7....dir    a folder: JSON list of {"md5", "relpath"} of the files in it
    <remote>/luthier/<name>/v3.dvc       which folder is version 3 of a data set: a .dvc file as DVC writes it

`dvc pull` with that .dvc file fetches the same bytes. What is there already is not sent again; a pointer is written
last, so that it never names what is not whole. Credentials come from where the store's own tools look for them
(environment, profile files). S3 is spoken by pyarrow, which is there anyway (AWS_ENDPOINT_URL names another store that
speaks it, such as MinIO); other stores need the package that `PACKAGES` names. Used inside jobs: fsspec and pyarrow are
imported where they are needed.
"""

import hashlib
import importlib.util
import json
import posixpath
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import msgspec
import yaml

from studio import addresses
from studio.errors import RefusedInput
from studio.paths import written_path
from studio.workshop.problems import shorten

STORES = ("file", "memory", "s3", "gs", "gcs", "az", "abfs", "oss", "sftp", "ssh", "hdfs", "webhdfs")
"""What may be asked for: folders and stores with a login, no plain web address."""
PACKAGES = MappingProxyType(
    {
        "gs": "gcsfs",
        "gcs": "gcsfs",
        "az": "adlfs",
        "abfs": "adlfs",
        "oss": "ossfs",
        "sftp": "paramiko",
        "ssh": "paramiko",
    }
)
"""The Python package that a store needs and the studio does not bring."""
_NAMING_A_HOST = ("sftp", "ssh", "hdfs", "webhdfs")
_REDIRECTED = ("hdfs", "webhdfs")
"""Stores whose first host sends on to others: only to one that whoever starts the studio allowed."""
_SETTINGS = ("region",)
"""What may stand behind the ? of an address; an endpoint or a key could make the server call anybody."""
POINTERS = "luthier"
CHUNK_BYTES = 1 << 20
_NAME = re.compile(r"\w[\w .()+-]{0,63}")
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")

Progress = Callable[[float, float, str], None]


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """What went to, or came from, a remote."""

    remote: str
    md5: str
    """Of the folder, as DVC names it: ends in .dir."""
    version: int
    files: int
    bytes: int
    copied: int
    """Files that were not there yet."""


def check_remote(remote: str) -> str:
    """The kind of remote that an address names; a plain path is a folder.

    Raises:
        RefusedInput: it is none that holds data sets, holds a password or a setting, names a host that the studio
            does not call (`studio.addresses`), or needs a package that is not installed.
    """
    protocol, _, rest = remote.partition("://") if "://" in remote else ("file", "", remote)
    if protocol not in STORES or "::" in remote or not rest:
        raise RefusedInput("data.remote.kind", remote=remote, known=", ".join(f"{each}://" for each in STORES))
    _refuse_hidden(remote, protocol)
    package = PACKAGES.get(protocol)
    if package and importlib.util.find_spec(package) is None:
        command = f"{sys.executable} -m pip install {package}"
        raise RefusedInput("data.remote.package", remote=remote, package=package, command=command)
    _refuse_host(remote, protocol)
    return protocol


def _refuse_hidden(remote: str, protocol: str) -> None:
    """An address is kept and shown, so it holds no secret; and it says where, not how a store is to be reached."""
    if protocol == "file":
        _refuse_unless_whole_path(remote)
        return
    try:
        parts = urlsplit(remote)
        is_login = parts.password is not None or (protocol == "s3" and "@" in parts.netloc)
    except ValueError:
        raise RefusedInput("data.remote.kind", remote=remote, known=", ".join(STORES)) from None
    if is_login:
        raise RefusedInput("data.remote.password")
    if parts.fragment or any(name not in _SETTINGS for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise RefusedInput("data.remote.settings", remote=remote)


def _refuse_unless_whole_path(remote: str) -> None:
    """A path from nowhere would begin where the server happens to stand."""
    text = remote.removeprefix("file://")
    path = written_path(text)
    if path is None or not text.startswith(("/", "~")) and not Path(text).is_absolute():
        raise RefusedInput("data.remote.relative", remote=shorten(remote))


def _refuse_host(remote: str, protocol: str) -> None:
    """Object stores have hosts of their own; of the others only one that the studio may call."""
    host = urlsplit(remote).hostname or ""
    if protocol in _REDIRECTED and not addresses.is_allowed(host):
        raise RefusedInput("address.private", address=remote, host=host, variable=addresses.ALLOWED)
    if protocol in _NAMING_A_HOST:
        addresses.require_public(host, what=remote)


def pinned(remote: str, protocol: str) -> str:
    """The address with its host's number in place of the name, checked in the same look-up.

    sftp://me@files.example.org:2222/data -> sftp://me@93.184.216.34:2222/data. The library that connects would resolve
    the name once more, and a name server may answer otherwise then. It compares no host keys, so no name is missed.
    """
    if protocol not in _NAMING_A_HOST:
        return remote
    parts = urlsplit(remote)
    number = addresses.require_public(parts.hostname or "", what=remote)
    login, at, _ = parts.netloc.rpartition("@")
    host = f"[{number}]" if ":" in number else number
    port = f":{parts.port}" if parts.port else ""
    return parts._replace(netloc=f"{login}{at}{host}{port}").geturl()


def push(
    folder: Path, remote: str, *, name: str, version: int, progress: Progress = lambda done, total, unit: None
) -> Pushed:
    """Send a version folder.

    Raises:
        RefusedInput: no such kind of remote, or it does not take what it is sent.
    """
    store = _Store(remote)
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    tree = {relative: file_md5(path) for relative, path in paths.items()}
    total, copied, done = sum(path.stat().st_size for path in paths.values()), 0, 0
    for relative, path in paths.items():
        progress(done, total, "bytes")
        copied += store.put_file(path, _object(tree[relative]))
        done += path.stat().st_size
    listing = tree_bytes(tree)
    md5 = f"{hashlib.md5(listing, usedforsecurity=False).hexdigest()}.dir"
    store.put_bytes(listing, _object(md5))
    store.put_bytes(pointer(md5, size=total, path=name, nfiles=len(paths)).encode(), _pointer_path(name, version))
    progress(total, total, "bytes")
    return Pushed(remote=remote, md5=md5, version=version, files=len(paths), bytes=total, copied=copied)


def pull(
    remote: str,
    folder: Path,
    *,
    name: str,
    version: int | None = None,
    progress: Progress = lambda done, total, unit: None,
) -> Pushed:
    """Fetch a version (the newest unless said) into `folder`; every file is checked against its md5.

    Raises:
        RefusedInput: it is not there, or damaged.
    """
    store = _Store(remote)
    version = version or _newest(store, name, remote)
    out = read_pointer(store.get_bytes(_pointer_path(name, version)), file=f"{name}/v{version}.dvc")
    tree = _tree(store.get_bytes(_object(out["md5"])), out["md5"])
    total, done = int(out.get("size") or 0), 0
    for relative, md5 in tree.items():
        progress(done, total, "bytes")
        target = folder / relative
        if not target.resolve().is_relative_to(folder.resolve()):
            raise RefusedInput("data.remote.damaged", file=relative)
        target.parent.mkdir(parents=True, exist_ok=True)
        store.get_file(_object(md5), target)
        if file_md5(target) != md5:
            target.unlink()
            raise RefusedInput("data.remote.damaged", file=relative)
        done += target.stat().st_size
    progress(done, done, "bytes")
    return Pushed(remote=remote, md5=out["md5"], version=version, files=len(tree), bytes=done, copied=len(tree))


def pointer(md5: str, *, size: int, path: str, nfiles: int | None = None) -> str:
    """The text of a .dvc file for one file or, with `nfiles`, a folder."""
    out: dict[str, Any] = {"md5": md5, "size": size}
    if nfiles is not None:
        out["nfiles"] = nfiles
    return yaml.safe_dump({"outs": [out | {"hash": "md5", "path": path}]}, sort_keys=False, allow_unicode=True)


def read_pointer(text: bytes, *, file: str) -> dict[str, Any]:
    """The one output that a .dvc file names.

    Raises:
        RefusedInput: it is no .dvc file of a folder.
    """
    try:
        out = yaml.safe_load(text)["outs"][0]
        if _MD5.fullmatch(out["md5"]) and out["md5"].endswith(".dir"):
            return out
    except (yaml.YAMLError, KeyError, IndexError, TypeError):
        pass
    raise RefusedInput("data.remote.damaged", file=file)


def tree_bytes(tree: dict[str, str]) -> bytes:
    """The JSON that DVC hashes for a folder: {"rows.parquet": md5} -> [{"md5": md5, "relpath": "rows.parquet"}]."""
    parts = sorted(tree.items(), key=lambda item: tuple(item[0].split("/")))
    return json.dumps([{"md5": md5, "relpath": relative} for relative, md5 in parts], sort_keys=True).encode()


def file_md5(path: Path) -> str:
    """md5 is what DVC addresses files by; it tells them apart and protects nothing."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _tree(listing: bytes, md5: str) -> dict[str, str]:
    if f"{hashlib.md5(listing, usedforsecurity=False).hexdigest()}.dir" != md5:
        raise RefusedInput("data.remote.damaged", file=md5)
    return {entry["relpath"]: entry["md5"] for entry in json.loads(listing)}


def _object(md5: str) -> str:
    return f"files/md5/{md5[:2]}/{md5[2:]}"


def _pointer_path(name: str, version: int) -> str:
    if not _NAME.fullmatch(name):
        raise RefusedInput("name.unusable", name=name)
    return f"{POINTERS}/{name}/v{version}.dvc"


def _newest(store: "_Store", name: str, remote: str) -> int:
    folder = posixpath.dirname(_pointer_path(name, 1))
    numbers = [int(found[1]) for found in map(re.compile(r"v(\d+)\.dvc").fullmatch, store.names(folder)) if found]
    if not numbers:
        known = ", ".join(store.names(POINTERS)) or "–"
        raise RefusedInput("data.remote.not_there", name=name, remote=remote, known=known)
    return max(numbers)


class _Store:
    """A remote's root, and the few things that are asked of it; every failure is a sentence."""

    def __init__(self, remote: str) -> None:
        protocol = check_remote(remote)
        self._remote = remote
        try:
            self._files, root = _opened(pinned(remote, protocol), protocol)
        except (ImportError, ValueError, OSError) as error:
            raise self._refused(error) from None
        self._root = root.rstrip("/")

    def put_file(self, source: Path, path: str) -> bool:
        """Send a file unless it is there; whether it was sent."""
        return self._put(path, lambda target: self._files.put_file(str(source), target))

    def put_bytes(self, data: bytes, path: str) -> bool:
        return self._put(path, lambda target: self._files.pipe_file(target, data), anew=path.startswith(POINTERS))

    def get_bytes(self, path: str) -> bytes:
        try:
            return self._files.cat_file(self._at(path))
        except Exception as error:
            raise self._refused(error) from error

    def get_file(self, path: str, target: Path) -> None:
        try:
            self._files.get_file(self._at(path), str(target))
        except Exception as error:
            raise self._refused(error) from error

    def names(self, path: str) -> list[str]:
        """What lies in a folder of the remote; nothing where there is no such folder."""
        try:
            return sorted(posixpath.basename(each.rstrip("/")) for each in self._files.ls(self._at(path), detail=False))
        except FileNotFoundError:
            return []
        except Exception as error:
            raise self._refused(error) from error

    def _put(self, path: str, send: Callable[[str], None], *, anew: bool = False) -> bool:
        target = self._at(path)
        try:
            if not anew and self._files.exists(target):
                return False
            self._files.makedirs(posixpath.dirname(target), exist_ok=True)
            # A store shows an object when it is whole; in a plain folder a reader could see half of it.
            if "file" in self._files.protocol:
                send(f"{target}.part")
                self._files.mv(f"{target}.part", target)
            else:
                send(target)
        except Exception as error:  # each store raises errors of its own library
            raise self._refused(error) from error
        return True

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _refused(self, error: Exception) -> RefusedInput:
        detail = (str(error) or type(error).__name__)[:300]
        return RefusedInput("data.remote.refused", remote=self._remote, detail=detail)


def _opened(remote: str, protocol: str) -> tuple[Any, str]:
    """The file system of an address, as fsspec knows them, and the path in it."""
    import fsspec

    if protocol != "s3":
        return fsspec.core.url_to_fs(remote)
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow.fs import FileSystem

    files, root = FileSystem.from_uri(quote(remote, safe=":/?&=@%+"))
    return ArrowFSWrapper(files), root
