"""The answer, in one sentence: what to use, how sure that is, what it cost, and what to do next; from all suites that count."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from src.common.screen import count, duration
from src.record.read import Run
from src.report.findings.configurations import Configuration, Group
from src.report.findings.models import ModelGroup
from src.report.findings.verdict import Finding, Judgement, benchmarks, signed
from src.statistics import FEWEST_SEEDS, Difference
from src.sweep.read import SweepRecord

MOST_NAMED = 3  # configurations that cannot be told apart; the largest gain of more is said to be flattered


@dataclass(frozen=True)
class Answer:
    """Its four parts."""

    use: str
    sure: str
    cost: str  # empty where nothing was counted
    then: str

    @property
    def rest(self) -> str:
        """What comes after the first part and a colon."""
        return "; ".join(part for part in (self.sure, self.cost, f"next, {self.then}.") if part)

    def __str__(self) -> str:
        return f"{self.use}: {self.rest}"


def answer(
    groups: Sequence[Group], verdict: Judgement, models: Sequence[ModelGroup], sweeps: Sequence[SweepRecord], runs: Sequence[Run]
) -> Answer:
    """Of recipes where any was measured, else of models, else of searches that have not got so far."""
    if groups:
        return _of_recipes(Evidence(benchmarks(groups), verdict), sweeps, runs)
    if models:
        return _of_models(models[0])
    ahead = [f"; trial {sweep.best.number} of {sweep.name} is ahead by the figure it was picked for" for sweep in sweeps if sweep.best]
    why = f"no run was measured to its end{''.join(ahead[:1])}"
    return Answer("There is no answer yet", why, _spent(runs), "let them end, or take them up with resume=FOLDER")


@dataclass(frozen=True)
class Evidence:
    """What is shown of recipes: by the standing of findings with enough seeds."""

    groups: Sequence[Group]
    verdict: Judgement

    @property
    def configurations(self) -> list[Configuration]:
        return list({c.key: c for group in self.groups for c in group.configurations}.values())

    def gains(self, configuration: Configuration) -> list[Finding]:
        """Over the base, on each suite; what is surest first."""
        found = [self.verdict.of(g, configuration) for g in self.groups if configuration.key in g.runs]
        return sorted(found, key=lambda f: (f.p, -f.difference.mean))

    def mean_gain(self, configuration: Configuration) -> float:
        return fmean(f.difference.mean for f in self.gains(configuration))

    def gained(self, gain: Finding, name: str = "", seeds: bool = True) -> str:
        """In words. What was picked among many for its gain owes a part of it to chance."""
        many = len(self.configurations)
        picked = f" (picked among {many}, which flatters it)" if many > MOST_NAMED else ""
        told = f"{name or gain.first.label} gained {signed(gain.difference.interval)} over the base on {gain.group.name}{picked}"
        return f"{told}, {count(gain.difference.seeds, 'seed')}" if seeds else told

    def helps(self, configuration: Configuration) -> bool:
        """Whether it is better than the base on some suite, and worse on none."""
        standings = _shown(self.gains(configuration))
        return "better" in standings and "worse" not in standings

    @property
    def between(self) -> list[Finding]:
        return [f for f in self.verdict.between if any(f.group is group for group in self.groups)]

    def beats(self) -> set[tuple[str, str]]:
        """Keys of the better one and the worse one."""
        pairs = [(f, f.first.key, f.second.key) for f in self.between if f.second and _shown([f])]
        return {(a, b) if f.standing == "better" else (b, a) for f, a, b in pairs}

    def best(self) -> list[Configuration]:
        """Those that help and that no other is shown to beat, the largest gain first."""
        beaten = {worse for _, worse in self.beats()}
        return sorted((c for c in self.configurations if self.helps(c) and c.key not in beaten), key=lambda c: -self.mean_gain(c))


def _shown(findings: Iterable[Finding]) -> set[str]:
    return {f.standing for f in findings if f.standing != "not resolved" and f.enough_seeds}


def _of_recipes(evidence: Evidence, sweeps: Sequence[SweepRecord], runs: Sequence[Run]) -> Answer:
    if best := evidence.best():
        return _recommended(evidence, best, runs)
    gain = evidence.gains(max(evidence.configurations, key=evidence.mean_gain))[0]
    seeds = max(f.difference.seeds for c in evidence.configurations for f in evidence.gains(c))
    if seeds < FEWEST_SEEDS:
        unsure = "" if gain.standing != "not resolved" else ", which is not shown to differ from 0"
        few = f"with {count(seeds, 'seed')} of at least {FEWEST_SEEDS} this speaks of weights alone"
        search = any(sweep.complete and not sweep.confirmed for sweep in sweeps)
        of_what = "it" if len(evidence.configurations) == 1 else "each recipe"
        more = f"run {count(FEWEST_SEEDS - seeds, 'more seed')} of {of_what} (seed=N)"
        then = "confirm the best of the search on fresh seeds (sweep.confirm)" if search else more
        return Answer("No recipe can be recommended yet", f"{few}; those of {evidence.gained(gain, seeds=False)}{unsure}", _spent(runs), then)
    shown = [_shown(evidence.gains(c)) for c in evidence.configurations]
    if all(each == {"worse"} for each in shown):
        return Answer("Use the base as it is", f"all recipes are worse; of them {evidence.gained(gain)}", _spent(runs), "try another recipe")
    if any("better" in each for each in shown):
        return Answer("It depends on the suite", "no recipe is the better one on all", _spent(runs), "choose by the suite that counts")
    few = "" if gain.enough_seeds else f" of at least {FEWEST_SEEDS}"
    many = " once corrected for the number of comparisons" if gain.difference.interval.low > 0 and not few else ""
    close = f"no recipe is shown to be better than the base{many}; nearest to it {evidence.gained(gain)}{few}"
    then = f"run more seeds of {gain.first.label}" if few else _bought(gain.difference)
    return Answer("These data cannot decide", close, _spent(runs), then)


def _recommended(evidence: Evidence, best: Sequence[Configuration], runs: Sequence[Run]) -> Answer:
    first, *rest = best
    sure = evidence.gained(evidence.gains(first)[0], "the first" if rest else "it")
    if rest:
        named = len(best) <= MOST_NAMED
        use = f"Use {' or '.join(c.label for c in best)}" if named else f"Use {first.label} or one of {len(rest)} others"
        sure = f"these data cannot tell which is better; {sure}"
        apart = [f.difference for f in evidence.between if f.second and {f.first.key, f.second.key} == {first.key, rest[0].key}]
        return Answer(use, sure, _spent(runs, first), f"{_bought(*apart[:1])}, or take the cheapest")
    others = len(evidence.configurations) - 1
    beaten = sum(better == first.key for better, _ in evidence.beats())
    if others:
        sure += f", and is better than {beaten} of {count(others, 'other')}" if beaten else ", the only one that is shown to gain"
    embedded = first.runs[0].summary["scale"] == "micro"
    then = "see whether it holds of a real model" if embedded else _weights(first)
    return Answer(f"Use {first.label}", sure, _spent(runs, first), then)


def _weights(configuration: Configuration) -> str:
    """Where they lie: those of the first seed, since to pick the best would flatter it."""
    run = configuration.measured[0]
    best = run.folder / "checkpoints" / f"checkpoint-{run.summary.get('best_step')}"
    return f"take {best}" if best.is_dir() else "train it at the size that you need"


def _bought(difference: Difference | None = None) -> str:
    """What would tell most. `--plan` has the price."""
    shares = difference.split.shares() if difference and difference.seeds > 1 else {}
    if difference and difference.seeds > 1 and not shares:
        return "measure problems that vary"
    most = max(shares, key=shares.__getitem__) if shares else "seeds"
    part = f", {100 * shares[most]:.0f} % of what is uncertain" if shares else ""
    return f"buy more {most}{part} (report --plan has the price)"


def _spent(runs: Sequence[Run], configuration: Configuration | None = None) -> str:
    """On all runs, and on a run of the one that is recommended."""
    each = f"a run of it took {_bill(configuration.measured, len(configuration.measured))}, " if configuration else ""
    which = "the one run" if len(runs) == 1 else f"all {len(runs)} runs"
    return f"{each}{which} took {_bill(runs)}" if runs else ""


def _bill(runs: Sequence[Run], shared_by: int = 1) -> str:
    seconds, usd = sum(run.seconds for run in runs) / shared_by, sum(run.usd for run in runs) / shared_by
    return duration(seconds) + (f" and ${usd:,.2f}" if usd else "")


def _of_models(group: ModelGroup) -> Answer:
    first, *others = sorted(group.measures, key=lambda name: -group.measures[name].accuracy)
    accuracy = f"{100 * group.measures[first].accuracy:.1f} % on {group.suite}"
    if not others:
        return Answer(f"{first} solves {accuracy}", "there is nothing beside it to compare with", "", "measure another model in the same way")
    pairs = [pair for pair in group.pairs if pair.first == first]
    close = [pair for pair in pairs if pair.standing == "not resolved"]
    if not close:
        return Answer(f"Use {first}", f"{accuracy}, better than {count(len(others), 'other')}", "", "train it")
    apart = f"{first} ({accuracy}) is not shown to differ from {close[0].second}, {signed(close[0].difference.interval)}"
    shares = close[0].difference.split.shares()
    return Answer("These data cannot decide", apart, "", f"buy more {max(shares, key=shares.__getitem__) if shares else 'problems'}")
