import { describe, expect, it } from 'vitest'
import { append, takePage, type Page, type PageChange } from '../src/live/merge'

interface Row {
  name: string
  environment: string
  phase: string
}
const row = (name: string, phase = 'Converged', environment = 'default'): Row => ({ name, environment, phase })
const PAGE = { hasNextPage: false, hasPreviousPage: false, startCursor: null, endCursor: null }
const change = (sequence: number, it: Partial<PageChange<Row, string>>): PageChange<Row, string> => ({
  sequence,
  total: 2,
  offset: 0,
  phases: [],
  environments: ['default'],
  pageInfo: PAGE,
  order: null,
  stacks: [],
  ...it,
})
const of = (...rows: Row[]) => ({ order: rows.map(({ name, environment }) => ({ name, environment })), stacks: rows })
const rows = (page: Page<Row, string> | null) => page?.order.map((key) => page.rows.get(key)!.phase)

describe('a page', () => {
  const begun = takePage<Row, string>(null, [change(10, of(row('a'), row('b', 'Failed')))])!

  it('is not known before its order is', () => {
    expect(takePage<Row, string>(null, [change(3, { stacks: [row('a')] })])).toBeNull()
    expect(begun.order).toEqual(['default/a', 'default/b'])
  })
  it('takes changed rows in order, and leaves the old value alone', () => {
    const after = takePage(begun, [change(11, { stacks: [row('a', 'Progressing')] }), change(12, { stacks: [row('a', 'Failed')] })])!
    expect(rows(after)).toEqual(['Failed', 'Failed'])
    expect(rows(begun)).toEqual(['Converged', 'Failed'])
    expect(after.sequence).toBe(12)
  })
  it('drops what is older than what is known', () => {
    expect(takePage(begun, [change(9, { stacks: [row('a', 'Failed')] })])).toBe(begun)
  })
  it('takes a new order, with rows it has and rows it has not', () => {
    const c = row('c', 'Pending', 'prod')
    const after = takePage(begun, [change(11, { order: [c, row('a')], stacks: [c], total: 3 })])!
    expect(after.order).toEqual(['prod/c', 'default/a'])
    expect(rows(after)).toEqual(['Pending', 'Converged'])
    expect(after.total).toBe(3)
    // What left it can still be shown to a reader whose hand is on it.
    expect(after.rows.get('default/b')?.phase).toBe('Failed')
  })
  it('begins anew with a server that counts from the beginning again', () => {
    const restored = takePage(begun, [change(2, of(row('z'))), change(3, { stacks: [row('z', 'Failed')] })])!
    expect(restored.order).toEqual(['default/z'])
    expect(rows(restored)).toEqual(['Failed'])
  })
  it('keeps rows that did not change as they are', () => {
    const after = takePage(begun, [change(11, { total: 9 })])!
    expect(after.rows).toBe(begun.rows)
    expect(after.total).toBe(9)
  })
})

describe('the log', () => {
  const line = (sequence: number) => ({ sequence })
  it('loses nothing and doubles nothing over a break', () => {
    const known = append([], [line(1), line(2), line(3)], 100)
    expect(append(known, [line(2), line(3), line(4), line(4), line(6)], 100).map((it) => it.sequence)).toEqual([1, 2, 3, 4, 6])
  })
  it('sorts what comes out of order, and keeps the newest', () => {
    expect(append([], [line(3), line(1), line(2)], 2).map((it) => it.sequence)).toEqual([2, 3])
  })
})
