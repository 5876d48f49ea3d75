import { useState } from 'preact/hooks'
import { ask } from '../api/client'
import * as api from '../api/documents'
import type { CatalogLine } from '../api/documents'
import { locked } from '../live/now'
import { short } from '../model/version'
import { stackUrl } from '../route'
import { useAsked } from '../ui/asked'
import { Ago, Copy, Empty, Fact, Said, Scope } from '../ui/bits'
import { confirm } from '../ui/confirm'
import { Dialog, dialog } from '../ui/dialog'
import { Ask, Field, listed, type Payload } from '../ui/form'
import { Icon } from '../ui/icons'
import { Place } from '../ui/place'

/** Repositories whose manifests are followed: whether what they say is what is declared, and what is not. */
export function CatalogsView() {
  const asked = useAsked(api.Catalogs, {}, 5000)
  const make = (
    <button type="button" class="primary" disabled={locked.value} onClick={() => (dialog.value = () => <CatalogDialog done={asked.again} />)}>
      New catalog…
    </button>
  )
  return (
    <Place name="Catalogs" asked={asked} make={make}>
      {({ catalogs }) =>
        catalogs.length === 0 ? (
          <Empty title="No catalog is followed">
            <p>A catalog is a repository of manifests: a push to it adds, changes and deletes stacks, and nothing else is needed.</p>
            <Copy text="skep apply -f catalog.yml" />
          </Empty>
        ) : (
          catalogs.map((it) => <CatalogCard key={it.name} it={it} again={asked.again} />)
        )
      }
    </Place>
  )
}

function CatalogCard({ it, again }: { it: CatalogLine; again: () => void }) {
  const well = it.inSync && !it.error && it.broken.length === 0 && it.kept.length === 0
  const tone = it.error || it.broken.length > 0 ? 'bad' : well ? 'good' : 'warn'
  const word = it.error ? 'Cannot be read' : it.broken.length > 0 ? 'Broken files' : well ? 'In step' : it.kept.length > 0 ? 'Stacks kept' : 'Not in step yet'
  const remove = () =>
    confirm({
      title: `Follow ${it.name} no more`,
      text: 'Its stacks stay as they are, and belong to nobody.',
      go: 'Delete it',
      danger: true,
      send: (reason) => ask(api.DeleteCatalog, { input: { name: it.name, reason } }),
      done: again,
    })
  const sync = () =>
    confirm({
      title: `Look at ${it.name} now`,
      text: 'The repository is read at once, and what stands there is declared.',
      go: 'Look now',
      send: (reason) => ask(api.SyncCatalog, { input: { name: it.name, reason } }),
      done: again,
    })
  return (
    <section class="panel" aria-labelledby={`catalog-${it.name}`}>
      <h2 id={`catalog-${it.name}`}>
        {it.name}
        <span class={`phase tone-${tone}`}>
          <Icon name={tone === 'good' ? 'check' : tone === 'bad' ? 'cross' : 'half'} size={14} />
          <span>{word}</span>
        </span>
        <span class="do">
          <button type="button" disabled={locked.value} onClick={sync}>
            Look now…
          </button>
          <button type="button" class="danger-text" disabled={locked.value} onClick={remove}>
            Delete…
          </button>
        </span>
      </h2>
      {it.error && (
        <p class="note tone-bad">
          <Said text={it.error} />
        </p>
      )}
      {it.broken.map((file) => (
        <p key={file.file} class="note tone-bad">
          <code>
            {file.file}
            {file.line !== null && `:${file.line}`}
          </code>
          : <Said text={file.message} />
        </p>
      ))}
      {it.kept.length > 0 && (
        <p class="note tone-warn">
          Kept for now: {it.kept.join(', ')}
          {it.keptBecause && `. ${it.keptBecause}`}
        </p>
      )}
      <dl class="facts">
        <Fact name="Repository">
          {it.git} <span class="faint">{it.ref}</span> <code>{it.path}</code>
        </Fact>
        <Fact name="Declared from">
          {it.revision ? (
            <>
              <code title={it.revision}>{short(it.revision)}</code> {it.title} <span class="faint">{it.author}</span>{' '}
              {it.appliedAt && <Ago time={it.appliedAt} />}
            </>
          ) : (
            'nothing yet'
          )}
        </Fact>
        <Fact name="Looked at every">{it.poll}</Fact>
        {it.credential && <Fact name="Credential">{it.credential}</Fact>}
        <Fact name="May declare">
          <Scope stacks={it.names} environments={it.environments} />
        </Fact>
        <Fact name="When a manifest goes">{it.prune ? `its stack is deleted, at most ${it.pruneLimit} a commit` : 'its stack stays'}</Fact>
        <Fact name={`Stacks (${it.stacks.length})`}>
          {it.stacks.length === 0
            ? 'none'
            : it.stacks.map((stack) => (
                <span key={`${stack.environment}/${stack.name}`} class="chip">
                  <a href={stackUrl(stack)} title={stack.file}>
                    {stack.name}
                  </a>
                </span>
              ))}
        </Fact>
      </dl>
    </section>
  )
}

function CatalogDialog({ done }: { done: () => void }) {
  const [name, setName] = useState('')
  const [git, setGit] = useState('')
  const [ref, setRef] = useState('main')
  const [path, setPath] = useState('')
  const [credential, setCredential] = useState('')
  const [environments, setEnvironments] = useState('default')
  const [names, setNames] = useState('*')
  const [prune, setPrune] = useState(false)
  const manifest = () =>
    JSON.stringify({
      kind: 'Catalog',
      name: name.trim(),
      source: {
        git: git.trim(),
        ref: ref.trim() || 'main',
        ...(path.trim() ? { path: path.trim() } : {}),
        ...(credential.trim() ? { credential: credential.trim() } : {}),
      },
      prune,
      allow: { environments: listed(environments), names: listed(names) },
    })
  return (
    <Dialog title="New catalog" wide>
      <Ask
        go="Follow it"
        ready={Boolean(name.trim() && git.trim())}
        done={done}
        send={async () => (await ask(api.Declare, { input: { manifest: manifest(), dryRun: false, references: [] } })) as Payload}
      >
        <div class="fields">
          <Field name="Name" value={name} set={setName} required autofocus placeholder="platform" />
          <Field name="Repository" value={git} set={setGit} required placeholder="https://example.org/platform.git" />
          <Field name="Ref" value={ref} set={setRef} />
          <Field name="Files" value={path} set={setPath} placeholder="stacks/*.yml" hint="A folder or a pattern; empty: every YAML file" />
          <Field name="Credential" value={credential} set={setCredential} hint="Empty for a public repository" />
          <Field name="Environments" value={environments} set={setEnvironments} hint="Where its stacks may be" />
          <Field name="Names" value={names} set={setNames} hint="What its stacks may be called" />
        </div>
        <label class="check">
          <input type="checkbox" checked={prune} onChange={(event) => setPrune(event.currentTarget.checked)} /> Delete a stack when its manifest
          is gone
        </label>
      </Ask>
    </Dialog>
  )
}
