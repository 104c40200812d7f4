"""The page in a real headless Chromium: drawn without an error, sortable, filterable, operable by keyboard, small, dark."""

import shutil
import subprocess
from threading import Thread

import pandas as pd
import pytest

from benchmarks.records import write_run
from src.report.__main__ import main
from src.report.analysis import analyse
from src.report.page import write_report
from src.report.serve import LiveServer

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
            ids = [f"chains{place:05d}" for place in range(40)]
            asked = {"id": ids, "question": [f"What is 6 * 7 + 0 * {id}?" for id in ids], "answer": "42"}
            pd.DataFrame(asked).to_parquet(run / "evaluation" / "problems.parquet")
            for path in run.glob("evaluation/chains_*.parquet"):
                frame = pd.read_parquet(path)
                frame["text"] += "</script><script>document.title = 'broken'</script><img src=x onerror=alert(1)>"
                frame.to_parquet(path, index=False)
    assert main([str(folder / "outputs"), "--output", str(folder / "report")]) == 0
    return folder / "report"


class Opened:
    """A page with what its console said and what it asked the network for."""

    def __init__(self, context, address) -> None:
        self.page, self.faults, self.requests = context.new_page(), [], []
        self.page.on(
            "console", lambda message: message.type in ("error", "warning") and self.faults.append(message.text)
        )
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.set_default_timeout(10_000)
        self.page.goto(address)
        self.page.evaluate("drawAll()")


@pytest.fixture
def opened(browser, site):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    yield Opened(context, f"file://{site}/index.html")
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


def test_the_answer_stands_first_with_its_picture_and_then_the_verdict(opened):
    first, second = (opened.page.locator("main section").nth(place) for place in (0, 1))
    assert (first.get_attribute("id"), second.get_attribute("id")) == ("answer", "verdict")
    assert first.locator("p.answer").inner_text().startswith("Use mix.easy_share=")
    assert first.locator("figure").count() == 1 and first.locator("article").count() == 0
    assert "better than the base" in second.locator("article").first.inner_text()


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


def test_the_search_keeps_what_has_all_its_words_and_escape_ends_it(opened):
    page = opened.page
    folded = page.locator("#table-shared_settings")
    page.keyboard.press("/")
    page.keyboard.type("chains share=0.9")
    assert shown_column(page, "results", 1) == ["mix.easy_share=0.9"]
    assert not page.locator("#left").is_visible() and " of " in page.locator("#found").inner_text()
    page.locator("#search").fill("reward.alpha")  # in a folded table
    assert folded.get_attribute("open") is not None
    page.keyboard.press("Escape")
    assert folded.get_attribute("open") is None and page.locator("#table-results tbody tr:visible").count() == 6


def test_keys_go_from_part_to_part_and_switch_the_theme(opened):
    page, tops = opened.page, "(id) => Math.round(document.getElementById(id).getBoundingClientRect().top)"
    page.emulate_media(reduced_motion="reduce")
    for _ in ("answer", "verdict", "curves"):
        page.keyboard.press("j")
    assert 0 < page.evaluate(tops, "curves") < 120
    page.keyboard.press("k")
    assert 0 < page.evaluate(tops, "verdict") < 120
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_the_legend_hides_curves_by_keyboard(opened):
    box = opened.page.locator("#curves .legend input[type=checkbox]").first
    box.focus()
    opened.page.keyboard.press("Space")
    lines = opened.page.locator("#figure-curve_validation_accuracy svg .mark-line path")
    playwright.expect(lines).to_have_count(2)
    assert opened.page.locator("#curves .legend output").inner_text() == "2 of 3"


def test_steps_zoom_in(opened):
    measured = opened.page.locator("#figure-curve_validation_accuracy svg .mark-line path").first
    assert measured.get_attribute("d").count("L") == 4  # at 0, 5, 10, 15 and 20
    before = opened.page.locator("#figure-curve_accuracy svg .mark-line path").first.get_attribute("d").count("L")
    opened.page.locator("#curves [name=first_step]").fill("11")
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
    row = [cell.inner_text() for cell in opened.page.locator("#p-table tbody tr").first.locator("td").all()]
    assert row[0].startswith("What is 6 * 7 + 0 * chains") and row[1] == "42"  # the question and its answer, not an id
    assert "wrong (different)" in row[2] and row[3].startswith("42: right; ")
    opened.page.locator("#problems button", has_text="compare").first.click()
    articles = opened.page.locator("#p-view article")
    assert articles.count() == 3  # the question too
    before, after = (article.inner_text() for article in articles.all()[1:])
    assert "Before: wrong" in before and "verdict: different" in before
    assert "After: correct" in after and "answer found: 42; verdict: equal" in after
    assert "</script>" in after  # shown as text
    assert opened.faults == []
    opened.page.locator("#p-kind").select_option("lost")
    assert all(
        text.startswith(("-", "−")) for text in opened.page.locator("#p-table tbody td:nth-child(5)").all_inner_texts()
    )


@pytest.fixture(scope="module")
def axe(tmp_path_factory):
    """The script of axe-core, from npm's registry or its cache."""
    folder = tmp_path_factory.mktemp("axe")
    command = ["npm", "install", "--prefix", str(folder), "--prefer-offline", "--no-audit", "--no-fund", "axe-core@4"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"needs axe-core, which npm could not get: {error}")
    return folder / "node_modules" / "axe-core" / "axe.min.js"


SIZES = [(390, "light"), (768, "dark"), (1440, "light"), (390, "dark"), (768, "light"), (1440, "dark")]


@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_no_window_scrolls_sideways_and_no_label_is_cut(width, scheme, browser, site):
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    opened = Opened(context, f"file://{site}/index.html")
    assert opened.page.evaluate("document.documentElement.scrollWidth") == width
    ground = "getComputedStyle(document.body).backgroundColor"
    assert (sum(map(int, opened.page.evaluate(ground)[4:-1].split(","))) > 380) == (scheme == "light")
    texts = opened.page.locator("svg .role-axis-label text").all_text_contents()
    assert "mix.easy_share=0.9" in texts and not any("…" in text for text in texts)
    outside = "[...document.querySelectorAll('svg text')].filter((t) => t.getBoundingClientRect().right > t.closest('figure').getBoundingClientRect().right)"
    assert opened.page.evaluate(f"{outside}.map((t) => t.textContent)") == []
    assert opened.faults == []
    context.close()


@pytest.mark.parametrize(("width", "scheme"), SIZES[:3])
def test_axe_finds_no_serious_fault(width, scheme, browser, site, axe):
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True)
    page = Opened(context, f"file://{site}/index.html").page
    page.add_script_tag(path=axe)
    faults = page.evaluate("axe.run().then((found) => found.violations)")
    assert [(each["impact"], each["id"], each["nodes"][0]["html"]) for each in faults if each["impact"] in ("serious", "critical")] == []
    context.close()


def test_on_paper_nothing_is_cut_off(browser, site, tmp_path):
    context = browser.new_context(viewport={"width": 1040, "height": 700}, color_scheme="dark")  # an A4 page less its margins
    opened = Opened(context, f"file://{site}/index.html")
    opened.page.emulate_media(media="print")
    assert not opened.page.locator("nav").is_visible() and opened.page.locator("#table-results table").is_visible()
    inside = "(all) => all.filter((each) => each.getBoundingClientRect().right > 1041 || each.scrollWidth > each.clientWidth + 1).map((each) => each.outerHTML.slice(0, 90))"
    for what in ("table", "figure", ".scroll", ".plot", "article", "pre"):
        assert opened.page.locator(what).evaluate_all(inside) == [], what
    axis = opened.page.locator("#figure-answer svg .role-axis-label text").first
    assert axis.evaluate("(text) => getComputedStyle(text).fill") == "rgb(68, 68, 68)"  # not the dark page's light ink
    opened.page.pdf(path=tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
    context.close()


def test_a_page_that_is_served_loads_anew_and_keeps_the_search(browser, tmp_path):
    records, folder = tmp_path / "outputs", tmp_path / "report"
    write_run(records / "one", problems=10)
    with LiveServer(("127.0.0.1", 0), folder) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        write_report(analyse([records]), folder, live="first")
        server.state = "first"
        context = browser.new_context()
        opened = Opened(context, server.address)
        opened.page.locator("#search").fill("chains")
        opened.page.locator("h1").click()  # while someone writes, the page stays
        write_run(records / "two", problems=10, settings={"mix.easy_share": 0.5})
        write_report(analyse([records]), folder, live="second")
        server.state = "second"
        playwright.expect(opened.page.locator(".sub")).to_contain_text("2 runs of 2 configurations")
        assert opened.page.locator("#search").input_value() == "chains" and opened.faults == []
        context.close()
        server.shutdown()
