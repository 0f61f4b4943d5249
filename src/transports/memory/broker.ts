/** The memory broker: which message is in which queue, delayed, leased or gone, without any I/O. Time comes from its clock alone. */
import { setImmediate } from 'node:timers'
import { DeclarationMismatchError, NotPublishedError, QueueMissingError, show } from '../../errors.js'
import type { Clock, Timer } from '../../internal/clock.js'
import { EtaHeap } from '../../internal/eta-heap.js'
import type { Message } from '../../protocol/message.js'
import { encodeHead, taskIdOf } from '../../protocol/message-head.js'
import { checkTopology, effectivePriority, messageExpiryMs, queueDefinition, queueLimits } from '../../protocol/routing.js'
import type { Destination, Queue, Topology } from '../../protocol/topology.js'
import type { Fence } from '../../transport.js'
import { MemoryDeadLetters } from './dead-letters.js'
import { MemoryExchanges } from './exchanges.js'
import { MemoryFences } from './fences.js'
import { MemoryQueue, type StoredMessage } from './queue.js'
import { MemoryQueues } from './queues.js'

/** Whoever takes messages: told when there may be some. */
export interface Taker {
  wake(): void
}

export class MemoryBroker {
  readonly clock: Clock
  readonly fences = new MemoryFences()
  readonly queues = new MemoryQueues(this)
  readonly deadLetters: MemoryDeadLetters
  readonly #deliveryLimit: number
  readonly #exchanges = new MemoryExchanges()
  readonly #queues = new Map<string, MemoryQueue>()
  readonly #delayed = new EtaHeap<StoredMessage>()
  /** By task id, for `locate`. */
  readonly #messages = new Map<string, Set<StoredMessage>>()
  readonly #takers = new Set<Taker>()
  #nextId = 1
  #dueTimer: { readonly atMs: number; readonly timer: Timer } | undefined
  #wakeQueued = false

  constructor(clock: Clock, { deliveryLimit }: { readonly deliveryLimit: number }) {
    this.clock = clock
    this.#deliveryLimit = deliveryLimit
    this.deadLetters = new MemoryDeadLetters(clock, (stored) => this.#revive(stored))
  }

  declare(topology: Topology, owner: object): void {
    checkTopology(topology)
    for (const exchange of topology.exchanges) this.#exchanges.declare(exchange)
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
    this.deadLetters.add(stored, reason)
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

  /** A dead letter as a new message. */
  #revive(dead: StoredMessage): void {
    const queue = this.#queues.get(dead.queue.name)
    if (queue === undefined) throw new QueueMissingError(dead.queue.name)
    const atMs = this.clock.now()
    const stored: StoredMessage = { ...dead, id: this.#nextId++, queue, atMs, expiresMs: undefined, deliveries: 0, redelivered: true }
    this.#remember(stored)
    this.#put(stored)
  }

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
    this.#exchanges.bind(queue)
  }

  #route(to: Destination): Iterable<string> {
    if (to.exchange !== '') return this.#exchanges.route(to)
    if (this.#queues.has(to.routingKey)) return [to.routingKey]
    throw new NotPublishedError(`there is no queue ${show(to.routingKey)}: declare it before publishing to it`)
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
    this.#exchanges.unbind(queue.name)
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
