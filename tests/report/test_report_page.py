"""The page in a real headless Chromium: drawn without an error, sortable, filterable, operable by keyboard, small, dark."""

import shutil

import pytest

from benchmarks.records import write_run
from src.report.__main__ import main

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs a chromium on the PATH: apt-get install chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A report of three configurations, of which one's completions try to break out of the page."""
    folder = tmp_path_factory.mktemp("site")
    for number, share in enumerate((0.1, 0.5, 0.9)):
        for seed in range(3):
            run = write_run(
                folder / "outputs" / f"run{number}{seed}",
                seed=seed,
                gain=0.1 * number,
                settings={"mix.easy_share": share},
                problems=40,
            )
            for path in run.glob("evaluation/chains_*.parquet"):
                import pandas as pd

                frame = pd.read_parquet(path)
                frame["text"] += "</script><script>document.title = 'broken'</script><img src=x onerror=alert(1)>"
                frame.to_parquet(path, index=False)
    assert main([str(folder / "outputs"), "--output", str(folder / "report")]) == 0
    return folder / "report"


class Opened:
    """A page with what its console said and what it asked the network for."""

    def __init__(self, context, site) -> None:
        self.page, self.faults, self.requests = context.new_page(), [], []
        self.page.on(
            "console", lambda message: message.type in ("error", "warning") and self.faults.append(message.text)
        )
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.set_default_timeout(10_000)
        self.page.goto(f"file://{site}/index.html")
        self.page.evaluate("drawAll()")


@pytest.fixture
def opened(browser, site):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    yield Opened(context, site)
    context.close()


def shown_column(page, table, column):
    rows = page.locator(f"#table-{table} tbody tr:visible")
    return [row.locator("td").nth(column).inner_text() for row in rows.all()]


def test_every_figure_is_drawn_without_an_error_or_the_network(opened):
    figures = opened.page.locator("figure").count()
    assert figures >= 12
    assert opened.page.locator("figure .plot[data-drawn=yes] svg").count() == figures
    lines = opened.page.locator("#figure-curve_validation_accuracy svg .mark-line path")
    assert lines.count() == 3 and all("L" in path.get_attribute("d") for path in lines.all())
    assert (
        opened.page.locator("#figure-curve_validation_accuracy svg .mark-area path").count() == 3
    )  # bands of the seeds
    assert opened.faults == []
    assert [url for url in opened.requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert opened.page.title() == "What works, with error bars"


def test_the_verdict_stands_first(opened):
    first = opened.page.locator("main section").first
    assert first.get_attribute("id") == "verdict"
    assert "better than the base" in first.locator("article").first.inner_text()


def test_a_heading_sorts_by_value(opened):
    heading = opened.page.locator("#table-results th", has_text="accuracy").first.locator("button")
    heading.focus()
    opened.page.keyboard.press("Enter")
    column = shown_column(opened.page, "results", 4)
    values = [float(text.split()[0]) for text in column]
    assert values == sorted(values, reverse=True) and len(set(values)) > 2
    opened.page.keyboard.press("Space")
    assert [float(text.split()[0]) for text in shown_column(opened.page, "results", 4)] == sorted(values)
    assert opened.page.locator("#table-results th[aria-sort=ascending]").count() == 1


def test_the_box_filters_by_all_its_words(opened):
    opened.page.locator("#table-results input[type=search]").fill("chains share=0.9")
    assert shown_column(opened.page, "results", 1) == ["mix.easy_share=0.9"]
    assert opened.page.locator("#table-results .found").inner_text() == "1 of 6"


def test_the_legend_hides_curves_by_keyboard(opened):
    box = opened.page.locator("#curves .legend input[type=checkbox]").first
    box.focus()
    opened.page.keyboard.press("Space")
    lines = opened.page.locator("#figure-curve_validation_accuracy svg .mark-line path")
    playwright.expect(lines).to_have_count(2)
    assert opened.page.locator("#curves .legend output").inner_text() == "2 of 3"


def test_steps_zoom_in(opened):
    before = opened.page.locator("#figure-curve_accuracy svg .mark-line path").first.get_attribute("d").count("L")
    opened.page.locator("#curves .first-step").fill("11")
    opened.page.keyboard.press("Tab")
    line = opened.page.locator("#figure-curve_accuracy svg .mark-line path").first
    opened.page.wait_for_function(
        "([node, n]) => node.querySelector('.mark-line path').getAttribute('d').split('L').length - 1 < n",
        arg=[opened.page.locator("#figure-curve_accuracy svg").element_handle(), before],
    )
    assert before == 19 and line.get_attribute("d").count("L") == 9


def test_ctrl_and_wheel_zoom_in_and_a_double_click_goes_back(opened):
    figure = opened.page.locator("#figure-curve_accuracy")
    figure.scroll_into_view_if_needed()
    labels = "() => [...document.querySelectorAll('#figure-curve_accuracy svg .role-axis-label text')].map((t) => t.textContent).sort().join()"
    before = opened.page.evaluate(labels)
    box = figure.locator("svg").bounding_box()
    centre = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    opened.page.mouse.move(*centre)
    opened.page.keyboard.down("Control")
    opened.page.mouse.wheel(0, -600)
    opened.page.keyboard.up("Control")
    opened.page.wait_for_function(f"(before) => ({labels})() !== before", arg=before)
    opened.page.mouse.dblclick(*centre)
    opened.page.wait_for_function(f"(before) => ({labels})() === before", arg=before)


def test_several_samples_and_costs_are_drawn(opened):
    lines = opened.page.locator("#fronts figure[data-figure^=pass_at_k_chains] svg .mark-line path")
    assert lines.count() == 4  # three configurations and the base
    assert opened.page.locator("#figure-cost_by_phase svg .mark-rect path").count() >= 15
    assert opened.page.locator("#table-several_samples tbody tr").count() == 4 * 2 * 2


def test_every_figure_and_table_is_a_file_too(opened, site):
    for link in opened.page.locator("a[href^='figures/'], a[href^='tables/']").all():
        assert (site / link.get_attribute("href")).stat().st_size > 50


def test_pointing_at_a_curve_tells_its_figures(opened):
    point = opened.page.locator("#figure-curve_validation_accuracy svg .mark-symbol path").nth(
        2
    )  # the first lies on the axis
    point.hover()
    tip = opened.page.locator("#vg-tooltip-element.visible")
    playwright.expect(tip).to_be_visible()
    assert "mix.easy_share=" in tip.inner_text() and "step" in tip.inner_text()


def test_completions_side_by_side(opened):
    opened.page.locator("#p-run").select_option(label="mix.easy_share=0.9, seed 0")
    opened.page.locator("#p-kind").select_option("gained")
    opened.page.locator("#problems button", has_text="compare").first.click()
    articles = opened.page.locator("#p-view article")
    assert articles.count() == 2
    before, after = (article.inner_text() for article in articles.all())
    assert "Before: wrong" in before and "verdict: different" in before
    assert "After: correct" in after and "answer found: 42; verdict: equal" in after
    assert "</script>" in after  # shown as text
    assert opened.faults == []
    opened.page.locator("#p-kind").select_option("lost")
    assert all(
        text.startswith(("-", "−")) for text in opened.page.locator("#p-table tbody td:nth-child(5)").all_inner_texts()
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_small_window_has_no_sideways_scroll(browser, site, scheme, tmp_path):
    context = browser.new_context(viewport={"width": 400, "height": 800}, color_scheme=scheme)
    opened = Opened(context, site)
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 400
    ground = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) > 380) == (scheme == "light")
    opened.page.locator("#theme").click()
    assert opened.page.evaluate("getComputedStyle(document.body).backgroundColor") != ground
    opened.page.screenshot(path=tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000 and opened.faults == []
    context.close()


def test_it_prints(opened, tmp_path):
    opened.page.pdf(path=tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    opened.page.emulate_media(media="print")
    assert not opened.page.locator("nav").is_visible() and opened.page.locator("#table-results table").is_visible()
