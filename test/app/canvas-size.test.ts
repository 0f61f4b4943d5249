/** Workflows of a hundred thousand tasks, and of a thousand steps. */
import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { planSignature } from '../../dist/canvas/planner.js'
import { signatureOf } from '../../dist/canvas/signature.js'
import { Celeriac, chain, chord, group, type Sig } from '../../dist/index.js'
import { LiveApp } from '../live-app.js'

const deadline = { timeout: 80 }

test('a chain of 1 000 steps runs, and its handle leads back to the first', async () => {
  await using live = new LiveApp()
  const inc = live.app.task('inc', (x: number) => x + 1)
  await live.work()
  let steps: Sig<unknown, number, true> = inc.si(0)
  for (let i = 1; i < 1_000; i++) steps = steps.pipe(inc.s())
  const result = await steps.delay()
  expect(await result.get(deadline)).toBe(1_000)
  let length = 0
  for (let at = result.parent; at !== null; at = at.parent) length++
  expect(length).toBe(999)
  expect(result.asTuple()[0][1]?.[0][0]).toBe(result.parent?.id)
})

test('a chord of 100 000 tasks is planned in seconds and bounded memory, whatever is made of its messages', () => {
  const app = new Celeriac('size', { broker: 'memory://size' })
  const noop = app.task('noop', (x: number) => x)
  const sum = app.task('sum', (numbers: number[]) => numbers.length)
  const calls = function* () {
    for (let i = 0; i < 100_000; i++) yield noop.s(i)
  }
  const canvas = signatureOf(chord(group(calls()), sum.s()))
  const before = process.memoryUsage().heapUsed
  const cpu = process.cpuUsage()
  const plan = planSignature(canvas.wire(), { newId: () => randomUUID() })
  let sent = 0
  for (const step of plan.steps) if (step.kind === 'send') sent++
  expect(sent).toBe(100_000)
  // The processor's time: the machine may have other work.
  expect(process.cpuUsage(cpu).user / 1e6).toBeLessThan(20)
  expect((process.memoryUsage().heapUsed - before) / 2 ** 20).toBeLessThan(300)
})

test('a group of 10 000 tasks is sent a thousand messages at a time', async () => {
  const app = new Celeriac('window', { broker: `memory://${randomUUID()}` })
  const noop = app.task('noop', (x: number) => x)
  let underWay = 0
  let most = 0
  app.on('beforeTaskPublish', () => {
    underWay++
    most = Math.max(most, underWay)
  })
  app.on('afterTaskPublish', () => void underWay--)
  await using _ = app
  const result = await group(Array.from({ length: 10_000 }, (_, i) => noop.s(i))).delay()
  expect(result.results).toHaveLength(10_000)
  expect(most).toBeLessThanOrEqual(1_000)
})

test('a workflow that no worker would take is refused where it is sent', async () => {
  await using app = new Celeriac('limits', { broker: `memory://${randomUUID()}` })
  const inc = app.task('inc', (x: number) => x + 1)
  await expect(chain.from([inc.s(0), ...Array.from({ length: 5_001 }, () => inc.s())]).delay()).rejects.toThrow(
    /chain has 5001 signatures, over the limit of 5000/,
  )
  const wide = group(Array.from({ length: 100_001 }, () => inc.s()))
  await expect(chain(inc.s(0), wide).delay()).rejects.toThrow('more than 100000 signatures')
})
