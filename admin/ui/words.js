// Numbers and times as people read them.

export const percent = (share) => (share > 0 && share < 0.01 ? "<1 %" : `${Math.round(100 * share)} %`);

export function rate(n) {
  if (n === 0) return "0";
  if (n < 10) return n.toFixed(1);
  return count(Math.round(n));
}

export const count = (n) => n.toLocaleString("en-US");

export function millis(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms === 0) return "0 ms";
  if (ms < 10) return `${ms.toFixed(ms < 1 ? 2 : 1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
}

export function lasting(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86_400)} d ${Math.floor((seconds % 86_400) / 3600)} h`;
}

export const clock = (time) => new Date(time).toLocaleTimeString([], { hour12: false });

export function moment(time) {
  const at = new Date(time);
  return at.toDateString() === new Date().toDateString() ? clock(at) : `${at.toLocaleDateString()} ${clock(at)}`;
}

export const short = (digest) => digest.slice(0, 12);

// few is a list of names that stays on a line.
export const few = (names) => (names.length <= 4 ? names.join(", ") : `${names.slice(0, 3).join(", ")} and ${names.length - 3} more`);

export const several = (n, one) => `${count(n)} ${one}${n === 1 ? "" : "s"}`;
