import { createClient, type Client } from 'graphql-ws'
import type { TadaDocumentNode } from 'gql.tada'
import { signal } from '@preact/signals'
import { ApiError, ask, NO_MORE, signOut, text, token } from '../api/client'
import { Knock } from '../api/documents'
import { backoff } from './backoff'

export type LinkState =
  | { kind: 'opening' }
  | { kind: 'live' }
  /** Times are this machine's, in milliseconds. */
  | { kind: 'lost'; since: number; retryAt: number | null }

/** Whether what is on the page is what the server says now. */
export const link = signal<LinkState>({ kind: 'opening' })

interface Follower {
  start(): void
  stop(): void
}

const followers = new Set<Follower>()
let client: Client | null = null
let failures = 0
let timer: ReturnType<typeof setTimeout> | undefined

/**
 * Follows a subscription for as long as the page wants it. After a break it is begun anew with `variables()` as they are
 * then, which is how it resumes. `end` is called when the server has no more to say.
 */
export function follow<T, V extends Record<string, unknown>>(
  document: TadaDocumentNode<T, V, any>,
  variables: () => V,
  next: (data: T) => void,
  refused: (error: ApiError) => void = () => undefined,
): () => void {
  let cancel: (() => void) | null = null
  let round = 0
  const no = (error: ApiError) => (error.code === 'UNAUTHENTICATED' ? signOut(NO_MORE) : refused(error))
  const follower: Follower = {
    start() {
      follower.stop()
      const mine = round
      cancel = open().subscribe<T>(
        { query: text(document), variables: variables() },
        {
          next(message) {
            if (message.data) next(message.data)
            const error = message.errors?.[0]
            if (error) no(new ApiError(code(error), error.message))
          },
          error(cause) {
            cancel = null
            // A break is told by the socket; what comes as a list was said by the server about this question.
            if (Array.isArray(cause)) no(new ApiError(code(cause[0]), cause[0]?.message ?? 'refused'))
          },
          complete() {
            // Not put away here: the server has no more to say, or no more to this token. An answer of 401 signs out.
            if (mine === round) void ask(Knock, {}).catch(() => undefined)
            cancel = null
          },
        },
      )
    },
    stop() {
      round += 1
      cancel?.()
      cancel = null
    },
  }
  followers.add(follower)
  if (link.value.kind !== 'lost') follower.start()
  return () => {
    followers.delete(follower)
    follower.stop()
  }
}

function code(error: unknown): string {
  const found = (error as { extensions?: { code?: unknown } } | undefined)?.extensions?.code
  return typeof found === 'string' ? found : 'INVALID'
}

function open(): Client {
  if (client) return client
  let socket: WebSocket | undefined
  let silence: ReturnType<typeof setTimeout> | undefined
  const made = createClient({
    url: `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/graphql`,
    lazy: true,
    // A page between two views keeps its socket.
    lazyCloseTimeout: 60_000,
    // Breaks are mended here, so that the page can say since when and until when.
    retryAttempts: 0,
    shouldRetry: () => false,
    keepAlive: 10_000,
    connectionParams: () => ({ Authorization: `Bearer ${token.value ?? ''}` }),
    onNonLazyError: () => undefined,
    on: {
      opened: (opened) => void (socket = opened as WebSocket),
      connected: () => {
        failures = 0
        link.value = { kind: 'live' }
      },
      ping: (received) => {
        if (received) return
        silence = setTimeout(() => {
          // Nobody answers a goodbye either, and a browser waits long for that: it counts as closed at once.
          socket?.close(4408, 'no answer')
          made.terminate()
        }, 8_000)
      },
      pong: (received) => {
        if (received) clearTimeout(silence)
      },
      closed: (event) => {
        clearTimeout(silence)
        if (client !== made) return
        client = null
        // Nobody listens any more: the socket was put away on purpose.
        if ((event as CloseEvent).code === 1000 && followers.size === 0) {
          link.value = { kind: 'opening' }
          return
        }
        lost()
      },
    },
  })
  client = made
  return made
}

function lost(): void {
  const since = link.value.kind === 'lost' ? link.value.since : Date.now()
  const wait = backoff(failures++, Math.random())
  link.value = { kind: 'lost', since, retryAt: Date.now() + wait }
  clearTimeout(timer)
  timer = setTimeout(() => void again(), wait)
}

/** Tries to come back now. */
export async function again(): Promise<void> {
  if (link.value.kind !== 'lost' || token.value === null) return
  clearTimeout(timer)
  link.value = { ...link.value, retryAt: null }
  try {
    // Asked first: it tells a server that is away from a token that is no longer taken.
    await ask(Knock, {})
  } catch (cause) {
    if (cause instanceof ApiError && cause.code === 'UNAUTHENTICATED') return
    return lost()
  }
  for (const follower of followers) follower.start()
  if (followers.size === 0) link.value = { kind: 'opening' }
}

/** Puts the socket away, with a token that is gone. */
export function hangUp(): void {
  clearTimeout(timer)
  const old = client
  client = null
  failures = 0
  link.value = { kind: 'opening' }
  void old?.dispose()
}

addEventListener('online', () => void again())
document.addEventListener('visibilitychange', () => {
  if (document.visibilityState === 'visible') void again()
})
