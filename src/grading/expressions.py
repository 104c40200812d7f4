"""Whether two formulas are equal: math-verify's parser reads them, and numbers decide.

Without variables both are worked out exactly, or to so many digits that no term of theirs is too small to show; with
variables they are compared at fixed points, since two formulas that differ do so almost everywhere (J. T. Schwartz, 1980,
https://doi.org/10.1145/322217.322225). What cannot be worked out is left to math-verify's own comparison. So nothing is equal
because it is small, as it is by math-verify's six decimal places, and nothing waits for a proof by simplification.

latex2sympy2_extended 1.11.0 with antlr 4.9 (which Hydra needs) has no `AtomContext.FUNC_GAMMA` in its generated parser, and so
reads nothing that has a percent sign; `supply_missing_attribute` gives it the answer "there is none".
"""

import re
from collections.abc import Iterable
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any

from src.grading.reading import Unreadable
from src.grading.spelling import ROW

TOLERANCE = Fraction(1, 10**6)  # relative, between a rounded decimal and an exact value
DIGITS = 60
MOST_DIGITS = 4_000  # for terms as small as 2^{-2016}
_FEW = 15  # digits that may be lost to rounding
_DECIMAL = re.compile(r"(?<![\d.])(\d*)\.(\d+)")
_MIXED = re.compile(r"(?<![\w.^}])(\d+)\s*(\\frac\{(\d+)\}\{(\d+)\})")
_DEGREES = re.compile(r"([\d.]+)\s*\^\{\\circ\}")  # within a function of an angle
_OF_ANGLES = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")
_FACTOR = re.compile(r"(?<=\d)\s*\(")  # the parser makes 5 of 2((3))
_LEADING_ZEROS = re.compile(r"(?<![\d.])0+(?=\d)")
_NUMERAL = re.compile(r"\d+")
_LETTER = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z]*\\)|(?<=\d)[A-Za-z]")

# Points at which formulas in variables are compared: their coordinates, the nth variable taking the nth.
POINTS = (
    (Fraction(17, 7), Fraction(31, 9), Fraction(43, 11), Fraction(53, 13), Fraction(61, 17), Fraction(71, 19)),
    (Fraction(29, 23), Fraction(-37, 27), Fraction(41, 29), Fraction(-47, 31), Fraction(59, 37), Fraction(-67, 41)),
    (Fraction(5, 13), Fraction(7, 17), Fraction(11, 19), Fraction(13, 23), Fraction(17, 29), Fraction(19, 31)),
    (Fraction(-13, 6), Fraction(23, 5), Fraction(-27, 8), Fraction(35, 12), Fraction(-19, 14), Fraction(50, 21)),
)
WHOLE_POINTS = tuple(tuple(Fraction(first + 2 * place) for place in range(6)) for first in (1, 2, 3, 4, 5, 6, 9, 10))


def supply_missing_attribute() -> None:
    """Let the generated parser read percent signs (see above); where it has the attribute, nothing is changed."""
    from latex2sympy2_extended.latex2sympy2 import PSParser

    if not hasattr(PSParser.AtomContext, "FUNC_GAMMA"):
        PSParser.AtomContext.FUNC_GAMMA = lambda self: None


@lru_cache(maxsize=4_096)
def parsed(latex: str) -> Any:
    """A SymPy expression of canonical LaTeX. Raises Unreadable where the parser makes none of it."""
    import sympy
    from latex2sympy2_extended.latex2sympy2 import latex2sympy
    from sympy.core.function import AppliedUndef

    latex = _DEGREES.sub(r"(\1 \\cdot \\frac{\\pi}{180})", latex) if _OF_ANGLES.search(latex) else latex
    exact = _DECIMAL.sub(lambda m: rf"\frac{{{int((m[1] or '0') + m[2])}}}{{{10 ** len(m[2])}}}", latex.replace(ROW, " "))
    exact = _MIXED.sub(_sum, _LEADING_ZEROS.sub("", exact))
    exact = _FACTOR.sub(r"\\cdot (", exact)
    exact = re.sub(r"(?<![A-Za-z\\])I(?![A-Za-z])", r"\\iota ", exact)  # which the parser takes for the imaginary unit
    exact = exact.replace("'", r"_{prime}").replace("%", r"\%").replace("**", "^")
    try:
        made = latex2sympy(exact, is_real=None, normalization_config=None, conversion_config=_conversion())
    except RecursionError:
        raise Unreadable("it is nested too deep") from None
    except Exception as fault:  # noqa: BLE001 (latex2sympy raises no narrower one for errors of syntax)
        raise Unreadable(f"the parser fails ({type(fault).__name__})") from None
    if not isinstance(made, sympy.Expr) or made.has(sympy.zoo, sympy.nan):
        raise Unreadable("the parser makes no expression of it")
    functions = {call: sympy.Symbol(str(call)) for call in made.atoms(AppliedUndef)}
    return made.xreplace(functions | {symbol: sympy.I for symbol in made.free_symbols if symbol.name == "i"})


def _sum(mixed: re.Match[str]) -> str:
    if int(mixed[3]) >= int(mixed[4]):
        raise Unreadable("a whole number beside a fraction that is not below one")
    return f"({mixed[1]} + {mixed[2]})"


@cache
def _conversion() -> Any:
    r"""Letters keep their case; a number before a fraction in brackets, 2(\frac{1}{3}), is a factor."""
    from latex2sympy2_extended.latex2sympy2 import ConversionConfig

    return ConversionConfig(lowercase_symbols=False, interpret_as_mixed_fractions=False)


def unread_part(latex: str) -> str:
    """A number or letter that could be another without changing what is read; "" if all of them count."""
    whole = parsed(latex)
    if _all_found(latex):
        return ""
    for part in (*_NUMERAL.finditer(latex), *_LETTER.finditer(latex)):
        others = (str(int(part[0]) + 1), str(int(part[0]) + 4)) if part[0].isdigit() else ("q", "w")
        if all(_read_as(latex[: part.start()] + other + latex[part.end() :]) == whole for other in others if other != part[0]):
            return part[0]
    return ""


def _read_as(latex: str) -> Any:
    try:
        return parsed(latex)
    except Unreadable:
        return None


def _all_found(latex: str) -> bool:
    """Whether each number, changed to a prime of its own, is found again in what is read, and each letter too."""
    import sympy

    primes = [str(sympy.prime(170 + place)) for place in range(len(_NUMERAL.findall(latex)))]
    left = iter(primes)
    try:
        other = parsed(_NUMERAL.sub(lambda _: next(left), latex))
    except Unreadable:
        return False
    names = "".join(symbol.name for symbol in other.free_symbols)
    numbers = {str(part) for atom in other.atoms(sympy.Rational) for part in (abs(atom.p), atom.q)} | set(
        _NUMERAL.findall(names)
    )
    return numbers.issuperset(primes) and set(_LETTER.findall(latex)) <= {*names, "e", "i"}


def same_value(gold: str, answer: str, rounded: Fraction = Fraction(0)) -> bool:
    """Whether two canonical formulas are equal; `rounded`: one of them is a decimal, and equal within so much of its size."""
    one, other = parsed(gold), parsed(answer)
    if one == other:
        return True
    other = _same_constant(one, other)
    symbols = sorted(one.free_symbols | other.free_symbols, key=lambda symbol: symbol.name)
    if one.free_symbols != other.free_symbols and not _cancels(one, other):
        return False
    agreed = _agree_at(POINTS, one, other, symbols, rounded)
    if agreed is False and symbols and (_for_whole_numbers(one) or _for_whole_numbers(other)):
        agreed = _agree_at(WHOLE_POINTS, one, other, symbols, rounded)
    return _by_math_verify(one, other) if agreed is None else agreed


def same_equation(gold: tuple[str, str], answer: tuple[str, str], ordered: bool) -> bool:
    """Whether two equations of left and right side say the same: one is a multiple of the other.

    With `ordered` the left side is below the right one, and the multiple must be positive.
    """
    import sympy

    one, other = (parsed(left) - parsed(right) for left, right in (gold, answer))
    if not ordered:  # where both have the same roots; a denominator has none
        one, other = (sympy.together(side).as_numer_denom()[0] for side in (one, other))
    if one.free_symbols != other.free_symbols:
        return False
    symbols = sorted(one.free_symbols, key=lambda symbol: symbol.name)
    ratios = []
    for point in POINTS:
        values = [_value(side, symbols, point, DIGITS) for side in (one, other)]
        if any(value is None or value == 0 for value in values):
            continue
        ratios.append(values[1] / values[0])
    if len(ratios) < 2 or not all(_close(ratios[0], ratio, Fraction(0), DIGITS) for ratio in ratios):
        return False
    return not ordered or bool(ratios[0].is_real and ratios[0] > 0)


def _agree_at(points: Iterable[tuple[Fraction, ...]], one: Any, other: Any, symbols: list[Any], rounded: Fraction) -> bool | None:
    import sympy

    digits = max(_digits_needed(one), _digits_needed(other))
    agreed, real = 0, not (one.has(sympy.I) or other.has(sympy.I))
    for point in points if symbols else ((),):
        first, second = (_value(side, symbols, point, digits) for side in (one, other))
        if first is None or second is None:
            continue
        if _close(first, second, rounded, digits):
            agreed += 1
        elif not (real and symbols and first.is_real is False and second.is_real is False):  # neither is defined there
            return False
    return True if agreed >= (2 if symbols else 1) else None


def _value(expression: Any, symbols: list[Any], point: tuple[Fraction, ...], digits: int) -> Any:
    """The number that an expression is at a point, exactly if it is rational; None if it is none there."""
    import sympy

    at = {
        symbol: sympy.Rational(*point[place % len(point)].as_integer_ratio()) + place // len(point)
        for place, symbol in enumerate(symbols)
    }
    try:
        value = expression.xreplace(at).doit()
        if value.is_Rational:
            return value
        value = value.evalf(digits, maxn=max(2 * digits, 400))
    except Exception:  # noqa: BLE001 (SymPy raises anything where it cannot work a value out)
        return None
    return (
        value
        if value.is_number and value.is_finite and all(part.is_Float or part.is_Rational for part in value.as_real_imag())
        else None
    )


def _close(one: Any, other: Any, rounded: Fraction, digits: int) -> bool:
    import sympy

    if one.is_Rational and other.is_Rational and not rounded:
        return bool(one == other)
    within = sympy.Rational(rounded.numerator, rounded.denominator) if rounded else sympy.Rational(1, 10 ** (digits - _FEW))
    size = max(abs(one), abs(other))
    return bool(abs(one - other) <= within * size) or bool(
        not rounded and size < sympy.Rational(1, 10**digits) and _both_nothing(one, other)
    )


def _both_nothing(one: Any, other: Any) -> bool:
    """Whether each is 0, or so far below its own terms that it is as good as 0."""
    return all(value == 0 or getattr(value, "_prec", 2) == 1 for value in (one, other))


def _digits_needed(expression: Any) -> int:
    """Digits at which the smallest of its terms shows."""
    import math

    import sympy

    powers = [p for p in expression.atoms(sympy.Pow) if p.base.is_Integer and p.exp.is_Integer and abs(p.base) > 1]
    needed = sum(abs(int(power.exp)) * math.log10(abs(int(power.base))) for power in powers)
    return DIGITS + min(int(needed), MOST_DIGITS)


def _for_whole_numbers(expression: Any) -> bool:
    """Whether it is of a kind that is meant for whole numbers, such as (-1)^n."""
    import sympy

    kinds = (sympy.floor, sympy.ceiling, sympy.Mod, sympy.factorial, sympy.binomial)
    powers = (power for power in expression.atoms(sympy.Pow) if power.exp.free_symbols)
    return expression.has(*kinds) or any(power.base.is_number and power.base.is_negative for power in powers)


def _same_constant(one: Any, other: Any) -> Any:
    """The other with its constant of integration in the case of this one's."""
    import sympy

    names, others = ({symbol.name for symbol in side.free_symbols} for side in (one, other))
    if "C" in names and "c" not in names and "c" in others and "C" not in others:
        return other.xreplace({symbol: sympy.Symbol("C") for symbol in other.free_symbols if symbol.name == "c"})
    return other


def _cancels(one: Any, other: Any) -> bool:
    """Whether a variable that only one has may cancel in it, as x does in x - x."""
    import sympy

    try:
        return sympy.simplify(one).free_symbols == sympy.simplify(other).free_symbols
    except Exception:  # noqa: BLE001 (SymPy raises anything where it cannot simplify)
        return False


def _by_math_verify(one: Any, other: Any) -> bool:
    from math_verify import verify

    return bool(verify(one, other, timeout_seconds=None))
