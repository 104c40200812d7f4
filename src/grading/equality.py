r"""Whether an answer says what the gold answer says, form by form.

Rules where more than one would be sensible, each with its reason:

- A percent is met by its number with the sign or without, since questions ask "what percent", and by its value:
  `35\%` is 35 and 0.35. So `35\%` also meets a gold answer of 35 or of 0.35; 0.35 does not meet 35.
- A unit may be left out, and may be added where the gold answer has none, since the question names it. Where both have
  one, they must measure the same, and are converted: `500 \text{ cm}` is `5 \text{ m}`.
- Digits in a base are met by those digits in that base, or without any, since the question names it.
- A decimal is met by an equal one or an equal exact value. It meets an exact value with more digits than it shows if it is
  within 1e-6 of it, relative to its size, or is that value rounded to six digits or more. Two decimals, and a decimal and a
  whole number, must be equal.
- A bare list is met in any order, and by a set; a tuple only in its order, and by no set. An open interval of two ends and
  a pair are written alike, and are one thing here.
- A name may be left out (`5` for `x = 5`) and may be added; where both have one, it must be the same.
- A time without a.m. or p.m. is read by 24 hours where the other one says which half of the day it is.

To add a form, add its comparison to COMPARISONS.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, Protocol

from src.grading.expressions import TOLERANCE, same_equation, same_value
from src.grading.reading import (
    Based,
    Expression,
    Form,
    Items,
    Matrix,
    Named,
    Number,
    Quantity,
    Ratio,
    Relation,
    Unreadable,
    Word,
    letters_as_unit,
    read,
)
from src.grading.spelling import canonical, letters
from src.grading.units import PERCENT

SHOWN_DIGITS = 6  # of a decimal that may be rounded at its last one

_FLIPPED = {"<": ">", ">": "<", "le": "ge", "ge": "le"}


class Algebra(Protocol):
    """What compares formulas."""

    def same_value(self, gold: str, answer: str, rounded: Fraction) -> bool: ...

    def same_equation(self, gold: tuple[str, str], answer: tuple[str, str], ordered: bool) -> bool: ...


class Undecided(Exception):
    """Formulas have to be compared, and here nobody does."""


class NoAlgebra:
    """Decides what needs no formulas, and raises Undecided for the rest."""

    def same_value(self, gold: str, answer: str, rounded: Fraction) -> bool:
        raise Undecided

    def same_equation(self, gold: tuple[str, str], answer: tuple[str, str], ordered: bool) -> bool:
        raise Undecided


class SympyAlgebra:
    """Compares formulas with SymPy; what its parser cannot read is equal to nothing."""

    def same_value(self, gold: str, answer: str, rounded: Fraction) -> bool:
        try:
            return same_value(gold, answer, rounded)
        except Unreadable:
            return False

    def same_equation(self, gold: tuple[str, str], answer: tuple[str, str], ordered: bool) -> bool:
        try:
            return same_equation(gold, answer, ordered)
        except Unreadable:
            return False


def agree(gold: str, answer: str, algebra: Algebra) -> bool:
    """Whether two texts say the same. One that is no answer of any form is met by its own letters alone."""
    try:
        return equal(read(gold), read(answer), algebra)
    except Unreadable:
        return letters(canonical(gold)) == letters(canonical(answer)) != ""


def equal(gold: Form, answer: Form, algebra: Algebra) -> bool:
    """Whether two forms say the same; not symmetric, see the rules above."""
    if _spelled_alike(gold, answer):
        return True
    for kind, other, compare in COMPARISONS:
        if isinstance(gold, kind) and isinstance(answer, other):
            return compare(gold, answer, algebra)
    return False


def _spelled_alike(gold: Form, answer: Form) -> bool:
    return type(gold) is type(answer) and letters(gold.text) == letters(answer.text)


# Numbers and formulas


def _numbers(gold: Number, answer: Number, algebra: Algebra) -> bool:
    if gold.value == answer.value:
        return True
    if gold.continues is not None:
        return _begins(answer.value, gold)
    if gold.decimal == answer.decimal or 1 in (gold.value.denominator, answer.value.denominator):
        return False
    return abs(gold.value - answer.value) <= _rounding(gold if gold.decimal else answer) * abs(gold.value)


def _rounding(form: Form) -> Fraction:
    """How far a decimal may be from the value that it was rounded from, relative to it."""
    digits = re.sub(r"\D", "", re.split(r"\\|[eE]", form.text)[0]).lstrip("0") if isinstance(form, Number) else ""
    return max(TOLERANCE, Fraction(1, 2 * int(digits))) if len(digits) >= SHOWN_DIGITS else TOLERANCE


def _begins(value: Fraction, shown: Number) -> bool:
    """Whether a number begins with the digits that are shown."""
    assert shown.continues is not None
    scale = 10**shown.continues
    return int(value * scale) == int(shown.value * scale)


def _formulas(gold: Form, answer: Form, algebra: Algebra) -> bool:
    if any(r"\infty" in form.text for form in (gold, answer)):
        return letters(gold.text) == letters(answer.text)
    if gold.text.count("'") != answer.text.count("'"):
        return False
    decimals = ["." in form.text or isinstance(form, Number) and form.decimal for form in (gold, answer)]
    rounded = _rounding(gold if decimals[0] else answer) if decimals[0] != decimals[1] else Fraction(0)
    return algebra.same_value(_formula(gold), _formula(answer), rounded)


def _formula(form: Form) -> str:
    if not isinstance(form, Number):
        return form.text
    sign, value = "-" * (form.value < 0), abs(form.value)
    return f"{sign}{value}" if value.denominator == 1 else rf"{sign}\frac{{{value.numerator}}}{{{value.denominator}}}"


def _times(form: Form, factor: Fraction) -> Form:
    if factor == 1:
        return form
    if isinstance(form, Number):
        value = form.value * factor
        return replace(form, text=str(value), value=value)
    if isinstance(form, Expression):
        return Expression(rf"\frac{{{factor.numerator}}}{{{factor.denominator}}} \cdot ({form.text})")
    if isinstance(form, Items):
        return replace(form, items=tuple(_times(item, factor) for item in form.items))
    return form


# What stands beside a value


def _quantities(gold: Quantity, answer: Quantity, algebra: Algebra) -> bool:
    if not gold.unit.agrees(answer.unit):
        return False
    return equal(gold.value, _times(answer.value, answer.unit.factor / gold.unit.factor), algebra)


def _unit_left_out(gold: Quantity, answer: Form, algebra: Algebra) -> bool:
    if isinstance(answer, Relation | Word):
        return False
    if isinstance(answer, Expression) and (quantity := letters_as_unit(answer)) and _quantities(gold, quantity, algebra):
        return True
    return equal(gold.value, answer, algebra) or (
        gold.unit.dimensions == PERCENT.dimensions and equal(_times(gold.value, Fraction(1, 100)), answer, algebra)
    )


def _unit_added(gold: Form, answer: Quantity, algebra: Algebra) -> bool:
    if isinstance(gold, Expression) and (quantity := letters_as_unit(gold)) and _quantities(quantity, answer, algebra):
        return True
    return equal(gold, answer.value, algebra) or (
        answer.unit.dimensions == PERCENT.dimensions and equal(gold, _times(answer.value, Fraction(1, 100)), algebra)
    )


def _in_bases(gold: Based, answer: Based, algebra: Algebra) -> bool:
    return (gold.digits, gold.base) == (answer.digits, answer.base)


def _base_left_out(gold: Based, answer: Number, algebra: Algebra) -> bool:
    return not answer.decimal and answer.value == _whole(gold.digits)


def _base_added(gold: Number, answer: Based, algebra: Algebra) -> bool:
    return answer.base == 10 and gold.value == _whole(answer.digits)


def _whole(digits: str) -> int | None:
    return int(digits) if re.fullmatch(r"-?[0-9]+", digits) else None


def _ratios(gold: Ratio, answer: Ratio, algebra: Algebra) -> bool:
    gold, answer = _without_seconds(gold), _without_seconds(answer)
    if gold.half or answer.half and isinstance(gold.parts[0], Number) and gold.parts[0].value > 12:
        return _time(gold) == _time(answer)
    if _all_equal(gold.parts, answer.parts, algebra):
        return True
    if len(gold.parts) != len(answer.parts) or answer.half or _is_time(gold):
        return False
    parts = [*gold.parts, *answer.parts]
    if not all(isinstance(part, Number) and part.value for part in parts):
        return False
    factors = {_value(one) / _value(other) for one, other in zip(gold.parts, answer.parts, strict=True)}
    return len(factors) == 1


def _value(form: Form) -> Fraction:
    assert isinstance(form, Number)
    return form.value


def _without_seconds(form: Ratio) -> Ratio:
    """20:34 of 20:34:00."""
    return replace(form, parts=form.parts[:2]) if len(form.parts) == 3 and form.parts[2].text.strip() == "00" else form


def _is_time(form: Ratio) -> bool:
    r"""Whether it may be a time of day, such as 10:50, so that 5:25 is not the same."""
    last = form.text.rpartition(":")[2].strip()
    return len(form.parts) == 2 and len(last) == 2 and last.isdigit() and int(last) < 60


def _time(form: Ratio) -> tuple[Fraction, ...] | None:
    """Hours and minutes by 24 hours."""
    if not all(isinstance(part, Number) for part in form.parts):
        return None
    hours, *rest = (_value(part) for part in form.parts)
    if form.half:
        hours = hours % 12 + (12 if form.half == "pm" else 0)
    return hours, *rest


def _quotient(form: Ratio) -> Number | None:
    """`3:4` as 3/4."""
    if form.half or len(form.parts) != 2 or not all(isinstance(part, Number) and part.value for part in form.parts):
        return None
    return Number(form.text, _value(form.parts[0]) / _value(form.parts[1]))


def _ratio_as_fraction(gold: Ratio, answer: Form, algebra: Algebra) -> bool:
    quotient = _quotient(gold)
    return quotient is not None and not re.fullmatch(r"-?\d+", answer.text) and equal(quotient, answer, algebra)


def _fraction_as_ratio(gold: Number, answer: Ratio, algebra: Algebra) -> bool:
    quotient = _quotient(answer)
    return quotient is not None and gold.value.denominator != 1 and _numbers(gold, quotient, algebra)


# Words


def _words(gold: Word, answer: Word, algebra: Algebra) -> bool:
    if len(gold.key) == 1 or len(answer.key) == 1:
        return gold.key == answer.key
    return gold.key.casefold() == answer.key.casefold()


def _letters_as_product(gold: Expression, answer: Word, algebra: Algebra) -> bool:
    return answer.text.isalpha() and _formulas(gold, Expression(answer.text), algebra)


def _choice_with_value(gold: Word, answer: Named, algebra: Algebra) -> bool:
    return gold.key == answer.name or equal(gold, answer.value, algebra)


def _value_with_choice(gold: Named, answer: Word, algebra: Algebra) -> bool:
    return gold.name == answer.key or equal(gold.value, answer, algebra)


# Several things


def _items(gold: Items, answer: Items, algebra: Algebra) -> bool:
    if len(gold.items) != len(answer.items):
        return False
    kinds = gold.brackets, answer.brackets
    named = {item.name for item in gold.items if isinstance(item, Named)}
    anyhow = {"", "{}", "u"}
    if gold.brackets in anyhow and answer.brackets in anyhow and "{}" not in kinds[: 2 * ("u" in kinds)]:
        if len(named) < 2 or any(isinstance(item, Named) for item in answer.items):
            return _in_any_order(gold.items, answer.items, algebra)
    elif kinds[0] != kinds[1] and kinds not in (("()", ""), ("", "()")):
        return False
    return _all_equal(gold.items, answer.items, algebra)


def _in_any_order(gold: Sequence[Form], answer: Sequence[Form], algebra: Algebra) -> bool:
    left = list(answer)
    for item in gold:
        found = next((place for place, other in enumerate(left) if equal(item, other, algebra)), None)
        if found is None:
            return False
        del left[found]
    return True


def _only_item(gold: Items, answer: Form, algebra: Algebra) -> bool:
    return len(gold.items) == 1 and gold.brackets in ("", "{}") and equal(gold.items[0], answer, algebra)


def _one_item(gold: Form, answer: Items, algebra: Algebra) -> bool:
    once = len(answer.items) == 1 and answer.brackets == "{}" or answer.brackets == ""  # 1/2 or 0.5 is one thing twice
    return once and bool(answer.items) and all(equal(gold, item, algebra) for item in answer.items)


def _all_equal(gold: Sequence[Form], answer: Sequence[Form], algebra: Algebra) -> bool:
    return len(gold) == len(answer) and all(equal(one, other, algebra) for one, other in zip(gold, answer, strict=True))


def _matrices(gold: Matrix, answer: Matrix, algebra: Algebra) -> bool:
    return len(gold.rows) == len(answer.rows) and all(
        _all_equal(row, others, algebra) for row, others in zip(gold.rows, answer.rows, strict=True)
    )


def _vectors(gold: Matrix | Items, answer: Matrix | Items, algebra: Algebra) -> bool:
    """A matrix of one row or column, and a tuple or a list."""
    one, other = _cells(gold), _cells(answer)
    return one is not None and other is not None and _all_equal(one, other, algebra)


def _cells(form: Matrix | Items) -> Sequence[Form] | None:
    if isinstance(form, Items):
        return form.items if form.brackets in ("()", "[]", "") else None
    flat = 1 in (len(form.rows), max(map(len, form.rows), default=0))
    return [cell for row in form.rows for cell in row] if flat else None


# Equations


def _named(gold: Named, answer: Named, algebra: Algebra) -> bool:
    if _same_name(gold.name, answer.name):
        return equal(gold.value, answer.value, algebra)
    return _relations(_as_relation(gold), _as_relation(answer), algebra)


def _same_name(gold: str, answer: str) -> bool:
    """Whether two names are one; a function's values are called y as well."""
    gold, answer = (re.sub(r"^\((.*)\)$", r"\1", name) for name in (gold, answer))  # (x, y) and x, y
    return gold == answer or "y" in (gold, answer) and any(re.fullmatch(r"[a-z]\([a-z]\)", name) for name in (gold, answer))


def _name_left_out(gold: Named, answer: Form, algebra: Algebra) -> bool:
    return equal(gold.value, answer, algebra)


def _name_added(gold: Form, answer: Named, algebra: Algebra) -> bool:
    return equal(gold, answer.value, algebra)


def _as_relation(form: Named) -> Relation:
    return Relation(form.text, (Expression(form.name), form.value), ("=",))


def _named_or_not(gold: Named | Relation, answer: Named | Relation, algebra: Algebra) -> bool:
    r"""`y = 2x` and `2x - y = 0`; `x \in [0, 1]` and `0 \le x \le 1`."""
    one, other = (form.value if isinstance(form, Named) else form for form in (gold, answer))
    if isinstance(one, Items) or isinstance(other, Items):
        return _relation_as_interval(one, other, algebra)
    one, other = (_as_relation(form) if isinstance(form, Named) else form for form in (gold, answer))
    return _relations(one, other, algebra)


def _relations(gold: Relation, answer: Relation, algebra: Algebra) -> bool:
    if len(gold.parts) != len(answer.parts):
        return False
    if _side_by_side(gold, answer, algebra) or _side_by_side(gold, _turned(answer), algebra):
        return True
    if len(gold.parts) != 2 or not all(isinstance(part, Expression | Number) for part in (*gold.parts, *answer.parts)):
        return False
    if any(r"\infty" in part.text for part in (*gold.parts, *answer.parts)):
        return False
    one, other = _below(gold), _below(answer)
    if one.signs != other.signs or not _has_variable(one) or not _has_variable(other):
        return False
    sides = [(_formula(form.parts[0]), _formula(form.parts[1])) for form in (one, other)]
    return algebra.same_equation(sides[0], sides[1], one.signs[0] != "=")


def _side_by_side(gold: Relation, answer: Relation, algebra: Algebra) -> bool:
    """Whether all sides are equal; without variables, by their terms, since 1 + 4 = 5 is not 2 + 3 = 5."""
    if gold.signs != answer.signs:
        return False
    pairs = list(zip(gold.parts, answer.parts, strict=True))
    if _has_variable(gold):
        return all(equal(one, other, algebra) for one, other in pairs)
    return all(sorted(letters(one.text).split("+")) == sorted(letters(other.text).split("+")) for one, other in pairs)


def _turned(form: Relation) -> Relation:
    return Relation(form.text, form.parts[::-1], tuple(_FLIPPED.get(sign, sign) for sign in form.signs[::-1]))


def _below(form: Relation) -> Relation:
    return _turned(form) if form.signs[0] in (">", "ge") else form


def _has_variable(form: Relation) -> bool:
    return any(not isinstance(part, Number) and _variables(part.text) for part in form.parts)


def _variables(text: str) -> bool:
    return bool(re.search(r"[A-Za-z]|\\(?!frac|sqrt|cdot|times|pi)[a-z]", re.sub(r"\\[A-Za-z]+", "", text)))


def _relation_as_interval(gold: Form, answer: Form, algebra: Algebra) -> bool:
    one, other = (_interval(form) if isinstance(form, Relation) else form for form in (gold, answer))
    return one is not None and other is not None and equal(one, other, algebra)


def _interval(form: Relation) -> Items | None:
    r"""The interval that an inequality gives its variable: `2 < x \le 3` is (2, 3]."""
    form = _below(form)
    if any(sign not in ("<", "le") for sign in form.signs) or len(form.parts) not in (2, 3):
        return None
    parts, signs = list(form.parts), list(form.signs)
    if len(parts) == 2:
        left, right = (part.text.strip() for part in parts)
        infinite = isinstance(parts[0], Number) or not left.isalpha() or right in "xyz" and left not in "xyz"  # a < x
        parts, signs = (
            ([*parts, Expression(r"\infty")], [*signs, "<"]) if infinite else ([Expression(r"-\infty"), *parts], ["<", *signs])
        )
    if not parts[1].text.strip().isalpha():
        return None
    brackets = ("(" if signs[0] == "<" else "[") + (")" if signs[1] == "<" else "]")
    return Items(form.text, brackets, (parts[0], parts[2]))


def _true_equation(gold: Form, answer: Relation, algebra: Algebra) -> bool:
    """`2 + 3 = 5` for 5: a computation without variables, all of whose sides are equal."""
    return set(answer.signs) == {"="} and not _has_variable(answer) and all(equal(gold, part, algebra) for part in answer.parts)


Comparison = tuple[type[Form] | Any, type[Form] | Any, Callable[[Any, Any, Algebra], bool]]
COMPARISONS: tuple[Comparison, ...] = (
    (Named, Named, _named),
    (Named, Relation, _named_or_not),
    (Relation, Named, _named_or_not),
    (Word, Named, _choice_with_value),
    (Named, Word, _value_with_choice),
    (Named, Form, _name_left_out),
    (Form, Named, _name_added),
    (Relation, Relation, _relations),
    (Relation, Items, _relation_as_interval),
    (Items, Relation, _relation_as_interval),
    (Quantity, Quantity, _quantities),
    (Quantity, Form, _unit_left_out),
    (Number | Expression, Relation, _true_equation),
    (Items, Items, _items),
    (Items, Matrix, _vectors),
    (Matrix, Items, _vectors),
    (Matrix, Matrix, _matrices),
    (Items, Form, _only_item),
    (Form, Items, _one_item),
    (Form, Quantity, _unit_added),
    (Based, Based, _in_bases),
    (Based, Number, _base_left_out),
    (Number, Based, _base_added),
    (Ratio, Ratio, _ratios),
    (Ratio, Number | Expression, _ratio_as_fraction),
    (Number, Ratio, _fraction_as_ratio),
    (Word, Word, _words),
    (Expression, Word, _letters_as_product),
    (Number, Number, _numbers),
    (Number | Expression, Number | Expression, _formulas),
)
