import { useEffect, useState } from 'preact/hooks'
import { ask } from '../api/client'
import { Claim, Declare, DeleteEnvironment, Environments as Query, type EnvironmentDetail } from '../api/documents'
import { link } from '../live/link'
import { locked } from '../live/now'
import { words } from '../model/phase'
import { VIEW_HEADING } from '../route'
import { Ago, Fact, Loading, Trouble } from '../ui/bits'
import { confirm } from '../ui/confirm'
import { Dialog, dialog } from '../ui/dialog'
import { Ask, Choice, Field, listed, problem, type Payload } from '../ui/form'
import { Icon } from '../ui/icons'

/** The Swarms: whether they answer, who may write to them, what they are made of. */
export function EnvironmentsView() {
  const [all, setAll] = useState<readonly EnvironmentDetail[] | null>(null)
  const [error, setError] = useState<string | null>(null)
  const [round, setRound] = useState(0)
  const live = link.value.kind !== 'lost'
  useEffect(() => {
    if (!live) return
    const abort = new AbortController()
    const look = () =>
      ask(Query, {}, { signal: abort.signal })
        .then((found) => {
          setAll(found.environments)
          setError(null)
        })
        .catch((cause: unknown) => abort.signal.aborted || setError(problem(cause).message))
    void look()
    // There is no subscription to environments; nodes change seldom.
    const timer = setInterval(() => document.visibilityState === 'visible' && void look(), 5000)
    return () => {
      abort.abort()
      clearInterval(timer)
    }
  }, [round, live])
  return (
    <>
      <div class="toolrow">
        <h1 id={VIEW_HEADING} tabIndex={-1}>
          Environments
        </h1>
        <span class="make">
          <button
            type="button"
            class="primary"
            disabled={locked.value}
            onClick={() => (dialog.value = () => <EnvironmentDialog done={() => setRound((it) => it + 1)} />)}
          >
            New environment…
          </button>
        </span>
      </div>
      {error && <Trouble message={error} retry={() => setRound(round + 1)} />}
      {all === null && !error && <Loading />}
      {all?.map((it) => (
        <Card key={it.name} it={it} again={() => setRound((it) => it + 1)} />
      ))}
    </>
  )
}

function Card({ it, again }: { it: EnvironmentDetail; again: () => void }) {
  const remove = () =>
    confirm({
      title: `Forget ${it.name}`,
      text: 'It is refused while a stack is declared there. Nothing on the Swarm is touched.',
      go: 'Forget it',
      danger: true,
      send: (reason) => ask(DeleteEnvironment, { input: { name: it.name, reason } }),
      done: again,
    })
  const tone = it.connected === null ? 'idle' : !it.connected ? 'bad' : it.claim.state === 'Foreign' ? 'warn' : 'good'
  const word = it.connected === null ? 'Not looked at yet' : it.connected ? 'Connected' : 'Does not answer'
  return (
    <section class="panel environment" aria-labelledby={`env-${it.name}`}>
      <h2 id={`env-${it.name}`}>
        {it.name}
        <span class={`phase tone-${tone}`}>
          <Icon name={it.connected ? 'check' : it.connected === null ? 'dot' : 'cross'} size={14} />
          <span>{word}</span>
        </span>
        {it.since && (
          <span class="faint">
            since <Ago time={it.since} />
          </span>
        )}
        <span class="do">
          <button type="button" class="danger-text" disabled={locked.value} aria-label={`Delete ${it.name}`} onClick={remove}>
            Delete…
          </button>
        </span>
      </h2>
      {it.message && <p class="message">{it.message}</p>}
      <dl class="facts">
        {it.relay ? (
          <Fact name="Behind">
            the Skep at <code>{it.relay.url}</code>, <span class="faint">{it.relay.environment} there, with the token {it.relay.credential}</span>
          </Fact>
        ) : (
          <Fact name="Managers">
            {it.endpoints.map((endpoint) => (
              <code key={endpoint} class="chip">
                {endpoint}
              </code>
            ))}
          </Fact>
        )}
        {it.engine && (
          <Fact name="Engine">
            {it.engine}
            {it.api && `, API ${it.api}`}
          </Fact>
        )}
        <Fact name="Claim">
          {it.claim.state === 'Ours'
            ? `this Skep writes here (epoch ${it.claim.epoch})`
            : it.claim.state === 'Foreign'
              ? `another Skep writes here (${it.claim.instance}); this one only observes`
              : 'not looked at yet'}
          {it.claim.state === 'Foreign' && (
            <button type="button" disabled={locked.value} onClick={() => (dialog.value = () => <ClaimDialog name={it.name} />)}>
              Claim it…
            </button>
          )}
        </Fact>
        {it.round && (
          <Fact name="Newest round">
            {it.round.seconds.toFixed(2)} s over {it.round.stacks === 1 ? '1 stack' : `${it.round.stacks} stacks`},{' '}
            <span class="faint">
              of it {it.round.listingSeconds.toFixed(2)} s to list what is there; <Ago time={it.round.at} />
            </span>
          </Fact>
        )}
        {it.tls && <Fact name="TLS">{it.tls}</Fact>}
        {it.ssh && <Fact name="SSH key">{it.ssh}</Fact>}
      </dl>
      {it.nodes.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label={`Nodes of ${it.name}`}>
          <table>
            <thead>
              <tr>
                <th scope="col">Node</th>
                <th scope="col">State</th>
                <th scope="col">Role</th>
                <th scope="col">Takes tasks</th>
                <th scope="col">Capacity</th>
                <th scope="col">Engine</th>
                <th scope="col">Address</th>
              </tr>
            </thead>
            <tbody>
              {it.nodes.map((node) => (
                <tr key={`${node.hostname}/${node.addr}`}>
                  <th scope="row">{node.hostname}</th>
                  <td>
                    <span class={`phase tone-${node.state === 'Ready' ? 'good' : 'bad'}`}>
                      <Icon name={node.state === 'Ready' ? 'check' : 'cross'} size={14} />
                      <span>{words(node.state)}</span>
                    </span>
                  </td>
                  <td>
                    {words(node.role)}
                    {node.leader && ', leads'}
                  </td>
                  <td>{node.availability === 'Active' ? 'yes' : words(node.availability)}</td>
                  <td>
                    {node.cpus} CPU, {(node.memory / 2 ** 30).toFixed(1)} GiB
                  </td>
                  <td>
                    {node.engine}, {node.platform}
                  </td>
                  <td class="mono">{node.addr}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </section>
  )
}

const KINDS = ['Managers', 'Relay'] as const

/** One more Swarm: its managers, or the Skep that keeps it. */
function EnvironmentDialog({ done }: { done: () => void }) {
  const [name, setName] = useState('')
  const [kind, setKind] = useState<(typeof KINDS)[number]>('Managers')
  const [endpoints, setEndpoints] = useState('')
  const [tls, setTls] = useState('')
  const [ssh, setSsh] = useState('')
  const [url, setUrl] = useState('')
  const [token, setToken] = useState('')
  const [there, setThere] = useState('')
  const named = (key: string, value: string) => (value.trim() ? { [key]: { credential: value.trim() } } : {})
  const manifest = () =>
    JSON.stringify({
      kind: 'Environment',
      name: name.trim(),
      ...(kind === 'Managers'
        ? { endpoints: listed(endpoints), ...named('tls', tls), ...named('ssh', ssh) }
        : { relay: { url: url.trim(), credential: token.trim(), ...(there.trim() ? { environment: there.trim() } : {}) } }),
    })
  const ready = name.trim() && (kind === 'Managers' ? listed(endpoints).length > 0 : url.trim() && token.trim())
  return (
    <Dialog title="New environment" wide>
      <Ask
        go="Declare it"
        ready={Boolean(ready)}
        done={done}
        send={async () => (await ask(Declare, { input: { manifest: manifest(), dryRun: false, references: [] } })) as Payload}
      >
        <div class="fields">
          <Field name="Name" value={name} set={setName} required autofocus placeholder="staging" />
          <Choice name="Reached by" value={kind} of={KINDS} set={setKind} hint="Its own managers, or a Skep that keeps it" />
          {kind === 'Managers' ? (
            <>
              <Field
                name="Endpoints"
                value={endpoints}
                set={setEndpoints}
                placeholder="tcp://10.0.0.5:2376"
                hint="unix, tcp or ssh; the first that is reachable is used"
              />
              <Field name="TLS credential" value={tls} set={setTls} hint="For tcp; empty: none" />
              <Field name="SSH credential" value={ssh} set={setSsh} hint="For ssh; empty: none" />
            </>
          ) : (
            <>
              <Field name="Address" value={url} set={setUrl} placeholder="https://skep.prod.example.org" />
              <Field name="Credential" value={token} set={setToken} hint="Of the type SkepToken" />
              <Field name="Its name there" value={there} set={setThere} hint="Empty: default" />
            </>
          )}
        </div>
      </Ask>
    </Dialog>
  )
}

function ClaimDialog({ name }: { name: string }) {
  const [reason, setReason] = useState('')
  return (
    <Dialog title={`Claim ${name}`}>
      <Ask go="Claim it" danger send={() => ask(Claim, { input: { environment: name, reason: reason.trim() || null } })}>
        <p>This Skep takes the Swarm over from the one that holds it. The other one only observes from then on.</p>
        <Field name="Reason" value={reason} set={setReason} autofocus />
      </Ask>
    </Dialog>
  )
}
