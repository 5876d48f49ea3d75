import type { Plan } from '../api/documents'
import { lines, readable, type Line } from '../model/diff'
import { jobLine, waits } from '../model/jobs'

type Step = Plan['steps'][number]

const CLASSES: Record<Line['sign'], string> = { '+': 'add', '-': 'del', '~': '', ' ': 'same' }

/** The steps of a plan with each difference. Marks and words say what colour says too. */
export function PlanView({ plan }: { plan: Plan }) {
  return (
    <div class="plan">
      <PlanNotes plan={plan} />
      {plan.steps.length > 0 ? (
        <p class="faint">
          {plan.steps.length} {plan.steps.length === 1 ? 'step' : 'steps'}; {plan.unchanged} objects stay as they are.
        </p>
      ) : plan.jobs.length > 0 ? (
        <p class="note tone-busy">No object differs ({plan.unchanged} looked at); only jobs run.</p>
      ) : (
        <p class="note tone-good">Nothing differs: what runs is what this asks for ({plan.unchanged} objects looked at).</p>
      )}
      <PlannedJobs plan={plan} />
      <StepsView steps={plan.steps} />
    </div>
  )
}

/** The jobs that run with it. */
export function PlannedJobs({ plan }: { plan: Plan }) {
  if (plan.jobs.length === 0) return null
  return (
    <ul class="steps-plan" aria-label="Jobs">
      {plan.jobs.map((job) => (
        <li key={job.name} class="step-head" data-job={job.name}>
          <span class="action action-run">Run</span>
          <span class="mono">job {job.name}</span>
          <span class="faint">{jobLine(job)}</span>
        </li>
      ))}
    </ul>
  )
}

/** What stands in a plan's way, and what there is to remark. */
export function PlanNotes({ plan }: { plan: Plan }) {
  return (
    <>
      {plan.waiting.map((why) => (
        <p class="note tone-warn" key={why}>
          Held back: {why}
        </p>
      ))}
      {plan.warnings.map((why) => (
        <p class="note tone-idle" key={why}>
          Remark: {why}
        </p>
      ))}
    </>
  )
}

/** Objects, and where each differs; `was` and `will` name the two sides for those who hear them. */
export function StepsView({ steps, was = 'is now', will = 'will be' }: { steps: readonly Step[]; was?: string; will?: string }) {
  return (
    <ol class="steps-plan">
      {steps.map((step) => (
        <li key={`${step.kind}/${step.name}/${step.action}`}>
          <div class="step-head">
            <span class={`action action-${step.action.toLowerCase()}`}>{step.action}</span>
            <span class="mono">
              {step.kind.toLowerCase()} {step.name}
            </span>
            <span class="faint">
              {step.reason}
              {waits(step.waitsFor)}
            </span>
          </div>
          {step.changes.length > 0 && (
            <ul class="diff">
              {step.changes.map((change) => (
                <li key={change.path}>
                  <span class="path">{readable(change.path)}</span>
                  {lines(change).map((line, index) => (
                    <span key={index} class={CLASSES[line.sign]}>
                      {line.sign === '+' || line.sign === '-' ? (
                        <b aria-label={line.sign === '+' ? will : was}>{line.sign === '-' ? '−' : '+'}</b>
                      ) : (
                        <b aria-hidden="true"> </b>
                      )}
                      <code>{line.text}</code>
                    </span>
                  ))}
                </li>
              ))}
            </ul>
          )}
        </li>
      ))}
    </ol>
  )
}
