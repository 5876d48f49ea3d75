import { RenderingOf, type StackDetail } from '../api/documents'
import { short } from '../model/version'
import { yaml } from '../model/yaml'
import { useAsked } from '../ui/asked'
import { Copy, Empty, Loading, Trouble } from '../ui/bits'

const KINDS = ['services', 'networks', 'configs', 'secrets'] as const

/** What the files of the declared version come to: the objects, as the engine is asked for them, secret values masked. */
export function Rendered({ stack }: { stack: StackDetail }) {
  const asked = useAsked(RenderingOf, { stack: stack.name, environment: stack.environment, ref: null })
  const found = asked.data?.rendering
  const objects = found?.objects as Record<string, Record<string, unknown>> | undefined
  return (
    <section class="panel" aria-labelledby="rendered">
      <h2 id="rendered">
        What the files come to
        {found?.revision && <code class="faint">{short(found.revision)}</code>}
        <button type="button" class="link" onClick={asked.again}>
          render again
        </button>
      </h2>
      {asked.error && <Trouble message={asked.error} retry={asked.again} />}
      {!found && !asked.error && <Loading rows={4} />}
      {found?.warnings.map((why) => (
        <p key={why} class="note tone-idle">
          Remark: {why}
        </p>
      ))}
      {objects && KINDS.every((kind) => Object.keys(objects[kind] ?? {}).length === 0) && <Empty title="The files name no object" />}
      {objects &&
        KINDS.flatMap((kind) =>
          Object.entries(objects[kind] ?? {}).map(([name, object]) => (
            <details key={`${kind}/${name}`} open={kind === 'services'}>
              <summary>
                {kind.slice(0, -1)} <b class="mono">{name}</b>
              </summary>
              <pre class="block" tabIndex={0}>
                {yaml(object)}
              </pre>
            </details>
          )),
        )}
      {found && (
        <>
          <h3 class="apart">The same from a terminal</h3>
          <Copy text={`skep render ${stack.name}${stack.environment === 'default' ? '' : ` -e ${stack.environment}`}`} />
        </>
      )}
    </section>
  )
}
