/** Beats of both languages and workers of the other. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { every } from '../../dist/index.js'
import { until } from '../conformance/wait.js'
import { Fleet, fresh } from './fleet.js'
import { skipped, title } from './needs.js'
import { PythonProcess } from './python-process.js'

interface Envelope {
  readonly body: string
  readonly headers: Record<string, unknown>
  readonly properties: Record<string, unknown>
}

describe.skipIf(skipped)(title('beat'), () => {
  let fleet: Fleet
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-'))
  beforeAll(async () => {
    fleet = await Fleet.start({ python: ['to-python'], node: ['to-node'] })
  })
  afterAll(async () => {
    await fleet?.[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true })
  })

  /** `celery beat`, unchanged. */
  const pythonBeat = (schedule: object): PythonProcess =>
    new PythonProcess(
      ['-m', 'celery', '-A', 'interop_app', 'beat', '-s', join(folder, fresh('schedule')), '--max-interval', '1', '-l', 'INFO'],
      {
        broker: fleet.url,
        backend: fleet.url,
        store: fleet.storeUrl,
        config: { beat_schedule: schedule },
      },
    )
  const ranTwice = async (key: string): Promise<string[]> => {
    const runs = await fleet.redis.hgetall(`ran:${key}`)
    return Object.keys(runs).filter((id) => runs[id] !== '1')
  }

  test('a Python worker runs our schedule, each time once', async () => {
    const key = fresh('ours')
    const app = fleet.another({
      beatSchedule: {
        count: { task: 'interop.count', args: [key], schedule: every(0.5), options: { queue: 'to-python' } },
        request: { task: 'interop.request', schedule: every(0.5), options: { queue: 'to-python', headers: { mine: 1 } } },
      },
    })
    const beat = await app.beat().start()
    await until(async () => (await fleet.redis.hlen(`ran:${key}`)) >= 4, 'four runs', 30_000)
    const [run] = await app.schedule.history('request', { limit: 1 })
    const seen = await app.result<{ headers: Record<string, unknown> }>(run?.taskId ?? '').get({ timeout: 20 })
    expect(seen.headers).toMatchObject({ periodic_task_name: 'request', mine: 1 })
    await beat.stop()
    const sent = (await app.schedule.history('count', { limit: 100 })).map(({ taskId }) => taskId)
    await until(async () => (await fleet.redis.hlen(`ran:${key}`)) >= sent.length, 'all that was sent has run', 30_000)
    expect(new Set(Object.keys(await fleet.redis.hgetall(`ran:${key}`)))).toEqual(new Set(sent))
    expect(await ranTwice(key)).toEqual([])
    await app.close()
  })

  test("our worker runs Python beat's schedule", async () => {
    const key = fresh('theirs')
    const beat = pythonBeat({ count: { task: 'interop.count', args: [key], schedule: 0.5, options: { queue: 'to-node' } } })
    try {
      await until(async () => (await fleet.redis.hlen(`ran:${key}`)) >= 4, 'four runs', 40_000)
    } finally {
      await beat.stop()
    }
    expect(await ranTwice(key)).toEqual([])
  })

  test("messages of our beat carry what those of Python's beat do", async () => {
    const [ours, theirs] = [fresh('ours'), fresh('theirs')]
    const call = (queue: string) => ({
      task: 'interop.add',
      args: [1, 2],
      schedule: 0.5,
      options: { queue, priority: 3, expires: 60, headers: { periodic_task_name: 'sum' } },
    })
    const app = fleet.another({ beatSchedule: { sum: call(ours) } })
    const beat = pythonBeat({ sum: call(theirs) })
    const own = await app.beat().start()
    const first = async (queue: string): Promise<Envelope> => {
      // Lists of a priority have its step behind their name.
      const keys = async (): Promise<string[]> => (await fleet.redis.keys(`${queue}*`)).filter((key) => !key.includes('binding'))
      await until(async () => (await keys()).length > 0, `a message in ${queue}`, 40_000)
      return JSON.parse((await fleet.redis.lindex((await keys())[0] ?? '', -1)) ?? '')
    }
    try {
      const [node, python] = [await first(ours), await first(theirs)]
      expect(Object.keys(node.headers).sort()).toEqual(
        expect.arrayContaining(
          Object.keys(python.headers)
            .filter((key) => python.headers[key] !== null)
            .sort(),
        ),
      )
      for (const header of ['task', 'retries', 'kwargsrepr', 'celery_beat_task', 'periodic_task_name', 'timelimit']) {
        expect(node.headers[header], header).toEqual(python.headers[header])
      }
      expect(JSON.parse(Buffer.from(node.body, 'base64').toString())).toEqual(JSON.parse(Buffer.from(python.body, 'base64').toString()))
      expect(node.properties.priority).toBe(python.properties.priority)
      expect(Object.keys(node.properties).sort()).toEqual(Object.keys(python.properties).sort())
    } finally {
      await own.stop()
      await beat.stop()
      await app.close()
    }
  })
})
