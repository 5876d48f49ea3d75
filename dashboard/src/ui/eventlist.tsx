import type { EventLine } from '../api/documents'
import { now } from '../live/now'
import { words, type Tone } from '../model/phase'
import { clock } from '../model/time'
import { stackUrl } from '../route'
import { DeploymentLink, Said } from './bits'

const TONES: Partial<Record<EventLine['type'], Tone>> = {
  Converged: 'good',
  Failed: 'bad',
  RolledBack: 'back',
  Held: 'back',
  Pinned: 'back',
  DriftDetected: 'warn',
  SourceFailed: 'bad',
  HookRefused: 'bad',
  Refused: 'warn',
  Waiting: 'warn',
  EnvironmentDisconnected: 'bad',
  EnvironmentForeign: 'warn',
  EnvironmentConnected: 'good',
  PhaseChanged: 'busy',
  StepApplied: 'busy',
}

/** How a request came in. */
const WAYS: Record<NonNullable<EventLine['via']>, string> = { GraphQL: 'GraphQL', Rest: 'REST', Hook: 'a hook', Cli: 'the CLI', Relay: 'a relay' }

/** Lines of the log, the newest first. */
export function EventList({
  lines,
  withStack = true,
  withDeployment = true,
}: {
  lines: readonly EventLine[]
  withStack?: boolean
  withDeployment?: boolean
}) {
  return (
    <ol class="events">
      {[...lines].reverse().map((line) => (
        <li key={line.sequence} data-sequence={line.sequence} class={`tone-${TONES[line.type] ?? 'idle'}`}>
          <time dateTime={line.time}>{clock(line.time, now.value)}</time>
          <span class="kind">{words(line.type)}</span>
          <span class="said">
            {withStack && line.stack && (
              <a href={stackUrl({ environment: line.environment, name: line.stack })}>{line.stack}</a>
            )}
            {withStack && !line.stack && line.environment && <b>{line.environment}</b>} <Said text={line.message} />
          </span>
          <span class="who">
            {line.actor}
            {line.via && ` by ${WAYS[line.via]}`}
            {withDeployment && line.deploymentId && (
              <>
                {' '}
                <DeploymentLink id={line.deploymentId} />
              </>
            )}
          </span>
        </li>
      ))}
    </ol>
  )
}
