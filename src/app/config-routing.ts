/** The values of `taskRoutes`, `taskQueues` and `taskPublishRetryPolicy`: what a user may write, and the one shape that the code works with. */
import { OptionInvalidError } from '../errors.js'
import type { Duration } from '../internal/duration.js'
import { bool, fields, isRecord, jsonFromText, type Kind, kind, oneOf, seconds, wholeNumber } from '../internal/option-kinds.js'
import type { ExchangeType } from '../protocol/topology.js'
import { name } from './config-kinds.js'
import { type ConcurrencyOption, concurrency, type RateLimitOption, rateLimit } from './limit-options.js'

/** Where a task's message goes. What a call gives itself wins over its route. */
export interface Route {
  readonly queue?: string
  readonly exchange?: string
  readonly routingKey?: string
  readonly priority?: number
}

/** Names a task's route, or gives null or undefined to let the next router decide. A text is the name of a queue. */
export type RouteFunction = (
  task: string,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
  options: Readonly<Record<string, unknown>>,
) => Route | string | null | undefined

/** Names, globs (`mail.*`) or regular expressions, in order: an exact name is looked for first, then the first pattern that matches wins. */
export type RouteMap = readonly (readonly [pattern: string | RegExp, route: Route])[]
/** Routers are asked in order; the first that knows a route wins. */
export type Router = RouteMap | RouteFunction

type RouteInput = Route | string
type RouteRecord = Readonly<Record<string, RouteInput>>
type RoutePair = readonly [pattern: string | RegExp, route: RouteInput]
/** A record of names and globs, a function, pairs (for regular expressions), or a list of all these. */
export type RoutesInput = RouteRecord | RouteFunction | readonly (RouteRecord | RouteFunction | RoutePair)[]

export const routes: Kind<RoutesInput, readonly Router[]> = kind<RoutesInput, readonly Router[]>(
  'an object of task names and routes, a function, pairs of a pattern and a route, or a list of these',
  (value, option) => {
    if (!Array.isArray(value)) return isRecord(value) || isRouteFunction(value) ? [router(value, option)] : undefined
    const routers: Router[] = []
    for (const [index, item] of value.entries()) routers.push(router(item, `${option}[${index}]`))
    return joinPairs(routers, value)
  },
  { readText: jsonFromText, show: (routers) => (routers.length === 0 ? 'none' : routers.map(showRouter).join('; ')) },
)

function router(value: unknown, option: string): Router {
  if (isRouteFunction(value)) return value
  if (isPair(value)) return [[value[0], route(value[1], `${option}[1]`)]]
  if (isRecord(value))
    return Object.entries(value).map(([pattern, to]) => [pattern, route(to, `${option}[${JSON.stringify(pattern)}]`)] as const)
  throw new OptionInvalidError(option, 'an object of task names and routes, a function, or a pair of a pattern and a route', value)
}

/** Pairs that follow each other are one map, so that an exact name wins over a pattern that stands before it. */
function joinPairs(routers: readonly Router[], given: readonly unknown[]): readonly Router[] {
  const joined: Router[] = []
  for (const [index, next] of routers.entries()) {
    const before = joined.at(-1)
    if (typeof next === 'object' && typeof before === 'object' && isPair(given[index]) && isPair(given[index - 1]))
      joined[joined.length - 1] = [...before, ...next]
    else joined.push(next)
  }
  return joined
}

function isRouteFunction(value: unknown): value is RouteFunction {
  return typeof value === 'function'
}

function isPair(value: unknown): value is readonly [string | RegExp, unknown] {
  return Array.isArray(value) && value.length === 2 && (typeof value[0] === 'string' || value[0] instanceof RegExp)
}

const priority = wholeNumber(0, 255)

/** A route as data: checked, a text turned into `{ queue }`. Throws OptionInvalidError or OptionUnknownError. */
export function route(value: unknown, option: string): Route {
  if (typeof value === 'string') return { queue: name.parse(value, option) }
  return fields(value, option, 'a queue name or an object with queue, exchange, routingKey or priority', {
    queue: name,
    exchange: name,
    routingKey: name,
    priority,
  })
}

function showRouter(value: Router): string {
  if (typeof value === 'function') return `function ${value.name || '(anonymous)'}`
  return value
    .map(
      ([pattern, to]) =>
        `${pattern} → ${Object.entries(to)
          .map(([key, part]) => `${key} ${part}`)
          .join(', ')}`,
    )
    .join('; ')
}

/** A queue as a user describes it. What is left out follows `taskDefaultExchange` and the queue's own name. */
export interface QueueOption {
  readonly name: string
  /**
   * Every worker that takes from it gets a copy of each message (kombu's `Broadcast`): its exchange is a fan-out, and each worker has a queue of its own on it, for as
   * long as it is up. A message that is sent while no worker listens is gone.
   */
  readonly broadcast?: boolean
  readonly exchange?: string
  readonly exchangeType?: ExchangeType
  readonly routingKey?: string
  readonly durable?: boolean
  readonly exclusive?: boolean
  readonly autoDelete?: boolean
  /** RabbitMQ's names: `x-max-priority`, `x-queue-type`. */
  readonly arguments?: Readonly<Record<string, unknown>>
  /** Of the binding to its exchange: what messages of a headers exchange must have. */
  readonly bindingArguments?: Readonly<Record<string, unknown>>
  /** So many starts of tasks from it in a time, and so many at the same time; as the options of tasks. */
  readonly rateLimit?: RateLimitOption
  readonly concurrency?: ConcurrencyOption
  /** Instead of the one binding to its exchange: several, each to that exchange where it names none. */
  readonly bindings?: readonly QueueBinding[]
}

/** An exchange that a binding names is declared with the type of the queue's own. */
export interface QueueBinding {
  readonly exchange?: string
  readonly routingKey?: string
  readonly arguments?: Readonly<Record<string, unknown>>
}

/** Names with or without a description, or a list of both. */
export type QueuesInput = readonly (string | QueueOption)[] | Readonly<Record<string, Omit<QueueOption, 'name'>>>

export const exchangeType: Kind<ExchangeType, ExchangeType> = oneOf('direct', 'topic', 'fanout', 'headers')

/** A fan-out or headers exchange has no use for one. */
const anyKey = kind<string, string>('text', (value) => (typeof value === 'string' ? value : undefined))
const anyRecord = kind<Readonly<Record<string, unknown>>, Readonly<Record<string, unknown>>>('an object', (value) =>
  isRecord(value) ? value : undefined,
)
const bindingWords = 'a list of objects with exchange, routingKey or arguments'
const bindings = kind<readonly QueueBinding[], readonly QueueBinding[]>(bindingWords, (value, option) =>
  Array.isArray(value) && value.length > 0
    ? value.map((item, index) =>
        fields(item, `${option}[${index}]`, bindingWords, { exchange: name, routingKey: anyKey, arguments: anyRecord }),
      )
    : undefined,
)
const queueFields = {
  name,
  broadcast: bool,
  exchange: name,
  exchangeType,
  routingKey: name,
  durable: bool,
  exclusive: bool,
  autoDelete: bool,
  arguments: anyRecord,
  bindingArguments: anyRecord,
  bindings,
  rateLimit,
  concurrency,
}

export const queues: Kind<QueuesInput, readonly QueueOption[]> = kind<QueuesInput, readonly QueueOption[]>(
  'a list of queue names or descriptions, or an object of them by name',
  (value, option) => {
    const list = Array.isArray(value)
      ? value.map((item, index) => queue(item, `${option}[${index}]`))
      : isRecord(value)
        ? Object.entries(value).map(([queueName, item]) =>
            queue(isRecord(item) ? { ...item, name: queueName } : item, `${option}.${queueName}`),
          )
        : undefined
    const twice = list?.find((item, index) => list.findIndex((other) => other.name === item.name) !== index)
    if (twice !== undefined) throw new OptionInvalidError(option, 'a list that names each queue once', twice.name)
    return list
  },
  {
    readText: (given) => (/^\s*[[{]/.test(given) ? jsonFromText(given) : given.split(',').map((item) => item.trim())),
    show: (list) => list.map((item) => item.name).join(', '),
  },
)

/** What a broadcast decides itself. */
const ofQueuesOfTheirOwn = ['exchangeType', 'durable', 'exclusive', 'autoDelete', 'bindings', 'bindingArguments'] as const

function queue(value: unknown, option: string): QueueOption {
  if (typeof value === 'string') return { name: name.parse(value, option) }
  const described = fields(value, option, 'a queue name or an object that describes a queue', queueFields)
  if (described.broadcast === true) {
    const other = ofQueuesOfTheirOwn.find((field) => described[field] !== undefined)
    if (other !== undefined) throw new OptionInvalidError(`${option}.${other}`, 'left out for a broadcast', described[other])
  }
  if (described.bindings !== undefined && described.bindingArguments !== undefined)
    throw new OptionInvalidError(
      `${option}.bindingArguments`,
      'left out beside bindings, which have arguments of their own',
      described.bindingArguments,
    )
  return { ...described, name: name.parse(described.name, `${option}.name`) }
}

/** How often and how fast a publish that failed is tried again; times are seconds. */
export interface RetryPolicy {
  readonly maxRetries: number
  readonly intervalStart: number
  readonly intervalStep: number
  readonly intervalMax: number
}

/** What is left out has Celery's value. */
export interface RetryPolicyInput {
  readonly maxRetries?: number
  readonly intervalStart?: Duration
  readonly intervalStep?: Duration
  readonly intervalMax?: Duration
}

export const celeryRetryPolicy: RetryPolicy = { maxRetries: 3, intervalStart: 0, intervalStep: 0.2, intervalMax: 1 }

export const retryPolicy = kind<RetryPolicyInput, RetryPolicy>(
  'an object with maxRetries, intervalStart, intervalStep or intervalMax',
  (value, option) => ({
    ...celeryRetryPolicy,
    ...fields(value, option, 'an object with maxRetries, intervalStart, intervalStep or intervalMax', {
      maxRetries: wholeNumber(0),
      intervalStart: seconds,
      intervalStep: seconds,
      intervalMax: seconds,
    }),
  }),
  { readText: jsonFromText },
)
