"""Which encoding a text is in: by its byte order mark, by proof (valid UTF-8), else guessed from its letters.

b'\\xff\\xfe{...' -> ("utf-16-le", 1.0, 2);  '你好'.encode("gb18030") -> ("gb18030", 0.44, 0)

A guess counts only if the text then decodes. One stray byte in UTF-8 leaves it UTF-8: the row is reported.
"""

import codecs
import re
from collections.abc import Iterable
from typing import NamedTuple

from studio.errors import RefusedInput
from studio.workshop.problems import shorten
from studio.workshop.reading import few_words

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: its mark begins with that one's
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_TEXT_CONTROLS = frozenset(b"\t\n\r\f\v\x1a\x1b")
_LATIN = ("cp1252", "cp1250", "cp1254", "cp1257", "iso8859-15", "mac-roman", "cp850")
_OF_PAIRS = ("gb", "big5", "euc", "johab", "shift", "cp9", "iso2022", "hz", "utf")
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]+")
_COMMON_CHINESE = re.compile(rb"(?:[\xa1-\xa3][\xa1-\xfe]|[\xb0-\xd7][\xa1-\xfe])+")
"""GB2312's punctuation and the 3,755 characters of its first level."""
_TWO_BEYOND_ASCII = re.compile(rb"[\x80-\xff]{2}")
_FOREIGN_WORD = re.compile(rb"[A-Za-z]*[\x80-\xff][\x40-\x7e\x80-\xff]*")
"""A letter of two bytes may have one of ASCII in second place."""
_KOREAN = ("cp949", "euc_kr", "johab")
_AS_WRITTEN = {"shift_jis_2004": "cp932", "shift_jisx0213": "cp932"}
"""What such files are in truth: read by the standard's letter, the backslash of JSON is a yen sign."""
_SPARSE = 0.15
"""Below this share of bytes beyond ASCII a text is mostly English; its encoding is then rather a usual one."""
_OTHER_SCRIPT = 0.6
"""Share of bytes beyond ASCII in such words from which on they are no Latin ones with accents."""
FEW_WORDS_CONFIDENCE = 0.6
SAMPLE_BYTES = 1 << 16


class Encoding(NamedTuple):
    name: str
    confidence: float
    mark_bytes: int = 0


def detect_encoding(head: bytes, *, is_whole: bool) -> Encoding | None:
    """The encoding of a text that begins with `head`, or is it; None if that is no text."""
    for mark, name in _MARKS:
        if head.startswith(mark):
            return Encoding(name, 1.0, len(mark))
    if _is_wide(head) and (wide := _wide(head)):
        return wide
    if _is_binary(head) and not head.lstrip().startswith((b"{", b"[")):  # rows of JSON with NULs among them are rows
        return None
    if b"\x1b$" in head or b"\x1b(" in head:
        return _guess(head)  # ISO 2022: pure ASCII bytes, letters behind escapes
    if head.isascii() or _decodes(head, "utf-8", is_whole):
        return Encoding("utf-8", 1.0)
    sample = _telling_lines(head)
    return _mostly_utf8(sample) or _guess(sample) or Encoding("utf-8", 0.0)


def named_encoding(name: str) -> Encoding:
    """The encoding that a person names: `GBK`, `windows-1252`, `utf8`, `UTF-16`.

    Raises:
        RefusedInput: no text encoding of this name.
    """
    try:
        codec = codecs.lookup(name.strip())
        "a".encode(codec.name)
        codec.incrementaldecoder()
    except (LookupError, TypeError, ValueError) as error:
        raise RefusedInput("data.reading.unknown_encoding", encoding=shorten(name)) from error
    return Encoding("utf-8" if codec.name == "utf-8-sig" else codec.name, 1.0)


def with_mark(encoding: Encoding, head: bytes) -> Encoding:
    """The named encoding as this text has it: a byte order mark of it is no text, and tells which UTF-16 it is."""
    for mark, name in _MARKS:
        if head.startswith(mark) and name.startswith(encoding.name):
            return Encoding(name, 1.0, len(mark))
    order = "-le" if encoding.name in ("utf-16", "utf-32") else ""
    return encoding._replace(name=encoding.name + order)


def _is_wide(head: bytes) -> bool:
    """Every other byte, or three of four, is zero often enough that characters are two or four bytes wide."""
    start = head[:4096]
    return start.count(0) * 20 > len(start)


def _wide(head: bytes) -> Encoding | None:
    texts = [(name, _start(head, name)) for name in _WIDE]
    best = max(texts, key=lambda pair: _plausibility(pair[1]))
    plausibility = _plausibility(best[1])
    return Encoding(best[0], round(plausibility, 2)) if plausibility > 0.9 else None


def _start(head: bytes, encoding: str) -> str:
    whole = head[: len(head[:4096]) // 4 * 4] or head
    return whole.decode(encoding, "replace")


def _plausibility(text: str) -> float:
    """The share of printable characters, nothing if no line or bracket of data is in it."""
    good = sum(letter.isprintable() and letter != "\ufffd" or letter in "\t\r\n" for letter in text)
    has_ascii = any(letter in '{}[]":,;\n\t .' for letter in text)
    return good / len(text) if text and has_ascii else 0.0


def _is_binary(head: bytes) -> bool:
    start = head[:4096]
    controls = sum(byte < 32 and byte not in _TEXT_CONTROLS for byte in start)
    return controls * 20 > len(start)


def _telling_lines(head: bytes) -> bytes:
    """The lines with letters beyond ASCII, which alone tell encodings apart."""
    lines = [line for line in head.splitlines(keepends=True) if not line.isascii()]
    return b"".join(lines)[:SAMPLE_BYTES]


def _mostly_utf8(sample: bytes) -> Encoding | None:
    """UTF-8 with a damaged place: letters of several bytes that are right do not come about by chance."""
    text = sample.decode("utf-8", "surrogateescape")
    beyond = [letter for letter in text if letter > "\x7f"]
    bad = sum("\udc80" <= letter <= "\udcff" for letter in beyond)
    if set(beyond) <= set("\udcfe\udcff"):  # no encoding's text has these bytes alone
        return Encoding("utf-8", 0.5)
    good = len(beyond) - bad
    return Encoding("utf-8", round(good / (good + bad), 2)) if good > bad else None


def _guess(sample: bytes) -> Encoding | None:
    import chardet

    among = _LATIN if _has_accents_only(sample) else None
    is_sparse = _share_beyond_ascii(sample) < _SPARSE
    if told := _told_by_few_words(sample) if is_sparse else None:
        return told
    found = chardet.detect_all(
        _foreign_words(sample) if is_sparse and not among else sample,
        ignore_threshold=True,
        prefer_superset=True,
        compat_names=False,
        include_encodings=among,
        encoding_era=chardet.EncodingEra.MODERN_WEB if is_sparse else chardet.EncodingEra.ALL,
    )
    best = _first_that_decodes(sample, ((each["encoding"], each["confidence"]) for each in found))
    may_be_chinese = best is None or not best.name.startswith(_OF_PAIRS)
    if is_sparse and best and best.name in _KOREAN:
        may_be_chinese = few_words.is_chinese_rather_than_korean(sample)
    return Encoding("gb18030", FEW_WORDS_CONFIDENCE) if may_be_chinese and _is_common_chinese(sample) else best


def _told_by_few_words(sample: bytes) -> Encoding | None:
    """What single words tell where there is too little for frequencies."""
    name = few_words.kana(_FOREIGN_WORD.findall(sample))
    if name is None and few_words.is_turkish(sample):
        name = "cp1254"
    return _first_that_decodes(sample, [(name, FEW_WORDS_CONFIDENCE)])


def _foreign_words(sample: bytes) -> bytes:
    """The words of another script among many of ASCII, whose own frequencies would hide them; else all of it."""
    words = b" ".join(_FOREIGN_WORD.findall(sample))
    beyond = sum(byte > 127 for byte in words)
    letters = sum(chr(byte).isalpha() for byte in words if byte < 128)
    return words if beyond >= _OTHER_SCRIPT * (beyond + letters) else sample


def _share_beyond_ascii(sample: bytes) -> float:
    return sum(byte > 127 for byte in sample) / max(len(sample), 1)


def _is_common_chinese(sample: bytes) -> bool:
    """Whether every byte beyond ASCII is part of a common Chinese character, as no other script's text has it.

    A few such characters among English ones are too little for the guess by frequencies.
    """
    runs = _BEYOND_ASCII.findall(sample)
    return len(set(runs)) > 1 and all(map(_COMMON_CHINESE.fullmatch, runs))


def _has_accents_only(sample: bytes) -> bool:
    """Single letters beyond ASCII among many of ASCII: a Latin script, which few letters tell from no other."""
    beyond = sum(byte > 127 for byte in sample)
    letters = sum(chr(byte).isalpha() for byte in sample if byte < 128)
    return not _TWO_BEYOND_ASCII.search(sample) and letters > 4 * beyond


def _first_that_decodes(sample: bytes, candidates: Iterable[tuple[str | None, float]]) -> Encoding | None:
    for name, confidence in candidates:
        try:
            codec = codecs.lookup(name or "").name
        except LookupError:
            continue
        codec = _AS_WRITTEN.get(codec, codec)
        if _decodes(sample, codec):
            return Encoding(codec, round(confidence, 2))
    return None


def _decodes(data: bytes, encoding: str, is_whole: bool = False) -> bool:
    """Whether all of it is valid; a last letter that the sampling cut is forgiven."""
    try:
        codecs.getincrementaldecoder(encoding)().decode(data, is_whole)
    except (UnicodeError, ValueError):
        return False
    return True
