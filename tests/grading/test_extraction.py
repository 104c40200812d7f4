"""What `read_answer` shortens, math-verify must read in the same way; checked with math-verify itself."""

import random

import pytest

from src.grading.extraction import NO_ANSWER, Answer, find_answer, read_answer
from src.grading.judging import parse_answer

LONG = "and so it goes on for quite a while, in a line that is long enough to keep two boxes apart"


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"So $\boxed{ 42 }$.", "42"),
        (r"\[ x = \boxed{\frac{1}{2}} \] and \frac{3}{4} is too much.", r"\frac{1}{2}"),
        (rf"First \boxed{{7}}.{LONG}" + "\n</think>\n\nThe result:\n\\[\n\\boxed{8}\n\\]", "8"),
        (r"Then the answer is \( 5 \), I think.", "5"),
        ("Is $3$ the answer? No: the answer\nmust be $x + 1$.", None),  # the second may belong to the first
        (f"Is $3$ the answer?{LONG}\nNo, the answer must be $x + 1$.", "x + 1"),
        ("No formula here, and no box", ""),
        ("The answer to this is left open, since nothing was found in the $3$ cases that were tried in the end", ""),
    ],
)
def test_finds_the_answer(text: str, content: str | None) -> None:
    answer = read_answer(text)
    assert (answer.content if answer else None) == content


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{1} and \boxed{2}",  # read as a set
        r"$\boxed{20}$ percent",
        r"\boxed{5}. The final answer is $3$. I hope it is correct.",
        r"\boxed{\frac{1}{2}",
        r"\boxed{}",
        r"\fbox{3} or \boxed{4}",
        r"Final answer: $3$",
        r"The answer is $3$, $4$ and $5$",
        r"The answer is $3$%",
        r"The answer is $3",
    ],
)
def test_leaves_doubtful_texts_to_math_verify(text: str) -> None:
    assert read_answer(text) is None


def test_a_shortened_text_is_read_like_the_whole() -> None:
    pieces = [
        *(r"\boxed{5}", r"\boxed{x}", r"\boxed{[1,2)}", r"\boxed{", r"\boxed", r"\fbox{2}", "}", "{", "$", "$$", r"\["),
        *(r"\]", r"\(", r"\)", " [", "] ", "\n", "\n", "\n\n", "x", "The ", "and ", "or", ", ", "%", " percent", "$5$"),
        *("answer", "Answer: ", "the answer is ", "final answer is ", " I hope so", "$7$ ", r"\(8\)", r"\[ 9 \]", "\\"),
        *("$$3$$", LONG, LONG, "So\n", r"\frac{1}{2}", "1", " "),
    ]
    rng = random.Random(0)
    found = {"shortened": 0, "no answer": 0}
    for _ in range(4000):
        text = "".join(rng.choices(pieces, k=rng.randint(1, 14)))
        answer = read_answer(text)
        if answer is None:
            continue
        found["no answer" if answer is NO_ANSWER else "shortened"] += 1
        assert parse_answer(text) == parse_answer(answer.text), (text, answer)
    assert min(found.values()) > 400, found  # the comparison has covered both


def test_a_text_without_an_answer_is_told_by_identity() -> None:
    assert read_answer("no") is NO_ANSWER == Answer("", "")


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"So $\boxed{35}\%$.", r"35\%"),
        (r"So $\boxed{35}$ percent.", "35 percent"),
        (r"$\boxed{52}_8$", "52_8"),
        (r"$\boxed{90}^\circ$", r"90^\circ"),
        (r"$\boxed{5} \text{ km}$", r"5 \text{ km}"),
        (r"$\boxed{5}$ of $100$", "5"),
        (r"$\boxed{3}$ or $\boxed{4}$", "3,4"),
        (r"\boxed{100} and \boxed{200}", "100, 200"),
        ("\\boxed{4}\n\n\\boxed{4}", "4"),
        (r"\boxed{1} is too small. \boxed{2}", "2"),
        (r"\boxed{7} and then \boxed{", "7"),
        (r"\boxed{7} \boxed{}", "7"),
        (r"\boxed {7}", "7"),
        (r"\fbox{3} or \boxed{4}", "3,4"),
        ("no box, but 7", ""),
    ],
)
def test_boxes_and_what_belongs_to_them(text: str, content: str) -> None:
    answer = find_answer(text)
    assert answer is not None and answer.content == content


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("It is 42", "42"),
        ("The final sum is $x + 1$, I think", "x + 1"),
        (r"We get \( \frac{1}{2} \) in 3 steps", "3"),
        ("so 1,250 apples, or 12.5%", "12.5%"),
        (r"\boxed{5}, not 6", "5"),
        ("The answer is $7$, not 8", "7"),
        ("none", ""),
    ],
)
def test_the_last_expression_counts_only_for_its_reader(text: str, content: str) -> None:
    last = find_answer(text, "last_expression")
    assert last is not None and last.content == content
    boxed = find_answer(text)
    assert boxed is not None and boxed.content == (content if "boxed" in text else "")
