// The page of the comic. It knows nothing by itself: it asks for what is stored, then follows the events from there on.
// Every event says what is, never by how much something changed; so it does no harm to hear one twice.

import {
  $, ENDED, LOOKS, announce, attempt, connection, copy, lineOf, nameStages, offerChoices, onFrames, onShelf, paintStages,
  paintTally, reveal, route, say, stateOf, tell, trouble,
} from "./page.js";
import { AGAIN, ask, enc, follow, storedEvents } from "./server.js";

const TYPES = ["started", "progress", "log", "retrying", "released", "interrupted", "cancel_requested",
  "completed", "failed", "cancelled", "skipped"];
const TOLD = TYPES.filter((type) => type !== "progress" && type !== "cancel_requested");
const STAGES = ["plot", "narrative", "references", "panels", "pages", "book"];
const PAPER = [1400, 2100]; // slots are in these pixels

LOOKS.in_progress = ["▶", "drawing"];

let comic = null; // what is shown: {id, title, jobs: Map, cursor, source}

// -- following a comic

async function show(id) {
  leave();
  const mine = comic = { id, jobs: new Map(), source: null };
  try {
    // The cursor is older than the jobs: what happened in between is heard again, and nothing is missed.
    const { events, cursor } = await storedEvents(id, TOLD);
    const { items } = await ask(`jobs/v1/jobs?group=${enc(id)}&order=oldest&limit=1000`);
    if (mine !== comic) return;
    comic.cursor = cursor;
    build(items);
    told(...events);
    reveal("comic", id);
    trouble(null);
    if (isOver()) connected("ended");
    else listen();
  } catch (error) {
    if (mine !== comic) return;
    if (error.status === 404) return void reveal("nothing");
    connection("lost");
    setTimeout(() => mine === comic && show(id), AGAIN);
  }
}

function listen() {
  const mine = comic;
  const again = () => mine === comic && show(mine.id);
  comic.source = follow(mine.id, mine.cursor, TYPES, {
    hear, again, connection: connected,
    reset: (reason) => reason === "retention" && again(),
    ended: () => {
      comic.source = null;
      connected("ended");
      refresh();
    },
  });
}

const connected = (state) => connection(state, state !== "ended" || isWhole());

function leave() {
  comic?.source?.close();
  comic?.asking?.close();
  comic = null;
  offer(null);
  connection("idle");
}

// A browser opens six connections to a host: a page that nobody looks at gives its own back.
document.addEventListener("visibilitychange", () => {
  if (!comic) return;
  if (document.hidden) {
    comic.source?.close();
    comic.asking?.close();
    comic.source = comic.asking = null;
  } else show(comic.id);
});

function hear(event, cursor) {
  const job = comic?.jobs.get(event.job_id);
  if (!job) return;
  comic.cursor = cursor;
  const { type, data } = event;
  if (event.status) job.status = event.status;
  if (event.attempt) job.attempt = event.attempt;
  if (type === "started") Object.assign(job, { progress: null, cancel_requested: false });
  else if (type === "progress") job.progress = data;
  else if (type === "cancel_requested") job.cancel_requested = true;
  else if (type === "retrying") job.failures = data.by ? 0 : data.retry;
  if (type in { progress: 0, cancel_requested: 0 } === false) told(event);
  refresh(job);
}

// -- the question: what is asked, and that it is answered, comes by the stream of the job that asks

function followQuestion() {
  const first = [...comic.jobs.values()].find((job) => job.metadata.stage === "pages" && job.metadata.page === 1);
  if (comic.asking || document.hidden || first?.status !== "completed") return;
  const mine = comic;
  let opened = false;
  const source = comic.asking = new EventSource(
    `jobs/v1/jobs/${enc(`${mine.id}:print`)}/events?types=asked,answered,log`);
  const on = (type, react) => source.addEventListener(type, (message) => {
    if (source === comic?.asking) react(JSON.parse(message.data));
  });
  on("asked", (event) => offer(event.data));
  on("answered", () => offer(null)); // by whomever
  on("log", told);
  on("end", () => {
    source.close();
    offer(null);
  });
  source.onopen = () => opened = true;
  source.onerror = () => {
    if (source !== comic?.asking || source.readyState !== EventSource.CLOSED || !opened) return;
    setTimeout(() => {
      if (source !== comic?.asking) return;
      comic.asking = null;
      followQuestion();
    }, AGAIN);
  };
}

function offer(asked) {
  $("question").hidden = !asked;
  $("asked").textContent = asked?.question ?? "";
  offerChoices(asked?.choices ?? [], (value) => ask(`jobs/v1/jobs/${enc(asked.gate)}/answer`, { value }));
}

const isWhole = () => [...comic.jobs.values()].every((job) => job.status === "completed");
const isOver = () => [...comic.jobs.values()].every((job) => ENDED.has(job.status));

// -- building what never changes, once

const nameOf = (jobId) => jobId.slice(jobId.indexOf(":") + 1).replaceAll("_", " ").replace("page 00", "cover");

function build(items) {
  for (const id of ["pages", "cast", "log"]) $(id).replaceChildren();
  const papers = new Map();
  for (const job of items) {
    comic.jobs.set(job.id, job);
    const { stage, page, title } = job.metadata;
    if (stage === "book") comic.title = title;
    if (stage === "pages") {
      job.element = copy("a-page");
      job.element.querySelector(".name").textContent = page ? `${page}. ${title}` : title;
      job.alt = page ? `Page ${page}: ${title}` : "The cover";
      papers.set(page, job.element);
    } else if (stage === "panels" || stage === "references") {
      job.element = copy("a-picture");
      job.element.querySelector(".name").textContent = nameOf(job.id);
      job.alt = job.metadata.prompt ?? `Reference sheet of ${nameOf(job.id).replace("char ref ", "")}`;
    }
  }
  $("pages").append(...[...papers.keys()].sort((a, b) => a - b).map((page) => papers.get(page)));
  for (const job of items) {
    const { stage, page, slot } = job.metadata;
    if (stage === "references") {
      const item = document.createElement("li");
      item.append(job.element, nameOf(job.id).replace("char ref ", ""));
      $("cast").append(item);
    } else if (stage === "panels") {
      const [x, y, width, height] = slot.map((pixels, i) => `${(100 * pixels) / PAPER[i % 2]}%`);
      Object.assign(job.element.style, { left: x, top: y, width, height });
      papers.get(page).querySelector(".paper").append(job.element);
    }
  }
  nameStages(STAGES);
  $("title").textContent = comic.title;
  refresh(...items);
}

// -- painting what changes, once a frame

const refresh = onFrames(paint, () => comic?.title !== undefined && summarise());

function paint(job) {
  const state = stateOf(job);
  const { element, progress } = job;
  say(element, state, state === "in_progress" ? progress?.message : undefined);
  const again = element.querySelector(".again");
  if (again) {
    again.hidden = job.attempt < 2;
    again.textContent = `try ${job.attempt}`;
    const bar = element.querySelector("progress");
    bar.hidden = !(state === "in_progress" && progress?.total);
    bar.ariaLabel = `${nameOf(job.id)}, ${progress?.message ?? ""}`;
    if (!bar.hidden) Object.assign(bar, { max: progress.total, value: progress.done });
  }
  const place = element.querySelector(".paper") ?? element;
  const there = place.querySelector(":scope > .drawn");
  if (state === "completed" && !there) place.append(drawn(job, place));
  else if (state !== "completed" && there) {
    there.remove();
    delete place.dataset.drawn;
  }
}

function drawn(job, place) {
  const link = document.createElement("a");
  link.className = "drawn";
  link.href = `pictures/${enc(job.id)}`;
  const image = new Image();
  image.alt = job.alt;
  image.onload = () => link.isConnected && (place.dataset.drawn = "");
  image.src = link.href;
  link.append(image);
  return link;
}

function summarise() {
  const jobs = [...comic.jobs.values()];
  const { tally, short } = paintTally(jobs);
  $("cancel").hidden = isOver();
  $("retry").hidden = !isOver() || isWhole();
  $("retry").textContent = jobs.some((job) => job.status === "failed") ? "Retry failed" : "Go on drawing";
  const book = jobs.find((job) => job.metadata.stage === "book");
  for (const kind of ["pdf", "cbz"]) {
    $(kind).hidden = book?.status !== "completed";
    $(kind).href = `books/${enc(book?.id)}/${kind}`;
  }
  paintStages(STAGES, jobs);
  document.title = `${short} ${comic.title}`;
  followQuestion();
  announce(!isOver() ? `${tally}.` : isWhole() ? "The comic is complete." : `Ended: ${tally}.`);
}

const told = (...events) => tell(events, (event) => lineOf(event, nameOf));

// -- the first page, and what people do

async function home() {
  leave();
  document.title = "The comic";
  reveal("home");
  const { items } = await ask(`jobs/v1/jobs?function=${enc("examples.comic.jobs:bind_book")}&order=newest&limit=24`);
  $("shelf").replaceChildren(...items.map((job) => {
    const element = onShelf("a-book", job);
    say(element, job.status === "in_progress" ? "pending" : job.status, job.status in { pending: 0, in_progress: 0 } ? "being drawn" : undefined);
    if (job.status === "completed") {
      const cover = new Image();
      cover.alt = "";
      cover.loading = "lazy";
      cover.src = `pictures/${enc(`${job.group}:page_00`)}`;
      element.querySelector(".cover").append(cover);
    }
    return element;
  }));
  document.querySelector(".shelf").hidden = !items.length;
}

$("wish").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  void attempt(event.submitter, async () => {
    const made = await ask("comics", { title: form.get("title"), pages: Number(form.get("pages")) });
    location.hash = made.comic;
  });
});

$("cancel").addEventListener("click", (event) => void attempt(event.target, () =>
  ask("jobs/v1/jobs:cancel", { filter: { group: comic.id } })));

$("retry").addEventListener("click", (event) => void attempt(event.target, async () => {
  await ask("jobs/v1/jobs:retry", { filter: { group: comic.id } });
  await show(comic.id);
}));

route(show, home);
