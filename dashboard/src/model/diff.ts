/** A line of a diff: what was, what will be. */
export interface Line {
  sign: '+' | '-' | '~' | ' '
  path: string
  text: string
}

/** A value in one line. */
export function inline(value: unknown): string {
  if (value === null || value === undefined) return '—'
  if (typeof value === 'string') return value === '' ? '""' : value
  return JSON.stringify(value)
}

/** Texts with more lines than this are shown whole, before and after: to look for what they share takes their product. */
const LONGEST = 600
/** Lines around a difference that stay as they are. */
const AROUND = 2

/** Where two texts of several lines differ, line by line, with what is around it; `…` stands for what is left out. */
export function textDiff(from: string, to: string): { sign: Line['sign']; text: string }[] {
  const [a, b] = [from.split('\n'), to.split('\n')]
  if (a.length > LONGEST || b.length > LONGEST) {
    return [...a.map((text) => ({ sign: '-' as const, text })), ...b.map((text) => ({ sign: '+' as const, text }))]
  }
  // The longest that both share, from each place to the end.
  const shared = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1))
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      shared[i]![j] = a[i] === b[j] ? shared[i + 1]![j + 1]! + 1 : Math.max(shared[i + 1]![j]!, shared[i]![j + 1]!)
    }
  }
  const all: { sign: Line['sign']; text: string }[] = []
  let [i, j] = [0, 0]
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      all.push({ sign: ' ', text: a[i]! })
      i++
      j++
    } else if (j >= b.length || (i < a.length && shared[i + 1]![j]! >= shared[i]![j + 1]!)) all.push({ sign: '-', text: a[i++]! })
    else all.push({ sign: '+', text: b[j++]! })
  }
  const near = all.map((_, at) => all.slice(Math.max(0, at - AROUND), at + AROUND + 1).some((line) => line.sign !== ' '))
  if (!near.includes(true)) return []
  return all.flatMap((line, at) => (near[at] ? [line] : at === 0 || near[at - 1] ? [{ sign: '~' as const, text: '…' }] : []))
}

/** The lines of one change: a removed one, an added one, or both; of a text of several lines those that differ. */
export function lines(change: { path: string; from: unknown; to: unknown }): Line[] {
  const { path, from, to } = change
  if (typeof from === 'string' && typeof to === 'string' && (from.includes('\n') || to.includes('\n'))) {
    return textDiff(from, to).map((line) => ({ ...line, path }))
  }
  const found: Line[] = []
  const has = (value: unknown) => value !== null && value !== undefined
  if (has(from)) found.push({ sign: '-', path, text: inline(from) })
  if (has(to)) found.push({ sign: '+', path, text: inline(to) })
  return found.length > 0 ? found : [{ sign: '~', path, text: '' }]
}

/** A JSON pointer as people read it: `/TaskTemplate/ContainerSpec/Image` → `TaskTemplate › ContainerSpec › Image`. */
export function readable(pointer: string): string {
  const parts = pointer.split('/').filter(Boolean)
  return parts.map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~')).join(' › ')
}
