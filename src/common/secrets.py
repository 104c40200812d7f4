"""What is never written down: values of keys that are named like secrets, passwords in addresses, and what looks like a token.

They stay in memory for what they are for, and a run that goes on reads them from the environment, as the libraries do.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"  # what is written in its place
_WORDS = r"(token|secret|password|passwd|passphrase|pwd|(api|access|secret|private)[_-]?key|credentials?)"
_SECRET = re.compile(rf"(^|[._-]){_WORDS}$", re.IGNORECASE)
_OF_A_VOCABULARY = re.compile(r"(^|[._-])(bos|eos|pad|unk|sep|cls|mask|image|stop)_token$")
_OF_A_LOGIN = re.compile(r"user|pass|pwd|secret|token|key", re.IGNORECASE)  # in an address, after its question mark


def is_secret(key: str) -> bool:
    """Whether what stands under a dotted key is a secret: `trainer.hub_token`, not `max_completion_tokens`."""
    return bool(_SECRET.search(key)) and not _OF_A_VOCABULARY.search(key)


def without_password(url: str) -> str:
    """The address of a storage, without who enters it and how."""
    from sqlalchemy.engine import make_url  # 0.2 s, of which a run has no need
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # such as a port that is no number
        return f"{url.partition('://')[0]}://..."
    kept = {key: value for key, value in parsed.query.items() if not _OF_A_LOGIN.search(key)}
    # Not set(), which takes None as unchanged.
    return parsed._replace(username=None, password=None, query=kept).render_as_string(hide_password=False)


# In text ------------------------------------------------------------------------------------------------------------

# key=value, 'key': 'value' and key="value"; a value ends at a space, a comma, a bracket or a quote.
_PAIR = re.compile(rf"""([\w.-]{{0,60}}?\b|[\w.-]{{0,60}}[_.-]){_WORDS}(["']?\s*=\s*["']?|["']\s*:\s*["'])([^\s,;&"'(){{}}\[\]]+)""", re.IGNORECASE)
_LOGIN = re.compile(r"(\w+://)[^/@\s]+@")
_KNOWN = re.compile(  # by their form: Hugging Face, GitHub, GitLab, OpenAI and its like, Slack, AWS, and JSON web tokens
    r"\b(hf_[A-Za-z0-9]{16,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|sk-[\w-]{20,}|xox[abpr]-[\w-]{10,}"
    r"|AKIA[0-9A-Z]{16}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,})"
)
SHORTEST = 8  # characters of a value in the environment that is looked for


def redacted(text: str) -> str:
    """A text without secrets: those of keys named so, logins of addresses, tokens by their form, and those of the environment."""
    for value in _of_environment():
        text = text.replace(value, HIDDEN)
    text = _LOGIN.sub(rf"\1{HIDDEN}@", _KNOWN.sub(HIDDEN, text))
    return _PAIR.sub(lambda found: found[0] if _OF_A_VOCABULARY.search(found[1] + found[2]) else _without_value(found), text)


def _without_value(found: re.Match[str]) -> str:
    return found[0].removesuffix(found[found.lastindex or 0]) + HIDDEN


def _of_environment() -> list[str]:
    secret = {name for name in os.environ if is_secret(name)} - {"PWD", "OLDPWD"}  # folders, of the shell
    found = {os.environ[name] for name in secret if len(os.environ[name]) >= SHORTEST}
    return sorted(found, key=len, reverse=True)


# In configurations ---------------------------------------------------------------------------------------------------


def without_secrets(content: Any) -> Any:
    """Plain values, such as a configuration's, as they may be written."""
    if isinstance(content, Mapping):
        return {key: HIDDEN if _hides(key, value) else without_secrets(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_secrets(value) for value in content]
    return redacted(content) if isinstance(content, str) else content


def only_known(content: Any) -> Any:
    """Content that was written by way of `without_secrets`, without the keys whose values nobody knows any more."""
    if isinstance(content, Mapping):
        return {key: only_known(value) for key, value in content.items() if value != HIDDEN}
    return [only_known(value) for value in content] if isinstance(content, list) else content


def _hides(key: Any, value: Any) -> bool:
    return is_secret(str(key)) and not isinstance(value, bool | dict | list | type(None))
