"""Which option of conf/hardware a card is, by the name that nvidia-smi gives it. To add a card: its file there, and its name here."""

import re

from src.common.errors import UserError
from src.hardware.gpus import Gpu, slice_size

# Option: what the name holds. The first that is found counts.
CARDS = {
    "rtx3090_ti": "RTX 3090 Ti",
    "rtx3090": "RTX 3090",
    "rtx4080": "RTX 4080",
    "rtx4090": "RTX 4090",
    "rtx5080": "RTX 5080",
    "rtx5090": "RTX 5090",
    "rtx_pro_6000": "RTX PRO 6000",
    "rtx_6000_ada": "RTX 6000 Ada",
    "rtx_a4000": "RTX A4000",
    "rtx_a5000": "RTX A5000",
    "rtx_a6000": "RTX A6000",
    "a100_40": r"A100-(SXM4|PCIE)-40GB",
    "a100": "A100",
    "a10g": "A10G",
    "a10": "A10",
    "a30": "A30",
    "a40": "A40",
    "l40s": "L40S",
    "l40": "L40",
    "l4": "L4",
    "gh200": "GH200",
    "h20": "H20",
    "h100_nvl": "H100 NVL",
    "h100_pcie": "H100 PCIe",
    "h100": "H100",
    "h200": "H200",
    "b200": "B200",
}
WORDS = re.compile(r"(?:(\d+) ?x )?(.+?)(?: (\d+g\.\d+gb))?(?: (\d+) GB)?")
UNKNOWN = "gpu"  # the option of all others
# Built before Ampere: no bfloat16, in which every other computes here.
NO_BF16 = re.compile(r"\b(T4|V100|P100|P40|TITAN|GTX|RTX 20\d\d|Quadro|RTX [4568]000)\b(?! Ada)")


def option_of(name: str) -> str:
    """The `hardware=` of a card, by its name or by the option's own; one of a laptop is another card under the same name.
    Raises UserError for one that has no bfloat16."""
    if NO_BF16.search(name):
        raise UserError(
            f"hardware=auto: {name} has no bfloat16, in which runs on GPUs compute; choose hardware=gpu hardware.bf16=false "
            "model.dtype=float32 rollout=transformers"
        )
    if name in CARDS or "Laptop" in name:
        return name if name in CARDS else UNKNOWN
    return next((option for option, words in CARDS.items() if re.search(rf"\b{words}\b", name)), UNKNOWN)


def described(text: str) -> list[Gpu]:
    """GPUs from words such as `[2 x rtx4090]`, `[NVIDIA GeForce RTX 4070 Ti 12 GB]`, `[a100 3g.40gb]`: options or names of
    cards, with their memory or a MIG profile behind them."""
    found: list[Gpu] = []
    for words in filter(None, (part.strip(" '\"") for part in text.strip("[]").split(","))):
        if parts := WORDS.fullmatch(words):
            number, name, profile, size = (part or "" for part in parts.groups())
            found += [Gpu(name, float(size or slice_size(profile)[1]), profile=profile)] * int(number or 1)
    return found
