"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { names, grid, explorer } = data;
  const byId = (id) => document.getElementById(id);

  /* The address after # keeps what is chosen, so that it can be sent: #view?measure=rsa&cell=0x2&q=token. */
  const asLink = "#view?";
  const view = new URLSearchParams(location.hash.startsWith(asLink) ? location.hash.slice(asLink.length) : "");
  const keep = (chosenNow) => {
    for (const [name, value] of Object.entries(chosenNow)) if (value) view.set(name, value); else view.delete(name);
    const kept = String(view);
    if (kept || location.hash.startsWith(asLink)) history.replaceState(null, "", kept ? `${asLink}${kept}` : "#");
  };
  /* Another view is read anew. The browser would then go back to where the reader was, and not to what is asked for. */
  const RESTORED_MS = 1000;
  let restoring = 0;
  addEventListener("load", () => { restoring = setTimeout(() => { history.scrollRestoration = "auto"; }, RESTORED_MS); });
  const readAnew = () => { clearTimeout(restoring); history.scrollRestoration = "manual"; location.reload(); };
  addEventListener("hashchange", () => { if (location.hash.startsWith(asLink) && location.hash !== `${asLink}${view}`) readAnew(); });
  document.addEventListener("click", (event) => { // also of the view that is in the address already
    const link = event.target.closest(`a[href^="${asLink}"]`);
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    if (link.hash !== location.hash) history.pushState(null, "", link.hash);
    readAnew();
  });
  globalThis.semconvPage = { data, view, keep };

  const STEPS = 12;
  const SVG = "http://www.w3.org/2000/svg";

  /* Everything is made of text nodes and attributes; no string of the data is ever read as HTML. */
  const el = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const svg = (tag, attributes, ...children) => {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const THOUSAND = 1e3;
  const digits = (value) => { // as the tables write them: three, two below 0.01, zeros at the end too
    const size = Math.abs(value);
    if (Number.isInteger(value) && size < 1e6) return String(value);
    if (size < 1e-4) return value.toExponential(1);
    if (size < 1e-2) return value.toPrecision(2);
    return size >= THOUSAND - 0.5 && size < 1e6 ? String(Math.round(value)) : value.toPrecision(3);
  };
  const number = (value) => (value === null || value === undefined ? "–" : typeof value === "number" ? digits(value) : String(value));
  const pValue = (p, bound) => (bound ? bound.replace(" ", "\u00a0") : number(p));
  const range = (ends) => (ends ? `${number(ends[0])} to ${number(ends[1])}` : null);

  /* Theme: the system's until the button is pressed. */
  const root = document.documentElement;
  const themeButton = byId("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const nameTheme = () => {
    themeButton.textContent = isDark() ? "Light" : "Dark";
    themeButton.setAttribute("aria-label", isDark() ? "Switch to the light theme" : "Switch to the dark theme");
  };
  themeButton.hidden = false;
  themeButton.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("semconv-theme", root.dataset.theme); } catch { /* nothing is kept */ }
    nameTheme();
  });
  system.addEventListener("change", nameTheme);
  nameTheme();

  /* Navigation: marks the section that is read. */
  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      const link = links.get(entry.target.id);
      link?.setAttribute("aria-current", "true");
      if (link) { // a bar that is wider than the screen follows
        const bar = link.closest("ul");
        bar.scrollLeft = link.offsetLeft - bar.offsetLeft - (bar.clientWidth - link.offsetWidth) / 2;
      }
    }
  }, { rootMargin: "-15% 0px -80% 0px" });
  for (const section of document.querySelectorAll("main > section")) seen.observe(section);

  /* On a phone what is folded begins closed; on paper it is open. */
  const folds = [...document.querySelectorAll("details.fold")];
  if (matchMedia("(max-width: 40rem)").matches) for (const fold of folds) fold.open = false;
  const words = document.querySelector("details.words");
  addEventListener("beforeprint", () => { for (const fold of [...folds, words]) if (fold) fold.open = true; });
  addEventListener("afterprint", () => { if (words) words.open = false; });

  /* Layer grid. */
  const map = byId("map");
  const cells = [...map.querySelectorAll("[data-cell]")];
  const detail = byId("detail");
  const chosen = { measure: data.measure, null: data.null, show: "score", cell: 0 };

  const valueOf = (index) => {
    if (chosen.show === "pairs") return grid.cells[index].pairs;
    const scored = grid.measures[chosen.measure].cells[index];
    if (chosen.show === "all" || (chosen.show === "score" && !AGAIN.includes(chosen.null))) return scored.score ?? null;
    return scored.nulls?.[chosen.null]?.[chosen.show] ?? null;
  };
  const written = (value) => {
    if (chosen.show === "pairs") return String(value);
    const text = Math.abs(value) < 1e6 ? value.toFixed(chosen.show === "z" ? 1 : 3) : value.toExponential(3);
    return Number(text) === 0 ? text.replace("-", "") : text;
  };
  const ends = () => grid.measures[chosen.measure].limits[chosen.show === "all" ? "score" : chosen.show];
  const AGAIN = ["rematch", "same_token", "same_bigram"]; // nulls that test the strongest pairs
  const scoredOn = (name) => (AGAIN.includes(name) ? "strongest pairs" : "all pairs");
  const ofPairs = () => (chosen.show === "all" ? "all pairs" : scoredOn(chosen.null));
  const markOf = (index) => {
    if (chosen.show === "pairs" || chosen.show === "mean" || (chosen.show === "all" && AGAIN.includes(chosen.null))) return "";
    return grid.measures[chosen.measure].cells[index].nulls?.[chosen.null]?.mark ?? "";
  };
  const MARKS = { "n.s.": ", not significant", "?": ", cannot be told with so few draws" };

  const paint = () => {
    const [low, high] = ends();
    for (const cell of cells) {
      const index = Number(cell.dataset.cell);
      const value = valueOf(index);
      const where = `layer ${grid.cells[index].a} of ${names.a}, layer ${grid.cells[index].b} of ${names.b}`;
      if (value === null) {
        cell.className = "none";
        cell.replaceChildren(el("span", { class: "v" }, "none"));
        cell.setAttribute("aria-label", `${where}: none`);
        continue;
      }
      const step = Math.max(0, Math.min(STEPS - 1, Math.floor(((value - low) / (high - low)) * STEPS)));
      cell.className = `h${step}`;
      cell.replaceChildren(el("span", { class: "v" }, written(value)));
      const mark = markOf(index);
      if (mark) cell.append(el("span", { class: "weak" }, mark));
      cell.setAttribute("aria-label", `${where}: ${written(value)}${MARKS[mark] ?? ""}`);
    }
    const plain = ["score", "all"].includes(chosen.show);
    const shown = plain ? `score of ${ofPairs()}` : byId("show").selectedOptions[0].textContent;
    const against = plain || !chosen.null ? "" : `, ${chosen.null}, ${ofPairs()}`;
    byId("map-title").textContent = chosen.show === "pairs" ? "Feature pairs after every filter" : `${grid.measures[chosen.measure].title}: ${shown}${against}`;
    const [first, last] = byId("scale").querySelectorAll(".end");
    first.textContent = written(low);
    last.textContent = written(high);
    if (byId("ns-null")) byId("ns-null").textContent = chosen.null;
  };

  const histogram = (name, test, low, high) => {
    const x = (value) => 0.5 + ((value - low) / (high - low || 1)) * 99;
    const [from, to, n, bars] = test.draws;
    const drawing = svg("svg", { viewBox: "0 0 100 36", preserveAspectRatio: "none", role: "img",
      "aria-label": `${name}: ${n} draws from ${from} to ${to}, score ${number(test.score)}` });
    const bin = (to - from) / bars.length;
    [...bars].forEach((digit, i) => {
      const share = parseInt(digit, 36) / 35;
      if (share > 0) drawing.append(svg("rect", { class: "draws", x: x(from + i * bin), y: 34 - 30 * share, width: Math.max(0.3, x(from + bin) - x(from)), height: 30 * share }));
    });
    drawing.append(svg("line", { class: "axis-line", x1: 0, x2: 100, y1: 34.5, y2: 34.5 }));
    if (test.score !== null) drawing.append(svg("line", { class: "observed", x1: x(test.score), x2: x(test.score), y1: 2, y2: 35 }));
    return el("figure", {}, el("p", { class: "axis" }, `${name}, ${n} draws; line: score of ${scoredOn(name)}, ${number(test.score)}`), drawing);
  };

  const line = (name, ...values) => el("tr", {}, el("th", { scope: "row" }, name), ...values.map((value) => el("td", {}, value)));

  const describe = (index) => {
    for (const cell of cells) cell.classList.toggle("shown", Number(cell.dataset.cell) === index); // as the panel
    const cell = grid.cells[index];
    const { title, best, cells: measured } = grid.measures[chosen.measure];
    const scored = measured[index];
    const drawings = [];
    const parts = [el("h3", {}, `${names.a} layer ${cell.a} × ${names.b} layer ${cell.b}`)];
    const general = el("tbody", {},
      line("feature pairs", range(cell.interval) ? `${cell.pairs} (95%: ${range(cell.interval)})` : String(cell.pairs)),
      line("mean r", number(cell.r)));
    for (const { null: name, pairs, p, bound } of cell.again) general.append(line(`pairs under ${name}, on average`, `${number(pairs)}, p ${pValue(p, bound)}`));
    if (scored.reason) {
      parts.push(el("table", {}, general), el("p", {}, `${title} has no score here: ${scored.reason}.`));
    } else {
      general.append(line(`${title}, all pairs`, `${number(scored.score)}${scored.saturated ? ", saturated" : ""}`));
      if (scored.interval) general.append(line("its 95% interval, of this layer pair alone", range(scored.interval)));
      if (best?.cell === index && best.interval) general.append(line(`the same, adjusted for picking the best of ${best.of}`, range(best.interval)));
      if (scored.seeds) general.append(line("through SAEs of other seeds", range(scored.seeds)));
      parts.push(el("table", {}, general));
      const shown = grid.nulls.filter((name) => scored.nulls[name] && !scored.nulls[name].reason);
      const fields = { score: "score tested", mean: "null mean", sd: "null sd", z: "z", calibrated: "calibrated", p: "p", q: "q" };
      const told = (field, test) => (field === "p" ? pValue(test.p, test.bound) : field === "q" && test.mark ? `${number(test.q)} (${test.mark})` : number(test[field]));
      if (shown.length) {
        const broken = (name) => name.split("_").flatMap((part, i) => (i ? ["_", el("wbr"), part] : [part]));
        const head = el("tr", {}, el("td", {}, ""), ...shown.map((name) => el("th", { scope: "col" }, ...broken(name))));
        const table = el("table", {}, el("thead", {}, head),
          el("tbody", {}, ...Object.entries(fields).map(([field, label]) => line(label, ...shown.map((name) => told(field, scored.nulls[name]))))));
        parts.push(el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Every null" }, table));
      }
      const drawn = shown.filter((name) => scored.nulls[name].draws);
      const points = drawn.flatMap((name) => [...scored.nulls[name].draws.slice(0, 2), scored.nulls[name].score].filter((v) => v !== null));
      for (const name of drawn) drawings.push(histogram(name, scored.nulls[name], Math.min(...points), Math.max(...points)));
      if (drawn.length) drawings.push(el("p", { class: "axis ends" }, el("span", {}, number(Math.min(...points))), el("span", {}, "score"), el("span", {}, number(Math.max(...points)))));
      for (const name of shown) if (scored.nulls[name].note) parts.push(el("p", {}, `${name}: ${scored.nulls[name].note}.`));
      for (const name of grid.nulls) if (scored.nulls[name]?.reason) parts.push(el("p", {}, `${name}: ${scored.nulls[name].reason}.`));
    }
    if (explorer) {
      const button = el("button", { type: "button" }, "See these feature pairs");
      button.addEventListener("click", () => document.dispatchEvent(new CustomEvent("semconv-layers", { detail: cell })));
      parts.push(button);
    }
    detail.replaceChildren(...parts);
    byId("draws").replaceChildren(...drawings);
  };

  const choose = (index, focus) => {
    chosen.cell = index;
    for (const cell of cells) {
      const selected = Number(cell.dataset.cell) === index;
      cell.setAttribute("aria-selected", String(selected));
      cell.tabIndex = selected ? 0 : -1;
      if (selected && focus) cell.focus();
    }
    describe(index);
  };

  const best = () => grid.measures[chosen.measure].best?.cell ?? 0;
  map.addEventListener("pointerover", (event) => {
    const cell = event.target.closest("[data-cell]");
    if (cell && event.pointerType === "mouse") describe(Number(cell.dataset.cell));
  });
  map.addEventListener("pointerleave", () => describe(chosen.cell));
  map.addEventListener("click", (event) => {
    const cell = event.target.closest("[data-cell]");
    if (!cell) return;
    choose(Number(cell.dataset.cell), true);
    keep({ cell: `${grid.cells[chosen.cell].a}~${grid.cells[chosen.cell].b}` });
  });
  map.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], Home: [-Infinity, 0], End: [Infinity, 0] }[event.key];
    const from = event.target.closest("[data-cell]");
    if (!step || !from) return;
    event.preventDefault();
    const rows = [...map.rows].map((row) => [...row.cells]);
    const y = rows.findIndex((row) => row.includes(from));
    if (step[1]) {
      const below = rows[y + step[1]]?.[from.cellIndex];
      if (below?.dataset.cell) choose(Number(below.dataset.cell), true);
      return;
    }
    const row = rows[y].filter((cell) => cell.dataset.cell);
    const target = row[Math.max(0, Math.min(row.length - 1, row.indexOf(from) + step[0]))];
    choose(Number(target.dataset.cell), true);
  });
  for (const name of ["measure", "null", "show"]) {
    if ([...byId(name).options].some((option) => option.value === view.get(name))) byId(name).value = view.get(name);
    byId(name).addEventListener("change", (event) => {
      chosen[name] = event.target.value;
      keep({ [name]: chosen[name] });
      paint();
      choose(name === "measure" ? best() : chosen.cell, false);
    });
    if (byId(name).value) chosen[name] = byId(name).value; // a browser keeps choices over a reload
  }
  byId("zoom")?.addEventListener("change", (event) => map.classList.toggle("fine", !event.target.checked));
  paint();
  const asked = grid.cells.findIndex((cell) => `${cell.a}~${cell.b}` === view.get("cell"));
  choose(asked < 0 ? best() : asked, false);
  if (["measure", "null", "show", "cell"].some((name) => view.has(name))) byId("layers").scrollIntoView({ behavior: "instant" });
})();
