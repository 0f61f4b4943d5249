import type { AppCore } from '../app/core.js'
import { eventRoad } from '../app/event-road.js'
import type { Sender } from '../app/sender.js'
import { applyOptionsOf, embedFrom } from '../app/signature-options.js'
import { NotSupportedError } from '../errors.js'
import type { EventDispatcher } from '../events/dispatcher.js'
import { softwareInfo } from '../events/heart.js'
import { receiveEvents } from '../events/receiver.js'
import type { Timer } from '../internal/clock.js'
import type { ClusterEvent } from '../protocol/events.js'
import { isName } from '../protocol/name.js'
import { checkSignatures, parseSignature } from '../protocol/signature.js'
import type { Connection, Consumer } from '../transport.js'
import { type Candidate, candidatesOf, type Heard, leaderOf } from './election-rule.js'
import { warnOfTwin } from './twin.js'

/** How often is looked for workers that are heard no more. */
const lookMs = 5_000
/** Whoever is there proposes itself within it, also one that has just come and is not known here yet. */
const proposingMs = 500
/** So much longer is waited for a worker that is known and has not. */
const electionMs = 1_500
/** Whoever was not asked by then will not be: the proposals of others are answered all the same. */
const askedMs = 3_000
/** Workers that are listened to: more than any cluster has, and a bound for what somebody might send. */
const mostPeers = 10_000
/** Nobody beats less often, whatever is said. */
const longestFreqMs = 3_600_000
/** Elections that never come to an end are forgotten, the oldest first. */
const mostElections = 1_000
/** Of one election: more than any has, and a bound for what somebody might send. */
const mostHeard = 10_000

interface Peer {
  /** Monotonic ms of its last heartbeat, by this worker's clock. */
  readonly heardMs: number
  readonly freqMs: number
  /** Logical time of its last heartbeat. */
  readonly clock: number | null
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
 * (`worker-elect-ack`). Half a second later, or two seconds if one that is known has not proposed itself by then, the one with the smallest logical time has won
 * (`election-rule`), for all in the same way.
 *
 * Python's do not wait for proposals, but for as many answers as there are others, and one that has heard a single proposal by then dies of it (IndexError in
 * kombu's sort_heap). Commands and events come to it by different ways, in any order. So a worker of ours proposes itself twice, and answers nobody before that.
 * With times that are before all others it wins over Python's, unless they were quicker than it.
 *
 * A Python worker that knows of one other is content with its own answer to its own proposal. So one that is alone with us hears its heartbeats again, from us:
 * then it counts itself among the others, and waits for an answer more.
 */
export class Gossip {
  readonly #parts: GossipParts
  readonly #peers = new Map<string, Peer>()
  readonly #heard = new Map<string, Heard[]>()
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
    // Before all times of Python's, so that whatever one of them has heard besides, it does not think that it has won.
    this.#propose(id, topic, action, -1)
    this.#join(id)
  }

  /** Twice, at different times, or Python would compare the actions. */
  #propose(id: string, topic: string, action: unknown, clock: number): void {
    for (const time of [clock, clock + 1])
      this.#parts.dispatcher.send('worker-elect', { id, topic, action: action ?? null, cver: 1, clock: time })
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
      case 'worker-elect-ack':
        if (isName(event.id)) this.#note(event.id, 'answer')
        return
      case 'worker-offline':
        this.#peers.delete(event.hostname)
        return
      case 'worker-online':
      case 'worker-heartbeat':
        return event.hostname === this.#parts.hostname ? this.#own(event) : this.#met(event)
    }
  }

  #met(event: ClusterEvent): void {
    const { core, dispatcher } = this.#parts
    const { hostname, clock } = event
    const known = this.#peers.get(hostname)
    if (known === undefined) {
      if (this.#peers.size >= mostPeers) return
      core.log.debug({ worker: hostname }, `${hostname} joined the party`)
    }
    const freq = typeof event.freq === 'number' && event.freq > 0 ? event.freq : 60
    this.#peers.set(hostname, { heardMs: core.clock.monotonic(), freqMs: Math.min(freq * 1000, longestFreqMs), clock })
    // Its own words, which come back to us, too.
    if (this.#peers.size === 1 && known?.clock !== clock && event.sw_ident !== softwareInfo().sw_ident)
      dispatcher.send('worker-heartbeat', event)
  }

  /** Of this worker itself, or of another that has its name. */
  #own({ pid, hostname }: ClusterEvent): void {
    if (pid === process.pid || this.#hasTwin) return
    this.#hasTwin = true
    warnOfTwin(this.#parts.core, hostname)
  }

  #proposed({ id, clock, hostname, pid, topic, action }: ClusterEvent): void {
    if (!isName(id) || !isName(topic)) return
    const node = `${hostname}.${pid}`
    // The second time.
    if (this.#candidates(id).some((candidate) => candidate.node === node)) return
    if (!this.#heard.has(id)) this.#heard.set(id, [])
    forgetOldest(this.#heard)
    this.#note(id, { clock: clock ?? 0, hostname, node, topic, action })
    const owed = this.#owed.get(id)
    if (this.#joined.has(id)) this.#parts.dispatcher.send('worker-elect-ack', { id })
    else if (owed !== undefined) owed.count++
    else if (this.#owed.size < mostElections)
      this.#owed.set(id, { count: 1, timer: this.#parts.core.clock.setTimer(askedMs, () => this.#joinUnasked(id)) })
  }

  /** What comes after the end is not remembered. */
  #note(id: string, one: Heard): void {
    const heard = this.#heard.get(id)
    if (heard !== undefined && heard.length < mostHeard) heard.push(one)
  }

  #candidates(id: string): readonly Candidate[] {
    return candidatesOf(this.#heard.get(id) ?? [])
  }

  /** A single candidate that was asked alone wins against a later proposal; Python's would die without any. */
  #joinUnasked(id: string): void {
    const [only, another] = this.#candidates(id)
    if (only !== undefined && another === undefined) this.#propose(id, only.topic, only.action, only.clock + 1)
    this.#join(id)
  }

  /** Whether all that are known to be there have. */
  #haveProposed(id: string): boolean {
    const proposed = new Set(this.#candidates(id).map(({ hostname }) => hostname))
    return [this.#parts.hostname, ...this.#peers.keys()].every((hostname) => proposed.has(hostname))
  }

  #decide(id: string): void {
    this.#asked.get(id)?.cancel()
    const leader = leaderOf(this.#heard.get(id) ?? [], this.#peers.size)
    this.#heard.delete(id)
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
