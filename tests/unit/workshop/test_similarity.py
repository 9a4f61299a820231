"""Vectors against scikit-learn's, the join against every pair, clusters against the join."""

import sys
import unicodedata

import numpy as np
import polars as pl
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.feature_extraction.text import TfidfVectorizer

from studio.workshop.similarity import vectors
from studio.workshop.similarity.clusters import clusters
from studio.workshop.similarity.join import SLACK, pairs
from studio.workshop.similarity.matches import matches, nearest
from tests.examples import examples
from tests.unit.workshop.real_rows import corpus, utterances

ALONE = r"\p{Han}\p{Hiragana}\p{Katakana}"
TOKEN = regex.compile(rf"(?V1)[{ALONE}]|[\w--[{ALONE}]]+")


def folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def of(texts: list[str], part: int = 700) -> vectors.Vectors:
    series = pl.Series(texts, dtype=pl.String)
    return vectors.of_texts(series.slice(start, part) for start in range(0, len(texts), part))


def all_cosines(texts: list[str]) -> np.ndarray:
    weights = TfidfVectorizer(analyzer=TOKEN.findall).fit_transform([folded(text) for text in texts])
    return (weights @ weights.T).toarray()


def real_texts(count: int) -> list[str]:
    """Rows of several kinds, some of them equal: short and long, English and Chinese."""
    said = utterances()
    chats = ["\n".join(said[start : start + 15]) for start in range(0, count * 3, 10)]
    asked = [corpus(language) for language in ("english", "chinese", "japanese", "hindi", "french")]
    answered = [
        f"{prompt}\n{answer}" for rows in asked for prompt, answer in rows.select("prompt", "completion").rows()
    ]
    texts = said[: count // 2] + chats[: count // 4] + answered
    return [texts[place] for place in np.random.default_rng(3).permutation(len(texts))[:count]]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Option A, option B!", ["option", "a", "option", "b"]),
        ("什么是AI?", ["什", "么", "是", "ai"]),
        ("ひらがなカタカナ", list("ひらがなカタカナ")),
        ("Ｆｕｌｌ wi\u0301de", ["full", "wíde"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("?! ☺", []),
    ],
)
def test_tokens_are_words_and_single_han_or_kana(text: str, tokens: list[str]) -> None:
    assert vectors.normalised(pl.Series([text])).str.extract_all(vectors.TOKEN).to_list() == [tokens]


def test_every_character_is_folded_as_python_folds_it() -> None:
    # Characters that the two Unicode tables know differently are too new to be in use.
    known = [chr(code) for code in range(sys.maxunicode) if unicodedata.category(chr(code)) not in ("Cs", "Cn", "Co")]
    made = vectors.normalised(pl.Series([f"a{character}b" for character in known])).to_list()
    wrong = [each for each, new in zip(known, made, strict=True) if new != folded(f"a{each}b")]
    # The ASCII separators are white space to Python alone.
    assert len([each for each in wrong if not "\x1c" <= each <= "\x1f"]) <= 5, wrong


def test_equal_texts_share_digest_and_vector() -> None:
    found = of(["Straße  one", "STRASSE one\n", "one strasse", "", "☺", "☹"])
    assert found.digests[0] == found.digests[1] != found.digests[2]
    assert found.of_text.tolist() == [0, 0, 0, 1, 2, 3]
    assert found.digests[3] == vectors.EMPTY


def test_nothing_at_all() -> None:
    found = vectors.of_texts([])
    assert len(found.of_text) == 0
    assert [len(each) for each in pairs(found.weights, 0.95)] == [0, 0, 0]
    assert clusters(found.weights, 0.95).tolist() == []


def test_weights_are_those_of_scikit_learn() -> None:
    texts = real_texts(1500)
    found = of(texts)
    weights = found.weights[found.of_text]
    assert np.abs((weights @ weights.T).toarray() - all_cosines(texts)).max() < 1e-12


@pytest.mark.parametrize("threshold", [0.95, 0.8, 0.5])
def test_the_join_finds_every_pair_and_no_other_on_real_rows(threshold: float) -> None:
    texts = real_texts(5000)
    found = of(texts)
    left, right, cosine = pairs(found.weights, threshold)
    # Fitted on all rows, compared once for each distinct vector: as brute force over all rows would.
    expected = all_cosines(texts)
    first = np.unique(found.of_text, return_index=True)[1]
    expected = np.triu(expected[np.ix_(first, first)], 1)
    assert len(left) > 10
    assert set(zip(left, right, strict=True)) == set(zip(*np.nonzero(expected >= threshold - SLACK), strict=True))
    assert np.abs(cosine - expected[left, right]).max() < 1e-12


WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e e e", "f", "老", "师"]), max_size=12).map(" ".join)


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(WORDS, max_size=25), st.sampled_from([0.5, 0.8, 0.95]))
def test_the_join_and_the_clusters_hold_on_tables_made_to_be_hard(texts: list[str], threshold: float) -> None:
    found = of(texts, part=7)
    weights, size = found.weights, found.weights.shape[0]
    every = np.triu((weights @ weights.T).toarray() >= threshold - SLACK, 1)
    left, right, _ = pairs(weights, threshold)
    assert sorted(zip(left, right, strict=True)) == sorted(zip(*np.nonzero(every), strict=True))
    _, part = connected_components(coo_array(every), directed=False) if size else (0, np.empty(0, int))
    first = np.unique(part, return_index=True)[1]
    assert clusters(weights, threshold).tolist() == first[part].tolist()


def test_thousands_of_near_identical_rows_are_one_cluster_without_their_millions_of_pairs() -> None:
    same = " ".join(f"word{place} " * 10 for place in range(40))
    found = of([f"{same} number {place}" for place in range(8000)] + ["something else"])
    assert np.unique(clusters(found.weights, 0.95)).tolist() == [0, 8000]


def test_the_most_similar_of_the_other_kind() -> None:
    texts = real_texts(1200)
    found = of(texts)
    weights = found.weights
    kinds = np.arange(weights.shape[0]) % 2
    cosine = (weights @ weights.T).toarray()
    cosine[kinds[:, None] == kinds] = 0
    match, best = matches(weights, 0.7, wanted=kinds == 1, among=kinds == 0, kinds=kinds)
    expected = np.where((kinds == 1) & (cosine.max(axis=1) >= 0.7), cosine.max(axis=1), 0)
    assert np.abs(best - expected).max() < 1e-12
    assert (best > 0).sum() > 5
    assert cosine[np.flatnonzero(best), match[best > 0]] == pytest.approx(best[best > 0])
    assert (match[best == 0] == -1).all()


def test_the_nearest_is_found_where_it_is_far_too() -> None:
    found = of(real_texts(1500))
    size = found.weights.shape[0]
    tests, trains = np.arange(0, size, 10), np.setdiff1d(np.arange(size), np.arange(0, size, 10))
    cosine = (found.weights[tests] @ found.weights[trains].T).toarray()
    _, best = nearest(found.weights, tests, trains, enough=2.0)
    assert best == pytest.approx(cosine.max(axis=1))
    match, early = nearest(found.weights, tests, trains, enough=0.3)
    far = cosine.max(axis=1) < 0.3
    assert 0 < far.sum() < len(tests)
    assert early[far] == pytest.approx(best[far])
    assert (early[~far] >= 0.3).all()
    assert (match[best == 0] == -1).all()


def test_no_character_beyond_the_letters_folds_into_something_else() -> None:
    beyond = map(chr, range(vectors._BEYOND_LETTERS, sys.maxunicode + 1))
    assert all(each.casefold() == each for each in beyond)
