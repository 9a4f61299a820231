"""Good or bad, as sources write it: `True`, `"👍"`, `"down"`, `"desirable"`, `1` -> a truth value."""

from types import MappingProxyType
from typing import Any

_GOOD = ("true", "yes", "up", "good", "👍", "thumbs_up", "thumbsup", "desirable", "positive", "like", "好", "是", "赞")
_BAD = ("false", "no", "down", "bad", "👎", "thumbs_down", "thumbsdown", "undesirable", "negative", "dislike")
_BAD += ("差", "否", "踩")
LABEL_WORDS = MappingProxyType({word: True for word in _GOOD} | {word: False for word in _BAD})


def label_of(value: Any) -> bool | None:
    """What a label says; None if it is none. The numbers 1 and 0 count, any other would have to be guessed at."""
    if isinstance(value, str):
        return LABEL_WORDS.get(value.strip().lower())
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return bool(value)
    return None
