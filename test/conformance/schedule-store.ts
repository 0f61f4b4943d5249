/** What every store of schedules promises (src/schedule-store.ts). */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { HistoryRow, ScheduleStore } from '../../dist/schedule-store.js'
import { VirtualClock } from '../../dist/testing/virtual-clock.js'

export interface StoreDriver {
  readonly name: string
  /** A store that is empty; every one of one `open` reaches the same. `pass` moves a server's own time, where there is one. */
  open(
    clock: VirtualClock,
  ): Promise<{ store(app?: string): Promise<ScheduleStore>; pass?(ms: number): Promise<void>; dispose(): Promise<void> }>
}

const row = (entry: string, dueMs: number | null, more: Partial<HistoryRow> = {}): HistoryRow => ({
  entry,
  dueMs,
  atMs: (dueMs ?? 0) + 5,
  outcome: 'sent',
  taskId: `task-${dueMs}`,
  note: null,
  ...more,
})

export function testScheduleStore(driver: StoreDriver): void {
  describe(`schedule store ${driver.name}`, () => {
    let clock: VirtualClock
    let place: Awaited<ReturnType<StoreDriver['open']>>
    let opened: ScheduleStore[]
    let store: ScheduleStore

    const open = async (app?: string): Promise<ScheduleStore> => {
      const another = await place.store(app)
      opened.push(another)
      return another
    }
    const pass = async (ms: number): Promise<void> => {
      await clock.moveTo(clock.now() + ms)
      await place.pass?.(ms)
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

    test('entries come back as they were written, and only those that are new to the reader', async () => {
      expect(await store.revision()).toBe(0)
      const first = await store.write({
        entries: [
          { name: 'a ü', from: 0, data: '{"x":"😀"}' },
          { name: 'b', from: 0, data: '1' },
        ],
      })
      expect(first.status).toBe('written')
      const other = await open()
      const entries = await other.entries(0)
      expect(entries.map(({ name, data }) => [name, data]).sort()).toEqual([
        ['a ü', '{"x":"😀"}'],
        ['b', '1'],
      ])
      const revision = await other.revision()
      await other.write({ entries: [{ name: 'b', from: revision, data: '2' }] })
      expect((await store.entries(revision)).map(({ name, data }) => [name, data])).toEqual([['b', '2']])
      expect(await store.revision()).toBeGreaterThan(revision)
      expect(other.id).toBe(store.id)
    })

    test('a write that did not read the last one changes nothing', async () => {
      await store.write({ entries: [{ name: 'a', from: 0, data: '1' }] })
      const revision = await store.revision()
      const late = await store.write({
        entries: [
          { name: 'b', from: 0, data: '1' },
          { name: 'a', from: 0, data: '2' },
        ],
        history: [row('a', 1)],
      })
      expect(late).toEqual({ status: 'changed', names: ['a'] })
      expect(await store.revision()).toBe(revision)
      expect((await store.entries(0)).map(({ name }) => name)).toEqual(['a'])
      expect(await store.history({ limit: 10 })).toEqual([])
    })

    test('of many that write one entry at once, one succeeds each time', async () => {
      const others = await Promise.all(Array.from({ length: 4 }, () => open()))
      for (let round = 0; round < 10; round++) {
        const from = (await store.entries(0)).find(({ name }) => name === 'a')?.revision ?? 0
        const outcomes = await Promise.all(
          others.map((each, index) => each.write({ entries: [{ name: 'a', from, data: `${round} ${index}` }] })),
        )
        expect(outcomes.filter(({ status }) => status === 'written')).toHaveLength(1)
      }
    })

    test('a removed entry is told as removed, and its name can be used again', async () => {
      await store.write({ entries: [{ name: 'a', from: 0, data: '1' }] })
      const revision = await store.revision()
      await store.write({ entries: [{ name: 'a', from: revision, data: null }] })
      expect((await store.entries(revision)).map(({ name, data }) => [name, data])).toEqual([['a', null]])
      expect((await store.write({ entries: [{ name: 'a', from: 0, data: '2' }] })).status).toBe('written')
      expect((await store.entries(revision)).map(({ data }) => data)).toEqual(['2'])
    })

    test('history comes newest first, of one entry or all, and only the newest are kept', async () => {
      await store.write({
        entries: [
          { name: 'a', from: 0, data: '1' },
          { name: 'b', from: 0, data: '1' },
        ],
      })
      for (let due = 1; due <= 5; due++) {
        await store.write({
          entries: [],
          history: [row('a', due), row('b', due, { outcome: 'skipped', taskId: null, note: 'why' })],
          historyKept: 3,
        })
      }
      expect(await store.history({ entry: 'a', limit: 10 })).toEqual([row('a', 5), row('a', 4), row('a', 3)])
      expect(await store.history({ entry: 'b', limit: 1 })).toEqual([row('b', 5, { outcome: 'skipped', taskId: null, note: 'why' })])
      expect(await store.history({ limit: 4 })).toHaveLength(4)
      expect(await store.history({ entry: 'c', limit: 10 })).toEqual([])
    })

    test('one leads, and goes on leading while it asks in time', async () => {
      const other = await open()
      const first = await store.lead('one', 3_000)
      expect(first).toMatchObject({ leads: true, owner: 'one' })
      for (let turn = 0; turn < 5; turn++) {
        await pass(1_000)
        expect(await other.lead('two', 3_000)).toMatchObject({ leads: false, owner: 'one', token: first.token })
        await pass(1_000)
        expect(await store.lead('one', 3_000)).toMatchObject({ leads: true, token: first.token })
      }
    })

    test('who does not ask in time is replaced by the first to ask, with a higher token; its own writes are refused', async () => {
      const other = await open()
      const first = await store.lead('one', 3_000)
      await other.lead('two', 3_000)
      await pass(3_001)
      const second = await other.lead('two', 3_000)
      expect(second.leads).toBe(true)
      expect(second.token).toBeGreaterThan(first.token)
      expect(await store.lead('one', 3_000)).toMatchObject({ leads: false, owner: 'two', token: second.token })
      const late = { entries: [{ name: 'a', from: 0, data: '1' }], history: [row('a', 1)] }
      expect(await store.write({ ...late, token: first.token })).toEqual({ status: 'deposed' })
      expect(await store.entries(0)).toEqual([])
      expect(await store.history({ entry: 'a', limit: 1 })).toEqual([])
      expect((await other.write({ ...late, token: second.token })).status).toBe('written')
    })

    test('who resigns is replaced at once, and the token rises', async () => {
      const other = await open()
      const first = await store.lead('one', 60_000)
      await other.resign('two')
      expect(await other.lead('two', 60_000)).toMatchObject({ leads: false })
      await store.resign('one')
      const second = await other.lead('two', 60_000)
      expect(second.leads && second.token > first.token).toBe(true)
    })

    test('of many that ask at once when nobody leads, one leads', async () => {
      const others = await Promise.all(Array.from({ length: 4 }, () => open()))
      const asked = await Promise.all(others.map((each, index) => each.lead(`beat-${index}`, 60_000)))
      expect(asked.filter(({ leads }) => leads)).toHaveLength(1)
    })

    test('ten thousand entries are written and read at once', async () => {
      const entries = Array.from({ length: 10_000 }, (_, index) => ({ name: `entry-${index}`, from: 0, data: `{"n":${index}}` }))
      for (let from = 0; from < entries.length; from += 500) await store.write({ entries: entries.slice(from, from + 500) })
      expect(await store.entries(0)).toHaveLength(10_000)
    })

    test('close is safe twice, and then everything says so', async () => {
      await store.close()
      await store.close()
      await expect(store.entries(0)).rejects.toMatchObject({ code: 'ERR_CONNECTION' })
      await expect(store.lead('one', 1_000)).rejects.toMatchObject({ code: 'ERR_CONNECTION' })
    })
  })
}
