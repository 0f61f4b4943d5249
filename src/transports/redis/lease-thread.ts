/**
 * The thread that refreshes the leases of a process whose event loop a task may block. It reads their numbers from shared memory, has a link of its own, and
 * stops when the event loop did not turn for longer than a task may block it: a process that is stuck for good loses its messages on purpose.
 */
import { workerData } from 'node:worker_threads'
import { systemClock } from '../../internal/clock.js'
import type { RedisLink, RedisTarget } from '../../internal/redis/link.js'
import { redisTarget, type TargetOptions } from '../../internal/redis/target.js'
import { LeaseTable } from './lease-table.js'
import { makeScripts } from './scripts.js'

/** All that it needs, as it is handed to a thread. */
export interface LeaseThreadData {
  readonly target: NonNullable<RedisTarget['recipe']>
  readonly memory: SharedArrayBuffer
  readonly unackedIndex: string
  readonly idPrefix: string
  readonly ttlMs: number
  readonly allowOom: boolean
  /** Infinity: for ever. */
  readonly longestBlockMs: number
}

/** Leases in one script. */
const pageSize = 1_000

async function keep({
  target: { url, options },
  memory,
  unackedIndex,
  idPrefix,
  ttlMs,
  allowOom,
  longestBlockMs,
}: LeaseThreadData): Promise<never> {
  const table = new LeaseTable(memory)
  const { refresh } = makeScripts({ allowOom })
  // The options of the target whose recipe it is.
  const target = redisTarget(url, { ...(options as Omit<TargetOptions, 'clock'>), clock: systemClock })
  const open = (): Promise<RedisLink> =>
    target.open({ signal: AbortSignal.timeout(Math.max(1_000, ttlMs / 3)), name: 'celeriac:broker:leases' })
  // Before it is needed: there is no time then.
  let link: RedisLink | undefined = await open().catch(() => undefined)
  let beats = table.beats
  let beatMs = performance.now()
  for (;;) {
    await new Promise<void>((resolve) => setTimeout(resolve, ttlMs / 6))
    if (table.beats !== beats) {
      beats = table.beats
      beatMs = performance.now()
    }
    const ids = table.list().map((lease) => `${idPrefix}${lease}`)
    // The event loop refreshes them itself while it turns.
    const isBlocked = performance.now() - beatMs > ttlMs / 4
    if (!isBlocked || ids.length === 0 || performance.now() - beatMs > longestBlockMs) continue
    try {
      link ??= await open()
      for (let from = 0; from < ids.length; from += pageSize)
        await refresh.run(link, [unackedIndex], [ttlMs / 1000, ...ids.slice(from, from + pageSize)])
    } catch (error) {
      // Another link next time: there are several tries before a lease ends.
      link?.destroy(error instanceof Error ? error : new Error(String(error)))
      link = undefined
    }
  }
}

// The data of the thread is what its only starter gives it.
await keep(workerData as LeaseThreadData)
