import type { ComponentChildren } from 'preact'
import { VIEW_HEADING } from '../route'
import { Loading, Trouble } from './bits'
import type { Asked } from './asked'

/** A view of a list of things: its name, what can be made, and what there is. */
export function Place<T>({
  name,
  asked,
  make,
  children,
}: {
  name: string
  asked: Asked<T>
  make?: ComponentChildren
  children: (data: T) => ComponentChildren
}) {
  return (
    <>
      <div class="toolrow">
        <h1 id={VIEW_HEADING} tabIndex={-1}>
          {name}
        </h1>
        <span class="make">{make}</span>
      </div>
      {asked.error && <Trouble message={asked.error} retry={asked.again} />}
      {asked.data ? children(asked.data) : !asked.error && <Loading />}
    </>
  )
}
