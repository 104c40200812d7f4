"""The entry: `python -m src.evaluate [models…] [key=value…]` measures models without training, all under one protocol.

A model is a folder, a hub name, a run (its best checkpoint) or a checkpoint; `model.path=a,b` is another way to name several.
The other arguments are those of a run. With `evaluation.until.half_width` it is the difference to the first model that is
decided. `python -m src.report` then compares them, paired by problem.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from src.common.errors import INTERRUPTED, UserError
from src.common.screen import Screen
from src.common.streams import protect
from src.config.tree import LabConfig, parse
from src.experiment.measuring import measure_models, weights_of
from src.experiment.preparing import heed_signals
from src.run import composed, end, spelled_out

PATHS = "model.path="


def configurations(arguments: Sequence[str]) -> list[tuple[str, LabConfig]]:
    """Each model as it was named, with its configuration; that of the model group where none is named. Raises UserError."""
    if unknown := [argument for argument in arguments if argument.startswith("-")]:
        raise UserError(f"{unknown[0]}: no such option; give models, and key=value as for a run")
    named = [argument for argument in arguments if not is_setting(argument)]
    settings = [argument for argument in arguments if argument not in named]
    for argument in [argument for argument in settings if argument.startswith(PATHS)]:
        settings.remove(argument)
        named += [path for path in argument.removeprefix(PATHS).split(",") if path]
    content = composed([spelled_out(argument, swept=False) for argument in settings])
    for key in ("plan", "resume"):
        if content[key]:
            raise UserError(f"{key}: of a run alone; here everything is measured, and what was measured before is taken from the cache")
    models = list(dict.fromkeys(named)) or [content["model"]["path"]]
    return [(name, parse({**content, "model": content["model"] | {"path": weights_of(name)}})) for name in models]


def is_setting(argument: str) -> bool:
    """Whether it is Hydra's `key=value` or `~key`, and no path that looks alike."""
    deletes = argument.startswith("~") and not argument.startswith("~/")
    return ("=" in argument or deletes) and not Path(argument).exists()


def main() -> None:
    protect()
    heed_signals()
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return
    try:
        folders = measure_models(configurations(sys.argv[1:]), Screen())
    except KeyboardInterrupt:
        print("interrupted; the same command goes on with what was measured", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets one line
        end(error)
    print(f"records: {' '.join(map(str, folders))}\ncompare them: python -m src.report {' '.join(map(str, folders))}")


if __name__ == "__main__":
    main()
