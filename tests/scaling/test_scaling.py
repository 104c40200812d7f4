"""The scaling study: planted laws found again, forecasts that see nothing of what they are scored on, and bad input."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import least_squares

from benchmarks.published_studies import published_law, synthetic_curves
from benchmarks.records import write_run
from benchmarks.scaling import LADDERS, PARTS, Ladder, outcomes
from src.common.errors import UserError
from src.report.reference.read import reference
from src.scaling.__main__ import main
from src.scaling.bootstrap import LEVEL, resamples
from src.scaling.curves import Curve, read_studies, study_of
from src.scaling.fitted import compared, described, fit_laws, fit_linear, paired
from src.scaling.forecast import across, forecasts, scored, within
from src.scaling.laws import fit_free, fit_saturating, fit_saturating_all, moments, points_of
from src.scaling.noise import noise_of, share_of_ceiling, simulated
from src.scaling.optimal import compute_optimal, order_of_sizes
from src.scaling.stopping import StopWhenConfig, narrow_enough
from src.scaling.tables import shown

LAW = published_law("base", "compute")


@pytest.fixture(scope="module")
def study():
    return study_of("published", synthetic_curves(LAW, seed=1))


def small_curves(floor=0.0, noise=0.004, sizes=(1e5, 3e5, 1e6), seeds=3, points=24, k_max=0.25, n0=2e5):
    rng, curves = np.random.default_rng(1), []
    data = np.geomspace(100, 10_000, points)
    for size in sizes:
        for seed in range(seeds):
            log_loss = -0.1 - k_max / (1 + n0 / size) * np.log(data / 100)
            loss = (np.exp(log_loss) * (1 - floor) + floor) * np.exp(noise * rng.standard_normal(points))
            curves.append(Curve(int(size), seed, data * size * 600, data, loss))
    return curves


def test_planted_parameters_are_inside_their_intervals_in_93_of_100_draws():
    inside = {"k_max": 0, "n0": 0}
    for seed in range(100):
        points = points_of(synthetic_curves(LAW, seed=seed), "compute")
        fits = fit_saturating_all(moments(points, resamples(points, 200, seed)), points.sizes_S)
        for name, planted, values in (("k_max", LAW.k_max, fits.k_max_B), ("n0", LAW.n0, fits.n0_B)):
            low, high = np.percentile(values, LEVEL)
            inside[name] += low <= planted <= high
            assert (high - low) / planted < 0.35  # an interval that holds everything would say nothing
    assert min(inside.values()) >= 93


def test_a_fit_of_sums_is_the_fit_of_all_points(study):
    points = points_of(study.curves, "compute")
    quick = fit_saturating_all(moments(points), points.sizes_S)
    by_scipy = fit_saturating(moments(points), points.sizes_S)
    weight_P = 1 / np.sqrt(np.bincount(points.size_P)[points.size_P])

    def residuals(parameters):
        k_S = parameters[0] / (1 + np.exp(parameters[1]) / points.sizes_S)
        return weight_P * (points.y_P - parameters[2:][points.size_P] + k_S[points.size_P] * (points.x_P - 40))

    start = [0.1, np.log(1e10), *np.full(7, -0.5)]
    whole = least_squares(residuals, start, x_scale="jac", xtol=1e-14, ftol=1e-14, gtol=1e-14).x
    assert quick.k_max_B[0] == pytest.approx(by_scipy.k_max_B[0], rel=1e-5) == pytest.approx(whole[0], rel=1e-4)
    assert quick.n0_B[0] == pytest.approx(by_scipy.n0_B[0], rel=1e-5) == pytest.approx(np.exp(whole[1]), rel=1e-4)
    assert quick.e_BS[0] - quick.k_BS[0] * 40 == pytest.approx(whole[2:], abs=1e-5)


def test_noise_free_curves_give_their_law_back():
    curves = small_curves(noise=0.0)
    fit = fit_saturating(moments(points_of(curves, "data")), np.array([1e5, 3e5, 1e6]))
    assert (fit.k_max_B[0], fit.n0_B[0]) == (pytest.approx(0.25), pytest.approx(2e5, rel=1e-4))
    assert fit.k_BS[0] == pytest.approx([0.25 / 3, 0.15, 0.25 / 1.2])
    assert fit.e_BS[0] == pytest.approx(-0.1 + fit.k_BS[0] * np.log(100))


def test_an_irreducible_loss_is_found_where_there_is_one_and_undecided_where_not():
    with_floor = fit_laws(study_of("floor", small_curves(floor=0.25)), "data", 100)
    without = fit_laws(study_of("none", small_curves(floor=0.0, noise=0.02)), "data", 100)
    verdicts = {each["second"]: each["verdict"] for each in compared(with_floor)}
    assert verdicts["irreducible"] == "the data prefer irreducible"
    floor = described(with_floor[-1])["floor"]
    assert floor["low"] <= 0.25 <= floor["high"]
    verdicts = {each["second"]: each["verdict"] for each in compared(without)}
    assert verdicts["irreducible"] == "the data cannot tell these laws apart"


def test_intervals_speak_of_seeds_and_points():
    points = points_of(small_curves(), "data")
    counts = resamples(points, 400)
    assert (counts.sum(axis=1) == len(points.x_P)).all()
    by_run = np.stack([counts[:, points.run_P == run].sum(axis=1) for run in range(9)])
    assert set(np.unique(by_run)) == {0, 24, 48, 72}  # whole runs are drawn
    assert (counts[:, points.run_P == 0].std(axis=1)[by_run[0] > 0] > 0).all()  # and points within them
    one = points_of([curve for curve in small_curves() if curve.seed == 0], "data")
    assert resamples(one, 50)[:, one.run_P == 0].sum(axis=1).tolist() == [24] * 50


def test_a_forecast_sees_only_what_comes_before(study):
    forecast = within(points_of(study.curves, "data"), "data", "free", 0.25, 50)
    assert len(forecast.held_out.x_P) == 21 * (105 - 27)  # 25 % of 105, rounded up
    spoilt = [replace(c, loss_T=np.concatenate([c.loss_T[:27], c.loss_T[27:] * 0.5])) for c in study.curves]
    again = within(points_of(spoilt, "data"), "data", "free", 0.25, 50)
    assert np.array_equal(again.log_loss_BP, forecast.log_loss_BP)
    good, bad = (scored(study, each)[0]["sizes"][-1] for each in (forecast, again))
    assert good["r2"]["value"] > 0.7 and bad["r2"]["value"] < 0
    assert good["relative_error"]["value"] < 0.03 and bad["relative_error"]["value"] > 0.5


def test_the_largest_size_is_forecast_without_its_data_unless_e_is_refitted(study):
    forecast = across(points_of(study.curves, "compute"), "compute", 50)
    assert set(forecast.held_out.sizes_S[forecast.held_out.size_P]) == {72e9}
    higher = [replace(c, loss_T=np.minimum(1, c.loss_T * (1.3 if c.size == 72e9 else 1))) for c in study.curves]
    again = across(points_of(higher, "compute"), "compute", 50)
    assert np.array_equal(again.log_loss_BP, forecast.log_loss_BP)
    plain, refitted = scored(study, again)
    assert not plain["refitted_e"] and refitted["refitted_e"]
    assert refitted["sizes"][0]["r2"]["value"] > 0.5 > plain["sizes"][0]["r2"]["value"]  # the slope is right, the height is not


def test_pooled_r2_flatters_and_is_labelled(study):
    made, notes = forecasts(study, 50)
    assert not notes and {each.kind for each in made} == {"within a run", "to the largest size"}
    row = next(row for each in made for row in scored(study, each) if row["kind"] == "within a run")
    smallest = row["sizes"][0]
    assert row["r2_pooled_over_sizes"] > 0.98 and smallest["r2"]["value"] < 0.3


def test_published_tables_keep_their_order():
    for variant in ("base", "instruct"):
        published = sorted(
            (float(row["params_billion"]) for row in reference("scaling_final_pass1") if row["variant"] == variant),
            key=lambda size: next(
                float(r["pass_at_1"]) for r in reference("scaling_final_pass1")
                if r["variant"] == variant and float(r["params_billion"]) == size
            ),
        )
        assert published == [0.5, 1.5, 3, 7, 14, 32, 72]
        for axis in ("compute", "data"):
            law = published_law(variant, axis)
            points = points_of(synthetic_curves(law, seeds=2), axis)
            fit = fit_saturating(moments(points), points.sizes_S)
            at_the_end = fit.log_loss(np.array([points.x_P[points.size_P == s].max() for s in range(7)]), np.arange(7))[0]
            assert (np.diff(at_the_end) < 0).all() and (np.diff(fit.k_BS[0]) > 0).all()


def test_the_best_size_grows_with_the_budget():
    study = study_of("small", small_curves(sizes=(1e5, 1e6), n0=1e6))
    fitted = next(each for each in fit_laws(study, "compute", 100) if each.law == "saturating")
    budgets = compute_optimal(fitted)
    best = [each["best_parameters"]["value"] for each in budgets]
    assert best == sorted(best) and (best[0], best[-1]) == (1e5, 1e6)
    assert all(sum(s["best_in_share_of_resamples"] for s in each["sizes"]) == pytest.approx(1) for each in budgets)
    assert not budgets[-1]["sizes"][0]["measured"] and budgets[-1]["sizes"][1]["measured"]
    data = next(each for each in fit_laws(study, "data", 100) if each.law == "saturating")
    assert order_of_sizes(data)["rank_correlation"]["value"] == -1


# Claims on the law


def test_where_the_law_is_exactly_true_no_claim_on_it_is_contradicted():
    """Though noise alone keeps R² far below 0.994 there. `python -m benchmarks.scaling` counts it over more studies."""
    found = [outcomes(Ladder(100, 1), seed) for seed in range(3)]
    assert "contradicted" not in {each[part] for each in found for part in PARTS}


@pytest.mark.parametrize(
    ("ladder", "part"),
    [("every other slope is half", "B3 data"), ("nothing is learnt in the first third", "B4 within"),
     ("answers lose half of their length", "B5")],
)  # fmt: skip
def test_where_it_is_false_a_claim_is_contradicted(ladder, part):
    assert outcomes(LADDERS[ladder], seed=0)[part] == "contradicted"


def test_noise_is_what_samples_and_seeds_show():
    """Planted: 40 % of an answer's variance between samples of a problem, runs 0.1 apart in level and 0.05 in slope."""
    points = points_of(small_curves(noise=0.0, seeds=12), "data")
    law = fit_saturating(moments(points), points.sizes_S)
    rng = np.random.default_rng(3)
    chance_P = np.repeat([0.5 - 0.5 * 0.6**0.5, 0.5 + 0.5 * 0.6**0.5], 1000)
    curves = [replace(c, solved_P=rng.binomial(4, chance_P) / 4, samples=4) for c in small_curves(seeds=12)]
    planted = replace(noise_of(curves, points, np.zeros(len(points.x_P))), run=(0.01, 0.0025))
    assert planted.within == pytest.approx(0.4, abs=0.01) and (planted.problems, planted.samples) == (2000, 4)
    (y_P,) = simulated(law, points, planted, draws=1)
    found = noise_of(curves, replace(points, y_P=y_P), y_P - law.log_loss(points.x_P, points.size_P)[0])
    assert found.run == (pytest.approx(0.01, rel=0.5), pytest.approx(0.0025, rel=0.5)) and found.step < 1e-4


def test_a_share_of_the_ceiling_by_hand():
    simulated_B = np.linspace(0.4, 0.6, 201)  # the median 0.5, 95 % within 0.095 of it
    share = share_of_ceiling(0.45, simulated_B)
    assert share == {"value": pytest.approx(0.9), "low": pytest.approx(0.71), "high": pytest.approx(1.09)}
    assert share_of_ceiling(0.1, simulated_B - 0.4)["value"] is None  # noise leaves nothing to have a share of


def test_slopes_of_the_same_losses_are_compared_on_the_same_resamples():
    compute, data = (fit_linear(study_of("small", small_curves()), axis, 100)[0] for axis in ("compute", "data"))
    (pair,) = paired([compute, data])  # operations are in proportion to data here, so the slopes are one
    assert max(map(abs, pair["k_max"].values())) < 1e-6 < np.ptp(compute.resampled.k_max_B)


def test_a_bound_of_n0_is_no_estimate():
    same = [replace(c, loss_T=np.exp(-0.2 * np.log(c.data_T / 10))) for c in small_curves()]  # k is the same for all sizes
    law = described(fit_linear(study_of("same", same), "data", 100)[0])
    assert law["n0"]["at_bound"] == dict.fromkeys(("value", "low", "high"), "at most")
    assert shown(law["n0"]).text == "≤ 100 [≤ 100, ≤ 100]" and "no estimate" in law["notes"][0]


# Records


def write_scaling_run(folder, curve, settings=None, status="complete", problems=40, **changes):
    """A record whose metrics hold the curve."""
    write_run(folder, name="scaling", seed=curve.seed, settings=settings, problems=problems, gain=0.0)
    lines = [
        {
            "step": step, "flops/training": compute, "samples": data, "parameters/without_embeddings": curve.size,
            "validation/accuracy": 1 - loss,
        } | changes
        for step, (compute, data, loss) in enumerate(zip(curve.compute_T, curve.data_T, curve.loss_T, strict=True), 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    summary = json.loads((folder / "summary.json").read_text()) | {"status": status}
    (folder / "summary.json").write_text(json.dumps(summary))


def write_study(folder, curves, **more):
    for number, curve in enumerate(curves):
        write_scaling_run(folder / f"run{number}", curve, {"model.path": f"m{curve.size}"}, **more)
    return folder


def test_from_records_to_results(tmp_path, capsys):
    write_study(tmp_path, small_curves())
    assert main([str(tmp_path), "--draws", "100"]) == 0
    results = json.loads((tmp_path / "scaling" / "results.json").read_text())
    assert {"laws", "forecasts", "reuse", "compute_optimal"} <= set(results)
    law = next(each for each in results["laws"]["all"] if each["law"] == "saturating" and each["x"] == "data")
    assert law["k_max"]["low"] <= 0.25 <= law["k_max"]["high"] and len(law["sizes"]) == 3
    assert (results["scale"], results["seeds"]) == ("micro", 3)
    assert results["laws"]["data"]["k_max"] == law["k_max"] and results["laws"]["compute"]["r2"]["value"] > 0.99
    assert results["laws"]["data"]["share_of_ceiling"]["low"] > 0.97  # the law is true, and the planted noise small
    for kind in ("within", "across", "across_without_refit"):
        assert set(results["forecasts"][kind]["r2"]) == {"value", "low", "high"}
    assert (tmp_path / "scaling" / "tables" / "scaling_laws.csv").is_file()
    assert list((tmp_path / "scaling" / "figures").glob("*loss_compute.png"))
    assert "K_max" in capsys.readouterr().out


def test_the_report_holds_the_laws_of_a_sweep(tmp_path):
    from src.report.__main__ import main as report

    sweep = tmp_path / "sweep"
    write_study(sweep / "trials", small_curves()[:6])
    (sweep / "sweep.yaml").write_text("study: sizes\nobjectives: {evaluation.validation.best.accuracy: maximize}\n")
    pd.DataFrame([{"number": 0, "state": "complete", "evaluation.validation.best.accuracy": 0.5}]).to_csv(
        sweep / "trials.csv", index=False
    )
    assert main([str(sweep), "--draws", "100"]) == 0
    assert report([str(sweep), "--output", str(tmp_path / "report")]) == 0
    assert "Scaling laws" in (tmp_path / "report" / "index.html").read_text()
    assert (tmp_path / "report" / "tables" / "scaling_laws_sizes.csv").is_file()
    assert list((tmp_path / "report" / "figures").glob("scaling1_k_sizes.png"))


def test_runs_that_differ_in_more_than_the_model_are_separate_studies(tmp_path):
    write_study(tmp_path / "a", small_curves())
    for number, curve in enumerate(small_curves()[:3]):
        write_scaling_run(tmp_path / "b" / f"run{number}", curve, {"mix.repeats": 20})
    studies = {study.name: study for study in read_studies(tmp_path)[0]}
    assert len(studies) == 2 and studies["mix.repeats=20"].sizes == [100_000]


def test_reuse_is_priced_against_the_fewest_repeats(tmp_path, capsys):
    for tau, loss in ((1, 0.0), (25, 0.0), (100, -0.2)):
        for seed in range(3):
            folder = tmp_path / f"tau{tau}_{seed}"
            curve = replace(small_curves()[0], seed=seed)
            write_scaling_run(folder, curve, {"mix.repeats": tau})
            write_run(folder / "again", name="scaling", seed=seed, settings={"mix.repeats": tau}, gain=loss, problems=200)
            (folder / "again" / "metrics.jsonl").replace(folder / "unused")
            for part in ("config.yaml", "evaluation"):
                _replace(folder / "again" / part, folder / part)
    assert main([str(tmp_path), "--draws", "100"]) == 0
    reuse = json.loads((tmp_path / "scaling" / "results.json").read_text())["reuse"]
    assert reuse["25"]["low"] < 0 < reuse["25"]["high"] and reuse["100"]["low"] > 0.05
    assert "no law over sizes" in capsys.readouterr().err


def _replace(new, old):
    import shutil

    shutil.rmtree(old) if old.is_dir() else old.unlink()
    new.replace(old)


BAD_CURVES = {
    "fewer than 4": lambda c: replace(c, compute_T=c.compute_T[:3], data_T=c.data_T[:3], loss_T=c.loss_T[:3]),
    "never solved a problem": lambda c: replace(c, loss_T=np.ones(24)),
    "points with a loss of 0 are left out": lambda c: replace(c, loss_T=np.r_[c.loss_T[:20], np.zeros(4)]),
    "points with a loss of 1 are kept": lambda c: replace(c, loss_T=np.r_[np.ones(4), c.loss_T[4:]]),
    "loss rises": lambda c: replace(c, loss_T=c.loss_T[::-1]),
}


@pytest.mark.parametrize("words", BAD_CURVES)
def test_bad_curves_are_named_and_the_rest_is_fitted(words):
    curves = small_curves()
    study = study_of("bad", [BAD_CURVES[words](curves[0]), *curves[1:]])
    assert any(words in note and "N=100,000, seed 0" in note for note in study.notes)
    found = fit_laws(study, "data", 100)
    saturating = next(each for each in found if each.law == "saturating")
    assert np.isfinite(saturating.best.k_BS).all() and saturating.best.k_max_B[0] > 0


def test_missing_seeds_and_single_sizes_are_said():
    curves = small_curves()
    assert any("seeds missing: 2" in note for note in study_of("s", curves[:2] + curves[3:]).notes)
    one = study_of("one", curves[:3])
    assert any("no law over sizes" in note for note in one.notes)
    assert [each.law for each in fit_laws(one, "data", 100)] == ["free"]
    assert all(each.law == "free" for each in forecasts(one, 100)[0])


def test_all_rising_curves_get_no_law_but_a_remark():
    rising = [replace(curve, loss_T=curve.loss_T[::-1]) for curve in small_curves()]
    found = {each.law: described(each) for each in fit_laws(study_of("up", rising), "data", 100)}
    assert found["saturating"]["k_max"]["value"] == 0 and "do not fall" in found["saturating"]["notes"][0]
    assert "the loss rises" in found["free"]["notes"][0]


def test_runs_of_different_validation_problems_are_kept_apart(tmp_path):
    write_study(tmp_path / "a", small_curves()[:3])
    write_study(tmp_path / "b", small_curves()[3:], problems=41)
    studies = read_studies(tmp_path)[0]
    assert len(studies) == 2 and all("different problems" in study.notes[-1] for study in studies)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"status": "running"}, "it is running"),
        ({"validation/accuracy": None}, "no validation"),
        ({"flops/training": None}, "from an older version"),
    ],
)
def test_records_that_cannot_be_used_are_refused(tmp_path, changes, words):
    write_study(tmp_path, small_curves()[:1], **changes)
    if "flops/training" in changes:
        text = (tmp_path / "run0" / "metrics.jsonl").read_text().replace("flops/training", "other")
        (tmp_path / "run0" / "metrics.jsonl").write_text(text)
    with pytest.raises(UserError, match=words):
        read_studies(tmp_path)


def test_bad_commands_are_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "nothing")]) == 2
    assert main([str(tmp_path), "--draws", "3"]) == 2
    assert main([str(tmp_path)]) == 2
    assert all(line.startswith("error: ") for line in capsys.readouterr().err.splitlines())


def test_a_sweep_may_end_when_its_forecast_is_narrow(tmp_path):
    def reason(**options):
        return narrow_enough(StopWhenConfig(**options), tmp_path)

    assert reason(width=0.5) is None  # nothing measured
    write_study(tmp_path / "two", small_curves()[:6])
    assert reason(width=0.5) is None and "within stop_when.width=0.5" in reason(width=0.5, sizes=2)
    write_study(tmp_path / "more", small_curves()[6:])
    assert reason(width=0.5) and reason(width=1e-6) is None
    near, far = (reason(width=0.9, at=at).split("known to ")[1].split(",")[0] for at in (1e4, 1e7))
    assert float(far) > float(near)  # extrapolating is less certain


def test_free_slopes_can_be_negative():
    rising = [replace(curve, loss_T=curve.loss_T[::-1]) for curve in small_curves()[:3]]
    points = points_of(rising, "data")
    assert fit_free(moments(points), points.sizes_S).k_BS[0, 0] < 0
