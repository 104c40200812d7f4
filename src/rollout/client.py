"""TRL's client of a vLLM server, made so that it waits for nothing without an end, sends weights from wherever they lie, and
gives each completion what the model's context leaves after its prompt.

In a push of weights the two sides wait for each other: where one of them fails, TRL's goes on waiting for ever.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, wait
from functools import partial
from typing import Any

import torch
from requests.adapters import HTTPAdapter
from trl.generation.vllm_client import VLLMClient

from src.common.errors import RunFailed, in_words
from src.common.threads import in_thread
from src.rollout.engine import TokenIds, limit_after

PUSH_S = 100.0  # for a tensor to be taken, and for any answer but completions: the run has ended after two minutes
STILL_S = 300.0  # in which a server that samples has to have read or written a token; its first kernels are compiled then
POLL_S = 2.0
CONNECTIONS = 1024  # that are kept, at most
COUNTERS = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")


def patiently(
    calls: Sequence[Callable[[], Any]], limit_s: float, progress: Callable[[], Any] = lambda: None,
    fault: Callable[[], str | None] = lambda: None,
) -> list[Any]:
    """What the calls return, or the first error that one of them raises, each in a thread of its own.

    Raises RunFailed, and leaves the threads to themselves, where `fault()` says something, or `progress()` has been the same for
    `limit_s` seconds.
    """
    running = [in_thread(call) for call in calls]
    seen, since = progress(), time.monotonic()
    while True:
        done, waiting = wait(running, min(POLL_S, limit_s), FIRST_EXCEPTION)
        if not waiting or any(future.exception() for future in done):
            return [future.result() for future in sorted(running, key=lambda future: future in waiting)]
        if said := fault():
            raise RunFailed(said)
        if (now := progress()) != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > limit_s:
            raise RunFailed(f"nothing has moved for {limit_s:.0f} s")


class LimitedAdapter(HTTPAdapter):
    """Has each request end but those for completions, which `WatchedClient.generate` looks after. It asks once: TRL asks six times,
    which would take six times as long, and weights cannot be sent twice."""

    def send(self, request: Any, *args: Any, timeout: Any = None, **kwargs: Any) -> Any:
        limit = None if request.path_url.endswith("/v1/completions") else PUSH_S
        return super().send(request, *args, timeout=timeout or limit, **kwargs)


class WatchedClient(VLLMClient):
    """Raises RunFailed, in a line, where TRL's would wait for ever."""

    said: str | None = None  # what the server last refused
    communicator: Any  # of NCCL, as `init_communicator` leaves it

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.room: int = self._get(f"{self.base_url}/v1/models")["data"][0]["max_model_len"]  # tokens of a sequence
        self.session.mount(self.base_url, LimitedAdapter(pool_maxsize=CONNECTIONS))

    def _post(self, url: str, **kwargs: Any) -> dict:
        try:
            return super()._post(url, **kwargs)
        except Exception as error:
            self.said = in_words(error)
            raise

    def generate(self, prompts: list[TokenIds], max_tokens: int = 16, **kwargs: Any) -> dict[str, Any]:
        """As TRL's, with a request for each limit: vLLM refuses a prompt with more `max_tokens` than there is room for after it."""
        limits = [limit_after(ids, max_tokens, self.room) for ids in prompts]
        groups = {limit: [place for place, own in enumerate(limits) if own == limit] for limit in dict.fromkeys(limits)}
        ask = super().generate
        calls = [
            partial(ask, prompts=[prompts[place] for place in places], max_tokens=limit, **kwargs) for limit, places in groups.items()
        ]
        try:
            return in_order(list(groups.values()), patiently(calls, STILL_S, self._tokens_so_far))
        except RunFailed as error:
            raise RunFailed(f"the vLLM server at {self.base_url} samples no more ({error})") from error

    def _tokens_so_far(self) -> list[str] | None:
        """What the server counts of the tokens that it has read and written."""
        try:
            lines = self.session.get(f"{self.base_url}/metrics", timeout=POLL_S).text.splitlines()
        except OSError:
            return None
        return [line for line in lines if line.startswith(COUNTERS)]

    def update_named_params(
        self, metadata: list[tuple[str, str, list[int]]], named_params: Iterator[tuple[str, torch.Tensor]]
    ) -> None:
        """As TRL's, with weights from wherever they are: under DeepSpeed on the CPU until training begins, and under FSDP2 the
        whole copy always. NCCL takes those of its own device alone."""
        self.said, sent, device = None, [0], self.communicator.device

        def on_device() -> Iterator[tuple[str, torch.Tensor]]:
            try:
                for name, weight in named_params:
                    sent[0] += 1
                    yield name, weight.to(device)
            except Exception as error:
                self.said = in_words(error)
                raise

        def push() -> None:
            if device.type == "cuda":
                torch.cuda.set_device(device)  # a thread begins with the first GPU
                torch.cuda.synchronize()  # vLLM reads in streams of its own, which do not wait for the last step
            VLLMClient.update_named_params(self, metadata, on_device())

        try:
            patiently([push], PUSH_S, lambda: sent[0], lambda: self.said)
        except Exception as error:
            self.communicator.destroy()  # or what NCCL has begun would keep this process from ending
            reason = error if isinstance(error, RunFailed) else self.said or in_words(error)
            raise RunFailed(f"the weights did not reach the vLLM server at {self.base_url} ({reason})") from error


def in_order(places: Sequence[Sequence[int]], answers: Sequence[dict[str, list | None]]) -> dict[str, list | None]:
    """One answer out of several, each to the prompts at some places, with as many entries for each of its prompts."""
    merged: dict[str, list | None] = {}
    for key, values in answers[0].items():
        by_place = {
            place: answer[key][number * len(answer[key]) // len(own) : (number + 1) * len(answer[key]) // len(own)]
            for own, answer in zip(places, answers, strict=True) if answer[key] is not None
            for number, place in enumerate(own)
        }
        merged[key] = None if values is None else [entry for place in sorted(by_place) for entry in by_place[place]]
    return merged
