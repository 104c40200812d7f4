"""Units of measure, as answers name them: how many of one are one of another, and which measure the same thing.

To add a unit, add its names to UNITS. Sources of the factors: the SI brochure, and NIST Handbook 44, appendix C.
"""

import re
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

# dimension: {factor: names}. The first of each dimension is what the factors count. Plurals in -s are understood.
UNITS: dict[str, dict[str, str]] = {
    "length": {
        "1": "m meter metre", "1000": "km kilometer kilometre", "0.1": "dm decimeter", "0.01": "cm centimeter centimetre",
        "0.001": "mm millimeter millimetre", "0.0254": "in inch inches", "0.3048": "ft foot feet", "0.9144": "yd yard",
        "1609.344": "mi mile",
    },
    "mass": {"1": "kg kilogram", "0.001": "g gram gm", "0.000001": "mg milligram", "1000": "ton tonne", "0.45359237": "lb pound",
             "0.028349523125": "oz ounce"},
    "time": {"1": "s sec second", "60": "min minute", "3600": "h hr hour", "86400": "day", "604800": "week"},
    "months": {"1": "month", "12": "year yr"},
    "volume": {"1": "l liter litre", "0.001": "ml milliliter millilitre", "3.785411784": "gal gallon"},
    "dollars": {"1": "dollar usd $ \\$", "0.01": "cent"},
    "euros": {"1": "euro eur"},
    "sterling": {"1": "gbp"},
    "angle": {"1": "degree deg ^{\\circ}", "1/60": "arcminute"},
    "radians": {"1": "radian rad"},
    "percent": {"1": "% percent pct percentage"},
}  # fmt: skip
_NAMES = {
    name: (dimension, Fraction(factor))
    for dimension, factors in UNITS.items()
    for factor, names in factors.items()
    for name in names.split()
}
_SPEEDS = {"mph": "mile/hour", "kph": "km/hour", "kmh": "km/hour", "kmph": "km/hour", "cc": "cm^{3}"}
_PART = re.compile(r"(?P<name>\^\{\\circ\}|\\?\$|%|[A-Za-z]+\.?)\s*(?:\^\{(?P<power>-?\d)\})?")


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of measure, or the words for what was counted."""

    words: str
    dimensions: tuple[tuple[str, int], ...] = ()  # with their powers; empty for what is counted
    factor: Fraction = Fraction(1)
    spelled: str = field(default="", compare=False)  # in canonical LaTeX

    def agrees(self, other: "Unit") -> bool:
        """Whether both may stand for the same: one dimension, or words of which one holds the other."""
        if self.dimensions or other.dimensions:
            return self.dimensions == other.dimensions
        mine, theirs = set(self.words.split()), set(other.words.split())
        return mine <= theirs or theirs <= mine


PERCENT = Unit("%", (("percent", 1),), spelled="%")


def is_unit(words: str) -> bool:
    """Whether all of the words are units of UNITS."""
    return bool(unit_of(words).dimensions)


@lru_cache(maxsize=2_000)
def unit_of(words: str) -> Unit:
    """The unit that canonical text names, such as `km/h`, `square feet` or `cm^{2}`; else the words themselves."""
    text = re.sub(r"\\text\{([^{}]*)\}", r"\1", words).strip().strip(".")
    text = re.sub(r"(?i)\b(square|sq\.?)\s+([A-Za-z]+)", r"\2^{2}", text)
    text = re.sub(r"(?i)\b(cubic|cu\.?)\s+([A-Za-z]+)", r"\2^{3}", text)
    text = re.sub(r"(?i)\b([A-Za-z]+)\s+(squared|cubed)", lambda m: f"{m[1]}^{{{2 if m[2] == 'squared' else 3}}}", text)
    text = re.sub(r"(?i)\s+(per|an|a)\s+|\s*\\?/\s*", "/", _SPEEDS.get(text.lower(), text))
    powers: dict[str, int] = {}
    factor, place, sign = Fraction(1), 0, 1
    while place < len(text):
        if text[place] in " /\\cdot*":
            sign = -1 if text[place] == "/" else sign
            if text[place] in " /":
                place += 1
                continue
        part = _PART.match(text, place)
        known = _lookup(part["name"]) if part else None
        if part is None or known is None:
            return Unit(_plain(words), spelled=words)
        power = sign * int(part["power"] or 1)
        powers[known[0]] = powers.get(known[0], 0) + power
        factor *= known[1] ** power
        place = part.end()
    dimensions = tuple(sorted((name, power) for name, power in powers.items() if power))
    if dict(dimensions).get("length") == 3:  # 1,000 litres to the cubic metre
        dimensions = tuple(sorted({**{k: v for k, v in dimensions if k != "length"}, "volume": 1}.items()))
        factor *= 1000
    return Unit(_plain(words), dimensions, factor, words)


def _lookup(name: str) -> tuple[str, Fraction] | None:
    name = name.rstrip(".")
    for spelled in (name, name.lower(), name.lower().removesuffix("s")):
        if spelled in _NAMES:
            return _NAMES[spelled]
    return None


def _plain(words: str) -> str:
    """Words in lower case and the singular."""
    found = re.findall(r"[a-z]+|[^\sa-z]+", re.sub(r"\\text|[{}]", " ", words).lower())
    return " ".join(word.removesuffix("s") if len(word) > 3 else word for word in found)
