/** What every store of limits promises (src/limit-store.ts). */
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { LimitStore, StartAnswer, StartAsk } from '../../dist/limit-store.js'
import { VirtualClock } from '../../dist/testing/virtual-clock.js'

export interface LimitDriver {
  readonly name: string
  /** A store that is empty; every one of one `open` reaches the same. `pass` moves a server's own time, where there is one. */
  open(clock: VirtualClock): Promise<{ store(): Promise<LimitStore>; pass?(ms: number): Promise<void>; dispose(): Promise<void> }>
}

const second = 1_000
const lease = 30 * second
const day = 86_400 * second

export function testLimitStore(driver: LimitDriver): void {
  describe(`limit store ${driver.name}`, () => {
    let clock: VirtualClock
    let place: Awaited<ReturnType<LimitDriver['open']>>
    let opened: LimitStore[]
    let store: LimitStore
    let holders = 0

    const open = async (): Promise<LimitStore> => {
      const another = await place.store()
      opened.push(another)
      return another
    }
    const pass = async (ms: number): Promise<void> => {
      await clock.moveTo(clock.now() + ms)
      await place.pass?.(ms)
    }
    const ask = (more: Partial<StartAsk>): StartAsk => ({
      owner: 'w1',
      holder: `h${++holders}`,
      rates: [],
      slots: [],
      aheadMs: 0,
      leaseMs: lease,
      ...more,
    })
    const rate = (intervalMs: number, name = 'r'): StartAsk['rates'] => [{ name, intervalMs }]
    const slots = (limit: number, name = 's'): StartAsk['slots'] => [{ name, limit }]
    const one = async (more: Partial<StartAsk>, at = store): Promise<StartAnswer> => {
      const [answer] = await at.start([ask(more)])
      if (answer === undefined) throw new Error('no answer')
      return answer
    }
    const lock = (holder: string, name = 'l') => ({ name, holder })
    const takeOne = (holder: string, more: Partial<Parameters<LimitStore['take']>[1]> = {}) =>
      store.take(lock(holder), { forMs: 10 * second, over: 'none', ...more })
    const sent = async (holder: string, over: 'none' | 'waiting' = 'none') => {
      const taken = await takeOne(holder, { over })
      if (taken.status === 'taken') await store.confirm(lock(holder), { forMs: day, before: taken.before })
      return taken
    }

    beforeEach(async () => {
      clock = new VirtualClock()
      place = await driver.open(clock)
      opened = []
      store = await open()
    })

    afterEach(async () => {
      for (const each of opened) await each.close()
      await place.dispose()
    })

    test('starts of one rate are an interval apart, whoever asks; those of another are not held up', async () => {
      const other = await open()
      expect(await one({ rates: rate(60 * second) })).toEqual({ status: 'granted', inMs: 0 })
      const refused = await one({ rates: rate(60 * second), owner: 'w2' }, other)
      expect(refused).toMatchObject({ status: 'wait', by: 'rate' })
      expect(refused.inMs).toBeGreaterThan(55 * second)
      expect(refused.inMs).toBeLessThanOrEqual(60 * second)
      expect(await one({ rates: rate(60 * second, 'other') })).toMatchObject({ status: 'granted' })
      await pass(60 * second)
      expect(await one({ rates: rate(60 * second), owner: 'w2' }, other)).toMatchObject({ status: 'granted' })
      expect(await one({ rates: rate(60 * second) })).toMatchObject({ status: 'wait' })
    })

    test('starts that are due soon are granted ahead, each with its time', async () => {
      const answers = await store.start(Array.from({ length: 4 }, () => ask({ rates: rate(300), aheadMs: 650 })))
      expect(answers.map(({ status }) => status)).toEqual(['granted', 'granted', 'granted', 'wait'])
      expect(answers.slice(0, 3).map(({ inMs }) => inMs)).toEqual([0, 300, 600])
    })

    test('an interval that was changed counts from the last start on', async () => {
      await one({ rates: rate(3_600 * second) })
      await pass(10 * second)
      expect(await one({ rates: rate(3_600 * second) })).toMatchObject({ status: 'wait' })
      expect(await one({ rates: rate(10 * second) })).toMatchObject({ status: 'granted' })
    })

    test('so many slots are held at the same time, and one that is given back is free', async () => {
      const other = await open()
      expect(await one({ slots: slots(2), holder: 'a' })).toMatchObject({ status: 'granted' })
      expect(await one({ slots: slots(2), holder: 'b', owner: 'w2' }, other)).toMatchObject({ status: 'granted' })
      expect(await one({ slots: slots(2), owner: 'w2' }, other)).toMatchObject({ status: 'wait', by: 'slots' })
      await other.free([{ name: 's', holder: 'b' }])
      await other.free([{ name: 's', holder: 'b' }])
      expect(await one({ slots: slots(2), owner: 'w2' }, other)).toMatchObject({ status: 'granted' })
      expect(await one({ slots: slots(2), owner: 'w2' }, other)).toMatchObject({ status: 'wait' })
    })

    test('slots of a holder that died are free after its lease; those that are renewed are not', async () => {
      await one({ slots: slots(2), holder: 'dead' })
      await one({ slots: slots(2), holder: 'alive' })
      for (let passed = 0; passed < 2; passed++) {
        await pass(lease / 2)
        await store.renew([{ name: 's', holder: 'alive' }], lease)
      }
      expect(await one({ slots: slots(2), holder: 'next' })).toMatchObject({ status: 'granted' })
      expect(await one({ slots: slots(2) })).toMatchObject({ status: 'wait' })
    })

    test('who runs on after its lease was lost is counted again', async () => {
      await one({ slots: slots(1), holder: 'slow' })
      await pass(2 * lease)
      await store.renew([{ name: 's', holder: 'slow' }], lease)
      expect(await one({ slots: slots(1) })).toMatchObject({ status: 'wait' })
    })

    test('who has waited for a second comes before who has just run; who waits no more holds nobody up', async () => {
      await one({ slots: slots(1), holder: 'a' })
      expect(await one({ slots: slots(1), owner: 'w2' })).toMatchObject({ status: 'wait' })
      await pass(1.5 * second)
      expect(await one({ slots: slots(1), owner: 'w2' })).toMatchObject({ status: 'wait' })
      await store.free([{ name: 's', holder: 'a' }])
      expect(await one({ slots: slots(1) })).toMatchObject({ status: 'wait', by: 'slots' })
      expect(await one({ slots: slots(1), owner: 'w2', holder: 'b' })).toMatchObject({ status: 'granted' })
      await store.free([{ name: 's', holder: 'b' }])
      await pass(3 * second)
      expect(await one({ slots: slots(1), owner: 'w3' })).toMatchObject({ status: 'granted' })
    })

    test('all limits of an ask are taken, or none of them', async () => {
      const both = { rates: rate(60 * second), slots: [...slots(1), ...slots(5, 'queue')] }
      await one({ slots: slots(1), holder: 'a' })
      expect(await one(both)).toMatchObject({ status: 'wait', by: 'slots' })
      expect(await one({ rates: rate(60 * second, 'r') })).toMatchObject({ status: 'granted' })
      await store.free([{ name: 's', holder: 'a' }])
      expect(await one(both)).toMatchObject({ status: 'wait', by: 'rate' })
      await pass(60 * second)
      expect(await one(both)).toMatchObject({ status: 'granted' })
      expect(await one({ slots: slots(1) })).toMatchObject({ status: 'wait' })
    })

    test('a lock is held from the first call to the end of its task, and the others are told by whom', async () => {
      expect(await takeOne('a')).toEqual({ status: 'taken', before: [] })
      expect(await takeOne('b')).toEqual({ status: 'held', by: 'a', isSent: false })
      await store.confirm(lock('a'), { forMs: day, before: [] })
      expect(await takeOne('b')).toEqual({ status: 'held', by: 'a', isSent: true })
      await pass(60 * second)
      expect(await store.claim(lock('a'), { forMs: day })).toBe('run')
      await store.release(lock('b'))
      expect(await takeOne('b')).toMatchObject({ status: 'held', by: 'a' })
      await store.release(lock('a'))
      await store.release(lock('a'))
      expect(await sent('b')).toMatchObject({ status: 'taken' })
      expect(await store.take(lock('a', 'another'), { forMs: 1, over: 'none' })).toMatchObject({ status: 'taken' })
    })

    test('who dies between lock and publish blocks for the short time only; a lock ends with its time; one whose task has ended is taken', async () => {
      await takeOne('dead')
      await pass(10 * second)
      expect(await sent('a')).toMatchObject({ status: 'taken' })
      await pass(day - second)
      expect(await takeOne('b')).toMatchObject({ status: 'held', by: 'a' })
      expect(await takeOne('c', { ended: 'a' })).toEqual({ status: 'taken', before: [] })
      await store.undo(lock('c'))
      expect(await sent('d')).toMatchObject({ status: 'taken' })
      await pass(day)
      expect(await sent('e')).toMatchObject({ status: 'taken' })
    })

    test('a later call takes the place of one that has not started, once it is sent', async () => {
      await sent('a')
      expect(await takeOne('b', { over: 'waiting' })).toEqual({ status: 'taken', before: ['a'] })
      // It may fail to be sent.
      expect(await store.claim(lock('a'), { forMs: day })).toBe('wait')
      expect(await store.confirm(lock('b'), { forMs: day, before: ['a'] })).toEqual(['a'])
      expect(await store.claim(lock('a'), { forMs: day })).toBe('dropped')
      expect(await store.claim(lock('b'), { forMs: day })).toBe('run')
      await store.release(lock('b'))
      expect(await store.claim(lock('a'), { forMs: day })).toBe('dropped')
    })

    test('a call that could not be sent leaves the earlier one its place, and so does one whose sender died', async () => {
      await sent('a')
      await takeOne('b', { over: 'waiting' })
      await store.undo(lock('b'))
      expect(await takeOne('c')).toMatchObject({ status: 'held', by: 'a' })
      await takeOne('d', { over: 'waiting' })
      await pass(10 * second)
      expect(await store.claim(lock('a'), { forMs: day })).toBe('run')
    })

    test('a task that runs is not dropped, and the one that was sent meanwhile has the lock after it', async () => {
      await sent('a')
      await store.claim(lock('a'), { forMs: day })
      expect(await sent('b', 'waiting')).toEqual({ status: 'taken', before: [] })
      expect(await store.claim(lock('a'), { forMs: day })).toBe('run')
      await store.release(lock('a'))
      expect(await takeOne('c')).toMatchObject({ status: 'held', by: 'b' })
    })

    test('a worker that is faster than the confirmation of the sender changes nothing', async () => {
      await sent('a')
      const taken = await takeOne('b', { over: 'waiting' })
      expect(await store.claim(lock('b'), { forMs: day })).toBe('run')
      expect(await store.claim(lock('a'), { forMs: day })).toBe('dropped')
      await store.release(lock('b'))
      expect(taken).toMatchObject({ before: ['a'] })
      expect(await store.confirm(lock('b'), { forMs: day, before: ['a'] })).toEqual(['a'])
      expect(await takeOne('c')).toMatchObject({ status: 'taken' })
    })

    test('of many that ask for one lock at the same time, one has it', async () => {
      const stores = [store, await open(), await open()]
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, index) =>
          (stores[index % 3] ?? store).take(lock(`t${index}`), { forMs: 60 * second, over: 'none' }),
        ),
      )
      const taken = answers.flatMap((answer, index) => (answer.status === 'taken' ? [`t${index}`] : []))
      expect(taken).toHaveLength(1)
      expect(new Set(answers.flatMap((answer) => (answer.status === 'held' ? [answer.by] : [])))).toEqual(new Set(taken))
    })

    test('what a closed store is asked is refused', async () => {
      const other = await open()
      await other.close()
      await other.close()
      await expect(one({}, other)).rejects.toThrow('closed')
    })

    test('whatever is asked, limits are kept, and what nothing holds up is granted', async () => {
      const unit = 500
      const step = fc.oneof(
        fc.record({
          kind: fc.constant('ask' as const),
          owner: fc.constantFrom('w1', 'w2', 'w3'),
          rate: fc.option(fc.constantFrom(unit, 3 * unit, 8 * unit), { nil: undefined }),
          limit: fc.option(fc.constantFrom(1, 2, 3), { nil: undefined }),
        }),
        fc.record({ kind: fc.constant('free' as const), which: fc.nat(20) }),
        fc.record({ kind: fc.constant('renew' as const), which: fc.nat(20) }),
        fc.record({ kind: fc.constant('pass' as const), units: fc.constantFrom(1, 2, 5, 9) }),
      )
      let run = 0
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
          run++
          // A server's time goes on by itself: a run that the machine held up for too long says nothing.
          const startedMs = performance.now()
          const inTime = (): boolean => place.pass === undefined || performance.now() - startedMs < unit * 0.8
          const leaseMs = 6 * unit
          let nowMs = 0
          let lastMs = Number.NEGATIVE_INFINITY
          const held = new Map<string, number>()
          const refused = new Map<string, number>()
          for (const [index, each] of steps.entries()) {
            const live = [...held].filter(([, untilMs]) => untilMs > nowMs)
            const picked = 'which' in each ? [...held.keys()][each.which % Math.max(1, held.size)] : undefined
            if (each.kind === 'pass') {
              await pass(each.units * unit)
              nowMs += each.units * unit
            } else if (each.kind === 'ask') {
              const holder = `${run}.${index}`
              const answer = await one({
                owner: each.owner,
                holder,
                leaseMs,
                rates: each.rate === undefined ? [] : rate(each.rate, `r${run}`),
                slots: each.limit === undefined ? [] : slots(each.limit, `s${run}`),
              })
              if (!inTime()) return
              const rateAllows = each.rate === undefined || nowMs - lastMs >= each.rate
              const slotsAllow = each.limit === undefined || live.length < each.limit
              const othersWait = [...refused].some(([owner, ms]) => owner !== each.owner && nowMs - ms < 2_000)
              if (answer.status === 'granted') expect({ rateAllows, slotsAllow }).toEqual({ rateAllows: true, slotsAllow: true })
              else expect(rateAllows && slotsAllow && !(each.limit !== undefined && othersWait)).toBe(false)
              if (answer.status === 'wait') expect(answer.inMs).toBeGreaterThan(0)
              if (answer.status === 'granted' && each.rate !== undefined) lastMs = nowMs
              if (answer.status === 'granted' && each.limit !== undefined) held.set(holder, nowMs + leaseMs)
              if (answer.status === 'wait' && each.limit !== undefined) refused.set(each.owner, nowMs)
            } else if (picked !== undefined && each.kind === 'free') {
              await store.free([{ name: `s${run}`, holder: picked }])
              held.delete(picked)
            } else if (picked !== undefined) {
              await store.renew([{ name: `s${run}`, holder: picked }], leaseMs)
              held.set(picked, nowMs + leaseMs)
            }
            if (!inTime()) return
          }
        }),
        { numRuns: place.pass === undefined ? 60 : 25 },
      )
    })

    test('whatever senders and workers do, one lock has one holder, and a task is dropped only for one that was sent', async () => {
      const step = fc.record({
        kind: fc.constantFrom('take', 'over', 'confirm', 'undo', 'claim', 'release'),
        which: fc.nat(3),
      })
      let run = 0
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
          run++
          // What each task is: all of one lock, and time stands still.
          const state = new Map<string, 'sending' | 'waiting' | 'started'>()
          const order: string[] = []
          const dropped = new Set<string>()
          const gone = (id: string): void => {
            state.delete(id)
            if (order.includes(id)) order.splice(order.indexOf(id), 1)
          }
          const dropBefore = (id: string): void => {
            for (const other of order.slice(0, order.indexOf(id))) {
              if (state.get(other) !== 'started') dropped.add(other)
              gone(other)
            }
          }
          let count = 0
          for (const { kind, which } of steps) {
            const id = [...order].reverse()[which]
            const of = (holder: string) => ({ name: `l${run}`, holder })
            if (kind === 'take' || kind === 'over') {
              const fresh = `${run}.${count++}`
              const answer = await store.take(of(fresh), { forMs: day, over: kind === 'take' ? 'none' : 'waiting' })
              const last = order.at(-1)
              if (kind === 'take' && last !== undefined)
                expect(answer).toEqual({ status: 'held', by: last, isSent: state.get(last) !== 'sending' })
              else {
                expect(answer).toEqual({ status: 'taken', before: order.filter((other) => state.get(other) !== 'started') })
                state.set(fresh, 'sending')
                order.push(fresh)
              }
            } else if (id === undefined) continue
            else if (kind === 'confirm') {
              await store.confirm(of(id), { forMs: day, before: [] })
              dropBefore(id)
              if (state.get(id) === 'sending') state.set(id, 'waiting')
            } else if (kind === 'undo') {
              if (state.get(id) !== 'sending') continue
              await store.undo(of(id))
              gone(id)
            } else if (kind === 'claim') {
              const isLast = order.at(-1) === id
              expect(await store.claim(of(id), { forMs: day })).toBe(isLast || state.get(id) === 'started' ? 'run' : 'wait')
              if (!isLast && state.get(id) !== 'started') continue
              dropBefore(id)
              state.set(id, 'started')
            } else {
              await store.release(of(id))
              dropBefore(id)
              gone(id)
            }
            for (const other of dropped) expect(await store.claim(of(other), { forMs: day })).toBe('dropped')
          }
        }),
        { numRuns: place.pass === undefined ? 60 : 20 },
      )
    })
  })
}
