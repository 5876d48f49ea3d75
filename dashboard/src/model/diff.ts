/** A line of a diff: what was, what will be. */
export interface Line {
  sign: '+' | '-' | '~'
  path: string
  text: string
}

/** A value in one line. */
export function inline(value: unknown): string {
  if (value === null || value === undefined) return '—'
  if (typeof value === 'string') return value === '' ? '""' : value
  return JSON.stringify(value)
}

/** The lines of one change: a removed one, an added one, or both. */
export function lines(change: { path: string; from: unknown; to: unknown }): Line[] {
  const found: Line[] = []
  const has = (value: unknown) => value !== null && value !== undefined
  if (has(change.from)) found.push({ sign: '-', path: change.path, text: inline(change.from) })
  if (has(change.to)) found.push({ sign: '+', path: change.path, text: inline(change.to) })
  return found.length > 0 ? found : [{ sign: '~', path: change.path, text: '' }]
}

/** A JSON pointer as people read it: `/TaskTemplate/ContainerSpec/Image` → `TaskTemplate › ContainerSpec › Image`. */
export function readable(pointer: string): string {
  const parts = pointer.split('/').filter(Boolean)
  return parts.map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~')).join(' › ')
}
