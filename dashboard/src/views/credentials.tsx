import { useEffect, useState } from 'preact/hooks'
import { ask } from '../api/client'
import { Credentials as Query, TestCredential, type CredentialLine } from '../api/documents'
import { locked } from '../live/now'
import { words } from '../model/phase'
import { short } from '../model/version'
import { stackUrl, VIEW_HEADING } from '../route'
import { Ago, Copy, Empty, Fact, Loading, Trouble } from '../ui/bits'
import { Field, problem } from '../ui/form'

type Answer = Awaited<ReturnType<typeof ask<{ credentialTest: { url: string; head: string | null; branches: readonly string[]; tags: readonly string[] } }, never>>>

/** Key material by name. What it holds goes in, and never comes out. */
export function CredentialsView() {
  const [all, setAll] = useState<readonly CredentialLine[] | null>(null)
  const [error, setError] = useState<string | null>(null)
  const [round, setRound] = useState(0)
  useEffect(() => {
    const abort = new AbortController()
    ask(Query, {}, { signal: abort.signal })
      .then((found) => {
        setAll(found.credentials)
        setError(null)
      })
      .catch((cause: unknown) => abort.signal.aborted || setError(problem(cause).message))
    return () => abort.abort()
  }, [round, locked.value])
  return (
    <>
      <div class="toolrow">
        <h1 id={VIEW_HEADING} tabIndex={-1}>
          Credentials
        </h1>
      </div>
      {error && <Trouble message={error} retry={() => setRound(round + 1)} />}
      {all === null && !error && <Loading />}
      {all?.length === 0 && (
        <Empty title="No credential is declared">
          <p>Sources, engines and hooks that need a key name a credential. It is sealed when it comes in, and never shown.</p>
          <Copy text={'skep credential set shop-git --type GitToken --host example.org --from-env token=GIT_TOKEN'} />
        </Empty>
      )}
      {all?.map((it) => (
        <Card key={it.name} it={it} />
      ))}
    </>
  )
}

const FOR_GIT = ['GitToken', 'GitBasic', 'GitHubApp', 'SshKey']

function Card({ it }: { it: CredentialLine }) {
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
        {it.name} <span class="faint">{words(it.type)}</span>
      </h2>
      <dl class="facts">
        <Fact name="May go to">{it.hosts.length === 0 ? 'nowhere' : it.hosts.join(', ')}</Fact>
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
