import { constants } from 'node:os'
import type { Audience, Reply } from '../control/client.js'
import { findCommand } from '../control/command-table.js'
import { OptionInvalidError } from '../errors.js'
import { type Duration, toMs } from '../internal/duration.js'
import { checkNames, type NamesOf } from '../internal/known-names.js'
import { encodeRevoke } from '../protocol/mailbox.js'
import type { AppCore } from './core.js'
import { Inspect, type Replies } from './inspect.js'
import { revokedMeta } from './outcomes.js'
import { pauseQueue, resumeQueue } from './queue-pauses.js'
import { checkName } from './registry.js'

/** Revoked ids are kept for a day at least: as long as results are, or longer. */
const revokeSecondsAtLeast = 86_400

/** Which workers a request is for, and how long their answers are waited for. */
export interface BroadcastOptions {
  /** Node names: these workers, and no others. Default: all. */
  destination?: readonly string[]
  /** A shell pattern of node names, such as `mail-*@*`. */
  pattern?: string
  /** The only way to read `pattern`. */
  matcher?: 'glob'
  /** Ends when no worker has answered for so long. Default 1 s. */
  timeout?: Duration
  /** Ends after so many answers. Default: the number of names in `destination`. */
  limit?: number
  /** Told of each answer as it comes. */
  onReply?: (reply: Reply) => void
}

const audienceNames: NamesOf<Required<Pick<BroadcastOptions, 'destination' | 'pattern' | 'matcher'>>> = {
  destination: true,
  pattern: true,
  matcher: true,
}
const broadcastNames: NamesOf<Required<BroadcastOptions>> = { ...audienceNames, timeout: true, limit: true, onReply: true }

/** What Celery's commands answer. */
export type CommandOutcome = { readonly ok: string } | { readonly error: string }

/** Steers workers from any program that has the app: those of celeriac and of Python. */
export class Control {
  readonly #core: AppCore

  constructor(core: AppCore) {
    this.#core = core
  }

  /** Asks workers: `app.control.inspect({ destination }).active()`. */
  inspect(options: BroadcastOptions = {}): Inspect {
    return new Inspect((method, args, timeout) => this.broadcast(method, args, timeout === undefined ? options : { timeout, ...options }))
  }

  /** Runs a command, Celery's or one of the app's own (`app.controlCommand`), at all workers or at some; what they answered. */
  async broadcast<Answer = unknown>(
    method: string,
    args: Readonly<Record<string, unknown>> = {},
    options: BroadcastOptions = {},
  ): Promise<Replies<Answer>> {
    checkNames(options, broadcastNames)
    const { timeout = findCommand(method)?.timeout ?? 1, limit, onReply } = options
    if (limit !== undefined && !(Number.isSafeInteger(limit) && limit > 0))
      throw new OptionInvalidError('limit', 'a whole number above 0', limit)
    const request = { method, arguments: args, ...audienceOf(options) }
    const replies = await this.#core.control.ask(request, { timeoutMs: toMs(timeout, 'timeout'), limit, onReply })
    // The type is the caller's claim about what the workers run.
    return Object.fromEntries(replies.map(({ hostname, reply }) => [hostname, reply as Answer]))
  }

  /** As `broadcast`, and nobody answers: settles when the broker has the request. */
  async cast(
    method: string,
    args: Readonly<Record<string, unknown>> = {},
    options: Pick<BroadcastOptions, keyof Audience> = {},
  ): Promise<void> {
    checkNames(options, audienceNames)
    await this.#core.control.tell({ method, arguments: args, ...audienceOf(options) })
  }

  /**
   * These tasks will not start, on workers that are up and on those that start later (where the backend can remember it).
   * With `terminate`, running ones are stopped: their process gets `signal` (default SIGTERM), their thread ends; the pools `async` and `solo` abort `ctx.signal`.
   */
  async revoke(id: string | string[], options: { terminate?: boolean; signal?: NodeJS.Signals } = {}): Promise<void> {
    checkNames(options, { terminate: true, signal: true })
    const { terminate = false, signal = 'SIGTERM' } = options
    checkSignal(signal)
    const ids = Array.isArray(id) ? id : [id]
    for (const one of ids) checkName('task id', one)
    const { connections, config } = this.#core
    const backend = await connections.backend()
    if (backend.supports.durableRevoke) {
      await backend.revoke(ids, { expiresSeconds: Math.max(config.resultExpires ?? 0, revokeSecondsAtLeast) })
    }
    await this.cast('revoke', encodeRevoke({ taskIds: ids, terminate, signal }))
    if (!backend.supports.results || !backend.supports.durableRevoke) return
    const connection = await connections.publisher()
    // A message that nobody has taken will be refused by whoever takes it: its end can be told now, not when its eta comes.
    for (const taskId of ids) {
      if ((await connection.locate(taskId)) !== 'waiting') continue
      await backend.store(revokedMeta(this.#core, taskId), { expiresSeconds: config.resultExpires })
    }
  }

  /** Tasks with one of these stamps will not start on workers that are up, and with `terminate` those that run are stopped. */
  revokeByStampedHeaders(
    headers: Readonly<Record<string, string | readonly string[]>>,
    { terminate = false, signal = 'SIGTERM', ...options }: BroadcastOptions & { terminate?: boolean; signal?: NodeJS.Signals } = {},
  ): Promise<Replies<CommandOutcome>> {
    return this.broadcast('revoke_by_stamped_headers', { headers, terminate, signal }, options)
  }

  /** As `revoke` with `terminate`. */
  terminate(id: string | string[], options: { signal?: NodeJS.Signals } = {}): Promise<void> {
    return this.revoke(id, { ...options, terminate: true })
  }

  /** Removes all waiting messages of a queue; how many they were. Default: the default queues. */
  async purge(queue?: string): Promise<number> {
    const connection = await this.#core.connections.publisher()
    const queues = queue === undefined ? this.#core.routes.defaultQueues() : [queue]
    let purged = 0
    for (const name of queues) purged += await connection.purge(name)
    return purged
  }

  /** Which workers are there. */
  ping(options: BroadcastOptions = {}): Promise<Replies<CommandOutcome>> {
    return this.broadcast('ping', {}, options)
  }

  /** How often a task may start on each worker from now on: `10/s`, `5/m`, `1/h`; 0 is no limit. */
  rateLimit(task: string, rate: string | number, options: BroadcastOptions = {}): Promise<Replies<CommandOutcome>> {
    return this.broadcast('rate_limit', { task_name: task, rate_limit: rate }, options)
  }

  /** The time limits of a task from now on; what is not given is taken away. */
  timeLimit(task: string, limits: { soft?: Duration; hard?: Duration }, options: BroadcastOptions = {}): Promise<Replies<CommandOutcome>> {
    checkNames(limits, { soft: true, hard: true })
    const seconds = (limit: Duration | undefined, name: string): number | null => (limit === undefined ? null : toMs(limit, name) / 1000)
    return this.broadcast(
      'time_limit',
      { task_name: task, soft: seconds(limits.soft, 'soft'), hard: seconds(limits.hard, 'hard') },
      options,
    )
  }

  /** Workers tell monitors what happens to their tasks, from now on. */
  enableEvents(options: BroadcastOptions = {}): Promise<Replies<CommandOutcome>> {
    return this.broadcast('enable_events', {}, options)
  }

  disableEvents(options: BroadcastOptions = {}): Promise<Replies<CommandOutcome>> {
    return this.broadcast('disable_events', {}, options)
  }

  /** Workers send a heartbeat out of turn. */
  heartbeat(options: Pick<BroadcastOptions, keyof Audience> = {}): Promise<void> {
    return this.cast('heartbeat', {}, options)
  }

  /** By so many processes, or tasks at the same time. */
  poolGrow(n = 1, options: BroadcastOptions = {}): Promise<Replies<CommandOutcome>> {
    return this.broadcast('pool_grow', { n }, options)
  }

  poolShrink(n = 1, options: BroadcastOptions = {}): Promise<Replies<CommandOutcome>> {
    return this.broadcast('pool_shrink', { n }, options)
  }

  /** Processes finish what they run, and others load the app anew. */
  poolRestart(options: BroadcastOptions = {}): Promise<Replies<CommandOutcome>> {
    return this.broadcast('pool_restart', {}, options)
  }

  /** The bounds of workers that were started with `--autoscale`. */
  autoscale(max: number, min: number, options: BroadcastOptions = {}): Promise<Replies<CommandOutcome>> {
    return this.broadcast('autoscale', { max, min }, options)
  }

  /** Workers take tasks from this queue, too. Where nothing else is said it is the queue that the worker's own options describe. */
  addConsumer(
    queue: string,
    {
      exchange,
      exchangeType,
      routingKey,
      ...options
    }: BroadcastOptions & { exchange?: string; exchangeType?: string; routingKey?: string } = {},
  ): Promise<Replies<CommandOutcome>> {
    const named = Object.entries({ exchange, exchange_type: exchangeType, routing_key: routingKey }).filter(
      ([, value]) => value !== undefined,
    )
    return this.broadcast('add_consumer', { queue, ...Object.fromEntries(named) }, options)
  }

  /** Workers take no more tasks from this queue. */
  cancelConsumer(queue: string, options: BroadcastOptions = {}): Promise<Replies<CommandOutcome>> {
    return this.broadcast('cancel_consumer', { queue }, options)
  }

  /** Workers stop when what they run has ended. Settles when the request is at the broker: none answers. */
  shutdown(options: Pick<BroadcastOptions, keyof Audience> = {}): Promise<void> {
    return this.cast('shutdown', {}, options)
  }

  /** The workers choose one of them, which sends the task `action` (a signature) when `topic` is `task`. Needs gossip; a Python worker that is the only worker dies of it. */
  election(id: string, topic: string, action?: unknown, options: Pick<BroadcastOptions, keyof Audience> = {}): Promise<void> {
    return this.cast('election', { id, topic, action: action ?? null }, options)
  }

  /**
   * Workers leave this queue alone until it is resumed; what they have not started goes back to it, what runs goes on. The broker remembers it for workers that start
   * later. Python workers that run now are told to cancel their consumer. What is sent to the queue waits in it.
   */
  async pause(queue: string, { timeout = 1 }: Pick<BroadcastOptions, 'timeout'> = {}): Promise<Replies<CommandOutcome>> {
    checkName('queue', queue)
    return outcomes(await pauseQueue(this.#core, queue, { timeoutMs: toMs(timeout, 'timeout') }))
  }

  /** Workers take from the queue again: those of celeriac that have it among theirs, and the Python workers that were told to stop. */
  async resume(queue: string, { timeout = 1 }: Pick<BroadcastOptions, 'timeout'> = {}): Promise<Replies<CommandOutcome>> {
    checkName('queue', queue)
    return outcomes(await resumeQueue(this.#core, queue, { timeoutMs: toMs(timeout, 'timeout') }))
  }
}

// What these commands answer, in both languages.
const outcomes = (replies: Replies): Replies<CommandOutcome> => replies as Replies<CommandOutcome>

/** As Node names them, or as Celery's users do: `KILL`. */
function checkSignal(signal: string): void {
  if (!Object.hasOwn(constants.signals, signal) && !Object.hasOwn(constants.signals, `SIG${signal}`))
    throw new OptionInvalidError('signal', 'the name of a signal, such as "SIGTERM"', signal)
}

function audienceOf({ destination, pattern, matcher }: Pick<BroadcastOptions, 'destination' | 'pattern' | 'matcher'>): Audience {
  if (matcher !== undefined && matcher !== 'glob')
    throw new OptionInvalidError('matcher', '"glob": regular expressions of others are run by no worker', matcher)
  return { destination, pattern }
}
