"""Rows as tokens and labels: the same as trl's own, for one answer and for many, and nothing left out in silence."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainers.jobs import write_dataset
from trainers.rows.data import (
    IGNORED,
    Findings,
    Renderer,
    RowLeftOut,
    Sample,
    conversations,
    held_out,
    render_rows,
    segments,
    write_tokens,
)

ONE = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
TWO = [*ONE, {"role": "user", "content": "And you?"}, {"role": "assistant", "content": "Fine."}]
# Earlier answers lose their second half once another turn follows, as reasoning does in some families.
FORGETFUL = (
    "{% for m in messages %}{{ m.role }}:"
    "{{ m.content if loop.last or m.role == 'user' else m.content[:2] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def trained(renderer: Renderer, messages: list[dict[str, str]]) -> list[str]:
    return [
        text for text, is_trained in segments(renderer.render(1, Sample(messages)), renderer.tokenizer) if is_trained
    ]


def test_only_answers_are_trained(tokenizer: Any) -> None:
    renderer = Renderer(tokenizer)
    assert trained(renderer, ONE) == ["Hello!<|im_end|>\n"]
    assert trained(renderer, TWO) == ["Hello!<|im_end|>\n", "Fine.<|im_end|>\n"]


def test_segments_are_the_whole_text(tokenizer: Any) -> None:
    rendered = Renderer(tokenizer).render(1, Sample(TWO))
    assert "".join(text for text, _ in segments(rendered, tokenizer)) == tokenizer.decode(rendered.input_ids)


def test_a_prompt_ends_where_the_answer_begins(tokenizer: Any) -> None:
    renderer = Renderer(tokenizer)
    prompt, rendered = renderer.prompt(TWO[:3]), renderer.render(1, Sample(TWO))
    assert rendered.input_ids[: len(prompt)] == prompt
    assert rendered.labels[len(prompt) - 1] == IGNORED != rendered.labels[len(prompt)]


def test_a_template_that_rewrites_earlier_turns_trains_the_last_answer_only(tokenizer: Any) -> None:
    import copy

    other = copy.deepcopy(tokenizer)
    other.chat_template = FORGETFUL
    renderer = Renderer(other)
    rendered = renderer.render(1, Sample(TWO))
    assert rendered.last_answer_only
    assert trained(renderer, TWO) == ["Fine.<|im_end|>"]


BOTH_WAYS = [
    {"role": "user", "content": "3 + 4?"},
    {"role": "assistant", "content": "7", "reasoning_content": "Three and four make seven."},
    {"role": "user", "content": "And 5 <think>aloud</think>?"},
    {"role": "assistant", "content": "<think>\nSeven and five.\n</think>\n\n12 is it, not <think>13</think>"},
]
READS_REASONING = FORGETFUL.replace("{{ m.content if", "{{ m.thinking }}{{ m.content if").replace("[:2]", "")


@pytest.mark.parametrize("template", [None, READS_REASONING])
def test_reasoning_is_kept_or_stripped_on_purpose(tokenizer: Any, template: str | None) -> None:
    import copy

    other = copy.deepcopy(tokenizer)
    other.chat_template = template or tokenizer.chat_template
    kept, stripped = (
        other.decode(Renderer(other, reasoning=how).render(1, Sample(BOTH_WAYS)).input_ids) for how in ("keep", "strip")
    )
    assert ("Three and four" in kept) == bool(template), "only where the template shows it"
    assert "Seven and five" in kept and "aloud" in kept
    assert "Three and four" not in stripped and "Seven and five" not in stripped
    assert "12 is it, not <think>13</think>" in stripped and "aloud" in stripped
    assert not Renderer(other, reasoning="strip").render(1, Sample(BOTH_WAYS)).reasoning_unread


def test_an_answer_of_nothing_but_reasoning_is_none_when_stripped(tokenizer: Any) -> None:
    only = [ONE[0], {"role": "assistant", "content": "<think>Hm.</think>"}]
    assert Renderer(tokenizer).render(1, Sample(only)).input_ids
    with pytest.raises(RowLeftOut) as caught:
        Renderer(tokenizer, reasoning="strip").render(1, Sample(only))
    assert str(caught.value) == "rows_without_answer"


def test_a_model_without_template_reads_plain_text(tokenizer: Any) -> None:
    import copy

    other = copy.deepcopy(tokenizer)
    other.chat_template = None
    renderer = Renderer(other)
    rendered = renderer.render(1, Sample(ONE))
    assert other.decode(rendered.input_ids) == "Hi\nHello!<|im_end|>"
    assert trained(renderer, ONE) == ["Hello!<|im_end|>"]
    assert renderer.prompt(ONE[:1]) == rendered.input_ids[: len(renderer.prompt(ONE[:1]))]


def test_what_is_left_out_is_named_by_row(tokenizer: Any) -> None:
    long = [{"role": "user", "content": "word " * 50}, {"role": "assistant", "content": "Yes."}]
    wordy = [{"role": "user", "content": "Go"}, {"role": "assistant", "content": "word " * 50}]
    refusing = [{"role": "user"}, {"role": "assistant", "content": "x"}]
    findings = Findings()
    rows = enumerate(map(Sample, [ONE, long, ONE[:1], wordy, refusing]), 1)
    kept = list(render_rows(rows, Renderer(tokenizer), max_length=50, findings=findings))
    assert [row.row for row in kept] == [1, 4]
    assert all(len(row.input_ids) <= 50 for row in kept)
    assert findings.rows == {
        "rows_cut_off": [2],
        "rows_without_answer": [3],
        "rows_shortened": [4],
        "rows_refused_by_template": [5],
    }
    assert findings.named("rows_cut_off") == {"count": 1, "rows": "2"}


def test_both_formats_are_read_in_order(tmp_path: Path) -> None:
    chat = write_dataset(tmp_path / "chat", [{"messages": ONE}, {"messages": TWO}])
    pairs = write_dataset(tmp_path / "pairs", [{"prompt": "Hi", "completion": "Hello!"}])
    assert list(conversations(chat)) == [(1, Sample(ONE)), (2, Sample(TWO))]
    assert list(conversations(pairs)) == [(1, Sample(ONE))]


def test_held_out_rows_are_the_same_for_a_seed_and_never_all() -> None:
    train, validation = held_out(100, 0.1, seed=1)
    assert (len(train), len(validation)) == (90, 10)
    assert held_out(100, 0.1, seed=1) == (train, validation) != held_out(100, 0.1, seed=2)
    assert held_out(2, 0.01, seed=1)[1] and held_out(1, 0.5, seed=1) == ([0], [])
    assert held_out(5, 0, seed=1) == ([0, 1, 2, 3, 4], [])


# trl uses names that this transformers announces to rename.
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_tokens_and_labels_are_those_of_trl(tokenizer: Any, tiny: Path, tmp_path: Path) -> None:
    import datasets
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    rows = [
        [{"role": "user", "content": f"{q} " * n}, {"role": "assistant", "content": f"{q}!" * n}]
        for n, q in enumerate("abcdefgh", 1)
    ]
    findings = Findings()
    ours = list(render_rows(enumerate(map(Sample, rows), 1), Renderer(tokenizer), max_length=50, findings=findings))
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny),
        args=SFTConfig(str(tmp_path / "out"), max_length=50, report_to="none", use_cpu=True, bf16=False),
        train_dataset=datasets.Dataset.from_list([{"prompt": row[:1], "completion": row[1:]} for row in rows]),
        processing_class=tokenizer,
    )
    assert [row.input_ids for row in ours] == list(trainer.train_dataset["input_ids"])
    assert [row.labels for row in ours] == list(trainer.train_dataset["labels"])
    assert write_tokens(ours, tmp_path / "tokens.arrow") == len(ours)
    assert datasets.Dataset.from_file(str(tmp_path / "tokens.arrow"))["labels"][0] == ours[0].labels


THREE = [*TWO, {"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "Yes."}]
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
# Marks every answer and shows the tools, as larger families' templates do.
MARKING = (
    "{% if tools %}tools:{{ tools | length }}<|im_end|>{% endif %}"
    "{% for m in messages %}{% if m.role == 'assistant' %}assistant:{% generation %}{{ m.content }}"
    "{{ m.tool_calls[0].function.name if m.tool_calls }}"
    "{{ '' if loop.last else '.' }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ m.role }}:{{ m.content }}<|im_end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def weighted(messages: list[dict], *weights: int) -> list[dict]:
    marks = iter(weights)
    return [m | {"weight": next(marks)} if m["role"] == "assistant" else m for m in messages]


def test_answers_of_weight_0_are_read_and_not_learned(tokenizer: Any) -> None:
    renderer = Renderer(tokenizer)
    assert trained(renderer, weighted(THREE, 1, 0, 1)) == ["Hello!<|im_end|>\n", "Yes.<|im_end|>\n"]
    same = renderer.render(1, Sample(weighted(THREE, 1, 0, 1))).input_ids
    assert same == renderer.render(1, Sample(THREE)).input_ids


@pytest.mark.parametrize("weights", [(0, 1, 1), (1, 0, 1), (0, 0, 1), (1, 1, 0), (0, 1, 0)])
def test_weights_hold_for_templates_that_mark_the_answers(tokenizer: Any, weights: tuple) -> None:
    import copy

    other = copy.deepcopy(tokenizer)
    other.chat_template = MARKING
    said = ["Hello!.<|im_end|>", "Fine..<|im_end|>", "Yes.<|im_end|>"]
    assert trained(Renderer(other), weighted(THREE, *weights)) == [
        text for text, weight in zip(said, weights, strict=True) if weight
    ]


def test_tools_and_calls_reach_the_template(tokenizer: Any) -> None:
    import copy

    other = copy.deepcopy(tokenizer)
    other.chat_template = MARKING
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": {}}}]}
    rendered = Renderer(other).render(1, Sample([ONE[0], call], tools=[TOOL]))
    assert other.decode(rendered.input_ids).startswith("tools:1<|im_end|>user:Hi")
    assert [text for text, learned in segments(rendered, other) if learned] == ["add<|im_end|>"]


def test_raw_text_is_learned_from_end_to_end(tokenizer: Any) -> None:
    rendered = Renderer(tokenizer).render(1, Sample(text="Once upon"))
    assert rendered.labels == rendered.input_ids == tokenizer("Once upon" + tokenizer.eos_token)["input_ids"]


def test_rows_that_bring_tokens_keep_them_if_the_model_knows_them(tokenizer: Any) -> None:
    findings = Findings()
    rows = [Sample(input_ids=[5, 6]), Sample(input_ids=[5, 6], labels=[-100, 6]), Sample(input_ids=[10**6])]
    made = list(render_rows(enumerate(rows, 1), Renderer(tokenizer), max_length=None, findings=findings))
    assert [row.labels for row in made] == [[5, 6], [-100, 6]]
    assert findings.rows == {"data.foreign_tokens": [3]}


def test_every_side_of_a_split_gets_its_own_rows(tmp_path: Path) -> None:
    sides = ["train", "test", "validation", "train"]
    rows = [{"prompt": str(n), "completion": "a", "split": side} for n, side in enumerate(sides)]
    version = write_dataset(tmp_path / "v", rows)
    assert [number for number, _ in conversations(version)] == [1, 4]
    assert [number for number, _ in conversations(version, split="validation")] == [3]


def test_a_version_as_the_workshop_writes_it_is_read(tmp_path: Path) -> None:
    import json

    from studio.protocol import DatasetRef
    from studio.workshop.versions.build import import_file

    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    turns = [
        ONE[0],
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
    ]
    row = {"messages": [*turns, {"role": "assistant", "content": "Two.", "weight": 1}], "tools": [TOOL]}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n", "utf-8")
    made = import_file(tmp_path / "a.jsonl", tmp_path / "v")
    version = DatasetRef(name="d", version=1, path=str(tmp_path / "v"), content_hash="", format=made.format, rows=1)
    ((_, sample),) = conversations(version)
    assert sample.tools == [TOOL]
    assert sample.messages[1]["tool_calls"][0]["function"] == {"name": "add", "arguments": {"a": 1}}
    assert sample.messages[2] == {"role": "tool", "tool_call_id": "c1", "content": "2"}
    assert sample.messages[3]["weight"] == 1


def _template(tokenizer: Any, name: str) -> Any:
    """The tokenizer with the chat template of another family, as trl ships it."""
    import copy

    import trl

    other = copy.deepcopy(tokenizer)
    other.chat_template = (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text("utf-8")
    return other


THOUGHT = [ONE[0], ONE[1] | {"reasoning_content": "They greet me."}]


@pytest.mark.parametrize("family", ["qwen3", "gptoss", "glm4moe", "lfm2_2_5"])
def test_reasoning_reaches_the_templates_that_read_it_and_is_learned(tokenizer: Any, family: str) -> None:
    renderer = Renderer(_template(tokenizer, family))
    said = "".join(trained(renderer, THOUGHT))
    assert "They greet me." in said and said.index("They greet me.") < said.index("Hello!")
    assert not renderer.render(1, Sample(THOUGHT)).reasoning_unread


def test_reasoning_that_the_template_does_not_read_is_told_by_row(tokenizer: Any) -> None:
    findings = Findings()
    rows = enumerate(map(Sample, [ONE, THOUGHT]), 1)
    first, second = render_rows(rows, Renderer(tokenizer), max_length=None, findings=findings)
    assert first.input_ids == second.input_ids
    assert findings.rows == {"data.reasoning_unread": [2]}


@pytest.mark.parametrize(("family", "keeps_earlier"), [("qwen3", True), ("glm4moe", False)])
def test_all_answers_are_learned_where_trl_knows_the_family(tokenizer: Any, family: str, keeps_earlier: bool) -> None:
    """Its own template leaves the reasoning out of earlier turns, so the last answer alone could be marked by it.

    trl's variant for training marks them all; whether it keeps earlier reasoning differs by family.
    """
    renderer, messages = (
        Renderer(_template(tokenizer, family)),
        [*THOUGHT, TWO[2], TWO[3] | {"reasoning_content": "Hm."}],
    )
    assert not renderer.render(1, Sample(messages)).last_answer_only
    first, last = trained(renderer, messages)
    assert ("They greet me." in first, "Hello!" in first) == (keeps_earlier, True)
    assert last.index("Hm.") < last.index("Fine.")
    assert not any(asked in first + last for asked in ("Hi", "And you?"))
    first, last = trained(renderer, weighted(messages, 0, 1)), trained(renderer, weighted(messages, 1, 0))
    assert ["Fine." in "".join(said) for said in (first, last)] == [True, False]
