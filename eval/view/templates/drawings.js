/** Draws a rate with its interval on a line from 0 to 100 %. */
function interval(rate, [low, high], label = "") {
  const at = (value) => `${(100 * value).toFixed(2)}%`;
  return make("svg", { class: "interval small", width: "100%", height: 16, role: "img", "aria-label": `${label}${points(rate)} %, 95 % interval ${points(low)} to ${points(high)} %` },
    make("line", { class: "axis", x1: 0, x2: "100%", y1: 8, y2: 8 }),
    make("line", { class: "band", x1: at(low), x2: at(high), y1: 8, y2: 8 }),
    rate == null ? null : make("circle", { class: "point", cx: at(rate), cy: 8, r: 4 }));
}

/** Draws success over the level of one perturbation; levels are [level, magnitude, successes, n, low, high]. */
function curve(axis) {
  const last = axis.levels[axis.levels.length - 1][0] || 1;
  const x = (level) => `${(13 + 81 * level / last).toFixed(2)}%`;
  const y = (rate) => (130 - 120 * rate).toFixed(1);
  const between = (kind, list, rate) => list.slice(1).map((item, number) => make("line", { class: kind, x1: x(list[number][0]), x2: x(item[0]), y1: y(rate(list[number])), y2: y(rate(item)) }));
  const rate = (item) => item[2] / item[3];
  return make("svg", { class: "curve", width: "100%", height: 176, role: "img", "aria-label": `Success over level of ${axis.name}: ${axis.levels.map((item) => points(rate(item))).join(", ")} %` },
    [1, 0.5, 0].map((line) => [make("line", { class: "axis", x1: "9%", x2: "100%", y1: y(line), y2: y(line) }), make("text", { x: "8%", y: 134 - 120 * line, "text-anchor": "end" }, 100 * line)]),
    between("ceiling", axis.ceilings, (item) => item[1]),
    between("line", axis.levels, rate),
    axis.levels.map(([level, magnitude, successes, n, low, high]) => [
      make("line", { class: "band", x1: x(level), x2: x(level), y1: y(low), y2: y(high) }),
      make("circle", { class: "point", cx: x(level), cy: y(successes / n), r: 4.5 }, make("title", {}, `${successes} of ${n}`)),
      make("text", { x: x(level), y: 150, "text-anchor": "middle" }, level ? Number(magnitude.toPrecision(3)) : "control")]),
    make("text", { x: "94%", y: 170, "text-anchor": "end" }, axis.unit || "magnitude"));
}

const PLOT = { width: 600, height: 90 };

/** Returns the classes that give a line its colour; lines with the same colour differ by their dashes. */
const colour = (number) => `line-${number % 6}${number % 12 < 6 ? "" : " dashed"}`;

/** Draws the lines of one quantity over the steps of an episode, with a cursor that `seek` moves. */
function plot(quantity, trace, seek) {
  const numbers = quantity.lines.flat().filter((value) => value != null);
  let low = Math.min(...[0, ...numbers.slice(0, 1)]), high = Math.max(...[0, ...numbers.slice(0, 1)]);
  for (const value of numbers) { low = Math.min(low, value); high = Math.max(high, value); }
  const size = high - low || 1;
  const x = (step) => PLOT.width * step / Math.max(trace.steps, 1);
  const y = (value) => 4 + (PLOT.height - 8) * (1 - (value - low) / size);
  const cursor = make("line", { class: "cursor", x1: 0, x2: 0, y1: 0, y2: PLOT.height });
  const svg = make("svg", { class: "plot", viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    low < 0 && high > 0 ? make("line", { class: "axis", x1: 0, x2: PLOT.width, y1: y(0), y2: y(0) }) : null,
    quantity.lines.map((line, number) => pieces(line).map((piece) => make("polyline", { class: `line ${colour(number)}`, points: piece.map(([place, value]) => `${x(place * trace.stride).toFixed(1)},${y(value).toFixed(1)}`).join(" ") }))),
    cursor);
  svg.addEventListener("pointerdown", (event) => { const box = svg.getBoundingClientRect(); seek(Math.round(trace.steps * (event.clientX - box.left) / box.width)); });
  const values = quantity.labels.map((label, number) => [make("dt", { class: colour(number) }, words(label)), make("dd")]);
  const shows = quantity.labels.slice(0, 8);
  const element = make("figure", { class: "quantity" },
    make("figcaption", {}, make("b", {}, words(quantity.name)), " ", make("span", { class: "muted" }, quantity.unit || ""), make("dl", {}, values.slice(0, shows.length).map((pair) => make("div", {}, pair)))),
    make("div", { class: "frame" }, svg, make("span", { class: "top" }, Number(high.toPrecision(3))), make("span", { class: "bottom" }, Number(low.toPrecision(3)))));
  const move = (step) => {
    cursor.setAttribute("x1", x(step)); cursor.setAttribute("x2", x(step));
    shows.forEach((_, number) => { const value = quantity.lines[number][Math.floor(step / trace.stride)]; values[number][1].textContent = value == null ? "—" : value.toFixed(3); });
  };
  return { element, move };
}

/** Returns the parts of a line between its gaps, as lists of [place, value]. */
function pieces(line) {
  const found = [[]];
  line.forEach((value, place) => { if (value == null) found.push([]); else found[found.length - 1].push([place, value]); });
  return found.filter((piece) => piece.length);
}

/** A film with its caption; `rest` are further attributes. */
const film = (key, episode, caption, rest = {}) => make("figure", { class: "video" }, make("video", { src: `film/${key}/${episode}.mp4`, controls: true, preload: "metadata", muted: true, playsinline: true, ...rest }), make("figcaption", {}, caption));
