import type { WorkerState } from '../app/worker-handle.js'
import type { PortAnswer, PortRoutes } from './http-port.js'

/** What a worker tells of itself to probes. */
export interface Health {
  readonly hostname: string
  readonly state: WorkerState
  readonly queues: readonly string[]
  /** Why it takes no tasks at this moment, in words; undefined: it does. */
  readonly notReady: string | undefined
  /** How often it was found deaf and has connected anew. */
  readonly deafRepairs: number
}

/** Why a worker in this state takes no tasks. */
export const notReadyWords = {
  new: 'it was not started',
  starting: 'it starts',
  reconnecting: 'the broker does not answer',
  draining: 'it was told to stop, and waits for what runs',
  stopped: 'it has stopped',
} as const

/**
 * `/healthz` answers as long as the process does: a reason to restart it is that nothing comes. `/readyz` is 200 only while tasks are taken. Neither asks
 * the broker: a probe must not make an outage worse, nor restart workers because of one.
 */
export function healthRoutes(health: Health): PortRoutes {
  return {
    '/healthz': () => answer(200, 'alive', health),
    '/readyz': () => (health.notReady === undefined ? answer(200, 'ready', health) : answer(503, 'not ready', health)),
  }
}

function answer(status: number, word: string, { hostname, state, queues, notReady, deafRepairs }: Health): PortAnswer {
  const body = { status: word, reason: notReady ?? null, state, hostname, pid: process.pid, queues, deaf_repairs: deafRepairs }
  return { status, type: 'application/json; charset=utf-8', body: `${JSON.stringify(body)}\n` }
}
