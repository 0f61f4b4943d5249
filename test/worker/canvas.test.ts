/** Workflows on real workers: what follows a task, and that a chain or a chord always ends. */
import { randomUUID } from 'node:crypto'
import { rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { GroupResult } from '../../dist/canvas/handles.js'
import { chain, chord, group, TaskFailure } from '../../dist/index.js'
import { LiveApp, until } from '../live-app.js'

function tasksOf({ app }: LiveApp) {
  const heard: unknown[] = []
  return {
    heard,
    add: app.task('add', (x: number, y: number) => x + y),
    sum: app.task('sum', (list: number[]) => list.reduce((a, b) => a + b, 0)),
    same: app.task('same', (x: unknown) => x),
    fail: app.task('fail', { maxRetries: 0 }, (message: string): number => {
      throw new TypeError(message)
    }),
    hear: app.task('hear', (x: unknown) => {
      heard.push(x)
      return x
    }),
  }
}

const folders: string[] = []
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
})

const brokers: readonly [string, () => Promise<string>][] = [
  ['memory', async () => `memory://${randomUUID()}`],
  [
    'sqlite',
    async () => {
      const folder = await mkdtemp(join(tmpdir(), 'celeriac-canvas-'))
      folders.push(folder)
      return `sqlite://${join(folder, 'c.db')}`
    },
  ],
]

describe.each(brokers)('on %s', (_, url) => {
  let live: LiveApp
  let tasks: ReturnType<typeof tasksOf>
  beforeAll(async () => {
    live = new LiveApp({ broker: await url() })
    tasks = tasksOf(live)
    await live.work({ concurrency: 4 })
  })
  afterAll(() => live[Symbol.asyncDispose]())

  test('each step of a chain gets the result of the step before it', async () => {
    const { add, same } = tasks
    expect(await chain(add.s(1, 2), add.s(3), add.s(4)).delay().get({ timeout: 20 })).toBe(10)
    expect(await chain(add.s(1, 2), same.si('stays')).delay().get({ timeout: 20 })).toBe('stays')
  })

  test('a group in a chain fans out, and what follows it gets the list', async () => {
    const { add, sum } = tasks
    expect(
      await chain(add.s(1, 1), group(add.s(10), add.s(20)))
        .delay()
        .get({ timeout: 20 }),
    ).toEqual([12, 22])
    expect(
      await chain(add.s(1, 1), group(add.s(10), add.s(20)), sum.s())
        .delay()
        .get({ timeout: 20 }),
    ).toBe(34)
    expect(
      await chain(add.s(1, 1), group(add.s(10), add.s(20)), sum.s(), add.s(1))
        .delay()
        .get({ timeout: 20 }),
    ).toBe(35)
  })

  test('the body of a chord gets the results in the order of its headers', async () => {
    const { add, same, sum } = tasks
    expect(
      await chord(group([1, 2, 3, 4, 5].map((i) => add.s(i, i))), same.s())
        .delay()
        .get({ timeout: 20 }),
    ).toEqual([2, 4, 6, 8, 10])
    expect(
      await chord(group(add.s(1, 1), chain(add.s(2, 2), add.s(3))), sum.s())
        .delay()
        .get({ timeout: 20 }),
    ).toBe(9)
  })

  test('chords nest in headers, bodies and chains', async () => {
    const { add, same, sum } = tasks
    const inner = chord(group(add.s(1, 1), add.s(2, 2)), sum.s())
    expect(
      await chord(group(inner, add.s(5, 5)), same.s())
        .delay()
        .get({ timeout: 20 }),
    ).toEqual([6, 10])
    expect(
      await chord(group(inner, group(add.s(7, 1), add.s(8, 1))), same.s())
        .delay()
        .get({ timeout: 20 }),
    ).toEqual([6, 9, 8])
    expect(
      await chord(group(add.s(1, 1), add.s(2, 2)), chain(sum.s(), add.s(100)))
        .delay()
        .get({ timeout: 20 }),
    ).toBe(106)
    expect(
      await chord(group(add.s(1, 1), add.s(2, 2)), group(sum.s(), same.s()))
        .delay()
        .get({ timeout: 20 }),
    ).toEqual([6, [2, 4]])
  })

  test('a failure ends every task that would have followed it in its chain, with its error', async () => {
    const { add, fail, same } = tasks
    const ends = await chain(add.s(1, 2), fail.si('broken'), add.s(3), group(same.s(), same.s()), same.s()).delay()
    await expect(ends.get({ timeout: 20 })).rejects.toMatchObject({ excType: 'TypeError', message: expect.stringContaining('broken') })
    const members = await chain(fail.s('at once'), group(same.s(), same.s())).delay()
    for (const member of (members as unknown as GroupResult<unknown[]>).results)
      await expect(member.get({ timeout: 20 })).rejects.toBeInstanceOf(TaskFailure)
  })

  test('a header that fails fails the body with a ChordError, once all have ended, and tells its errbacks', async () => {
    const { add, fail, hear, sum } = tasks
    const body = await chord(group(add.s(1, 1), fail.s('no'), add.s(2, 2)), sum.s().linkError(hear.s())).delay()
    await expect(body.get({ timeout: 20 })).rejects.toMatchObject({
      excType: 'ChordError',
      message: expect.stringMatching(/Dependency \S+ raised TypeError\('no'\)/),
    })
    await until(() => tasks.heard.includes(body.id))
  })

  test('the failure of a header reaches the outermost chord', async () => {
    const { add, fail, same, sum } = tasks
    const inner = chord(group(fail.s('deep'), add.s(2, 2)), sum.s())
    await expect(
      chord(group(inner, add.s(5, 5)), same.s())
        .delay()
        .get({ timeout: 20 }),
    ).rejects.toMatchObject({ excType: 'ChordError' })
    await expect(
      chord(group(chain(fail.s('first'), add.s(1)), add.s(5, 5)), same.s())
        .delay()
        .get({ timeout: 20 }),
    ).rejects.toMatchObject({
      excType: 'ChordError',
      message: expect.stringContaining("TypeError('first')"),
    })
  })
})
