r"""What an answer says, by its form: a number, a set, a tuple, an interval, a word, an equation, a quantity with its unit, ...

math-verify reads every answer as an expression: `5 dollars` as a product of letters, `2 \text{ hours}` as 2, `52_8` as 52,
and it takes the last of several words for all of them. Here the form is told first, and only what is an expression, or part
of one, is left to math-verify's parser. What has no form that is safe to read is refused, with the reason.

To add a form, add its class and its reader to READERS, which are tried in order.
"""

import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

from src.grading.spelling import ROW, balanced, canonical
from src.grading.units import PERCENT, Unit, is_unit, unit_of

LONGEST = 1_000  # characters; what is longer is no answer
MOST_WORDS = 8  # of an answer in words: a longer one is met by nobody who does not know it by heart
LARGEST_POWER = 4_000  # of ten, in a number that is kept exactly


class Unreadable(ValueError):
    """Why a text is not read as an answer."""


@dataclass(frozen=True, slots=True)
class Form:
    """Something that an answer says; `text` is how, in canonical spelling."""

    text: str = field(compare=False)


@dataclass(frozen=True, slots=True)
class Number(Form):
    """A number in digits: exact, or the beginning of one (`3.14...`)."""

    value: Fraction
    decimal: bool = False  # written with a decimal point or a power of ten
    continues: int | None = None  # decimal places that are given, where dots follow


@dataclass(frozen=True, slots=True)
class Expression(Form):
    """What only a parser of formulas can read."""


@dataclass(frozen=True, slots=True)
class Word(Form):
    """Words or the name of a choice; `key` is what counts of it."""

    key: str


@dataclass(frozen=True, slots=True)
class Items(Form):
    """Several things. Brackets: "()", "[)" and so on, "{}" for a set, "" for a bare list, "u" for a union."""

    brackets: str
    items: tuple[Form, ...]


@dataclass(frozen=True, slots=True)
class Matrix(Form):
    rows: tuple[tuple[Form, ...], ...]


@dataclass(frozen=True, slots=True)
class Named(Form):
    """What a name stands for: `x = 5`, `f(x) = x + 1`, `x \\in [0,1]`, `Alice: 3`."""

    name: str
    value: Form


@dataclass(frozen=True, slots=True)
class Relation(Form):
    """An equation or inequality, or a chain of them."""

    parts: tuple[Form, ...]
    signs: tuple[str, ...]  # one fewer than parts


@dataclass(frozen=True, slots=True)
class Quantity(Form):
    value: Form
    unit: Unit


@dataclass(frozen=True, slots=True)
class Based(Form):
    """Digits in a base."""

    digits: str
    base: int


@dataclass(frozen=True, slots=True)
class Ratio(Form):
    """`a:b`, which may be a time of day; `half` is "am" or "pm" where it is said."""

    parts: tuple[Form, ...]
    half: str = ""


_PLAIN = re.compile(r"(?P<sign>[+-]?)\s*(?P<whole>\d*)(?:\.(?P<places>\d*))?")
_THOUSANDS = re.compile(r"[+-]?\s*[1-9]\d{0,2}(?:,\d{3}(?!\d))+(?:\.\d+)?|[+-]?\s*[1-9]\d{0,2}(?: \d{3}(?!\d))+(?:\.\d+)?")
_GROUPED = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3}(?!\d))+")
_SCIENTIFIC = re.compile(
    r"(?P<digits>[+-]?\d*\.?\d+)\s*(?:[eE](?P<exponent>[+-]?\d{1,5})"
    r"|(?:\\times|\\cdot|\*|x)\s*10\s*\^\{\s*(?P<power>[+-]?\s*\d{1,5})\s*\})"
)
_POWER_OF_TEN = re.compile(r"10\^\{(-\d{1,5})\}")
_WHOLE, _PART = r"(?P<whole>\d{1,3}(?:[ ,]\d{3})+|\d+)", r"-?\s*(?:[\d,]*\.\d+|[\d,]*\d)"
_FRACTION = re.compile(
    rf"(?P<sign>[+-]?)\s*{_WHOLE}?\s*\\frac\{{\s*(?P<top>{_PART})\s*\}}\{{\s*(?P<below>{_PART})\s*\}}"
)
_SLASH = re.compile(rf"(?P<sign>[+-]?)\s*(?:{_WHOLE}\s+)?(?P<top>\d+)\s*/\s*(?P<below>\d+)")
_DOTS = re.compile(r"([+-]?\s*\d*\.\d+)\s*\\ldots")
_CYCLE = re.compile(r"(.*\.\d*?)(\d+?)\2\2+")
_REPEATING = re.compile(r"([+-]?)\s*(\d*)\.(\d*)(?:\\(?:overline|bar|dot)\s*\{?(\d+)\}?|\((\d+)\))(?:\\ldots)?")
_SMALL = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBER_WORDS = (
    {word: value for value, word in enumerate(_SMALL.split())}
    | {word: 10 * place for place, word in enumerate(_TENS.split(), start=2)}
    | {"hundred": 100, "one hundred": 100, "one thousand": 1000, "half": Fraction(1, 2), "one half": Fraction(1, 2)}
)

_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_CONDITIONS = frozenset(
    "when if for where is are unless otherwise such with which that not no any every all each only at least most about than".split()
)
_VOWEL = re.compile(r"[aeiouy]")
_SHORT_WORDS = frozenset("no up on in ok yes".split())
_JOINTS = re.compile(
    r"\\text\{\s*,?\s*(?:and|or)\s*,?\s*\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])|\\(?:lor|vee|land|wedge)(?![A-Za-z])|;"
)
_SIGNS = re.compile(r"\\(?:le|ge|ne|approx|equiv|in|sim|cong)(?![A-Za-z])|[=<>]")
_BASE = re.compile(r"(?:\\text\{)?\(?(-?[0-9A-Za-z]+)\)?\}?\s*_\{\s*(?:\\text\{)?\s*(\d+|[a-z]+)\s*\}?\s*\}")
_BASE_WORDS = re.compile(r"([0-9A-F]+)\s*(?:\\text\{)?\s*\(?\s*(?:in )?base[ -](\d+|[a-z]+)\s*\)?\s*\}?")
_HALF = re.compile(r"\s*(?:\\text\{)?\s*([aApP])\s*\.?\s*[mM]\s*\.?\s*\}?$")
_CHOICE = r"\(?\s*(?:\\text\{\s*\(?\s*)?([A-Z])\s*\)?\s*\}?\s*\)?"
_CHOICE_ALONE = re.compile(
    rf"(?:\\text\{{)?\s*(?:(?:the )?(?:final )?(?:option|choice|answer)\s*(?:is)?\s*:?\s*)?\}}?\s*{_CHOICE}[.:)]?",
    re.IGNORECASE,
)
_CHOICE_FIRST = re.compile(
    r"(?:\\text\{\s*)?\(([A-Z])\)\s*\}?[.:]?\s*(?P<rest>\S.*)|(?:\\text\{\s*)?([A-Z])[.:)]\s*\}?\s+(?P<text>\S.*)"
)
_SUFFIX_UNIT = re.compile(
    r"(?P<value>.*?[\d})a-zA-Z!])\s*(?P<unit>\\?\$|(?:%|\^\{\\circ\})(?:\s*(?:\\text\{\s*)?[CFK]\s*\}?)?"
    r"|(?:\\text\{[^{}]*\}(?:\^\{[23]\})?\s*(?:[/]\s*\\text\{[^{}]*\}(?:\^\{[23]\})?)?)"
    r"|(?<=[\d}\s])\s*[A-Za-z][A-Za-z.]*(?:\^\{[23]\})?(?:\s*/\s*[A-Za-z]+(?:\^\{[23]\})?|\s+[A-Za-z]+(?:\^\{[23]\})?)*)"
)
_PREFIX_UNIT = re.compile(r"(?P<sign>[+-]?)\s*(?P<unit>\\\$|\$|\\text\{\s*(?:USD|EUR|GBP|Rs\.?|\$)\s*\})\s*(?P<value>.+)")
_LETTER_UNIT = re.compile(r"(?P<value>[+-]?[\d.,]+)\s*(?P<unit>[a-z](?:\^\{[23]\})?(?:/[a-z]+)?)")
_NAME = re.compile(
    r"(?:\\(?:angle|triangle|text|overline|vec|widehat|hat|bar|sin|cos|tan|cot|alpha|beta|gamma|theta|lambda|mu|phi|varphi|delta|omega"
    r"|epsilon|varepsilon|sigma|rho|tau|Delta|circ|mathbb|mathcal|max|min|gcd|deg|prime)(?![A-Za-z])|_\{[^{}]*\}|\\text\{[^{}]*\}"
    r"|[A-Za-z']|[()|,{}]|\s)+"
)
_REALS = re.compile(r"\\mathbb\{R\}(?:\s*(?:\\setminus|\\backslash|-)\s*\\\{([^{}]*)\\\})?")
_ENVIRONMENT = re.compile(r"\[?\s*\\begin\{([pbvBV]?matrix|array)\}(?:\{[^{}]*\})?(.*)\\end\{\1\}\s*\]?")
_BUILDER = re.compile(r"\\\{\s*(?P<name>[a-z])\s*(?:\\in\s*\\mathbb\{R\}\s*)?(?:\||:)\s*(?P<rule>.+)\\\}")
_CLOSING = {"(": ")", "[": "]", r"\{": r"\}"}


def read(text: str) -> Form:
    """What an answer says. Raises Unreadable, with the reason, for one that is not safely read."""
    form = _read_or_fault(text)
    if isinstance(form, str):
        raise Unreadable(form)
    return form


@lru_cache(maxsize=16_384)
def _read_or_fault(text: str) -> Form | str:
    try:
        return _read_whole(text)
    except Unreadable as fault:
        return str(fault)
    except RecursionError:
        return "it is nested too deep"


def _read_whole(text: str) -> Form:
    if len(text) > LONGEST:
        raise Unreadable("it is longer than an answer")
    if text.lstrip().startswith('["'):
        return _listed(text)
    spelled = canonical(text)
    if not spelled or not re.search(r"[\w\\]", spelled):
        raise Unreadable("it says nothing")
    if not balanced(spelled):
        raise Unreadable("brackets are left open")
    return _read(spelled, outermost=True)


def _listed(text: str) -> Form:
    try:
        items = json.loads(text)
    except ValueError:
        raise Unreadable("a list that is no JSON") from None
    return _items("", text, [canonical(str(item)) for item in items])


def _read(text: str, outermost: bool = False) -> Form:
    text = text.strip()
    if not text:
        raise Unreadable("an item is empty")
    for reader in READERS:
        if not outermost and reader is thousands:
            continue  # within brackets a comma separates
        if (form := reader(text)) is not None:
            return form
    raise Unreadable("it has no form that is safe to read")


# Numbers


def number(text: str) -> Form | None:
    """`12`, `-0.5`, `.5`."""
    plain = _PLAIN.fullmatch(text)
    if plain is None or not (plain["whole"] or plain["places"]):
        return None
    value = Fraction(int(f"{plain['whole'] or 0}{plain['places'] or ''}"), 10 ** len(plain["places"] or ""))
    return Number(text, -value if plain["sign"] == "-" else value, decimal=bool(plain["places"]))


def thousands(text: str) -> Form | None:
    """`25,000`, `25 000`: one number where nothing else stands beside it."""
    return number(re.sub(r"[,\s]", "", text)) if _THOUSANDS.fullmatch(text) else None


def spaced_thousands(text: str) -> Form | None:
    """`25 000`, also within brackets."""
    return number(text.replace(" ", "")) if "," not in text and _THOUSANDS.fullmatch(text) else None


def scientific(text: str) -> Form | None:
    r"""`1e-07`, `6.6 \times 10^{-34}`, `10^{-7}`."""
    if found := _POWER_OF_TEN.fullmatch(text):
        digits, power = "1", int(found[1])
    elif found := _SCIENTIFIC.fullmatch(text):
        digits, power = found["digits"], int((found["exponent"] or found["power"]).replace(" ", ""))
    else:
        return None
    if abs(power) > LARGEST_POWER:
        return None
    return Number(text, Fraction(digits) * Fraction(10) ** power, decimal="." in digits)


def fraction(text: str) -> Form | None:
    r"""`\frac{3}{4}`, `3/4`, and mixed numbers such as `137 \frac{1}{2}`."""
    found = _FRACTION.fullmatch(text) or _SLASH.fullmatch(text)
    if found is None:
        return None
    top, below = (Fraction(re.sub(r"[\s,]", "", found[name])) for name in ("top", "below"))
    if below == 0:
        return None
    if found["whole"] and (top < 0 or below < 0):
        return None
    if found["whole"] and top >= below:
        raise Unreadable("a whole number beside a fraction that is not below one")
    value = int(re.sub(r"[ ,]", "", found["whole"] or "0")) + top / below
    return Number(text, -value if found["sign"] == "-" else value)


def repeating(text: str) -> Form | None:
    r"""`0.1\overline{6}`."""
    found = _REPEATING.fullmatch(text)
    if found is None:
        return None
    sign, whole, places, cycle = found[1], found[2] or "0", found[3], found[4] or found[5]
    tail = Fraction(int(cycle), (10 ** len(cycle) - 1) * 10 ** len(places))
    value = Fraction(int(whole + places), 10 ** len(places)) + tail
    return Number(text, -value if sign == "-" else value)


def continued(text: str) -> Form | None:
    """`3.14...`: any number that begins so; `0.1666...`, where the last digits come three times: the one that goes on so."""
    found = _DOTS.fullmatch(text)
    if found is None:
        return None
    digits = found[1].replace(" ", "")
    if cycle := _CYCLE.fullmatch(digits):
        return repeating(rf"{cycle[1]}\overline{{{cycle[2]}}}")
    return Number(text, Fraction(digits), decimal=True, continues=len(digits.partition(".")[2]))


def number_word(text: str) -> Form | None:
    """`four`, `twenty-one`, `7 (seven)`."""
    words = re.sub(r"[\s-]+", " ", _TEXT.sub(r"\1", text)).strip().lower()
    if found := re.fullmatch(r"(\d+) ?\( ?([a-z ]+?) ?\)", words):
        value = _word_value(found[2])
        return Number(text, Fraction(found[1])) if value == int(found[1]) else None
    value = _word_value(words)
    return None if value is None else Number(text, Fraction(value))


def _word_value(words: str) -> Any:
    if words in NUMBER_WORDS:
        return NUMBER_WORDS[words]
    tens, _, ones = words.partition(" ")
    if tens in _TENS.split() and 0 < NUMBER_WORDS.get(ones, 0) < 10:
        return NUMBER_WORDS[tens] + NUMBER_WORDS[ones]
    return None


# What stands beside a number


def based(text: str) -> Form | None:
    """`52_8`, `2516_{10}`, `1A_{16}`: digits that are not read without their base."""
    found = _BASE.fullmatch(text) or _BASE_WORDS.fullmatch(text)
    if found is None or not re.fullmatch(r"-?(?:\d[0-9A-F]*|[A-F]+\d[0-9A-F]*)", found[1]):
        return None
    base = int(found[2]) if found[2].isdigit() else NUMBER_WORDS.get(found[2])
    if not isinstance(base, int) or not 2 <= base <= 36:
        return None
    digits, minus = found[1].lstrip("-"), "-" * found[1].startswith("-")
    if any(int(digit, 36) >= base for digit in digits):
        raise Unreadable(f"a digit that base {base} does not have")
    return Based(text, minus + (digits.lstrip("0") or "0"), base)


def ratio(text: str) -> Form | None:
    """`4:3`, `10:50`, `7:15 a.m.`."""
    half = _HALF.search(text)
    bare = text[: half.start()] if half else text
    parts = _split(bare, ":")
    if half and len(parts) == 1 and re.fullmatch(r"\d{1,2}", bare.strip()):
        parts = [bare, "00"]
    if len(parts) < 2 or not all(
        re.fullmatch(r"[\s\d.]+|\s*\\(?:sqrt|frac)\{.*\}\s*|\s*\d+\s*\\(?:sqrt\{\d+\}|frac\{\d+\}\{\d+\})\s*|\s*[a-z]\s*", part)
        for part in parts
    ):
        return None
    return Ratio(text, tuple(_read(part) for part in parts), f"{half[1].lower()}m" if half else "")


def quantity(text: str) -> Form | None:
    r"""`35\%`, `90^\circ`, `\$18.90`, `5 \text{ km}`, `6 people`: a value and its unit, or what is counted."""
    if found := _PREFIX_UNIT.fullmatch(text):
        value = _read(found["sign"] + found["value"], outermost=True)
        unit = unit_of(found["unit"] if re.search("EUR|GBP", found["unit"]) else r"\$")
        return Quantity(text, value.value if isinstance(value, Quantity) else value, unit)
    found = _SUFFIX_UNIT.fullmatch(text)
    if found is None:
        return None
    value, unit = found["value"].strip(), found["unit"].strip()
    words = re.findall(r"[a-z]+", _TEXT.sub(r" \1 ", unit).lower())
    if _CONDITIONS.intersection(words) or re.search(r"\d", _TEXT.sub(" ", re.sub(r"\^\{[23]\}", "", unit))):
        return None
    bare = not unit.startswith(("%", "^", "$", r"\$", r"\text"))
    if bare and not _counts(value, unit):
        return None
    if unit.startswith(r"\text") and not words:
        return None
    if unit.startswith("^"):
        unit = re.sub(r"\\text|[{}\s]", "", unit).replace(r"^\circ", "deg" if len(unit) <= len(r"^{\circ}") else "deg ")
    if not _commas_group_digits(value) and _split_list(value)[1:]:
        return None
    form = _read(value, outermost=True)
    return None if isinstance(form, Word) else Quantity(text, form, PERCENT if unit in ("%", r"\text{%}") else unit_of(unit))


def letters_as_unit(form: Form) -> Quantity | None:
    """`5 m` and `3 m/s`, which alone are products of variables, as quantities: what they are beside another quantity."""
    found = _LETTER_UNIT.fullmatch(form.text)
    return Quantity(form.text, _read(found["value"]), unit_of(found["unit"])) if found and is_unit(found["unit"]) else None


def _counts(value: str, unit: str) -> bool:
    """Whether bare letters after a value are a unit or what is counted, not a product of variables."""
    if not re.search(r"[\d}]$", value) or not re.search(r"[a-zA-Z]{2}", unit):
        return False
    if is_unit(unit) and re.fullmatch(r"[A-Za-z.]{2,}(?:\^\{\d\})?(?:/[A-Za-z]+(?:\^\{\d\})?|\s+[A-Za-z. ]+)?", unit):
        return not re.fullmatch(r"in|ab", unit)
    return bool(re.fullmatch(r"[\d\s.,/]+|\\frac\{\d+\}\{\d+\}", value)) and all(
        len(word) > 2 and _VOWEL.search(word.lower()) or len(word) <= 2 and " " in unit for word in unit.split()
    )


# Words


def choice(text: str) -> Form | None:
    r"""`C`, `(C)`, `\text{Option }C`; also the letter I, which is no imaginary unit. `(C) 5` names the choice and its value."""
    found = _CHOICE_ALONE.fullmatch(text)
    if found and found[1].isupper():
        return Word(text, found[1])
    found = _CHOICE_FIRST.fullmatch(text)
    if found is None:
        return None
    rest = (found["rest"] or found["text"] or "").strip()
    if text.startswith(r"\text{") and rest.endswith("}") and rest.count("{") < rest.count("}"):
        rest = rest[:-1]
    return Named(text, found[1] or found[3], _read(rest, outermost=True))


def labelled(text: str) -> Form | None:
    """`Alice: 3`: a name and what it stands for."""
    name, colon, value = text.partition(":")
    plain = _TEXT.sub(r"\1", name).strip()
    if not colon or not re.fullmatch(r"[A-Za-z][A-Za-z' ]+", plain) or not value.strip(" }"):
        return None
    if name.count("{") > name.count("}"):
        value = value.replace("}", "", 1)
    return Named(text, plain.lower(), _read(value, outermost=True))


def points(text: str) -> Form | None:
    r"""`CDAB`, `\angle ABC`, `\triangle ABC`: the order of the letters counts."""
    found = re.fullmatch(r"(?:\\(?:angle|triangle|overline|widehat|vec|odot)\s*\{?\s*)?([A-Z]'?(?:\s?[A-Z]'?)+)\s*\}?", text)
    return Word(text, re.sub(r"[\s{}]", "", text)) if found else None


def word(text: str) -> Form | None:
    r"""`\text{east}`, `Evelyn`, `m \text{ is odd}`: met by the same words, in any case of the letters."""
    bare = _TEXT.sub(lambda m: f" {m[1]} ", text)
    if r"\text" not in text and not _is_wordy(bare):
        return None
    words = re.findall(r"[A-Za-z]+", re.sub(r"\\[A-Za-z]+", " ", bare))
    if len(words) > MOST_WORDS:
        raise Unreadable("a sentence, which only its own words would meet")
    parts = re.findall(r"\\text\{[^{}]*\}|[^\\]+|\\", text)
    key = "".join(_TEXT.sub(r"\1", part).lower() if part.startswith(r"\text") or _is_wordy(part) else part for part in parts)
    key = re.sub(r"^(?:the|a|an)\s+", "", key.strip().strip("\"'"))
    return Word(text, re.sub(r"[\s.,\"{}-]+", "", key))


def sentence(text: str) -> Form | None:
    r"""`4 \text{ when } n \text{ is odd}`: with a condition, it is met by its own words only."""
    words = [word for group in _TEXT.findall(text) for word in re.findall(r"[a-z]+", group.lower())]
    return word(text) if _CONDITIONS.intersection(words) and "(" not in text[:2] or " mod " in text else None


def _is_wordy(text: str) -> bool:
    """Whether letters stand in it that are words, not products of variables."""
    runs = re.findall(r"(?<![A-Za-z\\])[A-Za-z]+(?![A-Za-z])", re.sub(r"\\[A-Za-z]+", " ", text))
    if len(runs) == 1 and re.fullmatch(r"[A-Z][a-z]", text.strip()):
        return True
    return any(_is_word(run) for run in runs)


def _is_word(run: str) -> bool:
    if run.lower() in _SHORT_WORDS:
        return True
    name = run[0].isupper() and run[1:].islower() and len(run) > 2
    spelled = name or run[1:].islower() and len(run) > 2 or not run.isupper() and len(run) > 3
    in_order = "".join(sorted(run.lower())) == run.lower()  # `abc` is a product, `Chi` a name
    return spelled and bool(_VOWEL.search(run.lower())) and (name or not in_order)


# Several things


def joined(text: str) -> Form | None:
    r"""`1, 2`, `3 \text{ and } 4`, `1 \pm \sqrt{5}`, `x = 1 \text{ or } x = 2`; without brackets."""
    parts = [text] if _commas_group_digits(text) else _split_list(text)
    if len(parts) == 1:
        return _plus_minus(text)
    form = _items("", text, parts)
    first, *rest = form.items
    if isinstance(first, Named) and not any(isinstance(item, Named | Relation) for item in rest):  # k = 1, 2, 4
        return Named(text, first.name, Items(text, "", (first.value, *rest)))
    return _total(form) or _between(form) or form


def _commas_group_digits(text: str) -> bool:
    r"""Whether all commas are those of one number, as in `x = 10,000` and `\$32,348`."""
    return "," in text and "," not in _GROUPED.sub("", text, count=1) and not _JOINTS.search(text)


def _between(form: Items) -> Form | None:
    r"""`x > -2 \wedge x < 1` as -2 < x < 1: two bounds of one variable that meet; others, as `x < -2, x > 1`, are two rays."""
    rays = [_ray(item) for item in form.items if isinstance(item, Relation)]
    match sorted(rays if len(form.items) == 2 else [], key=lambda ray: ray is not None and ray[1] == "upper"):
        case [(str(name), "lower", Number() as low, left), (str(other), "upper", Number() as high, right)]:
            if name == other and low.value < high.value:
                return Relation(form.text, (low, Expression(name), high), (left, right))
    return None


def _ray(form: Relation) -> tuple[str, str, Form, str] | None:
    """Of `x < 3`, or `3 > x`: the variable, "upper" or "lower", the bound and its sign, < or le."""
    if len(form.parts) != 2 or form.signs[0] not in ("<", ">", "le", "ge"):
        return None
    left, right = form.parts
    below, sign = form.signs[0] in ("<", "le"), "<" if form.signs[0] in "<>" else "le"
    if is_name(left.text):
        return left.text, "upper" if below else "lower", right, sign
    return (right.text, "lower" if below else "upper", left, sign) if is_name(right.text) else None


def _total(form: Items) -> Form | None:
    """`2 hours and 13 minutes` as one quantity, in the smallest of its units."""
    quantities = [item for item in form.items if isinstance(item, Quantity) and isinstance(item.value, Number)]
    if len(quantities) < len(form.items) or len({item.unit.dimensions for item in quantities}) > 1:
        return None
    factors = [item.unit.factor for item in quantities]
    if not quantities[0].unit.dimensions or sorted(set(factors), reverse=True) != factors:
        return None
    total = sum(item.value.value * item.unit.factor for item in quantities if isinstance(item.value, Number))
    return Quantity(form.text, Number(form.text, Fraction(total / factors[-1])), quantities[-1].unit)


def _plus_minus(text: str) -> Form | None:
    if not re.search(r"\\(?:pm|mp)(?![A-Za-z])", text) or _top_sign(text):
        return None
    upper = re.sub(r"\\mp(?![A-Za-z])", "-", re.sub(r"\\pm(?![A-Za-z])", "+", text))
    lower = re.sub(r"\\mp(?![A-Za-z])", "+", re.sub(r"\\pm(?![A-Za-z])", "-", text))
    return _items("", text, [upper.lstrip("+ "), lower])


def bracketed(text: str) -> Form | None:
    r"""`\{1, 2\}`, `(1, 2)`, `[0, 1)`, `]0, 1[`: sets, tuples and intervals."""
    if found := _BUILDER.fullmatch(text):
        return _read(found["rule"])
    if re.fullmatch(r"\][^\[\]]+,[^\[\]]+\[|\][^\[\]]+,[^\[\]()]+\]|\[[^\[\]()]+,[^\[\]]+\[", text):
        text = ("(" if text[0] == "]" else "[") + text[1:-1] + (")" if text[-1] == "[" else "]")
    opening = r"\{" if text.startswith(r"\{") else text[0]
    if opening not in _CLOSING or _match(text, 0) is None:
        return None
    end = _match(text, 0)
    closing = text[end:] if end is not None else ""
    if closing not in (")", "]", r"\}") or (opening == r"\{") != (closing == r"\}"):
        return None
    inner = text[len(opening) : end].strip()
    brackets = "{}" if opening == r"\{" else opening + closing
    parts = _split_list(inner) if inner else []
    if opening != r"\{" and len(parts) == 1:
        return _read(inner) if brackets == "()" and inner else None
    if brackets in ("[)", "(]") and len(parts) != 2:
        raise Unreadable("an interval without two ends")
    return _items(brackets, text, parts)


def union(text: str) -> Form | None:
    r"""`(-\infty, 2) \cup (3, \infty)`."""
    parts = _split(re.sub(r"\\cup(?![A-Za-z])", "\x00", text), "\x00")
    return _items("u", text, parts) if len(parts) > 1 else None


def named_set(text: str) -> Form | None:
    r"""`\emptyset`, `\text{no solution}`, `\mathbb{R}`, `\mathbb{R} \setminus \{0\}`."""
    if text in (r"\emptyset", r"\{ \}", r"\{\}") or re.fullmatch(
        r"(?i)no (?:real )?solutions?|(?:the )?empty set", _TEXT.sub(r"\1", text)
    ):
        return Items(text, "{}", ())
    found = _REALS.fullmatch(text)
    if found is None:
        return None
    holes = sorted((_read(part) for part in _split(found[1] or "", ",")), key=lambda form: getattr(form, "value", None) or 0)
    if not all(isinstance(hole, Number) for hole in holes):
        return None
    edges = [Expression(r"-\infty"), *holes, Expression(r"\infty")]
    pieces = tuple(Items(text, "()", pair) for pair in itertools.pairwise(edges))
    return pieces[0] if len(pieces) == 1 else Items(text, "u", pieces)


def matrix(text: str) -> Form | None:
    r"""`\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}`, entry by entry."""
    found = _ENVIRONMENT.fullmatch(text)
    if found is None:
        return None
    rows = [row for row in found[2].split(ROW) if row.strip()]
    return Matrix(text, tuple(tuple(_read(cell) for cell in row.split("&")) for row in rows))


def _items(brackets: str, text: str, parts: Sequence[str]) -> Items:
    items: list[Form] = []
    for part in parts:
        form = _read(part)
        inside = isinstance(form, Items) and not form.brackets  # of a plus-minus
        items += form.items if inside and isinstance(form, Items) else [form]
    return Items(text, brackets, tuple(items))


# Equations


def relation(text: str) -> Form | None:
    r"""`x = 5`, `x^2 + y^2 = 5`, `2 < x \le 3`. A name on the left, and only there, makes it what the name stands for."""
    signs = [(m.start(), m.end(), m[0].lstrip("\\")) for m in _SIGNS.finditer(text) if _depth(text, m.start()) == 0]
    if not signs:
        return None
    edges = [0, *(end for _, end, _ in signs)]
    sides = [text[a:b].strip() for a, b in zip(edges, [start for start, *_ in signs] + [len(text)], strict=True)]
    about = next(
        (start for place, (start, _, sign) in enumerate(signs) if sign == "approx" and (place or not is_name(sides[0]))), None
    )
    if about:  # x = 1/3 \\approx 0.333
        return _read(text[:about], outermost=True)
    kinds = tuple("=" if sign in ("approx", "in") else sign for *_, sign in signs)
    if not all(sides):
        raise Unreadable("a side of an equation is empty")
    if len(sides) == 2 and kinds == ("=",) and is_name(sides[0]):
        return Named(text, _name(sides[0]), _read(sides[1], outermost=True))
    if len(sides) == 2 and kinds == ("=",) and is_name(sides[1]) and number(sides[0]):
        return Named(text, _name(sides[1]), _read(sides[0]))
    if (
        len(sides) > 2
        and set(kinds) == {"="}
        and is_name(sides[0])
        and (number(sides[-1]) or fraction(sides[-1]))
        and not all(map(is_name, sides[1:-1]))
    ):
        return Named(text, _name(sides[0]), _read(sides[-1]))  # x = 2 + 3 = 5
    return Relation(text, tuple(_read(side) for side in sides), kinds)


def is_name(text: str) -> bool:
    r"""Whether it is a name and no expression: `x`, `f(x)`, `a_{n}`, `\angle ABC`, `AB`, `(x, y)`."""
    if not _NAME.fullmatch(text) or not re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", text) + "x" * ("\\" in text)):
        return False
    bare = _TEXT.sub("x", re.sub(r"_\{[^{}]*\}|\([^()]*\)", "", text))
    return not re.search(r"(?<![A-Za-z\\])[a-z]{2,}(?![A-Za-z])", re.sub(r"\\[A-Za-z]+", " ", bare)) or _is_wordy(bare)


def _name(text: str) -> str:
    return re.sub(r"\s", "", _TEXT.sub(r"\1", text))


def _top_sign(text: str) -> bool:
    return any(_depth(text, m.start()) == 0 for m in _SIGNS.finditer(text))


def expression(text: str) -> Form | None:
    """What is left to math-verify's parser, if it holds no words and nothing is left out."""
    if r"\ldots" in text:
        raise Unreadable("dots stand for what is left out")
    if re.search(r"\d\s+\d", text):
        raise Unreadable("two numbers side by side")
    if r"\text" in text or ROW in text or re.search(r'[:;"&@#?]', text):
        raise Unreadable("signs that are no part of a formula")
    return Expression(text)


READERS: tuple[Callable[[str], Form | None], ...] = (
    number, thousands, spaced_thousands, scientific, fraction, repeating, continued, number_word, named_set, choice, sentence, based, matrix,
    union, bracketed, joined, ratio, relation, labelled, quantity, points, word, expression,
)  # fmt: skip


# Where things stand


def _depth(text: str, place: int) -> int:
    depth = 0
    for mark in re.finditer(r"\\begin|\\end|\\?[{}]|[()\[\]]", text[:place]):
        depth += 1 if mark[0][-1] in "{([" or mark[0] == r"\begin" else -1
    return depth


def _split(text: str, separator: str) -> list[str]:
    """Parts between separators that stand in no brackets; empty ones are left out."""
    parts, depth, start = [], 0, 0
    for mark in re.finditer(rf"\\?[{{}}]|[()\[\]]|{re.escape(separator)}", text):
        if mark[0] == separator:
            if depth == 0:
                parts.append(text[start : mark.start()])
                start = mark.end()
        else:
            depth += 1 if mark[0][-1] in "{([" else -1
    return [part for part in (part.strip() for part in [*parts, text[start:]]) if part]


def _split_list(text: str) -> list[str]:
    """The parts of a list, at commas, semicolons, "and" and "or"."""
    text = _JOINTS.sub(" , ", _TEXT.sub(_text_split, text))
    spaced = _split(text, ", ")
    if (
        len(spaced) > 1
        and all(_THOUSANDS.fullmatch(part) or "," not in part for part in spaced)
        and any("," in p for p in spaced)
    ):
        return spaced  # 1,000, 2,000
    return _split(text, ",")


def _text_split(group: re.Match[str]) -> str:
    parts = re.split(r"\s*,?\s*\b(?:and|or)\b\s*,?\s*", group[1])
    return group[0] if len(parts) == 1 else " , ".join(rf"\text{{{part}}}" if part.strip() else " " for part in parts)


def _match(text: str, opening: int) -> int | None:
    """Where the bracket at `opening` is closed, if that is the end of the text."""
    depth = 0
    for mark in re.finditer(r"\\?[{}]|[()\[\]]", text[opening:]):
        depth += 1 if mark[0][-1] in "{([" else -1
        if depth == 0:
            return mark.start() if mark.end() == len(text) else None
    return None
