"""What the run page shows of a classification."""

import re
from types import SimpleNamespace

import pytest

from app.i18n import LANGUAGES
from app.runs.scores import MOST_LABELS, confusion_html, course_html, mean_f1, old_and_new_html
from studio.messages import say

FOUND = {
    "step": 20,
    "labels": ["delivery", "<b>refund", "praise"],
    "counts": [[7, 1, 0], [2, 4, 0], [0, 0, 0]],
    "f1": [0.8235, 0.7273, None],
}


def context(language):
    return SimpleNamespace(language=language, say=lambda key, **values: say(key, language, **values))


def cells(html):
    return [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", html)][1:]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_line_for_each_true_label(language):
    html = confusion_html(context(language), FOUND)
    assert cells(html) == [
        ["delivery", "<b>7</b>", "1", "–", "0.82"],
        ["&lt;b&gt;refund", "2", "<b>4</b>", "–", "0.73"],
        ["praise", "–", "–", "<b>–</b>", "–"],
    ]
    assert "11" in html and "14" in html and "<b>refund" not in html


def test_many_labels_are_listed_with_their_f1_alone():
    count = MOST_LABELS + 1
    many = {"step": 1, "labels": [str(n) for n in range(count)], "counts": [[0] * count] * count, "f1": [1.0] * count}
    assert all(len(row) == 2 for row in cells(confusion_html(context("en"), many)))


def test_evaluations_stand_newest_first_and_a_repeated_one_once():
    first = FOUND | {"step": 10, "counts": [[4, 4, 0], [3, 3, 0], [0, 0, 0]]}
    rows = cells(course_html(context("en"), [first, FOUND, FOUND]))
    assert rows == [["20", "79 %", "0.78"], ["10", "50 %", "0.78"]]
    assert mean_f1([None, None]) is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_old_and_new_task_stand_side_by_side(language):
    kept = old_and_new_html(context(language), {0: 1.0, 10: 1.05}, {0: 3.0, 10: 0.5})
    assert cells(kept) == [["0", "1.000", "3.000"], ["10", "1.050", "0.500"]]
    lost = old_and_new_html(context(language), {0: 1.0, 10: 1.2}, {10: 0.5})
    assert cells(lost)[0] == ["0", "1.000", "–"]
    told = [re.search(r"<p[^>]*>(.*?)</p>", html).group(1) for html in (kept, lost)]
    assert told[0] != told[1] and "1.200" in told[1]
