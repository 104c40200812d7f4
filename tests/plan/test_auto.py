"""`auto`: what is chosen for the cards that there are, by the plan alone, and what the user gave stays as it was."""

import json
import shlex

import pytest
from conftest import configured

from src.common.errors import UserError
from src.config.tree import parse
from src.hardware.cards import CARDS, described, option_of
from src.plan.auto import explicit
from src.plan.plan import make_plan
from src.run import CONF, composed, spelled_out

MODELS = ("qwen2_5_0_5b", "qwen2_5_1_5b", "qwen3_0_6b", "qwen3_1_7b", "smollm2_135m", "smollm2_360m",
          "deepseek_r1_distill_qwen_1_5b")
NAMES = {  # as nvidia-smi writes them
    "NVIDIA GeForce RTX 3090": "rtx3090", "NVIDIA GeForce RTX 3090 Ti": "rtx3090_ti", "NVIDIA GeForce RTX 4080 SUPER": "rtx4080",
    "NVIDIA GeForce RTX 4090": "rtx4090", "NVIDIA GeForce RTX 5080": "rtx5080", "NVIDIA GeForce RTX 5090": "rtx5090",
    "NVIDIA RTX PRO 6000 Blackwell Server Edition": "rtx_pro_6000", "NVIDIA RTX 6000 Ada Generation": "rtx_6000_ada",
    "NVIDIA RTX A4000": "rtx_a4000", "NVIDIA RTX A5000": "rtx_a5000", "NVIDIA RTX A6000": "rtx_a6000", "NVIDIA A10": "a10",
    "NVIDIA A10G": "a10g", "NVIDIA A30": "a30", "NVIDIA A40": "a40", "NVIDIA A100-SXM4-40GB": "a100_40",
    "NVIDIA A100-PCIE-40GB": "a100_40", "NVIDIA A100-SXM4-80GB": "a100", "NVIDIA A100 80GB PCIe": "a100", "NVIDIA L4": "l4",
    "NVIDIA L40": "l40", "NVIDIA L40S": "l40s", "NVIDIA H20": "h20", "NVIDIA H100 80GB HBM3": "h100",
    "NVIDIA H100 PCIe": "h100_pcie", "NVIDIA H100 NVL": "h100_nvl", "NVIDIA H200": "h200", "NVIDIA GH200 480GB": "gh200",
    "NVIDIA B200": "b200", "NVIDIA GeForce RTX 4090 Laptop GPU": "gpu", "NVIDIA RTX 4000 Ada Generation": "gpu",
}
MACHINES = ("[]", "[rtx4090]", "[4 x a40]", "[2 x l40s]", "[8 x h100]")
EXPERIMENTS = ("high_quality_data", "mix_easy_hard", "cosine_length")


def on(seen, *arguments):
    """What `scale=auto` comes to on a machine with these GPUs, and the configuration that it makes."""
    spelled, said = explicit(["scale=auto", f"hardware.seen={seen}", *arguments], composed)
    return spelled, said, parse(composed(spelled))


def test_every_card_is_known_by_its_name_and_has_an_option():
    assert {option_of(name): option for name, option in NAMES.items()} == {option: option for option in NAMES.values()}
    assert set(CARDS) | {"gpu"} == set(NAMES.values())
    assert set(CARDS) <= {path.stem for path in (CONF / "hardware").glob("*.yaml")}
    with pytest.raises(UserError, match="Tesla T4 has no bfloat16"):
        option_of("Tesla T4")


@pytest.fixture(scope="module")
def models():
    """What each of the models makes of `scale=h200`."""
    return {name: composed(["+experiment=mix_easy_hard", "scale=h200", f"model={name}"]) for name in MODELS}


@pytest.mark.parametrize("card", CARDS)
def test_a_model_on_a_card_fits_or_is_told_the_settings(card, models):
    hardware = composed(["scale=h200", f"hardware={card}"])["hardware"]
    for name, content in models.items():
        plan = make_plan(parse(content | {"hardware": hardware}))
        assert bool(plan.faults) == bool(plan.remedies), name


@pytest.mark.parametrize(("card", "model"), [("rtx_a4000", "qwen3_1_7b"), ("l4", "smollm2_360m"), ("rtx5090", "qwen3_0_6b")])
def test_what_a_card_is_told_fits_and_auto_finds_as_much(card, model):
    given = ("+experiment=mix_easy_hard", "scale=h200", f"hardware={card}", f"model={model}")
    plan = make_plan(configured(*given))
    for remedy in plan.remedies:
        words = [spelled_out(word, swept=False) for word in shlex.split(remedy)]
        assert not make_plan(configured(*given, *words)).faults, remedy
    _, said, config = on(f"[{card}]", "+experiment=mix_easy_hard", f"model={model}")
    assert not make_plan(config).faults and config.hardware.name in said


@pytest.mark.parametrize("number", range(len(MACHINES)), ids=MACHINES)
def test_an_experiment_is_planned_on_machines_of_five_kinds(number):
    seen, gpus = MACHINES[number], described(MACHINES[number])
    spelled, said, config = on(seen, f"+experiment={EXPERIMENTS[number % len(EXPERIMENTS)]}")
    assert config.hardware.gpus <= len(gpus) and not make_plan(config).faults
    assert (config.hardware.device, config.scale.name) == (("cuda", "h200") if gpus else ("cpu", "micro"))
    assert not any("auto" in argument or "seen" in argument for argument in spelled)
    assert said.startswith(config.hardware.title) or not gpus


def test_all_weights_are_trained_where_they_fit_and_adapters_where_not():
    _, _, large = on("[h200]", "+experiment=mix_easy_hard")
    _, said, small = on("[rtx4090]", "+experiment=mix_easy_hard")
    assert (large.model.lora, large.model.dtype) == (None, "float32")
    assert (small.model.lora.rank, small.model.dtype, small.rollout.engine) == (16, "bfloat16", "vllm_colocate")
    assert "adapters of rank 16" in said


def test_what_is_given_stays():
    given = ("+experiment=mix_easy_hard", "model.lora={rank: 4, alpha: 8}", "rollout=transformers", "hardware.device_batch_size=12")
    spelled, _, config = on("[2 x a100]", *given)
    assert spelled[-4:] == list(given)
    assert (config.model.lora.rank, config.rollout.engine, config.hardware.device_batch_size) == (4, "transformers", 12)
    _, _, own = on("[rtx4090]", "+experiment=mix_easy_hard", "hardware=a100x8")
    assert own.hardware.name == "8 x NVIDIA A100 80 GB"
    spelled, said = explicit(["hardware=auto", "hardware.seen=[2 x l4]", "scale=open_rs"], composed)
    assert "scale=h200" not in spelled and "hardware=l4" in spelled and "2 x NVIDIA L4" in said


def test_an_experiment_has_the_scale_that_it_has_numbers_for():
    assert on("[4 x h200]", "+experiment=scaling")[2].scale.name == "qwen2_5"


def test_a_slice_has_its_share_of_its_card_and_is_used_alone():
    _, _, config = on("[3 x a100 3g.40gb]", "+experiment=mix_easy_hard")
    spec, whole = config.hardware.spec, configured("hardware=a100").hardware
    assert (spec.memory_gb, config.hardware.gpus) == (40, 1)
    assert spec.peak_tflops == pytest.approx(whole.spec.peak_tflops * 3 / 7, rel=1e-3)
    assert spec.bandwidth_gb_per_s == pytest.approx(whole.spec.bandwidth_gb_per_s / 2, rel=1e-3)
    assert config.hardware.price_usd_per_gpu_hour == pytest.approx(whole.price_usd_per_gpu_hour * 3 / 7, rel=1e-2)


def test_the_smallest_of_different_cards_decides():
    config = on("[h100 80 GB,2 x rtx4090 24 GB]", "+experiment=mix_easy_hard")[2]
    assert config.hardware.title == "3 x NVIDIA GeForce RTX 4090 24 GB"


def test_an_unknown_card_is_planned_with_its_own_memory():
    _, said, config = on("[NVIDIA RTX 9999 48 GB]", "+experiment=mix_easy_hard")
    assert config.hardware.spec.memory_gb == 48 and said.startswith("NVIDIA GPU")


def test_what_cannot_fit_names_the_settings_that_would():
    with pytest.raises(UserError, match=r"training needs .*'model.lora=.* length.fraction=") as caught:
        on("[NVIDIA GeForce RTX 4070 Ti 12 GB]", "+experiment=mix_easy_hard")
    settings = shlex.split(str(caught.value).rpartition("set one of ")[2].split(", 'model")[0])
    on("[NVIDIA GeForce RTX 4070 Ti 12 GB]", "+experiment=mix_easy_hard", *settings[-1:])


def test_auto_chooses_before_processes_run_and_not_for_a_run_that_goes_on(monkeypatch):
    with pytest.raises(UserError, match="goes on as it began"):
        on("[h100]", "resume=outputs/x")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="they run already"):
        on("[h100]", "+experiment=mix_easy_hard")


def test_auto_says_what_it_chose_and_the_command_that_says_the_same(command_here, tmp_path):
    arguments = ("+experiment=mix_easy_hard", "plan=true", "scale=auto", "hardware.seen=[2 x rtx4090]")
    result = command_here(*arguments)
    assert result.returncode == 0, result.stderr
    chosen, same = result.stdout.splitlines()[:2]
    assert chosen.startswith("auto: 2 x NVIDIA GeForce RTX 4090 24 GB: ")
    again = command_here(*shlex.split(same)[3:])
    plans = [json.loads(path.read_text()) for path in (tmp_path / "outputs" / "plans").iterdir()]
    assert again.returncode == 0 and len({plan["hours"] for plan in plans}) == 1
    lines = [[line for line in one.stdout.splitlines() if line[:2] == "  " and "disk" not in line] for one in (again, result)]
    assert lines[0] == lines[1][1:]


def test_a_sweep_keeps_what_it_varies(command_here):
    result = command_here("-m", "+sweep=mix_length", "scale=auto", "hardware.seen=[h100]", "plan=true", "mix.easy_share=0.1,0.2")
    assert result.returncode == 0, result.stderr
    assert "hardware=h100" in result.stdout and "mix.easy_share=0.1,0.2" in result.stdout.splitlines()[1]


def test_without_a_gpu_auto_is_the_embedded_model_on_the_cpu(command_here):
    result = command_here("+experiment=mix_easy_hard", "plan=true", "scale=auto", "hardware.seen=[]")
    assert result.stdout.startswith("auto: no GPU: on the CPU\n  python -m src.run scale=micro hardware=cpu ")
