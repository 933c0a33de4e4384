"use strict";
(() => {
  /* The feature explorer. Layer pairs are held as typed arrays, a column each, so that millions of pairs are searched
     at once; files of the folder beside the page are scripts that call semconvShard, which works from a disk too. */
  const { data, view, keep } = globalThis.semconvPage;
  const { names, explorer, places } = data;
  if (!explorer) return;
  const byId = (id) => document.getElementById(id);
  const el = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const svg = (tag, attributes, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const NONE = -2147483648;
  const PAGE = matchMedia("(max-width: 40rem)").matches ? 8 : 25;
  const MOST_SAVED = 100000;
  const SIDES = ["a", "b"];
  const whole = (value) => value.toLocaleString("en");

  /* Whole numbers as text, as page_numbers.py writes them: of 88 signs the first half end a number, the others go on. */
  const BASE = 44;
  const digitOf = new Uint8Array(128);
  Array.from({ length: 94 }, (_, i) => 33 + i).filter((sign) => !'"\\<>&'.includes(String.fromCharCode(sign)))
    .forEach((sign, digit) => { digitOf[sign] = digit; });
  const unpack = (text) => {
    const numbers = new Int32Array(text.length);
    let [n, number, by] = [0, 0, 1];
    for (let i = 0; i < text.length; i += 1) {
      const digit = digitOf[text.charCodeAt(i)];
      if (digit < BASE) {
        numbers[n] = number + digit * by;
        [n, number, by] = [n + 1, 0, 1];
      } else {
        number += (digit - BASE) * by;
        by *= BASE;
      }
    }
    return numbers.slice(0, n);
  };
  const unpackSigned = (text) => unpack(text).map((n) => (n === 0 ? NONE : n & 1 ? n >> 1 : -(n >> 1)));
  /* Lists of numbers, one after the other: all numbers, and where those of a list begin. */
  const unpackLists = (text, before = 0) => {
    const numbers = unpack(text);
    const starts = [];
    for (let i = 0; i < numbers.length; i += before + 1 + numbers[i + before]) starts.push(i);
    return { numbers, starts };
  };
  const ofList = ({ numbers, starts }, one) => [...numbers.subarray(starts[one] + 1, starts[one] + 1 + numbers[starts[one]])];

  /* What is held. */
  const cells = [];
  const placeOf = new Map();
  const saes = { a: new Map(), b: new Map() };
  /* What pairs and features have in common; windows of text are read when they are needed. */
  const takeShared = ({ words, lists, windows }) => ({ words, lists: unpackLists(lists), packed: windows });
  const shared_ = takeShared(explorer.shared);
  const takeText = (text, shared) => {
    const numbers = unpack(text.examples);
    const starts = new Map();
    for (let i = 0; i < numbers.length;) {
      const row = numbers[i];
      starts.set(row, i + 1);
      let n = numbers[i + 1];
      for (i += 2; n > 0; n -= 1) { // band, window, and twice how many pieces are active
        i += 2;
        i += 1 + 2 * numbers[i];
        i += 1 + 2 * numbers[i];
      }
    }
    return { bands: text.bands, numbers, starts, shared };
  };
  /* The examples of a pair: band, window, and of both models the steps of the pieces that are active. */
  const examplesIn = ({ bands, numbers, starts }, row) => {
    if (!starts.has(row)) return [];
    let i = starts.get(row);
    const levels = () => {
      const of = new Map();
      const n = numbers[i];
      for (let one = 0; one < n; one += 1) of.set(numbers[i + 1 + 2 * one], numbers[i + 2 + 2 * one]);
      i += 1 + 2 * n;
      return of;
    };
    return Array.from({ length: numbers[i++] }, () => {
      const [band, window] = [bands[numbers[i]], numbers[i + 1]];
      i += 2;
      return { band, window, levels: [levels(), levels()] };
    });
  };
  const windowIn = ({ shared }, number) => {
    shared.windows ??= unpackLists(shared.packed, 2);
    const { numbers, starts } = shared.windows;
    const i = starts[number];
    return { document_: numbers[i], at: numbers[i + 1], pieces: Array.from(numbers.subarray(i + 3, i + 3 + numbers[i + 2]), (piece) => shared.words[piece]) };
  };
  const takeCell = (cell) => {
    const shared = cell.shared ? takeShared(cell.shared) : shared_;
    const each = (columns, of) => Object.fromEntries(Object.entries(columns).map(([name, text]) => [name, of(text)]));
    const held = { a: cell.a, b: cell.b, complete: !explorer.folder, n: cell.rows, shared, col: each(cell.columns, unpackSigned), lists: each(cell.lists, unpack) };
    if (cell.text) held.text = takeText(cell.text, shared);
    const { a, b } = cell;
    if (!placeOf.has(`${a} ${b}`)) placeOf.set(`${a} ${b}`, cells.length);
    cells[placeOf.get(`${a} ${b}`)] = held;
    return held;
  };
  /* Words of all SAEs have numbers, so that a question is put to each once. */
  const words_ = [];
  const lower = [];
  const numberOf = new Map();
  const numbered = (word) => {
    let number = numberOf.get(word);
    if (number === undefined) {
      number = words_.push(word) - 1;
      lower.push(word.toLowerCase());
      numberOf.set(word, number);
    }
    return number;
  };
  const takeSae = (side, label, sae) => {
    const { words } = sae.shared ?? explorer.shared;
    const features = unpack(sae.features);
    const rows = new Int32Array((features.at(-1) ?? -1) + 1).fill(-1);
    features.forEach((feature, row) => { rows[feature] = row; });
    const lists = unpack(sae.tokens);
    const starts = new Int32Array(features.length + 1);
    const tokens = new Int32Array(lists.length - features.length);
    const known = new Int32Array(words.length).fill(-1);
    for (let row = 0, i = 0; row < features.length; row += 1) {
      starts[row + 1] = starts[row] + lists[i];
      for (let at = starts[row]; at < starts[row + 1]; at += 1) {
        const word = lists[i += 1];
        if (known[word] < 0) known[word] = numbered(words[word]);
        tokens[at] = known[word];
      }
      i += 1;
    }
    const held = { features, rows, starts, tokens, link: sae.link, histogram: sae.histogram, marks: null };
    if (sae.paired !== undefined) {
      for (const name of ["active", "paired"]) held[name] = unpack(sae[name]);
      for (const name of ["best_feature", "best_r"]) held[name] = unpackSigned(sae[name]);
      held.best_sae = Array.from(unpack(sae.best_sae), (word) => (word ? words[word - 1] : null));
    }
    saes[side].set(label, held);
  };
  const tokensOfRow = (sae, row) => (row < 0 ? [] : [...sae.tokens.subarray(sae.starts[row], sae.starts[row + 1])].map((number) => words_[number]));
  explorer.cells.forEach(takeCell);
  for (const side of SIDES) for (const [label, sae] of Object.entries(explorer.saes[side])) takeSae(side, label, sae);

  /* The folder beside the page. */
  const folder = explorer.folder;
  const waiting = new Map();
  const asked = new Map();
  globalThis.semconvShard = (kind, place, content) => waiting.get(`${kind}-${place}`)?.(content);
  const read = (kind, place) => {
    const name = `${kind}-${place}`;
    if (!asked.has(name)) {
      asked.set(name, new Promise((done, failed) => {
        waiting.set(name, done);
        const script = el("script", { src: `explorer/${name}.js` });
        script.addEventListener("error", () => { asked.delete(name); failed(new Error(name)); });
        script.addEventListener("load", () => script.remove());
        document.head.append(script);
      }).then((content) => {
        if (kind === "pairs") takeCell(content).complete = true;
        else if (kind === "text") cells[placeOf.get(`${folder.cells[place][0]} ${folder.cells[place][1]}`)].text = takeText(content, takeShared(content.shared));
        else takeSae(kind, folder[kind][place], content);
      }));
    }
    return asked.get(name);
  };
  const missing = (a, b) => {
    if (!folder) return [];
    const some = folder.cells.map(([one, other], place) => [one, other, place]).filter(([one, other]) => (!a || one === a) && (!b || other === b));
    const left = some.filter(([one, other]) => !cells[placeOf.get(`${one} ${other}`)].complete);
    const files = new Map(left.map(([, , place]) => [`pairs-${place}`, ["pairs", place]]));
    for (const [one, other] of left) for (const [side, label] of [["a", one], ["b", other]]) files.set(`${side}-${label}`, [side, folder[side].indexOf(label)]);
    if (a && b) for (const [, , place] of some) if (folder.cells[place][3]) files.set(`text-${place}`, ["text", place]);
    return [...files.values()].filter(([kind, place]) => kind === "pairs" || !asked.has(`${kind}-${place}`));
  };
  /* Reads the text of a layer pair, if it has any that was not read. */
  const textOf = async (cell) => {
    const place = folder ? folder.cells.findIndex(([a, b]) => a === cell.a && b === cell.b) : -1;
    if (cell.text || place < 0 || !folder.cells[place][3]) return;
    for (const [kind, one] of missing(cell.a, cell.b)) if (kind !== "text") await read(kind, one);
    await read("text", place);
  };
  const readAll = async (files, said) => {
    let done = 0;
    const after = files.filter(([kind]) => kind === "text");
    const queue = files.filter(([kind]) => kind !== "text");
    const worker = async () => {
      while (queue.length) {
        await read(...queue.shift());
        done += 1;
        said(done, files.length);
      }
    };
    await Promise.all(Array.from({ length: 6 }, worker));
    for (const [kind, place] of after) await read(kind, place);
  };

  /* What pairs are sorted and filtered by: title, value of a row (NONE where there is none), digits after the point. */
  const { scale } = explorer;
  const made = (values) => ({ col, n }) => Float64Array.from({ length: n }, (_, row) => values(col, row));
  const known = (...wanted) => cells.some((cell) => wanted.every((name) => cell.col[name]));
  const MEASURES = new Map([
    ["r", ["r", "r", 3]],
    ["within", ["r within tokens", "r_within_token", 3]],
    ["without", ["r without the ten strongest places", "r_without_strongest", 3]],
    ["lead", ["lead over the second-best partner", "next_r_a", 3, made((col, row) => {
      const next = Math.max(col.next_r_a?.[row] ?? NONE, col.next_r_b?.[row] ?? NONE);
      return next === NONE ? NONE : (col.r[row] - next) / scale;
    })]],
    ["overlap", ["share of the places where both fire", "active_both", 3, made((col, row) => (col.active_both ? col.active_both[row] / (col.active_a[row] + col.active_b[row] - col.active_both[row]) : NONE))]],
    ["both", ["places where both fire", "active_both", 0]],
    ["fires_a", ["places where A fires", "active_a", 0]],
    ["fires_b", ["places where B fires", "active_b", 0]],
    ["function", ["agreement of effects", "function_agreement", 3]],
    ["lens", ["agreement of promoted tokens", "lens_agreement", 3]],
  ]);
  for (const [name, [, needs]] of [...MEASURES]) if (name !== "r" && !known(needs)) MEASURES.delete(name);
  /* The values of a measure that a layer pair holds, made once where they are made of others (NONE where there is none;
     undefined where no pair has any), and what each is divided by. */
  const heldOf = (cell, name) => {
    const [, column, digits, make] = MEASURES.get(name);
    if (!make) return [cell.col[column], digits ? scale : 1];
    cell.made ??= {};
    return [cell.made[name] ??= make(cell), 1];
  };
  const valueIn = (cell, name, row) => {
    const [values, by] = heldOf(cell, name);
    return values && values[row] !== NONE ? values[row] / by : NONE;
  };
  const shownAs = (name, value) => (value === NONE ? "–" : MEASURES.get(name)[2] ? value.toFixed(3) : whole(value));
  const offer = (id, some) => byId(id).replaceChildren(...some.map((name) => el("option", { value: name }, MEASURES.get(name)[0])));
  const byName = [...MEASURES.keys()];
  offer("bound", byName);
  offer("order", byName.includes("within") ? ["within", ...byName.filter((name) => name !== "within")] : byName); // r alone puts trivial tokens first
  byId("pairs-key").hidden = !explorer.text;

  const wordsOf = ({ shared }, list) => ofList(shared.lists, list).map((word) => shared.words[word]);
  const categories = () => [...new Set(cells.flatMap((cell) => SIDES.flatMap((side) => [...new Set(cell.lists[`categories_${side}`])].flatMap((list) => wordsOf(cell, list)))))].sort();
  const listed = categories();
  byId("category").append(...listed.map((name) => el("option", {}, name)));
  byId("category").parentElement.hidden = !listed.length;
  byId("mutual").parentElement.hidden = !known("mutual");
  byId("kind").parentElement.hidden = !SIDES.some((side) => [...saes[side].values()].some((sae) => sae.paired));

  /* Choices, kept in the address. */
  const IDS = { q: "query", mode: "mode", a: "layer-a", b: "layer-b", by: "bound", min: "r-min", max: "r-max", order: "order", way: "way", mutual: "mutual", category: "category", kind: "kind", text: "in-contexts" };
  const fields = Object.fromEntries(Object.entries(IDS).map(([name, id]) => [name, byId(id)]));
  const isBox = (field) => field.type === "checkbox";
  const standard = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, isBox(field) ? "" : field.tagName === "SELECT" ? field.options[0]?.value ?? "" : ""]));
  const valueOf = (name) => (isBox(fields[name]) ? (fields[name].checked ? "1" : "") : fields[name].value);
  for (const name of Object.keys(fields)) {
    if (isBox(fields[name])) fields[name].checked = view.has(name);
    else {
      fields[name].value = view.get(name) ?? standard[name];
      if (fields[name].selectedIndex < 0) fields[name].value = standard[name]; // the address of another run may ask for what this one lacks
    }
  }
  const keepChoices = () => keep(Object.fromEntries(Object.keys(fields).map((name) => [name, valueOf(name) === standard[name] ? "" : valueOf(name)])));

  /* Search. */
  const FEATURE = /^(?:([ab])\s*)?(?:([^\s:]+):)?#?(\d+)$/i;
  const asked_ = () => {
    const query = fields.q.value.trim();
    if (!query) return null;
    const mode = fields.mode.value;
    const feature = mode === "regex" ? null : FEATURE.exec(query);
    const exact = feature && (feature[1] || feature[2] || query.startsWith("#"));
    let test = null;
    if (mode === "regex") {
      const pattern = new RegExp(query, "u");
      test = (word) => pattern.test(word);
    } else if (!exact) {
      const low = query.toLowerCase();
      test = mode === "whole" ? (_, lower) => lower === low : (_, lower) => lower.includes(low);
    }
    return { key: `${mode} ${query}`, test, feature: feature && { side: feature[1]?.toLowerCase(), label: feature[2], number: Number(feature[3]) } };
  };
  /* Which features of an SAE a question finds, by their numbers. */
  const marked = (side, label, question) => {
    const sae = saes[side].get(label);
    const { feature } = question;
    const here = feature && (!feature.side || feature.side === side) && (!feature.label || feature.label === label);
    if (sae?.marks?.key === question.key) return sae.marks.of;
    const of = new Uint8Array(Math.max(sae?.rows.length ?? 0, here ? feature.number + 1 : 0));
    if (sae && question.test) {
      question.hits ??= Uint8Array.from(words_, (word, i) => (question.test(word, lower[i]) ? 1 : 0));
      const { starts, tokens, features } = sae;
      const { hits } = question;
      for (let row = 0; row < features.length; row += 1) for (let i = starts[row]; i < starts[row + 1]; i += 1) if (hits[tokens[i]]) { of[features[row]] = 1; break; }
    }
    if (here) of[feature.number] = 1;
    if (sae) sae.marks = { key: question.key, of };
    return of;
  };
  const inText = (cell, question) => {
    const rows = new Set();
    if (!cell.text || !question.test) return rows;
    const seen = new Map();
    const hit = (number) => {
      if (!seen.has(number)) {
        const text = windowIn(cell.text, number).pieces.join("");
        seen.set(number, question.test(text, text.toLowerCase()));
      }
      return seen.get(number);
    };
    for (const row of cell.text.starts.keys()) if (examplesIn(cell.text, row).some(({ window }) => hit(window))) rows.add(row);
    return rows;
  };
  const bound = (input, otherwise) => (input.value === "" || Number.isNaN(input.valueAsNumber) ? otherwise : input.valueAsNumber);

  /* The first so many of a long row of keys, the highest first, ties in the order in which they came. */
  const firstOf = (most) => {
    const room = 4 * most;
    const [keys, places, rows] = [new Float64Array(room), new Int32Array(room), new Int32Array(room)];
    let n = 0;
    const sorted = () => Array.from({ length: n }, (_, i) => i).sort((i, j) => (keys[j] > keys[i] ? 1 : keys[j] < keys[i] ? -1 : i - j)).slice(0, most);
    const first = {
      least: null, // what a key must be above, once there are more than enough
      add: (key, place, row) => {
        [keys[n], places[n], rows[n]] = [key, place, row];
        n += 1;
        if (n < room) return;
        const kept = sorted().map((i) => [keys[i], places[i], rows[i]]);
        kept.forEach((one, i) => { [keys[i], places[i], rows[i]] = one; });
        n = most;
        first.least = keys[n - 1];
      },
      list: () => sorted().map((i) => [places[i], rows[i]]),
    };
    return first;
  };

  /* Which lists of words hold a category. */
  const ofCategory = (shared, category) => {
    if (shared.named?.category !== category) {
      const word = shared.words.indexOf(category);
      const lists = Uint8Array.from(shared.lists.starts, (_, list) => (ofList(shared.lists, list).includes(word) ? 1 : 0));
      shared.named = { category, lists };
    }
    return shared.named.lists;
  };

  /* One pass over all pairs that are read: how many are found, and the first so many of them in the chosen order. */
  const scan = (question, most) => {
    const found = { question, n: 0, first: [] };
    const [min, max] = [bound(fields.min, -Infinity), bound(fields.max, Infinity)];
    const bounded = min > -Infinity || max < Infinity;
    const way = fields.way.value === "up" ? -1 : 1;
    const [wanted, category] = [{ yes: 1, no: 0 }[fields.mutual.value], fields.category.value];
    const first = firstOf(most);
    cells.forEach((cell, place) => {
      if ((fields.a.value && cell.a !== fields.a.value) || (fields.b.value && cell.b !== fields.b.value)) return;
      const [marks_a, marks_b] = question ? SIDES.map((side) => marked(side, cell[side], question)) : [null, null];
      const texts = question && fields.text.checked ? inText(cell, question) : null;
      const categories_ = category ? SIDES.map((side) => cell.lists[`categories_${side}`]).filter(Boolean) : [];
      const named = category ? ofCategory(cell.shared, category) : null;
      const { feature_a, feature_b, mutual } = cell.col;
      const [limited, limitedBy] = bounded ? heldOf(cell, fields.by.value) : [null, 1];
      const [ordered] = heldOf(cell, fields.order.value);
      let n = 0;
      for (let row = 0; row < cell.n; row += 1) {
        if (marks_a !== null && !marks_a[feature_a[row]] && !marks_b[feature_b[row]] && !texts?.has(row)) continue;
        if (wanted !== undefined && (mutual?.[row] === 1 ? 1 : 0) !== wanted) continue;
        if (bounded) {
          const value = limited ? limited[row] : NONE;
          if (value === NONE || value / limitedBy < min || value / limitedBy > max) continue;
        }
        if (named && !categories_.some((lists) => named[lists[row]])) continue;
        n += 1;
        const key = !ordered || ordered[row] === NONE ? -Infinity : way * ordered[row];
        if (first.least === null || key > first.least) first.add(key, place, row);
      }
      found.n += n;
    });
    found.first = first.list();
    return found;
  };

  const findUnpaired = (side, question) => {
    const some = [];
    for (const [label, sae] of saes[side]) {
      if (!sae.paired || (fields[side].value && fields[side].value !== label)) continue;
      const marks = question && marked(side, label, question);
      sae.features.forEach((feature, row) => {
        if (sae.paired[row]) return;
        if (question && !marks[feature]) return;
        const r = sae.best_r[row] === NONE ? NONE : sae.best_r[row] / scale;
        if (fields.by.value === "r" && (r < bound(fields.min, -Infinity) || r > bound(fields.max, Infinity))) return;
        some.push({ side, label, row, feature, r, active: sae.active[row] });
      });
    }
    const way = fields.way.value === "up" ? -1 : 1;
    const key = fields.order.value.startsWith("fires") ? "active" : "r";
    return some.sort((one, other) => way * (other[key] - one[key]));
  };

  /* Drawing. */
  const LEVELS = 6;
  const STEPS = 35;
  const level = (step) => Math.ceil((step / STEPS) * LEVELS);
  const percent = (step) => Math.round((step / STEPS) * 100);
  const windowOf = (cell, { window, levels }, from = -Infinity) => {
    const { document_, at, pieces } = windowIn(cell.text, window);
    const [a, b] = levels.map((of) => (i) => of.get(i) ?? 0);
    const shown = el("bdi", { class: "window" });
    pieces.forEach((text, i) => {
      if (i < at + from) return;
      const [one, other] = [level(a(i)), level(b(i))];
      if (!one && !other && i !== at) { shown.append(text); return; }
      shown.append(el("span", { class: `p x${one} y${other}${i === at ? " at" : ""}`, title: `A ${percent(a(i))}%, B ${percent(b(i))}% of the highest` }, text));
    });
    return [shown, document_, percent(a(at)), percent(b(at))];
  };
  const BANDS = [
    ["strongest", "Where the two together are strongest"],
    ["only A", "Where A is strongest while B is silent"],
    ["only B", "Where B is strongest while A is silent"],
    ["drawn", "Drawn at random from the other places where at least one fires"],
  ];
  const swatch = (shade, said) => el("span", { class: "shade" }, el("i", { class: `p ${shade}` }), said);
  const examplesOf = (cell, row) => {
    const examples = cell.text ? examplesIn(cell.text, row) : [];
    if (!examples.length) return [el("p", { class: "axis" }, explorer.text ? (cell.text ? "Of this layer pair other pairs are shown with text." : "Text is read, if there is any.") : "This run keeps no text of both models at one place.")];
    const groups = BANDS.map(([band, title]) => [title, examples.filter((example) => example.band === band)]).filter(([, some]) => some.length);
    return [
      el("p", { class: "axis" }, "The same text in both models; shade: share of the feature's highest activation. ", swatch("x6", "upper half: A"), " ", swatch("y6", "lower half: B")),
      ...groups.map(([title, some]) => el("div", { class: "band" }, el("h4", {}, title), el("ol", {}, ...some.map((example) => {
        const [shown, document_, a, b] = windowOf(cell, example);
        return el("li", {}, shown, el("small", {}, `A ${a}%, B ${b}%, document ${document_}`));
      })))),
    ];
  };
  const feature = (side, label, number) => {
    const sae = saes[side].get(label);
    const row = sae?.rows[number] ?? -1;
    return { sae, row, tokens: sae ? tokensOfRow(sae, row) : [], link: sae?.link ? `${sae.link}${number}` : "" };
  };
  const tokensOf = ({ tokens }) => {
    const times = new Map();
    for (const token of tokens) times.set(token, (times.get(token) ?? 0) + 1);
    return [...times].flatMap(([token, n]) => [el("bdi", {}, el("span", { class: "tok" }, token), n > 1 && times.size > 1 ? ` ×${n}` : ""), " "]); // a line may end between two
  };
  const ofSide = (side, label, number) => el("span", { class: `side-${side}` }, el("span", { class: "who" }, `${side.toUpperCase()} ${label} · #${number}`), " ", ...tokensOf(feature(side, label, number)));

  const bars = (digits, title) => {
    const drawing = svg("svg", { viewBox: "0 0 100 30", preserveAspectRatio: "none", role: "img", "aria-label": title });
    [...digits].forEach((digit, i) => {
      const height = (28 * parseInt(digit, 36)) / 35;
      if (height) drawing.append(svg("rect", { class: "draws", x: i * (100 / digits.length) + 0.5, y: 29 - height, width: 100 / digits.length - 1, height }));
    });
    drawing.append(svg("line", { class: "axis-line", x1: 0, x2: 100, y1: 29.5, y2: 29.5 }));
    return el("figure", { class: "bars" }, drawing, el("p", { class: "axis" }, title));
  };
  const firing = (cell, row) => {
    const [a, b, both] = ["active_a", "active_b", "active_both"].map((name) => cell.col[name][row]);
    const all = a + b - both;
    const parts = [["only-a", a - both], ["both-fire", both], ["only-b", b - both]];
    const said = `only A ${whole(a - both)}, both ${whole(both)}, only B ${whole(b - both)} places`;
    const drawing = svg("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", role: "img", "aria-label": said });
    let x = 0;
    for (const [name, n] of parts) {
      if (n) drawing.append(svg("rect", { class: name, x, y: 0, width: (100 * n) / all, height: 8 }));
      x += (100 * n) / all;
    }
    return el("figure", { class: "bars" }, drawing, el("p", { class: "axis" }, said));
  };
  const words = (cell, name, row) => (cell.lists[name] ? wordsOf(cell, cell.lists[name][row]) : []);
  const line = (title, ...values) => el("tr", {}, el("th", { scope: "row" }, title), el("td", {}, ...values));
  const share = (n) => (places ? ` (${((100 * n) / places).toPrecision(2)}% of ${whole(places)} places)` : "");
  const numbersOf = (cell, row) => {
    const rows = [];
    for (const name of ["r", "within", "without", "function", "lens"]) if (MEASURES.has(name)) {
      const value = valueIn(cell, name, row);
      rows.push(line(MEASURES.get(name)[0], name === "function" && value === NONE ? "these two were not ablated" : shownAs(name, value)));
    }
    if (cell.col.mutual) rows.push(line("each the other's best partner", cell.col.mutual[row] ? "yes" : "no"));
    for (const [side, other] of [["a", "b"], ["b", "a"]]) {
      const next = cell.col[`next_${side}`]?.[row] ?? NONE;
      if (next === NONE) continue;
      const r = cell.col[`next_r_${side}`][row] / scale;
      rows.push(line(`second best in ${side.toUpperCase()} for this feature of ${other.toUpperCase()}`, `#${next}, r ${r.toFixed(3)} `, ...tokensOf(feature(side, cell[side], next))));
    }
    for (const side of SIDES) if (cell.col[`active_${side}`]) rows.push(line(`${side.toUpperCase()} fires at`, `${whole(cell.col[`active_${side}`][row])}${share(cell.col[`active_${side}`][row])}`));
    for (const side of SIDES) if (words(cell, `categories_${side}`, row).length) rows.push(line(`categories of ${side.toUpperCase()}`, words(cell, `categories_${side}`, row).join(", ")));
    for (const kind of ["promoted", "suppressed"]) for (const side of SIDES) {
      const some = words(cell, `${kind}_${side}`, row);
      if (some.length) rows.push(line(`${kind} by ${side.toUpperCase()}`, ...some.flatMap((word) => [el("span", { class: "tok" }, word), " "])));
    }
    return el("table", { class: "numbers" }, el("tbody", {}, ...rows));
  };
  const nameOf = (cell, row) => [cell.a, cell.b, cell.col.feature_a[row], cell.col.feature_b[row]].join("~");
  const card = (cell, row) => {
    const heads = SIDES.map((side) => {
      const number = cell.col[`feature_${side}`][row];
      const of = feature(side, cell[side], number);
      const head = el("h3", {}, `${names[side]} (${side.toUpperCase()}), layer ${cell[side]}, feature ${number} `);
      if (of.link) head.append(el("a", { href: of.link, rel: "noreferrer" }, "Neuronpedia"));
      const column_ = el("div", {}, head);
      if (of.sae?.histogram && of.row >= 0) column_.append(bars(of.sae.histogram[of.row], "activations where it fires, from 0 to its highest"));
      return column_;
    });
    const link = el("p", { class: "axis" }, el("a", { href: `#view?pair=${encodeURIComponent(nameOf(cell, row))}` }, "Link to this pair"));
    return el("div", { class: "card" }, el("div", { class: "both" }, ...heads), ...(cell.col.active_both ? [firing(cell, row)] : []),
      el("div", { class: "halves" }, el("div", {}, numbersOf(cell, row), link), el("div", {}, ...examplesOf(cell, row))));
  };
  const item = (cell, row, open = false) => {
    const both = el("span", { class: "r" }, (cell.col.r[row] / scale).toFixed(3));
    const [by, within] = [fields.order.value, MEASURES.has("within") ? valueIn(cell, "within", row) : NONE];
    if (by !== "r" && by !== "within") both.append(el("small", {}, ` ${shownAs(by, valueIn(cell, by, row))}`));
    else if (within !== NONE) both.append(el("small", {}, ` ${within.toFixed(2)} within`));
    const summary = el("summary", {}, both, ...SIDES.map((side) => ofSide(side, cell[side], cell.col[`feature_${side}`][row])));
    const first = cell.text && examplesIn(cell.text, row)[0];
    if (first) summary.append(el("span", { class: "glance" }, windowOf(cell, first, -5)[0]));
    const details = el("details", { class: "pair" }, summary);
    const fill = async () => {
      if (details.childElementCount > 1) return;
      details.append(card(cell, row));
      const named = nameOf(cell, row);
      const before = cell.text;
      try { await textOf(cell); } catch { return; }
      const now = cells[placeOf.get(`${cell.a} ${cell.b}`)];
      const there = now.col.feature_a.findIndex((value, i) => value === cell.col.feature_a[row] && now.col.feature_b[i] === cell.col.feature_b[row]);
      if (now.text && !before && nameOf(now, there) === named) details.lastElementChild.replaceWith(card(now, there));
    };
    details.addEventListener("toggle", () => {
      if (details.open) fill();
      keep({ pair: details.open ? nameOf(cell, row) : "" });
    });
    if (open) { fill(); details.open = true; }
    return details;
  };
  const lone = ({ side, label, row, feature: number, r, active }) => {
    const sae = saes[side].get(label);
    const other = side === "a" ? "b" : "a";
    const partner = r === NONE ? "no partner: it never varies" : `best partner ${other.toUpperCase()} ${sae.best_sae[row]} · #${sae.best_feature[row]}`;
    return el("div", { class: "pair lone" }, el("span", { class: "r" }, r === NONE ? "–" : r.toFixed(3)), ofSide(side, label, number), el("span", { class: "who" }, `${partner}; fires at ${whole(active)} places`));
  };

  /* The list. */
  const list = byId("pairs");
  let found = { n: 0, first: [] }; // `first`: features without a pair, or place of the layer pair and row of pairs
  let shown = 0;
  const showMore = () => {
    if (shown + PAGE > found.first.length && found.first.length < found.n) found = scan(found.question, 4 * found.first.length);
    const some = found.first.slice(shown, shown + PAGE);
    list.append(...some.map((one) => (fields.kind.value ? lone(one) : item(cells[one[0]], one[1]))));
    shown += some.length;
    byId("more-pairs").hidden = shown >= found.n;
    byId("more-pairs").textContent = `Show ${Math.min(PAGE, found.n - shown)} more`;
  };
  const say = (text) => { byId("count").textContent = text; };
  /* Of features without a pair only r with the best partner and how often they fire are known. */
  const fitToKind = () => {
    const lone = Boolean(fields.kind.value);
    for (const name of ["by", "mutual", "category", "text"]) fields[name].disabled = lone;
    for (const option of fields.order.options) option.disabled = lone && option.value !== "r" && !option.value.startsWith("fires");
    if (lone) fields.by.value = "r";
    if (lone && fields.order.selectedOptions[0].disabled) fields.order.value = "r";
  };
  const search = () => {
    fitToKind();
    keepChoices();
    let question;
    try { question = asked_(); } catch { say("This is no regular expression yet."); return; }
    const began = performance.now();
    const kind = fields.kind.value;
    const first = kind ? findUnpaired(kind, question) : [];
    found = kind ? { n: first.length, first } : scan(question, 8 * PAGE);
    list.replaceChildren();
    shown = 0;
    showMore();
    const held = cells.reduce((sum, cell) => sum + cell.n, 0);
    byId("pairs-key").hidden = !explorer.text || Boolean(kind) || !found.n;
    const of = kind ? "features without a pair: with no feature of the other model they pass every filter; in front stands r with the best partner" : `of ${whole(held)} pairs`;
    const rest = !kind && held < explorer.total ? ` that are read, ${whole(explorer.total)} in all` : "";
    const looked = question?.test && explorer.text && !kind && !fields.text.checked
      ? ": looked for in top tokens and numbers of features only; tick “search the text too” to look in the text" : ": nothing matches; try fewer letters or a wider range";
    say(`${whole(found.n)} ${of}${rest}${found.n ? "" : looked}`);
    for (const format of ["csv", "json"]) byId(`save-${format}`).disabled = !found.n;
    byId("read-all").hidden = !missing("", "").length;
    byId("pairs").dataset.ms = (performance.now() - began).toFixed(1);
  };
  const readAndSearch = async (a, b) => {
    const files = missing(a, b);
    if (files.length) {
      let reading = true;
      try {
        await readAll(files, (done, n) => { if (reading) say(`Reading file ${done} of ${n} from explorer/ …`); });
      } catch {
        reading = false;
        search();
        say("The folder explorer/ beside the page is missing or not whole; `semconv report RUN` writes it again.");
        return;
      }
    }
    search();
  };
  const layersChosen = () => readAndSearch(fields.a.value, fields.b.value);
  const changed = () => (folder && (fields.a.value || fields.b.value) ? layersChosen() : search());

  /* Saving what was found. */
  const record = (cell, row) => {
    const out = { layer_a: cell.a, feature_a: cell.col.feature_a[row], layer_b: cell.b, feature_b: cell.col.feature_b[row] };
    for (const [name, values] of Object.entries(cell.col)) {
      if (name in out) continue;
      const fraction = name.startsWith("r") || name.startsWith("next_r") || name.endsWith("agreement");
      out[name] = values[row] === NONE ? null : name === "mutual" ? Boolean(values[row]) : fraction ? values[row] / scale : values[row];
    }
    for (const side of SIDES) {
      out[`top_tokens_${side}`] = feature(side, cell[side], out[`feature_${side}`]).tokens;
    }
    for (const name of Object.keys(cell.lists)) out[name] = words(cell, name, row);
    return out;
  };
  const loneRecord = ({ side, label, row, feature: number, r, active }) => {
    const { sae, tokens } = feature(side, label, number);
    return { model: side, layer: label, feature: number, active, best_r: r === NONE ? null : r, best_layer: sae.best_sae[row], best_feature: r === NONE ? null : sae.best_feature[row], top_tokens: tokens };
  };
  const records = () => (fields.kind.value ? found.first.slice(0, MOST_SAVED).map(loneRecord) : scan(found.question, Math.min(found.n, MOST_SAVED)).first.map(([place, row]) => record(cells[place], row)));
  const quoted = (value) => {
    if (value === null || value === undefined) return "";
    if (typeof value === "number" || typeof value === "boolean") return String(value);
    const text = Array.isArray(value) ? JSON.stringify(value) : String(value);
    return `"${(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
  };
  const asCsv = (rows) => {
    const heads = [...new Set(rows.flatMap((row) => Object.keys(row)))];
    return [heads.join(","), ...rows.map((row) => heads.map((name) => quoted(row[name])).join(","))].join("\r\n") + "\r\n";
  };
  const save = (name, type, text) => {
    const link = el("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  byId("save-csv").addEventListener("click", () => save("pairs.csv", "text/csv", asCsv(records())));
  byId("save-json").addEventListener("click", () => save("pairs.json", "application/json", `${JSON.stringify(records(), null, 1)}\n`));

  /* Events. */
  let timer = 0;
  for (const field of Object.values(fields)) {
    field.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(changed, 80);
    });
  }
  byId("search").addEventListener("submit", (event) => { event.preventDefault(); changed(); });
  byId("read-all").addEventListener("click", () => { keep({ all: "1" }); readAndSearch("", ""); });
  byId("more-pairs").addEventListener("click", () => {
    const first = shown;
    showMore();
    (list.children[first]?.querySelector("summary") ?? byId("more-pairs")).focus();
  });
  document.addEventListener("semconv-layers", (event) => {
    [fields.a.value, fields.b.value, fields.q.value] = [event.detail.a, event.detail.b, ""];
    changed();
    byId("features").scrollIntoView();
    fields.q.focus({ preventScroll: true });
  });
  list.addEventListener("keydown", (event) => {
    if (event.target.tagName !== "SUMMARY" || !["ArrowDown", "ArrowUp"].includes(event.key)) return;
    event.preventDefault();
    const details = event.target.parentElement;
    const next = event.key === "ArrowDown" ? details.nextElementSibling : details.previousElementSibling;
    (next ? next.firstElementChild : event.key === "ArrowUp" ? fields.q : event.target).focus();
  });
  fields.q.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" || !list.firstElementChild) return;
    event.preventDefault();
    list.firstElementChild.firstElementChild.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.matches("input, select, textarea")) return;
    event.preventDefault();
    fields.q.focus();
  });

  /* What the address asks for. */
  const linked = view.get("pair")?.split("~");
  const start = async () => {
    if (!linked) {
      await (view.has("all") ? readAndSearch("", "") : changed());
      if (["q", "a", "b", "min", "max", "kind", "mutual", "category"].some((name) => view.has(name))) byId("features").scrollIntoView({ behavior: "instant" });
      return;
    }
    const [a, b, one, other] = linked;
    [fields.a.value, fields.b.value] = [a, b];
    await changed();
    const cell = cells[placeOf.get(`${a} ${b}`)];
    const row = cell ? cell.col.feature_a.findIndex((value, i) => value === Number(one) && cell.col.feature_b[i] === Number(other)) : -1;
    if (row < 0) { say(`The pair ${linked.join(" ")} is not among the pairs of this run.`); return; }
    list.prepend(item(cell, row, true));
    byId("pairs").scrollIntoView({ behavior: "instant" });
  };
  start();
})();
