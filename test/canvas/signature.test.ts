/** Signatures as data: their JSON both ways, and what is put on them. Python's dictionaries are the recorded ones. */
import { expect, test } from 'vitest'
import { Celeriac, chain, chord, group, InvalidMessageError } from '../../dist/index.js'
import { plannedHere, recordings, sentByPython } from './recorded.js'

const app = new Celeriac('signatures', { broker: 'memory://signatures' })
const add = app.task('t.add', (x: number, y: number) => x + y)
const tsum = app.task('t.tsum', (numbers: number[]) => numbers.length)
const errback = app.task('t.errback', (id: string) => id)

const json = (value: unknown): unknown => JSON.parse(JSON.stringify(value))
const plain = { args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false }

test('a signature is written in the six keys of Celery', () => {
  expect(json(add.s(2))).toEqual({ ...plain, task: 't.add', args: [2] })
  expect(json(add.si(2, 3).set({ queue: 'q', countdown: '2m' }))).toEqual({
    ...plain,
    task: 't.add',
    args: [2, 3],
    options: { queue: 'q', countdown: 120 },
    immutable: true,
  })
})

test('chains, groups and chords are written as Celery writes them, upgraded at once', () => {
  expect(json(chain(add.s(1, 1), add.s(2)))).toEqual({
    ...plain,
    task: 'celery.chain',
    subtask_type: 'chain',
    kwargs: { tasks: [json(add.s(1, 1)), json(add.s(2))] },
  })
  const members = group(add.s(1, 1), add.s(2, 2))
  expect(json(members)).toEqual({
    ...plain,
    task: 'celery.group',
    subtask_type: 'group',
    kwargs: { tasks: [json(add.s(1, 1)), json(add.s(2, 2))] },
  })
  const upgraded = {
    ...plain,
    task: 'celery.chord',
    subtask_type: 'chord',
    kwargs: { kwargs: {}, header: json(members), body: json(tsum.s()) },
  }
  expect(json(chord(members, tsum.s()))).toEqual(upgraded)
  expect(json(chain(members, tsum.s()))).toEqual(upgraded)
  expect(json(members.pipe(tsum.s()))).toEqual(upgraded)
})

test('links, errbacks and stamps are options, as data', () => {
  const linked = add.s(1, 1).link(add.s(2)).linkError(errback.s()).stamp({ tenant: 'acme' })
  expect(json(linked)).toEqual({
    ...plain,
    task: 't.add',
    args: [1, 1],
    options: {
      link: [json(add.s(2).stamp({ tenant: 'acme' }))],
      link_error: [json(errback.s().stamp({ tenant: 'acme' }))],
      tenant: 'acme',
      stamped_headers: ['tenant'],
    },
  })
})

test('signatures do not change: each method gives a copy', () => {
  const one = add.s(1, 1)
  const before = json(one)
  one.set({ queue: 'q' }).link(add.s(1)).linkError(errback.s()).stamp({ a: 1 })
  one.clone().pipe(add.s(2))
  expect(json(one)).toEqual(before)
})

test.each(recordings.filter(({ by }) => by === 'client').map((recording) => [recording.name, recording] as const))(
  'a dictionary of Python is a signature, and sends what Python sends: %s',
  (name, recording) => {
    const signature = json(app.signature(recording.signature)) as typeof recording.signature
    const compared = {
      parents: !['group and two tasks', 'chord with a chain as its body', 'chord with a chord as its body'].includes(name),
    }
    expect(plannedHere({ ...recording, signature }, compared)).toEqual(sentByPython(recording, compared))
  },
)

test('JSON text is a signature, too, and what Python froze keeps its ids', () => {
  const frozen = { ...plain, task: 't.add', args: [1], options: { task_id: 'mine', root_id: 'root', group_index: null, queue: 'q' } }
  expect(json(app.signature(JSON.stringify(frozen)).set({ priority: 3 }))).toEqual({
    ...frozen,
    options: { task_id: 'mine', root_id: 'root', queue: 'q', priority: 3 },
  })
})

test('what is no signature is refused with the place that is wrong', () => {
  expect(() => app.signature({ task: 'celery.chain', subtask_type: 'chain', kwargs: { tasks: [{ task: 7 }] } })).toThrow(
    InvalidMessageError,
  )
  expect(() => app.signature({ task: 'celery.chain', subtask_type: 'chain', kwargs: { tasks: [{ task: 7 }] } })).toThrow(
    /signature\.kwargs\.tasks\[0\]\.task/,
  )
  expect(() => app.signature('nothing')).toThrow()
  expect(() => chain(add.s(1, 1), 'x' as never)).toThrow('expected a signature made by')
})

test('an empty chain is refused in words', async () => {
  await expect(app.signature({ task: 'celery.chain', subtask_type: 'chain', kwargs: { tasks: [] } }).delay()).rejects.toThrow(
    'a chain without tasks',
  )
  await expect(async () => chain.from([]).delay()).rejects.toThrow('nothing to send')
})
