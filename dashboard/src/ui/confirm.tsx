import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import { Dialog, dialog } from './dialog'
import { Ask, Field, type Payload } from './form'

export interface Order {
  title: string
  text: ComponentChildren
  go: string
  danger?: boolean
  /** Sends it, with the reason that was typed, if one was. */
  send: (reason: string | null) => Promise<Payload>
  done?: () => void
}

function ConfirmDialog({ it }: { it: Order }) {
  const [reason, setReason] = useState('')
  return (
    <Dialog title={it.title}>
      <Ask go={it.go} danger={it.danger ?? false} send={() => it.send(reason.trim() || null)} {...(it.done ? { done: it.done } : {})}>
        <p>{it.text}</p>
        <Field name="Reason" value={reason} set={setReason} hint="For the record" autofocus />
      </Ask>
    </Dialog>
  )
}

/** Asks for a reason, and sends one request. */
export const confirm = (it: Order): void => void (dialog.value = () => <ConfirmDialog it={it} />)
