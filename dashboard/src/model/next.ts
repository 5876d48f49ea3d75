import type { Row } from '../api/documents'
import { until } from './time'

/** What happens next with a stack, and when: one sentence. */
export function next(stack: Row, now: number): string | null {
  if (stack.deletion) return 'Its objects are being removed; volumes stay.'
  const progress = stack.attempt?.progress
  switch (stack.phase) {
    case 'Pending':
      return 'It is taken up in a moment.'
    case 'Progressing': {
      if (!progress) return null
      if (progress.waitingSince) return `It waits for the infrastructure, and gives up ${within(progress.totalDeadline, now)}.`
      if (progress.healthySince) return 'It has converged when its tasks have stayed healthy through the monitor period.'
      const left = until(progress.progressDeadline, now)
      const then = stack.policy.onFailure === 'Hold' || !stack.live ? 'Fails' : 'Rolls back'
      return left ? `${then} in ${left} unless one more task gets healthy.` : `${then} now.`
    }
    case 'RollingBack':
      return 'The last good version is being brought back.'
    case 'RolledBack':
      return 'Held: it is not tried again by itself. Deploy another version, or release the hold.'
    case 'Failed':
      return 'Nothing by itself: it waits for you.'
    case 'Degraded':
      return 'Swarm starts the missing tasks again; Skep keeps looking.'
    case 'Suspended': {
      const end = stack.suspension?.until
      return end ? `Nothing is written until then: resumes by itself ${within(end, now)}.` : 'Nothing is written until someone resumes it.'
    }
    case 'Unknown':
      return 'Skep keeps trying to reach the engine; what runs there goes on.'
    case 'Converged':
      if (stack.pin) return `Pinned by ${stack.pin.actor}: newer versions wait.`
      if (stack.policy.mode === 'Observe') return 'Only observed: nothing is written here.'
      return null
  }
}

function within(time: string, now: number): string {
  const left = until(time, now)
  return left ? `in ${left}` : 'now'
}
