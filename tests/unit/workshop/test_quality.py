"""The quality of answers: heuristics, and a classifier that learns a person's marks."""

import json
from pathlib import Path

import chatterbot_corpus
import polars as pl
import pytest
import yaml

from studio.errors import RefusedInput
from studio.workshop.checks import quality
from tests.unit.workshop.answers import answered, sentences

CORPUS = Path(chatterbot_corpus.__file__).parent / "data" / "english"


def said(name: str, count: int) -> list[str]:
    """Real distinct answers of one category."""
    talks = yaml.safe_load((CORPUS / f"{name}.yml").read_text("utf-8"))["conversations"]
    return list(dict.fromkeys(str(talk[1]) for talk in talks if len(talk) > 1))[:count]


def test_heuristics_let_real_answers_pass_and_catch_junk() -> None:
    real = [text for name in ("ai", "history", "food", "trivia") for text in said(name, 60)]
    scores = quality.heuristics(pl.Series(real))["score"]
    assert (scores < 0.3).mean() < 0.01
    junk = quality.heuristics(
        pl.Series(["ha " * 100, "Yes yes yes. " * 60, "!!!???", "@#$%^&*()_+|}{:", "哈哈哈哈哈哈哈哈哈哈哈哈哈哈"])
    )
    assert (junk["score"] < 0.3).all()


def test_code_and_json_are_not_called_symbols() -> None:
    code = ["```\nx={}[]();:=>{}\n```", '{"a":{"b":[[],[]]}}', "for (;;) { x[i]++; }\n"]
    assert (quality.heuristics(pl.Series(code))["score"] >= 0.3).all()


@pytest.fixture(scope="module")
def marked() -> tuple[pl.DataFrame, dict[int, bool]]:
    """Keep answers about trivia, drop those about psychology."""
    keep, drop = said("trivia", 60), said("psychology", 60)
    rows = answered(*keep, *drop)
    return rows, {row: row <= len(keep) for row in rows["row"]}


def test_a_classifier_learns_the_marks_and_comes_back_from_its_file(marked, tmp_path) -> None:
    rows, marks = marked
    learnt = {row: keep for row, keep in marks.items() if row % 4}
    model = quality.train(learnt, rows)
    assert model.kept + model.dropped == len(learnt) and model.accuracy > 0.6
    path = tmp_path / "model.json"
    quality.save(model, path)
    assert json.loads(path.read_text())["words"] == model.words
    unseen = rows.filter(pl.col("row") % 4 == 0)
    scores = quality.score(quality.load(path), unseen["completion"])
    right = [(score > 0.5) == marks[row] for row, score in zip(unseen["row"], scores, strict=True)]
    assert sum(right) / len(right) > 0.7
    assert quality.score(model, unseen["completion"]).equals(scores)


def test_its_score_is_scikit_learns_own(marked) -> None:
    from sklearn.linear_model import LogisticRegression

    rows, marks = marked
    model = quality.train(marks, rows)
    vectorizer = quality._vectorizer()
    table = vectorizer.fit_transform(rows["completion"].to_list())
    keep = [marks[row] for row in rows["row"]]
    learner = LogisticRegression(C=10, class_weight="balanced", max_iter=1000).fit(table, keep)
    assert quality.score(model, rows["completion"]).to_list() == pytest.approx(learner.predict_proba(table)[:, 1])


def test_too_few_marks_and_files_that_are_none(marked, tmp_path) -> None:
    rows, _ = marked
    with pytest.raises(RefusedInput, match="Mark at least 10"):
        quality.train({1: True, 2: False}, rows)
    (tmp_path / "odd.json").write_text('{"words": ["a"]}')
    for name in ("odd.json", "missing.json"):
        with pytest.raises(RefusedInput, match="not a trained classifier"):
            quality.load(tmp_path / name)


def test_the_report_counts_and_names(marked, tmp_path) -> None:
    report = quality.run(answered("ha " * 100, "...", "A proper answer to it."), quality.Options())
    assert report.rows == 3 and sum(report.histogram) == 3
    assert report.reasons == {"empty": 1, "repetition": 1}
    assert report.findings["row"].to_list() == [1, 2]
    rows, marks = marked
    path = tmp_path / "model.json"
    quality.save(quality.train(marks, rows), path)
    learnt = quality.run(rows, quality.Options(quality_model=str(path), least_quality=0.5))
    for language in ("en", "zh"):
        sentences(pl.concat([report.findings, learnt.findings]), language)
    assert set(learnt.reasons) == {"learned"}
