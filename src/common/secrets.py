"""What is never written down: values of keys that are named like secrets, and passwords in addresses."""

import re

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

_SECRET = re.compile(r"(^|[._-])(token|secret|password|passwd|pwd|api_?key|credentials?)$", re.IGNORECASE)
_WITHIN = re.compile(
    r"(token|secret|password|passwd|api_?key)['\"]?\s*[:=]"  # {hub_token: ...}, ?password=
    r"|://[^/\s@]+:[^/\s]*@"  # postgresql://me:password@host
    r"|\b(hf_|sk-|ghp_|github_pat_)\w{8,}",  # tokens of the hub, of model providers, of GitHub
    re.IGNORECASE,
)
_OF_A_LOGIN = re.compile(r"user|pass|pwd|secret|token|key", re.IGNORECASE)  # in an address, after its question mark


def is_secret(key: str) -> bool:
    """Whether what stands under a dotted key is a secret: `trainer.hub_token`, not `max_completion_tokens`."""
    return bool(_SECRET.search(key))


def tells_secret(override: str) -> bool:
    """Whether `key=value` of a command line holds a secret: by its key, a key in its value, or the form of the value."""
    key, _, value = override.partition("=")
    return is_secret(key.lstrip("+~")) or bool(_WITHIN.search(value))


def without_password(url: str) -> str:
    """The address of a storage, without who enters it and how."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # such as a port that is no number
        return f"{url.partition('://')[0]}://..."
    kept = {key: value for key, value in parsed.query.items() if not _OF_A_LOGIN.search(key)}
    # Not set(), which takes None as unchanged.
    return parsed._replace(username=None, password=None, query=kept).render_as_string(hide_password=False)
