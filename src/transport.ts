/**
 * Contract of a broker driver: how messages are published, claimed, kept and given back.
 *
 * A delivery is in one of these states, and only its transport moves it:
 *
 *   waiting ──claim──▶ leased ──ack──▶ gone
 *      ▲                 │ ├──reject──▶ dead letters
 *      │                 │ └──defer(until)──▶ waiting, not before `until`
 *      ├──release────────┤      (uncounted: shutdown, prefetch)
 *      └──lease lost─────┘      (counted; over the limit: dead letters)
 */
import type { Examination } from './internal/examination.js'
import type { Message } from './protocol/message.js'
import type { PlacedEnd } from './protocol/result.js'
import type { Destination, ExchangeType, Topology } from './protocol/topology.js'

export interface Transport {
  /** The driver's name in logs, stats and events: `sqlite`. */
  readonly name: string
  readonly supports: TransportSupports
  /** Opens a connection, or throws ConnectionError. */
  connect(options: ConnectOptions): Promise<Connection>
}

export interface ConnectOptions {
  readonly signal: AbortSignal
  /** For how long, in ms, this event loop may be blocked: where a broker wants signs of life, it is asked to wait so long for them. Default 0. */
  readonly blocksUpToMs?: number
}

/** What a driver can do. docs/guarantees and the conformance suite are made from it. */
export interface TransportSupports {
  readonly exchangeTypes: readonly ExchangeType[]
  /** Which number is served first, if any. */
  readonly priority: 'higher-first' | 'lower-first' | 'none'
  /** The broker itself keeps a message until `notBefore`: workers do not hold it. */
  readonly nativeDelay: boolean
  /** Messages outlive the process that published them. */
  readonly persistent: boolean
  /** More than one process can connect. */
  readonly shared: boolean
  /** Since when the oldest message of a queue waits: told of all, of those whose task id has the time in it (ours), or of none. */
  readonly queueAge: 'all' | 'ours' | 'none'
}

export interface PublishOptions {
  /** For the whole operation, on the monotonic clock: after it, `PublishUncertainError` or `NotPublishedError`. */
  readonly deadlineMs: number
  /** Wall clock, ms: the message is not delivered before. A transport without native delay ignores it and the worker defers. */
  readonly notBefore?: number
  /** All must be passed, or nothing is published: FencedError. Only where the connection has `raiseFences`. */
  readonly fences?: readonly Fence[]
}

/**
 * A number that only rises, kept by the broker under its key for 30 days after it was last used. Who publishes behind a fence must bring a higher number than any
 * before, so that of all processes that try to do one thing, one does it; `again` lets the same number pass, too.
 */
export interface Fence {
  readonly key: string
  readonly order: number
  readonly again?: boolean
}

export interface Connection {
  /** Creates what is missing. Safe to repeat; an existing queue with other arguments is an error that names both. */
  declare(topology: Topology): Promise<void>
  /**
   * Settles when the broker has the message. Calls of one tick share one round trip.
   * NotPublishedError when there is no such exchange, or when the default or a direct exchange finds no queue; on others such a message goes nowhere.
   */
  publish(message: Message, to: Destination, options: PublishOptions): Promise<void>
  /** Passes fences without a message; FencedError when one holds. Missing where the broker keeps none. */
  raiseFences?(fences: readonly Fence[]): Promise<void>
  /** QueueMissingError when one of the queues was not declared. */
  consume(options: ConsumeOptions): Promise<Consumer>
  /** Messages that wait in the queue (not the leased ones); with `due`, without those whose time has not come. */
  size(queue: string, options?: { readonly due?: boolean }): Promise<number>
  /** Removes the waiting messages; how many they were. */
  purge(queue: string): Promise<number>
  /** Where the message of a task is; 'unknown' from a broker that cannot look. */
  locate(taskId: string): Promise<'waiting' | 'leased' | 'absent' | 'unknown'>
  /** The database that it lives in: ends of tasks that a backend keeps in the same one may come with their acks (`Delivery.ackWith`). */
  readonly place?: string | undefined
  readonly deadLetters: DeadLetters
  /** What operators see and change of single queues. */
  readonly queues: Queues
  /** Asks the server what it is like, for `celeriac doctor`. Throws ConnectionError. */
  examine(): Promise<Examination>
  readonly counters: ConnectionCounters
  /** Whether the broker answers at this moment: a connection may outlive the links that it is made of, and be deaf meanwhile. */
  readonly isAnswering: boolean
  /** Settles once: with the reason when the connection is lost, with undefined after `close()`. */
  readonly closed: Promise<Error | undefined>
  /** Unsettled deliveries go back, uncounted. Pending publishes and settlements are written first. Safe twice. */
  close(): Promise<void>
}

/** What this connection saw and nobody was told of otherwise; for metrics. They only rise. */
export interface ConnectionCounters {
  /** Acks, releases, rejects and defers that came after their lease was lost: they changed nothing. */
  readonly lateSettlements: number
  /** Dead letters that this connection dropped because there were too many. */
  readonly deadLettersDropped: number
}

export interface ConsumeOptions {
  readonly queues: readonly string[]
  /** Unsettled deliveries at most. */
  readonly prefetch: number
  /** Called with 1 to `prefetch` deliveries. Must not throw. */
  readonly onDeliveries: (deliveries: readonly Delivery[]) => void
  /** For how long, in ms, what is delivered may block this event loop: its leases are kept meanwhile. Default 0: it runs elsewhere. */
  readonly blocksUpToMs?: number
  /** Told of a message that is none (its headers are damaged): the driver itself puts it into the dead letters. Must not throw. */
  readonly onRefused?: (queue: string, reason: string) => void
}

export interface Consumer {
  addQueue(queue: string): Promise<void>
  cancelQueue(queue: string): Promise<void>
  /** How many unsettled deliveries may be out; fewer than are out now only stops new ones. */
  setPrefetch(count: number): void
  /** No delivery comes after it settles. Those that are out stay valid until they are settled. Safe twice. */
  cancel(): Promise<void>
}

/** One message, leased to this consumer. The first settling call (ack, release, reject, defer) counts, later ones do nothing. */
export interface Delivery {
  readonly message: Message
  readonly queue: string
  readonly exchange: string
  readonly routingKey: string
  readonly redelivered: boolean
  /** How often a run of it ended abnormally before (its worker or lease was lost). */
  readonly deliveries: number
  /** The lease is gone: drop the ack and the result, another worker has the message. Whoever runs it asks now and then, and before it settles. */
  readonly isLost: boolean
  /** Done: remove the message. Coalesced with other settlements; an error surfaces as the connection's end. */
  ack(): void
  /**
   * Stores the end of its task as `ResultBackend.store` would, and acks if it was written, at once. It counts as settled until `ended` is called, and after `true`.
   * False: the task had ended already. Undefined: neither was done as far as is known, and both are to be done one by one. A function and no promise: each
   * task pays for it. `ended` must not throw.
   */
  ackWith?(end: PlacedEnd, ended: AckEnded): void
  /** Back to its place in the queue. Uncounted by default; `{ counted: true }` when a run of it ended abnormally (its child was lost). */
  release(options?: { readonly counted?: boolean }): void
  /** To the dead letters, with the original bytes. */
  reject(reason: string): void
  /** Back until `untilMs` (wall clock). The prefetch slot is free at once, and the message's bytes leave the worker's memory where the broker can keep them. */
  defer(untilMs: number): void
}

/** What came of `Delivery.ackWith`. */
export type AckEnded = (stored: boolean | undefined) => void

export interface DeadLetter {
  /** Names the dead letter in this broker. */
  readonly id: string
  readonly queue: string
  readonly reason: string
  /** When it was put here, ms since the epoch. */
  readonly diedAtMs: number
  readonly deliveries: number
  /** With the original bytes. */
  readonly message: Message
}

/** What can be done with a dead letter that is shown. */
export interface DeadLetterActions {
  /** As `replay` and `drop` of its id. */
  replay(): Promise<boolean>
  drop(): Promise<boolean>
}

/** Messages that could not be run, kept until somebody decides: bounded, the oldest go first. */
export interface DeadLetters {
  /** The oldest first; `limit` is 100 by default. */
  list(options?: { readonly queue?: string; readonly limit?: number }): Promise<readonly DeadLetter[]>
  /** Shows one after the other, the oldest first, and holds few of them in memory at a time. False ends it. What dies meanwhile may be missed. */
  visit(see: (letter: DeadLetter, actions: DeadLetterActions) => boolean | Promise<boolean>): Promise<void>
  /** Back to the queue it came from, with its delivery count at 0. False: there is no such dead letter. QueueMissingError: the queue is gone. */
  replay(id: string): Promise<boolean>
  drop(id: string): Promise<boolean>
  count(): Promise<number>
}

/** A queue as its broker sees it; undefined is what this broker cannot tell. */
export interface QueueFacts {
  /** Those that may be taken now. */
  readonly waiting: number
  /** Those that wait for their time. */
  readonly delayed: number | undefined
  /** Those in the hands of workers. */
  readonly leased: number | undefined
  /** Connections that take from it. */
  readonly consumers: number | undefined
  /** Since when the oldest is there, or was sent for the first time: wall clock, ms; see `supports.queueAge`. Undefined also when none waits. */
  readonly oldestAtMs: number | undefined
}

/** Single queues. One that is not there is empty. */
export interface Queues {
  facts(queue: string): Promise<QueueFacts>
  /** As in the facts, and cheap enough to be asked now and then for each queue. */
  oldestAtMs(queue: string): Promise<number | undefined>
  /** What was noted of those of these queues that are paused, by queue. */
  paused(queues: readonly string[]): Promise<ReadonlyMap<string, string>>
  /** Workers are to leave the queue alone; the broker only remembers it. Safe to repeat: the last note counts. */
  pause(queue: string, note: string): Promise<void>
  /** False: it was not paused. */
  resume(queue: string): Promise<boolean>
  /** Messages that wait for their time may be taken at once, by whoever is there first; how many they were. Undefined: this broker cannot. */
  hurry(queue: string): Promise<number | undefined>
}
