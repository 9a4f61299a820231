"""The quick reader says of a row what the careful one says, or leaves it to that."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.workshop.converting.bulk import BulkReader
from studio.workshop.converting.convert import convert_text, converter
from studio.workshop.converting.quick import QuickReader, quick_reader
from studio.workshop.versions.build import import_file
from studio.workshop.versions.layout import ROLES
from studio.workshop.versions.reader import iterate_problems, iterate_rows, read_manifest

CHAT = quick_reader("chat", {"messages": "messages"}, ["messages", "id"])
BARE = quick_reader("chat", {"messages": "messages"}, ["messages"])
SHAREGPT = quick_reader("sharegpt", {"talk": "conversations"}, ["talk"])
PAIR = quick_reader("prompt_completion", {"q": "prompt", "a": "completion"}, ["q", "a", "id"])
SLOW = converter("chat", {"messages": "messages"})

TURNS = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["user", "assistant", "system", "human", "tool", "x"]),
            "content": st.sampled_from(["Hi", "", " ", "\u3000", 'a": b', ":)", "é", "你好"]) | st.integers(0, 1),
        },
        optional={"name": st.just("Ann"), "weight": st.just(1)},
    ),
    max_size=4,
)


@pytest.mark.parametrize("reader", [CHAT, BARE])
@settings(max_examples=300)
@given(turns=TURNS, extra=st.sampled_from([{}, {"id": 3}, {"id": {"a": [1]}}, {"other": 1}]), ascii=st.booleans())
def test_what_it_takes_the_careful_reader_makes_the_same_of(reader: QuickReader, turns: list, extra: dict, ascii: bool):
    text = json.dumps({"messages": turns} | extra, ensure_ascii=ascii)
    (quick,) = reader.read([text.encode()])
    made, faults = convert_text(text, SLOW)
    if quick is not None:
        assert not faults and made.extra == quick.extra
        roles = [ROLES[code] for code in quick.roles]
        said = [{"role": role, "content": text} for role, text in zip(roles, quick.contents, strict=True)]
        assert made.messages == said
    elif made and (reader is CHAT or not extra) and not extra.get("other"):
        assert any(turn["role"] not in ("user", "assistant", "system", "tool") or len(turn) > 2 for turn in turns)


@pytest.mark.parametrize(
    "line",
    [
        b'{"messages":[{"role":"user","content":"a","content":"b"},{"role":"assistant","content":"c"}]}',
        b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"c"}],"messages":[]}',
        b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"c"}]',
        b'{"messages":[{"role":"user","content":"\\ud800"},{"role":"assistant","content":"c"}]}',
        b'{"messages":[{"role":"user","content":"\xff"},{"role":"assistant","content":"c"}]}',
        b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"c"}],"id":NaN}',
        b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"c"}],"id":'
        + b"[" * 300
        + b"]" * 300
        + b"}",
        b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"\\n\\u3000 "}]}',
        b'{"messages":[{"role":"user","content":"a"},{"role":"assistant" ,"role" :"assistant","content":"c"}]}',
        b'{"messages":[{"role":"user","content" :"a","content":"b"},{"role":"assistant","content":"c"}]}',
        b"7",
        b"",
    ],
)
def test_odd_lines_are_left_to_the_careful_reader(line: bytes):
    assert [*CHAT.read([line])] == [*BARE.read([line])] == [None]


def test_pairs_and_sharegpt_are_quick_too():
    pair, blank = PAIR.read([b'{"id":1,"a":"y","q":"x"}', b'{"a":" ","q":"x"}'])
    assert (pair.roles, pair.contents, pair.extra, blank) == (b"", ["x", "y"], {"id": 1}, None)
    (row,) = SHAREGPT.read([b'{"talk":[{"from":"human","value":"x"},{"from":"gpt","value":"y"}]}'])
    assert (row.roles, row.contents, row.extra) == (b"\x01\x02", ["x", "y"], None)
    assert SHAREGPT.speakers() == {"human": 1, "gpt": 1}


def test_each_line_of_a_batch_is_judged_by_itself():
    def line(answer: str) -> bytes:
        turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": answer}]
        return json.dumps({"messages": turns}, ensure_ascii=False).encode()

    good = [
        line(text)
        for text in ("a", 'He said "no": twice', "\\", '\\"', "\n a", "é", "你好", '"' * 70_000, "a" * 70_000)
    ]
    twice = b'{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"' + b',"content":"a"' * 16_384
    bad = [line(" "), line("\n"), line("\u2003"), twice + b"}]}"]
    lines = [each for number in range(150) for each in (good[number % len(good)], bad[number % len(bad)])]
    assert [row is not None for row in BARE.read(lines)] == [True, False] * 150


@pytest.mark.parametrize(
    "rows",
    [
        [
            {"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": "a"}], "id": n}
            for n in range(5)
        ],
        [
            {"talk": n, "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}
            for n in range(5)
        ],
        [{"question": "q", "answer": f"a{n}", "category": "x" if n % 2 else None} for n in range(5)],
        [{"prompt": "q", "completion": "a", "id": n} if n else {"prompt": "q", "completion": "b"} for n in range(5)],
    ],
)
def test_the_source_row_is_told_from_what_is_trained(tmp_path: Path, rows: list):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    import_file(tmp_path / "a.jsonl", tmp_path / "v")
    assert [json.loads(row.raw) for row in iterate_rows(tmp_path / "v")] == rows


def test_quick_and_careful_rows_keep_their_order_and_the_hash_is_one(tmp_path: Path):
    good = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    named = {"messages": [{"role": "user", "content": "q", "name": None}, {"role": "assistant", "content": "a"}]}
    bad = {"messages": [{"role": "usr", "content": "q"}, {"role": "assistant", "content": "a"}]}
    for name, rows in {"a": [good, named, bad, good], "b": [named, good, named, bad]}.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        import_file(tmp_path / name, tmp_path / f"{name}.v", original_name="x.jsonl")
    assert [row.row for row in iterate_rows(tmp_path / "a.v")] == [1, 2, 4]
    first, second = read_manifest(tmp_path / "a.v"), read_manifest(tmp_path / "b.v")
    assert first.content_hash == second.content_hash
    assert first.speakers == second.speakers == {"user": 3, "assistant": 3}
    (problem,) = iterate_problems(tmp_path / "a.v")
    assert problem.offset == sum(len(json.dumps(row)) + 1 for row in (good, named))
    assert "Did you mean “user” (3 other rows)?" in problem.message("en")


BULK = BulkReader("chat", {"messages": "messages"})


@settings(max_examples=300)
@given(rows=st.lists(TURNS, min_size=1, max_size=4), ascii=st.booleans())
def test_what_is_taken_in_bulk_the_careful_reader_makes_the_same_of(rows: list, ascii: bool):
    lines = [json.dumps({"messages": turns}, ensure_ascii=ascii) for turns in rows]
    together = BULK.read([line.encode() + b"\n" for line in lines])
    made = [convert_text(line, SLOW)[0] for line in lines]
    if together is not None:
        bare = [[{key: turn[key] for key in ("role", "content")} for turn in turns] for turns in together.to_pylist()]
        assert [row and row.messages for row in made] == bare
    elif all(made):
        known = ("user", "assistant", "system", "tool")
        assert any(turn["role"] not in known or len(turn) > 2 for turns in rows for turn in turns)


@pytest.mark.parametrize("blank", ["", " ", "\n", "\u3000", "\xa0", "\x1f", "\x85", "\u2003"])
def test_blank_texts_are_seen_in_bulk(blank: str):
    row = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": blank}]}
    assert BULK.read([json.dumps(row).encode() + b"\n"]) is None


@pytest.mark.parametrize(
    "lines",
    [
        [b'{"messages":[{"role":"user","content":"a","content":"b"},{"role":"assistant","content":"c"}]}\n'],
        [b'{"messages":[{"role":"user","content":"\xff"},{"role":"assistant","content":"c"}]}\n'],
        [b'{"messages":[{"role":"user","content":"\\udc00"},{"role":"assistant","content":"c"}]}\n'],
        [b'{"messages":[{"role":"user","content":null},{"role":"assistant","content":"c"}]}\n'],
        [b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"c"}]}{"messages":[]}\n'],
        [b'{"messages":[{"role":"user","content":"a"}\n', b'{"role":"assistant","content":"c"}]}\n'],
        [b'{"messages":[{"role":"user","content":"a"},{"role":"assistant"}]}\n'],
        [b'{"messages":[]}\n'],
        [b"{}\n"],
    ],
)
def test_one_odd_line_sends_the_batch_the_slower_way(lines: list):
    good = b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"c"}]}\n'
    assert BULK.read([good, good]) is not None
    assert BULK.read([good, *lines]) is None
