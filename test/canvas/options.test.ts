/** Options of what is inside of something else: none is lost on the way. */
import { expect, test } from 'vitest'
import { planSignature } from '../../dist/canvas/planner.js'
import { signatureOf } from '../../dist/canvas/signature.js'
import { Celeriac, chain, chord, group, NotSupportedError, type Sig } from '../../dist/index.js'
import { countedIds } from './recorded.js'

const app = new Celeriac('options', { broker: 'memory://options' })
const add = app.task('t.add', (x: number, y: number) => x + y)
const tsum = app.task('t.tsum', (numbers: number[]) => numbers.length)
const note = app.task('t.note', (what: unknown) => void what)

const json = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

interface Step {
  readonly task: string
  readonly options: { readonly [name: string]: unknown; readonly link?: readonly Step[]; readonly link_error?: readonly Step[] }
}

/** What is sent at once, and what these messages carry. */
function sent(canvas: Sig<never, unknown, true>, options: Record<string, unknown> = {}) {
  const plan = planSignature(signatureOf(canvas).wire(), { newId: countedIds(), options })
  return [...plan.steps].flatMap((step) => {
    if (step.kind !== 'send') return []
    const { options, embed } = step.call
    const [chained, body, callbacks] = [embed.chain, embed.chord, embed.callbacks] as [Step[] | null, Step | null, Step[] | null]
    return [
      { options, chain: json(chained ?? []) as Step[], body: json(body) as Step | null, callbacks: callbacks ?? [], id: step.call.id },
    ]
  })
}

const queues = (canvas: Sig<never, unknown, true>): unknown[] => sent(canvas).map(({ options }) => options.queue)
const special = { queue: 'special' }

test('options of a group in a group are for its members, in a plain group and in the header of a chord', () => {
  const inner = group(add.s(2, 2), add.s(3, 3).set({ priority: 3 })).set(special)
  expect(queues(group(add.s(1, 1), inner))).toEqual([undefined, 'special', 'special'])
  expect(queues(chord(group(add.s(1, 1), inner), tsum.s() as never))).toEqual([undefined, 'special', 'special'])
  expect(queues(group(add.s(1, 1), group(add.s(2, 2), group(add.s(3, 3), add.s(4, 4)).set({ queue: 'inmost' })).set(special)))).toEqual([
    undefined,
    'special',
    'special',
    'special',
  ])
})

test('options of a group of one are for the step that it becomes', () => {
  expect(queues(chain(group([add.s(1, 1)]).set(special), note.s()))).toEqual(['special'])
  const [first] = sent(chain(add.s(1, 1), group([add.s(2)]).set(special) as never, note.s()))
  expect(first?.chain.map(({ task, options }) => [task, options.queue])).toEqual([
    ['t.note', undefined],
    ['t.add', 'special'],
  ])
})

test('a group of one that is followed by something with pipe() is a chord, as with the | of Celery; in chain() it is a step', () => {
  const one = () => group([add.s(1, 1)])
  expect(json(one().pipe(tsum.s()))).toMatchObject({ task: 'celery.chord' })
  expect(json(one().pipe(group([])))).toMatchObject({ task: 'celery.chain', kwargs: { tasks: [{ task: 't.add' }] } })
  const led = chain(group(add.s(1, 1), add.s(2, 2)), group([tsum.s()]), tsum.s())
  expect(json(led)).toMatchObject({
    task: 'celery.chord',
    kwargs: { body: { task: 'celery.chord', kwargs: { body: { task: 't.tsum' } } } },
  })
  expect(json(chain(one(), tsum.s()))).toMatchObject({ kwargs: { tasks: [{ task: 't.add' }, { task: 't.tsum' }] } })
  expect(
    json(
      add
        .s(1, 1)
        .pipe(group([add.s(1)]))
        .pipe(note.s()),
    ),
  ).toMatchObject({
    kwargs: { tasks: [{ task: 't.add' }, { task: 't.add' }, { task: 't.note' }] },
  })
})

test('id, callbacks and errbacks of a chord in a chain are for the end of it, also where its body is a chain', () => {
  const inner = chord(group(add.s(1), add.s(2)), chain(tsum.s(), add.s(5)) as never).set({
    taskId: 'mine',
    link: note.s(),
    linkError: [note.s()],
  })
  const [first] = sent(chain(add.s(1, 1), inner as never))
  const [last, head] = (first?.chain ?? []) as unknown as [Step, Step & { kwargs: { body: Step } }]
  expect([last.task, last.options.task_id, last.options.link?.map(({ task }) => task)]).toEqual(['t.add', 'mine', ['t.note']])
  expect(last.options.link_error).toHaveLength(1)
  expect([head.task, head.options.link, head.options.link_error]).toEqual([
    'celery.chord',
    undefined,
    [expect.objectContaining({ task: 't.note' })],
  ])
  expect(head.kwargs.body.options.task_id).not.toBe('mine')
})

test('stamps of a call are added to those of the signature, which stay', () => {
  const stamps = (options: Readonly<Record<string, unknown>>): unknown =>
    Object.fromEntries((options.stamped_headers as string[]).map((name) => [name, options[name]]))
  const call = { run: 7, tenant: 'other', stamped_headers: ['run', 'tenant'] }
  for (const { options, body } of sent(chord(group(add.s(1, 1), add.s(2, 2)), tsum.s()).stamp({ tenant: 'acme' }), call)) {
    expect(stamps(options)).toEqual({ tenant: 'acme', run: 7 })
    expect(stamps(body?.options ?? {})).toEqual({ tenant: 'acme', run: 7 })
  }
})

test('as in Celery, what is linked already is not linked again', () => {
  const linked = add.s(1, 1).link(note.s()).link(note.s()).link(note.si(1)).onError(note.s()).linkError(note.s())
  expect((json(linked) as Step).options.link).toHaveLength(2)
  expect((json(linked) as Step).options.link_error).toHaveLength(1)
})

test('a callback of chunks must be immutable, as that of the group that they are', () => {
  expect(() => add.chunks([[1, 1]], 1).link(note.s())).toThrow(NotSupportedError)
  expect((json(add.chunks([[1, 1]], 1).link(note.si('done'))) as Step).options.link).toHaveLength(1)
})
