const PERIOD = 2000; // milliseconds between two looks at the folder
let visit = 0; // counts pages, so that a slow answer does not replace a newer page

/** Returns the function that shows the page of the address, and the one that keeps it up to date. */
function page() {
  const [kind, ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  if (kind === "run" && rest.length === 1) return [() => showRun(rest[0]), () => updateRun(rest[0])];
  if (kind === "run" && rest[1] === "episode" && rest.length === 3) return [() => showEpisode(rest[0], rest[2]), null];
  if (kind === "compare" && rest.length === 2) return [() => showComparison(...rest), null];
  return [showRuns, updateRuns];
}

function showProblem(error) {
  show("Not shown", crumbs(link("runs", "")), make("h1", { class: "title" }, "Not shown"), make("p", { class: "notice", role: "alert" }, error.message));
}

async function open() {
  const number = ++visit;
  keys = null;
  try {
    const [draw, update] = page();
    await draw();
    if (number === visit) { window.scrollTo(0, 0); keepUpToDate(number, update); }
  } catch (error) {
    if (number === visit) showProblem(error);
  }
}

async function keepUpToDate(number, update) {
  if (!update || document.documentElement.dataset.files) return;
  while (number === visit) {
    await new Promise((done) => setTimeout(done, state.data && state.data.waiting ? 50 : PERIOD));
    if (number !== visit) return;
    if (document.hidden) continue;
    try { await update(); } catch { /* The server is gone; what is shown stays. */ }
  }
}

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.matches("input:not([type=checkbox]), select, textarea, video");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/" && !isTyping) { const search = document.getElementById("search"); if (search) { event.preventDefault(); search.focus(); } }
  if (event.key === "Escape" && isTyping) event.target.blur();
  if (!keys || isTyping) return;
  const action = { ArrowLeft: () => keys.step(-1), ArrowRight: () => keys.step(1), " ": () => keys.play() }[event.key];
  if (action && !event.target.closest("button, a, summary, .scroll")) { event.preventDefault(); action(); }
});

window.addEventListener("hashchange", () => { if (location.hash !== "#main") open(); });
open();
