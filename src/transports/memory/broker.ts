/** The memory broker: exchanges, queues, delayed messages and dead letters, without any I/O. Time comes from its clock alone. */
import { DeclarationMismatchError, NotPublishedError, QueueMissingError, show } from '../../errors.js'
import type { Clock, Timer } from '../../internal/clock.js'
import { EtaHeap } from '../../internal/eta-heap.js'
import type { Message } from '../../protocol/message.js'
import { decodeHead, encodeHead, taskIdOf } from '../../protocol/message-head.js'
import {
  checkTopology,
  effectivePriority,
  exchangeDefinition,
  messageExpiryMs,
  mustRoute,
  queueDefinition,
  queueLimits,
  routes,
} from '../../protocol/routing.js'
import type { Destination, ExchangeType, Queue, Topology } from '../../protocol/topology.js'
import type { DeadLetter, DeadLetterActions, DeadLetters, Fence } from '../../transport.js'
import { MemoryFences } from './fences.js'
import { MemoryQueue, type StoredMessage } from './queue.js'
import { MemoryQueues } from './queues.js'

interface MemoryExchange {
  readonly type: ExchangeType
  readonly definition: string
  readonly autoDelete: boolean
  readonly bindings: Map<string, { readonly routingKey: string; readonly queue: string }>
}

interface Grave {
  readonly letter: DeadLetter
  readonly stored: StoredMessage
}

/** Whoever takes messages: told when there may be some. */
export interface Taker {
  wake(): void
}

const deadLetterLimit = 10_000

export class MemoryBroker implements DeadLetters {
  readonly clock: Clock
  readonly fences = new MemoryFences()
  readonly queues = new MemoryQueues(this)
  readonly #deliveryLimit: number
  readonly #exchanges = new Map<string, MemoryExchange>()
  readonly #queues = new Map<string, MemoryQueue>()
  readonly #delayed = new EtaHeap<StoredMessage>()
  readonly #graves = new Map<string, Grave>()
  /** By task id, for `locate`. */
  readonly #messages = new Map<string, Set<StoredMessage>>()
  readonly #takers = new Set<Taker>()
  #nextId = 1
  #dueTimer: { readonly atMs: number; readonly timer: Timer } | undefined
  #wakeQueued = false
  deadLettersDropped = 0

  constructor(clock: Clock, { deliveryLimit }: { readonly deliveryLimit: number }) {
    this.clock = clock
    this.#deliveryLimit = deliveryLimit
  }

  declare(topology: Topology, owner: object): void {
    checkTopology(topology)
    for (const exchange of topology.exchanges) {
      const declared = exchangeDefinition(exchange)
      const existing = this.#exchanges.get(exchange.name)
      if (existing === undefined) {
        this.#exchanges.set(exchange.name, {
          type: exchange.type,
          definition: declared,
          autoDelete: exchange.autoDelete,
          bindings: new Map(),
        })
      } else if (existing.definition !== declared)
        throw new DeclarationMismatchError('exchange', exchange.name, existing.definition, declared)
    }
    for (const queue of topology.queues) this.#declareQueue(queue, owner)
  }

  /** The queue, if this connection may consume it. */
  queueFor(name: string, owner: object): MemoryQueue {
    const queue = this.#queues.get(name)
    if (queue === undefined || (queue.owner !== undefined && queue.owner !== owner)) throw new QueueMissingError(name)
    return queue
  }

  publish(message: Message, to: Destination, notBeforeMs: number | undefined, fences: readonly Fence[] = []): void {
    const head = encodeHead(message, to)
    const body = typeof message.body === 'string' ? message.body : message.body.slice()
    const nowMs = this.clock.now()
    const names = this.#route(to)
    for (const name of names) this.#queues.get(name)?.refuseOverflow(body)
    this.fences.pass(fences)
    for (const name of names) {
      const queue = this.#queues.get(name)
      if (queue === undefined) continue
      const isDelayed = notBeforeMs !== undefined && notBeforeMs > nowMs
      const atMs = isDelayed ? notBeforeMs : nowMs
      const stored: StoredMessage = {
        id: this.#nextId++,
        queue,
        priority: effectivePriority(message.properties.priority, queue.limits),
        atMs,
        expiresMs: messageExpiryMs(queue.limits, atMs),
        taskId: taskIdOf(message),
        head,
        body,
        deliveries: 0,
        redelivered: false,
        state: 'waiting',
      }
      this.#remember(stored)
      if (isDelayed) this.defer(stored, atMs)
      else this.#put(stored)
    }
  }

  /** Leases up to `count` messages; those whose time in the queue is over go away. */
  take(queue: MemoryQueue, count: number): StoredMessage[] {
    const nowMs = this.clock.now()
    this.#promoteDue(nowMs)
    const taken: StoredMessage[] = []
    while (taken.length < count) {
      const stored = queue.takeFirst()
      if (stored === undefined) break
      if (stored.expiresMs !== undefined && stored.expiresMs <= nowMs) this.done(stored)
      else {
        stored.state = 'leased'
        taken.push(stored)
      }
    }
    return taken
  }

  done(stored: StoredMessage): void {
    stored.state = 'gone'
    this.#forget(stored)
  }

  release(stored: StoredMessage, { counted }: { readonly counted: boolean }): void {
    stored.redelivered = true
    if (counted) stored.deliveries += 1
    if (counted && stored.deliveries >= this.#deliveryLimit) this.bury(stored, 'its runs ended abnormally too often')
    else this.#put(stored)
  }

  defer(stored: StoredMessage, untilMs: number): void {
    if (this.#isGone(stored)) return
    stored.state = 'delayed'
    this.#delayed.add(untilMs, stored)
    this.#armDueTimer()
  }

  bury(stored: StoredMessage, reason: string): void {
    this.done(stored)
    const id = String(stored.id)
    const letter = {
      id,
      queue: stored.queue.name,
      reason,
      diedAtMs: this.clock.now(),
      deliveries: stored.deliveries,
      message: decodeHead(stored.head, stored.body).message,
    }
    this.#graves.set(id, { letter, stored })
    if (this.#graves.size <= deadLetterLimit) return
    const [oldest] = this.#graves.keys()
    if (oldest !== undefined) this.#graves.delete(oldest)
    this.deadLettersDropped += 1
  }

  size(name: string, due: boolean): number {
    return (this.#queues.get(name)?.size ?? 0) + (due ? 0 : this.countOf(name, 'delayed'))
  }

  /** Messages of a queue in one state. */
  countOf(name: string, state: StoredMessage['state']): number {
    let count = 0
    for (const set of this.#messages.values())
      for (const stored of set) if (stored.state === state && stored.queue.name === name) count += 1
    return count
  }

  queue(name: string): MemoryQueue | undefined {
    return this.#queues.get(name)
  }

  /** What waits for its time waits no longer; how many that were. */
  hurry(name: string): number {
    const delayed = this.#delayed.remove((stored) => stored.queue.name === name)
    for (const stored of delayed) this.#put(stored)
    return delayed.length
  }

  purge(name: string): number {
    const removed = this.#queues.get(name)?.clear() ?? []
    const delayed = this.#delayed.remove((stored) => stored.queue.name === name)
    for (const stored of [...removed, ...delayed]) this.done(stored)
    return removed.length + delayed.length
  }

  locate(taskId: string): 'waiting' | 'leased' | 'absent' {
    const states = [...(this.#messages.get(taskId) ?? [])].map((stored) => stored.state)
    if (states.length === 0) return 'absent'
    return states.includes('leased') ? 'leased' : 'waiting'
  }

  addTaker(taker: Taker): void {
    this.#takers.add(taker)
    this.#armDueTimer()
  }

  removeTaker(taker: Taker): void {
    this.#takers.delete(taker)
    if (this.#takers.size === 0) this.#cancelDueTimer()
  }

  addConsumer(queue: MemoryQueue, consumer: object): void {
    queue.consumers.add(consumer)
  }

  removeConsumer(queue: MemoryQueue, consumer: object): void {
    if (!queue.consumers.delete(consumer) || queue.consumers.size > 0) return
    if (queue.autoDelete) this.#deleteQueue(queue)
    else this.#expireUnused(queue)
  }

  /** The exclusive queues of a connection go with it. */
  removeOwner(owner: object): void {
    for (const queue of [...this.#queues.values()]) if (queue.owner === owner) this.#deleteQueue(queue)
  }

  // ── dead letters ───────────────────────────────────────────────────────────

  async list({ queue, limit = 100 }: { readonly queue?: string; readonly limit?: number } = {}): Promise<readonly DeadLetter[]> {
    const letters = [...this.#graves.values()].map((grave) => grave.letter)
    return letters.filter((letter) => queue === undefined || letter.queue === queue).slice(0, limit)
  }

  async visit(see: (letter: DeadLetter, actions: DeadLetterActions) => boolean | Promise<boolean>): Promise<void> {
    for (const [id, { letter }] of [...this.#graves])
      if (this.#graves.has(id) && !(await see(letter, { replay: () => this.replay(id), drop: () => this.drop(id) }))) return
  }

  async replay(id: string): Promise<boolean> {
    const grave = this.#graves.get(id)
    if (grave === undefined) return false
    const queue = this.#queues.get(grave.letter.queue)
    if (queue === undefined) throw new QueueMissingError(grave.letter.queue)
    this.#graves.delete(id)
    const stored: StoredMessage = {
      ...grave.stored,
      id: this.#nextId++,
      queue,
      atMs: this.clock.now(),
      expiresMs: undefined,
      deliveries: 0,
      redelivered: true,
    }
    this.#remember(stored)
    this.#put(stored)
    return true
  }

  async drop(id: string): Promise<boolean> {
    return this.#graves.delete(id)
  }

  async count(): Promise<number> {
    return this.#graves.size
  }

  // ───────────────────────────────────────────────────────────────────────────

  #declareQueue(queue: Queue, owner: object): void {
    const declared = queueDefinition(queue)
    let existing = this.#queues.get(queue.name)
    if (existing !== undefined && (existing.definition !== declared || (existing.owner !== undefined && existing.owner !== owner))) {
      const ofAnother = existing.definition === declared ? ' of another connection' : ''
      throw new DeclarationMismatchError('queue', queue.name, `${existing.definition}${ofAnother}`, declared)
    }
    if (existing === undefined) {
      existing = new MemoryQueue({
        name: queue.name,
        definition: declared,
        limits: queueLimits(queue.arguments),
        autoDelete: queue.autoDelete,
        owner: queue.exclusive ? owner : undefined,
      })
      this.#queues.set(queue.name, existing)
      this.#expireUnused(existing)
    }
    for (const { exchange, routingKey } of queue.bindings) {
      this.#exchanges.get(exchange)?.bindings.set(JSON.stringify([queue.name, routingKey]), { routingKey, queue: queue.name })
    }
  }

  #route(to: Destination): Iterable<string> {
    if (to.exchange === '') {
      if (this.#queues.has(to.routingKey)) return [to.routingKey]
      throw new NotPublishedError(`there is no queue ${show(to.routingKey)}: declare it before publishing to it`)
    }
    const exchange = this.#exchanges.get(to.exchange)
    if (exchange === undefined) throw new NotPublishedError(`there is no exchange ${show(to.exchange)}: declare it before publishing to it`)
    const queues = new Set<string>()
    for (const binding of exchange.bindings.values())
      if (routes(exchange.type, binding.routingKey, to.routingKey)) queues.add(binding.queue)
    if (queues.size === 0 && mustRoute(to, exchange.type)) {
      throw new NotPublishedError(`no queue is bound to the exchange ${show(to.exchange)} with the routing key ${show(to.routingKey)}`)
    }
    return queues
  }

  #put(stored: StoredMessage): void {
    if (this.#isGone(stored)) return
    for (const dropped of stored.queue.put(stored)) this.done(dropped)
    this.#wakeTakers()
  }

  /** Its queue was deleted while it was leased or delayed. */
  #isGone(stored: StoredMessage): boolean {
    if (this.#queues.get(stored.queue.name) === stored.queue) return false
    this.done(stored)
    return true
  }

  #deleteQueue(queue: MemoryQueue): void {
    this.purge(queue.name)
    this.#queues.delete(queue.name)
    for (const [name, exchange] of this.#exchanges) {
      let unbound = 0
      for (const [key, binding] of exchange.bindings) if (binding.queue === queue.name && exchange.bindings.delete(key)) unbound += 1
      if (unbound > 0 && exchange.autoDelete && exchange.bindings.size === 0) this.#exchanges.delete(name)
    }
  }

  #expireUnused(queue: MemoryQueue): void {
    const { expiresMs } = queue.limits
    if (expiresMs === undefined) return
    const usedAtMs = this.clock.now()
    this.clock.setTimer(expiresMs, () => {
      const isUnused = queue.consumers.size === 0 && this.clock.now() - usedAtMs >= expiresMs
      if (isUnused && this.#queues.get(queue.name) === queue) this.#deleteQueue(queue)
    })
  }

  #armDueTimer(): void {
    const dueMs = this.#delayed.nextDueMs
    if (dueMs === undefined || this.#takers.size === 0) {
      this.#cancelDueTimer()
      return
    }
    if (this.#dueTimer !== undefined && this.#dueTimer.atMs <= dueMs) return
    this.#cancelDueTimer()
    const timer = this.clock.setTimer(Math.max(0, dueMs - this.clock.now()), () => {
      this.#dueTimer = undefined
      this.#promoteDue(this.clock.now())
      this.#armDueTimer()
    })
    this.#dueTimer = { atMs: dueMs, timer }
  }

  #promoteDue(nowMs: number): void {
    if ((this.#delayed.nextDueMs ?? Number.POSITIVE_INFINITY) > nowMs) return
    for (const stored of this.#delayed.takeDue(nowMs)) this.#put(stored)
  }

  #cancelDueTimer(): void {
    this.#dueTimer?.timer.cancel()
    this.#dueTimer = undefined
  }

  #wakeTakers(): void {
    if (this.#wakeQueued) return
    this.#wakeQueued = true
    // Once a tick, so that what is published in one tick is one batch.
    setImmediate(() => {
      this.#wakeQueued = false
      for (const taker of [...this.#takers]) {
        // The next wake begins with another one: no consumer starves the others.
        if (this.#takers.delete(taker)) this.#takers.add(taker)
        taker.wake()
      }
    })
  }

  #remember(stored: StoredMessage): void {
    const same = this.#messages.get(stored.taskId)
    if (same === undefined) this.#messages.set(stored.taskId, new Set([stored]))
    else same.add(stored)
  }

  #forget(stored: StoredMessage): void {
    const same = this.#messages.get(stored.taskId)
    if (same?.delete(stored) && same.size === 0) this.#messages.delete(stored.taskId)
  }
}
