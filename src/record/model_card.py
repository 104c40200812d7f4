"""A model card from a run's record: data, recipe, results with intervals, and cost. Reads files only."""

from pathlib import Path
from typing import Any

import yaml

from src.record.record import read_summary


def model_card(folder: Path) -> str:
    """The card of the best weights of a finished run, in Markdown with the hub's front matter."""
    summary = read_summary(folder)
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    parts = [front_matter(config, summary), about(config, summary), data(summary), recipe(config), results(summary),
             cost(config, summary)]
    return "\n\n".join(parts) + "\n"


def front_matter(config: dict[str, Any], summary: dict[str, Any]) -> str:
    fields: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "text-generation"}
    fields["tags"] = ["grpo", "trl"]
    if is_hub_name(config["model"]["path"]):
        fields["base_model"] = config["model"]["path"]
    sources = [role["source"] for role in summary["problems"]["pools"]["roles"].values()]
    datasets = {source for source in sources if is_hub_name(source) and not source.startswith("micro/")}
    if datasets:
        fields["datasets"] = sorted(datasets)
    return f"---\n{yaml.safe_dump(fields, sort_keys=False)}---"


def is_hub_name(path: str) -> bool:
    return path.count("/") == 1 and path[0] not in "./~" and not path.startswith("embedded/")


def about(config: dict[str, Any], summary: dict[str, Any]) -> str:
    name = config["model"]["path"]
    return (
        f"# {config['name']}, seed {config['seed']}\n\n{name} after {summary['best_step']} steps of "
        f"{config['algorithm']['trainer'].upper()} (chosen by validation among {summary['steps']}), made with grpo-lab."
    )


def data(summary: dict[str, Any]) -> str:
    """What was trained on, and what was left out."""
    lines = ["## Data", "", "| role | source | license | rows | kept | dropped |",
             "| --- | --- | --- | --- | --- | --- |"]
    for role, found in summary["problems"]["pools"]["roles"].items():
        dropped = ", ".join(f"{count} {reason}" for reason, count in found["dropped"].items()) or "none"
        license = found["license"] or "not stated"
        lines.append(f"| {role} | {found['source']} | {license} | {found['rows']} | {found['kept']} | {dropped} |")
    held = summary["problems"]["validation"]
    lines += ["", f"{summary['problems']['presentations']} presentations; {held} problems held out for validation."]
    return "\n".join(lines)


def recipe(config: dict[str, Any]) -> str:
    """The choices and the numbers that made the weights."""
    scale, algorithm = config["scale"], config["algorithm"]
    choices = ", ".join(f"{group}={name}" for group, name in sorted(config["choices"].items()))
    weights = {name: weight for name, weight in config["reward"]["weights"].items() if weight}
    rows = {
        "options": choices,
        "batch": f"{algorithm['prompts_per_step']} prompts x {algorithm['completions_per_prompt']} completions",
        "learning rate": f"{config['lr']['peak']:g}",
        "completion limit": f"{config['length']['schedule']}, at most "
        f"{round(config['length']['fraction'] * scale['completion_budget'])} tokens",
        "rewards": ", ".join(f"{name} {weight:g}" for name, weight in weights.items()),
        "temperature": f"{config['rollout']['temperature']:g}",
        "system prompt": config["prompt"]["system"] or "none",
        "settings": ", ".join(f"{key}={value}" for key, value in (algorithm["settings"] | config["trainer"]).items()),
    }
    return "## Recipe\n\n| | |\n| --- | --- |\n" + "\n".join(f"| {name} | {text} |" for name, text in rows.items())


def results(summary: dict[str, Any]) -> str:
    """Accuracy before and with these weights; 95 % intervals over problems, gains paired by problem."""
    lines = ["## Results", "", "Accuracy in %, 95 % intervals over problems; gains paired by problem. Validation chose "
             "these weights, so its figure flatters them.", "",
             "| suite | problems x samples | before | with these weights | gain |", "| --- | --- | --- | --- | --- |"]
    for suite, found in summary["evaluation"].items():
        before, best = found["before"], found["best"]
        lines.append(
            f"| {suite} | {best['problems']} x {best['samples']} | {interval(before, 'accuracy')} | "
            f"{interval(best, 'accuracy')} | {interval(best['gain'], 'mean')} |"
        )
    return "\n".join(lines)


def interval(figures: dict[str, Any], key: str) -> str:
    return f"{100 * figures[key]:.1f} [{100 * figures['ci_low']:.1f}, {100 * figures['ci_high']:.1f}]"


def cost(config: dict[str, Any], summary: dict[str, Any]) -> str:
    spent, versions = summary["cost"], summary["versions"]
    hours = sum(spent["seconds"].values()) / 3600
    made = ", ".join(f"{name} {number}" for name, number in versions.items())
    return (
        f"## Cost\n\n{hours:.2f} h on {config['hardware']['name']}, {spent['gpu_hours']:.2f} GPU-hours, "
        f"${spent['usd']:.2f}; {spent['completion_tokens']:,} tokens sampled in training.\n\n"
        f"Versions: {made}; commit {summary['commit']}."
    )
