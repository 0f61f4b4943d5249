import type { Command } from 'commander'
import { brokerAt, type OpenBroker } from '../../app/broker-at.js'
import { type Migrated, migrate, mostHeld } from '../../app/migration.js'
import { type Duration, toMs } from '../../internal/duration.js'
import { safeText } from '../../internal/safe-text.js'
import { redactUrl } from '../../internal/url.js'
import { exitCodes } from '../exit-codes.js'
import { interruptible } from '../interrupt.js'
import { Progress } from '../progress.js'
import { UsageError } from '../usage-error.js'
import { count, durationText, jsonObjectOf, nameList } from '../values.js'
import { type CommandContext, withApp } from '../with-app.js'

interface MigrateFlags {
  readonly limit?: number
  readonly timeout?: Duration
  readonly ackMessages?: true
  readonly tasks?: string[]
  readonly queues?: string[]
  readonly forever?: true
  readonly sourceOptions?: Record<string, unknown>
  readonly destinationOptions?: Record<string, unknown>
  readonly json?: true
}

export function define(command: Command): void {
  command
    .argument('<source>', 'the URL of the broker to take messages from')
    .argument('<destination>', 'the URL of the broker to send them to')
    .option('-n, --limit <number>', 'so many at most', (text) => count(text, '--limit', Number.MAX_SAFE_INTEGER))
    .option('-t, --timeout <duration>', 'end when nothing has come for so long (default: 1s)', (text) => durationText(text, '--timeout'))
    .option('-a, --ack-messages', 'take them from the source when the destination has confirmed them; without, they are copied')
    .option('-T, --tasks <names>', 'only these tasks, separated by commas', nameList)
    .option('-Q, --queues <names>', "these queues, separated by commas; by default the app's own; from:to gives one another name", nameList)
    .option('-F, --forever', 'go on until it is interrupted')
    .option(
      '--source-options <json>',
      "brokerTransportOptions of the source; by default the app's own, if its broker is of that kind",
      (text) => jsonObjectOf(text, '--source-options'),
    )
    .option('--destination-options <json>', 'the same of the destination', (text) => jsonObjectOf(text, '--destination-options'))
    .option('--json', 'write one JSON object: how many were moved, by queue')
    .addHelpText(
      'after',
      '\nBodies and headers stay as they are, etas too. Nothing is lost: what is interrupted is at the source still, and what was under way may be at both.\n\nExample: celeriac migrate -a redis://old:6379/0 amqp://new// -Q celery,mail:post',
    )
    .action((source: string, destination: string, flags: MigrateFlags) =>
      withApp(command, (context) => run(source, destination, flags, context)),
    )
}

async function run(from: string, to: string, flags: MigrateFlags, context: CommandContext): Promise<void> {
  if (from === to) throw new UsageError('the source and the destination are the same broker')
  const { core } = context
  const source = await brokerAt(core, from, flags.sourceOptions)
  try {
    const destination = await brokerAt(core, to, flags.destinationOptions)
    try {
      await move(source, destination, flags, context, `${redactUrl(from)} to ${redactUrl(to)}`)
    } finally {
      await destination.connection.close()
    }
  } finally {
    await source.connection.close()
  }
}

async function move(
  source: OpenBroker,
  destination: OpenBroker,
  flags: MigrateFlags,
  { core, terminal, flags: { quiet } }: CommandContext,
  what: string,
): Promise<void> {
  const { limit = Number.POSITIVE_INFINITY, timeout = 1, ackMessages = false, tasks, forever, json } = flags
  const queues = new Map((flags.queues ?? core.routes.defaultQueues()).map(renamed))
  let waiting = 0
  for (const queue of queues.keys()) waiting += await source.connection.size(queue)
  const total = forever === true || tasks !== undefined ? undefined : Math.min(limit, waiting)
  terminal.note(`${ackMessages ? 'Moving' : 'Copying'} messages from ${what}`)
  const progress = new Progress({ clock: core.clock, verb: ackMessages ? 'moved' : 'copied', total, quiet })
  let isInterrupted = false
  const migrated = await interruptible(async (signal) => {
    try {
      return await migrate({
        source: source.connection,
        destination: destination.connection,
        priorities: { source: source.transport.supports.priority, destination: destination.transport.supports.priority },
        queues,
        topology: (queue) => core.routes.topology(queue),
        tasks: tasks === undefined ? undefined : new Set(tasks),
        limit,
        idleMs: forever === true ? undefined : toMs(timeout, 'timeout'),
        acknowledges: ackMessages,
        publishTimeoutMs: core.config.publishTimeout * 1000,
        clock: core.clock,
        signal,
        onMoved: () => {
          progress.done++
        },
      })
    } finally {
      isInterrupted = signal.aborted
      progress.stop()
    }
  })
  tell(migrated, { ackMessages, json: json === true, isDelayed: source.transport.name === 'amqp', terminal })
  // Interrupted is how one that goes on for ever ends.
  if (isInterrupted && forever !== true) process.exitCode = 130
}

interface Telling {
  readonly ackMessages: boolean
  readonly json: boolean
  readonly isDelayed: boolean
  readonly terminal: CommandContext['terminal']
}

function tell({ moved, skipped, isFull }: Migrated, { ackMessages, json, isDelayed, terminal }: Telling): void {
  const number = [...moved.values()].reduce((sum, each) => sum + each, 0)
  const verb = ackMessages ? 'moved' : 'copied'
  if (json) terminal.data(JSON.stringify({ [verb]: number, queues: Object.fromEntries(moved), skipped, complete: !isFull }))
  else {
    for (const [queue, each] of moved) terminal.data(`${safeText(queue)}: ${each} ${verb}`)
    terminal.data(
      `${number} ${number === 1 ? 'message' : 'messages'} ${verb}${skipped === 0 ? '' : `, ${skipped} of other tasks left alone`}`,
    )
  }
  if (!ackMessages && number > 0) terminal.note('They are at the source, too: run workers of one of the two only, or use -a to move them.')
  if (isDelayed) terminal.note("What waits in RabbitMQ's delay queues comes when it is due: -F waits for it.")
  if (!isFull) return
  terminal.note(
    `There are more: what stays at the source has to be held meanwhile, and no more than ${mostHeld} messages can be. With -a and without -T any number is moved.`,
  )
  process.exitCode = exitCodes.temporary
}

function renamed(name: string): readonly [string, string] {
  const [from = '', to = from, ...more] = name.split(':')
  if (from === '' || to === '' || more.length > 0) throw new UsageError(`expected --queues to be names, or from:to, got: ${name}`)
  return [from, to]
}
