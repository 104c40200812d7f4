"""What the tests share: composed configurations, and small real runs of the embedded model."""

import os
import signal
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch comes: two threads spin against any other process

# A shell has its background jobs ignore Ctrl-C, and all that they start; some tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

import pytest

from src.hardware.gpus import visible_gpus
from src.run import composed as content_of
from src.run import configured, main

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"

# A run of the embedded model in seconds: everything real, everything small.
TOY = (
    "scale.steps=4",
    "algorithm.prompts_per_step=4",
    "hardware.device_batch_size=12",
    "evaluation.validation.problems_per_level=6",
    "evaluation.validation.samples=2",
    "evaluation.validation.every_steps=2",
    "evaluation.suites.chains.pool.count=8",
    "evaluation.suites.chains.samples=1",
    "~evaluation.suites.chains_long",
    "record.checkpoint_every_steps=2",
    "record.completions_every_steps=2",
    "hardware.grading_workers=1",
    "tracking=none",
)
# Smaller: a trial of a sweep takes two seconds.
TINY = (
    "scale.steps=2", "scale.completion_budget=48", "algorithm.prompts_per_step=2", "hardware.device_batch_size=12",
    "evaluation.validation.problems_per_level=4", "evaluation.validation.samples=2",
    "evaluation.validation.every_steps=1", "evaluation.suites.chains.pool.count=4",
    "evaluation.suites.chains.samples=1", "~evaluation.suites.chains_long", "record.checkpoint_every_steps=1",
    "record.completions_every_steps=2", "hardware.grading_workers=1", "tracking=none",
)  # fmt: skip


TIMING_KEYS = ("seconds/", "cost_usd")  # of metrics.jsonl: they differ between two runs of the same seed on the same machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none. Without importing torch, which takes seconds."""
    if not visible_gpus():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA GPU, and none is visible here"))


def composed(*overrides: str) -> dict:
    """The configuration of a command line, resolved, as plain values."""
    return {key: value for key, value in content_of(overrides).items() if key != "choices"}


def command(*arguments: str, cwd: Path, patience_s: float = 300, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m src.run ...` as a user runs it, from another folder than the project's."""
    return subprocess.run(
        [sys.executable, "-m", "src.run", *arguments],
        cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, timeout=patience_s,
    )


@pytest.fixture
def command_here(tmp_path, monkeypatch, capsys):
    """As `command` in `tmp_path`, without the seconds of imports that a process of its own takes: for what shows the same here."""

    def run_here(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        capsys.readouterr()
        with monkeypatch.context() as here:
            here.chdir(tmp_path)
            here.setattr(sys, "argv", ["run.py", *arguments])
            for name in ("stdout", "stderr"):  # which `main` protects
                here.setattr(sys, name, getattr(sys, name))
            for name, value in {"HYDRA_FULL_ERROR": "1", **environment}.items():  # the first `main` sets itself
                here.setenv(name, value)
            try:
                code = main()
            except SystemExit as ended:
                code = ended.code
        return subprocess.CompletedProcess(arguments, code or 0, *capsys.readouterr())

    return run_here


def hub_with_two_revisions(folder: Path) -> tuple[str, str]:
    """A hub's cache of one repository, the embedded model in its main branch and other weights in another revision: the names of
    both."""
    import torch

    from src.model.load import load_model, load_tokenizer

    main, other, config = "a" * 40, "b" * 40, configured().model
    repository = folder / "models--me--toy"
    for revision, noise in ((main, 0.0), (other, 0.02)):
        model, generator = load_model(config), torch.Generator().manual_seed(0)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn(weight.shape, generator=generator), alpha=noise)
        for part in (model, load_tokenizer(config)):
            part.save_pretrained(repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(main)
    return "me/toy", other


@pytest.fixture(scope="session")
def toy_run(tmp_path_factory) -> Path:
    """One finished toy run, shared by the tests that only look at it."""
    from src.experiment.run import run

    folder = tmp_path_factory.mktemp("toy")
    run(configured("+experiment=mix_easy_hard", *TOY, f"output_root={folder}", f"run_dir={folder}/run"))
    return folder / "run"


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory) -> Path:
    """The folder of SmolLM2-135M-Instruct, made once for all workers; skips where it cannot be had."""
    from filelock import FileLock

    maker = SHARED / "models" / "get_smollm2.py"
    if not maker.is_file():
        pytest.skip(f"SmolLM2 is made by {maker}, which is not there")
    folder = tmp_path_factory.getbasetemp().parent / "smollm2"
    with FileLock(f"{folder}.lock"):
        made = subprocess.run([sys.executable, maker, folder], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"SmolLM2 cannot be had here: {(made.stderr.strip() or '?').splitlines()[-1]}")
    return folder


def tables_of(analysis) -> dict:
    """The tables of a report by name, in the order of the page."""
    return {table.name: table for part in _parts(analysis) for table in part.tables}


def figures_of(analysis) -> dict:
    return {figure.name: figure for part in _parts(analysis) for figure in part.figures}


def _parts(analysis) -> list:
    from src.report.section import parts
    from src.report.sections import SECTIONS

    return parts(SECTIONS, analysis)
