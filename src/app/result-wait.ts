import type { ResultBackend } from '../backend.js'
import type { AsyncResult, GetOptions } from '../canvas/handles.js'
import { NotSupportedError, ResultsDisabledError, TimeoutError } from '../errors.js'
import type { Clock } from '../internal/clock.js'
import { toMs } from '../internal/duration.js'
import { checkNames, type NamesOf } from '../internal/known-names.js'
import { mayBeShared } from '../internal/shared-signal.js'
import type { ResultTuple } from '../protocol/result.js'
import type { Connections } from './connections.js'

/** What handles need of their app. */
export interface ResultAccess {
  readonly connections: Connections
  readonly clock: Clock
  /** `resultExpires`, in seconds; null: never. */
  readonly expiresSeconds: number | null
  revoke(taskIds: readonly string[], options: { terminate?: boolean; signal?: NodeJS.Signals }): Promise<void>
  /** A handle of what a tuple tells; `parent` where the tuple has none. */
  handle(tuple: ResultTuple, parent?: AsyncResult<unknown>): AsyncResult<unknown>
}

/** The backend, where it keeps results. */
export async function resultsOf({ connections }: ResultAccess): Promise<ResultBackend> {
  const backend = await connections.backend()
  if (!backend.supports.results) throw new ResultsDisabledError()
  return backend
}

/** Throws in words where a chord could not be counted. */
export function needChords(backend: ResultBackend): void {
  if (!backend.supports.chords)
    throw new NotSupportedError(
      'a chord (a group that is followed by something)',
      `the result backend "${backend.name}" counts none. Set backend, for instance to "sqlite://" or "redis://".`,
    )
}

const names: NamesOf<Required<GetOptions>> = { timeout: true, signal: true, propagate: true, allowInsideTask: true }

export interface Deadline {
  readonly signal: AbortSignal
  release(): void
}

/** One signal for the caller's own and the timeout. While it is open the process stays alive: drivers hold nothing that would keep it. */
export function deadlineOf(clock: Clock, options: GetOptions, what: string): Deadline {
  checkNames(options, names)
  const { timeout, signal } = options
  const controller = new AbortController()
  const abort = (): void => controller.abort(signal?.reason)
  if (signal?.aborted) abort()
  if (signal !== undefined) mayBeShared(signal)
  signal?.addEventListener('abort', abort, { once: true })
  const timer =
    timeout === undefined
      ? undefined
      : clock.setTimer(toMs(timeout, 'timeout'), () =>
          controller.abort(new TimeoutError(`no result of ${what} within ${toMs(timeout, 'timeout') / 1000} s`)),
        )
  const keepAlive = setInterval(() => {}, 2 ** 30)
  return {
    signal: controller.signal,
    release: () => {
      signal?.removeEventListener('abort', abort)
      timer?.cancel()
      clearInterval(keepAlive)
    },
  }
}
