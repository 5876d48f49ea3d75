import type { Attempt, Plan } from '../api/documents'
import type { Tone } from './phase'

export type Job = Attempt['jobs'][number]

interface Look {
  word: string
  tone: Tone
  icon: 'check' | 'half' | 'cross' | 'bars'
}

export const JOB_LOOKS: Record<Job['phase'], Look> = {
  Starting: { word: 'Starting', tone: 'busy', icon: 'half' },
  Running: { word: 'Running', tone: 'busy', icon: 'half' },
  Succeeded: { word: 'Succeeded', tone: 'good', icon: 'check' },
  Failed: { word: 'Failed', tone: 'bad', icon: 'cross' },
  Stopped: { word: 'Stopped', tone: 'idle', icon: 'bars' },
}

/** When a job runs, in words. */
export function jobTime(when: Job['when'], direction: Job['direction'] = 'Deploy'): string {
  const time = when === 'Pre' ? 'before the services' : 'after the services'
  return direction === 'Rollback' ? `${time}, on the way back` : time
}

/** What is to happen besides the steps of a plan: one line for each job. */
export function jobLine(job: Plan['jobs'][number]): string {
  return `${jobTime(job.when)}${waits(job.waitsFor)}`
}

/** ` waits for a, b`, where there is something. */
export function waits(names: readonly string[]): string {
  return names.length > 0 ? `, waits for ${names.join(', ')}` : ''
}
