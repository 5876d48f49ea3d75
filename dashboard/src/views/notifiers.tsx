import { useState } from 'preact/hooks'
import { ask } from '../api/client'
import * as api from '../api/documents'
import type { NotifierLine } from '../api/documents'
import { locked, now } from '../live/now'
import { words } from '../model/phase'
import { until } from '../model/time'
import { useAsked } from '../ui/asked'
import { Ago, Copy, Empty, Fact, Scope } from '../ui/bits'
import { confirm } from '../ui/confirm'
import { Dialog, dialog } from '../ui/dialog'
import { Ask, Choice, Field, listed, problem, type Payload } from '../ui/form'
import { Icon } from '../ui/icons'
import { Place } from '../ui/place'

const TYPES = ['Slack', 'Webhook', 'CloudEvents', 'GitHubStatus', 'GitHubDeployment', 'GitLabStatus', 'GitLabDeployment', 'GiteaStatus'] as const
const EVENTS = [
  'Started', 'AwaitingApproval', 'Converged', 'Unchanged', 'Failed', 'RolledBack', 'RollbackFailed', 'Superseded', 'Cancelled',
  'DriftCorrected', 'Stalled', 'Recovered',
] as const

/** Who outside is told of what, and whether it gets there. */
export function NotifiersView() {
  const asked = useAsked(api.Notifiers, {}, 5000)
  const make = (
    <button type="button" class="primary" disabled={locked.value} onClick={() => (dialog.value = () => <NotifierDialog done={asked.again} />)}>
      New notifier…
    </button>
  )
  return (
    <Place name="Notifiers" asked={asked} make={make}>
      {({ notifiers }) =>
        notifiers.length === 0 ? (
          <Empty title="Nobody outside is told">
            <p>A notifier sends a message for each change that matters: to Slack, to a webhook, or as the status of a commit.</p>
            <Copy text="skep apply -f notifier.yml" />
          </Empty>
        ) : (
          notifiers.map((it) => <NotifierCard key={it.name} it={it} again={asked.again} />)
        )
      }
    </Place>
  )
}

function NotifierCard({ it, again }: { it: NotifierLine; again: () => void }) {
  const { status } = it
  const [busy, setBusy] = useState(false)
  const [said, setSaid] = useState<{ good: boolean; text: string } | null>(null)
  const stuck = status.attempts > 0
  const test = async () => {
    setBusy(true)
    setSaid(null)
    try {
      const { payload } = await ask(api.TestNotifier, { input: { name: it.name } })
      const found = payload.test
      if (found) setSaid({ good: found.delivered, text: `${found.delivered ? 'Taken' : 'Not taken'}${found.status ? `, ${found.status}` : ''}: ${found.message}` })
      else setSaid({ good: false, text: payload.userErrors.map((no) => no.message).join('; ') })
    } catch (cause) {
      setSaid({ good: false, text: problem(cause).message })
    }
    setBusy(false)
    again()
  }
  const remove = () =>
    confirm({
      title: `Delete ${it.name}`,
      text: `Nobody is told by it any more. ${status.pending > 0 ? `${status.pending} messages are not sent.` : ''}`,
      go: 'Delete it',
      danger: true,
      send: (reason) => ask(api.DeleteNotifier, { input: { name: it.name, reason } }),
      done: again,
    })
  return (
    <section class="panel" aria-labelledby={`notifier-${it.name}`}>
      <h2 id={`notifier-${it.name}`}>
        {it.name} <span class="faint">{it.type}</span>
        <span class={`phase tone-${stuck ? 'bad' : status.pending > 0 ? 'busy' : 'good'}`}>
          <Icon name={stuck ? 'cross' : status.pending > 0 ? 'half' : 'check'} size={14} />
          <span>{stuck ? 'Not taken' : status.pending > 0 ? 'Sending' : 'Nothing waits'}</span>
        </span>
        <span class="do">
          <button type="button" disabled={locked.value || busy} onClick={() => void test()}>
            {busy ? 'Sending…' : 'Send a test'}
          </button>
          <button type="button" class="danger-text" disabled={locked.value} onClick={remove}>
            Delete…
          </button>
        </span>
      </h2>
      <div aria-live="polite">{said && <p class={`note tone-${said.good ? 'good' : 'bad'}`}>{said.text}</p>}</div>
      {status.lastError && (
        <p class={`note tone-${stuck ? 'bad' : 'idle'}`}>
          {status.lastErrorAt && <Ago time={status.lastErrorAt} />}: {status.lastError}
          {status.nextAttemptAt && stuck && ` Tried again ${until(status.nextAttemptAt, now.value) ? `in ${until(status.nextAttemptAt, now.value)}` : 'now'}.`}
        </p>
      )}
      <dl class="facts">
        <Fact name="To">{it.place ?? 'the address in its credential, or each repository’s own'}</Fact>
        {it.credential && <Fact name="Credential">{it.credential}</Fact>}
        <Fact name="Tells of">
          {it.events.map((event) => (
            <span key={event} class="chip">
              {words(event)}
            </span>
          ))}
        </Fact>
        <Fact name="Stacks">
          <Scope stacks={it.stacks} environments={it.environments} />
        </Fact>
        <Fact name="Messages">
          {status.delivered} taken, {status.pending} waiting, {status.givenUp} given up
          {status.lastSuccessAt && (
            <>
              ; the last one <Ago time={status.lastSuccessAt} />
            </>
          )}
        </Fact>
      </dl>
    </section>
  )
}

function NotifierDialog({ done }: { done: () => void }) {
  const [name, setName] = useState('')
  const [type, setType] = useState<(typeof TYPES)[number]>('Slack')
  const [url, setUrl] = useState('')
  const [credential, setCredential] = useState('')
  const [stacks, setStacks] = useState('*')
  const [environments, setEnvironments] = useState('*')
  const [events, setEvents] = useState<readonly string[]>([])
  const status = /Status|Deployment/.test(type)
  const manifest = () =>
    JSON.stringify({
      kind: 'Notifier',
      name: name.trim(),
      type,
      ...(url.trim() ? { url: url.trim() } : {}),
      ...(credential.trim() ? { credential: credential.trim() } : {}),
      environments: listed(environments),
      stacks: listed(stacks),
      ...(events.length > 0 ? { events } : {}),
    })
  return (
    <Dialog title="New notifier" wide>
      <Ask
        go="Declare it"
        ready={Boolean(name.trim() && (url.trim() || credential.trim()))}
        done={done}
        send={async () => (await ask(api.Declare, { input: { manifest: manifest(), dryRun: false, references: [] } })) as Payload}
      >
        <div class="fields">
          <Field name="Name" value={name} set={setName} required autofocus placeholder="team" />
          <Choice name="Type" value={type} of={TYPES} set={setType} />
          <Field
            name="Address"
            value={url}
            set={setUrl}
            type="password"
            hint={status ? 'Of the API; empty: the repository says it' : 'Kept sealed; only its host is shown again'}
          />
          <Field name="Credential" value={credential} set={setCredential} hint="A token, a secret to sign with, or the address itself" />
          <Field name="Environments" value={environments} set={setEnvironments} />
          <Field name="Stacks" value={stacks} set={setStacks} />
        </div>
        <fieldset>
          <legend>Tells of (none chosen: what is usual)</legend>
          {EVENTS.map((event) => (
            <label key={event} class="check">
              <input
                type="checkbox"
                checked={events.includes(event)}
                onChange={(changed) =>
                  setEvents(changed.currentTarget.checked ? [...events, event] : events.filter((it) => it !== event))
                }
              />{' '}
              {words(event)}
            </label>
          ))}
        </fieldset>
      </Ask>
    </Dialog>
  )
}
