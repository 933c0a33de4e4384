"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { names, grid, explorer } = data;
  const byId = (id) => document.getElementById(id);
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
  const digits = (value) => (Math.abs(value) >= THOUSAND && Math.abs(value) < 1e6 ? String(Math.round(value)) : String(Number(value.toPrecision(3))));
  const number = (value) => (value === null || value === undefined ? "–" : typeof value === "number" ? digits(value) : String(value));
  const pValue = (p, smallest) => (smallest ? `≤ ${number(p)}` : number(p));
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
  addEventListener("beforeprint", () => { for (const fold of folds) fold.open = true; });

  /* Layer grid. */
  const map = byId("map");
  const cells = [...map.querySelectorAll("[data-cell]")];
  const detail = byId("detail");
  const chosen = { measure: data.measure, null: data.null, show: "score", cell: 0 };

  const valueOf = (index) => {
    if (chosen.show === "pairs") return grid.cells[index].pairs;
    const scored = grid.measures[chosen.measure].cells[index];
    if (chosen.show === "score") return scored.score ?? null;
    return scored.nulls?.[chosen.null]?.[chosen.show] ?? null;
  };
  const written = (value) => {
    if (chosen.show === "pairs") return String(value);
    const text = Math.abs(value) < 1e6 ? value.toFixed(chosen.show === "z" ? 1 : 3) : value.toExponential(3);
    return Number(text) === 0 ? text.replace("-", "") : text;
  };
  const ends = () => grid.measures[chosen.measure].limits[chosen.show === "mean" ? "score" : chosen.show];
  const markOf = (index) => {
    if (chosen.show === "pairs" || chosen.show === "mean") return "";
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
    const shown = byId("show").selectedOptions[0].textContent;
    const against = ["score", "pairs"].includes(chosen.show) || !chosen.null ? "" : `, ${chosen.null}`;
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
    return el("figure", {}, el("p", { class: "axis" }, `${name}, ${n} draws; line: score ${number(test.score)}`), drawing);
  };

  const line = (name, ...values) => el("tr", {}, el("th", { scope: "row" }, name), ...values.map((value) => el("td", {}, value)));

  const describe = (index) => {
    for (const cell of cells) cell.classList.toggle("shown", Number(cell.dataset.cell) === index); // as the panel
    const cell = grid.cells[index];
    const { title, cells: measured } = grid.measures[chosen.measure];
    const scored = measured[index];
    const drawings = [];
    const parts = [el("h3", {}, `${names.a} layer ${cell.a} × ${names.b} layer ${cell.b}`)];
    const general = el("tbody", {},
      line("feature pairs", range(cell.interval) ? `${cell.pairs} (95%: ${range(cell.interval)})` : String(cell.pairs)),
      line("mean r", number(cell.r)));
    for (const { null: name, pairs, p, smallest } of cell.again) general.append(line(`pairs under ${name}, on average`, `${number(pairs)}, p ${pValue(p, smallest)}`));
    if (scored.reason) {
      parts.push(el("table", {}, general), el("p", {}, `${title} has no score here: ${scored.reason}.`));
    } else {
      general.append(line(`${title}, all pairs`, `${number(scored.score)}${scored.saturated ? ", saturated" : ""}`));
      if (scored.interval) general.append(line("its 95% interval", range(scored.interval)));
      if (scored.seeds) general.append(line("through SAEs of other seeds", range(scored.seeds)));
      parts.push(el("table", {}, general));
      const shown = grid.nulls.filter((name) => scored.nulls[name] && !scored.nulls[name].reason);
      const fields = { score: "score tested", mean: "null mean", sd: "null sd", z: "z", calibrated: "calibrated", p: "p", q: "q" };
      const told = (field, test) => (field === "p" ? pValue(test.p, test.smallest) : field === "q" && test.mark ? `${number(test.q)} (${test.mark})` : number(test[field]));
      if (shown.length) {
        const head = el("tr", {}, el("td", {}, ""), ...shown.map((name) => el("th", { scope: "col" }, name)));
        parts.push(el("table", {}, el("thead", {}, head),
          el("tbody", {}, ...Object.entries(fields).map(([field, label]) => line(label, ...shown.map((name) => told(field, scored.nulls[name])))))));
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
      button.addEventListener("click", () => showLayers(cell.a, cell.b));
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

  const best = () => {
    const scores = grid.measures[chosen.measure].cells.map((cell) => cell.score ?? -Infinity);
    return scores.indexOf(Math.max(...scores));
  };
  map.addEventListener("pointerover", (event) => {
    const cell = event.target.closest("[data-cell]");
    if (cell && event.pointerType === "mouse") describe(Number(cell.dataset.cell));
  });
  map.addEventListener("pointerleave", () => describe(chosen.cell));
  map.addEventListener("click", (event) => {
    const cell = event.target.closest("[data-cell]");
    if (cell) choose(Number(cell.dataset.cell), true);
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
    byId(name).addEventListener("change", (event) => {
      chosen[name] = event.target.value;
      paint();
      choose(name === "measure" ? best() : chosen.cell, false);
    });
    if (byId(name).value) chosen[name] = byId(name).value; // a browser keeps choices over a reload
  }
  paint();
  choose(best(), false);

  /* Feature explorer. */
  if (!explorer) return;
  const PAGE = matchMedia("(max-width: 40rem)").matches ? 8 : 25;
  const list = byId("pairs");
  const narrow = matchMedia("(max-width: 40rem)");
  const fields = { query: byId("query"), a: byId("layer-a"), b: byId("layer-b"), min: byId("r-min"), max: byId("r-max"), order: byId("order"), contexts: byId("in-contexts") };
  const tokens = (feature) => feature[2].map((token) => token[0]).join("\n").toLowerCase();
  const contexts = (feature) => feature[3].map((c) => c[1] + c[2] + c[3]).join("\n").toLowerCase();
  const text = { a: explorer.a.map(tokens), b: explorer.b.map(tokens) };
  let inContexts = null; // made when it is first asked for
  let found = [];
  let shown = 0;

  const ofSide = (side, feature) => {
    const who = el("span", { class: "who" }, `${side.toUpperCase()} ${feature[0]} · #${feature[1]} `);
    const often = (times) => (times > 1 && feature[2].length > 1 ? `×${times} ` : "");
    const toks = feature[2].map(([token, times]) => el("bdi", {}, el("span", { class: "tok" }, token), often(times)));
    const whole = el("span", { class: `side-${side}` }, who, ...toks);
    if (feature[3].length) {
      const [, before, token, after] = feature[3][0];
      whole.append(el("bdi", { class: "glance" }, before.slice(narrow.matches ? -12 : -26), el("mark", {}, token), after));
    }
    return whole;
  };
  const column = (side, feature) => {
    const title = el("h3", {}, `${names[side]} (${side.toUpperCase()}), layer ${feature[0]}, feature ${feature[1]} `);
    if (feature[4]) title.append(el("a", { href: feature[4], rel: "noreferrer" }, "Neuronpedia"));
    const items = feature[3].map(([document_, before, token, after, share]) => el("li", {},
      el("bdi", { class: "context" }, before, el("mark", {}, token), after),
      el("small", {}, `document ${document_}, ${share}% of its strongest activation`)));
    return el("div", {}, title, items.length ? el("ol", {}, ...items) : el("p", { class: "axis" }, "No context is kept for this feature."));
  };
  const item = ([a, b, r, within]) => {
    const both = el("span", { class: "r" }, r.toFixed(3));
    if (within !== null) both.append(el("small", {}, ` ${within.toFixed(2)} within`));
    const summary = el("summary", {}, both, ofSide("a", explorer.a[a]), ofSide("b", explorer.b[b]));
    const details = el("details", { class: "pair" }, summary);
    details.addEventListener("toggle", () => {
      if (details.childElementCount === 1) details.append(el("div", { class: "both" }, column("a", explorer.a[a]), column("b", explorer.b[b])));
    });
    return details;
  };
  const showMore = () => {
    list.append(...found.slice(shown, shown + PAGE).map(item));
    shown = Math.min(found.length, shown + PAGE);
    byId("more-pairs").hidden = shown === found.length;
    byId("more-pairs").textContent = `Show ${Math.min(PAGE, found.length - shown)} more`;
  };
  const search = () => {
    const query = fields.query.value.trim().toLowerCase();
    const asNumber = /^#?\d+$/.test(query) ? Number(query.replace("#", "")) : null;
    const hasText = query && !query.startsWith("#");
    if (fields.contexts.checked && !inContexts) inContexts = { a: explorer.a.map(contexts), b: explorer.b.map(contexts) };
    const where = fields.contexts.checked ? [text, inContexts] : [text];
    const bound = (input, otherwise) => (input.value === "" || Number.isNaN(input.valueAsNumber) ? otherwise : input.valueAsNumber);
    const [min, max] = [bound(fields.min, -Infinity), bound(fields.max, Infinity)];
    found = explorer.pairs.filter(([a, b, r]) => {
      const [one, other] = [explorer.a[a], explorer.b[b]];
      if (r < min || r > max) return false;
      if (fields.a.value && one[0] !== fields.a.value) return false;
      if (fields.b.value && other[0] !== fields.b.value) return false;
      if (!query) return true;
      if (asNumber !== null && (one[1] === asNumber || other[1] === asNumber)) return true;
      return hasText && where.some((texts) => texts.a[a].includes(query) || texts.b[b].includes(query));
    });
    if (fields.order.value === "up") found = found.toReversed();
    if (fields.order.value === "within") found = found.toSorted((one, other) => (other[3] ?? -2) - (one[3] ?? -2));
    byId("count").textContent = `${found.length.toLocaleString("en")} of ${explorer.pairs.length.toLocaleString("en")} pairs${found.length ? "" : ": nothing matches; try fewer letters or a wider range"}`;
    list.replaceChildren();
    shown = 0;
    showMore();
  };
  const showLayers = (a, b) => {
    fields.a.value = a;
    fields.b.value = b;
    fields.query.value = "";
    search();
    byId("features").scrollIntoView();
    fields.query.focus({ preventScroll: true });
  };
  let waiting = 0;
  for (const field of Object.values(fields)) {
    field.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(search, 80);
    });
  }
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  byId("more-pairs").addEventListener("click", () => {
    const first = shown;
    showMore();
    list.children[first]?.firstElementChild.focus();
  });
  list.addEventListener("keydown", (event) => {
    if (event.target.tagName !== "SUMMARY" || !["ArrowDown", "ArrowUp"].includes(event.key)) return;
    event.preventDefault();
    const details = event.target.parentElement;
    const next = event.key === "ArrowDown" ? details.nextElementSibling : details.previousElementSibling;
    (next ? next.firstElementChild : event.key === "ArrowUp" ? fields.query : event.target).focus();
  });
  fields.query.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" || !list.firstElementChild) return;
    event.preventDefault();
    list.firstElementChild.firstElementChild.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.matches("input, select, textarea")) return;
    event.preventDefault();
    fields.query.focus();
  });
  search();
})();
