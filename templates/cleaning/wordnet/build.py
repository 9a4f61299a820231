"""Makes synonyms.tsv and compounds.txt from WordNet's files and chosen.txt: `python build.py <WordNet's dict folder>`.

    chosen.txt       cemetery: graveyard
    synonyms.tsv     cemetery   graveyard
                     cemeteries graveyards          inflected alike
    compounds.txt    graveyard shift                a word of the table means something else beside that one

A pair is taken only if WordNet has both words in one set of synonyms and that sense is the most frequent of each.
Forms are made for verbs (-s, -ing, -ed) and nouns (plural); one that WordNet has as a word of its own ("glasses") is
left out, and so is every form of a verb that is not inflected regularly, but its -s and -ing.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
KINDS = {"adjective": "35", "adverb": "4", "verb": "2", "noun": "1"}
"""Section of chosen.txt -> WordNet's numbers for that part of speech."""
IRREGULAR = {"begin", "build", "buy", "choose", "hide"}
"""Verbs of the list whose past has forms of its own."""
APART = "not before or after"

Chosen = dict[str, dict[str, list[str]]]


def main(folder: Path) -> None:
    chosen, apart = read_chosen()
    senses = read_senses(folder)
    table: dict[str, set[str]] = defaultdict(set)
    for kind, words in chosen.items():
        for word, synonyms in words.items():
            for synonym in synonyms:
                require_shared_sense(senses, kind, word, synonym)
                for form, same in zip(forms(kind, word), forms(kind, synonym), strict=True):
                    if form and same not in ("", form) and not (form != word and form in senses):
                        table[form].add(same)
    lines = [f"{form}\t{' '.join(sorted(table[form]))}" for form in sorted(table)]
    (HERE / "synonyms.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    pairs = sorted({*compounds(senses, set(table)), *apart})
    (HERE / "compounds.txt").write_text("\n".join(pairs) + "\n", "utf-8")
    sys.stdout.write(f"{len(lines)} forms, {len(pairs)} compounds\n")


def read_chosen() -> tuple[Chosen, list[str]]:
    """Section -> word -> synonyms; and the pairs of words of the last section."""
    chosen: Chosen = {kind: {} for kind in KINDS}
    apart, section = [], ""
    for line in (HERE / "chosen.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line.startswith("#"):
            continue
        elif section == APART:
            apart.append(line)
        else:
            word, synonyms = line.split(": ")
            chosen[section][word] = synonyms.split(", ")
    return chosen, apart


def read_senses(folder: Path) -> dict[str, dict[tuple[str, str], int]]:
    """Lemma -> (part of speech, place of the sense) -> how often it was counted."""
    senses: dict[str, dict[tuple[str, str], int]] = defaultdict(dict)
    for line in (folder / "index.sense").read_text("utf-8").splitlines():
        key, place, _, count = line.split()
        lemma, rest = key.split("%")
        senses[lemma][rest[0], place] = int(count)
    return senses


def require_shared_sense(senses: dict[str, dict[tuple[str, str], int]], kind: str, word: str, synonym: str) -> None:
    """One sense of the right part of speech in common, and for each word none of another set more frequent in it."""
    one, other = (
        {place: count for (part, place), count in senses[each].items() if part in KINDS[kind]}
        for each in (word, synonym)
    )
    shared = one.keys() & other.keys()
    if not shared:
        raise SystemExit(f"{word} and {synonym} share no sense as {kind}")
    if max(one[place] for place in shared) < max(one.values()):
        raise SystemExit(f"{word} is used more often in another sense than that of {synonym}")


def forms(kind: str, word: str) -> list[str]:
    """The word in its forms, in the same order for every word of a kind; empty where a form is not made."""
    if kind == "noun":
        return [word, with_s(word)]
    if kind != "verb":
        return [word]
    stem = word[:-1] if word.endswith("e") else double(word)
    past = "" if word in IRREGULAR else re.sub(r"(?<=[^aeiou])y$", "i", stem) + "ed"
    return [word, with_s(word), stem + "ing", past]


def with_s(word: str) -> str:
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + ("es" if re.search(r"(s|x|z|ch|sh)$", word) else "s")


def double(word: str) -> str:
    return word + word[-1] if word in ("begin", "occur", "enrol") else word


def compounds(senses: dict[str, dict[tuple[str, str], int]], words: set[str]) -> Iterator[str]:
    """Neighbouring words of WordNet's compounds, where one of them is in the table; also in the plural."""
    for lemma in senses:
        parts = lemma.split("_")
        for pair in zip(parts, parts[1:], strict=False):
            if words & set(pair) and all(part.isalpha() for part in pair):
                yield " ".join(pair)
                yield f"{pair[0]} {with_s(pair[1])}"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
