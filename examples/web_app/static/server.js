// What the pages ask the server for, and how they follow it.

export const enc = encodeURIComponent;
export const AGAIN = 2000; // ms until what failed is asked again

export async function ask(path, body) {
  const headers = body === undefined ? {} : { "content-type": "application/json", "x-asyncjobs": "1" };
  const answer = await fetch(path, { method: body === undefined ? "GET" : "POST", headers, body: JSON.stringify(body) });
  const value = await answer.json();
  if (!answer.ok) {
    const told = typeof value.detail === "string" ? value.detail : "the server does not take this";
    throw Object.assign(new Error(told), { status: answer.status });
  }
  return value;
}

export async function storedEvents(id, types) {
  const events = [];
  for (let after = ""; ;) {
    const page = await ask(`jobs/v1/groups/${enc(id)}/events?once=1&limit=1000&types=${types}${after}`);
    events.push(...page.items);
    if (page.end) return { events, cursor: page.cursor };
    after = `&after=${enc(page.cursor)}`;
  }
}

// A stream that was closed says nothing more, so what it tells is of the page that is shown.
export function follow(id, cursor, types, { hear, connection, again, reset, ended }) {
  const source = new EventSource(`jobs/v1/groups/${enc(id)}/events?after=${enc(cursor)}&types=${types}`);
  source.onopen = () => connection("live");
  source.onerror = () => {
    // The browser connects again by itself, from the last event it heard, unless the answer was no stream at all.
    if (source.readyState === EventSource.CLOSED) setTimeout(again, AGAIN);
    connection("lost");
  };
  for (const type of types) {
    source.addEventListener(type, (message) => hear(JSON.parse(message.data), message.lastEventId));
  }
  source.addEventListener("bye", () => connection("leaving"));
  source.addEventListener("reset", (message) => reset(JSON.parse(message.data).reason));
  source.addEventListener("end", () => {
    source.close();
    ended();
  });
  return source;
}
