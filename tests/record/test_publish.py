"""Pushing a finished run's model: the folder, its card, and what a hub would be sent."""

import json
import threading
from base64 import b64decode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import configured

from src.common.errors import UserError
from src.common.screen import Screen
from src.model.load import fingerprint, load_model, load_tokenizer
from src.record.publish import prepare, push
from src.record.record import Record, read_summary

REPOSITORY = "me/my-model"


@pytest.fixture
def finished(toy_run, tmp_path):
    """A copy of a finished run's record, and its last checkpoint."""
    import shutil

    folder = shutil.copytree(toy_run, tmp_path / "run")
    return Record(folder, read_summary(folder)), folder / "checkpoints" / "checkpoint-4"


class Hub(BaseHTTPRequestHandler):
    """As much of the hub's interface as an upload of small files takes."""

    files: dict[str, bytes]
    created: list[dict]

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self.created.append(json.loads(body))
            self._answer({"url": f"{self.server.url}/{REPOSITORY}"})
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            self._answer({"files": [{"path": n, "uploadMode": "regular", "shouldIgnore": False} for n in names]})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = b64decode(line["value"]["content"])
            url = f"{self.server.url}/{REPOSITORY}/commit/abc"
            self._answer({"commitUrl": url, "commitOid": "abc", "success": True})
        else:
            self._answer({"valid": True})  # its opinion of the card's front matter

    def do_GET(self):
        self._answer({"id": REPOSITORY, "siblings": [], "sha": "0"})

    def _answer(self, content):
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    handler = type("Handler", (Hub,), {"files": {}, "created": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", server.url)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield handler
    server.shutdown()


def settings(*overrides):
    return configured("+experiment=mix_easy_hard", "hub.push=true", f"hub.repository={REPOSITORY}", *overrides)


def test_the_folder_is_a_model_that_loads_and_holds_nothing_of_training(finished):
    record, checkpoint = finished
    folder = prepare(record, checkpoint, load_tokenizer(configured().model))
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja", "README.md"} <= names
    assert not [name for name in names if name.startswith(("optimizer", "rng_state", "scheduler", "trainer_state"))]
    one, other = (load_model(configured(f"model.path={path}").model) for path in (folder, checkpoint))
    assert fingerprint(one) == fingerprint(other)


def test_the_card_says_data_recipe_results_and_cost(finished):
    record, checkpoint = finished
    card = (prepare(record, checkpoint, load_tokenizer(configured().model)) / "README.md").read_text()
    best = record.summary["evaluation"]["validation"]["best"]
    assert f"{100 * best['accuracy']:.1f} [{100 * best['ci_low']:.1f}, {100 * best['ci_high']:.1f}]" in card
    for said in ("micro/core", "format 1", "accuracy 2", "0.0002", "112 tokens", "GPU-hours", "4 prompts x 6", "trl "):
        assert said in card, said
    assert card.startswith("---\nlibrary_name: transformers")


def test_the_hub_is_sent_the_folder_and_the_record_names_the_commit(finished, hub):
    record, checkpoint = finished
    push(settings().hub, record, checkpoint, load_tokenizer(configured().model), Screen())
    assert hub.created[0]["name"] == "my-model" and hub.created[0]["visibility"] == "private"
    assert hub.files["model.safetensors"] == (checkpoint / "model.safetensors").read_bytes()
    assert b"## Results" in hub.files["README.md"] and not any("optimizer" in name for name in hub.files)
    assert read_summary(record.folder)["hub"] == {"repository": REPOSITORY, "commit": "abc"}
    assert not (record.folder / "hub").exists()


def test_a_hub_that_is_not_there_costs_a_warning_and_the_folder_stays(finished, monkeypatch, capsys):
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    record, checkpoint = finished
    push(settings().hub, record, checkpoint, load_tokenizer(configured().model), Screen())
    assert "could not push" in capsys.readouterr().out
    assert (record.folder / "hub" / "model.safetensors").is_file() and "hub" not in read_summary(record.folder)


def test_push_needs_a_repository_and_is_off_by_default():
    assert not configured().hub.push
    with pytest.raises(UserError, match="hub.repository="):
        configured("hub.push=true")
