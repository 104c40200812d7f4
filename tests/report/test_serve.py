"""The live page over HTTP: it follows the records, to this machine alone, until Ctrl-C."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from benchmarks.records import write_run
from src.report.__main__ import main


@pytest.fixture
def served(tmp_path):
    """Records of which a page is served, and its port."""
    write_run(tmp_path / "outputs" / "one", problems=10, steps=5)
    command = [sys.executable, "-m", "src.report", "outputs", "--serve", "--port", "0"]
    process = subprocess.Popen(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True)
    told = process.stdout.readline()
    assert told.startswith("live report: http://127.0.0.1:"), told
    yield tmp_path / "outputs", int(told.split("(")[0].strip().rpartition(":")[2])
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0


def asked(port, path, method="GET", host=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_the_page_follows_the_records_and_is_for_this_machine_alone(served):
    outputs, port = served
    _, first = asked(port, "/live")
    status, page = asked(port, "/")
    assert status == 200 and f'data-live="{first}"' in page and "1 run of 1 configuration" in page
    write_run(outputs / "two", problems=10, steps=5, settings={"mix.easy_share": 0.5})
    deadline = time.monotonic() + 120
    while asked(port, "/live")[1] == first:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert asked(port, "/tables/results.csv")[1].count("chains") == 2
    assert asked(port, "/", "HEAD")[0] == asked(port, "/live", "HEAD")[0] == 200
    assert asked(port, "/live", host=f"elsewhere.example:{port}")[0] == asked(port, "/", host="elsewhere.example")[0] == 403
    assert asked(port, "/tables/")[0] == asked(port, "/../outputs/one/summary.json")[0] == 404


def test_a_port_that_is_taken_is_exit_code_2(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main([str(tmp_path), "--serve", "--port", str(port)]) == 2
    assert f"error: cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err
