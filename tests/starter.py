"""The tests' own starter models, made once and kept from run to run beside the installed libraries.

The whole starter answers and learns; the small one is its tokenizer and its first layers, real weights that say nothing
sensible. What a test shows of saving, stopping, resuming, reporting or the protocol it shows on the small one as well,
in a quarter of the time.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import start
from studio.paths import PROJECT_ROOT, Workspace, workspace

NUM_LAYERS = 2
WEIGHTS, CONFIG, MANIFEST = "model.safetensors", "config.json", "manifest.json"


def whole_starter() -> Workspace:
    """A workspace of starter model and data only: read it, never write to it."""
    place = workspace(start.Checkout(PROJECT_ROOT).test_starter)
    if not start.has_starter(place.root):
        place.root.parent.mkdir(exist_ok=True)
        subprocess.run([sys.executable, "-m", "trainers.starter", str(place.root)], cwd=PROJECT_ROOT, check=True)
    return place


def two_layers() -> Path:
    """The folder of the starter model cut to `NUM_LAYERS` layers."""
    whole = whole_starter()
    small = whole.models / f"starter-{NUM_LAYERS}-layers"
    if not small.exists():
        with tempfile.TemporaryDirectory(dir=whole.models) as folder:
            made = Path(folder) / small.name
            _cut(whole.starter_model, made)
            with suppress(OSError):  # another worker was faster
                os.rename(made, small)
    return small


def put_starter(model: Path, target: Workspace) -> None:
    """`model` as the starter of a workspace, and the starter's data; files are linked rather than copied."""
    for source, place in ((model, target.starter_model), (whole_starter().starter_data, target.starter_data)):
        shutil.copytree(source, place, copy_function=_link_or_copy)


def _cut(whole: Path, small: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    from trainers.checkpoints.manifest import seal

    shutil.copytree(whole, small, ignore=shutil.ignore_patterns(WEIGHTS, CONFIG, MANIFEST))
    dropped = tuple(f"model.layers.{layer}." for layer in range(NUM_LAYERS, _num_layers(whole)))
    with safe_open(whole / WEIGHTS, "pt") as weights:
        kept = {name: weights.get_tensor(name) for name in weights.keys() if not name.startswith(dropped)}  # noqa: SIM118
    save_file(kept, small / WEIGHTS, {"format": "pt"})
    config = json.loads((whole / CONFIG).read_text("utf-8")) | {"num_hidden_layers": NUM_LAYERS}
    (small / CONFIG).write_text(json.dumps(config, indent=2), "utf-8")
    seal(small)


def _num_layers(model: Path) -> int:
    return json.loads((model / CONFIG).read_text("utf-8"))["num_hidden_layers"]


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
