"""Rows as tokens and labels: the same as trl's own, for one answer and for many, and nothing left out in silence."""

from pathlib import Path
from typing import Any

import pytest

from tests.trainers.jobs import write_dataset
from trainers.data import IGNORED, Findings, Renderer, conversations, held_out, render_rows, segments, write_tokens

ONE = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]
TWO = [*ONE, {"role": "user", "content": "And you?"}, {"role": "assistant", "content": "Fine."}]
# Earlier answers lose their second half once another turn follows, as reasoning does in some families.
FORGETFUL = (
    "{% for m in messages %}{{ m.role }}:"
    "{{ m.content if loop.last or m.role == 'user' else m.content[:2] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def trained(renderer: Renderer, messages: list[dict[str, str]]) -> list[str]:
    return [text for text, is_trained in segments(renderer.render(1, messages), renderer.tokenizer) if is_trained]


def test_only_answers_are_trained(tokenizer: Any) -> None:
    renderer = Renderer(tokenizer)
    assert trained(renderer, ONE) == ["Hello!<|im_end|>\n"]
    assert trained(renderer, TWO) == ["Hello!<|im_end|>\n", "Fine.<|im_end|>\n"]


def test_segments_are_the_whole_text(tokenizer: Any) -> None:
    rendered = Renderer(tokenizer).render(1, TWO)
    assert "".join(text for text, _ in segments(rendered, tokenizer)) == tokenizer.decode(rendered.input_ids)


def test_a_prompt_ends_where_the_answer_begins(tokenizer: Any) -> None:
    renderer = Renderer(tokenizer)
    prompt, rendered = renderer.prompt(TWO[:3]), renderer.render(1, TWO)
    assert rendered.input_ids[: len(prompt)] == prompt
    assert rendered.labels[len(prompt) - 1] == IGNORED != rendered.labels[len(prompt)]


def test_a_template_that_rewrites_earlier_turns_trains_the_last_answer_only(tokenizer: Any) -> None:
    import copy

    other = copy.deepcopy(tokenizer)
    other.chat_template = FORGETFUL
    renderer = Renderer(other)
    rendered = renderer.render(1, TWO)
    assert rendered.last_answer_only
    assert trained(renderer, TWO) == ["Fine.<|im_end|>"]


def test_a_model_without_template_reads_plain_text(tokenizer: Any) -> None:
    import copy

    other = copy.deepcopy(tokenizer)
    other.chat_template = None
    renderer = Renderer(other)
    rendered = renderer.render(1, ONE)
    assert other.decode(rendered.input_ids) == "Hi\nHello!<|im_end|>"
    assert trained(renderer, ONE) == ["Hello!<|im_end|>"]
    assert renderer.prompt(ONE[:1]) == rendered.input_ids[: len(renderer.prompt(ONE[:1]))]


def test_what_is_left_out_is_named_by_row(tokenizer: Any) -> None:
    long = [{"role": "user", "content": "word " * 50}, {"role": "assistant", "content": "Yes."}]
    wordy = [{"role": "user", "content": "Go"}, {"role": "assistant", "content": "word " * 50}]
    refusing = [{"role": "user"}, {"role": "assistant", "content": "x"}]
    findings = Findings()
    rows = enumerate([ONE, long, ONE[:1], wordy, refusing], 1)
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
    assert list(conversations(chat)) == [(1, ONE), (2, TWO)]
    assert list(conversations(pairs)) == [(1, ONE)]


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
    ours = list(render_rows(enumerate(rows, 1), Renderer(tokenizer), max_length=50, findings=findings))
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
