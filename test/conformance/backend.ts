/** What every result backend promises (src/backend.ts). A driver's test names what it cannot do, with the reason; a named gap that starts to pass fails. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ResultBackend } from '../../dist/backend.js'
import { JsonText } from '../../dist/protocol/json-text.js'
import type { ResultMeta } from '../../dist/protocol/result.js'
import { VirtualClock } from '../../dist/testing/virtual-clock.js'
import { settled, until, within } from './wait.js'

export interface BackendDriver {
  readonly name: string
  /** A store that is empty; every backend of one `open` reaches the same store. `pass` moves a server's own time, where there is one. */
  open(clock: VirtualClock): Promise<{ backend(): Promise<ResultBackend>; pass?(ms: number): Promise<void>; dispose(): Promise<void> }>
  /** Promise -> why this backend cannot keep it. */
  readonly gaps?: Readonly<Record<string, string>>
}

export function meta(taskId: string, status = 'SUCCESS', more: Partial<ResultMeta> = {}): ResultMeta {
  return { taskId, status, result: null, traceback: null, children: [], dateDone: null, ...more }
}

const forever = { expiresSeconds: null }

export function testBackend(driver: BackendDriver): void {
  const promise = (name: string, body: () => Promise<void>): void => {
    const reason = driver.gaps?.[name]
    if (reason === undefined) test(name, body, 20_000)
    else test.fails(`${name} (gap: ${reason})`, body, 20_000)
  }

  describe(`backend ${driver.name}`, () => {
    let clock: VirtualClock
    let store: Awaited<ReturnType<BackendDriver['open']>>
    let opened: ResultBackend[]
    let backend: ResultBackend
    let stop: AbortController

    const open = async (): Promise<ResultBackend> => {
      const another = await store.backend()
      opened.push(another)
      return another
    }
    const pass = async (ms: number): Promise<void> => {
      await clock.moveTo(clock.now() + ms)
      await store.pass?.(ms)
    }
    /** The states that a wait sees, as they come, and its end. */
    const watch = (ids: readonly string[], from: ResultBackend = backend): { readonly seen: string[]; readonly ended: Promise<void> } => {
      const seen: string[] = []
      const ended = (async () => {
        for await (const state of from.wait(ids, { signal: stop.signal })) seen.push(`${state.taskId} ${state.status}`)
      })()
      ended.catch(() => undefined)
      return { seen, ended }
    }

    beforeEach(async () => {
      clock = new VirtualClock()
      store = await driver.open(clock)
      opened = []
      backend = await open()
      stop = new AbortController()
    })

    afterEach(async () => {
      stop.abort(new Error('the test is over'))
      for (const each of opened) await each.close()
      await store.dispose()
    })

    promise('a result comes back as it was stored', async () => {
      const full = meta('a', 'SUCCESS', {
        result: { n: [1, 'ü', null], deep: { x: true } },
        traceback: 'no',
        children: [[['b', null], null]],
        dateDone: '2026-01-02T03:04:05.678901+00:00',
        groupId: 'g',
        parentId: 'p',
        name: 'add',
        args: [1],
        kwargs: { a: 1 },
        worker: 'w@h',
        retries: 2,
        queue: 'q',
      })
      expect(await backend.store(full, forever)).toBe(true)
      expect(await (await open()).get('a')).toEqual(full)
    })

    promise('a result that is JSON already is kept as its value', async () => {
      await backend.store(meta('a', 'SUCCESS', { result: new JsonText('{"x": [1, 2]}') }), forever)
      expect((await backend.get('a'))?.result).toEqual({ x: [1, 2] })
    })

    promise('a value that cannot be written is refused with its path, and nothing is stored', async () => {
      await expect(backend.store(meta('a', 'SUCCESS', { result: { b: () => 1 } }), forever)).rejects.toMatchObject({ code: 'ERR_ENCODE' })
      expect(await backend.get('a')).toBeUndefined()
    })

    promise('the first terminal state wins, whatever comes after', async () => {
      const other = await open()
      for (const first of ['SUCCESS', 'FAILURE', 'REVOKED']) {
        expect(await backend.store(meta(first, 'STARTED'), forever)).toBe(true)
        expect(await backend.store(meta(first, first), forever)).toBe(true)
        for (const late of ['SUCCESS', 'FAILURE', 'REVOKED', 'RETRY', 'STARTED', 'PROGRESS']) {
          expect(await other.store(meta(first, late), forever)).toBe(false)
        }
        expect((await backend.get(first))?.status).toBe(first)
      }
    })

    promise('states before the end replace each other', async () => {
      for (const status of ['RECEIVED', 'STARTED', 'PROGRESS', 'RETRY', 'STARTED']) {
        expect(await backend.store(meta('a', status), forever)).toBe(true)
        expect((await backend.get('a'))?.status).toBe(status)
      }
    })

    promise('of many that race for the end of one task, exactly one wins', async () => {
      const other = await open()
      for (let round = 0; round < 50; round++) {
        const outcomes = await Promise.all(
          Array.from({ length: 10 }, (_, index) =>
            (index % 2 === 0 ? backend : other).store(meta(`r${round}`, index % 3 === 0 ? 'FAILURE' : 'SUCCESS'), forever),
          ),
        )
        expect(outcomes.filter((won) => won)).toHaveLength(1)
      }
    })

    promise('unknown tasks have no result; many are read at once', async () => {
      await backend.store(meta('a'), forever)
      await backend.store(meta('b', 'FAILURE'), forever)
      expect(await backend.get('nobody')).toBeUndefined()
      const found = await backend.getMany(['a', 'nobody', 'b'])
      expect([...found].map(([id, state]) => [id, state.status]).sort()).toEqual([
        ['a', 'SUCCESS'],
        ['b', 'FAILURE'],
      ])
      expect(await backend.getMany([])).toEqual(new Map())
    })

    promise('ids may hold any characters', async () => {
      const ids = ["'", '"; DROP TABLE results; --', '%', '😀', 'a,b', '[0]']
      for (const id of ids) await backend.store(meta(id), forever)
      expect([...(await backend.getMany(ids)).keys()].sort()).toEqual([...ids].sort())
    })

    promise('a result is gone when it has expired', async () => {
      await backend.store(meta('short'), { expiresSeconds: 10 })
      await backend.store(meta('long'), { expiresSeconds: 100 })
      await backend.store(meta('ever'), forever)
      await pass(10_000)
      expect([...(await backend.getMany(['short', 'long', 'ever'])).keys()].sort()).toEqual(['ever', 'long'])
      expect(await backend.get('short')).toBeUndefined()
    })

    promise('cleanup counts what has expired, and leaves the rest', async () => {
      await backend.store(meta('short'), { expiresSeconds: 10 })
      await backend.store(meta('long'), { expiresSeconds: 100 })
      await pass(10_000)
      expect(await backend.cleanup({ nowMs: clock.now() })).toBe(1)
      expect(await backend.cleanup({ nowMs: clock.now() })).toBe(0)
      expect(await backend.get('long')).toBeDefined()
    })

    promise('cleanup counts all that has expired, among any number that has not', async () => {
      const ids = Array.from({ length: 2_500 }, (_, index) => `c${index}`)
      await Promise.all(ids.map((id, index) => backend.store(meta(id), index % 2 === 0 ? { expiresSeconds: 10 } : forever)))
      await pass(10_000)
      expect(await backend.cleanup({ nowMs: clock.now() })).toBe(1_250)
      expect((await backend.getMany(ids)).size).toBe(1_250)
    })

    promise('an id whose result has expired can have a new one', async () => {
      await backend.store(meta('a', 'FAILURE'), { expiresSeconds: 1 })
      await pass(1_000)
      expect(await backend.store(meta('a', 'SUCCESS'), forever)).toBe(true)
      expect((await backend.get('a'))?.status).toBe('SUCCESS')
    })

    promise('forget removes results', async () => {
      await backend.store(meta('a'), forever)
      await backend.store(meta('b'), forever)
      await backend.forget(['a', 'nobody'])
      expect([await backend.get('a'), (await backend.get('b'))?.taskId]).toEqual([undefined, 'b'])
      expect(await backend.store(meta('a', 'FAILURE'), forever)).toBe(true)
    })

    // ── waiting ──────────────────────────────────────────────────────────────

    promise('a wait for what is there already ends at once', async () => {
      await backend.store(meta('a'), forever)
      const { seen, ended } = watch(['a'])
      await within(ended, 'the wait')
      expect(seen).toEqual(['a SUCCESS'])
    })

    promise('a wait sees states of another backend, and ends when all tasks have ended', async () => {
      const other = await open()
      const { seen, ended } = watch(['a', 'b'])
      await settled()
      await other.store(meta('a', 'STARTED'), forever)
      await until(() => seen.length === 1, 'the first state')
      await other.store(meta('a', 'SUCCESS'), forever)
      await until(() => seen.length === 2, 'the second state')
      await other.store(meta('b', 'FAILURE'), forever)
      await within(ended, 'the wait')
      expect(seen).toEqual(['a STARTED', 'a SUCCESS', 'b FAILURE'])
    })

    promise('the last state is never missed, however it falls between subscribing and reading', async () => {
      const other = await open()
      for (let round = 0; round < 100; round++) {
        const id = `m${round}`
        const storing = Promise.all([other.store(meta(id, 'STARTED'), forever), other.store(meta(id), forever)])
        for (let turn = 0; turn < round % 7; turn++) await Promise.resolve()
        if (round % 3 === 0) await new Promise((resolve) => setImmediate(resolve))
        const { seen, ended } = watch([id])
        await within(ended, 'the wait')
        await storing
        expect(seen.at(-1)).toBe(`${id} SUCCESS`)
      }
    })

    promise('one result wakes everyone who waits for it', async () => {
      const waits = Array.from({ length: 20 }, () => watch(['a']))
      await settled()
      await backend.store(meta('a'), forever)
      await within(Promise.all(waits.map((wait) => wait.ended)), 'the waits')
    })

    promise('10 000 waits on unknown tasks cost one subscription, and each gets its own', async () => {
      const ids = Array.from({ length: 10_000 }, (_, index) => `t${index}`)
      const waits = ids.map((id) => watch([id]))
      const all = watch(ids)
      await settled()
      const stored = ids.filter((_, index) => index % 100 === 0)
      await Promise.all(stored.map((id) => backend.store(meta(id), forever)))
      await within(Promise.all(waits.filter((_, index) => index % 100 === 0).map((wait) => wait.ended)), 'the waits')
      await until(() => all.seen.length === stored.length, 'the wait for all')
      stop.abort(new Error('enough'))
      await expect(all.ended).rejects.toThrow('enough')
    })

    promise('a wait ends with the reason of its signal', async () => {
      const { ended } = watch(['nobody'])
      await settled()
      stop.abort(new Error('too long'))
      await expect(within(ended, 'the wait')).rejects.toThrow('too long')
      await expect(watch(['nobody']).ended).rejects.toThrow('too long')
    })

    promise('a wait can be left early', async () => {
      await backend.store(meta('a', 'STARTED'), forever)
      for await (const state of backend.wait(['a', 'b'], { signal: stop.signal })) {
        expect(state.status).toBe('STARTED')
        break
      }
    })

    promise('a wait for nothing ends at once', async () => {
      await within(watch([]).ended, 'the wait')
    })

    // ── revoking ─────────────────────────────────────────────────────────────

    promise('revoked tasks are remembered until they expire', async () => {
      await backend.revoke(['a', 'b'], { expiresSeconds: 10 })
      await (await open()).revoke(['b'], { expiresSeconds: 100 })
      expect([...(await backend.revoked(['a', 'b', 'c']))].sort()).toEqual(['a', 'b'])
      await pass(10_000)
      expect([...(await backend.revoked(['a', 'b', 'c']))]).toEqual(['b'])
      expect(await backend.cleanup({ nowMs: clock.now() })).toBe(0)
      expect([...(await backend.revoked(['b']))]).toEqual(['b'])
    })

    // ── the end ──────────────────────────────────────────────────────────────

    promise('close ends open waits with an error, and is safe twice', async () => {
      const { ended } = watch(['nobody'])
      await settled()
      await Promise.all([backend.close(), backend.close()])
      await expect(within(ended, 'the wait')).rejects.toMatchObject({ code: 'ERR_CONNECTION' })
      await expect(backend.get('a')).rejects.toMatchObject({ code: 'ERR_CONNECTION' })
      await expect(backend.store(meta('a'), forever)).rejects.toMatchObject({ code: 'ERR_CONNECTION' })
      await backend.close()
    })

    promise('what was being stored at the close is stored', async () => {
      const storing = backend.store(meta('a'), forever)
      await backend.close()
      expect(await storing).toBe(true)
      expect((await (await open()).get('a'))?.status).toBe('SUCCESS')
    })
  })
}
