import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import { ApiError } from '../api/client'
import { locked } from '../live/now'
import { close } from './dialog'

interface UserError {
  code: string
  message: string
  hint?: string | null
  field?: string | null
  line?: number | null
  column?: number | null
}

export interface Payload {
  payload: { userErrors: readonly UserError[] }
}

export interface Problem {
  message: string
  hint: string | null
}

/** What went wrong, in the server's own words. */
export function problem(cause: unknown): Problem {
  return { message: cause instanceof ApiError ? cause.message : String(cause), hint: null }
}

/**
 * A form that sends one request. It closes when the server has accepted it, and not before; what the server refuses
 * stands in the form.
 */
export function Ask({
  children,
  go,
  send,
  danger = false,
  ready = true,
  done,
}: {
  children: ComponentChildren
  go: string
  send: () => Promise<Payload>
  danger?: boolean
  ready?: boolean
  done?: () => void
}) {
  const [busy, setBusy] = useState(false)
  const [problems, setProblems] = useState<Problem[]>([])
  const submit = async (event: Event) => {
    event.preventDefault()
    if (busy || locked.value || !ready) return
    setBusy(true)
    setProblems([])
    try {
      const { payload } = await send()
      if (payload.userErrors.length === 0) {
        close()
        done?.()
        return
      }
      setProblems(
        payload.userErrors.map((it) => ({
          message: `${it.line ? `line ${it.line}${it.column ? `, column ${it.column}` : ''}: ` : ''}${it.message}`,
          hint: it.hint ?? null,
        })),
      )
    } catch (cause) {
      setProblems([problem(cause)])
    }
    setBusy(false)
  }
  return (
    <form onSubmit={(event) => void submit(event)}>
      {children}
      <Problems problems={problems} />
      <div class="buttons">
        <button type="button" onClick={close}>
          Leave it
        </button>
        <button type="submit" class={danger ? 'danger' : 'primary'} disabled={busy || locked.value || !ready}>
          {busy ? 'Asking…' : go}
        </button>
      </div>
      {locked.value && <p class="faint">Disconnected: nothing can be asked for now.</p>}
    </form>
  )
}

export function Problems({ problems }: { problems: readonly Problem[] }) {
  return (
    <div role="alert" class="problems">
      {problems.map((it) => (
        <p key={it.message}>
          {it.message}
          {it.hint && <span class="hint">{it.hint}</span>}
        </p>
      ))}
    </div>
  )
}

/** A labelled field. */
export function Field({
  name,
  value,
  set,
  hint,
  ...rest
}: {
  name: string
  value: string
  set: (value: string) => void
  hint?: string
  required?: boolean
  placeholder?: string
  type?: string
  autofocus?: boolean
}) {
  return (
    <label class="field">
      <span>{name}</span>
      <input
        value={value}
        onInput={(event) => set(event.currentTarget.value)}
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
        {...rest}
      />
      {hint && <small>{hint}</small>}
    </label>
  )
}

/** One of a few words. */
export function Choice<T extends string>({
  name,
  value,
  of,
  set,
  hint,
}: {
  name: string
  value: T
  of: readonly T[]
  set: (value: T) => void
  hint?: string
}) {
  return (
    <label class="field">
      <span>{name}</span>
      <select value={value} onChange={(event) => set(event.currentTarget.value as T)}>
        {of.map((it) => (
          <option key={it}>{it}</option>
        ))}
      </select>
      {hint && <small>{hint}</small>}
    </label>
  )
}

/** Text of several lines. */
export function Area({
  name,
  value,
  set,
  hint,
  rows = 4,
  required = false,
}: {
  name: string
  value: string
  set: (value: string) => void
  hint?: string
  rows?: number
  required?: boolean
}) {
  return (
    <label class="field">
      <span>{name}</span>
      <textarea
        rows={rows}
        value={value}
        required={required}
        onInput={(event) => set(event.currentTarget.value)}
        autocomplete="off"
        autocapitalize="off"
        spellcheck={false}
      />
      {hint && <small>{hint}</small>}
    </label>
  )
}

/** Words between commas or blanks. */
export const listed = (text: string): string[] => text.split(/[\s,]+/).filter(Boolean)
