"""A model as the memory arithmetic sees it: its modules by kind and shape.

It comes from an inspect job's figures, or from a config.json of a known family in closed form (the command line's
`memory --config`, and the tests against measured runs).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from studio.errors import RefusedInput
from studio.memory.layers import Mode, Profile

FOLLOWED = frozenset({"llama", "mistral", "qwen2", "qwen3", "granite", "smollm3", "mixtral"})
"""Families whose layers `studio.memory.decoder` follows line by line."""
SCALES_EMBEDDINGS = frozenset({"granite", "gemma", "gemma2", "gemma3_text", "gemma3"})
"""Families that multiply the embeddings before the first layer."""
LLAMA_LIKE = frozenset({"llama", "mistral", "granite", "qwen2", "qwen3", "mixtral", "gemma", "smollm3", "olmo2"})
"""Families whose decoder layer is attention (q, k, v, o) and a gated MLP."""


@dataclass(frozen=True)
class Module:
    kind: str
    """Linear, Embedding, Norm or other."""
    name: str
    """Dotted name with layer numbers as `*`; a part other than the weight is named after it (`...q_proj.bias`)."""
    shape: tuple[int, ...]
    """As torch has it: (out, in) for a Linear."""
    count: int
    is_quantised: bool | None = None
    """bitsandbytes squeezes it; None where nobody looked."""
    was: tuple[str, ...] = ()
    """Before transformers 5 each expert had linear layers of these names in its place."""

    @property
    def parameters(self) -> int:
        return math.prod(self.shape) * self.count

    @property
    def is_weight(self) -> bool:
        return len(self.shape) >= 2

    @property
    def last_name(self) -> str:
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, kw_only=True)
class Inventory:
    modules: tuple[Module, ...]
    """A head tied to the embedding is not among them: it has no weights of its own."""
    hidden_size: int
    num_hidden_layers: int
    intermediate_size: int
    vocab_size: int
    num_heads: int
    num_experts_per_token: int = 1
    num_experts: int = 1
    balances_experts: bool = False
    """A second loss keeps its experts equally busy, if the trainer asks for it."""
    attention: tuple[str, ...] = ()
    """Attention kernels that the model's code can work with; empty where nobody looked."""
    is_stateful: bool = False
    """It keeps a state in place of keys and values (Mamba), so nothing can stand before them."""
    profiles: tuple[tuple[Mode, Profile], ...] = ()
    """What one layer keeps and needs, traced in these ways of training."""
    adapters: Mapping[tuple[str, ...], int] = field(default_factory=dict, hash=False)
    """Weights that LoRA adds for each rank, by the modules named, where peft itself was asked."""
    family: str = ""
    """The config's `model_type`, where it is known."""
    is_assumed: bool = False
    """transformers does not know the family: it was taken for a Llama-like one."""

    @property
    def has_head(self) -> bool:
        """Whether the head has weights of its own."""
        return any(_is_head(module) for module in self.modules)

    @property
    def has_fused_experts(self) -> bool:
        """Whether the experts of a layer are one weight together, on which peft allows no dropout."""
        return any(len(module.shape) == 3 for module in self.modules)

    @property
    def scales_embeddings(self) -> bool:
        return self.family in SCALES_EMBEDDINGS

    def without_head(self) -> "Inventory":
        """As a reward model has it: the layers, and no scores of the vocabulary."""
        return replace(self, modules=tuple(module for module in self.modules if not _is_head(module)))

    def can_attend_with(self, kernel: str) -> bool:
        return not self.attention or kernel in self.attention

    @property
    def parameters(self) -> int:
        return sum(module.parameters for module in self.modules)

    @property
    def inner_linears(self) -> tuple[Module, ...]:
        """Linear layers of the decoder: what `all-linear` means to peft and what bitsandbytes quantises."""
        return tuple(m for m in self.modules if m.kind == "Linear" and m.is_weight and not _is_head(m))

    @property
    def quantised(self) -> tuple[Module, ...]:
        """What bitsandbytes squeezes: linear layers of the decoder, where nobody looked closer."""
        linear = self.inner_linears
        return tuple(m for m in self.modules if m.is_quantised or (m.is_quantised is None and m in linear))

    def targets(self, names: list[str]) -> tuple[Module, ...]:
        """The linear layers that LoRA sits on, by last name or `all-linear`."""
        if names == ["all-linear"]:
            return self.inner_linears
        wanted = {name.rpartition(".")[2] for name in names}
        return tuple(m for m in self.modules if m.kind == "Linear" and m.is_weight and m.last_name in wanted)

    def adapter_parameters(self, names: list[str], rank: int) -> int:
        """LoRA's A is (rank, in) and B (out, rank) (Hu et al. 2021); experts that are one weight have one each.

        Where peft was asked what it adds, its answer counts.
        peft 0.21 gives experts whose gate and up projection are one weight twice the rank there.
        """
        if tuple(names) in self.adapters:
            return rank * self.adapters[tuple(names)]
        on_linears = sum(rank * sum(module.shape) * module.count for module in self.targets(names))
        experts = [module for module in self.fused_experts if _is_wanted(module, names)]
        routers = [module for module in self.modules if names == ["all-linear"] and self._is_router(module)]
        on_experts = sum(m.shape[0] * sum(m.shape[1:]) * m.count * _fused_projections(m) for m in experts)
        return on_linears + rank * (on_experts + sum(sum(module.shape) * module.count for module in routers))

    @property
    def fused_experts(self) -> tuple[Module, ...]:
        return tuple(m for m in self.modules if len(m.shape) == 3 and ".experts." in m.name)

    def _is_router(self, module: Module) -> bool:
        """peft takes the router of fused experts for a linear layer too."""
        is_gate = module.kind == "other" and module.last_name in ("gate", "router") and len(module.shape) == 2
        return is_gate and bool(self.fused_experts)

    @property
    def key_width(self) -> int:
        """Values of one token's keys in one layer; as many as the hidden size where the names do not tell."""
        return max(self._key_widths, default=self.hidden_size)

    @property
    def shares_keys(self) -> bool:
        """Whether several heads of queries share one of keys."""
        queries = (module.shape[-1] for module in self.modules if module.last_name == "o_proj" and module.is_weight)
        return self.key_width < max(queries, default=self.hidden_size)

    @property
    def tells_key_width(self) -> bool:
        return bool(self._key_widths)

    @property
    def _key_widths(self) -> list[int]:
        own = [module.shape[0] for module in self.modules if module.last_name == "k_proj" and module.is_weight]
        if own:
            return own
        # One weight gives queries, keys and values; what comes out is as wide as the queries.
        joined = [module.shape[0] for module in self.modules if module.last_name == "qkv_proj" and module.is_weight]
        query = next((m.shape[-1] for m in self.modules if m.last_name == "o_proj" and m.is_weight), None)
        return [(width - query) // 2 for width in joined if query]

    @property
    def has_other_towers(self) -> bool:
        """Whether it reads more than text: what its other layers keep depends on pictures or sounds."""
        return any(word in module.name for module in self.modules for word in ("vision", "audio", "visual"))

    @property
    def layer_names(self) -> set[str]:
        """What adapters may be put on by name, experts by the names that they had before transformers 5 too."""
        names = {module.last_name for module in self.modules if module.is_weight}
        return names.union(*(module.was for module in self.modules))

    @property
    def is_followed(self) -> bool:
        """Whether its layers are known without a trace; a family that is not told goes by the names of its modules."""
        return self.is_llama_like and self.family in FOLLOWED | {""}

    @property
    def is_llama_like(self) -> bool:
        """Whether its layers are what the formula knows: attention by q, k, v and o, and a gated MLP."""
        names = {module.last_name for module in self.modules}
        return names >= {"q_proj", "k_proj", "v_proj", "o_proj"} and bool(names & {"gate_proj", "w1", "gate_up_proj"})

    def before_5(self) -> "Inventory":
        """The same model as transformers before 5 laid it out: each expert, and the gate, with linear layers."""
        if not any(module.was for module in self.modules):
            return self
        modules = tuple(old for module in self.modules for old in _before_5(module, self.num_experts))
        return replace(self, modules=modules, adapters={}, profiles=())


def _before_5(module: Module, experts: int) -> list[Module]:
    """(8, 28672, 4096) that was w1 and w3 -> twice (14336, 4096), eight times as often."""
    if module.was:
        _, out, width = module.shape
        place, count = module.name.rpartition(".")[0], module.count * module.shape[0]
        shape = (out // len(module.was), width)
        return [Module("Linear", f"{place}.*.{name}", shape, count, is_quantised=True) for name in module.was]
    is_gate = module.kind == "other" and module.last_name in ("gate", "router") and module.shape[:1] == (experts,)
    return [replace(module, kind="Linear", is_quantised=True) if is_gate and module.is_weight else module]


def from_figures(figures: Mapping[str, Any]) -> Inventory:
    """The inventory in an inspect job's figures (`figures["inventory"]`)."""
    modules = _upright(tuple(_module(each) for each in figures["modules"]))
    if figures["tied_embeddings"]:
        modules = tuple(module for module in modules if not _is_head(module))
    hidden = figures["hidden_size"] or _widest_embedding(modules)
    return Inventory(
        modules=modules,
        hidden_size=hidden,
        num_hidden_layers=figures["num_hidden_layers"] or 1,
        # A family that does not tell (GPT-2) has four times the hidden size.
        intermediate_size=figures.get("expert_size") or figures["intermediate_size"] or 4 * hidden,
        vocab_size=figures["vocab_size"] or 0,
        num_heads=figures.get("num_heads") or 1,
        num_experts=figures.get("num_experts") or 1,
        balances_experts=bool(figures.get("balances_experts")),
        num_experts_per_token=figures.get("num_experts_per_token") or 1,
        attention=tuple(figures.get("attention", ())),
        is_stateful=bool(figures.get("is_stateful")),
        profiles=tuple(
            (Mode.from_document(each["mode"]), Profile.from_document(each["sizes"]))
            for each in figures.get("profiles", ())
        ),
        adapters={
            tuple(each["targets"]): each["weights_per_rank"]
            for each in figures.get("adapters", ())
            if "weights_per_rank" in each
        },
    )


def _module(document: Mapping[str, Any]) -> Module:
    return Module(
        document["kind"],
        document["name"],
        tuple(document["shape"]),
        document["count"],
        is_quantised=document.get("is_quantised"),
        was=tuple(document.get("was", ())),
    )


def _upright(modules: tuple[Module, ...]) -> tuple[Module, ...]:
    """Weights as (outputs, inputs): GPT-2's Conv1D has them the other way round, as the length of its bias tells."""
    outputs = {m.name.removesuffix(".bias"): m.shape[0] for m in modules if m.name.endswith(".bias") and m.shape}

    def is_lying(module: Module) -> bool:
        ends = module.shape if module.kind == "Linear" and len(module.shape) == 2 else (0, 0)
        return ends[0] != ends[1] and outputs.get(module.name) == ends[1]

    return tuple(replace(each, shape=each.shape[::-1]) if is_lying(each) else each for each in modules)


def from_config(config: Mapping[str, Any], *, any_family: bool = False) -> Inventory:
    """The inventory of a Llama-like model from its config.json alone.

    Args:
        any_family: take a family that nobody knows for Llama-like.

    Raises:
        RefusedInput: another family, or a config without the dimensions.
    """
    family = config.get("model_type")
    if family not in LLAMA_LIKE and not any_family:
        raise RefusedInput("memory.unknown_family", family=family, known=", ".join(sorted(LLAMA_LIKE)))
    needed = ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size", "num_attention_heads")
    for name in needed:
        if not isinstance(config.get(name), int) or not 0 < config[name] < 10_000_000:
            raise RefusedInput("memory.odd_dimension", name=name, value=config.get(name))
    return Inventory(
        modules=_llama_modules(config),
        hidden_size=config["hidden_size"],
        num_hidden_layers=config["num_hidden_layers"],
        intermediate_size=config["intermediate_size"],
        vocab_size=config["vocab_size"],
        num_heads=config["num_attention_heads"],
        num_experts=config.get("num_local_experts", 1),
        num_experts_per_token=config.get("num_experts_per_tok", 1),
        family=family or "",
        is_assumed=family not in LLAMA_LIKE,
    )


def _llama_modules(config: Mapping[str, Any]) -> tuple[Module, ...]:
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    inner, vocabulary, heads = config["intermediate_size"], config["vocab_size"], config["num_attention_heads"]
    head = config.get("head_dim") or hidden // heads
    key_value = head * (config.get("num_key_value_heads") or heads)
    experts = config.get("num_local_experts", 1)
    shapes = {
        "self_attn.q_proj": (head * heads, hidden),
        "self_attn.k_proj": (key_value, hidden),
        "self_attn.v_proj": (key_value, hidden),
        "self_attn.o_proj": (hidden, head * heads),
    }
    layer = [Module("Linear", f"model.layers.*.{name}", shape, layers) for name, shape in shapes.items()]
    mlp = {"mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden), "mlp.down_proj": (hidden, inner)}
    layer += [Module("Linear", f"model.layers.*.{name}", shape, layers * experts) for name, shape in mlp.items()]
    if experts > 1:
        layer.append(Module("Linear", "model.layers.*.mlp.router", (experts, hidden), layers))
    biased = {name: (shapes | mlp)[name][:1] for name in _biased(config)}
    layer += [Module("Linear", f"model.layers.*.{name}.bias", shape, layers) for name, shape in biased.items()]
    if config.get("model_type") == "qwen3":
        norms = ("self_attn.q_norm", "self_attn.k_norm")
        layer += [Module("Norm", f"model.layers.*.{name}", (head,), layers) for name in norms]
    norms = ("input_layernorm", "post_attention_layernorm")
    modules = [
        Module("Embedding", "model.embed_tokens", (vocabulary, hidden), 1),
        *layer,
        *(Module("Norm", f"model.layers.*.{name}", (hidden,), layers) for name in norms),
        Module("Norm", "model.norm", (hidden,), 1),
    ]
    if not config.get("tie_word_embeddings", False):
        modules.append(Module("Linear", "lm_head", (vocabulary, hidden), 1))
    return tuple(modules)


def _biased(config: Mapping[str, Any]) -> list[str]:
    """Linear layers that have biases: Qwen2's queries, keys and values always."""
    joined = [f"self_attn.{name}_proj" for name in "qkv"]
    if config.get("attention_bias"):
        joined.append("self_attn.o_proj")
    elif config.get("model_type") != "qwen2":
        joined = []
    return joined + ([f"mlp.{name}_proj" for name in ("gate", "up", "down")] if config.get("mlp_bias") else [])


def _is_head(module: Module) -> bool:
    return module.name in ("lm_head", "embed_out", "output")


def _is_wanted(experts: Module, names: list[str]) -> bool:
    parts = {"gate_proj", "up_proj"} if experts.last_name == "gate_up_proj" else {experts.last_name}
    return names == ["all-linear"] or bool(parts & {name.rpartition(".")[2] for name in names})


def _fused_projections(experts: Module) -> int:
    return 2 if experts.last_name == "gate_up_proj" else 1


def _widest_embedding(modules: tuple[Module, ...]) -> int:
    return max((m.shape[-1] for m in modules if m.kind == "Embedding"), default=1)
