// Buttons, dialogs, keys.

const element = (id) => document.getElementById(id);
const HOLD_MS = 12000;
let said;

const press = (command, text = "") => post(`/control/${command}`, { text });

async function post(path, body) {
  try {
    const response = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const answer = await response.json();
    const more = [answer.got, answer.expected && `expected: ${answer.expected}`, answer.remedy].filter(Boolean);
    if (!response.ok) said(`${answer.what}${more.length ? ` (${more.join("; ")})` : ""}`, "bad", HOLD_MS);
  } catch {
    said("the monitor does not answer", "bad");
  }
}

function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }),
  );
}

async function stop() {
  if ((await ask(element("dialog-stop"))) === "stop") press("stop");
}

async function annotate() {
  const note = element("note");
  note.value = "";
  const answer = await ask(element("dialog-annotate"));
  if (answer === "write" && note.value.trim()) press("annotate", note.value.trim());
}

function showFields() {
  const kind = element("steer-kind").value;
  for (const label of element("form-steer").querySelectorAll("[data-for]"))
    label.hidden = !label.dataset.for.split(" ").includes(kind);
}

async function steer() {
  const kind = element("steer-kind"), threads = element("steer-thread");
  const names = [...document.querySelectorAll("#threads [role=tab]")].map((tab) => tab.dataset.name);
  const chosen = threads.value;
  threads.replaceChildren(new Option("all that can, or the only one", ""), ...names.map((name) => new Option(name, name)));
  threads.value = names.includes(chosen) ? chosen : "";
  showFields();
  if ((await ask(element("dialog-steer"))) !== "steer") return;
  const degrees = (id) => (element(id).value === "" ? null : Number(element(id).value));
  post("/steer", {
    kind: kind.value, thread: threads.value, sites: element("steer-sites").value,
    x_deg: degrees("steer-x"), y_deg: degrees("steer-y"), size_deg: degrees("steer-size"),
    fields: element("steer-fields").value.trim(), toml: element("steer-toml").value,
  });
}

const pause = () => press(element("pause").dataset.command);

export function showButtons(overview) {
  const over = overview.ended_unix_s !== null;
  const may = !over && overview.link.state === "connected";
  const paused = overview.state === "paused";
  const button = element("pause");
  button.dataset.command = paused ? "resume" : "pause";
  button.firstChild.textContent = paused ? "Resume" : "Pause";
  button.disabled = !may || !["running", "paused"].includes(overview.state);
  element("stop").disabled = button.disabled;
  element("steer").disabled = button.disabled;
  element("annotate").disabled = !may;
}

export function listen(page) {
  said = page.say;
  const click = (id, act) => element(id).addEventListener("click", act);
  click("pause", pause);
  click("stop", stop);
  click("annotate", annotate);
  click("steer", steer);
  element("steer-kind").addEventListener("change", showFields);
  click("theme", () => window.toggleTheme());
  click("help", () => ask(element("dialog-help")));
  click("live", () => page.follow());
  click("view", () => page.turn());
  element("slider").addEventListener("input", (event) => page.goTo(Number(event.target.value)));
  const keys = {
    p: () => element("pause").click(),
    s: () => element("stop").click(),
    f: () => element("steer").click(),
    a: () => element("annotate").click(),
    t: () => element("theme").click(),
    l: () => page.follow(),
    v: () => page.turn(),
    "?": () => element("help").click(),
    ArrowLeft: () => page.step(-1),
    ArrowRight: () => page.step(1),
  };
  for (let n = 1; n <= 9; n += 1) keys[n] = () => page.choose(n - 1);
  document.addEventListener("keydown", (event) => {
    const busy = document.querySelector("dialog[open]") || event.ctrlKey || event.metaKey || event.altKey;
    const typing = event.target.closest("input[type=text], input[type=number], select, textarea");
    const own = event.key.startsWith("Arrow") && event.target.closest("[role=tab], input, #strip");
    const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (busy || typing || own || !act) return;
    event.preventDefault();
    act();
  });
}
