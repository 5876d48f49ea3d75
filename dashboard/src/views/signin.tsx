import { useState } from 'preact/hooks'
import { ask, refusal, signIn } from '../api/client'
import { Knock } from '../api/documents'
import { VIEW_HEADING } from '../route'
import { problem } from '../ui/form'
import { Mark } from '../ui/icons'

/** The token is checked before it is kept, and kept for this tab alone. */
export function SignIn() {
  const [value, setValue] = useState('')
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<string | null>(null)
  const enter = async (event: Event) => {
    event.preventDefault()
    const token = value.trim()
    if (!token || busy) return
    setBusy(true)
    setError(null)
    try {
      await ask(Knock, {}, { token })
      signIn(token)
    } catch (cause) {
      setError(problem(cause).message)
      setBusy(false)
    }
  }
  const why = error ?? refusal.value
  return (
    <main class="signin">
      <form onSubmit={(event) => void enter(event)}>
        <Mark />
        <h1 id={VIEW_HEADING} tabIndex={-1}>
          Skep
        </h1>
        <p>It keeps your Swarm in the state that was declared. Sign in with a token of this installation.</p>
        <label class="field">
          <span>Token</span>
          <input
            type="password"
            autocomplete="current-password"
            autofocus
            required
            value={value}
            aria-invalid={error !== null}
            aria-describedby="signin-said"
            onInput={(event) => setValue(event.currentTarget.value)}
          />
          <small>It stands in admin.token in the data folder, and is kept for this tab only.</small>
        </label>
        <p id="signin-said" class="problems" role="alert">
          {why}
        </p>
        <button type="submit" class="primary" disabled={busy}>
          {busy ? 'Asking…' : 'Sign in'}
        </button>
      </form>
    </main>
  )
}
