// @ts-check
import { chord, group } from '../../dist/index.js'
import { monotonicNs } from '../marks.mjs'
import { produce } from '../producer.mjs'
import { add, app, cpu, late, stamped, total, wait } from './tasks.mjs'

const calls = { add: () => add.delay(2, 3), cpu: () => cpu.delay(5), wait: () => wait.delay(10) }

await produce({
  send: async (kind) => (await calls[kind]()).id,
  stamp: () => stamped.delay(monotonicNs()),
  sendAt: (dueMs) => late.applyAsync([dueMs], { eta: new Date(dueMs) }),
  /** Settles when the result of the last task is there. */
  chord: (count) =>
    chord(group(additions(count)), total.s())
      .delay()
      .get({ timeout: 600 }),
  verify: async (id) => void (await app.result(id).get({ timeout: 20 })),
})
await app.close()

/** @param {number} count */
function* additions(count) {
  for (let made = 0; made < count; made++) yield add.s(2, 3)
}
