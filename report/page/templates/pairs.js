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
  for (const name of ["run", "label", "predicted", "right", "gate-low", "gate-high", "order", "search"]) {
    controls[name] = byId(name);
  }
  const ORDERS = [
    ["as recorded", null],
    ["surest first", (pair) => -Math.max(...pair.p)],
    ["least sure first", (pair) => Math.max(...pair.p)],
    ["most wrong first", (pair) => pair.p[pair.label]],
    ["highest gate first", (pair) => -Math.max(-1, ...pair.regions.map((region) => region.gate))],
    ["lowest gate first", (pair) => Math.min(2, ...pair.regions.map((region) => region.gate))],
  ];
  let chosen = []; // the pairs that pass the filters, in order
  let shown = 0; // how many of them have a card
  let labels = []; // the classes of the chosen run
  let only = null; // ids, where the comparison of two runs has asked for some

  const wordsOf = (pair) => pair.text.map((piece) => piece[0]).join("");
  const percent = (value) => (100 * value).toFixed(1) + "%";

  function passes(pair) {
    const [label, predicted, right] = ["label", "predicted", "right"].map((name) => Number(controls[name].value));
    if (label && pair.label !== label - 1) return false;
    if (predicted && pair.predicted !== predicted - 1) return false;
    if (right && (pair.label === pair.predicted) !== (right === 1)) return false;
    if (only !== null && !only.has(pair.id)) return false;
    const [low, high] = [controls["gate-low"].value, controls["gate-high"].value].map((text) => text.trim());
    const [least, most] = [low === "" ? 0 : Number(low), high === "" ? 1 : Number(high)];
    if (least > 0 || most < 1) {
      if (!pair.regions.some((region) => region.gate >= least && region.gate <= most)) return false;
    }
    const searched = controls.search.value.trim().toLowerCase();
    if (!searched) return true;
    const within = [pair.id, wordsOf(pair), ...pair.regions.map((region) => region.name)];
    return within.some((text) => text.toLowerCase().includes(searched));
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
    if (JSON.stringify(run.labels) !== JSON.stringify(labels)) {
      labels = run.labels;
      for (const name of ["label", "predicted"]) fill(controls[name], ["any", ...labels]);
    }
    chosen = run.pairs.filter(passes);
    const by = ORDERS[Number(controls.order.value)][1];
    if (by !== null) chosen = chosen.map((pair) => [by(pair), pair]).sort((a, b) => a[0] - b[0]).map((two) => two[1]);
    const right = chosen.filter((pair) => pair.label === pair.predicted).length;
    const share = chosen.length ? `, ${right} predicted right (${percent(right / chosen.length)})` : "";
    const asked = only === null ? "" : ", those on which the two runs differ";
    status.textContent = `${chosen.length} of ${run.pairs.length} pairs of the ${run.part} part${asked}${share}`;
    list.replaceChildren();
    shown = 0;
    grow();
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
    const right = pair.label === pair.predicted;
    const item = make("li", { class: data.large ? "pair large" : "pair", "data-id": pair.id });
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
    item.append(head, shares);
    if (guesses.hasChildNodes()) item.append(guesses);
    item.append(view, body);
    if (!pair.regions.length) body.append(make("p", { class: "hint" }, "No regions aligned with words."));
    else body.append(regions(pair, item, text, words, outlines, `region-${shown + place}`));
    return item;
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
      return draw(
        "g",
        { class: `r${number % COLORS}` },
        draw("rect", { ...box, class: "halo" }),
        draw("rect", { ...box, class: "box" }),
      );
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
  fill(controls.order, ORDERS.map((order) => order[0]));
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
