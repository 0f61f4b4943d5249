/**
 * The revoked tasks, as a worker knows them: read once, and told of each new one since, so that no task waits for a question. While the connection that tells is
 * away, or when there are too many of them to be kept here, each batch of tasks is asked about.
 */
import type { Clock } from '../../internal/clock.js'
import { listOf, type RedisTarget, textOf } from '../../internal/redis/link.js'
import type { ResultKeys } from './keys.js'
import type { LinkHolder } from './link-holder.js'
import { ResultSubscriber } from './result-subscriber.js'
import { revokeScript } from './scripts.js'

/** More are not kept here. */
const mostKnown = 10_000
const idsAtOnce = 1_000
/** What cannot be heard of at the moment is tried again after this. */
const pauseMs = 1_000

export class RevokedTasks {
  readonly #keys: ResultKeys
  readonly #holder: LinkHolder
  readonly #clock: Clock
  readonly #subscriber: ResultSubscriber
  /** Until when each is revoked, in ms by the server's clock; undefined while that is not known here. */
  #untilMs: Map<string, number> | undefined
  /** What was heard while it was read. */
  #heard: Map<string, number> | undefined
  /** The server's clock, less ours. */
  #aheadMs = 0
  #following: 'no' | 'yes' | 'not now' = 'no'

  constructor(
    target: RedisTarget,
    { keys, holder, clock }: { readonly keys: ResultKeys; readonly holder: LinkHolder; readonly clock: Clock },
  ) {
    this.#keys = keys
    this.#holder = holder
    this.#clock = clock
    this.#subscriber = new ResultSubscriber(target, {
      name: 'celeriac:results:revoked',
      clock,
      onMessage: (_, payload) => this.#hear(payload),
      wanted: () => [keys.revoked],
      isWanted: () => true,
      onLost: () => {
        this.#untilMs = undefined
      },
      reread: () => this.#read(),
    })
  }

  async add(taskIds: readonly string[], expiresSeconds: number): Promise<void> {
    await this.#holder.run((link) =>
      Promise.all(chunks(taskIds).map((ids) => revokeScript.run(link, [this.#keys.revoked], [Math.ceil(expiresSeconds * 1000), ...ids]))),
    )
  }

  /** Those of the ids that were revoked; at once where that is known here. */
  among(taskIds: readonly string[]): ReadonlySet<string> | Promise<ReadonlySet<string>> {
    if (this.#untilMs === undefined) {
      this.#follow()
      return this.#ask(taskIds)
    }
    const untilMs = this.#untilMs
    if (untilMs.size === 0) return none
    const nowMs = this.#clock.now() + this.#aheadMs
    return new Set(taskIds.filter((taskId) => (untilMs.get(taskId) ?? 0) > nowMs))
  }

  async close(): Promise<void> {
    await this.#subscriber.close()
  }

  async #ask(taskIds: readonly string[]): Promise<ReadonlySet<string>> {
    const key = this.#keys.revoked
    if (taskIds.length === 0 || (await this.#holder.run((link) => link.call('EXISTS', [key]))) === 0) return none
    const [time, ...scores] = await this.#holder.run((link) =>
      Promise.all([link.call('TIME', []), ...chunks(taskIds).map((ids) => link.call('ZMSCORE', [key, ...ids]))]),
    )
    const nowMs = msOf(listOf(time))
    const untilMs = scores.flatMap(listOf)
    return new Set(taskIds.filter((_, index) => untilMs[index] instanceof Buffer && Number(textOf(untilMs[index])) > nowMs))
  }

  /** Once for each process that asks; the subscriber comes back by itself after a loss. */
  #follow(): void {
    if (this.#following !== 'no') return
    this.#following = 'yes'
    this.#subscriber.open()
    this.#subscriber
      .listen([this.#keys.revoked])
      .then(() => this.#read())
      .catch(() => {
        // Nothing depends on it: until then each batch is asked about.
        this.#following = 'not now'
        this.#clock.setTimer(pauseMs, () => {
          this.#following = 'no'
        })
      })
  }

  async #read(): Promise<void> {
    const heard = new Map<string, number>()
    this.#heard = heard
    const key = this.#keys.revoked
    const [time, flat] = await this.#holder.run((link) =>
      Promise.all([link.call('TIME', []), link.call('ZRANGE', [key, 0, mostKnown, 'WITHSCORES'])]),
    )
    if (this.#heard !== heard) return
    this.#heard = undefined
    const items = listOf(flat)
    this.#aheadMs = msOf(listOf(time)) - this.#clock.now()
    const untilMs = new Map<string, number>()
    for (let at = 0; at < items.length; at += 2) untilMs.set(textOf(items[at]), Number(textOf(items[at + 1])))
    for (const [taskId, ms] of heard) untilMs.set(taskId, ms)
    this.#know(untilMs)
  }

  /** "until, ids": what the script that revokes publishes. */
  #hear(payload: Buffer): void {
    const [until, ...taskIds] = payload.toString('utf8').split('\n')
    const known = this.#heard ?? this.#untilMs
    if (known === undefined) return
    for (const taskId of taskIds) known.set(taskId, Math.max(known.get(taskId) ?? 0, Number(until)))
    if (known === this.#untilMs) this.#know(known)
  }

  #know(untilMs: Map<string, number>): void {
    if (untilMs.size > mostKnown) {
      const nowMs = this.#clock.now() + this.#aheadMs
      for (const [taskId, ms] of untilMs) if (ms <= nowMs) untilMs.delete(taskId)
    }
    this.#untilMs = untilMs.size > mostKnown ? undefined : untilMs
  }
}

const none: ReadonlySet<string> = new Set()

function msOf([seconds, micros]: readonly unknown[]): number {
  return Number(String(seconds)) * 1000 + Number(String(micros)) / 1000
}

function chunks<T>(items: readonly T[]): (readonly T[])[] {
  return Array.from({ length: Math.ceil(items.length / idsAtOnce) }, (_, index) => items.slice(index * idsAtOnce, (index + 1) * idsAtOnce))
}
