import { print, type DocumentNode } from '@0no-co/graphql.web'
import type { TadaDocumentNode } from 'gql.tada'
import { signal } from '@preact/signals'

const KEY = 'skep.token'

/** The bearer token of this tab. It is kept for the tab alone, and goes with it. */
export const token = signal<string | null>(sessionStorage.getItem(KEY))
/** Why the last token was put away, for the sign-in view. */
export const refusal = signal<string | null>(null)

export function signIn(value: string): void {
  sessionStorage.setItem(KEY, value)
  refusal.value = null
  token.value = value
}

export function signOut(why: string | null = null): void {
  sessionStorage.removeItem(KEY)
  refusal.value = why
  token.value = null
}

/** Why a token that was taken before is put away. */
export const NO_MORE = 'The server does not accept this token any more.'

/** What the server said no with, or that it said nothing. */
export class ApiError extends Error {
  constructor(
    readonly code: string,
    message: string,
  ) {
    super(message)
  }
}

/** How far the server's clock is ahead of this one, in milliseconds. Ages are told by the server's. */
export const clockAhead = signal(0)

/** The text of a document, as the server takes it. */
export function text(document: TadaDocumentNode<any, any, any>): string {
  return print(document as unknown as DocumentNode)
}

interface Answer<T> {
  data?: T | null
  errors?: { message: string; extensions?: { code?: string } }[]
}

/** Asks once. Throws an `ApiError` for anything but whole data. */
export async function ask<T, V>(
  document: TadaDocumentNode<T, V, any>,
  variables: V,
  options: { token?: string; signal?: AbortSignal } = {},
): Promise<T> {
  const bearer = options.token ?? token.value ?? ''
  let response: Response
  try {
    response = await fetch('/graphql', {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${bearer}` },
      body: JSON.stringify({ query: text(document), variables }),
      cache: 'no-store',
      signal: options.signal ?? null,
    })
  } catch (cause) {
    if (options.signal?.aborted) throw cause
    throw new ApiError('UNREACHABLE', 'the server does not answer')
  }
  const date = response.headers.get('date')
  // The header is cut to the second: half of one is the best guess.
  if (date) clockAhead.value = Date.parse(date) + 500 - Date.now()
  if (response.status === 401) {
    if (options.token === undefined) signOut(NO_MORE)
    throw new ApiError('UNAUTHENTICATED', 'this token is not accepted')
  }
  const answer = (await response.json().catch(() => ({}))) as Answer<T>
  const error = answer.errors?.[0]
  if (error) throw new ApiError(error.extensions?.code ?? 'INVALID', error.message)
  if (!answer.data) throw new ApiError('UNREACHABLE', `the server answered ${response.status} without data`)
  return answer.data
}
