import type { ComponentChildren } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { ApiError } from '../api/client'
import { CommitOf, FollowDeployment, type Deployment, type EventLine } from '../api/documents'
import { follow } from '../live/link'
import { now } from '../live/now'
import { followEvents } from '../live/stores'
import { ended, LOOKS, words } from '../model/phase'
import { took } from '../model/time'
import { deploymentUrl, stackUrl, VIEW_HEADING } from '../route'
import { useAsked } from '../ui/asked'
import { Ago, DeploymentLink, Empty, Fact, Json, Loading, Phase, Said, TaskBar, Trouble, Version } from '../ui/bits'
import { EventList } from '../ui/eventlist'
import { StepList } from './convergence'
import { Jobs } from './jobs'
import { LogPanel } from './logs'

/** One attempt, as it was recorded: what notifications and the command line link to. */
export function DeploymentView({ id }: { id: string }) {
  const [it, setIt] = useState<Deployment | null>(null)
  const [refused, setRefused] = useState<ApiError | null>(null)
  const [lines, setLines] = useState<EventLine[]>([])
  useEffect(() => {
    setIt(null)
    setRefused(null)
    return follow(FollowDeployment, () => ({ id, after: null }), (data) => setIt(data.deploymentChanged.deployment), setRefused)
  }, [id])
  const known = it?.deploymentId
  useEffect(() => {
    setLines([])
    return known ? followEvents({ deployment: known }, setLines) : undefined
  }, [known])

  if (refused && !it) {
    return refused.code === 'NOT_FOUND' ? (
      <Empty title="There is no such deployment" head>
        <p>
          <a href="/">All stacks</a>
        </p>
      </Empty>
    ) : (
      <Trouble message={refused.message} />
    )
  }
  if (!it) return <Loading />
  return (
    <article class="deployment">
      <header class={`head tone-${LOOKS[it.phase].tone}`}>
        <p class="crumb">
          <a href={stackUrl({ environment: it.environment, name: it.stack })}>{it.stack}</a> <span class="faint">{it.environment}</span>
        </p>
        <div class="title">
          <h1 id={VIEW_HEADING} tabIndex={-1}>
            {it.rollbackOf ? 'Rollback' : 'Deployment'} <span class="mono faint">{it.deploymentId}</span>
          </h1>
          <Phase phase={it.phase} large />
        </div>
        <p class="why" id="why">
          <Said text={it.message ?? 'recorded; nothing has been found yet'} />
        </p>
        <p class="relations">
          {it.rollbackOf && (
            <>
              Answers the failure of <a href={deploymentUrl(it.rollbackOf)}>…{it.rollbackOf.slice(-6)}</a>.{' '}
            </>
          )}
          {it.rolledBackBy && (
            <>
              Taken back by <a href={deploymentUrl(it.rolledBackBy)}>…{it.rolledBackBy.slice(-6)}</a>.{' '}
            </>
          )}
          {it.versionOf && (
            <>
              Brings back what <DeploymentLink id={it.versionOf} /> ran.{' '}
            </>
          )}
          {it.statedReason && <>Reason given: {it.statedReason} </>}
          <a href={`${stackUrl({ environment: it.environment, name: it.stack }, 'compare')}&to=${encodeURIComponent(it.deploymentId)}`}>
            Compare it with the version before
          </a>
        </p>
        <dl class="versions">
          <div>
            <dt>Version</dt>
            <dd>
              <Version version={it} />
            </dd>
            <dd class="faint">generation {it.generation}</dd>
          </div>
          <div>
            <dt>Verdict</dt>
            <dd>{it.verdict ? words(it.verdict) : 'left undecided'}</dd>
            <dd class="faint">{it.failure ? words(it.failure.class) : words(it.reason)}</dd>
          </div>
          <div>
            <dt>Asked for</dt>
            <dd>{it.actor}</dd>
            <dd class="faint">
              {words(it.trigger)}, <Ago time={it.createdAt} />
            </dd>
          </div>
          <div>
            <dt>Took</dt>
            <dd>{took(it.createdAt, it.finishedAt, now.value)}</dd>
            <dd class="faint">{ended(it.phase) ? 'ended' : 'under way'}</dd>
          </div>
          <div>
            <dt>Tasks</dt>
            <dd>
              <TaskBar services={it.services} />
            </dd>
            <dd class="faint">as last looked at</dd>
          </div>
        </dl>
      </header>

      {it.failure && <Evidence it={it.failure} />}

      <section class="panel" aria-labelledby="timeline">
        <h2 id="timeline">Timeline</h2>
        <StepList attempt={it} lines={lines} />
        <Jobs jobs={it.jobs} />
        {lines.length > 0 && <EventList lines={lines} withStack={false} withDeployment={false} />}
      </section>

      <section class="panel" aria-labelledby="logs">
        <h2 id="logs">Log</h2>
        <Unfold summary="What Skep did and what its services wrote">
          <LogPanel deployment={it.deploymentId} environment={it.environment} services={it.services.map((service) => service.service)} />
        </Unfold>
      </section>

      <section class="panel" aria-labelledby="images">
        <h2 id="images">Images</h2>
        {it.images.length === 0 && <p class="faint">Not known yet.</p>}
        <dl class="facts">
          {it.images.map((image) => (
            <Fact key={image.service} name={image.service}>
              <code>{image.image}</code>
              {image.digest && <code class="faint digest">{image.digest}</code>}
            </Fact>
          ))}
          {it.revision && (
            <Fact name="Commit">
              <code class="digest">{it.revision}</code>
              <Commit id={it.deploymentId} />
            </Fact>
          )}
        </dl>
        {it.warnings.map((text) => (
          <p key={text} class="note tone-idle">
            {text}
          </p>
        ))}
      </section>

      <section class="panel requests" aria-labelledby="requests">
        <h2 id="requests">Request</h2>
        <div class="two">
          <div>
            <h3>As it came in</h3>
            <Json value={it.originalRequest} />
          </div>
          <div>
            <h3>What it was taken to mean</h3>
            <Json value={it.mappedRequest} />
          </div>
        </div>
      </section>
    </article>
  )
}

/** Who made the commit and what for, where the local copy of the repository has it. */
function Commit({ id }: { id: string }) {
  const commit = useAsked(CommitOf, { id }).data?.deployment?.commit
  if (!commit) return null
  return (
    <span class="commit">
      {commit.title} <span class="faint">{commit.author}, <Ago time={commit.time} /></span>
    </span>
  )
}

/** Asked for only when somebody wants to see it. */
function Unfold({ summary, children }: { summary: string; children: ComponentChildren }) {
  const [open, setOpen] = useState(false)
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{summary}</summary>
      {open && children}
    </details>
  )
}

/** Why it failed, taken before Swarm forgot the task. */
function Evidence({ it }: { it: NonNullable<Deployment['failure']> }) {
  return (
    <section class="panel evidence" aria-labelledby="evidence">
      <h2 id="evidence">Why it failed: {words(it.class)}</h2>
      <p class="verdict">
        <Said text={it.error} />
      </p>
      <dl class="facts">
        {it.service && (
          <Fact name="Service">
            {it.service}
            {it.slot ? `, slot ${it.slot}` : ''}
          </Fact>
        )}
        {it.node && <Fact name="Node">{it.node}</Fact>}
        {it.exitCode !== null && <Fact name="Exit code">{it.exitCode}</Fact>}
        {it.task && (
          <Fact name="Task">
            <code>{it.task}</code>
          </Fact>
        )}
      </dl>
      <h3>Its last lines</h3>
      {it.logTail.length === 0 ? (
        <p class="faint">The task wrote nothing.</p>
      ) : (
        <pre class="block log" tabIndex={0}>
          {it.logTail.join('\n')}
        </pre>
      )}
      {it.healthLog.length > 0 && (
        <>
          <h3>What its health checks wrote</h3>
          <pre class="block log" tabIndex={0}>
            {it.healthLog.join('\n')}
          </pre>
        </>
      )}
    </section>
  )
}
