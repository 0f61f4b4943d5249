import { expect, test } from 'vitest'
import { EndOfTurn } from '../../dist/internal/end-of-turn.js'

const busy = (ms: number): void => {
  for (const from = performance.now(); performance.now() - from < ms; );
}

test('the first after a pause comes before the loop turns, with all that is called in the same tick; the next one when it has turned', async () => {
  const turns = new EndOfTurn()
  const order: string[] = []
  await new Promise<void>((resolve) => {
    setImmediate(() => {
      setImmediate(() => order.push('turned'))
      turns.call(() => {
        order.push('first')
        turns.call(() => {
          order.push('second')
          resolve()
        })
      })
      order.push('same tick')
    })
  })
  expect(order).toEqual(['same tick', 'first', 'turned', 'second'])
})

test('work that is long and calls again at its end leaves timers and sockets their turn', async () => {
  const turns = new EndOfTurn()
  let rounds = 0
  let isOver = false
  const work = (): void => {
    rounds++
    busy(6)
    // As the worker: what one transaction gave is run, and what came of it is written in the next.
    Promise.resolve().then(() => {
      if (!isOver && rounds < 50) turns.call(work)
    })
  }
  turns.call(work)
  await new Promise((resolve) => setTimeout(resolve, 1))
  isOver = true
  expect(rounds).toBeLessThan(5)
})
