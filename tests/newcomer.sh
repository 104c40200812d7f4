#!/usr/bin/env bash
# The newcomer's day, from an empty folder with the built wheel: `bash tests/newcomer.sh [python]`. The environment has the
# wheel alone; all that it needs is taken from that of the given Python.
set -euo pipefail
python=${1:-python}
project=$(cd "$(dirname "$0")/.." && pwd)
day=$(mktemp -d)
trap 'rm -rf "$day"' EXIT
export OMP_NUM_THREADS=1 WANDB_MODE=offline GRPO_LAB_CACHE="$day/cache"
unset PYTHONPATH

mkdir "$day/project"  # a build writes into its folder
cp -r "$project"/{src,conf,sweeps,curation,hydra_plugins,pyproject.toml,setup.py,README.md,constraints.txt} "$day/project"
"$python" -m pip wheel -q --no-deps -w "$day/wheel" "$day/project"
"$python" -m venv --without-pip "$day/env"
"$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$(echo "$day"/env/lib/python3*/site-packages)/beside.pth"
"$python" -m pip -q --python "$day/env/bin/python" install --no-deps --no-index "$day"/wheel/*.whl
PATH="$day/env/bin:$PATH"
mkdir "$day/empty" && cd "$day/empty"

# Run a command, show it and what it says, and hold it to saying each of the words before the --.
says() {
    local words=()
    while [[ $1 != -- ]]; do words+=("$1") && shift; done
    shift
    echo "+ $*"
    "$@" 2>&1 | tee "$day/said"
    for word in "${words[@]}"; do
        grep -qF -- "$word" "$day/said" || { echo "newcomer.sh: $* does not say: $word" >&2 && exit 1; }
    done
}

# Nothing of the wheel stands before a user's own packages.
python -c 'import importlib.util as i; assert not any(map(i.find_spec, ("src", "conf", "sweeps", "curation")))'
mkdir src && echo 'mine = True' >src/__init__.py
says "grpo-lab doctor" "one run, on two CPU cores" -- bash -c 'grpo-lab; grpo-lab run --help'
says "scale=micro" "GB free here" "is not on this machine, and the hub does not answer" -- env HF_ENDPOINT=http://127.0.0.1:9 grpo-lab doctor

# One's own problems, test suite and reward.
python - <<'END'
import json
import random

draw, problems = random.Random(0), {}
while len(problems) < 60:
    numbers = [draw.randint(1, 9) for _ in range(draw.choice((2, 6)))]
    problems["+".join(map(str, numbers))] = (sum(numbers), 0.9 if len(numbers) == 2 else 0.3)
lines = [
    json.dumps({"problem": f"Work from left to right: {text}", "solution": f"so \\boxed{{{total}}}", "pass_rate": rate})
    for text, (total, rate) in problems.items()
]
open("problems.jsonl", "w").write("\n".join(lines[10:]))
open("test.jsonl", "w").write("\n".join(lines[:10]))
END
cat >my_reward.py <<'END'
def short(batch, config):
    return [float(completion.tokens < 24) for completion in batch.completions]
END
toy=(
    scale.steps=2 scale.completion_budget=48 algorithm.prompts_per_step=2 hardware.device_batch_size=12
    evaluation.validation.problems_per_level=4 evaluation.validation.samples=2
)
chains=("evaluation.suites.chains.pool.count=4" "evaluation.suites.chains_long.pool.count=4")
says "question: problem, answer: solution, its last box" "my_reward.py:short" "wandb sync" "best weights: outputs/custom/" "grpo-lab try" \
    -- grpo-lab run problems=my_data problems.path=problems.jsonl evaluation.suites.mine=test.jsonl \
    reward.terms.short=my_reward.py:short reward.weights.short=0.5 "${toy[@]}"
run=$(echo outputs/custom/*)
[[ -f $run/checkpoints/best/model.safetensors ]]

# A sweep of four, and all of it on one page.
says "4 trials" -- grpo-lab sweep experiment=mix_easy_hard "${toy[@]}" "${chains[@]}" tracking=none \
    lr.peak=1e-4,1e-3 mix.easy_share=0.2,0.8 sweep.sampler=grid sweep.pruner=none sweep.n_jobs=2
says "report: report/index.html" -- grpo-lab report
grep -q "mine" report/index.html

# Afterwards.
says "read: " "embedded/micro" "$run" -- grpo-lab try "$run" "Work from left to right: 21+7" --answer 28
says "% right" "grpo_lab.report" -- grpo-lab evaluate embedded/micro "$run" "${toy[@]}" "${chains[@]}"
says "$run" "embedded/micro" "complete" -- grpo-lab runs --sort accuracy --where status=complete
says "paired by problem" "chains" -- grpo-lab runs compare outputs/sweeps/mix_easy_hard/trials/000{0,1}
says "vllm serve my-model" -- grpo-lab export "$run" my-model
grep -q "with grpo-lab" my-model/README.md
says "read: " -- grpo-lab try my-model "Work from left to right: 3+4"
says "removed " "$run" -- grpo-lab runs remove "$run" --yes
[[ ! -e $run ]]
says "no key scale.stesp" -- bash -c '! python -m grpo_lab.run scale.stesp=3'
echo "newcomer.sh: the day went well in $SECONDS s"
