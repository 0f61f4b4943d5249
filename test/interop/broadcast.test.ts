/** Queues that are broadcasts (kombu.common.Broadcast): workers of both languages run what is sent to them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../conformance/wait.js'
import { Fleet, fresh } from './fleet.js'
import { skippedOn, title } from './needs.js'

describe.each(['redis', 'classic'] as const)('over %s', (broker) => {
  describe.skipIf(skippedOn(broker))(title('broadcasts', broker), () => {
    let fleet: Fleet
    beforeAll(async () => {
      fleet = await Fleet.start({
        broker,
        node: ['node', 'news'],
        python: ['python', 'news'],
        pythonConfig: { broadcasts: ['news'] },
        nodeOptions: { taskQueues: [{ name: 'news', broadcast: true }, 'node', 'python'] },
      })
    })
    afterAll(async () => fleet?.[Symbol.asyncDispose]())

    const noted = (name: string): Promise<number> => fleet.redis.llen(`note:${name}`)

    test('what a Node client sends is run by both', async () => {
      const name = fresh('news')
      await fleet.callers.node.call('interop.note', [1, name], {}, { queue: 'news' })
      await until(async () => (await noted(name)) === 2, 'both workers')
    })

    // On Redis a Python client does not know the type of an exchange that it has not declared, and pushes to the queues' lists, which no Python worker reads.
    const both = broker === 'redis' ? 1 : 2
    test(`what a Python client sends is run by ${both === 2 ? 'both' : 'the Node worker'}`, async () => {
      const name = fresh('news')
      await fleet.callers.python.call('interop.note', [1, name], {}, { queue: 'news' })
      await until(async () => (await noted(name)) === both, 'the workers')
      expect(await noted(name)).toBe(both)
    })
  })
})
