import type { Attempt, EventLine } from '../api/documents'
import { ended, type DeploymentPhase } from './phase'

export interface Step {
  word: string
  state: 'done' | 'now' | 'ahead' | 'failed'
  from: string | null
  to: string | null
}

const ORDER: readonly [DeploymentPhase, string][] = [
  ['Pending', 'Recorded'],
  ['Fetching', 'Fetch'],
  ['Rendering', 'Render'],
  ['Applying', 'Apply'],
  ['Verifying', 'Verify'],
]

/** Between rendering and applying: shown only of a deployment that waited for a person there. */
const APPROVAL = ['AwaitingApproval', 'Approval'] as const

/** At a gate a deployment waits before its first write: it was fetched and rendered, whatever its phase is called. */
const GATES = ['ScheduleClosed', 'DependencyNotReady']

/**
 * The way of a deployment, with the times that the log has. Steps that the log does not name took no time worth telling,
 * or were left out.
 */
export function steps(attempt: Pick<Attempt, 'deploymentId' | 'phase' | 'createdAt' | 'finishedAt'>, lines: readonly EventLine[]): Step[] {
  const mine = lines.filter((line) => line.deploymentId === attempt.deploymentId)
  const began = new Map<string, string>([['Pending', attempt.createdAt]])
  for (const line of mine) if (line.type === 'PhaseChanged' && !began.has(line.reason)) began.set(line.reason, line.time)
  const way = [...ORDER]
  if (attempt.phase === APPROVAL[0] || began.has(APPROVAL[0])) way.splice(3, 0, APPROVAL as [DeploymentPhase, string])
  const gate = attempt.phase === 'Pending' ? mine.findLast((line) => line.type === 'Waiting' && GATES.includes(line.reason)) : undefined
  // A step of its own, for as long as it is waited there.
  if (gate) {
    way.splice(way.length - 2, 0, ['Pending', 'Wait'])
    began.set('Wait', gate.time)
  }
  const start = ([phase, word]: readonly [DeploymentPhase, string]) => began.get(word === 'Wait' ? word : phase)
  const failedAt = mine.find((line) => line.type === 'Failed' || line.type === 'Cancelled' || line.type === 'Superseded')?.time ?? null
  const bad = ['RollingBack', 'RolledBack', 'Failed', 'Cancelled', 'Superseded'].includes(attempt.phase)
  const reached = bad
    ? Math.max(...way.map((step, index) => (start(step) ? index : 0)))
    : attempt.phase === 'Converged'
      ? way.length
      : way.findLastIndex(([phase]) => phase === attempt.phase)
  const found: Step[] = way.map((step, index) => {
    const [, word] = step
    const from = start(step) ?? null
    const later = way.slice(index + 1).map(start)
    const end = later.find(Boolean) ?? (index <= reached ? (failedAt ?? attempt.finishedAt) : null)
    const state = index < reached ? 'done' : index > reached ? 'ahead' : bad ? 'failed' : 'now'
    return { word, state, from, to: state === 'ahead' || state === 'now' ? null : end }
  })
  const last = attempt.phase === 'RolledBack' ? 'Rolled back' : attempt.phase === 'RollingBack' ? 'Rolling back' : null
  if (last) {
    const over = ended(attempt.phase)
    found.push({ word: last, state: over ? 'done' : 'now', from: failedAt, to: over ? attempt.finishedAt : null })
  } else {
    const word = bad ? attempt.phase : 'Converged'
    found.push({ word, state: attempt.phase === 'Converged' ? 'done' : bad ? 'failed' : 'ahead', from: null, to: null })
  }
  return found
}
