/** Workers of both languages on one queue, beside each other: nothing is lost, and nothing is run twice. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../conformance/wait.js'
import { isFullRun } from '../harness/depth.js'
import { type Broker, Fleet, fresh } from './fleet.js'
import { skippedOn, title } from './needs.js'

export function testSharedQueue(broker: Broker, { count }: { readonly count: number }): void {
  describe.skipIf(skippedOn(broker))(title('one queue', broker), () => {
    let fleet: Fleet
    beforeAll(async () => {
      fleet = await Fleet.start({
        broker,
        python: ['shared'],
        node: ['shared'],
        concurrency: 2,
        pythonConfig: { worker_prefetch_multiplier: 4 },
        // All are sent at once: the last one waits for the others.
        nodeOptions: { publishTimeout: 180 },
      })
    })
    afterAll(async () => fleet?.[Symbol.asyncDispose]())

    test(`${count} tasks of both clients: each runs once, some at each worker`, { timeout: 400_000 }, async () => {
      const key = fresh('count')
      const byPython = count / 4
      const byNode = count - byPython
      const [ofPython, ofNode] = await Promise.all([
        fleet.client.ask<string[]>(
          'flood',
          { task: 'interop.count', args: JSON.stringify([key]), options: '{"queue": "shared", "ignore_result": true}', count: byPython },
          180_000,
        ),
        Promise.all(
          Array.from({ length: byNode }, async () => {
            const { id } = await fleet.app.sendTask('interop.count', { args: [key] }, { queue: 'shared' })
            return id
          }),
        ),
      ])
      const nothingLeft = async (): Promise<boolean> => {
        const [ran, waiting] = await Promise.all([fleet.redis.hlen(`ran:${key}`), fleet.waiting('shared')])
        return ran >= byPython + byNode && waiting === 0
      }
      await until(nothingLeft, `the end of ${count} tasks\n${fleet.said()}`, 180_000)
      await fleet.allAcked()
      const runs = await fleet.redis.hgetall(`ran:${key}`)
      expect(new Set(Object.keys(runs))).toEqual(new Set([...ofPython, ...ofNode]))
      const how = await fleet.redis.lrange(`ran-by:${key}`, 0, -1)
      const twice = Object.keys(runs).filter((id) => runs[id] !== '1')
      expect(twice.map((id) => fleet.story(id, how))).toEqual([])
      for (const language of ['python', 'node']) expect(how.filter((run) => run.includes(` ${language} `)).length).toBeGreaterThan(0)
    })

    test('a task is retried by workers of both languages in turn: each retry is run once', async () => {
      const { python, node } = fleet.callers
      const ids = await Promise.all(
        Array.from({ length: 40 }, (_, index) => (index % 2 === 0 ? python : node).call('interop.flaky', [4], {}, { queue: 'shared' })),
      )
      // Not the result: Celery stores RETRY after it has sent the retry, and so now and then over the SUCCESS of who was quicker.
      const byBoth: boolean[] = []
      for (const id of ids) {
        const runs = await fleet.listed(`runs:${id}`, 5, 20_000)
        expect(runs.map((run) => run.split(' ')[0])).toEqual(['0', '1', '2', '3', '4'])
        byBoth.push(new Set(runs.map((run) => run.split(' ')[1])).size === 2)
      }
      expect(byBoth).toContain(true)
      await fleet.allAcked()
      for (const id of ids) expect(await fleet.redis.llen(`runs:${id}`)).toBe(5)
    })

    // Limits are ours: on each broker the same code. Queues that are listed have the type of their own arguments, and Python would declare another.
    if (isFullRun && broker !== 'quorum')
      test('a limit of the cluster holds among Node workers, beside a Python worker that knows nothing of it', async () => {
        const options = { taskQueues: [{ name: 'limited', concurrency: 2 }], limitStore: fleet.storeUrl }
        await Promise.all([fleet.startNode(['limited'], options), fleet.startNode(['limited'], options), fleet.startPython(['limited'])])
        const name = fresh('crowd')
        const { python, node } = fleet.callers
        const queue = 'limited'
        const calls = Array.from({ length: 60 }, (_, index) =>
          (index % 2 === 0 ? python : node).call('interop.crowded', [name, 0.05], {}, { queue }),
        )
        const ends: unknown[] = []
        for (const id of await Promise.all(calls)) ends.push((await node.end(id)).value)
        const seen = async (language: string) => (await fleet.redis.lrange(`crowds:${name}:${language}`, 0, -1)).map(Number)
        const [ofNode, ofPython] = [await seen('node'), await seen('python')]
        expect([ofNode.length, ofPython.length]).toEqual(['node', 'python'].map((one) => ends.filter((end) => end === one).length))
        expect(ofNode.length + ofPython.length).toBe(60)
        expect(ofPython.length).toBeGreaterThan(0)
        expect(Math.max(...ofNode)).toBe(2)
        await fleet.allAcked()
      })
  })
}
