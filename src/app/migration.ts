/**
 * Messages from one broker to another: taken at the source, published at the destination, and acknowledged at the source when the destination has them. What is
 * under way at a crash is at the source still, and may be at both: nothing is lost.
 */
import { CeleriacError, ConnectionError } from '../errors.js'
import type { Clock } from '../internal/clock.js'
import { Deferred } from '../internal/deferred.js'
import type { Message } from '../protocol/message.js'
import { isProtocol2, TaskHead } from '../protocol/task-head.js'
import type { Topology } from '../protocol/topology.js'
import type { Connection, Consumer, Delivery, TransportSupports } from '../transport.js'

export interface MigrationOptions {
  readonly source: Connection
  readonly destination: Connection
  /** Which number is served first, at each. */
  readonly priorities: { readonly source: TransportSupports['priority']; readonly destination: TransportSupports['priority'] }
  /** Names at the source, and what they are at the destination. */
  readonly queues: ReadonlyMap<string, string>
  /** What must be there for a queue, at either. */
  readonly topology: (queue: string) => Topology
  /** Only these tasks; the others stay. Default: all. */
  readonly tasks?: ReadonlySet<string> | undefined
  /** So many at most. */
  readonly limit: number
  /** Ends when nothing has come for so long; undefined: never. */
  readonly idleMs: number | undefined
  /** They are taken from the source. Without, they are copied, and no more of them than `mostHeld`. */
  readonly acknowledges: boolean
  readonly publishTimeoutMs: number
  readonly clock: Clock
  readonly signal: AbortSignal
  /** After each that was moved. */
  readonly onMoved: () => void
}

export interface Migrated {
  /** Those that the destination has confirmed, by queue of the source. */
  readonly moved: ReadonlyMap<string, number>
  /** Those that were seen and stay, because they are of other tasks. */
  readonly skipped: number
  /** There may be more: what stays at the source had to be held, and no more of it could be. */
  readonly isFull: boolean
}

/** What stays at the source is held until the end, or it would come again. */
export const mostHeld = 10_000
const underWay = 100

/** Rejects with what the destination said when it did not take a message; that one stays at the source. */
export async function migrate(options: MigrationOptions): Promise<Migrated> {
  const { source, destination, queues, topology } = options
  for (const [from, to] of queues) {
    await source.declare(topology(from))
    await destination.declare(topology(to))
    // Whoever takes one before its time at the destination lets it wait anew.
    await source.queues.hurry(from)
  }
  return new Migration(options).run()
}

class Migration {
  readonly #options: MigrationOptions
  readonly #ended = new Deferred<void>()
  readonly #moved = new Map<string, number>()
  readonly #kept: Delivery[] = []
  /** Queues in which priorities are in use. */
  readonly #ranked = new Set<string>()
  #consumer: Consumer | undefined
  #idle: { cancel(): void } | undefined
  #taken = 0
  #publishing = 0
  #skipped = 0
  #isFull = false
  #isOver = false
  #failure: unknown

  constructor(options: MigrationOptions) {
    this.#options = options
  }

  async run(): Promise<Migrated> {
    const { source, queues, signal, acknowledges, tasks } = this.#options
    if (signal.aborted || this.#options.limit === 0) return this.#result()
    signal.addEventListener('abort', this.#end, { once: true })
    void source.closed.then((reason) => this.#fail(reason ?? new ConnectionError('the connection to the source is closed')))
    try {
      this.#consumer = await source.consume({
        queues: [...queues.keys()],
        prefetch: acknowledges && tasks === undefined ? underWay : mostHeld,
        onDeliveries: (deliveries) => {
          for (const delivery of deliveries) this.#take(delivery)
        },
      })
      if (this.#taken === 0 && !this.#isOver) this.#rest()
      await this.#ended.promise
      if (this.#kept.length > 0 && !this.#isFull) this.#isFull = await this.#hasMore()
    } finally {
      this.#idle?.cancel()
      signal.removeEventListener('abort', this.#end)
      await this.#consumer?.cancel()
      for (const delivery of this.#kept) delivery.release()
    }
    if (this.#failure !== undefined) throw this.#failure
    return this.#result()
  }

  #take(delivery: Delivery): void {
    const { limit, tasks } = this.#options
    if (this.#isOver || this.#taken >= limit) return delivery.release()
    this.#rest()
    const { task } = delivery.message.headers
    if (tasks !== undefined && !(typeof task === 'string' && tasks.has(task))) {
      this.#skipped++
      return this.#keep(delivery)
    }
    this.#taken++
    this.#publishing++
    this.#move(delivery)
      .catch((error: unknown) => {
        delivery.release()
        this.#fail(error)
      })
      .finally(() => {
        this.#publishing--
        if (this.#publishing === 0 && (this.#isOver || this.#taken >= limit)) this.#end()
      })
  }

  async #move(delivery: Delivery): Promise<void> {
    const { destination, queues, publishTimeoutMs, clock, acknowledges, onMoved } = this.#options
    const { message, queue } = delivery
    const etaMs = etaOf(message)
    await destination.publish(
      this.#translated(message, queue),
      { exchange: '', routingKey: queues.get(queue) ?? queue },
      { deadlineMs: publishTimeoutMs, ...(etaMs !== undefined && etaMs > clock.now() ? { notBefore: etaMs } : {}) },
    )
    if (acknowledges) delivery.ack()
    else this.#keep(delivery)
    this.#moved.set(queue, (this.#moved.get(queue) ?? 0) + 1)
    onMoved()
  }

  #keep(delivery: Delivery): void {
    this.#kept.push(delivery)
    if (this.#kept.length < mostHeld) return
    this.#isFull = true
    this.#end()
  }

  /** A broker gives out no more than so many bytes to one who settles none. */
  async #hasMore(): Promise<boolean> {
    const { source, queues, limit, signal } = this.#options
    if (this.#taken >= limit || signal.aborted || this.#failure !== undefined) return false
    for (const queue of queues.keys()) if ((await source.size(queue)) > 0) return true
    return false
  }

  /** In the order in which the source would have served it: see docs/guide/operations. */
  #translated(message: Message, queue: string): Message {
    const { priorities } = this.#options
    const { priority } = message.properties
    if (priority !== undefined && priority > 0) this.#ranked.add(queue)
    if (priorities.source === priorities.destination || priorities.source === 'none' || priorities.destination === 'none') return message
    // Higher first, none has a rank as long as nothing with one has come before it. Lower first, none is the first of all.
    if (priority === undefined && priorities.source === 'higher-first' && !this.#ranked.has(queue)) return message
    return { ...message, properties: { ...message.properties, priority: highest - Math.max(0, Math.min(highest, priority ?? 0)) } }
  }

  /** The time begins anew in which nothing comes. */
  #rest(): void {
    const { idleMs, clock } = this.#options
    this.#idle?.cancel()
    if (idleMs !== undefined)
      this.#idle = clock.setTimer(idleMs, () => (this.#publishing > 0 ? this.#rest() : this.#end()), { keepAlive: true })
  }

  readonly #end = (): void => {
    this.#isOver = true
    // What is under way is waited for: each has its deadline.
    if (this.#publishing === 0) this.#ended.resolve()
  }

  #fail(error: unknown): void {
    this.#failure ??= error
    this.#end()
  }

  #result(): Migrated {
    return { moved: this.#moved, skipped: this.#skipped, isFull: this.#isFull }
  }
}

/** Of Celery's priorities on Redis: 0 to 9. */
const highest = 9

/** What is no task message, or a damaged one, goes as it is. */
function etaOf(message: Message): number | undefined {
  try {
    return isProtocol2(message) ? (new TaskHead(message).etaMs ?? undefined) : undefined
  } catch (error) {
    if (error instanceof CeleriacError) return undefined
    throw error
  }
}
