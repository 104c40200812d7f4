"""Pre-train an embedded model from scratch: `python -m src.micro.pretrain`, on a GPU with `--size large`.

Next-token prediction on generated demonstrations, in two phases: first clean and brief ones under the bare
question, which teach arithmetic quickly, then the full mix of styles and prompts, which leaves reinforcement
learning something to improve. `--instruct FOLDER` goes on from a model made so, on clean demonstrations under every
prompt: what supervised fine-tuning makes of a base model, its arithmetic about as good, its manners better.
"""

import argparse
import math
import platform
import random
import shutil
import sys
import tempfile
import time
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.common.errors import UserError
from src.micro.calibrate import markdown_table, measure
from src.micro.corpus import IGNORED, Phase, Source, batches, make_tokenizer
from src.micro.demonstrations import PROMPTS
from src.micro.sizes import SIZES

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

THREADS = 1  # sums of floats depend on it; with one, two runs are equal on any number of cores
PEAK_LR = 3e-3  # of AdamW: embeddings and one-dimensional parameters
MUON_LR = 1.5e-2  # of Muon: weight matrices; learns the arithmetic in a fraction of the steps that AdamW needs
FINAL_LR_SHARE, WARMUP_STEPS = 0.02, 50
PLAIN_LINE_STEPS = 100  # without a terminal: a plain line every so many steps


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m src.micro.pretrain", description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=SIZES, default="micro", help="of the model and of its task")
    parser.add_argument("--device", help="such as cuda (default: a GPU where there is one, for --size large)")
    parser.add_argument("--output", type=Path, help="folder to write (default: where embedded/... is looked for)")
    parser.add_argument("--instruct", type=Path, metavar="FOLDER", help="make the instruct variant of the model there")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="optimiser steps")
    parser.add_argument(
        "--clean-share", type=float, default=0.4, help="share of the steps on clean demonstrations only"
    )
    parser.add_argument(
        "--other-share", type=float, default=0.0, help="share of demonstrations of the other tasks, copying and comparing"
    )
    parser.add_argument("--prompts", nargs="+", choices=PROMPTS, default=PROMPTS, help="under which it is to answer")
    parser.add_argument("--plain", action="store_true", help="without the styles that check or drift: fewer steps do")
    parser.add_argument("--batch", type=int, help="demonstrations a step")
    parser.add_argument("--lr-scale", type=float, default=1.0, help="factor on both peak learning rates")
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--layers", type=int)
    parser.add_argument("--width", type=int, help="a multiple of 2 x heads")
    parser.add_argument("--heads", type=int, help="of size 32, which vLLM on a CPU needs")
    parser.add_argument("--mlp", type=int, help="width of the feed-forward layers")
    parser.add_argument("--calibration-count", type=int, default=400, help="problems of a level in the final table")
    arguments = parser.parse_args(argv)
    size = SIZES[arguments.size]
    for name in ("output", "steps", "batch", "layers", "width", "heads", "mlp"):
        if getattr(arguments, name) is None:
            setattr(arguments, name, getattr(size, name))
    return arguments


def source_of(arguments: argparse.Namespace) -> Source:
    return Source(SIZES[arguments.size], arguments.other_share, tuple(arguments.prompts), arguments.plain)


def device_of(arguments: argparse.Namespace) -> str:
    """The device to train on: the shipped weights are made on a CPU, where they come out the same each time."""
    import torch

    if arguments.device:
        return arguments.device
    return "cuda" if arguments.size == "large" and torch.cuda.is_available() else "cpu"


def make_model(arguments: argparse.Namespace, tokenizer: "PreTrainedTokenizerFast") -> "Qwen2ForCausalLM":
    """An untrained Qwen2 of the given shape; or the base model that an instruct variant starts from."""
    import torch
    from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

    if arguments.instruct:
        return Qwen2ForCausalLM.from_pretrained(arguments.instruct)
    torch.manual_seed(arguments.seed)
    ends = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=arguments.width,
        intermediate_size=arguments.mlp,
        num_hidden_layers=arguments.layers,
        num_attention_heads=arguments.heads,
        num_key_value_heads=arguments.heads,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        **ends,
    )
    model = Qwen2ForCausalLM(config)
    model.generation_config = GenerationConfig(do_sample=True, temperature=1.0, top_k=0, top_p=1.0, **ends)
    return model


def loss_of(
    model: "Qwen2ForCausalLM", inputs: "torch.Tensor", labels: "torch.Tensor", reference_tokens: int
) -> "torch.Tensor":
    """Next-token loss over the completions' tokens, in nats per token for completions of `reference_tokens` tokens.

    The divisor is fixed: with each batch's own token count, batches of long completions would count less, and long
    styles would be sampled less often than demonstrated. Padding is on the right, where a causal model never looks
    back at it, so no attention mask is needed; only positions with a label go through the output layer.
    """
    from torch.nn.functional import cross_entropy

    hidden = model.model(input_ids=inputs, use_cache=False).last_hidden_state
    targets = labels[:, 1:]
    kept = targets != IGNORED
    total = cross_entropy(model.lm_head(hidden[:, :-1][kept]), targets[kept], reduction="sum")
    return total / (len(inputs) * reference_tokens)


def lr_share(step: int, steps: int) -> float:
    """Share of the peak learning rate: linear warm-up, then a cosine down to FINAL_LR_SHARE."""
    warmup = min(WARMUP_STEPS, steps // 10 + 1)
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    return FINAL_LR_SHARE + (1 - FINAL_LR_SHARE) * 0.5 * (1 + math.cos(math.pi * progress))


def make_optimisers(model: "Qwen2ForCausalLM", lr_scale: float) -> list["torch.optim.Optimizer"]:
    """Muon for the weight matrices, AdamW for the rest."""
    from torch.optim import AdamW, Muon

    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        Muon(matrices, lr=lr_scale * MUON_LR, momentum=0.95, weight_decay=0.05),
        AdamW(others, lr=lr_scale * PEAK_LR, betas=(0.9, 0.98), weight_decay=0.05),
    ]


def train(
    arguments: argparse.Namespace, tokenizer: "PreTrainedTokenizerFast"
) -> tuple["Qwen2ForCausalLM", list[float]]:
    """A trained model and its loss at each step; the same arguments give the same weights on the same machine."""
    import torch
    from rich.progress import Progress

    torch.set_num_threads(arguments.threads)
    size, device = SIZES[arguments.size], device_of(arguments)
    model: Any = make_model(arguments, tokenizer)
    model.to(device)
    optimisers = make_optimisers(model, arguments.lr_scale)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimiser, partial(lr_share, steps=arguments.steps))
        for optimiser in optimisers
    ]
    rng = random.Random(arguments.seed)
    clean_steps = 0 if arguments.instruct else round(arguments.steps * arguments.clean_share)
    then: Phase = "instruct" if arguments.instruct else "mixed"
    demonstrations = batches(tokenizer, arguments.batch, rng, clean_steps, source_of(arguments), then)
    losses: list[float] = []
    with Progress() as progress:
        task = progress.add_task("pre-training", total=arguments.steps)
        for _ in range(arguments.steps):
            inputs, labels = (tensor.to(device) for tensor in next(demonstrations))
            with torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=device.startswith("cuda")):
                loss = loss_of(model, inputs, labels, size.reference_tokens)
            model.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimiser, schedule in zip(optimisers, schedules, strict=True):
                optimiser.step()
                schedule.step()
            losses.append(loss.item())
            progress.update(task, advance=1, description=f"pre-training, loss {losses[-1]:.3f}")
            if not progress.console.is_terminal and len(losses) % PLAIN_LINE_STEPS == 0:
                print(f"step {len(losses)} of {arguments.steps}, loss {losses[-1]:.3f}", flush=True)
    return model, losses


def save(model: "Qwen2ForCausalLM", tokenizer: "PreTrainedTokenizerFast", card: str, output: Path) -> None:
    """Write the model's folder whole or not at all: beside its place first, then renamed into it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        model.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        (staging / "README.md").write_text(card, encoding="utf-8")
        for path in (staging, *staging.iterdir()):  # temporary folders and weights are private by default
            path.chmod(0o755 if path.is_dir() else 0o644)
        replaced = staging.with_suffix(".replaced")
        if output.exists():
            output.rename(replaced)
        staging.rename(output)
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check(arguments: argparse.Namespace) -> None:
    """Refuse sizes that cannot be, and to replace a folder that is not a model's. Raises UserError."""
    for name in ("steps", "batch", "threads", "layers", "width", "heads", "mlp", "calibration_count"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} {getattr(arguments, name)} is below 1: give 1 or more")
    for name in ("clean_share", "other_share"):
        if not 0 <= getattr(arguments, name) <= 1:
            raise UserError(f"--{name.replace('_', '-')} {getattr(arguments, name)} is no share: give 0 to 1")
    if arguments.width % (2 * arguments.heads):
        raise UserError(f"--width {arguments.width} is not a multiple of 2 x --heads {arguments.heads}: change one")
    if arguments.instruct and not (arguments.instruct / "config.json").is_file():
        raise UserError(f"--instruct {arguments.instruct} holds no model (no config.json): name a base model's folder")
    if arguments.output.exists() and not (arguments.output / "config.json").is_file():
        raise UserError(f"--output {arguments.output} exists and is not a model's folder: name a new one")


def card(
    arguments: argparse.Namespace, argv: list[str], parameters: int, seconds: float, cpu_seconds: float, table: str
) -> str:
    """The model card: what made the weights, and how they answer."""
    shape = f"Qwen2, {arguments.layers} layers of width {arguments.width}, {arguments.heads} heads"
    scratch = "Trained from scratch on generated chain arithmetic"
    start = "Trained further from a base model, on clean demonstrations" if arguments.instruct else scratch
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "tokenizers"))
    return f"""# The embedded model

{shape}: {parameters:,} parameters, float32. {start}.

- command: `{" ".join(["python -m src.micro.pretrain", *argv])}`
- seed {arguments.seed}, {arguments.steps} steps of {arguments.batch} demonstrations, threads: {arguments.threads}
- training time: {seconds:.0f} s, {cpu_seconds:.0f} s of processor time
- versions: Python {platform.python_version()}, {versions}

Sampled at temperature 1, {arguments.calibration_count} problems of a level, one sample each:

{table}

format: exactly one `</think>` on a line of its own; drift: completions with some text in another script.
`python -m src.micro.calibrate` measures this table again.
"""


def _tokenizer(arguments: argparse.Namespace) -> "PreTrainedTokenizerFast":
    """A new tokenizer, or that of the base model as it was saved: AutoTokenizer would make a Qwen2Tokenizer of it."""
    from transformers import PreTrainedTokenizerFast

    if arguments.instruct:
        return PreTrainedTokenizerFast.from_pretrained(arguments.instruct)
    return make_tokenizer(arguments.seed, source_of(arguments))


def main(argv: list[str] | None = None) -> None:
    argv = sys.argv[1:] if argv is None else argv
    arguments = parse_arguments(argv)
    check(arguments)
    started = time.monotonic()
    size = SIZES[arguments.size]
    tokenizer = _tokenizer(arguments)
    model, losses = train(arguments, tokenizer)
    seconds, cpu_seconds, last = time.monotonic() - started, time.process_time(), losses[-50:]
    print(f"{model.num_parameters():,} parameters, final loss {sum(last) / len(last):.3f}, {seconds:.0f} s")
    table = markdown_table(measure(model, tokenizer, arguments.prompts, arguments.calibration_count, size=size))
    print(table)
    text = card(arguments, argv, model.num_parameters(), seconds, cpu_seconds, table)
    save(model, tokenizer, text, arguments.output)
    print(f"written to {arguments.output}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
