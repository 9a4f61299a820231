"""What a bare config.json says of a model's memory: `python -m trainers.survey <request.json> <answer.json>`.

    {"config": {"model_type": "llama", ...}, "targets": [["all-linear"]], "modes": [{...}]}
        -> {"inventory": {...}, "adapters": [{"targets", "weights_per_rank"}], "profiles": [{"mode", "sizes"}]}
    or  -> {"error": "..."}: transformers knows no such model, or none with these dimensions

No weights and no tokenizer: the model is built on the meta device, as `trainers.inspect` does it. Where `inventory` is
false in the request, only the traces are made. `studio.memory.survey` starts it and keeps its answers.
"""

import gc
import json
import logging
import sys
from pathlib import Path
from typing import Any

WITHOUT = ("bitsandbytes", "scipy", "sklearn")
"""peft and transformers import these where they are installed; nothing here needs them, and they take seconds."""

_log = logging.getLogger(__name__)


def main(request_path: Path, answer_path: Path) -> None:
    request = json.loads(request_path.read_text("utf-8"))
    gc.disable()  # importing makes a million objects that all stay
    sys.modules.update(dict.fromkeys(WITHOUT))
    answer = survey(request)
    answer_path.write_text(json.dumps(answer), "utf-8")


def survey(request: dict[str, Any]) -> dict[str, Any]:
    try:
        config = config_of(request["config"])
        answer = inventory(config, request["targets"]) if request["inventory"] else {}
    except Exception as error:
        # Any family's own code runs here, on any config that a person may have.
        _log.warning("no inventory", exc_info=True)
        return {"error": (str(error).strip().splitlines() or [type(error).__name__])[0][:300]}
    gc.freeze()
    gc.enable()
    return answer | {"profiles": _profiles(config, request["modes"])}


def config_of(document: dict[str, Any]) -> Any:
    """
    Raises:
        ValueError: transformers knows no family of this name.
    """
    from transformers import AutoConfig

    from trainers.models.model_config import cleaned

    family, fields = document.get("model_type"), {k: v for k, v in cleaned(document).items() if k != "model_type"}
    return AutoConfig.for_model(family, **fields)


def inventory(config: Any, targets: list[list[str]]) -> dict[str, Any]:
    from trainers.inspect import adapters_of, build, figures_of_model

    model = build(config)
    figures = figures_of_model(model)
    return {"inventory": figures, "adapters": adapters_of(model, targets)}


def _profiles(config: Any, modes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    from studio.memory.layers import Mode

    profiles = []
    for mode in modes:
        try:
            from trainers.tracing.trace import trace

            profiles.append({"mode": mode, "sizes": trace(config, Mode.from_document(mode)).document()})
        except Exception:
            # Without a trace the calculator falls back on its formula, and says so.
            _log.warning("no trace of %s as %s", type(config).__name__, mode, exc_info=True)
    return profiles


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
