// The second page: all sites in a table, their receptive fields, the time course of one.
import { draw, colours, faint, rem, SERIES } from "./charts.js";
import { number } from "./format.js";
import { make } from "./panels.js";

const element = (id) => document.getElementById(id);
const HEAD = ["site", "sp/s", "baseline", "SNR", "latency, ms", "reliability", "best window, ms", "x, °", "y, °", "σ, °", ""];

export function showTable(found, chosen, choose) {
  const window = ({ best_window_ms, best_reliability }) =>
    best_window_ms ? `${best_window_ms[0]}–${best_window_ms[1]} (${number(best_reliability, 2)})` : "–";
  const cells = (line) => [
    number(line.rate, 1), number(line.baseline, 1), number(line.snr, 1), number(line.latency_ms, 0),
    number(line.reliability, 2), window(line), number(line.x_deg, 1), number(line.y_deg, 1),
    number(line.sigma_deg, 1), line.remark,
  ];
  const rows = found.lines.map((line) => {
    const pick = make("button", { type: "button", class: "pick" }, line.site);
    pick.addEventListener("click", () => choose(line.site));
    const row = make("tr", {}, make("th", { scope: "row" }, pick), ...cells(line).map((text) => make("td", {}, text)));
    row.setAttribute("aria-current", String(line.site === chosen));
    return row;
  });
  element("sites-head").replaceChildren(...HEAD.map((name) => make("th", { scope: "col" }, name)));
  element("sites-rows").replaceChildren(...rows);
  element("panel-sites").classList.toggle("has-data", rows.length > 0);
}

const circle = ({ x_deg: x, y_deg: y, sigma_deg: s }) => ({ type: "circle", x0: x - s, x1: x + s, y0: y - s, y1: y + s });

export function showFields(found, chosen) {
  const mapping = found.mapped.at(-1);
  if (!mapping) {
    element("fields-title").textContent = "Receptive fields";
    draw("figure-fields", [], {}, "No receptive fields were mapped");
    return;
  }
  const c = colours();
  const [left, bottom, right, top] = mapping.grid_deg;
  const room = 0.08 * (right - left);
  const tint = (field) => (field.at_edge ? c.dim : field.amplitude > 0 ? c.reference : c.evolved);
  const box = (at) => ({ type: "rect", x0: at[0], y0: at[1], x1: at[2], y1: at[3] });
  const shapes = [
    { ...box([left, bottom, right, top]), line: { color: c.line, width: 1 } },
    ...mapping.fields.map((field) => ({ ...circle(field),
      line: { color: tint(field), width: field.site === chosen ? 4 : 1.5, dash: field.at_edge ? "dash" : "solid" } })),
  ];
  if (mapping.place) {
    const { x_deg: x, y_deg: y, size_deg: size } = mapping.place;
    shapes.push({ ...box([x - size / 2, y - size / 2, x + size / 2, y + size / 2]), line: { color: c.focus, width: 2, dash: "dot" } });
  }
  const of = (what) => mapping.fields.map((field) => field[what]);
  const said = `${mapping.fields.length} of ${mapping.n_sites} sites have a field`;
  draw("figure-fields", [
    { x: of("x_deg"), y: of("y_deg"), text: of("site"), mode: "markers", type: "scatter",
      hovertemplate: "%{text}: %{x:.1f}°, %{y:.1f}°<extra></extra>", marker: { size: 6, color: mapping.fields.map(tint) } },
    { x: [0], y: [0], mode: "markers", type: "scatter", hoverinfo: "skip",
      marker: { symbol: "cross-thin", size: 14, line: { width: 2.5, color: c.ink } } },
  ], {
    hovermode: "closest", margin: { l: 2.8 * rem(), b: 2.6 * rem(), r: 6, t: 4 },
    xaxis: { range: [left - room, right + room], ticksuffix: "°", nticks: 7, constrain: "domain", zeroline: false },
    yaxis: { range: [bottom - room, top + room], ticksuffix: "°", nticks: 7, scaleanchor: "x", constrain: "domain", zeroline: false },
    shapes,
  }, said);
  element("fields-title").textContent = said;
}

export function showCourse(found, course) {
  const line = found.lines.find((each) => each.site === course?.site);
  const c = colours();
  element("course-title").textContent = line
    ? `${line.site}: ${line.latency_ms === null ? "no latency" : `answers after ${number(line.latency_ms, 0)} ms`}` : "Time course";
  element("course-legend").replaceChildren(...(course?.psth.length ? found.roles : []).map((role, i) => {
    const swatch = make("i");
    swatch.style.setProperty("--c", SERIES[i % SERIES.length]);
    return make("span", {}, swatch, role.replaceAll("_", " "));
  }));
  if (!course?.psth.length) {
    draw("figure-course", [], {}, "No spike times were kept");
    return;
  }
  const traces = course.psth.map((y, i) => ({ x: found.times_ms, y, mode: "lines", type: "scatter", name: found.roles[i],
    line: { color: SERIES[i % SERIES.length], width: 2.5 }, hovertemplate: "%{y:.1f} sp/s" }));
  const dots = course.raster.flatMap((row, i) => row.map((x) => [x, i]));
  traces.push({ x: dots.map(([x]) => x), y: dots.map(([, i]) => i), mode: "markers", type: "scatter", yaxis: "y2",
    hoverinfo: "skip", marker: { size: 3, color: c.ink } });
  const [start, stop] = found.count_window_ms;
  const upright = (x, color, dash) => ({ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line: { color, width: 2, dash } });
  const shapes = [
    { type: "rect", xref: "x", yref: "paper", x0: start, x1: stop, y0: 0, y1: 1, line: { width: 0 }, layer: "below",
      fillcolor: faint(c.focus, 0.12) },
    upright(0, c.dim, "solid"), ...(line?.latency_ms == null ? [] : [upright(line.latency_ms, c.evolved, "dot")]),
  ];
  draw("figure-course", traces, {
    xaxis: { title: { text: "ms after onset", standoff: 4 }, zeroline: false, anchor: "y2" },
    yaxis: { title: { text: "spikes/s", standoff: 4 }, rangemode: "tozero", domain: [0.42, 1] },
    yaxis2: { domain: [0, 0.36], showticklabels: false, showgrid: false, zeroline: false, fixedrange: true,
      title: { text: "showings", standoff: 4 }, range: [course.raster.length, -1] },
    shapes,
  }, `Time course of ${course.site}`);
}
