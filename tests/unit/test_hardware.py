"""The machine is read with and without NVIDIA's library; the doctor has words for all that it finds."""

import os
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from studio import hardware
from studio.hardware import Gpu, Machine, doctor, read_machine
from studio.messages import LANGUAGES, say

GIB = 2**30


class Nvml:
    """NVIDIA's library as far as it is asked."""

    class NVMLError(Exception):
        pass

    def __init__(self, cards, *, is_lost=False):
        self.cards, self.is_lost = cards, is_lost

    def nvmlDeviceGetCount(self):
        if self.is_lost:
            raise self.NVMLError
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index):
        return self.cards[index]

    def nvmlDeviceGetMemoryInfo(self, card):
        return SimpleNamespace(total=card["total"], free=card["free"])

    def nvmlDeviceGetComputeRunningProcesses(self, card):
        if "holders" not in card:
            raise self.NVMLError
        return [SimpleNamespace(pid=pid, usedGpuMemory=held) for pid, held in card["holders"]]

    def nvmlDeviceGetName(self, card):
        return card["name"]

    def nvmlDeviceGetCudaComputeCapability(self, card):
        if card["capability"] is None:
            raise self.NVMLError
        return card["capability"]


def card(name="NVIDIA GeForce RTX 4090", free=20, capability=(8, 9)):
    return {"name": name, "total": 24 * GIB, "free": free * GIB, "capability": capability}


@pytest.fixture
def with_cards(monkeypatch):
    def use(*cards, is_lost=False):
        monkeypatch.setattr(hardware, "_nvml", lambda: Nvml(cards, is_lost=is_lost))

    return use


def test_this_machine_is_read():
    machine = read_machine()
    assert machine.cpu_count >= 1
    assert 0 < machine.ram_free_bytes <= machine.ram_bytes


def test_without_the_library_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(hardware, "_nvml", lambda: None)
    assert read_machine().gpus == () and read_machine().gpu is None


def test_gpus_are_read_and_the_freest_is_used(with_cards):
    with_cards(card(free=3), card(name=b"Tesla T4", free=14, capability=(7, 5)))
    machine = read_machine()
    assert machine.gpus[0] == Gpu(0, "RTX 4090", 24 * GIB, 3 * GIB, (8, 9))
    assert machine.gpu.name == "Tesla T4" and not machine.gpu.has_bf16 and machine.gpus[0].has_bf16


def test_a_card_that_does_not_tell_its_generation_has_no_bf16(with_cards):
    with_cards(card(capability=None))
    assert not read_machine().gpu.has_bf16


def test_a_driver_that_fails_counts_as_no_gpu(with_cards):
    with_cards(card(), is_lost=True)
    assert read_machine().gpus == ()


@pytest.mark.parametrize("cards", [(), (card(), card(capability=(7, 0)))])
def test_the_doctor_has_words_in_both_languages(with_cards, tmp_path, cards):
    with_cards(*cards)
    for fact in doctor(tmp_path / "not" / "made" / "yet"):
        for language in LANGUAGES:
            words = say(f"doctor.{fact.code}", language, **fact.values)
            assert "{" not in words and not words.startswith("doctor.")


def test_a_library_that_is_missing_is_told():
    assert hardware._library("no-such-library").code == "library_missing"


def test_a_machine_compares_by_value():
    assert Machine(2, 4, 3) == Machine(cpu_count=2, ram_bytes=4, ram_free_bytes=3, gpus=())


def test_memory_of_the_studios_own_jobs_comes_back(with_cards):
    words = [sys.executable, "-c", "import time; time.sleep(60)", "trainers.sft"]
    with subprocess.Popen(words) as job:
        try:
            while "trainers.sft" not in psutil.Process(job.pid).cmdline():
                time.sleep(0.01)  # in its first instants a process has no command line
            mine, other, gone = (job.pid, 6 * GIB), (os.getpid(), 9 * GIB), (2**22 + 1, GIB)
            with_cards({**card(free=5), "holders": [mine, other, gone, (job.pid, None)]})
            gpu = read_machine().gpu
        finally:
            job.kill()
    assert gpu.lent_bytes == 6 * GIB and gpu.obtainable_bytes == 11 * GIB
