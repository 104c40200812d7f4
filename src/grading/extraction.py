r"""What math-verify reads in a completion, found without math-verify where that is certain.

math-verify first looks for boxes and for formulas that hold boxes, and takes the match that ends last; without any box it
takes the last formula that follows the word "answer" within 50 characters. On a long reasoning text this search costs as
much as judging the answer. Here the place is found directly, and a completion is replaced by a short one that is
read in the same way: only its last box, or only its last announced formula. Wherever that is not certain, the caller has
to show math-verify the whole text.

The conditions follow `lazy_latex_regex` and `extract_target_from_pred` of math-verify 0.9.0 (`math_verify/parser.py`)
with `boxed_match_priority=0` and `try_extract_without_anchor=False`, and `extract_boxed_content` of
latex2sympy2-extended 1.11.0 (`math_normalization.py`).
"""

import re
from typing import NamedTuple

BOX = r"\boxed"

_BRACES = re.compile(r"[{}]")
_DELIMITERS = ("$", r"\]", r"\)")
_PERCENT = ("%", "percent", "pct")  # a percent sign or word after a formula belongs to it
_CONTINUES = tuple(r",ao$\[%pP")  # first letters of what may continue a list of formulas: "$1$, $2$ and $3$ percent"
_APART = 70  # characters: boxes that stand at least this far apart are never read as one answer

_WORD = "answer"
_REACH = 50  # characters, from the word to the formula
_FORMULA = re.compile(
    rf"[^$\\\[]{{0,{_REACH}}}"
    r"(?P<formula>(?<!\d)\$(?P<dollar>[^$\n]+)(?<!\\)\$(?!\$)"
    r"|\\\((?P<round>(?:[^\\\n]|\\(?!\)))+)(?<!\\)\\\)"
    r"|\\\[(?P<square>(?:[^\\]|\\(?!\]))+)(?<!\\)\\\])"
    r"(?!\s*(?:\\?%|[Pp]ercent|[Pp]ct|(?:,?and|,?or|,)\s*[$\\\[-]))"
)
_OPENS = re.compile(r"[$\\\[]")


class Answer(NamedTuple):
    """What math-verify reads in a completion."""

    content: str  # of the box or formula; "" if there is no answer
    text: str  # a short completion in which math-verify reads the same


NO_ANSWER = Answer("", "")

READERS = ("boxed", "last_expression")
"""Where an answer may stand: in a box alone; or else, without one, announced as the answer, or as the last formula or number."""

_BOX_OPENS = re.compile(r"\\(?:boxed|fbox)\s*(?=\{)")
_BESIDE = re.compile(  # between two boxes that are one answer
    r"[\s$.;]*(?:(?:,|\band\b|\bor\b|\\(?:text|mbox)\s*\{\s*,?\s*(?:and|or)\s*\}|\\q?quad|\\[,; ])[\s$]*)+"
)
_AFTER_BOX = re.compile(  # what belongs to the answer and stands behind its box
    r"[\s$]*(?:\\?%|percent\b|pct\b)|_\{?\d+\}?|\s*\^\s*\{?\\circ\}?(?:\s*[CF]\b)?|\s*\\(?:text|mbox|mathrm)\s*\{[^{}]{1,30}\}",
    re.IGNORECASE,
)
_NEAR = 60  # characters, at most, between two boxes that are one answer
_LAST = re.compile(
    r"(?<![\\$])\$\$?(?P<dollar>[^$]{1,300}?)(?<!\\)\$|\\\((?P<round>.{1,300}?)\\\)|\\\[(?P<square>.{1,300}?)\\\]"
    r"|(?<![\w.])(?P<number>[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+|(?<=\d))(?:\s?/\s?\d+)?(?:\s?\\?%)?)(?![\w])",
    re.DOTALL,
)


def box(content: str) -> str:
    r"""`\boxed{content}`."""
    return f"{BOX}{{{content}}}"


def last_box(text: str) -> str:
    """What stands in the last box of a text; "" without a box, or with one that is not closed."""
    start = text.rfind(BOX)
    end = _closing_brace(text, start + len(BOX), len(text)) if start >= 0 else None
    return "" if end is None else text[start + len(BOX) + 1 : end].strip()


def find_answer(text: str, reader: str = "boxed") -> Answer | None:
    """The answer of a completion as the rules by form read it; None where only math-verify can tell.

    It stands in the last box that is closed and not empty, together with boxes that are listed with it, and with a percent
    sign, base or unit behind it. With the reader "boxed" nothing else is an answer; with "last_expression" one without a box
    is found by `read_answer`, and then it is the last formula or number, as for the graders of the studies.

    >>> find_answer(r"So $\\boxed{3}$ or $\\boxed{4}$.").content
    '3,4'
    """
    content = _in_boxes(text)
    if content:
        return Answer(content, box(content))
    answer = read_answer(text) if reader == "last_expression" and BOX not in text else NO_ANSWER
    if answer is NO_ANSWER and reader == "last_expression":
        content = last_expression(text)
        return Answer(content, box(content)) if content else NO_ANSWER
    return answer


def last_expression(text: str) -> str:
    """The last formula between delimiters, or number, of a text; "" where there is none."""
    *_, last = (None, *_LAST.finditer(text))
    return "" if last is None else next(part for part in last.groups() if part is not None).strip()


def _in_boxes(text: str) -> str:
    boxes = [(m.start(), m.end(), _closing_brace(text, m.end(), len(text))) for m in _BOX_OPENS.finditer(text)]
    whole = [(start, text[opening + 1 : end].strip(), end + 1) for start, opening, end in boxes if end is not None]
    filled = [(start, content, end) for start, content, end in whole if content]
    if not filled:
        return ""
    start, content, end = filled.pop()
    if after := _AFTER_BOX.match(text, end):
        content += after[0].replace("$", "").rstrip()
    contents = [content]
    while filled and start - filled[-1][2] <= _NEAR and _BESIDE.fullmatch(text, max(filled[-1][2], 0), max(start, 0)):
        start, content, _ = filled.pop()
        contents.insert(0, content)
    apart = ", " if any(re.fullmatch(r"\d{3}", content) for content in contents[1:]) else ","  # 1,000 is one number
    return apart.join(dict.fromkeys(contents))


def read_answer(text: str) -> Answer | None:
    """The answer that math-verify certainly reads in a completion; None where only math-verify can tell."""
    start = text.rfind(BOX)
    return _announced(text) if start < 0 else _boxed(text, start)


def _boxed(text: str, start: int) -> Answer | None:
    r"""The answer in the last box, which begins at `start`.

    Uncertain if that is empty or not closed, or holds math delimiters; if a percent sign may follow the formula around
    it; if an earlier box may be read together with it; if the text has an `\fbox`, or the phrase "I hope", which a
    pattern of its own looks for.
    """
    end = _closing_brace(text, start + len(BOX), len(text))
    if end is None or "I hope" in text or r"\fbox" in text:
        return None
    content, rest = text[start + len(BOX) + 1 : end], text[end + 1 :].lower()
    if any(mark in content for mark in _DELIMITERS) or any(word in rest for word in _PERCENT):
        return None
    if "]" in content and "[" in text[text.rfind("\n", 0, start) + 1 : start]:
        return None
    content = content.strip()
    return Answer(content, box(content)) if content and _stands_alone(text, start) else None


def _closing_brace(text: str, opening: int, limit: int) -> int | None:
    """Index of the brace that closes the one at `opening`, below `limit`; an escaped one counts, as in math-verify."""
    if text[opening : opening + 1] != "{":
        return None
    depth = 0
    for brace in _BRACES.finditer(text, opening, limit):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return brace.start()
    return None


def _stands_alone(text: str, start: int) -> bool:
    """Whether nothing that math-verify matches can hold an earlier box together with the last one, at `start`."""
    previous = text.rfind(BOX, 0, start)
    if previous < 0:
        return True
    opening = previous + len(BOX)
    while text[opening].isspace():
        opening += 1
    previous_end = _closing_brace(text, opening, start)
    if previous_end is not None and start - previous_end - 1 < _APART:
        return False
    return _separated(text, previous, start, holding=BOX)


def _separated(text: str, first: int, last: int, holding: str) -> bool:
    r"""Whether between `first` and `last` a line begins over whose beginning no formula or list of formulas reaches.

    Formulas in `$..$`, `\(..\)` and `[..]` end with their line. One in `\[..\]` holds no other `\]`, and one in `$$..$$`
    no other `$$`; only formulas with `holding` in them matter. A list goes on with a comma, "and", "or" or a formula.
    """
    cut = text.rfind("\n", first, last) + 1
    while cut > 0:
        listed = text[cut : cut + 200].lstrip().startswith(_CONTINUES) or text[cut : cut + 200].isspace()
        if not listed and text.rfind(r"\[", 0, cut) <= text.rfind(r"\]", 0, cut):
            before, after = text.rfind("$$", 0, cut), text.find("$$", cut)
            if before < 0 or after < 0 or holding not in text[before:after]:
                return True
        cut = text.rfind("\n", first, cut - 1) + 1
    return False


def _announced(text: str) -> Answer | None:
    """The last formula that follows the word "answer", in a text without a box.

    Uncertain if "final answer" or "answer:" occurs, which have patterns of their own; if no simple formula follows; if
    it belongs to a list, or a percent sign follows; if an earlier announcement may reach as far.
    """
    lower = text.lower()
    if len(lower) != len(text) or "\u017f" in lower or "nal answer" in lower or "answer:" in lower:
        return None  # the first two: letters that match others regardless of case, but not as lower-case letters
    start = lower.rfind(_WORD)
    while start >= 0:
        previous = lower.rfind(_WORD, 0, start)
        found = _FORMULA.match(text, start + len(_WORD))
        if found:
            reach = previous + len(_WORD) + _REACH
            if previous >= 0 and not _separated(text, reach, start, holding=""):
                return None
            content = found["dollar"] or found["round"] or found["square"]
            return Answer(content.strip(), f"{_WORD} {found['formula']}")
        if _OPENS.search(text, start + len(_WORD), start + len(_WORD) + _REACH + 2):
            return None
        start = previous
    return NO_ANSWER
