// What the pages have in common: how states look, the log, what is said aloud, what went wrong, and which section is shown.

const LINES = 200;
const SHORT = { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false };

export const ENDED = new Set(["completed", "failed", "cancelled", "skipped"]);
export const LOOKS = { // a page adds its own, and its own words
  pending: ["◌", "waiting"], in_progress: ["▶", "at work"], completed: ["✔", "done"], failed: ["✖", "failed"],
  skipped: ["↷", "skipped"], cancelled: ["⊘", "cancelled"], retrying: ["⟳", "trying again"],
  stopping: ["⊘", "stopping"], log: ["·", ""],
  live: ["●", "live"], lost: ["◌", "reconnecting"], leaving: ["■", "server stopping"], ended: ["✔", "complete"],
};

export const $ = (id) => document.getElementById(id);
export const copy = (id) => $(id).content.firstElementChild.cloneNode(true);

export function say(element, state, word) {
  const place = element.querySelector(":scope > .caption .state") ?? element.querySelector(".state") ?? element;
  place.dataset.state = element.dataset.state = state;
  place.querySelector(".icon").textContent = LOOKS[state][0];
  place.querySelector(".word").textContent = word ?? LOOKS[state][1];
}

export function connection(state, whole = true) {
  const pill = $("connection");
  pill.hidden = state === "idle";
  const failed = state === "ended" && !whole;
  if (!pill.hidden) say(pill, failed ? "stopping" : state, failed ? "ended" : undefined);
}

// -- what changes, painted once a frame

export function onFrames(paint, summarise) {
  const dirty = new Set();
  let asked = false;
  return (...jobs) => {
    for (const job of jobs) dirty.add(job);
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      for (const job of dirty) if (job.element) paint(job);
      dirty.clear();
      summarise();
    });
  };
}

export function stateOf(job) {
  if (job.status === "pending" && job.failures) return "retrying";
  return job.status === "in_progress" && job.cancel_requested ? "stopping" : job.status;
}

export function paintTally(jobs) {
  const count = (state) => jobs.filter((job) => job.status === state).length;
  const done = count("completed");
  const again = jobs.filter((job) => job.attempt > 1).length;
  const words = [`${done} of ${jobs.length} jobs done`];
  if (again) words.push(`${again} tried again`);
  for (const state of ["failed", "skipped", "cancelled"]) if (count(state)) words.push(`${count(state)} ${state}`);
  const tally = words.join(", ");
  $("summary").textContent = tally;
  Object.assign($("whole"), { max: jobs.length, value: done });
  $("whole").dataset.state = done === jobs.length ? "completed" : "in_progress";
  return { tally, short: done === jobs.length ? "✔" : `${done}/${jobs.length}` };
}

export function paintStages(stages, jobs) {
  stages.forEach((stage, i) => {
    const of = jobs.filter((job) => job.metadata.stage === stage);
    const ready = of.filter((job) => job.status === "completed").length;
    const has = (state) => of.some((job) => stateOf(job) === state);
    const state = ["failed", "stopping", "in_progress", "retrying", "pending", "cancelled", "skipped"].find(has) ?? "completed";
    const element = $("stages").children[i];
    say(element, state === "pending" && ready ? "in_progress" : state);
    element.querySelector(".count").textContent = of.length > 1 ? `${ready}/${of.length}` : "";
  });
}

export function nameStages(names) {
  $("stages").replaceChildren(...names.map((name) => {
    const element = copy("a-stage");
    element.querySelector(".name").textContent = name;
    return element;
  }));
}

// -- the log

export function lineOf({ type, attempt, data, job_id }, nameOf) {
  const name = nameOf(job_id);
  switch (type) {
    case "started": return attempt > 1 ? ["in_progress", `${name}: try ${attempt}`] : null;
    case "log": return ["log", `${name}: ${data.message}`];
    case "completed": return ["completed", `${name} is done`];
    case "retrying": return ["retrying", data.by ? `${name} is wanted again` : `${name}: ${data.message}`];
    case "failed": return ["failed", `${name} failed: ${data.message}`];
    case "skipped": return ["skipped", `${name} is skipped` + (data.because ? `, because of ${nameOf(data.because)}` : "")];
    case "cancelled": return ["cancelled", `${name} is cancelled`];
    case "interrupted": return ["retrying", `${name} was interrupted`];
    case "released": return ["retrying", `${name} was put back`];
    default: return null;
  }
}

export function tell(events, lineOfOne) {
  for (const event of events.slice(-2 * LINES)) {
    const line = lineOfOne(event);
    if (!line) continue;
    const element = copy("a-line");
    const time = element.querySelector("time");
    time.dateTime = event.at;
    time.textContent = new Date(event.at).toLocaleTimeString([], { hour12: false });
    say(element, ...line);
    $("log").prepend(element);
  }
  while ($("log").children.length > LINES) $("log").lastElementChild.remove();
}

// -- for those who listen

let sentence = "";
let waiting = 0;

export function announce(text, pause = 5000) { // ms between two sentences
  sentence = text;
  waiting ||= setTimeout(() => {
    waiting = 0;
    if ($("news").textContent !== sentence) $("news").textContent = sentence;
  }, pause);
}

// -- which section is shown, and what people do

let shown = null;

export function reveal(id, place = id) {
  for (const section of document.querySelectorAll("main > section[id], main > article[id]")) section.hidden = section.id !== id;
  if (shown !== null && shown !== place) {
    scrollTo(0, 0);
    document.querySelector(`#${id} h1`).focus({ preventScroll: true });
  }
  shown = place;
}

export function onShelf(template, job) {
  const element = copy(template);
  element.querySelector("a").href = `#${encodeURIComponent(job.group)}`;
  element.querySelector(".name").textContent = job.metadata.title;
  const time = element.querySelector("time");
  time.dateTime = job.created_at;
  time.textContent = new Date(job.created_at).toLocaleString([], SHORT);
  return element;
}

export function trouble(error) {
  const text = error instanceof TypeError ? "The server does not answer." : error && `This did not work: ${error.message}.`;
  $("trouble").hidden = !text;
  $("trouble").textContent = text ?? "";
}

export async function attempt(button, action) {
  button.disabled = true;
  trouble(null);
  try {
    await action();
  } catch (error) {
    trouble(error);
  } finally {
    button.disabled = false;
  }
}

// A button for each choice of a question; `answer` sends what was chosen.
export function offerChoices(choices, answer) {
  $("choices").replaceChildren(...choices.map((choice, i) => {
    const button = document.createElement("button");
    button.textContent = choice;
    if (!i) button.className = "primary";
    button.addEventListener("click", () => void choose(choice, answer));
    return button;
  }));
}

async function choose(choice, answer) {
  const buttons = [...$("choices").children];
  for (const button of buttons) button.disabled = true; // a double click is one answer
  trouble(null);
  try {
    await answer(choice);
  } catch (error) {
    if (error.status === 409) return; // somebody was faster, as the stream will say
    for (const button of buttons) button.disabled = false;
    trouble(error);
  }
}

export function route(show, home) {
  const go = () => {
    const id = decodeURIComponent(location.hash.slice(1));
    void (id ? show(id) : home().catch(trouble));
  };
  addEventListener("hashchange", go);
  go();
}
