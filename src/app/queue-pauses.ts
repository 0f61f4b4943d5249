/**
 * Pausing a queue for the cluster. The broker remembers it for workers of celeriac that start later; those that run are told by a broadcast. Python workers know no
 * pause: they are told to cancel their consumer, and which ones did is noted, so that they and no others take from the queue again afterwards.
 */
import { DecodeError } from '../errors.js'
import { ourWorkers } from '../protocol/mailbox.js'
import { isRecord } from '../protocol/plain.js'
import { decodeJson } from '../serializers/json.js'
import type { AppCore } from './core.js'
import type { Replies } from './inspect.js'

/** What is kept with a pause. */
export interface PauseNote {
  /** ms since the epoch. */
  readonly atMs: number
  /** Node names of the Python workers that took from the queue. */
  readonly nodes: readonly string[]
}

export interface PauseOptions {
  /** No more answers are waited for after such a silence, ms. */
  readonly timeoutMs: number
}

/** What the workers that were told have answered. Safe to repeat: Python workers that have come since then are told, too. */
export async function pauseQueue(core: AppCore, queue: string, { timeoutMs }: PauseOptions): Promise<Replies> {
  const connection = await core.connections.publisher()
  const before = (await pausesOf(core, [queue])).get(queue)
  const atMs = before?.atMs ?? core.clock.now()
  // First of all: a worker that starts meanwhile must find it.
  await connection.queues.pause(queue, JSON.stringify({ atMs, nodes: before?.nodes ?? [] } satisfies PauseNote))
  const [ours, theirs] = await Promise.all([tellOurs(core, 'pause_queue', queue, timeoutMs), pythonConsumers(core, queue, timeoutMs)])
  if (theirs.length === 0) return ours
  const nodes = [...new Set([...(before?.nodes ?? []), ...theirs])]
  await connection.queues.pause(queue, JSON.stringify({ atMs, nodes } satisfies PauseNote))
  return { ...ours, ...(await tellPython(core, 'cancel_consumer', queue, theirs, timeoutMs)) }
}

/** The same for the end of a pause. A queue that was not paused is left as it is. */
export async function resumeQueue(core: AppCore, queue: string, { timeoutMs }: PauseOptions): Promise<Replies> {
  const connection = await core.connections.publisher()
  const nodes = (await pausesOf(core, [queue])).get(queue)?.nodes ?? []
  await connection.queues.resume(queue)
  const [ours, theirs] = await Promise.all([
    tellOurs(core, 'resume_queue', queue, timeoutMs),
    nodes.length === 0 ? {} : tellPython(core, 'add_consumer', queue, nodes, timeoutMs),
  ])
  return { ...ours, ...theirs }
}

/** Those of these queues that are paused. */
export async function pausesOf({ connections }: AppCore, queues: readonly string[]): Promise<ReadonlyMap<string, PauseNote>> {
  const notes = await (await connections.publisher()).queues.paused(queues)
  return new Map([...notes].map(([queue, text]) => [queue, readNote(text)]))
}

/** A note that is damaged is a pause all the same. */
function readNote(text: string): PauseNote {
  const none = { atMs: 0, nodes: [] }
  try {
    const note = decodeJson(text)
    if (!isRecord(note)) return none
    const { atMs, nodes } = note
    return {
      atMs: typeof atMs === 'number' ? atMs : 0,
      nodes: Array.isArray(nodes) ? nodes.filter((node) => typeof node === 'string') : [],
    }
  } catch (error) {
    if (error instanceof DecodeError) return none
    throw error
  }
}

/** No Python worker takes this for a command to itself, and none complains that it does not know it. */
async function tellOurs(core: AppCore, method: string, queue: string, timeoutMs: number): Promise<Replies> {
  const replies = await core.control.ask(
    { method, arguments: { queue }, destination: [ourWorkers] },
    { timeoutMs, limit: Number.POSITIVE_INFINITY },
  )
  return Object.fromEntries(replies.map(({ hostname, reply }) => [hostname, reply]))
}

async function tellPython(core: AppCore, method: string, queue: string, nodes: readonly string[], timeoutMs: number): Promise<Replies> {
  const replies = await core.control.ask({ method, arguments: { queue }, destination: nodes }, { timeoutMs })
  return Object.fromEntries(replies.map(({ hostname, reply }) => [hostname, reply]))
}

/** Ours say of each queue whether it is paused. */
async function pythonConsumers(core: AppCore, queue: string, timeoutMs: number): Promise<readonly string[]> {
  const replies = await core.control.ask({ method: 'active_queues', arguments: {} }, { timeoutMs })
  return replies
    .filter(({ reply }) => Array.isArray(reply) && reply.some((one) => isRecord(one) && one.name === queue && !('paused' in one)))
    .map(({ hostname }) => hostname)
}
