/** Stamps reach every task of a canvas, in the way of Celery's `stamp()` (the values here are those that Celery 5.7 gives). */
import { expect, test } from 'vitest'
import { Celeriac, chain, chord, group, type StampingVisitor } from '../../dist/index.js'

const app = new Celeriac('stamps', { broker: 'memory://stamps' })
const add = app.task('t.add', (x: number, y: number) => x + y)
const tsum = app.task('t.tsum', (numbers: number[]) => numbers.length)
const errback = app.task('t.errback', (id: string) => id)

const visitor: StampingVisitor = {
  onSignature: () => ({ s: 'sig', common: 'sig' }),
  onGroupStart: () => ({ g: 'group', common: 'group' }),
  onChainStart: () => ({ c: 'chain' }),
  onCallback: () => ({ cb: true }),
  onErrback: () => ({ eb: true }),
  onChordBody: () => ({ body: 1 }),
}

interface Wire {
  options: { stamped_headers?: string[]; link?: Wire[]; link_error?: Wire[] } & Record<string, unknown>
  kwargs: { tasks: Wire[]; header: Wire; body: Wire }
}
const wire = (value: unknown): Wire => JSON.parse(JSON.stringify(value))
const stampsOf = ({ options }: Wire): unknown => Object.fromEntries((options.stamped_headers ?? []).map((name) => [name, options[name]]))

const canvas = () => chord(group(add.s(1, 1).stamp({ common: 'own', x: 1 }).link(add.s(9)).linkError(errback.s()), add.s(2, 2)), tsum.s())

test('every task is stamped, with its links; chains, groups and chords are not', () => {
  const { kwargs, options } = wire(chain(add.s(1, 1).link(add.s(9)), group(add.s(2), add.s(3))).stamp({ tenant: 'acme' }))
  const [first, members] = kwargs.tasks
  expect([options, members?.options]).toEqual([{}, {}])
  expect([first, first?.options.link?.[0], ...(members?.kwargs.tasks ?? [])].map((one) => stampsOf(one as Wire))).toEqual(
    Array(4).fill({ tenant: 'acme' }),
  )
})

test('a visitor decides for each part; what comes from around it wins, and the new stamp over the old', () => {
  const { header, body } = wire(canvas().stamp(visitor)).kwargs
  const [first, second] = header.kwargs.tasks as [Wire, Wire]
  expect(stampsOf(first)).toEqual({ common: 'group', g: 'group', s: 'sig', x: 1 })
  expect(stampsOf(first.options.link?.[0] as Wire)).toEqual({ common: 'group', g: 'group', s: 'sig', cb: true })
  expect(stampsOf(first.options.link_error?.[0] as Wire)).toEqual({ common: 'group', g: 'group', s: 'sig', eb: true })
  expect(stampsOf(second)).toEqual({ common: 'group', g: 'group', s: 'sig' })
  expect(stampsOf(body)).toEqual({ common: 'group', g: 'group', s: 'sig', body: 1 })
})

test('with append, stamps of one name become a list', () => {
  const { header, body } = wire(canvas().stamp(visitor, { append: true })).kwargs
  const [first, second] = header.kwargs.tasks as [Wire, Wire]
  expect(stampsOf(first)).toEqual({ common: ['group', 'sig', 'own'], g: 'group', s: 'sig', x: 1 })
  expect(stampsOf(second)).toEqual({ common: ['group', 'sig'], g: 'group', s: 'sig' })
  expect(stampsOf(body)).toEqual({ common: ['group', 'sig'], g: 'group', s: 'sig', body: 1 })
})

test('a visitor is shown the parts in their order', () => {
  const seen: string[] = []
  const note =
    (what: string) =>
    ({ task }: { task: string }): undefined =>
      void seen.push(`${what} ${task}`)
  const spy: StampingVisitor = {
    onSignature: note('task'),
    onChainStart: note('('),
    onChainEnd: note(')'),
    onGroupStart: note('['),
    onGroupEnd: note(']'),
    onChordBody: note('body of'),
  }
  chain(add.s(1, 1), group(add.s(2), add.s(3)), tsum.s()).stamp(spy)
  expect(seen).toEqual([
    '( celery.chain',
    'task t.add',
    '[ celery.group',
    'task t.add',
    'task t.add',
    '] celery.group',
    'body of celery.chord',
    'task t.tsum',
    ') celery.chain',
  ])
})
