import { useEffect, useState } from 'preact/hooks'
import type { EventLine } from '../api/documents'
import { fleet, followEvents } from '../live/stores'
import { navigate, search, VIEW_HEADING } from '../route'
import { Empty, Loading } from '../ui/bits'
import { EventList } from '../ui/eventlist'
import { link } from '../live/link'

/** Everything that happened, as it happens: who, what, why. */
export function Activity() {
  const [lines, setLines] = useState<EventLine[]>([])
  const [waited, setWaited] = useState(false)
  const asked = new URLSearchParams(search.value)
  const stack = asked.get('stack') ?? ''
  const kind = asked.get('type') ?? ''
  useEffect(() => {
    setLines([])
    setWaited(false)
    // Silence is all there is when nothing fits: after a moment it counts as the answer.
    const timer = setTimeout(() => setWaited(true), 1000)
    const stop = followEvents(stack ? { stack } : {}, setLines, 1000)
    return () => {
      clearTimeout(timer)
      stop()
    }
  }, [stack])
  const set = (name: string, value: string) => {
    const next = new URLSearchParams(search.value)
    if (value) next.set(name, value)
    else next.delete(name)
    const text = next.toString()
    navigate(`/activity${text && `?${text}`}`, 'replace')
  }
  const names = [...new Set([...(fleet.value?.rows.values() ?? [])].map((row) => row.name).concat(stack || []))].sort()
  const kinds = [...new Set(lines.map((line) => line.type))].sort()
  const shown = kind ? lines.filter((line) => line.type === kind) : lines
  return (
    <>
      <div class="toolrow">
        <h1 id={VIEW_HEADING} tabIndex={-1}>
          Activity
        </h1>
        <label class="select">
          <span class="sr">Stack</span>
          <select value={stack} onChange={(event) => set('stack', event.currentTarget.value)}>
            <option value="">All stacks</option>
            {names.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <label class="select">
          <span class="sr">Kind</span>
          <select value={kind} onChange={(event) => set('type', event.currentTarget.value)}>
            <option value="">Every kind</option>
            {[...new Set([...kinds, ...(kind ? [kind] : [])])].map((it) => (
              <option key={it}>{it}</option>
            ))}
          </select>
        </label>
      </div>
      <section class="panel" aria-label="Events">
        {shown.length > 0 ? (
          <EventList lines={shown} />
        ) : lines.length === 0 && (!waited || link.value.kind !== 'live') ? (
          <Loading />
        ) : (
          <Empty title="Nothing of this kind has happened" />
        )}
      </section>
    </>
  )
}
