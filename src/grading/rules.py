r"""The rules by which an answer is right: one entry for each kind of answer that math-verify alone misreads.

math-verify reads every answer as a formula. Its parser and its comparison are kept for what is one; each rule stands in front
of them, as functions that read another form, or behind them, as functions that compare; and each is shown by examples, which
are its tests. What `grading.rules=math_verify` judges by knows none of this.

To add a rule, add its entry to RULES, its readers to `reading.READERS` and its comparisons to `equality.COMPARISONS`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from src.grading import equality, expressions, reading, spelling


@dataclass(frozen=True, slots=True)
class Rule:
    """A kind of answer: what reads it, what compares it, and examples of gold answers with answers in a box."""

    kind: str
    in_front: tuple[Callable, ...]
    behind: tuple[Callable, ...]
    right: tuple[tuple[str, str], ...]  # gold answer and answer
    wrong: tuple[tuple[str, str], ...]
    refused: tuple[str, ...] = ()  # gold answers that are not safe to read


RULES: tuple[Rule, ...] = (
    Rule(
        "doubled backslashes",
        (spelling.is_doubled, spelling.halved),
        (),
        right=(
            (r"19 \\text{ and } 30", "30, 19"),
            (r"\\frac{\\sqrt{5}}{2} \\text{ or } \\sqrt{5}", r"\sqrt{5}, \frac{\sqrt{5}}{2}"),
            (r"\\{-3, -1, 4, 7, 8\\}", r"\{8, 7, 4, -1, -3\}"),
            (r"\\left\\lfloor \\frac{n^2}{4} \\right\\rfloor", r"\lfloor n^2/4 \rfloor"),
            (r"\\left[1, \\frac{1 + \\sqrt{5}}{2}\\right)", r"[1, \frac{\sqrt5+1}{2})"),
            (r"390625 \\text{ and } 141376", r"141376 \text{ and } 390625"),
            (r"19 \\text{ and } 30", "19, 30"),
            (r"\\frac{\\sqrt{5}}{2} \\text{ or } \\sqrt{5}", r"\frac{\sqrt{5}}{2}, \sqrt{5}"),
            (r"\\{-3, -1, 4, 7, 8\\}", r"\{-3,-1,4,7,8\}"),
            (r"\\left\\lfloor \\frac{n^2}{4} \\right\\rfloor", r"\lfloor \frac{n^2}{4} \rfloor"),
            (r"390625 \\text{ and } 141376", "390625, 141376"),
            (r"\\left[1, \\frac{1 + \\sqrt{5}}{2}\\right)", r"[1, \frac{1+\sqrt5}{2})"), (r"\\frac{1}{2}", "0.5"),
            (r"3\\sqrt{2}", r"3\sqrt2"), (r"\\text{even}", "even"), (r"x \\in [0, 1]", "[0,1]"), (r"12\\%", "12"),
            (r"\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "(1, 2)"), (r"2 \\pm \\sqrt{3}", r"2-\sqrt3, 2+\sqrt3"),
        ),
        wrong=(
            (r"19 \\text{ and } 30", "49"),
            (r"\\frac{\\sqrt{5}}{2} \\text{ or } \\sqrt{5}", r"\frac{5}{2}"),
            (r"\\{-3, -1, 4, 7, 8\\}", "15"),
            (r"\\left\\lfloor \\frac{n^2}{4} \\right\\rfloor", r"\frac{n^2}{4}"),
            (r"\\frac{\\sqrt{5}}{2} \\text{ or } \\sqrt{5}", "5/2"), (r"\\frac{1}{2}", "12"), (r"12\\%", "1.2"),
            (r"3\\sqrt{2}", "3"), (r"\\text{even}", "odd"),
        ),
        refused=(r"\\{-3, \\",),
    ),
    Rule(
        "percent",
        (expressions.supply_missing_attribute, reading.quantity),
        (equality._quantities, equality._unit_left_out, equality._unit_added),
        right=(
            (r"35\%", r"35\%"), (r"35\%", "35%"), (r"35\%", "35 percent"), (r"35\%", "35"), (r"35\%", "0.35"), ("35", r"35\%"),
            ("0.35", r"35\%"), ("12.5%", r"12.50\%"), (r"\frac{1}{3}\%", r"\frac13\%"), (r"5\%, 10\%", r"10\%, 5\%"),
            (r"35\%", r"35 \%"), (r"35\%", r"35.0\%"), ("35%", r"35\%"), ("35%", "35%"), ("35%", r"35 \%"),
            ("35%", r"35.0\%"), ("35%", "35"), ("35%", "35 percent"), ("35%", "0.35"), ("35 percent", r"35\%"),
            ("35 percent", "35%"), ("35 percent", r"35 \%"), ("35 percent", r"35.0\%"), ("35 percent", "35"),
            ("35 percent", "35 percent"), ("35 percent", "0.35"), (r"$35\%$", r"35\%"), (r"$35\%$", "35%"),
            (r"$35\%$", r"35 \%"), (r"$35\%$", r"35.0\%"), (r"$35\%$", "35"), (r"$35\%$", "35 percent"),
            (r"$35\%$", "0.35"), (r"12.5\%", r"12.5\%"), (r"\frac{1}{3}\%", r"\frac{1}{3}\%"), (r"5\%, 10\%", r"5\%, 10\%"),
            ("7%", "0.07"), ("100%", "1"), ("0.5%", "0.005"), (r"66\frac{2}{3}\%", r"\frac{200}{3}\%"),
            (r"66\frac{2}{3}\%", r"\frac23"), (r"x = 40\%", "40"), ("-3%", r"-3\%"), ("8.25 pct", "8.25%"),
            (r"\frac{3}{4}", r"75\%"), (r"150\%", "1.5"), ("1,200%", "1200%"), (r"20 \text{ percent}", r"20\%"),
            ("99.9%", r"99.90\%"), (r"12\frac12\%", "12.5%"), (r"2\%, 3\%", "3%, 2%"), (r"0\%", "0"),
        ),
        wrong=(
            (r"35\%", r"0.35\%"), (r"35\%", "3.5"), ("35", "0.35"), (r"35\%", r"35^\circ"), (r"5\%, 10\%", r"15\%"),
            ("7%", "0.7"), ("100%", "100.5%"), (r"\frac{3}{4}", r"7.5\%"), ("150%", "15"), ("20%", r"20 \text{ cm}"),
            (r"\frac{1}{3}\%", r"\frac{1}{3} + 1"), ("8.25 pct", "8.2%"), ("-3%", "3%"), ("12.5%", "125%"),
            (r"5\%, 10\%", r"5\%"),
        ),
    ),
    Rule(
        "thousands",
        (reading.thousands, reading.spaced_thousands),
        (),
        right=(
            ("1 000", "1000"), (r"1\,000", "1000"), (r"25\,000", "25,000"), ("1250", r"1\,250"), ("1000000", r"1\,000\,000"),
            ("24{,}000", "24000"), (r"10,\!080", "10080"), ("x = 10,000", "10000"), ("982,982", "982982"),
            (r"25\,000", "25000"),
        ),
        wrong=(
            ("1 000", "0"), (r"1\,000", "1"), (r"25\,000", "25"), ("(1,000)", "1000"), ("10,000", "10, 000"),
            (r"1\,000", "0"), (r"25\,000", "0"),
        ),
        refused=("2 3", "1 00", "12 3456"),
    ),
    Rule(
        "floats of a column",
        (reading.scientific,),
        (),
        right=(
            ("1e-07", "0.0000001"), ("2.5e-05", r"2.5 \times 10^{-5}"), ("1e-07", "10^{-7}"), ("1e+16", "10^{16}"), ("3E5", "300000"),
            ("2.5e-05", "0.000025"), ("1e-05", "10^{-5}"),
        ),
        wrong=(
            ("1e-07", "e-7"), ("1e-07", "1e-06"), ("2.5e-05", "2.5e-06"),
            ("1e-07", "e - 7"),
        ),
    ),
    Rule(
        "two quantities, and words",
        (
            reading.joined, reading.quantity, reading.number_word, reading.labelled, reading.points, reading.word, reading.sentence,
        ),
        (equality._items, equality._quantities, equality._words, equality._name_left_out, equality._letters_as_product),
        right=(
            (r"2 \text{ hours and } 13 \text{ minutes}", "133 minutes"), ("5 dollars", "5"), ("6 people", "6"), ("four", "4"),
            ("Alice: 3", "3"), ("CDAB", r"\text{CDAB}"), (r"\angle ABC", r"\angle ABC"), ("open", r"\text{Open}"),
            (r"m \text{ is odd}", r"m\text{ is odd}"), ("40 km/h", r"40 \text{ km/h}"), ("10 years old", "10"), ("7 (seven)", "7"),
            ("1/2 cup", r"\frac12"), (r"4 \text{ when } n \text{ is odd}", r"4 \text{ when } n \text{ is odd}"), ("abc", "cba"),
            (r"2 \text{ hours and } 13 \text{ minutes}", r"2 \text{ hours and } 13 \text{ minutes}"), ("40 km/h", "40"),
            ("500 mL", "500"), ("1/2 cup", "1/2"), (r"m \text{ is odd}", r"m \text{ is odd}"), ("CDAB", "CDAB"),
            ("open", "open"), (r"1 \text{ hour and } 30 \text{ minutes}", "90 minutes"), ("12 apples", "12 apples"),
            ("twenty-five", "25"), ("Bob: 12", "12"), (r"\text{Monday}", "monday"),
            (r"n \text{ is prime}", r"n\text{ is prime}"), (r"\triangle DEF", r"\triangle DEF"), ("9 square feet", "9"),
            ("3 dollars and 50 cents", "350 cents"), (r"7 \text{ students}", "7"), ("60 miles per hour", "60"),
            ("twelve", "12"), ("DBCA", r"\text{DBCA}"), ("closed", "Closed"),
        ),
        wrong=(
            (r"2 \text{ hours and } 13 \text{ minutes}", "2"), (r"4 \text{ when } n \text{ is odd}", "4"), ("5 dollars", "4"),
            ("four", "5"), ("Alice: 3", "Bob: 3"), ("CDAB", "ABCD"), (r"\angle ABC", r"\angle ACB"), ("open", "nope"), ("NO", "ON"),
            (r"m \text{ is odd}", r"m \text{ is even}"), (r"m \text{ is odd}", "m"),
            ("ABC", "ACB"), (r"1 \text{ hour and } 30 \text{ minutes}", "1"),
            (r"1 \text{ hour and } 30 \text{ minutes}", "31"), ("12 apples", "21 apples"), ("twenty-five", "24"),
            ("Bob: 12", "Bob: 21"), (r"n \text{ is prime}", r"n \text{ is composite}"), ("Monday", "Sunday"),
            ("DBCA", "DCBA"), ("closed", "open"), (r"3 \text{ if } x > 0", "3"),
        ),
    ),
    Rule(
        "bases",
        (reading.based,),
        (equality._in_bases, equality._base_left_out, equality._base_added),
        right=(
            ("52_8", "52_{8}"), ("4210_{5}", "4210_5"), ("52_8", "52"), ("52_8", r"52_{\text{eight}}"), ("1A_{16}", "1A_{16}"), ("1200", "1200_{10}"),
            ("1011_2", "1011"), ("7F_{16}", "7F_{16}"),
        ),
        wrong=(
            ("52_8", "52_7"), ("4210_{5}", "4210_{6}"), ("1200", "1200_8"), ("2516_8", "2516_{10}"), ("52_8", "42"),
            ("1011_2", "11"), ("1011_2", "1011_3"), ("7F_{16}", "F7_{16}"),
        ),
        refused=("98_7",),
    ),
    Rule(
        "small and large numbers",
        (expressions.parsed,),
        (expressions.same_value, equality._numbers),
        right=(
            ("2^{-81}", r"\frac{1}{2^{81}}"), ("0.0000002", r"2 \times 10^{-7}"), (r"\frac{1}{3}", "0.333333"), (r"\pi", "3.14159"),
            ("3^{9900}", "9^{4950}"), ("1-2^{-2016}", r"1-\frac{1}{2^{2016}}"), ("0.5", r"\frac12"), ("100!", r"100 \cdot 99!"),
            (r"\frac16", "0.166667"), ("0.166667", r"\frac16"), (r"\sqrt{2}", "1.41421"), (r"\frac{2}{3}", "0.6666667"),
        ),
        wrong=(
            ("2^{-81}", "2^{-80}"), ("0.0000002", "0.0000001"), (r"1.6\times 10^{-19}", r"6.6\times 10^{-34}"),
            ("1-2^{-2016}", "1+2^{-2016}"), (r"6.62\times10^{-34}", r"6.63\times10^{-34}"), (r"\sqrt{2}", r"\sqrt{2}+2^{-2016}"),
            (r"\frac{1}{3}", "0.333"), ("1000000", "1000000.1"), (r"\frac{1}{3}", "0.333334"), (r"\pi", "3.1416"), (r"\sqrt{2}", "1.41422"), ("x^2", "x^2+10^{-9}"), ("3^{9900}", "3^{9901}"),
        ),
    ),
    Rule(
        "sets, tuples, equations, units, clocks",
        (reading.bracketed, reading.relation, reading.ratio, reading.quantity, reading.union, reading.matrix, reading.named_set),
        (
            equality._items, equality._relations, equality._named, equality._named_or_not, equality._ratios, equality._quantities, equality._matrices,
            equality._relation_as_interval, equality._only_item, equality._one_item, equality._true_equation, equality._vectors,
            equality._ratio_as_fraction, equality._fraction_as_ratio, equality._name_added,
        ),
        right=(
            ("(1,2)", r"\left(1, 2\right)"), ("3, 4", '["3", "4"]'), (r"3\pm\sqrt{5}", r"3-\sqrt5, 3+\sqrt5"), ("y=2x+3", "2x-y+3=0"),
            ("89+19=108", "19+89=108"), (r"5 \text{ m}", r"500 \text{ cm}"), ("7:15 a.m.", "7:15 AM"), ("12:30 PM", r"12:30 \text{ PM}"),
            ("f'(x)", r"f^{\prime}(x)"), ("(5,\\infty)", "x > 5"), (r"x \in [-2,7]", r"-2 \le x \le 7"), ("4:3", "8:6"), ("5", "2+3=5"),
            (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", "(1, 2)"), (r"\{5\}", "5"), ("k = 1, 2, 4", "4, 2, 1"), ("7:15 p.m.", "19:15"),
            (r"(-\infty,2)\cup(3,\infty)", r"(3,\infty) \cup (-\infty,2)"), ("3:1", "3/1"), (r"\frac{1}{9}", "1:9"),
            (r"3\pm\sqrt{5}", r"3+\sqrt5, 3-\sqrt5"), ('["3", "4"]', "3,4"),
        ),
        wrong=(
            ("(1,2)", r"\{1,2\}"), ("5", "x^2+y^2=5"), ("89+19=108", "89+19=109"), ("89+19=108", "88+20=108"),
            (r"5 \text{ m}", r"5 \text{ km}"), ("7:15 p.m.", "7:15 a.m."), ("f(x)", "f'(x)"), ("(1,2)", "(2,1)"), ("[1,2]", "(1,2)"),
            ("x = 5", "y = 5"), (r"\{1, 1, 7\}", r"\{1, 7\}"), ("10:50", "5:25"), ("x > 5", "x < 5"), ("5", r"5 \text{ or } 6"),
            (r"5 \text{ km}", r"5 \text{ kg}"), ("7:15 p.m.", "7:15"),
        ),
    ),
    Rule(
        "its own spelling",
        (spelling.canonical, reading.choice),
        (equality._words, equality._choice_with_value, equality._value_with_choice),
        right=(
            (r"\frac43", r"\frac43"), (r"11\sqrt2", r"11\sqrt2"), (r"-\frac34i", r"-\frac34i"), ("I", "I"), ("I", r"\text{I}"),
            (r"\frac34", "0.75"), (r"\binom52", r"\binom{5}{2}"), (r"x^\frac12", r"\sqrt x"), (r"\frac{\sqrt3}2", r"\frac{\sqrt{3}}{2}"),
            ("C", r"\text{(C)}"), ("C", "C. 12"), (r"2\frac12", "2.5"),
            ("0.75", r"\frac34"),
        ),
        wrong=((r"\frac43", "4"), (r"11\sqrt2", "11"), ("I", "H"), ("I", r"\sqrt{-1}"), (r"-\frac34i", r"-\frac34"), ("C", "c^2")),
    ),
    Rule(
        "ends and signs",
        (spelling.canonical, reading.continued, reading.repeating, reading.number, reading.fraction, reading.choice, reading.expression),
        (equality._formulas, equality._numbers),
        right=(
            ("40.", "40"), ("12.", "12.0"), ("90°", r"90^\circ"), (r"\approx 3.7", "3.7"), ("3.7", r"\approx 3.7"), ("3.14...", "3.14"),
            (r"\text{Option }A", "A"), (r"\text{(C)}", "C"), ("3.5.", "3.5"), ("3.14...", r"3.14\ldots"), (r"0.1\overline{6}", r"\frac16"),
            ("0.333...", r"\frac13"), ("−5", "-5"), (r"\dfrac{3}{4}.", "0.75"),
            ("12.", "12"), ("90°", "90"), (r"\approx 3.14", "3.14"), ("A", r"\text{Option }A"), ("C", r"\text{(C)}"),
            ("−7.", "-7"), ("60°", "60"), (r"\approx 12", "12"), ("x = 4.", "4"), (r"\text{Answer: } D", "D"),
            ("2.5,", "2.5"), (r"\textbf{(B)}", "B"),
        ),
        wrong=(
            ("40.", "4"), ("90°", r"9^\circ"), (r"\approx 3.7", "3.8"), ("3.14...", "3.15"), (r"\text{(C)}", "B"), ("−5", "5"),
            ("60°", "6"), (r"\approx 12", "13"), (r"\textbf{(B)}", "C"), ("x = 4.", "-4"),
        ),
        refused=(r"1 + \frac{1}{2} + \cdots + \frac{1}{n}", "..."),
    ),
)  # fmt: skip
