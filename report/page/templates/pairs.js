// The browser of pairs: one run at a time, filtered, a few cards at once and more as they are scrolled to.

(() => {
  const data = dataOf("pairs");
  if (data === null) return;

  const STEP = 24; // cards that are added at once
  const COLORS = 8; // r0 to r7 in the style sheet
  const SENTIMENT = ["positive", "neutral", "negative"]; // these have colours of their own in the style sheet
  const GOLDEN = 137.508; // degrees between the hues of two classes: near ones in number are far apart in hue
  const SHARES = 8; // classes with a share of the bar of their own, the most probable ones of more
  const GUESSES = 3; // classes named below the bar
  const SPECIAL = -1; // the word number of [CLS] and [SEP]
  const byId = (name) => document.getElementById("pairs-" + name);
  const [list, more, status, form] = ["list", "more", "status", "controls"].map(byId);
  const controls = {};
  const RANGES = ["true", "said", "error", "gate"]; // each with a field for its least and its greatest value
  for (const name of ["run", "label", "predicted", "right", "order", "search"]) controls[name] = byId(name);
  for (const name of RANGES) controls[name] = [byId(name + "-low"), byId(name + "-high")];
  const GATES = [
    ["highest gate first", (pair) => -Math.max(-1, ...pair.regions.map((region) => region.gate))],
    ["lowest gate first", (pair) => Math.min(2, ...pair.regions.map((region) => region.gate))],
  ];
  const ORDERS = [
    ["as recorded", null],
    ["surest first", (pair) => -Math.max(...pair.p)],
    ["least sure first", (pair) => Math.max(...pair.p)],
    ["most wrong first", (pair) => pair.p[pair.label]],
    ...GATES,
  ];
  const NUMBER_ORDERS = [
    ["as recorded", null],
    ["largest error first", (pair) => -away(pair)],
    ["smallest error first", (pair) => away(pair)],
    ["highest prediction first", (pair) => -pair.predicted],
    ["lowest prediction first", (pair) => pair.predicted],
    ...GATES,
  ];
  let chosen = []; // the pairs that pass the filters, in order
  let shown = 0; // how many of them have a card
  let labels = null; // the classes of the chosen run; none where it predicts a number
  let span = null; // the least and the greatest value of that number; null where it predicts classes
  let only = null; // ids, where the comparison of two runs has asked for some

  const wordsOf = (pair) => pair.text.map((piece) => piece[0]).join("");
  const percent = (value) => (100 * value).toFixed(1) + "%";
  const away = (pair) => (pair.label === null ? -1 : Math.abs(pair.predicted - pair.label));
  const inside = (pair) => pair.interval !== null && pair.label >= pair.interval[0] && pair.label <= pair.interval[1];

  /** Whether one of some values lies within the fields of a range; a field that is empty or unchanged leaves it open. */
  function within(name, values) {
    const [low, high] = controls[name].map((field, end) => {
      const text = field.value.trim();
      return text === "" || text === field.defaultValue ? (end ? Infinity : -Infinity) : Number(text);
    });
    if (low === -Infinity && high === Infinity) return true;
    return values.some((value) => value !== null && value >= low && value <= high);
  }

  function passes(pair) {
    if (span === null) {
      const [label, predicted, right] = ["label", "predicted", "right"].map((name) => Number(controls[name].value));
      if (label && pair.label !== label - 1) return false;
      if (predicted && pair.predicted !== predicted - 1) return false;
      if (right && (pair.label === pair.predicted) !== (right === 1)) return false;
    } else {
      if (!within("true", [pair.label]) || !within("said", [pair.predicted])) return false;
      if (!within("error", [pair.label === null ? null : away(pair)])) return false;
    }
    if (only !== null && !only.has(pair.id)) return false;
    if (!within("gate", pair.regions.map((region) => region.gate))) return false;
    const searched = controls.search.value.trim().toLowerCase();
    if (!searched) return true;
    const texts = [pair.id, wordsOf(pair), ...pair.regions.map((region) => region.name)];
    return texts.some((text) => text.toLowerCase().includes(searched));
  }

  /** The class of the style sheet and the hue of a class: of positive, neutral and negative their own. */
  function colored(element, number) {
    const plain = labels.every((label) => SENTIMENT.includes(label));
    element.className = plain ? labels[number] : "hue";
    if (!plain) element.style.setProperty("--hue", ((number * GOLDEN + 215) % 360).toFixed(0));
    return element;
  }

  function renew() {
    const run = data.runs[Number(controls.run.value)];
    if (JSON.stringify([run.labels, run.span]) !== JSON.stringify([labels, span])) change(run);
    chosen = run.pairs.filter(passes);
    const by = (span === null ? ORDERS : NUMBER_ORDERS)[Number(controls.order.value)][1];
    if (by !== null) chosen = chosen.map((pair) => [by(pair), pair]).sort((a, b) => a[0] - b[0]).map((two) => two[1]);
    const share = chosen.length ? (span === null ? rightOf(chosen) : errorOf(chosen)) : "";
    const asked = only === null ? "" : ", those on which the two runs differ";
    status.textContent = `${chosen.length} of ${run.pairs.length} pairs of the ${run.part} part${asked}${share}`;
    list.replaceChildren();
    shown = 0;
    grow();
  }

  /** Show the controls that belong to a run's target, classes or a number. */
  function change(run) {
    const same = labels !== null && (span === null) === (run.span === null);
    [labels, span] = [run.labels, run.span];
    for (const element of form.parentElement.querySelectorAll("[data-of]")) {
      element.hidden = (element.dataset.of === "number") !== (span !== null);
    }
    if (!same) fill(controls.order, (span === null ? ORDERS : NUMBER_ORDERS).map((order) => order[0]));
    for (const name of ["label", "predicted"]) fill(controls[name], ["any", ...labels]);
    if (span === null) return;
    for (const name of ["true", "said"]) {
      controls[name].forEach((field, end) => { field.defaultValue = field.value = span[end]; });
    }
  }

  function rightOf(pairs) {
    const right = pairs.filter((pair) => pair.label === pair.predicted).length;
    return `, ${right} predicted right (${percent(right / pairs.length)})`;
  }

  function errorOf(pairs) {
    const known = pairs.filter((pair) => pair.label !== null);
    if (!known.length) return "";
    const mean = known.reduce((sum, pair) => sum + away(pair), 0) / known.length;
    const held = known.filter((pair) => pair.interval !== null);
    const share = held.length ? `, true value in the interval for ${percent(held.filter(inside).length / held.length)}` : "";
    return `, mean absolute error ${plain(mean)}${share}`;
  }

  function grow() {
    const next = chosen.slice(shown, shown + STEP);
    list.append(...next.map(card));
    shown += next.length;
    more.hidden = shown >= chosen.length;
    more.textContent = `Show more (${chosen.length - shown} left)`;
  }

  /** One pair: its picture with the regions, its text, and what the head computed for each region. */
  function card(pair, place) {
    const item = make("li", { class: data.large ? "pair large" : "pair", "data-id": pair.id });
    const text = make("p", { class: "text" });
    const words = new Map();
    for (const [piece, number] of pair.text) {
      if (number === null) text.append(piece);
      else words.set(number, text.appendChild(make("span", { class: "word" }, piece)));
    }
    if (pair.regions.some((region) => region.words.some(([word]) => word === SPECIAL))) {
      text.append(" ");
      words.set(SPECIAL, text.appendChild(make("span", { class: "word special" }, "[CLS]/[SEP]")));
    }
    const body = make("div", {}, text);
    const [view, outlines] = picture(pair);
    item.append(...(span === null ? classParts(pair) : numberParts(pair)), view, body);
    if (!pair.regions.length) body.append(make("p", { class: "hint" }, "No regions aligned with words."));
    else body.append(regions(pair, item, text, words, outlines, `region-${shown + place}`));
    return item;
  }

  /** The head of a pair's card, and the probabilities of its classes. */
  function classParts(pair) {
    const right = pair.label === pair.predicted;
    const verdict = make("span", { class: "verdict" }, "predicted ");
    verdict.append(make("b", {}, labels[pair.predicted]), " " + percent(pair.p[pair.predicted]));
    const head = make("header", {}, make("h3", {}, pair.id), verdict);
    if (pair.label >= 0) {
      verdict.append(", label ", make("b", {}, labels[pair.label]));
      head.append(make("span", { class: right ? "tag right" : "tag wrong" }, right ? "✓ right" : "✗ wrong"));
    }
    const order = labels.map((label, number) => number);
    const many = labels.length > SHARES;
    if (many) order.sort((x, y) => pair.p[y] - pair.p[x]).length = SHARES;
    const spoken = order.map((number) => `${labels[number]} ${percent(pair.p[number])}`).join(", ");
    const shares = make("div", { class: "shares", role: "img", "aria-label": spoken, title: spoken });
    const share = (element, value) => {
      element.style.setProperty("--v", Math.max(value, 0.001));
      shares.append(element);
    };
    order.forEach((number) => share(colored(make("span"), number), pair.p[number]));
    if (many) share(make("span", { class: "others" }), 1 - order.reduce((sum, number) => sum + pair.p[number], 0));
    const guesses = make("p", { class: "guesses" });
    if (labels.length > SENTIMENT.length) {
      for (const number of order.slice().sort((x, y) => pair.p[y] - pair.p[x]).slice(0, GUESSES)) {
        guesses.append(make("span", {}, colored(make("i"), number), `${labels[number]} ${percent(pair.p[number])}`));
      }
    }
    return guesses.hasChildNodes() ? [head, shares, guesses] : [head, shares];
  }

  /** The head of a pair's card, and where true value, prediction and interval stand in the span. */
  function numberParts(pair) {
    const verdict = make("span", { class: "verdict" }, "predicted ", make("b", {}, plain(pair.predicted)));
    const spoken = [`predicted ${plain(pair.predicted)}`];
    if (pair.interval !== null) {
      const ends = pair.interval.map(plain).join(" to ");
      verdict.append(` (${ends})`);
      spoken.push(`interval ${ends}`);
    }
    const head = make("header", {}, make("h3", {}, pair.id), verdict);
    const at = (value) => (100 * Math.min(1, Math.max(0, (value - span[0]) / (span[1] - span[0])))).toFixed(2) + "%";
    const scale = make("div", { class: "scale", role: "img" });
    const mark = (name, low, high) => {
      const element = make("span", { class: name });
      element.style.setProperty("--low", at(low));
      element.style.setProperty("--high", at(high));
      scale.append(element);
    };
    if (pair.interval !== null) mark("between", ...pair.interval);
    mark("said", pair.predicted, pair.predicted);
    if (pair.label !== null) {
      mark("is", pair.label, pair.label);
      spoken.push(`true ${plain(pair.label)}`);
      verdict.append(", true ", make("b", {}, plain(pair.label)));
      const near = pair.interval === null || inside(pair);
      const sign = pair.interval === null ? "" : near ? "✓ " : "✗ ";
      head.append(make("span", { class: near ? "tag right" : "tag wrong" }, `${sign}off by ${plain(away(pair))}`));
    }
    const words = `${spoken.join(", ")}, on a scale from ${plain(span[0])} to ${plain(span[1])}`;
    scale.setAttribute("aria-label", words);
    scale.title = words;
    return [head, scale];
  }

  /** The picture of a pair with an outline for each region, or a tile that says why there is none. */
  function picture(pair) {
    const { url, size, why } = data.pictures[pair.picture] ?? { url: "", size: [0, 0], why: "no image" };
    const names = pair.regions.map((region, number) => `${number + 1} ${region.name || "region"}`).join(", ");
    if (!url) {
      return [make("div", { class: "picture gone" }, make("span", {}, pair.id, make("br"), why)), []];
    }
    const alt = `Image of pair ${pair.id}` + (names ? `, with regions ${names}` : "");
    const image = make("img", { src: url, alt, width: size[0], height: size[1], loading: "lazy", decoding: "async" });
    const view = make("div", { class: "picture" }, image);
    const layer = draw("svg", { viewBox: `0 0 ${size[0]} ${size[1]}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    const outlines = pair.regions.map((region, number) => {
      const [x1, y1, x2, y2] = region.box;
      const box = { x: x1, y: y1, width: Math.max(0, x2 - x1), height: Math.max(0, y2 - y1), rx: size[0] / 160 };
      const drawn = box.width && box.height ? ["halo", "box"] : []; // imported features may have no boxes
      return draw("g", { class: `r${number % COLORS}` }, ...drawn.map((part) => draw("rect", { ...box, class: part })));
    });
    layer.append(...outlines.slice().reverse()); // the first region on top
    view.append(layer);
    return [view, outlines];
  }

  /** A row for each region: a radio button, so that arrow keys go from one to the next. */
  function regions(pair, item, text, words, outlines, name) {
    const group = make("fieldset", { class: "regions" }, make("legend", {}, "Regions of the image"));
    const head = ["", "aligned words", "gate", "attention"].map((title) => make("span", {}, title));
    group.append(make("div", { class: "region head", "aria-hidden": "true" }, ...head));
    const strongest = pair.regions.reduce(
      (best, region, number) => (region.attention > pair.regions[best].attention ? number : best),
      0,
    );
    const rows = [];
    let settled = strongest;

    function shade(number) {
      for (const word of words.values()) {
        word.style.setProperty("--w", 0);
        word.removeAttribute("data-weight");
        word.removeAttribute("title");
      }
      const region = pair.regions[number];
      text.className = `text r${number % COLORS}`;
      item.dataset.region = number;
      for (const [word, weight] of region.words) {
        const element = words.get(word);
        if (element === undefined) continue;
        element.style.setProperty("--w", Math.sqrt(weight).toFixed(4));
        element.dataset.weight = weight;
        element.title = `weight ${weight.toFixed(3)} for region ${number + 1}`;
      }
      [rows, outlines].forEach((all) => all.forEach((one, place) => one.classList.toggle("on", place === number)));
    }

    pair.regions.forEach((region, number) => {
      const ordered = region.words.slice().sort((a, b) => b[1] - a[1]);
      const best = ordered.filter(([, weight], place) => place === 0 || (place < 3 && weight >= 0.02));
      const top = best.map(([word, weight]) => `${words.get(word)?.textContent ?? "?"} ${weight.toFixed(2)}`).join(" · ");
      const spoken = `region ${number + 1}${region.name ? " " + region.name : ""}, gate ${region.gate.toFixed(3)}, `
        + `attention ${region.attention.toFixed(3)}, words ${top}`;
      const input = make("input", { type: "radio", name, "aria-label": spoken });
      input.checked = number === strongest;
      const what = make("span", { class: "what", title: [region.name, top].join(" ").trim() });
      if (region.name) what.append(make("b", {}, region.name), " ");
      what.append(make("span", { class: "top" }, top));
      const row = make("label", { class: `region r${number % COLORS}` }, input,
        make("span", { class: "swatch", "aria-hidden": "true" }, String(number + 1)), what,
        meter(region.gate, "gate"), meter(region.attention, "attention"));
      input.addEventListener("change", () => shade(settled = number));
      input.addEventListener("focus", () => shade(settled = number));
      for (const element of [row, outlines[number]]) {
        element?.addEventListener("pointerenter", () => shade(number));
        element?.addEventListener("pointerleave", () => shade(settled));
      }
      outlines[number]?.addEventListener("click", () => { input.checked = true; shade(settled = number); });
      rows.push(row);
      group.append(row);
    });
    shade(strongest);
    return group;
  }

  function meter(value, title) {
    const element = make("span", { class: "meter", title: `${title} ${value}` }, value.toFixed(3));
    element.style.setProperty("--v", Math.min(1, Math.max(0, value)));
    return element;
  }

  fill(controls.run, data.runs.map((run) => `${run.name}, ${run.part}`));
  fill(controls.right, ["both", "right", "wrong"]);
  if (data.runs.length < 2) controls.run.closest("label").hidden = true;
  let waiting = 0;
  for (const event of ["input", "change"]) {
    form.addEventListener(event, () => {
      cancelAnimationFrame(waiting);
      waiting = requestAnimationFrame(renew);
    });
  }
  form.addEventListener("reset", () => { only = null; setTimeout(renew); });
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", grow);
  new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting) && !more.hidden) grow();
  }, { rootMargin: "800px" }).observe(more);
  document.addEventListener("itin-show", (event) => {
    form.reset();
    controls.run.value = event.detail.run;
    setTimeout(() => { only = new Set(event.detail.ids); renew(); form.scrollIntoView(); });
  });
  if (data.large) form.hidden = status.hidden = true;
  renew();
})();
