"""What follows from marks: disputes, results, rows left out; and marks as files."""

import csv
import io

import pytest

from studio.db.label_results import MarkView
from studio.errors import RefusedInput
from studio.workshop.labelling.mark_files import marks_in, read_marks, write_marks
from studio.workshop.labelling.marks import (
    Filter,
    Judgement,
    Scale,
    counts,
    disputes,
    good_bad,
    keep_or_drop,
    left_out,
    settle,
    stars,
)

LABELS = Scale(kind="labels", values=("billing", "delivery", "other"))


def said(*ratings: str | None, **fields) -> list[Judgement]:
    return [Judgement(annotator=f"A{n}", rating=rating, **fields) for n, rating in enumerate(ratings)]


@pytest.mark.parametrize(
    ("scale", "ratings", "expected"),
    [
        (stars(), ("4", "5"), ()),
        (stars(), ("3", "5"), ("rating",)),
        (stars(tolerance=0), ("4", "5"), ("rating",)),
        (good_bad(), ("good", "bad"), ("rating",)),
        (good_bad(), ("good", "good", None), ()),
        (LABELS, ("billing", "other"), ("rating",)),
        (LABELS, (), ()),
    ],
)
def test_ratings_too_far_apart_are_a_dispute(scale, ratings, expected):
    assert disputes(scale, said(*ratings)) == expected


def test_a_flag_and_two_corrections_are_disputes():
    one, other = said("4", correction="Yes."), said("4", correction="No.", is_flagged=True)
    assert disputes(stars(), one + other) == ("correction", "flag")
    assert disputes(stars(), one + said("4", correction="Yes. ")) == ()


def test_results_by_scale():
    assert (settle(stars(), said("4", "5")).score, settle(stars(), said("4", "5")).rating) == (4.5, "4")
    assert settle(good_bad(), said("good", "good", "bad")).score == pytest.approx(2 / 3)
    assert settle(LABELS, said("other", "billing", "other")).rating == "other"
    merged = settle(stars(), said("4", tags=("b",)) + said("5", tags=("a", "b")))
    assert merged.tags == ("a", "b")


def test_a_decision_ends_every_dispute():
    final = Judgement(annotator="Z", rating="2", correction="No.")
    result = settle(stars(), said("1", "5", is_flagged=True), final)
    assert (result.rating, result.score, result.correction, result.disputes) == ("2", 2.0, "No.", ())
    assert result.is_decided


@pytest.mark.parametrize(
    ("scale", "given", "chosen", "code"),
    [
        (stars(), said("2"), Filter(least_rating=3), "labels.rating_below"),
        (stars(), said("2", "3"), Filter(least_rating=3), "labels.rating_below"),
        (stars(), said("3"), Filter(least_rating=3), None),
        (stars(), said("2"), Filter(), None),
        (stars(), said("1", "5"), Filter(least_rating=4), None),  # in dispute: stays until decided
        (stars(), said("1", correction="Better."), Filter(least_rating=3), None),
        (
            stars(),
            said("1", correction="Better."),
            Filter(least_rating=3, use_corrections=False),
            "labels.rating_below",
        ),
        (good_bad(), said("bad"), Filter(least_rating=1), "labels.bad"),
        (good_bad(), said("good"), Filter(least_rating=1), None),
        (LABELS, said("other"), Filter(labels=("billing",)), "labels.not_kept"),
        (LABELS, said("billing"), Filter(labels=("billing",)), None),
        (stars(), said("5", tags=("rude",)), Filter(drop_tags=("rude",)), "labels.tag"),
        (stars(), said("5", tags=("rude",)), Filter(keep_tags=("polite",)), "labels.tag_missing"),
        (stars(), said("5", tags=("polite",)), Filter(keep_tags=("polite",)), None),
        (stars(), said(None, note="hm"), Filter(least_rating=3), None),
    ],
)
def test_which_rows_stay(scale, given, chosen, code):
    found = left_out(settle(scale, given), chosen, scale, "first")
    assert (found and found[0]) == code


def test_marks_teach_the_quality_classifier_only_where_they_are_clear():
    kept = [keep_or_drop(stars(), settle(stars(), said(rating))) for rating in "12345"]
    assert kept == [False, False, None, True, True]
    assert keep_or_drop(good_bad(), settle(good_bad(), said("good", "bad"))) is None
    assert keep_or_drop(stars(), settle(stars(), said("5", correction="Better."))) is False
    assert keep_or_drop(LABELS, settle(LABELS, said("other"))) is None


def test_counts_are_in_the_order_of_the_scale():
    results = {1: settle(stars(), said("5")), 2: settle(stars(), said("1", "5")), 3: settle(stars(), said("5", "4"))}
    assert counts(stars(), results) == {"1": 0, "2": 0, "3": 0, "4": 1, "5": 1}


# -- files -----------------------------------------------------------------------------------------------------------


def a_mark(**fields) -> MarkView:
    known = {"row": 7, "digest": "d", "annotator": "Ann", "rating": "4", "tags": ["a", "b c"], "correction": "=1+1"}
    known |= {"note": 'says "hm",\nthen no', "is_flagged": True, "seconds": 3.5, "saved_at": "2026-01-31T12:00:00Z"}
    return MarkView(**known | {"counts": True} | fields)


@pytest.mark.parametrize("format", ["jsonl", "csv"])
def test_a_file_of_marks_comes_back_as_it_went(tmp_path, format):
    marks = [a_mark(), a_mark(row=8, annotator="小明", rating=None, tags=[], correction=None, seconds=None)]
    file = tmp_path / f"marks.{format}"
    file.write_text(write_marks([*marks, a_mark(is_decision=True)], format), "utf-8", newline="")
    back = read_marks(file)
    assert [(line.row, line.digest, line.seconds) for line in back] == [(7, "d", 3.5), (8, "d", None)]
    assert [line.said for line in back] == [mark.judgement() for mark in marks]


def test_a_spreadsheet_runs_no_formula():
    tricks = {"correction": "=1+1", "annotator": "@SUM(A1)", "tags": ["+49", "b"], "note": "- one", "rating": "-1"}
    text = write_marks([a_mark(**tricks)], "csv")
    (line,) = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    assert [line[name] for name in tricks] == ["'=1+1", "'@SUM(A1)", "'+49; b", "'- one", "-1"]
    assert '"=1+1"' in write_marks([a_mark(**tricks)], "jsonl")
    (back,) = marks_in(text, "marks.csv")
    assert back.said == a_mark(**tricks).judgement()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", '{"row": 1, "annotator": "Ann"}\n{"row": 2}\n'),
        ("a.jsonl", '{"row": 1, "annotator": "Ann"}\nnonsense\n'),
        ("a.jsonl", '{"row": 1, "annotator": "Ann"}\n' + "[" * 100_000 + "\n"),
        ("a.csv", "row,annotator\n1,Ann\nx,Ann\n"),
        ("a.csv", "row,annotator\n1,Ann\n2,\n"),
    ],
)
def test_the_first_line_that_is_no_mark_is_named(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(RefusedInput, match=r"Line [23] "):
        read_marks(tmp_path / name)


def test_a_missing_or_binary_file_is_refused(tmp_path):
    (tmp_path / "b.jsonl").write_bytes(b"\xff\xfe\x00\x01")
    for file in ("a.jsonl", "b.jsonl"):
        with pytest.raises(RefusedInput):
            read_marks(tmp_path / file)
