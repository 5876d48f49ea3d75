import { useState } from 'preact/hooks'
import { ask } from '../api/client'
import { Credentials as Query, DeleteCredential, SetCredential, TestCredential, TrustHost, type CredentialLine } from '../api/documents'
import { locked } from '../live/now'
import { words } from '../model/phase'
import { short } from '../model/version'
import { stackUrl } from '../route'
import { useAsked } from '../ui/asked'
import { Ago, Copy, Empty, Fact } from '../ui/bits'
import { confirm } from '../ui/confirm'
import { Dialog, dialog } from '../ui/dialog'
import { Area, Ask, Choice, Field, listed, problem } from '../ui/form'
import { Place } from '../ui/place'

type Answer = Awaited<ReturnType<typeof ask<{ credentialTest: { url: string; head: string | null; branches: readonly string[]; tags: readonly string[] } }, never>>>

/** Which values each type knows, and what it is for. */
const TYPES: Record<CredentialLine['type'], { keys: readonly string[]; of: string }> = {
  GitToken: { keys: ['token', 'username', 'ca'], of: 'git over https' },
  GitBasic: { keys: ['username', 'password', 'ca'], of: 'git over https' },
  GitHubApp: { keys: ['appId', 'installationId', 'privateKey', 'apiUrl', 'ca'], of: 'git over https' },
  SshKey: { keys: ['privateKey', 'passphrase', 'knownHosts'], of: 'git and engines over ssh' },
  Registry: { keys: ['username', 'password', 'token', 'config', 'ca'], of: 'an image registry' },
  Tls: { keys: ['ca', 'cert', 'key'], of: 'an engine over TLS' },
  Age: { keys: ['identity'], of: 'files sealed with SOPS' },
  SkepToken: { keys: ['token', 'ca'], of: 'another Skep, behind a relay' },
  Opaque: { keys: ['secret'], of: 'anything: the secret of a hook, for example' },
}
/** Those whose values may become secrets of a stack. */
const FOR_STACKS: readonly CredentialLine['type'][] = ['Age', 'Opaque']
/** Those of several lines. */
const OF_LINES = ['ca', 'privateKey', 'knownHosts', 'config', 'cert', 'key', 'identity']

/** Key material by name. What it holds goes in, and never comes out. */
export function CredentialsView() {
  const asked = useAsked(Query, {})
  const make = (
    <button
      type="button"
      class="primary"
      disabled={locked.value}
      onClick={() => (dialog.value = () => <SetDialog it={null} done={asked.again} />)}
    >
      New credential…
    </button>
  )
  return (
    <Place name="Credentials" asked={asked} make={make}>
      {({ credentials }) =>
        credentials.length === 0 ? (
          <Empty title="No credential is declared">
            <p>Sources, engines and hooks that need a key name a credential. It is sealed when it comes in, and never shown.</p>
            <Copy text={'skep credential set shop-git --type GitToken --host example.org --from-env token=GIT_TOKEN'} />
          </Empty>
        ) : (
          credentials.map((it) => <Card key={it.name} it={it} again={asked.again} />)
        )
      }
    </Place>
  )
}

/** Makes a credential, or gives one that is there other values. What is left empty stays as it is. */
function SetDialog({ it, done }: { it: CredentialLine | null; done: () => void }) {
  const [name, setName] = useState(it?.name ?? '')
  const [type, setType] = useState<CredentialLine['type']>(it?.type ?? 'GitToken')
  const [hosts, setHosts] = useState(it?.hosts.join(', ') ?? '')
  const [stacks, setStacks] = useState(it?.stacks.join(', ') ?? '')
  const [values, setValues] = useState<Record<string, string>>({})
  const [other, setOther] = useState('')
  const keys = [...new Set([...(it?.keys ?? []), ...TYPES[type].keys, ...(other.trim() ? [other.trim()] : [])])]
  const data = Object.entries(values)
    .filter(([key, value]) => value !== '' && keys.includes(key))
    .map(([key, value]) => ({ name: key, value }))
  const sameHosts = it !== null && listed(hosts).join() === it.hosts.join()
  const sameStacks = listed(stacks).join() === (it?.stacks.join() ?? '')
  return (
    <Dialog title={it ? `Other values for ${it.name}` : 'New credential'} wide>
      <Ask
        go={it ? 'Change it' : 'Seal it'}
        ready={Boolean(name.trim()) && (it !== null || data.length > 0)}
        done={done}
        send={() =>
          ask(SetCredential, {
            input: {
              name: name.trim(),
              type: it ? null : type,
              hosts: sameHosts ? null : listed(hosts),
              stacks: sameStacks ? null : listed(stacks),
              data,
              remove: [],
            },
          })
        }
      >
        {!it && (
          <div class="fields">
            <Field name="Name" value={name} set={setName} required autofocus placeholder="shop-git" />
            <Choice
              name="Type"
              value={type}
              of={Object.keys(TYPES) as CredentialLine['type'][]}
              set={setType}
              hint={`For ${TYPES[type].of}`}
            />
          </div>
        )}
        <Field
          name="May go to"
          value={hosts}
          set={setHosts}
          placeholder="git.example.org"
          hint={it ? 'Hosts; who adds one has to type the values again' : 'Hosts, without scheme and path; it is sent nowhere else'}
        />
        {FOR_STACKS.includes(type) && (
          <Field
            name="May go into stacks"
            value={stacks}
            set={setStacks}
            placeholder="shop, production/*"
            hint="Names, or ENVIRONMENT/NAME, with * for any text; empty: none"
          />
        )}
        <p class="faint">Values are sealed when they come in, and never shown again. {it && 'What is left empty stays as it is.'}</p>
        {keys.map((key) =>
          OF_LINES.includes(key) ? (
            <Area key={key} name={key} value={values[key] ?? ''} set={(value) => setValues({ ...values, [key]: value })} rows={3} />
          ) : (
            <Field key={key} name={key} type="password" value={values[key] ?? ''} set={(value) => setValues({ ...values, [key]: value })} />
          ),
        )}
        {type === 'Opaque' && <Field name="Another key" value={other} set={setOther} hint="Its value has a field of its own then" />}
      </Ask>
    </Dialog>
  )
}

/** Accepts the key of a host: a person compares it first. */
function TrustDialog({ it, done }: { it: CredentialLine; done: () => void }) {
  const [line, setLine] = useState('')
  return (
    <Dialog title={`A host that ${it.name} trusts`} wide>
      <Ask
        go="Trust it"
        ready={line.trim() !== ''}
        done={done}
        send={() => ask(TrustHost, { input: { credential: it.name, line: line.trim() } })}
      >
        <p>Compare the key with the host’s own first: who holds it can read what is sent there.</p>
        <Area name="Host and key" value={line} set={setLine} hint="As a line of known_hosts: [git.example.org]:2222 ssh-ed25519 AAAA…" />
      </Ask>
    </Dialog>
  )
}

const FOR_GIT = ['GitToken', 'GitBasic', 'GitHubApp', 'SshKey']

function Card({ it, again }: { it: CredentialLine; again: () => void }) {
  const remove = () =>
    confirm({
      title: `Delete ${it.name}`,
      text: it.usedBy.length > 0 ? 'It is refused while something names it.' : 'What it holds is gone.',
      go: 'Delete it',
      danger: true,
      send: (reason) => ask(DeleteCredential, { input: { name: it.name, reason } }),
      done: again,
    })
  const [url, setUrl] = useState('')
  const [busy, setBusy] = useState(false)
  const [answer, setAnswer] = useState<Answer['credentialTest'] | null>(null)
  const [error, setError] = useState<string | null>(null)
  const test = async (event: Event) => {
    event.preventDefault()
    setBusy(true)
    setAnswer(null)
    setError(null)
    try {
      setAnswer((await ask(TestCredential, { name: it.name, url: url.trim() })).credentialTest)
    } catch (cause) {
      setError(problem(cause).message)
    }
    setBusy(false)
  }
  return (
    <section class="panel" aria-labelledby={`cred-${it.name}`}>
      <h2 id={`cred-${it.name}`}>
        {it.name} <span class="faint">{it.type}</span>
        <span class="do">
          {it.type === 'SshKey' && (
            <button type="button" disabled={locked.value} onClick={() => (dialog.value = () => <TrustDialog it={it} done={again} />)}>
              Trust a host…
            </button>
          )}
          <button type="button" disabled={locked.value} onClick={() => (dialog.value = () => <SetDialog it={it} done={again} />)}>
            Other values…
          </button>
          <button type="button" class="danger-text" disabled={locked.value} onClick={remove}>
            Delete…
          </button>
        </span>
      </h2>
      <dl class="facts">
        <Fact name="May go to">{it.hosts.length === 0 ? 'nowhere' : it.hosts.join(', ')}</Fact>
        {(FOR_STACKS.includes(it.type) || it.stacks.length > 0) && (
          <Fact name="May go into">{it.stacks.length === 0 ? 'no stack' : it.stacks.join(', ')}</Fact>
        )}
        <Fact name="Holds">
          {it.keys.map((name) => (
            <code key={name} class="chip">
              {name}: •••
            </code>
          ))}
        </Fact>
        <Fact name="Used by">
          {it.usedBy.length === 0
            ? 'nothing'
            : it.usedBy.map((use) => (
                <span key={`${use.kind}/${use.environment}/${use.name}`} class="chip">
                  {use.kind === 'Stack' && use.environment ? (
                    <a href={stackUrl({ environment: use.environment, name: use.name })}>{use.name}</a>
                  ) : (
                    `${words(use.kind)} ${use.name}`
                  )}
                </span>
              ))}
        </Fact>
        <Fact name="Changed">
          <Ago time={it.updatedAt} />
        </Fact>
      </dl>
      {FOR_GIT.includes(it.type) && (
        <form class="inlineform" onSubmit={(event) => void test(event)}>
          <Field name="Test it at a repository" value={url} set={setUrl} placeholder="https://example.org/shop.git" required />
          <button type="submit" disabled={busy || locked.value || !url.trim()}>
            {busy ? 'Asking…' : 'Test'}
          </button>
        </form>
      )}
      <div aria-live="polite">
        {error && <p class="note tone-bad">{error}</p>}
        {answer && (
          <p class="note tone-good">
            It opens {answer.url}: HEAD {answer.head ? short(answer.head) : 'is unborn'}, {answer.branches.length} branches, {answer.tags.length} tags.
          </p>
        )}
      </div>
    </section>
  )
}
