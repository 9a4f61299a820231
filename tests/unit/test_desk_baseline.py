"""The desk's verbs about the untouched model: what they queue and refuse, and where a run's curve begins."""

from dataclasses import replace

import msgspec
import pytest

from studio.advisor.facts import Facts
from studio.advisor.known import known_of
from studio.db import datasets, jobs, metrics, models
from studio.desk_baseline import PROMPTED_LOSS, begin_curve
from studio.errors import RefusedInput, SpecRefused
from studio.evaluation import baseline
from studio.evaluation.baseline import Ask, Held
from tests.app.test_train_page import MACHINE, inspected
from tests.unit.evaluation.test_baseline import HELD, report, result
from tests.unit.test_desk_data import Shop

SPEC = {"model_name_or_path": "small", "dataset": "support"}


@pytest.fixture
def shop(tmp_path):
    made = Shop(tmp_path)
    made.desk._machine = MACHINE
    with made.writer.begin() as session:
        facts = {"architecture": "llama", "size_bytes": 1, "content_hash": "m" * 64}
        models.add_model(session, name="small", source="local", path=str(tmp_path / "small"), facts=facts)
        content = datasets.dataset(session, "support").content_hash
        models.keep_inspection(session, "m" * 64, content, inspected())
    yield made
    made.writer.close()


def both(shop):
    with shop.writer.begin() as session:
        return models.model(session, "small"), datasets.dataset(session, "support")


def kept(shop, *prompts, **changes):
    base, version = both(shop)
    place = baseline.place(shop.workspace, base.content_hash, version.content_hash, [])
    baseline.keep(place, report(*prompts, **changes), [])


def test_the_validation_rows_of_the_planned_run_are_asked_once(shop):
    first = shop.desk.baseline({**SPEC, "goal": "Greet people politely"})
    job = shop.job(first)
    asked = msgspec.convert(job.values["ask"], Ask)
    assert (job.kind, job.dataset, job.model) == ("baseline", "support", "small")
    assert asked.kinds == ["plain", "system", "examples", "retrieved"] and asked.rows == 50
    assert asked.goal == "Greet people politely" and asked.held.validation_split > 0 and not asked.held.load_in_4bit
    assert shop.desk.baseline({**SPEC, "goal": "Greet people politely"}) == first
    assert shop.desk.baseline(SPEC, system="Be kind.", kinds=["system"]) != first


def test_answers_may_take_a_twentieth_of_the_forecast_time(shop):
    def seconds(**changes):
        return shop.job(shop.desk.baseline(SPEC | changes)).values["ask"]["seconds"]

    short, long = seconds(max_steps=20), seconds(max_steps=2000)
    assert 0 < short < long
    base, version = both(shop)
    _, forecast = shop.desk._planned(SPEC | {"max_steps": 2000}, base, version)
    assert long == pytest.approx(0.05 * forecast)
    assert shop.job(shop.desk.baseline(SPEC, seconds=600)).values["ask"]["seconds"] == 600


def test_a_pasted_text_is_a_way_to_ask(shop):
    asked = shop.job(shop.desk.baseline(SPEC, context="We open at nine.")).values["ask"]
    assert asked["kinds"][-1] == "context" and asked["context"] == "We open at nine."


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"kinds": ["plain", "magic"]}, "baseline.kind"),
        ({"kinds": ["context"]}, "baseline.no_context"),
        ({"system": "x" * 4001}, "baseline.long"),
        ({"rows": 0}, "baseline.number"),
        ({"seconds": "long"}, "baseline.number"),
        ({"rows": True}, "baseline.number"),
    ],
)
def test_what_cannot_be_asked_is_refused(shop, options, code):
    with pytest.raises(RefusedInput) as refused:
        shop.desk.baseline(SPEC, **options)
    assert refused.value.code == code and "{" not in refused.value.message("zh")


def test_a_fault_of_the_spec_is_told_as_before_a_run(shop):
    with pytest.raises(SpecRefused):
        shop.desk.baseline({**SPEC, "learning_rate": "fast"})


def test_a_system_prompt_is_carried_into_a_new_version(shop):
    job = shop.job(shop.desk.carry_system_prompt("support", " Be kind. "))
    assert (job.kind, job.values["operation"], job.values["system"]) == ("prepare", "system_prompt", "Be kind.")
    with pytest.raises(RefusedInput, match="empty"):
        shop.desk.carry_system_prompt("support", " ")


# -- what a run makes of it --------------------------------------------------------------------------------------------


def begun(shop, **changes):
    """Curves of a run that is queued now."""
    base, version = both(shop)
    values = {"validation_split": 0.1, "packing": False, "tuning": "lora", "max_steps": 30, **changes}
    values = {**{name: getattr(HELD, name) for name in ("seed", "max_length", "per_device_eval_batch_size")}, **values}
    with shop.writer.begin() as session:
        run = jobs.add_job(session, jobs.NewJob(kind="train", title="t", values={}, needs_device=True))
        begin_curve(session, shop.workspace, run, base, version, values)
        found = {name: metrics.points(session, run, name) for name in metrics.names(session, run)}
    return {name: list(zip(each.steps.tolist(), each.values.tolist(), strict=True)) for name, each in found.items()}


def test_a_curve_begins_at_the_plain_loss_below_the_best_prompts_line(shop):
    assert begun(shop) == {}
    kept(shop, result(loss=2.5), result("system", loss=1.5))
    assert begun(shop) == {"eval_loss": [(0, 2.5)], PROMPTED_LOSS: [(0, 1.5), (30, 1.5)]}
    kept(shop, result(loss=2.5), result("system", loss=3.5))
    assert begun(shop) == {"eval_loss": [(0, 2.5)]}


@pytest.mark.parametrize(
    "changes",
    [
        {"packing": True},
        {"validation_split": 0},
        {"validation_split": 0.2},
        {"seed": 1},
        {"max_length": 64},
        {"per_device_eval_batch_size": 8},
        {"tuning": "qlora"},
    ],
)
def test_a_run_that_validates_otherwise_begins_without_a_point(shop, changes):
    kept(shop, result(loss=2.5), result("system", loss=1.5))
    assert begun(shop, **changes) == {}


def test_the_preflight_hears_of_it(shop):
    def facts():
        base, version = both(shop)
        with shop.writer.begin() as session:
            known = known_of(session, shop.workspace, base, version)
        return replace(Facts(machine=MACHINE), **{name: known.get(name, None) for name in BASELINE})

    assert facts().baseline_correct is None
    kept(shop, result(right=3, answered=20))
    assert facts().baseline_correct == 0.15 and not facts().baseline_suffices
    kept(shop, result(right=1, answered=19))
    assert facts().baseline_correct is None
    kept(shop, result(right=50, answered=50, low=0.93))
    assert facts().baseline_correct == 1.0 and facts().baseline_suffices


BASELINE = ("baseline_correct", "baseline_suffices")


def test_4_bits_are_another_way_to_be_asked():
    values = {"validation_split": 0.1, "seed": 42, "max_length": 128, "per_device_eval_batch_size": 4}
    assert Held.of(values | {"tuning": "lora"}) == HELD != Held.of(values | {"tuning": "qlora"})
