"""Parts of a model by the names that a person writes.

is_named("model.layers.3.mlp.up_proj.weight", "mlp")  ->  True
is_named("model.layers.3.mlp.up_proj.weight", "layers.0")  ->  False
"""

from collections.abc import Iterable

ALL = "all"
"""Everything in the layers that are trained."""
ATTENTION = "attention"
"""As a target of LoRA: every linear layer of the attention, whatever the model calls them."""
ATTENTION_PARTS = frozenset({"self_attn", "attn", "attention", "self_attention"})
MLP_PARTS = frozenset({"mlp", "feed_forward", "ffn", "block_sparse_moe"})


def spelled_out(targets: list[str], linear_paths: Iterable[str]) -> list[str]:
    """Targets of LoRA with ATTENTION in its model's own names.

    ["attention"], ["model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj"]  ->  ["q_proj"]
    """
    if ATTENTION not in targets:
        return targets
    own = {path.rpartition(".")[2] for path in linear_paths if ATTENTION_PARTS & set(path.split(".")[:-1])}
    return [*dict.fromkeys([*(name for name in targets if name != ATTENTION), *sorted(own)])] if own else targets


def is_named(path: str, name: str) -> bool:
    """Whether `name` stands in the dotted path of a weight, part by part; ALL names whatever lies in a layer."""
    if name == ALL:
        return layer_of(path) is not None
    parts, wanted = path.split("."), name.split(".")
    return any(parts[at : at + len(wanted)] == wanted for at in range(len(parts) - len(wanted) + 1))


def layer_of(path: str) -> int | None:
    """The number of the layer in which a weight lies."""
    return next((int(part) for part in path.split(".") if part.isdigit()), None)


def is_one_layer(name: str) -> bool:
    """Whether the name says itself in which layer: it then counts below the top layers too."""
    return layer_of(name) is not None


def is_trained(path: str, names: list[str], first_layer: int) -> bool:
    """Whether a weight is among what is named, from `first_layer` on where the name does not say which layer."""
    layer = layer_of(path)
    return any(is_named(path, name) and (layer is None or layer >= first_layer or is_one_layer(name)) for name in names)
