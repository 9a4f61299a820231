"""In which order rows are learned: the names, and who asks for rows that were scored."""

from collections.abc import Mapping
from typing import Any

EASY_TO_HARD, STAGED, CONTINUOUS = "easy_to_hard", "staged", "continuous"


def follows_difficulty(values: Mapping[str, Any]) -> bool:
    """Whether rows are learned by their difficulty; specs older than `curriculum` do not name it."""
    return values.get("curriculum", "none") != "none"


def is_control(values: Mapping[str, Any]) -> bool:
    """Whether the scores are dealt out by chance, so that all else is as with a curriculum."""
    return bool(values.get("curriculum_control"))
