"""Data sets are joined by ratio, the same way each time, and never silently in another format."""

import pytest

from studio.errors import RefusedInput
from studio.workshop.versions.mix import Part, mix
from studio.workshop.versions.reader import read_rows
from tests.unit.workshop.making import chat, pair, version


def part(folder, share, name="general"):
    return Part(dataset=name, version=2, path=str(folder), share=share)


@pytest.fixture
def support(tmp_path):
    return version(tmp_path / "support", [pair(f"Q{n}", f"A{n}") for n in range(95)], problems={7: "empty_answer"})


@pytest.fixture
def general(tmp_path):
    return version(tmp_path / "general", [pair(f"G{n}", f"B{n}") for n in range(40)])


def test_a_part_makes_up_its_share_of_the_whole(support, general, tmp_path):
    manifest = mix(support, [part(general, 0.05)], tmp_path / "mixed")
    assert (manifest.rows, manifest.source_rows, manifest.problems) == (100, 101, 1)
    rows = read_rows(tmp_path / "mixed", start=0, count=200)
    new = [row for row in rows if row.origin]
    assert [row.row for row in new] == [97, 98, 99, 100, 101]
    for row in new:
        number = int(row.origin.removeprefix("mix:general@2:"))
        assert (row.prompt, row.completion) == (f"G{number - 1}", f"B{number - 1}")
    assert manifest.steps[-1].parameters["parts"][0]["taken"] == 5


def test_two_parts_share_the_rest(support, general, tmp_path):
    manifest = mix(support, [part(general, 0.1), part(general, 0.15, "more")], tmp_path / "mixed")
    taken = [each["taken"] for each in manifest.steps[-1].parameters["parts"]]
    assert taken == [13, 19] and manifest.rows == 127


def test_the_seed_alone_decides(support, general, tmp_path):
    made = [mix(support, [part(general, 0.05)], tmp_path / str(n), seed=seed) for n, seed in enumerate((1, 1, 2))]
    assert made[0].content_hash == made[1].content_hash != made[2].content_hash


def test_too_few_rows_are_all_taken_and_it_is_told(support, tmp_path):
    few = version(tmp_path / "few", [pair("only", "one")])
    manifest = mix(support, [part(few, 0.2)], tmp_path / "mixed")
    told = manifest.steps[-1].parameters["parts"][0]
    assert (told["wanted"], told["taken"], manifest.rows) == (24, 1, 96)


def test_held_out_rows_are_never_drawn_and_new_rows_train(support, tmp_path):
    split = version(
        tmp_path / "split", [pair(f"G{n}", "b") for n in range(10)], splits={n: "test" for n in range(2, 11)}
    )
    base = version(tmp_path / "base", [pair(f"Q{n}", "a") for n in range(9)], splits={n: "train" for n in range(1, 10)})
    mix(base, [part(split, 0.5)], tmp_path / "mixed")
    new = [row for row in read_rows(tmp_path / "mixed", start=0, count=50) if row.origin]
    assert [(row.prompt, row.split) for row in new] == [("G0", "train")]


def test_questions_and_answers_become_conversations_only_when_asked(general, tmp_path):
    talks = version(tmp_path / "talks", [chat("Hi", "Hello")] * 9)
    with pytest.raises(RefusedInput) as refused:
        mix(talks, [part(general, 0.1)], tmp_path / "no")
    assert refused.value.code == "data.mix.convertible"
    mix(talks, [part(general, 0.1)], tmp_path / "mixed", convert=True)
    new = read_rows(tmp_path / "mixed", start=9, count=1)[0]
    assert [turn["role"] for turn in new.messages] == ["user", "assistant"]
    assert set(new.messages[0]) == {"role", "content"}


def test_conversations_do_not_become_pairs(support, tmp_path):
    talks = version(tmp_path / "talks", [chat("Hi", "Hello")])
    with pytest.raises(RefusedInput) as refused:
        mix(support, [part(talks, 0.1)], tmp_path / "no", convert=True)
    assert refused.value.code == "data.mix.format"
    assert "messages" in str(refused.value)
