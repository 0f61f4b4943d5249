/** Ends of tasks that are stored together with the acks of their messages: for results that lie in the broker's own database. */
import { listOf, type Reply } from '../../internal/redis/link.js'
import type { PlacedEnd } from '../../protocol/result.js'
import type { AckEnded } from '../../transport.js'

/** Each is as long as a small result at most, and the server does nothing else meanwhile. */
const mostAtOnce = 200

export interface Ending {
  readonly lease: number
  readonly end: PlacedEnd
  /** True: stored, and the message is gone. False: the task had ended already. Undefined: neither is known, and whoever asked does both by other ways. */
  readonly resolve: AckEnded
  /** It may have been done before: its answer was lost. */
  again: boolean
}

export class Endings {
  #waiting: Ending[] = []

  get size(): number {
    return this.#waiting.length
  }

  add(ending: Ending): void {
    this.#waiting.push(ending)
  }

  /** The next ones that are alike: what they have in common is said once. */
  take(): readonly Ending[] {
    const first = this.#waiting[0]
    if (first === undefined) return none
    const other = this.#waiting.findIndex(({ end, again }) => again !== first.again || end.seconds !== first.end.seconds)
    return this.#waiting.splice(0, Math.min(mostAtOnce, other < 0 ? mostAtOnce : other))
  }

  /** Their script failed as a whole, or its answer was lost. */
  putBack(endings: readonly Ending[]): void {
    for (const ending of endings) ending.again = true
    this.#waiting.unshift(...endings)
  }

  /** There will be no server to ask. */
  leave(): void {
    for (const { resolve } of this.#waiting.splice(0)) resolve(undefined)
  }
}

/** `exceptions` are the numbers (from 1) of those that were not stored, each with the reason: 0, the task had ended; else the broker's script cannot tell. */
export function settleEndings(endings: readonly Ending[], exceptions: Reply | undefined): void {
  if (endings.length === 0) return
  const told = listOf(exceptions)
  const reasons = new Map<Reply, Reply>()
  for (let at = 0; at < told.length; at += 2) reasons.set(told[at] ?? null, told[at + 1] ?? null)
  endings.forEach(({ resolve }, index) => {
    const reason = reasons.get(index + 1)
    resolve(reason === undefined ? true : reason === 0 ? false : undefined)
  })
}

const none: readonly Ending[] = []
