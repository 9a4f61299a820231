"""GGUF files as other programs write them: a small Llama's own weights, and what an attacker would say of them."""

import json
from pathlib import Path
from typing import Any

HEADS = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}
NAMES = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.q_proj.weight": "attn_q.weight",
    "self_attn.k_proj.weight": "attn_k.weight",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
}


def write_gguf(file: Path, model: Path, *, family: str = "llama", tokenizer: bool = True, **said: int) -> Path:
    """Pack a folder of the tiny model; `said` are words about its sizes other than the true ones."""
    import gguf

    config = json.loads((model / "config.json").read_text("utf-8"))
    writer = gguf.GGUFWriter(str(file), family)
    writer.add_name("tiny")
    writer.add_license("apache-2.0")
    sizes = {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        "vocab_size": config["vocab_size"],
    }
    for name, value in (sizes | {name.replace("__", "."): value for name, value in said.items()}).items():
        writer.add_uint32(f"{family}.{name}", value)
    writer.add_float32(f"{family}.attention.layer_norm_rms_epsilon", config["rms_norm_eps"])
    if tokenizer:
        _write_tokenizer(writer, model)
    for name, tensor in _weights(model, config):
        writer.add_tensor(name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _write_tokenizer(writer: Any, model: Path) -> None:
    known = json.loads((model / "tokenizer.json").read_text("utf-8"))
    words = {token["content"]: token["id"] for token in known["added_tokens"]} | known["model"]["vocab"]
    tokens = sorted(words, key=words.__getitem__)
    special = {token["content"] for token in known["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    merges = known["model"]["merges"]
    writer.add_token_merges([each if isinstance(each, str) else " ".join(each) for each in merges])
    writer.add_bos_token_id(words["<|im_start|>"])
    writer.add_eos_token_id(words["<|im_end|>"])
    writer.add_chat_template((model / "chat_template.jinja").read_text("utf-8"))


def _weights(model: Path, config: dict[str, Any]) -> list[tuple[str, Any]]:
    from safetensors.numpy import load_file

    made = []
    for name, tensor in load_file(model / "model.safetensors").items():
        layer, rest = ("", name) if ".layers." not in name else name.split(".layers.")[1].split(".", 1)
        projection = rest.split(".")[-2]
        if projection in HEADS:
            (rows, columns), heads = tensor.shape, config[HEADS[projection]]
            # llama.cpp turns neighbouring numbers where transformers turns the halves.
            tensor = tensor.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
        made.append((f"blk.{layer}.{NAMES[rest]}" if layer else NAMES[rest], tensor.astype("float32").copy()))
    return made
