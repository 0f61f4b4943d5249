/** Flower, unchanged, over a worker of each language: what it shows of them is alike, and what it orders is done. */
import { hostname } from 'node:os'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { needs } from '../../scripts/needs.mjs'
import { freePort } from '../../scripts/services.mjs'
import { until } from '../conformance/wait.js'
import { isFullRun } from '../harness/depth.js'
import { type Broker, Fleet, fresh } from './fleet.js'
import { skipped, title } from './needs.js'
import { PythonProcess, type PythonSettings } from './python-process.js'
import { shapeOf } from './shape.js'

const node = `node0@${hostname()}`
const snake = `python0@${hostname()}`

type Answer = Readonly<Record<string, unknown>>

/** Why it cannot run here, false when it can. In CI it must. */
function withoutFlower(): string | false {
  if (skipped !== false || needs.flower?.find() !== undefined) return skipped
  const reason = 'there is no Flower: run node scripts/install.mjs --test'
  if (process.env.CI !== undefined && process.env.CI !== '') throw new Error(reason)
  return reason
}

class Flower extends PythonProcess {
  readonly #url: string

  static async start(settings: PythonSettings): Promise<Flower> {
    const port = await freePort()
    const flower = new Flower(port, settings)
    await until(async () => !flower.isRunning || (await flower.#isUp()), `Flower answers\n${flower.output}`, 40_000)
    if (!flower.isRunning) throw new Error(`Flower ended: ${flower.output}`)
    return flower
  }

  private constructor(port: number, settings: PythonSettings) {
    const flags = ['--address=127.0.0.1', `--port=${port}`, '--inspect-timeout=5000']
    super(['-m', 'celery', '-A', 'interop_app', 'flower', ...flags], settings, { FLOWER_UNAUTHENTICATED_API: 'true' })
    this.#url = `http://127.0.0.1:${port}`
  }

  async #isUp(): Promise<boolean> {
    return await fetch(`${this.#url}/healthcheck`).then(
      ({ ok }) => ok,
      () => false,
    )
  }

  async get(path: string): Promise<Answer> {
    return this.#json(await fetch(`${this.#url}/api/${path}`), path)
  }

  async post(path: string, body?: Readonly<Record<string, unknown>>): Promise<Answer> {
    return this.#json(
      await fetch(`${this.#url}/api/${path}`, { method: 'POST', ...(body === undefined ? {} : { body: JSON.stringify(body) }) }),
      path,
    )
  }

  async #json(response: Response, path: string): Promise<Answer> {
    const text = await response.text()
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text}\n${this.output.slice(-2_000)}`)
    return JSON.parse(text)
  }

  /** What it knows of a task, when this is so. */
  async task(id: string, state: string): Promise<Answer> {
    let found: Answer = {}
    const look = async (): Promise<boolean> => {
      const answer: Answer = await this.get(`task/info/${id}`).catch(() => ({}))
      found = answer
      return answer.state === state
    }
    await until(look, `Flower sees ${state} of ${id}`, 30_000).catch((cause) => {
      throw new Error(`it has ${JSON.stringify(found)}`, { cause })
    })
    return found
  }
}

const brokers: readonly Broker[] = isFullRun ? ['redis', 'classic'] : ['redis']

describe.skipIf(withoutFlower()).each(brokers)(title('Flower on %s, with a worker of each language'), (broker) => {
  let fleet: Fleet
  let flower: Flower
  beforeAll(async () => {
    fleet = await Fleet.start({ broker, node: ['node'], python: ['python'], flags: ['-E', '-O', 'fair'], concurrency: 1 })
    flower = await Flower.start({ broker: fleet.url, backend: fleet.backendUrl, store: fleet.storeUrl })
    await until(async () => Object.keys(await flower.get('workers?refresh=1')).length === 2, 'Flower sees both workers', 40_000)
  }, 120_000)
  afterAll(async () => {
    await flower?.stop()
    await fleet?.[Symbol.asyncDispose]()
  })

  const ofWorker = async (name: string): Promise<Answer> => {
    const answer = await flower.get(`workers?refresh=1&workername=${name}`)
    return answer[name] as Answer
  }
  const queues = async (): Promise<unknown[]> => ((await ofWorker(node)).active_queues as { name: string }[]).map(({ name }) => name)

  test('a worker is shown with all that a Python worker is shown with', { timeout: 60_000 }, async () => {
    const [ours, theirs] = [await ofWorker(node), await ofWorker(snake)]
    expect(Object.keys(ours).sort()).toEqual(Object.keys(theirs).sort())
    // Whether it is paused is ours to tell.
    const ownQueues = (ours.active_queues as Record<string, unknown>[]).map(({ paused: _, ...queue }) => queue)
    expect(shapeOf(ownQueues)).toEqual(shapeOf(theirs.active_queues))
    for (const part of ['active', 'reserved', 'scheduled', 'revoked']) expect(shapeOf(ours[part]), part).toEqual(shapeOf(theirs[part]))
    expect(ours.registered).toContain('interop.add')
    expect(await flower.get('workers?status=1')).toEqual({ [node]: true, [snake]: true })
  })

  test('a task that it sends is shown with what a Python worker tells of it', { timeout: 90_000 }, async () => {
    const info: Record<string, Answer> = {}
    for (const queue of ['node', 'python']) {
      const sent = await flower.post('task/async-apply/interop.add', { args: [2], kwargs: { b: 3 }, queue })
      const id = String(sent['task-id'])
      info[queue] = await flower.task(id, 'SUCCESS')
      expect(info[queue]).toMatchObject({ name: 'interop.add', result: '5', worker: queue === 'node' ? node : snake })
      expect(await flower.get(`task/result/${id}?timeout=10`)).toEqual({ 'task-id': id, state: 'SUCCESS', result: 5 })
    }
    expect(Object.keys(info.node ?? {}).sort()).toEqual(Object.keys(info.python ?? {}).sort())
    for (const field of ['args', 'kwargs', 'result', 'retries', 'state']) expect(info.node?.[field], field).toEqual(info.python?.[field])
    const failed = await flower.post('task/async-apply/interop.boom', { args: ['x'], queue: 'node' })
    expect(await flower.task(String(failed['task-id']), 'FAILURE')).toMatchObject({ exception: "ValueError('boom x')", worker: node })
    const listed = await flower.get(`tasks?workername=${node}&taskname=interop.add`)
    expect(Object.values(listed)).toMatchObject([{ name: 'interop.add', state: 'SUCCESS' }])
  })

  test('a task is revoked, and one that runs is ended', { timeout: 90_000 }, async () => {
    const gate = fresh('gate')
    const running = String((await flower.post('task/async-apply/interop.gate', { args: [gate], queue: 'node' }))['task-id'])
    await fleet.atGate(gate)
    const waiting = String((await flower.post('task/async-apply/interop.add', { args: [1, 2], queue: 'node' }))['task-id'])
    expect(await flower.post(`task/revoke/${waiting}`)).toEqual({ message: `Revoked '${waiting}'` })
    await fleet.nodeWorkers[0]?.says(new RegExp(`flagged as revoked.*${waiting}`))
    await flower.post(`task/revoke/${running}?terminate=true&signal=SIGKILL`)
    expect(await flower.task(running, 'REVOKED')).toMatchObject({ worker: node })
    await flower.task(waiting, 'REVOKED')
  })

  test('limits, the pool and queues are changed', { timeout: 90_000 }, async () => {
    expect(await flower.post(`task/rate-limit/interop.add?workername=${node}&ratelimit=100/m`)).toEqual({
      message: 'new rate limit set successfully',
    })
    expect(await flower.post(`task/timeout/interop.add?workername=${node}&soft=30&hard=60`)).toEqual({
      message: 'time limits set successfully',
    })
    const size = async (): Promise<unknown> => ((await ofWorker(node)).stats as { pool: Answer }).pool['max-concurrency']
    expect(await flower.post(`worker/pool/grow/${node}?n=2`)).toEqual({ message: `Growing '${node}' worker's pool by 2` })
    expect(await size()).toBe(3)
    expect(await flower.post(`worker/pool/shrink/${node}?n=2`)).toEqual({ message: `Shrinking '${node}' worker's pool by 2` })
    expect(await size()).toBe(1)
    expect(await flower.post(`worker/queue/add-consumer/${node}?queue=more`)).toEqual({ message: 'add consumer more' })
    expect(await queues()).toEqual(['node', 'more'])
    const sent = await flower.post('task/async-apply/interop.where', { queue: 'more' })
    expect(await flower.get(`task/result/${sent['task-id']}?timeout=20`)).toMatchObject({ result: 'node' })
    expect(await flower.post(`worker/queue/cancel-consumer/${node}?queue=more`)).toEqual({ message: 'no longer consuming from more' })
    await until(async () => (await queues()).join() === 'node', 'the worker has left the queue', 30_000)
    await expect(flower.post(`worker/pool/autoscale/${node}?min=1&max=3`)).rejects.toThrow('403')
  })

  test('a worker is shut down, and shown as gone', { timeout: 60_000 }, async () => {
    expect(await flower.post(`worker/shutdown/${node}`)).toEqual({ message: 'Shutting down!' })
    expect(await fleet.nodeWorkers[0]?.exited).toEqual({ code: 0, signal: null })
    await until(async () => (await flower.get('workers?status=1'))[node] === false, 'Flower sees that it is gone', 30_000)
  })
})
