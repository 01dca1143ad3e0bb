// The page of the comic. It knows nothing by itself: it asks for what is stored, then follows the events from there on.
// Every event says what is, never by how much something changed; so it does no harm to hear one twice.

import { ask, enc, storedEvents } from "./server.js";

const TYPES = ["started", "progress", "log", "retrying", "released", "interrupted", "cancel_requested",
  "completed", "failed", "cancelled", "skipped"];
const TOLD = TYPES.filter((type) => type !== "progress" && type !== "cancel_requested");
const ENDED = new Set(["completed", "failed", "cancelled", "skipped"]);
const STAGES = ["plot", "narrative", "references", "panels", "pages", "book"];
const LOOKS = {
  pending: ["◌", "waiting"], in_progress: ["▶", "drawing"], completed: ["✔", "done"], failed: ["✖", "failed"],
  skipped: ["↷", "skipped"], cancelled: ["⊘", "cancelled"], retrying: ["⟳", "trying again"],
  stopping: ["⊘", "stopping"], log: ["·", ""],
  live: ["●", "live"], lost: ["◌", "reconnecting"], leaving: ["■", "server stopping"], ended: ["✔", "complete"],
};
const PAPER = [1400, 2100]; // slots are in these pixels
const LINES = 200;
const AGAIN = 2000; // ms until what failed is asked again
const ANNOUNCE = 5000; // ms between two sentences for those who listen

const $ = (id) => document.getElementById(id);
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
    tell(events);
    reveal("comic");
    trouble("");
    if (isOver()) connection("ended");
    else follow();
  } catch (error) {
    if (mine !== comic) return;
    if (error.status === 404) return void reveal("nothing");
    connection("lost");
    setTimeout(() => mine === comic && show(id), AGAIN);
  }
}

function follow() {
  const mine = comic;
  const source = comic.source = new EventSource(
    `jobs/v1/groups/${enc(mine.id)}/events?after=${enc(mine.cursor)}&types=${TYPES}`);
  source.onopen = () => connection("live");
  source.onerror = () => {
    if (mine !== comic || source !== comic.source) return;
    // The browser connects again by itself, from the last event it heard, unless the answer was no stream at all.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => mine === comic && show(mine.id), AGAIN);
    connection("lost");
  };
  for (const type of TYPES) source.addEventListener(type, (message) => hear(JSON.parse(message.data), message));
  source.addEventListener("bye", () => connection("leaving"));
  source.addEventListener("reset", (message) => JSON.parse(message.data).reason === "retention" && show(mine.id));
  source.addEventListener("end", () => {
    source.close();
    comic.source = null;
    connection("ended");
    refresh();
  });
}

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

function hear(event, message) {
  const job = comic?.jobs.get(event.job_id);
  if (!job) return;
  comic.cursor = message.lastEventId;
  const { type, data } = event;
  if (event.status) job.status = event.status;
  if (event.attempt) job.attempt = event.attempt;
  if (type === "started") Object.assign(job, { progress: null, cancel_requested: false });
  else if (type === "progress") job.progress = data;
  else if (type === "cancel_requested") job.cancel_requested = true;
  else if (type === "retrying") job.failures = data.by ? 0 : data.retry;
  if (type in { progress: 0, cancel_requested: 0 } === false) tell([event]);
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
  on("log", (event) => tell([event]));
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
  $("choices").replaceChildren(...(asked?.choices ?? []).map((choice, i) => {
    const button = document.createElement("button");
    button.textContent = choice;
    if (!i) button.className = "primary";
    button.addEventListener("click", () => void answer(asked.gate, choice));
    return button;
  }));
}

async function answer(gate, value) {
  const buttons = [...$("choices").children];
  for (const button of buttons) button.disabled = true; // a double click is one answer
  trouble("");
  try {
    await ask(`jobs/v1/jobs/${enc(gate)}/answer`, { value });
  } catch (error) {
    if (error.status === 409) return; // somebody was faster, as the stream will say
    for (const button of buttons) button.disabled = false;
    trouble(error instanceof TypeError ? "The server does not answer." : `This did not work: ${error.message}.`);
  }
}

const isOver = () => [...comic.jobs.values()].every((job) => ENDED.has(job.status));

// -- building what never changes, once

const copy = (id) => $(id).content.firstElementChild.cloneNode(true);
const nameOf = (jobId) => jobId.slice(jobId.indexOf(":") + 1).replaceAll("_", " ").replace("page 00", "cover");

function say(element, state, word) {
  const place = element.querySelector(":scope > .caption .state") ?? element.querySelector(".state") ?? element;
  place.dataset.state = element.dataset.state = state;
  place.querySelector(".icon").textContent = LOOKS[state][0];
  place.querySelector(".word").textContent = word ?? LOOKS[state][1];
}

function build(items) {
  for (const id of ["pages", "cast", "stages", "log"]) $(id).replaceChildren();
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
  for (const stage of STAGES) {
    const element = copy("a-stage");
    element.querySelector(".name").textContent = stage;
    $("stages").append(element);
  }
  $("title").textContent = comic.title;
  refresh(...items);
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
    if (comic?.title !== undefined) summarise();
  });
}

function stateOf(job) {
  if (job.status === "pending" && job.failures) return "retrying";
  return job.status === "in_progress" && job.cancel_requested ? "stopping" : job.status;
}

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
  const count = (...states) => jobs.filter((job) => states.includes(job.status)).length;
  const done = count("completed");
  const lost = count("failed", "skipped", "cancelled");
  const again = jobs.filter((job) => job.attempt > 1).length;
  const words = [`${done} of ${jobs.length} jobs done`];
  if (again) words.push(`${again} tried again`);
  for (const state of ["failed", "skipped", "cancelled"]) if (count(state)) words.push(`${count(state)} ${state}`);
  $("summary").textContent = words.join(", ");
  Object.assign($("whole"), { max: jobs.length, value: done });
  $("whole").dataset.state = done === jobs.length ? "completed" : "in_progress";
  $("cancel").hidden = isOver();
  $("retry").hidden = !(isOver() && lost);
  $("retry").textContent = count("failed") ? "Retry failed" : "Go on drawing";
  const book = jobs.find((job) => job.metadata.stage === "book");
  for (const kind of ["pdf", "cbz"]) {
    $(kind).hidden = book?.status !== "completed";
    $(kind).href = `books/${enc(book?.id)}/${kind}`;
  }
  STAGES.forEach((stage, i) => {
    const of = jobs.filter((job) => job.metadata.stage === stage);
    const ready = of.filter((job) => job.status === "completed").length;
    const has = (state) => of.some((job) => stateOf(job) === state);
    const state = ["failed", "stopping", "in_progress", "retrying", "pending", "cancelled", "skipped"].find(has) ?? "completed";
    const element = $("stages").children[i];
    say(element, state === "pending" && ready ? "in_progress" : state);
    element.querySelector(".count").textContent = of.length > 1 ? `${ready}/${of.length}` : "";
  });
  document.title = `${done === jobs.length ? "✔" : `${done}/${jobs.length}`} ${comic.title}`;
  followQuestion();
  announce(isOver() ? (lost ? `Ended: ${words.join(", ")}.` : "The comic is complete.") : `${words.join(", ")}.`);
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
  const failed = state === "ended" && [...comic.jobs.values()].some((job) => job.status !== "completed");
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
  document.title = "The comic";
  reveal("home");
  const { items } = await ask(`jobs/v1/jobs?function=${enc("examples.comic.jobs:bind_book")}&order=newest&limit=24`);
  $("shelf").replaceChildren(...items.map((job) => {
    const element = copy("a-book");
    element.querySelector("a").href = `#${enc(job.group)}`;
    element.querySelector(".name").textContent = job.metadata.title;
    const time = element.querySelector("time");
    time.dateTime = job.created_at;
    time.textContent = new Date(job.created_at).toLocaleString([], { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hour12: false });
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

let shown = null;

function reveal(id) {
  for (const section of ["home", "comic", "nothing"]) $(section).hidden = section !== id;
  const place = id === "comic" ? comic.id : id;
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

function route() {
  const id = decodeURIComponent(location.hash.slice(1));
  void (id ? show(id) : home().catch(() => trouble("The server does not answer.")));
}

addEventListener("hashchange", route);
route();
