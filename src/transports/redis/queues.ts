/** Single queues of a Redis broker, for operators. */
import { integerOf, listOf, type RedisLink, textOf } from '../../internal/redis/link.js'
import { sentAtMs } from '../../internal/task-id.js'
import { taskIdOf } from '../../protocol/message-head.js'
import type { QueueFacts, Queues } from '../../transport.js'
import { readEnvelope } from './envelope.js'
import type { Layout } from './layout.js'
import type { Scripts } from './scripts.js'
import type { Session } from './session.js'
import type { RedisTopology } from './topology.js'
import { readTail } from './unacked.js'

/** Of the messages in workers' hands, when there are no more than this: all of them have to be looked at. */
const mostCounted = 2_000

interface QueuesParts {
  readonly layout: Layout
  readonly topology: RedisTopology
  readonly scripts: () => Scripts
  readonly session: Pick<Session, 'repeat'>
}

export class RedisQueues implements Queues {
  readonly #parts: QueuesParts

  constructor(parts: QueuesParts) {
    this.#parts = parts
  }

  facts(queue: string): Promise<QueueFacts> {
    const { layout, session } = this.#parts
    return session.repeat(async (link) => {
      const [lengths, delayed, oldestAtMs] = await Promise.all([
        Promise.all(layout.lists(queue).map(async (list) => integerOf(await link.call('LLEN', [list])))),
        link.call('ZCARD', [layout.eta(queue)]),
        this.#oldestAtMs(link, queue),
      ])
      return {
        waiting: sum(lengths),
        delayed: integerOf(delayed),
        leased: await this.#leased(link, queue),
        // A list does not know who reads it.
        consumers: undefined,
        oldestAtMs,
      }
    })
  }

  oldestAtMs(queue: string): Promise<number | undefined> {
    return this.#parts.session.repeat((link) => this.#oldestAtMs(link, queue))
  }

  purge(queue: string): Promise<number> {
    const { layout, scripts, session } = this.#parts
    const keys = [layout.unacked, layout.unackedIndex, layout.eta(queue), ...layout.lists(queue)]
    return session.repeat(async (link) => integerOf(await scripts().purge.run(link, keys, [])))
  }

  async size(queue: string, { due }: { readonly due: boolean }): Promise<number> {
    const { layout, session } = this.#parts
    return session.repeat(async (link) => {
      const counts = await Promise.all([
        ...layout.lists(queue).map((list) => link.call('LLEN', [list])),
        ...(due ? [] : [link.call('ZCARD', [layout.eta(queue)])]),
      ])
      return sum(counts.map(integerOf))
    })
  }

  paused(queues: readonly string[]): Promise<ReadonlyMap<string, string>> {
    if (queues.length === 0) return Promise.resolve(new Map())
    return this.#parts.session.repeat(async (link) => {
      const notes = listOf(await link.call('HMGET', [this.#parts.layout.paused, ...queues]))
      return new Map(queues.flatMap((queue, index) => (notes[index] instanceof Buffer ? [[queue, textOf(notes[index])]] : [])))
    })
  }

  async pause(queue: string, note: string): Promise<void> {
    await this.#parts.session.repeat((link) => link.call('HSET', [this.#parts.layout.paused, queue, note]))
  }

  resume(queue: string): Promise<boolean> {
    return this.#parts.session.repeat(async (link) => integerOf(await link.call('HDEL', [this.#parts.layout.paused, queue])) === 1)
  }

  hurry(queue: string): Promise<number> {
    const { layout, scripts, session } = this.#parts
    return session.repeat(async (link) => integerOf(await scripts().hurry.run(link, [layout.unackedIndex, layout.eta(queue)], [])))
  }

  /** Of each priority, the next to be taken. */
  async #oldestAtMs(link: RedisLink, queue: string): Promise<number | undefined> {
    const last = await Promise.all(this.#parts.layout.lists(queue).map((list) => link.call('LINDEX', [list, -1])))
    return least(last.map((raw) => (raw instanceof Buffer ? sentAt(raw) : undefined)))
  }

  /** All messages in workers' hands lie in one hash, with where they came from behind them. */
  async #leased(link: RedisLink, queue: string): Promise<number | undefined> {
    const { layout, scripts, topology } = this.#parts
    const reply = listOf(await scripts().places.run(link, [layout.unacked], [mostCounted]))
    if (reply[0] === null) return undefined
    let count = 0
    const etas = integerOf(await link.call('ZCARD', [layout.eta(queue)]))
    for (const tail of reply) {
      const to = tail instanceof Buffer ? readTail(tail) : undefined
      if (to !== undefined && (await topology.route(link, to.exchange, to.routingKey)).includes(queue)) count++
    }
    // Those that wait for their time lie there, too.
    return Math.max(0, count - etas)
  }
}

/** When its task was sent, as an id of ours tells; Python's ids and envelopes do not. */
function sentAt(raw: Buffer): number | undefined {
  try {
    return sentAtMs(taskIdOf(readEnvelope(raw).message))
  } catch {
    return undefined
  }
}

function sum(counts: readonly number[]): number {
  return counts.reduce((total, count) => total + count, 0)
}

function least(times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined)
  return known.length === 0 ? undefined : Math.min(...known)
}
