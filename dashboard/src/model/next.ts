import type { Row } from '../api/documents'
import { ended } from './phase'
import { until } from './time'

type Reason = Row['conditions'][number]['reason']

/** What the server waits for, as the condition `Ready` says it, and what it does then. */
const WAITS: Partial<Record<Reason, string>> = {
  ScheduleClosed: 'It goes on by itself when the schedule opens. What runs goes on meanwhile.',
  DependencyNotReady: 'It goes on by itself when the stacks that it depends on are ready. What runs goes on meanwhile.',
  SourceUnreachable: 'Skep asks the source again by itself.',
  EngineUnreachable: 'Skep keeps trying to reach the engine; what runs there goes on.',
  RelayUnreachable: 'Skep keeps trying to reach the relay; what runs behind it goes on.',
  NotAManager: 'Skep keeps looking for a manager; what runs there goes on.',
  Foreign: 'Nothing is written here until this Skep holds the environment.',
  Observing: 'Only observed: nothing is written here.',
}

/**
 * What happens next with a stack, and when: one sentence, of what the server has said. Null where it has not said anything that
 * tells.
 */
export function next(stack: Row, now: number): string | null {
  if (stack.deletion) return 'Its objects are being removed; volumes stay.'
  const ready = stack.conditions.find((it) => it.type === 'Ready')
  const waits = ready && ready.status !== 'True' ? WAITS[ready.reason] : undefined
  switch (stack.phase) {
    case 'Pending':
      if (waits) return waits
      // What was cancelled or left waits for what comes next; the server says what that is.
      return stack.attempt === null || !ended(stack.attempt.phase) ? 'It is taken up in a moment.' : null
    case 'Progressing':
      return underWay(stack, now) ?? waits ?? null
    case 'RollingBack':
      return waits ?? 'The last good version is being brought back.'
    case 'RolledBack':
      return stack.held.length > 0 ? 'Held: it is not tried again by itself. Deploy another version, or release the hold.' : null
    case 'Failed':
      return failed(stack)
    case 'Degraded':
      return 'Swarm starts the missing tasks again; Skep keeps looking.'
    case 'Suspended': {
      const end = stack.suspension?.until
      return end ? `Nothing is written until then: resumes by itself ${within(end, now)}.` : 'Nothing is written until someone resumes it.'
    }
    case 'Unknown':
      return waits ?? 'Skep keeps trying to reach the engine; what runs there goes on.'
    case 'Converged':
      if (stack.pin) return pinned(stack.pin, now)
      if (stack.policy.mode === 'Observe') return 'Only observed: nothing is written here.'
      return null
  }
}

/** Nothing where the server has not said how far it is. */
function underWay({ attempt, live, policy }: Row, now: number): string | null {
  if (attempt?.phase === 'AwaitingApproval') return 'It waits for you: look at the plan, and approve it. What runs goes on meanwhile.'
  const job = attempt?.jobs.find((it) => it.phase === 'Starting' || it.phase === 'Running')
  if (job) {
    const left = until(job.deadline, now)
    return left ? `The job ${job.service} has ${left} left to end well.` : `The job ${job.service} is past its deadline.`
  }
  const progress = attempt?.progress
  if (!progress) return null
  if (progress.waitingSince) return `It waits for the infrastructure, and gives up ${within(progress.totalDeadline, now)}.`
  if (progress.healthySince) {
    const bakes = policy.bake === '0s' ? '' : `, and baked for ${policy.bake}`
    return `It has converged when its tasks have stayed healthy through the monitor period (${policy.monitor})${bakes}.`
  }
  const left = until(progress.progressDeadline, now)
  const then = policy.onFailure === 'Hold' || policy.irreversible || !live ? 'Fails' : 'Rolls back'
  return left ? `${then} in ${left} unless one more task gets healthy.` : `${then} now.`
}

/** What failed by the infrastructure's fault alone is tried again; what is held, or never was sent, is not. */
function failed({ attempt, held }: Row): string {
  const found = attempt?.phase === 'Failed' ? attempt.failure : null
  if (found) {
    if (found.class === 'SourceUnreachable' && attempt!.revision === null) return WAITS.SourceUnreachable!
    const outage = ['EngineUnreachable', 'QuorumLost', 'SourceUnreachable'].includes(found.class)
    const blamed = held.some((it) => it.deploymentId === attempt!.deploymentId)
    const sent = attempt!.progress !== null && attempt!.rollbackOf === null && !blamed
    if (outage || sent) return 'It failed by no fault of its own: Skep tries it again by itself.'
  }
  return 'Nothing by itself: it waits for you.'
}

function pinned(pin: NonNullable<Row['pin']>, now: number): string {
  return `Pinned by ${pin.actor}: newer versions wait${pin.until ? `; it is unpinned by itself ${within(pin.until, now)}` : ''}.`
}

function within(time: string, now: number): string {
  const left = until(time, now)
  return left ? `in ${left}` : 'now'
}
