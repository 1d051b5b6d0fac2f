// Server-sent events and requests, with a token where the node asks for one. An
// EventSource sends no header, so the stream is read by fetch.

const kept = "meshgw-token";

// ask is called where a token is wanted; it returns a promise of one.
let ask;
let asking;

export function onToken(f) {
  ask = f;
}

function token(wrong) {
  asking ??= ask(wrong).then((given) => {
    sessionStorage.setItem(kept, given);
    asking = undefined;
  });
  return asking;
}

async function request(path, options = {}) {
  for (;;) {
    const headers = {};
    const given = sessionStorage.getItem(kept);
    if (given !== null) headers.Authorization = `Bearer ${given}`;
    const answer = await fetch(path, { ...options, headers, cache: "no-store", credentials: "omit" });
    if (answer.status !== 401) return answer;
    if (sessionStorage.getItem(kept) === given) {
      sessionStorage.removeItem(kept);
      await token(given !== null);
    } else if (asking) {
      await asking;
    }
  }
}

// get returns what a path answers; an error has the node's own words.
export async function get(path) {
  const answer = await request(path);
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail ?? body.title ?? `status ${answer.status}`);
  return body;
}

// follow reads the stream for ever, again where it breaks off. It calls on(topic,
// data) for each event, and state(word, text) when the connection changes.
export async function follow(path, on, state) {
  for (let pause = 1; ; pause = Math.min(2 * pause, 15)) {
    const stop = new AbortController();
    try {
      const answer = await request(path, { signal: stop.signal });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      state("on", "live");
      pause = 0.5;
      await read(answer.body, on, stop);
    } catch {
      // told below, whatever it was
    }
    stop.abort();
    state("off", "no connection");
    await new Promise((done) => setTimeout(done, 1000 * pause * (0.75 + 0.5 * Math.random())));
    state("", "connecting");
  }
}

const silence = 40_000; // longer than the node leaves a stream without a sign of life

async function read(body, on, stop) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let timer = setTimeout(() => stop.abort(), silence);
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => stop.abort(), silence);
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) tell(block, on);
    }
  } finally {
    clearTimeout(timer);
  }
}

function tell(block, on) {
  let topic = "message";
  let data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) topic = line.slice(7);
    if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (data !== "") on(topic, JSON.parse(data));
}
