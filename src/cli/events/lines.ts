/** Events, workers and tasks as lines of text. Pure functions: what they need is given to them. */
import type { TaskView, WorkerView } from '../../events/cluster-state.js'
import { safeText } from '../../internal/safe-text.js'
import type { ClusterEvent } from '../../protocol/events.js'
import { toJson } from '../json.js'

const shownApart = new Set(['type', 'hostname', 'timestamp', 'uuid', 'name', 'args', 'kwargs'])
const names: Readonly<Record<string, string>> = {
  'worker-online': 'started',
  'worker-heartbeat': 'heartbeat',
  'worker-offline': 'shutdown',
}

/** One event on one line, as `celery events --dump` has it. `taskName`: what an earlier event has told. */
export function eventLine(event: ClusterEvent, taskName: string | undefined): string {
  const { type, hostname, timestamp, uuid, name = taskName, args, kwargs } = event
  const said = names[type] ?? type.replaceAll('-', ' ')
  const task = typeof uuid === 'string' ? `: ${name === undefined ? '' : String(name)}(${uuid})` : ''
  const call =
    task !== '' && (args !== undefined || kwargs !== undefined) ? ` args=${String(args ?? '')} kwargs=${String(kwargs ?? '')}` : ''
  const rest = Object.keys(event)
    .filter((key) => !shownApart.has(key))
    .sort()
    .map((key) => `${key}=${oneLine(event[key])}`)
    .join(', ')
  return safeText(
    `${hostname} [${new Date(timestamp * 1000).toISOString()}] ${said}${task}${call}${task === '' ? ':' : ''} ${rest}`,
    longestLine,
  )
}

/** A traceback is in it. */
const longestLine = 20_000

const oneLine = (value: unknown): string => (typeof value === 'string' ? value : toJson(value))

/** Lines under a heading, each column as wide as it must be; the last one takes what is left. */
export function table(headings: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const shown = rows.map((row) => row.map((cell) => safeText(cell)))
  const widths = headings.map((heading, column) => shown.reduce((most, row) => Math.max(most, (row[column] ?? '').length), heading.length))
  return [headings, ...shown].map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

export const workerHeadings = ['WORKER', 'STATE', 'ACTIVE', 'PROCESSED', 'LOAD', 'SOFTWARE'] as const

export function workerCells(worker: WorkerView): readonly string[] {
  const { ident, version } = worker.software
  return [
    worker.hostname,
    worker.isAlive ? '● online' : '○ offline',
    String(worker.active),
    String(worker.processed),
    worker.loadavg.map((load) => load.toFixed(2)).join(' '),
    `${ident} ${version}`.trim(),
  ]
}

export const taskHeadings = ['UUID', 'TASK', 'WORKER', 'TIME', 'STATE'] as const

/** A glyph with each state: colours alone say nothing to many. */
const stateGlyphs: Readonly<Record<TaskView['state'], string>> = {
  PENDING: '·',
  RECEIVED: '◦',
  STARTED: '▶',
  RETRY: '↻',
  REJECTED: '⊘',
  SUCCESS: '✓',
  FAILURE: '✗',
  REVOKED: '⊗',
}

export function taskCells(task: TaskView): readonly string[] {
  return [
    task.uuid,
    task.name ?? '?',
    task.worker ?? '',
    new Date(task.timestamp * 1000).toISOString().slice(11, 19),
    `${stateGlyphs[task.state]} ${task.state}`,
  ]
}
