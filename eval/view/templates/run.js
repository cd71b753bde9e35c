const COLUMNS = { index: 0, seed: 1, status: 2, failure: 3, steps: 4, reward: 5, stage: 6, instruction: 7, task: 8, arm: 9 };

/** Returns the episodes of a run as objects. */
function episodesOf(data) {
  const text = (number) => data.texts[number];
  return data.episodes.map((e) => ({ index: e[0], seed: e[1], status: e[2], failure: text(e[3]), steps: e[4], reward: e[5], stage: text(e[6]), instruction: text(e[7]), task: text(e[8]), arm: text(e[9]) }));
}

const label = (episode) => `${episode.task ? `${short(episode.task)} ` : ""}seed ${episode.seed}${episode.arm ? `, ${episode.arm}` : ""}`;

function replayOf(data, episode) {
  const found = data.replay.find(([task, arm]) => task === episode.task && arm === episode.arm);
  return found ? `${found[2]} ${episode.seed}` : "";
}

function bigRate(row) {
  if (!row.n) return make("p", { class: "lead" }, "No episode has ended yet.");
  return make("p", { class: "rate" }, make("b", {}, points(row.rate), make("i", {}, " %")), make("span", {}, `${row.successes.toLocaleString("en")} of ${plural(row.n, "episode")} succeeded.`, make("br"), `95 % interval [${points(row.interval[0])}, ${points(row.interval[1])}] % (${row.method})`));
}

function episodeTable(key, data, episodes) {
  const films = new Set(data.films);
  const columns = [
    { title: "Episode", key: (e) => e.index, cell: (e) => link(e.index, "run", key, "episode", e.index), number: true },
    { title: "Seed", key: (e) => e.seed, cell: (e) => e.seed, number: true },
    { title: "Outcome", key: (e) => e.failure || e.status, cell: (e) => outcome(e.status, e.failure) },
    { title: "Steps", key: (e) => e.steps, cell: (e) => e.steps, number: true },
    { title: "Stage", key: (e) => e.stage, cell: (e) => words(e.stage) },
    { title: "Film", key: (e) => films.has(e.index) ? 0 : 1, cell: (e) => films.has(e.index) ? "film" : "" },
    ...(episodes.some((e) => e.task) ? [{ title: "Task", key: (e) => e.task, cell: (e) => e.task || "" }] : []),
    ...(episodes.some((e) => e.arm) ? [{ title: "Arm", key: (e) => e.arm, cell: (e) => e.arm || "control" }] : []),
    { title: "Instruction", key: (e) => e.instruction, cell: (e) => make("span", { class: "few" }, e.instruction), class: "words" },
  ];
  return new Table("Episodes", columns, { sort: "Episode" });
}

function episodeSection(key, data, episodes) {
  const table = episodeTable(key, data, episodes);
  const kinds = [...new Set(episodes.map((e) => e.failure || e.status))].sort();
  const searched = episodes.map((e) => ({ e, text: [e.seed, e.index, e.failure, e.status, e.instruction, e.task, e.arm, e.stage].join(" ").toLowerCase() }));
  const search = make("input", { type: "search", id: "search", placeholder: "Search ( / )", "aria-label": "Search episodes" });
  const kind = make("select", { "aria-label": "Outcome" }, make("option", { value: "" }, "All outcomes"), kinds.map((value) => make("option", { value }, words(value))));
  const count = make("span", { class: "muted", role: "status" });
  const refilter = () => {
    const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = searched.filter(({ e, text }) => wanted.every((word) => text.includes(word)) && (!kind.value || (e.failure || e.status) === kind.value)).map(({ e }) => e);
    table.shown = table.step;
    table.set(rows);
    count.textContent = rows.length === episodes.length ? plural(rows.length, "episode") : `${rows.length.toLocaleString("en")} of ${plural(episodes.length, "episode")}`;
  };
  search.addEventListener("input", refilter);
  kind.addEventListener("change", refilter);
  refilter();
  return [make("h2", {}, "Episodes"), make("div", { class: "filters" }, search, kind, count), table.element];
}

function failureBars(row) {
  const most = Math.max(...Object.values(row.failures));
  if (!Object.keys(row.failures).length) return null;
  return [make("h2", {}, "How it failed"), make("table", { class: "bars" }, make("tbody", {}, Object.entries(row.failures).map(([name, count]) => make("tr", {}, make("th", { scope: "row" }, words(name)),
    make("td", { class: "bar" }, make("svg", { width: "100%", height: 12, "aria-hidden": "true" }, make("rect", { width: `${100 * count / most}%`, height: 12, rx: 2 }))), make("td", { class: "n" }, count, make("span", { class: "muted" }, ` of ${row.n}`))))))];
}

function taskSection(data) {
  if (!data.tasks.length) return null;
  const columns = [
    { title: "Task", key: ([task]) => task, cell: ([task]) => task },
    { title: "Success", key: ([, successes, n]) => successes / n, cell: ([, successes, n, low, high]) => [make("span", { class: "figure" }, `${points(successes / n)} %`), interval(successes / n, [low, high])], class: "success-cell" },
    { title: "n", key: ([, , n]) => n, cell: ([, successes, n]) => `${successes}/${n}`, number: true },
  ];
  const table = new Table("Tasks", columns);
  table.set(data.tasks);
  return [make("h2", {}, "Tasks"), table.element, make("p", { class: "caption" }, "Wilson intervals, one task each. In the average, every task has the same weight.")];
}

const MOST_FILMS = 6;

/** The latest films of a run that goes on; of another run, failures first. */
function filmSection(key, data, episodes, live) {
  const byIndex = new Map(episodes.map((episode) => [episode.index, episode]));
  let filmed = data.films.map((index) => byIndex.get(index)).filter(Boolean);
  if (!live) filmed = [...filmed.filter((e) => e.status !== "success"), ...filmed.filter((e) => e.status === "success")];
  if (!filmed.length) return null;
  return [make("h2", {}, live ? "Latest films" : "Films"), make("div", { class: "videos" }, filmed.slice(0, MOST_FILMS).map((e) => film(key, e.index, [link(label(e), "run", key, "episode", e.index), outcome(e.status, e.failure)]))),
    filmed.length > MOST_FILMS ? make("p", { class: "caption" }, `${plural(filmed.length, "episode")} were filmed; sort the table by film.`) : null];
}

async function curveSection(key, row) {
  if (!row.battery) return null;
  let found;
  try { found = await load(`curves/${key}`); } catch (error) { return [make("h2", {}, "Robustness"), make("p", { class: "notice" }, error.message)]; }
  return found.policies.map((policy) => [make("h2", {}, `Robustness of ${nameOf(policy.name)}`), make("p", { class: "prose" }, `Largest drop: ${policy.largest}.`), policy.ceiling ? make("p", { class: "caption" }, policy.ceiling) : make("p", { class: "caption" }, "Dotted: the expert on the same starts."),
    make("div", { class: "curves" }, policy.axes.map((axis) => make("figure", {}, make("figcaption", {}, make("b", {}, axis.name), ` ${axis.drop}; ${axis.halving}`), curve(axis))))]);
}

function facts(pairs) {
  return make("dl", { class: "provenance" }, pairs.map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", { class: "break" }, text))));
}

function reportLink(...keys) {
  return document.documentElement.dataset.files ? null : make("p", {}, make("a", { href: `report/${keys.join("/")}.html` }, keys.length > 1 ? "Report of both runs" : "Report of this run"));
}

async function showRun(key) {
  const [data] = await Promise.all([load(`run/${key}`), loadRuns()]);
  const row = rowOf(key);
  if (!row) throw new Error("This run cannot be shown.");
  drawn = Date.now();
  isOld = false;
  const episodes = episodesOf(data), live = isLive(row), curves = await curveSection(key, row);
  show(row.path, crumbs(link(state.data.root, ""), row.path), make("h1", { class: "title" }, policyOf(row), make("span", { class: "muted" }, ` in ${short(row.environment)}`)),
    make("p", { class: live ? "live" : "muted", id: "progress", role: "status" }, progressText(row), when(row) ? `, started ${when(row)}` : ""), make("div", { id: "rate" }, bigRate(row), make("div", { class: "wide" }, interval(row.rate, row.interval))),
    reportLink(key), curves, taskSection(data), filmSection(key, data, episodes, live), failureBars(row), episodes.length ? episodeSection(key, data, episodes) : null,
    make("h2", {}, "Where the figures come from"), facts([["Run", row.path], ...data.facts]), make("details", {}, make("summary", {}, "Record"), make("pre", { tabindex: 0 }, data.record)));
}

const REDRAWN = 10000; // milliseconds between two complete drawings of a run that goes on
let drawn = 0; // when the page of a run was drawn completely
let isOld = false; // whether it shows less than is known since

/** Returns whether somebody uses the page of a run, so that it should not be drawn again. */
function inUse() {
  const isTyping = main.contains(document.activeElement) && document.activeElement !== main;
  return isTyping || Boolean(document.getElementById("search")?.value) || [...main.querySelectorAll("video")].some((video) => !video.paused);
}

/** Shows the progress of a run that goes on; from time to time, and as soon as it has ended, all of it again. */
async function updateRun(key) {
  const before = rowOf(key);
  if (!before || (before.ended && !isOld)) return;
  await loadRuns();
  const row = rowOf(key);
  if (!row) return;
  isOld ||= row.ended !== before.ended || row.done !== before.done;
  if (isOld && !inUse() && (row.ended || Date.now() - drawn > REDRAWN)) { await showRun(key); return; }
  document.getElementById("progress").textContent = progressText(row);
  document.getElementById("rate").replaceChildren(bigRate(row), make("div", { class: "wide" }, interval(row.rate, row.interval)));
}
