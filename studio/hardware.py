"""What this machine has, read without torch: processors, memory, disk, and NVIDIA GPUs through their driver.

A machine without NVIDIA's driver has no GPUs here, and that is no fault.
"""

import os
import platform
import shutil
import sqlite3
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

import psutil

from studio.messages import say
from studio.paths import Workspace

_SAFE_SQLITE = (3, 51, 3)
"""Before it several writing connections can corrupt a WAL; the studio has one, so this is advice."""
_BF16_CAPABILITY = (8, 0)
"""Ampere and later compute in bf16 natively."""
_LOW_DISK_BYTES = 5 << 30


@dataclass(frozen=True, kw_only=True)
class Gpu:
    index: int
    name: str
    total_bytes: int
    free_bytes: int
    compute_capability: tuple[int, int]

    @property
    def supports_bf16(self) -> bool:
        return self.compute_capability >= _BF16_CAPABILITY


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A snapshot: free figures move."""

    num_cpus: int
    memory_bytes: int
    available_bytes: int
    gpus: tuple[Gpu, ...] = ()

    @property
    def devices(self) -> tuple[str, ...]:
        """What jobs lease: each GPU, or the one CPU where there is none."""
        return tuple(f"cuda:{gpu.index}" for gpu in self.gpus) or ("cpu",)

    @property
    def budget_bytes(self) -> int:
        """Memory that a run may count on: of the largest GPU, else what is free of the host's."""
        return max((gpu.total_bytes for gpu in self.gpus), default=self.available_bytes)

    @property
    def supports_bf16(self) -> bool:
        """Whether 16-bit training is native here; without a GPU float32 is faster (measured, see trainers.loading)."""
        return bool(self.gpus) and all(gpu.supports_bf16 for gpu in self.gpus)


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report; words: `doctor.<name>.<ok|bad>`."""

    name: str
    ok: bool
    values: dict[str, object] = field(default_factory=dict)

    def message(self, language: str = "en") -> str:
        return say(f"doctor.{self.name}.{'ok' if self.ok else 'bad'}", language, **self.values)


def read_machine() -> Machine:
    """Look at the machine now; takes some milliseconds."""
    memory = psutil.virtual_memory()
    return Machine(
        num_cpus=os.cpu_count() or 1,
        memory_bytes=memory.total,
        available_bytes=memory.available,
        gpus=_read_gpus(),
    )


def doctor(workspace: Workspace) -> list[Finding]:
    """What works on this machine, what does not, and what to do."""
    machine = read_machine()
    return [
        Finding("python", sys.version_info[:2] >= (3, 11), {"version": platform.python_version()}),
        _gpu_finding(machine),
        Finding("memory", machine.memory_bytes >= 8 << 30, {"total": f"{machine.memory_bytes / 2**30:.1f}"}),
        _disk_finding(workspace),
        _libraries_finding(),
        Finding("sqlite", sqlite3.sqlite_version_info >= _SAFE_SQLITE, {"version": sqlite3.sqlite_version}),
        Finding("starter", (workspace.starter_model / "manifest.json").exists(), {}),
    ]


def _read_gpus() -> tuple[Gpu, ...]:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        return tuple(_read_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount()))
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()


def _read_gpu(nvml, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    name = nvml.nvmlDeviceGetName(handle)
    return Gpu(
        index=index,
        name=name.decode() if isinstance(name, bytes) else name,
        total_bytes=memory.total,
        free_bytes=memory.free,
        compute_capability=tuple(nvml.nvmlDeviceGetCudaComputeCapability(handle)),
    )


def _gpu_finding(machine: Machine) -> Finding:
    if not machine.gpus:
        return Finding("gpu", False)
    listed = ", ".join(f"{gpu.name} ({gpu.total_bytes / 2**30:.0f} GiB)" for gpu in machine.gpus)
    return Finding("gpu", True, {"names": listed})


def _disk_finding(workspace: Workspace) -> Finding:
    folder = workspace.root if workspace.root.exists() else workspace.root.parent
    free = shutil.disk_usage(folder).free
    return Finding("disk", free >= _LOW_DISK_BYTES, {"free": f"{free / 2**30:.1f}", "folder": str(workspace.root)})


def _libraries_finding() -> Finding:
    names = ("torch", "transformers", "trl", "peft", "datasets", "bitsandbytes", "gradio")
    found, missing = [], []
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    return Finding("libraries", not missing, {"found": ", ".join(found), "missing": ", ".join(missing)})
