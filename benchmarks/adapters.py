"""What trials that are adapters on one base, in one process, could save at most: their completions sampled together, as PEFT mixes
adapters in a batch, against each trial's by itself. They are trained in turn, each on its own.

    python -m benchmarks.adapters MODEL [--adapters 4] [--rows 48] [--tokens 48] [--rounds 3]

With s seconds to sample a trial's batch alone, S to sample those of all K together, and t to train on one, trials an hour are at
most (s + t) / (S / K + t) times those of one after the other, which is what the memory of one base is enough for. On a CPU these
are seconds of the processor on one thread, so that other work on the machine adds little.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

PROMPT_TOKENS = 50
PASS_ROWS = 12  # in one forward and backward pass


def seconds(do: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    began = clock()
    do()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a folder or a name on the hub")
    for name, default in (("adapters", 4), ("rows", 48), ("tokens", 48), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base = AutoModelForCausalLM.from_pretrained(asked.model, dtype=torch.float32).to(device)
    lora = LoraConfig(r=16, lora_alpha=32, target_modules="all-linear")
    names = [f"trial_{number}" for number in range(asked.adapters)]
    model = get_peft_model(base, lora, adapter_name=names[0])
    for name in names[1:]:
        model.add_adapter(name, lora)
    prompts_BT = torch.randint(10, base.config.vocab_size, (asked.rows, PROMPT_TOKENS), device=device)

    def sample(adapters: list[str]) -> None:
        rows = prompts_BT.repeat(len(adapters), 1)
        mixed = {"adapter_names": [name for name in adapters for _ in range(asked.rows)]} if len(adapters) > 1 else {}
        model.eval()
        with torch.no_grad():
            model.generate(
                input_ids=rows, attention_mask=torch.ones_like(rows), max_new_tokens=asked.tokens, min_new_tokens=asked.tokens,
                do_sample=True, top_k=0, pad_token_id=0, cache_implementation="static", disable_compile=True, **mixed,
            )

    def train() -> None:
        model.train()
        rows_BT = torch.cat([prompts_BT, torch.randint(10, base.config.vocab_size, (asked.rows, asked.tokens), device=device)], dim=1)
        for part in rows_BT.split(PASS_ROWS):
            model(input_ids=part, labels=part).loss.backward()
        model.zero_grad()

    model.set_adapter(names[0])
    parts = {"alone": lambda: sample(names[:1]), "together": lambda: sample(names), "train": train}
    for part in parts.values():
        part()
    rounds = [{name: seconds(part) for name, part in parts.items()} for _ in range(asked.rounds)]
    alone, together, learn = (statistics.median(each[name] for each in rounds) for name in parts)
    count = asked.adapters
    ratios = [(each["alone"] + each["train"]) / (each["together"] / count + each["train"]) for each in rounds]
    print(f"{asked.model} on {device}, {count} trials, each {asked.rows} completions of {asked.tokens} tokens: sampled alone {alone:.2f} s, "
          f"all together {together:.2f} s ({together / count:.2f} each), trained on {learn:.2f} s")
    print(f"trials an hour, at most: {statistics.median(ratios):.2f} times those of one after the other "
          f"({min(ratios):.2f} to {max(ratios):.2f}); if sampling cost nothing, {(alone + learn) / learn:.2f}")


if __name__ == "__main__":
    main()
