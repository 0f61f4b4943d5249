/**
 * What a worker and its child say to each other. Runs go by a number of their own, not by task id: the same task may be delivered twice.
 *
 *     worker                            child
 *       setup                   ->
 *                               <-      ready | bootFailed
 *       run n (body)            ->                            waits in the child while it is at its concurrency
 *                               <-      accepted n            written before the function starts, also when it blocks for ever
 *                               <-      outcome n (result)
 *       abort n                 ->
 *       giveBack                ->                            what has not started is dropped by the child ...
 *                               <-      gaveBack              ... and named here
 *                               <-      state s (meta)
 *       stored s                ->
 *       drain                   ->                            finishes what it has, exits with 0
 *                               <-      crashed               an uncaught error: it exits at once
 *
 * The child writes synchronously: when it is dead and its pipe is read to the end, a run without `accepted` never started.
 * Between the end of a run and the start of the next it reads its pipe: nothing starts behind a `giveBack`.
 */

import type { AbortCause, Continuations, Outcome, TaskRequest } from '../pool.js'
import { JsonText } from '../protocol/json-text.js'
import { encodeFrame, type Frame } from './frames.js'

/** The child's ends of the two pipes: one a direction, for the child reads without blocking and writes blocking. */
export const childReadsFd = 3
export const childWritesFd = 4

export type ToChild =
  | { readonly t: 'setup'; readonly concurrency: number; readonly reportRss: boolean; readonly watchParent: boolean }
  | { readonly t: 'run'; readonly n: number; readonly binary: boolean; readonly request: Omit<TaskRequest, 'body'> }
  | { readonly t: 'abort'; readonly n: number; readonly cause: AbortCause }
  | { readonly t: 'giveBack' }
  | { readonly t: 'stored'; readonly s: number; readonly error: string | null }
  | { readonly t: 'drain' }

export type FromChild =
  | { readonly t: 'ready' }
  | { readonly t: 'bootFailed'; readonly error: string }
  | { readonly t: 'accepted'; readonly n: number; readonly continuations?: Continuations }
  | { readonly t: 'outcome'; readonly n: number; readonly ms: number; readonly rss?: number; readonly outcome: Outcome }
  | { readonly t: 'gaveBack'; readonly runs: readonly number[] }
  | { readonly t: 'state'; readonly n: number; readonly s: number; readonly state: string; readonly encoded: boolean }
  | { readonly t: 'crashed'; readonly error: string }

export function encodeRun(n: number, { body, ...request }: TaskRequest): Buffer {
  return encodeFrame({ t: 'run', n, binary: typeof body !== 'string', request } satisfies ToChild, body)
}

export function decodeRun(head: Extract<ToChild, { t: 'run' }>, body: Buffer): TaskRequest {
  return { ...head.request, body: head.binary ? body : body.toString() }
}

/** The result travels as the frame's body, not escaped once more inside the head. */
export function encodeOutcome(n: number, ms: number, outcome: Outcome, rss: number | undefined): Buffer {
  if (outcome.status !== 'success') return encodeFrame({ t: 'outcome', n, ms, rss, outcome } satisfies FromChild)
  return encodeFrame({ t: 'outcome', n, ms, rss, outcome: { ...outcome, result: '' } } satisfies FromChild, outcome.result)
}

export function decodeOutcome(outcome: Outcome, body: Buffer): Outcome {
  return outcome.status === 'success' ? { ...outcome, result: body.toString() } : outcome
}

/** @throws TypeError when the meta has no JSON. */
export function encodeState(n: number, s: number, state: string, meta: unknown): Buffer {
  const encoded = meta instanceof JsonText
  return encodeFrame({ t: 'state', n, s, state, encoded } satisfies FromChild, encoded ? meta.text : (JSON.stringify(meta) ?? 'null'))
}

export function decodeState(head: Extract<FromChild, { t: 'state' }>, body: Buffer): unknown {
  return head.encoded ? new JsonText(body.toString()) : JSON.parse(body.toString())
}

/** Both ends are this package in one version, so the shape of a head is known, not checked. */
export function toChildHead(frame: Frame): ToChild {
  return frame.head as ToChild // see above
}

export function fromChildHead(frame: Frame): FromChild {
  return frame.head as FromChild // see above
}
