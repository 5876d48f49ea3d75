import type { Plan } from '../api/documents'
import { lines, readable } from '../model/diff'

/** The steps of a plan with each difference. Marks and words say what colour says too. */
export function PlanView({ plan }: { plan: Plan }) {
  return (
    <div class="plan">
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
      {plan.steps.length === 0 ? (
        <p class="note tone-good">Nothing differs: what runs is what this asks for ({plan.unchanged} objects looked at).</p>
      ) : (
        <p class="faint">
          {plan.steps.length} {plan.steps.length === 1 ? 'step' : 'steps'}; {plan.unchanged} objects stay as they are.
        </p>
      )}
      <ol class="steps-plan">
        {plan.steps.map((step) => (
          <li key={`${step.kind}/${step.name}/${step.action}`}>
            <div class="step-head">
              <span class={`action action-${step.action.toLowerCase()}`}>{step.action}</span>
              <span class="mono">
                {step.kind.toLowerCase()} {step.name}
              </span>
              <span class="faint">{step.reason}</span>
            </div>
            {step.changes.length > 0 && (
              <ul class="diff">
                {step.changes.map((change) => (
                  <li key={change.path}>
                    <span class="path">{readable(change.path)}</span>
                    {lines(change).map((line) => (
                      <span key={line.sign} class={line.sign === '+' ? 'add' : line.sign === '-' ? 'del' : ''}>
                        <b aria-label={line.sign === '+' ? 'will be' : 'is now'}>{line.sign === '-' ? '−' : line.sign}</b>
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
    </div>
  )
}
