"""The check of a gold answer: what is read from it has to be what it says.

A gold answer that equals itself may still be misread: one that is read as 5 equals every other that is read as 5. So what is
read is written out again, form by form, and read once more; and in each formula every number and every letter has to count.
"""

from collections.abc import Iterator
from fractions import Fraction

from src.grading.expressions import unread_part
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
    read,
)
from src.grading.spelling import ROW


def gold_fault(gold: str) -> str | None:
    """Why a gold answer cannot be judged by; None where it can."""
    try:
        form = read(gold)
        for part in leaves(form):
            if isinstance(part, Expression) and r"\infty" not in part.text and (left_out := unread_part(part.text)):
                return f"{left_out} in {part.text} is not read"
        if written(read(written(form))) != written(form):
            return "what is read from it does not say the same"
    except Unreadable as fault:
        return str(fault)
    return None


def leaves(form: Form) -> Iterator[Form]:
    """The parts of a form that have no parts."""
    match form:
        case Items(items=parts) | Relation(parts=parts) | Ratio(parts=parts):
            for part in parts:
                yield from leaves(part)
        case Matrix(rows=rows):
            for row in rows:
                for cell in row:
                    yield from leaves(cell)
        case Named(value=value) | Quantity(value=value):
            yield from leaves(value)
        case _:
            yield form


def written(form: Form) -> str:
    """A form in LaTeX, from what was read and not from how it was spelled; what has no value of its own stays as it is."""
    match form:
        case Number():
            return _digits(form)
        case Based(digits=digits, base=base):
            return f"{digits}_{{{base}}}"
        case Items(brackets=brackets, items=items):
            inside = [written(item) for item in items]
            if brackets in ("", "u"):
                return (" , " if not brackets else r" \cup ").join(inside)
            opening, closing = (r"\{", r"\}") if brackets == "{}" else (brackets[0], brackets[1])
            return f"{opening}{', '.join(inside)}{closing}"
        case Matrix(rows=rows):
            lines = r" \\ ".join(" & ".join(written(cell) for cell in row) for row in rows)
            return rf"\begin{{pmatrix}}{lines}\end{{pmatrix}}"
        case Relation(parts=parts, signs=signs):
            marks = [sign if sign in "=<>" else rf"\{sign} " for sign in signs]
            return "".join(written(part) + mark for part, mark in zip(parts, [*marks, ""], strict=True))
        case Ratio(parts=parts, half=half):
            return ":".join(written(part) for part in parts) + (rf" \text{{ {half}}}" if half else "")
        case Quantity(value=value, unit=unit):
            return f"{written(value)}{unit.spelled}" if "text" in unit.spelled else f"{written(value)} {unit.spelled}"
        case _:
            return form.text.replace(ROW, r"\\")


def _digits(form: Number) -> str:
    value = form.value
    if form.continues is not None or form.decimal:
        places = form.continues if form.continues is not None else _places(value)
        whole = f"{abs(int(value * 10**places)):0{places + 1}d}"
        sign = "-" if value < 0 else ""
        return f"{sign}{whole[: len(whole) - places]}.{whole[len(whole) - places :]}" + (
            r"\ldots" * (form.continues is not None)
        )
    return str(value) if value.denominator == 1 else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _places(value: Fraction) -> int:
    """Decimal places of a number that has so many."""
    places = 1
    while (value * 10**places).denominator > 1:
        places += 1
    return places
