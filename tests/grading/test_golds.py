"""What is read from a gold answer is what it says."""

import pytest

from src.grading.expressions import supply_missing_attribute
from src.grading.golds import gold_fault, written
from src.grading.reading import Based, Items, Named, Number, Quantity, Ratio, Relation, Unreadable, Word, read
from src.grading.spelling import canonical, halved, is_doubled

supply_missing_attribute()


@pytest.mark.parametrize(
    ("gold", "kind", "said"),
    [
        ("1 000", Number, "1000"),
        ("-2.50", Number, "-2.5"),
        (r"\frac43", Number, r"\frac{4}{3}"),
        (r"137 \frac{1}{2}", Number, r"\frac{275}{2}"),
        (r"\{-3, -1, 4\}", Items, r"\{-3, -1, 4\}"),
        ("(1,2]", Items, "(1, 2]"),
        (r"1 \pm \sqrt{19}", Items, r"1 + \sqrt{19} , 1 - \sqrt{19}"),
        ("I", Word, "I"),
        (r"\text{even}", Word, r"\text{even}"),
        (r"f(x)=x+1", Named, "f(x)=x+1"),
        ("22+979=1001", Relation, "22+979=1001"),
        (r"5 \text{ km}", Quantity, r"5\text{ km}"),
        ("52_8", Based, "52_{8}"),
        ("7:15 p.m.", Ratio, r"7:15 \text{ pm}"),
        (r"2 \text{ hours and } 13 \text{ minutes}", Quantity, r"133\text{ minutes}"),
    ],
)
def test_reading_gives_back_what_a_gold_answer_says(gold: str, kind: type, said: str) -> None:
    form = read(gold)
    assert isinstance(form, kind)
    assert written(form) == said and gold_fault(gold) is None


@pytest.mark.parametrize(
    ("gold", "fault"),
    [
        ("2 3", "two numbers side by side"),
        (r"1 + \cdots + n", "dots stand for what is left out"),
        (r"\{-3, \\", "brackets are left open"),
        ("98_7", "a digit that base 7 does not have"),
        ("", "it says nothing"),
        (r"\text{It is the case that no such number can be found here}", "a sentence, which only its own words would meet"),
        ("x" * 2_000, "it is longer than an answer"),
        (r"5 \quad (x^2", "brackets are left open"),
        ("{" * 300 + "}" * 300, ""),
        (r"\gcd(a, b) + 1", ""),  # the parser makes 1 of any gcd
        (r"[1, 2, 3)", "an interval without two ends"),
    ],
)
def test_what_cannot_be_read_safely_is_refused_with_its_reason(gold: str, fault: str) -> None:
    assert fault in (gold_fault(gold) or "no fault") and gold_fault(gold) is not None


def test_a_letter_that_the_parser_drops_is_seen() -> None:
    assert gold_fault("-6[-W]") is None or "is not read" in str(gold_fault("-6[-W]"))
    assert gold_fault(r"x + y") is None
    with pytest.raises(Unreadable):
        read(r"\text{ }")


@pytest.mark.parametrize(
    "text", [r"\\frac{1}{2}", r"\\{1, 2\\}", r"12\\%", r"1 \\text{ or } 2", r"\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}"]
)
def test_doubled_backslashes_are_told_by_a_row_itself(text: str) -> None:
    assert is_doubled(text) and not is_doubled(halved(text))
    assert canonical(text) == canonical(halved(text))


@pytest.mark.parametrize(
    "text", [r"\frac{1}{2}", r"1 \\ 2", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "1/2", r"\begin{cases} x \\y \end{cases}"]
)
def test_a_row_separator_is_no_doubled_backslash(text: str) -> None:
    assert not is_doubled(text)
