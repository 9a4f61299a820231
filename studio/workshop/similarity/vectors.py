"""Texts as TF-IDF vectors: what every comparison of rows stands on.

    ["Hello there!", "hello  THERE", "什么是AI"]  ->  two distinct vectors: {hello, there} twice, {什, 么, 是, ai}

Tokens are runs of letters, digits and `_` of the normalised text (NFKC, case-folded); but every Han or kana character
stands alone: Chinese and Japanese put no spaces between words. A single letter or digit counts, so "option A" and
"option B" differ. Weights are those of scikit-learn: count x (ln((1 + rows) / (1 + rows with the term)) + 1), L2 norm.

Texts come in parts, so that only the vectors of a large table are in memory, never a second copy of its text. Equal
texts, and texts of equal tokens, share one vector. Equality is by 64-bit hashes: for a million texts the odds of one
wrong match are 1 in 30 million.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl
import xxhash
from scipy.sparse import csr_array

from studio.workshop import table

_ALONE = r"\p{Han}\p{Hiragana}\p{Katakana}"
TOKEN = rf"[{_ALONE}]|[\w--[{_ALONE}]]+"
PART_ROWS, PART_BYTES = 20_000, 32 << 20
"""How much text is looked at in one go."""
_BEYOND_LETTERS = 0x20000
"""No character from here on has two cases: only ideographs, emoji's tags and private ones follow."""
EMPTY = xxhash.xxh3_64_intdigest(b"")
"""The digest of no text at all."""


@dataclass(frozen=True)
class Vectors:
    """The distinct vectors of some texts."""

    weights: csr_array
    """(distinct vectors, terms), rows of length 1 or, without any token, 0; terms go from rarest to most frequent."""
    of_text: np.ndarray
    """Text -> its row in `weights`."""
    digests: np.ndarray
    """Text -> xxh3 of the normalised text: equal where the texts are."""


def of_texts(parts: Iterable[pl.Series]) -> Vectors:
    """Vectors of all texts in `parts`, in their order; the weights are fitted on all of them."""
    counted = list(map(_Counter().count, parts)) or [_Counter().count(pl.Series([], dtype=pl.String))]
    num_terms = 1 + max(int(part.terms.max(initial=0)) for part in counted)
    _, first, of_text = np.unique(_bags(counted, num_terms), return_index=True, return_inverse=True)
    of_text = np.argsort(np.argsort(first))[of_text]  # numbered by first appearance
    digests = np.concatenate([part.digests for part in counted])
    return Vectors(_weights(counted, num_terms, np.sort(first)), of_text, digests)


def whole(rows: pl.DataFrame) -> Iterator[pl.Series]:
    """All turns' text of each row, without role marks, in parts."""
    for part in _parts(rows):
        yield _token_numbers(part) if "input_ids" in part.columns else table.whole_texts(part)["text"]


def prompts(rows: pl.DataFrame) -> Iterator[pl.Series]:
    """What each row asks, in parts; empty where nothing is asked."""
    for part in _parts(rows):
        yield table.prompts(part)["text"].fill_null("")


def answers(rows: pl.DataFrame) -> Iterator[pl.Series]:
    """Each row's last answer, in parts; empty where there is none."""
    for part in _parts(rows):
        yield table.answers(part)["text"].fill_null("")


def digests(parts: Iterable[pl.Series]) -> np.ndarray:
    """A number for each text, equal where the normalised texts are equal."""
    return np.concatenate([np.empty(0, np.uint64), *(_digests(normalised(part)) for part in parts)])


def normalised(texts: pl.Series) -> pl.Series:
    """NFKC, case-folded, runs of white space as one space, none at the ends."""
    folded = texts.str.to_lowercase()
    beyond_ascii = (texts.str.len_bytes() != texts.str.len_chars()).arg_true()
    if len(beyond_ascii):
        lowered = texts.gather(beyond_ascii).str.normalize("NFKC").str.to_lowercase()
        folded = folded.scatter(beyond_ascii, lowered.str.replace_many(_folds()))
    # Most white space is one plain space already; matching only the rest is several times faster.
    return folded.str.replace_all(r"\s{2,}|[\s--\x20]", " ").str.strip_chars()


@cache
def _folds() -> dict[str, str]:
    """Characters whose case folding is more than their lower case, such as ß."""
    characters = (chr(code) for code in range(_BEYOND_LETTERS) if unicodedata.category(chr(code)) != "Cs")
    return {each: each.casefold() for each in characters if each.lower() == each != each.casefold()}


def _token_numbers(rows: pl.DataFrame) -> pl.Series:
    """Rows that are tokenised already, as text: their numbers are the words."""
    return rows["input_ids"].cast(pl.List(pl.String)).list.join(" ")


def _parts(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    size = max(1, rows.estimated_size())
    step = max(1, min(PART_ROWS, PART_BYTES * rows.height // size))
    return (rows.slice(start, step) for start in range(0, rows.height, step))


# -- counting ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Counts:
    """Terms of a part of the texts: for each text a stretch of `terms` and `counts`."""

    digests: np.ndarray
    lengths: np.ndarray
    """Text -> number of its distinct terms."""
    terms: np.ndarray
    counts: np.ndarray


class _Counter:
    """Counts terms part by part; a term has one number through all of them."""

    def __init__(self) -> None:
        self._term = pl.Categorical(pl.Categories.random())
        # polars forgets the numbers once no column holds any of them.
        self._holds_the_numbers = pl.Series([], dtype=self._term)

    def count(self, texts: pl.Series) -> _Counts:
        texts = normalised(texts)
        found = texts.str.extract_all(TOKEN)
        lengths = found.list.len().to_numpy()
        places = np.repeat(np.arange(len(texts), dtype=np.uint64), lengths)
        terms = found.filter(found.list.len() > 0).explode().cast(self._term).to_physical().to_numpy()
        keys = np.sort((places << np.uint64(32)) | terms)
        starts = np.flatnonzero(np.diff(keys, prepend=~keys[:1]))
        counts = np.diff(starts, append=len(keys))
        return _Counts(
            digests=_digests(texts),
            lengths=np.bincount((keys[starts] >> np.uint64(32)).astype(np.int64), minlength=len(texts)),
            terms=keys[starts].astype(np.uint32),
            counts=counts.astype(np.min_scalar_type(int(counts.max(initial=0)))),
        )


def _digests(texts: pl.Series) -> np.ndarray:
    return np.fromiter(map(xxhash.xxh3_64_intdigest, texts.cast(pl.Binary).to_list()), np.uint64, len(texts))


def _bags(counted: list[_Counts], num_terms: int) -> np.ndarray:
    """A number for each text, equal where the same terms stand equally often; without terms, the text's digest."""
    code = np.random.default_rng(0).integers(1, 2**64, num_terms, dtype=np.uint64)
    bags = []
    for part in counted:
        sums = _sums(code[part.terms] * part.counts, part.lengths)
        bags.append(np.where(part.lengths > 0, sums, part.digests))
    return np.concatenate(bags)


def _weights(counted: list[_Counts], num_terms: int, chosen: np.ndarray) -> csr_array:
    """TF-IDF rows of the `chosen` texts (ascending)."""
    num_texts = sum(len(part.lengths) for part in counted)
    frequency = sum(np.bincount(part.terms, minlength=num_terms) for part in counted)
    idf = np.log((1 + num_texts) / (1 + frequency)) + 1
    rank = np.argsort(np.argsort(frequency, kind="stable")).astype(np.int32)

    is_chosen = np.zeros(num_texts, bool)
    is_chosen[chosen] = True
    lengths = np.concatenate([part.lengths for part in counted])
    ends = np.concatenate([[0], np.cumsum(lengths[is_chosen])])
    values, columns = np.empty(ends[-1]), np.empty(ends[-1], np.int32)
    text = place = 0
    for part in counted:
        kept = is_chosen[text : text + len(part.lengths)]
        block = _block(part, kept, rank, idf)
        values[place : place + block.nnz], columns[place : place + block.nnz] = block.data, block.indices
        text, place = text + len(kept), place + block.nnz
    weights = csr_array((values, columns, ends), shape=(len(chosen), num_terms))
    weights.has_sorted_indices = True
    return weights


def _block(part: _Counts, kept: np.ndarray, rank: np.ndarray, idf: np.ndarray) -> csr_array:
    is_kept = np.repeat(kept, part.lengths)
    lengths = part.lengths[kept]
    terms = part.terms[is_kept]
    values = part.counts[is_kept] * idf[terms]
    values /= np.repeat(np.sqrt(_sums(values * values, lengths)), lengths)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    block = csr_array((values, rank[terms], ends), shape=(len(lengths), len(rank)))
    block.sort_indices()
    return block


def _sums(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Sums of consecutive stretches of `values`, stretches of length 0 included."""
    sums = np.zeros(len(lengths), values.dtype)
    filled = lengths > 0
    if filled.any():
        sums[filled] = np.add.reduceat(values, (np.cumsum(lengths) - lengths)[filled])
    return sums
