"""What the whole path is for: with the prefilled form a model learns a style that the untouched one does not have."""

import pytest

from studio.db import checkpoints, comparisons
from tests.e2e import style
from tests.e2e.running_studio import RunningStudio
from tests.e2e.server import wait_until

TRAIN_SECONDS = 3000
ANSWER_SECONDS = 1200


@pytest.mark.slow
@pytest.mark.timeout(TRAIN_SECONDS + ANSWER_SECONDS + 300)
def test_the_trained_model_follows_the_style_and_the_untouched_one_does_not(studio: RunningStudio):
    train, held_out = style.split(studio.workspace.starter_data / "trivia.jsonl")
    studio.import_rows(train)
    job_id = studio.server.do("train", spec={"model_name_or_path": "starter", "dataset": "style"})
    assert studio.until_ended(job_id, seconds=TRAIN_SECONDS) == "succeeded"
    last = studio.read(lambda session: checkpoints.list_checkpoints(session, job_id))[-1]

    columns = [{"model": "starter"}, {"checkpoint": last.id}]
    number = studio.server.do("compare", columns=columns, prompts=held_out, settings={"max_new_tokens": 48})
    wait_until(lambda: not studio.comparison(number).is_open, seconds=ANSWER_SECONDS, what=studio.server.log)
    share = [share_in_style(studio.comparison(number), column) for column in (0, 1)]
    assert share[0] <= 0.1, share
    assert share[1] >= 0.8, share


def share_in_style(view: comparisons.ComparisonView, column: int) -> float:
    answers = [answer.text for answer in view.answers if answer.column == column]
    return sum(map(style.follows, answers)) / len(answers)
