/* The studio's one custom component: a run's curves, drawn by uPlot and fed by /api/series.

   luthierChart(element, words) is called by the gr.HTML component of app/charts.py. Which runs it shows stands in the
   page's address (?run=4, or ?runs=4,7,9). It polls with a cursor, keeps the zoom, and asks again for what is visible.
   In the answers null means "no value at this x" and false "a value that was no number". */
(() => {
  "use strict";
  // Okabe-Ito, by the run's place; lightened where dark paper asks for it.
  const LIGHT = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A6D00", "#2F8FC4", "#000000"];
  const DARK = ["#56B4E9", "#F08A3C", "#2FBF96", "#E3A1C6", "#E0B93A", "#9AD1F2", "#ECEAE6"];
  // What matters most in a run stands first; a group without values is not shown. Rules of a reward get a panel each.
  const GROUPS = [
    { key: "reward", hasRules: true, panels: [
      { key: "reward", metrics: ["reward", "reward_std", "eval_reward"], lowestSaysNothing: true },
      { key: "frac_reward_zero_std", metrics: ["frac_reward_zero_std"], lowestSaysNothing: true },
    ] },
    { key: "answers", panels: [
      { key: "completions/mean_length", metrics: ["completions/mean_length"], lowestSaysNothing: true },
      { key: "completions/clipped_ratio", metrics: ["completions/clipped_ratio"], lowestSaysNothing: true },
      { key: "entropy", metrics: ["entropy"], beside: "reward" },
      { key: "completions/alike", metrics: ["completions/alike"], lowestSaysNothing: true },
    ] },
    { key: "distance", panels: [
      { key: "kl", metrics: ["kl"], lowestSaysNothing: true },
      { key: "clip_ratio/region_mean", metrics: ["clip_ratio/region_mean"], lowestSaysNothing: true, changes: true },
      { key: "kl_coef", metrics: ["kl_coef"], plain: true, changes: true },
    ] },
    { key: "critic", panels: [
      { key: "value_loss", metrics: ["value_loss"], canLog: true },
      { key: "explained_variance", metrics: ["explained_variance"], lowestSaysNothing: true },
    ] },
    { key: "preference", panels: [
      { key: "rewards/margins", metrics: ["rewards/margins", "eval_rewards/margins"], lowestSaysNothing: true },
      { key: "rewards/accuracies", metrics: ["rewards/accuracies", "eval_rewards/accuracies"], lowestSaysNothing: true },
      { key: "logps/chosen", metrics: ["logps/chosen", "logps/rejected"], lowestSaysNothing: true },
    ] },
    { key: "learning", panels: [
      { key: "loss", metrics: ["loss", "eval_loss", "eval_loss_prompted"], canLog: true },
      { key: "sft_loss", metrics: ["sft_loss"], canLog: true },
      { key: "learning_rate", metrics: ["learning_rate"], plain: true },
      { key: "grad_norm", metrics: ["grad_norm"], canLog: true },
    ] },
  ];
  // `changes`: shown only where it does not stay the same.
  const NAMED = GROUPS.flatMap((group) => group.panels.flatMap((panel) => panel.metrics));
  const FAMILIES = ["rewards/*/mean", "rewards/*/std", "eval_rewards/*/mean"];
  const RULE = /^(?:eval_)?rewards\/(.+)\/(?:mean|std)$/;
  // Drawn as they were measured, with x positions of their own; the prompted one is a line across the chart.
  const PROMPTED = "eval_loss_prompted";
  const isHeldOut = (metric) => metric.startsWith("eval_");
  // Drawn with dashes beside what it is to be compared with.
  const isBeside = (metric) => metric === "logps/rejected" || metric === "reward_std" || metric.endsWith("/std");
  const POLL_MS = 2000, SMOOTHING = 0.6, TABLE_ROWS = 12;

  const dark = () => document.body.classList.contains("dark") || !!document.querySelector(".dark");
  const number = (value) => {
    if (value === null || value === undefined || value === false || Number.isNaN(value)) return "–";
    if (Number.isInteger(value)) return value.toLocaleString("en");
    const size = Math.abs(value);
    return size < 1e-3 || size >= 1e6 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  };
  const fill = (words, values) => words.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
  const make = (tag, name, text) => {
    const made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  function luthierChart(element, words) {
    const host = element.querySelector(".lu-chart") || element;
    if (host.dataset.started) return;
    host.dataset.started = "1";
    const query = new URLSearchParams(location.search);
    const runs = (query.get("runs") || query.get("run") || "").split(",").filter((run) => /^\d+$/.test(run));
    if (!runs.length) return;
    const state = { runs, words, cursor: "", smooth: SMOOTHING, log: false, zoom: null, width: 0, timer: 0, asked: 0, dark: dark() };
    host.append(controls(state, () => refresh(state)));
    state.host = host;
    state.panels = [];
    state.groups = GROUPS.map((group) => makeGroup(state, group));
    new ResizeObserver(() => resize(state)).observe(host);
    refresh(state);
    poll(state);
  }

  function controls(state, changed) {
    const row = make("div", "lu-chart-controls");
    const smooth = make("label", "", state.words.smoothing + " ");
    const slider = Object.assign(make("input"), { type: "range", min: "0", max: "0.98", step: "0.02", value: String(SMOOTHING) });
    const shown = make("span", "lu-num", String(SMOOTHING));
    slider.addEventListener("input", () => {
      state.smooth = Number(slider.value);
      shown.textContent = slider.value;
      changed();
    });
    smooth.append(slider, shown);
    const log = make("label");
    const box = Object.assign(make("input"), { type: "checkbox" });
    box.className = "lu-log-switch";
    box.addEventListener("change", () => {
      state.log = box.checked;
      for (const panel of state.panels) panel.destroy();
      changed();
    });
    log.append(box, make("span", "", state.words.log));
    const back = make("button", "lu-zoom-out", state.words.zoom_out);
    back.type = "button";
    back.hidden = true;
    back.addEventListener("click", () => setZoom(state, null));
    state.backButton = back;
    row.append(smooth, log, back, make("span", "", state.words.zoom_hint));
    return row;
  }

  function setZoom(state, zoom) {
    state.zoom = zoom;
    state.backButton.hidden = !zoom;
    refresh(state);
  }

  /* One request at a time; a change during one asks again when it is done. */
  async function refresh(state, cursor = "") {
    if (state.busy) {
      state.again = true;
      return;
    }
    state.busy = true;
    const began = performance.now();
    try {
      const answer = await ask(state, cursor);
      state.cursor = answer.cursor;
      if (!answer.same) {
        addRules(state, answer);
        for (const panel of state.panels) panel.draw(answer);
        showGroups(state);
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
        state.host.dataset.paintedMs = (performance.now() - began).toFixed(1);
        state.host.dataset.painted = String(Number(state.host.dataset.painted || 0) + 1);
      }
    } catch (problem) {
      // The server may be restarting; the next poll tries again.
      state.cursor = "";
    } finally {
      state.busy = false;
    }
    if (state.again) {
      state.again = false;
      refresh(state);
    }
  }

  async function ask(state, cursor) {
    const wanted = { runs: state.runs.join(","), metric: NAMED.join(","), family: FAMILIES.join(","), plain: "learning_rate,kl_coef", cursor, smooth: state.smooth, points: Math.max(200, Math.min(1600, (state.width || 500) * 2)) };
    if (state.zoom) Object.assign(wanted, { from: state.zoom[0], to: state.zoom[1] });
    const answer = await fetch("/api/series?" + new URLSearchParams(wanted), { credentials: "same-origin" });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.json();
  }

  function poll(state) {
    const tick = async () => {
      if (!state.host.isConnected) return;
      if (state.dark !== dark()) {
        state.dark = dark();
        for (const panel of state.panels) panel.destroy();
        state.cursor = "";
      }
      if (!document.hidden) await refresh(state, state.cursor);
      setTimeout(tick, POLL_MS);
    };
    setTimeout(tick, POLL_MS);
  }

  function resize(state) {
    for (const panel of state.panels) {
      const width = Math.floor(panel.canvas.clientWidth);
      if (panel.plot && width && width !== panel.plot.width) panel.plot.setSize({ width, height: panel.plot.height });
      if (width) state.width = width;
    }
  }

  function makeGroup(state, group) {
    const root = make("section", "lu-chart-group"), title = make("h3", "", state.words.groups[group.key]);
    const grid = make("div", "lu-panels");
    root.append(title, grid);
    state.host.append(root);
    state.panels.push(...group.panels.map((panel) => makePanel(state, panel, grid)));
    return { root, title, grid, hasRules: group.hasRules };
  }

  /* A panel for each rule of a reward that has come up. */
  function addRules(state, answer) {
    const place = state.groups.find((group) => group.hasRules).grid;
    for (const name of Object.keys(answer.panels)) {
      const rule = RULE.exec(name)?.[1], key = `rewards/${rule}/mean`;
      if (!rule || state.panels.some((panel) => panel.root.dataset.metric === key)) continue;
      const spec = { key, rule, metrics: [key, `rewards/${rule}/std`, `eval_rewards/${rule}/mean`], lowestSaysNothing: true };
      state.panels.push(makePanel(state, spec, place));
    }
  }

  /* Headings only where there is more than one group. */
  function showGroups(state) {
    for (const group of state.groups) group.root.hidden = ![...group.grid.children].some((panel) => !panel.hidden);
    const isOne = state.groups.filter((group) => !group.root.hidden).length < 2;
    for (const group of state.groups) group.title.hidden = isOne;
  }

  /* What a metric is called: `contains_2` is the second rule of its kind. */
  function nameOf(state, metric) {
    const rule = RULE.exec(metric)?.[1];
    if (!rule) return state.words.metrics[metric] || metric;
    if (isHeldOut(metric)) return state.words.metrics.eval_reward;
    if (isBeside(metric)) return state.words.metrics.reward_std;
    const [, kind, number] = /^(.*?)(?:_(\d+))?$/.exec(rule);
    return state.words.rules[rule] || (state.words.rules[kind] ? `${state.words.rules[kind]} (${number})` : rule);
  }

  function makePanel(state, spec, grid) {
    const root = make("section", "lu-panel");
    const legend = make("div", "lu-legend");
    const canvas = make("div", "lu-canvas");
    const summary = make("p", "lu-summary");
    const details = make("details");
    root.dataset.metric = spec.key;
    root.append(make("div", "lu-panel-title", nameOf(state, spec.key)));
    const note = state.words.notes[spec.rule ? "rule" : spec.key];
    if (note) root.append(make("p", "lu-panel-note", note));
    root.append(legend, canvas, summary, details);
    details.append(make("summary", "", state.words.table));
    canvas.setAttribute("role", "img");
    grid.append(root);
    const panel = { root, canvas, plot: null, shape: "" };
    panel.destroy = () => {
      panel.plot?.destroy();
      panel.plot = null;
      panel.shape = "";
    };
    panel.draw = (answer) => {
      const drawn = join(state, spec, answer);
      const isAlone = spec.beside && !answer.panels[spec.beside].x.length;
      panel.hasChanged ||= !spec.changes || !drawn.data.slice(1).every((column) => new Set(column.filter((value) => typeof value === "number")).size < 2);
      root.hidden = isAlone || !panel.hasChanged || (!drawn.data[0].length && spec.key !== "loss");
      canvas.hidden = details.hidden = !drawn.data[0].length;
      if (canvas.hidden) {
        panel.destroy();
        legend.replaceChildren();
        summary.textContent = state.words.nothing;
        return;
      }
      if (panel.shape !== drawn.shape) {
        panel.destroy();
        panel.shape = drawn.shape;
        panel.plot = new uPlot(options(state, spec, drawn, canvas, legend), drawn.data, canvas);
        panel.plot.luSeries = drawn.series;
      } else {
        panel.plot.setData(drawn.data, false);
      }
      panel.plot.setScale("x", bounds(state, drawn.data[0]));
      const sentence = say(state, spec, drawn);
      summary.textContent = sentence;
      canvas.setAttribute("aria-label", sentence);
      if (details.open) fillTable(state, details, drawn);
      details.ontoggle = () => details.open && fillTable(state, details, drawn);
      if (!panel.hovered) showLegend(state, legend, drawn.series, null, panel.plot);
    };
    return panel;
  }

  const bounds = (state, x) =>
    state.zoom ? { min: state.zoom[0], max: state.zoom[1] } : { min: x.length ? x[0] : 0, max: x.length > 1 ? x[x.length - 1] : (x[0] || 0) + 1 };

  /* The panel's metrics (loss and eval_loss have their own x positions) as one uPlot table. */
  function join(state, spec, answer) {
    const series = [], tables = [];
    for (const metric of spec.metrics) {
      const panel = answer.panels[metric];
      if (!panel?.x.length) continue;
      const columns = [panel.x];
      for (const line of panel.lines) {
        const place = state.runs.indexOf(String(line.run));
        const title = answer.runs[line.run].title;
        for (const kind of ["dropped", "raw", "smooth"]) {
          if (!line[kind] || (kind === "smooth" && (spec.plain || isHeldOut(metric)))) continue;
          columns.push(line[kind].map((value) => (value === null ? undefined : value === false ? null : value)));
          series.push({ run: line.run, place, title, metric, kind, summary: line.summary, alone: spec.plain || isHeldOut(metric) });
        }
      }
      tables.push(columns);
    }
    let data = [[]];
    if (tables.length === 1) data = tables[0];
    if (tables.length > 1) data = uPlot.join(tables.map((table) => table.map((column, at) => (at ? column.map((value) => (value === undefined ? undefined : value)) : column))));
    const shape = JSON.stringify(series.map((each) => [each.run, each.metric, each.kind])) + state.log + state.dark;
    return { data, series, shape };
  }

  function options(state, spec, drawn, canvas, legend) {
    const palette = state.dark ? DARK : LIGHT;
    const ink = state.dark ? "#9EA3AB" : "#6B6F76", line = state.dark ? "#33363C" : "#E7E1D8";
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui, sans-serif" };
    const logs = state.log && spec.canLog;
    return {
      width: Math.max(200, Math.floor(canvas.clientWidth)),
      height: 240,
      legend: { show: false },
      scales: { x: { time: false, auto: false, range: (_, low, high) => [low, high] }, y: logs ? { distr: 3 } : {} },
      axes: [
        { ...axis, values: (_, ticks) => ticks.map((tick) => (Number.isInteger(tick) ? tick.toLocaleString("en") : "")) },
        { ...axis, size: 64, values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : number(tick))) },
      ],
      cursor: { sync: { key: "luthier", scales: ["x", null] }, drag: { x: true, y: false, setScale: false }, points: { size: 5 } },
      series: [{}, ...drawn.series.map((each) => style(each, palette[each.place % palette.length]))],
      hooks: {
        setSelect: [
          (plot) => {
            if (plot.select.width < 4) return;
            const zoom = [plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x")];
            plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
            setZoom(state, zoom);
          },
        ],
        setCursor: [(plot) => showLegend(state, legend, plot.luSeries || drawn.series, plot.cursor.idx, plot)],
        ready: [(plot) => plot.over.addEventListener("dblclick", () => setZoom(state, null))],
      },
    };
  }

  function style(each, colour) {
    if (each.kind === "dropped") return { stroke: colour + "40", width: 1, dash: [2, 4], points: { show: false } };
    if (each.metric === PROMPTED) return { stroke: colour, width: 1, dash: [2, 6], points: { show: false } };
    if (isHeldOut(each.metric)) return { stroke: colour, width: 2, dash: [6, 4], points: { show: true, size: 5, fill: colour } };
    const dash = isBeside(each.metric) ? [4, 4] : undefined;
    if (each.kind === "raw" && !each.alone) return { stroke: colour + "55", width: 1, dash, points: { show: false } };
    return { stroke: colour, width: 2, dash, points: { show: false } };
  }

  function showLegend(state, legend, series, index, plot) {
    const palette = dark() ? DARK : LIGHT;
    const step = index === null || index === undefined || !plot ? null : plot.data[0][index];
    const shown = series.filter((each) => each.kind !== "dropped" && (each.kind === "smooth" || each.alone || !series.some((other) => other.kind === "smooth" && other.run === each.run && other.metric === each.metric)));
    legend.replaceChildren(
      ...shown.map((each) => {
        const at = series.indexOf(each) + 1;
        let value = each.summary && (each.kind === "smooth" ? each.summary.last_smooth : each.summary.last);
        if (step !== null) value = plot.data[at][index];
        const item = make("span");
        const mark = make("i");
        const colour = palette[each.place % palette.length];
        const isDashed = isHeldOut(each.metric) || isBeside(each.metric);
        mark.style.background = isDashed ? `repeating-linear-gradient(90deg, ${colour} 0 4px, transparent 4px 7px)` : colour;
        item.append(mark, `${each.title}${isDashed ? " · " + nameOf(state, each.metric) : ""} ${number(value)}`);
        return item;
      }),
      ...(step === null ? [] : [make("span", "", `· ${number(Math.round(step))}`)]),
    );
  }

  function say(state, spec, drawn) {
    const said = new Set();
    const sentences = drawn.series.map((each) => {
      const key = each.run + each.metric;
      if (!each.summary || each.metric === PROMPTED || said.has(key)) return "";
      said.add(key);
      const values = Object.fromEntries(Object.entries(each.summary).map(([name, value]) => [name, number(value)]));
      return fill(spec.plain || spec.lowestSaysNothing ? state.words.sentence_plain : state.words.sentence, { ...values, title: each.title, metric: nameOf(state, each.metric) });
    });
    return sentences.filter(Boolean).join(" ") || state.words.nothing;
  }

  function fillTable(state, details, drawn) {
    const wanted = drawn.series.map((each, at) => ({ ...each, at: at + 1 })).filter((each) => each.kind === "smooth" || each.alone);
    const table = make("table"), head = make("tr");
    head.append(make("th", "", state.words.step), ...wanted.map((each) => make("th", "", `${each.title} · ${nameOf(state, each.metric)}`)));
    table.append(head);
    const places = new Set(Array.from({ length: TABLE_ROWS }, (_, row) => Math.round((row * (drawn.data[0].length - 1)) / (TABLE_ROWS - 1))));
    for (const place of places) {
      if (place < 0 || drawn.data[0][place] === undefined) continue;
      const row = make("tr");
      row.append(make("td", "", number(Math.round(drawn.data[0][place]))), ...wanted.map((each) => make("td", "", number(drawn.data[each.at][place]))));
      table.append(row);
    }
    details.querySelector("table")?.remove();
    details.append(table);
  }

  window.luthierChart = luthierChart;
})();
