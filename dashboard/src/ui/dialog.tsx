import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { signal } from '@preact/signals'

/** The dialog that is open, if one is. */
export const dialog = signal<(() => ComponentChildren) | null>(null)
export const close = (): void => void (dialog.value = null)

/** The browser's own dialog: it keeps the focus inside, and gives it back. */
export function Dialog({ title, children, wide = false }: { title: string; children: ComponentChildren; wide?: boolean }) {
  const element = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const it = element.current
    it?.showModal()
    return () => it?.close()
  }, [])
  return (
    <dialog
      ref={element}
      class={wide ? 'wide' : ''}
      aria-labelledby="dialog-title"
      onCancel={(event) => {
        event.preventDefault()
        close()
      }}
      onClick={(event) => {
        if (event.target === element.current) close()
      }}
    >
      <div class="sheet">
        <h2 id="dialog-title">{title}</h2>
        {children}
      </div>
    </dialog>
  )
}

export function OpenDialog() {
  return <>{dialog.value?.()}</>
}
