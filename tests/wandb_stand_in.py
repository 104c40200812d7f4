"""A local stand-in for the W&B API that records what is sent, or refuses, stalls, breaks off."""

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from conftest import ROOT

STALL_S = 30  # before an answer comes


class StandIn(ThreadingHTTPServer):
    """Answers the queries that a report and a run need. `manner`: answer, refuse, stall or break; `then` is the manner
    after a run was let in."""

    def __init__(self, manner: str, then: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.manner, self.then, self.sent = manner, then or manner, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        content = json.loads(body) if body.startswith(b"{") else {}
        query, variables = content.get("query", ""), content.get("variables") or {}
        self.server.sent.append((query, variables))
        if self.server.manner == "stall":
            time.sleep(STALL_S)
        if self.server.manner == "break":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{")
            self.wfile.flush()
            self.connection.close()
            return
        if "upsertBucket" in query:
            self.server.manner = self.server.then
            self._answer(200, {"data": answer(query, variables)})
            return
        self._answer(403 if self.server.manner == "refuse" else 200, {"data": answer(query, variables)})

    def do_GET(self) -> None:
        self._answer(404, {})

    def _answer(self, status: int, content: dict) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def answer(query: str, variables: dict) -> dict:
    if "upsertBucket" in query:
        project = {"id": "1", "name": variables["project"], "entity": {"id": "1", "name": "someone"}}
        run = {"id": "1", "name": variables["name"], "displayName": variables["displayName"], "description": None,
               "config": None, "sweepName": None, "historyLineCount": 0, "project": project}  # fmt: skip
        return {"upsertBucket": {"bucket": run, "inserted": True}}
    if "upsertView" in query:
        view = {
            "id": "Vmlldzox",
            "type": "runs",
            "name": variables["name"],
            "displayName": variables["displayName"],
            "description": variables["description"],
            "spec": variables["spec"],
            "user": None,
            "project": {"id": "1", "name": variables["projectName"], "entityName": variables["entityName"]},
            "createdAt": "2026-01-01T00:00:00",
            "updatedAt": "2026-01-01T00:00:00",
        }
        return {"upsertView": {"view": view, "inserted": True}}
    if "upsertModel" in query:
        return {
            "upsertModel": {
                "model": {"id": "1", "name": "p", "entityName": "someone"},
                "project": {"id": "1", "name": "p"},
                "inserted": True,
            }
        }
    if "viewer" in query:
        viewer = {
            "id": "1",
            "flags": "{}",
            "entity": "someone",
            "username": "someone",
            "email": "",
            "admin": False,
            "apiKeys": {"edges": []},
            "teams": {"edges": []},
        }
        return {"viewer": viewer, "serverInfo": {"frontendHost": "http://app"}}
    if "ProjectInternalId" in query:
        return {"project": {"id": "1", "internalId": "UHJvamVjdEludGVybmFsSWQ6MQ=="}}
    if "models(" in query or "projects(" in query:
        page = {"edges": [], "pageInfo": {"endCursor": None, "hasNextPage": False}}
        return {"models": page, "entity": {"projects": page}}
    return {"serverInfo": {"frontendHost": None, "cliVersionInfo": {}, "features": []}}


def python(tmp_path, *arguments, server=None):
    """A Python of its own, without this machine's login."""
    settings = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    settings |= {
        "HOME": str(tmp_path),
        "NETRC": str(tmp_path / "netrc"),
        "WANDB_CONFIG_DIR": str(tmp_path),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}",
    }
    if server:
        settings |= {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0" * 40}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], env=settings, cwd=tmp_path, capture_output=True, text=True, timeout=120,
        check=False,
    )
