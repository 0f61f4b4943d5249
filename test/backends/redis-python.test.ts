/** Celery's own Redis backend reads, awaits and restores what ours stores, and the other way round. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import type { ResultMeta, ResultTuple } from '../../dist/protocol/result.js'
import { meta } from '../conformance/backend.js'
import { until, within } from '../conformance/wait.js'
import { python, runPython, withoutPython } from '../python.js'
import { useRedis } from './redis-server.js'

const server = useRedis()
const forever = { expiresSeconds: null }
const script = fileURLToPath(new URL('./redis-results.py', import.meta.url))
const withPython = test.skipIf(withoutPython())
const celery = (order: object): unknown => runPython(script, { url: server.url, ...order })
const error = { exc_type: 'ValueError', exc_message: ['no', 2], exc_module: 'builtins' }

withPython.each(['', 'app'])('Python reads our results, with the prefix "%s"', async (prefix) => {
  const backend = server.backend({ globalKeyprefix: prefix })
  const metas: ResultMeta[] = [
    meta('success', 'SUCCESS', {
      result: { n: [1, 'ü', null] },
      children: [[['child', null], null]],
      dateDone: '2026-01-02T03:04:05.678901+00:00',
      groupId: 'g',
      parentId: 'p',
      name: 'add',
      args: [1],
      kwargs: { a: 1 },
      worker: 'w@h',
      retries: 2,
      queue: 'q',
    }),
    meta('failure', 'FAILURE', { result: error, traceback: 'Traceback' }),
    meta('retry', 'RETRY', { result: error, children: null }),
    meta('revoked', 'REVOKED', { result: { exc_type: 'TaskRevokedError', exc_message: ['revoked'], exc_module: 'celery.exceptions' } }),
    meta('progress', 'PROGRESS', { result: { done: 3 } }),
  ]
  await Promise.all(metas.map((each) => backend.store(each, { expiresSeconds: 60 })))
  const nothing = {
    traceback: null,
    children: [],
    date_done: null,
    name: null,
    args: null,
    kwargs: null,
    worker: null,
    retries: null,
    queue: null,
  }
  expect(celery({ do: 'read', prefix, ids: [...metas.map(({ taskId }) => taskId), 'unknown'] })).toEqual({
    success: {
      status: 'SUCCESS',
      result: { n: [1, 'ü', null] },
      traceback: null,
      children: ['child'],
      date_done: '2026-01-02T03:04:05.678901+00:00',
      name: 'add',
      args: [1],
      kwargs: { a: 1 },
      worker: 'w@h',
      retries: 2,
      queue: 'q',
    },
    failure: { ...nothing, status: 'FAILURE', result: ['builtins', 'ValueError', ['no', 2]], traceback: 'Traceback' },
    retry: { ...nothing, status: 'RETRY', result: ['builtins', 'ValueError', ['no', 2]] },
    revoked: { ...nothing, status: 'REVOKED', result: ['celery.exceptions', 'TaskRevokedError', ['revoked']] },
    progress: { ...nothing, status: 'PROGRESS', result: { done: 3 } },
    unknown: { ...nothing, status: 'PENDING', result: null },
  })
})

withPython('our waits end with what Python stores, and it is not overwritten', async () => {
  const backend = server.backend()
  const seen = new Map<string, ResultMeta>()
  const waiting = (async () => {
    for await (const state of backend.wait(['a', 'b', 'c'], { signal: AbortSignal.timeout(20_000) })) seen.set(state.taskId, state)
  })()
  await until(async () => (await server.connections('celeriac:results:waits')) === 1, 'the subscription')
  celery({
    do: 'store',
    metas: [
      { id: 'a', status: 'STARTED', result: { pid: 1 } },
      { id: 'a', status: 'SUCCESS', result: 'huge' },
      { id: 'b', status: 'FAILURE', result: 'no', traceback: 'Traceback' },
      { id: 'c', status: 'REVOKED', result: 'revoked' },
    ],
  })
  await within(waiting, 'the waits')
  expect(seen.get('a')).toMatchObject({
    status: 'SUCCESS',
    result: { int: 2n ** 70n, nan: Number.NaN, inf: Number.NEGATIVE_INFINITY, text: 'ü😀' },
  })
  expect(seen.get('b')).toMatchObject({
    status: 'FAILURE',
    result: { exc_type: 'ValueError', exc_message: ['no'] },
    traceback: 'Traceback',
  })
  expect(seen.get('c')).toMatchObject({ status: 'REVOKED' })
  for (const id of ['a', 'b', 'c']) expect(await backend.store(meta(id, 'FAILURE', { result: error }), forever)).toBe(false)
})

withPython('a state of Python that is no end is overwritten', async () => {
  celery({ do: 'store', metas: ['STARTED', 'PROGRESS', 'RETRY'].map((status) => ({ id: status, status, result: 'x' })) })
  const backend = server.backend()
  for (const id of ['STARTED', 'PROGRESS', 'RETRY']) expect(await backend.store(meta(id), forever)).toBe(true)
})

withPython('a result that Python wrote in another serializer is named, with what to do', async () => {
  celery({ do: 'store', serializer: 'msgpack', metas: [{ id: 'a', status: 'SUCCESS', result: 1 }] })
  await expect(server.backend().get('a')).rejects.toMatchObject({
    code: 'ERR_DECODE',
    message: expect.stringMatching(/"celery-task-meta-a".*result_serializer = "json"/),
  })
})

withPython('a wait of Python ends with what we store', async () => {
  const ids = ['a', 'b', 'c']
  const child = spawn(python(), [script], { stdio: ['pipe', 'pipe', 'inherit'] })
  try {
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
    child.stdin.end(JSON.stringify({ url: server.url, do: 'wait', ids }))
    expect(JSON.parse(String((await within(lines.next(), 'the subscription of Python')).value))).toBe('waiting')
    const backend = server.backend()
    for (const id of ids) await backend.store(meta(id, 'STARTED', { result: { pid: 1 } }), forever)
    for (const [index, id] of ids.entries()) await backend.store(meta(id, 'SUCCESS', { result: index }), forever)
    expect(JSON.parse(String((await within(lines.next(), 'the results')).value))).toEqual([0, 1, 2])
  } finally {
    child.kill('SIGKILL')
  }
})

withPython('groups are restored by either side', async () => {
  const backend = server.backend()
  const group: ResultTuple = [
    ['node-group', null],
    [
      [['x', null], null],
      [['y', null], null],
    ],
  ]
  await backend.saveGroup(group, { expiresSeconds: 60 })
  expect(celery({ do: 'groups' })).toEqual(['x', 'y'])
  expect(await backend.group('python-group')).toEqual([
    ['python-group', null],
    [
      [['a', null], null],
      [['b', null], null],
    ],
  ])
})

withPython('what Python compresses is read, awaited, and replaced by the end of its task', async () => {
  const backend = server.backend()
  const metas = [
    { id: 'a', status: 'SUCCESS', result: 'ü'.repeat(1_000) },
    { id: 'b', status: 'FAILURE', result: 'no' },
    { id: 'c', status: 'RETRY', result: 'again' },
  ]
  celery({ do: 'store', compression: 'gzip', metas })
  celery({ do: 'groups', compression: 'gzip' })
  // Celery before 5.7 has no such setting.
  const [stored, version] = [await server.call('GET', 'celery-task-meta-a'), String(celery({ do: 'version' }))]
  expect(stored instanceof Buffer && stored[0] === 0).toBe(Number(version.slice(0, 3)) >= 5.7)
  expect(await backend.get('a')).toMatchObject({ status: 'SUCCESS', result: 'ü'.repeat(1_000) })
  expect(await backend.get('b')).toMatchObject({ status: 'FAILURE', result: { exc_type: 'ValueError', exc_message: ['no'] } })
  expect(await backend.group('python-group')).toEqual([['python-group', null], [[['a', null], null], [['b', null], null]]]) // biome-ignore format: one line
  for await (const state of backend.wait(['a'], { signal: AbortSignal.timeout(20_000) })) expect(state.status).toBe('SUCCESS')
  expect(await backend.store(meta('a', 'FAILURE', { result: error }), forever)).toBe(false)
  expect(await backend.store(meta('c', 'SUCCESS', { result: 1 }), forever)).toBe(true)
  expect(await backend.get('c')).toMatchObject({ status: 'SUCCESS', result: 1 })
})
