import { expect, test } from 'vitest'
import type { ResultBackend } from '../../dist/backend.js'
import { VirtualClock } from '../../dist/testing/virtual-clock.js'
import { type BackendDriver, meta, testBackend } from '../conformance/backend.js'
import { testChords } from '../conformance/chords.js'
import { settled, until, within } from '../conformance/wait.js'
import { expectOneWinnerEach } from './race.js'
import { Gate, target, useRedis } from './redis-server.js'

const server = useRedis()
const forever = { expiresSeconds: null }
const expiresByItself = 'Redis removes what has expired by itself, and counts nothing'

const driver: BackendDriver = {
  name: 'redis',
  open: async (clock) => ({
    backend: async () => server.backend({ clock }),
    pass: (ms) => server.pass(ms),
    dispose: async () => undefined,
  }),
  gaps: {
    'cleanup counts what has expired, and leaves the rest': expiresByItself,
    'cleanup counts all that has expired, among any number that has not': expiresByItself,
  },
}
testBackend(driver)
testChords(driver)

/** The states that a wait sees; `stop` ends it. */
function watch(backend: ResultBackend, ids: readonly string[], stop = new AbortController()) {
  const seen: string[] = []
  const ended = (async () => {
    for await (const state of backend.wait(ids, { signal: stop.signal })) seen.push(`${state.taskId} ${state.status}`)
  })()
  ended.catch(() => undefined)
  return { seen, ended, stop: () => stop.abort(new Error('enough')) }
}

async function withGate(run: (gate: Gate, backend: ResultBackend) => Promise<void>): Promise<void> {
  const gate = new Gate(server)
  const backend = server.backend({ url: await gate.open() })
  try {
    await run(gate, backend)
  } finally {
    await backend.close()
    await gate.shut()
  }
}

// ── what is in Redis ─────────────────────────────────────────────────────────

test('a result is kept under the name that Celery gives it, for whole seconds, and published there', async () => {
  const heard: string[] = []
  const ear = await target(server.url).open({ signal: AbortSignal.timeout(5_000), name: 'ear' })
  await ear.subscribe(['celery-task-meta-a'], (channel, payload) => heard.push(`${channel} ${payload}`))
  const backend = server.backend()
  await backend.store(meta('a', 'SUCCESS', { result: 3 }), { expiresSeconds: 99.5 })
  const text = '{"status":"SUCCESS","result":3,"traceback":null,"children":[],"date_done":null,"task_id":"a"}'
  expect(await server.text('celery-task-meta-a')).toBe(text)
  expect(await server.call('TTL', 'celery-task-meta-a')).toBe(100)
  await until(() => heard.length > 0, 'the message')
  expect(heard).toEqual([`celery-task-meta-a ${text}`])
  await backend.store(meta('b'), forever)
  expect(await server.call('TTL', 'celery-task-meta-b')).toBe(-1)
  await ear.close()
})

test.each([
  ['', 'celery-task-meta-a'],
  ['app', 'app_celery-task-meta-a'],
  ['app:', 'app:celery-task-meta-a'],
  ['app.', 'app.celery-task-meta-a'],
])('with the prefix "%s" the key is %s', async (globalKeyprefix, key) => {
  const backend = server.backend({ globalKeyprefix })
  const { ended } = watch(backend, ['a'])
  await backend.store(meta('a'), forever)
  await within(ended, 'the wait')
  await backend.revoke(['a'], { expiresSeconds: 10 })
  expect(await server.text(key)).toBeDefined()
  expect(await server.call('EXISTS', key.replace('celery-task-meta-a', 'celeriac.revoked'))).toBe(1)
})

test('stores of one tick are one call of a script, and a long queue of them a few', async () => {
  const backend = server.backend()
  await backend.store(meta('first'), forever)
  await server.call('CONFIG', 'RESETSTAT')
  await Promise.all(Array.from({ length: 1_000 }, (_, index) => backend.store(meta(`t${index}`), forever)))
  expect(String(await server.call('INFO', 'commandstats'))).toContain('cmdstat_evalsha:calls=10,')
})

/** When a worker's process knows the revoked tasks, it is told at once. Each question is waited for: one that is left behind fails when its backend is closed. */
const knowsRevoked = (backend: ResultBackend) =>
  until(async () => {
    const answer = backend.revoked(['nobody'])
    await answer
    return !(answer instanceof Promise)
  }, 'the revoked tasks')

test('a process that asked once is told of revoked tasks, and asks no more', async () => {
  const backend = server.backend()
  await server.backend().revoke(['before'], { expiresSeconds: 10 })
  expect(await backend.revoked(['before', 'after'])).toEqual(new Set(['before']))
  await knowsRevoked(backend)
  await server.call('CONFIG', 'RESETSTAT')
  for (let batch = 0; batch < 100; batch++) expect(backend.revoked(['before', 'after'])).toEqual(new Set(['before']))
  expect([...String(await server.call('INFO', 'commandstats')).matchAll(/cmdstat_([a-z|]+)/g)].map(([, name]) => name)).toEqual([
    'config|resetstat',
  ])
  await server.backend().revoke(['after', 'soon over'], { expiresSeconds: 10 })
  await until(async () => (await backend.revoked(['after'])).size === 1, 'the word of it')
  expect(await backend.revoked(['before', 'after', 'other'])).toEqual(new Set(['before', 'after']))
})

test('what was revoked while a process could not be told is known to it all the same', async () => {
  await withGate(async (gate, backend) => {
    await backend.revoked(['a'])
    await knowsRevoked(backend)
    await gate.shut()
    await server.backend().revoke(['a'], { expiresSeconds: 10 })
    await gate.open()
    expect(await within(Promise.resolve(backend.revoked(['a', 'b'])), 'the answer')).toEqual(new Set(['a']))
    await knowsRevoked(backend)
    expect(backend.revoked(['a', 'b'])).toEqual(new Set(['a']))
  })
})

test('more revoked tasks than a process keeps are asked about', async () => {
  const backend = server.backend()
  const ids = Array.from({ length: 10_001 }, (_, index) => `t${index}`)
  await backend.revoke(ids, { expiresSeconds: 10 })
  await backend.revoked(['t0'])
  await until(async () => (await server.connections('celeriac:results:revoked')) === 1, 'the subscription')
  expect((await backend.revoked([...ids, 'other'])).size).toBe(10_001)
})

test('revoked tasks are remembered together, and gone when the last is', async () => {
  const backend = server.backend()
  const ids = Array.from({ length: 2_500 }, (_, index) => `t${index}`)
  await backend.revoke(ids, { expiresSeconds: 10 })
  await backend.revoke(['late'], { expiresSeconds: 100 })
  expect((await backend.revoked([...ids, 'other'])).size).toBe(2_500)
  await server.pass(10_000)
  await backend.revoke(['another'], { expiresSeconds: 1 })
  expect(await server.call('ZCARD', 'celeriac.revoked')).toBe(2)
  await server.pass(100_000)
  expect(await server.call('EXISTS', 'celeriac.revoked')).toBe(0)
})

test('groups are kept until they expire or are deleted', async () => {
  const backend = server.backend({ globalKeyprefix: 'app' })
  await backend.saveGroup([['g', null], []], { expiresSeconds: 9.5 })
  expect(await server.text('app_celery-taskset-meta-g')).toBe('{"result":[["g",null],[]]}')
  expect(await server.call('TTL', 'app_celery-taskset-meta-g')).toBe(10)
  expect(await backend.group('g')).toEqual([['g', null], []])
  expect([await backend.forgetGroup('g'), await backend.forgetGroup('g'), await backend.group('g')]).toEqual([true, false, undefined])
  await server.call('SET', 'app_celery-taskset-meta-g', '{"result": "no"}')
  await expect(backend.group('g')).rejects.toMatchObject({
    code: 'ERR_DECODE',
    message: expect.stringContaining('"app_celery-taskset-meta-g"'),
  })
})

// ── what others wrote ────────────────────────────────────────────────────────

const written = (status: string, more = ''): string => `{"status": "${status}", "result": null, ${more}"task_id": "a"}`

test.each([
  ["Python's spaces", written('SUCCESS')],
  ["Python's spaces", written('FAILURE')],
  ["Python's spaces", written('REVOKED')],
  ['another order', '{"task_id": "a", "result": null, "status": "SUCCESS"}'],
  ['escapes', '{"status":"SUCC\\u0045SS","result":null,"task_id":"a"}'],
])('an end that was written with %s is not overwritten: %s', async (_, text) => {
  await server.call('SET', 'celery-task-meta-a', text)
  expect(await server.backend().store(meta('a', 'FAILURE'), forever)).toBe(false)
  expect(await server.text('celery-task-meta-a')).toBe(text)
})

test.each([
  ["Python's spaces", written('STARTED')],
  ['an own state that begins as an end does', written('SUCCESSFULLY_STARTED')],
  ['an own state that is long', written('P'.repeat(200))],
  ['an own state in quotes', '{"status":"SUCCESS\\"","result":null,"task_id":"a"}'],
  ['another order', '{"task_id": "a", "result": null, "status": "PROGRESS"}'],
])('a state that was written with %s is overwritten: %s', async (_, text) => {
  await server.call('SET', 'celery-task-meta-a', text)
  const backend = server.backend()
  const { seen, ended } = watch(backend, ['a'])
  await until(() => seen.length === 1, 'the state')
  expect(await backend.store(meta('a'), { expiresSeconds: 10 })).toBe(true)
  await within(ended, 'the wait')
  expect((await backend.get('a'))?.status).toBe('SUCCESS')
  expect(await server.call('TTL', 'celery-task-meta-a')).toBe(10)
})

test('a value that is no result in JSON is named by its key, ends the waits for it and no others', async () => {
  await server.call('SET', 'celery-task-meta-a', Buffer.from([0x81, 0xa6, 0x73, 0x74]))
  await server.call('SET', 'celery-task-meta-b', written('SUCCESS'))
  const backend = server.backend()
  const waits = ['a', 'b', 'c'].map((id) => watch(backend, [id]))
  await server.call('HSET', 'celery-task-meta-h', 'x', 'y')
  for (const refused of [backend.get('a'), backend.get('b'), backend.store(meta('a'), forever), ...waits.slice(0, 2).map((w) => w.ended)]) {
    await expect(refused).rejects.toMatchObject({ code: 'ERR_DECODE', message: expect.stringMatching(/"celery-task-meta-[ab]"/) })
  }
  const [bad, good] = await Promise.allSettled([backend.store(meta('h'), forever), backend.store(meta('c'), forever)])
  expect([bad.status, good]).toEqual(['rejected', { status: 'fulfilled', value: true }])
  await within(waits[2]?.ended ?? Promise.reject(), 'the other wait')
})

test('of two processes that end the same 1 000 tasks, one wins each, and a wait in a third sees every winner', async () => {
  await expectOneWinnerEach(server.url, server.backend())
})

// ── waiting ──────────────────────────────────────────────────────────────────

test('10 000 waits are one connection, and leave nothing behind', async () => {
  const clock = new VirtualClock()
  const backend = server.backend({ clock })
  const stop = new AbortController()
  const channels = async (): Promise<number> => ((await server.call('PUBSUB', 'CHANNELS', '*')) as readonly unknown[]).length
  const waits = Array.from({ length: 10_000 }, (_, index) => watch(backend, [`t${index}`], stop))
  await until(async () => (await channels()) === 10_000, 'all subscriptions')
  expect(await server.connections('celeriac:results:waits')).toBe(1)
  stop.abort(new Error('enough'))
  await Promise.allSettled(waits.map(({ ended }) => ended))
  await until(async () => (await channels()) === 0, 'the end of all subscriptions')
  await clock.moveTo(clock.now() + 5_000)
  await until(async () => (await server.connections('celeriac:results:waits')) === 0, 'the end of the connection')
  const again = watch(backend, ['a'])
  await backend.store(meta('a'), forever)
  await within(again.ended, 'a wait after it')
})

test('waits for one task after the other use one connection', async () => {
  const backend = server.backend()
  for (let index = 0; index < 50; index++) {
    const { ended } = watch(backend, [`t${index}`])
    await backend.store(meta(`t${index}`), forever)
    await within(ended, 'the wait')
  }
  expect(String(await server.call('CLIENT', 'LIST')).match(/name=celeriac:results:waits/g)).toHaveLength(1)
})

test('open waits go on when their connection is lost, and read what was stored meanwhile', async () => {
  await withGate(async (gate, backend) => {
    const ids = Array.from({ length: 100 }, (_, index) => `t${index}`)
    const waits = ids.map((id) => watch(backend, [id]))
    await until(async () => (await server.connections('celeriac:results:waits')) === 1, 'the subscriptions')
    await gate.shut()
    const direct = server.backend()
    await Promise.all(ids.slice(0, 50).map((id) => direct.store(meta(id), forever)))
    await gate.open()
    await within(Promise.all(waits.slice(0, 50).map(({ ended }) => ended)), 'what was stored meanwhile')
    await Promise.all(ids.slice(50).map((id) => direct.store(meta(id), forever)))
    await within(Promise.all(waits.map(({ ended }) => ended)), 'what is stored after it')
  })
})

test('a subscription that is dead without a word is found, and the wait goes on', async () => {
  const gate = new Gate(server)
  const clock = new VirtualClock()
  const backend = server.backend({ clock, url: await gate.open(), silenceClock: clock })
  await backend.store(meta('a', 'STARTED'), forever)
  const { seen, ended } = watch(backend, ['a'])
  await until(() => seen.length === 1, 'the first state')
  gate.answersAreLost = true
  await server.backend().store(meta('a'), forever)
  await settled()
  expect(seen).toEqual(['a STARTED'])
  await clock.moveTo(clock.now() + 13_000)
  gate.answersAreLost = false
  const moving = setInterval(() => void clock.moveTo(clock.now() + 100), 10)
  try {
    await within(ended, 'the wait')
  } finally {
    clearInterval(moving)
    await backend.close()
    await gate.shut()
  }
})

test('a wait that cannot reach the server ends by its signal', async () => {
  const backend = server.backend({ url: 'redis://127.0.0.1:1/0' })
  await expect(watch(backend, ['a'], abortedIn(200)).ended).rejects.toThrow('late')
  await within(backend.close(), 'the close')
})

function abortedIn(ms: number): AbortController {
  const controller = new AbortController()
  setTimeout(() => controller.abort(new Error('late')), ms)
  return controller
}

// ── trouble ──────────────────────────────────────────────────────────────────

test('stores and reads that meet a server that is gone are done when it is back', async () => {
  await withGate(async (gate, backend) => {
    await backend.store(meta('a'), forever)
    await gate.shut()
    const asked = Promise.all([backend.get('a'), backend.store(meta('b'), forever), backend.revoked(['a'])])
    asked.catch(() => undefined)
    await settled()
    await gate.open()
    expect(await within(asked, 'the answers')).toEqual([expect.objectContaining({ taskId: 'a' }), true, new Set()])
  })
})

test('a store whose answer was lost knows whether it was the first', async () => {
  await withGate(async (gate, backend) => {
    await backend.store(meta('warm'), forever)
    await server.backend().store(meta('b', 'FAILURE'), forever)
    gate.answersAreLost = true
    const stores = Promise.all([meta('a'), meta('b'), meta('c', 'STARTED')].map((each) => backend.store(each, forever)))
    stores.catch(() => undefined)
    await until(async () => (await server.text('celery-task-meta-c')) !== undefined, 'the store')
    gate.answersAreLost = false
    gate.cut()
    expect(await within(stores, 'the stores')).toEqual([true, false, true])
  })
})

test('what cannot be done by the deadline is refused in words, and close ends', async () => {
  const clock = new VirtualClock()
  const backend = server.backend({ clock, url: 'redis://user:secret@127.0.0.1:1/0' })
  const outcomes = Promise.allSettled([backend.store(meta('a'), forever), backend.get('a'), backend.revoke(['a'], { expiresSeconds: 1 })])
  const moving = setInterval(() => void clock.moveTo(clock.now() + 100), 5)
  for (const outcome of await within(outcomes, 'the refusals')) {
    expect(outcome).toMatchObject({ status: 'rejected', reason: { code: 'ERR_CONNECTION' } })
    const message = outcome.status === 'rejected' ? String(outcome.reason.message) : ''
    expect(message).toMatch(/could not be reached within 10 s: .*ECONNREFUSED/)
    expect(message).not.toContain('secret')
  }
  const late = backend.store(meta('a'), forever)
  late.catch(() => undefined)
  await within(backend.close(), 'the close')
  clearInterval(moving)
  await expect(late).rejects.toMatchObject({ code: 'ERR_CONNECTION' })
})

test('a wrong password is told at once', async () => {
  await server.call('CONFIG', 'SET', 'requirepass', 'right')
  try {
    const refused = server.backend({ url: server.url.replace('//', '//:wrong@') }).get('a')
    await expect(within(refused, 'the refusal')).rejects.toMatchObject({
      code: 'ERR_CONNECTION',
      message: expect.stringMatching(/^the result backend redis:.* refused: WRONGPASS/),
    })
    const without = server.backend().get('a')
    await expect(within(without, 'the refusal')).rejects.toMatchObject({ message: expect.stringContaining('NOAUTH') })
  } finally {
    await server.call('CONFIG', 'SET', 'requirepass', '')
  }
})

test('a server that is out of memory says so when it is to store, still reads, and keeps the small ends whose acks make room', async () => {
  const backend = server.backend()
  await backend.store(meta('a'), forever)
  await server.call('CONFIG', 'SET', 'maxmemory', '1000000')
  try {
    const large = backend.store({ ...meta('b'), result: 'x'.repeat(5_000) }, forever)
    const onTheWay = backend.store({ ...meta('c'), status: 'STARTED' }, forever)
    const small = backend.store(meta('d'), forever)
    for (const each of [large, onTheWay, small]) each.catch(() => undefined)
    for (const refused of [large, onTheWay]) {
      await expect(refused).rejects.toMatchObject({
        code: 'ERR_BACKEND_FULL',
        message: expect.stringMatching(/^the result backend redis:.* is full .*maxmemory/),
      })
    }
    expect(await small).toBe(true)
    expect((await backend.get('a'))?.status).toBe('SUCCESS')
    expect((await backend.get('d'))?.status).toBe('SUCCESS')
    expect(await server.text('celery-task-meta-b')).toBeUndefined()
  } finally {
    await server.call('CONFIG', 'SET', 'maxmemory', '0')
  }
})

test('a server that is a replica for the moment is asked again', async () => {
  const backend = server.backend()
  await backend.store(meta('a'), forever)
  await server.call('REPLICAOF', '127.0.0.1', '1')
  const storing = backend.store(meta('b'), forever)
  storing.catch(() => undefined)
  await until(
    async () => /cmdstat_evalsha:.*(failed|rejected)_calls=[1-9]/.test(String(await server.call('INFO', 'commandstats'))),
    'a refusal',
  )
  await server.call('REPLICAOF', 'NO', 'ONE')
  expect(await within(storing, 'the store')).toBe(true)
})

test('losses, however many, leave one connection', async () => {
  await withGate(async (gate, backend) => {
    for (let round = 0; round < 20; round++) {
      const all = Promise.all([backend.store(meta(`t${round}`), forever), backend.get('t0')])
      gate.cut()
      await within(all, 'both')
    }
    await until(async () => (await server.connections('celeriac:results')) === 1, 'one connection')
  })
})
