// The tasks of docs/guide/canvas. Run them: celeriac -A ./tasks.ts worker
import { Celeriac, group } from 'celeriac'

export const app = new Celeriac('workflows')

// region tasks
export const add = app.task('add', (x: number, y: number) => x + y)
export const total = app.task('total', (numbers: number[]) => numbers.reduce((a, b) => a + b, 0))
export const describe = app.task('describe', (x: number) => `it is ${x}`)
export const cleanUp = app.task('clean-up', () => 'clean')
// endregion

export const divide = app.task('divide', (x: number, by: number) => {
  if (by === 0) throw new RangeError('division by zero')
  return x / by
})

// region errback
export const alarm = app.task('alarm', { bind: true }, async (self, failedId: string) => {
  self.log.warn({ failedId }, 'a step has failed') // app.result(failedId) has its error
})
// endregion

// region replace
export const sumUpTo = app.task('sum-up-to', { bind: true }, (self, n: number): number => {
  if (n < 3) return n === 2 ? 3 : n
  // Whoever waits for this task gets what its replacement gives.
  return self.replace(group(sumUpTo.s(n - 1), add.s(n, 0)).pipe(total.s()))
})
// endregion

// region add-to-chord
export const visit = app.task('visit', { bind: true }, async (self, page: string): Promise<number> => {
  const links = page === 'home' ? ['about', 'contact'] : []
  for (const link of links) await self.addToChord(visit.s(link)) // the body waits for these, too
  return page.length
})
// endregion
