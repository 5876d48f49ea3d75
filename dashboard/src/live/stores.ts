import { batch, effect, signal } from '@preact/signals'
import { token, type ApiError } from '../api/client'
import { FollowEvents, FollowStacks, type EventLine, type Row } from '../api/documents'
import { follow, hangUp } from './link'
import { append, take, type Change, type Fleet } from './merge'

/** All stacks, once the first snapshot is there. */
export const fleet = signal<Fleet<Row> | null>(null)
/** What the server refused to tell, if it did. */
export const fleetError = signal<ApiError | null>(null)
/** What is said aloud: changes of a phase, and nothing else. */
export const spoken = signal('')

let waiting: Change<Row>[] = []
let frame = 0

/** Changes are taken in once a frame, however many there are. */
function flush(): void {
  frame = 0
  const changes = waiting
  waiting = []
  const before = fleet.value
  const after = take(before, changes)
  batch(() => {
    fleetError.value = null
    fleet.value = after
    if (!before || !after) return
    const said = changes.flatMap(({ stack }) => {
      const old = stack && before.rows.get(`${stack.environment}/${stack.name}`)
      return old && old.phase !== stack.phase ? [`${stack.name}: ${stack.phase}`] : []
    })
    if (said.length > 0) spoken.value = said.slice(0, 3).join(', ')
  })
}

function followFleet(): () => void {
  return follow(
    FollowStacks,
    // Asked afresh after a break: what is not in the snapshot is gone.
    () => ({ after: null }),
    (data) => {
      waiting.push(data.stacksChanged)
      // A hidden page has no frames.
      frame ||= document.visibilityState === 'visible' ? requestAnimationFrame(flush) : (setTimeout(flush, 200) as never)
    },
    (error) => (fleetError.value = error),
  )
}

/** Follows the log, or that of one stack, into `into`: nothing is lost over a break, and nothing comes twice. */
export function followEvents(
  of: { stack?: string; environment?: string },
  into: (lines: (known: readonly EventLine[]) => EventLine[]) => void,
  most = 500,
): () => void {
  let last: number | null = null
  return follow(
    FollowEvents,
    () => ({ stack: of.stack ?? null, environment: of.environment ?? null, after: last, last: 200 }),
    (data) => {
      const { sequence, event } = data.eventAdded
      last = Math.max(last ?? 0, sequence)
      into((known) => append(known, [event], most))
    },
  )
}

/** The list is followed as long as somebody is signed in: it is the page's ground. */
export function keepFleet(): void {
  let stop: (() => void) | null = null
  effect(() => {
    const signedIn = token.value !== null
    stop?.()
    stop = null
    if (signedIn) stop = followFleet()
    else {
      fleet.value = null
      hangUp()
    }
  })
}
