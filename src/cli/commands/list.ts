import type { Command } from 'commander'
import { didYouMean } from '../../internal/did-you-mean.js'
import { isRecord } from '../../protocol/plain.js'
import { table } from '../events/lines.js'
import { queueRows } from '../queue-rows.js'
import { UsageError } from '../usage-error.js'
import { type CommandContext, withApp } from '../with-app.js'
import { showQueues } from './queues.js'

const whats = ['bindings', 'queues', 'tasks'] as const
type What = Exclude<(typeof whats)[number], 'queues'>

export function define(command: Command): void {
  command
    .argument(
      '<what>',
      'bindings: exchanges, routing keys and their queues; queues: as celeriac queues shows them; tasks: that workers know',
    )
    .option('--json', 'write one JSON array of objects')
    .addHelpText('after', "\nTold by the app's own options and by the workers that answer.")
    .action((what: string, { json }: { readonly json?: true }) => {
      if (!whats.some((one) => one === what)) {
        const near = didYouMean(what, whats)
        throw new UsageError(
          `expected celeriac list ${whats.join('|')}, got: ${what}.${near === undefined ? '' : ` Did you mean ${near}?`}`,
        )
      }
      return withApp(command, async (context) => {
        if (what === 'queues') return showQueues(context, await queueRows(context), json === true)
        // One of them, checked.
        const rows = await rowsOf(what as What, context)
        if (json === true) return context.terminal.data(JSON.stringify(rows))
        const [first] = rows
        if (first === undefined) return context.terminal.note('There are none.')
        const headings = Object.keys(first)
        for (const line of table(
          headings.map((heading) => spaced(heading).toUpperCase()),
          rows.map((row) => headings.map((heading) => cell(row[heading]))),
        ))
          context.terminal.data(line)
      })
    })
}

/** `routingKey` as words. */
function spaced(name: string): string {
  return name.replace(/[A-Z]/g, ' $&')
}

function cell(value: unknown): string {
  return Array.isArray(value) ? value.join(' ') : String(value ?? '')
}

type Row = Readonly<Record<string, unknown>>

async function rowsOf(what: What, context: CommandContext): Promise<readonly Row[]> {
  switch (what) {
    case 'bindings':
      return bindings(context)
    case 'tasks':
      return tasks(context)
    default:
      return what satisfies never
  }
}

/** Of the app's own queues, and of those that workers take tasks from. */
async function bindings({ app, core }: CommandContext): Promise<readonly Row[]> {
  const own = core.routes
    .defaultQueues()
    .flatMap((name) =>
      core.routes
        .topology(name)
        .queues.flatMap((queue) => queue.bindings.map(({ exchange, routingKey }) => ({ queue: queue.name, exchange, routingKey }))),
    )
  const asked = Object.values(await app.control.inspect().activeQueues()).flatMap((queues) =>
    (Array.isArray(queues) ? queues : []).map(({ name, exchange, routing_key: key }) => ({
      queue: String(name),
      exchange: isRecord(exchange) ? String(exchange.name) : '',
      routingKey: String(key),
    })),
  )
  const all = new Map([...own, ...asked].map((row) => [JSON.stringify(row), row]))
  return [...all.values()].sort((a, b) => (a.queue < b.queue ? -1 : 1))
}

async function tasks({ app }: CommandContext): Promise<readonly Row[]> {
  const workers = new Map<string, string[]>(app.taskNames.map((name) => [name, []]))
  for (const [node, known] of Object.entries(await app.control.inspect().registered()))
    for (const text of Array.isArray(known) ? known : []) {
      const name = text.replace(/ \[.*$/, '')
      workers.set(name, [...(workers.get(name) ?? []), node])
    }
  return [...workers].sort(([a], [b]) => (a < b ? -1 : 1)).map(([task, nodes]) => ({ task, workers: nodes }))
}
