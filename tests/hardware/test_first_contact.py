"""The first contact with a GPU is rehearsed where there is none: a part that dies or hangs costs itself alone."""

import json
import subprocess
import sys

from conftest import ROOT


def rehearse(folder, *parts, seconds=900):
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "first_contact.py", "--toy", "--only", *parts, "--seconds", str(seconds),
         "--out", folder / "found.json"],
        capture_output=True, text=True, timeout=1200, cwd=folder,
    )
    return done, json.loads((folder / "found.json").read_text())


def test_parts_measure_what_they_say(tmp_path):
    done, found = rehearse(tmp_path, "machine", "bare TRL", "unpadded", "long")
    assert done.returncode == 0, done.stdout
    assert found["machine"]["matrix_tflops"] > 0 and found["machine"]["bandwidth_gb_per_s"] > 0
    for name in ("bare TRL", "unpadded"):
        assert found[name]["seconds"]["forward and backward"] > 0 and 0 < found[name]["training_mfu"] < 1
        assert found[name]["planned"]["seconds"] > 0
    assert found["long"]["saved_gb"] > 0
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("| bare TRL |")]
    assert row.split(" | ")[7] == "1.00"


def test_a_part_without_time_is_written_down_and_the_rest_stands(tmp_path):
    done, found = rehearse(tmp_path, "machine", "decoding", seconds=14)
    assert done.returncode == 1 and "failed" in found["decoding"] and set(found) == {"machine", "decoding"}
