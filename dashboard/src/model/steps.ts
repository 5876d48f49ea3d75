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

/**
 * The way of a deployment, with the times that the log has. Steps that the log does not name took no time worth telling,
 * or were left out.
 */
export function steps(attempt: Pick<Attempt, 'deploymentId' | 'phase' | 'createdAt' | 'finishedAt'>, lines: readonly EventLine[]): Step[] {
  const mine = lines.filter((line) => line.deploymentId === attempt.deploymentId)
  const began = new Map<string, string>([['Pending', attempt.createdAt]])
  for (const line of mine) if (line.type === 'PhaseChanged' && !began.has(line.reason)) began.set(line.reason, line.time)
  const failedAt = mine.find((line) => line.type === 'Failed' || line.type === 'Cancelled' || line.type === 'Superseded')?.time ?? null
  const bad = ['RollingBack', 'RolledBack', 'Failed', 'Cancelled', 'Superseded'].includes(attempt.phase)
  const reached = bad
    ? Math.max(...ORDER.map(([phase], index) => (began.has(phase) ? index : 0)))
    : attempt.phase === 'Converged'
      ? ORDER.length
      : ORDER.findIndex(([phase]) => phase === attempt.phase)
  const found: Step[] = ORDER.map(([phase, word], index) => {
    const from = began.get(phase) ?? null
    const later = ORDER.slice(index + 1).map(([phase]) => began.get(phase))
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
