/**
 * The rules of canvas types: each line compiles, or is expected not to. `tsc` is the test (npm run check does it); here the lines also run, so that what
 * compiles can be composed.
 */
import { expect, test } from 'vitest'
import { type AsyncResult, Celeriac, chain, chord, type Enqueued, type EnqueuedGroup, group, type Sig } from '../../dist/index.js'

const app = new Celeriac('types', { broker: 'memory://types' })
const add = app.task('add', (x: number, y: number) => x + y)
const tsum = app.task('tsum', (xs: number[]) => xs.reduce((a, b) => a + b, 0))
const show = app.task('show', (x: number) => String(x))
const length = app.task('length', (text: string) => text.length)
const pow = app.task('pow', (x: number, y?: number) => x ** (y ?? 2))
const pair = app.task('pair', (of: [number, string]) => of[0] + of[1].length)
const note = app.task('note', (what: unknown) => void what)
const errback = app.task('errback', (id: string) => id)

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
/** Compiles only for equal types. */
const same = <A, B>(_same: Same<A, B>): void => {}

test('s(): full, or without its first argument; si(): full, and takes no notice of what is before it', () => {
  const full = add.s(1, 2)
  const rest = add.s(2)
  const immutable = add.si(1, 2)
  same<typeof full, Sig<never, number, true>>(true)
  same<typeof rest, Sig<number, number, false>>(true)
  same<typeof immutable, Sig<unknown, number, true>>(true)
  // @ts-expect-error of a wrong type
  void add.s('1', 2)
  // @ts-expect-error too many
  void add.s(1, 2, 3)
  // @ts-expect-error si() takes no result, so nothing can be missing
  void add.si(2)
})

test('optional parameters: what is full is also what takes a result', () => {
  same<(typeof pow)['name'], 'pow'>(true)
  void chain(add.s(1, 1), pow.s(3))
  void chain(pow.s(3), show.s())
  void pow.s(3).set({ queue: 'q' })
})

test('chain: each step takes what the one before it gives; the result is that of the last', () => {
  const three = chain(add.s(2, 2), show.s(), length.s())
  same<typeof three, Sig<never, number, true>>(true)
  const partial = chain(add.s(1), show.s())
  same<typeof partial, Sig<number, string, false>>(true)
  void chain(add.s(1, 1), partial, length.s())
  void chain(add.s(2, 2), show.si(7), length.s())
  // @ts-expect-error show gives text, add takes a number
  void chain(show.s(1), add.s(4))
  // @ts-expect-error the third step takes a number, the second gives text
  void chain(add.s(2, 2), show.s(), show.s())
  // @ts-expect-error add.s(4, 4) is full: Celery would call add(4, 4, 4)
  void chain(add.s(2, 2), add.s(4, 4))
  // @ts-expect-error what is before a partial chain must fit its first step
  void chain(show.s(1), partial)
})

test('chain of eight, and longer ones by pipe: nothing is lost on the way', () => {
  const eight = chain(add.s(1, 1), show.s(), length.s(), show.s(), length.s(), show.s(), length.s(), show.s())
  same<typeof eight, Sig<never, string, true>>(true)
  const long = eight
    .pipe(length.s())
    .pipe(add.s(1))
    .pipe(show.s())
    .pipe(length.s())
    .pipe(add.s(1))
    .pipe(show.s())
    .pipe(length.s())
    .pipe(add.s(1))
  const longer = long.pipe(show.s()).pipe(length.s()).pipe(add.s(1)).pipe(show.s()).pipe(length.s()).pipe(add.s(1)).pipe(show.s())
  same<typeof longer, Sig<never, string, true>>(true)
  // @ts-expect-error the wrong step is found however long the chain is
  void longer.pipe(add.s(1))
  expect(JSON.parse(JSON.stringify(longer)).kwargs.tasks).toHaveLength(23)
})

test('group: a tuple of results from members that are listed, an array from those that are iterated', () => {
  const listed = group(add.s(1, 1), show.s(2))
  same<ReturnType<typeof listed.delay>, EnqueuedGroup<[number, string]>>(true)
  const iterated = group([1, 2].map((i) => add.s(i, i)))
  same<ReturnType<typeof iterated.delay>, EnqueuedGroup<number[]>>(true)
  const fan = group(add.s(10), show.s())
  void chain(add.s(1, 1), fan)
  // @ts-expect-error members take a number
  void chain(show.s(1), fan)
  // @ts-expect-error two members with different needs: nothing fits both
  void chain(add.s(1, 1), group(add.s(1), length.s()))
  // @ts-expect-error a member is missing its first argument
  void (() => group(add.s(1, 1), add.s(1)).delay())
})

test('group in a group: one list, whose order is not told', () => {
  const flat = group(add.s(1, 1), group(show.s(2), show.s(3)))
  same<ReturnType<typeof flat.delay>, EnqueuedGroup<(number | string)[]>>(true)
  const iterated = group([1, 2].map((i) => group([add.s(i, i)])))
  same<ReturnType<typeof iterated.delay>, EnqueuedGroup<number[]>>(true)
  const nested = group(add.s(1, 1), chain(add.s(1, 1), group(show.s(), show.s())))
  same<ReturnType<typeof nested.delay>, EnqueuedGroup<[number, [string, string]]>>(true)
})

test('chord, and a group that is followed by something: the body takes the list', () => {
  const one = chord(group(add.s(1, 1), add.s(2, 2)), tsum.s())
  same<typeof one, Sig<never, number, true>>(true)
  void chain(group(add.s(1, 1), add.s(2, 2)), tsum.s(), show.s())
  void chord(group(add.s(1, 1), show.s(2)), pair.s())
  void chain(add.s(1, 1), group(add.s(10), show.s()), pair.s())
  void chord(group(add.s(1, 1)), note.si('done'))
  // @ts-expect-error the body wants numbers, the header gives texts
  void chord(group(show.s(1), show.s(2)), tsum.s())
  // @ts-expect-error a number and a text, in this order
  void chord(group(show.s(2), add.s(1, 1)), pair.s())
  // @ts-expect-error three members are no pair
  void chain(group(add.s(1, 1), show.s(2), show.s(3)), pair.s())
})

test('only what is ready can be sent', () => {
  const notYet = (): void => {
    // @ts-expect-error an argument is missing
    add.s(4).delay()
    // @ts-expect-error the first step misses an argument
    chain(add.s(1), show.s()).delay()
    // @ts-expect-error a member of the header misses an argument
    chord(group(add.s(1), add.s(1, 1)), tsum.s()).applyAsync()
    // @ts-expect-error however it was made
    add.s(4).pipe(show.s()).set({ queue: 'q' }).stamp({ a: 1 }).delay()
  }
  expect(notYet).toBeTypeOf('function')
})

test('links take what the task gives; errbacks take the id of what failed', () => {
  void add.s(1, 1).link(show.s()).link(note.s()).linkError(errback.s()).onError(note.si('failed'))
  void chain(add.s(1, 1), show.s()).link(length.s())
  // @ts-expect-error the result is a number
  void add.s(1, 1).link(length.s())
})

test('map, starmap and chunks: lists, and lists of lists', () => {
  const maps = (): readonly [Enqueued<string[]>, Enqueued<number[]>, Enqueued<number[][]>] => [
    show.map([1, 2]).delay(),
    add.starmap([[1, 2]]).delay(),
    add.chunks([[1, 2]], 10).delay(),
  ]
  expect(maps).toBeTypeOf('function')
  void chain(add.starmap([[1, 2]]), tsum.s())
  // @ts-expect-error wrong items
  void show.map(['1'])
  // @ts-expect-error an item is missing an argument
  void add.starmap([[1]])
})

test('handles know their result', () => {
  const handles = async (): Promise<void> => {
    const a: AsyncResult<string> = await chain(add.s(1, 1), show.s()).delay()
    const b = await group(add.s(1, 1), show.s(2)).delay()
    const [n, s]: [number, string] = await b.get()
    for await (const { index, result } of b) void [index satisfies number, result.id satisfies string]
    const json = app.signature<number>(JSON.stringify(add.s(1, 1)))
    const c: number = await json.delay().get()
    void [a, n, s, c]
  }
  expect(handles).toBeTypeOf('function')
})
