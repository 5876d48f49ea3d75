/**
 * The live data contract, as values: a snapshot first, then changes, each with a sequence to resume from. What is older
 * than what is known is dropped; a snapshot is always taken, because the server sends one when it cannot go on.
 */

export interface Keyed {
  name: string
  environment: string
}

export interface Fleet<R extends Keyed> {
  /** The newest sequence that was taken. */
  sequence: number
  rows: ReadonlyMap<string, R>
}

export interface Change<R extends Keyed> {
  sequence: number
  snapshot: readonly R[] | null
  stack: R | null
  deleted: Keyed | null
}

export const key = (it: Keyed): string => `${it.environment}/${it.name}`

/** Takes changes in, in order. Gives the same fleet back when none of them counts. */
export function take<R extends Keyed>(fleet: Fleet<R> | null, changes: readonly Change<R>[]): Fleet<R> | null {
  let sequence = fleet?.sequence ?? -1
  let rows: Map<string, R> | null = null
  let known = fleet !== null
  const writable = () => (rows ??= new Map(fleet?.rows))
  for (const change of changes) {
    if (change.snapshot) {
      rows = new Map(change.snapshot.map((row) => [key(row), row]))
      sequence = change.sequence
      known = true
      continue
    }
    // Changes before the first snapshot say nothing of the rest; one transaction may touch several stacks.
    if (!known || change.sequence < sequence) continue
    if (change.stack) writable().set(key(change.stack), change.stack)
    if (change.deleted) writable().delete(key(change.deleted))
    sequence = change.sequence
  }
  if (!known || (rows === null && sequence === fleet?.sequence)) return fleet
  return { sequence, rows: rows ?? fleet?.rows ?? new Map() }
}

/** Lines of a log by ascending sequence, each once, the newest `most` of them. */
export function append<E extends { sequence: number }>(lines: readonly E[], more: readonly E[], most: number): E[] {
  const last = lines.at(-1)?.sequence ?? -Infinity
  const fresh = more.filter((line) => line.sequence > last).sort((a, b) => a.sequence - b.sequence)
  const distinct = fresh.filter((line, index) => index === 0 || line.sequence !== fresh[index - 1]!.sequence)
  return [...lines, ...distinct].slice(-most)
}
