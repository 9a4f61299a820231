"""Reward models and judges that a reward asks, with real weights: in runs, of another tokenizer, gone or damaged."""

from pathlib import Path
from typing import Any

import pytest

from studio.errors import JobFailed
from studio.graders import declared as graders
from studio.graders import reward_model
from studio.graders.score import Row
from studio.protocol import AskedModel, CheckpointRef, DatasetRef
from studio.rewards import kept
from studio.rewards.recipe import parse
from tests.trainers import test_reward, test_rewarded
from tests.trainers.jobs import TOKENIZER_FILES, events_of, run_here, write_dataset, write_spec
from tests.trainers.test_preference import pair, said
from tests.trainers.test_score import ref
from tests.unit.workshop.making import pair as plain_pair
from tests.unit.workshop.making import version
from trainers import trial
from trainers.checkpoints.manifest import digest_of
from trainers.models.generation import Place
from trainers.models.labelling import Classifiers
from trainers.rewards.asked_models import AskedModels
from trainers.rewards.reward_scores import read_figures
from trainers.trial import ROWS_JUDGED

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

ANSWERS = ["It is 62.", "Who knows?", "", "It is " + "very " * 40 + "long."]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    return write_dataset(tmp_path_factory.mktemp("data") / "pairs", [pair(n) for n in range(16)])


@pytest.fixture(scope="module")
def judged_by(tiny: Path, rows: DatasetRef, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model's checkpoint, on the policy's own base."""
    return test_reward.train(tmp_path_factory.mktemp("reward"), tiny, rows)[1]


@pytest.fixture(scope="module")
def foreign(tiny: Path, rows: DatasetRef, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A reward model of another family: its own words, its own template; base and checkpoint."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("models") / "foreign"
    words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    special = trainers.WordLevelTrainer(special_tokens=["[UNK]", "[END]", "[PAD]", "[ASK]", "[SAY]"])
    words.train_from_iterator([f"What is {n} plus {n}? It is {2 * n}. Who knows?" for n in range(40)], special)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, unk_token="[UNK]", eos_token="[END]", pad_token="[PAD]", model_max_length=256
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '[ASK]' if m.role == 'user' else '[SAY]' }} {{ m.content }}"
        "{% if m.role == 'assistant' %}[END]{% endif %}{% endfor %}{% if add_generation_prompt %}[SAY]{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    config = LlamaConfig.from_pretrained(tiny, vocab_size=len(tokenizer), eos_token_id=1, pad_token_id=2)
    LlamaForCausalLM(config).save_pretrained(folder)
    assert not all((folder / name).read_bytes() == (tiny / name).read_bytes() for name in TOKENIZER_FILES)
    return folder, test_reward.train(tmp_path_factory.mktemp("reward"), folder, rows)[1]


def asked(base: Path, checkpoint: Path | None = None) -> AskedModel:
    place: dict[str, Any] = {"model_path": str(base)}
    if checkpoint is not None:
        place |= {"adapter_path": str(checkpoint), "digest": digest_of(checkpoint)}
    return AskedModel(title="asked", place=place)


def rule_of(checkpoint: Path) -> dict[str, Any]:
    kept = read_figures(checkpoint)
    return {"name": "reward_model", "model": "7", "mean": kept.mean, "spread": kept.std}


@pytest.mark.parametrize("family", ["the policy's own", "another tokenizer and template"])
def test_a_reward_model_scores_what_it_would_alone_in_its_own_words(
    family: str, request: pytest.FixtureRequest, tiny: Path
) -> None:
    base, last = (tiny, request.getfixturevalue("judged_by")) if "own" in family else request.getfixturevalue("foreign")
    rule, prompts = rule_of(last), [said("user", "What is 31 plus 31?")] * 4
    models = AskedModels(parse([rule]), {"7": asked(base, last)}, "cpu")
    found = models.scores(ANSWERS, [Row()] * 4, prompts)["reward_model"]
    alone, options = Classifiers("cpu"), graders.options("reward_model", {k: rule[k] for k in rule if k != "name"})
    for score, answer in zip(found, ANSWERS, strict=True):
        place = Place(**asked(base, last).place)
        raw = float(alone.answer(place, [*prompts[0], *said("assistant", answer or " ")])[0])
        assert score.value == pytest.approx(reward_model.normalised(raw, options).value, abs=2e-3)
    assert found[0].value > found[1].value, "it has learned which is better"
    assert models.scores(ANSWERS, [Row()] * 4, prompts)["reward_model"] == found


def test_what_a_model_said_before_is_not_asked_again(tiny: Path, judged_by: Path) -> None:
    reward, models, known = parse([rule_of(judged_by)]), {"7": asked(tiny, judged_by)}, {}
    prompts, rows = [said("user", "What is 31 plus 31?")] * 4, [Row()] * 4
    first = AskedModels(reward, models, "cpu", kept=known).scores(ANSWERS, rows, prompts)["reward_model"]
    assert len(known) == 4 and sorted(map(repr, known.values())) == sorted(map(repr, first))
    silent = AskedModels(reward, models, "cpu", kept=dict(known))
    silent._load = lambda *given: pytest.fail("nothing new is asked")
    assert silent.scores(ANSWERS, rows, prompts)["reward_model"] == first
    other = AskedModels(parse([rule_of(judged_by) | {"mean": 9.0}]), models, "cpu", kept=dict(known))
    assert other.scores(ANSWERS[:1], rows[:1], prompts[:1])["reward_model"] != first[:1], "another rule asks anew"


def test_what_is_too_long_for_the_model_has_no_score(tiny: Path, judged_by: Path) -> None:
    models = AskedModels(parse([rule_of(judged_by)]), {"7": asked(tiny, judged_by)}, "cpu")
    found = models.scores(["word " * 400, "It is 2."], [Row()] * 2, [said("user", "What?")] * 2)["reward_model"]
    assert (found[0].value, found[0].why) == (None, "beyond_model") and found[1].value is not None


def test_nothing_but_a_whole_reward_model_of_the_studio_is_loaded(tmp_path: Path, tiny: Path, judged_by: Path) -> None:
    reward = parse([rule_of(judged_by)])
    with pytest.raises(JobFailed) as gone:
        AskedModels(reward, {}, "cpu")
    assert gone.value.reason == "reward.model_gone"
    with pytest.raises(JobFailed) as damaged:
        place = asked(tiny, judged_by).place | {"digest": "0" * 64}
        AskedModels(reward, {"7": AskedModel(title="x", place=place)}, "cpu")
    assert damaged.value.reason == "answer_checkpoint_damaged"
    with pytest.raises(JobFailed) as headless:
        AskedModels(reward, {"7": asked(tiny)}, "cpu")
    assert headless.value.reason == "reward.no_head"


@pytest.mark.parametrize(
    "method", ["grpo", *(pytest.param(method, marks=pytest.mark.slow) for method in ("rloo", "ppo"))]
)
def test_a_run_learns_from_a_reward_model_that_stays_as_it_was_and_goes_on_bit_for_bit(
    tmp_path: Path, tiny: Path, judged_by: Path, method: str
) -> None:
    rows = write_dataset(tmp_path / "v", [{"prompt": f"What is {n} plus {n}?", "completion": "4"} for n in range(8)])
    before = digest_of(judged_by)
    chosen = {
        "rewards": {"rewards": [rule_of(judged_by), {"name": "length", "min": 1, "max": 9, "weight": 0.5}]},
        "max_steps": 3,
        "max_completion_length": 8,
    }
    models = {"7": asked(tiny, judged_by)}
    folder = test_rewarded.train(tmp_path / "1", tiny, rows, method, asked_models=models, **chosen)
    told = next(event.data["values"] for event in events_of(folder, "metric") if "reward" in event.data["values"])
    total = told["rewards/reward_model/mean"] + 0.5 * told["rewards/length/mean"]
    assert told["rewards/reward_model/std"] > 0 and told["reward"] == pytest.approx(total, abs=1e-5)
    assert digest_of(judged_by) == before
    last = test_rewarded.last_of(folder)
    found = [CheckpointRef(step=2, path=str(last.with_name("step-2")), digest=digest_of(last.with_name("step-2")))]
    again = {"attempt": 2, "resume_from": found, "asked_models": models}
    resumed = test_rewarded.train(tmp_path / "2", tiny, rows, method, **again, **chosen)
    weights = test_rewarded.WEIGHTS
    assert (test_rewarded.last_of(resumed) / weights).read_bytes() == (last / weights).read_bytes()


def test_two_reward_models_are_scored_and_weighed_apart(tmp_path: Path, tiny: Path, judged_by: Path) -> None:
    """The second has learned the opposite, and counts in a dimension of its own."""
    swapped = [each | {"chosen": each["rejected"], "rejected": each["chosen"]} for each in map(pair, range(16))]
    other = test_reward.train(tmp_path / "other", tiny, write_dataset(tmp_path / "swapped", swapped))[1]
    first = rule_of(judged_by) | {"dimension": "right", "weight": 1.0}
    second = rule_of(other) | {"model": "8", "dimension": "wrong", "weight": 0.5}
    models = {"7": asked(tiny, judged_by), "8": asked(tiny, other)}
    reward = parse({"rewards": [first, second], "dimensions": {"right": 1.0, "wrong": 0.5}})
    prompts, rows = [said("user", "What is 31 plus 31?")] * 4, [Row()] * 4
    found = AskedModels(reward, models, "cpu").scores(ANSWERS, rows, prompts)
    assert list(found) == ["reward_model", "reward_model_2"]
    for rule, key in ((first, "reward_model"), (second, "reward_model_2")):
        alone = AskedModels(parse([rule]), models, "cpu").scores(ANSWERS, rows, prompts)["reward_model"]
        assert found[key] == alone, "each as if it were the only one"
    assert found["reward_model"][0].value > found["reward_model"][1].value
    assert found["reward_model_2"][0].value < found["reward_model_2"][1].value

    asking = write_dataset(tmp_path / "v", [{"prompt": f"What is {n} plus {n}?", "completion": "4"} for n in range(4)])
    chosen = {"rewards": {"rewards": [first, second], "dimensions": {"right": 1.0, "wrong": 0.5}}, "max_steps": 1}
    folder = test_rewarded.train(tmp_path / "1", tiny, asking, "grpo", asked_models=models, **chosen)
    told = next(event.data["values"] for event in events_of(folder, "metric") if "reward" in event.data["values"])
    parts = [told[f"rewards/{key}/mean"] for key in ("reward_model", "reward_model_2")]
    assert parts[0] != parts[1] and told["reward"] == pytest.approx(parts[0] + 0.25 * parts[1], abs=1e-5)


def test_a_judge_that_names_no_mark_gives_no_score_and_that_is_told(tmp_path: Path, tiny: Path) -> None:
    """A model of random weights writes no mark."""
    rows = write_dataset(tmp_path / "v", [{"prompt": f"Say {n}.", "completion": "It is so."} for n in range(4)])
    judge = {"name": "judge_model", "model": "tiny", "most_tokens": 6}
    reward = {"rewards": [judge, {"name": "length", "min": 1, "max": 9}], "missing": "rule"}
    models = {"tiny": asked(tiny)}
    folder = test_rewarded.train(tmp_path / "1", tiny, rows, "grpo", rewards=reward, max_steps=1, asked_models=models)
    told = [event.data["values"] for event in events_of(folder, "alert") if event.data["code"] == "reward_missing"]
    counted = sum(each["count"] for each in told if each["rule"] == "judge_model")
    assert told and told[0]["total"] == 4 and counted >= 1
    shown = events_of(folder, "rollout")[0].data["answers"]
    without = [each for each in shown if each["values"]["judge_model"] is None]
    assert without and all(each["reward"] == each["values"]["length"] for each in without)


def test_a_judge_that_can_read_gives_marks(starter: Path) -> None:
    """The starter model is a poor judge, but it takes up the words of a question."""
    rule = {"name": "judge_model", "model": "starter", "labels": ["number", "alphabet"], "most_tokens": 12}
    asks = rule | {"question": "Name the first letter of the alphabet. {answer}"}
    models = AskedModels(parse([asks]), {"starter": asked(starter)}, "cpu")
    found = models.scores(["Fine."] * 3, [Row()] * 3, [[]] * 3)["judge_model"]
    assert [each.value for each in found] == [1.0] * 3


def test_a_trial_asks_the_models_too_and_in_no_time_of_few_rows(tmp_path: Path, tiny: Path, judged_by: Path) -> None:
    pairs = [plain_pair(f"What is {n} plus {n}?", f"It is {2 * n}.") for n in range(1, 11)]
    rows = version(tmp_path / "v1", pairs)
    for place, seconds, count in (("whole", 60.0, 10), ("short", 0.0, ROWS_JUDGED)):
        values = {
            "reward": {"rewards": [rule_of(judged_by)]},
            "marks": [],
            "asking": {"rows": 10, "samples": 2, "seconds": seconds, "temperature": 1.0, "seed": 42},
            "report": "somewhere",
            "name": "data",
        }
        models = {"7": asked(tiny, judged_by)}
        folder = write_spec(tmp_path / place, kind="trial", values=values, dataset=ref(rows), asked_models=models)
        result = run_here(trial.main, folder)
        assert result.outcome == "succeeded", result
        report = kept.read_trial(tmp_path / place / "output" / "report").report
        codes = [reason.code for reason in report.reasons]
        assert report.rows == count and "elsewhere" not in codes and "not_sampled" in codes
        assert report.rules[0].means["own"] > report.rules[0].means["empty"]
        told = kept.read_asked(tmp_path / place / "output" / "asked")
        assert len(told) >= count and {each.why for each in told.values() if each.value is None} == {"beyond_model"}
        assert report.range == (-1, 1) and report.rules[0].missing == {"beyond_model": count}, "the long one"


@pytest.mark.parametrize("writes", [False, True], ids=["scores", "judges"])
def test_what_an_asked_model_needs_at_work(writes: bool) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    from studio.memory.asked import TOGETHER, values_each
    from trainers.rewards import asked_models
    from trainers.tracing.storages import Storages

    assert TOGETHER == asked_models.TOGETHER
    sizes = {"hidden_size": 128, "intermediate_size": 344, "num_hidden_layers": 4, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2, "vocab_size": 2048}
    kind = AutoModelForCausalLM if writes else AutoModelForSequenceClassification
    model = kind.from_config(AutoConfig.for_model("llama", **sizes, pad_token_id=0, num_labels=1)).eval()
    ids = torch.ones(TOGETHER, 256, dtype=torch.long)
    storages, read = Storages(), torch.ones_like(ids)
    storages.ignore([*model.parameters(), *model.buffers()])
    with torch.inference_mode(), storages:
        if writes:
            model.generate(ids, attention_mask=read, max_new_tokens=4, do_sample=False)
        else:
            model(input_ids=ids, attention_mask=read)
    assert max(storages.moments) == pytest.approx(4 * values_each(sizes) * ids.numel(), rel=0.05)
