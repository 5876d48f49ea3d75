import type { Plan } from '../api/documents'

type Step = Plan['steps'][number]

/** What the server said somebody else changed: which objects are gone, and which fields of others differ. */
interface Drift {
  gone: ReadonlySet<string>
  fields: ReadonlySet<string>
}

/** Reads the server's lines: ``service `shop_web` differs at /a, /b`` and ``network `shop_net` is missing``. */
function read(found: readonly string[]): Drift {
  const gone = new Set<string>()
  const fields = new Set<string>()
  for (const line of found) {
    const [, kind, name, rest] = /^(\w+) `([^`]+)` (.*)$/.exec(line) ?? []
    if (!kind || !name || rest === undefined) continue
    if (rest === 'is missing') gone.add(`${kind}/${name}`)
    for (const path of rest.replace(/^differs at /, '').split(', ')) fields.add(`${kind}/${name}${path}`)
  }
  return { gone, fields }
}

/** A plan's steps in two: what somebody else's hand made different, and what was asked. A step may be in both, by its fields. */
export function apart(steps: readonly Step[], found: readonly string[]): { foreign: Step[]; asked: Step[] } {
  const drift = read(found)
  const foreign: Step[] = []
  const asked: Step[] = []
  for (const step of steps) {
    const id = `${step.kind.toLowerCase()}/${step.name}`
    if (drift.gone.has(id)) {
      foreign.push(step)
      continue
    }
    const theirs = step.changes.filter((it) => drift.fields.has(id + it.path))
    const ours = step.changes.filter((it) => !drift.fields.has(id + it.path))
    if (theirs.length > 0) foreign.push({ ...step, changes: theirs })
    if (ours.length > 0 || theirs.length === 0) asked.push({ ...step, changes: ours })
  }
  return { foreign, asked }
}
