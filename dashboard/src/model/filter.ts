import type { StackPhase } from '../api/documents'
import { STACK_PHASES } from './phase'

export const SORTS = ['worst', 'name', 'newest'] as const
export type Sort = (typeof SORTS)[number]

/** Which stacks are looked at, and which page of them: the server finds them, the address says it. */
export interface Filter {
  text: string
  phases: readonly StackPhase[]
  environment: string | null
  sort: Sort
  /** The cursor the page begins behind. */
  after: string | null
  /** Or the one it ends before. */
  before: string | null
}

/** The filter that stands in an address. What makes no sense is left out. */
export function readFilter(search: URLSearchParams): Filter {
  const phases = (search.get('phase') ?? '').split(',')
  const sort = search.get('sort') as Sort
  const after = search.get('after')
  return {
    text: search.get('q') ?? '',
    phases: STACK_PHASES.filter((phase) => phases.includes(phase)),
    environment: search.get('env'),
    sort: SORTS.includes(sort) ? sort : 'worst',
    after,
    before: after === null ? search.get('before') : null,
  }
}

/** The other way: only what is not as usual. */
export function writeFilter(filter: Filter): string {
  const search = new URLSearchParams()
  if (filter.text) search.set('q', filter.text)
  if (filter.phases.length > 0) search.set('phase', filter.phases.join(','))
  if (filter.environment) search.set('env', filter.environment)
  if (filter.sort !== 'worst') search.set('sort', filter.sort)
  if (filter.after) search.set('after', filter.after)
  if (filter.before) search.set('before', filter.before)
  const text = search.toString().replaceAll('%2C', ',')
  return text && `?${text}`
}

/** Whether anything is left out of the list but by its pages. */
export const narrows = (filter: Filter): boolean => Boolean(filter.text.trim() || filter.phases.length > 0 || filter.environment)

/** The same list from its first page on, changed: a cursor of one list means nothing in another. */
export const change = (filter: Filter, by: Partial<Filter>): Filter => ({ ...filter, after: null, before: null, ...by })

/**
 * Keys in an order that is kept: what stands under a reader's hand is not moved. What is new comes last; what is gone stays
 * where it was, and is told apart by the one who draws it.
 */
export function keepOrder(held: readonly string[], now: readonly string[]): string[] {
  const known = new Set(held)
  return [...held, ...now.filter((key) => !known.has(key))]
}
