import { useEffect, useState } from 'preact/hooks'
import { ask } from '../api/client'
import { History as HistoryOf, PlanOf, type Attempt, type EventLine, type Plan, type StackDetail } from '../api/documents'
import { locked, now } from '../live/now'
import { apart } from '../model/drift'
import { ended, words } from '../model/phase'
import { span, took, until } from '../model/time'
import { stackUrl } from '../route'
import { Ago, DeploymentLink, Empty, Fact, Json, Loading, Phase, Said, Trouble, Version } from '../ui/bits'
import { EventList } from '../ui/eventlist'
import { problem } from '../ui/form'
import { PlanNotes, PlannedJobs, PlanView, StepsView } from '../ui/plan'
import { openRollback } from './actions'
import { compareUrl } from './compare'

/** What would change now, and drift apart from it. */
export function Changes({ stack }: { stack: StackDetail }) {
  const [plan, setPlan] = useState<Plan | null>(null)
  const [error, setError] = useState<string | null>(null)
  const [round, setRound] = useState(0)
  useEffect(() => {
    const abort = new AbortController()
    setError(null)
    ask(PlanOf, { stack: stack.name, environment: stack.environment, ref: null, images: [] }, { signal: abort.signal })
      .then((found) => setPlan(found.plan))
      .catch((cause: unknown) => abort.signal.aborted || setError(problem(cause).message))
    return () => abort.abort()
  }, [stack.name, stack.environment, stack.generation, stack.attempt?.deploymentId, stack.phase, stack.drift.found.join(), round])
  return (
    <section class="panel" aria-labelledby="changes">
      <h2 id="changes">
        What runs → what is declared
        <button type="button" class="link" disabled={locked.value} onClick={() => setRound(round + 1)}>
          look again
        </button>
      </h2>
      {stack.held.length > 0 && <p class="note tone-back">The declared version is held: this is what it would change if the hold were released.</p>}
      {error ? (
        <Trouble message={error} retry={() => setRound(round + 1)} />
      ) : plan ? (
        <Parts plan={plan} drift={stack.drift.found} />
      ) : (
        <Loading rows={4} />
      )}
    </section>
  )
}

/** Drift stands by itself: nobody asked for it. */
function Parts({ plan, drift }: { plan: Plan; drift: readonly string[] }) {
  if (drift.length === 0) return <PlanView plan={plan} />
  const { foreign, asked } = apart(plan.steps, drift)
  return (
    <div class="plan">
      <PlanNotes plan={plan} />
      <div class="drifted" role="group" aria-labelledby="drifted">
        <h3 id="drifted">Drift: somebody else changed this on the Swarm</h3>
        {foreign.length > 0 ? (
          <StepsView steps={foreign} was="somebody made it" will="it is put back to" />
        ) : (
          <ul class="plain">
            {drift.map((it) => (
              <li key={it}>
                <Said text={it} />
              </li>
            ))}
          </ul>
        )}
      </div>
      <h3>What was asked</h3>
      <PlannedJobs plan={plan} />
      {asked.length === 0 ? <p class="faint">Nothing else differs; {plan.unchanged} objects stay as they are.</p> : <StepsView steps={asked} />}
    </div>
  )
}

/** Every deployment, the newest first; those that converged can be brought back. */
export function History({ stack }: { stack: StackDetail }) {
  const [rows, setRows] = useState<Attempt[] | null>(null)
  const [error, setError] = useState<string | null>(null)
  const [most, setMost] = useState(25)
  const [more, setMore] = useState(false)
  const [round, setRound] = useState(0)
  useEffect(() => {
    const abort = new AbortController()
    setError(null)
    ask(HistoryOf, { stack: stack.name, environment: stack.environment, first: most, after: null }, { signal: abort.signal })
      .then(({ deployments }) => {
        setRows(deployments.edges.map((edge) => edge.node))
        setMore(deployments.pageInfo.hasNextPage && most < 200)
      })
      .catch((cause: unknown) => abort.signal.aborted || setError(problem(cause).message))
    return () => abort.abort()
  }, [stack.name, stack.environment, stack.generation, stack.attempt?.deploymentId, stack.attempt?.phase, stack.phase, most, round])
  if (error) return <Trouble message={error} retry={() => setRound(round + 1)} />
  if (!rows) return <Loading />
  const held = new Set(stack.held.map((it) => it.deploymentId))
  return (
    <section class="panel" aria-labelledby="history">
      <h2 id="history">History</h2>
      <ol class="history">
        {rows.map((it, index) => {
          const newer = rows.slice(0, index).findLast((later) => later.phase === 'Converged')
          const active = it.phase === 'Converged' && it.finishedAt ? (Date.parse(newer?.finishedAt ?? '') || now.value) - Date.parse(it.finishedAt) : null
          const marks = [
            stack.lastGood?.deploymentId === it.deploymentId && 'last good',
            stack.live?.deploymentId === it.deploymentId && 'live',
            held.has(it.deploymentId) && 'held',
            stack.pin?.deploymentId === it.deploymentId && 'pinned',
          ].filter(Boolean)
          return (
            <li key={it.deploymentId}>
              <span class="h-phase">
                <Phase phase={it.phase} />
              </span>
              <span class="h-version">
                <Version version={it} other={rows[index + 1] ?? null} />{' '}
                {marks.map((mark) => (
                  <span key={String(mark)} class="mark-word">
                    {mark}
                  </span>
                ))}
              </span>
              <span class="h-who">
                {it.rollbackOf ? (
                  <>
                    answers <DeploymentLink id={it.rollbackOf} />
                  </>
                ) : (
                  `${it.actor}, ${words(it.trigger)}`
                )}
                , <Ago time={it.createdAt} />
              </span>
              <span class="h-took faint">
                {ended(it.phase) ? `took ${took(it.createdAt, it.finishedAt, now.value)}` : 'under way'}
                {active !== null && `, active for ${span(active / 1000)}`}
              </span>
              <span class="h-why">{it.statedReason ?? it.failure?.error ?? ''}</span>
              <span class="h-do">
                <a href={`/deployments/${it.deploymentId}`} aria-label={`Details of deployment ${it.deploymentId.slice(-6)}`}>
                  Details
                </a>
                {rows[index + 1] && (
                  <a
                    href={compareUrl(stack, rows[index + 1]!.deploymentId, it.deploymentId)}
                    aria-label={`Compare deployment ${it.deploymentId.slice(-6)} with the one before`}
                  >
                    Compare
                  </a>
                )}
                {it.phase === 'Converged' && stack.live?.deploymentId !== it.deploymentId && (
                  <button type="button" disabled={locked.value} onClick={() => openRollback(stack, it)}>
                    Roll back to this…
                  </button>
                )}
              </span>
            </li>
          )
        })}
      </ol>
      {more && (
        <button type="button" class="wide" onClick={() => setMost(Math.min(200, most * 2))}>
          Show more
        </button>
      )}
    </section>
  )
}

export function Events({ lines }: { lines: readonly EventLine[] }) {
  return (
    <section class="panel" aria-labelledby="events">
      <h2 id="events">Events</h2>
      {lines.length === 0 ? <Empty title="Nothing has happened yet" /> : <EventList lines={lines} withStack={false} />}
    </section>
  )
}

/** An image whose versions are followed: what was found, and when it is looked for again. */
function Followed({ it }: { it: StackDetail['followedImages'][number] }) {
  return (
    <Fact name={`Image of ${it.service}`}>
      follows {it.rule} <code>{it.wanted}</code>
      {it.tag && (
        <>
          , found <code title={it.digest ?? undefined}>{it.tag}</code>
        </>
      )}
      {it.checkedAt && (
        <span class="faint">
          {' '}
          looked at <Ago time={it.checkedAt} />
        </span>
      )}
      {it.nextLook && <span class="faint">, the next look {until(it.nextLook, now.value) ? `in ${until(it.nextLook, now.value)}` : 'is due'}</span>}
      {it.skipped.length > 0 && <span class="faint">; passed over, for they failed: {it.skipped.join(', ')}</span>}
      {it.error && (
        <p class="note tone-bad">
          <Said text={it.error} />
        </p>
      )}
    </Fact>
  )
}

/** When new versions may come. */
function When({ of }: { of: StackDetail['policy']['schedule'] }) {
  const zone = of.zone ?? 'UTC'
  return (
    <>
      {of.windows.length > 0 && (
        <Fact name="New versions come">
          {of.windows.map((it) => (
            <span key={`${it.days.join()}${it.from}`} class="chip">
              {it.days.length === 0 ? 'every day' : it.days.join(', ')} {it.from} to {it.to}
            </span>
          ))}
          <span class="faint">{zone}</span>
        </Fact>
      )}
      {of.freezes.length > 0 && (
        <Fact name="No new version">
          {of.freezes.map((it) => (
            <span key={it.from} class="chip">
              {it.from} to {it.to}
              {it.reason && `: ${it.reason}`}
            </span>
          ))}
          <span class="faint">{zone}</span>
        </Fact>
      )}
    </>
  )
}

/** What was asked. */
export function Spec({ stack }: { stack: StackDetail }) {
  const { source, policy } = stack
  return (
    <section class="panel" aria-labelledby="spec">
      <h2 id="spec">What is declared</h2>
      <dl class="facts">
        {source.git && <Fact name="Repository">{source.git}</Fact>}
        {source.ref && <Fact name="Ref">{source.ref}</Fact>}
        {source.path && <Fact name="Folder">{source.path}</Fact>}
        {source.credential && <Fact name="Credential">{source.credential}</Fact>}
        {source.poll && <Fact name="Looked at every">{source.poll}</Fact>}
        {source.checkedAt && (
          <Fact name="Last look">
            <Ago time={source.checkedAt} />
            {source.error && `: ${source.error}`}
          </Fact>
        )}
        {stack.compose.length > 0 && <Fact name="Files">{stack.compose.join(', ')}</Fact>}
        <Fact name="Read as">{words(stack.compat)}</Fact>
        {stack.variables.length > 0 && (
          <Fact name="Variables">
            {stack.variables.map((it) => (
              <code key={it.name} class="chip">
                {it.name}={it.secret ? '•••' : it.value}
              </code>
            ))}
          </Fact>
        )}
        {stack.stackImages.length > 0 && (
          <Fact name="Images set">
            {stack.stackImages.map((it) => (
              <code key={it.service} class="chip">
                {it.service}: {it.version}
              </code>
            ))}
          </Fact>
        )}
        {stack.followedImages.map((it) => (
          <Followed key={it.service} it={it} />
        ))}
        {stack.dependsOn.length > 0 && (
          <Fact name="Waits for">
            {stack.dependsOn.map((it) => (
              <span key={`${it.environment}/${it.stack}`} class="chip">
                <a href={stackUrl({ environment: it.environment, name: it.stack })}>{it.stack}</a>
                {it.environment !== stack.environment && ` in ${it.environment}`}
                {it.images.map((image) => ` with ${image.service} ${image.version}`).join(',')}
              </span>
            ))}
          </Fact>
        )}
        {stack.catalog && (
          <Fact name="Declared by">
            the catalog <a href="/catalogs">{stack.catalog.name}</a>, <code>{stack.catalog.file}</code>
          </Fact>
        )}
        <Fact name="Mode">{words(policy.mode)}</Fact>
        <When of={policy.schedule} />
        <Fact name="When a version fails">{policy.onFailure === 'Rollback' ? 'the whole stack goes back' : 'it is held as it is'}</Fact>
        <Fact name="Deadlines">
          progress {policy.progressDeadline}, total {policy.totalDeadline}, monitor {policy.monitor}
          {policy.bake !== '0s' && `, baked for ${policy.bake}`}
        </Fact>
        <Fact name="Foreign changes">{policy.drift === 'Correct' ? 'are undone' : 'are shown'}</Fact>
        <Fact name="Objects">
          {stack.inventory.map((it) => (
            <code key={`${it.kind}/${it.name}`} class="chip">
              {it.kind.toLowerCase()} {it.name}
            </code>
          ))}
        </Fact>
      </dl>
      {source.inline && (
        <>
          <h3>Compose text</h3>
          <pre class="block" tabIndex={0}>
            {source.inline}
          </pre>
        </>
      )}
      <details>
        <summary>Policy, whole</summary>
        <Json value={policy} />
      </details>
    </section>
  )
}
