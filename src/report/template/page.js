"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const by = (id) => document.getElementById(id);
  const views = new Map(); // by figure name: the live Vega view

  // Theme: the system's, until someone chooses.
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try { chosen = localStorage.getItem("theme"); } catch { /* a page from a file may have no storage */ }
  const setTheme = () => { root.dataset.theme = chosen || (system.matches ? "dark" : "light"); };
  setTheme();
  const switchTheme = () => {
    chosen = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("theme", chosen); } catch { /* then it lasts as long as the page */ }
    setTheme();
  };
  system.addEventListener("change", setTheme);
  by("theme").addEventListener("click", switchTheme);

  // Figures: drawn one after the other in the order of the page, so that all are there when it is printed. Their colours are the
  // page's own, which change with the theme and on paper.
  const font = "Inter, Segoe UI, Roboto, Arial, sans-serif", quiet = "var(--quiet)", line = "var(--line)";
  const text = { labelColor: quiet, titleColor: quiet, labelFont: font, titleFont: font, titleFontWeight: 400 };
  const LOOK = {
    background: "transparent", view: { stroke: "transparent" },
    axis: { ...text, gridColor: line, domainColor: line, tickColor: line, gridOpacity: 0.7, labelOverlap: "greedy", labelSeparation: 6 },
    legend: text,
  };
  const drawing = new Map();
  function draw(name) {
    const place = document.querySelector(`[data-figure="${CSS.escape(name)}"] .plot`);
    const spec = structuredClone(data.figures[name]);
    for (const p of spec.params || []) if (p.name in state) p.value = state[p.name] ?? p.value;
    if (place.clientWidth < 420) narrow(spec);
    views.get(name)?.finalize();
    const task = vegaEmbed(place, spec, { actions: false, renderer: "svg", logLevel: 1 /* errors */, config: LOOK })
      .then((result) => {
        views.set(name, result.view);
        place.querySelector("svg").setAttribute("aria-hidden", "true"); // the plot has a label of its own
        place.dataset.drawn = "yes";
      })
      .catch((error) => { place.textContent = `This figure could not be drawn: ${error.message}`; console.error(error); });
    drawing.set(name, task);
    return task;
  }
  function narrow(node) { // shorter labels on a small window
    if (!node || typeof node !== "object") return;
    if (node.labelLimit) node.labelLimit = 200;
    if (node.columns) node.columns = Math.min(node.columns, 2);
    Object.values(node).forEach(narrow);
  }
  const names = Object.keys(data.figures);
  window.drawAll = () => Promise.all(names.map((name) => drawing.get(name) || draw(name)));
  async function drawInTurn() {
    for (const name of names) {
      await (drawing.get(name) || draw(name));
      await new Promise((go) => { setTimeout(go); });
    }
  }

  // The legend: which configurations figures show, and which steps; by the names of the figures' parameters.
  const state = { shown: data.shown, first_step: null, last_step: null };
  function choose(chosen) {
    Object.assign(state, chosen);
    for (const input of all(".legend input[type=number]")) input.value = state[input.name] ?? "";
    for (const box of all(".legend input[type=checkbox]")) box.checked = state.shown.includes(box.value);
    for (const out of all(".legend output")) out.textContent = `${state.shown.length} of ${data.configurations.length}`;
    for (const [name, view] of views) {
      for (const p of data.figures[name].params || []) if (p.name in state) view.signal(p.name, state[p.name] ?? p.value);
      view.runAsync();
    }
  }
  const redraw = () => { for (const name of [...views.keys()]) draw(name); };
  document.addEventListener("change", (event) => {
    const it = event.target;
    if (it.matches(".legend input[type=number]")) choose({ [it.name]: it.value === "" ? null : +it.value });
    if (it.matches(".legend input[type=checkbox]")) {
      choose({ shown: data.configurations.filter((label) => (label === it.value ? it.checked : state.shown.includes(label))) });
    }
  });
  document.addEventListener("click", (event) => {
    const choice = event.target.dataset?.choose, shown = { best: data.shown, all: data.configurations, none: [] }[choice];
    if (shown) choose({ shown });
    if (choice === "reset") { choose({ first_step: null, last_step: null }); redraw(); }
  });

  // Tables: a heading sorts.
  const order = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  function sortBy(head) {
    const table = head.closest("table"), body = table.tBodies[0], at = head.cellIndex, number = head.classList.contains("number");
    const next = head.ariaSort === "none" ? (number ? "descending" : "ascending") : head.ariaSort === "ascending" ? "descending" : "ascending";
    for (const other of head.parentNode.cells) other.ariaSort = "none";
    head.ariaSort = next;
    const sign = next === "ascending" ? 1 : -1;
    const key = (row) => { const cell = row.cells[at]; return number ? (cell.dataset.v === undefined ? null : +cell.dataset.v) : cell.textContent; };
    const rows = [...body.rows].map((row) => [key(row), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null); // what has no value stands last either way
      return sign * (number ? a - b : order.compare(a, b));
    });
    body.append(...rows.map(([, row]) => row));
  }
  document.addEventListener("click", (event) => {
    const head = event.target.closest?.("th");
    if (head && event.target.matches("button")) sortBy(head);
  });
  // Search: rows, figures, cards and entries of the legend that hold all words stay, and the parts that have some.
  const FOUND = "tbody tr, .words article, .notes li, figure, .legend fieldset label";
  function search() {
    const words = by("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const holds = (node) => words.every((word) => (node.querySelector("figcaption") || node).textContent.toLowerCase().includes(word));
    const nodes = all(FOUND), kept = nodes.filter((node) => !(node.hidden = !holds(node)));
    for (const box of all("details.table, main section")) {
      box.hidden = words.length > 0 && !box.querySelector(FOUND.replace(/(,|$)/g, ":not([hidden])$1"));
      if (box.matches("details.table")) {
        box.dataset.closed ??= String(!box.open);
        box.open = words.length ? !box.hidden : box.dataset.closed !== "true";
        if (!words.length) delete box.dataset.closed;
      }
    }
    by("found").textContent = words.length ? `${kept.length} of ${nodes.length}` : "";
  }
  by("search").addEventListener("input", search);

  // Keyboard: single keys, but where one writes.
  const go = (way) => {
    const parts = all("main section:not([hidden])"), tops = parts.map((part) => part.getBoundingClientRect().top - parseFloat(getComputedStyle(root).scrollPaddingTop));
    const at = way > 0 ? tops.findIndex((top) => top > 4) : tops.findLastIndex((top) => top < -4);
    if (at >= 0) parts[at].scrollIntoView();
  };
  const KEYS = { "/": () => by("search").focus(), j: () => go(1), k: () => go(-1), t: switchTheme };
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") { by("search").value = ""; search(); document.activeElement.blur(); return; }
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select") || !KEYS[event.key]) return;
    event.preventDefault();
    KEYS[event.key]();
  });

  // Problems: gained and lost, and the completions side by side.
  const problems = data.problems;
  const digit = (text, at) => parseInt(text[at], 36);
  const made = (tag, textContent = "", className = "") => Object.assign(document.createElement(tag), { textContent, className });
  const fill = (select, texts) => select.replaceChildren(...texts.map((text, value) => new Option(text, value)));
  const runs = () => fill(by("p-run"), problems[+by("p-suite").value].runs.map((run) => run.label));
  function list() {
    const suite = problems[+by("p-suite").value], run = suite.runs[+by("p-run").value], kind = by("p-kind").value;
    const rows = suite.ids.map((id, at) => ({ id, at, level: suite.levels[at], before: digit(run.before, at), after: digit(run.after, at) }))
      .map((row) => ({ ...row, change: row.after - row.before }))
      .filter((row) => kind === "all" || (kind === "gained" ? row.change > 0 : kind === "lost" ? row.change < 0 : row.change !== 0))
      .sort((a, b) => (b.id in run.pairs) - (a.id in run.pairs) || Math.abs(b.change) - Math.abs(a.change) || order.compare(a.id, b.id));
    const most = 300;
    by("p-found").textContent = `${rows.length} of ${suite.ids.length} problems${rows.length > most ? `, the first ${most} listed` : ""}`;
    by("p-table").tBodies[0].replaceChildren(...rows.slice(0, most).map((row) => listed(suite, run, row)));
    by("p-view").replaceChildren();
    search();
  }
  const cut = (text, most) => (text.length > most ? `${text.slice(0, most)}…` : text);
  function listed(suite, run, row) {
    const tr = made("tr"), asked = suite.questions[row.id], pair = run.pairs[row.id];
    const cell = (text, name = "text") => tr.appendChild(made("td", text, name));
    cell(asked ? cut(asked[0], 160) : `${row.id} (${row.level}; its question is not in the record)`);
    cell(asked ? asked[1] : "–");
    for (const [at, solved] of [row.before, row.after].entries()) {
      const one = pair?.[at], count = `${solved} of ${suite.samples} right`;
      cell(one ? `${one.answer && `${cut(one.answer, 40)}: `}${one.correct ? "right" : `wrong (${one.reason})`}; ${count}` : count);
    }
    cell((row.change > 0 ? "+" : "") + row.change, `number ${row.change > 0 ? "right" : row.change < 0 ? "wrong" : ""}`).dataset.v = row.change;
    if (!pair?.[0].text) { cell(pair ? "in the record" : "answers are in the record"); return tr; }
    cell("").append(Object.assign(made("button", "compare"), { type: "button", onclick: () => compare(suite, run, row.id) }));
    return tr;
  }
  function compare(suite, run, id) {
    const asked = suite.questions[id], parts = asked ? [made("article", "", "question")] : [];
    if (asked) parts[0].append(made("h3", `Question; right answer: ${asked[1]}`), made("pre", asked[0]));
    run.pairs[id].forEach((one, at) => {
      const box = made("article"), found = one.answer === "" ? "no answer found" : `answer found: ${one.answer}`;
      box.append(made("h3", `${at === 0 ? "Before" : "After"}: ${one.correct ? "correct" : "wrong"}`, one.correct ? "right" : "wrong"),
        made("p", `Problem ${id}, sample ${one.sample + 1}. ${found}; verdict: ${one.reason}; ${one.tokens} tokens${one.truncated ? ", cut off at the limit" : ""}.`, "note"),
        made("pre", one.text));
      parts.push(box);
    });
    by("p-view").replaceChildren(...parts);
    by("p-view").scrollIntoView({ block: "nearest" });
  }
  if (problems.length && by("p-suite")) {
    fill(by("p-suite"), problems.map((suite) => suite.name));
    runs(); list();
    by("p-suite").addEventListener("change", () => { runs(); list(); });
    by("p-run").addEventListener("change", list);
    by("p-kind").addEventListener("change", list);
  }

  // A page that is served is loaded anew when its records have grown, unless someone is reading closely; what was chosen stays.
  const closely = () => document.activeElement.matches("input, select") || by("p-view")?.childElementCount || getSelection().toString();
  const served = root.dataset.live && location.protocol.startsWith("http");
  if (served) setInterval(async () => {
    const answer = await fetch("live").catch(() => null); // until the server is there again
    if (!answer?.ok || (await answer.text()) === root.dataset.live || closely()) return;
    sessionStorage.setItem("kept", JSON.stringify([by("search").value, data.configurations.filter((c) => !state.shown.includes(c)), scrollY]));
    location.reload();
  }, 2000);
  const [searched, unseen, top] = JSON.parse((served && sessionStorage.getItem("kept")) || "[\"\", null, 0]");
  by("search").value = searched;
  choose({ shown: unseen ? data.configurations.filter((label) => !unseen.includes(label)) : data.shown });
  search();
  for (const plot of all(".plot")) { // room for what is drawn later: what one looks at stays where it is
    const { height } = data.figures[plot.parentNode.dataset.figure];
    if (height > 0) plot.style.minHeight = `${height + 50}px`;
  }
  scrollTo(0, top);
  drawInTurn();
  let width = innerWidth, timer;
  addEventListener("resize", () => {
    clearTimeout(timer);
    timer = setTimeout(() => { if (innerWidth !== width) { width = innerWidth; redraw(); } }, 250);
  });
})();
