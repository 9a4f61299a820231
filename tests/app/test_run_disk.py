"""While a run goes on its page tells what the checkpoints will take in the end, from those that are there."""

from dataclasses import replace

import pytest

from app.i18n import bytes_text
from app.run_view import checkpoints_html
from studio.db import checkpoints, jobs
from studio.messages import LANGUAGES
from tests.app.conftest import Filled


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_run_that_goes_on_tells_the_disk_that_it_will_take(filled: Filled, language: str) -> None:
    context = filled.context(language)
    with context.registry.session() as session:
        saved = checkpoints.list_checkpoints(session)[:2]
        job = jobs.job(session, filled.ids["running"])
    assert len(saved) == 2
    going = replace(job, values={"save_steps": 50}, progress_total=400)
    whole = bytes_text(8 * sum(each.size_bytes for each in saved) / 2)
    told = context.say("runs.disk_left", number=8, size=whole, free="").partition(";")[0].partition("；")[0]
    assert told in checkpoints_html(context, saved, going)
    for other in (replace(going, state="succeeded"), replace(going, progress_total=100), replace(going, values={})):
        assert told[:12] not in checkpoints_html(context, saved, other)
    assert told[:12] not in checkpoints_html(context, [], going)
