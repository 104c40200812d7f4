r"""Copies of real problems with small changes, to see which of them curation finds; and problems of the same template,
which are no copies.

Each change keeps what is asked: spaces, the spelling of LaTeX, the order of clauses, the names of variables.
"""

import random
import re
from collections.abc import Callable

MATHS = re.compile(
    r"(?<!\\)\$\$.+?(?<!\\)\$\$|(?<!\\)\$(?:\\.|[^$\\])+\$|\\\(.+?\\\)|\\\[.+?\\\]", re.DOTALL
)
VARIANTS = (
    (r"\frac", r"\dfrac"),
    (r"\dfrac", r"\frac"),
    (r"\leq", r"\le"),
    (r"\geq", r"\ge"),
    (r"\le ", r"\leq "),
    (r"\ge ", r"\geq "),
    (r"\cdot", r"\times"),
    (r"\ldots", r"\dots"),
    (r"^\circ", r"^{\circ}"),
    (r"\left", ""),
    (r"\right", ""),
    (r"\text{", r"\mathrm{"),
    (r"\!", ""),
)


def spacing(text: str, rng: random.Random) -> str:
    """Double spaces and new lines between words, thin spaces and none around operators in formulas."""
    around = (r"\1", r" \1 ", r"\\, \1 ")
    text = MATHS.sub(lambda maths: re.sub(r"\s*([=+<>])\s*", rng.choice(around), maths.group()), text)
    return re.sub(r"(?<=\S) (?=\S)", lambda _: rng.choice((" ", " ", "  ", "\n")), text).strip()


def latex(text: str, rng: random.Random) -> str:
    """Other delimiters, other spellings of commands, braces where none are needed."""
    for old, new in VARIANTS:
        if rng.random() < 0.7:
            end = r"(?![A-Za-z])" if old[-1].isalpha() else ""
            text = re.sub(re.escape(old) + end, lambda _, new=new: new, text)
    text = re.sub(r"\^(\w)(?![\w}])", r"^{\1}", text)
    if "$$" not in text and "[asy]" not in text:
        text = MATHS.sub(lambda maths: re.sub(r"^\$(.*)\$$", r"\\(\1\\)", maths.group(), flags=re.DOTALL), text)
    return text


def clauses(text: str, rng: random.Random) -> str:
    """Two neighbouring sentences change places; of a single sentence, the parts around a comma."""
    sentences = re.split(r"(?<=[.?!])\s+(?=[A-Z$\\])", text.strip())
    if len(sentences) > 1:
        at = rng.randrange(len(sentences) - 1)
        sentences[at : at + 2] = sentences[at + 1], sentences[at]
        return " ".join(sentences)
    first, comma, second = text.strip().rstrip(".?").partition(", ")
    if not comma or first.count("$") % 2 or first.count("(") != first.count(")"):
        return text  # the comma stands inside a formula
    return f"{second[0].upper()}{second[1:]}, {first[0].lower()}{first[1:]}."


def renaming(text: str, rng: random.Random) -> str:
    """Other letters for variables and points, the same one for the same letter throughout the formulas."""
    small, capital = list("abcdfghjkmnpqrstuvwxyz"), list("ABCDFGHJKLMNPQRSTUVWXYZ")
    names = dict(zip(small, rng.sample(small, len(small)), strict=True))
    names |= dict(zip(capital, rng.sample(capital, len(capital)), strict=True))
    names |= {r"\alpha": r"\beta", r"\theta": r"\phi", r"\beta": r"\gamma"}

    def rename(maths: re.Match[str]) -> str:
        parts = re.split(r"(\\text\{[^}]*\}|\\(?:begin|end)\{\w+\}|\\[A-Za-z]+)", maths.group())
        letter = re.compile(r"[A-Za-z]")
        return "".join(
            names.get(part, part) if part[:1] == "\\" else letter.sub(lambda m: names.get(m.group(), m.group()), part)
            for part in parts
        )

    return text if "[asy]" in text else MATHS.sub(rename, text)


def together(text: str, rng: random.Random) -> str:
    """All of the changes at once."""
    for change in (renaming, clauses, latex, spacing):
        text = change(text, rng)
    return text


CHANGES: dict[str, Callable[[str, random.Random], str]] = {
    "spacing": spacing,
    "LaTeX": latex,
    "clauses": clauses,
    "variables": renaming,
    "all together": together,
}


def sibling(text: str, rng: random.Random) -> str:
    """A problem of the same template that is no copy: one of its numbers is another."""
    places = list(re.finditer(r"\d+", text))
    if not places:
        return text
    place = rng.choice(places)
    return text[: place.start()] + str(int(place.group()) + rng.randint(1, 9)) + text[place.end() :]


# Where no real problems are at hand: templates of several sentences, told apart by their numbers, names and things.
TEMPLATES = (
    r"{name} has ${a}$ {things} and gives $\frac{{1}}{{{b}}}$ of them to {other}. After that {other} buys ${c}$ "
    r"more {things}. How many {things} does {other} have if there were ${d}$ at the start?",
    r"Let $x$ and $y$ be real numbers such that ${a}x + {b}y = {c}$ and $x - {d}y \le {e}$. What is the largest "
    r"possible value of $x^2 + {b}y$?",
    r"A bag holds ${a}$ red {things}, ${b}$ blue {things} and ${c}$ green {things}. {name} draws ${d}$ of them "
    r"at random without looking. What is the probability that exactly one is blue?",
    r"In triangle $ABC$, $AB = {a}$, $BC = {b}$ and $\angle B = {c}^\circ$. Point $D$ lies on $AC$ with $AD = "
    r"{d}$. Find the length of $BD$.",
    r"How many positive integers $n \le {a}$ are divisible by ${b}$ or by ${c}$, but not by ${d}$?",
    r"The sequence $a_1, a_2, \ldots$ satisfies $a_1 = {a}$ and $a_{{n+1}} = {b}a_n - {c}$ for all $n \geq 1$. "
    r"Find the remainder when $a_{{{d}}}$ is divided by ${e}$.",
    r"{name} and {other} walk around a lake of ${a}$ km. {name} walks at ${b}$ km per hour, and {other} starts "
    r"${c}$ minutes later at ${d}$ km per hour. When do they meet for the first time?",
    r"A polynomial $P(x) = x^3 - {a}x^2 + {b}x - {c}$ has three real roots. Determine the sum of the squares of "
    r"its roots, divided by ${d}$.",
    r"A rectangle of ${a}$ by ${b}$ centimetres is cut from a square whose side is ${c}$ centimetres. The rest "
    r"is painted {colour}. What part of the square is {colour}, to the nearest ${d}$ percent?",
    r"On a shelf stand ${a}$ {things}. {name} takes away every ${b}$th one, then {other} puts back ${c}$. If "
    r"this is done ${d}$ times, how many {things} stand there in the end?",
)
NAMES = "Ada Bela Chen Dora Emil Fatou Goran Hana Ivo Jun Kofi Lena Mira Nuno Olga Petra Rosa Sami Tomas Uma".split()
THINGS = "apples marbles stamps coins books shells pencils tiles cards ribbons plates candles".split()
COLOURS = "red blue green yellow black white purple orange".split()


def make_problems(count: int, rng: random.Random) -> list[str]:
    """Generated word problems, no two of which are equal."""
    problems: dict[str, None] = {}
    while len(problems) < count:
        name, other = rng.sample(NAMES, 2)
        words = {"name": name, "other": other, "things": rng.choice(THINGS), "colour": rng.choice(COLOURS)}
        numbers = {letter: rng.randint(2, 999) for letter in "abcde"}
        problems[rng.choice(TEMPLATES).format(**words, **numbers)] = None
    return list(problems)


def renumbered(text: str, rng: random.Random) -> str:
    """Another problem of the same template: every number is another, of as many digits."""
    return re.sub(r"\d+", lambda number: str(rng.randint(10 ** (len(number[0]) - 1), 10 ** len(number[0]) - 1)), text)
