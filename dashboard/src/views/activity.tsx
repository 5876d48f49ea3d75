import { useEffect, useRef, useState } from 'preact/hooks'
import { ask } from '../api/client'
import { OlderEvents, StackNames, type EventLine } from '../api/documents'
import { append } from '../live/merge'
import { counts, followEvents } from '../live/stores'
import { navigate, search, VIEW_HEADING } from '../route'
import { Empty, Loading, Trouble } from '../ui/bits'
import { EventList } from '../ui/eventlist'
import { problem } from '../ui/form'
import { link } from '../live/link'

/** Lines that are kept on the page at most. */
const MOST = 5000

/** Everything that happened, as it happens: who, what, why. */
export function Activity() {
  const [lines, setLines] = useState<EventLine[]>([])
  const [waited, setWaited] = useState(false)
  const asked = new URLSearchParams(search.value)
  const stack = asked.get('stack') ?? ''
  const kind = asked.get('type') ?? ''
  const actor = asked.get('actor') ?? ''
  const environment = asked.get('env') ?? ''
  const [names, setNames] = useState<readonly string[]>([])
  const [more, setMore] = useState(true)
  const before = useRef<string | null>(null)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<string | null>(null)
  useEffect(() => {
    setLines([])
    setWaited(false)
    // Silence is all there is when nothing fits: after a moment it counts as the answer.
    const timer = setTimeout(() => setWaited(true), 1000)
    setMore(true)
    before.current = null
    const of = { ...(stack ? { stack } : {}), ...(environment ? { environment } : {}) }
    const stop = followEvents(of, setLines, MOST)
    return () => {
      clearTimeout(timer)
      stop()
    }
  }, [stack, environment])
  const set = (name: string, value: string) => {
    const next = new URLSearchParams(search.value)
    if (value) next.set(name, value)
    else next.delete(name)
    const text = next.toString()
    navigate(`/activity${text && `?${text}`}`, 'replace')
  }
  const kinds = [...new Set(lines.map((line) => line.type))].sort()
  const actors = [...new Set(lines.map((line) => line.actor))].sort()
  const shown = lines.filter((line) => (!kind || line.type === kind) && (!actor || line.actor === actor))
  const environments = counts.value?.environments ?? []
  const older = async () => {
    const oldest = lines[0]
    if (!oldest) return
    setBusy(true)
    try {
      // The server's own cursors are gone by, from the newest line on: what is here already comes again, and counts once.
      for (;;) {
        const { events } = await ask(OlderEvents, { stack: stack || null, environment: environment || null, before: before.current })
        before.current = events.pageInfo.endCursor
        const found = events.edges.map((edge) => edge.node)
        setLines((known) => append([], [...found, ...known], MOST))
        setMore(events.pageInfo.hasNextPage)
        if (!events.pageInfo.hasNextPage || found.some((line) => line.sequence < oldest.sequence)) break
      }
      setError(null)
    } catch (cause) {
      setError(problem(cause).message)
    }
    setBusy(false)
  }
  return (
    <>
      <div class="toolrow">
        <h1 id={VIEW_HEADING} tabIndex={-1}>
          Activity
        </h1>
        <Find stack={stack} set={(name) => set('stack', name)} names={names} setNames={setNames} />
        {environments.length > 1 && (
          <Select name="Environment" all="All environments" value={environment} of={environments} set={(value) => set('env', value)} />
        )}
        <Select name="Kind" all="Every kind" value={kind} of={kinds} set={(value) => set('type', value)} />
        <Select name="Actor" all="By anyone" value={actor} of={actors} set={(value) => set('actor', value)} />
      </div>
      <section class="panel" aria-label="Events">
        {shown.length > 0 ? (
          <>
            <EventList lines={shown} />
            {error && <Trouble message={error} />}
            {more && lines.length >= 200 && lines.length < MOST && (
              <button type="button" class="wide" disabled={busy || link.value.kind !== 'live'} onClick={() => void older()}>
                {busy ? 'Asking…' : 'Show older ones'}
              </button>
            )}
          </>
        ) : lines.length === 0 && (!waited || link.value.kind !== 'live') ? (
          <Loading />
        ) : (
          <Empty title="Nothing of this kind has happened" />
        )}
      </section>
    </>
  )
}

/** A stack by its name; the server suggests some while one types. */
function Find({
  stack,
  set,
  names,
  setNames,
}: {
  stack: string
  set: (name: string) => void
  names: readonly string[]
  setNames: (names: readonly string[]) => void
}) {
  const [typed, setTyped] = useState(stack)
  useEffect(() => setTyped(stack), [stack])
  useEffect(() => {
    const abort = new AbortController()
    const timer = setTimeout(() => {
      ask(StackNames, { text: typed }, { signal: abort.signal })
        .then(({ stacks }) => setNames([...new Set(stacks.edges.map((edge) => edge.node.name))]))
        .catch(() => undefined)
    }, 150)
    return () => {
      clearTimeout(timer)
      abort.abort()
    }
  }, [typed])
  return (
    <label class="search short">
      <span class="sr">Stack</span>
      <input
        list="stack-names"
        placeholder="All stacks"
        value={typed}
        autocomplete="off"
        onInput={(event) => setTyped(event.currentTarget.value)}
        onChange={(event) => set(event.currentTarget.value.trim())}
      />
      <datalist id="stack-names">
        {names.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
    </label>
  )
}

function Select({
  name,
  all,
  value,
  of,
  set,
}: {
  name: string
  all: string
  value: string
  of: readonly string[]
  set: (value: string) => void
}) {
  return (
    <label class="select">
      <span class="sr">{name}</span>
      <select value={value} onChange={(event) => set(event.currentTarget.value)}>
        <option value="">{all}</option>
        {[...new Set([...of, ...(value ? [value] : [])])].map((it) => (
          <option key={it}>{it}</option>
        ))}
      </select>
    </label>
  )
}
