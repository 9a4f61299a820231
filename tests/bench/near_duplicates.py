"""Near-duplicates at cosine 0.95 on real utterances: exactness, and CPU time beside sparse_dot_topn and scikit-learn.

    pip install sparse_dot_topn            (only for this bench)
    python -m tests.bench.near_duplicates [--rows 20000] [--checked 5000] [--large 0]

Three kinds of rows: single utterances, question and answer, and chats of 20 utterances. The join is compared on one
TF-IDF matrix (sparse_dot_topn: top 100, one thread), then tokenising and counting with scikit-learn's TfidfVectorizer,
and the two steps that are built on it. `--large N` runs those alone on N rows of chats, made by repeating real ones in
other orders where there are not as many.
"""

import argparse
import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
from scipy.sparse import csr_array, csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from studio.workshop.clean import duplicates, split
from studio.workshop.similarity import vectors as tfidf
from studio.workshop.similarity.join import SLACK, pairs
from tests.bench.machine import load
from tests.unit.workshop.real_rows import utterances

THRESHOLD, TOP = 0.95, 100


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--checked", type=int, default=5_000)
    parser.add_argument("--large", type=int, default=0)
    chosen = parser.parse_args()
    if chosen.large:
        steps(long_chats(chosen.large))
        return
    for kind, every in kinds().items():
        picked = np.random.default_rng(0).permutation(len(every))
        texts = [every[place] for place in picked]
        exactness(kind, texts[: chosen.checked])
        speed(kind, texts[: chosen.rows])


def kinds() -> dict[str, list[str]]:
    said = utterances()
    return {
        "utterances": said,
        "pairs": [f"{one}\n{other}" for one, other in zip(said, said[1:], strict=False)],
        "chats": ["\n".join(said[start : start + 20]) for start in range(0, len(said) - 20, 10)],
    }


def exactness(kind: str, texts: list[str]) -> None:
    """Against every pair of rows, its cosine computed by scikit-learn from the same tokens."""
    weights, of_text = weights_of(texts)
    left, right, _ = pairs(weights, THRESHOLD)
    near = set(zip(left.tolist(), right.tolist(), strict=True))
    tokens = tfidf.normalised(pl.Series(texts)).str.extract_all(tfidf.TOKEN).to_list()
    plain = TfidfVectorizer(analyzer=list).fit_transform(tokens)
    cosine = np.triu((plain @ plain.T).toarray(), 1)
    wanted = set(zip(*map(np.ndarray.tolist, np.nonzero(cosine >= THRESHOLD - SLACK)), strict=True))
    found = rows_of(near, of_text, plain)
    hits = len(found & wanted)
    say(
        f"{kind}: {len(texts):,} rows, {len(wanted):,} pairs; recall {hits / len(wanted):.4f}, "
        f"precision {hits / len(found):.4f}"
    )


def rows_of(near: set[tuple[int, int]], of_text: np.ndarray, plain: csr_matrix) -> set[tuple[int, int]]:
    """Pairs of rows from pairs of distinct vectors; rows of one vector are pairs, unless they have no token."""
    rows: dict[int, list[int]] = {}
    for row, vector in enumerate(of_text.tolist()):
        rows.setdefault(vector, []).append(row)
    has_tokens = np.diff(plain.indptr) > 0
    alike = near | {(vector, vector) for vector, own in rows.items() if has_tokens[own[0]]}
    return {(min(a, b), max(a, b)) for one, other in alike for a in rows[one] for b in rows[other] if a != b}


def speed(kind: str, texts: list[str]) -> None:
    from sparse_dot_topn import sp_matmul_topn

    ours_counting, (weights, _) = cpu(lambda: weights_of(texts))
    theirs_counting, _ = cpu(lambda: TfidfVectorizer().fit_transform(texts))
    ours, (left, _, _) = cpu(lambda: pairs(weights, THRESHOLD), repeat=3)
    matrix = csr_matrix(weights)
    theirs, found = cpu(lambda: sp_matmul_topn(matrix, matrix.T.tocsr(), top_n=TOP, threshold=THRESHOLD, n_threads=1))
    say(
        f"{kind}: {len(texts):,} rows, join {ours:.3f} s CPU, sparse_dot_topn {theirs:.2f} s: {theirs / ours:.0f} x; "
        f"pairs {len(left):,} and {(found.nnz - (np.diff(matrix.indptr) > 0).sum()) // 2:,}; "
        f"counting {ours_counting:.2f} s, scikit-learn {theirs_counting:.2f} s: {theirs_counting / ours_counting:.1f} x"
    )


def steps(rows: pl.DataFrame) -> None:
    """Both steps on a large table, beside scikit-learn's vectorizer."""
    say(f"{rows.height:,} rows, {rows['text'].str.len_bytes().sum() / 1e6:,.0f} MB, {peak()} before")
    found, outcome = cpu(lambda: duplicates.run(rows, duplicates.Options()))
    say(f"duplicates {found:.1f} s CPU, {rows.height - outcome.rows.height:,} removed, {peak()}")
    halved, outcome = cpu(lambda: split.run(rows, split.Options()))
    say(f"split {halved:.1f} s CPU, {dict(outcome.rows['split'].value_counts().iter_rows())}, {peak()}")
    del outcome
    texts = rows["text"].to_list()
    theirs, _ = cpu(lambda: TfidfVectorizer().fit_transform(texts))
    say(f"TfidfVectorizer {theirs:.1f} s CPU; duplicates {found / theirs:.2f} x, split {halved / theirs:.2f} x")


def long_chats(count: int) -> pl.DataFrame:
    """Chats of about 1,150 characters: 24 utterances that follow one another, from any two places."""
    said = utterances()
    places = np.random.default_rng(0).integers(0, len(said) - 12, (count, 2))
    texts = ("\n".join(said[one : one + 12] + said[other : other + 12]) for one, other in places.tolist())
    return pl.DataFrame({"row": pl.int_range(count, eager=True), "text": pl.Series(texts, dtype=pl.String)})


def weights_of(texts: list[str]) -> tuple[csr_array, np.ndarray]:
    series = pl.Series(texts)
    parts = (series.slice(start, tfidf.PART_ROWS) for start in range(0, len(texts), tfidf.PART_ROWS))
    found = tfidf.of_texts(parts)
    return found.weights, found.of_text


def cpu(work: Callable[[], Any], *, repeat: int = 1) -> tuple[float, Any]:
    """CPU seconds, the least of `repeat` tries, and what came out."""
    tries = []
    for _ in range(repeat):
        began = time.process_time()
        result = work()
        tries.append(time.process_time() - began)
    return min(tries), result


def peak() -> str:
    return f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB"


def say(text: str) -> None:
    print(f"{text} (load {load()})", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
