"""The live page: `python -m src.report --serve` writes it anew while runs and sweeps go on, and shows it, on this machine alone
unless told otherwise. Files are read and files are shown; nothing asks a run for anything."""

import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

from src.common.errors import UserError

LOOK_S = 2.0  # between two looks at the records
IDLE = 4  # times the processor's time that writing the page took: training needs it more
UNREAD = {"checkpoints", "completions", "wandb"}  # folders that the page is not made of
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

Write = Callable[[str], None]  # the page of a state


class LiveServer(ThreadingHTTPServer):
    """Shows a folder; `state` is what its page shows."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], folder: Path) -> None:
        super().__init__(address, partial(LiveHandler, directory=str(folder)))
        self.folder, self.state = folder, ""

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.server_port}"

    @property
    def host(self) -> str:
        return str(self.server_address[0])

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a browser that went away
            super().handle_error(request, client_address)


class LiveHandler(SimpleHTTPRequestHandler):
    """Files of one folder, and `live`: the name of the state that is shown."""

    server: LiveServer

    def send_head(self) -> Any:
        """The file to send. Refuses other names that lead here (DNS rebinding), as far as none but this machine shall see it."""
        here, asked = self.server.host, re.sub(r":\d+$", "", self.headers.get("Host", ""))
        if here.startswith("127.") and asked not in (*LOOPBACK, here):
            return self.send_error(HTTPStatus.FORBIDDEN)
        if self.path != "/live":
            return super().send_head()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain")
        self.end_headers()
        return BytesIO(self.server.state.encode())

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def list_directory(self, path: Any) -> None:
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, *args: Any) -> None:
        """Not a line for each question whether there is something new."""


def serve(folders: Sequence[Path], folder: Path, address: tuple[str, int], write: Write) -> int:
    """Until Ctrl-C; returns the exit code. `write` puts the page of a state into `folder`. Raises UserError."""
    try:
        server = LiveServer(address, folder)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", error)
        raise UserError(f"cannot listen on {address[0]}:{address[1]} ({why}); choose others with --host and --port") from error
    with server, suppress(KeyboardInterrupt):
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            keep_up(server, folders, write)
        except OSError as error:
            raise UserError(str(error)) from error
    return 0


def keep_up(server: LiveServer, folders: Sequence[Path], write: Write) -> None:
    """Write the page whenever the records are others than it shows."""
    spent = 0.0
    while True:
        if (state := state_of(folders, server.folder)) != server.state:
            began, first = time.process_time(), not server.state
            write(state)
            server.state = state
            spent = 0.0 if first else time.process_time() - began  # the first time libraries are loaded too
            if first:
                print(f"live report: {server.address} (Ctrl-C ends it)", flush=True)
        time.sleep(max(LOOK_S, IDLE * spent))


def state_of(folders: Sequence[Path], besides: Path) -> str:
    """A name of what the records hold now, another when a file has come, gone or grown; the page itself `besides`."""
    found, besides = hashlib.sha256(), besides.resolve()
    for folder in folders:
        for place, below, names in os.walk(folder):
            shown = (name for name in sorted(below) if name not in UNREAD and not name.startswith("."))
            below[:] = [name for name in shown if (Path(place) / name).resolve() != besides]
            for name in sorted(names):
                found.update(_mark(Path(place) / name).encode())
    return found.hexdigest()[:16]


def _mark(path: Path) -> str:
    try:
        now = path.stat()
    except FileNotFoundError:  # it was replaced just now
        return ""
    return f"{path} {now.st_size} {now.st_mtime_ns}\n"
