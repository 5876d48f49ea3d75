import { Compare } from '../api/documents'
import { useAsked } from '../ui/asked'
import { Loading, Trouble } from '../ui/bits'
import { StepsView } from '../ui/plan'

/** Where the versions of two deployments differ. */
export function Difference({ from, to }: { from: string; to: string }) {
  const asked = useAsked(Compare, { from, to })
  if (asked.error) return <Trouble message={asked.error} retry={asked.again} />
  const found = asked.data?.comparison
  if (!found) return <Loading rows={4} />
  return (
    <div class="plan" data-compared={`${from}/${to}`}>
      {found.steps.length === 0 ? (
        <p class="note tone-good">They are the same version ({found.unchanged} objects).</p>
      ) : (
        <p class="faint">
          {found.steps.length} {found.steps.length === 1 ? 'object differs' : 'objects differ'}; {found.unchanged} are the same in both.
        </p>
      )}
      <StepsView steps={found.steps} was="in the first" will="in the second" />
    </div>
  )
}
