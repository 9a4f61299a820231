"""Encodings that a few foreign words among English ones show, by letters that nothing else writes so.

kana([b"\xa5\xab\xa1\xbc\xa5\xc9"])  ->  "euc_jp"     カード        kana([b"\x83J\x81[\x83h"])  ->  "cp932"     the same
is_turkish(b"... \xfeehir ...")      ->  True         şehir, which cp1252 reads as þehir

Frequencies, which tell encodings apart in longer texts, say little here. What is asked of the bytes: that all of them
are such letters, and that the letters are as people write them.
"""

import re
from collections.abc import Iterable

_EUC = re.compile(rb"(?:[\xa1-\xa3][\xa1-\xfe]|\xa4[\xa1-\xf3]|\xa5[\xa1-\xf6]|[\xb0-\xcf][\xa1-\xfe])+")
"""Punctuation, hiragana, katakana, and the 2,965 Chinese characters of JIS X 0208's first level."""
_SHIFT = re.compile(
    rb"(?:\x81[\x40-\xac]|\x82[\x4f-\x9a\x9f-\xf1]|\x83[\x40-\x96]|[\x88-\x97][\x40-\x7e\x80-\xfc]|[A-Za-z])+"
)
_SHIFT_KANA = re.compile(rb"(?:\x82[\x9f-\xf1]|\x83[\x40-\x96]){2}")
_TURKISH = frozenset("çğıöşüÇĞİÖŞÜâîûÂÎÛ")
_TURKISH_ALONE = frozenset("ğışĞİŞ")
"""In cp1252 the same bytes are Icelandic, which mostly has other accents beside them, and other neighbours."""
_PLAIN = re.compile(r"[A-Za-z]")
_NOT_TURKISH = re.compile(r"(?i:(?<![aeioöuüâîûı])ğ|ğ[ksşt]|[aeioöuüâîû]ı|ı[aeioöuüâîûı]|[qwx])")


def kana(words: Iterable[bytes]) -> str | None:
    """The Japanese encoding in which every word is Japanese and one has kana; None where there is none."""
    held = list(words)
    runs = [run for word in held for run in re.findall(rb"[\x80-\xff]+", word)]
    if all(map(_EUC.fullmatch, runs)) and any(_has_euc_kana(run) for run in runs):
        return "euc_jp"
    if all(map(_SHIFT.fullmatch, held)) and any(map(_SHIFT_KANA.search, held)):
        return "cp932"
    return None


def _has_euc_kana(run: bytes) -> bool:
    """Whether there is a kana that is no Korean consonant in the same place, as in the laughter of Korean chats."""
    pairs = [run[at : at + 2] for at in range(0, len(run), 2)]
    return any(b"\xa4\xd4" <= pair <= b"\xa4\xf3" or pair[:1] == b"\xa5" for pair in pairs)


def is_chinese_rather_than_korean(sample: bytes) -> bool:
    """Of characters that are common in Chinese: whether one lies where Korean has only its rare Chinese ones."""
    return any(run[at] > 0xC8 for run in re.findall(rb"[\x80-\xff]+", sample) for at in range(0, len(run), 2))


def is_turkish(sample: bytes) -> bool:
    """Whether the letters beyond ASCII are Turkish ones, some of them nobody else's, and stand among plain ones."""
    words = [word for word in re.findall(r"\w+", sample.decode("cp1254", "replace")) if not word.isascii()]
    letters = {letter for word in words for letter in word if letter > "\x7f"}
    is_spelt = not any(_NOT_TURKISH.search(word) or not _PLAIN.search(word) for word in words)
    return letters <= _TURKISH and not letters.isdisjoint(_TURKISH_ALONE) and is_spelt
