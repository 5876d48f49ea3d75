const UNITS: readonly [number, string][] = [
  [86_400, 'd'],
  [3_600, 'h'],
  [60, 'min'],
]

/** A span in seconds, in at most two units: `8 s`, `3 min`, `2 h 5 min`, `4 d`. */
export function span(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  for (const [index, [size, name]] of UNITS.entries()) {
    if (whole < size) continue
    const many = Math.floor(whole / size)
    const [less, smaller] = UNITS[index + 1] ?? [1, 's']
    const rest = Math.floor((whole % size) / less)
    // The finer unit helps only while the coarser one is small.
    return rest > 0 && many < 10 ? `${many} ${name} ${rest} ${smaller}` : `${many} ${name}`
  }
  return `${whole} s`
}

/** How long ago, for people: `now`, `8 s ago`, `3 min ago`. */
export function ago(time: string, now: number): string {
  const seconds = (now - Date.parse(time)) / 1000
  return seconds < 1 ? 'now' : `${span(coarse(seconds))} ago`
}

/** Ages are told in one unit: a list of them should be read at a glance, and should not flicker. */
export function age(time: string, now: number): string {
  const seconds = (now - Date.parse(time)) / 1000
  return seconds < 1 ? 'now' : span(coarse(seconds))
}

function coarse(seconds: number): number {
  for (const [size] of UNITS) if (seconds >= size) return Math.floor(seconds / size) * size
  return Math.max(0, Math.floor(seconds))
}

/** How long until, or null when it has passed. */
export function until(time: string, now: number): string | null {
  const seconds = (Date.parse(time) - now) / 1000
  return seconds > 0 ? span(seconds) : null
}

/** How long something took; while it goes on, until now. */
export function took(from: string, to: string | null, now: number): string {
  const seconds = ((to ? Date.parse(to) : now) - Date.parse(from)) / 1000
  return seconds < 10 ? `${Math.max(0, seconds).toFixed(1)} s` : span(seconds)
}

/** The clock time of a moment, with the day when it was not today. */
export function clock(time: string, now: number): string {
  const at = new Date(time)
  const hour = at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false })
  const sameDay = at.toDateString() === new Date(now).toDateString()
  return sameDay ? hour : `${at.toLocaleDateString([], { day: 'numeric', month: 'short' })} ${hour}`
}
