const FRESH = 120; // seconds after the last episode for which a run without its summary counts as going on
const state = { text: "", environment: "", policy: "", status: "", chosen: [], table: null, data: null, all: [] };
const isLive = (row) => !row.ended && state.data && state.data.now - row.changed < FRESH;
const statusOf = (row) => row.ended ? (row.n < row.planned ? "interrupted" : "complete") : isLive(row) ? "going on" : "stopped";
const failureText = (row) => Object.entries(row.failures).map(([name, count]) => `${count.toLocaleString("en")} ${words(name)}`).join(", ");

function progressText(row) {
  if (!isLive(row)) return statusOf(row);
  const left = row.pace ? `${row.pace.toFixed(row.pace < 10 ? 2 : 0)}/s, ${duration((row.planned - row.done) / row.pace)} left` : "pace not yet known";
  return `going on: ${row.done} of ${row.planned}, ${left}`;
}

function successCell(row) {
  if (!row.n) return make("span", { class: "muted" }, "no episode yet");
  return [make("span", { class: "figure" }, `${points(row.rate)} %`), interval(row.rate, row.interval)];
}

const RUN_COLUMNS = [
  { title: "Run", key: (row) => row.path, cell: (row) => [choice(row), link(row.path, "run", row.key), row.battery ? make("span", { class: "tag" }, "battery") : null, row.tasks > 1 ? make("span", { class: "tag" }, `${row.tasks} tasks`) : null], class: "name" },
  { title: "Policy", key: (row) => row.policy, cell: (row) => [make("span", { title: row.policy }, nameOf(row.policy)), row.conditions.length ? make("span", { class: "muted" }, ` ${row.conditions.join(", ")}`) : null], class: "policy" },
  { title: "Environment", key: (row) => row.environment, cell: (row) => make("span", { title: row.environment }, short(row.environment)) },
  { title: "n", key: (row) => row.n, cell: (row) => row.n.toLocaleString("en"), number: true },
  { title: "Success", key: (row) => row.rate, cell: successCell, class: "success-cell" },
  { title: "Failures", key: failureText, cell: (row) => make("span", { class: "muted few" }, failureText(row)) },
  { title: "State", key: statusOf, cell: (row) => make("span", { class: isLive(row) ? "live" : "muted" }, progressText(row)) },
  { title: "Started", key: (row) => row.started, cell: (row) => make("span", { class: "muted" }, when(row)), class: "when" },
  { title: "Commit", key: (row) => row.commit, cell: (row) => row.commit ? make("code", { title: row.dirty ? `${row.commit}, with changes` : row.commit }, row.commit.slice(0, 8) + (row.dirty ? "+" : "")) : "" },
];

function choice(row) {
  const box = make("input", { type: "checkbox", "aria-label": `Compare ${row.path}` });
  box.checked = state.chosen.includes(row.key);
  box.addEventListener("change", () => {
    state.chosen = box.checked ? [...state.chosen, row.key].slice(-2) : state.chosen.filter((key) => key !== row.key);
    state.table.draw();
    drawChoice();
  });
  return box;
}

function drawChoice() {
  const place = document.getElementById("chosen");
  if (!place) return;
  const [a, b] = state.chosen;
  place.replaceChildren(...(b ? [link("Compare the two chosen runs", "compare", a, b)] : [a ? "Choose a second run to compare." : "Choose two runs to compare them."]));
}

function fitting() {
  const wanted = state.text.toLowerCase().split(/\s+/).filter(Boolean);
  return state.all.filter(({ row, text }) => wanted.every((word) => text.includes(word)) && (!state.environment || row.environment === state.environment)
    && (!state.policy || row.policy === state.policy) && (!state.status || statusOf(row) === state.status)).map(({ row }) => row);
}

function refill() {
  const rows = fitting();
  state.table.shown = state.table.step;
  state.table.set(rows);
  countRuns(rows);
}

function countRuns(rows) {
  const { waiting, runs, now } = state.data;
  const written = document.documentElement.dataset.files ? `, as of ${new Date(1000 * now).toISOString().slice(0, 16).replace("T", " ")} UTC` : "";
  document.getElementById("count").textContent = `${rows.length === runs.length ? "" : `${rows.length.toLocaleString("en")} of `}${plural(runs.length, "run")}${waiting ? `, reading ${waiting.toLocaleString("en")} more` : ""}${written}`;
}

function select(name, label, values) {
  const element = make("select", { "aria-label": label, onchange: () => { state[name] = element.value; refill(); } }, make("option", { value: "" }, label), values.map((value) => make("option", { value }, name === "environment" ? short(value) : name === "policy" ? nameOf(value) : value)));
  element.value = values.includes(state[name]) ? state[name] : "";
  state[name] = element.value;
  return element;
}

const distinct = (name) => [...new Set(state.data.runs.map((row) => row[name]))].sort();

function filters() {
  const search = make("input", { type: "search", id: "search", placeholder: "Search ( / )", "aria-label": "Search runs", value: state.text, oninput: () => { state.text = search.value; refill(); } });
  return make("div", { class: "filters" }, search, select("policy", "All policies", distinct("policy")), select("environment", "All environments", distinct("environment")),
    select("status", "All states", ["going on", "complete", "interrupted", "stopped"]));
}

function takeRuns(data) {
  state.data = data;
  state.all = data.runs.map((row) => ({ row, text: [row.path, row.policy, row.environment, row.commit, when(row), failureText(row), ...row.conditions].join(" ").toLowerCase() }));
}

const loadRuns = async () => takeRuns(await load("runs"));
const rowOf = (key) => state.data.runs.find((row) => row.key === key);

function leftOut() {
  const { left_out: list, left_out_count: count } = state.data;
  return count ? make("details", { class: "left-out" }, make("summary", {}, `${count} not shown`), make("ul", {}, list.map(({ path, reason }) => make("li", {}, make("b", {}, path), `: ${reason}`)))) : null;
}

async function showRuns() {
  await loadRuns();
  state.table = new Table("Runs", RUN_COLUMNS, { sort: state.table?.sort ?? "Started", descending: state.table?.descending ?? true, rowClass: (row) => isLive(row) ? "row-live" : "" });
  show("Runs", make("h1", { class: "title" }, state.data.root), make("p", { class: "muted", id: "count", role: "status" }), filters(),
    make("p", { class: "caption", id: "chosen" }), state.table.element, make("div", { id: "left-out" }, leftOut()));
  refill();
  drawChoice();
}

/** Shows what has changed, and keeps the filter and the focus. */
async function updateRuns() {
  await loadRuns();
  const rows = fitting();
  if (!state.table.body.contains(document.activeElement)) state.table.set(rows);
  countRuns(rows);
  document.getElementById("left-out").replaceChildren(...[leftOut()].filter(Boolean));
}
