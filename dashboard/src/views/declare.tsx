import { useRef, useState } from 'preact/hooks'
import { ask } from '../api/client'
import * as api from '../api/documents'
import { locked } from '../live/now'
import { navigate, stackUrl } from '../route'
import { Dialog, dialog } from '../ui/dialog'
import { Ask, Problems, problem, type Payload, type Problem } from '../ui/form'

const START = `kind: Stack
name: hello
inline: |
  services:
    web:
      image: nginx:1.27
`

type Answer = Awaited<ReturnType<typeof send>>
const send = (manifest: string, dryRun: boolean) => ask(api.Declare, { input: { manifest, dryRun, references: [] } })

/** A manifest, as `skep apply` takes it: what would change is shown first. */
function DeclareDialog({ manifest: start }: { manifest: string }) {
  const [manifest, setManifest] = useState(start)
  const [seen, setSeen] = useState<{ of: string; documents: Answer['payload']['documents'] } | null>(null)
  const [problems, setProblems] = useState<Problem[]>([])
  const where = useRef<string | null>(null)
  const look = async () => {
    setProblems([])
    try {
      const { payload } = await send(manifest, true)
      const found = payload.userErrors.map((it) => ({
        message: `${it.line ? `line ${it.line}${it.column ? `, column ${it.column}` : ''}: ` : ''}${it.message}`,
        hint: it.hint ?? null,
      }))
      setProblems(found)
      setSeen(found.length === 0 ? { of: manifest, documents: payload.documents } : null)
    } catch (cause) {
      setProblems([problem(cause)])
    }
  }
  const shown = seen?.of === manifest ? seen.documents : null
  return (
    <Dialog title="Declare a stack" wide>
      <Ask
        go="Declare"
        ready={shown !== null}
        done={() => where.current && navigate(where.current)}
        send={async () => {
          const answer = await send(manifest, false)
          const stack = answer.payload.stack
          where.current = stack && stackUrl(stack)
          return answer as Payload
        }}
      >
        <label class="field">
          <span>Manifest</span>
          <textarea
            rows={14}
            spellcheck={false}
            value={manifest}
            onInput={(event) => setManifest(event.currentTarget.value)}
          />
          <small>As skep apply takes it: Stack, Environment, Credential and Hook documents. A document changes only what differs.</small>
        </label>
        <Problems problems={problems} />
        <div class="planbox" aria-live="polite" tabIndex={0} role="region" aria-label="Changes">
          {shown ? (
            <ul class="plain">
              {shown.map((it) => (
                <li key={`${it.kind}/${it.name}`}>
                  <b>
                    {it.kind} {it.name}
                  </b>{' '}
                  {it.created ? 'is new' : it.changes.length === 0 ? 'stays as it is' : `changes ${it.changes.join(', ')}`}
                </li>
              ))}
            </ul>
          ) : (
            <p class="faint">See what it would change, then declare it.</p>
          )}
        </div>
        <button type="button" class="wide" disabled={locked.value} onClick={() => void look()}>
          Show what changes
        </button>
      </Ask>
    </Dialog>
  )
}

export const openDeclare = (manifest: string = START): void => void (dialog.value = () => <DeclareDialog manifest={manifest} />)
