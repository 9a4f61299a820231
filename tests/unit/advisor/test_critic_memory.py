"""PPO without memory for its critic: what the check `does_not_fit` goes by counts it, among the parts."""

from studio.advisor.complete import complete
from studio.advisor.forecast import forecast

SPEC = {"model_name_or_path": "m", "dataset": "d", "method": "ppo", "rewards": ["length"]}


def test_a_value_model_of_its_own_may_not_fit_where_the_policy_does(facts):
    known = facts("3B", gpu=12)
    values, _ = complete(SPEC, known)
    settings = {name: value for name, value in values.items() if name != "value_model"}
    alone, beside = (forecast(known, settings | more).memory for more in ({}, {"value_model": True}))
    assert (alone.verdict, beside.verdict) == ("fits", "too_large")
    assert 0 < alone.terms["critic"] < 1 << 20 < beside.terms["critic"]
