import type { Task } from '../api/documents'

export type Cell = 'run' | 'start' | 'wait' | 'bad' | 'stop' | 'done'

const OVER = ['Complete', 'Shutdown', 'Failed', 'Rejected', 'Remove', 'Orphaned']

/** How a task is drawn. */
export function cell(task: Task): Cell {
  if (task.state === 'Failed' || task.state === 'Rejected' || task.state === 'Orphaned') return 'bad'
  if (task.state === 'Complete') return 'done'
  if (OVER.includes(task.state) || OVER.includes(task.desired)) return 'stop'
  if (task.state === 'Running') return 'run'
  if (task.state === 'New' || task.state === 'Allocated' || task.state === 'Pending') return 'wait'
  return 'start'
}

export interface Side {
  now: Task[]
  /** Tasks that ended badly, the newest first: what a person wants to know. */
  failed: Task[]
}

/** The tasks of one service, those of the version it asks for now apart from older ones. */
export function sides(tasks: readonly Task[]): { fresh: Side; old: Side } {
  const side = (current: boolean): Side => {
    const mine = tasks.filter((task) => task.current === current)
    const now = mine.filter((task) => !OVER.includes(task.state) || task.state === 'Complete')
    const failed = mine.filter((task) => cell(task) === 'bad')
    failed.sort((a, b) => (b.since ?? '').localeCompare(a.since ?? ''))
    now.sort((a, b) => (a.slot ?? 0) - (b.slot ?? 0) || (a.node ?? '').localeCompare(b.node ?? ''))
    return { now, failed }
  }
  return { fresh: side(true), old: side(false) }
}

/** In the order they are drawn in. */
const CELLS: readonly [Cell, string][] = [
  ['run', 'running'],
  ['done', 'complete'],
  ['start', 'starting'],
  ['wait', 'waiting'],
  ['stop', 'stopping'],
  ['bad', 'failed'],
]

/** Too many tasks to draw each: how many there are of each kind, those that there are. */
export function counted(tasks: readonly Task[]): { cell: Cell; word: string; count: number }[] {
  return CELLS.map(([kind, word]) => ({ cell: kind, word, count: tasks.filter((task) => cell(task) === kind).length })).filter((it) => it.count > 0)
}

/** One task in words: `slot 2 on node-1: running`. */
export function sentence(task: Task): string {
  const where = [task.slot ? `slot ${task.slot}` : null, task.node ? `on ${task.node}` : 'no node yet'].filter(Boolean)
  const exit = task.exitCode ? `, exit code ${task.exitCode}` : ''
  const said = cell(task) === 'bad' || task.state === 'Pending' ? task.message : ''
  return `${where.join(' ')}: ${task.state.toLowerCase()}${exit}${said ? `: ${said}` : ''}`
}
