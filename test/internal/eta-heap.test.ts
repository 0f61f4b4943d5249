import fc from 'fast-check'
import { expect, test } from 'vitest'
import { EtaHeap } from '../../dist/internal/eta-heap.js'

test('what is due comes out earliest first, in the order of adding where times are equal', () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.record({ add: fc.nat(50) }), fc.record({ take: fc.nat(60) }), fc.record({ remove: fc.nat(3) }))),
      (steps) => {
        const heap = new EtaHeap<{ readonly dueMs: number; readonly order: number }>()
        let model: { readonly dueMs: number; readonly order: number }[] = []
        let order = 0
        for (const step of steps) {
          if ('add' in step) {
            const value = { dueMs: step.add, order: order++ }
            heap.add(step.add, value)
            model.push(value)
          } else if ('take' in step) {
            const due = model.filter((value) => value.dueMs <= step.take).sort((a, b) => a.dueMs - b.dueMs || a.order - b.order)
            model = model.filter((value) => value.dueMs > step.take)
            expect(heap.takeDue(step.take)).toEqual(due)
          } else {
            const isDropped = (value: { readonly order: number }): boolean => value.order % 3 === step.remove
            const dropped = model.filter(isDropped)
            model = model.filter((value) => !isDropped(value))
            expect(heap.remove(isDropped).sort((a, b) => a.order - b.order)).toEqual(dropped)
          }
          expect(heap.size).toBe(model.length)
          expect(heap.nextDueMs).toBe(model.length === 0 ? undefined : Math.min(...model.map((value) => value.dueMs)))
        }
      },
    ),
  )
})

test('100 000 entries come out in order', () => {
  const heap = new EtaHeap<number>()
  let seed = 1
  for (let index = 0; index < 100_000; index++) {
    seed = (seed * 48_271) % 2_147_483_647
    heap.add(seed, seed)
  }
  const due = heap.takeDue(Number.MAX_SAFE_INTEGER)
  expect(due).toHaveLength(100_000)
  expect(due).toEqual([...due].sort((a, b) => a - b))
})
