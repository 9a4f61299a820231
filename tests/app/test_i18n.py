"""Which language a browser gets, and numbers as a person reads them."""

from datetime import UTC, datetime

import pytest

from app import i18n


@pytest.mark.parametrize(
    ("cookie", "accepts", "expected"),
    [
        (None, None, "en"),
        ("zh", "en", "zh"),
        ("xx", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        (None, "de-DE,de;q=0.9,zh;q=0.5,en;q=0.7", "en"),
        (None, "zh;q=0,en;q=0.1", "en"),
        (None, "fr;q=x,;;,zh", "zh"),
    ],
)
def test_language_of_a_browser(cookie, accepts, expected):
    assert i18n.choose_language(cookie, accepts) == expected


def test_addresses():
    assert i18n.page_path("en", "home") == "/en/"
    assert i18n.page_path("zh", "runs", run=4) == "/zh/runs?run=4"
    assert i18n.page_path("en", "data", dataset="a&b") == "/en/data?dataset=a%26b"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "–"),
        (512, "512 B"),
        (1536, "1.5 KB"),
        (4_400_000, "4.2 MB"),
        (3 << 30, "3.0 GiB"),
        (270 << 20, "0.3 GiB"),
    ],
)
def test_sizes(size, text):
    assert i18n.bytes_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.4, "0 s"), (59, "59 s"), (95, "1 min 35 s"), (725, "12 min"), (7320, "2 h 2 min")],
)
def test_durations(seconds, text):
    assert i18n.duration_text(seconds, "en") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (float("nan"), "–"), (1200, "1,200"), (1.08342, "1.083"), (0.000213, "2.13e-04"), (-2.5, "-2.5")],
)
def test_numbers(value, text):
    assert i18n.number_text(value) == text


def test_a_job_that_still_runs_is_timed_to_now():
    now = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
    assert i18n.seconds_between("2026-01-01T12:00:00.000000Z", None, now=now) == 30
    assert i18n.seconds_between(None, None, now=now) is None
