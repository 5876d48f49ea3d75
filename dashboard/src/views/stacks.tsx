import { computed } from '@preact/signals'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Row } from '../api/documents'
import { locked, now } from '../live/now'
import { key } from '../live/merge'
import { fleet, fleetError } from '../live/stores'
import { counts, keepOrder, pick, readFilter, SORTS, writeFilter, type Filter, type Sort } from '../model/filter'
import { next } from '../model/next'
import { LOOKS, STACK_PHASES } from '../model/phase'
import { same } from '../model/version'
import { navigate, search, stackUrl, VIEW_HEADING } from '../route'
import { Ago, Copy, Empty, Loading, Phase, Said, TaskBar, Trouble, Version } from '../ui/bits'
import { Icon } from '../ui/icons'
import { openDeclare } from './declare'

/** So many rows are drawn at first, and more on demand. */
const PAGE = 200

const filter = computed(() => readFilter(new URLSearchParams(search.value)))
const set = (change: Partial<Filter>) => navigate(`/${writeFilter({ ...filter.value, ...change })}`, 'replace')

const SORT_WORDS: Record<Sort, string> = { worst: 'Worst first', name: 'By name', newest: 'Newest first' }

/** Every stack of every environment: whether what was asked for runs; if not, why, and what happens next. */
export function Stacks() {
  const rows = [...(fleet.value?.rows.values() ?? [])]
  if (!fleet.value) {
    return (
      <>
        <h1 id={VIEW_HEADING} tabIndex={-1} class="sr">
          Stacks
        </h1>
        {fleetError.value ? <Trouble message={fleetError.value.message} /> : <Loading />}
      </>
    )
  }
  if (rows.length === 0) return <NoStacks />
  return (
    <>
      <Tools rows={rows} />
      <List rows={rows} />
    </>
  )
}

function NoStacks() {
  return (
    <>
      <h1 id={VIEW_HEADING} tabIndex={-1} class="sr">
        Stacks
      </h1>
      <Empty title="The hive is empty">
        <p>No stack is declared yet. Write what should run, and Skep brings it about and keeps it there.</p>
        <Copy text={'skep apply -f skep.yml --wait'} />
        <p>
          or{' '}
          <button type="button" class="primary" disabled={locked.value} onClick={() => openDeclare()}>
            Declare a stack here…
          </button>
        </p>
      </Empty>
    </>
  )
}

function Tools({ rows }: { rows: readonly Row[] }) {
  const by = counts(rows, filter.value)
  const environments = [...new Set(rows.map((row) => row.environment))].sort()
  const toggle = (phase: (typeof STACK_PHASES)[number]) => {
    const { phases } = filter.value
    set({ phases: phases.includes(phase) ? phases.filter((it) => it !== phase) : [...phases, phase] })
  }
  return (
    <section class="tools" aria-label="Find stacks">
      <div class="toolrow">
        <h1 id={VIEW_HEADING} tabIndex={-1}>
          Stacks
        </h1>
        <label class="search">
          <Icon name="search" />
          <span class="sr">Find a stack</span>
          <input
            id="find"
            type="search"
            placeholder="Find by name, image, version, person"
            value={filter.value.text}
            onInput={(event) => set({ text: event.currentTarget.value })}
            onKeyDown={(event) => {
              if (event.key !== 'Escape') return
              event.preventDefault()
              set({ text: '' })
              event.currentTarget.blur()
            }}
          />
          <kbd aria-hidden="true">/</kbd>
        </label>
        {environments.length > 1 && (
          <label class="select">
            <span class="sr">Environment</span>
            <select value={filter.value.environment ?? ''} onChange={(event) => set({ environment: event.currentTarget.value || null })}>
              <option value="">All environments</option>
              {environments.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
        )}
        <label class="select">
          <span class="sr">Order</span>
          <select value={filter.value.sort} onChange={(event) => set({ sort: event.currentTarget.value as Sort })}>
            {SORTS.map((sort) => (
              <option key={sort} value={sort}>
                {SORT_WORDS[sort]}
              </option>
            ))}
          </select>
        </label>
        <button type="button" disabled={locked.value} onClick={() => openDeclare()}>
          Declare…
        </button>
      </div>
      <ul class="counts" aria-label="Filter by phase">
        {STACK_PHASES.filter((phase) => by.has(phase) || filter.value.phases.includes(phase)).map((phase) => {
          const look = LOOKS[phase]
          const on = filter.value.phases.includes(phase)
          return (
            <li key={phase}>
              <button type="button" class={`count tone-${look.tone}`} aria-pressed={on} onClick={() => toggle(phase)}>
                <Icon name={look.icon} size={14} />
                <b>{by.get(phase) ?? 0}</b> {look.word}
              </button>
            </li>
          )
        })}
      </ul>
    </section>
  )
}

function List({ rows }: { rows: readonly Row[] }) {
  const list = useRef<HTMLOListElement>(null)
  const place = rows.some((row) => row.environment !== rows[0]?.environment)
  const [most, setMost] = useState(PAGE)
  const held = useRef<{ order: string[]; of: string }>({ order: [], of: '' })
  const [touched, setTouched] = useState(false)
  const picked = pick(rows, filter.value)
  // While a hand or the focus is on the list, its order stays; another filter is another list.
  const keeps = touched && held.current.of === search.value
  const shown = keeps ? keepOrder(held.current.order, picked) : picked
  held.current = { order: shown.map(key), of: search.value }
  const moved = keeps && shown.some((row, index) => row !== picked[index])
  useEffect(() => setMost(PAGE), [search.value])
  const stays = () => list.current?.matches(':hover') || list.current?.contains(document.activeElement) || false
  const update = () => requestAnimationFrame(() => setTouched(stays()))

  if (picked.length === 0) {
    return (
      <Empty title="No stack fits">
        <p>
          {rows.length} {rows.length === 1 ? 'stack is' : 'stacks are'} declared, and none of them is what you look for.
        </p>
        <button type="button" onClick={() => navigate('/', 'replace')}>
          Clear the filter
        </button>
      </Empty>
    )
  }
  return (
    <>
      <p class="listnote" aria-live="off">
        {picked.length === rows.length ? `${rows.length} stacks` : `${picked.length} of ${rows.length} stacks`}
        {moved && (
          <button type="button" class="link" onClick={() => setTouched(false)}>
            the order has changed: sort again
          </button>
        )}
      </p>
      <ol ref={list} class="stacks" onPointerEnter={update} onPointerLeave={update} onFocusIn={update} onFocusOut={update}>
        {shown.slice(0, most).map((row) => (
          <StackRow key={key(row)} row={row} place={place} />
        ))}
      </ol>
      {shown.length > most && (
        <button type="button" class="wide" onClick={() => setMost(most + PAGE)}>
          Show {Math.min(PAGE, shown.length - most)} more of {shown.length - most}
        </button>
      )}
    </>
  )
}

function StackRow({ row, place }: { row: Row; place: boolean }) {
  const look = LOOKS[row.phase]
  const since = row.conditions.find((it) => it.type === 'Ready')?.since ?? row.attempt?.createdAt ?? row.updatedAt
  // While a version is on its way, what has been sent is not yet what runs.
  const under = row.phase === 'Progressing'
  const runs = under ? row.lastGood : row.live
  const differs = runs !== null && !same(row.desired, runs)
  // What was tried and never ran is not live, whatever was sent.
  const ran = row.phase !== 'Failed' || row.attempt === null || row.attempt.services.some((it) => it.healthy > 0)
  const then = next(row, now.value)
  const message = row.suspension ? `Suspended by ${row.suspension.actor}: ${row.suspension.reason}` : row.message
  return (
    <li class={`row tone-${look.tone}`} data-stack={row.name}>
      <a class="cover" href={stackUrl(row)} aria-label={`${row.name} in ${row.environment}: ${look.word}`} />
      <span class="c-phase">
        <Phase phase={row.phase} />
      </span>
      <span class="c-name">
        <b>{row.name}</b> {place && <span class="faint">{row.environment}</span>}
      </span>
      <span class="c-version">
        {differs ? (
          <>
            <span class="pair">
              <span class="tag">{under ? 'good' : 'live'}</span>
              <Version version={runs} other={row.desired} />
            </span>
            <span class="pair wanted">
              <span class="tag">{row.held.length > 0 && row.phase === 'RolledBack' ? 'held' : 'want'}</span>
              <Version version={row.desired} other={runs} />
            </span>
          </>
        ) : (
          <span class="pair">
            <span class="tag">{row.live && ran && !under ? 'live' : 'want'}</span>
            <Version version={row.desired} />
          </span>
        )}
      </span>
      <span class="c-tasks">
        <TaskBar services={row.attempt?.services ?? []} />
      </span>
      <span class="c-since">
        <Ago time={since} bare /> <span class="faint">{row.attempt?.trigger === 'Rollback' && row.attempt.rollbackOf ? 'by itself' : row.attempt?.actor}</span>
      </span>
      <span class="c-why">
        <span>{message && <Said text={message} />}</span>
        {then && <em>{then}</em>}
      </span>
    </li>
  )
}
