"""The GPUs of this machine, as nvidia-smi lists them. A GPU that is cut into MIG slices is as many devices as it has slices."""

import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

# As in: GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-5d5b...), and below it: MIG 3g.40gb Device 0: (UUID: MIG-c6d4...)
WHOLE = re.compile(r"GPU (?P<index>\d+): (?P<name>.+) \(UUID: (?P<uuid>GPU-[^)]+)\)")
SLICE = re.compile(r"\s+MIG (?P<profile>\S+)\s+Device\s+\d+: \(UUID: (?P<uuid>MIG-[^)]+)\)")
PROFILE = re.compile(r"(\d+)g\.(\d+)gb")  # https://docs.nvidia.com/datacenter/tesla/mig-user-guide: computing and memory
MIB = 2**20 / 1e9


@dataclass(frozen=True, slots=True)
class Gpu:
    """A device that one process can use."""

    name: str  # of the card
    memory_gb: float  # 0 = not known
    handle: str = ""  # as CUDA_VISIBLE_DEVICES takes it
    uuid: str = ""
    profile: str = ""  # of a slice, such as 3g.40gb


def visible_gpus() -> list[str]:
    """The GPUs this process may use, by the names that CUDA_VISIBLE_DEVICES takes."""
    if (named := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name for name in named.split(",") if name and name != "-1"]
    return [gpu.handle for gpu in listed(nvidia_smi("--list-gpus"), "")]


def gpus_here() -> list[Gpu]:
    """The same with their cards and their memory; of names that nvidia-smi does not know, nothing."""
    sizes = nvidia_smi("--query-gpu=uuid,memory.total", "--format=csv,noheader,nounits")
    return named_among(listed(nvidia_smi("--list-gpus"), sizes), visible_gpus())


def nvidia_smi(*arguments: str) -> str:
    """What nvidia-smi says; nothing where there is no driver."""
    try:
        return subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""


def listed(text: str, sizes: str) -> list[Gpu]:
    """The devices in the output of `nvidia-smi --list-gpus`, with the memory that each GPU's UUID has in `sizes` (in MiB)."""
    total = dict(line.split(", ") for line in sizes.splitlines())
    found: list[tuple[Gpu, list[Gpu]]] = []
    for line in text.splitlines():
        if whole := WHOLE.match(line):
            size = total.get(whole["uuid"], "")  # [N/A] where GPU and host share theirs
            memory = float(size) * MIB if size.isdigit() else 0.0
            found.append((Gpu(whole["name"], memory, whole["index"], whole["uuid"]), []))
        elif part := SLICE.match(line):
            card, slices = found[-1]
            slices.append(Gpu(card.name, slice_size(part["profile"])[1], uuid=part["uuid"], profile=part["profile"]))
    devices = [gpu for card, slices in found for gpu in slices or [card]]
    mixed = any(gpu.profile for gpu in devices)  # CUDA takes numbers or UUIDs, not both
    return [replace(gpu, handle=gpu.uuid) for gpu in devices] if mixed else devices


def slice_size(profile: str) -> tuple[int, float]:
    """Computing, in sevenths of the card, and memory in GB of a MIG profile such as 3g.40gb; nothing of none."""
    found = PROFILE.search(profile)
    return (int(found[1]), float(found[2])) if found else (0, 0.0)


def named_among(gpus: Iterable[Gpu], names: Sequence[str]) -> list[Gpu]:
    """Those that CUDA_VISIBLE_DEVICES names, by number or by the beginning of a UUID, in its order."""
    known = list(gpus)
    return [gpu for name in names for gpu in known if gpu.handle == name or (len(name) > 4 and gpu.uuid.startswith(name))]


def sliced(names: Iterable[str]) -> bool:
    """Whether they are MIG slices, of which a process can use one, and which NCCL does not connect."""
    return any(name.startswith("MIG-") for name in names)
