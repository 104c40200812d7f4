"""What makes a recipe, and that resume, a study, the report and scaling agree on it."""

import pytest
import yaml
from conftest import composed, configured

from benchmarks.records import write_run
from src.common.errors import UserError
from src.common.files import write_json
from src.config.continuing import config_to_continue
from src.record.recipe import NEVER, counts, flat, recipe_of
from src.report.analysis import analyse
from src.scaling.curves import read_studies
from src.sweep.composer import base_of
from src.sweep.space import read_space
from src.sweep.study import open_storage, open_study

# Nothing of what is learnt changes with these.
SAME_RECIPE = {
    "budget.hours": 10, "budget.usd": 3.0, "hub.push": True, "hub.repository": "me/my-model",
    "hardware.price_usd_per_gpu_hour": 1.0, "hardware.grading_workers": 3, "record.checkpoints_kept": 9,
    "tracking.backend": "none", "output_root": "elsewhere", "choices.tracking": "none",
    "scale.reference_seconds_per_step": 9.0,
    "evaluation.reader": "boxed", "reward.accuracy.reader": "boxed",
}  # fmt: skip
OVERRIDES = [
    f"{key}={value}" for key, value in SAME_RECIPE.items() if not key.startswith(("tracking", "choices"))
] + ["tracking=none"]


def test_what_is_never_a_recipe_is_the_name_of_a_key():
    keys = flat(composed("+experiment=mix_easy_hard", "hardware=h100", "rollout=vllm_server", "selection=resample"))
    assert counts("selection.resample.max_rounds") and not counts("selection.resample.planned_share")
    assert [name for name in NEVER if not any(key == name or key.startswith(f"{name}.") for key in keys)] == ["choices", "sweep"]


def test_a_key_of_a_group_counts_by_its_whole_name():
    config = flat({"plan": True, "planned": 1, "hub": {"push": True}, "hardware": {"price_usd_per_gpu_hour": 2, "gpus": 1}})
    assert recipe_of(config) == {"planned": 1, "hardware.gpus": 1}
    assert recipe_of(config, ("hardware",)) == {"planned": 1} and not counts("seed", ("seed",))


@pytest.mark.parametrize("key", SAME_RECIPE)
def test_seeds_of_one_recipe_are_one_configuration_of_the_report(key, tmp_path):
    write_run(tmp_path / "a", seed=0)
    write_run(tmp_path / "b", seed=1, settings={key: SAME_RECIPE[key]})
    assert [c.seeds for c in analyse([tmp_path]).configurations] == [[0, 1]]


@pytest.mark.parametrize(("key", "value"), [("hardware.device", "cuda"), ("reward.alpha", 0.4), ("stability.on_collapse", "stop")])
def test_what_changes_training_is_another_configuration(key, value, tmp_path):
    write_run(tmp_path / "a", seed=0)
    write_run(tmp_path / "b", seed=1, settings={key: value})
    assert [c.seeds for c in analyse([tmp_path]).configurations] == [[0], [1]]


def unfinished(folder, *overrides):
    folder.mkdir()
    config = configured("+experiment=mix_easy_hard", *overrides)
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    write_json(folder / "summary.json", {"status": "interrupted"})
    return folder


def test_a_run_goes_on_with_what_was_given_anew(tmp_path):
    folder = unfinished(tmp_path / "run")
    asked = configured("+experiment=mix_easy_hard", *OVERRIDES, "hardware.device_batch_size=24")
    found = config_to_continue(folder, asked)
    for group in ("budget", "hub", "hardware", "record", "tracking"):
        assert getattr(found, group) == getattr(asked, group)
    assert found.output_root == "outputs" and found.resume == str(folder)  # where it is, resume= says


@pytest.mark.parametrize("change", ["seed=7", "reward.alpha=0.7", "objective=cost.usd"])
def test_a_run_goes_on_as_no_other_one(change, tmp_path):
    folder, asked = unfinished(tmp_path / "run"), configured("+experiment=mix_easy_hard", change)
    with pytest.raises(UserError, match=f"ran with another {change.partition('=')[0].partition('.')[0]};"):
        config_to_continue(folder, asked)


SPACE = read_space({}, ["mix.easy_share=interval(0,1)"])


def test_a_study_is_the_same_under_another_price_unless_dollars_are_compared():
    plain, other = (base_of(configured("+experiment=mix_easy_hard", *each), SPACE) for each in ((), OVERRIDES))
    assert plain == other and "mix.easy_share" not in plain and "objective" in plain
    priced = [
        base_of(configured("+experiment=mix_easy_hard", "objective=cost.usd", f"hardware.price_usd_per_gpu_hour={usd}"), SPACE)
        for usd in (1, 2)
    ]
    assert priced[0] != priced[1]


def test_a_study_of_an_earlier_version_is_continued(tmp_path):
    """Earlier ones kept keys that are no part of a recipe, such as the price."""
    base = base_of(configured("+experiment=mix_easy_hard"), SPACE)
    earlier = base | {"hardware.price_usd_per_gpu_hour": "9.0", "record.checkpoints_kept": "1"}

    def opened(base):
        return open_study(open_storage(None, tmp_path), "s", tmp_path, ["maximize"], SPACE, base)

    opened(earlier)
    opened(base)
    with pytest.raises(UserError, match="reward.alpha was"):
        opened(base | {"reward.alpha": "0.9"})


def test_sizes_of_one_recipe_are_one_scaling_study(tmp_path):
    write_run(tmp_path / "small", size=100_000)
    others = SAME_RECIPE | {"model.path": "larger", "hardware.device": "cuda", "rollout.engine": "vllm_colocate"}
    write_run(tmp_path / "large", size=400_000, settings=others)
    (study,), *_ = read_studies(tmp_path)
    assert study.sizes == [100_000, 400_000]
