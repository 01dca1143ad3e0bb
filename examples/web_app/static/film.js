// The page of the film. As that of the comic, it asks for what is stored, then follows the events from there on.
// Every event says what is, never by how much something changed; so it does no harm to hear one twice.

import {
  $, ENDED, announce, attempt, connection, copy, lineOf, nameStages, onFrames, onShelf, paintStages, paintTally, reveal,
  route, say, stateOf, tell, trouble,
} from "./page.js";
import { AGAIN, ask, enc, follow, storedEvents } from "./server.js";

const TYPES = ["started", "progress", "log", "retrying", "released", "interrupted", "cancel_requested",
  "completed", "failed", "cancelled", "skipped"];
const TOLD = TYPES.filter((type) => type !== "progress" && type !== "cancel_requested");
const STAGES = ["screenplay", "characters", "keyframes", "clips", "post", "film"];

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
    told(...events);
    reveal("film", id);
    trouble(null);
    if (isOver()) connected("ended");
    else listen();
  } catch (error) {
    if (mine !== film) return;
    if (error.status === 404) return void reveal("nothing");
    connection("lost");
    setTimeout(() => mine === film && show(id), AGAIN);
  }
}

function listen() {
  const mine = film;
  const again = () => mine === film && show(mine.id);
  film.source = follow(mine.id, mine.cursor, TYPES, {
    hear, again, connection: connected,
    reset: (reason) => reason === "retention" && again(),
    ended: () => {
      film.source = null;
      connected("ended");
      refresh();
    },
  });
}

const connected = (state) => connection(state, state !== "ended" || isWhole());

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

function hear(event, cursor) {
  const job = film?.jobs.get(event.job_id);
  if (!job) return;
  film.cursor = cursor;
  const { type, data } = event;
  if (event.status) job.status = event.status;
  if (event.attempt) job.attempt = event.attempt;
  if (type === "started") Object.assign(job, { progress: null, cancel_requested: false });
  else if (type === "progress") job.progress = data;
  else if (type === "cancel_requested") job.cancel_requested = true;
  else if (type === "retrying") job.failures = data.by ? 0 : data.retry;
  if (type !== "progress" && type !== "cancel_requested") told(event);
  refresh(job);
}

const isWhole = () => newestFilm([...film.jobs.values()]).status === "completed";
const isOver = () => [...film.jobs.values()].every((job) => ENDED.has(job.status));
const nameOf = (jobId) => words(jobId.slice(jobId.indexOf("/") + 1)).replace(/^(screenplay) .*/, "$1");

// -- building what never changes, once

function build(items) {
  for (const id of ["scenes", "cast", "log"]) $(id).replaceChildren();
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
  nameStages(STAGES);
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

const refresh = onFrames(paint, () => film?.title !== undefined && summarise());

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
  const { tally, short } = paintTally(jobs);
  $("cancel").hidden = isOver();
  paintStages(STAGES, jobs);
  const newest = newestFilm(jobs);
  const missing = lacking(jobs);
  $("retry").hidden = !(isOver() && (missing.length || newest.status !== "completed"));
  $("missing").hidden = !missing.length;
  $("missing").textContent = missing.length ? `Not in it: ${missing.map(words).join(", ")}.` : "";
  project(newest);
  document.title = `${short} ${film.title}`;
  announce(!isOver() ? `${tally}.` : isWhole() ? "The film is complete." : `Ended: ${tally}.`);
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

const told = (...events) => tell(events, (event) => lineOf(event, nameOf));

// -- the first page, and what people do

async function home() {
  leave();
  document.title = "The film";
  reveal("home");
  const { items } = await ask(`jobs/v1/jobs?function=${enc("examples.movie.jobs:cut_film")}&order=newest&limit=24`);
  const newest = items.filter((job, i) => items.findIndex((other) => other.group === job.group) === i);
  $("shelf").replaceChildren(...newest.map((job) => {
    const element = onShelf("a-film", job);
    say(element, job.status === "in_progress" ? "pending" : job.status, job.status in { pending: 0, in_progress: 0 } ? "being made" : undefined);
    return element;
  }));
  document.querySelector(".shelf").hidden = !newest.length;
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

route(show, home);
