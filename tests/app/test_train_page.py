"""The train page's handlers on a real registry: what a person sees from an empty studio to a queued run."""

import json
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from app import train_drawing
from app.forms import to_component
from app.gradio_apps import build_pages, in_a_loop
from app.pages import runs, train
from app.training_form import NAMED, first_form, read_form, table
from studio.db import datasets, jobs, models
from studio.db.tables import DatasetVersion
from studio.graders.score import Row
from studio.hardware import Machine
from studio.messages import LANGUAGES
from studio.params.methods import METHODS
from studio.params.table import check, parameters
from studio.rewards import kept
from studio.rewards.answers_to_try import answers_to_try
from studio.rewards.kept import Trial
from studio.rewards.recipe import parse
from studio.rewards.trial import trial
from tests.app.conftest import Filled

HASH, ROWS_HASH = "a" * 64, "b" * 64
LAYER = {
    "self_attn.q_proj": (576, 576),
    "self_attn.k_proj": (192, 576),
    "self_attn.v_proj": (192, 576),
    "self_attn.o_proj": (576, 576),
    "mlp.gate_proj": (1536, 576),
    "mlp.up_proj": (1536, 576),
    "mlp.down_proj": (576, 1536),
}
MACHINE = Machine(cpu_count=4, ram_bytes=16 << 30, ram_free_bytes=12 << 30)


def inspected() -> dict[str, Any]:
    """What an inspect job finds out about a 135M model and 300 short rows."""
    embedding = ("Embedding", "model.embed_tokens", [49152, 576], 1)
    found = [embedding, *(("Linear", f"model.layers.*.{name}", list(shape), 30) for name, shape in LAYER.items())]
    names = ("kind", "name", "shape", "count")
    modules = [dict(zip(names, each, strict=True)) | {"dtype": "bfloat16"} for each in found]
    lengths = {"p50": 40, "p90": 60, "p95": 64, "p99": 70, "max": 70, "mean": 41.5, "total": 12450}
    return {
        "inventory": {
            "architecture": "LlamaForCausalLM",
            "tied_embeddings": True,
            "has_chat_template": True,
            "max_positions": 8192,
            "num_heads": 9,
            "hidden_size": 576,
            "num_hidden_layers": 30,
            "vocab_size": 49152,
            "intermediate_size": 1536,
            "modules": modules,
        },
        "tokens": {"rows": 300, "lengths": lengths, "answers": lengths, "share_above": {}, "left_out": {}},
        "samples": [[["<user>Who?", False], ["<b>Me.", True]]],
    }


def add_dataset(studio: Filled, name: str = "trivia", *, rows: int = 300) -> None:
    facts = {"format": "prompt_completion", "shape": "prompt_completion", "problems": 0, "excluded": 0}
    with studio.writer.begin() as session:
        number = datasets.reserve(session, name)
        job = jobs.add_job(session, jobs.NewJob(kind="prepare", title=name, values={}, needs_device=False))
        jobs.move(session, job, "cancelled")
        manifest = facts | {"rows": rows, "content_hash": ROWS_HASH}
        datasets.add_version(session, number, number=1, path=f"/data/{name}/v1", job_id=job, manifest=manifest)


def add_model(studio: Filled, name: str = "starter") -> None:
    facts = {"architecture": "LlamaForCausalLM", "size_bytes": 270_000_000, "content_hash": HASH}
    with studio.writer.begin() as session:
        models.add_model(session, name=name, source="local", path=f"/models/{name}", facts=facts)


@pytest.fixture(name="studio")
def fixture_studio(empty: Filled, monkeypatch: pytest.MonkeyPatch) -> Filled:
    """One model, one data set, both looked at; the machine is always the same."""
    monkeypatch.setattr("studio.hardware.read_machine", lambda: MACHINE)
    add_model(empty)
    add_dataset(empty)
    with empty.writer.begin() as session:
        models.keep_inspection(session, HASH, ROWS_HASH, inspected())
    return empty


class Page:
    """A browser without a browser: sends what stands in the fields, and takes over what a handler answers."""

    def __init__(self, studio: Filled, *, language: str = "en", draft: Any = None, **query: object) -> None:
        self.context = studio.context(language)
        self.parts: dict[str, Any] = dict.fromkeys(train_drawing.DRAWN, "") | {"draft": draft, "preset": ""}
        self.fields = {name: to_component(each, each.default) for name, each in table().items()}
        self.visible: dict[str, bool] = {}
        self.reasons: dict[str, str] = {}
        self.choices: dict[str, list[Any]] = {}
        self.query = {name: str(value) for name, value in query.items()}
        self.tick()

    @property
    def given(self) -> list[Any]:
        return [self.parts["shown"], self.parts["draft"], self.parts["preset"], *self.fields.values()]

    def tick(self) -> "Page":
        return self.take(train.refresh(self.context, self.query, *self.given))

    def type(self, **values: Any) -> "Page":
        self.fields |= values
        return self.take(train.change(self.context, *self.given))

    def pick(self, **values: Any) -> "Page":
        self.fields |= values
        return self.take(train.pick(self.context, *self.given))

    def press(self, handler: Any, **data: str) -> "Page":
        return self.take(handler(self.context, SimpleNamespace(_data=data), *self.given))

    def preset(self, name: str) -> "Page":
        self.parts["preset"] = name
        return self.take(train.use_preset(self.context, *self.given))

    def start(self) -> str:
        address, *drawn = train.start(self.context, self.parts["request"], "", *self.given)
        self.take(drawn)
        return address

    def take(self, drawn: list[Any]) -> "Page":
        head, rest = drawn[: len(train_drawing.DRAWN)], drawn[len(train_drawing.DRAWN) :]
        for name, value in zip(train_drawing.DRAWN, head, strict=True):
            self.parts[name] = self._merged(name, self.parts[name], value)
        for place, name in enumerate(table()):
            column, component, reason = rest[3 * place : 3 * place + 3]
            self.visible[name] = self._merged(name, self.visible.get(name), column)
            self.fields[name] = self._merged(name, self.fields[name], component)
            self.reasons[name] = self._merged(name, self.reasons.get(name), reason)
        return self

    def _merged(self, name: str, before: Any, value: Any) -> Any:
        if not isinstance(value, dict) or value.get("__type__") != "update":
            return value
        if "choices" in value:
            self.choices[name] = value["choices"]
        if name == "start" and "interactive" in value:
            return value
        return value.get("value", value.get("visible", before))

    @property
    def plan(self) -> str:
        return unescape(self.parts["plan"])

    @property
    def label(self) -> str:
        return self.parts["start"]["value"]

    @property
    def chosen(self) -> dict[str, Any]:
        return json.loads(self.parts["shown"])["chosen"]


# -- what is missing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_empty_studio_says_what_belongs_here(empty: Filled, language: str) -> None:
    page = Page(empty, language=language)
    assert f'href="/{language}/data"' in page.parts["notice"] and f'href="/{language}/models"' in page.parts["notice"]
    assert page.label == page.context.say("train.missing.dataset") and not page.parts["start"]["interactive"]
    assert page.parts["settings"] is False


def test_two_models_leave_the_choice_open(studio: Filled) -> None:
    add_model(studio, "other")
    page = Page(studio)
    assert page.fields["dataset"] == "trivia" and page.fields["model_name_or_path"] is None
    assert page.label == page.context.say("train.missing.model")
    assert [name for _, name in page.choices["model_name_or_path"]] == ["starter", "other"]


def test_the_address_chooses(studio: Filled) -> None:
    add_model(studio, "other")
    add_dataset(studio, "second")
    page = Page(studio, dataset="second", model="other")
    assert (page.fields["dataset"], page.fields["model_name_or_path"]) == ("second", "other")


def test_an_unknown_name_in_the_address_is_one_sentence(studio: Filled) -> None:
    page = Page(studio, dataset="gone")
    assert "gone" in page.parts["notice"] and "trivia" in page.parts["notice"]
    assert page.label == page.context.say("train.missing.dataset")


# -- looking at model and data ---------------------------------------------------------------------------------------


@pytest.fixture(name="unseen")
def fixture_unseen(empty: Filled, monkeypatch: pytest.MonkeyPatch) -> Filled:
    monkeypatch.setattr("studio.hardware.read_machine", lambda: MACHINE)
    add_model(empty)
    add_dataset(empty)
    return empty


def inspect_jobs(studio: Filled) -> list[Any]:
    with studio.writer.begin() as session:
        return jobs.list_jobs(session, kinds=("inspect",))


def test_a_new_pair_is_looked_at_once_and_then_fills_the_form(unseen: Filled) -> None:
    page = Page(unseen).tick().tick()
    assert len(inspect_jobs(unseen)) == 1
    assert page.label == page.context.say("train.missing.look") and page.context.say("train.looking") in page.plan
    assert page.parts["timer"] == train_drawing.FAST_SECONDS and page.parts["settings"] is False
    with unseen.writer.begin() as session:
        models.keep_inspection(session, HASH, ROWS_HASH, inspected())
    page.tick()
    assert page.label == page.context.say("train.start") and page.parts["settings"] is True
    assert page.fields["max_length"] == 128 and page.chosen == {}
    assert page.parts["timer"] == train.POLL_SECONDS


def test_a_failed_look_says_why_and_waits_for_the_person(unseen: Filled) -> None:
    page = Page(unseen)
    job = inspect_jobs(unseen)[0]
    with unseen.writer.begin() as session:
        for state in ("starting", "running"):
            jobs.move(session, job.id, state)
        values = {"path": "/models/starter", "error": "bad <file>"}
        jobs.move(session, job.id, "failed", reason="job.model_unreadable", values=values)
    page.tick().tick()
    assert len(inspect_jobs(unseen)) == 1, "a failed look is not repeated by itself"
    assert "bad &lt;file&gt;" in page.parts["plan"] and page.label == page.context.say("train.missing.looked")
    page.press(train.press, do="look", code="")
    assert len(inspect_jobs(unseen)) == 2 and page.label == page.context.say("train.missing.look")


# -- the filled form -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_filled_field_says_why(studio: Filled, language: str) -> None:
    page = Page(studio, language=language)
    shown = [name for name, is_shown in page.visible.items() if is_shown and name not in NAMED]
    assert len(shown) > 20
    for name in shown:
        assert 'class="lu-why"' in page.reasons[name], name
    everything = " ".join([*page.reasons.values(), page.parts["plan"], page.parts["notice"]])
    for area in ("reasons.", "memory.", "train.", "advice.", "errors."):
        assert area not in everything, "a key without words"


def test_the_plan_tells_memory_steps_time_and_disk(studio: Filled) -> None:
    page = Page(studio)
    assert 'role="img"' in page.plan and "12.0 GiB" in page.plan
    for name in ("memory", "steps", "time", "disk", "checks"):
        assert page.context.say(f"train.plan.{name}") in page.plan


def test_the_first_rows_show_what_is_learned_as_text(studio: Filled) -> None:
    samples = Page(studio).parts["samples"]
    assert '<span class="lu-untrained">&lt;user&gt;Who?</span><span class="lu-trained">&lt;b&gt;Me.</span>' in samples


def test_a_changed_field_is_marked_and_the_others_follow(studio: Filled) -> None:
    page = Page(studio)
    batch = page.fields["per_device_train_batch_size"]
    page.type(per_device_train_batch_size=2)
    assert page.chosen == {"per_device_train_batch_size": 2}
    assert page.fields["gradient_accumulation_steps"] == batch // 2
    line = page.reasons["per_device_train_batch_size"]
    assert "●" in line and f"{batch} rows" in line
    page.press(train.back, field="per_device_train_batch_size")
    assert page.chosen == {} and page.fields["per_device_train_batch_size"] == batch
    assert page.fields["gradient_accumulation_steps"] == 1


def test_typing_the_recommended_value_is_no_change(studio: Filled) -> None:
    page = Page(studio)
    right = page.fields["learning_rate"]
    assert page.type(learning_rate=0.01).chosen and page.type(learning_rate=right).chosen == {}


def test_two_changes_that_cross_on_their_way_both_stay(studio: Filled) -> None:
    page = Page(studio)
    late = list(page.given)
    page.type(learning_rate=1e-5)
    late[3 + list(table()).index("learning_rate")] = 1e-5
    late[3 + list(table()).index("seed")] = 7
    page.fields["seed"] = 7
    page.take(train.change(page.context, *late))
    assert page.chosen == {"learning_rate": 1e-5, "seed": 7}


def test_an_emptied_field_stays_empty_while_typing_and_refills_when_left(studio: Filled) -> None:
    page = Page(studio)
    right = page.fields["num_train_epochs"]
    page.type(num_train_epochs=None)
    assert page.fields["num_train_epochs"] is None and page.chosen == {}
    page.take(train.leave(page.context, *page.given))
    assert page.fields["num_train_epochs"] == right


def test_an_impossible_value_is_told_beside_its_field_and_stops_the_start(studio: Filled) -> None:
    page = Page(studio).type(learning_rate=-1.0, seed=2.5)
    assert 'role="alert"' in page.reasons["learning_rate"] and 'role="alert"' in page.reasons["seed"]
    assert page.label == page.context.say("train.missing.faults", count=2)
    assert page.fields["learning_rate"] == -1.0, "what was entered stands"
    assert page.start() == "" and not train_jobs(studio)


def test_clashing_values_are_told(studio: Filled) -> None:
    page = Page(studio).pick(packing=True)
    assert 'role="alert"' in page.reasons["packing"] and not page.parts["start"]["interactive"]


def test_full_training_hides_the_add_ons_fields_and_brings_them_back(studio: Filled) -> None:
    page = Page(studio).type(lora_r=16).pick(tuning="full")
    assert not page.visible["lora_r"] and page.parts["start"]["interactive"], page.plan
    page.pick(tuning="lora")
    assert page.visible["lora_r"] and page.chosen == {"lora_r": 16} and page.fields["lora_alpha"] == 32


def test_a_doubtful_value_can_be_mended_with_one_press(studio: Filled) -> None:
    page = Page(studio)
    right = page.fields["learning_rate"]
    page.type(learning_rate=0.5)
    assert 'data-do="mend" data-code="rate_high"' in page.plan
    page.press(train.press, do="mend", code="rate_high")
    assert page.fields["learning_rate"] == right and page.chosen == {}
    assert 'data-do="mend"' not in page.plan


def test_a_preset_takes_over_its_values_and_gives_them_back(studio: Filled) -> None:
    page = Page(studio)
    names = [name for _, name in page.choices["preset"]]
    assert "small-sft" in names and "preference" not in names
    before = dict(page.fields)
    page.preset("small-sft")
    assert page.fields["learning_rate"] == 1e-5 and page.chosen["lora_dropout"] == 0.2
    page.type(seed=7).preset("")
    assert page.chosen == {"seed": 7} and page.fields == before | {"seed": 7}


OTHER_VALUES = {
    "tuning": "full",
    "num_train_epochs": 9.0,
    "learning_rate": 1e-5,
    "max_length": 256,
    "gradient_checkpointing": True,
    "optim": "sgd",
    "lora_target_modules": "q_proj, o_proj",
}
"""Of every kind of field one: radio, number with and without fraction, check box, drop-down, text."""


@pytest.mark.parametrize("name", sorted(OTHER_VALUES))
def test_a_changed_value_of_every_kind_is_marked_and_taken_back(studio: Filled, name: str) -> None:
    page = Page(studio)
    right = page.fields[name]
    assert page.parts["changed"] == "" and f'data-back="{name}"' not in page.reasons[name]
    page.type(**{name: OTHER_VALUES[name]})
    assert f'data-back="{name}"' in page.reasons[name] and list(page.chosen) == [name]
    assert "One value is your own" in page.parts["changed"]
    page.press(train.back, field=name)
    assert page.fields[name] == right and page.chosen == {} and page.parts["changed"] == ""
    assert page.context.say("train.changed") not in page.reasons[name]


def test_a_preset_of_a_way_of_tuning_chooses_it(studio: Filled) -> None:
    page = Page(studio)
    before = page.fields["tuning"]
    page.preset("prefix")
    shown = [page.fields[name] for name in ("tuning", "num_virtual_tokens", "prefix_projection")]
    assert shown == ["prefix_tuning", 10, True] and page.visible["num_virtual_tokens"] and not page.visible["lora_r"]
    page.preset("")
    assert page.fields["tuning"] == before


def test_all_changes_are_taken_back_at_once_and_the_preset_with_them(studio: Filled) -> None:
    page = Page(studio)
    before = dict(page.fields)
    page.preset("small-sft").type(seed=7, run_name="mine")
    assert set(page.chosen) == {"learning_rate", "lora_dropout", "seed"} and "data-back" in page.parts["changed"]
    page.press(train.back, field="*")
    assert page.chosen == {} and page.fields == before | {"run_name": "mine"} and page.parts["preset"] == ""


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_filled_in_value_says_why_and_who_says_so(studio: Filled, language: str) -> None:
    page = Page(studio, language=language)
    for name, reason in page.reasons.items():
        if page.visible[name] and name not in NAMED:
            assert "lu-why" in reason and "lu-source" in reason, name


def test_a_preset_shows_its_ranges_as_ranges_with_their_middle(studio: Filled) -> None:
    page = Page(studio).preset("small-sft")
    shown = unescape(page.parts["preset_values"])
    assert "Epochs: 2 to 3, filled in: 2.5" in shown and "Learning rate: 1e-05" in shown
    assert "a parameter guide" in shown and page.fields["num_train_epochs"] == 2.5
    assert page.preset("").parts["preset_values"] == ""


def test_what_nobody_looked_at_is_looked_at_with_one_press(studio: Filled, tmp_path: Path) -> None:
    folder = tmp_path / "v1"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    with studio.writer.begin() as session:
        session.query(DatasetVersion).update({"path": str(folder)})
    page = Page(studio)
    assert 'data-do="find" data-code="not_looked_at"' in page.plan
    page.press(train.press, do="find", code="not_looked_at")
    with studio.writer.begin() as session:
        (job,) = jobs.list_jobs(session, kinds=("prepare",), states=frozenset({"queued"}))
    assert job.values["operation"] == "look" and page.context.say("preflight.looking") in page.plan


def test_warnings_are_counted_on_the_button_and_kept_with_the_run(studio: Filled) -> None:
    page = Page(studio).type(validation_split=0.0, learning_rate=1e-5)
    assert page.label == page.context.say("train.start_anyway", count=2)
    number = int(page.start().rpartition("=")[2])
    with studio.writer.begin() as session:
        (plan,) = jobs.events(session, number, types=("plan",))
    assert set(plan.data["overridden"]) == {"no_validation", "rate_of_full"}
    assert plan.data["reasons"]["num_train_epochs"]["source"] == "A"
    settings = unescape(runs.draw_detail(page.context, number)[-1])
    assert "2 to 3 suit 300 rows · Source: a parameter guide" in settings, "the run says why"
    assert page.context.say("preflight.why.no_validation") in settings


# -- drafts and earlier runs -----------------------------------------------------------------------------------------


def test_a_draft_survives_a_reload(studio: Filled) -> None:
    page = Page(studio).type(learning_rate=1e-5, run_name="mine").pick(intention="quick")
    again = Page(studio, draft=json.loads(json.dumps(page.parts["draft"])))
    assert again.fields["run_name"] == "mine" and again.fields["learning_rate"] == 1e-5
    assert again.fields["intention"] == "quick" and again.chosen == {"learning_rate": 1e-5}


@pytest.mark.parametrize("draft", [7, [], {"named": None}, {"chosen": {"gone": 1}}, {"named": {"dataset": 3}}, "x"])
def test_a_damaged_draft_is_ignored(studio: Filled, draft: Any) -> None:
    assert Page(studio, draft=draft).label == "Train"


def test_an_earlier_run_is_tried_again_with_its_changes(studio: Filled) -> None:
    page = Page(studio).type(learning_rate=1e-5, run_name="first")
    number = page.start().rpartition("=")[2]
    again = Page(studio, **{"from": number})
    assert again.chosen == {"learning_rate": 1e-5} and again.fields["run_name"] == "first, again"
    assert again.fields["dataset"] == "trivia" and again.parts["start"]["interactive"]


@pytest.mark.parametrize("number", ["999", "abc", "1"])
def test_a_run_that_is_none_changes_nothing(studio: Filled, number: str) -> None:
    assert Page(studio, **{"from": number}).chosen == {}


# -- starting --------------------------------------------------------------------------------------------------------


def train_jobs(studio: Filled) -> list[Any]:
    with studio.writer.begin() as session:
        return jobs.list_jobs(session, kinds=("train",))


def test_train_queues_what_the_form_shows(studio: Filled) -> None:
    page = Page(studio).type(max_steps=20, run_name="first try")
    shown = dict(page.fields)
    address = page.start()
    (job,) = train_jobs(studio)
    assert address == f"/en/runs?run={job.id}" and job.title == "first try"
    assert job.chosen == ["max_steps"] and job.values["max_steps"] == 20
    for name, value in job.values.items():
        if table()[name].type != "names" and name != "run_name":
            assert value == shown[name], name


LEARNED_FROM = {
    "dpo": "preference",
    "orpo": "preference",
    "cpo": "preference",
    "reward": "preference",
    "kto": "unpaired",
    "rloo": "prompt_completion",
    "ppo": "prompt_completion",
}
"""Methods, and a format of rows that each learns from."""
REWARD = {"rewards": [{"name": "label", "labels": ["yes", "no", "maybe"]}]}


def keep_reward(studio: Filled) -> None:
    """One that was tried on the form's rows."""
    rows = [Row(question=f"Mail {n}?", reference=("yes", "no", "maybe")[n % 3], number=n) for n in range(1, 31)]
    report = trial(parse(REWARD), rows, answers_to_try(rows, {row.number: [row.reference] for row in rows}))
    facts = {"dataset": "trivia", "version": 1, "model": "starter", "is_proposed": False, "sampled": 0}
    found = Trial(verdict=report.verdict, report=report, created_at="2026-01-01T00:00:00Z", **facts)
    kept.keep(kept.trial_place(studio.workspace, ROWS_HASH, report.hash), found)


@pytest.mark.parametrize("method", LEARNED_FROM)
def test_every_method_is_started_with_what_the_form_fills_in(studio: Filled, method: str) -> None:
    with studio.writer.begin() as session:
        session.query(DatasetVersion).update({"format": LEARNED_FROM[method]})
    page = Page(studio).pick(method=method)
    if METHODS[method].answers_itself:
        assert page.start() == "" and not train_jobs(studio), "there is no reward yet"
        keep_reward(studio)
        page.tick()
    assert page.parts["start"]["interactive"], page.plan
    shown, visible = dict(page.fields), {name for name, is_shown in page.visible.items() if is_shown}
    address = page.start()
    (job,) = train_jobs(studio)
    assert address == f"/en/runs?run={job.id}" and (job.method, job.values["method"]) == (method, method)
    assert job.chosen == [], "all was filled in"
    asked = {each.name for each in parameters(method) if each.name in visible}
    assert asked - set(NAMED) <= job.values.keys(), "every field of the form"
    named = [name for name in visible & job.values.keys() if table()[name].type not in ("names", "rewards")]
    assert len(named) > 20 and {name: job.values[name] for name in named} == {name: shown[name] for name in named}
    if METHODS[method].answers_itself:
        assert parse(job.values["rewards"]) == parse(REWARD)
    assert check(job.values) == job.values, "complete, and accepted as it stands"


def test_train_pressed_twice_is_one_run_and_another_page_another(studio: Filled) -> None:
    page = Page(studio)
    assert page.start() == page.start() and len(train_jobs(studio)) == 1
    assert Page(studio).start() and len(train_jobs(studio)) == 2
    assert page.type(seed=7).start() and len(train_jobs(studio)) == 3


def test_after_a_start_the_draft_keeps_only_what_it_was_about(studio: Filled) -> None:
    page = Page(studio).type(learning_rate=1e-5)
    page.start()
    assert page.parts["draft"] == {"named": {"dataset": "trivia", "model_name_or_path": "starter"}}


def test_what_the_desk_refuses_is_told_on_the_page(studio: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Page(studio)
    with studio.writer.begin() as session:
        datasets.set_current(session, datasets.reserve(session, "trivia"), 9)  # the version vanished meanwhile
    assert page.start() == "" and not train_jobs(studio)
    assert page.label == page.context.say("train.missing.dataset")


# -- the page itself -------------------------------------------------------------------------------------------------


def test_reading_and_drawing_agree_for_every_field(studio: Filled) -> None:
    page = Page(studio)
    form = read_form(page.parts["shown"], "", page.fields.values())
    assert form.chosen == {} and set(form.named) == set(NAMED)
    assert first_form(page.context, {}, None).named["dataset"] == "trivia"


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_has_a_field_for_every_parameter_and_keeps_no_connection(studio: Filled, language: str) -> None:
    blocks = in_a_loop(build_pages, language, studio.studio)
    ids = {getattr(block, "elem_id", None) for block in blocks.blocks.values()}
    wanted = {"train-model" if name == "model_name_or_path" else f"train-{name}" for name in table()}
    assert wanted | {"train-start", "train-plan", "train-preset"} <= ids
    assert not any(isinstance(block, gr.State) for block in blocks.blocks.values())
    assert not any(function.types_generator for function in blocks.fns.values())
