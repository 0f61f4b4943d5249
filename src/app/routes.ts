import { randomUUID } from 'node:crypto'
import { QueueNotFoundError } from '../errors.js'
import type { Destination, Exchange, Queue, Topology } from '../protocol/topology.js'
import type { Config } from './config.js'
import { type QueueOption, type Route, type Router, route } from './config-routing.js'
import type { LimitOptions } from './limit-options.js'
import { checkName } from './registry.js'

/** As Celery names the queues that workers have of broadcasts. */
const ownQueuePrefix = 'bcast.'

/** What a call or its task says about where to go; empty fields are decided by the routes and the config. */
export interface RouteRequest {
  readonly task: string
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
  readonly queue?: string | undefined
  readonly exchange?: string | undefined
  readonly routingKey?: string | undefined
  readonly priority?: number | undefined
}

export interface Routed {
  readonly to: Destination
  /** The queue that must exist before the message is published; undefined when an exchange decides. */
  readonly queue: string | undefined
  readonly priority: number | undefined
}

/** Where messages go: `taskRoutes` and `taskQueues` of one app (celery/app/routes.py, celery/app/amqp.py). */
export class Routes {
  readonly #config: Config
  readonly #queues: ReadonlyMap<string, QueueOption>
  readonly #routers: readonly CompiledRouter[]
  readonly #limits: ReadonlyMap<string, LimitOptions>

  constructor(config: Config) {
    this.#config = config
    this.#queues = new Map((config.taskQueues ?? []).map((queue) => [queue.name, queue]))
    this.#routers = config.taskRoutes.map(compile)
    this.#limits = new Map([...this.#queues].filter(([, queue]) => queue.rateLimit !== undefined || queue.concurrency !== undefined))
  }

  route(request: RouteRequest): Routed {
    const found = this.#match(request)
    // A call that names its queue or exchange has decided where it goes; the route says the rest.
    const place = request.queue === undefined && request.exchange === undefined ? found : undefined
    const queue = request.queue ?? place?.queue
    const exchange = request.exchange ?? place?.exchange
    const routingKey = request.routingKey ?? place?.routingKey
    const priority = request.priority ?? found?.priority
    if (exchange !== undefined && exchange !== '') {
      return {
        to: { exchange, routingKey: routingKey ?? this.#config.taskDefaultRoutingKey ?? this.#config.taskDefaultQueue },
        queue,
        priority,
      }
    }
    const name = queue ?? this.#config.taskDefaultQueue
    const options = this.queueOptions(name)
    if (options.broadcast === true) {
      return { to: { exchange: this.#exchangeOf(options), routingKey: routingKey ?? this.#broadcastKeyOf(options) }, queue: name, priority }
    }
    // A queue on a direct exchange is reached by its name, through the default exchange; others only through their own exchange.
    if ((options.exchangeType ?? this.#config.taskDefaultExchangeType) === 'direct')
      return { to: { exchange: '', routingKey: name }, queue: name, priority }
    return { to: { exchange: this.#exchangeOf(options), routingKey: routingKey ?? this.#routingKeyOf(options) }, queue: name, priority }
  }

  get hasLimits(): boolean {
    return this.#limits.size > 0
  }

  /** The limits of what is taken from a queue; undefined where there are none, as mostly. */
  limitsOf(queue: string): LimitOptions | undefined {
    return this.#limits.get(queue)
  }

  /** The queues that a worker consumes when it is not told which: those of `taskQueues`, or the default queue. */
  defaultQueues(): string[] {
    return this.#queues.size > 0 ? [...this.#queues.keys()] : [this.#config.taskDefaultQueue]
  }

  /** The queues of `taskQueues` that get what is sent to an exchange, for senders that name only that. */
  queuesAt(exchange: string): string[] {
    const isAt = (queue: QueueOption): boolean =>
      this.#exchangeOf(queue) === exchange || queue.bindings?.some((binding) => binding.exchange === exchange) === true
    return [...this.#queues.values()].filter(isAt).map((queue) => queue.name)
  }

  /** What must exist so that messages reach the queue: the queue, its exchange, the binding between them. */
  topology(name: string): Topology {
    // Only the worker whose it is declares it: whoever sends there (a retry) has it from a message.
    if (name.startsWith(ownQueuePrefix)) return { exchanges: [], queues: [] }
    const options = this.queueOptions(name)
    if (options.broadcast === true) return { exchanges: [this.#broadcastExchange(options)], queues: [] }
    const exchange: Exchange = {
      name: this.#exchangeOf(options),
      type: options.exchangeType ?? this.#config.taskDefaultExchangeType,
      durable: true,
      autoDelete: false,
    }
    const bindings = (options.bindings ?? [{ arguments: options.bindingArguments }]).map((binding) => ({
      exchange: binding.exchange ?? exchange.name,
      routingKey: binding.routingKey ?? this.#routingKeyOf(options),
      ...(binding.arguments === undefined ? {} : { arguments: binding.arguments }),
    }))
    const others = new Set(bindings.map((binding) => binding.exchange).filter((other) => other !== exchange.name))
    const queue: Queue = {
      name,
      durable: options.durable ?? true,
      exclusive: options.exclusive ?? false,
      autoDelete: options.autoDelete ?? false,
      arguments: this.#argumentsOf(options),
      bindings,
    }
    return { exchanges: [exchange, ...[...others].map((other) => ({ ...exchange, name: other }))], queues: [queue] }
  }

  /** The same for a worker that takes from it: of a broadcast, a queue of its own (with Celery's kind of name), new with each call. */
  workerTopology(name: string): Topology {
    const options = this.queueOptions(name)
    if (options.broadcast !== true) return this.topology(name)
    const exchange = this.#broadcastExchange(options)
    const queue: Queue = {
      name: `${ownQueuePrefix}${randomUUID()}`,
      durable: true,
      exclusive: false,
      autoDelete: true,
      arguments: options.arguments ?? {},
      bindings: [{ exchange: exchange.name, routingKey: this.#broadcastKeyOf(options) }],
    }
    return { exchanges: [exchange], queues: [queue] }
  }

  #broadcastExchange(options: QueueOption): Exchange {
    return { name: this.#exchangeOf(options), type: 'fanout', durable: true, autoDelete: false }
  }

  /** Of no use to a fan-out, but part of the channel's name on Redis: Celery fills in the default one. */
  #broadcastKeyOf({ routingKey }: QueueOption): string {
    return routingKey ?? this.#config.taskDefaultRoutingKey ?? this.#config.taskDefaultQueue
  }

  /** Throws QueueNotFoundError for a queue that is not configured, unless missing queues are created. */
  queueOptions(name: string): QueueOption {
    const options = this.#queues.get(name)
    if (options !== undefined) return options
    checkName('queue', name)
    const { taskCreateMissingQueues, taskDefaultQueue, taskDefaultQueueType, taskCreateMissingQueueType } = this.#config
    if (!taskCreateMissingQueues && name !== taskDefaultQueue) throw new QueueNotFoundError(name)
    // As Celery: the type of the default queue is asked for only where no queues are described.
    const type = name === taskDefaultQueue && this.#queues.size === 0 ? taskDefaultQueueType : taskCreateMissingQueueType
    return type === 'classic' ? { name } : { name, arguments: { 'x-queue-type': type } }
  }

  #argumentsOf({ arguments: given = {} }: QueueOption): Readonly<Record<string, unknown>> {
    const { taskQueueMaxPriority } = this.#config
    return taskQueueMaxPriority === null ? given : { 'x-max-priority': taskQueueMaxPriority, ...given }
  }

  /** `taskDefaultExchange` and `taskDefaultRoutingKey` are those of the default queue; every other queue is reached by its own name. */
  #exchangeOf({ name, exchange }: QueueOption): string {
    return exchange ?? (name === this.#config.taskDefaultQueue ? this.#config.taskDefaultExchange : null) ?? name
  }

  #routingKeyOf({ name, routingKey }: QueueOption): string {
    return routingKey ?? (name === this.#config.taskDefaultQueue ? this.#config.taskDefaultRoutingKey : null) ?? name
  }

  #match(request: RouteRequest): Route | undefined {
    for (const router of this.#routers) {
      const found = router(request)
      if (found !== undefined) return found
    }
    return undefined
  }
}

type CompiledRouter = (request: RouteRequest) => Route | undefined

/** An exact name is looked up first; then the patterns, in order. */
function compile(router: Router): CompiledRouter {
  if (typeof router === 'function') {
    return ({ task, args, kwargs, ...options }) => {
      const found = router(task, args, kwargs, options)
      return found === undefined || found === null ? undefined : route(found, `taskRoutes(${task})`)
    }
  }
  const exact = new Map<string, Route>()
  const patterns: (readonly [(task: string) => boolean, Route])[] = []
  for (const [pattern, to] of router) {
    if (pattern instanceof RegExp) patterns.push([(task) => task.search(pattern) >= 0, to])
    else if (pattern.includes('*')) patterns.push([glob(pattern), to])
    else if (!exact.has(pattern)) exact.set(pattern, to)
  }
  return ({ task }) => exact.get(task) ?? patterns.find(([matches]) => matches(task))?.[1]
}

/** A shell glob anchored at both ends: `*` is any text, `?` one character (Python's fnmatch, without its sets). */
function glob(pattern: string): (task: string) => boolean {
  const source = Array.from(pattern, (char) => (char === '*' ? '.*' : char === '?' ? '.' : char.replace(/[\\^$.|+()[\]{}]/, '\\$&'))).join(
    '',
  )
  const expression = new RegExp(`^${source}$`, 's')
  return (task) => expression.test(task)
}
