// The comparison of two runs: how often they agree, and the pairs on which they differ.

(() => {
  const data = dataOf("compare");
  if (data === null) return;

  const STEP = 12;
  const byId = (name) => document.getElementById("compare-" + name);
  const [a, b, which, show, status, table, more] = ["a", "b", "which", "show", "status", "table", "more"].map(byId);
  const WHICH = [
    ["all on which they differ", () => true],
    ["A right, B wrong", (label, one, other) => label === one && label !== other],
    ["B right, A wrong", (label, one, other) => label !== one && label === other],
    ["both wrong, differently", (label, one, other) => label !== one && label !== other],
  ];
  const NUMBER_WHICH = [
    ["largest difference first", () => true],
    ["A nearer", (label, one, other) => off(label, one) < off(label, other)],
    ["B nearer", (label, one, other) => off(label, one) > off(label, other)],
  ];
  let rows = [];
  let shown = 0;
  let listed = null; // what can be chosen in `which`

  const off = (label, said) => Math.abs(label - said);

  /** The pairs that both runs have predicted, as numbers in the group, with label and both predictions. */
  function common(one, other) {
    if (one.group !== other.group) return null;
    const group = data.groups[one.group];
    const all = group.ids.map((id, place) => [place, group.labels[place], one.predicted[place], other.predicted[place]]);
    return all.filter((row) => row[2] !== null && row[3] !== null);
  }

  function renew() {
    const [one, other] = [a, b].map((select) => data.runs[Number(select.value)]);
    const all = common(one, other);
    const number = data.groups[one.group].classes.length === 0;
    if (listed !== (number ? NUMBER_WHICH : WHICH)) fill(which, (listed = number ? NUMBER_WHICH : WHICH).map((each) => each[0]));
    table.tHead.rows[0].cells[1].textContent = number ? "true" : "label";
    table.tBodies[0].replaceChildren();
    shown = 0;
    if (all === null) {
      rows = [];
      status.textContent = "These two runs were evaluated on pairs of different data sets, targets or parts.";
    } else {
      const differ = all.filter((row) => row[2] !== row[3]);
      rows = differ.filter((row) => listed[Number(which.value)][1](row[1], row[2], row[3]));
      if (number) {
        const apart = (row) => Math.abs(off(row[1], row[2]) - off(row[1], row[3]));
        rows.sort((x, y) => apart(y) - apart(x));
      }
      const count = (test) => all.filter((row) => test(row[2] === row[1], row[3] === row[1])).length;
      const key = [Number(a.value), Number(b.value)].sort((x, y) => x - y).join("-");
      const nearer = (first) => all.filter((row) => {
        const [x, y] = [off(row[1], row[2]), off(row[1], row[3])];
        return first ? x < y : y < x;
      }).length;
      if (number) status.textContent = `Of ${all.length} pairs A is nearer on ${nearer(true)}, B on ${nearer(false)}.`
        + (data.tests[key] ? ` ${data.tests[key]}` : "") + ` ${rows.length} are listed.`;
      else status.textContent = `Of ${all.length} pairs both are right on ${count((x, y) => x && y)}, A alone on `
        + `${count((x, y) => x && !y)}, B alone on ${count((x, y) => !x && y)}, neither on ${count((x, y) => !x && !y)}.`
        + (data.tests[key] ? ` ${data.tests[key]}` : "") + ` They differ on ${differ.length}; ${rows.length} are listed.`;
    }
    table.hidden = rows.length === 0;
    show.hidden = rows.length === 0 || (one.shown === null && other.shown === null);
    grow();
  }

  function grow() {
    const [one, other] = [a, b].map((select) => data.runs[Number(select.value)]);
    for (const [place, label, first, second] of rows.slice(shown, shown + STEP)) {
      const group = data.groups[one.group];
      const number = group.classes.length === 0;
      const least = Math.min(off(label, first), off(label, second));
      const near = (value) => make("td", { class: off(label, value) === least ? "said right" : "said" },
        `${off(label, value) === least ? "✓ " : ""}${plain(value)}, off by ${plain(off(label, value))}`);
      const said = number ? near :  (number) => make("td", { class: number === label ? "said right" : "said wrong" },
        `${number === label ? "✓" : "✗"} ${group.classes[number]}`);
      table.tBodies[0].append(make("tr", {}, make("th", { scope: "row" }, group.ids[place]),
        make("td", {}, number ? plain(label) : group.classes[label]), said(first), said(second), make("td", {}, group.texts[place])));
    }
    shown = Math.min(rows.length, shown + STEP);
    more.hidden = shown >= rows.length;
    more.textContent = `Show more (${rows.length - shown} left)`;
  }

  [a, b].forEach((select) => fill(select, data.runs.map((run) => run.name)));
  b.value = Math.min(1, data.runs.length - 1);
  fill(which, WHICH.map((one) => one[0]));
  [a, b, which].forEach((select) => select.addEventListener("change", renew));
  more.addEventListener("click", grow);
  show.addEventListener("click", () => {
    const [one, other] = [a, b].map((select) => data.runs[Number(select.value)]);
    const ids = rows.map((row) => data.groups[one.group].ids[row[0]]);
    document.dispatchEvent(new CustomEvent("itin-show", { detail: { run: one.shown ?? other.shown, ids } }));
  });
  renew();
})();
