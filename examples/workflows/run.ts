// The workflows of docs/guide/canvas, checked. Needs a worker: celeriac -A ./tasks.ts worker
import { deepEqual, equal, ok, rejects } from 'node:assert/strict'
import { chain, chord, group, type StampingVisitor, TaskFailure } from 'celeriac'
import { add, alarm, app, cleanUp, describe, divide, sumUpTo, total, visit } from './tasks.ts'

const wait = { timeout: '20s' } as const

// region first
const result = await chain(add.s(2, 2), add.s(4), describe.s()).delay()
console.log(await result.get(wait)) // it is 8
// endregion
equal(await result.get(wait), 'it is 8')

// region signatures
add.s(2, 2) // a call that is not sent: data
add.s(4) // the first argument is missing: it takes the result of the step before it
add.si(2, 2) // immutable: takes no notice of what is before it
add.s(2, 2).set({ queue: 'celery', priority: 5 }) // with options; every method gives a copy
// endregion

// region chain
const steps = chain(add.s(1), add.s(2)) // waits for a number
equal(await chain(add.s(10, 0), steps, cleanUp.si()).delay().get(wait), 'clean')
equal(await add.s(1, 1).pipe(add.s(1)).pipe(describe.s()).delay().get(wait), 'it is 3')
const made = chain.from([1, 2, 3].map((n) => (n === 1 ? add.s(0, n) : add.s(n)))) // in a loop, without type checks
// endregion
equal(await made.delay().get(wait), 6)

// region group
const members = await group(add.s(1, 1), describe.s(7)).delay()
deepEqual(await members.get(wait), [2, 'it is 7'])
const many = await group([1, 2, 3].map((n) => add.s(n, n))).delay()
for await (const { index, result } of many) console.log(index, await result.get()) // as they end
// endregion
equal(await many.completedCount(), 3)

// region chord
equal(
  await chord(group(add.s(1, 1), add.s(2, 2)), total.s())
    .delay()
    .get(wait),
  6,
)
equal(
  await chain(group(add.s(1, 1), add.s(2, 2)), total.s(), describe.s())
    .delay()
    .get(wait),
  'it is 6',
)
equal(
  await chain(add.s(1, 1), group(add.s(10), add.s(20)), total.s())
    .delay()
    .get(wait),
  34,
)
// endregion

const pairs: [number, number][] = [
  [1, 2],
  [3, 4],
  [5, 6],
]
// region map
deepEqual(await describe.map([1, 2]).delay().get(wait), ['it is 1', 'it is 2'])
deepEqual(await add.starmap(pairs).delay().get(wait), [3, 7, 11]) // pairs: [1, 2], [3, 4], [5, 6]
deepEqual(await add.chunks(pairs, 2).delay().get(wait), [[3, 7], [11]]) // two messages
// endregion

// region links
await add.s(2, 2).link(describe.s()).linkError(alarm.s()).delay()
await chain(add.s(2, 2), divide.s(0), describe.s()).onError(alarm.s()).delay()
// endregion

// region chain-error
const broken = await chain(add.s(2, 2), divide.s(0), describe.s()).delay()
await rejects(broken.get(wait), /division by zero/)
equal(await broken.state(), 'FAILURE') // describe never ran
equal(await broken.parent?.state(), 'FAILURE') // divide
equal(await broken.parent?.parent?.state(), 'SUCCESS') // add
// endregion

// region chord-error
const sum = await chord(group(add.s(1, 1), divide.s(1, 0)), total.s()).delay()
const error = await sum.get(wait).catch((thrown: unknown) => thrown)
ok(error instanceof TaskFailure)
console.log(error.excType, error.message) // ChordError Dependency 01a2… raised ValueError('division by zero')
// endregion
equal(error.excType, 'ChordError')

equal(await sumUpTo.delay(5).get(wait), 15)
equal(
  await chord(group(visit.s('home'), visit.s('news')), total.s())
    .delay()
    .get(wait),
  20,
)

// region handles
const last = await chain(add.s(1, 1), group(add.s(1), add.s(2)), total.s()).delay()
equal(await last.get(wait), 7)
deepEqual(await last.parent?.get(wait), [3, 4]) // the group
const copy = app.resultFromTuple<number>(JSON.parse(JSON.stringify(last.asTuple()))) // Python's result_from_tuple reads it, too
equal(await copy.get(wait), 7)
// endregion

// region save
await members.save()
const restored = await app.restoreGroup<[number, string]>(members.id) // in another program, another day
// endregion
deepEqual(await restored?.get(wait), [2, 'it is 7'])

// region json
const text = JSON.stringify(chain(add.s(1, 1), add.s(2))) // Celery's own form: Python reads it
const again = app.signature<number>(text) // and this reads what Python writes
equal(await again.delay().get(wait), 4)
// endregion

// region stamps
const stamped = group(add.s(1, 1), chain(add.s(2, 2), describe.s())).stamp({ tenant: 'acme' })
const visitor: StampingVisitor = { onSignature: ({ task }) => ({ label: `nightly ${task}` }) }
await stamped.stamp(visitor).delay().get(wait)
// endregion

console.log('all as expected')
await app.close()
