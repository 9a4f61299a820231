"""How near an answer comes to the wanted one."""

import pytest

from studio.graders.answers import exact_match, names, token_f1


@pytest.mark.parametrize(
    ("said", "wanted", "is_exact", "is_named", "f1"),
    [
        ("Richard Nixon.", "richard  NIXON", True, True, 1.0),
        ("It was Richard Nixon, in 1969.", "Richard Nixon", False, True, 0.5),
        ("Richard Milhous Nixon", "Richard Nixon", False, False, 0.8),
        ("Nixonian", "Nixon", False, False, 0.0),
        ("答案是巴黎。", "巴黎", False, True, 2 * 2 / (5 + 2)),
        ("Ｐａｒｉｓ", "paris", True, True, 1.0),
        ("", "Paris", False, False, 0.0),
        ("...", "...", True, True, 1.0),
        ("!", "?", False, False, 0.0),
        ("so " * 40 + "Paris", "Paris", False, False, 2 / 42),
    ],
)
def test_answers_are_compared_by_their_words(said, wanted, is_exact, is_named, f1):
    assert (exact_match(said, wanted), names(said, wanted)) == (is_exact, is_named)
    assert token_f1(said, wanted) == pytest.approx(f1)
