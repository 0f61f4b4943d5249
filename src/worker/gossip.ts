import type { AppCore } from '../app/core.js'
import { eventRoad } from '../app/event-road.js'
import type { Sender } from '../app/sender.js'
import { applyOptionsOf, embedFrom } from '../app/signature-options.js'
import { NotSupportedError } from '../errors.js'
import type { EventDispatcher } from '../events/dispatcher.js'
import { receiveEvents } from '../events/receiver.js'
import type { Timer } from '../internal/clock.js'
import type { ClusterEvent } from '../protocol/events.js'
import { isName } from '../protocol/name.js'
import { checkSignatures, parseSignature } from '../protocol/signature.js'
import type { Connection, Consumer } from '../transport.js'
import { warnOfTwin } from './twin.js'

/** How often is looked for workers that are heard no more. */
const lookMs = 5_000
/** Whoever is there proposes itself within it, also one that has just come and is not known here yet. */
const proposingMs = 500
/** So much longer is waited for a worker that is known and has not. */
const electionMs = 1_500
/** Whoever was not asked by then will not be: the proposals of others are answered all the same. */
const askedMs = 3_000
/** Elections that never come to an end are forgotten, the oldest first. */
const mostElections = 1_000

interface Peer {
  /** Monotonic ms of its last heartbeat, by this worker's clock. */
  readonly heardMs: number
  readonly freqMs: number
}

interface Candidate {
  readonly hostname: string
  readonly clock: number
  readonly node: string
  readonly topic: string
  readonly action: unknown
}

interface GossipParts {
  readonly core: AppCore
  readonly hostname: string
  readonly dispatcher: EventDispatcher
  /** Does what the winner of an election with topic `task` does: sends the task whose signature the action is. */
  readonly callTask: (action: unknown) => Promise<unknown>
}

/**
 * What workers hear of each other: who is there, who is heard no more, and elections.
 *
 * An election begins with a broadcast (the command `election`). Each worker that takes it proposes itself (`worker-elect`); each that hears a proposal says so
 * (`worker-elect-ack`). Half a second later, or two seconds if one that is known has not proposed itself by then, the one with the smallest logical time has won,
 * for all in the same way.
 *
 * Python's do not wait for proposals, but for as many answers as there are others, and one that has heard a single proposal by then dies of it (IndexError in
 * kombu's sort_heap). Commands and events come to it by different ways, in any order. So a worker of ours proposes itself twice, and answers nobody before that.
 * With times that are before all others it wins over Python's, which may have made up their minds by what they had heard.
 */
export class Gossip {
  readonly #parts: GossipParts
  readonly #peers = new Map<string, Peer>()
  readonly #candidates = new Map<string, Candidate[]>()
  /** Elections that this worker was asked for, and when they end whoever is missing. */
  readonly #asked = new Map<string, Timer>()
  /** Elections that this worker answers: it has proposed itself, or was not asked in time. */
  readonly #joined = new Map<string, true>()
  /** Proposals of others that it has not answered. */
  readonly #owed = new Map<string, { count: number; readonly timer: Timer }>()
  #timer: Timer | undefined
  #hasTwin = false

  constructor(parts: GossipParts) {
    this.#parts = parts
  }

  /** Listens on this connection. */
  join(connection: Connection): Promise<Consumer> {
    const { core } = this.#parts
    this.#timer ??= core.clock.setTimer(lookMs, () => this.#look())
    return receiveEvents({
      ...eventRoad(core, connection),
      exchange: core.config.eventExchange,
      routingKey: 'worker.#',
      lamport: core.lamport,
      onEvent: (event) => this.#hear(event),
      onUnreadable: (error) => core.log.debug({ err: error }, 'an event of another worker could not be read'),
    })
  }

  stop(): void {
    for (const timer of [...this.#asked.values(), ...[...this.#owed.values()].map(({ timer }) => timer)]) timer.cancel()
    this.#timer?.cancel()
    this.#timer = undefined
  }

  /** Node names of the other workers that are there. */
  get peers(): readonly string[] {
    return [...this.#peers.keys()]
  }

  elect(id: string, topic: string, action: unknown): void {
    this.#asked.get(id)?.cancel()
    this.#await(id, proposingMs, () => {
      if (this.#haveProposed(id)) this.#decide(id)
      else this.#await(id, electionMs, () => this.#decide(id))
    })
    // Different times, or Python would compare the actions. Before all of its own, so that whatever it has heard by then, it does not think that it has won.
    for (const clock of [-1, 0]) this.#parts.dispatcher.send('worker-elect', { id, topic, action: action ?? null, cver: 1, clock })
    this.#join(id)
  }

  #await(id: string, ms: number, then: () => void): void {
    this.#asked.set(id, this.#parts.core.clock.setTimer(ms, then))
    forgetOldest(this.#asked)
  }

  #join(id: string): void {
    this.#joined.set(id, true)
    forgetOldest(this.#joined)
    const owed = this.#owed.get(id)
    owed?.timer.cancel()
    this.#owed.delete(id)
    for (let count = owed?.count ?? 0; count > 0; count--) this.#parts.dispatcher.send('worker-elect-ack', { id })
  }

  #hear(event: ClusterEvent): void {
    switch (event.type) {
      case 'worker-elect':
        return this.#proposed(event)
      case 'worker-offline':
        this.#peers.delete(event.hostname)
        return
      case 'worker-online':
      case 'worker-heartbeat': {
        if (event.hostname === this.#parts.hostname) return this.#own(event)
        const { core } = this.#parts
        if (!this.#peers.has(event.hostname)) core.log.debug({ worker: event.hostname }, `${event.hostname} joined the party`)
        const freq = typeof event.freq === 'number' && event.freq > 0 ? event.freq : 60
        this.#peers.set(event.hostname, { heardMs: core.clock.monotonic(), freqMs: freq * 1000 })
      }
    }
  }

  /** Of this worker itself, or of another that has its name. */
  #own({ pid, hostname }: ClusterEvent): void {
    if (pid === process.pid || this.#hasTwin) return
    this.#hasTwin = true
    warnOfTwin(this.#parts.core, hostname)
  }

  #proposed({ id, clock, hostname, pid, topic, action }: ClusterEvent): void {
    if (!isName(id) || !isName(topic)) return
    const candidates = this.#candidates.get(id) ?? []
    const node = `${hostname}.${pid}`
    // The second time.
    if (candidates.some((candidate) => candidate.node === node)) return
    this.#candidates.set(id, [...candidates, { clock: clock ?? 0, hostname, node, topic, action }])
    forgetOldest(this.#candidates)
    const owed = this.#owed.get(id)
    if (this.#joined.has(id)) this.#parts.dispatcher.send('worker-elect-ack', { id })
    else if (owed !== undefined) owed.count++
    else if (this.#owed.size < mostElections)
      this.#owed.set(id, { count: 1, timer: this.#parts.core.clock.setTimer(askedMs, () => this.#join(id)) })
  }

  /** Whether all that are known to be there have. */
  #haveProposed(id: string): boolean {
    const proposed = new Set(this.#candidates.get(id)?.map(({ hostname }) => hostname))
    return [this.#parts.hostname, ...this.#peers.keys()].every((hostname) => proposed.has(hostname))
  }

  #decide(id: string): void {
    this.#asked.get(id)?.cancel()
    const [leader] = [...(this.#candidates.get(id) ?? [])].sort((a, b) => a.clock - b.clock || (a.node < b.node ? -1 : 1))
    this.#candidates.delete(id)
    this.#asked.delete(id)
    // Another election may have the same id.
    this.#joined.delete(id)
    if (leader === undefined) return
    const { core, hostname } = this.#parts
    if (leader.node !== `${hostname}.${process.pid}`) {
      core.log.info({ id, leader: leader.node }, `node ${leader.node} elected for ${id}`)
      return
    }
    core.log.info({ id }, `I won the election ${id}`)
    if (leader.topic !== 'task')
      return core.log.error({ id, topic: leader.topic }, `nobody knows what to do for the election topic ${leader.topic}`)
    this.#parts
      .callTask(leader.action)
      .catch((error: unknown) => core.log.error({ err: error, id }, `the task of election ${id} could not be sent`))
  }

  #look(): void {
    const { core } = this.#parts
    const now = core.clock.monotonic()
    for (const [hostname, { heardMs, freqMs }] of this.#peers) {
      if (now - heardMs <= freqMs * 2) continue
      this.#peers.delete(hostname)
      core.log.info({ worker: hostname }, `missed heartbeat from ${hostname}`)
    }
    this.#timer = core.clock.setTimer(lookMs, () => this.#look())
  }
}

function forgetOldest(map: Map<string, unknown>): void {
  const [oldest] = map.keys()
  if (map.size > mostElections && oldest !== undefined) map.delete(oldest)
}

/** Sends the task that the workers have chosen one of them to send: a signature of the wire. Rejects for one that is none, or that cannot be sent. */
export async function callElected(core: AppCore, sender: Sender, action: unknown): Promise<unknown> {
  checkSignatures([['action', action]])
  const { task, args, kwargs, options, subtask_type: type } = parseSignature(action, 'action')
  if (type !== null) throw new NotSupportedError(`a ${type} as the task of an election`, 'elect a single task, which may start others')
  const call = { task, definition: core.registry.get(task), args, kwargs, options: applyOptionsOf(options), embed: embedFrom(options) }
  return sender.apply(call)
}
