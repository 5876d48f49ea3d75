/** The longest wait between two tries, in milliseconds. */
export const LONGEST = 30_000
const SHORTEST = 500

/**
 * How long to wait before the next try. The window doubles with each failure, and the wait lies anywhere in its upper
 * part, so that pages cut off together do not come back together. `random` is in [0, 1).
 */
export function backoff(failures: number, random: number): number {
  const window = Math.min(LONGEST, 2 * SHORTEST * 2 ** Math.min(failures, 10))
  return Math.round(SHORTEST + random * (window - SHORTEST))
}
