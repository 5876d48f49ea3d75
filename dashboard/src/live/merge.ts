/** What identifies a stack. */
export interface Keyed {
  name: string
  environment: string
}

export const key = (it: Keyed): string => `${it.environment}/${it.name}`

/** What a page of the list is told by. */
export interface PageChange<R extends Keyed, P = unknown> {
  sequence: number
  total: number
  offset: number
  phases: readonly { phase: P; count: number }[]
  environments: readonly string[]
  pageInfo: { hasNextPage: boolean; hasPreviousPage: boolean; startCursor: string | null; endCursor: string | null }
  /** Null: as it was. */
  order: readonly Keyed[] | null
  /** Rows that are new, or have changed. */
  stacks: readonly R[]
}

/** A page of the list as it is known. */
export interface Page<R extends Keyed, P = unknown> extends Omit<PageChange<R, P>, 'order' | 'stacks'> {
  /** The keys of its rows, in order. */
  order: readonly string[]
  /** Its rows, and those that were on it since it was opened. */
  rows: ReadonlyMap<string, R>
}

/**
 * The live data contract of a page: the whole of it first, then what is different, in order. A message that names the order is
 * taken always: each connection begins with one, also to a server that counts from the beginning again.
 */
export function takePage<R extends Keyed, P>(page: Page<R, P> | null, changes: readonly PageChange<R, P>[]): Page<R, P> | null {
  for (const { order, stacks, ...rest } of changes) {
    // Before the order is known a change says nothing; what is older than what is known is dropped.
    if (order === null && (page === null || rest.sequence < page.sequence)) continue
    const rows: ReadonlyMap<string, R> =
      stacks.length === 0 && page ? page.rows : new Map([...(page?.rows ?? []), ...stacks.map((it): [string, R] => [key(it), it])])
    page = { ...rest, order: order?.map(key) ?? page?.order ?? [], rows }
  }
  return page
}

/** Lines of a log by ascending sequence, each once, the newest `most` of them. */
export function append<E extends { sequence: number }>(lines: readonly E[], more: readonly E[], most: number): E[] {
  const last = lines.at(-1)?.sequence ?? -Infinity
  const fresh = more.filter((line) => line.sequence > last).sort((a, b) => a.sequence - b.sequence)
  const distinct = fresh.filter((line, index) => index === 0 || line.sequence !== fresh[index - 1]!.sequence)
  return [...lines, ...distinct].slice(-most)
}
