import { randomUUID } from 'node:crypto'

/** A new id: a UUID of version 7, which begins with its time. Ids of one moment lie together in every index, where random ones lie everywhere. */
export function newTaskId(nowMs: number): string {
  const time = Math.trunc(nowMs).toString(16).padStart(12, '0')
  return `${time.slice(0, 8)}-${time.slice(8, 12)}-7${randomUUID().slice(15)}`
}

/** When an id of version 7 was made, ms since the epoch; undefined for any other text. */
export function sentAtMs(taskId: string): number | undefined {
  if (!/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(taskId)) return undefined
  return Number.parseInt(taskId.slice(0, 8) + taskId.slice(9, 13), 16)
}

// 41 bits of milliseconds from here reach to 2089; with the 12 random bits behind them they just fit into a number.
const epochMs = Date.UTC(2020)

/** A number for an index of ids, below 2^53: time and 12 random bits of a UUID of version 7, a hash of any other text. Ids may share one: compare the id, too. */
export function taskIdKey(taskId: string): number {
  if (taskId.length === 36 && taskId.charCodeAt(14) === 55 && taskId.charCodeAt(8) === 45) {
    const time = Number.parseInt(taskId.slice(0, 8) + taskId.slice(9, 13), 16) - epochMs
    const random = Number.parseInt(taskId.slice(15, 18), 16)
    if (time >= 0 && time < 2 ** 41 && random >= 0) return time * 4096 + random
  }
  let hash = 0x811c9dc5
  for (let index = 0; index < taskId.length; index++) hash = Math.imul(hash ^ taskId.charCodeAt(index), 0x01000193)
  return hash >>> 0
}
