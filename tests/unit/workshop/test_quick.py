"""The quick reader says of a row what the careful one says, or leaves it to that."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.workshop.converting.convert import convert_text, converter
from studio.workshop.converting.plain_chats import MAX_TURNS, PlainChatReader, PlainChats, reader_of
from studio.workshop.converting.quick import QuickReader, quick_reader
from studio.workshop.versions.build import import_file
from studio.workshop.versions.layout import ROLES
from studio.workshop.versions.reader import iterate_problems, iterate_rows, read_manifest
from tests.examples import examples

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
@settings(max_examples=examples(300))
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


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\tb"])
def test_a_column_whose_name_is_written_with_an_escape_is_read_the_careful_way(tmp_path: Path, name: str):
    rows = [{"prompt": "q", "completion": "a", name: 1}, {"messages": [], name: 1}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    import_file(tmp_path / "a.jsonl", tmp_path / "v")
    assert [row.extra for row in iterate_rows(tmp_path / "v")] == [{name: 1}]
    chats = [{name: [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}]
    (tmp_path / "b.jsonl").write_text(json.dumps(chats[0]), "utf-8")
    import_file(tmp_path / "b.jsonl", tmp_path / "w", shape="chat", columns={name: "messages"})
    assert [json.loads(row.raw) for row in iterate_rows(tmp_path / "w")] == chats


# JSON as nobody should write it: keys that stand twice, at any depth, in any spelling, and texts that look like keys.
WORDS = st.sampled_from(["a", "b", "x", "", " ", 'a":', '"', "\\", '\\"', "{", "é"])
VALUES = st.recursive(
    st.sampled_from(["1", "1.50", "null", "true", "1e400", "12345678901234567890123"]) | WORDS.map(json.dumps),
    lambda inner: (
        st.lists(inner, max_size=2).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(st.tuples(WORDS, inner), max_size=3).map(lambda members: written(members))
    ),
    max_leaves=4,
)


def written(members: list[tuple[str, str]], colon: str = ":") -> str:
    return "{" + ",".join(f"{json.dumps(key)}{colon}{value}" for key, value in members) + "}"


@st.composite
def objects(draw: st.DrawFn, members: dict[str, st.SearchStrategy[str]]) -> str:
    """An object with these members in any order: one of them may stand twice, one be missing, one be unknown."""
    names = draw(st.permutations([*members]))
    names = names[draw(st.sampled_from([0] * 8 + [1])) :] + draw(st.lists(st.sampled_from(names), max_size=1))
    made = [(name, draw(members[name])) for name in names]
    made += draw(st.sampled_from([[]] * 8 + [[("unknown", "1")]]))
    return written(made, draw(st.sampled_from([":", ": ", " :"])))


TEXT_VALUES = st.builds(json.dumps, WORDS | st.just("Hi"), ensure_ascii=st.booleans())
SAID = objects({"from": st.sampled_from(['"human"', '"gpt"', '"system"']), "value": TEXT_VALUES})
TALK = st.lists(SAID, max_size=3) | st.tuples(
    *(objects({"from": st.just(speaker), "value": TEXT_VALUES}) for speaker in ('"human"', '"gpt"'))
)
TALK_ROWS = objects({"talk": TALK.map(lambda turns: f"[{','.join(turns)}]"), "id": VALUES})
PAIR_ROWS = objects({"q": TEXT_VALUES, "a": TEXT_VALUES, "id": VALUES})
KEYED_SHAREGPT = quick_reader("sharegpt", {"talk": "conversations"}, ["talk", "id"])


@settings(max_examples=examples(200), deadline=None)
@given(line=TALK_ROWS)
def test_no_line_of_sharegpt_with_another_column_passes_that_the_careful_reader_refuses(line: str):
    (quick,) = KEYED_SHAREGPT.read([line.encode()])
    if quick is not None:
        made, faults = convert_text(line, converter("sharegpt", {"talk": "conversations"}))
        assert not faults and made.extra == quick.extra
        roles = [ROLES[code] for code in quick.roles]
        assert [(turn["role"], turn["content"]) for turn in made.messages] == [*zip(roles, quick.contents, strict=True)]


@settings(max_examples=examples(200), deadline=None)
@given(line=PAIR_ROWS)
def test_no_line_with_a_pair_passes_that_the_careful_reader_refuses(line: str):
    (quick,) = PAIR.read([line.encode()])
    if quick is not None:
        made, faults = convert_text(line, converter("prompt_completion", {"q": "prompt", "a": "completion"}))
        assert not faults
        assert ([made.prompt, made.completion], made.extra) == (quick.contents, quick.extra)


@pytest.mark.parametrize(
    ("extra", "is_quick"),
    [
        ('"x"', True),
        ('{"k":"v","l":["a","b"]}', True),
        ('{"k":"a\\":b","l":1}', True),
        ('{"k":1,"k":2}', False),
        ('{"k":1,"\\u006b":2}', False),
        ('[{"a":{"k":1,"k" :1}}]', False),
        ('1,"id":2', False),
        ("[" * 150 + "]" * 150, True),
        ("[" * 250 + "]" * 250, False),
    ],
)
def test_what_stands_beside_a_pair_is_looked_through(extra: str, is_quick: bool):
    line = f'{{"q":"x","a":"y","id":{extra}}}'
    (row,) = PAIR.read([line.encode()])
    assert (row is not None) == is_quick
    if row:
        assert row.extra == {"id": json.loads(extra)}


# -- many plain chats together ---------------------------------------------------------------------------------------

PLAIN = reader_of("chat", {"messages": "messages"}, ["messages"])
PLAIN_SHAREGPT = reader_of("sharegpt", {"talk": "conversations"}, ["talk"])
GOOD = b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"c"}]}\n'

# Texts that could hide a key that stands twice, or be mistaken for one: quotes, escaped or not, and backslashes.
TRICKY = st.text(alphabet=st.sampled_from('a"\\: {}\n\u3000é你'), max_size=10)


def spoken(chats: PlainChats) -> list[list[tuple[str, str]]]:
    """Each chat as its roles and texts."""
    texts = iter(chats.contents)
    return [[(ROLES[code], next(texts)) for code in roles] for roles in chats.roles]


@st.composite
def raw_chats(draw: st.DrawFn, keys: tuple[str, str], speakers: tuple[str, ...]) -> str:
    """A chat as JSON text whose turns may lack a key, have one twice, or write it with an escape."""
    said = draw(st.lists(st.sampled_from(speakers), max_size=4) | st.just(list(speakers[:2])))
    turns = []
    for speaker in said:
        text = draw(TRICKY)
        members = [(keys[0], speaker), (keys[1], text)]
        members = draw(st.permutations(members + draw(st.lists(st.sampled_from(members), max_size=1))))
        members = members[draw(st.sampled_from([0, 0, 0, 1])) :]
        ascii = draw(st.booleans())
        written = [f"{json.dumps(key)}{draw(SPACES)}:{json.dumps(value, ensure_ascii=ascii)}" for key, value in members]
        turns.append("{" + ",".join(written).replace('"content"', draw(CONTENT_KEYS)) + "}")
    return f"[{','.join(turns)}]"


SPACES = st.sampled_from(["", "", " "])
CONTENT_KEYS = st.sampled_from(['"content"', '"content"', '"cont\\u0065nt"'])


@pytest.mark.parametrize(
    ("reader", "column", "keys", "speakers"),
    [
        (PLAIN, "messages", ("role", "content"), ("user", "assistant", "system", "tool")),
        (PLAIN_SHAREGPT, "talk", ("from", "value"), ("human", "gpt", "system")),
    ],
)
@settings(max_examples=examples(150), deadline=None)
@given(data=st.data())
def test_chats_taken_together_are_those_of_the_careful_reader(
    reader: PlainChatReader, column: str, keys: tuple[str, str], speakers: tuple[str, ...], data: st.DataObject
):
    shape, part = ("chat", "messages") if reader is PLAIN else ("sharegpt", "conversations")
    careful = converter(shape, {column: part})
    chats = data.draw(st.lists(raw_chats(keys, speakers), min_size=1, max_size=3))
    lines = [f'{{"{column}":{chat}}}' for chat in chats]
    together = reader.read([line.encode() + b"\n" for line in lines])
    made = [convert_text(line, careful)[0] for line in lines]
    if together is not None:
        assert all(made)
        assert spoken(together) == [[(turn["role"], turn["content"]) for turn in row.messages] for row in made]
    elif all(made):
        assert any(turn["role"] == "tool" for row in made for turn in row.messages) or any(
            not _is_alternating([turn["role"] for turn in row.messages]) for row in made
        )


def _is_alternating(roles: list[str]) -> bool:
    spoken = roles[1:] if roles[0] == "system" else roles
    return spoken == ["user", "assistant"] * (len(spoken) // 2)


@pytest.mark.parametrize("blank", ["", " ", "\n", "\u3000", "\xa0", "\x1f", "\x85", "\u2003"])
def test_blank_texts_are_seen_among_many(blank: str):
    row = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": blank}]}
    assert PLAIN.read([GOOD, json.dumps(row).encode() + b"\n"]) is None


@pytest.mark.parametrize(
    "line",
    [
        b'{"messages":[{"role":"user","content":"a","content":"b"},{"role":"assistant","content":"c"}]}',
        b'{"messages":[{"content":"a"},{"role":"assistant","content":"b","content":"c"}]}',
        b'{"messages":[{"content":"a","content":"a"},{"role":"assistant","content":"c"}]}',
        b'{"messages":[{"role":"user","content":"\\u0022\\u0022","content":"b"},{"role":"assistant","content":"c"}]}',
        b'{"messages":[],"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"c"}]}',
        b'{"messages":[{"role":"user","content":"\xff"},{"role":"assistant","content":"c"}]}',
        b'{"messages":[{"role":"user","content":"\\udc00"},{"role":"assistant","content":"c"}]}',
        b'{"messages":[{"role":"user","content":null},{"role":"assistant","content":"c"}]}',
        b'{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"c"}]}{"messages":[]}',
        b'{"messages":[{"role":"user","content":"a"},{"role":"assistant"}]}',
        b'{"messages":[{"role":"assistant","content":"a"},{"role":"user","content":"c"}]}',
        b'{"messages":[{"role":"user","content":"a"},{"role":"system","content":"c"},{"role":"assistant","content":"c"}]}',
        b'{"messages":[{"role":"system","content":"c"}]}',
        b'{"messages":[]}',
        b"{}",
        b"[]",
        b"",
    ],
)
def test_one_odd_line_sends_all_the_slower_way(line: bytes):
    assert PLAIN.read([GOOD, GOOD]) is not None
    assert PLAIN.read([GOOD, line]) is PLAIN.read([line, GOOD]) is None


@pytest.mark.parametrize("text", ["\\", '"', '\\"', '"' * 8, '\\\\""\\', '{"content": "x"}', '"' * 70_000])
def test_quotes_and_backslashes_in_a_text_are_plain(text: str):
    turns = [{"role": "system", "content": text}, {"role": "user", "content": "q"}]
    turns.append({"role": "assistant", "content": text})
    chats = PLAIN.read([GOOD, json.dumps({"messages": turns}).encode(), GOOD])
    assert spoken(chats)[1] == [(turn["role"], turn["content"]) for turn in turns]


def test_chats_of_any_length():
    def line(turns: int) -> bytes:
        said = [{"role": ("user", "assistant")[number % 2], "content": "x"} for number in range(turns)]
        return json.dumps({"messages": said}).encode()

    chats = PLAIN.read([line(turns) for turns in range(2, MAX_TURNS + 1, 2)])
    assert [len(roles) for roles in chats.roles] == [*range(2, MAX_TURNS + 1, 2)]
    assert PLAIN.read([line(MAX_TURNS + 2)]) is None
    (row,) = BARE.read([line(MAX_TURNS + 2)])
    assert len(row.contents) == MAX_TURNS + 2
