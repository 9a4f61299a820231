"""The parameter table as form fields: every row of it becomes one, and values come back as they went in."""

import gradio as gr
import pytest

from app import forms
from app.context import Context
from app.forms import Line, from_component, to_component
from app.gradio_apps import in_a_loop
from studio.errors import Fault
from studio.messages import LANGUAGES
from studio.params.table import Parameter, every_parameter

TABLE = every_parameter()


@pytest.fixture(name="context", params=LANGUAGES)
def fixture_context(request: pytest.FixtureRequest) -> Context:
    return Context(request.param, None, None)


def fields(context: Context) -> dict[str, forms.Field]:
    def build() -> dict[str, forms.Field]:
        with gr.Blocks():
            return {name: forms.make_field(each, context, page="train") for name, each in TABLE.items()}

    return in_a_loop(build)


def test_every_parameter_becomes_a_field_in_the_pages_language(context: Context) -> None:
    for name, field in fields(context).items():
        parameter, component = field.parameter, field.component
        assert component.elem_id == f"train-{name}"
        assert component.label.startswith(parameter.label(context.language))
        assert component.info == parameter.help(context.language)
        empty = None if parameter.default == "" else parameter.default
        assert from_component(parameter, component.value) == empty, name
        if parameter.choices:
            assert component.choices == [(each.label(context.language), each.value) for each in parameter.choices]


@pytest.mark.parametrize("parameter", TABLE.values(), ids=TABLE)
def test_choices_have_a_word_in_each_language(parameter: Parameter) -> None:
    for words in (parameter.labels, parameter.helps, *(choice.labels for choice in parameter.choices)):
        assert set(words) == set(LANGUAGES)


def test_groups_hold_every_parameter_once() -> None:
    grouped = [forms.by_group(level=level) for level in ("basic", "advanced")]
    shown = [each.name for found in grouped for members in found.values() for each in members]
    assert sorted(shown) == sorted(every_parameter()) and len(set(shown)) == len(shown)
    assert all(members for found in grouped for members in found.values())


@pytest.mark.parametrize(
    ("name", "entered", "value"),
    [
        ("lora_target_modules", "q_proj, v_proj ,", ["q_proj", "v_proj"]),
        ("seed", 7.0, 7),
        ("learning_rate", 2e-5, 2e-5),
        ("packing", False, False),
        ("seed", None, None),
        ("run_name", "  ", None),
        ("seed", 2.5, 2.5),  # cannot be one: it stays, and the check says so
    ],
)
def test_values_come_back_typed(name: str, entered: object, value: object) -> None:
    assert from_component(TABLE[name], entered) == value


def test_lists_go_through_text_and_back() -> None:
    parameter = TABLE["lora_target_modules"]
    shown = to_component(parameter, ["q_proj", "v_proj"])
    assert shown == "q_proj, v_proj" and from_component(parameter, shown) == ["q_proj", "v_proj"]


def test_faults_are_found_field_by_field_and_speak_of_the_label(context: Context) -> None:
    found = forms.faults_of(TABLE, {"learning_rate": -1, "seed": 2.5, "lora_r": 8})
    assert set(found) == {"learning_rate", "seed"}
    text = forms.fault_text(found["learning_rate"], TABLE, context.language)
    label = TABLE["learning_rate"].label(context.language)
    assert "learning_rate" not in text and label.split("(")[0].split("\uff08")[0].strip() in text


def test_a_fault_of_an_unknown_field_keeps_its_name() -> None:
    assert "lora_rank" in forms.fault_text(Fault("lora_rank", "spec.unknown"), TABLE, "en")


def test_the_line_says_why_or_what_a_changed_field_goes_back_to(context: Context) -> None:
    parameter = TABLE["learning_rate"]
    plain = forms.reason_html(parameter, Line(reason="a & b"), context, TABLE)
    assert context.say("train.filled_in", reason="a &amp; b") in plain and "data-back" not in plain
    changed = forms.reason_html(parameter, Line(is_changed=True, recommended=2e-4, reason="why"), context, TABLE)
    assert 'data-back="learning_rate"' in changed and "0.0002" in changed and "●" in changed
    faulty = forms.reason_html(parameter, Line(fault=Fault("learning_rate", "spec.missing")), context, TABLE)
    assert 'role="alert"' in faulty
    assert forms.reason_html(parameter, Line(), context, TABLE) == ""


def test_values_are_told_in_words() -> None:
    context = Context("en", None, None)
    told = {
        "tuning": ("full", "The whole model is trained (full)"),
        "packing": (True, "on"),
        "learning_rate": (2e-5, "2e-05"),
        "per_device_train_batch_size": (8, "8 rows"),
        "warmup_ratio": (0.1, "0.1"),
        "lora_target_modules": (["all-linear"], "all-linear"),
        "seed": (None, "–"),
        "max_steps": (-1, "no limit"),
    }
    for name, (value, words) in told.items():
        assert forms.value_text(TABLE[name], value, context) == words


def test_a_unit_that_the_label_does_not_name_is_added() -> None:
    context = Context("en", None, None)
    silent = TABLE["max_length"]
    assert forms.label_text(silent, context) == silent.label("en"), "its label says tokens"
    assert forms.label_text(TABLE["num_train_epochs"], context).count("pochs") == 1


@pytest.mark.parametrize("name", ["method", "tuning"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_long_list_says_of_each_choice_when_to_take_it(name: str, language: str) -> None:
    notes = [forms.note_of(TABLE[name], choice.value, language) for choice in TABLE[name].choices]
    assert len(notes) > forms.MOST_BUTTONS and all(notes) and len(set(notes)) == len(notes)
