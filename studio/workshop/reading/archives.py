"""What lies in a .zip or .gz: which of its files hold rows, and why an archive is not opened.

    rows.jsonl, README.md           -> rows.jsonl; the README is named as skipped
    a.csv, b.csv                    -> both, in name order
    a.csv, b.jsonl                  -> refused: which is meant?

Nothing is unpacked to a name from inside an archive, and none that names a place outside of itself is opened at all.
"""

import zipfile
from pathlib import Path, PurePosixPath

from studio.errors import RefusedInput
from studio.workshop.problems import shorten
from studio.workshop.reading import limits
from studio.workshop.reading.streams import Content, refuse_bomb

TEXT_SUFFIXES = (".txt", ".md", ".markdown")
ROW_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".xlsx", ".xlsm", ".parquet")
ARCHIVE_SUFFIXES = (".zip", ".gz", ".tgz", ".tar", ".7z", ".rar", ".bz2", ".xz", ".zst")
_SAME_KIND = {".ndjson": ".jsonl", ".markdown": ".md", ".xlsm": ".xlsx"}
_MAGICS = (b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_ENCRYPTED_FLAG = 1
_LINK_MODE = 0o120000


def members_of(path: Path, name: str) -> tuple[list[Content], list[str]] | None:
    """The files with rows in a zip, and what lies beside them; None if the zip is a spreadsheet.

    Raises:
        RefusedInput: damaged, locked, dangerous, nested, a bomb, or nothing or too much of a choice in it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
        if not all(info.filename for info in infos):
            raise zipfile.BadZipFile("a member without a name")
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise RefusedInput("data.reading.archive_damaged", file=name) from error
    infos = [info for info in infos if not info.is_dir()]
    if any(info.filename == "[Content_Types].xml" for info in infos):
        return _office(infos, name)
    _refuse_dangerous(infos, path, name)
    chosen, skipped = _with_rows([info.filename for info in infos if not _is_litter(info.filename)], name)
    return [Content(path, f"{name}/{member}", "zip", member) for member in chosen], skipped


def _office(infos: list[zipfile.ZipInfo], name: str) -> None:
    if not any(info.filename.startswith("xl/") for info in infos):
        raise RefusedInput("data.unsupported_format", file=name, suffix=Path(name).suffix or "office")


def _refuse_dangerous(infos: list[zipfile.ZipInfo], path: Path, name: str) -> None:
    if len(infos) > limits.MAX_MEMBERS:
        raise RefusedInput("data.reading.archive_many", file=name, count=len(infos), limit=limits.MAX_MEMBERS)
    for info in infos:
        member = shorten(info.filename)
        if _leads_outside(info):
            raise RefusedInput("data.reading.archive_outside", file=name, member=member)
        if info.flag_bits & _ENCRYPTED_FLAG:
            raise RefusedInput("data.reading.archive_locked", file=name, member=member)
        refuse_bomb(info.file_size, info.compress_size, name)
    refuse_bomb(sum(info.file_size for info in infos), path.stat().st_size, name)


def _leads_outside(info: zipfile.ZipInfo) -> bool:
    written = (info.orig_filename or info.filename).replace("\\", "/")
    parts = PurePosixPath(written).parts
    is_link = (info.external_attr >> 16) & 0o170000 == _LINK_MODE
    return ".." in parts or written.startswith("/") or written[1:2] == ":" or "\0" in written or is_link


def _is_litter(member: str) -> bool:
    """What operating systems leave in archives."""
    path = PurePosixPath(member)
    return path.parts[0] == "__MACOSX" or path.name.startswith(".") or path.name in ("Thumbs.db", "desktop.ini")


def _with_rows(members: list[str], name: str) -> tuple[list[str], list[str]]:
    by_kind: dict[str, list[str]] = {}
    for member in sorted(members):
        suffix = PurePosixPath(member).suffix.lower()
        if suffix in ARCHIVE_SUFFIXES:
            raise RefusedInput("data.reading.archive_nested", file=name, member=shorten(member))
        by_kind.setdefault(_SAME_KIND.get(suffix, suffix), []).append(member)
    kinds = [kind for kind in by_kind if kind in ROW_SUFFIXES] or [kind for kind in by_kind if kind in TEXT_SUFFIXES]
    if not kinds:
        raise RefusedInput("data.reading.archive_empty", file=name, members=shorten(", ".join(members) or "–"))
    if len(kinds) > 1:
        found = ", ".join(by_kind[kind][0] for kind in sorted(kinds))
        raise RefusedInput("data.reading.archive_mixed", file=name, members=shorten(found))
    chosen = by_kind[kinds[0]]
    return chosen, [member for member in sorted(members) if member not in chosen]


def gzip_content(path: Path, name: str) -> Content:
    """What a .gz holds; its own name is the archive's without the ending."""
    return Content(path, name, "gz")


def refuse_nested(head: bytes, name: str) -> None:
    """An archive inside an archive, whatever it is called."""
    if head.startswith(_MAGICS) or head[257:262] == b"ustar":
        raise RefusedInput("data.reading.archive_nested", file=name, member=name)


def unpacked_bytes(content: Content) -> int:
    """The size of a zip's member as its directory says."""
    with zipfile.ZipFile(content.path) as archive:
        return archive.getinfo(content.member).file_size
