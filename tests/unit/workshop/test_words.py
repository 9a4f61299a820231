"""What a finding or a problem says in its sentence: words of the page's language, never the program's own names."""

import pytest

from studio.messages import LANGUAGES, has
from studio.workshop.checks import style
from studio.workshop.problems import Problem
from studio.workshop.reports import Finding


def test_types_are_told_in_words():
    values = {"place": "age", "wanted": "number|nothing", "found": "text"}
    finding = Finding(row=3, step="task_schema", code="clean.task_schema.wrong_type", values=values)
    assert "is text, but a number / nothing (null) is expected" in finding.message("en")
    assert "数字 / 空值（null）" in finding.message("zh") and "number" not in finding.message("zh")
    problem = Problem(row=1, code="wrong_type", field="a", values={"found": "list", "value": "[1]"})
    assert "列表" in problem.message("zh")


@pytest.mark.parametrize("language", LANGUAGES)
def test_forms_and_last_signs_are_told_in_words(language: str):
    values = {"value": "none", "usual": "exclamation", "part": "none of exclamation"}
    told = Finding(row=1, step="style", code="checks.style.closing", values=values).message(language)
    assert told.count("exclamation") == (2 if language == "en" else 1)
    assert ("no sign" in told) == (language == "en")
    values = {"value": "no", "usual": "yes", "part": "…"}
    opening = Finding(row=1, step="style", code="checks.style.opening", values=values)
    assert "“no”" in opening.message(language) and "“yes”" in opening.message(language)


def test_every_form_and_sign_has_its_word():
    assert all(has(f"problems.checks.style.closings.{name}") for name in (*style.CLOSINGS, "none"))
    assert all(
        has(f"problems.checks.style.forms.{name}") for name in (style.JSON, style.CODE, style.MARKDOWN, style.TEXT)
    )
