"""What the configuration refuses in one line, and that no key that it has is denied."""

import pytest
from conftest import configured

from src.common.errors import UserError
from src.config.faults import has_key
from src.config.tree import LabConfig
from src.record.tracking import mode_of_environment
from src.run import spelled_out, sweeping

LONG = "x" * 150
REFUSED = {
    "seed=4294967296": "seed: must be less than 4294967296",
    "seed=9223372036854775808": "seed: must be",
    "seed=100000000000000000000": "seed: must be",
    "evaluation.seed=4294967296": "evaluation.seed: must be less than",
    "hardware.price_usd_per_gpu_hour=inf": "price_usd_per_gpu_hour: must be a finite number",
    "lr.peak=nan": "lr.peak: must be a finite number",
    "budget.hours=inf": "budget.hours: must be a finite number",
    "rollout.temperature=inf": "rollout.temperature: must be a finite number",
    "scale.steps=10000000000000": "scale.steps: must be less than or equal to 1000000",
    "algorithm.prompts_per_step=1000000000000": "prompts are more than the",
    "+trainer.push_to_hub=true": "trainer: push_to_hub is set through hub.push",
    "+trainer.hub_model_id=a/b": "hub_model_id is set through hub.repository",
    "+trainer.deepspeed=/etc/passwd": "deepspeed is set through hardware.sharding",
    "+trainer.fsdp=full_shard": "fsdp is set through hardware.sharding",
    "+trainer.max_grad_norm=inf": "max_grad_norm must be finite",
    "+trainer.trust_remote_code=true": "never run",
    "+trainer.generation_kwargs={trust_remote_code: true}": "never run",
    "+trainer.model_init_kwargs={trust_remote_code: true}": "never run",
    "+trainer.generation_kwargs={num_return_sequences: 2}": "is set through algorithm.completions_per_prompt",
    "name=../../x": "fit for a file's name",
    "name=/etc/x": "fit for a file's name",
    "name=a/../../b": "fit for a file's name",
    f"name={LONG}": "fit for a file's name",
    "tracking.project=a/b": "tracking.project: must be a name",
    "tracking.project='exp:1'": "tracking.project: must be a name",
    f"tracking.project={LONG}": "tracking.project: must be a name",
    "tracking.project=''": "tracking.project: must be a name",
}


@pytest.mark.parametrize(("override", "says"), REFUSED.items(), ids=[key[:40] for key in REFUSED])
def test_what_cannot_go_well_is_refused_in_a_line(override, says):
    overrides = [override] + (["hardware.device_batch_size=6"] if "prompts_per_step" in override else [])
    if override.startswith("name="):
        content = configured().model_dump() | {"name": override.partition("=")[2]}
        with pytest.raises(ValueError, match=says):
            LabConfig.model_validate(content)
        return
    with pytest.raises(UserError) as raised:
        configured(*overrides)
    assert says in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["../../esc", "[/x]", "a/b", ".hidden", "", " ", "a\nb", LONG, "..", "a\\b"])
def test_a_suites_name_must_be_fit_for_its_files(name):
    content = configured().model_dump()
    content["evaluation"]["suites"] = {name: content["evaluation"]["suites"]["chains"]}
    with pytest.raises(ValueError, match="fit for a file's name"):
        LabConfig.model_validate(content)


@pytest.mark.parametrize("name", ["aime24", "MATH-500", "my suite", "chains[hard]", "größe"])
def test_other_names_of_suites_are_taken(name):
    content = configured().model_dump()
    content["evaluation"]["suites"] = {name: content["evaluation"]["suites"]["chains"]}
    content["objective"] = "evaluation.validation.best.accuracy"
    assert name in LabConfig.model_validate(content).evaluation.suites


# As typed, without a plus; each has been denied with "no key", or by Hydra.
TYPED = {
    "mix.stratified=true": lambda c: c.mix.stratified is True,
    "mix.subsets=independent": lambda c: c.mix.subsets == "independent",
    "evaluation.suites.chains.grading=code": lambda c: c.evaluation.suites["chains"].grading == "code",
    "problems.minus.core=broad": lambda c: c.problems.minus["core"] == "broad",
    "problems.pools.core={loader: file, path: x.jsonl, level: hard, columns: {question: q, answer: a}}":
        lambda c: c.problems.pools["core"].path == "x.jsonl",
    "evaluation.suites.chains.pool={loader: file, path: x.jsonl, level: hard, columns: {question: q, answer: a}}":
        lambda c: c.evaluation.suites["chains"].pool.loader == "file",
    "model.lora.rank=8": lambda c: (c.model.lora.rank, c.model.lora.alpha) == (8, 32),
    "model.lora={rank: 8, alpha: 16}": lambda c: c.model.lora.rank == 8,
    "mix.weights={easy: 1, core: 2}": lambda c: c.mix.weights["core"] == 2,
    "mix.easy_share=0.5": lambda c: c.mix.easy_share == 0.5,
    "budget.usd=3": lambda c: c.budget.usd == 3,
    "algorithm.settings.beta=0.1": lambda c: c.algorithm.settings["beta"] == 0.1,
}


@pytest.mark.parametrize(("typed", "holds"), TYPED.items(), ids=[key[:40] for key in TYPED])
def test_every_key_of_the_schema_can_be_set_without_a_plus(typed, holds):
    assert holds(configured("+experiment=mix_easy_hard", spelled_out(typed, swept=False)))
    assert holds(configured("+experiment=mix_easy_hard", spelled_out(f"++{typed}", swept=False)))


def test_experiments_and_sweeps_need_no_plus_either():
    typed = [spelled_out(f"{plus}experiment=cosine_length", swept=False) for plus in ("", "+")]
    assert [configured(text).name for text in typed] == ["cosine_length"] * 2
    assert spelled_out("sweep=lr", swept=True) == "+sweep=lr" and sweeping(["sweep=lr"])


def test_several_of_them_go_together():
    typed = ["model.lora.rank=8", "model.lora.alpha=16", "model.lora.dropout=0.1"]
    lora = configured(*(spelled_out(argument, swept=False) for argument in typed)).model.lora
    assert (lora.rank, lora.alpha, lora.dropout) == (8, 16, 0.1)
    weights = ["mix=hard_only", spelled_out("mix.weights.broad=0", swept=False)]
    assert configured(*weights).mix.weights["broad"] == 0


def test_a_key_that_is_half_given_names_the_other_half():
    with pytest.raises(UserError, match="model.lora.rank: missing"):
        configured(spelled_out("model.lora.alpha=8", swept=False))


def test_a_misspelt_key_stays_denied():
    assert not has_key(LabConfig, "mix.stratifid") and spelled_out("mix.stratifid=true", swept=False) == "mix.stratifid=true"
    for misspelt in ("evaluation.suites.chain.samples=1", "problems.pools.cor.level=hard"):
        assert spelled_out(misspelt, swept=False) == misspelt
    assert spelled_out("model=micro", swept=False) == "model=micro"
    assert spelled_out("mix.easy_share=0.5", swept=True) == "mix.easy_share=0.5"


@pytest.mark.parametrize(("value", "mode"), [("", None), ("offline", "offline"), ("dryrun", "offline"), ("run", "online"), ("disabled", "disabled")])
def test_modes_of_the_environment(monkeypatch, value, mode):
    monkeypatch.setenv("WANDB_MODE", value)
    assert mode_of_environment() == mode


@pytest.mark.parametrize("value", ["onlin", "yes", "ONLINE"])
def test_a_mode_that_there_is_not_is_refused_before_the_start(monkeypatch, value):
    monkeypatch.setenv("WANDB_MODE", value)
    with pytest.raises(UserError, match=f"W&B has no mode {value}; did you mean|choose one of"):
        mode_of_environment()
