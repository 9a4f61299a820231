"""The task's schema: what every answer must look like, and the answers that do not.

    Options(kind="json", keys={"name": "text"})   '{"name": 7}'             ->  wrong_type: text wanted, number found
    Options(kind="labels", labels=("yes", "no"))  "Yes."                    ->  unknown_label
    Options(kind="sql")                           "SELECT * FROM t"         ->  select_star

`derive` reads the schema off the answers that are there: what most of them have in common.
"""

import re
from collections import Counter
from typing import Literal

import msgspec
import polars as pl

from studio.errors import RefusedInput
from studio.workshop.clean.outcome import Outcome
from studio.workshop.found import Findings, without_removed
from studio.workshop.problems import closest, shorten
from studio.workshop.texts import sql
from studio.workshop.texts.pieces import last_answers, texts_with_fields
from studio.workshop.texts.schema import shape_of, violations

MOST_TOLD = 5
"""Violations told of one row."""
SAMPLE_ROWS = 5000
MAJORITY = 0.6
MOST_LABELS, LABEL_CHARACTERS = 30, 40

_FENCED = re.compile(r"\s*```[A-Za-z0-9]*[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)
_MAYBE_FENCED = r"^\s*```"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer must look like."""

    kind: Literal["none", "json", "labels", "pattern", "sql"] = "none"
    """none: answers are free text."""
    action: Literal["mark", "remove"] = "mark"
    """What happens to a row whose answer does not fit."""
    keys: dict[str, str] = {}
    """json: place -> type, as {"name": "text", "items[].price": "number|nothing"}; types: text, number, boolean, list,
    object, nothing."""
    optional: tuple[str, ...] = ()
    """json: places that may be missing."""
    other_keys: bool = True
    """json: may there be keys that are not named?"""
    fence: Literal["majority", "required", "forbidden", "either"] = "majority"
    """json, sql: does the answer stand in a code block? majority: as most of the answers do."""
    labels: tuple[str, ...] = ()
    """labels: the answers that there are."""
    pattern: str = ""
    """pattern: a regular expression that the whole answer matches."""
    no_select_star: bool = True
    """sql: columns are named, not taken with select *."""
    dialect: str = ""
    """sql: mysql, postgres, sqlite, tsql, oracle, bigquery, ...; empty: whatever most of them understand."""


def run(rows: pl.DataFrame, options: Options) -> Outcome:
    found = Findings()
    answers = last_answers(texts_with_fields(rows)) if options.kind != "none" else pl.DataFrame()
    if answers.height:
        for row, field, what, values in _CHECKS[options.kind](answers, options):
            found.add(row, f"clean.task_schema.{what}", field, options.action, **values)
    findings = found.frame()
    return Outcome(without_removed(rows, findings), findings)


# -- one check a kind: row, field, what is wrong, values for the sentence --------------------------------------------


def _check_json(answers: pl.DataFrame, options: Options):
    _refuse_unknown_types(options.keys)
    for row, field, text in _unfenced(answers, options):
        if text is None:
            yield row, field, _fence_fault(answers, options), {}
            continue
        try:
            value = msgspec.json.decode(text.encode("utf-8", "surrogatepass"))
        except (msgspec.DecodeError, RecursionError):
            yield row, field, "not_json", {"part": shorten(text)}
            continue
        for one in violations(value, options.keys, options.optional, options.other_keys)[:MOST_TOLD]:
            values = {"place": one.place, "wanted": one.wanted, "found": one.found}
            yield row, field, one.what, {name: value for name, value in values.items() if value}


def _check_labels(answers: pl.DataFrame, options: Options):
    labels = list(options.labels)
    strange = answers.filter(~pl.col("text").is_in(labels))
    listed = shorten(", ".join(labels))
    for row, field, text in strange.select("row", "field", "text").iter_rows():
        hint = closest(text, {label.lower(): label for label in labels}) if len(text) <= 2 * LABEL_CHARACTERS else None
        meant = next((label for label in labels if label.lower() == hint), None)
        if meant:
            yield row, field, "unknown_label_hint", {"part": shorten(text), "hint": meant}
        else:
            yield row, field, "unknown_label", {"part": shorten(text), "labels": listed}


def _check_pattern(answers: pl.DataFrame, options: Options):
    try:
        other = answers.filter(~pl.col("text").str.contains(rf"\A(?:{options.pattern})\z"))
    except pl.exceptions.ComputeError as error:
        detail = shorten(str(error).splitlines()[-1])
        raise RefusedInput("data.task_schema.bad_pattern", pattern=options.pattern, detail=detail) from None
    for row, field, text in other.select("row", "field", "text").iter_rows():
        yield row, field, "no_match", {"part": shorten(text), "pattern": options.pattern}


def _check_sql(answers: pl.DataFrame, options: Options):
    for row, field, text in _unfenced(answers, options):
        if text is None:
            yield row, field, _fence_fault(answers, options), {}
            continue
        fault = sql.fault(text, options.dialect)
        if fault == "not_sql" or (fault and options.no_select_star):
            yield row, field, fault, {"part": shorten(text)}


_CHECKS = {"json": _check_json, "labels": _check_labels, "pattern": _check_pattern, "sql": _check_sql}


def _refuse_unknown_types(keys: dict[str, str]) -> None:
    known = ("text", "number", "boolean", "list", "object", "nothing")
    for place, kinds in keys.items():
        for kind in kinds.split("|"):
            if kind not in known:
                raise RefusedInput("data.task_schema.bad_type", place=place, kind=kind, known=", ".join(known))


# -- code blocks -----------------------------------------------------------------------------------------------------


def _unfenced(answers: pl.DataFrame, options: Options):
    """Row, field and the answer without its code block; None instead where the block is missing or unwanted."""
    wanted = _wanted_fence(answers, options)
    for row, field, text in answers.select("row", "field", "text").iter_rows():
        inner = _FENCED.match(text)
        fits = wanted == "either" or bool(inner) == (wanted == "required")
        yield row, field, (inner[1] if inner else text) if fits else None


def _wanted_fence(answers: pl.DataFrame, options: Options) -> str:
    if options.fence != "majority":
        return options.fence
    return "required" if _share_fenced(answers["text"]) > 0.5 else "forbidden"


def _share_fenced(texts: pl.Series) -> float:
    return texts.str.contains(_MAYBE_FENCED).mean() or 0.0


def _fence_fault(answers: pl.DataFrame, options: Options) -> str:
    return "no_fence" if _wanted_fence(answers, options) == "required" else "in_fence"


# -- reading the schema off the rows ---------------------------------------------------------------------------------


def derive(rows: pl.DataFrame) -> Options:
    """What most answers of up to SAMPLE_ROWS rows have in common; kind none if that is nothing."""
    sample = rows.gather_every(max(1, rows.height // SAMPLE_ROWS)).head(SAMPLE_ROWS)
    texts = last_answers(texts_with_fields(sample))["text"].to_list() if sample.height else []
    if not texts:
        return Options()
    inner = [(found[1] if (found := _FENCED.match(text)) else text) for text in texts]
    for derived in (_derive_json, _derive_labels, _derive_sql, _derive_pattern):
        options = derived(inner)
        if options is not None:
            return options
    return Options()


def _derive_json(texts: list[str]) -> Options | None:
    values = []
    for text in texts:
        try:
            value = msgspec.json.decode(text.encode("utf-8", "surrogatepass"))
        except (msgspec.DecodeError, RecursionError):
            continue
        if isinstance(value, (dict, list)):
            values.append(value)
    if len(values) < MAJORITY * len(texts):
        return None
    shape = shape_of(values)
    return Options(kind="json", keys=shape.keys, optional=shape.optional)


def _derive_labels(texts: list[str]) -> Options | None:
    counts = Counter(texts)
    repeated = [text for text, count in counts.most_common() if count >= 2 and 0 < len(text) <= LABEL_CHARACTERS]
    labels = tuple(repeated[:MOST_LABELS])
    covered = sum(counts[label] for label in labels)
    if covered < 0.8 * len(texts) or len(repeated) > MOST_LABELS or len(labels) * 3 > len(texts):
        return None
    return Options(kind="labels", labels=labels)


def _derive_sql(texts: list[str]) -> Options | None:
    likely = [text for text in texts[:300] if re.match(r"\s*(?:select|with|insert|update|delete|create)\b", text, re.I)]
    if len(likely) < MAJORITY * min(len(texts), 300):
        return None
    faults = Counter(sql.fault(text) for text in likely)
    if faults["not_sql"] > (1 - MAJORITY) * len(likely):
        return None
    return Options(kind="sql", no_select_star=faults["select_star"] <= len(likely) / 2)


def _derive_pattern(texts: list[str]) -> Options | None:
    """Short answers that are built alike: AB-123 and CD-4567 give [A-Z]+-[0-9]+."""
    built = Counter(_built(text) for text in texts if len(text) <= LABEL_CHARACTERS and re.search(r"\d", text))
    if not built:
        return None
    pattern, count = built.most_common(1)[0]
    return Options(kind="pattern", pattern=pattern) if count >= MAJORITY * len(texts) else None


def _built(text: str) -> str:
    parts = re.findall(r"[A-Z]+|[a-z]+|[0-9]+|\s+|.", text, re.ASCII | re.DOTALL)
    classes = (("[A-Z]+", r"[A-Z]"), ("[a-z]+", r"[a-z]"), ("[0-9]+", r"[0-9]"), (r"\s+", r"\s"))
    return "".join(next((named for named, test in classes if re.match(test, part)), re.escape(part)) for part in parts)
