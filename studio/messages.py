"""Words for codes: every sentence a person reads comes from `app/locales/<language>/<area>.yaml`.

A key is `<area>.<name>[.<name>...]`, the area being the file. Code passes keys and values; the words are
chosen at the edge, in the language of whoever reads. The locale files are data, read from here by page,
command line and job alike.
"""

from functools import cache

import yaml

from studio.paths import LOCALES

LANGUAGES = ("en", "zh")
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def catalogue(language: str) -> dict[str, str]:
    """All messages of one language, flattened to dotted keys."""
    flat: dict[str, str] = {}
    for path in sorted((LOCALES / language).glob("*.yaml")):
        _flatten(path.stem, yaml.load(path.read_text("utf-8"), _Loader) or {}, flat)
    return flat


def say(key: str, language: str = "en", /, **values: object) -> str:
    """The sentence behind `key` with `values` filled in; behind `<key>_one` where there is one and `count` is 1.

    A number chooses between words too: `{rows} {rows:row is|rows are} left` -> `1 row is left`, `2 rows are left`.
    A missing key yields the key itself: a page with one odd word beats no page (a test finds missing keys).
    """
    known = catalogue(language)
    words = known.get(f"{key}_one") if values.get("count") == 1 else None
    words = words or known.get(key)
    if words is None:
        return key
    if not values:
        return words
    return words.format(**{name: _Number(value) if type(value) is int else value for name, value in values.items()})


class _Number(int):
    """A number that also formats as one of two words: `1` as `row|rows` -> `row`."""

    def __format__(self, spec: str) -> str:
        one, between, many = spec.partition("|")
        if between:
            return one if self == 1 else many
        return super().__format__(spec)


def has(key: str) -> bool:
    return key in catalogue("en")


def _flatten(prefix: str, node: object, into: dict[str, str]) -> None:
    if isinstance(node, dict):
        for name, child in node.items():
            _flatten(f"{prefix}.{name}", child, into)
    else:
        into[prefix] = str(node)
