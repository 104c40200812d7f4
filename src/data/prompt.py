"""The `prompt` group: what is put around a question. Add an option by adding a file to conf/prompt."""

import yaml
from pydantic import field_validator

from src.common.base import Config
from src.common.errors import UserError, refuse_unknown
from src.common.files import of_project

OPTIONS = of_project("conf") / "prompt"

Message = dict[str, str]  # {"role": ..., "content": ...}, as chat templates take it


class PromptConfig(Config):
    """A system message (or none) and a template for the user message; the chat template stays the model's."""

    system: str | None
    user: str

    @field_validator("user")
    @classmethod
    def _holds_question(cls, user: str) -> str:
        if "{question}" not in user:
            raise ValueError("must contain {question}, the place where the problem goes")
        return user


# The problem alone as the user message.
NO_PROMPT = PromptConfig(system=None, user="{question}")


def named(name: str) -> PromptConfig:
    """The prompt of an option. Raises ValueError, with the nearest right one, for a name that conf/prompt does not have."""
    refuse_unknown([name], [path.stem for path in sorted(OPTIONS.glob("*.yaml"))], "prompt")
    return PromptConfig.model_validate(yaml.safe_load((OPTIONS / f"{name}.yaml").read_text(encoding="utf-8")))


def messages(prompt: PromptConfig, question: str) -> list[Message]:
    """The conversation that asks one question."""
    # replace, not format: questions hold braces of LaTeX.
    user = {"role": "user", "content": prompt.user.replace("{question}", question)}
    return [user] if prompt.system is None else [{"role": "system", "content": prompt.system}, user]


def prompt_token_ids(tokenizer, prompt: PromptConfig, question: str) -> list[int]:
    """Token ids up to where the model begins to write, through the model's own chat template. Raises UserError where that
    does not take the conversation."""
    from jinja2 import TemplateError

    try:
        encoded = tokenizer.apply_chat_template(messages(prompt, question), add_generation_prompt=True, return_dict=True)
    except (TemplateError, TypeError) as error:
        advice = "" if prompt.system is None else (
            "; if it is the system message, set prompt.system=null and put its text before {question} in prompt.user"
        )
        raise UserError(f"model.path: its chat template does not take the prompt ({' '.join(str(error).split())}){advice}") from error
    return list(encoded["input_ids"])
