"use strict";
(() => {
  const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const VALUE = new Uint8Array(128);
  for (let value = 0; value < 64; value++) VALUE[DIGITS.charCodeAt(value)] = value;
  const PAGE = 100;
  const Z = 1.959963984540054;
  const WORDS = ["model", "backend", "wrapper", "options", "constraint"];
  const data = JSON.parse(document.getElementById("data").textContent);
  const rows = data.rows;

  // Numbers are read where they are wanted: of ten thousand rows a hundred are shown.
  function reader({ w: width, s: scale, v: values, d: text }) {
    if (width === 0) return () => (text === null ? null : text / scale);
    const unknown = 64 ** width - 1;
    return (row) => {
      let value = 0;
      for (let place = row * width; place < (row + 1) * width; place++) {
        value = value * 64 + VALUE[text.charCodeAt(place)];
      }
      return value === unknown ? null : (values ? values[value] : value) / scale;
    };
  }

  const columns = {};
  for (const [name, column] of Object.entries(data.columns)) {
    columns[name] = typeof column === "string" ? columns[column] : reader(column);
  }
  const isShare = new Set(data.shares);

  function wilson(right, n, worth) {
    const share = right / n, square = Z * Z / worth;
    const middle = (share + square / 2) / (1 + square);
    const half = Z / (1 + square) * Math.sqrt(share * (1 - share) / worth + square / (4 * worth));
    return [right <= 0 ? 0 : Math.max(0, middle - half), right >= n ? 1 : Math.min(1, middle + half)];
  }

  function value(name, row) {
    if (!isShare.has(name)) return columns[name](row);
    const right = columns[name + "_k"](row);
    return right === null ? null : right / columns[name + "_n"](row);
  }

  function bounds(name, row) {
    if (isShare.has(name)) {
      return wilson(columns[name + "_k"](row), columns[name + "_n"](row), columns[name + "_e"](row));
    }
    const half = columns[name + "_h"](row), middle = columns[name](row);
    if (half === null) return null;
    // One step of what is shown, where rounding made one.
    const step = (columns[name + "_l"](row) - 1) / scale(name);
    return [Math.max(0, middle - half) + step, middle + half];
  }

  function scale(name) {
    return isShare.has(name) || name === "cached" || name === "first_token" ? 1000 : 10;
  }

  function shown(name, number) {
    const steps = Math.floor(number * scale(name) + 0.5);
    return name === "first_token" ? String(steps) : (steps / 10).toFixed(1);
  }

  const word = (name, row) => data.words[name][columns[name](row)];

  const heads = [
    { name: "place", title: "place", number: true },
    ...WORDS.map((name) => ({ name, title: name, number: false })),
    { name: "apart", title: "apart", number: true },
    { name: "n", title: "n", number: true },
    { name: "errors", title: "errors", number: true },
    ...data.heads.map(({ name, title, unit }) =>
      ({ name, title: unit && unit !== "/s" ? `${title} ${unit}` : title, number: true, score: true })),
  ];
  const falling = new Set(["right", "valid", "function", "arguments", "no_call", "answer", "cached", "rate", "n"]);
  let order = null, backwards = false, found = [], first = 0;

  const table = document.getElementById("table");
  const body = table.tBodies[0];
  const line = table.tHead.insertRow();
  for (const head of heads) {
    const cell = document.createElement("th");
    cell.scope = "col";
    if (head.number) cell.className = "num";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.title;
    button.addEventListener("click", () => {
      backwards = order === head ? !backwards : falling.has(head.name);
      order = head;
      first = 0;
      refresh();
    });
    cell.append(button);
    head.cell = cell;
    line.append(cell);
  }

  const form = document.getElementById("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  const chosen = new Map();
  function field(title, control) {
    const label = document.createElement("label");
    label.append(title, control);
    form.append(label);
    control.addEventListener("input", () => { first = 0; refresh(); });
  }
  const search = document.createElement("input");
  search.type = "search";
  field("Contains", search);
  for (const name of ["model", "backend", "wrapper", "constraint"]) {
    const select = document.createElement("select");
    select.append(new Option("all", ""));
    data.words[name].forEach((text, number) => select.append(new Option(text, String(number))));
    chosen.set(name, select);
    field(name[0].toUpperCase() + name.slice(1), select);
  }

  function matching() {
    const wanted = [...chosen].filter(([, select]) => select.value !== "")
      .map(([name, select]) => [columns[name], Number(select.value)]);
    const parts = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const has = parts.map((part) => WORDS.map((name) =>
      data.words[name].map((text) => text.toLowerCase().includes(part))));
    const kept = [];
    for (let row = 0; row < rows; row++) {
      if (wanted.every(([column, number]) => column(row) === number)
        && has.every((words) => words.some((in_, which) => in_[columns[WORDS[which]](row)]))) kept.push(row);
    }
    return kept;
  }

  function sorted(kept) {
    if (!order) return kept;
    const sign = backwards ? -1 : 1, name = order.name;
    const keys = new Map(kept.map((row) => [row, order.score ? value(name, row) : columns[name](row)]));
    return kept.sort((one, other) => {
      const a = keys.get(one), b = keys.get(other);
      if (a === null || b === null) return (a === null) - (b === null) || one - other;
      return sign * (a - b) || one - other;
    });
  }

  function put(line, text, kind) {
    const cell = line.insertCell();
    cell.className = kind;
    cell.textContent = text;
    return cell;
  }

  function draw(row) {
    const line = body.insertRow();
    for (const head of heads) {
      const name = head.name;
      if (!head.number) put(line, word(name, row), "word");
      else if (name === "place") put(line, columns.place(row) + (columns.shared(row) ? "=" : ""), "num");
      else if (name === "apart") put(line, columns.apart(row) ? "yes" : "no", "num");
      else if (!head.score) put(line, String(columns[name](row)), "num");
      else {
        const middle = value(name, row);
        const cell = put(line, middle === null ? "–" : shown(name, middle), "num");
        const range = middle === null ? null : bounds(name, row);
        if (range) {
          const small = document.createElement("small");
          small.textContent = ` [${shown(name, range[0])}, ${shown(name, range[1])}]`;
          cell.append(small);
        }
      }
    }
  }

  const earlier = document.getElementById("earlier"), later = document.getElementById("later");
  function refresh() {
    found = sorted(matching());
    page();
  }
  function page() {
    body.replaceChildren();
    const last = Math.min(first + PAGE, found.length);
    for (let place = first; place < last; place++) draw(found[place]);
    for (const head of heads) {
      if (head === order) head.cell.setAttribute("aria-sort", backwards ? "descending" : "ascending");
      else head.cell.removeAttribute("aria-sort");
    }
    document.getElementById("shown").textContent = found.length
      ? `Rows ${first + 1} to ${last} of ${found.length}${found.length < rows ? ` (of ${rows} cells)` : ""}`
      : "No cell matches.";
    earlier.disabled = first === 0;
    later.disabled = last >= found.length;
  }
  earlier.addEventListener("click", () => { first = Math.max(0, first - PAGE); page(); });
  later.addEventListener("click", () => { first += PAGE; page(); });
  refresh();
})();
