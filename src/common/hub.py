"""Whether the hub can be reached, decided in a second instead of after half a minute of retries; and local mirrors."""

import os
import socket
import threading
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

HUB_SECONDS = 5.0  # how long a first connection to the hub may take


MIRROR = "GRPO_LAB_MIRROR"  # environment: a folder that holds copies of hub repositories, each under its own name


def mirrored(name: str) -> Path | None:
    """The folder that holds a copy of a hub repository, such as $GRPO_LAB_MIRROR/knoveleng/open-rs; None without one."""
    root = os.environ.get(MIRROR)
    folder = Path(root).expanduser() / name if root else None
    return folder if folder and folder.is_dir() else None


def hub_answers(endpoint: str) -> bool:
    """Whether a server says anything within HUB_SECONDS, be it that it has no such page."""
    import httpx

    if not hub_reachable(endpoint):
        return False
    try:
        httpx.get(endpoint, timeout=HUB_SECONDS)
    except (httpx.HTTPError, OSError):
        return False
    return True


@cache
def hub_reachable(endpoint: str) -> bool:
    """Whether a connection to the hub, or to the proxy on the way to it, can be opened within HUB_SECONDS."""
    url = urlsplit(endpoint)
    proxy = getproxies().get(url.scheme)
    if proxy and not proxy_bypass(url.hostname or ""):
        url = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    address = (url.hostname or "", url.port or (443 if url.scheme == "https" else 80))
    opened = threading.Event()

    def connect() -> None:
        try:
            socket.create_connection(address, timeout=HUB_SECONDS).close()
        except OSError:
            return
        opened.set()

    # A thread, because looking up the name may hang for longer and takes no time limit.
    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(HUB_SECONDS)
    return opened.is_set()
