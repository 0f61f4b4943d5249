/** Remote control that comes at the wrong time, too often, or means harm (reliability.md B.11), and results that nobody gives (B.8): in this process. */

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect } from 'vitest'
import { Celeriac } from '../../dist/index.js'
import { systemClock } from '../../dist/internal/clock.js'
import { ProcessPool } from '../../dist/pools/processes.js'
import { ThreadPool } from '../../dist/pools/threads.js'
import { matchesGlob } from '../../dist/protocol/mailbox.js'
import { RevokedTasks } from '../../dist/worker/revoked.js'
import { request } from '../conformance/pool.js'
import { rounds } from '../harness/depth.js'
import { statementTest } from '../harness/fault-test.js'
import { LiveApp, until } from '../live-app.js'

const one = { destination: ['w@h'], timeout: 20 }
const mebibyte = 1024 ** 2

/** Bodies of requests that no client of ours writes. */
async function broadcastRaw(live: LiveApp, body: string, headers: Record<string, unknown> = {}): Promise<void> {
  const { core } = Celeriac.internals(live.app)
  const connection = await core.connections.publisher()
  const message = { body, contentType: 'application/json', contentEncoding: 'utf-8', headers, properties: {} }
  await connection.publish(message, { exchange: `${core.config.controlExchange}.pidbox`, routingKey: '' }, { deadlineMs: 10_000 })
}

statementTest({ id: 'X1', driver: 'sqlite', promise: 'a task that is revoked while no worker is up is not run when one is' }, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-x1-'))
  try {
    await using live = new LiveApp({ broker: `sqlite://${join(folder, 'queue.db')}` })
    let runs = 0
    const task = live.app.task('count', () => ++runs)
    const [revoked, kept] = [await task.delay(), await task.delay()]
    await live.app.control.revoke(revoked.id)
    await live.work()
    expect(await kept.get({ timeout: 20 })).toBe(1)
    await expect(revoked.get({ timeout: 20 })).rejects.toMatchObject({ code: 'ERR_TASK_REVOKED' })
    expect(runs).toBe(1)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

for (const [driver, Pool, entry] of [
  ['prefork', ProcessPool, 'child.mjs'],
  ['threads', ThreadPool, 'thread.mjs'],
] as const) {
  statementTest(
    {
      id: 'X2',
      driver,
      promise: 'terminate that races with the end of a task, again and again: it never hits another task',
      timeoutMs: 120_000,
    },
    async () => {
      const pool = new Pool({
        size: 2,
        entry: fileURLToPath(new URL(`../pools/fixtures/${entry}`, import.meta.url)),
        env: { ...process.env },
        output: 'ignore',
        host: { storeState: async () => {} },
        clock: systemClock,
        log: { warn() {}, error() {} },
      })
      try {
        await pool.start()
        // Makes the children known as fast, so that runs are sent ahead.
        await Promise.all(Array.from({ length: 200 }, () => pool.run(request('noop')).outcome))
        const races = rounds(300, 1_000)
        let hit = 0
        for (let raced = 0; raced < races; raced += 10) {
          const runs = Array.from({ length: 100 }, (_, n) => ({ isTarget: n % 10 === 0, run: pool.run(request('noop')) }))
          // At the moment of its start, of its end, and around both.
          for (const [n, { isTarget, run }] of runs.entries()) {
            const terminate = (): void => run.terminate('SIGKILL')
            if (isTarget)
              void (n % 20 === 0 ? run.accepted : run.outcome).then(() => (n % 30 === 0 ? terminate() : setImmediate(terminate)))
          }
          const outcomes = await Promise.all(runs.map(({ run }) => run.outcome))
          hit += outcomes.filter(({ status }, n) => status !== 'success' && runs[n]?.isTarget !== true).length
        }
        expect(hit).toBe(0)
      } finally {
        await pool.stop({ signal: AbortSignal.abort() })
      }
    },
  )
}

/** Without it, what nobody holds counts as used. */
function collect(): void {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
}

statementTest(
  { id: 'X3', driver: 'memory', promise: 'a million revokes: a worker knows the last 50 000 of them, and of stamps as many for 100 names' },
  () => {
    const revoked = new RevokedTasks(() => performance.now())
    const ids = (from: number, count: number): string[] => Array.from({ length: count }, (_, n) => `task-${from + n}`)
    revoked.add(ids(0, 100_000))
    collect()
    const before = process.memoryUsage().heapUsed
    for (let from = 100_000; from < 1_000_000; from += 100_000) revoked.add(ids(from, 100_000))
    for (let n = 0; n < 1_000; n++) revoked.addStamp(`header-${n}`, ['a'])
    collect()
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(64 * mebibyte)
    expect(revoked.ids.size).toBeLessThanOrEqual(50_000)
    expect(revoked.ids.size).toBeGreaterThan(45_000)
    expect([revoked.has('task-999999', null, {}), revoked.has('task-949999', null, {})]).toEqual([true, false])
    expect([revoked.has('x', null, { 'header-999': 'a' }), revoked.has('x', null, { 'header-1': 'a' })]).toEqual([true, false])
  },
)

statementTest(
  {
    id: 'X4',
    driver: 'memory',
    promise: 'a pattern that means work without end is none: expressions mean nobody, and globs cost their length',
  },
  async () => {
    await using live = new LiveApp()
    const worker = await live.work({ hostname: 'w@h' })
    const evil = { method: 'shutdown', arguments: {}, pattern: '^(a+)+$', matcher: 'pcre', destination: null }
    await broadcastRaw(live, JSON.stringify(evil))
    await broadcastRaw(live, JSON.stringify({ ...evil, matcher: 'regex' }))
    expect(matchesGlob('*a'.repeat(120), 'a'.repeat(255))).toBe(true)
    expect(matchesGlob('*a'.repeat(120), 'a'.repeat(254).concat('b'))).toBe(false)
    expect(await live.app.control.ping(one)).toEqual({ 'w@h': { ok: 'pong' } })
    expect(worker.state).toBe('consuming')
  },
)

statementTest(
  {
    id: 'X5',
    driver: 'memory',
    promise: 'unknown commands, arguments of a wrong type, 10 MB and impossible clocks: an error is answered, and the worker works on',
  },
  async () => {
    await using live = new LiveApp()
    await live.work({ hostname: 'w@h' })
    const { control } = live.app
    expect(await control.broadcast('no_such', {}, one)).toEqual({ 'w@h': { error: "KeyError('no_such')" } })
    expect(await control.broadcast('pool_grow', { n: 'many' }, one)).toEqual({ 'w@h': { error: expect.stringContaining('whole number') } })
    expect(await control.broadcast('revoke', { task_id: ['x'.repeat(10 * mebibyte)] }, one)).toEqual({
      'w@h': { error: expect.any(String) },
    })
    const before = Celeriac.internals(live.app).core.lamport.value
    for (const clock of [1e308, Number.MAX_SAFE_INTEGER, -1, '9'])
      await broadcastRaw(live, JSON.stringify({ method: 'ping', arguments: {}, destination: null }), { clock })
    for (const body of ['', 'no json', '[]', '{"method":7}', `${'['.repeat(50_000)}${']'.repeat(50_000)}`]) await broadcastRaw(live, body)
    expect(await control.ping(one)).toEqual({ 'w@h': { ok: 'pong' } })
    const { 'w@h': now } = await control.inspect(one).clock()
    expect(now?.clock).toBeGreaterThan(before)
    expect(now?.clock).toBeLessThan(before + 1_000)
  },
)

statementTest(
  { id: 'X6', driver: 'memory', promise: 'a worker obeys the commands that it is told to, and none has it load code' },
  async () => {
    await using live = new LiveApp({ workerControlAllow: ['inspect', 'revoke'] })
    const worker = await live.work({ hostname: 'w@h' })
    const { control } = live.app
    live.app.controlCommand('own', () => 1)
    expect(await control.ping(one)).toEqual({ 'w@h': { ok: 'pong' } })
    expect(await control.broadcast('revoke', { task_id: 'a' }, one)).toMatchObject({ 'w@h': { ok: expect.any(String) } })
    for (const [method, args] of [
      ['shutdown', {}],
      ['add_consumer', { queue: 'q' }],
      ['own', {}],
    ] as const)
      expect(await control.broadcast(method, args, one)).toEqual({ 'w@h': { error: `this worker does not allow the command ${method}` } })
    expect(worker.state).toBe('consuming')
    await using open = new LiveApp()
    await open.work({ hostname: 'w@h' })
    expect(await open.app.control.broadcast('pool_restart', { modules: ['os'], reload: true }, one)).toEqual({
      'w@h': { error: expect.stringContaining('modules') },
    })
  },
)

statementTest(
  { id: 'X8', driver: 'memory', promise: 'inspect of 10 000 active tasks, and of those with arguments of 1 MB: an answer of 1 MB at most' },
  async () => {
    await using live = new LiveApp({ workerPrefetchMultiplier: 0, messageWarnBytes: null })
    let running = 0
    let free = (): void => {}
    const gate = new Promise<void>((resolve) => {
      free = resolve
    })
    const held = live.app.task('held', async (_text: string) => {
      running++
      await gate
    })
    await live.work({ hostname: 'w@h', concurrency: 10_000 })
    const large = 'x'.repeat(mebibyte - 4_096)
    for (let n = 0; n < 3; n++) await held.delay(large)
    await Promise.all(Array.from({ length: 9_997 }, () => held.delay('small')))
    await until(() => running === 10_000, 30_000)
    const inspect = live.app.control.inspect(one)
    const { 'w@h': active } = await inspect.active()
    expect(Buffer.byteLength(JSON.stringify(active))).toBeLessThanOrEqual(mebibyte)
    expect(active?.length).toBeGreaterThan(0)
    expect(live.said(/an answer of over .* goes without/)).toHaveLength(1)
    const { 'w@h': brief } = await inspect.active({ safe: true })
    expect(brief?.length).toBeGreaterThan(1_000)
    expect(Buffer.byteLength(JSON.stringify(brief))).toBeLessThanOrEqual(mebibyte)
    free()
  },
)
