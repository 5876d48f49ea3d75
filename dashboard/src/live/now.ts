import { computed, signal } from '@preact/signals'
import { clockAhead } from '../api/client'
import { link } from './link'

const tick = signal(Date.now())
setInterval(() => {
  if (document.visibilityState === 'visible') tick.value = Date.now()
}, 1000)
document.addEventListener('visibilitychange', () => (tick.value = Date.now()))

/**
 * The time by the server's clock, every second. It stands still while the page is cut off: what is shown is from then, and
 * so are its ages; a countdown that goes on would claim what nobody has said.
 */
export const now = computed(() => (link.value.kind === 'lost' ? link.value.since : tick.value) + clockAhead.value)
/** The time by this machine's clock, every second: for what happens here. */
export const here = computed(() => tick.value)
/** Whether actions are locked: what is shown may be old. */
export const locked = computed(() => link.value.kind !== 'live')
