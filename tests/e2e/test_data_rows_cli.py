"""Rows on the command line: looked at, read by other columns, mended by kind, marked, named by their file."""

import json
import zipfile

import pytest

from studio.paths import SAMPLES, workspace
from tests.e2e.luthier import luthier_here
from tests.e2e.server import Server, end_everything
from tests.unit.workshop.real_rows import corpus

GOOD = [{"prompt": f"Question {n}?", "completion": f"Answer {n}.", "kind": "a" if n % 2 else "b"} for n in range(1, 7)]
BAD = [{"prompt": "Cut", "completion": ""}, {"prompt": 7, "completion": "x"}, {"prompt": "Cut too", "completion": " "}]
CHATS = [
    {"messages": [{"role": "user", "content": "Hi", "id": n}, {"role": role, "content": "Ho", "thinking": "Greet."}]}
    for n, role in enumerate(("assistant", "asistant", "assistant"))
]


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    place = workspace(folder / "luthier").make()
    for name, rows in (
        ("rows", GOOD + BAD),
        ("chats", CHATS),
        ("odd", [{"a": "Hi", "b": "Ho"}, {"a": "Go", "b": "No"}]),
    ):
        (folder / f"{name}.jsonl").write_text(_lines(rows))
    with zipfile.ZipFile(folder / "packed.zip", "w") as archive:
        archive.writestr("one.jsonl", _lines(GOOD[:2]))
        archive.writestr("two.jsonl", "\n" + _lines([GOOD[0]]))
        archive.writestr("void.jsonl", "")
    server = Server(place).start()
    yield place
    server.stop()
    end_everything(place)


def _lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def done(studio, *arguments):
    ran = luthier_here(studio, "data", *arguments, "--json")
    assert ran.code == 0, ran.err
    return ran.document


def file(studio, name):
    return studio.root.parent / name


@pytest.fixture(scope="module")
def rows(studio):
    return done(
        studio,
        "import",
        file(studio, "rows.jsonl"),
        "--column",
        "prompt=prompt",
        "--column",
        "kind=category",
        "--column",
        "completion=completion",
    )


def test_columns_are_named_on_import(studio, rows):
    assert (rows["rows"], rows["problems"] and len(rows["problems"])) == (6, 3)
    odd = done(studio, "import", file(studio, "odd.jsonl"), "--column", "a=prompt", "--column", "b=completion")
    assert (odd["format"], odd["rows"]) == ("prompt_completion", 2)
    refused = luthier_here(studio, "data", "import", file(studio, "odd.jsonl"), "--column", "a=promt")
    assert refused.code == 2 and "promt" in refused.err


def test_a_file_is_looked_at_without_import(studio):
    seen = done(studio, "check", file(studio, "chats.jsonl"))
    assert (seen["shape"], [each["row"] for each in seen["problems"]]) == ("chat", [2])
    assert seen["unread_keys"] == {"id": 3}
    at = seen["problems"][0]["offset"]
    assert file(studio, "chats.jsonl").read_bytes()[at:].startswith(_lines(CHATS[1:2]).encode())
    shown = luthier_here(studio, "data", "check", file(studio, "chats.jsonl"))
    assert "Row 2" in shown.out and "“id” (3 rows)" in shown.out
    gone = luthier_here(studio, "data", "check", file(studio, "gone.jsonl"))
    assert gone.code == 2 and "gone.jsonl" in gone.err


def test_rows_are_printed_by_search_filter_and_number(studio, rows):
    page = done(studio, "rows", "rows", "--start", 1, "--count", 2)
    assert ([each["row"] for each in page["rows"]], page["total"], page["has_more"]) == ([2, 3], 6, True)
    assert [each["row"] for each in done(studio, "rows", "rows", "--search", "ANSWER 4")["rows"]] == [4]
    assert [each["row"] for each in done(studio, "rows", "rows", "--category", "a")["rows"]] == [1, 3, 5]
    (one,) = done(studio, "rows", "rows", "--row", 6)["rows"]
    assert (one["prompt"], one["completion"], one["category"]) == ("Question 6?", "Answer 6.", "b")
    assert "Question 1? / Answer 1." in luthier_here(studio, "data", "rows", "rows").out


def test_rows_are_mended_and_left_out_by_kind(studio):
    told = luthier_here(studio, "data", "import", file(studio, "chats.jsonl"), "--name", "chats")
    assert "“id” (2 rows)" in told.err
    mended = done(studio, "fix", "chats", "--mend", "unknown_role_hint")
    assert (mended["rows"], mended["problems"]) == (3, [])
    (second,) = done(studio, "rows", "chats", "--row", 2)["rows"]
    assert second["messages"][1] == {"role": "assistant", "content": "Ho", "reasoning_content": "Greet."}
    nothing = luthier_here(studio, "data", "fix", "chats", "--mend", "unknown_role_hint")
    assert nothing.code == 2 and nothing.err.strip()


def test_chat_logs_of_two_people_are_imported_and_mended(studio):
    said = [{"sender": who, "text": "Hi", "at": 3} for who in ("ann", "bo", "ann")]
    file(studio, "logs.jsonl").write_text(_lines([{"messages": said}, {"messages": said[:2]}]))
    logs = done(studio, "import", file(studio, "logs.jsonl"))
    assert (logs["format"], logs["rows"]) == ("messages", 1)
    assert [(each["row"], each["code"]) for each in logs["problems"]] == [(1, "last_not_assistant")]
    mended = done(studio, "fix", "logs", "--mend", "last_not_assistant")
    assert (mended["rows"], mended["problems"]) == (2, [])


def test_a_kind_of_problem_is_left_out(studio, rows):
    told = luthier_here(studio, "data", "fix", "rows", "--exclude-code", "empty_answer").out
    assert "problems: 1." in told and told.count("Row ") == 1 and "`luthier data restore`: 2." in told
    left = done(studio, "fix", "rows", "--exclude", 1)
    assert (left["rows"], left["excluded"]) == (5, 3)
    assert [each["row"] for each in left["problems"] if each["code"] == "wrong_type"] == [8]


def test_a_recipe_is_kept_shown_and_deleted(studio):
    recipe = studio.root.parent / "own.yaml"
    recipe.write_text("steps: [duplicates]\n")
    kept = done(studio, "recipes", "own", "--save", recipe)
    assert kept == done(studio, "recipes", "own") and [each["step"] for each in kept["steps"]] == ["duplicates"]
    assert "own" in [each["name"] for each in done(studio, "recipes")]
    assert "own" not in [each["name"] for each in done(studio, "recipes", "own", "--remove")]
    assert luthier_here(studio, "data", "recipes", "own").code == 2


def test_the_form_of_the_answers_is_read_off_and_cleaning_finds_what_differs(studio):
    answers = ["billing", "delivery", "other"] * 8 + ["I do not know, sorry."]
    lines = [{"prompt": f"Ticket {n}", "completion": text} for n, text in enumerate(answers)]
    (studio.root.parent / "tickets.jsonl").write_text(_lines(lines))
    done(studio, "import", studio.root.parent / "tickets.jsonl")
    printed = luthier_here(studio, "data", "schema", "tickets")
    recipe = studio.root.parent / "form.yaml"
    recipe.write_text(printed.out)
    told = done(studio, "clean", "tickets", "--recipe", recipe, "--dry-run")
    assert "kind: labels" in printed.out and told["steps"][0]["marked"] == 1
    assert [(each["row"], each["step"]) for each in told["to_look_at"]] == [(25, "task_schema")]
    done(studio, "import", SAMPLES / "prompt_completion.en.csv", "--name", "free")
    free = luthier_here(studio, "data", "schema", "free")
    assert free.code == 2 and "no form in common" in free.err


def test_quality_is_taught_by_marks_and_says_where_too_few(studio, rows):
    few = luthier_here(studio, "data", "teach", "rows")
    assert few.code == 2 and few.err.strip() and "Traceback" not in few.err


def test_marks_teach_a_classifier_that_cleaning_then_judges_by(studio):
    """12 real answers marked good and 12 advertisements marked bad; six more of each that nobody marked."""
    good = corpus("english", "trivia")["completion"].unique(maintain_order=True).to_list()[:18]
    adverts = [f"Click here for your free gift number {n}, offer ends today!" for n in range(18)]
    texts = [text for pair in zip(good, adverts, strict=True) for text in pair]
    folder = studio.root.parent
    rows = [{"prompt": f"Question {n}?", "completion": text} for n, text in enumerate(texts, 1)]
    (folder / "taught.jsonl").write_text(_lines(rows))
    done(studio, "import", folder / "taught.jsonl")
    number = done(studio, "label", "start", "taught", "--scale", "good_bad")["id"]
    marks = [{"row": n, "annotator": "Ann", "rating": "good" if n % 2 else "bad"} for n in range(1, 25)]
    (folder / "marks.jsonl").write_text(_lines(marks))
    assert done(studio, "label", "import", number, folder / "marks.jsonl") == {"marks": 24}

    made = done(studio, "teach", "taught")
    assert (made["dataset"], made["kept"], made["dropped"]) == ("taught", 12, 12)
    assert 0.9 <= made["accuracy"] <= 1
    again = luthier_here(studio, "data", "teach", "taught")
    assert again.code == 0 and made["quality_model"] in again.out

    options = {"low_quality": "remove", "least_quality": 0.5, "quality_model": made["quality_model"]}
    recipe = folder / "by_marks.yaml"
    recipe.write_text(json.dumps({"steps": [{"step": "noise", "options": options}]}))
    (step,) = done(studio, "clean", "taught", "--recipe", recipe)["steps"]
    removed = {each["row"] for each in step["removed"] if each["code"].endswith("low_quality_learned")}
    assert removed == set(range(2, 37, 2)), "the twelve that were marked, and the six like them that were not"


def test_rows_of_an_archive_are_named_by_their_file(studio):
    packed = done(studio, "import", file(studio, "packed.zip"), "--name", "packed")
    assert packed["rows"] == 3 and "packed.zip/void.jsonl is empty" in packed["problems"][0]["message"]
    recipe = studio.root.parent / "doubles.yaml"
    recipe.write_text("steps: [duplicates]\n")
    (step,) = done(studio, "clean", "packed", "--recipe", recipe)["steps"]
    (removed,) = step["removed"]
    assert (removed["row"], removed["member"], removed["member_row"]) == (4, "two.jsonl", 2)
    assert removed["reason"].startswith("two.jsonl, line 2: ")
