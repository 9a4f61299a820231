"""English words in place of others that mean the same: `templates/cleaning/wordnet/`.

    replaced("Where is the cemetery?", keep="", random=Random(1))  ->  "Where is the graveyard?"
    replaced("How do you spell cemetery?", ...)                    ->  None: it is about the word

Stays as it is: code, addresses, quoted text, words with a capital inside a sentence (names), parts of longer words or
of compounds ("phone number"), and every word that `keep` has too: an answer that takes up a word of the question would
lose its link to it. A text about words, letters or translation stays whole.
"""

import re
from functools import cache
from random import Random

from studio.paths import TEMPLATES
from studio.workshop.texts import spans

FOLDER = TEMPLATES / "cleaning" / "wordnet"
MOST_WORDS = 2
"""Words replaced in one text."""
FIXED = re.compile(
    r"""https?://\S+ | www\.\S+ | \S+@\S+ | "[^"\n]*" | “[^”\n]*” | ‘[^’\n]*’ | (?<!\w)'[^'\n]*'(?!\w)
    | 「[^」\n]*」 | 《[^》\n]*》 | <[^<>\n]*> | \{[^{}\n]*\}""",
    re.VERBOSE,
)
"""Addresses, quotations, tags and placeholders."""
ABOUT_WORDS = re.compile(
    r"\b(?:translat\w*|spell\w*|rhym\w*|synonyms?|antonyms?|pronounc\w*|letters?|words?|phrases?|sentences?|grammar\w*"
    r"|mean|means|meant|meaning|defin\w*|verbatim|literally|called|repeat|lyrics|titles?|quot\w*|acronym\w*)\b",
    re.IGNORECASE,
)
"""The text may be about its own words."""
_WORD = re.compile(r"[A-Za-z]+")
_JOINED = frozenset("-_'’/\\@#&+*=$%0123456789")
"""A word with one of these beside it is part of something else."""
_ARTICLE = re.compile(r"\b([Aa])n?(\s+)\Z")
_VOWEL_SOUND = re.compile(r"(?!uni|use|usu|eu|one)[aeiou]|hour|honest", re.IGNORECASE)
_HIDDEN = "\0"


@cache
def table() -> dict[str, tuple[str, ...]]:
    """Form of a word -> forms that may take its place."""
    lines = (FOLDER / "synonyms.tsv").read_text("utf-8").splitlines()
    return {form: tuple(same.split()) for form, same in (line.split("\t") for line in lines)}


@cache
def compounds() -> frozenset[str]:
    """Pairs of neighbouring words that belong together."""
    return frozenset((FOLDER / "compounds.txt").read_text("utf-8").splitlines())


def replaced(text: str, *, keep: str, random: Random, most: int = MOST_WORDS) -> str | None:
    """The text with at most `most` of its words replaced; None where none can be."""
    if ABOUT_WORDS.search(text):
        return None
    kept = {word.lower() for word in _WORD.findall(keep)}
    places = [found for found in _free(text) if found.group().lower() not in kept]
    if not places:
        return None
    edits: list[spans.Edit] = []
    for found in random.sample(places, min(most, len(places))):
        edits += _edits(text, found, random.choice(table()[found.group().lower()]))
    return spans.apply(text, edits)


def hidden(text: str) -> str:
    """The text with what must not change blanked out, of the same length."""
    characters = list(text)
    for start, end in [*spans.protected(text), *(found.span() for found in FIXED.finditer(text))]:
        characters[start:end] = _HIDDEN * (end - start)
    return "".join(characters)


def _free(text: str) -> list[re.Match[str]]:
    """The words of the table that may be replaced."""
    words = list(_WORD.finditer(hidden(text)))
    lower = ["", *(found.group().lower() for found in words), ""]
    return [
        found
        for place, found in enumerate(words, 1)
        if lower[place] in table()
        and not compounds() & {" ".join(lower[place - 1 : place + 1]), " ".join(lower[place : place + 2])}
        and _stands_alone(text, found)
    ]


def _stands_alone(text: str, found: re.Match[str]) -> bool:
    """Whether this is a word by itself, and no name."""
    before, after = text[: found.start()], text[found.end() :]
    if (before[-1:] and before[-1] in _JOINED) or (after[:1] and after[0] in _JOINED):
        return False
    if re.match(r"\.\w", after) or re.search(r"\w\.\Z", before):
        return False
    word = found.group()
    if word[1:] != word[1:].lower():
        return False
    return word.islower() or not before.strip() or before.rstrip()[-1] in ".!?\n"


def _edits(text: str, found: re.Match[str], new: str) -> list[spans.Edit]:
    """The word's edit, and that of an article before it."""
    new = new.capitalize() if found.group()[0].isupper() else new
    edits = [(*found.span(), new)]
    if article := _ARTICLE.search(text[: found.start()]):
        fitting = article[1] + ("n" if _VOWEL_SOUND.match(new) else "") + article[2]
        edits.append((*article.span(), fitting))
    return edits
