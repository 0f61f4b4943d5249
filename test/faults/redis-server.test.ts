/** Redis servers that stop, die, fill up or change their roles (reliability.md B.3). */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { needs } from '../../scripts/needs.mjs'
import { until } from '../conformance/wait.js'
import { unseen } from '../harness/fault-test.js'
import { nowMs } from '../harness/recorder.js'
import { envelopeOf, type RedisBroker } from '../harness/redis-broker.js'
import { redisGroupTest, redisOnSmallDiskTest, redisTest } from '../harness/redis-fault-test.js'
import type { Scene } from '../harness/scene.js'
import { leaseTtlMs } from '../harness/scene-broker.js'
import { good } from './message-rows.js'

const oneSecond = 1_000
/** What the server has confirmed is in the file. With "everysec" it may answer first while an fsync is under way, and then not even its own death is harmless. */
const durable = { appendonly: true, args: ['--appendfsync', 'always'] }

redisTest({ id: 'R1', promise: 'all connections are killed by the server 10 times under load: nothing twice' }, async (scene) => {
  const { raw } = scene.broker
  await scene.sendMany(500, 'work', [20])
  await scene.worker({ pool: 'async', concurrency: 4 })
  for (let cut = 1; cut <= 10; cut++) {
    await scene.recorder.ended(cut * 40)
    for (const type of ['normal', 'pubsub']) await raw.call('client', 'kill', 'type', type, 'skipme', 'yes')
  }
  await scene.drained()
})

for (const [what, stop] of [
  ['DEBUG SLEEP', (scene: Scene<RedisBroker>) => scene.broker.raw.call('debug', 'sleep', '5')],
  ['CLIENT PAUSE', (scene: Scene<RedisBroker>) => scene.broker.raw.call('client', 'pause', '5000', 'all')],
] as const) {
  redisTest(
    {
      id: 'R2',
      variant: what,
      depth: what === 'DEBUG SLEEP' ? 'full' : undefined,
      promise: 'the server stands still for 5 s, longer than a lease: leases end by its own clock, and none has',
    },
    async (scene) => {
      await scene.worker({ concurrency: 4, args: ['-n', 'one@%h', '--prefetch-multiplier', '1'] })
      await scene.sendMany(4, 'hold', ['go'])
      await scene.recorder.started(4)
      // It would take over what it could.
      await scene.worker({ concurrency: 4, args: ['-n', 'two@%h', '--prefetch-multiplier', '1'] })
      const stoppedAt = nowMs()
      await stop(scene)
      const id = await scene.send('good', [], { retry: { maxRetries: 10 } }).catch(() => scene.send('good'))
      await scene.recorder.started(1, id)
      expect(nowMs() - stoppedAt).toBeGreaterThan(4_500)
      // Long enough for a lease that was not refreshed to be seen as over, and taken.
      await until(() => nowMs() - stoppedAt > 5_000 + leaseTtlMs, 'a lease time later')
      scene.release('go')
      await scene.drained()
    },
  )
}

redisTest(
  {
    id: 'R3',
    promise:
      'kill -9 of a server with an append-only file (appendfsync always), under load, 3 times: all that was confirmed is run, nothing twice',
    server: durable,
  },
  async (scene) => {
    const { server } = scene.broker
    await scene.worker({ pool: 'async', concurrency: 4 })
    await scene.sendMany(200, 'work', [20])
    for (let kill = 1; kill <= 3; kill++) {
      await scene.recorder.ended(kill * 40)
      await server.kill()
      await server.restart()
    }
    await scene.drained()
  },
)

redisTest(
  { id: 'R3', variant: 'no append-only file', promise: 'a worker says at its start that this server keeps nothing over its own death' },
  async (scene) => {
    const worker = await scene.worker()
    await worker.says(/append-only file.*appendonly yes/)
  },
)

redisTest(
  {
    id: 'R3',
    variant: 'restarted empty',
    promise:
      'kill -9 of a server that keeps nothing: what ran is told that its lease is gone, and what is sent from then on is run, countdowns and results too',
  },
  async (scene) => {
    const { server, raw } = scene.broker
    const worker = await scene.worker({ pool: 'async', concurrency: 4 })
    const running = await scene.send('patient')
    const later = await scene.send('good', [], { countdown: 3_600 })
    await scene.recorder.started(1, running)
    await until(async () => (await raw.zcard('celeriac.eta.celery')) === 1, 'the countdown is kept')
    await server.kill()
    await server.restart()
    // Neither is anywhere any more.
    for (const id of [running, later]) scene.neverRuns(id)
    const told = join(scene.folder, 'told')
    await until(() => existsSync(told) && readFileSync(told, 'utf8') !== '', 'it is told')
    expect(readFileSync(told, 'utf8')).toBe('LockLost')
    const ids = [...(await scene.sendMany(5, 'good', [], { retry: { maxRetries: 20 } })), await scene.send('good', [], { countdown: 1 })]
    for (const id of ids) expect(await scene.result(id)).toBe('good')
    expect(worker.isRunning).toBe(true)
    await scene.drained()
  },
)

redisTest(
  {
    id: 'R4',
    promise: 'Redis is not there when a worker starts: it says so, and consumes when it comes',
    server: durable,
  },
  async (scene) => {
    const { server } = scene.broker
    const id = await scene.send('good')
    await server.kill()
    const worker = scene.start()
    await worker.says(/cannot be reached|ECONNREFUSED/)
    await until(() => worker.log().filter((line) => /reach|ECONNREFUSED/.test(line.msg)).length >= 6, 'it tries again')
    expect(worker.isRunning).toBe(true)
    const backAt = nowMs()
    await server.restart()
    const { atMs } = await scene.recorder.started(1, id)
    await scene.drained()
    const once = scene.start({ url: 'redis://127.0.0.1:1/0', options: { brokerConnectionRetryOnStartup: false } })
    expect(await once.end('SIGCONT')).toEqual({ code: 69, signal: null })
    return { recoverMs: atMs - backAt }
  },
)

redisGroupTest(
  {
    id: 'R5',
    promise: 'the primary becomes a replica while tasks run: workers and callers find the new one by the Sentinel, and all tasks end',
    // What the old one took after the new one was made is lost with it: ends of tasks, mostly. All of them may end while the Sentinel is at it.
    dupBound: 100,
  },
  async (scene) => {
    const worker = await scene.worker({ pool: 'async', concurrency: 4 })
    const sent = await scene.sendMany(100, 'work', [20])
    await scene.recorder.ended(20)
    // What was written is on both before the roles change: what is not is the next row's.
    await scene.broker.replicated()
    const swappedAt = nowMs()
    await scene.broker.swap()
    const id = await scene.send('good', [], { retry: { maxRetries: 20 } })
    const { atMs } = await scene.recorder.started(1, id)
    expect(worker.isRunning).toBe(true)
    const all = [...sent, id]
    const haveEnded = (): boolean => all.every((one) => scene.recorder.ends(one).length > 0)
    await until(async () => haveEnded() && (await scene.broker.messages()).length === 0, 'all have ended and are acked')
    // A result that the old one confirmed after the new one was made is lost with it: replication is asynchronous, and results are not waited for.
    for (const one of all) if ((await scene.app.result(one).state()) === 'PENDING') scene.ledger.confirmed.delete(one)

    return { recoverMs: atMs - swappedAt }
  },
)

for (const waitReplicas of [0, 1]) {
  redisGroupTest(
    {
      id: 'R6',
      variant: `waitReplicas ${waitReplicas}`,
      promise:
        waitReplicas === 0
          ? 'a fail-over loses what the replica had not got yet, at most, and nothing else'
          : 'a fail-over that loses what the replica had not got yet loses nothing that was confirmed',
      transport: { waitReplicas },
    },
    async (scene) => {
      const { replication, server } = scene.broker
      await scene.sendMany(20, 'work', [5])
      await scene.broker.replicated()
      const replicated = [...scene.ledger.confirmed]
      replication.set({ up: { flow: 'hold' }, down: { flow: 'hold' } })
      const late = await Promise.allSettled(Array.from({ length: 50 }, () => scene.send('work', [5])))
      const told = late.filter((outcome) => outcome.status === 'fulfilled').length
      expect(told).toBe(waitReplicas === 0 ? 50 : 0)
      for (const outcome of late) if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'ERR_PUBLISH_UNCERTAIN' })
      const killedAt = nowMs()
      await server.kill()
      await scene.broker.replicaLeads()
      if (waitReplicas === 0) {
        for (const id of [...scene.ledger.confirmed].filter((id) => !replicated.includes(id))) scene.ledger.confirmed.delete(id)
      }
      // The one that is left has no replica: a worker publishes nothing here, so it needs none.
      await scene.worker()
      await scene.drained()
      expect(scene.recorder.starts().filter((run) => !replicated.includes(run.id))).toEqual([])
      return { recoverMs: (scene.recorder.starts()[0]?.atMs ?? 0) - killedAt }
    },
  )
}

redisTest(
  {
    id: 'R8',
    promise: 'the memory is full: a call says so, leases go on, what waits is run and acked, and then calls are taken again',
    server: { args: ['--maxmemory', '4mb', '--maxmemory-policy', 'noeviction'] },
  },
  async (scene) => {
    const { raw } = scene.broker
    await scene.worker({ concurrency: 4, args: ['-n', 'one@%h', '--prefetch-multiplier', '1'] })
    await scene.sendMany(4, 'hold', ['go'])
    await scene.recorder.started(4)
    await scene.worker({ concurrency: 4, args: ['-n', 'two@%h', '--prefetch-multiplier', '1'] })
    await scene.sendMany(4, 'hold', ['go'])
    await scene.recorder.started(8)
    const filler = 'x'.repeat(100_000)
    let refusal: unknown
    await until(async () => {
      refusal = await scene.send('returns', ['nothing', filler]).then(
        () => undefined,
        (error: unknown) => error,
      )
      return refusal !== undefined
    }, 'a call is refused')
    expect(refusal).toMatchObject({ code: 'ERR_BROKER_FULL' })
    // Not a byte over the limit may be had from here on, until something has gone.
    const used = Number(/used_memory:(\d+)/.exec(await raw.info('memory'))?.[1])
    await raw.config('SET', 'maxmemory', String(used - 200_000))
    const fullAt = nowMs()
    await until(() => nowMs() - fullAt > 2 * leaseTtlMs, 'two lease times')
    scene.release('go')
    await scene.drained()
    await scene.send('good')
    await scene.drained()
  },
)

redisTest(
  {
    id: 'R9',
    promise: 'a server that may throw queues away is refused with the reason, unless that is allowed',
    server: { args: ['--maxmemory', '100mb', '--maxmemory-policy', 'allkeys-lru'] },
  },
  async (scene) => {
    const refused = scene.start()
    expect(await refused.end('SIGCONT')).toEqual({ code: 78, signal: null })
    expect(refused.output).toContain('allkeys-lru')
    expect(refused.output).toContain('evictionPolicy')
    const { brokerTransportOptions } = scene.broker.options
    const worker = await scene.worker({
      options: { brokerTransportOptions: { ...Object(brokerTransportOptions), evictionPolicy: 'allow' } },
    })
    await worker.says('allkeys-lru')
    await scene.send('good')
    await scene.drained()
  },
)

redisOnSmallDiskTest(
  {
    id: 'R10',
    promise: 'the disk of the append-only file is full: calls fail with its words, workers wait, and go on when there is room',
    // Leases cannot be refreshed meanwhile, and end.
    dupBound: 4,
  },
  async (scene) => {
    const worker = await scene.worker({ concurrency: 1 })
    await scene.result(await scene.send('good'))
    const text = 'x'.repeat(100_000)
    let refusal: unknown
    await until(async () => {
      refusal = await scene.send('returns', ['nothing', text]).then(
        () => undefined,
        (error: unknown) => error,
      )
      return refusal !== undefined
    }, 'a call is refused')
    expect(refusal).toMatchObject({ code: 'ERR_NOT_PUBLISHED', message: expect.stringMatching(/MISCONF.*No space left on device/) })
    await worker.says(/MISCONF/)
    const told = worker.log().length
    const from = nowMs()
    await until(() => nowMs() - from > 3 * oneSecond, 'three seconds')
    // It waits: a few lines a second, and not a storm.
    expect(worker.log().length - told).toBeLessThanOrEqual(20)
    scene.broker.makeRoom()
    const roomAt = nowMs()
    await until(() => scene.send('good').then(Boolean, () => false), 'calls are taken again')
    await scene.drained()
    return { recoverMs: nowMs() - roomAt }
  },
)

redisTest(
  {
    id: 'R12',
    promise:
      '200 000 unacknowledged messages of Python workers, and 500 of a dead one of ours: those run, and no look goes through all the others',
  },
  async (scene) => {
    const { raw } = scene.broker
    const [seconds] = await raw.time()
    const entry = (message: string): string => `[${message}, "", "celery"]`
    const foreign = entry(envelopeOf(good()))
    for (let from = 0; from < 200_000; from += 5_000) {
      const tags = Array.from({ length: 5_000 }, (_, n) => `python-${from + n}`)
      await Promise.all([
        raw.hset('unacked', ...tags.flatMap((tag) => [tag, foreign])),
        raw.zadd('unacked_index', ...tags.flatMap((tag, n) => [Number(seconds) - 60 + (from + n) / 4_000, tag])),
      ])
    }
    for (let n = 0; n < 500; n++) {
      const message = good({ task: 'good', args: [n] })
      const id = String(message.headers.id)
      scene.ledger.attempted.add(id)
      scene.ledger.confirmed.add(id)
      const lease = `c:0123456789ab:${n}`
      await Promise.all([
        raw.hset('unacked', lease, `[${envelopeOf(message)},"","celery"]`),
        raw.zadd('unacked_index', Number(seconds) - 10, lease),
      ])
    }
    await raw.config('RESETSTAT')
    const from = nowMs()
    for (let n = 0; n < 4; n++) scene.start({ pool: 'async', concurrency: 4, args: ['-n', `w${n}@%h`] })
    await Promise.all(scene.workers.map((worker) => worker.ready()))
    await scene.recorder.ended(500, undefined, 90_000)
    const recoverMs = nowMs() - from
    await scene.send('good')
    await until(async () => (await raw.hlen('unacked')) === 200_000, 'all of ours are acked')
    const microseconds = Number(/cmdstat_evalsha:.*usec_per_call=([\d.]+)/.exec(await raw.info('commandstats'))?.[1])
    // Four times what is wanted of it on a machine with nothing else to do.
    expect(microseconds).toBeLessThanOrEqual(200_000)
    // What is left is Python's, and not this row's.
    await raw.del('unacked', 'unacked_index')
    await scene.drained()
    return { recoverMs }
  },
)

redisTest(
  { id: 'R13', promise: "kombu's sweep lock is held by a dead process: our sweep needs no lock and leaves that one alone", dupBound: 2 },
  async (scene) => {
    const { raw } = scene.broker
    await raw.set('unacked_mutex', 'of a dead process', 'PX', 300_000)
    const worker = await scene.worker({ concurrency: 2 })
    await scene.sendMany(2, 'hold', ['go'])
    await scene.recorder.started(2)
    await scene.worker({ concurrency: 2, args: ['-n', 'other@%h'] })
    const killedAt = nowMs()
    await worker.end('SIGKILL')
    const { atMs } = await scene.recorder.started(3)
    scene.release('go')
    await scene.drained()
    expect(await raw.getdel('unacked_mutex')).toBe('of a dead process')
    return { recoverMs: atMs - killedAt }
  },
)

/** What a Python worker does now and then, without pause. */
const sweepOfKombu = `
import sys, time
from kombu import Connection
connection = Connection(sys.argv[1], transport_options={'visibility_timeout': 1})
channel = connection.channel()
print('sweeps', flush=True)
while True:
    channel.qos.restore_visible(interval=1)
    time.sleep(0.05)
`

redisTest(
  {
    id: 'R14',
    skip: needs.celery?.find() === undefined ? 'needs Python with kombu' : undefined,
    promise: 'a Python worker with a visibility timeout of 1 s sweeps all the time: a task of ours that runs for 5 s is not taken away',
  },
  async (scene) => {
    const python = spawn(needs.celery?.find() ?? 'python3', ['-c', sweepOfKombu, scene.url], { stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    for (const stream of [python.stdout, python.stderr]) stream.setEncoding('utf8').on('data', (text: string) => (said += text))
    try {
      await until(() => said.includes('sweeps'), 'kombu sweeps')
      await scene.worker({ concurrency: 2 })
      await scene.sendMany(4, 'work', [5_000])
      // One of a dead Python worker, so that the sweep is seen to work.
      const message = good({ task: 'good', args: ['restored'] })
      const id = String(message.headers.id)
      scene.ledger.attempted.add(id)
      scene.ledger.confirmed.add(id)
      const [seconds] = await scene.broker.raw.time()
      await scene.broker.raw.hset('unacked', 'a-python-tag', `[${envelopeOf(message)}, "", "celery"]`)
      await scene.broker.raw.zadd('unacked_index', Number(seconds) - 5, 'a-python-tag')
      expect(await scene.result(id, 20_000)).toBe('restored')
      await scene.drained()
      expect(python.exitCode, said).toBe(null)
    } finally {
      python.kill('SIGKILL')
      await once(python, 'close')
      // The lock that it may have held just then.
      await scene.broker.raw.del('unacked_mutex')
    }
  },
)

redisTest(
  { id: 'R16', promise: 'a user who may not do what a worker needs: refused at the start, with the list of what is missing' },
  async (scene) => {
    const { raw, server } = scene.broker
    await raw.call('acl', 'setuser', 'limited', 'on', '>pw', '~*', '&*', '+@all', '-eval', '-evalsha', '-psubscribe')
    const worker = scene.start({ url: `redis://limited:pw@127.0.0.1:${server.port}/0`, env: { CELERIAC_RESULT_BACKEND: scene.url } })
    expect(await worker.end('SIGCONT')).toEqual({ code: 78, signal: null })
    for (const command of ['EVAL', 'EVALSHA', 'PSUBSCRIBE']) expect(worker.output).toContain(command)
    expect(worker.output).toContain('limited')
  },
)

redisTest(
  {
    id: 'R16',
    variant: 'cluster',
    promise: 'a Redis Cluster, where a message cannot move in one step: refused at the start, in words',
    server: { args: ['--cluster-enabled', 'yes'] },
  },
  async (scene) => {
    await scene.broker.raw.call('cluster', 'addslotsrange', '0', '16383')
    await until(async () => (await scene.broker.raw.cluster('INFO')).includes('cluster_state:ok'), 'the cluster is up')
    const worker = scene.start()
    expect(await worker.end('SIGCONT')).toEqual({ code: 78, signal: null })
    expect(worker.output).toMatch(/Cluster/)
  },
)

redisTest({ id: 'R17', promise: 'a revoke that no worker hears, since its connection is down, holds all the same' }, async (scene) => {
  const { proxy, proxied, url } = scene.broker
  await scene.worker({ url: proxied, env: { CELERIAC_RESULT_BACKEND: url }, concurrency: 1, args: ['--prefetch-multiplier', '1'] })
  await scene.send('hold', ['go'])
  await scene.recorder.started(1)
  const revoked = await scene.send('good')
  await proxy.shut()
  await scene.app.control.revoke(revoked)
  await proxy.open()
  scene.release('go')
  await scene.drained()
  expect(await scene.result(revoked)).toMatchObject({ code: 'ERR_TASK_REVOKED' })
  expect(scene.recorder.starts(revoked)).toEqual([])
  scene.ledger.confirmed.delete(revoked)
})

/** A server that lacks what newer ones have, as a user sees it who has no right to it. */
function lessAble(scene: Scene<RedisBroker>, ...rights: readonly string[]): Promise<string> {
  const url = `redis://plain:pw@127.0.0.1:${scene.broker.server.port}/0`
  return scene.broker.raw.call('acl', 'setuser', 'plain', 'on', '>pw', '~*', '&*', '+@all', ...rights).then(() => url)
}

redisTest(
  { id: 'R18', variant: 'no client tracking', promise: 'a server that cannot tell of new messages: found by looking' },
  async (scene) => {
    const worker = await scene.worker({ url: await lessAble(scene, '-client|tracking'), concurrency: 1 })
    await worker.says(/cannot tell of new messages/)
    for (let n = 0; n < 2; n++) {
      // Idle for long enough to look seldom.
      const idleFrom = nowMs()
      await until(() => nowMs() - idleFrom > 600, 'it is idle')
      const id = await scene.send('good')
      await scene.recorder.started(1, id)
    }
    await scene.drained()
  },
)

redisTest(
  {
    id: 'R18',
    variant: 'plain scripts',
    promise: 'a server whose version cannot be asked gets the scripts of Redis 6.2: claimed, kept, given back and buried all the same',
    dupBound: 2,
  },
  async (scene) => {
    const url = await lessAble(scene, '-info', '-client|tracking')
    const worker = await scene.worker({ url, concurrency: 2, args: ['-n', 'one@%h', '--prefetch-multiplier', '1'] })
    await worker.says(/INFO/)
    await scene.sendMany(2, 'hold', ['go'])
    await scene.recorder.started(2)
    await scene.send('good', [], { countdown: 1 })
    await scene.worker({ url, concurrency: 2, args: ['-n', 'two@%h'] })
    await worker.end('SIGKILL')
    await scene.recorder.started(4)
    scene.release('go')
    await scene.publishRaw(good({ task: 'no.such' }))
    await scene.deadLettersReach(1)
    await scene.drained()
  },
)

unseen({
  id: 'R18',
  driver: 'redis',
  promise: 'Redis 6.2, Valkey and Dragonfly as brokers: scripts without allow-oom, and what else they lack',
  because: 'no other server than Redis 7.0 was at hand; a server without client tracking is imitated by the rights of a user',
})
