import type { Attempt, StackPhase } from '../api/documents'

export type DeploymentPhase = Attempt['phase']
/** How a phase is coloured: by what it asks of a person. */
export type Tone = 'good' | 'busy' | 'warn' | 'bad' | 'back' | 'idle'

interface Look {
  word: string
  tone: Tone
  /** A name in `ui/icons.tsx`. */
  icon: 'check' | 'half' | 'bang' | 'cross' | 'back' | 'bars' | 'question' | 'dot'
}

/** The worst first: the order of the list. */
export const STACK_PHASES: readonly StackPhase[] = [
  'Failed',
  'RollingBack',
  'RolledBack',
  'Degraded',
  'Unknown',
  'Progressing',
  'Pending',
  'Suspended',
  'Converged',
]

export const LOOKS: Record<StackPhase | DeploymentPhase, Look> = {
  Failed: { word: 'Failed', tone: 'bad', icon: 'cross' },
  RollingBack: { word: 'Rolling back', tone: 'back', icon: 'back' },
  RolledBack: { word: 'Rolled back', tone: 'back', icon: 'back' },
  Degraded: { word: 'Degraded', tone: 'warn', icon: 'bang' },
  Unknown: { word: 'Unknown', tone: 'warn', icon: 'question' },
  Progressing: { word: 'Progressing', tone: 'busy', icon: 'half' },
  Pending: { word: 'Pending', tone: 'busy', icon: 'dot' },
  Suspended: { word: 'Suspended', tone: 'idle', icon: 'bars' },
  Converged: { word: 'Converged', tone: 'good', icon: 'check' },
  Fetching: { word: 'Fetching', tone: 'busy', icon: 'half' },
  Rendering: { word: 'Rendering', tone: 'busy', icon: 'half' },
  AwaitingApproval: { word: 'Awaiting approval', tone: 'warn', icon: 'bars' },
  Applying: { word: 'Applying', tone: 'busy', icon: 'half' },
  Verifying: { word: 'Verifying', tone: 'busy', icon: 'half' },
  Superseded: { word: 'Superseded', tone: 'idle', icon: 'dot' },
  Cancelled: { word: 'Cancelled', tone: 'idle', icon: 'bars' },
}

/** Whether a deployment's phase moves no more. */
export function ended(phase: DeploymentPhase): boolean {
  return ['Converged', 'RolledBack', 'Failed', 'Superseded', 'Cancelled'].includes(phase)
}

/** `NoSuitableNode` → `no suitable node`. */
export function words(pascal: string): string {
  return pascal.replace(/([a-z])([A-Z])/g, '$1 $2').toLowerCase()
}
