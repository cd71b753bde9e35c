function receiptSection(receipt) {
  if (!receipt) return null;
  if (receipt.reason) return make("p", { class: "notice" }, receipt.reason);
  const number = (value) => typeof value === "number" ? value.toFixed(3) : "—";
  const features = Object.values(receipt.vectors).flat();
  return [make("h2", {}, "What the policy got at its first look"),
    make("div", { class: "eyes" }, Object.entries(receipt.images).map(([camera, image]) => make("figure", {}, make("img", { src: `data:image/png;base64,${image}`, alt: `Image of the camera ${camera}` }), make("figcaption", { class: "muted" }, camera)))),
    features.length ? scroll("State", make("table", {}, make("tbody", {}, features.map((f) => make("tr", {}, make("th", { scope: "row" }, words(f.name)), make("td", {}, f.unit), make("td", { class: "values" }, f.values.slice(0, 64).map(number).join("  "))))))) : null,
    receipt.actions ? [make("p", { class: "caption" }, "Its answer, one line for each action:"), scroll("Answer", make("pre", {}, receipt.actions.slice(0, 200).map((action) => action.slice(0, 64).map(number).join("  ")).join("\n")))] : make("p", { class: "muted" }, "The policy gave no answer.")];
}

/** Returns the film, a scrubber, the events and the plots of an episode, which all move together. */
function player(key, data, episode, trace) {
  const steps = trace && !trace.reason ? trace.steps : episode.steps, hz = data.control_hz || 20;
  const figure = data.films.includes(episode.index) ? film(key, episode.index, "") : null;
  const video = figure && figure.querySelector("video");
  const scrubber = make("input", { type: "range", min: 0, max: steps, value: 0, step: 1, "aria-label": "Step of the episode" });
  const place = make("output", { class: "muted" });
  const draw = (step) => { scrubber.value = step; place.textContent = `step ${step} of ${steps}, ${(step / hz).toFixed(2)} s`; plots.forEach((each) => each.move(step)); };
  const seek = (step) => { const to = Math.min(Math.max(step, 0), steps); if (video) video.currentTime = (to + 0.5) / hz; draw(to); };
  const plots = trace && !trace.reason ? trace.plots.map((quantity) => plot(quantity, trace, seek)) : [];
  scrubber.addEventListener("input", () => { if (video) video.pause(); seek(Number(scrubber.value)); });
  if (video) {
    const follow = () => { draw(Math.min(Math.floor(video.currentTime * hz), steps)); if (!video.paused) requestAnimationFrame(follow); };
    video.addEventListener("play", follow);
    video.addEventListener("seeked", () => { if (video.paused) draw(Math.min(Math.floor(video.currentTime * hz), steps)); });
  }
  draw(0);
  const events = trace && trace.events ? make("p", { class: "events" }, trace.events.map(([step, name]) => make("button", { type: "button", onclick: () => seek(step) }, `${words(name)} `, make("span", { class: "muted" }, step)))) : null;
  const looks = trace && trace.looks ? make("p", { class: "caption" }, `The policy was asked ${plural(trace.looks.length, "time")}: at step${trace.looks.length === 1 ? "" : "s"} ${trace.looks.slice(0, 40).join(", ")}${trace.looks.length > 40 ? ", …" : ""}.`) : null;
  keys = { step: (by) => seek(Number(scrubber.value) + by), play: () => video && (video.paused ? video.play() : video.pause()) };
  return make("section", { class: "player", "aria-label": "Episode" }, make("div", { class: "stage" }, figure, events), make("div", { class: "over-time" }, make("div", { class: "scrub" }, scrubber, place), plots.map((each) => each.element), looks,
    trace && trace.reason ? make("p", { class: "notice" }, trace.reason) : null));
}

let keys = null; // what the keys of the keyboard do on the page of an episode

async function showEpisode(key, text) {
  const [data] = await Promise.all([load(`run/${key}`), loadRuns()]);
  const index = Number(text), row = rowOf(key), episodes = episodesOf(data), at = episodes.findIndex((e) => e.index === index), episode = episodes[at];
  if (!row || !episode) throw new Error(`This run has no episode ${text}.`);
  const details = data.details.includes(index) ? await load(`episode/${key}/${index}`) : {};
  const neighbours = [[at - 1, "Previous"], [at + 1, "Next"]].filter(([place]) => episodes[place]).map(([place, name]) => link(name, "run", key, "episode", episodes[place].index));
  show(`${label(episode)}, ${row.path}`, crumbs(link(state.data.root, ""), link(row.path, "run", key), `episode ${index}`), make("h1", { class: "title" }, label(episode)),
    make("p", { class: "lead" }, outcome(episode.status, episode.failure), ` after ${plural(episode.steps, "step")}${episode.stage ? `, stage ${words(episode.stage)}` : ""}, return ${Number(episode.reward.toPrecision(5))}`),
    episode.instruction ? make("p", {}, make("q", {}, episode.instruction)) : null, make("p", { class: "steps" }, neighbours.map((each) => [each, " "])),
    data.films.includes(index) || details.trace ? player(key, data, episode, details.trace) : make("p", { class: "caption" }, "This episode was not filmed. The command below runs it again; add --video 1 for its film."),
    data.recordings.includes(index) ? make("p", { class: "caption" }, "The Rerun viewer opens ", make("code", {}, `rerun/episode_${String(index).padStart(6, "0")}.rrd`), " in the folder of the run.") : null,
    receiptSection(details.receipt), make("h2", {}, "Run it again"), command(replayOf(data, episode)));
}
