/** Workflows in which something fails, dies or comes twice (reliability.md B.9), as they must end on every broker that processes share. */
import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { expect } from 'vitest'
import { chain, chord, group, type Sig } from '../../dist/index.js'
import { build, evaluate, trees } from '../canvas/random.js'
import { until } from '../conformance/wait.js'
import type { FaultTest } from '../harness/fault-test.js'
import type { Scene } from '../harness/scene.js'
import { processesOf } from '../harness/worker-process.js'

export function canvasRows(faultTest: FaultTest): void {
  faultTest(
    { id: 'C1', promise: 'one of 5 chord headers fails: the body ends with ChordError, and its errback is told once' },
    async (scene) => {
      await scene.worker({ concurrency: 2 })
      const failing = randomUUID()
      const [body, errback] = expectErrback(scene)
      const headers = [0, 1, 2, 3].map((n) => scene.sig('good', [n]))
      const result = await scene.sendCanvas(chord(group([scene.sig('fail', ['no'], { taskId: failing }), ...headers]), body))
      scene.neverRuns(result.id)
      await scene.recorder.ended(5)
      expect(await scene.result(result.id)).toMatchObject({
        excType: 'ChordError',
        message: `Dependency ${failing} raised TypeError('no')`,
      })
      expect(await scene.result(errback)).toBe(result.id)
      await scene.drained()
    },
  )

  faultTest(
    { id: 'C2', variant: 'prefork', promise: "kill -9 of a chord header's child: the header runs again, and the body once", dupBound: 1 },
    async (scene) => {
      await scene.worker({ concurrency: 3 })
      const result = await scene.sendCanvas(chord(group([1, 2, 3].map(() => scene.sig('hold', ['go']))), scene.sig('good')))
      await scene.recorder.started(3)
      const [victim] = scene.recorder.running()
      if (victim === undefined) throw new Error('unreachable')
      process.kill(victim.pid, 'SIGKILL')
      await scene.recorder.started(2, victim.id)
      scene.release('go')
      expect(await scene.result(result.id)).toEqual(['go', 'go', 'go'])
      expect(scene.recorder.starts(result.id)).toHaveLength(1)
      await scene.drained()
    },
  )

  faultTest(
    {
      id: 'C2',
      variant: 'prefork, each time',
      promise: 'a chord header that kills its process each time: it is put away, and the body ends with ChordError',
      dupBound: 4,
    },
    async (scene) => {
      await scene.worker({ concurrency: 1 })
      const [body, errback] = expectErrback(scene)
      const deadly = scene.sig('die', ['SIGKILL'])
      const result = await scene.sendCanvas(chord(group([deadly, scene.sig('good', [1])]), body))
      scene.neverRuns(result.id)
      expect(await scene.result(result.id, 50_000)).toMatchObject({
        excType: 'ChordError',
        message: expect.stringContaining('WorkerLostError'),
      })
      expect(await scene.result(errback)).toBe(result.id)
      await scene.drained()
    },
  )

  faultTest(
    {
      id: 'C3',
      promise: 'a chord header that has run twice, with two results: the body runs once, with the one that is stored',
      // The other headers may be in the hands of the worker that stood still.
      dupBound: 3,
    },
    async (scene) => {
      const paused = await scene.worker({ concurrency: 1, args: ['-n', 'paused@%h', '--prefetch-multiplier', '1'] })
      const twice = randomUUID()
      const header = scene.sig('whoHeld', ['go'], { taskId: twice })
      const last = scene.sig('hold', ['last'])
      const result = await scene.sendCanvas(chord(group([header, scene.sig('good', [1]), last]), scene.sig('echo')))
      await scene.recorder.started(1, twice)
      const stopped = processesOf(scene.folder)
      for (const pid of stopped) process.kill(pid, 'SIGSTOP')
      await scene.worker({ concurrency: 3, args: ['-n', 'other@%h'] })
      const second = await scene.recorder.started(2, twice)
      scene.release('go')
      await until(async () => (await scene.app.result(twice).state()) === 'SUCCESS', 'the second run has its result stored')
      for (const pid of stopped) process.kill(pid, 'SIGCONT')
      await scene.recorder.ended(2, twice)
      expect(paused.isRunning).toBe(true)
      scene.release('last')
      expect(await scene.result(result.id)).toEqual([[second.pid, 1, 'last']])
      expect(scene.recorder.starts(result.id)).toHaveLength(1)
      await scene.drained()
    },
  )

  // Once a body or a next step is published, the worker that is killed may have begun it. Both pools go the same way.
  for (const pool of ['prefork'] as const) {
    for (const { at, mayRun } of [
      { at: 'result.after_store=kill9@3', mayRun: 'once' },
      { at: 'chord.after_count=kill9@1', mayRun: 'once' },
      { at: 'continuation.after_one=kill9@1', mayRun: 'once more at most' },
      { at: 'chord.before_end=kill9@1', mayRun: 'once more at most' },
      { at: 'ack.before_send=kill9@3', mayRun: 'once more at most' },
    ]) {
      faultTest(
        {
          id: 'C4',
          variant: pool,
          promise: `kill -9 at ${at.split('=')[0]}, when the last chord header has ended: the body runs with all results, ${mayRun}`,
          dupBound: mayRun === 'once' ? 0 : 1,
        },
        async (scene) => {
          const doomed = scene.start({ pool, concurrency: 1, env: { CELERIAC_FAILPOINTS: at } })
          const headers = [0, 1, 2].map((n) => scene.sig('good', [n]))
          const result = await scene.sendCanvas(chord(group(headers), scene.sig('echo')))
          expect(await doomed.end('SIGCONT')).toEqual({ code: null, signal: 'SIGKILL' })
          await scene.worker({ pool, concurrency: 1 })
          expect(await scene.result(result.id)).toEqual([[0, 1, 2]])
          await scene.drained()
        },
      )
    }
  }

  for (const { at, mayRun } of [
    { at: 'result.after_store=kill9@2', mayRun: 'each step once' },
    { at: 'continuation.after_one=kill9@2', mayRun: 'the next step once more at most' },
    { at: 'ack.before_send=kill9@2', mayRun: 'the next step once more at most' },
  ]) {
    faultTest(
      {
        id: 'C4',
        variant: 'chain',
        promise: `kill -9 at ${at.split('=')[0]}, in the middle of a chain: it goes on, ${mayRun}`,
        dupBound: mayRun === 'each step once' ? 0 : 1,
      },
      async (scene) => {
        const doomed = scene.start({ concurrency: 1, env: { CELERIAC_FAILPOINTS: at } })
        const result = await scene.sendCanvas(chain.from([scene.sig('echo', ['a']), scene.sig('echo', ['b']), scene.sig('echo', ['c'])]))
        expect(await doomed.end('SIGCONT')).toEqual({ code: null, signal: 'SIGKILL' })
        await scene.worker({ concurrency: 1 })
        expect(await scene.result(result.id)).toEqual([[['a'], 'b'], 'c'])
        await scene.drained()
      },
    )
  }

  faultTest({ id: 'C6', variant: 'empty', promise: 'a chord without headers: the body runs once, with an empty list' }, async (scene) => {
    await scene.worker({ concurrency: 1 })
    const result = await scene.sendCanvas(chord(group([]), scene.sig('echo')))
    expect(await scene.result(result.id)).toEqual([[]])
    await scene.drained()
  })

  const nested = 'a chord of chords, one header with 3 retries: each body runs once'
  faultTest({ id: 'C6', variant: 'nested', promise: nested, dupBound: 3 }, async (scene) => {
    await scene.worker({ concurrency: 2 })
    const inner = (n: number) => chord(group([scene.sig('good', [n]), scene.sig('good', [n + 1])]), scene.sig('echo'))
    const flaky = scene.sig('flaky', [3])
    const result = await scene.sendCanvas(chord(group([inner(1), flaky, inner(3)]), scene.sig('echo')))
    expect(await scene.result(result.id)).toEqual([[[[1, 2]], 3, [[3, 4]]]])
    // Each retry is a start of its task.
    for (const id of scene.ledger.confirmed) {
      const starts = scene.recorder.starts(id)
      expect(starts.length, id).toBe(starts[0]?.task === 'flaky' ? 4 : 1)
    }
    await scene.drained()
  })

  faultTest(
    { id: 'C6', variant: '5 000 headers', promise: 'a chord of 5 000 headers: the body runs once, with all results' },
    async (scene) => {
      await scene.worker({ pool: 'async', concurrency: 100 })
      const headers = Array.from({ length: 5_000 }, (_, n) => scene.sig('good', [n]))
      const result = await scene.sendCanvas(chord(group(headers), scene.sig('echo')))
      expect(await scene.result(result.id, 110_000)).toEqual([Array.from({ length: 5_000 }, (_, n) => n)])
      expect(scene.recorder.starts(result.id)).toHaveLength(1)
      await scene.drained()
    },
  )

  faultTest(
    { id: 'C8', promise: 'a chord header is revoked: the body ends with ChordError, and its errback is told once' },
    async (scene) => {
      const revoked = randomUUID()
      const [body, errback] = expectErrback(scene)
      await scene.app.control.revoke(revoked)
      const result = await scene.sendCanvas(chord(group([scene.sig('good', [1]), scene.sig('good', [2], { taskId: revoked })]), body))
      for (const id of [revoked, result.id]) scene.neverRuns(id)
      await scene.worker({ concurrency: 1 })
      expect(await scene.result(result.id)).toMatchObject({
        excType: 'ChordError',
        message: `Dependency ${revoked} raised TaskRevokedError('revoked')`,
      })
      expect(await scene.result(errback)).toBe(result.id)
      expect(scene.recorder.starts(revoked)).toHaveLength(0)
      await scene.drained()
    },
  )

  faultTest(
    {
      id: 'C4',
      variant: 'random',
      promise: '60 random workflows while workers are killed 5 times: each gives what its evaluation gives',
      // What a killed worker has begun is begun again.
      dupBound: 100,
    },
    async (scene) => {
      const all = fc.sample(trees(4), 60)
      const workers = [await scene.worker({ pool: 'async', concurrency: 4 }), await scene.worker({ pool: 'async', concurrency: 4 })]
      const echo = scene.app.remote('echo') as unknown as Record<'s' | 'si', (tag: string) => Sig<unknown, unknown, true>>
      const sent = all.map((tree) => build(tree, (tag, immutable) => (immutable ? echo.si(tag) : echo.s(tag))).delay())
      for (let kill = 1; kill <= 5; kill++) {
        await scene.recorder.started(kill * 20)
        await workers.shift()?.end('SIGKILL')
        workers.push(await scene.worker({ pool: 'async', concurrency: 4 }))
      }
      for (const [index, tree] of all.entries()) {
        const result = await (sent[index] ?? Promise.reject(new Error('unreachable')))
        const value = await result
          .get({ timeout: 90 })
          .catch((error: unknown) => Promise.reject(new Error(`${error}: ${JSON.stringify(tree)}`)))
        expect(value, JSON.stringify(tree)).toEqual(evaluate(tree))
        scene.expect(result)
      }
      // A result knows the way that led to it, and not what else was run.
      for (const { id } of scene.recorder.starts()) scene.ledger.attempted.add(id)
      await scene.drained()
    },
  )
}

/** A body with an errback, which is to be told; the errback's id. */
function expectErrback(scene: Scene): readonly [body: ReturnType<Scene['sig']>, errback: string] {
  const errback = `errback-${randomUUID()}`
  scene.ledger.attempted.add(errback)
  scene.ledger.confirmed.add(errback)
  return [scene.sig('good').linkError(scene.sig('good', [], { taskId: errback })), errback]
}
