import type { Attempt, StackDetail } from '../api/documents'
import { History as HistoryOf } from '../api/documents'
import { LOOKS } from '../model/phase'
import { age } from '../model/time'
import { label } from '../model/version'
import { now } from '../live/now'
import { navigate, search, stackUrl } from '../route'
import { useAsked } from '../ui/asked'
import { Empty, Loading, Trouble } from '../ui/bits'
import { Difference } from './difference'

/** Where the versions of any two deployments differ, as they were rendered then. Which two stands in the address. */
export function Compare({ stack }: { stack: StackDetail }) {
  const asked = useAsked(HistoryOf, { stack: stack.name, environment: stack.environment, first: 100, after: null })
  const params = new URLSearchParams(search.value)
  const all = asked.data?.deployments.edges.map((edge) => edge.node) ?? null
  const to = params.get('to') ?? all?.[0]?.deploymentId ?? null
  // From the newest good one before it, unless it was said.
  const older = all?.slice(all.findIndex((it) => it.deploymentId === to) + 1) ?? []
  const from = params.get('from') ?? (older.find((it) => it.phase === 'Converged') ?? older[0])?.deploymentId ?? null
  const set = (change: { from?: string; to?: string }) =>
    navigate(compareUrl(stack, change.from ?? from ?? '', change.to ?? to ?? ''), 'replace')
  return (
    <section class="panel" aria-labelledby="compare">
      <h2 id="compare">Two deployments</h2>
      {asked.error && <Trouble message={asked.error} retry={asked.again} />}
      {!all && !asked.error && <Loading rows={3} />}
      {all && all.length < 2 && !params.get('from') && <Empty title="There is only one deployment yet" />}
      {all && (all.length > 1 || params.get('from')) && (
        <>
          <div class="pick">
            <Pick name="From" value={from} of={all} set={(id) => set({ from: id })} />
            <button type="button" onClick={() => set({ from: to ?? '', to: from ?? '' })}>
              Swap
            </button>
            <Pick name="To" value={to} of={all} set={(id) => set({ to: id })} />
          </div>
          {from && to && <Difference from={from} to={to} />}
        </>
      )}
    </section>
  )
}

export const compareUrl = (stack: { environment: string; name: string }, from: string, to: string): string =>
  `${stackUrl(stack, 'compare')}&from=${encodeURIComponent(from)}&to=${encodeURIComponent(to)}`

function Pick({ name, value, of, set }: { name: string; value: string | null; of: readonly Attempt[]; set: (id: string) => void }) {
  const known = of.some((it) => it.deploymentId === value)
  return (
    <label class="field">
      <span>{name}</span>
      <select value={value ?? ''} onChange={(event) => set(event.currentTarget.value)}>
        {value && !known && <option value={value}>…{value.slice(-6)}</option>}
        {of.map((it) => (
          <option key={it.deploymentId} value={it.deploymentId}>
            {`${label(it) ?? `generation ${it.generation}`}, ${LOOKS[it.phase].word.toLowerCase()}, ${age(it.createdAt, now.value)} ago (…${it.deploymentId.slice(-6)})`}
          </option>
        ))}
      </select>
    </label>
  )
}
