"""What a text looks like: whether its reasoning is closed, and which script it is written in."""

import re
import unicodedata
from collections import Counter
from functools import lru_cache

from src.common.errors import nearest

# Scripts by the beginnings of their letters' Unicode names. A language written in several has them all.
SCRIPTS: dict[str, tuple[str, ...]] = {
    "arabic": ("ARABIC",),
    "cyrillic": ("CYRILLIC",),
    "devanagari": ("DEVANAGARI",),
    "greek": ("GREEK",),
    "han": ("CJK", "IDEOGRAPHIC", "KANGXI"),
    "hebrew": ("HEBREW",),
    "japanese": ("HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "CJK", "IDEOGRAPHIC", "KANGXI"),
    "korean": ("HANGUL", "HALFWIDTH HANGUL", "CJK", "KANGXI"),
    "latin": ("LATIN", "FULLWIDTH LATIN"),
    "thai": ("THAI",),
}


def has_format(text: str) -> bool:
    r"""Whether exactly one `</think>` stands on a line of its own, with a line before and one after it.

    Counted as Open-RS counts it: of two in lines that follow each other, the second shares its line end with the first, and
    is not seen (https://github.com/knoveleng/open-rs, src/open_r1/rewards.py, format_reward).

    Only the closing tag counts: the chat templates of reasoning models end the prompt with `<think>`, so it is not in
    the completion. A text that begins or ends with `</think>` has no reasoning or no answer, and does not qualify.

    >>> has_format("2 + 2 = 4\n</think>\n\\boxed{4}")
    True
    """
    return text.count("\n</think>\n") == 1


# LaTeX and tags are the same in every language. Spans have a longest length, so that a text full of unclosed
# delimiters is still read in linear time. A dollar sign opens maths only before a non-space and closes it only after
# one and not before a digit, so that amounts of money are no maths.
_MARKUP = re.compile(
    r"""
    \$\$.{1,2000}?\$\$ | \$(?=\S)[^$\n]{0,499}(?<=\S)\$(?!\d)
    | \\\(.{1,2000}?\\\) | \\\[.{1,2000}?\\\]
    | \\begin\{(\w{1,20}\*?)\}.{0,2000}?\\end\{\1\} | \\(?:begin|end)\{\w{0,20}\*?\}
    | \\[A-Za-z]+
    | </?\w{1,20}>
    """,
    re.VERBOSE | re.DOTALL,
)
# Variables and signs: Latin and Greek letters that stand alone, mathematical alphabets, the micro and ordinal signs.
_LATIN, _GREEK = "A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f", "\u0370-\u03ff"
_SYMBOL = re.compile(
    f"(?<![{_LATIN}])[{_LATIN}](?![{_LATIN}])|(?<![{_GREEK}])[{_GREEK}](?![{_GREEK}])"
    "|[\u00aa\u00b5\u00ba\u2100-\u214f\U0001d400-\U0001d7ff]"
)


def script_share(text: str, script: str = "latin") -> float:
    """Share of the letters of a text that belong to a script, 0 to 1; 1 for a text without letters.

    Left out: LaTeX (maths, environments, commands), tags, mathematical letters and letters that stand alone. It tells
    scripts apart, not languages that share one.

    Raises:
        ValueError: the script is not one of SCRIPTS.
    """
    if script not in SCRIPTS:
        raise ValueError(f"no script '{script}': {nearest(script, SCRIPTS)}")
    words = _SYMBOL.sub(" ", _MARKUP.sub(" ", text))
    counts = {char: n for char, n in Counter(words).items() if char.isalpha()}
    if not counts:
        return 1.0
    return sum(n for char, n in counts.items() if _belongs(char, script)) / sum(counts.values())


@lru_cache(maxsize=20_000)
def _belongs(char: str, script: str) -> bool:
    return unicodedata.name(char, "").startswith(SCRIPTS[script])
