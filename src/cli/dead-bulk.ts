/** Replays or drops many dead letters: paced, with progress, and ended in order by Ctrl-C. */
import type { DeadLetterFilter } from '../app/dead-letters.js'
import { CeleriacError } from '../errors.js'
import { interruptible } from './interrupt.js'
import { Progress } from './progress.js'
import type { CommandContext } from './with-app.js'

export type BulkAction = 'replay' | 'drop'

export interface BulkOptions {
  /** So many at most. */
  readonly limit: number
  /** So many a second at most. */
  readonly rate: number | undefined
  readonly context: CommandContext
}

export interface BulkResult {
  readonly done: number
  readonly failures: readonly { readonly id: string; readonly code: string; readonly message: string }[]
  /** Ids of all that were there. */
  readonly seen: ReadonlySet<string>
  readonly isInterrupted: boolean
}

/** One that cannot be replayed (its queue is gone) is told, stays, and stops no other. */
export function bulk(action: BulkAction, filter: DeadLetterFilter, { limit, rate, context }: BulkOptions): Promise<BulkResult> {
  const { app, core, flags } = context
  const { clock } = core
  return interruptible(async (signal) => {
    const progress = new Progress({ clock, verb: action === 'replay' ? 'replayed' : 'dropped', total: limit, quiet: flags.quiet })
    const failures: { id: string; code: string; message: string }[] = []
    const seen = new Set<string>()
    const startMs = clock.monotonic()
    try {
      await app.deadLetters.visit(filter, async (letter, actions) => {
        const waitMs = rate === undefined ? 0 : startMs + (seen.size * 1000) / rate - clock.monotonic()
        if (waitMs > 0) await pause(waitMs, signal, clock)
        if (signal.aborted) return false
        seen.add(letter.id)
        try {
          if (await actions[action]()) progress.done++
        } catch (error) {
          if (!(error instanceof CeleriacError) || error.code === 'ERR_CONNECTION') throw error
          failures.push({ id: letter.id, code: error.code, message: error.message })
          progress.failed++
        }
        return seen.size < limit && !signal.aborted
      })
    } finally {
      progress.stop()
    }
    return { done: progress.done, failures, seen, isInterrupted: signal.aborted }
  })
}

function pause(ms: number, signal: AbortSignal, clock: CommandContext['core']['clock']): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.setTimer(ms, resolve, { keepAlive: true })
    signal.addEventListener(
      'abort',
      () => {
        timer.cancel()
        resolve()
      },
      { once: true },
    )
  })
}
