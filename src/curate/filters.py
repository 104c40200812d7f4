r"""Step 5, filter: what is too easy or too hard to learn from, or no single problem in words with one answer.

A rule takes a question and gives what it saw, or None. To add one, add its function to RULES.
"""

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from src.common.base import Config
from src.common.errors import refuse_unknown
from src.curate.asking import AskConfig, Asker
from src.curate.cache import Cache
from src.curate.store import Candidate, Finished, Writer, key_of
from src.grading.looks import script_share

TRIVIAL, IMPOSSIBLE, JUDGED = "trivial", "impossible", "rejected by the judge"
PROBLEMS_AT_ONCE = 128

_ASKS = re.compile(
    r"\b(?:find|determine|compute|calculate|evaluate|what|which|how (?:many|much)|solve|simplify|express|value of|give)\b",
    re.IGNORECASE,
)
_LABEL = re.compile(r"(?:^|(?<=[\s.;:?!]))(?:\((?P<bracket>[a-d1-4]|i{1,3}|iv)\)|(?P<bare>[a-d1-4])\)|Part (?P<part>[A-D1-4]))\s")
_PROOF = re.compile(r"\b(?:prove|show|demonstrate) (?:that|the|each|every|there|by)\b|\bprove:", re.IGNORECASE)
_FIGURE = re.compile(
    r"\b(?:figure|diagram|picture|drawing)s? (?:below|above|shown|at (?:the )?(?:right|left))\b"
    r"|\b(?:in|from|on|see|to) the (?:\w+ )?(?:figure|diagram|picture|drawing|image)\b"
    r"|\b(?:as|is|are) (?:shown|pictured|illustrated|depicted)(?: (?:below|above|at|to|on)\b|[.,;:])"
    r"|\bgraph (?:below|above|shown)\b|\bfigure \d|\bfig\. ?\d|!\[[^\]]*\]\(|<image>|<img\b|\\includegraphics",
    re.IGNORECASE,
)
_DRAWN = re.compile(r"\[asy\]|\\begin\{(?:tikzpicture|asy|tabular|array)\}")
# Function words; a text in Latin letters with more of another language's than of English is not English.
_ENGLISH = frozenset("the of is and that are for with find what if let each which how be an in to".split())
_OTHERS = {
    "Spanish": frozenset("el los las que una del por con para cuál cuántos sea es en se un".split()),
    "French": frozenset("le les des une que est dans pour soit quel quelle sont avec et un du".split()),
    "German": frozenset("der die das und ist ein eine den von mit für sei wie viele auf zu".split()),
    "Italian": frozenset("il gli della che una sono per con quale sia nel quanti di è un".split()),
    "Portuguese": frozenset("os as que uma do da por com para qual quantos seja é em um não".split()),
}
_WORD = re.compile(r"[^\W\d_]+")
_SPANS = re.compile(r"\$[^$]*\$|\\\(.*?\\\)|\\\[.*?\\\]|\\[A-Za-z]+", re.DOTALL)
LATIN_SHARE = 0.8  # of the letters outside formulas


def multi_part(question: str) -> str | None:
    """Several labelled parts, each of which asks for something; labelled conditions are no parts."""
    labels = list(_LABEL.finditer(question))
    ends = [*(label.start() for label in labels[1:]), len(question)]
    parts = [question[label.end() : end] for label, end in zip(labels, ends, strict=False)]
    asking = [part for part in parts if _ASKS.search(part) or _PROOF.search(part) or "?" in part]
    return f"{len(asking)} parts that ask" if len(asking) > 1 else None


def proof_only(question: str) -> str | None:
    """A proof is asked for, and nothing else."""
    proof = _PROOF.search(question)
    return proof.group() if proof and not _ASKS.search(question) and "?" not in question else None


def missing_figure(question: str) -> str | None:
    """A figure is referred to that is not drawn in the text."""
    figure = _FIGURE.search(question)
    return figure.group() if figure and not _DRAWN.search(question) else None


def other_language(question: str) -> str | None:
    """Another script than Latin, or more function words of another language than of English."""
    latin = script_share(question)
    if latin < LATIN_SHARE:
        return f"{1 - latin:.0%} of the letters in another script"
    words = [word.casefold() for word in _WORD.findall(_SPANS.sub(" ", question)) if len(word) > 1]
    english = sum(word in _ENGLISH for word in words)
    counts = {name: sum(word in known for word in words) for name, known in _OTHERS.items()}
    name = max(counts, key=lambda language: counts[language])
    return name if counts[name] > max(2, english) else None


RULES: dict[str, Callable[[str], str | None]] = {
    "multi-part": multi_part,
    "proof only": proof_only,
    "missing figure": missing_figure,
    "other language": other_language,
}


class JudgeConfig(AskConfig):
    """A model that is asked whether a problem is fit; its prompt holds {question}."""

    reject: str  # a regular expression: a reply in which it is found rejects the problem
    accept: str  # likewise; a reply with neither keeps the problem and is counted

    @field_validator("reject", "accept")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression ({error})") from error
        return pattern


class FilterConfig(Config):
    """Which problems are left out."""

    trivial_from: float | None = Field(default=None, ge=0, le=1)  # pass rate, inclusive
    impossible_to: float | None = Field(default=None, ge=0, le=1)  # pass rate, inclusive
    rules: list[str] = list(RULES)
    judge: JudgeConfig | None = None

    @field_validator("rules")
    @classmethod
    def _known(cls, rules: list[str]) -> list[str]:
        refuse_unknown(rules, RULES, "rule")
        return rules


def apply_filters(config: FilterConfig, previous: Finished, writer: Writer, done: Callable[[int], None]) -> None:
    """Pass rates first, then the rules in their order, then the judge; the first reason counts."""
    if config.judge is None:
        for candidate in previous.candidates():
            if not _dropped(config, candidate, writer):
                writer.keep(candidate)
            done(1)
        return
    asker, rows, unclear = Asker(config.judge), previous.candidates(), 0
    with Cache(Path(config.judge.cache)) as cache:
        while part := list(itertools.islice(rows, PROBLEMS_AT_ONCE)):
            left = [candidate for candidate in part if not _dropped(config, candidate, writer)]
            for candidate, reply in zip(left, _replies(asker, cache, left), strict=True):
                verdict = judge(config.judge, reply)
                unclear += verdict == "unclear"
                if verdict == "reject":
                    writer.drop(candidate, JUDGED, reply)
                else:
                    writer.keep(candidate)
            done(len(part))
    if unclear:
        writer.notes.append(f"the judge gave no clear reply on {unclear} problems, which were kept")


def _dropped(config: FilterConfig, candidate: Candidate, writer: Writer) -> bool:
    rate = candidate.pass_rate
    if rate is not None and config.trivial_from is not None and rate >= config.trivial_from:
        writer.drop(candidate, TRIVIAL, f"pass rate {rate:g}")
        return True
    if rate is not None and config.impossible_to is not None and rate <= config.impossible_to:
        writer.drop(candidate, IMPOSSIBLE, f"pass rate {rate:g}")
        return True
    for rule in config.rules:
        if seen := RULES[rule](candidate.question):
            writer.drop(candidate, rule, seen)
            return True
    return False


def judge(config: JudgeConfig, reply: str) -> Literal["accept", "reject", "unclear"]:
    """What a reply says; one with both words says nothing."""
    reject, accept = re.search(config.reject, reply), re.search(config.accept, reply)
    if bool(reject) == bool(accept):
        return "unclear"
    return "reject" if reject else "accept"


def _replies(asker: Asker, cache: Cache, part: list[Candidate]) -> list[str]:
    keys = [key_of("judge", asker.identity, candidate.question) for candidate in part]
    known = cache.get(keys)
    missing = {key: candidate.question for key, candidate in zip(keys, part, strict=True) if key not in known}
    if missing:
        first = [samples[0] for samples in asker.ask(list(missing.values()), 1)]
        new = dict(zip(missing, asker.tokenizer.batch_decode(first, skip_special_tokens=True), strict=True))
        cache.put(new)
        known |= new
    return [known[key] for key in keys]
