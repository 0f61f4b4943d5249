import type { Command } from 'commander'
import type { ApplyOptions } from '../../canvas/sig.js'
import { didYouMean } from '../../internal/did-you-mean.js'
import { exitCodes } from '../exit-codes.js'
import { noteNearQueues } from '../near-queue.js'
import { printResult } from '../print-result.js'
import { count, dateText, durationOrDate, durationText, jsonArray, jsonObject, jsonOrText } from '../values.js'
import { withApp } from '../with-app.js'

interface CallFlags {
  readonly args?: unknown[]
  readonly kwargs?: Record<string, unknown>
  readonly eta?: Date
  readonly countdown?: ApplyOptions['countdown']
  readonly expires?: ApplyOptions['expires']
  readonly serializer?: string
  readonly queue?: string
  readonly exchange?: string
  readonly routingKey?: string
  readonly priority?: number
  readonly wait?: true | ApplyOptions['countdown']
  readonly json?: true
}

export function define(command: Command): void {
  command
    .argument('<task>', 'the name of the task')
    .argument('[args...]', 'its arguments: JSON where it can be read as JSON, text otherwise')
    .option('-a, --args <json>', 'its arguments as a JSON array', jsonArray)
    .option('-k, --kwargs <json>', 'its keyword arguments as a JSON object', jsonObject)
    .option('--eta <time>', 'run not before this time (ISO 8601)', (text) => dateText(text, '--eta'))
    .option('--countdown <duration>', 'run this much later: seconds, or text such as 10s', (text) => durationText(text, '--countdown'))
    .option('--expires <time>', 'do not run after this time, or after so many seconds', (text) => durationOrDate(text, '--expires'))
    .option('--serializer <name>', 'write the arguments as json, msgpack or yaml')
    .option('--queue <name>', 'send it to this queue')
    .option('--exchange <name>', 'send it to this exchange')
    .option('--routing-key <key>', 'with this routing key')
    .option('--priority <number>', 'with this priority', (text) => count(text, '--priority', 255))
    .option('--wait [duration]', 'wait for the result and show it; not longer than the duration', (text) => durationText(text, '--wait'))
    .option('--json', 'write one JSON object: id, and with --wait state and result')
    .action((task: string, bare: string[], flags: CallFlags) => withApp(command, (context) => call(task, bare, flags, context)))
}

async function call(
  task: string,
  bare: readonly string[],
  flags: CallFlags,
  { app, core, terminal }: Parameters<Parameters<typeof withApp>[1]>[0],
): Promise<void> {
  const near = app.taskNames.includes(task) ? undefined : didYouMean(task, app.taskNames)
  if (near !== undefined)
    terminal.note(`note: this app has no task ${task}; it has ${near}. It is sent all the same: a worker elsewhere may know it.`)
  const { wait, json, args = [], kwargs = {}, queue } = flags
  if (queue !== undefined) noteNearQueues([queue], core, terminal)
  const result = await app.sendTask(task, { args: [...bare.map(jsonOrText), ...args], kwargs }, optionsOf(flags))
  if (wait === undefined) {
    terminal.data(json === true ? JSON.stringify({ id: result.id }) : result.id)
    return
  }
  if (json !== true) terminal.note(result.id)
  try {
    await result.get({ propagate: false, ...(wait === true ? {} : { timeout: wait }) })
  } catch (error) {
    // It is sent: whoever stops waiting for it must know its id.
    if (json === true) terminal.data(JSON.stringify({ id: result.id, state: await result.state() }))
    throw error
  }
  process.exitCode = (await printResult(result, terminal, { json: json === true, traceback: false })) ? exitCodes.ok : exitCodes.failed
}

/** What of the flags belongs to the call; undefined is "not given". */
function optionsOf({ eta, countdown, expires, serializer, queue, exchange, routingKey, priority }: CallFlags): ApplyOptions {
  const given = Object.entries({ eta, countdown, expires, serializer, queue, exchange, routingKey, priority })
  return Object.fromEntries(given.filter(([, value]) => value !== undefined))
}
