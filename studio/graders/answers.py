"""How near an answer comes to the wanted one: pure functions of two texts.

    exact_match("Richard Nixon.", "richard nixon")                        ->  True
    names("It was Richard Nixon, in 1969.", "Richard Nixon")              ->  True
    token_f1("Richard Milhous Nixon", "Richard Nixon")                    ->  0.8

Texts are compared in NFKC, case-folded, without punctuation. Words are runs of letters and digits; a Han or kana
character is a word of its own, as Chinese and Japanese put no spaces between words.
"""

import re
import unicodedata
from collections import Counter

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")
FIRST_WORDS = 40
"""An answer is named in so many first words or not at all: who goes on talking says everything some time."""


def words(text: str) -> list[str]:
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def exact_match(said: str, wanted: str) -> bool:
    """Whether both are the same words; where the wanted one has none, the same text."""
    if not words(wanted):
        return said.strip() == wanted.strip()
    return words(said) == words(wanted)


def names(said: str, wanted: str) -> bool:
    """Whether the wanted words stand in a row among the first `FIRST_WORDS` of the answer."""
    inner, outer = words(wanted), words(said)[:FIRST_WORDS]
    if not inner:
        return exact_match(said, wanted)
    return any(outer[place : place + len(inner)] == inner for place in range(len(outer) - len(inner) + 1))


def token_f1(said: str, wanted: str) -> float:
    """Overlap of the words, from 0 to 1: the harmonic mean of precision and recall (Rajpurkar et al. 2016)."""
    ours, theirs = Counter(words(said)), Counter(words(wanted))
    shared = sum((ours & theirs).values())
    if not shared:
        return float(exact_match(said, wanted))
    return 2 * shared / (ours.total() + theirs.total())
