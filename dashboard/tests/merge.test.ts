import { describe, expect, it } from 'vitest'
import { append, take, type Change, type Fleet } from '../src/live/merge'

interface Row {
  name: string
  environment: string
  phase: string
}
const row = (name: string, phase = 'Converged', environment = 'default'): Row => ({ name, environment, phase })
const change = (sequence: number, it: Partial<Change<Row>>): Change<Row> => ({ sequence, snapshot: null, stack: null, deleted: null, ...it })
const names = (fleet: Fleet<Row> | null) => [...(fleet?.rows.keys() ?? [])]

describe('the fleet', () => {
  const begun = take<Row>(null, [change(10, { snapshot: [row('a'), row('b')] })])

  it('is not known before the first snapshot', () => {
    expect(take<Row>(null, [change(3, { stack: row('a') })])).toBeNull()
    expect(names(begun)).toEqual(['default/a', 'default/b'])
  })
  it('takes changes in order, several of one sequence too', () => {
    const after = take(begun, [change(11, { stack: row('a', 'Failed') }), change(11, { stack: row('c') })])!
    expect(after.rows.get('default/a')?.phase).toBe('Failed')
    expect(names(after)).toContain('default/c')
    expect(after.sequence).toBe(11)
  })
  it('drops what is older than what is known', () => {
    expect(take(begun, [change(9, { stack: row('a', 'Failed') })])).toBe(begun)
  })
  it('forgets what is deleted, and what a new snapshot does not hold', () => {
    expect(names(take(begun, [change(11, { deleted: { name: 'a', environment: 'default' } })]))).toEqual(['default/b'])
    expect(names(take(begun, [change(12, { snapshot: [row('b')] })]))).toEqual(['default/b'])
  })
  it('takes a snapshot even from a server that counts from the beginning again', () => {
    const restored = take(begun, [change(2, { snapshot: [row('z')] }), change(3, { stack: row('y') })])!
    expect(restored.sequence).toBe(3)
    expect(names(restored)).toEqual(['default/z', 'default/y'])
  })
  it('tells stacks of one name apart by their environment, and leaves the old value alone', () => {
    const after = take(begun, [change(11, { stack: row('a', 'Failed', 'prod') })])!
    expect(after.rows.size).toBe(3)
    expect(begun!.rows.size).toBe(2)
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
