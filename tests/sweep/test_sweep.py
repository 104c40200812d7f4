"""Real sweeps of the embedded model at toy size: processes, kills, pruning, budgets, and what they leave behind."""

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time

import pandas as pd
import psutil
import pytest
import yaml
from conftest import TIMING_KEYS, TINY, command, configured
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from src.common.errors import UserError
from src.common.screen import duration
from src.experiment.run import run
from src.plan.plan import make_plan
from src.record.record import read_summary
from src.run import CONF, SWEEPS, offer_sweeps, spelled_out
from src.sweep.command import sweep
from src.sweep.composer import Composer, check_all, ends
from src.sweep.config import parse_sweep
from src.sweep.engines.channel import Channel
from src.sweep.engines.trial import TrialSpec, run_trial
from src.sweep.plan import longest_first
from src.sweep.space import read_space

VALIDATION = ("evaluation.validation.every_steps=10", "evaluation.validation.samples=2")  # of sweeps/mix_length.yaml
ACCURACY = "evaluation.validation.best.accuracy"
TOKENS = "evaluation.validation.best.mean_tokens"

BASE = ("-m", "+experiment=mix_easy_hard", *TINY)


def swept(folder, *arguments):
    return command(*BASE, *arguments, cwd=folder, OMP_NUM_THREADS="1")


def started(folder, *arguments, base=BASE, host=(), **environment):
    """`host`: the command that runs another on a host of its own."""
    return subprocess.Popen(
        [*host, sys.executable, "-m", "src.run", *base, *arguments], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def trials(folder, name="mix_easy_hard"):
    return pd.read_parquet(folder / "outputs" / "sweeps" / name / "trials.parquet")


def learnt(run):
    """The lines of a run's metrics, but for what it took."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.startswith(TIMING_KEYS)} for line in lines]


def processes_of(sweeper):
    """The trials' processes."""
    try:
        nurseries = [p for p in psutil.Process(sweeper.pid).children() if "src.sweep.engines.nursery" in p.cmdline()]
        return [trial for nursery in nurseries for trial in nursery.children()]
    except psutil.NoSuchProcess:
        return []


def wait_until(true, process, seconds=300):
    deadline = time.monotonic() + seconds
    while not true():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)


def until(words, process, seconds=300):
    """What a process says up to a line with these words."""
    said, late = "", threading.Timer(seconds, process.kill)
    late.start()
    for line in process.stdout:
        said += line
        if words in line:
            late.cancel()
            return said
    raise AssertionError(f"it ended, or was late, without {words!r}: {said}")


def test_a_sweep_prunes_is_continued_and_its_best_run_again(tmp_path, monkeypatch):
    arguments = ("lr.peak=1e-4,3e-3", "sweep.sampler=grid", "sweep.pruner={name:wilcoxon,p_threshold:0.3}", "scale.steps=3")
    first = swept(tmp_path, *arguments, "sweep.n_trials=1", "sweep.n_jobs=1")
    assert first.returncode == 0, first.stderr
    folder = tmp_path / "outputs" / "sweeps" / "mix_easy_hard"
    before = (folder / "trials" / "0000" / "summary.json").stat().st_mtime_ns

    second = swept(tmp_path, *arguments, "sweep.n_trials=9", "sweep.n_jobs=1")  # a grid of two points has two trials
    assert second.returncode == 0, second.stderr
    assert (folder / "trials" / "0000" / "summary.json").stat().st_mtime_ns == before
    table = trials(tmp_path)
    assert list(table["number"]) == [0, 1] and sorted(table["param/lr.peak"]) == [1e-4, 3e-3]
    assert set(table["state"]) <= {"complete", "pruned"} and table["start_delay_s"].iloc[0] is not None
    assert pd.read_csv(folder / "trials.csv")["number"].to_list() == [0, 1]
    for row in table.itertuples():
        summary = read_summary(folder / "trials" / f"{row.number:04d}")
        assert summary["status"] == row.state
        kept = (folder / "trials" / f"{row.number:04d}" / "checkpoints").exists()
        assert kept == (row.state == "complete")  # keep_pruned_checkpoints is off
        log = (folder / "logs" / f"{row.number:04d}.log").read_text()
        assert log.startswith(f"trial {row.number}: lr.peak=")

    (best,) = yaml.safe_load((folder / "best.yaml").read_text())
    assert best["values"] == {ACCURACY: table[ACCURACY].max()}
    words = shlex.split(best["command"])
    assert words[:3] == ["python", "-m", "src.run"]
    again = run(configured(*words[3:], f"output_root={tmp_path}", f"run_dir={tmp_path}/again"))
    assert again["objective"] == best["values"][ACCURACY]

    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="lr.peak was one of 0.0001, 0.003, now one of 0.0001, 0.002"):
        sweep(*prepared(*BASE[1:], "lr.peak=1e-4,2e-3", "scale.steps=3", "sweep.study_name=mix_easy_hard"))


def test_a_scaling_study_ends_when_its_forecast_is_narrow_and_says_what_that_saved(tmp_path):
    arguments = ("seed=1,2,3", "sweep.sampler=grid", "scale.steps=4", "scale.completion_budget=128", "sweep.n_jobs=1",
                 "evaluation.validation.problems_per_level=8")  # fmt: skip
    result = swept(tmp_path, *arguments, "sweep.stop_when={width: 0.99, sizes: 1}")
    assert result.returncode == 0, result.stderr
    assert len(trials(tmp_path)) == 1
    stopped = yaml.safe_load((tmp_path / "outputs/sweeps/mix_easy_hard/summary.yaml").read_text())["ended"]
    assert "within stop_when.width=0.99; that saves 2 of 3 trials, about" in stopped


def test_kills_lose_nothing_and_repeat_nothing(tmp_path):
    arguments = (
        "mix.easy_share=interval(0,1)", "lr.peak=tag(log,interval(1e-4,1e-2))", "sweep.sampler=random",
        "sweep.pruner=none", "sweep.n_trials=2", "sweep.retries=9",
    )
    for name in ("undisturbed", "killed"):
        (tmp_path / name).mkdir()
    assert swept(tmp_path / "undisturbed", *arguments).returncode == 0
    rng = random.Random(0)
    for kills in (("trial", "both"), ("sweeper",)):
        sweeper = started(tmp_path / "killed", *arguments)
        for what in kills:
            wait_until(lambda sweeper=sweeper: processes_of(sweeper), sweeper)
            time.sleep(rng.uniform(0.2, 1.2))
            if what != "sweeper" and (running := processes_of(sweeper)):
                rng.choice(running).kill()
        sweeper.kill()
        sweeper.communicate()
    last = swept(tmp_path / "killed", *arguments)
    assert last.returncode == 0, last.stderr
    one, other = trials(tmp_path / "undisturbed"), trials(tmp_path / "killed")
    keys = ["number", "state", ACCURACY, "param/mix.easy_share", "param/lr.peak"]
    pd.testing.assert_frame_equal(one[keys], other[keys])
    assert list(other["state"]) == ["complete"] * 2


def test_failures_are_recorded_and_silent_trials_taken_up_again(tmp_path):
    arguments = (
        "lr.peak=1e-4,1e30", "lr=constant", "trainer.max_grad_norm=1e30", "sweep.sampler=grid",
        "sweep.max_failure_rate=0.5", "sweep.heartbeat=4",
    )
    sweeper = started(tmp_path, *arguments)
    wait_until(lambda: processes_of(sweeper), sweeper)
    good = tmp_path / "outputs" / "sweeps" / "mix_easy_hard" / "logs"

    def healthy():
        logs = [path.stem for path in good.glob("*.log") if "lr.peak=0.0001" in path.read_text()]
        return logs and next((p for p in processes_of(sweeper) if p.cpu_times().user >= 0), None)

    wait_until(healthy, sweeper)
    for process in processes_of(sweeper):
        process.suspend()
    output, _ = sweeper.communicate(timeout=300)
    assert sweeper.returncode == 0, output
    assert "no sign of life" in output and "taken up again" in output
    table = trials(tmp_path).set_index("param/lr.peak")
    assert table.loc[1e-4, "state"] == "complete" and table.loc[1e-4, "deaths"] == 1
    assert table.loc[1e30, "state"] == "fail" and "not finite" in table.loc[1e30, "reason"]


@pytest.mark.parametrize("keep", [False, True])
def test_a_trial_told_to_stop_ends_after_the_step_in_hand(keep, tmp_path):
    config = configured("+experiment=mix_easy_hard", *TINY, f"output_root={tmp_path}", f"run_dir={tmp_path}/run")
    spec = TrialSpec(
        0, "", [config.model_dump(mode="json")], str(tmp_path / "run"), str(tmp_path / "control"), "", ["accuracy"], 0, keep,
        60, {}, time.monotonic(),
    )
    channel = Channel(tmp_path / "control")
    channel.prepare()

    def prune():
        while not (report := channel.report()):
            time.sleep(0.01)
        channel.answer(report, f"enough at step {report.step}")

    sweeper = threading.Thread(target=prune)
    sweeper.start()
    run_trial(spec)
    sweeper.join()
    outcome, summary = channel.outcome(), read_summary(tmp_path / "run")
    assert (outcome.status, outcome.reason, outcome.step, outcome.values) == ("pruned", "enough at step 1", 1, [])
    assert (summary["status"], summary["steps"], channel.step()) == ("pruned", 1, 1)
    assert (tmp_path / "run" / "checkpoints").exists() == keep


def test_two_sweepers_share_a_study_with_two_objectives_and_seeds(tmp_path):
    arguments = (
        "mix.easy_share=interval(0,1)", f"objective=[{TOKENS},{ACCURACY}]", f"sweep.prune_on={ACCURACY}",
        "sweep.pruner={name:median,n_startup_trials:1}", "sweep.n_trials=3", "sweep.n_jobs=1", "sweep.seeds=2",
        f"sweep.storage=sqlite:///{tmp_path}/study.db",
    )
    sweepers = [started(tmp_path, *arguments) for _ in range(2)]
    outputs = [sweeper.communicate(timeout=300)[0] for sweeper in sweepers]
    assert [sweeper.returncode for sweeper in sweepers] == [0, 0], outputs
    lines = [line for output in outputs for line in output.splitlines()]
    starts = [line.split(" starts")[0].split()[-1] for line in lines if " starts" in line]
    assert sorted(starts) == ["0", "1", "2"]  # each once, by one of the two
    table = trials(tmp_path)
    complete = table[table["state"] == "complete"]
    assert len(table) == 3 and len(complete) >= 1
    folder = tmp_path / "outputs" / "sweeps" / "mix_easy_hard"
    for row in complete.itertuples():
        seeds = [read_summary(folder / "trials" / f"{row.number:04d}" / f"seed_{seed}") for seed in (42, 43)]
        values = [seed["objective"][1] for seed in seeds]
        assert complete.loc[row.Index, ACCURACY] == pytest.approx(sum(values) / 2)
        assert complete.loc[row.Index, f"{ACCURACY}/spread"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    front = yaml.safe_load((folder / "best.yaml").read_text())
    assert {TOKENS, ACCURACY} == set(front[0]["values"])


def test_ctrl_c_ends_in_order_and_the_budget_says_how_far(tmp_path):
    arguments = ("lr.peak=tag(log,interval(1e-4,1e-3))", "hardware.price_usd_per_gpu_hour=3600", "scale.steps=4")
    sweeper = started(tmp_path, *arguments, "sweep.n_jobs=1")
    metrics = tmp_path / "outputs" / "sweeps" / "mix_easy_hard" / "trials" / "0000" / "metrics.jsonl"
    wait_until(metrics.exists, sweeper)
    sweeper.send_signal(signal.SIGINT)
    output, _ = sweeper.communicate(timeout=300)
    assert sweeper.returncode == 130 and "continue with the same command" in output, output
    assert read_summary(metrics.parent)["status"] in ("interrupted", "complete")

    finished = swept(tmp_path, *arguments, "sweep.n_jobs=1", "sweep.n_trials=1")
    assert finished.returncode == 0, finished.stderr
    taken = trials(tmp_path)["usd"].iloc[0]
    # Half as much again as the one trial took is no room for another.
    result = swept(tmp_path, *arguments, "sweep.n_jobs=1", f"budget.usd={1.5 * taken}")
    assert result.returncode == 0, result.stderr
    assert "has no room for another trial" in result.stdout
    table = trials(tmp_path)
    assert list(table["state"]) == ["complete"]
    summary = yaml.safe_load((metrics.parents[2] / "summary.yaml").read_text())
    assert summary["spent"]["usd"] == pytest.approx(table["usd"].sum(), rel=0.01)
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == [1, 2, 3, 4]  # none done twice


def prepared(*arguments):
    """What Hydra hands to the sweeper for a command line."""
    offer_sweeps()
    words = [spelled_out(argument, swept=True) for argument in arguments]
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().hydra.config_loader
        master = loader.load_configuration("config", overrides=words, run_mode=RunMode.MULTIRUN)
        options = {key: master.hydra.sweeper[key] for key in master.hydra.sweeper if not key.startswith("_")}
        return options, loader, master, list(master.hydra.overrides.task)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("lr.peak=1e-4",), "nothing is varied"),
        (("lr.peek=1e-4,1e-3",), "peek"),
        (("length=fixed,stagd",), "stagd"),
        (("mix.easy_share=interval(1,0)",), "reversed"),
        (("mix.easy_share=interval(0,2)",), "mix.easy_share: must be less than or equal to 1"),
        (("mix.easy_share=range(1,1)",), "empty"),
        (("mix.easy_share=interval(0,1)", "sweep.sampler=grid"), "finite"),
        (("mix.easy_share=interval(0,1)", f"objective=[{ACCURACY},{TOKENS}]", "sweep.sampler=cmaes"), "cannot do 2"),
        (("mix.easy_share=interval(0,1)", "objective=evaluation.validation.best.acuracy"), "the summary has no"),
        (("mix.easy_share=interval(0,1)", "objective=cost.usd"), "sweep.prune_on: cost.usd is not known"),
        (("mix.easy_share=interval(0,1)", "sweep.storage=sqlite:////none/of/it.db"), "cannot be reached"),
        (("mix.easy_share=interval(0,1)", "sweep.storage=/dev/null"), "/dev/null is no file"),
        (("mix.easy_share=interval(0,1)", "sweep.n_jobs=0"), "0 slots"),
        (("mix.easy_share=interval(0,1)", "sweep.gpus_per_trial=99"), "99 GPUs for each trial"),
        (("mix.easy_share=interval(0,1)", "sweep.direction=[maximize,minimize]"), "2 given for 1 objective"),
        (("mix.easy_share=interval(0,1)", "sweep.custom_search_space=no.such.function"), "no function"),
    ],
)
def test_bad_input_is_refused_before_the_first_trial(arguments, fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match=fault) as caught:
        sweep(*prepared(*arguments))
    assert isinstance(caught.value, UserError) or "hydra" in type(caught.value).__module__
    assert not list(tmp_path.glob("outputs/sweeps/*"))


SCALING = ("scaling", "data_reuse", "curriculum", "group_size", "group_size_equal_data", "lr_transfer")  # at full scale Qwen2.5


@pytest.mark.parametrize("name", sorted(path.stem for path in SWEEPS.glob("*.yaml")))
def test_every_sweep_composes_at_both_sizes(name):
    assert (SWEEPS / f"{name}.yaml").read_text().startswith("# Question: ")
    for scale in ("micro", "qwen2_5" if name in SCALING else "open_rs"):
        options, loader, master, arguments = prepared(f"+sweep={name}", f"scale={scale}")
        assert str(master.hydra.mode) == "RunMode.MULTIRUN"
        config = parse_sweep({key: options[key] for key in ("n_trials", "seeds", "sampler", "pruner", "params")})
        space = read_space(config.params, arguments)
        first = check_all(Composer(loader, master), space) if scale == "micro" else Composer(loader, master).config(
            space.overrides({key: value for key, value in _firsts(space).items()})
        )
        assert first.name == name and first.scale.name == scale


@pytest.mark.parametrize("name", sorted(path.stem for path in SWEEPS.glob("*.yaml")))
def test_every_sweep_runs_on_the_embedded_model(name, tmp_path):
    # The published warm-up takes 6 steps; passes of 4 divide every batch, and supervised ones hold whole prompts.
    passes = 8 if name == "efficient_sft" else 4
    size = (*TINY, "scale.steps=6", "evaluation.validation.every_steps=6", f"hardware.device_batch_size={passes}")
    _, loader, master, arguments = prepared(f"+sweep={name}", *size, f"output_root={tmp_path}", f"run_dir={tmp_path}/run")
    space = read_space({}, arguments)
    params = parse_sweep({"params": prepared(f"+sweep={name}")[0]["params"]}).params
    lasts = {key: ends(value)[-1] for key, value in read_space(params, arguments).distributions.items()}
    if name in SCALING:
        lasts["model"] = "micro"  # the ladder is pre-trained on demand, which takes minutes
    summary = run(Composer(loader, master).config(space.overrides(lasts)))
    assert summary["status"] == "complete" and summary["steps"] == 6


def test_a_trial_is_configured_as_its_command_line_says():
    _, loader, master, arguments = prepared(
        "+experiment=mix_easy_hard", "lr.peak=tag(log,interval(1e-5,1e-3))", "length=fixed,staged", "trainer.beta=0.0,0.1",
        "length.fraction=0.6",
    )
    space, composer = read_space({}, arguments), Composer(loader, master)
    for length in ("fixed", "staged", "fixed"):
        params = {"lr.peak": 1.25e-05, "length": length, "trainer.beta": 0.1}
        assert composer.of_trial(space, params) == composer.config(space.overrides(params))


DUMPED = """
_target_: hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper
sampler: {_target_: optuna.samplers.TPESampler, seed: 123, consider_prior: null, n_startup_trials: 10,
  warn_independent_sampling: true, constant_liar: false, constraints_func: null}
direction: maximize
storage: null
study_name: null
n_trials: 3
n_jobs: 1
max_failure_rate: 0.0
params: {lr.peak: "interval(1e-4,1e-3)"}
custom_search_space: null
"""


def test_a_config_dumped_by_hydra_optuna_sweeper_runs(command_here, tmp_path):
    (tmp_path / "hydra" / "sweeper").mkdir(parents=True)
    (tmp_path / "hydra" / "sweeper" / "theirs.yaml").write_text(DUMPED)
    arguments = ("-m", "--config-dir", ".", "hydra/sweeper=theirs", "+experiment=mix_easy_hard", "tracking=none", "plan=true")
    result = command_here(*arguments, "hydra.sweeper.sampler.n_ei_candidates=30")
    assert result.returncode == 0 and "  3 trials, priced at 2 corners" in result.stdout, result.stderr
    (bill,) = (tmp_path / "outputs" / "plans").iterdir()
    assert {cell["params"]["lr.peak"] for cell in json.loads(bill.read_text())["cells"]} == {1e-4, 1e-3}
    lost = command_here(*arguments, "sampler.n_ei_candidates=30")
    assert lost.returncode == 2 and "of a sweep (with -m) it is sweep.sampler.n_ei_candidates" in lost.stderr


@pytest.mark.parametrize(("given", "remedy"), [
    (("hydra/sweeper=basic",), "every combination is run once"),
    (("--config-dir", ".", "hydra/sweeper=mine"), "every combination is run once"),
    (("hydra/launcher=joblib",), "give sweep.n_jobs=<trials at once>"),
    (("hydra/launcher=submitit_slurm",), "with sweep.engine=ray"),
])  # fmt: skip
def test_another_sweeper_than_ours_is_refused(given, remedy, command_here, tmp_path):
    (tmp_path / "hydra" / "sweeper").mkdir(parents=True)
    target = "_target_: hydra._internal.core_plugins.basic_sweeper.BasicSweeper\nmax_batch_size: null\nparams: null\n"
    (tmp_path / "hydra" / "sweeper" / "mine.yaml").write_text(target)
    result = command_here("-m", *given, "+experiment=mix_easy_hard", "seed=1,2")
    assert result.returncode == 2 and remedy in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert not (tmp_path / "outputs").exists()


def billed(folder, *arguments):
    """What plan=true says of a sweep, and what it wrote."""
    found = sweep(*prepared(*arguments, "plan=true", f"output_root={folder}"))
    (path,) = (folder / "plans").iterdir()
    assert json.loads(path.read_text()) == json.loads(json.dumps(found))
    assert not (folder / "sweeps").exists()  # nothing was run
    return found


def test_the_bill_of_a_grid_is_that_of_its_cells(tmp_path, capsys):
    bill = billed(tmp_path, "+sweep=scaling")
    sizes = [cell["plan"]["parameters"] for cell in bill["cells"]]
    runs = [make_plan(configured("+experiment=scaling", f"model=micro_{size}m")) for size in ("3", "0_05")]
    assert max(sizes) == runs[0].parameters and min(sizes) == runs[1].parameters
    assert bill["low"] == bill["high"] and len(sizes) == 10  # five sizes, base and instruct
    assert bill["high"]["hours"] == pytest.approx(3 * sum(cell["plan"]["hours"] for cell in bill["cells"]))
    said = capsys.readouterr().out
    assert f"micro_0_05m (0.1M): 3 runs, {duration(3 * 3600 * runs[1].hours)}" in said
    assert "pruner" not in said


def idle_of_two_slots(hours):
    """The share of two slots' time that is idle, where each trial is begun as soon as a slot is free."""
    ends = [0.0, 0.0]
    for each in hours:
        ends[ends.index(min(ends))] += each
    return 1 - sum(hours) / (2 * max(ends))


def test_of_a_grid_what_takes_longest_is_tried_first_and_no_slot_waits_for_it():
    options, loader, master, arguments = prepared("+sweep=scaling")
    space = read_space(parse_sweep({"params": options["params"]}).params, arguments)
    grid = longest_first(Composer(loader, master), space, 10)
    hours = [make_plan(config).hours for _, config in grid]
    assert sorted(point["model"] for point, _ in grid) == sorted(space.points()["model"])
    assert hours == sorted(hours, reverse=True) and grid[0][0]["model"] == "micro_3m"
    assert idle_of_two_slots(hours) < 0.02 and idle_of_two_slots([*hours[1:], hours[0]]) > 0.1


def test_the_bill_of_a_search_lies_between_its_corners(tmp_path, capsys):
    bill = billed(tmp_path, "+sweep=mix_length", "hardware.price_usd_per_gpu_hour=1", "budget.usd=0.1")
    runs = [
        make_plan(configured("+experiment=mix_easy_hard", *VALIDATION, *words))
        for words in (("length=staged", "length.fraction=0.5"), ("length=fixed", "length.fraction=1.0"))
    ]
    assert [bill[key]["hours"] for key in ("low", "high")] == pytest.approx([16 * run.hours for run in runs])
    assert bill["high"]["usd"] == pytest.approx(bill["high"]["hours"])
    said = capsys.readouterr().out
    assert "not in it: what the median pruner will save" in said and "budget.usd=0.1 may end the sweep" in said


def test_the_bill_names_the_cells_that_cannot_fit(tmp_path):
    billed(tmp_path / "as_it_is", "+sweep=scaling", "scale=qwen2_5")  # every size fits the hardware that goes with it
    with pytest.raises(UserError) as caught:
        billed(tmp_path, "+sweep=scaling", "scale=qwen2_5", "hardware.spec.memory_gb=60")
    cells = json.loads(next((tmp_path / "plans").iterdir()).read_text())["cells"]
    refused = [cell["params"]["model"] for cell in cells if cell["plan"]["faults"]]
    assert len(cells) == 14 and "qwen2_5_72b" in refused and "qwen2_5_0_5b" not in refused
    assert f"plan: {len(refused)} of 14 cells cannot fit: model={refused[0]} (training needs" in str(caught.value)
    published = {"0_5b": 494_032_768, "1_5b": 1_543_714_304, "32b_instruct": 32_763_876_352, "72b": 72_706_203_648}
    parameters = {cell["params"]["model"]: cell["plan"]["parameters"] for cell in cells}
    assert {size: parameters[f"qwen2_5_{size}"] for size in published} == published


def _firsts(space):
    return {key: ends(distribution)[0] for key, distribution in space.distributions.items()}


def test_there_is_a_sweep_for_each_question():
    assert {path.stem for path in SWEEPS.glob("*.yaml")} == {
        "mix_length", "open_rs_factorial", "lr", "reward_terms", "length_schedules", "alpha_family",
        "efficient_std", "efficient_loss", "efficient_sft", "selection", *SCALING,
    }


def test_a_bad_sweep_name_lists_the_choices(command_here):
    result = command_here("-m", "+sweep=mix_lenght")
    assert result.returncode == 2 and "mix_length" in result.stderr and result.stderr.count("\n") == 1
