"""The `prompt` group: what is put around a question. Add an option by adding a file to conf/prompt."""

from pydantic import field_validator

from src.common.base import Config

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


# The user message alone: what Open-RS evaluates with.
NO_PROMPT = PromptConfig(system=None, user="{question}")


def messages(prompt: PromptConfig, question: str) -> list[Message]:
    """The conversation that asks one question."""
    # replace, not format: questions hold braces of LaTeX.
    user = {"role": "user", "content": prompt.user.replace("{question}", question)}
    return [user] if prompt.system is None else [{"role": "system", "content": prompt.system}, user]


def prompt_token_ids(tokenizer, prompt: PromptConfig, question: str) -> list[int]:
    """Token ids up to where the model begins to write, through the model's own chat template."""
    encoded = tokenizer.apply_chat_template(messages(prompt, question), add_generation_prompt=True, return_dict=True)
    return list(encoded["input_ids"])
