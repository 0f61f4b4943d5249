// @ts-check
// The tasks of peers whose jobs are a name and one object of data; see celeriac/tasks.mjs.
import { setTimeout as sleep } from 'node:timers/promises'
import { mark, spin, stamp, stampLate } from './marks.mjs'

/** @type {Record<string, (data: any, job?: any) => unknown>} */
export const tasks = {
  add({ x, y }) {
    mark()
    return x + y
  },
  cpu({ ms }) {
    spin(ms)
    mark()
  },
  async wait({ ms }) {
    await sleep(ms)
    mark()
  },
  stamped: ({ sentNs }) => stamp(sentNs),
  late: ({ dueMs }) => stampLate(dueMs),
  /** The parent of a flow. */
  total: async (_, job) => Object.values(await job.getChildrenValues()).reduce((sum, number) => sum + number, 0),
}

export const data = { add: { x: 2, y: 3 }, cpu: { ms: 5 }, wait: { ms: 10 } }
