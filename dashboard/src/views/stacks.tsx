import { computed } from '@preact/signals'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { Row } from '../api/documents'
import { locked, now } from '../live/now'
import { counts, firstPage, followPage, list, listError, PAGE, type ListPage } from '../live/stores'
import { change, keepOrder, narrows, readFilter, SORTS, writeFilter, type Filter, type Sort } from '../model/filter'
import { next } from '../model/next'
import { LOOKS, STACK_PHASES } from '../model/phase'
import { same } from '../model/version'
import { navigate, search, stackUrl, VIEW_HEADING } from '../route'
import { Ago, Copy, Empty, Loading, Phase, Said, TaskBar, Trouble, Version } from '../ui/bits'
import { Icon } from '../ui/icons'
import { openRollbackToTheLast } from './actions'
import { openAdopt } from './adopt'
import { openDeclare } from './declare'

/** So long the server is not asked while somebody types on, in milliseconds. */
const TYPING = 150

const filter = computed(() => readFilter(new URLSearchParams(search.value)))
const set = (by: Partial<Filter>) => navigate(`/${writeFilter(change(filter.value, by))}`, 'replace')

const SORT_WORDS: Record<Sort, string> = { worst: 'Worst first', name: 'By name', newest: 'Newest first' }

/** Every stack of every environment: whether what was asked for runs; if not, why, and what happens next. */
export function Stacks() {
  const of = writeFilter(filter.value)
  const typed = filter.value.text
  const asked = useRef(typed)
  useEffect(() => {
    const wait = asked.current === typed ? 0 : TYPING
    asked.current = typed
    let stop = () => undefined as void
    const timer = setTimeout(() => (stop = followPage(readFilter(new URLSearchParams(of)))), wait)
    return () => {
      clearTimeout(timer)
      stop()
    }
  }, [of, typed])
  const known = list.value
  if (!known) {
    return (
      <>
        <h1 id={VIEW_HEADING} tabIndex={-1} class="sr">
          Stacks
        </h1>
        {listError.value ? <Trouble message={listError.value.message} /> : <Loading />}
      </>
    )
  }
  if (counts.value?.phases.size === 0 && !narrows(filter.value)) return <NoStacks />
  return (
    <>
      <Tools page={known.page} />
      {listError.value && <Trouble message={listError.value.message} />}
      <List page={known.page} of={known.of} waits={known.of !== of} />
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
          </button>{' '}
          or{' '}
          <button type="button" disabled={locked.value} onClick={() => openAdopt()}>
            Adopt one that runs…
          </button>
        </p>
      </Empty>
    </>
  )
}

function Tools({ page }: { page: ListPage }) {
  const by = new Map(page.phases.map((it) => [it.phase, it.count]))
  const { environment, phases } = filter.value
  const environments = [...new Set([...page.environments, ...(environment ? [environment] : [])])].sort()
  const toggle = (phase: (typeof STACK_PHASES)[number]) =>
    set({ phases: phases.includes(phase) ? phases.filter((it) => it !== phase) : [...phases, phase] })
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
        <button type="button" disabled={locked.value} onClick={() => openAdopt()}>
          Adopt…
        </button>
      </div>
      <ul class="counts" aria-label="Filter by phase">
        {STACK_PHASES.filter((phase) => by.has(phase) || phases.includes(phase)).map((phase) => {
          const look = LOOKS[phase]
          return (
            <li key={phase}>
              <button type="button" class={`count tone-${look.tone}`} aria-pressed={phases.includes(phase)} onClick={() => toggle(phase)}>
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

/** `waits`: another page was asked for, and this one is shown until it comes. */
function List({ page, of, waits }: { page: ListPage; of: string; waits: boolean }) {
  const element = useRef<HTMLOListElement>(null)
  const held = useRef<{ order: readonly string[]; of: string }>({ order: [], of: '' })
  const [touched, setTouched] = useState(false)
  // While a hand or the focus is on the list, its order stays; another page is another list.
  const keeps = touched && held.current.of === of
  const shown = keeps ? keepOrder(held.current.order, page.order) : page.order
  held.current = { order: shown, of }
  const there = new Set(page.order)
  const rows = shown.flatMap((key) => page.rows.get(key) ?? [])
  const moved = keeps && shown.some((key, index) => key !== page.order[index])
  const place = page.environments.length > 1
  const stays = () => element.current?.matches(':hover') || element.current?.contains(document.activeElement) || false
  // Another page is read from its top.
  const { after, before } = filter.value
  useEffect(() => scrollTo(0, 0), [after, before])
  const update = () => requestAnimationFrame(() => setTouched(stays()))

  if (page.total === 0 && rows.length === 0) {
    const all = [...(counts.value?.phases.values() ?? [])].reduce((sum, count) => sum + count, 0)
    return (
      <Empty title="No stack fits">
        <p>
          {all} {all === 1 ? 'stack is' : 'stacks are'} declared, and none of them is what you look for.
        </p>
        <button type="button" onClick={() => navigate('/', 'replace')}>
          Clear the filter
        </button>
      </Empty>
    )
  }
  const { pageInfo, offset, total } = page
  const whole = !pageInfo.hasNextPage && !pageInfo.hasPreviousPage
  // Cursors belong to the list that is shown: until the one that was asked for is there, they lead nowhere.
  const to = (by: Partial<Filter>) => (waits ? undefined : `/${writeFilter(change(filter.value, by))}`)
  return (
    <>
      <p class="listnote" aria-live="off">
        {whole ? `${total} ${total === 1 ? 'stack' : 'stacks'}` : `${offset + 1} to ${offset + page.order.length} of ${total} stacks`}
        {moved && (
          <button type="button" class="link" onClick={() => setTouched(false)}>
            the order has changed: sort again
          </button>
        )}
      </p>
      <ol
        ref={element}
        class="stacks"
        aria-busy={waits}
        onPointerEnter={update}
        onPointerLeave={update}
        onFocusIn={update}
        onFocusOut={update}
      >
        {rows.map((row) => {
          const key = `${row.environment}/${row.name}`
          return <StackRow key={key} row={row} place={place} left={!there.has(key)} />
        })}
      </ol>
      {!whole && (
        <nav class="pages" aria-label="Pages">
          {pageInfo.hasPreviousPage && (
            <>
              <a href={firstPage(filter.value)}>First</a>
              <a href={offset <= PAGE ? firstPage(filter.value) : to({ before: pageInfo.startCursor })} rel="prev">
                Previous
              </a>
            </>
          )}
          {pageInfo.hasNextPage && (
            <a href={to({ after: pageInfo.endCursor })} rel="next">
              Next
            </a>
          )}
        </nav>
      )}
    </>
  )
}

/** `left`: it is no longer on this page, and stands here only so that nothing moves under the hand. */
function StackRow({ row, place, left }: { row: Row; place: boolean; left: boolean }) {
  const look = LOOKS[row.phase]
  const since = row.conditions.find((it) => it.type === 'Ready')?.since ?? row.attempt?.createdAt ?? row.updatedAt
  // While a version is on its way, what has been sent is not yet what runs.
  const under = row.phase === 'Progressing'
  const runs = under ? row.lastGood : row.live
  const differs = runs !== null && !same(row.desired, runs)
  // What was tried and never ran is not live, whatever was sent.
  const ran = row.phase !== 'Failed' || row.attempt === null || row.attempt.services.some((it) => it.healthy > 0)
  const then = next(row, now.value)
  // The version that did not come about: where it differs is one click away, and a way back two.
  const bad = row.phase === 'RolledBack' || row.phase === 'Failed'
  const blamed = bad ? (row.held.at(-1)?.deploymentId ?? row.attempt?.rollbackOf ?? row.attempt?.deploymentId) : undefined
  const message = row.suspension ? `Suspended by ${row.suspension.actor}: ${row.suspension.reason}` : row.message
  return (
    <li class={`row tone-${look.tone}${left ? ' left' : ''}`} data-stack={row.name}>
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
        <span>{left ? 'No longer on this page; this is how it was.' : message && <Said text={message} />}</span>
        {!left && then && (
          <em>
            <Said text={then} />
          </em>
        )}
        {!left && blamed && row.lastGood && (
          <span class="c-do">
            <a href={`${stackUrl(row, 'compare')}&to=${encodeURIComponent(blamed)}`} aria-label={`What changed in ${row.name}`}>
              What changed
            </a>
            <button type="button" class="link" data-do="rollback" disabled={locked.value} aria-label={`Roll back… ${row.name}`} onClick={() => openRollbackToTheLast(row)}>
              Roll back…
            </button>
          </span>
        )}
      </span>
    </li>
  )
}
