"""What the alarms' rules speak of, measured on a run's curves: `measures(curves, values)`.

A number, or None where the run does not tell it. Shares are of the range of the reward, or of a rule, that lies between
the least and the greatest that it can give.
"""

from collections.abc import Mapping
from typing import Any

from studio.alarms.curves import Curve
from studio.errors import RefusedInput
from studio.rewards.recipe import Recipe, parse

OF_LENGTH = ("length", "length_penalty")
"""Rules that ask for a length: where one stands, a drift towards it is what was asked for."""
LEAST_EVALUATIONS = 3
FLAT_SHARE, FLAT_ERRORS = 0.05, 2.0
"""A reward is flat when it gained less of its range than this, and less than so many standard errors. Ours."""
MARGIN_FLAT = 0.02
"""A margin that gained less than this is flat: it moves the loss by a hundredth. Ours."""
Curves = Mapping[str, Curve]
Known = dict[str, Any]


def measures(curves: Curves, values: Mapping[str, Any]) -> Known:
    """
    Args:
        values: the run's settings.
    """
    recipe = _recipe(values)
    main = curves.get("reward") or curves.get("rewards/margins") or curves.get("loss")
    return {
        "points": len(main) if main else 0,
        "step": int(main.steps[-1]) if main and len(main) else 0,
        "beta": values.get("beta"),
        **_distance(curves, values),
        **_answers(curves, recipe),
        **_reward(curves, recipe),
        **_rules(curves, recipe),
        **_held_out(curves, recipe),
        **_critic(curves),
        **_preference(curves, values),
    }


def _recipe(values: Mapping[str, Any]) -> Recipe | None:
    try:
        return parse(values["rewards"]) if values.get("rewards") else None
    except RefusedInput:
        return None


def _distance(curves: Curves, values: Mapping[str, Any]) -> Known:
    """PPO tells the KL divergence of an answer, GRPO and RLOO that of a token."""
    kl, length = _late(curves, "kl"), _late(curves, "completions/mean_length")
    if kl is None or not length:
        return {"kl_token": None, "kl_answer": None}
    is_of_answer = values.get("method") == "ppo"
    return {"kl_token": kl / length if is_of_answer else kl, "kl_answer": kl if is_of_answer else kl * length}


def _answers(curves: Curves, recipe: Recipe | None) -> Known:
    found: Known = {"asks_for_length": int(any(rule.name in OF_LENGTH for rule in recipe.rules)) if recipe else 0}
    named = {"length": "completions/mean_length", "cut": "completions/clipped_ratio", "alike": "completions/alike"}
    for name, metric in (named | {"entropy": "entropy", "zero": "frac_reward_zero_std"}).items():
        early, late = _early(curves, metric), _late(curves, metric)
        known = early is not None and late is not None
        found |= {
            f"{name}_early": early,
            f"{name}_late": late,
            f"{name}_rise": late - early if known else None,
            f"{name}_ratio": late / early if known and early > 0 else None,
        }
    return found


def _reward(curves: Curves, recipe: Recipe | None) -> Known:
    reward = curves.get("reward")
    found: Known = {"reward_early": _early(curves, "reward"), "reward_late": _late(curves, "reward")}
    gain = reward.gain() if reward else None
    if recipe is None or gain is None or found["reward_late"] is None:
        return found | {"reward_room": None, "reward_gain": None, "reward_flat": None, "reward_best": None}
    low, high = recipe.range
    gained, errors = gain[0] / (high - low), gain[1]
    return found | {
        "reward_best": high,
        "reward_room": (high - found["reward_late"]) / (high - low),
        "reward_gain": gained,
        "reward_flat": int(gained < FLAT_SHARE and errors < FLAT_ERRORS),
    }


def _rules(curves: Curves, recipe: Recipe | None) -> Known:
    """The rule that rose and is nearly full, the one that fell most meanwhile, and how much the fullest gives."""
    empty = {"full_rule": "", "full_share": None, "full_rise": None, "fallen_rule": "", "fallen_by": None}
    empty |= {"fallen_from": None, "fallen_to": None, "scoring": None}
    shares = _shares(curves, recipe) if recipe else {}
    if not shares:
        return empty
    full = max(shares, key=lambda key: (shares[key].late, shares[key].late - shares[key].early))
    found = empty | {"full_rule": full, "full_share": shares[full].late}
    found["full_rise"] = shares[full].late - shares[full].early
    gives = [shares[key].late for key, rule in zip(recipe.keys, recipe.rules, strict=True) if _gives(rule, key, shares)]
    found["scoring"] = max(gives, default=None)
    others = {key: share for key, share in shares.items() if key != full}
    if others:
        fallen = max(others, key=lambda key: others[key].best - others[key].late)
        share = others[fallen]
        found |= {"fallen_rule": fallen, "fallen_by": share.best - share.late}
        found |= {"fallen_from": share.best, "fallen_to": share.late}
    return found


def _gives(rule: Any, key: str, shares: Mapping[str, Curve]) -> bool:
    """Whether a rule gives points rather than taking them off, and the run has told of it."""
    return key in shares and rule.range[1] > 0


def _shares(curves: Curves, recipe: Recipe) -> dict[str, Curve]:
    """Each rule's mean as a share of its range, where its curve is long enough to have an end."""
    found = {}
    for key, rule in zip(recipe.keys, recipe.rules, strict=True):
        told = curves.get(f"rewards/{key}/mean")
        if told and told.window:
            low, high = rule.range
            found[key] = Curve(told.steps, (told.values - low) / (high - low))
    return found


def _held_out(curves: Curves, recipe: Recipe | None) -> Known:
    """How far the held-out reward has fallen from its best, and what the trained one gained since then."""
    found: Known = {"held_out_fall": None, "held_out_best": None, "held_out_last": None, "gain_since": None}
    held, reward = curves.get("eval_reward"), curves.get("reward")
    if recipe is None or held is None or not reward or not reward.window or len(held) < LEAST_EVALUATIONS:
        return found
    width = recipe.range[1] - recipe.range[0]
    best = int(held.values.argmax())
    before = reward.values[reward.steps <= held.steps[best]][-reward.window :]
    if not len(before):
        return found
    found |= {"held_out_best": float(held.values[best]), "held_out_last": float(held.values[-1])}
    found["held_out_fall"] = (found["held_out_best"] - found["held_out_last"]) / width
    found["gain_since"] = (reward.late - float(before.mean())) / width
    return found


def _critic(curves: Curves) -> Known:
    loss = curves.get("value_loss")
    return {"value_swing": loss.swing() if loss else None, "explained": _late(curves, "explained_variance")}


def _preference(curves: Curves, values: Mapping[str, Any]) -> Known:
    """How the margin goes, and how much less likely the better answers are than they were.

    The latter by `rewards/chosen`, which is beta times that: rows of other lengths do not move it.
    """
    margins, now = curves.get("rewards/margins"), _late(curves, "logps/chosen")
    gain, chosen = margins.gain() if margins else None, _late(curves, "rewards/chosen")
    found: Known = {"margin_late": _late(curves, "rewards/margins"), "accuracy": _late(curves, "rewards/accuracies")}
    flat = int(gain[0] < MARGIN_FLAT or gain[1] < FLAT_ERRORS) if gain else None
    found |= {"margin_flat": flat, "chosen_fall": None, "chosen_share": None, "chosen_before": None, "chosen_late": now}
    if chosen is None or now is None or not values.get("beta"):
        return found
    fall = -chosen / values["beta"]
    found |= {"chosen_fall": fall, "chosen_before": now + fall}
    return found | {"chosen_share": fall / -found["chosen_before"] if found["chosen_before"] < 0 else None}


def _early(curves: Curves, name: str) -> float | None:
    return curves[name].early if name in curves else None


def _late(curves: Curves, name: str) -> float | None:
    return curves[name].late if name in curves else None
