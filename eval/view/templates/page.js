"use strict";
// Texts of runs reach the page only as text nodes and attributes, never as markup.

const waiting = new Map(); // name of data to the functions that wait for it, where data come as scripts
window.deliver = (name, data) => { (waiting.get(name) || []).forEach((done) => done(data)); waiting.delete(name); };

/** Returns data by name: from the server, or from a script beside a page that was opened from disk. */
async function load(name) {
  if (!document.documentElement.dataset.files) {
    const answer = await fetch(`data/${name}.json`);
    if (!answer.ok) throw new Error((await answer.text()).trim());
    return answer.json();
  }
  return new Promise((done, fail) => {
    waiting.set(name, [...(waiting.get(name) || []), done]);
    const script = document.createElement("script");
    script.src = `data/${name}.js`;
    script.onerror = () => fail(new Error("This was not written into the pages; `python -m eval.view` shows it."));
    script.onload = () => script.remove();
    document.head.append(script);
  });
}

const SVG = new Set(["svg", "line", "circle", "polyline", "text", "title", "rect", "path", "g"]);

/** Returns a new element; `parts` are texts, elements, and lists of these. */
function make(name, attributes = {}, ...parts) {
  const element = SVG.has(name) ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...parts.flat(Infinity).filter((part) => part != null && part !== false).map((part) => part instanceof Node ? part : String(part)));
  return element;
}

const main = document.getElementById("main");
const points = (rate) => rate == null ? "—" : (100 * rate).toFixed(1).replace("100.0", "100");
const words = (name) => (name || "").replaceAll("_", " ");
const short = (environment) => environment.split(",").map(shortTask).join(", ");
function shortTask(task) {
  const [name, choices = ""] = task.split("?");
  const options = choices.split("&").filter((choice) => choice && !/^(success|max_episode_steps)=/.test(choice));
  return [name.split("/").pop().replace(/-v\d+$/, ""), ...options].join(" ");
}
/** Returns the name of a policy; of a path, its last part. */
const nameOf = (policy) => policy.split("/").filter(Boolean).pop() || policy;
/** Returns the name of the policy of a run, with its options and what was changed for it. */
const policyOf = (row) => [nameOf(row.policy), ...row.conditions].join(" ");
const plural = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;

function duration(seconds) {
  if (seconds == null || !isFinite(seconds)) return "—";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${(seconds / 3600).toFixed(1)} h` : `${Math.round(seconds / 86400)} days`;
}

const when = (row) => (row.started || "").slice(0, 16).replace("T", " ");
const address = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;
const link = (text, ...parts) => make("a", { href: address(...parts) }, text);

function copyButton(text) {
  const button = make("button", { type: "button", class: "copy" }, "Copy");
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; } catch { window.prompt("Copy this command:", text); }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
  return button;
}

const command = (text) => make("div", { class: "command" }, make("pre", { tabindex: 0 }, make("code", {}, text)), copyButton(text));
const scroll = (label, ...parts) => make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, parts);
const outcome = (status, failure) => make("span", { class: status }, words(failure || status));

/** Shows `parts` as the page. */
function show(title, ...parts) {
  document.title = `${title} · SimScaleAI`;
  main.replaceChildren(...parts.flat(Infinity).filter(Boolean));
}

const crumbs = (...parts) => make("nav", { class: "crumbs", "aria-label": "Path" }, parts.map((part, number) => [number ? make("span", { class: "muted", "aria-hidden": "true" }, " / ") : null, part]));

/** A table that shows the first rows that fit a filter, and more on request; `columns` are {title, cell, key, number}. */
class Table {
  constructor(label, columns, { sort = null, descending = false, step = 50, rowClass = () => "" } = {}) {
    Object.assign(this, { columns, sort, descending, step, rowClass, rows: [], shown: step });
    this.heads = columns.map((column) => this.head(column));
    this.body = make("tbody");
    this.more = make("button", { type: "button", class: "more", onclick: () => { this.shown += 2 * step; this.draw(); } });
    this.element = make("div", {}, make("div", { class: "scroll", role: "region", "aria-label": label, tabindex: 0 }, make("table", { class: "list" }, make("thead", {}, make("tr", {}, this.heads)), this.body)), this.more);
  }

  head(column) {
    const attributes = { scope: "col", class: column.number ? "n" : null };
    if (!column.key) return make("th", attributes, column.title);
    return make("th", attributes, make("button", { type: "button", class: "sort", onclick: () => this.sortBy(column) }, column.title));
  }

  sortBy(column) {
    this.descending = this.sort === column.title ? !this.descending : Boolean(column.number);
    this.sort = column.title;
    this.set(this.rows);
  }

  /** Shows `rows`, sorted. */
  set(rows) {
    this.rows = rows;
    const column = this.columns.find((each) => each.title === this.sort && each.key);
    if (column) {
      const sign = this.descending ? -1 : 1;
      const keyed = rows.map((row) => [column.key(row), row]);
      keyed.sort(([a], [b]) => (a == null) - (b == null) || sign * (a < b ? -1 : a > b ? 1 : 0));
      this.rows = keyed.map(([, row]) => row);
    }
    this.heads.forEach((head, number) => {
      const isSorted = this.columns[number].title === this.sort;
      head.setAttribute("aria-sort", isSorted ? (this.descending ? "descending" : "ascending") : "none");
    });
    this.draw();
  }

  draw() {
    this.body.replaceChildren(...this.rows.slice(0, this.shown).map((row) => make("tr", { class: this.rowClass(row) || null },
      this.columns.map((column, number) => make(number ? "td" : "th", { scope: number ? null : "row", class: column.number ? "n" : column.class, "data-label": column.title }, column.cell(row))))));
    const left = this.rows.length - this.shown;
    this.more.hidden = left <= 0;
    this.more.textContent = `Show more, ${left.toLocaleString("en")} left`;
  }
}
