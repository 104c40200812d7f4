r"""One spelling for what LaTeX and plain text write in many ways: `\dfrac43`, `\frac{4}{3}` and `\left.\frac 4 3\right.`.

Only marks that say nothing are dropped and only shorthand is written out: what a text means is for `src.grading.reading`.
To add a spelling, add its pattern to REWRITES; they are applied in order.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

# Doubled backslashes, as text that was escaped once too often has them.
_RUN = re.compile(r"\\+")
_RUN_AND_NEXT = re.compile(r"(\\+)(\s?)")
_DOUBLED = re.compile(r"(?<!\\)(?:\\\\)+(?:[A-Za-z]|[{}%$!;:,|()\[\]])")

_CHARACTERS = str.maketrans(
    {"−": "-", "–": "-", "﹣": "-", "＋": "+", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": "/",
     "⁄": "/", "∕": "/", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∞": r"\infty ", "±": r"\pm ",
     "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "π": r"\pi ", "°": r"^{\circ}", "º": r"^{\circ}",
     "′": "'", "’": "'", "‘": "'", "“": '"', "”": '"', "…": r"\ldots ", "△": r"\triangle ", "∠": r"\angle ", "½": r"\frac{1}{2}",
     "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "％": "%", "（": "(", "）": ")",
     "，": ", ", "：": ":", "；": ";", "＝": "=", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u2007": " ", "\u200b": "",
     "²": "^{2}", "³": "^{3}", "⁴": "^{4}", "α": r"\alpha ", "β": r"\beta ", "θ": r"\theta ", "λ": r"\lambda ",
     "∘": r"\circ ", "€": r"\text{ EUR}", "£": r"\text{ GBP}", "ℝ": r"\mathbb{R}"}
)  # fmt: skip

ROW = "\ue000"  # between the rows of a matrix

_GROUP = r"\{[^{}]*(?:\{[^{}]*(?:\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}[^{}]*)*\}[^{}]*)*\}"
_BARE = r"(?:\\[A-Za-z]+|[0-9A-Za-z])"  # what a command without braces takes
_WORDY = r"\\(?:text(?:bf|it|rm|sf|tt|up|normal)?|mbox|hbox|mathrm|mathbf|mathsf|mathit|mathtt|operatorname\*?|emph|bf|boldsymbol|bm)"

REWRITES: Sequence[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"(?<!\\)(?:\\\\)+(?=[A-Za-z{}%$!;,:])", lambda m: m[0] if r"\begin" in m.string else "\\"),
    (r"\\\\", ROW),
    (r"\\(?:left|right|middle)\s*\.", ""),
    (
        r"\\(?:left|right|middle|[bB]igg?[lrm]?|displaystyle|textstyle|scriptstyle|limits|nolimits|rm|it|bf|normalfont|quad|qquad)"
        r"(?![A-Za-z])",
        " ",
    ),
    (r"(?<=\d),\s*\\!\s*(?=(?:\d\d,\s*\\!\s*)*\d{3}(?!\d))", ""),  # within one number, also by twos: 56,\!01,\!760
    (r",\s*\\!\s*", ","),
    (r"\\(?:!|-|/)", ""),
    (r"\\(?:hspace|vspace|phantom|label|tag)\*?\s*\{[^{}]*\}", " "),
    (r"\\(?:thinspace|medspace|thickspace|enspace|,|;|:|>|\s)|~", " "),
    (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
    (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
    (r"\\(?:imath|jmath)(?![A-Za-z])", "i"),
    (r"\\(?:text)?color\s*\{[^{}]*\}", ""),
    (r"\\(?:underline|ensuremath|mathop)(?=\s*\{)", ""),
    (r"\\langle(?![A-Za-z])(.*)\\rangle(?![A-Za-z])", r"(\1)"),
    (r"\\(?:lvert|rvert|vert|mid)(?![A-Za-z])", "|"),
    (r"\\(?:lbrace|rbrace)(?![A-Za-z])", lambda m: r"\{" if m[0][1] == "l" else r"\}"),
    (r"\\(?:lbrack|rbrack)(?![A-Za-z])", lambda m: "[" if m[0][1] == "l" else "]"),
    (r"\\(?:lparen|rparen)(?![A-Za-z])", lambda m: "(" if m[0][1] == "l" else ")"),
    (r"\\(?:leqslant|(?:leq|leqq)(?![A-Za-z]))", r"\\le "),
    (r"\\(?:geqslant|(?:geq|geqq)(?![A-Za-z]))", r"\\ge "),
    (
        r"\\(?:pmod|bmod|mod)\s*\{?\s*(\w+)\s*\}?|\(\s*\\(?:text\{\s*mod\s*\}|b?mod)\s*(\w+)\s*\)",
        lambda m: rf"\text{{ mod {m[1] or m[2]}}}",
    ),
    (r"\\neq(?![A-Za-z])", r"\\ne "),
    (r"<=", r"\\le "),
    (r">=", r"\\ge "),
    (r"!=", r"\\ne "),
    (r"\\lt(?![A-Za-z])", "<"),
    (r"\\gt(?![A-Za-z])", ">"),
    (r"\\(?:dots|dotsc|dotsb|cdots|ldots|hdots)(?![A-Za-z])|\.\.\.", r"\\ldots "),
    (r"\\(?:varnothing|empty)(?![A-Za-z])", r"\\emptyset "),
    (r"\\(?:prime)(?![A-Za-z])", "'"),
    (r"\^\s*(?:\{\s*'+\s*\}|')", lambda m: "'" * m[0].count("'")),
    (r"\\(?:colon|ratio)(?![A-Za-z])", ":"),
    (r"\\(?:lnot|Box|square|blacksquare)(?![A-Za-z])", " "),
    (r"\\mathbb\s*\{?\s*([A-Z])\s*\}?", r"\\mathbb{\1}"),
    (r"\\math(?:rm|bf|it|sf)\s*\{\s*([A-Zdeinxyz])\s*\}", r" \1 "),  # a variable, however it is set; others may be units
    (rf"{_WORDY}\s*(?=\{{)", r"\\text"),
    (r"\\text\{([^{}A-Za-z\\$]*)\}", r" \1 "),  # no word in it
    (r"\^\s*\{?\s*(?:\\circ|\\degree)\s*\}?|\\degree(?![A-Za-z])|(?<=\d)\s*\\circ(?![A-Za-z])", r"^{\\circ}"),
    (r"\{\s*\}\s*(?=\^)", ""),
    (r"\\(frac|sqrt|binom|text)\s+(?=[\{\[])", r"\\\1"),
    (r"(?<!\\)\}\s+\{", "}{"),
    (r"\\%", "%"),
    (r"\s*(?<!\\)\{\s*,\s*\}\s*", ","),
    (r"\\(pm|mp)\s*\{(\w+)\}", r"\\\1 \2"),
    (r"^\s*\\math(?:cal|scr|frak)\s*\{\s*([A-Z])\s*\}\s*$", r"\1"),
    (r"\*\*", "^"),
    (r"\^\s*\(([^()]*(?:\([^()]*\)[^()]*)*)\)", r"^{\1}"),
    (r"\{([-+=<>/])\}", r"\1"),
    (r"\\(?:mathord|mathbin|mathrel)\s*", ""),
]
_REWRITES = [(re.compile(pattern), new) for pattern, new in REWRITES]

_SHORT_FRAC = re.compile(rf"\\(frac|binom)\s*(?:({_GROUP})\s*({_BARE})|({_BARE})\s*({_GROUP}|{_BARE}))")
_SHORT_ROOT = re.compile(r"\\sqrt\s*(\[[^\[\]]*\])?\s*(\\[A-Za-z]+|[0-9A-Za-z])")
_PLAIN_ROOT = re.compile(r"(?:([√∛∜])|(?<![\\A-Za-z])sqrt)\s*(?:\(([^()]*)\)|(\d+|[A-Za-z]))")
_ROOT_INDEX = {"∛": "[3]", "∜": "[4]"}
_SCRIPT = re.compile(
    rf"([_^])\s*(?:(\\(?:frac|sqrt|text|binom|overline)(?:{_GROUP})+|\\[A-Za-z]+)|" r"(-?\d+(?!\.?\d)|[A-Za-z0-9]))"
)
_SCRIPT_GROUP = re.compile(r"([_^])\s*\{\s*([^{}]*?)\s*\}")
_FUNCTIONS = r"(?:sin|cos|tan|cot|sec|csc|ln|log|exp)"
_GLUED = re.compile(rf"\\({_FUNCTIONS}|pi|cdot|times|alpha|beta|theta|sqrt|frac)(?=[A-Za-z])(?!(?:h|eta)\b)")
_KNOWN = re.compile(r"\\(?:sinh|cosh|tanh|coth|exp|log|ln|sec|pitchfork|times|theta|arc[a-z]+|fraction)(?![A-Za-z])")
_PLAIN_FUNCTION = re.compile(rf"(?<![\\A-Za-z])(arcsin|arccos|arctan|sinh|cosh|tanh|coth|{_FUNCTIONS})(?=\s*[(^\d\\{{ ])")
_PLAIN_PI = re.compile(r"(?<![\\A-Za-z])(pi|infinity|infty)(?![A-Za-z])")
_PREAMBLE = re.compile(
    r"^\\text\{\s*(?:so |thus |hence |therefore,? )?(?:the )?(?:final )?answer\s*(?:is)?\s*:?\s*\}(?=.)", re.IGNORECASE
)
_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\[", r"\]"), (r"\(", r"\)"))


def is_doubled(text: str) -> bool:
    r"""Whether a text was escaped once too often: each of its backslashes stands twice, before a letter or a mark at least once.

    >>> is_doubled(r"\\frac{1}{2}"), is_doubled(r"\frac12"), is_doubled(r"1 \\ 2")
    (True, False, False)
    """
    return r"\\" in text and _DOUBLED.search(text) is not None and all(len(run) % 2 == 0 for run in _RUN.findall(text))


def halved(text: str) -> str:
    """The text with each run of backslashes half as long; between the rows of a matrix two may have stood."""
    rows = r"\begin" in text
    return _RUN_AND_NEXT.sub(
        lambda run: run[0] if rows and len(run[1]) == 2 and run[2] else "\\" * ((len(run[1]) + 1) // 2) + run[2], text
    )


@lru_cache(maxsize=16_384)
def canonical(text: str) -> str:
    """A text in one spelling; equal for texts that differ in spelling only."""
    text = _unwrapped(halved(text) if is_doubled(text) else text).translate(_CHARACTERS)
    for pattern, new in _REWRITES:
        text = pattern.sub(new, text)
    text = _GLUED.sub(lambda m: m[0] if _KNOWN.match(text, m.start()) else f"{m[0]} ", text)
    text = _PLAIN_PI.sub(lambda m: r"\pi " if m[1] == "pi" else r"\infty ", text)
    text = _PLAIN_ROOT.sub(lambda m: rf"\sqrt{_ROOT_INDEX.get(m[1], '')}{{{m[2] or m[3]}}}", text)
    if r"\text" not in text:
        text = _PLAIN_FUNCTION.sub(r"\\\1", text)
    text = _SHORT_ROOT.sub(lambda m: rf"\sqrt{m[1] or ''}{{{m[2]}}}", text)
    text = _until_same(lambda text: _SHORT_FRAC.sub(_full_fraction, text), text)
    text = _SCRIPT.sub(lambda m: f"{m[1]}{{{m[2] or m[3]}}}", text)
    text = _SCRIPT_GROUP.sub(r"\1{\2}", text)
    return _trimmed(re.sub(r"\s+", " ", text))


def letters(text: str) -> str:
    """A canonical text without spaces and the marks of text: what two spellings of one thing share."""
    text = re.sub(r"\\text\{([^{}]*)\}", r"\1", text)
    return re.sub(r"(?<!\d)\s|\s(?!\d)", "", text).removeprefix("+")


def balanced(text: str) -> bool:
    r"""Whether braces and round and square brackets are closed; those of an interval may differ, as in `[1,2)`."""
    depth = {"{": 0, "(": 0}
    for mark in re.findall(r"\\?[{}]|[()\[\]]", text):
        kind = "(" if mark in "()[]" or len(mark) == 2 else "{"
        depth[kind] += 1 if mark[-1] in "{([" else -1
        if depth[kind] < 0 and mark[-1] == "}":
            return False
    return not any(depth.values()) or bool(re.fullmatch(r"\][^\[\]]*\[", text))


def _unwrapped(text: str) -> str:
    """Without the delimiters or the box around all of it."""
    while True:
        text, before = re.sub(r"(\$|\\\)|\\\])\s*[.,;]+$", r"\1", text.strip()), text
        for opening, closing in _DELIMITERS:
            inner = text.removeprefix(opening).removesuffix(closing)
            if len(inner) == len(text) - len(opening) - len(closing) and opening not in inner:
                text = inner.strip()
        if text.startswith((r"\boxed{", r"\fbox{")) and _closes(text, text.index("{")) == len(text) - 1:
            text = text[text.index("{") + 1 : -1]
        if text == before:
            return (
                re.sub(r"\$([^$]*)\$", r" \1 ", text)
                if text.count("$") - text.count(r"\$") == 2 and r"\$" not in text
                else text
            )


def _closes(text: str, opening: int) -> int:
    depth = 0
    for place in range(opening, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return place
    return -1


def _trimmed(text: str) -> str:
    """Without what ends a sentence, and without the sign that the text begins with where nothing stands before it."""
    before = None
    while text != before:
        before, text = text, text.strip()
        text = re.sub(rf"(?:(?<!\\)[.,;]|{ROW}|(?<!\\)\\)+$", "", text)
        text = text[1:-1] if text.startswith("{") and _closes(text, 0) == len(text) - 1 else text
        text = _PREAMBLE.sub("", text)
        text = re.sub(r"^(?:=|\\approx|\\equiv(?= *\d)|\\therefore|\\sim|≃)\s*", "", text)
    return text


def _full_fraction(short: re.Match[str]) -> str:
    return rf"\{short[1]}{_braced(short[2] or short[4])}{_braced(short[3] or short[5])}"


def _braced(token: str) -> str:
    return token if token.startswith("{") else f"{{{token}}}"


def _until_same(change: Callable[[str], str], text: str) -> str:
    for _ in range(8):
        text, before = change(text), text
        if text == before:
            break
    return text
