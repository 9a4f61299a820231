"""What an assistant thinks is learned where that was asked for, whatever the model's chat template does with it."""

import copy
from pathlib import Path
from typing import Any

import pytest
import trl

from trainers.rows.data import Findings, Renderer, RowLeftOut, Sample, render_rows, segments
from trainers.rows.thinking import divided, without_reasoning

ASKED = {"role": "user", "content": "3 + 4?"}
AGAIN = {"role": "user", "content": "And 5?"}
INLINE = {"role": "assistant", "content": "<think>\nOne more than six.\n</think>\n\n7"}
BARE = {"role": "assistant", "content": "One more than six.\n</think>\n\n7"}
APART = {"role": "assistant", "content": "7", "reasoning_content": "One more than six."}
LATER = {"role": "assistant", "content": "<think>Seven and five.</think>12"}
KINDS = {"inline": INLINE, "without its opening tag": BARE, "a field of its own": APART}
DISTILLED = ("deepseek_r1_distill", "deepseekv3")
TOKENS = ["<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>", "<think>", "</think>"]


def family(tokenizer: Any, name: str) -> Any:
    """The tokenizer with another family's chat template, as trl ships it, and DeepSeek's marks as single tokens."""
    other = copy.deepcopy(tokenizer)
    other.chat_template = (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text("utf-8")
    other.add_tokens(TOKENS, special_tokens=True)
    return other


def learned(renderer: Renderer, *turns: dict[str, Any]) -> list[str]:
    made = renderer.render(1, Sample(list(turns)))
    assert not made.reasoning_unread and not made.last_answer_only
    return [text for text, is_learned in segments(made, renderer.tokenizer) if is_learned]


@pytest.mark.parametrize("name", DISTILLED)
@pytest.mark.parametrize("kind", KINDS)
def test_a_template_that_cuts_thoughts_out_of_answers_has_them_learned(tokenizer: Any, name: str, kind: str) -> None:
    renderer = Renderer(family(tokenizer, name))
    prompt, answer = renderer.prompt([ASKED]), "One more than six.\n</think>\n\n7<｜end▁of▁sentence｜>"
    assert renderer.tokenizer.decode(prompt).endswith("<｜Assistant｜><think>\n")
    assert learned(renderer, ASKED, KINDS[kind]) == [answer]
    assert renderer.render(1, Sample([ASKED, KINDS[kind]])).input_ids[: len(prompt)] == prompt, "as it will be asked"
    later = "Seven and five.\n</think>\n\n12<｜end▁of▁sentence｜>"
    assert learned(renderer, ASKED, KINDS[kind], AGAIN, LATER) == [answer, later]
    assert learned(renderer, ASKED, KINDS[kind], AGAIN, LATER | {"weight": 0}) == [answer]
    begun, said = renderer.answer([ASKED], [KINDS[kind]])
    assert begun == prompt and renderer.tokenizer.decode(said) == answer, "of a pair too"


@pytest.mark.parametrize("name", [*DISTILLED, "qwen2_5", "qwen3", "gptoss"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_stripped_is_gone(tokenizer: Any, name: str, kind: str) -> None:
    renderer = Renderer(family(tokenizer, name), reasoning="strip")
    for turns in ([ASKED, KINDS[kind]], [ASKED, KINDS[kind], AGAIN, LATER]):
        made = renderer.tokenizer.decode(renderer.render(1, Sample(turns)).input_ids)
        assert "six" not in made and "five" not in made and "7" in made
    plain = [ASKED, {"role": "assistant", "content": "7"}]
    assert renderer.render(1, Sample([ASKED, KINDS[kind]])).input_ids == renderer.render(1, Sample(plain)).input_ids, (
        "as if it had never been there"
    )


@pytest.mark.parametrize("name", ["qwen3", "qwen3_8", "gptoss", "muse_glimmer", "lfm2_2_5"])
def test_a_thought_in_the_answer_stands_where_the_template_has_a_place_for_it(tokenizer: Any, name: str) -> None:
    renderer = Renderer(family(tokenizer, name))
    apart = learned(renderer, ASKED, APART)
    assert learned(renderer, ASKED, INLINE) == learned(renderer, ASKED, BARE) == apart
    assert "six." in apart[0] and apart[0].count("</think>") <= 1


def test_a_template_that_shows_answers_as_they_stand_shows_the_thought_as_it_stands(tokenizer: Any) -> None:
    renderer = Renderer(family(tokenizer, "qwen2_5"))
    assert learned(renderer, ASKED, INLINE) == [INLINE["content"] + "<|im_end|>\n"]


@pytest.mark.parametrize(("name", "told"), [("glm4moe", [2]), ("gptoss", [2]), ("gemma4", [2, 3]), ("qwen3", [])])
def test_rows_whose_earlier_thoughts_are_left_out_are_told(tokenizer: Any, name: str, told: list[int]) -> None:
    plain, findings = {"role": "assistant", "content": "12"}, Findings()
    rows = [[ASKED, plain, AGAIN, plain], [ASKED, APART, AGAIN, plain], [ASKED, APART]]
    made = render_rows(
        enumerate(map(Sample, rows), 1), Renderer(family(tokenizer, name)), max_length=None, findings=findings
    )
    assert [row.row for row in made] == [1, 2, 3]
    assert findings.rows == ({"data.reasoning_unread": told} if told else {})


CALLING = (
    "{% for m in messages %}{{ m.role }}:{% if m.content is not defined %}{{ m.tool_calls[0].function.name }}"
    "{% else %}{{ m.content.split('</think>')[-1] }}{% endif %}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}assistant:{% endif %}"
)


def test_a_call_of_a_tool_is_not_lost_for_its_thought(tokenizer: Any) -> None:
    call = {"type": "function", "function": {"name": "add", "arguments": {}}}
    turn = {"role": "assistant", "tool_calls": [call], "reasoning_content": "Add them."}
    other = copy.deepcopy(tokenizer)
    other.chat_template = CALLING
    made = (renderer := Renderer(other)).render(1, Sample([ASKED, turn]))
    assert made.reasoning_unread
    assert [text for text, is_learned in segments(made, other) if is_learned] == ["add<|im_end|>"]
    assert learned(renderer, ASKED, INLINE)[0].startswith("<think>\nOne more")


def test_a_tag_that_an_answer_speaks_of_is_part_of_it() -> None:
    said = "12 is it, not <think>13</think>"
    assert divided({"role": "assistant", "content": said}) == (None, said)
    assert divided({"role": "user", "content": INLINE["content"]}) == (None, INLINE["content"])
    assert divided({"role": "assistant", "content": f"<thinking>Hm.</thinking>\n{said}"}) == ("Hm.", said)
    assert without_reasoning({"role": "assistant", "content": "<think>Hm.</think>"})["weight"] == 0


def test_a_thought_alone_is_no_answer_when_stripped(tokenizer: Any) -> None:
    with pytest.raises(RowLeftOut):
        Renderer(family(tokenizer, "deepseek_r1_distill"), reasoning="strip").render(
            1, Sample([ASKED, {"role": "assistant", "content": "Hm.</think>"}])
        )
