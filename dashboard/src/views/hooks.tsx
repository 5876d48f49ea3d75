import { useState } from 'preact/hooks'
import { ask } from '../api/client'
import * as api from '../api/documents'
import type { HookLine, Trial } from '../api/documents'
import { locked } from '../live/now'
import { stackUrl } from '../route'
import { useAsked } from '../ui/asked'
import { Ago, Copy, DeploymentLink, Empty, Fact, Loading, Trouble } from '../ui/bits'
import { confirm } from '../ui/confirm'
import { Dialog, dialog } from '../ui/dialog'
import { Area, Ask, Choice, Field, listed, problem, type Payload } from '../ui/form'
import { Place } from '../ui/place'

const PROVIDERS = ['GitHub', 'GitLab', 'Gitea', 'Bitbucket', 'Registry', 'DockerHub', 'CloudEvents', 'Generic'] as const

/** Outside events that deploy: what came, what it led to, and what a delivery would do. */
export function HooksView() {
  const asked = useAsked(api.Hooks, {})
  const make = (
    <button type="button" class="primary" disabled={locked.value} onClick={() => (dialog.value = () => <HookDialog done={asked.again} />)}>
      New hook…
    </button>
  )
  return (
    <Place name="Hooks" asked={asked} make={make}>
      {({ hooks }) =>
        hooks.length === 0 ? (
          <Empty title="No hook is declared">
            <p>A hook maps what a git host, a registry or a CI sends to deployments. Its secret is sealed when it comes in.</p>
            <Copy text="skep apply -f hook.yml" />
          </Empty>
        ) : (
          hooks.map((it) => <HookCard key={it.name} it={it} again={asked.again} />)
        )
      }
    </Place>
  )
}

function HookCard({ it, again }: { it: HookLine; again: () => void }) {
  const remove = () =>
    confirm({
      title: `Delete ${it.name}`,
      text: 'Nothing that is sent to it is taken any more. What it deployed stays.',
      go: 'Delete it',
      danger: true,
      send: (reason) => ask(api.DeleteHook, { input: { name: it.name, reason } }),
      done: again,
    })
  return (
    <section class="panel" aria-labelledby={`hook-${it.name}`}>
      <h2 id={`hook-${it.name}`}>
        {it.name} <span class="faint">{it.provider}</span>
        <span class="do">
          <button type="button" disabled={locked.value} onClick={() => (dialog.value = () => <TryDialog it={it} />)}>
            Try a payload…
          </button>
          <button type="button" class="danger-text" disabled={locked.value} onClick={remove}>
            Delete…
          </button>
        </span>
      </h2>
      <dl class="facts">
        <Fact name="Address">
          <code>
            {location.origin}
            {it.path}
          </code>
        </Fact>
        <Fact name="Proof">
          {it.unsigned ? (
            <span class="tone-warn phase">none: whoever knows the address may send</span>
          ) : it.credential ? (
            <>
              the secret in <a href="/credentials">{it.credential}</a>
            </>
          ) : (
            'a secret of its own'
          )}
        </Fact>
        {it.rules.map((rule, index) => (
          <Fact key={index} name={`Rule ${index + 1}`}>
            {rule.when ? (
              <>
                if <code>{rule.when}</code>:{' '}
              </>
            ) : (
              'always: '
            )}
            {rule.stacks.length > 0 && (
              <>
                stacks <code>{rule.stacks.join(', ')}</code> in {rule.environment}{' '}
              </>
            )}
            {rule.catalogs.length > 0 && (
              <>
                catalogs <code>{rule.catalogs.join(', ')}</code>{' '}
              </>
            )}
            {rule.set.length > 0 ? (
              <>
                set <code>{rule.set.map((set) => `${set.field}: ${set.value}`).join(', ')}</code>
              </>
            ) : (
              'are looked at again'
            )}
          </Fact>
        ))}
      </dl>
      <Deliveries hook={it.name} />
    </section>
  )
}

function Deliveries({ hook }: { hook: string }) {
  const asked = useAsked(api.Deliveries, { hook }, 10_000)
  const all = asked.data?.hookDeliveries
  const again = (delivery: string) =>
    confirm({
      title: 'Have it done again',
      text: 'What came is taken once more, by the rules as they are now, under an id of its own.',
      go: 'Redeliver',
      send: (reason) => ask(api.Redeliver, { input: { hook, delivery, reason } }),
      done: asked.again,
    })
  return (
    <>
      <h3 class="apart">Newest deliveries</h3>
      {asked.error && <Trouble message={asked.error} retry={asked.again} />}
      {!all && !asked.error && <Loading rows={2} />}
      {all?.length === 0 && <p class="faint">Nothing has come yet.</p>}
      <ol class="lines">
        {all?.map((it) => (
          <li key={it.id} class={it.outcome === 'Refused' || it.refused.length > 0 ? 'tone-bad' : 'tone-good'}>
            <span>
              <b class="kind">{it.event}</b> <Ago time={it.at} />
              {it.againBy && <span class="faint">, again by {it.againBy}</span>}
            </span>
            <span>
              {it.deployments.map((id) => (
                <span key={id}>
                  deployment <DeploymentLink id={id} />{' '}
                </span>
              ))}
              {it.reconciled.map((at) => (
                <span key={at.name}>
                  <a href={stackUrl(at)}>{at.name}</a> looked at{' '}
                </span>
              ))}
              {it.synced.map((name) => (
                <span key={name}>catalog {name} looked at </span>
              ))}
              {it.refused.map((no) => (
                <span key={no.stack.name} class="refused">
                  {no.stack.name} refused: {no.message}
                </span>
              ))}
              {it.outcome === 'Refused' && it.message && <span class="refused">refused: {it.message}</span>}
              {it.outcome === 'Ignored' && <span class="faint">{it.message ?? 'nothing was to be done'}</span>}
            </span>
            <span>
              {it.kept ? (
                <button type="button" class="link" disabled={locked.value} onClick={() => again(it.id)}>
                  Redeliver…
                </button>
              ) : (
                <span class="faint">not kept</span>
              )}
            </span>
          </li>
        ))}
      </ol>
    </>
  )
}

const OUTCOMES: Record<Trial['stacks'][number]['outcome'], string> = {
  Deploys: 'would be deployed',
  LooksAgain: 'would be looked at again',
  Nothing: 'stands at that version already',
  Refuses: 'would not take it',
}

/** What a payload would do if it came now: nothing is written. */
function TryDialog({ it }: { it: HookLine }) {
  const [payload, setPayload] = useState('')
  const [event, setEvent] = useState('')
  const [found, setFound] = useState<readonly Trial[] | null>(null)
  const [error, setError] = useState<string | null>(null)
  const look = async (submitted: Event) => {
    submitted.preventDefault()
    setError(null)
    try {
      setFound((await ask(api.TryHook, { hook: it.name, event: event.trim() || null, payload })).hookTrial)
    } catch (cause) {
      setFound(null)
      setError(problem(cause).message)
    }
  }
  return (
    <Dialog title={`What ${it.name} would do`} wide>
      <form onSubmit={(submitted) => void look(submitted)}>
        <Area name="Payload" value={payload} set={setPayload} rows={10} required hint="The body of a delivery: JSON" />
        <Field name="Event" value={event} set={setEvent} placeholder="push" hint="Where the sender says it in a header" />
        <div class="planbox" aria-live="polite" tabIndex={0} role="region" aria-label="Answer">
          {error && <p class="note tone-bad">{error}</p>}
          {!found && !error && <p class="faint">Nothing is written: it only says what would be done.</p>}
          {found?.map((trial, index) => (
            <ul class="plain" key={index}>
              {trial.rules.map((rule) => (
                <li key={rule.number}>
                  rule {rule.number} of <b>{trial.event}</b>: {rule.holds ? 'it is about it' : `it is not: ${rule.objection}`}
                </li>
              ))}
              {trial.stacks.map((to) => (
                <li key={`${to.stack.environment}/${to.stack.name}`}>
                  <b>{to.stack.name}</b> {OUTCOMES[to.outcome]}
                  {to.set.length > 0 && <code> {to.set.map((set) => `${set.field}=${set.value}`).join(', ')}</code>}
                  {to.message && `: ${to.message}`}
                </li>
              ))}
              {trial.catalogs.map((name) => (
                <li key={name}>
                  catalog <b>{name}</b> would be looked at
                </li>
              ))}
            </ul>
          ))}
        </div>
        <div class="buttons">
          <button type="button" onClick={() => (dialog.value = null)}>
            Close
          </button>
          <button type="submit" class="primary" disabled={locked.value || !payload.trim()}>
            Try it
          </button>
        </div>
      </form>
    </Dialog>
  )
}

/** A hook of one rule; more of them by a manifest. */
function HookDialog({ done }: { done: () => void }) {
  const [name, setName] = useState('')
  const [provider, setProvider] = useState<(typeof PROVIDERS)[number]>('GitHub')
  const [secret, setSecret] = useState('')
  const [credential, setCredential] = useState('')
  const [when, setWhen] = useState('ref == "refs/heads/main"')
  const [stacks, setStacks] = useState('*')
  const [environment, setEnvironment] = useState('default')
  const [ref, setRef] = useState('after')
  const unsigned = provider === 'DockerHub'
  const ready = Boolean(name.trim() && stacks.trim() && (unsigned || secret || credential.trim()))
  // JSON is YAML: what was typed cannot become another field.
  const manifest = () =>
    JSON.stringify({
      kind: 'Hook',
      name: name.trim(),
      provider,
      ...(unsigned ? { unsigned: true } : { secret: credential.trim() ? { credential: credential.trim() } : { value: secret } }),
      rules: [
        {
          ...(when.trim() ? { when: when.trim() } : {}),
          stacks: listed(stacks),
          environment: environment.trim() || 'default',
          ...(ref.trim() ? { set: { ref: ref.trim() } } : {}),
        },
      ],
    })
  return (
    <Dialog title="New hook" wide>
      <Ask
        go="Declare it"
        ready={ready}
        done={done}
        send={async () => (await ask(api.Declare, { input: { manifest: manifest(), dryRun: false, references: [] } })) as Payload}
      >
        <div class="fields">
          <Field name="Name" value={name} set={setName} required autofocus placeholder="shop-push" hint="Its address is /hooks/ and this" />
          <Choice name="Sent by" value={provider} of={PROVIDERS} set={setProvider} />
        </div>
        {unsigned ? (
          <p class="note tone-warn">Docker Hub signs nothing: whoever knows the address may send.</p>
        ) : (
          <div class="fields">
            <Field name="Secret" value={secret} set={setSecret} type="password" hint="The same as at the sender; never shown again" />
            <Field name="or the credential that holds it" value={credential} set={setCredential} placeholder="hook-secret" />
          </div>
        )}
        <div class="fields">
          <Field name="When" value={when} set={setWhen} hint="An expression over the payload, in CEL; empty: always" />
          <Field name="Stacks" value={stacks} set={setStacks} required hint="Names or patterns: shop*" />
          <Field name="Environment" value={environment} set={setEnvironment} />
          <Field name="Set the ref to" value={ref} set={setRef} hint="An expression; empty: the source is looked at again" />
        </div>
        <p class="faint">A hook of this name is replaced. Several rules, images and catalogs: by a manifest, with skep apply.</p>
      </Ask>
    </Dialog>
  )
}

