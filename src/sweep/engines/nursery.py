"""A process that has imported the libraries once and forks a trial in milliseconds: `python -m src.sweep.engines.nursery <fd>`.

It stays on one thread and computes nothing, so that a fork of it is as good as a fresh process. It ends with its
sweeper, and its trials end with it.
"""

import errno
import gc
import importlib.util
import json
import os
import select
import signal
import socket
import sys
import traceback
from typing import Any, NoReturn

from src.common.files import finds_no_room
from src.hardware.processes import die_with_parent, kill_group
from src.record.tracking import import_wandb


def import_libraries() -> None:
    """All that a trial imports, but for vLLM, which TRL's trainers import where it is installed: it may not be begun before
    a fork."""
    import_wandb()
    import datasets  # noqa: F401
    import math_verify  # noqa: F401
    import torch  # noqa: F401
    import transformers  # noqa: F401
    import trl  # noqa: F401

    import src.experiment.before_after
    import src.experiment.run
    import src.sweep.engines.trial

    if importlib.util.find_spec("vllm") is None:
        import src.experiment.after_step
        import src.experiment.session  # noqa: F401


class Nursery:
    """Forks on request and says when a child has ended. Messages are lines of JSON."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.children: dict[int, int] = {}  # number by process id
        self.buffer = b""
        self.wake_read, self.wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self.wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the sweeper's to handle, and so are
        self.given = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGHUP)}

    def say(self, **message: Any) -> None:
        self.connection.sendall(json.dumps(message).encode() + b"\n")

    def serve(self) -> None:
        """Until the sweeper is gone."""
        try:
            self._serve()
        except (BrokenPipeError, ConnectionResetError):
            self._end()

    def _serve(self) -> None:
        self.say(ready=os.getpid())
        while True:
            ready, _, _ = select.select([self.connection, self.wake_read], [], [])
            if self.wake_read in ready:
                os.read(self.wake_read, 4096)
            self._reap()
            if self.connection in ready:
                data = self.connection.recv(1 << 20)
                if not data:
                    self._end()
                *lines, self.buffer = (self.buffer + data).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))

    def _obey(self, message: dict[str, Any]) -> None:
        if "ping" in message:
            self.say(pong=message["ping"])
        if "start" in message:
            self._fork(message["start"])
        for process, number in self.children.items():
            if number == message.get("kill"):
                kill_group(process)

    def _fork(self, content: dict[str, Any]) -> None:
        nursery = os.getpid()
        process = os.fork()
        if process == 0:
            self._become_trial(content, nursery)
        self.children[process] = content["number"]
        self.say(started=content["number"], process=process)

    def _become_trial(self, content: dict[str, Any], nursery: int) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number, handler in {signal.SIGCHLD: signal.SIG_DFL, **self.given}.items():
                signal.signal(number, handler)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            os.setsid()
            die_with_parent()
            if os.getppid() != nursery:
                os._exit(code)  # it ended before the kernel was told
            self.connection.close()
            os.close(self.wake_read)
            os.close(self.wake_write)
            redirect(content["log"])
            os.environ.update(content["environment"])

            from src.sweep.engines.trial import TrialSpec, run_trial

            run_trial(TrialSpec(**content))
            code = 0
        except Exception as error:  # noqa: BLE001 - it could not say so itself
            traceback.print_exc()
            code = errno.ENOSPC if finds_no_room(error) else code
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)  # the clean-up of the nursery is not this process's

    def _reap(self) -> None:
        while self.children:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process == 0:
                return
            if process in self.children:
                self.say(ended=self.children.pop(process), code=os.waitstatus_to_exitcode(status))

    def _end(self) -> NoReturn:
        for process in self.children:
            kill_group(process)
        os._exit(0)


def redirect(log: str) -> None:
    """Send this process's output to the end of a file."""
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(handle, stream)
    os.close(handle)
    for text in (sys.stdout, sys.stderr):
        text.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def main() -> None:
    die_with_parent()
    import_libraries()
    gc.collect()
    gc.freeze()  # so that a child's collector does not touch, and thereby copy, what they share
    Nursery(socket.socket(fileno=int(sys.argv[1]))).serve()


if __name__ == "__main__":
    main()
