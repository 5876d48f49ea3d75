import type { Row, StackPhase } from '../api/documents'
import { key } from '../live/merge'
import { STACK_PHASES } from './phase'

export const SORTS = ['worst', 'name', 'newest'] as const
export type Sort = (typeof SORTS)[number]

export interface Filter {
  text: string
  phases: readonly StackPhase[]
  environment: string | null
  sort: Sort
}

/** The filter that stands in an address. What makes no sense is left out. */
export function readFilter(search: URLSearchParams): Filter {
  const phases = (search.get('phase') ?? '').split(',')
  const sort = search.get('sort') as Sort
  return {
    text: search.get('q') ?? '',
    phases: STACK_PHASES.filter((phase) => phases.includes(phase)),
    environment: search.get('env'),
    sort: SORTS.includes(sort) ? sort : 'worst',
  }
}

/** The other way: only what is not as usual. */
export function writeFilter(filter: Filter): string {
  const search = new URLSearchParams()
  if (filter.text) search.set('q', filter.text)
  if (filter.phases.length > 0) search.set('phase', filter.phases.join(','))
  if (filter.environment) search.set('env', filter.environment)
  if (filter.sort !== 'worst') search.set('sort', filter.sort)
  const text = search.toString().replaceAll('%2C', ',')
  return text && `?${text}`
}

/** Whether a row is wanted, its phase aside. */
function matches(row: Row, filter: Filter): boolean {
  if (filter.environment && row.environment !== filter.environment) return false
  const wanted = filter.text.trim().toLowerCase().split(/\s+/).filter(Boolean)
  if (wanted.length === 0) return true
  const images = [...row.desired.images, ...(row.live?.images ?? [])].map((it) => `${it.service} ${it.image}`)
  const hay = [row.name, row.environment, row.desired.ref, row.desired.revision, row.attempt?.actor, ...images]
  const text = hay.filter(Boolean).join(' ').toLowerCase()
  return wanted.every((word) => text.includes(word))
}

/** How many rows there are of each phase, the phase filter aside: the counts are what one filters by. */
export function counts(rows: Iterable<Row>, filter: Filter): Map<StackPhase, number> {
  const found = new Map<StackPhase, number>()
  for (const row of rows) if (matches(row, filter)) found.set(row.phase, (found.get(row.phase) ?? 0) + 1)
  return found
}

const rank = new Map(STACK_PHASES.map((phase, index) => [phase, index]))

/** The wanted rows in order. */
export function pick(rows: Iterable<Row>, filter: Filter): Row[] {
  const found = [...rows].filter(
    (row) => matches(row, filter) && (filter.phases.length === 0 || filter.phases.includes(row.phase)),
  )
  const byName = (a: Row, b: Row) => a.name.localeCompare(b.name) || a.environment.localeCompare(b.environment)
  const since = (row: Row) => row.attempt?.createdAt ?? row.updatedAt
  return found.sort((a, b) => {
    if (filter.sort === 'worst') return rank.get(a.phase)! - rank.get(b.phase)! || byName(a, b)
    if (filter.sort === 'newest') return since(b).localeCompare(since(a)) || byName(a, b)
    return byName(a, b)
  })
}

/**
 * Rows in an order that is kept: what stands under a reader's hand is not moved. Rows that are new come last, rows that
 * are gone leave.
 */
export function keepOrder(order: readonly string[], rows: readonly Row[]): Row[] {
  const left = new Map(rows.map((row) => [key(row), row]))
  const kept: Row[] = []
  for (const id of order) {
    const row = left.get(id)
    if (row) kept.push(row)
    left.delete(id)
  }
  return [...kept, ...left.values()]
}
