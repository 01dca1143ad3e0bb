// The page of the film. As that of the comic, it asks for what is stored, then follows the events from there on.
// Every event says what is, never by how much something changed; so it does no harm to hear one twice.

import { ask, enc, storedEvents } from "./server.js";

const TYPES = ["started", "progress", "log", "retrying", "released", "interrupted", "cancel_requested",
  "completed", "failed", "cancelled", "skipped"];
const TOLD = TYPES.filter((type) => type !== "progress" && type !== "cancel_requested");
const ENDED = new Set(["completed", "failed", "cancelled", "skipped"]);
const STAGES = ["screenplay", "characters", "keyframes", "clips", "post", "film"];
const LOOKS = {
  pending: ["◌", "waiting"], in_progress: ["▶", "at work"], completed: ["✔", "done"], failed: ["✖", "failed"],
  skipped: ["↷", "skipped"], cancelled: ["⊘", "cancelled"], retrying: ["⟳", "trying again"],
  stopping: ["⊘", "stopping"], log: ["·", ""],
  live: ["●", "live"], lost: ["◌", "reconnecting"], leaving: ["■", "server stopping"], ended: ["✔", "complete"],
};
const LINES = 200;
const AGAIN = 2000; // ms until what failed is asked again
const ANNOUNCE = 5000; // ms between two sentences for those who listen

const $ = (id) => document.getElementById(id);
const copy = (id) => $(id).content.firstElementChild.cloneNode(true);
const words = (text) => text.replaceAll("_", " ");
let film = null; // what is shown: {id, title, jobs: Map, cursor, source}

// -- following a film

async function show(id) {
  leave();
  const mine = film = { id, jobs: new Map(), source: null };
  try {
    // The cursor is older than the jobs: what happened in between is heard again, and nothing is missed.
    const { events, cursor } = await storedEvents(id, TOLD);
    const { items } = await ask(`jobs/v1/jobs?group=${enc(id)}&order=oldest&limit=1000`);
    if (mine !== film) return;
    film.cursor = cursor;
    build(items);
    tell(events);
    reveal("film");
    trouble("");
    if (isOver()) connection("ended");
    else follow();
  } catch (error) {
    if (mine !== film) return;
    if (error.status === 404) return void reveal("nothing");
    connection("lost");
    setTimeout(() => mine === film && show(id), AGAIN);
  }
}

function follow() {
  const mine = film;
  const source = film.source = new EventSource(
    `jobs/v1/groups/${enc(mine.id)}/events?after=${enc(mine.cursor)}&types=${TYPES}`);
  source.onopen = () => connection("live");
  source.onerror = () => {
    if (mine !== film || source !== film.source) return;
    // The browser connects again by itself, from the last event it heard, unless the answer was no stream at all.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => mine === film && show(mine.id), AGAIN);
    connection("lost");
  };
  for (const type of TYPES) source.addEventListener(type, (message) => hear(JSON.parse(message.data), message));
  source.addEventListener("bye", () => connection("leaving"));
  source.addEventListener("reset", (message) => JSON.parse(message.data).reason === "retention" && show(mine.id));
  source.addEventListener("end", () => {
    source.close();
    film.source = null;
    connection("ended");
    refresh();
  });
}

function leave() {
  film?.source?.close();
  film = null;
  $("player").removeAttribute("src");
  connection("idle");
}

// A browser opens six connections to a host: a page that nobody looks at gives its own back.
document.addEventListener("visibilitychange", () => {
  if (!film) return;
  if (!document.hidden) return void (isOver() || film.source || show(film.id));
  film.source?.close();
  film.source = null;
});

function hear(event, message) {
  const job = film?.jobs.get(event.job_id);
  if (!job) return;
  film.cursor = message.lastEventId;
  const { type, data } = event;
  if (event.status) job.status = event.status;
  if (event.attempt) job.attempt = event.attempt;
  if (type === "started") Object.assign(job, { progress: null, cancel_requested: false });
  else if (type === "progress") job.progress = data;
  else if (type === "cancel_requested") job.cancel_requested = true;
  else if (type === "retrying") job.failures = data.by ? 0 : data.retry;
  if (type !== "progress" && type !== "cancel_requested") tell([event]);
  refresh(job);
}

const isOver = () => [...film.jobs.values()].every((job) => ENDED.has(job.status));
const nameOf = (jobId) => words(jobId.slice(jobId.indexOf("/") + 1)).replace(/^(screenplay) .*/, "$1");

function say(element, state, word) {
  const place = element.querySelector(".state") ?? element;
  place.dataset.state = element.dataset.state = state;
  place.querySelector(".icon").textContent = LOOKS[state][0];
  place.querySelector(".word").textContent = word ?? LOOKS[state][1];
}

// -- building what never changes, once

function build(items) {
  for (const id of ["scenes", "cast", "stages", "log"]) $(id).replaceChildren();
  const reels = new Map();
  for (const job of items) {
    film.jobs.set(job.id, job);
    const { stage, scene_id, view, name, frame_type } = job.metadata;
    if (stage === "film") film.title = job.metadata.title;
    if (stage === "characters" && view === "front") {
      job.element = frame(name, `${name}, from the front`, job);
      const item = document.createElement("li");
      item.append(job.element);
      $("cast").append(item);
    } else if (stage === "keyframes") {
      job.element = frame(words(frame_type), job.metadata.prompt, job);
      reelOf(scene_id, reels).prepend(job.element);
    } else if (stage === "clips" || stage === "post") {
      job.element = frame(stage === "clips" ? "clip" : "finished", `${words(scene_id)}, ${stage}`, job);
      reelOf(scene_id, reels).append(job.element);
    }
  }
  // Keyframes were put in front of one another.
  const order = { first_frame: 0, transition_frame: 1, last_frame: 2 };
  for (const reel of reels.values()) {
    const frames = [...reel.children].filter((child) => child.job.metadata.stage === "keyframes");
    frames.sort((a, b) => order[a.job.metadata.frame_type] - order[b.job.metadata.frame_type]);
    reel.prepend(...frames);
  }
  for (const stage of STAGES) {
    const element = copy("a-stage");
    element.querySelector(".name").textContent = stage;
    $("stages").append(element);
  }
  $("title").textContent = film.title;
  refresh(...items);
}

function frame(name, alt, job) {
  const element = copy("a-picture");
  element.querySelector(".name").textContent = name;
  return Object.assign(element, { job, alt });
}

function reelOf(scene, reels) {
  if (!reels.has(scene)) {
    const element = copy("a-scene");
    element.querySelector("h3").textContent = words(scene);
    $("scenes").append(element);
    reels.set(scene, element.querySelector(".reel"));
  }
  return reels.get(scene);
}

// -- painting what changes, once a frame

const dirty = new Set();
let asked = false;

function refresh(...jobs) {
  for (const job of jobs) dirty.add(job);
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    for (const job of dirty) if (job.element) paint(job);
    dirty.clear();
    if (film?.title !== undefined) summarise();
  });
}

function stateOf(job) {
  if (job.status === "pending" && job.failures) return "retrying";
  return job.status === "in_progress" && job.cancel_requested ? "stopping" : job.status;
}

function paint(job) {
  const state = stateOf(job);
  const { element, progress } = job;
  say(element, state);
  const bar = element.querySelector("progress");
  bar.hidden = !(state === "in_progress" && progress?.total);
  bar.ariaLabel = nameOf(job.id);
  if (!bar.hidden) Object.assign(bar, { max: progress.total, value: progress.done });
  const there = element.querySelector(":scope > .made");
  if (state === "completed" && !there) element.append(made(job));
  else if (state !== "completed" && there) {
    there.remove();
    delete element.dataset.drawn;
  }
}

// A finished scene is a film of its own. It is loaded when it is played: a browser opens six connections to a host.
function made(job) {
  const { element } = job;
  const isFilm = job.metadata.stage === "post";
  const shown = isFilm ? document.createElement("video") : new Image();
  shown.className = "made";
  if (isFilm) {
    Object.assign(shown, { controls: true, playsInline: true, preload: "none", ariaLabel: element.alt });
    shown.poster = `pictures/${enc(job.id)}`;
    shown.src = `films/${enc(job.id)}`;
    element.dataset.drawn = "";
  } else {
    shown.addEventListener("load", () => shown.isConnected && (element.dataset.drawn = ""));
    shown.alt = element.alt;
    shown.src = `pictures/${enc(job.id)}`;
  }
  return shown;
}

function newestFilm(jobs) {
  const films = jobs.filter((job) => job.metadata.stage === "film");
  return films.sort((a, b) => a.metadata.version - b.metadata.version).at(-1);
}

function summarise() {
  const jobs = [...film.jobs.values()];
  const count = (...states) => jobs.filter((job) => states.includes(job.status)).length;
  const done = count("completed");
  const lost = count("failed", "skipped", "cancelled");
  const again = jobs.filter((job) => job.attempt > 1).length;
  const told = [`${done} of ${jobs.length} jobs done`];
  if (again) told.push(`${again} tried again`);
  for (const state of ["failed", "skipped", "cancelled"]) if (count(state)) told.push(`${count(state)} ${state}`);
  $("summary").textContent = told.join(", ");
  Object.assign($("whole"), { max: jobs.length, value: done });
  $("whole").dataset.state = done === jobs.length ? "completed" : "in_progress";
  $("cancel").hidden = isOver();
  STAGES.forEach((stage, i) => {
    const of = jobs.filter((job) => job.metadata.stage === stage);
    const ready = of.filter((job) => job.status === "completed").length;
    const has = (state) => of.some((job) => stateOf(job) === state);
    const state = ["failed", "stopping", "in_progress", "retrying", "pending", "cancelled", "skipped"].find(has) ?? "completed";
    const element = $("stages").children[i];
    say(element, state === "pending" && ready ? "in_progress" : state);
    element.querySelector(".count").textContent = of.length > 1 ? `${ready}/${of.length}` : "";
  });
  const newest = newestFilm(jobs);
  const missing = lacking(jobs);
  $("retry").hidden = !(isOver() && (missing.length || newest.status !== "completed"));
  $("missing").hidden = !missing.length;
  $("missing").textContent = missing.length ? `Not in it: ${missing.map(words).join(", ")}.` : "";
  project(newest);
  document.title = `${done === jobs.length ? "✔" : `${done}/${jobs.length}`} ${film.title}`;
  announce(isOver() ? (newest.status === "completed" ? "The film is complete." : `Ended: ${told.join(", ")}.`) : `${told.join(", ")}.`);
}

// Scenes that ended without a finished clip.
function lacking(jobs) {
  const posts = jobs.filter((job) => job.metadata.stage === "post");
  return posts.filter((job) => ENDED.has(job.status) && job.status !== "completed").map((job) => job.metadata.scene_id);
}

function project(newest) {
  const ready = newest.status === "completed";
  $("screen").hidden = $("download").hidden = !ready;
  const address = `films/${enc(newest.id)}`;
  if (ready && $("player").getAttribute("src") !== address) {
    $("player").ariaLabel = film.title;
    $("player").src = $("download").href = address;
  }
}

let sentence = "";
let waiting = 0;

function announce(text) {
  sentence = text;
  waiting ||= setTimeout(() => {
    waiting = 0;
    if ($("news").textContent !== sentence) $("news").textContent = sentence;
  }, ANNOUNCE);
}

function connection(state) {
  const pill = $("connection");
  pill.hidden = state === "idle";
  const failed = state === "ended" && newestFilm([...film.jobs.values()]).status !== "completed";
  if (!pill.hidden) say(pill, failed ? "stopping" : state, failed ? "ended" : undefined);
}

// -- the log

function lineOf({ type, attempt, data, job_id }) {
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

function tell(events) {
  for (const event of events.slice(-2 * LINES)) {
    const line = lineOf(event);
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

// -- the first page, and what people do

async function home() {
  leave();
  document.title = "The film";
  reveal("home");
  const { items } = await ask(`jobs/v1/jobs?function=${enc("examples.movie.jobs:cut_film")}&order=newest&limit=24`);
  const newest = items.filter((job, i) => items.findIndex((other) => other.group === job.group) === i);
  $("shelf").replaceChildren(...newest.map((job) => {
    const element = copy("a-film");
    element.querySelector("a").href = `#${enc(job.group)}`;
    element.querySelector(".name").textContent = job.metadata.title;
    const time = element.querySelector("time");
    time.dateTime = job.created_at;
    time.textContent = new Date(job.created_at).toLocaleString([], { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false });
    say(element, job.status === "in_progress" ? "pending" : job.status, job.status in { pending: 0, in_progress: 0 } ? "being made" : undefined);
    return element;
  }));
  document.querySelector(".shelf").hidden = !newest.length;
}

let shown = null;

function reveal(id) {
  for (const section of ["home", "film", "nothing"]) $(section).hidden = section !== id;
  const place = id === "film" ? film.id : id;
  if (shown !== null && shown !== place) {
    scrollTo(0, 0);
    document.querySelector(`#${id} h1`).focus({ preventScroll: true });
  }
  shown = place;
}

function trouble(text) {
  $("trouble").hidden = !text;
  $("trouble").textContent = text;
}

async function attempt(button, action) {
  button.disabled = true;
  trouble("");
  try {
    await action();
  } catch (error) {
    trouble(error instanceof TypeError ? "The server does not answer." : `This did not work: ${error.message}.`);
  } finally {
    button.disabled = false;
  }
}

$("wish").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  void attempt(event.submitter, async () => {
    const made = await ask("movies", { title: form.get("title"), scenes: Number(form.get("scenes")) });
    location.hash = made.movie;
  });
});

$("cancel").addEventListener("click", (event) => void attempt(event.target, () =>
  ask("jobs/v1/jobs:cancel", { filter: { group: film.id } })));

$("retry").addEventListener("click", (event) => void attempt(event.target, async () => {
  await ask("movies/resume", { movie: film.id });
  await show(film.id);
}));

function route() {
  const id = decodeURIComponent(location.hash.slice(1));
  void (id ? show(id) : home().catch(() => trouble("The server does not answer.")));
}

addEventListener("hashchange", route);
route();
