"""A call beside others."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any


def in_thread(call: Callable[[], Any]) -> Future:
    """What a call will return, or raise, in a thread of its own that nobody has to wait for."""
    future: Future = Future()

    def settle() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            future.set_exception(error)

    Thread(target=settle, daemon=True).start()
    return future
