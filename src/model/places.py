"""Where weights are: in the project, in a folder, in the hub's cache or a mirror."""

from pathlib import Path

from src.common.errors import UserError, nearest
from src.common.hub import hub_reachable, mirrored
from src.micro.ladder import LADDER, place, provide
from src.model.adapters import base_of, make_merged, merged_folder
from src.model.config import ModelConfig

EMBEDDED = {
    "embedded/micro": Path(__file__).parents[1] / "micro" / "weights",
    "embedded/micro_large": Path(__file__).parents[1] / "micro" / "weights_large",
}
MADE_BY = {
    "embedded/micro": "python -m src.micro.pretrain makes it",
    "embedded/micro_large": "python -m src.micro.pretrain --size large makes it, on a GPU in minutes",
}


def located(path: str) -> str:
    """The folder or hub name that a path means. Raises UserError for a folder that holds no model."""
    if path in LADDER:
        return str(place(path))
    if path.startswith("embedded/"):
        if path not in EMBEDDED:
            raise UserError(f"model.path: no embedded model {path}; {nearest(path, [*EMBEDDED, *LADDER])}")
        if not (EMBEDDED[path] / "config.json").is_file():
            raise UserError(f"model.path: {path} is not made yet; {MADE_BY[path]}")
        return str(EMBEDDED[path])
    if base_of(path):
        return str(merged_folder(path))
    folder = Path(path).expanduser()
    # A hub name has one slash at most and no leading dot or slash; everything else means a folder.
    is_hub_name = not folder.exists() and path.count("/") <= 1 and path[0] not in "./~"
    if is_hub_name:
        return str(mirrored(path) or path)
    if not (folder / "config.json").is_file():
        raise UserError(f"model.path: {path} holds no model (no config.json); give a hub name, or the folder of a model or adapter")
    return str(folder)


def prefer_cache(model: ModelConfig) -> None:
    """Where the model comes from the hub and that is out of reach, have its cached copy used at once; pre-train a model
    of the ladder, and merge an adapter, that is not there yet."""
    from huggingface_hub import constants

    # The tokenizer is a source of its own, and a random model has no other.
    sources = {model.tokenizer or model.path} | (set() if model.init == "random" else {model.path})
    adapters = {source: base for source in sources if (base := base_of(source))}
    for source in (sources | {base for base, _ in adapters.values()}) & set(LADDER):
        provide(source)
    needed = [located(adapters[source][0] if source in adapters else source) for source in sources]
    if not all(Path(place).is_dir() for place in needed) and not hub_reachable(constants.ENDPOINT):
        constants.HF_HUB_OFFLINE = True  # for the rest of the process: the reference model is loaded later
    for source, (base, _) in adapters.items():
        try:
            make_merged(source, located(base))
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise unreachable(source, error) from error


def unreachable(source: str, error: Exception) -> UserError:
    reason = " ".join((str(error) or type(error).__name__).strip().splitlines()[0].split())
    advice = (
        "is it whole? copy or download it again" if Path(located(source)).is_dir()
        else "give a downloaded copy as model.path=<folder>"
    )
    return UserError(f"model.path: cannot load {source} ({reason}); {advice}")
