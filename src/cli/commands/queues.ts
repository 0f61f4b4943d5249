import type { Command } from 'commander'
import { safeText } from '../../internal/safe-text.js'
import { type QueueRow, queueRows } from '../queue-rows.js'
import { table } from '../times.js'
import { nameList } from '../values.js'
import { type CommandContext, withApp } from '../with-app.js'

interface QueuesFlags {
  readonly queues?: string[]
  readonly json?: true
}

export function define(command: Command): void {
  command
    .option(
      '-Q, --queues <names>',
      "these queues, separated by commas; by default the app's own and those that workers take from",
      nameList,
    )
    .option('--json', 'write one JSON array of objects')
    .addHelpText(
      'after',
      '\nA dash is what this broker cannot tell. Redis: the oldest age is known of tasks that celeriac sent; RabbitMQ: what is in the hands of workers, delayed, and how old is told by its own management alone.',
    )
    .action(({ queues, json }: QueuesFlags) =>
      withApp(command, async (context) => showQueues(context, await queueRows(context, queues), json === true)),
    )
}

export function showQueues({ terminal }: CommandContext, rows: readonly QueueRow[], json: boolean): void {
  if (json) return terminal.data(JSON.stringify(rows))
  const head = ['QUEUE', 'WAITING', 'DELAYED', 'LEASED', 'CONSUMERS', 'OLDEST', 'DEAD', 'STATE']
  const cells = rows.map((row) => [
    safeText(row.queue),
    String(row.waiting),
    shown(row.delayed),
    shown(row.leased),
    String(row.consumers),
    row.oldestSeconds === null ? '-' : age(row.oldestSeconds),
    shown(row.dead),
    row.paused ? '⏸ paused' : row.consumers === 0 && row.waiting > 0 ? '! no consumer' : '',
  ])
  for (const line of table([head, ...cells])) terminal.data(line)
}

const shown = (count: number | null): string => (count === null ? '-' : String(count))

/** In its two largest units. */
export function age(seconds: number): string {
  if (seconds < 60) return `${seconds}s`
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m ${seconds % 60}s`
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)}h ${Math.floor((seconds % 3_600) / 60)}m`
  return `${Math.floor(seconds / 86_400)}d ${Math.floor((seconds % 86_400) / 3_600)}h`
}
