import { useState } from 'preact/hooks'
import { ask } from '../api/client'
import * as api from '../api/documents'
import type { TokenLine } from '../api/documents'
import { locked, now } from '../live/now'
import { useAsked } from '../ui/asked'
import { Ago, Copy, Empty, Scope } from '../ui/bits'
import { confirm } from '../ui/confirm'
import { close, Dialog, dialog } from '../ui/dialog'
import { Choice, Field, listed, problem, Problems, type Problem } from '../ui/form'
import { Place } from '../ui/place'

const ROLES = ['Viewer', 'Deployer', 'Operator', 'Admin'] as const
const MEANS: Record<(typeof ROLES)[number], string> = {
  Viewer: 'Reads',
  Deployer: 'And brings versions about, and takes them back',
  Operator: 'And declares stacks, and deletes them',
  Admin: 'And keeps the installation: environments, credentials, hooks, notifiers, tokens',
}

/** Who may come in, and what each may do. */
export function TokensView() {
  const asked = useAsked(api.Tokens, {})
  const make = (
    <button type="button" class="primary" disabled={locked.value} onClick={() => (dialog.value = () => <TokenDialog done={asked.again} />)}>
      New token…
    </button>
  )
  return (
    <Place name="Tokens" asked={asked} make={make}>
      {({ tokens }) =>
        tokens.length === 0 ? (
          <Empty title="There is no token but the admin’s own">
            <p>Give each person and each machine one of its own: it says who did what, may be narrow, and can be revoked.</p>
            <Copy text="skep token create ci --role Deployer" />
          </Empty>
        ) : (
          <section class="panel" aria-label="Tokens">
            <div class="scroll" tabIndex={0} role="region" aria-label="All tokens">
              <table>
                <thead>
                  <tr>
                    <th scope="col">Name</th>
                    <th scope="col">Role</th>
                    <th scope="col">Where</th>
                    <th scope="col">Made</th>
                    <th scope="col">Last used</th>
                    <th scope="col">Ends</th>
                    <th scope="col">
                      <span class="sr">Revoke</span>
                    </th>
                  </tr>
                </thead>
                <tbody>
                  {tokens.map((it) => (
                    <TokenRow key={it.name} it={it} again={asked.again} />
                  ))}
                </tbody>
              </table>
            </div>
          </section>
        )
      }
    </Place>
  )
}

function TokenRow({ it, again }: { it: TokenLine; again: () => void }) {
  const over = it.expiresAt !== null && Date.parse(it.expiresAt) <= now.value
  const revoke = () =>
    confirm({
      title: `Revoke ${it.name}`,
      text: 'Nobody comes in with it any more, and what is open with it ends.',
      go: 'Revoke it',
      danger: true,
      send: (reason) => ask(api.RevokeToken, { input: { name: it.name, reason } }),
      done: again,
    })
  return (
    <tr>
      <th scope="row">{it.name}</th>
      <td>{it.role}</td>
      <td>
        <Scope stacks={it.stacks} environments={it.environments} />
      </td>
      <td>
        <Ago time={it.createdAt} /> by {it.createdBy}
      </td>
      <td>{it.lastUsedAt ? <Ago time={it.lastUsedAt} /> : 'never'}</td>
      <td>{it.expiresAt ? over ? <b class="phase tone-bad">ended</b> : new Date(it.expiresAt).toLocaleString() : 'never'}</td>
      <td>
        <button type="button" class="link danger-text" disabled={locked.value} onClick={revoke} aria-label={`Revoke ${it.name}`}>
          Revoke…
        </button>
      </td>
    </tr>
  )
}

/** Its value is in the answer, and nowhere else: it stays on the page until the dialog is closed. */
function TokenDialog({ done }: { done: () => void }) {
  const [name, setName] = useState('')
  const [role, setRole] = useState<(typeof ROLES)[number]>('Deployer')
  const [environments, setEnvironments] = useState('*')
  const [stacks, setStacks] = useState('*')
  const [end, setEnd] = useState('')
  const [value, setValue] = useState<string | null>(null)
  const [busy, setBusy] = useState(false)
  const [problems, setProblems] = useState<Problem[]>([])
  const make = async (event: Event) => {
    event.preventDefault()
    if (busy || locked.value) return
    setBusy(true)
    setProblems([])
    try {
      const { payload } = await ask(api.CreateToken, {
        input: {
          name: name.trim(),
          role,
          environments: listed(environments),
          stacks: listed(stacks),
          expiresAt: end ? new Date(end).toISOString() : null,
        },
      })
      setProblems(payload.userErrors.map((it) => ({ message: it.message, hint: it.hint ?? null })))
      setValue(payload.value ?? null)
      if (payload.value) done()
    } catch (cause) {
      setProblems([problem(cause)])
    }
    setBusy(false)
  }
  if (value !== null) {
    return (
      <Dialog title={`Token ${name.trim()}`}>
        <p>This is the token. It is shown this once: only a digest of it is kept.</p>
        <Copy text={value} />
        <div class="buttons">
          <button type="button" class="primary" onClick={close}>
            I have it
          </button>
        </div>
      </Dialog>
    )
  }
  return (
    <Dialog title="New token">
      <form onSubmit={(event) => void make(event)}>
        <Field name="Name" value={name} set={setName} required autofocus placeholder="ci" hint="The actor of what is done with it" />
        <Choice name="Role" value={role} of={ROLES} set={setRole} hint={MEANS[role]} />
        <div class="fields">
          <Field name="Environments" value={environments} set={setEnvironments} hint="Patterns: prod*, test" />
          <Field name="Stacks" value={stacks} set={setStacks} hint="Patterns of names" />
        </div>
        <Field name="Ends" value={end} set={setEnd} type="datetime-local" hint="Empty: never" />
        <Problems problems={problems} />
        <div class="buttons">
          <button type="button" onClick={close}>
            Leave it
          </button>
          <button type="submit" class="primary" disabled={busy || locked.value || !name.trim()}>
            {busy ? 'Asking…' : 'Make it'}
          </button>
        </div>
      </form>
    </Dialog>
  )
}
