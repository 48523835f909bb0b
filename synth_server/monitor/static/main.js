// The page: listens to the monitor, and shows the thread and the block that somebody chose.
import { listen, showButtons } from "./actions.js";
import * as charts from "./charts.js";
import { number, span } from "./format.js";
import * as panels from "./panels.js";
import * as sites from "./sites.js";

const element = (id) => document.getElementById(id);
const page = {
  overview: null, aheadOfUs_s: 0, chosen: null, thread: null, found: null,
  at: 0, isLatest: true, site: "", shownBlock: "", isBusy: false, isStale: false,
  areSites: false, sites: null, picked: "",
};

async function get(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error((await response.json()).what);
  return response.json();
}

// --- news ----------------------------------------------------------------------------------------

let source = null;

function connect() {
  source = new EventSource("/events");
  source.addEventListener("overview", (event) => {
    const news = JSON.parse(event.data);
    page.aheadOfUs_s = news.now_unix_s - Date.now() / 1000;
    page.overview = news.overview;
    tellProblem();
    showOverview();
  });
  source.onerror = () => say("the monitor has ended; start it again: synth-server monitor", "bad");
}

// A page that nobody sees needs no news: a browser opens only six connections to one server.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) source?.close();
  else if (source?.readyState === EventSource.CLOSED) connect();
});

let heldUntil = 0;

// What a button was answered stays for a while; only something worse replaces it.
function say(text, level = "", hold_ms = 0) {
  const now = performance.now();
  if (!hold_ms && now < heldUntil && level !== "bad") return;
  heldUntil = hold_ms ? now + hold_ms : 0;
  const node = element("said");
  node.textContent = text;
  node.title = text;
  node.dataset.level = level;
}

function tellProblem() {
  const { problem, reading, computing, threads, link, at_rig } = page.overview;
  document.body.classList.toggle("reading", reading);
  const warned = threads.flatMap((thread) => thread.warnings);
  if (problem) say(problem, "bad");
  else if (reading) say("reading the log …");
  else if (computing) say(`${computing.what} … ${Math.floor((100 * computing.done) / Math.max(1, computing.total))} %`);
  else if (link.state === "silent" || link.state === "refused") say(`buttons are off: ${link.said}`, "warn");
  else if (link.rig_says) say(`rig: ${link.rig_says}`, "warn");
  else if (at_rig.warnings.length) say(at_rig.warnings.at(-1), "warn");
  else if (warned.length) say(warned[0], "warn");
  else say("");
}

function showOverview() {
  const { overview } = page;
  if (!overview.threads.some((thread) => thread.name === page.chosen)) page.chosen = overview.threads[0]?.name ?? null;
  panels.showHead(overview);
  panels.showHealth(overview);
  panels.showNotes(overview);
  panels.showThreads(overview, page.chosen, choose);
  showButtons(overview);
  tick();
  refresh();
}

function tick() {
  if (page.overview) panels.showTimes(page.overview, Date.now() / 1000 + page.aheadOfUs_s);
}

// --- the chosen thread ---------------------------------------------------------------------------

// One request at a time; what changed meanwhile is asked for once more.
async function refresh() {
  page.isStale = true;
  if (page.isBusy) return;
  page.isBusy = true;
  document.body.classList.add("busy");
  try {
    while (page.isStale) {
      page.isStale = false;
      await bringUpToDate();
    }
  } catch (error) {
    say(String(error.message ?? error), "bad");
  } finally {
    page.isBusy = false;
    document.body.classList.remove("busy");
  }
}

async function bringUpToDate() {
  if (page.areSites) await bringSites();
  const line = page.overview?.threads.find((thread) => thread.name === page.chosen);
  if (!line) return;
  const known = page.thread;
  if (known?.name !== line.name || known.revision < line.revision) {
    page.thread = await get(`/threads/${line.name}`);
    if (page.thread.phase === "control") {
      page.found = await get(`/threads/${line.name}/distributions`).catch(() => null);
    }
    if (page.chosen !== line.name) return;
    showThread();
  }
  await showBlock();
}

// --- the sites -----------------------------------------------------------------------------------

async function bringSites() {
  if (page.sites?.n_answered === page.overview?.n_answered) return;
  page.sites = await get("/sites");
  await showSites();
}

async function showSites() {
  const { lines } = page.sites;
  if (!lines.some((line) => line.site === page.picked)) page.picked = lines[0]?.site ?? "";
  sites.showTable(page.sites, page.picked, pick);
  sites.showFields(page.sites, page.picked);
  const course = page.picked ? await get(`/sites/${encodeURIComponent(page.picked)}`) : null;
  if (!course || course.site === page.picked) sites.showCourse(page.sites, course);
}

function pick(site) {
  page.picked = site;
  showSites().catch((error) => say(String(error.message ?? error), "bad"));
}

function turn() {
  page.areSites = !page.areSites;
  element("session-view").hidden = page.areSites;
  element("sites-view").hidden = !page.areSites;
  element("view").setAttribute("aria-pressed", String(page.areSites));
  redraw();
}

const blocks = () => page.thread.blocks.filter((block) => block.answered || page.thread.blocks.length === 1);

function showThread() {
  const { thread, found } = page;
  const shown = blocks();
  if (page.isLatest) page.at = Math.max(0, shown.length - 1);
  page.at = Math.min(page.at, Math.max(0, shown.length - 1));
  panels.showSites(thread, page.site);
  if (thread.phase === "control") showControl(found);
  else showEvolution();
  drawMoving();
}

function legend(...parts) {
  element("main-legend").replaceChildren(...parts.map(([name, colour]) => {
    const swatch = panels.make("i");
    swatch.style.setProperty("--c", colour);
    return panels.make("span", {}, ...(colour ? [swatch] : []), name);
  }));
}

function showEvolution() {
  const { thread } = page;
  const [start, stop] = thread.count_window_ms;
  const window = stop > start ? `, ${start}–${stop} ms` : "";
  const done = thread.generation === null ? 0 : thread.generation + 1;
  element("main-title").textContent = thread.n_generations
    ? `${thread.name}: generation ${done} of ${thread.n_generations}` : thread.name;
  legend([`mean ± SEM${window}`, ""], ["evolved", "var(--evolved)"], ["references", "var(--reference)"]);
  element("strip-title").textContent = "Best image of each generation";
  element("drift-title").textContent = "Drift: references ÷ mean";
  panels.showGenerations(thread, (index) => goTo(blocks().findIndex((block) => block.index === index)));
}

const multiple = (value) => (value === null ? "–" : `× ${number(value, 2)}`);
const interval = ({ low, high }) => (low === null ? "" : ` (95 % ${number(low, 2)}–${number(high, 2)})`);

function showControl(found) {
  element("strip-title").textContent = "Best natural image, and images made for each site";
  element("drift-title").textContent = "Images for each site, at all sites";
  if (found === null) {
    element("main-title").textContent = `${page.thread.name}: natural images first`;
    legend();
    panels.emptyStrip();
    charts.clear("figure-main", "figure-drift");
    return;
  }
  const gain = found.summary.median_gain;
  element("main-title").replaceChildren(`gain ${multiple(gain.value)}`, panels.make("span", { class: "wide" }, interval(gain)));
  element("main-title").title = `${multiple(gain.value)}${interval(gain)}: made for a site ÷ its best natural image, median over sites`;
  const colour = charts.kindColours();
  legend(...charts.drawDistributions(found).map((kind) => [charts.SHORT[kind] ?? kind, colour[kind]]));
  charts.drawPopulation(found);
  panels.showTargets(found);
}

// What moves with the slider.
function drawMoving() {
  const { thread } = page;
  const shown = blocks();
  const block = shown[page.at];
  const generation = page.isLatest ? null : block?.generation ?? null;
  if (thread.phase !== "control") {
    charts.drawEvolution(thread, generation);
    charts.drawDrift(thread, generation);
    panels.markGeneration(block?.generation ?? null, page.isLatest);
  }
  const relative = charts.drawHeat(thread, page.isLatest ? null : page.at);
  const whose = page.overview?.threads.length > 1 ? `, ${thread.name}` : "";
  element("heat-title").textContent = (relative ? "Evolved ÷ references" : "Mean spikes") + (whose || ", all sites");
  element("heat-title").title = `${thread.name}: ${relative ? "evolved ÷ references at each site" : "mean spikes at each site"}`;
  panels.showPosition(shown, page.at, page.isLatest);
}

async function showBlock() {
  const block = blocks()[page.at];
  if (!block) return;
  const key = `${block.index} ${block.answered} ${page.site}`;
  if (key === page.shownBlock) return;
  const found = await get(`/blocks/${block.index}?site=${encodeURIComponent(page.site)}`);
  const gaze = block.answered ? await get(`/blocks/${block.index}/gaze`).catch(() => null) : null;
  page.shownBlock = key;
  panels.showBlock(found);
  element("gaze-title").textContent = charts.drawGaze(gaze);
  element("gaze-title").title = element("figure-gaze").getAttribute("aria-label");
}

// --- choosing ------------------------------------------------------------------------------------

function choose(place) {
  const line = page.overview?.threads[place];
  if (!line || line.name === page.chosen) return;
  Object.assign(page, { chosen: line.name, isLatest: true, site: "", found: null });
  panels.showThreads(page.overview, page.chosen, choose);
  refresh();
}

function goTo(place) {
  if (!page.thread || place < 0) return;
  page.at = Math.min(place, blocks().length - 1);
  page.isLatest = false;
  drawMoving();
  refresh();
}

function follow() {
  if (!page.thread) return;
  page.isLatest = true;
  page.at = Math.max(0, blocks().length - 1);
  drawMoving();
  refresh();
}

element("site").addEventListener("change", (event) => {
  page.site = event.target.value;
  refresh();
});
const redraw = () => {
  page.shownBlock = "";
  page.sites = null;
  if (page.thread) showThread();
  refresh();
};
window.addEventListener("themechange", redraw);
let resized = 0;
window.addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(redraw, 200);
});

listen({ say, follow, goTo, choose, turn, step: (by) => goTo(page.at + by) });
setInterval(tick, 1000);
connect();
