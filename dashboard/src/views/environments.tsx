import { useEffect, useState } from 'preact/hooks'
import { ask } from '../api/client'
import { Claim, Environments as Query, type EnvironmentDetail } from '../api/documents'
import { link } from '../live/link'
import { locked } from '../live/now'
import { words } from '../model/phase'
import { VIEW_HEADING } from '../route'
import { Ago, Fact, Loading, Trouble } from '../ui/bits'
import { Dialog, dialog } from '../ui/dialog'
import { Ask, Field, problem } from '../ui/form'
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
      </div>
      {error && <Trouble message={error} retry={() => setRound(round + 1)} />}
      {all === null && !error && <Loading />}
      {all?.map((it) => (
        <Card key={it.name} it={it} />
      ))}
    </>
  )
}

function Card({ it }: { it: EnvironmentDetail }) {
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
      </h2>
      {it.message && <p class="message">{it.message}</p>}
      <dl class="facts">
        <Fact name="Managers">
          {it.endpoints.map((endpoint) => (
            <code key={endpoint} class="chip">
              {endpoint}
            </code>
          ))}
        </Fact>
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
