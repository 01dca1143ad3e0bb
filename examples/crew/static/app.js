// The page of the crew. It knows nothing by itself: it asks for what is stored, then follows the events from there on.
// Pieces of a text are added one by one, so each event is taken once: those that are stored, then a stream from their
// cursor, which the browser resumes by itself after the last event that it has heard.

import {
  $, ENDED, LOOKS, announce, attempt, connection, copy, lineOf, nameStages, offerChoices, onFrames, onShelf, reveal, route,
  say, tell, trouble,
} from "../shared/page.js";
import { AGAIN, ask, enc, follow, storedEvents } from "../shared/server.js";

const TYPES = ["started", "agent_output", "usage", "asked", "answered", "log", "retrying", "released", "interrupted",
  "cancel_requested", "completed", "failed", "cancelled", "skipped"];
const CUT = new Set(["failed", "cancelled", "retrying", "released", "interrupted"]);
const GIVEN_UP = new Set(["failed", "cancelled", "retrying"]);
const STAGES = { crew: ["crew"], revision: ["flow"], comic: ["script", "plot", "narrative", "references", "panels", "pages", "book"] };
const PAUSE = 2000; // ms between two sentences for those who listen
const NEAR = 320; // pixels below the window within which the newest text is followed as it grows

Object.assign(LOOKS, {
  cancelled: ["⊘", "stopped"], asking: ["?", "asking you"], writing: ["✎", "writing"],
  kept: ["✔", "kept, not paid again"], cut: ["⊘", "cut off"],
});

let story = null; // what is shown: {id, title, jobs: Map, cards, usage: Map, question, cursor, source}

// -- following a story

async function show(id) {
  leave();
  const mine = story = { id, jobs: new Map(), cards: [], usage: new Map(), question: null, source: null };
  try {
    // The cursor is older than the jobs: what happened in between comes in the stream, and says what is, not what changed.
    const { events, cursor } = await storedEvents(id, TYPES);
    const { items } = await ask(`jobs/v1/jobs?group=${enc(id)}&order=oldest&limit=1000`);
    if (mine !== story) return;
    story.cursor = cursor;
    build(items);
    for (const event of events) take(event);
    for (const job of items) story.jobs.set(job.id, job); // what is now, after what was
    refresh();
    reveal("story", id);
    trouble(null);
    if (isOver()) connected("ended");
    else listen();
  } catch (error) {
    if (mine !== story) return;
    if (error.status === 404) return void reveal("nothing");
    connection("lost");
    setTimeout(() => mine === story && show(id), AGAIN);
  }
}

function listen() {
  const mine = story;
  const again = () => mine === story && show(mine.id);
  story.source = follow(mine.id, mine.cursor, TYPES, {
    again, connection: connected,
    hear: (event) => {
      take(event);
      refresh();
    },
    reset: again,
    ended: () => {
      story.source = null;
      connected("ended");
      refresh();
    },
  });
}

const connected = (state) =>
  connection(state, state !== "ended" || [...story.jobs.values()].every((job) => job.status === "completed"));

function leave() {
  story?.source?.close();
  story = null;
  following = true;
  $("stop").hidden = $("resume").hidden = true;
  connection("idle");
}

// A browser opens six connections to a host: a page that nobody looks at gives its own back.
document.addEventListener("visibilitychange", () => {
  if (!story) return;
  if (document.hidden) {
    story.source?.close();
    story.source = null;
  } else show(story.id);
});

function take(event) {
  const { job_id: id, type, data, attempt, status } = event;
  const job = story.jobs.get(id);
  if (!job) return; // a question, which the job that asks it reports, too
  if (status) job.status = status;
  if (attempt) job.attempt = attempt;
  if (type === "started") job.cancel_requested = false;
  if (type === "cancel_requested") job.cancel_requested = true;
  if (type === "agent_output") write(event);
  if (type === "usage") story.usage.set(`${id} ${attempt}`, data);
  if (type === "asked") story.question = data;
  if (type === "answered" || GIVEN_UP.has(type)) story.question = null; // a new attempt does not ask it again
  if (CUT.has(type)) settle(id, "cut");
  if (type === "completed") settle(id, "completed");
  tell([event], lineHere);
}

const isOver = () => [...story.jobs.values()].every((job) => ENDED.has(job.status));

// -- the texts: a card for each of them

const bare = (text) => text.replace(/^\s*(?:Thought:[^\n]*\n+)?Final Answer:\s*/, "");

function write({ job_id: job, attempt, data }) {
  if (data.role === null) return; // the flow itself asks its model, what an answer means
  const of = { job, attempt, role: data.role, task: data.task };
  if (data.kind === "chunk") add(cardOf(of, data.call), data.text);
  else if (data.kind === "tool") tool(cardOf(of, null), data);
  else if (data.kind === "answer") finish(of, data.text);
}

/** The card that an agent is writing on; a new one for each text. */
function cardOf(of, call) {
  const newest = story.cards.findLast((card) => card.job === of.job && card.attempt === of.attempt);
  const same = newest && newest.state === "writing" && newest.role === of.role && newest.task === of.task;
  if (same && (call === null || newest.call === null || newest.call === call)) {
    newest.call ??= call;
    return newest;
  }
  settle(of.job, "completed"); // who wrote before has finished
  const card = { ...of, call, whole: "", element: copy("a-text") };
  card.text = card.element.querySelector(".text");
  card.element.querySelector(".role").textContent = of.role;
  card.element.querySelector(".task").textContent = of.task ?? (of.job.endsWith(":flow") ? "Revision" : "");
  mark(card, "writing");
  story.cards.push(card);
  $("texts").append(card.element);
  announce(`${of.role} writes.`, PAUSE);
  return card;
}

function add(card, text) {
  card.whole += text;
  const shown = bare(card.whole);
  const there = card.text.textContent;
  if (shown.startsWith(there)) card.text.append(shown.slice(there.length));
  else card.text.textContent = shown;
}

function tool(card, { tool, args, text }) {
  const line = document.createElement("li");
  line.textContent = `${tool}(${Object.values(args ?? {}).join(", ")}) → ${text}`;
  card.element.querySelector(".tools").append(line);
}

/** An answer is there: of the text that was written now, or of one that an earlier attempt has paid for. */
function finish(of, text) {
  const mine = story.cards.filter((card) => card.job === of.job && card.role === of.role);
  const written = mine.find((card) => bare(card.whole).trim() === text.trim());
  if (written) {
    if (written.attempt < of.attempt) {
      // The tools of this attempt were not called either: their results are on the old card.
      const empty = mine.find((card) => card.attempt === of.attempt && !card.whole && card.task === of.task);
      if (empty) {
        empty.element.remove();
        story.cards.splice(story.cards.indexOf(empty), 1);
      }
    }
    mark(written, written.attempt < of.attempt ? "kept" : "completed");
  } else if (!mine.some((card) => card.attempt === of.attempt && card.state === "completed" && card.task === of.task)) {
    const card = cardOf(of, null); // of a model that does not stream
    add(card, text);
    mark(card, "completed");
  }
}

function settle(job, state) {
  for (const card of story.cards) if (card.job === job && card.state === "writing") mark(card, state);
}

function mark(card, state) {
  card.state = state;
  say(card.element, state);
}

// -- building what never changes, once

const nameOf = (jobId) => ({ crew: "the crew", flow: "the revision" })[local(jobId)] ?? local(jobId).replaceAll("_", " ").replace("page 00", "cover");
const local = (jobId) => jobId.slice(jobId.indexOf(":") + 1);

function build(items) {
  for (const id of ["texts", "pages", "log"]) $(id).replaceChildren();
  for (const job of items) {
    if (!job.metadata.stage) continue; // a question
    story.jobs.set(job.id, { ...job, status: "pending" });
    story.title ??= job.metadata.title;
  }
  items.splice(0, items.length, ...items.filter((job) => story.jobs.has(job.id)));
  nameStages(Object.keys(STAGES));
  const pages = items.filter((job) => job.metadata.stage === "pages").sort((a, b) => a.metadata.page - b.metadata.page);
  for (const job of pages) {
    const element = document.createElement("li");
    element.dataset.job = job.id;
    $("pages").append(element);
  }
  $("title").textContent = story.title;
}

// -- painting what changes, once a frame

const refresh = onFrames(null, () => {
  if (!story?.title) return;
  summarise();
  if (story.source && following && below() > 0 && below() < NEAR) scrollBy(0, below());
});

// -- scrolling as the newest text grows, until somebody scrolls away from it

let following = true;
let scrolled = 0;

/** How far the end of what is newest is below the window, in pixels. */
function below() {
  const newest = $("question").hidden ? $("texts").lastElementChild : $("question");
  return newest ? newest.getBoundingClientRect().bottom + 24 - innerHeight : 0;
}

addEventListener("scroll", () => {
  if (scrollY < scrolled) following = below() <= 0; // only people scroll up
  else following ||= below() < NEAR;
  scrolled = scrollY;
}, { passive: true });

function summarise() {
  const jobs = [...story.jobs.values()];
  const over = isOver();
  const bad = jobs.filter((job) => ENDED.has(job.status) && job.status !== "completed");
  const writing = story.cards.findLast((card) => card.state === "writing");
  const drawn = jobs.filter((job) => job.metadata.stage === "panels" && job.status === "completed").length;
  const panels = jobs.filter((job) => job.metadata.stage === "panels").length;
  const failed = bad.find((job) => job.status === "failed");
  const words = over ? (failed ? `${nameOf(failed.id)} failed` : bad.length ? "Stopped" : "Written and drawn")
    : story.question ? "You are asked something"
    : jobs.some((job) => job.cancel_requested && job.status === "in_progress") ? "Stopping"
    : drawn || jobs.some((job) => job.metadata.stage === "script" && job.status === "completed") ? `${drawn} of ${panels} panels drawn`
    : writing ? `${writing.role} is writing` : "Beginning";
  $("summary").textContent = words;
  $("stop").hidden = over;
  $("resume").hidden = !(over && bad.length);
  const book = jobs.find((job) => job.metadata.stage === "book");
  $("pdf").hidden = book?.status !== "completed";
  $("pdf").href = `books/${enc(book?.id)}/pdf`;
  Object.values(STAGES).forEach((names, i) => paintStage($("stages").children[i], jobs.filter((job) => names.includes(job.metadata.stage))));
  paintPages();
  paintUsage();
  offer(over ? null : story.question);
  document.title = `${over ? (bad.length ? "⊘" : "✔") : story.question ? "?" : "✎"} ${story.title}`;
  if (over || story.question) announce(story.question ? "You are asked something." : `${words}.`, PAUSE);
}

function paintStage(element, jobs) {
  const has = (state) => jobs.some((job) => (job.status === "in_progress" && job.cancel_requested ? "stopping" : job.status) === state);
  const ready = jobs.filter((job) => job.status === "completed").length;
  const state = ["failed", "stopping", "in_progress", "pending", "cancelled", "skipped"].find(has) ?? "completed";
  const asks = story.question && jobs.some((job) => job.id.endsWith(":flow"));
  say(element, asks && state === "in_progress" ? "asking" : state === "pending" && ready ? "in_progress" : state);
  element.querySelector(".count").textContent = jobs.length > 1 ? `${ready}/${jobs.length}` : "";
}

function paintPages() {
  let any = false;
  for (const element of $("pages").children) {
    const job = story.jobs.get(element.dataset.job);
    if (job.status === "completed" && !element.firstChild) {
      const link = document.createElement("a");
      link.href = `pictures/${enc(job.id)}`;
      const image = new Image();
      image.alt = job.metadata.page ? `Page ${job.metadata.page}` : "The cover";
      image.src = link.href;
      link.append(image);
      element.append(link);
    }
    any ||= Boolean(element.firstChild);
  }
  $("pages-section").hidden = !any;
}

function paintUsage() {
  const sum = (part, name) => [...story.usage.values()].reduce((total, data) => total + (data[part][name] ?? 0), 0);
  $("paid").textContent = sum("paid", "requests");
  $("tokens").textContent = sum("paid", "total_tokens").toLocaleString();
  $("replayed").textContent = sum("replayed", "requests");
  const marks = `${[...story.usage.values()].map((data) => JSON.stringify(data)).join()} ${isOver()}`;
  if (marks !== story.counted) {
    story.counted = marks;
    void countRequests();
  }
}

/** What the scripted model itself says that the agents have asked it. */
async function countRequests() {
  const { id } = story;
  const { answered, again } = await ask(`requests/${enc(id)}`).catch(() => ({ answered: 0 }));
  if (id !== story?.id) return;
  $("ledger").hidden = !answered;
  $("ledger").textContent = `The model says that it has answered the agents ${answered} times, ${again} of them again.`;
}

// -- the question

function offer(question) {
  $("question").hidden = !question;
  if (question?.gate === $("question").dataset.gate) return;
  $("question").dataset.gate = question?.gate ?? "";
  const [first, ...about] = (question?.question ?? "").split("\n");
  $("asked").textContent = first;
  $("about").textContent = about.join("\n").trim();
  offerChoices(question?.choices ?? [], (value) => ask(`jobs/v1/jobs/${enc(question.gate)}/answer`, { value }));
}

// -- what else is said

function lineHere(event) {
  const { type, attempt, data, job_id } = event;
  if (type === "log") return data.level === "info" ? lineOf(event, nameOf) : null;
  if (!attempt) return null; // it had not begun: the cover is stopped with the crew
  if (type === "answered") return ["log", data.by ? `the question was answered by ${data.by}` : "the question was answered"];
  if (type === "cancelled") return ["cancelled", `${nameOf(job_id)} was stopped`];
  return type === "skipped" ? null : lineOf(event, nameOf);
}

// -- the first page, and what people do

async function home() {
  leave();
  document.title = "The crew";
  reveal("home");
  const { items } = await ask("jobs/v1/jobs?metadata.stage=book&order=newest&limit=24");
  $("shelf").replaceChildren(...items.map((job) => {
    const element = onShelf("a-story", job);
    const open = !ENDED.has(job.status);
    say(element, open ? "in_progress" : job.status === "skipped" ? "cancelled" : job.status, open ? "being written" : undefined);
    return element;
  }));
  $("shelf-section").hidden = !items.length;
}

$("wish").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  void attempt(event.submitter, async () => {
    const made = await ask("stories", { title: form.get("title") });
    location.hash = made.story;
  });
});

$("stop").addEventListener("click", (event) => void attempt(event.target, () =>
  ask("jobs/v1/jobs:cancel", { filter: { group: story.id } })));

$("resume").addEventListener("click", (event) => void attempt(event.target, async () => {
  await ask("jobs/v1/jobs:retry", { filter: { group: story.id } });
  await show(story.id);
}));

route(show, home);
