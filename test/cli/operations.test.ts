/** Queues, pauses, dead letters, migration and the doctor, as a user runs them: on the embedded broker, with one worker. */
import { hostname } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../dist/internal/clock.js'
import { safeText } from '../../dist/internal/safe-text.js'
import type { Connection } from '../../dist/transport.js'
import { openTransport } from '../../dist/transports/index.js'
import { message } from '../conformance/transport.js'
import { until } from '../conformance/wait.js'
import type { Ended } from '../harness/programs.js'
import { Project, shop } from './project.js'

const node = `one@${hostname()}`
const deadlineMs = 30_000

describe('operations', () => {
  let project: Project
  let worker: ReturnType<Project['start']>
  /** The same broker, from outside. */
  let broker: Connection

  beforeAll(async () => {
    project = new Project({ 'tasks.ts': shop })
    worker = project.start(['worker', '-c', '1', '-n', 'one@%h', '-Q', 'celery,mail', '--log-format', 'json'], {}, { timeoutMs: 120_000 })
    await worker.says('ready.')
    const transport = await openTransport(`sqlite://${join(project.folder, '.celeriac/queue.db')}`, { clock: systemClock })
    broker = await transport.connect({ signal: AbortSignal.timeout(deadlineMs) })
  }, 60_000)
  afterAll(async () => {
    await broker.close()
    worker.child.kill('SIGTERM')
    await worker.ended
    await project[Symbol.asyncDispose]()
  })

  const run = (...args: string[]): Promise<Ended> => project.run(args)
  const json = async (...args: string[]) => JSON.parse((await run(...args, '--json')).stdout)

  test('a queue is paused and resumed, and its numbers are told meanwhile', { timeout: 60_000 }, async () => {
    const paused = await run('pause', 'mail', '-t', '0.5')
    expect(paused).toMatchObject({
      code: 0,
      stdout: `-> ${node}: OK\n    mail is paused\n`,
      stderr: expect.stringContaining('mail is paused'),
    })
    await run('call', 'add', '1', '2', '--queue', 'mail', '-q')
    const [, mail, ...more] = await json('queues')
    expect([mail, more]).toEqual([
      { queue: 'mail', waiting: 1, delayed: 0, leased: 0, consumers: 0, oldestSeconds: expect.any(Number), paused: true, dead: 0 },
      [],
    ])
    expect(await json('resume', 'mail', '-t', '0.5')).toEqual({ mail: { [node]: { ok: 'taking from mail' } } })
    await until(async () => (await broker.size('mail')) === 0, 'it is taken', deadlineMs)
  })

  test('dead letters are listed, shown, replayed and dropped', { timeout: 90_000 }, async () => {
    const evil = { id: 'evil', task: 'shop.\u001b[2Jclear', argsrepr: '\u001b]0;title\u0007', retries: 0 }
    const bad = (id: string, queue: string, headers: Record<string, unknown> = { id, task: 'shop.gone', argsrepr: "('card',)" }) =>
      broker.publish(message({ id, headers }), { exchange: '', routingKey: queue }, { deadlineMs })
    await bad('one', 'celery')
    await bad('two', 'mail')
    await bad('evil', 'celery', evil)
    await until(async () => (await broker.deadLetters.count()) === 3, 'three have died', deadlineMs)

    const all = await json('dead', 'list')
    expect(all.map(({ queue, task, taskId }: Record<string, unknown>) => [queue, task, taskId])).toEqual(
      expect.arrayContaining([
        ['celery', 'shop.gone', 'one'],
        ['mail', 'shop.gone', 'two'],
        ['celery', evil.task, 'evil'],
      ]),
    )
    const idOf = (taskId: string): string => all.find((one: Record<string, unknown>) => one.taskId === taskId).id
    const shown = await run('dead', 'show', idOf('one'), idOf('evil'))
    expect(shown.stdout).toContain("args       ('card',)")
    expect(shown.stdout).toContain('no task "shop.gone" is registered')
    // What is in a message moves no cursor and sets no title.
    expect(shown.stdout).toContain(String.raw`shop.\x1b[2Jclear`)
    for (const control of ['\u001b', '\u0007']) expect(shown.stdout).not.toContain(control)
    expect(await json('dead', 'list', '--task', 'shop.g*', '-Q', 'mail', '--since', '1h', '--reason', 'IS registered')).toMatchObject([
      { taskId: 'two' },
    ])

    expect(await run('dead', 'drop', '--all')).toMatchObject({ code: 64, stderr: expect.stringContaining('add --yes') })
    expect(await json('dead', 'replay', '--task', 'shop.gone', '--rate', '50/s', '--yes')).toEqual({
      replayed: 2,
      failed: [],
      interrupted: false,
    })
    // They die again, as others.
    await until(async () => (await broker.deadLetters.count()) === 3, 'they are dead again', deadlineMs)
    expect(await run('dead', 'drop', '--all', '--yes')).toMatchObject({ code: 0, stdout: '3 of 3 dropped\n' })
    expect(await broker.deadLetters.count()).toBe(0)
  })

  test('a queue is migrated to another broker', { timeout: 60_000 }, async () => {
    const send = (id: string) => broker.publish(message({ id }), { exchange: '', routingKey: 'idle' }, { deadlineMs })
    await broker.declare({
      exchanges: [],
      queues: [{ name: 'idle', durable: true, exclusive: false, autoDelete: false, arguments: {}, bindings: [] }],
    })
    for (const id of ['a', 'b', 'c']) await send(id)
    const urls = ['sqlite://', 'sqlite://./other.db']
    const moved = await run('migrate', ...urls, '-Q', 'idle:celery', '-n', '2', '-a')
    expect(moved).toMatchObject({ code: 0, stdout: 'idle: 2 moved\n2 messages moved\n' })
    expect(await json('migrate', ...urls, '-Q', 'idle:celery')).toEqual({ copied: 1, queues: { idle: 1 }, skipped: 0, complete: true })
    expect(await broker.size('idle')).toBe(1)
    expect(await json('list', 'queues', '-b', 'sqlite://./other.db')).toMatchObject([{ queue: 'celery', waiting: 3, consumers: 0 }])
    expect((await run('purge', '-Q', 'idle,celery', '--force', '--json')).stdout).toBe('{"idle":1,"celery":0}\n')
  })
})

test('the doctor ends with what is wrong: no broker, tasks that nobody could read', { timeout: 60_000 }, async () => {
  await using project = new Project({ 'tasks.ts': shop.replace("'2h'", "null, acceptContent: ['json'], taskSerializer: 'yaml'") })
  const down = await project.run(['doctor', '-b', 'redis://127.0.0.1:1/0', '--json', '-t', '0.1'])
  expect(down.code).toBe(69)
  expect(JSON.parse(down.stdout).findings[0]).toMatchObject({ area: 'broker', about: 'reachable', level: 'fault', fix: expect.any(String) })
  const { code, stdout } = await project.run(['doctor', '-t', '0.1'])
  expect(code).toBe(78)
  expect(stdout).toContain('✕ settings: serializer: tasks are sent as yaml')
  expect(stdout).toContain('! results: expiry: results never expire')
  expect(stdout).toContain('! workers: online: no worker answered')
})

test('text of others is safe for a terminal', () => {
  expect(safeText('a\u001b[31mb\u0007\u009b2J\u202e\n\té漢')).toBe(String.raw`a\x1b[31mb\x07\x9b2J\u202e\n\té漢`)
  expect(safeText('x'.repeat(20), 5)).toBe('xxxxx…')
})
