import type { Row } from '../api/documents'
import { until } from './time'

/** What happens next with a stack, and when: one sentence, as the server says it. Null where it says nothing. */
export function next({ next }: Pick<Row, 'next'>, now: number): string | null {
  if (!next) return null
  if (!next.at) return `${next.text.charAt(0).toUpperCase()}${next.text.slice(1)}.`
  // The phrase speaks of the time as `then`.
  const left = until(next.at, now)
  return left ? `In ${left}: ${next.text}.` : `Now: ${next.text}.`
}
