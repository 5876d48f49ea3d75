import { useRef, useState } from 'preact/hooks'
import { ask } from '../api/client'
import * as api from '../api/documents'
import { locked } from '../live/now'
import { deploymentUrl, navigate, stackUrl } from '../route'
import { Dialog, dialog } from '../ui/dialog'
import { Area, Ask, Problems, problem, type Payload, type Problem } from '../ui/form'
import { PlanView } from '../ui/plan'

const START = `kind: Stack
name: shop
source: { git: https://example.org/shop.git, ref: main }
compose: [docker-stack.yml]
`

type Answer = Awaited<ReturnType<typeof send>>['payload']
const send = (manifest: string, rotateSecrets: boolean, dryRun: boolean) =>
  ask(api.Adopt, { input: { manifest, rotateSecrets, dryRun, references: [] } })

/** Takes over what `docker stack deploy` made: the plan is shown first, and where the file says what runs no task restarts. */
function AdoptDialog() {
  const [manifest, setManifest] = useState(START)
  const [rotate, setRotate] = useState(false)
  const [seen, setSeen] = useState<{ of: string; plans: Answer['plans'] } | null>(null)
  const [busy, setBusy] = useState(false)
  const [problems, setProblems] = useState<Problem[]>([])
  const where = useRef<string | null>(null)
  const asked = `${rotate}/${manifest}`
  const look = async () => {
    setProblems([])
    setBusy(true)
    try {
      const { payload } = await send(manifest, rotate, true)
      setProblems(
        payload.userErrors.map((it) => ({
          message: `${it.line ? `line ${it.line}${it.column ? `, column ${it.column}` : ''}: ` : ''}${it.message}`,
          hint: it.hint ?? null,
        })),
      )
      setSeen(payload.userErrors.length === 0 ? { of: asked, plans: payload.plans } : null)
    } catch (cause) {
      setProblems([problem(cause)])
    }
    setBusy(false)
  }
  const plans = seen?.of === asked ? seen.plans : null
  return (
    <Dialog title="Adopt a running stack" wide>
      <Ask
        go="Adopt"
        ready={plans !== null && plans.every((it) => it.plan !== null)}
        done={() => where.current && navigate(where.current)}
        send={async () => {
          const answer = await send(manifest, rotate, false)
          const { deployment, stack } = answer.payload
          where.current = deployment ? deploymentUrl(deployment.deploymentId) : stack && stackUrl(stack)
          return answer as Payload
        }}
      >
        <Area
          name="Manifest"
          rows={10}
          value={manifest}
          set={setManifest}
          hint="What the stack shall be from now on. Where its files say what runs, only labels are written and no task restarts."
        />
        <label class="check">
          <input type="checkbox" checked={rotate} onChange={(event) => setRotate(event.currentTarget.checked)} /> Make its secrets anew, which
          restarts the services that use them
        </label>
        <Problems problems={problems} />
        <div class="planbox" aria-live="polite" aria-busy={busy} tabIndex={0} role="region" aria-label="Plan">
          {!plans && <p class="faint">{busy ? 'Working the plan out…' : 'See what it would change, then adopt it.'}</p>}
          {plans?.map((it) => (
            <div key={`${it.environment}/${it.stack}`}>
              <b>
                {it.stack} <span class="faint">{it.environment}</span>
              </b>
              {it.error && <p class="note tone-bad">{it.error}</p>}
              {it.plan && <PlanView plan={it.plan} />}
            </div>
          ))}
        </div>
        <button type="button" class="wide" disabled={busy || locked.value} onClick={() => void look()}>
          {plans ? 'Work it out again' : 'Show the plan'}
        </button>
      </Ask>
    </Dialog>
  )
}

export const openAdopt = (): void => void (dialog.value = () => <AdoptDialog />)
