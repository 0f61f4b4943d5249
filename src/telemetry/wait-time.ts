import { sentAtMs } from '../internal/task-id.js'
import type { TaskHead } from '../protocol/task-head.js'

/**
 * How long a task waited that is started now, in seconds: since its eta, else since it was sent, which an id of version 7 tells. Undefined where nobody knows:
 * other ids (Python's), and retries, whose id is that of the first run. Clocks of two hosts are compared: never below 0.
 */
export function waitSeconds({ id, etaMs, retries }: Pick<TaskHead, 'id' | 'etaMs' | 'retries'>, nowMs: number): number | undefined {
  const sinceMs = etaMs ?? (retries === 0 ? sentAtMs(id) : undefined)
  return sinceMs === undefined ? undefined : Math.max(0, nowMs - sinceMs) / 1000
}
