"""TRL's vLLM server (`trl vllm-serve`) on the GPUs that no training process uses: started, waited for, ended, and started
again once if it dies.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from src.common.errors import RunFailed, ServerDied, UserError

POLL_S = 0.5
RESTARTS = 1
LEEWAY_S = 20.0  # for the guard to see to it
PATIENCE_S = 10.0  # from the polite request to end to the impolite one
LAST_LINES = 5  # of a dead server's log, in the error
OF_A_RANK = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class Server:
    """A command that answers on `<url>/health` when it is ready. Ends with this process, however that ends."""

    def __init__(
        self, command: Sequence[str], url: str, log: Path, timeout_s: float, environment: Mapping[str, str] | None = None
    ) -> None:
        """`log` takes what the command prints; `timeout_s` is how long it may take to be ready."""
        self.command, self.url, self.log, self.timeout_s = list(command), url, log, timeout_s
        self.environment = dict(environment or {})
        self.process: subprocess.Popen | None = None
        self.restarts = 0

    def start(self) -> None:
        """Start the command and return at once. Raises UserError if something else answers there already."""
        check_free(self.url)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "src.hardware.guard", str(PATIENCE_S), *self.command],
                env=inherited() | self.environment, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
            )

    def wait(self) -> None:
        """Wait until the server is ready. Raises RunFailed if it ends before, or takes too long."""
        deadline = time.monotonic() + self.timeout_s
        while not _answers(self.url):
            if not self.alive():
                raise RunFailed(f"the vLLM server ended before it was ready ({self._last_words()})")
            if time.monotonic() > deadline:
                self.stop()
                raise RunFailed(
                    f"the vLLM server was not ready after {self.timeout_s:.0f} s; see {self.log}, or raise rollout.timeout_s"
                )
            time.sleep(POLL_S)

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def healthy(self) -> bool:
        return self.alive() and _answers(self.url)

    def restart(self) -> None:
        """Start a server that died once more, with the weights it was first started with. Raises RunFailed the next time."""
        if self.restarts == RESTARTS:
            raise RunFailed(f"the vLLM server died again ({self._last_words()})")
        self.restarts += 1
        self.stop()
        self.start()
        self.wait()

    def ask_to_end(self) -> None:
        """Have the command end, and all it started, without waiting for it."""
        if self.process is not None:
            self.process.stdin.close()

    def stop(self) -> None:
        """End the command and all it started; returns when they are gone."""
        if self.process is None:
            return
        self.ask_to_end()
        try:
            self.process.wait(PATIENCE_S + LEEWAY_S)
        finally:
            self.process.kill()

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"{' | '.join(lines[-LAST_LINES:])}; the whole of it is in {self.log}" if lines else "it said nothing"


def inherited() -> dict[str, str]:
    """What a server has of this process's environment: HF_TOKEN, HF_HOME, VLLM_* and all else, but not its place among the
    training processes, and that the hub is out of reach, where it was found to be."""
    from huggingface_hub import constants

    kept = {name: value for name, value in os.environ.items() if name not in OF_A_RANK and not name.startswith("TORCHELASTIC_")}
    return kept | ({"HF_HUB_OFFLINE": "1"} if constants.HF_HUB_OFFLINE else {})


def _answers(url: str) -> bool:
    import httpx

    try:
        return httpx.get(f"{url}/health", timeout=5.0).status_code == 200
    except httpx.TransportError:
        return False


def check_free(url: str) -> None:
    """Raise UserError where a server runs already."""
    if _answers(url):
        raise UserError(
            f"rollout.port: something answers at {url} already; leave it out for a free one, or set "
            "rollout.start_server=false if that is the server to use"
        )


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as free:
        free.bind(("", 0))
        return free.getsockname()[1]


@contextmanager
def serving(server: Server | None) -> Iterator[None]:
    """Have the server, if there is one to start, ready inside, and gone after."""
    if server is None:
        yield
        return
    try:
        server.start()
        server.wait()
        yield
    finally:
        server.stop()


def survive(generation: Any, server: Server | None, note: Callable[[str], None]) -> None:
    """Have a `LabGeneration` go on after its server died: start it again, push the weights, ask again.

    To be called on every rank; `server` is None on those other than 0. Only rank 0 speaks to the server, and all of
    them wait for what it gets: so it hands round an answer that nobody can read, and all raise `ServerDied` together.
    """
    ask, push = generation.generate, generation.sync_weights

    def sync_weights() -> None:
        if server and not server.healthy():
            note("the vLLM server died; starting it again, with the weights as they are now")
            server.restart()
            generation.connect()
            report_death(generation.vllm_client, server)
        push()

    def generate(*args: Any, **kwargs: Any) -> tuple:
        try:
            return ask(*args, **kwargs)
        except ServerDied:
            sync_weights()
            return ask(*args, **kwargs)

    generation.generate, generation.sync_weights = generate, sync_weights
    if server:
        report_death(generation.vllm_client, server)


class _Unreadable:
    """Stands where completions should be."""

    def __iter__(self) -> Iterator:
        raise ServerDied


def report_death(client: Any, server: Server) -> None:
    """Have a client answer with something unreadable once its server is dead, instead of raising on rank 0 alone."""
    ask = client.generate

    def generate(*args: Any, **kwargs: Any) -> dict[str, Any]:
        try:
            return ask(*args, **kwargs)
        except Exception:
            if server.healthy():
                raise
            return {"prompt_ids": _Unreadable(), "completion_ids": None, "logprobs": None}

    client.generate = generate
