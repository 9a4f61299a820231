"""Both languages say the same things, and everything that the code says has words."""

import ast
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import start
from studio.messages import LANGUAGES, catalogue, say
from studio.paths import LOCALES, PROJECT_ROOT

AREAS = sorted(path.name for path in (LOCALES / "en").glob("*.yaml"))
SOURCES = [
    PROJECT_ROOT / "start.py",
    *sorted(path for folder in ("app", "studio", "trainers") for path in (PROJECT_ROOT / folder).rglob("*.py")),
]


class OnceLoader(yaml.SafeLoader):
    """YAML keeps the last of two equal keys without a word; this refuses them."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key stands twice {node.start_mark}"
        return super().construct_mapping(node, deep)


def placeholders(words: str) -> set[str]:
    return {name.split(".")[0].split("[")[0] for _, name, _, _ in string.Formatter().parse(words) if name is not None}


def error_classes() -> set[str]:
    """Names of StudioError and all that derives from it, wherever it stands."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
    }
    found = {"StudioError"}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return found


ERRORS = error_classes()


def literals(node: ast.expr) -> Iterator[str]:
    """The texts that an argument may be: a literal, or a choice between literals."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from literals(node.body)
        yield from literals(node.orelse)


def keys_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and message key of everything said by a literal: `say(...)`, an error of the tree, a fault of a spec."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
        keyword = {word.arg: word.value for word in node.keywords}
        if name == "say" and node.args:
            yield from ((node.lineno, key) for key in literals(node.args[0]))
        elif name == "JobFailed" and node.args:
            yield from ((node.lineno, f"errors.job.{key}") for key in literals(node.args[0]))
        elif name in ERRORS and node.args:
            yield from ((node.lineno, f"errors.{key}") for key in literals(node.args[0]))
        elif name == "Fault":
            code = node.args[1] if len(node.args) > 1 else keyword.get("code")
            yield from ((node.lineno, f"errors.{key}") for key in (literals(code) if code else ()))


def test_both_languages_have_the_same_areas():
    assert {language: sorted(path.name for path in (LOCALES / language).glob("*.yaml")) for language in LANGUAGES} == {
        language: AREAS for language in LANGUAGES
    }


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("area", AREAS)
def test_no_key_stands_twice(area, language):
    yaml.load((LOCALES / language / area).read_text("utf-8"), OnceLoader)


def is_singular(key: str) -> bool:
    """Words for exactly one, which `say` chooses by `count`; Chinese has no need of them."""
    return key.endswith("_one") and key.removesuffix("_one") in catalogue("en")


def test_both_languages_have_the_same_keys():
    english = {key for key in catalogue("en") if not is_singular(key)}
    assert sorted(english ^ set(catalogue("zh"))) == []


def test_one_of_a_thing_has_words_of_its_own():
    words = catalogue("en")
    assert say("data.rows_chip", count=1) == "1 row" and say("data.rows_chip", count=2) == "2 rows"
    assert say("data.rows_chip", "zh", count=1) == "1 条"
    for key in filter(is_singular, words):
        plural = words[key.removesuffix("_one")]
        assert "{count" in plural and placeholders(words[key]) <= placeholders(plural) - {"count"}, key


CHINESE_DATA = [path for path in (LOCALES / "zh").glob("*.yaml") if path.name.startswith(("data.", "problems."))]


@pytest.mark.parametrize("path", CHINESE_DATA, ids=lambda path: path.name)
def test_chinese_of_the_data_page_has_one_punctuation_and_counts_rows_in_tiao(path: Path):
    words = {key: text for key, text in catalogue("zh").items() if key.startswith(f"{path.stem}.")}
    half = re.compile(r"[\u4e00-\u9fff”）}][,;?!]|[\u4e00-\u9fff”）]:|[,;?!()][\u4e00-\u9fff“]")
    rows = re.compile(r"第 \{(?:row|other|kept|parent|nearest)\} 行|\{(?:count|rows)[^}]*\} 行(?!网页)")
    wrong = {
        key: text for key, text in words.items() if half.search(re.sub(r"\{[^{}]*\}", "}", text)) or rows.search(text)
    }
    assert wrong == {}


def test_both_languages_fill_in_the_same_values():
    english, chinese = catalogue("en"), catalogue("zh")
    differing = [
        key for key in sorted(english.keys() & chinese) if placeholders(english[key]) != placeholders(chinese[key])
    ]
    assert differing == []


def test_nothing_is_empty():
    assert [key for language in LANGUAGES for key, words in catalogue(language).items() if not words.strip()] == []


def test_chinese_addresses_with_ni():
    assert [key for key, words in catalogue("zh").items() if "您" in words] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PROJECT_ROOT)))
def test_everything_said_has_words(path: Path):
    tree = ast.parse(path.read_text("utf-8"))
    silent = [f"line {line}: {key}" for line, key in keys_in(tree) if key not in catalogue("en")]
    assert silent == []


def test_start_reads_its_words_as_yaml_does():
    for language in LANGUAGES:
        path = LOCALES / language / "start.yaml"
        assert start.read_words(path) == yaml.safe_load(path.read_text("utf-8"))


def test_the_search_for_keys_sees_each_form():
    source = """
say("a.b"); context.say("c.d" if x else "e.f", n=1); raise UnknownName("no.such"); JobFailed("oom")
Fault("field", "too.big"); Fault(field="f", code="too.small"); say(key)
"""
    assert [key for _, key in keys_in(ast.parse(source))] == [
        "a.b", "c.d", "e.f", "errors.no.such", "errors.job.oom", "errors.too.big", "errors.too.small",
    ]  # fmt: skip


NEVER_ONE = {
    "advice.few_rows",  # from 10 on
    "common.chart.sentence",  # a sentence of its own for a curve of one step
    "data.mix.result",  # a whole and its parts
    "data.marks.taught",  # some are needed of each side
    "errors.data.augment.too_many",  # a limit
    "errors.labels.count",  # one can be
    "problems.checks.amount.domains",  # from 10 on, as those below
    "problems.checks.amount.domains_one",
    "problems.checks.amount.enough",
    "problems.checks.amount.growing",
    "problems.checks.amount.least",
    "problems.checks.amount.start",
    "problems.clean.duplicates.exact",  # a cluster has two
    "problems.clean.duplicates.near",
    "problems.clean.duplicates.same_prompt",
    "reasons.rate_band_lora_uniform",  # one row is not like others
    "reasons.rate_band_lora_varied",
}
COUNTED = re.compile(r"\{(\w+)(?::[^}|]*)?\} (?:[a-z]+ )?(rows|steps)\b")


@pytest.mark.parametrize("key", sorted(key for key, text in catalogue("en").items() if COUNTED.search(text)))
def test_one_row_and_one_step_are_no_plural(key: str):
    words = catalogue("en")[key]
    named = {name for name, _ in COUNTED.findall(words)} - {"name"}
    singular = catalogue("en").get(f"{key}_one", words) if named == {"count"} else words
    named = {name for name, _ in COUNTED.findall(singular)} - {"name"}
    assert not named or key in NEVER_ONE, f"{named} may be 1; write {{rows}} {{rows:row|rows}}"


def test_a_number_chooses_its_words():
    assert say("errors.job.rows_lost", expected=1, found=0).startswith("trl was given 1 row and trains on 0.")
    assert say("errors.job.rows_lost", expected=2, found=1).startswith("trl was given 2 rows and trains on 1.")
    assert say("advice.open_problems", open_problems=1).startswith("1 row of the data set cannot be used and is left")
    assert say("reasons.epochs", low=2.0, high=3.0, rows=1) == "2 to 3 suit 1 row"
