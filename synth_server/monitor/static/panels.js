// Everything on the page that is not a figure.
import { age, bytes, clock, count, number, seconds, span } from "./format.js";

const element = (id) => document.getElementById(id);

function set(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function tile(id, value, more = "", level = "") {
  const node = element(`tile-${id}`);
  set(node.querySelector("b"), value);
  set(node.querySelector("small"), more);
  node.dataset.level = level;
  node.title = `${value} ${more}`.trim();
}

export function make(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  Object.entries(attributes).forEach(([key, value]) => {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value);
  });
  node.append(...children);
  return node;
}

const picture = (id, alt, px) =>
  make("img", { src: `/images/${id}.png`, alt, decoding: "async", ...(px ? { width: px, height: px } : {}) });

export const position = (block) =>
  block.generation === null ? block.label || `block ${block.index}` : `generation ${block.generation}`;

// --- head and health -----------------------------------------------------------------------------

export function showHead(overview) {
  set(element("session"), overview.session_id);
  const simulated = element("simulated");
  simulated.hidden = !overview.simulated;
  simulated.title = overview.simulated;
  document.title = `${overview.simulated ? "SIMULATED " : ""}${overview.state}: ${overview.session_id}`;
  const badge = element("state");
  set(badge, overview.state);
  badge.dataset.state = overview.state;
}

const EVENTS = { session_started: "started", block_proposed: "block", responses_received: "responses",
  rig_attached: "rig attached", control: "button", amended: "steered", server_resumed: "resumed", session_ended: "ended" };

export function showTimes(overview, now_s) {
  const end = overview.ended_unix_s ?? now_s;
  const blocks = `${count(overview.n_answered)} of ${count(overview.n_proposed)} blocks`;
  const evolving = overview.threads.filter((thread) => thread.n_generations);
  const planned = evolving.reduce((sum, thread) => sum + thread.n_generations, 0);
  const done = evolving.reduce((sum, thread) => sum + (thread.generation === null ? 0 : thread.generation + 1), 0);
  const left = overview.ended_unix_s === null && done > 0 && done < planned
    ? `, about ${span((end - overview.started_unix_s) * (planned - done) / done)} left` : "";
  set(element("elapsed"), `${span(end - overview.started_unix_s)}, ${blocks}${left}`);
  const last = overview.last_event;
  const late = overview.state === "running" && !overview.link.rig_says && !overview.reading && overview.health.due_unix_s !== null && now_s > overview.health.due_unix_s;
  const over = overview.ended_unix_s !== null;
  tile("event", last ? age(now_s - last.unix_s) : "–",
    late ? "ago; responses are late" : last ? `ago: ${EVENTS[last.kind] ?? last.kind}` : "",
    late ? "warn" : over ? "" : "good");
}

export function showHealth(overview) {
  const h = overview.health;
  const on = overview.on_screen;
  tile("screen", on ? position(on).replace("generation", "gen.") : "–", on ? `${on.thread}, ${on.n_images} images` : overview.ended_unix_s ? "session over" : "");
  const link = { connected: ["up", "good"], silent: ["silent", "bad"], refused: ["refused", "bad"],
    over: ["–", ""], looking: ["…", ""] }[overview.link.state];
  const says = overview.link.rig_says;
  if (says) tile("link", "waits", says, "warn");
  else tile("link", link[0], overview.link.said || (overview.link.rig_id ? `rig ${overview.link.rig_id}` :
    overview.link.state === "connected" ? "no rig yet" : overview.link.state === "over" ? "session over" : ""), link[1]);
  const share = h.rig_wait_share;
  tile("wait", seconds(h.rig_wait_s), share === null ? "" : `${number(100 * share, share < 0.0995 ? 1 : 0)} % of time`,
    share === null ? "" : share > 0.2 ? "warn" : "good");
  tile("generation", seconds(h.generation_s), h.median_generation_s === null ? "" : `median ${seconds(h.median_generation_s)}`);
  const shown = h.presentations;
  tile("frames", shown ? count(h.late_frames) : "–", shown ? `of ${count(shown)} shown` : "",
    shown ? (h.late_frames > 0.02 * shown ? "warn" : "good") : "");
  const failed = h.presentations - h.completed;
  const faults = Object.entries(h.faults).map(([name, n]) => `${name.replaceAll("_", " ")} ${n}`);
  const why = [...faults, h.fixation_break ? `fixation ${h.fixation_break}` : "", h.dropped_frame ? `frame ${h.dropped_frame}` : ""];
  tile("aborts", shown ? `${number((100 * failed) / shown, 1)} %` : "–", why.filter(Boolean).join(", ") || (shown ? "none" : ""),
    shown ? (faults.length || failed > 0.3 * shown ? "warn" : "good") : "");
  const c = h.clock;
  tile("clock", c ? `${number(c.drift_ppm, 1)} ppm` : "–",
    c ? `offset ${number(c.offset_s, 3)} s ± ${number(c.residual_s * 1000, 2)} ms` : "none of its own",
    c ? (c.residual_s > 0.002 ? "warn" : "good") : "");
  const r = overview.at_rig;
  const given = r.rewards + r.free_rewards;
  const more = [given && r.ml ? `${count(given)} times` : "", r.free_rewards ? `${count(r.free_rewards)} free` : "",
    r.misses ? `${count(r.misses)} ${r.misses === 1 ? "miss" : "misses"}` : "", r.rests ? `${count(r.rests)} ${r.rests === 1 ? "rest" : "rests"}` : ""];
  tile("juice", !given ? "–" : r.ml ? `${number(r.ml, r.ml < 99.5 ? 1 : 0)} ml` : count(given),
    more.filter(Boolean).join(", ") || (given ? "rewards" : "none told"), r.rests ? "warn" : given ? "good" : "");
  const d = overview.disk;
  tile("disk", d ? bytes(d.free_bytes) : "–", d ? `log ${bytes(d.log_bytes)}` : "",
    d ? (d.free_bytes < 2e9 ? "bad" : d.free_bytes < 1e10 ? "warn" : "good") : "");
}

// --- threads -------------------------------------------------------------------------------------

export function showThreads(overview, chosen, choose) {
  const list = element("threads");
  if (list.children.length !== overview.threads.length) {
    list.replaceChildren(...overview.threads.map((thread, i) =>
      make("button", { type: "button", role: "tab", "data-name": thread.name, onclick: () => choose(i) },
        make("span", {}, thread.name), make("span", { class: "gain" }))));
    list.onkeydown = (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      const at = [...list.children].indexOf(document.activeElement);
      const next = list.children[(at + step + list.children.length) % list.children.length];
      next.focus();
      next.click();
    };
  }
  overview.threads.forEach((thread, i) => {
    const tab = list.children[i];
    const selected = thread.name === chosen;
    tab.setAttribute("aria-selected", String(selected));
    tab.tabIndex = selected ? 0 : -1;
    tab.title = [`${thread.protocol}${thread.generation === null ? "" : `, generation ${thread.generation + 1} of ${thread.n_generations ?? "?"}`}`, ...thread.warnings].join("\n");
    tab.firstChild.classList.toggle("warned", thread.warnings.length > 0);
    const ratio = thread.evolved?.mean && thread.reference?.mean > 0 ? thread.evolved.mean / thread.reference.mean : null;
    set(tab.lastChild, ratio === null ? "" : `${number(ratio, ratio < 9.95 ? 1 : 0)} × refs`);
    tab.lastChild.title = "evolved ÷ mean of all references, last generation; the gain over the best natural image is in the report";
  });
}

const noted = (note) => ["annotate", "amended"].includes(note.command) ? note.text
  : note.at_rig ? [note.command.replaceAll("_", " "), note.text].filter(Boolean).join(": ") : note.command;

export function showNotes(overview) {
  const list = element("notes");
  const key = `${overview.notes.length} ${overview.notes.at(-1)?.unix_s}`;
  if (list.dataset.of === key) return;
  list.dataset.of = key;
  const lines = overview.notes.map((note) =>
    make("li", {}, make("time", {}, clock(note.unix_s)), make("span", note.at_rig ? { class: "dim" } : {}, noted(note))));
  list.replaceChildren(...(lines.length ? lines.reverse() : [make("li", { class: "dim" }, "none yet")]));
}

// --- images --------------------------------------------------------------------------------------

const CAPTION_PX = 20, GAP_PX = 4, BORDER_PX = 6, LARGEST_PX = 120, SMALLEST_PX = 64 + BORDER_PX;

const at = (place) => `${place.size_deg}° wide at (${place.x_deg}°, ${place.y_deg}°)`;

// The largest size at which all images of a block can be seen at once.
function cell(n, width, height) {
  for (let px = LARGEST_PX; px > SMALLEST_PX; px -= 1) {
    const columns = Math.floor((width + GAP_PX) / (px + GAP_PX));
    if (Math.ceil(n / columns) * (px + CAPTION_PX + GAP_PX) - GAP_PX <= height) return px;
  }
  return SMALLEST_PX;
}

export function showBlock(found) {
  const grid = element("images");
  const { block } = found;
  set(element("block-title"), `${position(block)}${block.answered ? "" : ", on screen"}`);
  const px = cell(found.images.length, grid.clientWidth, grid.clientHeight);
  grid.style.gridTemplateColumns = `repeat(auto-fill, ${px}px)`;
  const images = [...found.images].sort((a, b) => (b.count ?? -1) - (a.count ?? -1));
  const digits = images.every((image) => Number.isInteger(image.count ?? 0)) ? 0 : 1;
  grid.replaceChildren(...images.map((image) => {
    const text = image.count === null ? (block.answered ? "–" : "") : number(image.count, digits);
    const title = [image.role.replaceAll("_", " "), image.label, image.targets.join(", "), image.place ? at(image.place) : ""].filter(Boolean).join(", ");
    return make("figure", { "data-role": image.role, title: `${title}: ${text || "no count yet"}` },
      picture(image.image, title, px), make("figcaption", {}, text));
  }));
}

export function showSites(thread, chosen) {
  const select = element("site");
  const wanted = ["", ...thread.recorded];
  if (select.dataset.thread === `${thread.name} ${wanted.length}`) return;
  select.dataset.thread = `${thread.name} ${wanted.length}`;
  const first = thread.phase === "control" ? "its target" : thread.sites.length === 1 ? thread.sites[0] : thread.sites.length ? "driven sites" : "all sites";
  select.replaceChildren(...wanted.map((site) => make("option", { value: site }, site || first)));
  select.value = wanted.includes(chosen) ? chosen : "";
}

function frame(id, caption, alt, act) {
  return make("figure", { onclick: act, title: alt }, picture(id, alt), make("figcaption", {}, caption));
}

// One image a generation; what is there stays, so that nothing flickers.
export function showGenerations(thread, goTo) {
  const strip = element("strip");
  if (strip.dataset.of !== thread.name) {
    strip.replaceChildren();
    strip.dataset.of = thread.name;
  }
  const shown = thread.generations.filter((each) => each.best_id);
  const digits = shown.every((each) => Number.isInteger(each.evolved.best)) ? 0 : 1;
  shown.forEach((each, i) => {
    const old = strip.children[i];
    if (old?.dataset.key === each.best_id) return;
    const made = frame(each.best_image, number(each.evolved.best, digits),
      `best image of generation ${each.generation}: ${number(each.evolved.best, digits)} ${thread.unit}`, () => goTo(each.block));
    made.dataset.key = each.best_id;
    made.dataset.generation = each.generation;
    made.dataset.role = "evolved";
    made.prepend(make("span", { class: "corner" }, String(each.generation)));
    if (old) old.replaceWith(made);
    else strip.append(made);
  });
}

export function markGeneration(generation, isLatest) {
  const strip = element("strip");
  let current = null;
  for (const each of strip.children) {
    const is = generation !== null && Number(each.dataset.generation) === generation;
    if (is) current = each;
    each.setAttribute("aria-current", String(is));
  }
  if (isLatest) strip.scrollLeft = strip.scrollWidth;
  else if (current) strip.scrollLeft = current.offsetLeft - strip.offsetLeft - strip.clientWidth / 2;
}

const PER_TARGET = 5;

// The images made for each site, best first, after its best natural one.
export function showTargets(found) {
  const strip = element("strip");
  const key = `targets ${found.thread} ${found.revision}`;
  if (strip.dataset.of === key) return;
  strip.dataset.of = key;
  const left = strip.scrollLeft;
  strip.replaceChildren(...found.targets.flatMap((target) => {
    const ranked = (role, n) => {
      const kind = target.kinds.find((each) => each.role === role);
      const order = kind ? kind.counts.map((_, i) => i).sort((a, b) => kind.counts[b] - kind.counts[a]).slice(0, n) : [];
      return order.map((i) => {
        const made = frame(kind.images[i], number(kind.counts[i], 1), `${role}, ${target.site}: ${number(kind.counts[i], 1)} spikes`, () => {});
        made.dataset.role = role === "made for it" ? "stretch" : "best_natural";
        return made;
      });
    };
    return [make("div", { class: "group" }, target.site), ...ranked("best natural", 1), ...ranked("made for it", PER_TARGET)];
  }));
  strip.scrollLeft = left;
}

export function emptyStrip() {
  element("strip").replaceChildren();
  element("strip").dataset.of = "";
}

export function showPosition(blocks, at, isLatest) {
  const slider = element("slider");
  slider.max = Math.max(0, blocks.length - 1);
  slider.value = at;
  slider.disabled = blocks.length < 2;
  const block = blocks[at];
  const where = block?.generation === null ? block.label : `block ${block?.index}`;
  const text = !block ? "–" : block.generation === null ? `block ${block.index}` : position(block);
  element("position").title = where;
  slider.setAttribute("aria-valuetext", text);
  set(element("position"), text);
  element("live").setAttribute("aria-pressed", String(isLatest));
}
