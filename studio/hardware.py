"""What this machine has: processors, memory and NVIDIA GPUs. Reads only; needs no torch and no GPU.

`read_machine` is cheap enough to be asked every few seconds.
"""

import contextlib
import importlib.metadata
import os
import platform
import shutil
import sqlite3
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import psutil

from studio import cpu_speed
from studio.paths import workspace

BF16_CAPABILITY = (8, 0)
"""Ampere is the first generation that computes in bfloat16 (CUDA C++ Programming Guide, compute capabilities)."""


@dataclass(frozen=True)
class Gpu:
    index: int
    name: str
    total_bytes: int
    free_bytes: int
    capability: tuple[int, int] | None
    """CUDA compute capability, (8, 9) for example; None where the driver does not tell."""
    lent_bytes: int = 0
    """What the studio's own jobs hold: free again when one that waits starts. Other programs may hold more."""

    @property
    def obtainable_bytes(self) -> int:
        return min(self.total_bytes, self.free_bytes + self.lent_bytes)

    @property
    def has_bf16(self) -> bool:
        return self.capability is not None and self.capability >= BF16_CAPABILITY


@dataclass(frozen=True)
class Machine:
    cpu_count: int
    """Processors that this process may use."""
    ram_bytes: int
    ram_free_bytes: int
    gpus: tuple[Gpu, ...] = ()
    cpu_dtype: str = "float32"
    """The number format in which the processor trains fastest, as far as anybody measured (`studio.cpu_speed`)."""
    has_flash_attention: bool = False
    """Whether the package of flash attention 2 is installed beside a GPU that it works on."""

    @property
    def gpu(self) -> Gpu | None:
        """The GPU that a run gets: the one with the most free memory."""
        return max(self.gpus, key=lambda gpu: gpu.free_bytes, default=None)

    @property
    def devices(self) -> tuple[str, ...]:
        """What jobs lease: each GPU, or the one CPU where there is none."""
        return tuple(f"cuda:{gpu.index}" for gpu in self.gpus) or ("cpu",)

    def only(self, device: str) -> "Machine":
        """The machine as a run that may use nothing but this device finds it."""
        return replace(self, gpus=tuple(gpu for gpu in self.gpus if f"cuda:{gpu.index}" == device))


@dataclass(frozen=True)
class Fact:
    """One line of `doctor`: words are `doctor.<code>` in the locale files."""

    code: str
    is_good: bool
    values: dict[str, object]


def read_machine() -> Machine:
    """The machine as it is now, limits of a container included."""
    memory = psutil.virtual_memory()
    limit, used = _container_memory()
    total = min(memory.total, limit or memory.total)
    free = min(memory.available, total - used) if limit else memory.available
    speed, gpus = cpu_speed.measured(workspace().root), _read_gpus()
    return Machine(
        cpu_count=cpu_count(),
        ram_bytes=total,
        ram_free_bytes=max(0, free),
        gpus=gpus,
        cpu_dtype=speed.dtype if speed else "float32",
        has_flash_attention=any(gpu.has_bf16 for gpu in gpus) and _is_installed("flash_attn"),
    )


def device_name(device: str, machine: Machine | None = None) -> str:
    """What computes behind a leased device: "cpu" -> "cpu", "cuda:0" -> "RTX 4090"."""
    gpus = (machine or read_machine()).gpus if device != "cpu" else ()
    return next((gpu.name for gpu in gpus if f"cuda:{gpu.index}" == device), device)


def doctor(workspace_root: Path, *, measures: bool = False) -> list[Fact]:
    """What works on this machine and what does not, for the command line and the settings page.

    Args:
        measures: find out what nobody measured yet, which takes some seconds.
    """
    machine = read_machine()
    facts = [
        Fact("python", True, {"version": platform.python_version(), "system": platform.system()}),
        Fact("cpu", machine.cpu_count >= 2, {"count": machine.cpu_count}),
        Fact(
            "ram",
            machine.ram_bytes >= 6 << 30,
            {"free": _gib(machine.ram_free_bytes), "total": _gib(machine.ram_bytes)},
        ),
        _disk(workspace_root),
        sqlite_fact(),
        *(_gpu_fact(gpu) for gpu in machine.gpus),
    ]
    if not machine.gpus:
        facts += [Fact("no_gpu", True, {}), *_cpu_speed(workspace_root, measures=measures)]
    return facts + [_library(name) for name in ("torch", "transformers", "trl", "peft", "bitsandbytes")]


def _cpu_speed(root: Path, *, measures: bool) -> list[Fact]:
    speed = cpu_speed.measured(root) or (cpu_speed.measure(root) if measures else None)
    if speed is None:
        return []
    values = {"dtype": speed.dtype, "float32": round(speed.float32), "bfloat16": round(speed.bfloat16)}
    return [Fact("cpu_speed", True, values)]


def sqlite_fact() -> Fact:
    """Which SQLite keeps the registry: the one that Python brings."""
    from studio.db.engine import SAFE_SQLITE, is_sqlite_old

    values = {"version": sqlite3.sqlite_version, "safe": ".".join(map(str, SAFE_SQLITE))}
    return Fact("sqlite_old" if is_sqlite_old() else "sqlite", not is_sqlite_old(), values)


def _disk(root: Path) -> Fact:
    existing = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    return Fact("disk", free >= 10 << 30, {"folder": str(root), "free": _gib(free)})


def _gpu_fact(gpu: Gpu) -> Fact:
    values = {"name": gpu.name, "free": _gib(gpu.free_bytes), "total": _gib(gpu.total_bytes)}
    return Fact("gpu" if gpu.has_bf16 else "gpu_without_bf16", True, values)


def _library(name: str) -> Fact:
    try:
        return Fact("library", True, {"name": name, "version": importlib.metadata.version(name)})
    except importlib.metadata.PackageNotFoundError:
        return Fact("library_missing", False, {"name": name})


def _is_installed(name: str) -> bool:
    try:
        return bool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False


def cpu_count() -> int:
    with contextlib.suppress(AttributeError):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _container_memory() -> tuple[int | None, int]:
    """(limit, used) of the control group, version 2; (None, 0) where none is set."""
    with contextlib.suppress(OSError, ValueError):
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        # File cache counts as used, and is given back when memory is asked for.
        cached = dict(line.split() for line in Path("/sys/fs/cgroup/memory.stat").read_text().splitlines())
        if limit != "max":
            return int(limit), max(0, used - int(cached.get("inactive_file", 0)))
    return None, 0


@cache
def _nvml() -> object | None:
    """NVIDIA's management library, started once; None without driver or GPU."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _read_gpus() -> tuple[Gpu, ...]:
    nvml = _nvml()
    if nvml is None:
        return ()
    try:
        return tuple(_read_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
    except nvml.NVMLError:
        # A driver that was just updated, or a GPU that fell off the bus: the studio goes on without it.
        return ()


def _read_gpu(nvml, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    name = nvml.nvmlDeviceGetName(handle)
    try:
        capability = tuple(nvml.nvmlDeviceGetCudaComputeCapability(handle))
    except nvml.NVMLError:
        capability = None
    plain = (name.decode() if isinstance(name, bytes) else name).removeprefix("NVIDIA ").removeprefix("GeForce ")
    return Gpu(index, plain, memory.total, memory.free, capability, _lent_bytes(nvml, handle))


def _lent_bytes(nvml, handle) -> int:
    """What processes of the studio's jobs hold; 0 where the driver does not tell (in most containers)."""
    try:
        holders = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except nvml.NVMLError:
        return 0
    return sum(each.usedGpuMemory or 0 for each in holders if _is_job(each.pid))


def _is_job(pid: int) -> bool:
    try:
        return any(word.startswith("trainers.") for word in psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f}"
