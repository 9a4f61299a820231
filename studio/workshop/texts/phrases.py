"""The phrase lists of the cleaning steps: `templates/cleaning/phrases/<name>.yaml`, all languages together.

phrases("refusals", "opening")  ->  ["i can't help with", ..., "我无法提供", ...]
"""

from functools import cache

import yaml

from studio.paths import TEMPLATES

FOLDER = TEMPLATES / "cleaning" / "phrases"


@cache
def phrases(name: str, part: str) -> tuple[str, ...]:
    """The phrases under `part`, in lower case, those of every language."""
    lists = yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8"))[part]
    return tuple(phrase.lower() for language in lists.values() for phrase in language)
