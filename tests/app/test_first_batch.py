"""The first batch on the run's page: what is learned underlined, what is only read grey, strange text as text."""

import pytest

from app.i18n import LANGUAGES
from app.pages import runs as page
from app.runs import first_batch
from studio.db import jobs
from tests.app.seeding import add_run

ROWS = [[["<b>Where?", False], [" In France.", True]]]


@pytest.fixture
def run(empty):
    with empty.writer.begin() as session:
        job_id = add_run(session, title="first")
        told = {"rows": ROWS, "is_cut": False, "count": 8, "tokens": 1200, "learned": 300}
        jobs.record_event(session, job_id, type="batch", data=told)
        jobs.record_event(session, job_id, type="batch", data=told | {"count": 9})
    return job_id


def test_the_first_batch_of_the_first_attempt_is_drawn(empty, run):
    context = empty.context()
    html = first_batch.draw(context, run)
    assert '<span class="lu-untrained">&lt;b&gt;Where?</span>' in html
    assert '<span class="lu-trained"> In France.</span>' in html
    assert "8 rows, 1,200 tokens, 300 of them" in html and "9" not in html
    assert html in page.draw_detail(context, run)


def test_a_run_that_has_told_none_shows_nothing(empty):
    with empty.writer.begin() as session:
        job_id = add_run(session, title="waits", state="queued")
    assert first_batch.draw(empty.context(), job_id) == first_batch.draw(empty.context(), None) == ""


@pytest.mark.parametrize("language", LANGUAGES)
def test_both_languages(empty, run, language):
    assert "1,200" in first_batch.draw(empty.context(language), run)
