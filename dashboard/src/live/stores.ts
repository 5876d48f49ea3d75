import { effect, signal } from '@preact/signals'
import { token, type ApiError } from '../api/client'
import { FollowCounts, FollowEvents, FollowPage, type EventLine, type Row, type StackPhase } from '../api/documents'
import { change as anew, type Filter, type Sort, writeFilter } from '../model/filter'
import { follow, hangUp } from './link'
import { append, takePage, type Page, type PageChange } from './merge'

export type ListPage = Page<Row, StackPhase>

/** How many stacks there are of each phase, and the environments they are in; none before the server has said it. */
export const counts = signal<{ phases: ReadonlyMap<StackPhase, number>; environments: readonly string[] } | null>(null)
/** The page of the list that was looked at last, and what it was asked for with. */
export const list = signal<{ of: string; page: ListPage } | null>(null)
/** What the server refused to tell, if it did. */
export const listError = signal<ApiError | null>(null)
/** What is said aloud: changes of a phase, and nothing else. */
export const spoken = signal('')

/** So many rows a page has. */
export const PAGE = 100

const ORDERS: Record<Sort, 'Worst' | 'Name' | 'Newest'> = { worst: 'Worst', name: 'Name', newest: 'Newest' }

/** Follows one page of the list, for as long as it is looked at. */
export function followPage(filter: Filter): () => void {
  const of = writeFilter(filter)
  let waiting: PageChange<Row, StackPhase>[] = []
  let frame = 0
  let open = true
  /** Changes are taken in once a frame, however many there are. */
  const flush = () => {
    frame = 0
    if (!open) return
    const before = list.value?.of === of ? list.value.page : null
    const page = takePage(before, waiting)
    const fresh = waiting.flatMap((it) => it.stacks)
    waiting = []
    listError.value = null
    if (!page) return
    list.value = { of, page }
    const said = fresh.flatMap((row) => {
      const old = before?.rows.get(`${row.environment}/${row.name}`)
      return old && old.phase !== row.phase ? [`${row.name}: ${row.phase}`] : []
    })
    if (said.length > 0) spoken.value = said.slice(0, 3).join(', ')
  }
  const stop = follow(
    FollowPage,
    () => ({
      first: PAGE,
      after: filter.after,
      before: filter.before,
      environment: filter.environment,
      phases: filter.phases.length > 0 ? [...filter.phases] : null,
      text: filter.text.trim() || null,
      order: ORDERS[filter.sort],
    }),
    (data) => {
      waiting.push(data.stackPageChanged)
      // A hidden page has no frames.
      frame ||= document.visibilityState === 'visible' ? requestAnimationFrame(flush) : (setTimeout(flush, 200) as never)
    },
    (error) => (listError.value = error),
  )
  return () => {
    open = false
    stop()
  }
}

/** The first page of the same list. */
export const firstPage = (filter: Filter): string => `/${writeFilter(anew(filter, {}))}`

function followCounts(): () => void {
  return follow(
    FollowCounts,
    () => ({}),
    ({ stackPageChanged: { phases, environments } }) => {
      counts.value = { phases: new Map(phases.map((it) => [it.phase, it.count])), environments }
    },
  )
}

/** So many lines a log begins with, at most. */
const FIRST = 200
/** After so long without a line it has begun, in milliseconds. */
const QUIET = 80

/** Follows the log, or that of one stack, into `into`: nothing is lost over a break, and nothing comes twice. */
export function followEvents(
  of: { stack?: string; environment?: string; deployment?: string },
  into: (lines: (known: readonly EventLine[]) => EventLine[]) => void,
  most = 500,
): () => void {
  let last: number | null = null
  let waiting: EventLine[] = []
  let frame = 0
  let open = true
  let begun = false
  let quiet: ReturnType<typeof setTimeout> | undefined
  /** The log begins with many lines, each a message: they are taken in at one go, and what comes later once a frame. */
  const flush = () => {
    frame = 0
    begun = true
    clearTimeout(quiet)
    const more = waiting
    waiting = []
    if (open) into((known) => append(known, more, most))
  }
  const stop = follow(
    FollowEvents,
    () => ({ stack: of.stack ?? null, environment: of.environment ?? null, deployment: of.deployment ?? null, after: last, last: FIRST }),
    (data) => {
      const { sequence, event } = data.eventAdded
      last = Math.max(last ?? 0, sequence)
      waiting.push(event)
      if (!begun && waiting.length < FIRST) {
        clearTimeout(quiet)
        quiet = setTimeout(flush, QUIET)
        return
      }
      frame ||= document.visibilityState === 'visible' ? requestAnimationFrame(flush) : (setTimeout(flush, 200) as never)
    },
  )
  return () => {
    open = false
    clearTimeout(quiet)
    stop()
  }
}

/** The counts are followed as long as somebody is signed in: they keep the connection, whichever view is open. */
export function keepCounts(): void {
  let stop: (() => void) | null = null
  effect(() => {
    const signedIn = token.value !== null
    stop?.()
    stop = null
    if (signedIn) stop = followCounts()
    else {
      counts.value = null
      list.value = null
      hangUp()
    }
  })
}
