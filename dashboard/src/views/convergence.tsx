import type { Attempt, EventLine, StackDetail, Task } from '../api/documents'
import { now } from '../live/now'
import { words } from '../model/phase'
import { steps } from '../model/steps'
import { cell, counted, sentence, sides } from '../model/tasks'
import { took } from '../model/time'
import { tail } from '../model/version'
import { Ago, DeploymentLink, Said, TaskBar } from '../ui/bits'
import { Jobs } from './jobs'

/** More tasks than this are counted, not drawn one by one. */
const MOST = 60

/** The way of the newest deployment. */
export function Steps({ attempt, lines }: { attempt: Attempt | null; lines: readonly EventLine[] }) {
  if (!attempt) return null
  return (
    <section class="panel" aria-labelledby="steps">
      <h2 id="steps">
        {attempt.rollbackOf ? 'Rollback' : 'Deployment'} <DeploymentLink id={attempt.deploymentId} />
        <span class="faint">
          {words(attempt.trigger)}, {attempt.actor}, <Ago time={attempt.createdAt} />
        </span>
      </h2>
      <StepList attempt={attempt} lines={lines} />
      <Jobs jobs={attempt.jobs} />
      {attempt.message && (
        <p class="message">
          <Said text={attempt.message} />
        </p>
      )}
    </section>
  )
}

/** Steps with the time each took. One that the log does not name has none. */
export function StepList({ attempt, lines }: { attempt: Attempt; lines: readonly EventLine[] }) {
  return (
    <ol class="steps">
      {steps(attempt, lines).map((step) => (
        <li key={step.word} class={`step ${step.state}`} aria-current={step.state === 'now' ? 'step' : undefined}>
          <span class="name">{step.word}</span>
          <span class="faint">{step.from && step.state !== 'ahead' ? took(step.from, step.to, now.value) : '\u00a0'}</span>
        </li>
      ))}
    </ol>
  )
}

/** Each service with its new and its old tasks. */
export function Services({ stack, tasks }: { stack: StackDetail; tasks: readonly Task[] | null }) {
  const attempt = stack.attempt
  const names = stack.inventory.filter((it) => it.kind === 'Service').map((it) => it.name)
  const known = attempt?.services ?? []
  const all = [...new Set([...names, ...known.map((it) => `${stack.name}_${it.service}`)])].sort()
  if (all.length === 0) return null
  return (
    <section class="panel" aria-labelledby="services">
      <h2 id="services">Services</h2>
      <ul class="services">
        {all.map((full) => {
          const name = full.startsWith(`${stack.name}_`) ? full.slice(stack.name.length + 1) : full
          const state = known.find((it) => it.service === name)
          const image = (attempt?.images ?? stack.desired.images).find((it) => it.service === name)
          const mine = tasks?.filter((task) => task.service === full)
          const { fresh, old } = sides(mine ?? [])
          return (
            <li key={full} class="service" data-service={name}>
              <div class="s-name">
                <b>{name}</b>
                {image && <code class="version">{tail(image.image)}</code>}
              </div>
              <div class="s-count">{state && <TaskBar services={[state]} />}</div>
              <div class="s-tasks">
                <Cells of="fresh" word={old.now.length > 0 ? 'new' : 'tasks'} tasks={fresh.now} />
                <Cells of="old" word="old" tasks={old.now} />
                <Cells of="failed" word="failed" tasks={[...fresh.failed, ...old.failed].slice(0, 4)} />
                {tasks === null && <span class="faint">asking the engine…</span>}
                {state && state.waitsFor.length > 0 && <span class="faint">waits for {state.waitsFor.join(', ')}</span>}
              </div>
              {state?.obstacle && (
                <p class="obstacle">
                  <Said text={state.obstacle} />
                </p>
              )}
            </li>
          )
        })}
      </ul>
    </section>
  )
}

function Cells({ of, word, tasks }: { of: string; word: string; tasks: readonly Task[] }) {
  if (tasks.length === 0) return null
  const text = `${tasks.length} ${word}`
  return (
    <div class={`cellrow ${of}`}>
      <span class="tag">{word}</span>
      {tasks.length > MOST ? (
        <div class="counted">
          <span class="segments" aria-hidden="true">
            {counted(tasks).map((it) => (
              <i key={it.cell} class={`hex ${it.cell}`} style={{ flexGrow: it.count }} />
            ))}
          </span>
          <ul class="cells" aria-label={text}>
            {counted(tasks).map((it) => (
              <li key={it.cell} class="task" data-cell={it.cell}>
                <i class={`hex ${it.cell}`} aria-hidden="true" />
                <span>
                  {it.count} {it.word}
                </span>
              </li>
            ))}
          </ul>
        </div>
      ) : (
        <ul class="cells" aria-label={text}>
          {tasks.map((task) => (
            <li key={task.taskId} class="task" title={sentence(task)}>
              <i class={`hex ${cell(task)}`} aria-hidden="true" />
              <span class="where">
                <span class="sr">{sentence(task)}</span>
                <span aria-hidden="true">
                  {task.node ?? 'no node'} · {task.state.toLowerCase()}
                </span>
              </span>
            </li>
          ))}
        </ul>
      )}
    </div>
  )
}

/** For a condition: whether it being true is good. */
const BAD_WHEN_TRUE = ['Stalled', 'RolledBack', 'Drifted', 'Suspended']
const NEUTRAL = ['Reconciling']

const PLAIN: Record<string, [string, string]> = {
  Ready: ['What is wanted runs', 'What is wanted does not run'],
  Reconciling: ['Work is under way', 'No work is under way'],
  Stalled: ['A person has to look', 'Nothing is stuck'],
  SourceReady: ['The source can be read', 'The source cannot be read'],
  ImagesReady: ['The images that are followed are found', 'An image that is followed is not found'],
  Rendered: ['The files make sense', 'The files could not be rendered'],
  Applied: ['The engine took every step', 'The engine has not taken every step'],
  Healthy: ['Every wanted task runs', 'Not every wanted task runs'],
  RolledBack: ['The version was taken back', 'Nothing was taken back'],
  Drifted: ['Someone else changed something', 'Nobody else changed anything'],
  RollbackReady: ['There is a version to go back to', 'There is no version to go back to'],
  Suspended: ['Nothing is written for now', 'Not suspended'],
}

/** The typed statements in plain words; what asks for a person comes first. */
export function Conditions({ stack }: { stack: StackDetail }) {
  const tone = (it: StackDetail['conditions'][number]) => {
    if (it.status === 'Unknown' || NEUTRAL.includes(it.type)) return 'idle'
    return (it.status === 'True') === BAD_WHEN_TRUE.includes(it.type) ? 'bad' : 'good'
  }
  const order = { bad: 0, idle: 1, good: 2 }
  const sorted = [...stack.conditions].sort((a, b) => order[tone(a)] - order[tone(b)])
  if (sorted.length === 0) return null
  return (
    <section class="panel" aria-labelledby="conditions">
      <h2 id="conditions">Conditions</h2>
      <ul class="conditions">
        {sorted.map((it) => (
          <li key={it.type} class={`tone-${tone(it)}`}>
            <b>{it.status === 'Unknown' ? `${PLAIN[it.type]?.[0]}: not known yet` : PLAIN[it.type]?.[it.status === 'True' ? 0 : 1]}</b>
            <span>
              <Said text={it.message} />
            </span>
            <span class="faint">
              <Ago time={it.since} />
            </span>
          </li>
        ))}
      </ul>
    </section>
  )
}
