import type { TadaDocumentNode } from 'gql.tada'
import { useEffect, useState } from 'preact/hooks'
import { ask } from '../api/client'
import { link } from '../live/link'
import { problem } from './form'

export interface Asked<T> {
  data: T | null
  error: string | null
  /** Asks again. */
  again: () => void
}

/**
 * What a query answers: asked for when it is first looked at, after a break, on demand and, where `every` milliseconds are given,
 * again and again while somebody looks. What was known stays until the answer is there.
 */
export function useAsked<T, V>(document: TadaDocumentNode<T, V, any>, variables: V, every?: number): Asked<T> {
  const [known, setKnown] = useState<{ of: string; data: T } | null>(null)
  const [error, setError] = useState<string | null>(null)
  const [round, setRound] = useState(0)
  const of = JSON.stringify(variables)
  const live = link.value.kind !== 'lost'
  useEffect(() => {
    if (!live) return
    const abort = new AbortController()
    const look = () =>
      ask(document, variables, { signal: abort.signal })
        .then((data) => {
          setKnown({ of, data })
          setError(null)
        })
        .catch((cause: unknown) => abort.signal.aborted || setError(problem(cause).message))
    void look()
    const timer = every ? setInterval(() => visible() && void look(), every) : undefined
    return () => {
      abort.abort()
      clearInterval(timer)
    }
  }, [document, of, round, live, every])
  return { data: known?.of === of ? known.data : null, error, again: () => setRound((it) => it + 1) }
}

const visible = () => globalThis.document.visibilityState === 'visible'
