#!/usr/bin/env bash
# The newcomer's day, from an empty folder with the built wheel: `bash tests/newcomer.sh [python]`. The environment has the
# wheel alone; all that it needs is taken from that of the given Python.
set -euo pipefail
python=${1:-python}
project=$(cd "$(dirname "$0")/.." && pwd)
day=$(mktemp -d)
trap 'rm -rf "$day"' EXIT
export OMP_NUM_THREADS=1 WANDB_MODE=offline

"$python" -m pip wheel -q --no-deps --no-build-isolation -w "$day/wheel" "$project"
"$python" -m venv --without-pip "$day/env"
"$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' >"$(echo "$day"/env/lib/python3*/site-packages)/beside.pth"
"$python" -m pip -q --python "$day/env/bin/python" install --no-deps --no-index "$day"/wheel/*.whl
PATH="$day/env/bin:$PATH"
mkdir "$day/empty" && cd "$day/empty"

say() { echo "+ $*"; "$@"; }
fail() { echo "newcomer.sh: $*" >&2; exit 1; }

! python -c 'import src' 2>/dev/null || fail "the wheel has a top-level package src, which a user's own may be called"
toy=(
    scale.steps=2 scale.completion_budget=48 algorithm.prompts_per_step=2 hardware.device_batch_size=12
    evaluation.validation.problems_per_level=4 evaluation.validation.samples=2 evaluation.suites.chains.pool.count=4
    evaluation.suites.chains_long.pool.count=4
)
say grpo-lab
say grpo-lab run +experiment=mix_easy_hard "${toy[@]}" run_dir=run tracking=none
[[ -f run/checkpoints/best/model.safetensors ]] || fail "the run has no best weights"
