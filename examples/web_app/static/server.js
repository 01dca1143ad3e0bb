// What both pages ask the server for.

export const enc = encodeURIComponent;

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
