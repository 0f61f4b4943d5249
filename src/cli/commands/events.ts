import type { Command } from 'commander'
import { type ListenAddress, listenAddress } from '../../app/config-kinds.js'
import { OptionInvalidError } from '../../errors.js'
import type { Duration } from '../../internal/duration.js'
import { toMs } from '../../internal/duration.js'
import { eventLine, table, taskCells, taskHeadings, workerCells, workerHeadings } from '../events/lines.js'
import { showLive } from '../events/live.js'
import { toJson } from '../json.js'
import { UsageError } from '../usage-error.js'
import { durationText } from '../values.js'
import { type CommandContext, withApp } from '../with-app.js'

interface EventsFlags {
  readonly dump?: true
  readonly once?: Duration
  readonly enable?: true
  readonly json?: true
  readonly metricsPort?: ListenAddress
  readonly flowerCompat?: true
}

/** As long as two heartbeats, so that every worker is heard. */
const onceMs = 4_500

export function define(command: Command): void {
  command
    .option('-d, --dump', 'write each event on a line as it comes, until Ctrl-C')
    .option(
      '--once <duration>',
      'listen for so long, then write what was heard of workers and tasks; with --dump, dump for so long',
      (text) => durationText(text, '--once'),
    )
    .option('--enable', 'first let every worker send task events, as if it ran with -E')
    .option('--metrics-port <port>', 'instead of showing them, tell Prometheus of the whole cluster, at /metrics of this port', (text) =>
      readAddress(text),
    )
    .option('--flower-compat', 'with --metrics-port, the names of Flower, too')
    .option('--json', 'with --dump, each event as JSON on a line; otherwise one JSON object with workers and tasks')
  command.addHelpText(
    'after',
    '\nWithout flags, a live screen on a terminal (? shows its keys); elsewhere, or with --json, as --once 4.5s.',
  )
  command.action((flags: EventsFlags) => withApp(command, (context) => events(flags, context)))
}

async function events({ dump, once, enable, json, metricsPort, flowerCompat }: EventsFlags, context: CommandContext): Promise<void> {
  const { app, core, terminal, flags } = context
  if (enable === true) await app.control.enableEvents()
  if (metricsPort !== undefined) {
    const { openExporter } = await import('../events/exporter.js')
    await using exporter = await openExporter(context, metricsPort, { flower: flowerCompat ?? core.config.flowerCompat })
    terminal.note(`${exporter.url}/metrics tells of the cluster; Ctrl-C ends it`)
    return await untilTold()
  }
  await using monitor = await app.monitor({
    ...(dump === true ? { onEvent: (event) => terminal.data(json === true ? toJson(event) : eventLine(event, nameOf(event.uuid))) } : {}),
  })
  const passed = (ms: number): Promise<void> => new Promise((resolve) => core.clock.setTimer(ms, resolve, { keepAlive: true }))
  function nameOf(uuid: unknown): string | undefined {
    return typeof uuid === 'string' ? monitor.state.task(uuid)?.name : undefined
  }
  const isLive = dump !== true && once === undefined && json !== true && process.stdin.isTTY === true && process.stdout.isTTY === true
  // Awaited here: the monitor is closed when this function returns.
  if (isLive) return await showLive(app, monitor, { color: flags.color })
  if (dump === true) {
    terminal.note(once === undefined ? 'listening to events; Ctrl-C ends it' : 'listening to events')
    return await (once === undefined ? untilTold() : passed(toMs(once, '--once')))
  }
  await passed(once === undefined ? onceMs : toMs(once, '--once'))
  const { state } = monitor
  if (json === true) return terminal.data(JSON.stringify({ workers: state.workers(), tasks: state.tasks() }))
  for (const line of table(workerHeadings, state.workers().map(workerCells))) terminal.data(line)
  const tasks = state.tasks()
  if (tasks.length > 0) for (const line of ['', ...table(taskHeadings, tasks.map(taskCells))]) terminal.data(line)
}

function readAddress(text: string): ListenAddress {
  try {
    return listenAddress.parse(text, '--metrics-port')
  } catch (error) {
    if (error instanceof OptionInvalidError) throw new UsageError(error.message)
    throw error
  }
}

/** Until Ctrl-C, or until the process is to end. */
function untilTold(): Promise<void> {
  return new Promise((resolve) => {
    const timer = setInterval(() => {}, 2 ** 30)
    const told = (): void => {
      clearInterval(timer)
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, told)
      resolve()
    }
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, told)
  })
}
