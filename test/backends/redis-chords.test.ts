/** Chords in Redis: what is kept there, and headers that end in Python beside those that end in Node. */
import { fileURLToPath } from 'node:url'
import { deflateSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { chordClaimSeconds } from '../../dist/backend.js'
import { part, results } from '../conformance/chords.js'
import { runPython, withoutPython } from '../python.js'
import { useRedis } from './redis-server.js'

const server = useRedis()
const day = { expiresSeconds: 86_400 }
const withPython = test.skipIf(withoutPython())
const script = fileURLToPath(new URL('./redis-chords.py', import.meta.url))

interface PythonStep {
  readonly [key: string]: unknown
}
/** What Python does with chord g, and the arguments of the bodies that it publishes meanwhile. */
const celery = (steps: readonly PythonStep[], more: object = {}): unknown =>
  runPython(script, { url: server.url, group: 'g', steps, ...more })
const python = (index: number | null, result: unknown, more: object = {}): PythonStep => ({ id: `t${index}`, index, result, ...more })

const key = (suffix: string): string => `celery-taskset-meta-g${suffix}`
const keys = async (): Promise<unknown> =>
  String(await server.call('KEYS', '*'))
    .split(',')
    .sort()
const parts = async (): Promise<string> => String(await server.call('ZRANGE', key('.j'), 0, -1, 'WITHSCORES'))

// ── what is in Redis ─────────────────────────────────────────────────────────

test('a chord is kept under the names and in the words of Celery, and nothing stays but that it has ended', async () => {
  const backend = server.backend()
  await backend.startChord('g', { size: 3, expiresSeconds: 99.5 })
  await backend.growChord('g', ['x'], { expiresSeconds: 99.5 })
  expect(await server.text(key('.s'))).toBe('3')
  expect(await server.text(key('.t'))).toBe('1')
  await backend.completeChordPart('g', part(2, [3, 'ü']), { expiresSeconds: 99.5 })
  await backend.completeChordPart('g', part(null, null, { taskId: 'x' }), { expiresSeconds: 99.5 })
  expect(await parts()).toBe('[1, "t2", "SUCCESS", [3,"ü"]],2,[1, "x", "SUCCESS", null],inf')
  for (const suffix of ['.s', '.t', '.j', '.d', '.celeriac']) expect([suffix, await server.call('TTL', key(suffix))]).toEqual([suffix, 100])
  await backend.completeChordPart('g', part(1), { expiresSeconds: 99.5 })
  await backend.completeChordPart('g', part(0), { expiresSeconds: 99.5 })
  expect(await server.text(key('.c'))).toBe('t0:0')
  expect(await server.call('TTL', key('.c'))).toBe(chordClaimSeconds)
  await backend.endChord('g', { expiresSeconds: 99.5 })
  expect(await keys()).toEqual([key('.c')])
  expect([await server.text(key('.c')), await server.call('TTL', key('.c'))]).toEqual(['done', 100])
})

test('with a prefix all names have it', async () => {
  const backend = server.backend({ globalKeyprefix: 'app' })
  await backend.startChord('g', { size: 1, ...day })
  await backend.completeChordPart('g', part(0), day)
  await backend.saveGroup([['g', null], []], day)
  for (const name of String(await server.call('KEYS', '*')).split(',')) expect(name).toMatch(/^app_celery-taskset-meta-g/)
})

test('unordered parts are a list, each of them once', async () => {
  const backend = server.backend({ resultChordOrdered: false })
  await backend.startChord('g', { size: 3, ...day })
  for (const index of [2, 0, 2, 0]) expect(await backend.completeChordPart('g', part(index), day)).toBe('waiting')
  expect(String(await server.call('LRANGE', key('.j'), 0, -1))).toBe('[1, "t2", "SUCCESS", 2],[1, "t0", "SUCCESS", 0]')
  for (const again of [1, 1]) expect(results(await backend.completeChordPart('g', part(again), day))).toEqual(['2', '0', '1'])
  await backend.endChord('g', day)
  expect(await keys()).toEqual([key('.c')])
})

test('parts of one tick are a few calls of a script', async () => {
  const backend = server.backend()
  await backend.startChord('g', { size: 1_001, ...day })
  await backend.completeChordPart('g', part(1_000), day)
  await server.call('CONFIG', 'RESETSTAT')
  await Promise.all(Array.from({ length: 1_000 }, (_, index) => backend.completeChordPart('g', part(index), day)))
  const statistics = String(await server.call('INFO', 'commandstats'))
  expect(statistics).toContain('cmdstat_evalsha:calls=10,')
})

test('a state that the server has lost is told to every part that comes, and leaves nothing', async () => {
  const backend = server.backend()
  await backend.startChord('g', { size: 2, ...day })
  await backend.completeChordPart('g', part(0), { size: 2, ...day })
  await server.call('FLUSHALL')
  expect(await backend.completeChordPart('g', part(1), { size: 2, ...day })).toBe('lost')
  expect(await server.call('DBSIZE')).toBe(0)
})

test('a server that is out of memory still takes small parts', async () => {
  const backend = server.backend()
  await backend.startChord('g', { size: 2, ...day })
  await server.call('CONFIG', 'SET', 'maxmemory', '1000000')
  try {
    await expect(backend.completeChordPart('g', part(0, 'x'.repeat(5_000)), day)).rejects.toMatchObject({ code: 'ERR_BACKEND_FULL' })
    expect(await backend.completeChordPart('g', part(1, 'b'), day)).toBe('waiting')
    expect(results(await backend.completeChordPart('g', part(0, 'a'), day))).toEqual(['"a"', '"b"'])
    await backend.endChord('g', day)
  } finally {
    await server.call('CONFIG', 'SET', 'maxmemory', '0')
  }
})

test('a part that nobody can read counts as one that has failed', async () => {
  const backend = server.backend()
  await backend.startChord('g', { size: 2, ...day })
  await server.call('ZADD', key('.j'), 0, '\x80\x04K\x01.')
  expect(await backend.completeChordPart('g', part(1, 'b'), day)).toMatchObject([
    { index: 0, status: 'FAILURE', result: { text: expect.stringContaining('a part of the chord cannot be read') } },
    { index: 1, status: 'SUCCESS' },
  ])
})

test('a part that Celery 5.7 has compressed is read', async () => {
  const backend = server.backend()
  await backend.startChord('g', { size: 2, ...day })
  const compressed = ['\0celery-compressed\0application/x-gzip\0', deflateSync('[1, "t0", "SUCCESS", "a"]')].map((part) =>
    Buffer.from(part),
  )
  await server.call('ZADD', key('.j'), 0, Buffer.concat(compressed))
  expect(results(await backend.completeChordPart('g', part(1, 'b'), day))).toEqual(['"a"', '"b"'])
})

// Celery 5.6 has no `.d` and no `.c`: what it does is done here by hand.
test('a part that Celery 5.6 has written is known, whatever it brings again', async () => {
  const backend = server.backend()
  await backend.startChord('g', { size: 2, ...day })
  await server.call('ZADD', key('.j'), 0, '[1, "t0", "SUCCESS", "first"]')
  expect(await backend.completeChordPart('g', part(0, 'second'), day)).toBe('waiting')
  expect(results(await backend.completeChordPart('g', part(1, 'b'), day))).toEqual(['"first"', '"b"'])
})

test('a task that Celery 5.6 has counted twice counts once when we close', async () => {
  const backend = server.backend()
  await backend.startChord('g', { size: 3, ...day })
  await server.call('ZADD', key('.j'), 0, '[1, "t0", "SUCCESS", "a"]', 0, '[1, "t0", "SUCCESS", "z"]')
  expect(await backend.completeChordPart('g', part(1, 'b'), day)).toBe('waiting')
  expect(results(await backend.completeChordPart('g', part(2, 'c'), day))).toEqual(['"a"', '"b"', '"c"'])
})

test('a chord that Celery 5.6 has ended is not lost', async () => {
  const backend = server.backend()
  await backend.startChord('g', { size: 2, ...day })
  await server.call('DEL', key('.j'), key('.t'), key('.s'))
  expect(await backend.completeChordPart('g', part(1, 'b'), { size: 2, ...day })).toBe('waiting')
})

// ── with Python ──────────────────────────────────────────────────────────────

withPython('parts of both are counted together, whoever started: Node closes', async () => {
  const backend = server.backend()
  await backend.startChord('g', { size: 4, ...day })
  expect(celery([python(3, 'three'), python(1, 1, { float: true })])).toEqual([])
  expect(await backend.completeChordPart('g', part(0, 'zero'), { size: 4, ...day })).toBe('waiting')
  expect(results(await backend.completeChordPart('g', part(2, 'two'), { size: 4, ...day }))).toEqual(['"zero"', '1.0', '"two"', '"three"'])
})

withPython('parts of both are counted together, whoever started: Python closes', async () => {
  const backend = server.backend()
  expect(celery([{ size: 3 }, python(2, 'two')])).toEqual([])
  expect(await backend.completeChordPart('g', part(0, [1, { deep: 'ü' }]), day)).toBe('waiting')
  expect(celery([python(1, 'one')])).toEqual([[[[1, { deep: 'ü' }], 'one', 'two']]])
  for (const late of [0, 1, 2]) expect(await backend.completeChordPart('g', part(late), day)).toBe('waiting')
  expect(await server.call('EXISTS', key('.j'))).toBe(0)
})

withPython('a chord that we started and Python ended is not lost, also when Python has forgotten it', async () => {
  const backend = server.backend()
  await backend.startChord('g', { size: 2, ...day })
  await backend.completeChordPart('g', part(0, 'a'), { size: 2, ...day })
  expect(celery([python(1, 'b')])).toEqual([[['a', 'b']]])
  expect(await backend.completeChordPart('g', part(0, 'a'), { size: 2, ...day })).toBe('waiting')
  await server.call('DEL', key('.c'))
  expect(await backend.completeChordPart('g', part(0, 'a'), { size: 2, ...day })).toBe('waiting')
})

withPython('a task that ends on both sides counts once, with what it brought first', async () => {
  const backend = server.backend()
  expect(celery([{ size: 3 }, python(0, 'python first')])).toEqual([])
  expect(await backend.completeChordPart('g', part(0, 'node second'), day)).toBe('waiting')
  expect(await backend.completeChordPart('g', part(1, 'node first'), day)).toBe('waiting')
  expect(celery([python(1, 'python second')])).toEqual([])
  expect(results(await backend.completeChordPart('g', part(2, 'c'), day))).toEqual(['"python first"', '"node first"', '"c"'])
})

withPython('while Node closes, Python does not, and when Node is gone, it does', async () => {
  const backend = server.backend()
  await backend.startChord('g', { size: 2, ...day })
  await backend.completeChordPart('g', part(0, 'a'), day)
  expect(results(await backend.completeChordPart('g', part(1, 'b'), day))).toEqual(['"a"', '"b"'])
  expect(celery([python(0, 'a'), python(1, 'b')])).toEqual([])
  await server.pass(chordClaimSeconds * 1000)
  expect(celery([python(1, 'b')])).toEqual([[['a', 'b']]])
  expect(await backend.completeChordPart('g', part(1, 'b'), day)).toBe('waiting')
})

withPython('after our end Python publishes nothing', async () => {
  const backend = server.backend()
  await backend.startChord('g', { size: 1, ...day })
  await backend.completeChordPart('g', part(0, 'a'), day)
  await backend.endChord('g', day)
  expect(celery([python(0, 'a'), python(0, 'b'), python(1, 'c')])).toEqual([])
  expect(await keys()).toEqual([key('.c')])
})

withPython('a failure of Python is a part of ours, and the other way round', async () => {
  const backend = server.backend()
  await backend.startChord('g', { size: 2, ...day })
  expect(celery([python(0, 'no', { state: 'FAILURE' })])).toEqual([])
  const closing = await backend.completeChordPart('g', part(1, 'b'), day)
  expect(closing).toMatchObject([{ taskId: 't0', status: 'FAILURE' }, { status: 'SUCCESS' }])
  expect(JSON.parse(String((results(closing) as string[])[0]))).toMatchObject({ exc_type: 'ValueError', exc_message: ['no'] })
  await server.call('FLUSHALL')
  await backend.startChord('g', { size: 2, ...day })
  const wire = { exc_type: 'ValueError', exc_message: ['no'], exc_module: 'builtins' }
  await backend.completeChordPart('g', part(0, wire, { status: 'FAILURE' }), day)
  expect(celery([python(1, 'b')])).toEqual([])
  expect(await server.text('celery-task-meta-body-id')).toContain("Dependency t0 raised ValueError('no')")
  // What Python leaves of a chord that has failed is no chord that is lost.
  expect(await backend.completeChordPart('g', part(1, 'b'), { size: 2, ...day })).toBe('waiting')
})

withPython('a chord grows on both sides', async () => {
  const backend = server.backend()
  await backend.startChord('g', { size: 1, ...day })
  await backend.growChord('g', ['x'], day)
  expect(celery([{ grow: 1 }, python(null, 'y', { id: 'y' })])).toEqual([])
  expect(await backend.completeChordPart('g', part(0, 'a'), day)).toBe('waiting')
  expect(results(await backend.completeChordPart('g', part(null, 'x', { taskId: 'x' }), day))).toEqual(['"a"', '"x"', '"y"'])
})

withPython('unordered parts of both are one list', async () => {
  const backend = server.backend({ resultChordOrdered: false })
  await backend.startChord('g', { size: 3, ...day })
  expect(celery([python(2, 'two')], { ordered: false })).toEqual([])
  expect(await backend.completeChordPart('g', part(2, 'again'), day)).toBe('waiting')
  expect(await backend.completeChordPart('g', part(0, 'zero'), day)).toBe('waiting')
  expect(celery([python(0, 'again'), python(1, 'one')], { ordered: false })).toEqual([[['two', 'zero', 'one']]])
})
