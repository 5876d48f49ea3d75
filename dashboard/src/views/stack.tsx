import { useEffect, useState } from 'preact/hooks'
import { ask, type ApiError } from '../api/client'
import { FollowStack, Tasks, type EventLine, type StackDetail, type Task } from '../api/documents'
import { follow, link } from '../live/link'
import { now } from '../live/now'
import { followEvents } from '../live/stores'
import { next } from '../model/next'
import { ended, LOOKS } from '../model/phase'
import { same } from '../model/version'
import { navigate, route, search, stackUrl, VIEW_HEADING } from '../route'
import { Ago, DeploymentLink, Loading, Phase, Said, Trouble, Version } from '../ui/bits'
import { Actions } from './actions'
import { LogPanel } from './logs'
import { Compare } from './compare'
import { Rendered } from './rendered'
import { Changes, Events, History, Spec } from './stacktabs'
import { Conditions, Services, Steps } from './convergence'

const TABS = ['overview', 'changes', 'history', 'compare', 'logs', 'events', 'rendered', 'spec'] as const
type Tab = (typeof TABS)[number]
const WORDS: Record<Tab, string> = {
  overview: 'Overview',
  changes: 'Changes',
  history: 'History',
  compare: 'Compare',
  logs: 'Logs',
  events: 'Events',
  rendered: 'Rendered',
  spec: 'Spec',
}

/** One stack: convergence as it happens, and what can be done. */
export function StackView({ environment, name }: { environment: string; name: string }) {
  const [stack, setStack] = useState<StackDetail | null | undefined>(undefined)
  const [refused, setRefused] = useState<ApiError | null>(null)
  const [lines, setLines] = useState<EventLine[]>([])
  const tasks = useTasks(environment, name, stack ?? null)

  useEffect(() => {
    setStack(undefined)
    setLines([])
    setRefused(null)
    let newest = -1
    const stops = [
      follow(
        FollowStack,
        () => ({ name, environment, after: null }),
        ({ stackChanged }) => {
          // A new connection begins with what stands then; within one, nothing goes back.
          newest = Math.max(newest, stackChanged.sequence)
          setStack(stackChanged.stack)
        },
        setRefused,
      ),
      followEvents({ stack: name, environment }, setLines),
    ]
    return () => stops.forEach((stop) => stop())
  }, [environment, name])

  if (refused && !stack) return <Trouble message={refused.message} />
  if (stack === undefined) return <Loading />
  if (stack === null) {
    return (
      <div class="empty">
        <h1 id={VIEW_HEADING} tabIndex={-1}>
          {name} is not declared
        </h1>
        <p>There is no stack of this name in {environment}; it may have been deleted.</p>
        {lines.length > 0 && <Events lines={lines} />}
        <p>
          <a href="/">All stacks</a>
        </p>
      </div>
    )
  }
  const asked = new URLSearchParams(search.value).get('tab') as Tab
  const tab = TABS.includes(asked) ? asked : 'overview'
  return (
    <article class="stack">
      <Head stack={stack} />
      <nav class="tabs" aria-label="Views of this stack">
        {TABS.map((it) => (
          <a key={it} href={stackUrl(stack, it === 'overview' ? undefined : it)} aria-current={it === tab ? 'page' : undefined}>
            {WORDS[it]}
          </a>
        ))}
      </nav>
      {tab === 'overview' && (
        <>
          <Steps attempt={stack.attempt} lines={lines} />
          <Services stack={stack} tasks={tasks} />
          <Conditions stack={stack} />
        </>
      )}
      {tab === 'changes' && <Changes stack={stack} />}
      {tab === 'history' && <History stack={stack} />}
      {tab === 'compare' && <Compare stack={stack} />}
      {tab === 'logs' && (
        <section class="panel" aria-labelledby="logs">
          <h2 id="logs">Logs, since the newest version was asked for</h2>
          <LogPanel stack={stack.name} environment={stack.environment} services={serviceNames(stack)} />
        </section>
      )}
      {tab === 'events' && <Events lines={lines} />}
      {tab === 'rendered' && <Rendered stack={stack} />}
      {tab === 'spec' && <Spec stack={stack} />}
    </article>
  )
}

/** The services that it has, by their names in the compose file. */
function serviceNames(stack: StackDetail): string[] {
  const prefix = `${stack.name}_`
  return stack.inventory
    .filter((it) => it.kind === 'Service')
    .map((it) => (it.name.startsWith(prefix) ? it.name.slice(prefix.length) : it.name))
}

/** The next or the last tab, by keyboard. */
export function turnTab(by: 1 | -1): void {
  const links = [...document.querySelectorAll<HTMLAnchorElement>('.tabs a')]
  const at = links.findIndex((it) => it.getAttribute('aria-current') === 'page')
  const to = links[(at + by + links.length) % links.length]
  if (at < 0 || !to) return
  navigate(to.pathname + to.search, 'replace')
}

/** A tab by its name, where a stack is shown. */
export function openTab(tab: Tab): void {
  const at = route.value
  if (at.view === 'stack') navigate(stackUrl(at, tab), 'replace')
}

/** The tasks as the engine has them: asked for every second while a deployment is under way, and after each change. */
function useTasks(environment: string, name: string, stack: StackDetail | null): readonly Task[] | null {
  const [tasks, setTasks] = useState<readonly Task[] | null>(null)
  const busy = stack?.attempt ? !ended(stack.attempt.phase) : false
  const live = link.value.kind === 'live'
  // What changes when there is something new to see.
  const mark = stack && `${stack.phase}/${stack.attempt?.deploymentId}/${stack.attempt?.phase}`
  useEffect(() => setTasks(null), [environment, name])
  useEffect(() => {
    if (!mark || !live) return
    const abort = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    const look = async () => {
      try {
        if (document.visibilityState === 'visible') {
          const found = await ask(Tasks, { stack: name, environment }, { signal: abort.signal })
          if (!abort.signal.aborted) setTasks(found.tasks)
        }
      } catch {
        // The engine may be away; the stack itself says so. What was known stays.
      }
      if (!abort.signal.aborted) timer = setTimeout(() => void look(), busy ? 1000 : 15_000)
    }
    void look()
    return () => {
      abort.abort()
      clearTimeout(timer)
    }
  }, [environment, name, mark, busy, live])
  return tasks
}

function Head({ stack }: { stack: StackDetail }) {
  const look = LOOKS[stack.phase]
  const then = next(stack, now.value)
  const blamed = stack.held.at(-1)
  const other = same(stack.desired, stack.live) ? stack.lastGood : stack.live
  return (
    <header class={`head tone-${look.tone}`}>
      <div class="title">
        <h1 id={VIEW_HEADING} tabIndex={-1}>
          {stack.name} <span class="faint">{stack.environment}</span>
        </h1>
        <Phase phase={stack.phase} large />
        <Actions stack={stack} />
      </div>
      <p class="why" id="why">
        <Said text={stack.message ?? 'nothing is known yet'} /> {then && (
          <em>
            <Said text={then} />
          </em>
        )}
      </p>
      {stack.phase === 'RolledBack' && blamed && (
        <p class="evidence-link">
          <a href={`/deployments/${blamed.deploymentId}`}>Read why it failed</a>: the evidence was kept.
        </p>
      )}
      {stack.suspension && (
        <p class="note tone-idle">
          Suspended by {stack.suspension.actor} <Ago time={stack.suspension.since} />: {stack.suspension.reason}
        </p>
      )}
      {stack.pin && (
        <p class="note tone-back">
          Pinned by {stack.pin.actor} <Ago time={stack.pin.since} />
          {stack.pin.reason && `: ${stack.pin.reason}`}. Newer versions wait.
        </p>
      )}
      {stack.drift.found.length > 0 && (
        <div class="note tone-warn">
          Someone else changed what runs:
          <ul>
            {stack.drift.found.map((it) => (
              <li key={it}>{it}</li>
            ))}
          </ul>
        </div>
      )}
      <dl class="versions">
        <div>
          <dt>Wanted</dt>
          <dd>
            <Version version={stack.desired} other={other} />
            {stack.desired.ref && <span class="faint">{stack.desired.ref}</span>}
          </dd>
          <dd class="faint">
            generation {stack.generation}
            {stack.attempt && (
              <>
                , <Ago time={stack.updatedAt} />
              </>
            )}
          </dd>
        </div>
        <div>
          <dt>{stack.phase === 'Progressing' ? 'On its way' : 'Live'}</dt>
          <dd>
            <Version version={stack.live} other={same(stack.desired, stack.live) ? other : stack.desired} />
          </dd>
          <dd class="faint">{stack.live ? <DeploymentLink id={stack.live.deploymentId} /> : 'nothing yet'}</dd>
        </div>
        <div>
          <dt>Last good</dt>
          <dd>
            <Version version={stack.lastGood} other={stack.desired} />
          </dd>
          <dd class="faint">
            {stack.lastGood ? (
              <>
                since <Ago time={stack.lastGood.since} />
              </>
            ) : (
              'none has converged'
            )}
          </dd>
        </div>
        {blamed && (
          <div>
            <dt>Held</dt>
            <dd>
              <Version version={blamed} other={stack.live} />
            </dd>
            <dd class="faint">
              <DeploymentLink id={blamed.deploymentId} />, <Ago time={blamed.since} />
            </dd>
          </div>
        )}
      </dl>
    </header>
  )
}
