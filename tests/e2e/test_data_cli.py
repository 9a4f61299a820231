"""Data sets on the command line: cleaned, brought back, compared, mixed, exported, pushed and pulled."""

import csv
import json

import pytest

from studio.paths import workspace
from tests.e2e.luthier import luthier, luthier_here
from tests.e2e.server import Server, end_everything

ROWS = [
    {"prompt": "Where is my parcel?", "completion": "It is on its way.", "category": "delivery"},
    {"prompt": "What does it cost?", "completion": "<p>Ten <b>euro</b></p>", "category": "price"},
    {"prompt": "Who are you?", "completion": "As an AI language model, I cannot answer that.", "category": "other"},
    {"prompt": "Whom do I write to?", "completion": "Write to anna.berg@post.se, please.", "category": "other"},
    {"prompt": "Is it open today?", "completion": "=Yes, until six.", "category": "other"},
]
RECIPE = """
steps:
  - step: noise
    options: {refusals: remove, language: "off", low_quality: "off"}
  - normalise
  - personal_data
"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A studio with one data set and a recipe, whose server runs already."""
    folder = tmp_path_factory.mktemp("data")
    place = workspace(folder / "luthier").make()
    (folder / "recipe.yaml").write_text(RECIPE)
    for name, rows in (
        ("support", ROWS),
        ("general", [{"prompt": f"Q{n}?", "completion": f"A {n}."} for n in range(9)]),
    ):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    server = Server(place).start()
    yield place
    server.stop()
    end_everything(place)


@pytest.fixture(scope="module")
def imported(studio):
    """The data set `support` as its file has it."""
    return done(studio, "import", studio.root.parent / "support.jsonl")["version"]


@pytest.fixture
def support(studio, imported):
    """The number of that version, which is the current one."""
    done(studio, "rollback", "support", imported)
    return imported


@pytest.fixture(scope="module")
def general(studio):
    """A second data set, nine rows."""
    return done(studio, "import", studio.root.parent / "general.jsonl")["version"]


def done(studio, *arguments):
    ran = luthier_here(studio, "data", *arguments, "--json")
    assert ran.code == 0, ran.err
    return ran.document


def test_cleaning_names_every_row_and_its_reason_and_can_be_undone(studio, support):
    recipe = studio.root.parent / "recipe.yaml"
    told = done(studio, "clean", "support", "--recipe", recipe, "--dry-run")
    assert (told["version"], told["rows_in"], told["rows_out"]) == (support, 5, 4)
    cleaned = done(studio, "clean", "support", "--recipe", recipe)
    new = cleaned["version"]
    assert new > support
    assert cleaned["steps"] == told["steps"]
    noise, _, personal = cleaned["steps"]
    assert (noise["step"], noise["rows_in"], noise["rows_out"]) == ("noise", 5, 4)
    assert [(each["row"], each["code"]) for each in noise["removed"]] == [(3, "clean.noise.refusals")]
    assert "3" in noise["removed"][0]["reason"]
    assert [each["row"] for each in noise["changed"]] == [2]
    assert [(each["row"], each["field"]) for each in personal["changed"]] == [(4, "completion")]

    diff = done(studio, "diff", "support", support, new)
    assert (diff["added"], diff["removed"], diff["changed"], diff["same"]) == (0, 1, 2, 2)
    assert {each["row"]: each["kind"] for each in diff["rows"]} == {2: "changed", 3: "removed", 4: "changed"}

    restored = done(studio, "restore", "support", "--code", "clean.noise.refusals")
    assert (restored["rows"], restored["excluded"]) == (5, 0)
    versions = done(studio, "rollback", "support", support)
    assert next(each for each in versions if each["version"] == support)["is_current"]


def test_a_note_stays_with_its_version(studio, support):
    done(studio, "note", "support", support, "before the holidays")
    versions = {each["version"]: each for each in done(studio, "versions", "support")}
    assert versions[support]["note"] == "before the holidays"
    told = luthier_here(studio, "data", "versions", "support").out.splitlines()
    (in_use,) = (line for line in told if "●" in line)
    assert any(each["is_current"] and f" v{number} " in in_use for number, each in versions.items())
    assert any("before the holidays" in line and f" v{support} " in line for line in told)


def test_mixing_makes_a_new_data_set_with_its_share(studio, support, general):
    mixed = done(studio, "mix", "support", "--with", "general=0.5", "--into", "mixed")
    assert (mixed["name"], mixed["rows"]) == ("mixed", 10)
    assert mixed["parts"][0]["taken"] == 5


def test_exports_defuse_formulas_and_bring_their_pointer(studio, support, tmp_path):
    made = done(studio, "export", "support", tmp_path / "out.csv")
    assert (made["rows"], made["defused"]) == (5, 1)
    with (tmp_path / "out.csv").open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file))[5][1] == "'=Yes, until six."
    assert (tmp_path / "out.csv.dvc").exists() and (tmp_path / "out.csv.manifest.json").exists()
    ran = luthier_here(studio, "data", "export", f"support@{support}", tmp_path / "out.csv")
    assert "formula" in ran.out


def test_a_version_goes_to_a_remote_and_comes_back_the_same(studio, support, tmp_path):
    pushed = done(studio, "push", "support", tmp_path / "remote")
    assert pushed["md5"].endswith(".dir")
    back = done(studio, "pull", tmp_path / "remote", "support", "--into", "again")
    known = {each["version"]: each for each in done(studio, "versions", "support")}
    assert (back["name"], back["content_hash"]) == ("again", known[support]["content_hash"])


def test_checks_are_printed_with_the_rows_they_name(studio, support):
    found = done(studio, "check", "support", "--check", "amount", "--check", "balance")
    assert found["checks"]["amount"]["level"] == "too_few"
    assert {each["category"]: each["rows"] for each in found["checks"]["balance"]["categories"]}["other"] == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("clean", "suport"), "suport"),
        (("clean", "support", "--recipe", "recomended"), "recommended"),
        (("clean", "support", "--recipe", "/no/such.yaml"), "/no/such.yaml"),
        (("mix", "support", "--with", "general"), "general"),
        (("mix", "support", "--with", "support=0.1"), "support"),
        (("restore", "support"), "come back"),
        (("restore", "support", "--row", "1"), "1"),
        (("push", "support", "https://example.org/x"), "https://example.org/x"),
        (("pull", "/no/such/remote", "support"), "support"),
        (("check", "support", "--check", "balanse"), "balance"),
        (("export", "support", "/no/such/folder/x.csv"), "/no/such/folder"),
        (("diff", "support", 1, 99), "99"),
    ],
)
def test_a_refused_input_is_a_sentence_and_exit_code_2(studio, imported, arguments, told):
    ran = luthier_here(studio, "data", *arguments)
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert told in ran.err and "Traceback" not in ran.err


def test_a_process_of_its_own_ends_alike(studio, support):
    ran = luthier(studio, "data", "versions", "support", "--json")
    assert (ran.code, ran.err) == (0, "") and ran.document == done(studio, "versions", "support")
    ran = luthier(studio, "data", "clean", "suport")
    assert (ran.code, ran.out) == (2, "") and "suport" in ran.err


def test_splitting_tells_how_many_rows_each_side_has(studio, general):
    split = done(studio, "split", "general", "--set", "test=0.3")
    assert sum(split["splits"].values()) == split["rows"] == 9
    assert split["splits"]["test"] >= 1


@pytest.mark.slow  # loads the starter model; tests/app/test_data_difficulty.py does so in every run
def test_a_model_is_asked_how_hard_the_rows_are(studio, general, starter):
    assert luthier_here(studio, "models", "add", starter, "--name", "small").code == 0
    told = done(studio, "check", "general", "--check", "difficulty", "--model", "small")
    losses = told["checks"]["difficulty"]["losses"]
    assert (losses["model"], losses["scored"], losses["left_out"]) == ("small", 9, {})
    assert len(told["hardest"]) == 9 and all(each["loss"] > 0 for each in told["hardest"])
    assert told["hardest"][0]["row"] == told["checks"]["difficulty"]["hardest"][0]
    ordered = done(studio, "order", "general", "--model", "small")
    assert ordered["version"] > general and ordered["rows"] == 9
    assert done(studio, "check", "general", "--check", "difficulty", "--model", "small")["hardest"] == told["hardest"]
