const MOST_PAIRS_OF_FILMS = 6;

function pairFilms(a, b, filmsA, filmsB, pairs) {
  const filmed = pairs.filter((pair) => filmsA.has(pair[2]) && filmsB.has(pair[6])).slice(0, MOST_PAIRS_OF_FILMS);
  if (!filmed.length) return null;
  return [make("h2", {}, "Films of the same starts"), filmed.map((pair) => {
    const two = make("div", { class: "videos two" }, film(a, pair[2], ["A ", outcome(pair[3], pair[4])]), film(b, pair[6], ["B ", outcome(pair[7], pair[8])]));
    const both = make("button", { type: "button", onclick: () => two.querySelectorAll("video").forEach((video) => { video.currentTime = 0; video.play(); }) }, "Play both");
    return make("div", { class: "pair" }, make("p", {}, make("b", {}, `${pair[0] ? `${short(pair[0])} ` : ""}seed ${pair[1]}`), both), two);
  })];
}

/** Returns a text of the terminal, whose columns are far apart, as one line. */
const inColumns = (text) => text.trim().replace(/ {2,}/g, ", ");

async function showComparison(a, b) {
  const [found] = await Promise.all([load(`comparison/${a}/${b}`), loadRuns()]);
  const [rowA, rowB] = [rowOf(a), rowOf(b)];
  if (!rowA || !rowB) throw new Error("One of the runs cannot be shown.");
  const head = [crumbs(link(state.data.root, ""), "two runs"), make("h1", { class: "title" }, found.reasons ? "Two runs" : (found.rows.find(([name]) => name === "verdict") || ["", "Two runs"])[1]),
    make("p", { class: "key" }, make("span", {}, make("b", {}, "A "), link(rowA.path, "run", a), make("span", { class: "muted" }, ` ${policyOf(rowA)}`)), make("span", {}, make("b", {}, "B "), link(rowB.path, "run", b), make("span", { class: "muted" }, ` ${policyOf(rowB)}`)))];
  if (found.reasons) return show("Two runs", head, make("p", { class: "notice" }, "These runs cannot be compared."), make("ul", {}, found.reasons.map((reason) => make("li", {}, reason))));
  const [dataA, dataB] = await Promise.all([load(`run/${a}`), load(`run/${b}`)]);
  const columns = [
    { title: "Seed", key: (p) => p[1], cell: (p) => `${p[0] ? `${p[0]} ` : ""}${p[1]}`, number: true },
    { title: "A", key: (p) => p[4] || p[3], cell: (p) => make("a", { href: address("run", a, "episode", p[2]) }, outcome(p[3], p[4])) },
    { title: "Steps of A", key: (p) => p[5], cell: (p) => p[5], number: true },
    { title: "B", key: (p) => p[8] || p[7], cell: (p) => make("a", { href: address("run", b, "episode", p[6]) }, outcome(p[7], p[8])) },
    { title: "Steps of B", key: (p) => p[9], cell: (p) => p[9], number: true },
    { title: "Difference", key: (p) => (p[3] === "success") - (p[7] === "success"), cell: (p) => (p[3] === "success") === (p[7] === "success") ? "" : p[3] === "success" ? "only A" : "only B" },
  ];
  const table = new Table("Pairs", columns, { rowClass: (p) => (p[3] === "success") === (p[7] === "success") ? "" : "discordant" });
  table.set(found.pairs);
  show("Two runs", head, make("dl", { class: "provenance" }, found.rows.map(([name, text]) => make("div", {}, make("dt", {}, name), make("dd", {}, inColumns(text))))),
    found.warnings.map((text) => make("p", { class: "notice", role: "note" }, text)), reportLink(a, b), pairFilms(a, b, new Set(dataA.films), new Set(dataB.films), found.pairs),
    make("h2", {}, "Episodes, discordant ones first"), table.element);
}
