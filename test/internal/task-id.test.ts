import fc from 'fast-check'
import { expect, test } from 'vitest'
import { newTaskId, taskIdKey } from '../../dist/internal/task-id.js'

test('a new id is a UUID of version 7 whose time is that of its making', () => {
  const id = newTaskId(Date.UTC(2026, 10, 22))
  expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  expect(Number.parseInt(id.replace('-', '').slice(0, 12), 16)).toBe(Date.UTC(2026, 10, 22))
})

test('ids of one moment differ', () => {
  expect(new Set(Array.from({ length: 10_000 }, () => newTaskId(0))).size).toBe(10_000)
})

test('the keys of ids rise with their time, and few of one moment share one', () => {
  const at = (ms: number): number[] => Array.from({ length: 500 }, () => taskIdKey(newTaskId(ms)))
  const [first, second] = [at(Date.UTC(2026, 10, 22)), at(Date.UTC(2026, 10, 22) + 1)]
  expect(Math.max(...first)).toBeLessThan(Math.min(...second))
  expect(new Set(first).size).toBeGreaterThan(400)
})

test('any text has a key, always the same, which an index can hold', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (id) => {
      const key = taskIdKey(id)
      expect(Number.isSafeInteger(key) && key >= 0 && key < 2 ** 53).toBe(true)
      expect(taskIdKey(id)).toBe(key)
    }),
  )
  // It looks like a version 7, and is none.
  expect(taskIdKey('zzzzzzzz-zzzz-7zzz-8zzz-zzzzzzzzzzzz')).toBeLessThan(2 ** 32)
})
