// @ts-check
// The program that sends, for the peers in Node alike (celery/produce.py does the same): what to do stands in its arguments, what it measured is
// printed as JSON.
import { setTimeout as sleep } from 'node:timers/promises'

/**
 * @typedef {'add' | 'cpu' | 'wait'} Kind
 * @param {{ send(kind: Kind): Promise<string>, bulk?(count: number): Promise<unknown>, stamp(): Promise<unknown>, sendAt?(dueMs: number): Promise<unknown>, verify?(id: string): Promise<void>, chord?(count: number): Promise<unknown> }} sender
 * `chord`: of so many additions of 2 and 3, whose sum is its result.
 */
export async function produce({ send, bulk, stamp, sendAt, verify, chord }) {
  const [what, ...rest] = process.argv.slice(2)
  switch (what) {
    case 'preload': {
      const [kind, count] = rest
      // The arguments come from run.mjs.
      const ids = await concurrently(Number(count), () => send(/** @type {Kind} */ (kind)))
      return print({ last: ids.at(-1) })
    }
    case 'enqueue': {
      const [how, count] = rest
      const total = Number(count)
      await run(how, Math.ceil(total / 10))
      const began = performance.now()
      await run(how, total)
      return print({ perSecond: (total / (performance.now() - began)) * 1000 })
    }
    case 'latency': {
      const [count, gapMs] = rest
      for (let sent = 0; sent < Number(count); sent++) {
        await stamp()
        await sleep(Number(gapMs))
      }
      return print({})
    }
    case 'later': {
      const [count, fromNowMs, overMs] = rest.map(Number)
      const startMs = Date.now() + (fromNowMs ?? 0)
      let sent = 0
      await concurrently(count ?? 0, async () => sendAt?.(startMs + Math.round(((overMs ?? 0) * sent++) / (count ?? 1))))
      return print({})
    }
    case 'chord': {
      const [count, times] = rest.map(Number)
      await summed(1_000)
      const began = performance.now()
      for (let sent = 0; sent < (times ?? 1); sent++) await summed(count ?? 0)
      const ms = (performance.now() - began) / (times ?? 1)
      return print({ ms, producerMb: process.resourceUsage().maxRSS / 1024 })
    }
    case 'verify': {
      await verify?.(rest[0] ?? '')
      return print({})
    }
    default:
      throw new Error(`unknown: ${what}`)
  }

  /** @param {number} count */
  async function summed(count) {
    const sum = await chord?.(count)
    if (sum !== 5 * count) throw new Error(`a chord of ${count} gave ${sum}`)
  }

  /** @param {string | undefined} how @param {number} total */
  async function run(how, total) {
    if (how === 'awaited') for (let sent = 0; sent < total; sent++) await send('add')
    else if (how === 'bulk') for (let sent = 0; sent < total; sent += 100) await bulk?.(100)
    else await concurrently(total, () => send('add'))
  }
}

/** 100 at a time, all awaited before the next 100. @template T @param {number} total @param {() => Promise<T>} call */
async function concurrently(total, call) {
  /** @type {T[]} */
  let results = []
  for (let sent = 0; sent < total; sent += 100) results = await Promise.all(Array.from({ length: Math.min(100, total - sent) }, call))
  return results
}

/** @param {object} value */
function print(value) {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}
