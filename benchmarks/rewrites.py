r"""Pairs of a gold answer and an answer, for `benchmarks/grading.py`: rewrites, by the form that a text shows, and others' pairs.

Nothing of the grader is used: a form is told by one pattern, and each rewrite is one change to the text that keeps, or does
not keep, what it says. To add a form, add its pattern and its two functions to FORMS.
"""

import random
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

PEERS = Path(__file__).with_name("peers.tsv")
OTHERWISE = "where a stated rule of ours differs"


class Pair(NamedTuple):
    """What is asked of a grader: whether `answer`, in a box, is right by `gold`."""

    form: str
    gold: str
    answer: str
    equal: bool


def peer_pairs() -> list[Pair]:
    """What the tests and issues of other graders say of a gold answer and an answer; the form is where it was found.

    Each row of the file has "=" or "!" for equal or not, the gold answer, the answer, and, where a stated rule of this project
    says otherwise, the rule: those pairs have the form OTHERWISE.
    """
    pairs, source = [], ""
    for line in PEERS.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            source = line[2:]
            continue
        verdict, gold, answer, *rule = line.split("\t")
        pairs.append(Pair(OTHERWISE if rule else source, gold, answer, verdict == "="))
    return pairs


Rewrites = Iterator[str]


def plain(gold: str) -> str:
    """The text that a gold answer means: without doubled backslashes, delimiters and spaces around it."""
    if re.search(r"\\\\[A-Za-z{}]", gold) and not re.search(r"(?<!\\)\\[A-Za-z]", gold):
        gold = gold.replace("\\\\", "\\")
    return gold.strip().removeprefix("$").removesuffix("$").strip()


# Each form: equal rewrites of a plain text, and wrong ones.


def integer_equal(text: str, rng: random.Random) -> Rewrites:
    number = int(text)
    yield from (
        text,
        f"{text}.",
        f"{text}.0",
        f"x = {text}",
        rf"\text{{{text}}}",
        rf"\mathbf{{{text}}}",
        f"${text}$",
        f" {text} ",
    )
    yield from (rf"\frac{{{2 * number}}}{{2}}", rf"\boxed{{{text}}}", rf"{text}\,", rf"n = {text}.", rf"\displaystyle {text}")
    if abs(number) > 999:
        grouped = f"{number:,}"
        yield from (
            grouped,
            grouped.replace(",", r"\,"),
            grouped.replace(",", "{,}"),
            grouped.replace(",", " "),
            grouped.replace(",", r",\!"),
        )
        yield grouped.replace(",", r"\;")


def integer_wrong(text: str, rng: random.Random) -> Rewrites:
    number = int(text)
    yield from (
        str(number + 1),
        str(number + 10),
        f"{text}1",
        f"{text}.5",
        f"{text}_7",
        f"{text}_{{12}}",
        f"{text}, {number + 1}",
        f"x^2 + y^2 = {text}",
    )
    yield from (
        rf"{text} \text{{ or }} {number + 2}",
        rf"\{{{text}, {number + 3}\}}",
        f"{text}x + 1",
        f"2 + {number} = {number + 2}",
        f"{text}^{{2}} + 1",
    )
    yield f"({text}, {text})"
    if number:
        yield from (str(-number), f"{text}.000001", rf"{text} \cdot 10^{{3}}")


def fraction_parts(text: str) -> tuple[str, int, int]:
    found = re.fullmatch(r"(-?)\s*\\[dt]?frac\s*\{?\s*(\d+)\s*\}?\s*\{?\s*(\d+)\s*\}?|(-?)(\d+)/(\d+)", text)
    assert found
    return (found[1] or found[4] or "", int(found[2] or found[5]), int(found[3] or found[6]))


def fraction_equal(text: str, rng: random.Random) -> Rewrites:
    sign, top, below = fraction_parts(text)
    yield from (
        text,
        rf"{sign}\dfrac{{{top}}}{{{below}}}",
        rf"{sign}\tfrac{{{top}}}{{{below}}}",
        f"{sign}{top}/{below}",
        rf"{sign}\frac{{{3 * top}}}{{{3 * below}}}",
    )
    yield from (
        rf"{sign}\left(\frac{{{top}}}{{{below}}}\right)",
        rf"x = {sign}\frac{{{top}}}{{{below}}}",
        rf"\frac{{{sign}{top}}}{{{below}}}",
        rf"{sign}\frac {{{top}}} {{{below}}}.",
    )
    if top < 10 and below < 10:
        yield from (rf"{sign}\frac{top}{below}", rf"{sign}\frac {top}{{{below}}}")
    value = Fraction(top, below)
    digits = f"{float(value):.12f}"
    if Fraction(digits) == value:
        yield sign + digits.rstrip("0")
    elif value > Fraction(1, 100):
        yield f"{sign}{float(value):.9f}"
    if value > 1 and below > 1:
        yield rf"{sign}{top // below}\frac{{{top % below}}}{{{below}}}" if top % below else text


def fraction_wrong(text: str, rng: random.Random) -> Rewrites:
    sign, top, below = fraction_parts(text)
    yield from (
        rf"{sign}\frac{{{top + 1}}}{{{below}}}",
        rf"{sign}\frac{{{top}}}{{{below + 1}}}",
        f"{top}",
        rf"{'' if sign else '-'}\frac{{{top}}}{{{below}}}",
        f"{top}, {below}",
    )
    yield from (
        rf"\frac{{{top}}}{{{below}}}\pi",
        rf"({top}, {below})",
        rf"{sign}\frac{{{top}}}{{{below}}}, 1",
        f"{sign}{top / below + 0.001:.9f}",
    )
    if top != below:
        yield rf"{sign}\frac{{{below}}}{{{top}}}"


def decimal_equal(text: str, rng: random.Random) -> Rewrites:
    value = Fraction(text)
    yield from (
        text,
        f"{text}0",
        f"x = {text}",
        f"${text}$",
        rf"\frac{{{value.numerator}}}{{{value.denominator}}}",
        rf"\approx {text}",
        f"{text}.",
        rf"\text{{{text}}}",
    )


def decimal_wrong(text: str, rng: random.Random) -> Rewrites:
    places = len(text.partition(".")[2])
    yield from (
        f"{float(text) + 10**-places:.{places}f}",
        f"{float(text) * 10:.{places}f}",
        text.replace(".", "") if float(text) else "1",
        f"{text}1",
        rf"{text} \times 10^{{-34}}",
    )
    yield f"-{text}".replace("--", "")


def formula_equal(text: str, rng: random.Random) -> Rewrites:
    yield from (
        text,
        text.replace(r"\frac", r"\dfrac"),
        text if re.search(r"\\[a-z]+\S* [A-Za-z\d]", text) else text.replace(" ", ""),
        re.sub(r"(?<=[\d}\w])([-+])", r" \1 ", text),
        f"${text}$",
        rf"\left({text}\right)",
        f"y = {text}",
        f"{text}.",
    )
    yield from (
        re.sub(r"\\sqrt\{(\d)\}", r"\\sqrt\1", text),
        re.sub(r"\\frac\{(\d)\}\{(\d)\}", r"\\frac\1\2", text),
        re.sub(r"(\d)\\sqrt", r"\1 \\cdot \\sqrt", text),
    )
    yield from (
        rf"\frac{{2({text})}}{{2}}",
        rf"{text} + 0",
        text.replace("(", r"\left(").replace(")", r"\right)") if r"\left" not in text else text,
    )
    if r"\sqrt{" in text:
        yield re.sub(r"\\sqrt\{(\d+)\}", r"{\1}^{\\frac{1}{2}}", text) if "^" not in text else text


def formula_wrong(text: str, rng: random.Random) -> Rewrites:
    yield from (f"{text} + 1", rf"2({text})", f"-({text})", f"{text}, 1", rf"\{{{text}, 0\}}", f"0 = {text}")
    places = [m.start() for m in re.finditer(r"\d", text) if "(-1)^" not in text]
    for place in rng.sample(places, min(3, len(places))):
        other = str((int(text[place]) + rng.randint(1, 8)) % 10)
        if other != "0" or text[place - 1 : place].isdigit():
            yield text[:place] + other + text[place + 1 :]
    yield rf"{text} + 2^{{-60}}"


def entries(text: str) -> list[str]:
    inner = re.sub(r"\\(?:left|right)\s*", "", text).strip()
    inner = inner[2:-2] if inner.startswith(r"\{") else inner[1:-1]
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(inner):
        depth += (letter in "({[") - (letter in ")}]")
        if letter == "," and depth == 0:
            parts.append(inner[start:place].strip())
            start = place + 1
    return [*parts, inner[start:].strip()]


def brackets(text: str) -> tuple[str, str]:
    bare = re.sub(r"\\(?:left|right)\s*", "", text).strip()
    return (r"\{", r"\}") if bare.startswith(r"\{") else (bare[0], bare[-1])


def several_equal(text: str, rng: random.Random) -> Rewrites:
    parts, (opening, closing) = entries(text), brackets(text)
    yield from (
        text,
        f"{opening}{', '.join(parts)}{closing}",
        f"{opening}{','.join(parts)}{closing}",
        rf"\left{opening} {', '.join(parts)} \right{closing}",
        rf"\big{opening}{','.join(parts)}\big{closing}",
    )
    yield from (f"${text}$", text.replace(r"\frac", r"\dfrac"), f"{text}.", opening + r",\ ".join(parts) + closing)
    if opening == r"\{":
        yield rf"\{{{', '.join(reversed(parts))}\}}"
        yield ", ".join(parts)
        yield rf"\lbrace {', '.join(parts)} \rbrace"
    elif r"\infty" in text or (opening, closing) in (("[", ")"), ("(", "]")):
        yield rf"x \in {text}"


def several_wrong(text: str, rng: random.Random) -> Rewrites:
    parts, (opening, closing) = entries(text), brackets(text)
    yield f"{opening}{', '.join(parts[:-1])}{closing}"
    yield f"{opening}{', '.join([*parts, '99'])}{closing}"
    yield f"{opening}{', '.join([*parts[:-1], '98'])}{closing}"
    yield parts[0]
    if opening != r"\{":
        if list(reversed(parts)) != parts:
            yield f"{opening}{', '.join(reversed(parts))}{closing}"
        yield rf"\{{{', '.join(parts)}\}}"
        yield f"{'[' if opening == '(' else '('}{', '.join(parts)}{closing}"
    else:
        yield f"({', '.join(parts)})" if len(parts) > 1 else "(1, 2)"


def list_parts(text: str) -> list[str]:
    return [part.strip() for part in re.split(r",\s*(?:\\text\{\s*(?:and|or)\s*\})?|\\text\{\s*,?\s*(?:and|or)\s*\}", text)]


def list_equal(text: str, rng: random.Random) -> Rewrites:
    parts = list_parts(text)
    yield from (
        text,
        ", ".join(parts),
        ",".join(parts),
        r" \text{ and } ".join(parts),
        r" \text{ or } ".join(parts),
        ", ".join(reversed(parts)),
        rf"\{{{', '.join(parts)}\}}",
    )
    yield from (r",\ ".join(parts), " and ".join(parts), r", \quad ".join(parts))
    yield rf"{', '.join(parts[:-1])} \text{{, and }} {parts[-1]}"


def list_wrong(text: str, rng: random.Random) -> Rewrites:
    parts = list_parts(text)
    yield from (", ".join(parts[:-1]), parts[0], ", ".join([*parts, "97"]), ", ".join([*parts[:-1], "96"]), parts[-1])
    if all(re.fullmatch(r"-?\d+", part) for part in parts):
        yield str(sum(map(int, parts)))


def equation_equal(text: str, rng: random.Random) -> Rewrites:
    left, right = text.split("=")
    yield from (
        text,
        f"{left.strip()}={right.strip()}",
        f"{left.strip()} = {right.strip()}.",
        f"${text}$",
        rf"{left} &= {right}".replace("&", ""),
    )
    if re.fullmatch(r"\s*[a-zA-Z](?:\([a-z]\))?\s*", left):
        yield right.strip()
        yield f"{left} = {right}".replace(r"\frac", r"\dfrac")


def equation_wrong(text: str, rng: random.Random) -> Rewrites:
    left, right = text.split("=")
    yield from (
        f"{left} = {right} + 1",
        f"{left} = -({right})" if right.strip() != "0" else f"{left} = 5",
        f"{left} + 1 = {right}",
        f"w_{{7}} = {right}",
    )
    if "(x)" in left:
        yield text.replace("(x)", "'(x)", 1)
    digits = re.search(r"\d", right)
    if digits:
        yield f"{left}={right[: digits.start()]}{(int(digits[0]) + 1) % 10 or 3}{right[digits.end() :]}"


def choice_equal(text: str, rng: random.Random) -> Rewrites:
    letter = re.sub(r"\\text|[^A-Z]", "", text)
    yield from (
        letter,
        f"({letter})",
        rf"\text{{{letter}}}",
        rf"\textbf{{({letter})}}",
        f"{letter}.",
        rf"\text{{Option }}{letter}",
        rf"\mathrm{{{letter}}}",
        rf"\text{{({letter})}}",
        f"${letter}$",
    )


def choice_wrong(text: str, rng: random.Random) -> Rewrites:
    letter = re.sub(r"\\text|[^A-Z]", "", text)
    for other in "ABCDEI".replace(letter, ""):
        yield from (other, rf"\text{{({other})}}")
    yield f"{letter}{'B' if letter == 'A' else 'A'}"


def word_equal(text: str, rng: random.Random) -> Rewrites:
    word = re.sub(r"\\text|[{}]", "", text).strip()
    yield from (
        text,
        rf"\text{{{word}}}",
        rf"\textbf{{{word}}}",
        rf"\mathrm{{{word}}}",
        rf"\text{{ {word}}}.",
        rf"\mbox{{{word}}}",
        rf"\textit{{{word}}}",
    )
    if word[1:].islower():
        yield from (word.capitalize(), rf"\text{{{word.capitalize()}}}")


def word_wrong(text: str, rng: random.Random) -> Rewrites:
    word = re.sub(r"\\text|[{}]", "", text).strip()
    yield from (
        word[::-1],
        rf"\text{{{word[1:] + word[0]}}}",
        rf"\text{{not {word}}}",
        r"\text{none}",
        word[0],
        rf"\text{{{word}s and more}}",
    )


def unit_equal(text: str, rng: random.Random) -> Rewrites:
    found = re.fullmatch(r"(.*?)\s*(\\(?:text|mbox)\{[^{}]*\}(?:\^2|\^3)?)", text)
    assert found
    value, unit = found.groups()
    yield from (
        text,
        value,
        rf"{value}\,{unit}",
        f"{value} {unit}",
        f"x = {value} {unit}",
        f"{value}{unit.replace('mbox', 'text')}",
        f"{value}{unit.replace('text', 'mathrm').replace('mbox', 'mathrm')}",
    )


def unit_wrong(text: str, rng: random.Random) -> Rewrites:
    found = re.fullmatch(r"(.*?)\s*(\\(?:text|mbox)\{[^{}]*\}(?:\^2|\^3)?)", text)
    assert found
    value, unit = found.groups()
    yield from (
        rf"{value} \text{{ furlongs}}",
        rf"{value} + 1 {unit}",
        rf"{value} \text{{ kg}}",
        f"9{value} {unit}",
        rf"{value} {unit} \text{{ and }} 5 \text{{ minutes}}",
    )


def angle_equal(text: str, rng: random.Random) -> Rewrites:
    value = text.partition("^")[0].strip()
    yield from (
        text,
        rf"{value}^{{\circ}}",
        rf"{value}^\circ",
        f"{value}°",
        rf"{value} \text{{ degrees}}",
        value,
        rf"{value}\degree",
        f"{value} degrees",
        rf"x = {value}^\circ",
    )


def angle_wrong(text: str, rng: random.Random) -> Rewrites:
    value = text.partition("^")[0].strip()
    yield from (
        rf"{value}0^\circ",
        rf"{value}\%",
        rf"-{value}^\circ",
        rf"{int(value) + 1}^\circ" if value.isdigit() else "3",
        rf"{value} \text{{ cm}}",
    )


def percent_equal(text: str, rng: random.Random) -> Rewrites:
    value = text.rstrip("\\% ")
    yield from (
        text,
        rf"{value}\%",
        f"{value}%",
        rf"{value} \%",
        f"{value} percent",
        rf"{value} \text{{ percent}}",
        value,
        rf"{value}0\%" if "." in value else rf"{value}.0\%",
    )


def percent_wrong(text: str, rng: random.Random) -> Rewrites:
    value = text.rstrip("\\% ")
    yield from (
        rf"{float(value) / 100}\%",
        rf"{float(value) + 1}\%",
        str(float(value) + 1),
        rf"{value}^\circ",
        str(float(value) * 10),
    )


def based_equal(text: str, rng: random.Random) -> Rewrites:
    digits, base = text.replace("{", "").replace("}", "").split("_")
    yield from (
        text,
        f"{digits}_{base}",
        f"{digits}_{{{base}}}",
        rf"{digits}_{{\text{{{base}}}}}",
        f"{digits} _{base}",
        f"${digits}_{{{base}}}$",
        f"{digits}_{{{base}}}.",
        rf"({digits})_{{{base}}}",
    )


def based_wrong(text: str, rng: random.Random) -> Rewrites:
    digits, base = text.replace("{", "").replace("}", "").split("_")
    yield from (
        f"{digits}_{int(base) + 1}",
        f"{digits}_{{10}}",
        f"{digits[::-1]}_{base}" if digits != digits[::-1] else f"{digits}1_{base}",
        f"1{digits}_{base}",
        str(int(digits) + 1),
    )


def ratio_equal(text: str, rng: random.Random) -> Rewrites:
    parts = [part.strip() for part in text.split(":")]
    yield from (
        text,
        ":".join(parts),
        " : ".join(parts),
        r" \colon ".join(parts),
        f"${':'.join(parts)}$",
        rf"\text{{{':'.join(parts)}}}",
    )


def ratio_wrong(text: str, rng: random.Random) -> Rewrites:
    parts = [part.strip() for part in text.split(":")]
    yield from (
        ":".join(reversed(parts)) if parts != parts[::-1] else "1:9",
        ":".join([*parts[:-1], str(int(parts[-1]) + 1)]),
        parts[0],
        ":".join([*parts, "7"]),
    )


def money_equal(text: str, rng: random.Random) -> Rewrites:
    value = re.sub(r"\\[!$]", "", text)
    yield from (text, value, rf"\${value}", rf"{value} \text{{ dollars}}", rf"\$ {value}", value.replace(",", ""))


def money_wrong(text: str, rng: random.Random) -> Rewrites:
    value = re.sub(r"\\[!$]", "", text)
    yield from (
        rf"\${value}0" if "." not in value else rf"\$9{value}",
        rf"{value} \text{{ cents}}",
        rf"{value}\%",
        rf"-\${value}",
    )


def matrix_equal(text: str, rng: random.Random) -> Rewrites:
    yield from (
        text,
        text.replace("pmatrix", "bmatrix"),
        text.replace(" ", "").replace(r"\begin{pmatrix}", r"\begin{pmatrix} "),
        f"${text}$",
    )
    yield re.sub(r"(-?\d+)/(\d+)", r"\\frac{\1}{\2}", text)


def matrix_wrong(text: str, rng: random.Random) -> Rewrites:
    yield re.sub(r"\d+(?=\D*$)", lambda m: str(int(m[0]) + 1), text)
    yield text.replace(r"\\", "&", 1)
    yield re.sub(r"\d+", lambda m: str(int(m[0]) + 2), text, count=1)


def grouped_equal(text: str, rng: random.Random) -> Rewrites:
    digits = re.sub(r"\D", "", text)
    yield from (
        text,
        digits,
        f"{int(digits):,}",
        f"{int(digits):,}".replace(",", r"\,"),
        f"{int(digits):,}".replace(",", "{,}"),
        f"{int(digits):,}".replace(",", " "),
        f"x = {digits}",
    )


def grouped_wrong(text: str, rng: random.Random) -> Rewrites:
    digits = re.sub(r"\D", "", text)
    yield from (
        digits[:-3],
        f"{digits}0",
        str(int(digits) + 1),
        digits[-3:],
        ", ".join((digits[:-3], digits[-3:])),
        f"{digits}_{{10}} + 1",
        digits[0],
    )


def plus_minus_equal(text: str, rng: random.Random) -> Rewrites:
    upper, lower = text.replace(r"\pm", "+").lstrip("+ "), text.replace(r"\pm", "-")
    yield from (
        text,
        f"{upper}, {lower}",
        f"{lower}, {upper}",
        rf"{upper} \text{{ or }} {lower}",
        rf"{upper} \text{{ and }} {lower}",
        rf"\{{{upper}, {lower}\}}",
        re.sub(r"\\sqrt\{(\d)\}", r"\\sqrt\1", text),
    )


def plus_minus_wrong(text: str, rng: random.Random) -> Rewrites:
    upper, lower = text.replace(r"\pm", "+").lstrip("+ "), text.replace(r"\pm", "-")
    yield from (upper, lower, f"{upper}, {upper}", rf"{text} + 1", f"({upper}) + ({lower})", f"{upper}, {lower}, 0")


def inequality_equal(text: str, rng: random.Random) -> Rewrites:
    yield from (
        text,
        re.sub(r"\\leq(?:slant)?", r"\\le ", text),
        f"${text}$",
        f"{text}.",
        text.replace("<", " < ").replace(r"\leqslant", r"\leq ").replace(r"\leq", "≤"),
    )
    sides = re.split(r"<|\\leq?(?:slant)?(?![a-z])", text)
    signs = re.findall(r"<|\\leq?(?:slant)?(?![a-z])", text)
    yield "".join(
        side + sign
        for side, sign in zip(sides[::-1], [*(">" if sign == "<" else r"\ge " for sign in signs[::-1]), ""], strict=True)
    )


def inequality_wrong(text: str, rng: random.Random) -> Rewrites:
    yield from (
        text.replace("<", r"\le ", 1) if "<" in text else text.replace(r"\le", "<", 1).replace("<q", "<", 1),
        text + " + 1",
    )
    yield text.replace("<", ">").replace(r"\le", r"\ge")


NUMBER = r"-?\d+(?:\.\d+)?"
FORMS: dict[str, tuple[str, Callable[[str, random.Random], Rewrites], Callable[[str, random.Random], Rewrites]]] = {
    "integer": (r"0|-?[1-9]\d*", integer_equal, integer_wrong),
    "decimal": (r"-?\d*\.\d+", decimal_equal, decimal_wrong),
    "fraction": (r"-?\s*\\[dt]?frac\s*\{\s*[1-9]\d*\s*\}\s*\{\s*[1-9]\d*\s*\}|-?[1-9]\d*/[1-9]\d*", fraction_equal, fraction_wrong),
    "choice": (r"[A-I]|\\text\{\([A-I]\)\}", choice_equal, choice_wrong),
    "word": (r"\\text\{[A-Za-z]{3,}\}", word_equal, word_wrong),
    "percent": (rf"{NUMBER}\\?%", percent_equal, percent_wrong),
    "angle": (rf"{NUMBER}\s*\^\s*\{{?\\circ\}}?", angle_equal, angle_wrong),
    "unit": (r"[^=,a-zA-Z]*(?:\\frac\{?\d+\}?\{?\d+\}?)?[^=,a-zA-Z]*\\(?:text|mbox)\{\s*(?:cm|m|km|inches|degrees|cents|units|feet)\s*\}(?:\^[23])?", unit_equal, unit_wrong),
    "money": (r"\\\$[\d,.!\\]+", money_equal, money_wrong),
    "base": (r"\d+_\{?\d+\}?", based_equal, based_wrong),
    "ratio or clock": (r"\d+(?:\s*:\s*\d+)+", ratio_equal, ratio_wrong),
    "thousands": (r"\d{1,3}(?:(?:,|\{,\}|,\\!\s?)\d{3})+", grouped_equal, grouped_wrong),
    "plus or minus": (r"[^=,{]*\\pm [^=,]*", plus_minus_equal, plus_minus_wrong),
    "inequality": (r"(?:(?!\\cdots|\\times|\\cos)[^=>,])*(?:<|\\le)(?:(?!\\cdots|\\times)[^=>,])*", inequality_equal, inequality_wrong),
    "matrix": (r"\\begin\{pmatrix\}.*\\end\{pmatrix\}", matrix_equal, matrix_wrong),
    "set, tuple, interval": (r"(?:\\left\s*)?(?:\(|\[|\\\{)[^=]*,[^=]*(?:\\right\s*)?(?:\)|\]|\\\})", several_equal, several_wrong),
    "list": (r"[^=()\[\]{,]+(?:(?:,\s+|\s*\\text\{ (?:and|or) \}\s*)[^=()\[\]{,]+)+", list_equal, list_wrong),
    "equation": (r"[^=<>\\,]*=(?:(?!\\cdots|\\text|\\pm)[^=<>,])*", equation_equal, equation_wrong),
    "formula": (r"(?:(?!\\\[|\\\(|\\boxed|\\text|\\mbox|\\l?dots|\\g?l?eq|\\varnothing|\b[A-Z]{3,}|\([A-Z]\)|^\s*[A-Z]\s*$|[a-z]{4,} |(?<!\\)\b[a-z]{4,}$| and |^0|\\cdots|\\\$|\\in|\\cup|\\begin|\\le|\\equiv|\\pm|\\infty)[^=<>,:;%])*", formula_equal, formula_wrong),
}  # fmt: skip


def pairs_of(gold: str, rng: random.Random) -> list[Pair]:
    """Rewrites of one gold answer; none of one that is of no form here."""
    text = plain(gold)
    for form, (pattern, equal, wrong) in FORMS.items():
        if text and re.fullmatch(pattern, text, re.DOTALL):
            doubled = " (doubled backslashes)" if text != gold.strip() and "\\\\" in gold else ""
            right = list(dict.fromkeys(equal(text, rng)))
            return [Pair(form + doubled, gold, answer, True) for answer in right] + [
                Pair(form + doubled, gold, answer, False) for answer in dict.fromkeys(wrong(text, rng)) if answer not in right
            ]
    return []
