/** What there is to know of queues: from the broker, from the workers that answer, and from the pauses that are kept. */
import { pausesOf } from '../app/queue-pauses.js'
import { NotPublishedError, PublishUncertainError } from '../errors.js'
import { isRecord } from '../protocol/plain.js'
import type { CommandContext } from './with-app.js'

export interface QueueRow {
  readonly queue: string
  readonly waiting: number
  /** Null: the broker cannot tell. */
  readonly delayed: number | null
  readonly leased: number | null
  readonly consumers: number
  /** Seconds; null: nothing waits, or the broker cannot tell. */
  readonly oldestSeconds: number | null
  readonly paused: boolean
  /** Null: there are too many to look at. */
  readonly dead: number | null
}

/** Beyond so many the dead letters of each queue are not counted: they would have to be read. */
const mostCounted = 1_000

/** Default: the app's own queues and those that workers take from. */
export async function queueRows({ app, core, terminal }: CommandContext, names: readonly string[] = []): Promise<readonly QueueRow[]> {
  const consumers = await consumersOf(app).catch((error: unknown) => {
    // A broker that is full is when one looks at its queues.
    if (!(error instanceof NotPublishedError || error instanceof PublishUncertainError)) throw error
    terminal.note(`note: workers could not be asked what they take from: ${error.message}`)
    return new Map<string, number>()
  })
  const dead = await deadOf(app)
  const queues = names.length > 0 ? names : [...new Set([...core.routes.defaultQueues(), ...consumers.keys(), ...(dead?.keys() ?? [])])]
  const connection = await core.connections.publisher()
  const pauses = await pausesOf(core, queues)
  const rows: QueueRow[] = []
  for (const queue of [...queues].sort()) {
    const facts = await connection.queues.facts(queue)
    rows.push({
      queue,
      waiting: facts.waiting,
      delayed: facts.delayed ?? null,
      leased: facts.leased ?? null,
      consumers: facts.consumers ?? consumers.get(queue) ?? 0,
      oldestSeconds: facts.oldestAtMs === undefined ? null : Math.max(0, Math.round((core.clock.now() - facts.oldestAtMs) / 1000)),
      paused: pauses.has(queue),
      dead: dead === undefined ? null : (dead.get(queue) ?? 0),
    })
  }
  return rows
}

/** How many workers take from each queue; none from one that is paused for it. */
async function consumersOf(app: CommandContext['app']): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>()
  for (const queues of Object.values(await app.control.inspect().activeQueues()))
    for (const queue of Array.isArray(queues) ? queues : []) {
      if (!isRecord(queue) || typeof queue.name !== 'string') continue
      counts.set(queue.name, (counts.get(queue.name) ?? 0) + (queue.paused === true ? 0 : 1))
    }
  return counts
}

/** By queue; undefined when there are too many to look at. */
export async function deadOf(app: CommandContext['app']): Promise<ReadonlyMap<string, number> | undefined> {
  const total = await app.deadLetters.count()
  if (total > mostCounted) return undefined
  const counts = new Map<string, number>()
  if (total > 0)
    await app.deadLetters.visit({}, ({ queue }) => {
      counts.set(queue, (counts.get(queue) ?? 0) + 1)
      return true
    })
  return counts
}
