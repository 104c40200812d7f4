r"""What a problem says, without how it is spelt: the tokens and n-grams by which copies of it are found.

Copies of a problem differ in spaces, in LaTeX (`\dfrac` for `\frac`, `\( \)` for `$ $`, braces, `\left`), in the names of
variables and points, and in the order of clauses. So LaTeX is brought to one spelling, every variable becomes the same
token, and texts are compared as sets of n-grams, of which a clause that moves breaks only those at its ends. What a copy
keeps are its numbers: two problems of one template differ in them alone, and are different problems.
"""

import hashlib
import re
import struct
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

VARIABLE = "v"

# Commands that change the looks alone, and their arguments where these are no text.
_LOOKS = re.compile(
    r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits|nolimits|quad|qquad|hfill|centering|noindent)(?![A-Za-z])"
    r"|\\[,;:!> ]|\\(?:hspace|vspace)\*?\{[^{}]{0,20}\}|\\(?:begin|end)\{(?:align|equation|gather|center)\*?\}"
)
_FONTS = re.compile(r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:rm|bf|it|sf|tt|bb|cal)|mbox|operatorname|emph|boldsymbol|bm)\*?(?![A-Za-z])")
_SAME = {
    **dict.fromkeys(("dbinom", "tbinom"), "binom"),
    **dict.fromkeys(("le", "leqslant", "leqq", "≤", "⩽"), "leq"),
    **dict.fromkeys(("ge", "geqslant", "geqq", "≥", "⩾"), "geq"),
    **dict.fromkeys(("ne", "≠"), "neq"),
    **dict.fromkeys(("rightarrow", "longrightarrow", "→"), "to"),
    **dict.fromkeys(("circ", "°", "degree", "degrees"), "degree"),
    **dict.fromkeys(("lvert", "rvert", "vert", "mid"), "|"),
    **dict.fromkeys(("overrightarrow", "vec"), "vec"),
    **dict.fromkeys(("infty", "∞"), "infty"),
    **dict.fromkeys(("π",), "pi"),
    **dict.fromkeys(("√",), "sqrt"),
    **dict.fromkeys(("∠",), "angle"),
    **dict.fromkeys(("triangle", "△"), "triangle"),
    **dict.fromkeys(("−", "–", "—", "‐"), "-"),
    **dict.fromkeys(("varnothing", "∅"), "emptyset"),
}
_GREEK = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau upsilon "
    "phi varphi chi psi omega ell".split()
)
# Punctuation, grouping, products and fractions: what copies differ in most.
_SILENT = frozenset("frac dfrac tfrac cfrac over times cdot ast colon ldots dots cdots dotsc dotsb".split()) | frozenset(
    "*×·⋅∙^/⁄.,;:?!'\"`$(){}[]~&_\\"
)
_TOKEN = re.compile(r"\\[A-Za-z]+|\d+(?:,\d{3})+(?!\d)|\d+|[^\W\d_]+|\S")
_DEGREE = re.compile(r"\^\s*(?:\\circ|\{\s*\\circ\s*\})")
_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|,\\!)(?=\d{3})")
_NUMBER = re.compile(r"\d+")
_MATHS = re.compile(r"\$\$.{1,2000}?\$\$|\$[^$]{1,500}\$|\\\(.{1,2000}?\\\)|\\\[.{1,2000}?\\\]", re.DOTALL)
_POINTS = 5  # letters: a longer run of capitals is a word
_LONG = 4  # letters: a run of so many in a formula is a word of \text{}


@dataclass(frozen=True, slots=True)
class Canonical:
    """A problem as it is compared."""

    tokens: tuple[str, ...]
    numbers: tuple[tuple[str, int], ...]  # each number and how often it occurs, sorted


def canonical(question: str) -> Canonical:
    """The tokens of a question, and the numbers in it."""
    text = _DEGREE.sub(r"\\degree ", _THOUSANDS.sub(",", unicodedata.normalize("NFKC", question)))
    text = text.replace("\\%", "%").replace("\\$", " ").replace("\\\\", " ")
    text = _FONTS.sub(" ", _LOOKS.sub(" ", text))
    tokens: list[str] = []
    position = 0
    for maths in _MATHS.finditer(text):
        _add(tokens, text[position : maths.start()], in_maths=False)
        _add(tokens, maths.group(), in_maths=True)
        position = maths.end()
    _add(tokens, text[position:], in_maths=False)
    numbers = Counter(token for token in tokens if _NUMBER.fullmatch(token))
    return Canonical(tuple(tokens), tuple(sorted(numbers.items())))


def _add(tokens: list[str], text: str, in_maths: bool) -> None:
    for token in _TOKEN.findall(text):
        tokens += _spelt(token, in_maths)


@lru_cache(maxsize=100_000)
def _spelt(token: str, in_maths: bool) -> tuple[str, ...]:
    """One token in its common spelling: none for punctuation, one for each letter of `abc` in a formula."""
    name = token.removeprefix("\\") or token
    if name in _SILENT and (token[0] == "\\" or not name.isalpha()):
        return ()
    if token[0].isdigit():
        return (token.replace(",", "").lstrip("0") or "0",)
    if token[0] == "\\" and name in _GREEK:
        return (VARIABLE,)
    if token[0] != "\\" and name.isalpha() and _names_variables(name, in_maths):
        return (VARIABLE,) * len(name)
    return (_SAME.get(name, name.casefold()),)


def _names_variables(letters: str, in_maths: bool) -> bool:
    if in_maths and letters.isascii() and len(letters) < _LONG:
        return True
    if len(letters) == 1:
        return letters not in "aAIπ" if letters.isascii() else "α" <= letters.casefold() <= "ω" and letters != "π"
    return len(letters) <= _POINTS and letters.isascii() and letters.isupper()


def ngrams(tokens: Sequence[str], n: int) -> set[int]:
    """64-bit hashes of the distinct runs of n tokens; of a shorter text, the one of all of it."""
    runs = (" ".join(tokens[start : start + n]) for start in range(max(1, len(tokens) - n + 1)))
    return {hash_64(run) for run in runs}


def hash_64(text: str) -> int:
    """The same on every machine and in every process."""
    return struct.unpack("<Q", hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest())[0]


def covers(numbers: Iterable[tuple[str, int]], others: Iterable[tuple[str, int]]) -> bool:
    """Whether every one of `others` occurs in `numbers` as often at least."""
    have = dict(numbers)
    return all(have.get(number, 0) >= count for number, count in others)
