"""The teacher of a distillation: where it is, and whether the policy can learn from it."""

from collections.abc import Iterator
from contextlib import contextmanager

from src.common.errors import UserError
from src.config.tree import LabConfig
from src.model.architecture import config_json
from src.model.config import ModelConfig
from src.model.load import load_tokenizer


def teacher_of(config: LabConfig) -> ModelConfig | None:
    """The model that is learnt from, in the policy's dtype; None where there is none."""
    algorithm = config.algorithm
    if algorithm.teacher is None:
        return None
    other = {"path": algorithm.teacher, "revision": algorithm.teacher_revision, "lora": None, "init": "weights", "tokenizer": None}
    return config.model.model_copy(update=other | {"size": None, "variant": None, "chat_template_kwargs": {}})


def check_teacher(config: LabConfig, tokenizer) -> None:
    """Raise UserError where the teacher cannot be had, or reads other tokens than the policy."""
    if (teacher := teacher_of(config)) is None:
        return
    with named_as_asked():
        same = load_tokenizer(teacher).get_vocab() == tokenizer.get_vocab()
        same = same and config_json(teacher)["vocab_size"] == config_json(config.model)["vocab_size"]
    if not same:
        raise UserError(
            f"algorithm.teacher: {teacher.path} has other tokens than {config.model.path}, whose distributions over the next token are "
            "compared; choose a teacher with the same tokenizer and size of vocabulary"
        )


@contextmanager
def named_as_asked() -> Iterator[None]:
    """Have what is wrong with the teacher said of its own key."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace("model.path", "algorithm.teacher")) from error
