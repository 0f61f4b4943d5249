/**
 * Finds messages whose worker is gone, and gives them back: our own by the end of their lease, those of Python workers after kombu's visibility timeout.
 *
 * No clock but the server's is asked. A lease that is over is taken away only when the next look finds it just as it was: after a pause of the server itself all
 * leases are over, and their holders refresh them before anything else. When the server's clock was set, or the next server's is another, all leases seem to be
 * over although nobody stood still: then they have the time in which each is refreshed for certain.
 */
import type { Clock } from '../../internal/clock.js'
import { listOf, type RedisLink, textOf } from '../../internal/redis/link.js'
import type { Layout } from './layout.js'
import type { RedisBrokerOptions } from './options.js'
import type { Return, Returns } from './returns.js'
import type { Scripts } from './scripts.js'

/** Entries of the index that are read at once. */
const pageSize = 1_000
/** All entries are read at least so often, and otherwise only those whose time has come since the last look. */
const longestFullLookMs = 60_000

export const leasePrefix = 'c:'
/** A message that waits for its eta, in nobody's hands. */
export const etaPrefix = 'c:eta:'

interface SweeperParts {
  readonly layout: Layout
  readonly options: RedisBrokerOptions
  readonly returns: Returns
  readonly clock: Clock
}

interface Entry {
  readonly id: string
  readonly score: string
}

export class Sweeper {
  readonly #parts: SweeperParts
  /** Over at the last look, with their scores. */
  #suspects = new Map<string, string>()
  /** The server's time of the last look, in seconds, and when that was by the clock of this process, which nobody sets. */
  #lookedTo = 0
  #lookedAtMs = 0
  /** Until then nothing is taken away. */
  #patientUntilMs = Number.NEGATIVE_INFINITY
  #nextFullLook = 0
  #link: RedisLink | undefined

  constructor(parts: SweeperParts) {
    this.#parts = parts
  }

  /** How many messages were given back or buried. */
  async sweep(link: RedisLink, scripts: Scripts): Promise<number> {
    const { returns, clock } = this.#parts
    // Another server may be behind it, where leases are over that were settled on the one before.
    if (link !== this.#link) this.#nextFullLook = 0
    this.#link = link
    const isPatient = clock.monotonic() < this.#patientUntilMs
    const over = isPatient ? [] : await this.#confirmed(link)
    const items: Return[] = over.map((id) => ({ id, counted: !id.startsWith(etaPrefix) }))
    if (items.length > 0) await returns.giveBack(link, scripts, items)
    // Only now: when the link was lost before, the next sweep must know them still, since no look but a full one sees them again.
    const found = await this.#look(link, scripts)
    const suspects = found.map(({ id, score }) => [id, score] as const)
    this.#suspects = new Map(isPatient ? [...this.#suspects, ...suspects] : suspects)
    return items.length
  }

  /** The suspects of the last look that nobody has refreshed or settled, in the order of their claims. */
  async #confirmed(link: RedisLink): Promise<readonly string[]> {
    const suspects = [...this.#suspects]
    if (suspects.length === 0) return []
    const over: string[] = []
    for (let from = 0; from < suspects.length; from += pageSize) {
      const page = suspects.slice(from, from + pageSize)
      const scores = listOf(await link.call('ZMSCORE', [this.#parts.layout.unackedIndex, ...page.map(([id]) => id)]))
      for (const [index, [id, score]] of page.entries()) {
        const now = scores[index]
        if (now !== undefined && now !== null && Number(textOf(now)) === Number(score)) over.push(id)
      }
    }
    return over
  }

  async #look(link: RedisLink, scripts: Scripts): Promise<readonly Entry[]> {
    const { layout, options } = this.#parts
    const found: Entry[] = []
    let nowSeconds = 0
    // One lease back: what waited for its time is overdue only that much later.
    let from = Math.max(0, this.#lookedTo - options.leaseTtlMs / 1000)
    let count = pageSize
    for (;;) {
      const [time, flat] = listOf(await scripts.overdue.run(link, [layout.unackedIndex], [from === 0 ? '-inf' : from.toFixed(6), count]))
      if (nowSeconds === 0) {
        nowSeconds = Number(textOf(time))
        this.#lookAtClock(nowSeconds)
        if (nowSeconds * 1000 >= this.#nextFullLook) {
          this.#nextFullLook = nowSeconds * 1000 + Math.min(longestFullLookMs, options.visibilityTimeoutMs)
          if (from > 0) {
            from = 0
            continue
          }
        }
      }
      const items = listOf(flat)
      let last = 0
      for (let at = 0; at < items.length; at += 2) {
        const id = textOf(items[at])
        const score = textOf(items[at + 1])
        last = Number(score)
        if (isOver(id, last, nowSeconds, options)) found.push({ id, score })
      }
      if (items.length < count * 2) break
      // Entries of one claim share their score: a page that holds only one goes on in a larger one.
      if (last === from) count *= 2
      else from = last
    }
    this.#lookedTo = nowSeconds
    // A page begins with what ended the one before it.
    const unique = new Map(found.map((entry) => [entry.id, entry]))
    return [...unique.values()]
  }

  #lookAtClock(serverSeconds: number): void {
    const { clock, options } = this.#parts
    const nowMs = clock.monotonic()
    const stepMs = (serverSeconds - this.#lookedTo) * 1000 - (nowMs - this.#lookedAtMs)
    this.#lookedAtMs = nowMs
    // A smaller one ends no lease that is refreshed.
    if (this.#lookedTo === 0 || Math.abs(stepMs) < options.leaseTtlMs / 2) return
    this.#nextFullLook = 0
    // Not for ever, whatever the clock does.
    if (nowMs >= this.#patientUntilMs) this.#patientUntilMs = nowMs + options.leaseTtlMs / 3
  }
}

function isOver(id: string, score: number, nowSeconds: number, { leaseTtlMs, visibilityTimeoutMs }: RedisBrokerOptions): boolean {
  // Whoever consumes its queue takes it when it is due; this is for queues that no worker of ours consumes any more.
  if (id.startsWith(etaPrefix)) return score < nowSeconds - leaseTtlMs / 1000
  if (id.startsWith(leasePrefix)) return score <= nowSeconds
  return score < nowSeconds - visibilityTimeoutMs / 1000
}
