import { useEffect, useRef, useState } from 'preact/hooks'
import { ask } from '../api/client'
import * as api from '../api/documents'
import type { Attempt, Plan, StackDetail } from '../api/documents'
import { locked, now } from '../live/now'
import { ended } from '../model/phase'
import { age } from '../model/time'
import { changedImages, label, same, tail } from '../model/version'
import { deploymentUrl, navigate } from '../route'
import { useAsked } from '../ui/asked'
import { Version } from '../ui/bits'
import { Dialog, dialog } from '../ui/dialog'
import { Ask, Field, Problems, problem, type Problem } from '../ui/form'
import { Icon } from '../ui/icons'
import { PlanView } from '../ui/plan'
import { Difference } from './difference'

const of = (stack: { name: string; environment: string }) => ({ name: stack.name, environment: stack.environment })
const said = (reason: string) => reason.trim() || null

/** Where a deployment that was just asked for is followed. */
const follow = (id: string | null | undefined) => () => void (id && navigate(deploymentUrl(id)))

/** A version of this stack: the plan is shown first, and what was shown is what is sent. */
function DeployDialog({ stack }: { stack: StackDetail }) {
  const git = stack.source.git !== null
  const [ref, setRef] = useState(stack.source.ref ?? '')
  const [versions, setVersions] = useState<Record<string, string>>({})
  const [reason, setReason] = useState('')
  const [plan, setPlan] = useState<{ plan: Plan; of: string } | null>(null)
  const [planning, setPlanning] = useState(false)
  const [problems, setProblems] = useState<Problem[]>([])
  const made = useRef<string | null>(null)
  const images = Object.entries(versions)
    .filter(([, version]) => version.trim())
    .map(([service, version]) => ({ service, version: version.trim() }))
  const wanted = { ref: git ? ref.trim() || null : null, images }
  const asked = JSON.stringify(wanted)
  const show = async () => {
    setPlanning(true)
    setProblems([])
    try {
      const found = await ask(api.PlanOf, { stack: stack.name, environment: stack.environment, ...wanted })
      setPlan({ plan: found.plan, of: asked })
    } catch (cause) {
      setProblems([problem(cause)])
      setPlan(null)
    }
    setPlanning(false)
  }
  const shown = plan?.of === asked ? plan.plan : null
  return (
    <Dialog title={`Deploy ${stack.name}`} wide>
      <Ask
        go="Deploy"
        ready={shown !== null}
        done={() => follow(made.current)()}
        send={async () => {
          const { payload } = await ask(api.Deploy, {
            input: {
              stack: of(stack),
              ref: wanted.ref,
              images: wanted.images,
              reason: said(reason),
              expectedGeneration: stack.generation,
              variables: [],
            },
          })
          made.current = payload.deployment?.deploymentId ?? null
          return { payload }
        }}
      >
        <div class="fields">
          {git && <Field name="Ref" value={ref} set={setRef} hint="A branch, a tag, a commit, or a range such as >=1.2 <2" />}
          {stack.desired.images.map((image) => (
            <Field
              key={image.service}
              name={`Image of ${image.service}`}
              value={versions[image.service] ?? ''}
              set={(value) => setVersions({ ...versions, [image.service]: value })}
              placeholder={tail(image.image)}
              hint="A tag, a digest, or a whole image; empty: as it is"
            />
          ))}
          <Field name="Reason" value={reason} set={setReason} hint="For the record" />
        </div>
        <Problems problems={problems} />
        <div class="planbox" aria-live="polite" aria-busy={planning} tabIndex={0} role="region" aria-label="Plan">
          {shown ? <PlanView plan={shown} /> : <p class="faint">{planning ? 'Working the plan out…' : 'See what it would change, then deploy.'}</p>}
        </div>
        <button type="button" class="wide" onClick={() => void show()} disabled={planning || locked.value}>
          {shown ? 'Work it out again' : 'Show the plan'}
        </button>
      </Ask>
    </Dialog>
  )
}

/** As much of a stack as a way back needs: a row of the list has it too. */
type Live = Pick<StackDetail, 'name' | 'environment' | 'generation' | 'live'>

/** The version that converged before the one that runs: what a rollback without a name goes to, as far as it can be told. */
function RollbackToTheLast({ stack }: { stack: Live }) {
  const asked = useAsked(api.History, { stack: stack.name, environment: stack.environment, first: 50, after: null })
  const all = asked.data?.deployments.edges.map((edge) => edge.node)
  if (!all && !asked.error) return null
  const other = all?.find((it) => it.phase === 'Converged' && it.deploymentId !== stack.live?.deploymentId && !same(it, stack.live))
  return <RollbackDialog stack={stack} to={other ?? null} />
}

/** Every field that a way back changes; worked out when somebody wants to see it. */
function AllOfIt({ from, to }: { from: string; to: string }) {
  const [open, setOpen] = useState(false)
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>All that differs</summary>
      {open && <Difference from={from} to={to} />}
    </details>
  )
}

/** Back to a version that converged: what differs is shown, and that newer versions will wait. */
function RollbackDialog({ stack, to }: { stack: Live; to: Attempt | null }) {
  const [reason, setReason] = useState('')
  const made = useRef<string | null>(null)
  const differing = to ? changedImages(to, stack.live) : []
  const image = (of: { images: readonly { service: string; image: string }[] } | null, service: string) =>
    of?.images.find((it) => it.service === service)?.image ?? 'none'
  return (
    <Dialog title={`Roll ${stack.name} back`}>
      <Ask
        go="Roll back"
        danger
        done={() => follow(made.current)()}
        send={async () => {
          const { payload } = await ask(api.Rollback, {
            input: { stack: of(stack), deployment: to?.deploymentId ?? null, reason: said(reason), expectedGeneration: stack.generation },
          })
          made.current = payload.deployment?.deploymentId ?? null
          return { payload }
        }}
      >
        {to ? (
          <p>
            From <Version version={stack.live} other={to} /> to <Version version={to} other={stack.live} />, deployed by {to.actor}{' '}
            {age(to.createdAt, now.value)} ago.
          </p>
        ) : (
          <p>To the version that converged before the one that runs now.</p>
        )}
        {differing.length > 0 && (
          <ul class="diff">
            {differing.map((service) => (
              <li key={service}>
                <span class="path">image of {service}</span>
                <span class="del">
                  <b aria-label="is now">−</b>
                  <code>{image(stack.live, service)}</code>
                </span>
                <span class="add">
                  <b aria-label="will be">+</b>
                  <code>{image(to, service)}</code>
                </span>
              </li>
            ))}
          </ul>
        )}
        {to && stack.live && <AllOfIt from={stack.live.deploymentId} to={to.deploymentId} />}
        <p class="note tone-back">The stack is then pinned: newer versions wait until you unpin it, or deploy one.</p>
        <Field name="Reason" value={reason} set={setReason} hint="Whoever finds the stack pinned reads it" autofocus />
      </Ask>
    </Dialog>
  )
}

/** A deployment that waits for a person: what it would change, and a word that holds for just that. */
function ApproveDialog({ stack, attempt }: { stack: StackDetail; attempt: Attempt }) {
  const [reason, setReason] = useState('')
  const [plan, setPlan] = useState<Plan | null>(null)
  const [problems, setProblems] = useState<Problem[]>([])
  useEffect(() => {
    ask(api.PlanOf, { stack: stack.name, environment: stack.environment, ref: attempt.revision, images: [] })
      .then((found) => setPlan(found.plan))
      .catch((cause: unknown) => setProblems([problem(cause)]))
  }, [stack.name, stack.environment, attempt.revision])
  const same = plan !== null && plan.digest === attempt.plan
  return (
    <Dialog title={`Approve ${label(attempt) ?? attempt.deploymentId}`} wide>
      <Ask
        go="Approve"
        ready={same}
        done={follow(attempt.deploymentId)}
        send={() =>
          ask(api.Approve, {
            input: { stack: of(stack), deployment: attempt.deploymentId, plan: attempt.plan ?? null, reason: said(reason) },
          })
        }
      >
        <div class="planbox" aria-live="polite" aria-busy={plan === null} tabIndex={0} role="region" aria-label="Plan">
          {plan ? <PlanView plan={plan} /> : <p class="faint">Working the plan out…</p>}
        </div>
        {plan && !same && <p class="note tone-warn">The deployment waits with another plan than this one. Close this, and look again.</p>}
        <Problems problems={problems} />
        <Field name="Reason" value={reason} set={setReason} hint="For the record" />
      </Ask>
    </Dialog>
  )
}

function SuspendDialog({ stack }: { stack: StackDetail }) {
  const [reason, setReason] = useState('')
  const [end, setEnd] = useState('')
  return (
    <Dialog title={`Suspend ${stack.name}`}>
      <Ask
        go="Suspend"
        ready={reason.trim() !== ''}
        send={() =>
          ask(api.Suspend, {
            input: { stack: of(stack), reason: reason.trim(), until: end ? new Date(end).toISOString() : null },
          })
        }
      >
        <p>Nothing is written for this stack until it is resumed. What runs goes on.</p>
        <Field name="Reason" value={reason} set={setReason} required autofocus hint="Whoever finds the stack suspended reads it" />
        <Field name="Until" value={end} set={setEnd} type="datetime-local" hint="Empty: until someone resumes it" />
      </Ask>
    </Dialog>
  )
}

function DeleteDialog({ stack }: { stack: StackDetail }) {
  const [typed, setTyped] = useState('')
  const [keep, setKeep] = useState(false)
  return (
    <Dialog title={`Delete ${stack.name}`}>
      <Ask
        go={keep ? 'Forget it' : 'Delete it'}
        danger
        ready={typed === stack.name}
        send={() =>
          ask(api.Delete, {
            input: { stack: of(stack), confirmName: typed, keepRunning: keep, expectedGeneration: stack.generation },
          })
        }
      >
        <p>
          {keep
            ? 'Skep forgets the stack; its objects stay on the Swarm.'
            : `Its ${stack.inventory.length} objects are removed from the Swarm. Volumes stay.`}
        </p>
        <label class="check">
          <input type="checkbox" checked={keep} onChange={(event) => setKeep(event.currentTarget.checked)} /> Keep it running, and only
          forget it
        </label>
        <Field name={`Type ${stack.name} to confirm`} value={typed} set={setTyped} required autofocus />
      </Ask>
    </Dialog>
  )
}

interface Simple {
  title: string
  text: string
  go: string
  danger?: boolean
  send: (stack: StackDetail, reason: string | null) => ReturnType<typeof ask<{ payload: { userErrors: readonly never[] } }, never>>
}

function SimpleDialog({ stack, it }: { stack: StackDetail; it: Simple }) {
  const [reason, setReason] = useState('')
  return (
    <Dialog title={it.title}>
      <Ask go={it.go} danger={it.danger ?? false} send={() => it.send(stack, said(reason))}>
        <p>{it.text}</p>
        <Field name="Reason" value={reason} set={setReason} hint="For the record" autofocus />
      </Ask>
    </Dialog>
  )
}

const simple = (it: Omit<Simple, 'send'> & { send: (stack: StackDetail, reason: string | null) => Promise<unknown> }) => it as Simple

const UNPIN = simple({
  title: 'Unpin',
  text: 'What is declared flows again: the newest version is deployed.',
  go: 'Unpin',
  send: (stack, reason) => ask(api.Unpin, { input: { stack: of(stack), reason } }),
})
const RELEASE = simple({
  title: 'Release the hold',
  text: 'The versions that failed here may be tried again, and what is declared is deployed now.',
  go: 'Release the hold',
  send: (stack, reason) => ask(api.ReleaseHold, { input: { stack: of(stack), reason } }),
})
const RESUME = simple({
  title: 'Resume',
  text: 'What is declared is brought about again.',
  go: 'Resume',
  send: (stack, reason) => ask(api.Resume, { input: { stack: of(stack), reason } }),
})
const CANCEL = simple({
  title: 'Cancel the deployment',
  text: 'The deployment under way stops in a defined phase. What it has changed by then stays until the next one.',
  go: 'Cancel it',
  danger: true,
  send: (stack, reason) => ask(api.Cancel, { input: { stack: of(stack), reason } }),
})
const RECONCILE = simple({
  title: 'Reconcile now',
  text: 'Skep looks at the source and at the Swarm at once, and corrects what differs.',
  go: 'Reconcile',
  send: (stack, reason) => ask(api.Reconcile, { input: { stack: of(stack), reason } }),
})

const HAND_BACK = simple({
  title: 'Hand the stack back',
  text: 'Skep takes its labels off and forgets the stack; everything runs on, and no task restarts. docker stack deploy goes on with it.',
  go: 'Hand it back',
  danger: true,
  send: (stack, reason) => ask(api.Release, { input: { stack: of(stack), reason } }),
})

export const openRollback = (stack: Live, to: Attempt): void => void (dialog.value = () => <RollbackDialog stack={stack} to={to} />)

/** Back to what ran before, whichever that is. */
export const openRollbackToTheLast = (stack: Live): void => void (dialog.value = () => <RollbackToTheLast stack={stack} />)

/** What can be done with a stack as it stands. */
export function Actions({ stack }: { stack: StackDetail }) {
  const [menu, setMenu] = useState(false)
  const box = useRef<HTMLDivElement>(null)
  useEffect(() => {
    if (!menu) return
    const away = (event: Event) => {
      if (!box.current?.contains(event.target as Node)) setMenu(false)
    }
    document.addEventListener('pointerdown', away)
    return () => document.removeEventListener('pointerdown', away)
  }, [menu])
  const open = (make: () => preact.JSX.Element) => () => {
    setMenu(false)
    dialog.value = make
  }
  const approve = (attempt: Attempt) => open(() => <ApproveDialog stack={stack} attempt={attempt} />)
  const plain = (it: Simple) => open(() => <SimpleDialog stack={stack} it={it} />)
  const under = stack.attempt !== null && !ended(stack.attempt.phase)
  const off = locked.value || stack.deletion !== null
  const why = locked.value ? 'Disconnected: actions are locked' : undefined
  return (
    <div class="actions" ref={box}>
      <button type="button" class="primary" disabled={off} title={why} onClick={open(() => <DeployDialog stack={stack} />)}>
        Deploy…
      </button>
      {stack.held.length > 0 && (
        <button type="button" disabled={off} title={why} onClick={plain(RELEASE)}>
          Release hold…
        </button>
      )}
      {stack.pin && (
        <button type="button" disabled={off} title={why} onClick={plain(UNPIN)}>
          Unpin…
        </button>
      )}
      {stack.suspension && (
        <button type="button" disabled={off} title={why} onClick={plain(RESUME)}>
          Resume…
        </button>
      )}
      {stack.attempt?.phase === 'AwaitingApproval' && (
        <button type="button" class="primary" disabled={off} title={why} onClick={approve(stack.attempt)}>
          Approve…
        </button>
      )}
      {under && (
        <button type="button" disabled={off} title={why} onClick={plain(CANCEL)}>
          Cancel…
        </button>
      )}
      <button type="button" disabled={off} title={why} onClick={open(() => <RollbackToTheLast stack={stack} />)} data-do="rollback">
        Roll back…
      </button>
      <div
        class="menu"
        onKeyDown={(event) => {
          if (event.key === 'Escape' && menu) {
            event.stopPropagation()
            setMenu(false)
            box.current?.querySelector<HTMLElement>('.menu > button')?.focus()
          }
        }}
      >
        <button type="button" aria-expanded={menu} aria-label="More actions" disabled={off} title={why ?? 'More actions'} onClick={() => setMenu(!menu)}>
          <Icon name="more" />
        </button>
        {menu && (
          <div class="items">
            <button type="button" onClick={plain(RECONCILE)}>
              Reconcile now…
            </button>
            {!stack.suspension && (
              <button type="button" onClick={open(() => <SuspendDialog stack={stack} />)}>
                Suspend…
              </button>
            )}
            <button type="button" onClick={plain(HAND_BACK)}>
              Hand back…
            </button>
            <button type="button" class="danger-text" onClick={open(() => <DeleteDialog stack={stack} />)}>
              Delete…
            </button>
          </div>
        )}
      </div>
    </div>
  )
}

/** What a version is called in a sentence. */
export const called = (it: Attempt): string => label(it) ?? it.deploymentId
