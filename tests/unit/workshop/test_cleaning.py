"""A recipe is looked at without a trace and applied with every row accounted for."""

import polars as pl
import pytest

from studio.errors import RefusedInput
from studio.workshop import cleaning, reports
from studio.workshop import recipe as recipes
from studio.workshop.clean.outcome import FINDINGS_SCHEMA, Outcome
from studio.workshop.versions.manifest import MANIFEST
from studio.workshop.versions.reader import read_manifest, read_problems, read_rows
from studio.workshop.versions.restore import restore
from tests.unit.workshop.making import chat, pair, version
from tests.unit.workshop.real_rows import corpus

ROWS = [
    pair("Where is my parcel?", "It is on its way."),
    pair("What does it cost?", "<p>Ten <b>euro</b></p>"),
    pair("Who are you?", "As an AI language model, I cannot answer that."),
    pair("Whom do I write to?", "Write to anna.berg@post.se, please."),
    pair("Where is my parcel?", "It is on its way."),
]
NOISE = {"step": "noise", "options": {"refusals": "remove", "language": "off", "low_quality": "off"}}
RECIPE = {"steps": [NOISE, "normalise", "personal_data"]}


@pytest.fixture
def first(tmp_path):
    return version(tmp_path / "v1", ROWS, problems={2: "empty_answer"})


def parse(document):
    return recipes.parse(document)


def test_a_look_changes_nothing_and_tells_each_step_s_rows(first, tmp_path):
    before = {path.name: path.read_bytes() for path in first.iterdir()}
    report = cleaning.look(first, parse(RECIPE), tmp_path / "look")
    assert {path.name: path.read_bytes() for path in first.iterdir()} == before
    assert reports.read_look(tmp_path / "look") == report
    assert (report.rows_before, report.rows_after) == (5, 4)
    noise, _, personal = report.steps
    assert (noise.rows_in, noise.rows_out, noise.removed, noise.changed) == (5, 4, 1, 1)
    assert personal.rows_in == 4 and personal.changed == 1
    removed = next(code for code in noise.codes if code.action == "remove")
    assert [each.row for each in removed.first] == [4]
    changed = next(code for code in noise.codes if code.action == "change").first[0]
    assert (changed.row, changed.field) == (3, "completion")
    assert "<b>" in changed.before and "<b>" not in changed.after
    assert sum(report.histogram_before.counts) == 5 and sum(report.histogram_after.counts) == 4


def test_a_step_that_is_off_is_looked_at_and_hands_nothing_on(first, tmp_path):
    document = {"steps": [NOISE | {"enabled": False}, "personal_data"]}
    report = cleaning.look(first, parse(document), tmp_path / "look")
    noise, personal = report.steps
    assert (noise.removed, noise.enabled) == (1, False)
    assert personal.rows_in == report.rows_after == 5
    preview = reports.after_toggling(report, {"noise", "personal_data"})
    assert preview.rows_after == 4 and sum(preview.after.counts) == 4
    assert reports.after_toggling(report, set()).after == report.histogram_before


def test_applying_excludes_with_the_reason_and_records_each_change(first, tmp_path):
    manifest, steps = cleaning.apply(first, parse(RECIPE), tmp_path / "v2")
    second = tmp_path / "v2"
    assert manifest == read_manifest(second)
    assert [row.row for row in read_rows(second, start=0, count=9)] == [1, 3, 5, 6]
    kept_out = {each.row: (each.state, each.code) for each in read_problems(second, start=0, count=9)}
    assert kept_out == {2: ("open", "empty_answer"), 4: ("excluded", "clean.noise.refusals")}
    assert manifest.source_rows == manifest.rows + manifest.problems + manifest.excluded == 6
    assert [(step.operation, step.rows_in, step.rows_out) for step in manifest.steps] == [
        ("noise", 5, 4),
        ("normalise", 4, 4),
        ("personal_data", 4, 4),
    ]
    assert manifest.steps[0].parameters["refusals"] == "remove"
    assert manifest.steps[0].parameters["counts"]["clean.noise.refusals"] == 1
    assert [step.rows_out for step in steps] == [4, 4, 4]
    changes = reports.read_changes(second, start=0, count=9)
    assert [(each.row, each.step) for each in changes] == [(3, "noise"), (3, "normalise"), (5, "personal_data")]
    (removed,) = reports.read_changes(second, start=0, count=9, action="remove")
    assert (removed.row, removed.step, removed.code) == (4, "noise", "clean.noise.refusals")
    assert reports.count_changes(second) == 3 and reports.count_changes(second, step="noise") == 1
    assert "anna.berg" in changes[2].before and "anna.berg" not in changes[2].after
    assert all(each.message(language) for each in changes for language in ("en", "zh"))


def test_every_changed_row_is_told(tmp_path):
    """What differs between two versions is exactly what findings name."""
    first = version(tmp_path / "v1", ROWS)
    cleaning.apply(first, parse(RECIPE), tmp_path / "v2")
    before, after = (
        {row.row: row for row in read_rows(folder, start=0, count=9)} for folder in (first, tmp_path / "v2")
    )
    differing = {row for row in after if before[row].completion != after[row].completion}
    assert differing == {each.row for each in reports.read_changes(tmp_path / "v2", start=0, count=9)}


def test_the_same_recipe_gives_the_same_version(first, tmp_path):
    made = [cleaning.apply(first, parse(RECIPE), tmp_path / name)[0] for name in ("a", "b")]
    assert made[0].content_hash == made[1].content_hash
    looks = [cleaning.look(first, parse(RECIPE), tmp_path / name) for name in ("c", "d")]
    assert [step.codes for step in looks[0].steps] == [step.codes for step in looks[1].steps]


def test_nothing_left_is_refused_before_a_version_is_whole(tmp_path):
    first = version(tmp_path / "v1", [pair("Who?", "As an AI language model, I cannot say.")] * 2)
    with pytest.raises(RefusedInput) as refused:
        cleaning.apply(first, parse({"steps": [NOISE]}), tmp_path / "v2")
    assert refused.value.code == "data.no_rows_left"
    assert not (tmp_path / "v2" / MANIFEST).exists()


@pytest.mark.parametrize("kept", [[1, 2], [2, 1, 3]])
def test_a_step_that_loses_or_moves_rows_is_stopped(first, tmp_path, monkeypatch, kept):
    from studio.workshop.clean import normalise

    def careless(rows: pl.DataFrame, options: object) -> Outcome:
        return Outcome(rows[[place - 1 for place in kept]], pl.DataFrame(schema=FINDINGS_SCHEMA))

    monkeypatch.setattr(normalise, "run", careless)
    with pytest.raises(AssertionError, match="normalise"):
        cleaning.look(first, parse({"steps": ["normalise"]}), tmp_path / "look")


def test_findings_are_paged_by_step_and_code(tmp_path):
    many = version(tmp_path / "v1", [pair(f"Q {n}?", f"<p>A {n}</p> and mail me{n}@post.se") for n in range(4500)])
    cleaning.look(many, parse(RECIPE), tmp_path / "look")
    folder = tmp_path / "look"
    assert reports.count_findings(folder, step="personal_data") == 4500
    page = reports.read_findings(folder, start=4321, count=3, step="personal_data")
    assert [each.row for each in page] == [4322, 4323, 4324]
    code = reports.read_findings(folder, start=0, count=1, step="noise")[0].code
    assert reports.count_findings(folder, step="noise", code=code) == 4500
    assert reports.read_findings(folder, start=4499, count=9, step="noise", code=code)[0].row == 4500
    assert reports.read_findings(folder, start=0, count=5, step="normalise") == []
    assert len(list(reports.iterate_findings(folder / reports.FINDINGS))) == reports.count_findings(folder)


def test_conversations_are_cleaned_turn_by_turn(tmp_path):
    first = version(tmp_path / "v1", [chat("Hi", "<p>Hello</p>", "And?", "Bye")])
    cleaning.apply(first, parse({"steps": [NOISE]}), tmp_path / "v2")
    assert [each.field for each in reports.read_changes(tmp_path / "v2", start=0, count=9)] == ["messages[1].content"]
    assert read_rows(tmp_path / "v2", start=0, count=1)[0].messages[1]["content"].strip() == "Hello"


def test_tokens_stand_beside_characters_where_an_inspection_told(first, tmp_path):
    tokens = {"lengths": {"mean": 20.0}}
    report = cleaning.look(first, parse({"steps": []}), tmp_path / "look", tokens=tokens)
    assert report.tokens_per_character == pytest.approx(20 * 5 / report.characters_before)


def test_the_recommended_recipe_cleans_real_rows(tmp_path):
    """chatterbot-corpus' English tech_support file: 1,050 rows, 10 of them distinct."""
    rows = [pair(*line) for line in corpus("english", "tech_support").select("prompt", "completion").iter_rows()]
    first = version(tmp_path / "v1", rows)
    manifest, steps = cleaning.apply(first, recipes.recommended(), tmp_path / "v2")
    assert (len(rows), manifest.rows) == (1050, 10)
    assert manifest.excluded == 1040 == sum(step.removed for step in steps)
    for each in reports.read_changes(tmp_path / "v2", start=0, count=2000, action="remove"):
        assert each.message("zh") != f"problems.{each.code}" and str(each.row) in each.message()


def test_splitting_is_a_recipe_of_one_step(tmp_path):
    first = version(tmp_path / "v1", [pair(f"Where is {n * n}?", f"Here is {n} of them") for n in range(60)])
    recipe = parse({"steps": [{"step": "split", "options": {"test": 0.2}}]})
    manifest, _ = cleaning.apply(first, recipe, tmp_path / "v2")
    assert sum(manifest.splits.values()) == manifest.rows == 60
    assert manifest.splits["test"] == pytest.approx(12, abs=4)


def test_progress_and_phases_are_told(first, tmp_path):
    phases, progress = [], []
    cleaning.apply(
        first, parse(RECIPE), tmp_path / "v2", phase=phases.append, progress=lambda *told: progress.append(told)
    )
    assert phases == ["data.step.noise", "data.step.normalise", "data.step.personal_data", "data.writing"]
    assert progress[-1] == (4, 4, "steps")


# -- bringing rows back ------------------------------------------------------------------------------------------------


def test_rows_come_back_as_they_were_when_they_were_taken_out(first, tmp_path):
    v2, v3, v4 = (tmp_path / name for name in ("v2", "v3", "v4"))
    cleaning.apply(first, parse({"steps": ["personal_data"]}), v2)
    cleaning.apply(v2, parse({"steps": [NOISE]}), v3)
    manifest = restore(v3, [v2, first], v4, code="clean.noise.refusals")
    assert [row.row for row in read_rows(v4, start=0, count=9)] == [1, 3, 4, 5, 6]
    assert (manifest.excluded, manifest.rows, manifest.steps[-1].operation) == (0, 5, "restore")
    assert "anna.berg" not in read_rows(v4, start=3, count=1)[0].completion


def test_a_masked_row_stays_masked_when_it_comes_back(tmp_path):
    first = version(tmp_path / "v1", [pair("Mail?", "As an AI language model, I cannot: anna.berg@post.se"), *ROWS])
    v2, v3, v4 = (tmp_path / name for name in ("v2", "v3", "v4"))
    cleaning.apply(first, parse({"steps": ["personal_data"]}), v2)
    cleaning.apply(v2, parse({"steps": [NOISE]}), v3)
    restore(v3, [v2, first], v4, rows=[1])
    assert "anna.berg" not in read_rows(v4, start=0, count=1)[0].completion


@pytest.mark.parametrize(("chosen", "code"), [({"rows": [1]}, "not_excluded"), ({"code": "x"}, "no_such_reason")])
def test_what_is_not_excluded_cannot_come_back(first, tmp_path, chosen, code):
    with pytest.raises(RefusedInput) as refused:
        restore(first, [], tmp_path / "v2", **chosen)
    assert refused.value.code == f"data.restore.{code}"
