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
 * The child writes synchronously: when it is dead and all that it said is read, a run without `accepted` never started.
 * It starts nothing without having read what it was sent, a millisecond before at most: nothing starts behind a `giveBack` that it had the time to read.
 *
 * A message is a head, which is plain data, and a body that nobody looks into on the way. Between processes they are frames in pipes (frames.ts), and
 * the head is JSON; between threads they are a pair on a port. A thread is told its set-up when it is started.
 */

import type { MessagePort } from 'node:worker_threads'
import type { AbortCause, Continuations, Outcome, TaskRequest } from '../pool.js'
import { JsonText } from '../protocol/json-text.js'
import type { Frame } from './frames.js'

/** The child's ends of the two pipes: one a direction, for the child reads without blocking and writes blocking. */
export const childReadsFd = 3
export const childWritesFd = 4

export type ToChild =
  | { readonly t: 'setup'; readonly concurrency: number; readonly reportMemory: boolean; readonly watchParent: boolean }
  | { readonly t: 'run'; readonly n: number; readonly binary: boolean; readonly request: Omit<TaskRequest, 'body'> }
  | { readonly t: 'abort'; readonly n: number; readonly cause: AbortCause }
  | { readonly t: 'giveBack' }
  | { readonly t: 'stored'; readonly s: number; readonly error: string | null }
  | { readonly t: 'drain' }

export type FromChild =
  | { readonly t: 'ready' }
  | { readonly t: 'bootFailed'; readonly error: string }
  | { readonly t: 'accepted'; readonly n: number; readonly continuations?: Continuations }
  | { readonly t: 'outcome'; readonly n: number; readonly ms: number; readonly memory?: number; readonly outcome: Outcome }
  | { readonly t: 'gaveBack'; readonly runs: readonly number[] }
  | { readonly t: 'state'; readonly n: number; readonly s: number; readonly state: string; readonly encoded: boolean }
  | { readonly t: 'crashed'; readonly error: string }

/** A head and its body; none: empty. */
export interface Message<Head> {
  readonly head: Head
  readonly body?: string | Uint8Array
}

export function runMessage(n: number, { body, context, ...request }: TaskRequest): Message<ToChild> {
  return { head: { t: 'run', n, binary: typeof body !== 'string', request: { ...request, context: { ...context } } }, body }
}

export function decodeRun(head: Extract<ToChild, { t: 'run' }>, body: string | Buffer): TaskRequest {
  return { ...head.request, body: head.binary ? body : body.toString() }
}

/** The result travels as the body, not escaped once more inside the head. */
export function outcomeMessage(n: number, ms: number, outcome: Outcome, memory: number | undefined): Message<FromChild> {
  if (outcome.status !== 'success') return { head: { t: 'outcome', n, ms, ...(memory === undefined ? {} : { memory }), outcome } }
  const head = { t: 'outcome', n, ms, ...(memory === undefined ? {} : { memory }), outcome: { ...outcome, result: '' } } as const
  return { head, body: outcome.result }
}

/** What of a message comes from elsewhere, and may hold what JSON has no form for: headers, arguments of errors. The rest is ours, and plain. */
export function foreignIn(head: ToChild | FromChild): unknown {
  if (head.t === 'run') return head.request.context
  return head.t === 'outcome' && head.outcome.status !== 'success' ? head.outcome : null
}

export function decodeOutcome(outcome: Outcome, body: string | Buffer): Outcome {
  return outcome.status === 'success' ? { ...outcome, result: body.toString() } : outcome
}

/** @throws TypeError when the meta has no JSON. */
export function stateMessage(n: number, s: number, state: string, meta: unknown): Message<FromChild> {
  const encoded = meta instanceof JsonText
  return { head: { t: 'state', n, s, state, encoded }, body: encoded ? meta.text : (JSON.stringify(meta) ?? 'null') }
}

export function decodeState(head: Extract<FromChild, { t: 'state' }>, body: string | Buffer): unknown {
  return head.encoded ? new JsonText(body.toString()) : JSON.parse(body.toString())
}

/** Both ends are this package in one version, so the shape of a head is known, not checked. */
export function toChildHead(frame: Frame): ToChild {
  return frame.head as ToChild // see above
}

export function fromChildHead(frame: Frame): FromChild {
  return frame.head as FromChild // see above
}

/** What a thread is told when it is started. */
export interface ThreadSetup {
  readonly port: MessagePort
  readonly concurrency: number
  readonly reportMemory: boolean
}

/** A message on the port of a thread. */
export interface PortMessage<Head> {
  readonly head: Head
  readonly body: string | Uint8Array | undefined
}

/** Bytes are copied once, as the sender may need its own again, and handed over. */
export function toPort<Head>(head: Head, body: string | Uint8Array | undefined): { pair: PortMessage<Head>; transfer: ArrayBuffer[] } {
  if (typeof body !== 'object') return { pair: { head, body }, transfer: [] }
  const copy = new Uint8Array(body)
  return { pair: { head, body: copy }, transfer: [copy.buffer] }
}

export function bodyFromPort(body: string | Uint8Array | undefined): string | Buffer {
  if (typeof body === 'object') return Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  return body ?? ''
}
