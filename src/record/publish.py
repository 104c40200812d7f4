"""The `hub` keys: push a finished run's best weights to the hub, with a card made from its record. Off by default."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import model_validator

from src.common.base import Config
from src.common.files import CHECKSUMS
from src.record.checkpoints import STATE, STATE_FILE
from src.record.model_card import model_card

if TYPE_CHECKING:
    from src.common.screen import Screen
    from src.record.record import Record

# Of a checkpoint: what is needed to continue training, and not to use the model.
TRAINING_ONLY = (*STATE, STATE_FILE, CHECKSUMS, "trainer_state.json", "training_args.bin", "README.md")


class HubConfig(Config):
    """Where a finished run's model goes."""

    push: bool = False
    repository: str | None = None  # such as me/my-model
    private: bool = True

    @model_validator(mode="after")
    def _named(self) -> "HubConfig":
        if self.push and not self.repository:
            raise ValueError("push needs a repository; give hub.repository=<user or organisation>/<name>")
        return self


def prepare(record: "Record", checkpoint: Path, tokenizer) -> Path:
    """The folder that is uploaded: a checkpoint's weights and configuration, the tokenizer, and the card."""
    folder = record.folder / "hub"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns(*TRAINING_ONLY))
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(model_card(record.folder), encoding="utf-8")
    return folder


def push(config: HubConfig, record: "Record", checkpoint: Path, tokenizer, screen: "Screen", token: str | None = None) -> None:
    """Upload the model, with `token` or as this machine is logged in. A hub that does not take it costs a warning, not the
    run: the folder stays, ready to upload."""
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    folder, repository = prepare(record, checkpoint, tokenizer), str(config.repository)
    try:
        api = HfApi(token=token)
        api.create_repo(repository, private=config.private, exist_ok=True)
        found: Any = api.upload_folder(
            repo_id=repository, folder_path=folder,
            commit_message=f"{record.summary['experiment']}, seed {record.summary['seed']}",
        )
    except (HfHubHTTPError, httpx.HTTPError, OSError, ValueError) as error:
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        screen.warn(f"hub: could not push ({reason}); the model is ready: hf upload {repository} {folder}")
        return
    shutil.rmtree(folder)
    record.save(hub={"repository": repository, "commit": found.oid})
    screen.note(f"pushed to {repository}")
