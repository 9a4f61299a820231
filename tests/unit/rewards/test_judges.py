"""Models that a reward asks: named for certain, refused in words, counted in the memory, kept while asked."""

import json

import pytest

from studio.advisor.complete import complete
from studio.advisor.forecast import memory_of
from studio.db import lineage, models
from studio.db.judges import asked_models, judges
from studio.db.tables import Checkpoint, Job, Model
from studio.errors import RefusedInput, SpecRefused
from studio.memory.asked import MORE_TOKENS, TOGETHER
from studio.rewards.judges import BYTES, Judge, by_name, settled, with_bytes
from studio.rewards.recipe import digest, parse, to_document
from tests.unit.advisor.conftest import facts as fixture_facts
from tests.unit.test_desk_data import Shop

facts = fixture_facts
FINISHED = Judge(
    name="7", title="taste · 40", gives="scores", run=3, is_best=True, state="succeeded", mean=0.5, spread=2.0,
    parameters=1000,
)  # fmt: skip
KNOWN = by_name([FINISHED, Judge(name="starter", title="starter", gives="text", parameters=4000)])


def rule(**entry):
    return parse([entry])


@pytest.mark.parametrize("model", ["7", "run:3", 7])
def test_a_reward_model_is_named_by_checkpoint_with_the_statistics_that_were_kept(model):
    found = settled(rule(name="reward_model", model=str(model)), KNOWN)
    assert found.rules[0].options == {"model": "7", "mean": 0.5, "spread": 2.0}
    assert settled(found, KNOWN) == found and digest(parse(to_document(found))) == digest(found)
    own = settled(rule(name="reward_model", model="7", mean=1.0, spread=3.0), KNOWN)
    assert own.rules[0].options == {"model": "7", "mean": 1.0, "spread": 3.0}


@pytest.mark.parametrize(
    ("name", "model", "changes", "code"),
    [
        ("reward_model", "8", {}, "reward.unknown_reward_model"),
        ("reward_model", "run:4", {}, "reward.unknown_reward_model"),
        ("reward_model", "starter", {}, "reward.no_reward_model"),
        ("judge_model", "7", {}, "reward.no_judge_model"),
        ("judge_model", "nobody", {}, "reward.unknown_judge_model"),
        ("reward_model", "7", {"state": "running"}, "reward.run_not_over"),
        ("reward_model", "7", {"state": "failed"}, "reward.run_failed"),
        ("reward_model", "7", {"mean": None, "spread": None}, "reward.no_scores_kept"),
        ("reward_model", "7", {"spread": 0.0}, "reward.no_scores_kept"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_the_start(facts, name, model, changes, code):
    from msgspec.structs import replace

    known = by_name([replace(FINISHED, **changes), KNOWN["starter"]])
    with pytest.raises(RefusedInput) as refused:
        settled(rule(name=name, model=model), known)
    assert refused.value.code == code and "{" not in refused.value.message("en") + refused.value.message("zh")
    spec = {"model_name_or_path": "m", "dataset": "d", "method": "grpo", "rewards": [{"name": name, "model": model}]}
    with pytest.raises(SpecRefused) as at_start:
        complete(spec, facts(judges=known))
    assert [(fault.field, fault.code) for fault in at_start.value.faults] == [("rewards", code)]


@pytest.mark.parametrize(("gpu", "each"), [(None, 4), (24, 2)])
def test_weights_of_every_model_count_once_in_the_memory(facts, gpu, each):
    rewards = [
        {"name": "reward_model", "model": "run:3"},
        {"name": "judge_model", "model": "starter"},
        {"name": "judge_model", "model": "starter", "criterion": "Is it kind?"},
    ]
    spec = {"model_name_or_path": "m", "dataset": "d", "method": "grpo"}
    known = facts(judges=KNOWN, gpu=gpu)
    values, _ = complete(spec | {"rewards": rewards}, known)
    told = with_bytes(values, KNOWN, on_gpu=gpu is not None)
    assert told[BYTES] == 5000 * each
    found = memory_of(known, values)
    assert found.terms["asked_models"] == 5000 * each and "asked_models_by_weights" in found.notes
    assert all("asked_models" in parts for parts in found.phases.values())
    plain, _ = complete(spec | {"rewards": ["length"]}, known)
    assert "asked_models" not in memory_of(known, plain).terms


def test_the_largest_model_at_work_counts_while_answers_are_judged(facts):
    from msgspec.structs import replace

    known = by_name([replace(FINISHED, token_values=1000), replace(KNOWN["starter"], token_values=400)])
    rewards = [{"name": "reward_model", "model": "run:3"}, {"name": "judge_model", "model": "starter"}]
    spec = {"model_name_or_path": "m", "dataset": "d", "method": "grpo", "rewards": rewards}
    values, _ = complete(spec, facts(judges=known))
    found = memory_of(facts(judges=known), values).phases["judging"]
    tokens = 180 + values["max_completion_length"] + MORE_TOKENS
    assert found["judging"] == TOGETHER * tokens * 1000 * 4 and found["asked_models"] == 5000 * 4
    assert "judging" not in memory_of(facts(judges=KNOWN), values).phases, "nobody knows their sizes"


def test_the_registry_tells_which_models_there_are_and_where_they_lie(tmp_path):
    shop = Shop(tmp_path)
    with shop.writer.begin() as session:
        known = {"architecture": "llama", "size_bytes": 1, "content_hash": "h", "parameters": 500}
        base = models.add_model(session, name="small", source="local", path=str(tmp_path / "small"), facts=known)
        runs = {name: add_run(session, base, method=name) for name in ("reward", "sft")}
        for number, (name, step, loss) in enumerate((("reward", 10, 0.4), ("reward", 20, 0.6), ("sft", 5, None)), 1):
            add_checkpoint(session, tmp_path, number, runs[name], step, loss)
        found = judges(session)
        assert session.get_one(Model, base).name == "small"
        assert {name: each.gives for name, each in found.items() if ":" not in name} == {
            "small": "text", "1": "scores", "2": "scores", "3": "text",
        }  # fmt: skip
        best = found[f"run:{runs['reward']}"]
        assert (best.name, best.mean, best.spread, best.accuracy, best.parameters) == ("1", 0.5, 2.0, 0.75, 500)
        reward = to_document(settled(parse([{"name": "reward_model", "model": f"run:{runs['reward']}"}]), found))
        asked = asked_models(session, {"rewards": reward})
        assert asked["1"].place["digest"] == "d1" and asked["1"].place["adapter_path"] == str(tmp_path / "step-10")
        assert asked_models(session, {"rewards": [{"name": "judge_model", "model": "99"}]}) == {}
        assert asked_models(session, {"rewards": ["length"]}) == {} == asked_models(session, {})
        waiting = add_run(session, base, method="grpo", state="queued", values={"rewards": reward})
        assert lineage.used_checkpoints(session) == {1}, "retention keeps what a run still asks"
        session.get_one(Job, waiting).state = "succeeded"
        session.flush()
        assert lineage.used_checkpoints(session) == set()
    shop.writer.close()


def add_run(session, base, *, state="succeeded", method, values=None):
    from studio.db import jobs
    from studio.db.jobs import NewJob

    new = NewJob(
        kind="train", title=method, method=method, tuning="lora", values=values or {}, model_id=base, needs_device=True
    )
    number = jobs.add_job(session, new)
    session.get_one(Job, number).state = state
    session.flush()
    return number


def add_checkpoint(session, folder, number, run, step, loss):
    path = folder / f"step-{step}"
    path.mkdir()
    (path / "reward.json").write_text(json.dumps({"mean": 0.5, "std": 2.0, "accuracy": 0.75, "edges": []}), "utf-8")
    metrics = {} if loss is None else {"eval_loss": loss}
    made = {"attempt": 1, "epoch": 1.0, "size_bytes": 1, "created_at": "1", "metrics": metrics}
    session.add(Checkpoint(id=number, job_id=run, step=step, path=str(path), digest=f"d{number}", **made))
    session.flush()
