"""Damaged records: each is left out with its reason, and the report of the others is made."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks.records import write_run
from src.common.files import seal
from src.record.left_out import LeftOut, by_reason
from src.record.read import read_records
from src.report.__main__ import main


def summary(**values):
    def damage(folder):
        path = folder / "summary.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return damage


def table(name="chains_best", **columns):
    def damage(folder):
        path = folder / "evaluation" / f"{name}.parquet"
        rows = pd.read_parquet(path)
        rows.assign(**{column: value(rows) if callable(value) else value for column, value in columns.items()}).to_parquet(path, index=False)

    return damage


def twice(folder):
    path = folder / "evaluation" / "chains_best.parquet"
    rows = pd.read_parquet(path)
    pd.concat([rows, rows]).to_parquet(path, index=False)


def step(text):
    def damage(folder):
        path = folder / "metrics.jsonl"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[:2], text, *lines[3:]]) + "\n")

    return damage


def content(name, data):
    def damage(folder):
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(data)

    return damage


def cut(name, keep):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:keep])


def directory(name):
    def damage(folder):
        (folder / name).unlink()
        (folder / name).mkdir()

    return damage


def flipped(name, at=0.5):
    """One bit, in a folder that carries checksums."""

    def damage(folder):
        seal(folder)
        data = bytearray((folder / name).read_bytes())
        data[int(len(data) * at)] ^= 1
        (folder / name).write_bytes(data)

    return damage


DAMAGES = {
    "step x": step('{"step": "x", "accuracy": 0.5}'),
    "step null": step('{"step": null}'),
    "step twice": step('{"step": 2, "accuracy": 0.5}'),
    "step garbage": step("\0\0garbage"),
    "step number": step("7"),
    "step list": step("[1]"),
    "metrics binary": content("metrics.jsonl", bytes(range(256)) * 3 + b"\n"),
    "cost x": summary(cost="x"),
    "usd much": summary(cost={"usd": "much"}),
    "seconds list": summary(cost={"seconds": [1]}),
    "cost of tokens": summary(cost={"completion_tokens": "many"}),
    "flops text": summary(cost={"flops": {"total": "x"}}),
    "scale null": summary(scale=None),
    "scale 3": summary(scale=3),
    "stability x": summary(stability="x"),
    "alarms x": summary(stability={"alarms": "x"}),
    "alarm x": summary(stability={"alarms": [{"signal": 1}]}),
    "seed x": summary(seed="x"),
    "versions list": summary(versions=[]),
    "status null": summary(status=None),
    "experiment list": summary(experiment=["x"]),
    "evaluation list": summary(evaluation=[1]),
    "evaluation text": summary(evaluation={"chains": "x"}),
    "evaluation empty": summary(evaluation={}),
    "wandb text": summary(wandb="x"),
    "reason number": summary(reason=3),
    "summary list": content("summary.json", b"[]"),
    "summary empty": content("summary.json", b""),
    "summary binary": content("summary.json", b"\xff\xfe\0"),
    "summary cut": cut("summary.json", 40),
    "summary deep": content("summary.json", b"[" * 100_000),
    "summary folder": directory("summary.json"),
    "correct yes": table(correct="yes"),
    "correct null": table(correct=None),
    "tokens null": table(tokens=lambda rows: [None, *rows["tokens"][1:]]),
    "tokens text": table(tokens="9"),
    "sample text": table(sample="0"),
    "level numbers": table(level=1),
    "truncated text": table(truncated="no"),
    "ids null": table(problem_id=None),
    "ids numbers": table("chains_after", problem_id=lambda rows: np.arange(len(rows))),
    "rows twice": twice,
    "table cut": cut("evaluation/chains_best.parquet", 3000),
    "table empty": content("evaluation/chains_before.parquet", b""),
    "table folder": directory("evaluation/chains_after.parquet"),
    "questions text": content("evaluation/problems.parquet", b"PAR1nothing"),
    "questions empty": content("evaluation/problems.parquet", b""),
    "config itself": content("config.yaml", b"a: &x\n  b: *x\n"),
    "config deep": content("config.yaml", b"a: " + b"{a: " * 3000 + b"1" + b"}" * 3000),
    "config binary": content("config.yaml", bytes(range(256))),
    "config tag": content("config.yaml", b"a: !!python/object/apply:os.system ['true']\n"),
    "config tab": content("config.yaml", b"a:\n\tb: 1\n"),
    "config list": content("config.yaml", b"- 1\n"),
    "config empty": content("config.yaml", b""),
    "bit of a table": flipped("evaluation/chains_best.parquet"),
    "bit of the config": flipped("config.yaml"),
    "bit of the metrics": flipped("metrics.jsonl", 0.3),
    "a table is gone": lambda folder: (seal(folder), (folder / "evaluation" / "validation_best.parquet").unlink()),
}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """A record that is whole, one with checksums that is whole, and one with each damage."""
    root = tmp_path_factory.mktemp("records")
    whole = write_run(root / "whole", problems=20, steps=6)
    seal(shutil.copytree(whole, root / "sealed"))
    config = yaml.safe_load((root / "sealed" / "config.yaml").read_text())
    assert config["name"]
    for name, damage in DAMAGES.items():
        damage(shutil.copytree(whole, root / name.replace(" ", "_")))
    return root


def test_each_damaged_record_is_left_out_with_a_reason(records):
    runs, left_out = read_records([records])
    assert {run.folder.name for run in runs} == {"sealed", "whole"}
    reasons = {entry.folder.rsplit("/", 1)[-1]: entry.reason for entry in left_out}
    assert set(reasons) == {name.replace(" ", "_") for name in DAMAGES}
    assert all("\n" not in reason for reason in reasons.values())
    assert reasons["bit_of_a_table"].startswith("damaged: evaluation/chains_best.parquet is not what was written")
    assert reasons["rows_twice"].endswith("stand there twice")


def test_the_report_of_the_others_is_made(records, tmp_path):
    assert main([str(records), "--output", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "rows_twice" in page and "sealed" in page


def test_a_reason_that_many_records_share_is_said_once():
    same = [LeftOut(f"runs/{number}", "its first validation came late") for number in range(3)]
    assert by_reason([*same, LeftOut("runs/9", "no summary")]) == [
        ("runs/0 and 2 more", "its first validation came late"), ("runs/9", "no summary"),
    ]  # fmt: skip
