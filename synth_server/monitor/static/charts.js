// Figures, drawn by plotly in the page's colours. Each keeps its size, whatever it shows.

const CONFIG = { displayModeBar: false, responsive: true, doubleClick: false };
const element = (id) => document.getElementById(id);

export function colours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["ink", "dim", "line", "panel", "evolved", "reference", "other", "focus", "warn"];
  return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

export const SERIES = ["#3b82c4", "#d97706", "#8b5cf6", "#0f9d8a", "#d6478f", "#7c8a1a", "#b45309", "#64748b"];

export function faint(colour, opacity) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return `rgba(${r},${g},${b},${opacity})`;
}

export const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize);

function layout(c, more) {
  const size = rem();
  const axis = {
    gridcolor: c.line, linecolor: c.line, zerolinecolor: c.line, tickcolor: c.line,
    automargin: false, fixedrange: true, title: { standoff: 4 },
  };
  const { xaxis = {}, yaxis = {}, margin = {}, ...rest } = more;
  return {
    font: { family: getComputedStyle(document.body).fontFamily, size: size * 0.88, color: c.ink },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
    margin: { l: 3.4 * size, r: 0.7 * size, t: 8, b: 3.3 * size, ...margin }, hovermode: "x unified",
    hoverlabel: { bgcolor: c.panel, bordercolor: c.line, font: { color: c.ink } },
    xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, ...yaxis }, ...rest,
  };
}

export function draw(id, traces, shape, said) {
  const figure = element(id);
  figure.parentElement.classList.toggle("has-data", traces.length > 0);
  figure.setAttribute("aria-label", said);
  if (!traces.length && !figure.data) return;
  Plotly.react(figure, traces, layout(colours(), shape), CONFIG);
}

function band(x, mean, sem, colour, name, unit) {
  const known = x.map((_, i) => i).filter((i) => mean[i] !== null);
  const xs = known.map((i) => x[i]);
  const at = (sign) => known.map((i) => mean[i] + sign * (sem[i] ?? 0));
  const edge = { mode: "lines", line: { width: 0 }, hoverinfo: "skip", x: xs };
  const text = known.map((i) => `${mean[i].toFixed(2)} ± ${(sem[i] ?? 0).toFixed(2)} ${unit}`);
  return [
    { ...edge, y: at(-1) },
    { ...edge, y: at(1), fill: "tonexty", fillcolor: faint(colour, 0.25) },
    { x: xs, y: known.map((i) => mean[i]), mode: "lines+markers", name, text,
      hovertemplate: "%{text}", line: { color: colour, width: 3 }, marker: { size: 6, color: colour } },
  ];
}

const mark = (x, c) =>
  x === null ? [] : [{ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1,
    line: { color: c.focus, width: 2, dash: "dot" } }];

const wholeAxis = (n) => ({ dtick: n <= 12 ? 1 : n <= 30 ? 5 : n <= 80 ? 10 : undefined, tickformat: "d" });

const bestReference = (thread, c) => thread.best_reference === null ? [] : [{ type: "line", xref: "paper",
  x0: 0, x1: 1, y0: thread.best_reference, y1: thread.best_reference, line: { color: c.reference, width: 1.5, dash: "dot" },
  label: { text: "best reference", textposition: "start", yanchor: "bottom", font: { size: 11, color: c.reference } } }];

export function drawEvolution(thread, generation) {
  const c = colours();
  const x = thread.generations.map((each) => each.generation);
  const of = (kind, what) => thread.generations.map((each) => each[kind][what]);
  const traces = x.length ? [
    ...band(x, of("reference", "mean"), of("reference", "sem"), c.reference, "references", thread.unit),
    ...band(x, of("evolved", "mean"), of("evolved", "sem"), c.evolved, "evolved", thread.unit),
  ] : [];
  const last = thread.generations.at(-1);
  const text = ({ mean, sem }) => `${(mean ?? 0).toFixed(1)} ± ${(sem ?? 0).toFixed(1)} ${thread.unit}`;
  const said = last
    ? `Generation ${last.generation}: evolved ${text(last.evolved)}, references ${text(last.reference)}`
    : "No data yet";
  draw("figure-main", traces, {
    xaxis: { title: { text: "generation", standoff: 4 }, rangemode: "tozero",
      range: [-0.4, Math.max(5, x.length ? x.at(-1) : 0) + 0.4], ...wholeAxis(x.length) },
    yaxis: { title: { text: thread.unit, standoff: 4 }, rangemode: thread.unit === "spikes" ? "tozero" : "normal" },
    shapes: [...bestReference(thread, c), ...mark(generation, c)],
  }, said);
}

export function drawDrift(thread, generation) {
  const c = colours();
  const sites = thread.stability.slice(0, SERIES.length);
  const traces = sites.flatMap((site, i) =>
    band(site.generations, site.gain, site.gain_sem, sites.length === 1 ? c.reference : SERIES[i], site.site, ""));
  const top = Math.max(2, ...sites.flatMap((s) => s.gain.map((g, i) => (g ?? 0) + (s.gain_sem[i] ?? 0))));
  const x = sites[0]?.generations ?? [];
  const line = { type: "line", xref: "paper", x0: 0, x1: 1, y0: 1, y1: 1, line: { color: c.dim, width: 1.5, dash: "dash" } };
  draw("figure-drift", traces, {
    xaxis: { title: { text: "generation", standoff: 4 }, ...wholeAxis(x.length),
      range: [-0.4, Math.max(5, x.at(-1) ?? 0) + 0.4] },
    yaxis: { title: { text: "×", standoff: 4 }, range: [0, Math.min(top * 1.05, 6)] },
    shapes: [line, ...mark(generation, c)],
  }, sites.map((s) => `${s.site}: ${s.warning || "stable"}`).join("; ") || "No data yet");
}

// --- heat maps ---------------------------------------------------------------------------------

const dark = () => document.documentElement.dataset.theme === "dark";
const diverging = () => dark()
  ? [[0, "#5aa9ff"], [0.25, "#2b5f96"], [0.5, "#222932"], [0.75, "#a34d1c"], [1, "#ff9a5c"]]
  : [[0, "#1f5fa8"], [0.25, "#8db9e3"], [0.5, "#f4f4f2"], [0.75, "#f0a873"], [1, "#b23a06"]];
const rising = () => dark()
  ? [[0, "#1a2028"], [0.5, "#a34d1c"], [1, "#ffb27f"]]
  : [[0, "#f6f4f1"], [0.5, "#f0a873"], [1, "#a83706"]];

function bar(c, title, more) {
  return { thickness: 14, outlinewidth: 0, len: 1, y: 0.5, xpad: 4, title: { text: title, side: "right" },
    tickfont: { color: c.ink }, ...more };
}

const mean = (values) => {
  const known = values.filter((v) => v !== null);
  return known.length ? known.reduce((a, b) => a + b, 0) / known.length : null;
};

function siteAxis(names) {
  const step = Math.ceil(names.length / 12);
  const shown = names.map((_, i) => i).filter((i) => i % step === 0);
  return { autorange: "reversed", tickvals: shown, ticktext: shown.map((i) => shorter(names[i])) };
}

const shorter = (name) => (name.length > 10 ? `${name.slice(0, 9)}…` : name);

export function drawHeat(thread, column) {
  const c = colours();
  const { sites, columns, counts, reference } = thread.heat;
  const against = reference.map(mean);
  const relative = thread.phase === "evolution" && against.some((value) => value > 0);
  const z = relative
    ? counts.map((row, i) => row.map((v) => (v === null || !(against[i] > 0) ? null : Math.log2(Math.max(v, 0.01) / against[i]))))
    : counts;
  const text = counts.map((row, i) => row.map((v, j) =>
    `${sites[i]}, ${thread.phase === "evolution" ? "generation " : ""}${columns[j]}<br>${v ?? "–"} spikes` +
    (relative && against[i] > 0 && v !== null ? `, × ${(v / against[i]).toFixed(2)}` : "")));
  const furthest = Math.max(...z.flat().map((value) => Math.abs(value ?? 0)));
  const top = Math.min(3, Math.max(1, Math.ceil(furthest)));
  const powers = [-3, -2, -1, 0, 1, 2, 3].filter((power) => Math.abs(power) <= top && (top < 3 || power % 2 === 0));
  const names = { "-3": "×⅛", "-2": "×¼", "-1": "×½" };
  const scale = relative
    ? { colorscale: diverging(), zmin: -top, zmax: top,
        colorbar: bar(c, "", { tickvals: powers, ticktext: powers.map((power) => names[power] ?? `×${2 ** power}`) }) }
    : { colorscale: rising(), zmin: 0, colorbar: bar(c, "") };
  const traces = columns.length ? [{ type: "heatmap", z, x: columns.map((_, i) => i), text,
    hovertemplate: "%{text}<extra></extra>", hoverongaps: false, ...scale }] : [];
  const every = Math.ceil(columns.length / 8);
  const ticks = columns.map((_, i) => i).filter((i) => i % every === 0);
  const labelled = thread.phase === "evolution";
  draw("figure-heat", traces, {
    hovermode: "closest", margin: { l: 5.2 * rem(), r: 3.8 * rem() },
    xaxis: { title: { text: labelled ? "generation" : "block", standoff: 4 }, tickvals: ticks,
      ticktext: ticks.map((i) => (labelled && columns[i].length < 5 ? columns[i] : labelled ? "" : i)), showgrid: false },
    yaxis: { ...siteAxis(sites), showgrid: false }, shapes: mark(column, c),
  }, `${sites.length} sites in ${columns.length} blocks`);
  return relative;
}

// --- images that an encoder made ----------------------------------------------------------------

const KINDS = ["made for it", "best natural", "contrast raised", "noise", "made for others", "natural"];
export const SHORT = { "contrast raised": "contrast", "made for others": "for others" };
export const kindColours = () => {
  const c = colours();
  const blue = dark() ? "#6cb0ff" : "#2563a8";
  return { "made for it": c.evolved, "best natural": c.reference, "contrast raised": blue,
    noise: dark() ? "#c9a0ff" : "#7a4fc0", "made for others": c.dim, natural: c.other };
};

// Points lie beside one another by rank: the same every time.
const spread = (i, n) => (n === 1 ? 0 : (((i * 0.618034) % 1) - 0.5) * 0.1);

export function drawDistributions(found) {
  const c = colours();
  const colour = kindColours();
  const targets = found.targets;
  const present = KINDS.filter((kind) => targets.some((t) => t.kinds.some((k) => k.role === kind)));
  const offset = (kind) => (present.indexOf(kind) - (present.length - 1) / 2) * (0.8 / present.length);
  const traces = present.map((kind) => {
    const x = [], y = [];
    targets.forEach((target, t) => target.kinds.filter((k) => k.role === kind).forEach((k) =>
      k.counts.forEach((value, i) => { x.push(t + offset(kind) + spread(i, k.counts.length)); y.push(value); })));
    return { type: "scatter", mode: "markers", x, y, name: kind, hovertemplate: `${kind}: %{y:.2f} spikes<extra></extra>`,
      marker: { color: colour[kind], size: kind === "natural" || kind === "made for others" ? 5 : 9,
        opacity: kind === "natural" ? 0.35 : 0.85 } };
  });
  const means = targets.flatMap((target, t) => target.kinds.map((k) => {
    const x = t + offset(k.role), y = mean(k.counts);
    return { type: "line", x0: x - 0.07, x1: x + 0.07, y0: y, y1: y, line: { color: c.ink, width: 3 } };
  }));
  draw("figure-main", targets.length ? traces : [], {
    hovermode: "closest",
    xaxis: { tickvals: targets.map((_, i) => i), ticktext: targets.map((t) => shorter(t.site)), showgrid: false,
      range: [-0.5, targets.length - 0.5], zeroline: false },
    yaxis: { title: { text: "spikes", standoff: 4 }, rangemode: "tozero" }, shapes: means, margin: { b: 2.1 * rem() },
  }, `Responses of ${targets.length} sites to images made for them and to controls`);
  return present;
}

export function drawPopulation(found) {
  const c = colours();
  const rows = found.summary.sites.filter((site) => site.population.length);
  const names = rows.length ? rows[0].population.map((p) => p.site) : [];
  const z = rows.map((row) => row.population.map((p) => p.synthesised));
  const top = Math.max(1, ...z.flat().map(Math.abs));
  draw("figure-drift", rows.length ? [{ type: "heatmap", z, colorscale: diverging(), zmin: -top, zmax: top,
    colorbar: bar(c, "sd"), text: rows.map((row) => row.population.map((p) => `images for ${row.site} at ${p.site}<br>${p.synthesised.toFixed(2)} sd`)),
    hovertemplate: "%{text}<extra></extra>" }] : [], {
    hovermode: "closest", margin: { l: 5.2 * rem(), r: 4.2 * rem() },
    xaxis: { tickvals: names.map((_, i) => i), ticktext: names.map(shorter), showgrid: false, title: { text: "at site", standoff: 4 } },
    yaxis: { ...siteAxis(rows.map((row) => row.site)), showgrid: false },
  }, "Response of every site to the images made for each");
}

export const clear = (...ids) => ids.forEach((id) => draw(id, [], {}, "No data yet"));

// --- gaze --------------------------------------------------------------------------------------

// Draws the samples over the images at their places; returns what to write above.
export function drawGaze(found) {
  if (!found || !found.points.length) {
    draw("figure-gaze", [], {}, "No gaze in this block");
    return "Gaze";
  }
  const c = colours();
  const [fx, fy] = found.fixation_point_deg;
  const boxes = found.images.map(({ place }) => {
    const half = place.size_deg / 2;
    return { x0: place.x_deg - half, x1: place.x_deg + half, y0: place.y_deg - half, y1: place.y_deg + half };
  });
  const reach = (values, at) => [...values].sort((a, b) => a - b)[Math.round(at * (values.length - 1))];
  const span = (axis, low, high) => {
    const values = found.points.map((point) => point[axis]);
    return [Math.min(reach(values, 0.01), ...boxes.map((b) => b[low]), [fx, fy][axis]) - 0.5,
      Math.max(reach(values, 0.99), ...boxes.map((b) => b[high]), [fx, fy][axis]) + 0.5];
  };
  const percent = (share) => `${Math.round(100 * share)} %`;
  const onImage = found.share_on_image === null ? "" : `${percent(found.share_on_image)} on the image`;
  const said = [onImage, found.share_valid === null ? "" : `${percent(found.share_valid)} valid`].filter(Boolean).join(", ");
  draw("figure-gaze", [
    { x: found.points.map((p) => p[0]), y: found.points.map((p) => p[1]), type: "scatter", mode: "markers",
      marker: { size: 4, color: c.evolved, opacity: 0.55 }, hoverinfo: "skip" },
    { x: [fx], y: [fy], type: "scatter", mode: "markers", hoverinfo: "skip",
      marker: { symbol: "cross-thin", size: 14, line: { width: 2.5, color: c.focus } } },
  ], {
    hovermode: false, margin: { l: 2.6 * rem(), b: 2.6 * rem(), r: 4, t: 4 },
    xaxis: { range: span(0, "x0", "x1"), ticksuffix: "°", nticks: 5, constrain: "domain" },
    yaxis: { range: span(1, "y0", "y1"), ticksuffix: "°", nticks: 5, scaleanchor: "x", constrain: "domain" },
    images: found.images.map(({ image, place }) => ({ source: `/images/${image}.png`, xref: "x", yref: "y",
      x: place.x_deg - place.size_deg / 2, y: place.y_deg + place.size_deg / 2,
      sizex: place.size_deg, sizey: place.size_deg, sizing: "stretch", opacity: 0.7, layer: "below" })),
    shapes: boxes.map((box) => ({ type: "rect", ...box, line: { color: c.dim, width: 1 } })),
  }, `Gaze in block ${found.block}: ${said}`);
  if (!found.while_on) return "Gaze, whole block";
  return found.share_on_image === null ? "Gaze" : `Gaze: ${percent(found.share_on_image)} on image`;
}
