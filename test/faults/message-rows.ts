/** Messages that no program of ours writes (reliability.md B.7), put into the broker past every check, then a good task: as they must be taken from every broker. */
import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { brotliCompressSync, constants, deflateSync } from 'node:zlib'
import { expect } from 'vitest'
import { Celeriac } from '../../dist/index.js'
import type { Message } from '../../dist/protocol/message.js'
import { encodeTask, type TaskCall } from '../../dist/protocol/task-message.js'
import { json } from '../../dist/serializers/json.js'
import type { DeadLetter } from '../../dist/transport.js'
import { until } from '../conformance/wait.js'
import type { FaultTest } from '../harness/fault-test.js'
import type { Scene } from '../harness/scene.js'
import { memoryOf, processesOf, type WorkerProcess } from '../harness/worker-process.js'
import { message as recorded } from '../wire/recorded.js'

export function good(call: Partial<TaskCall> = {}): Message {
  return encodeTask({ id: randomUUID(), task: 'echo', args: [], kwargs: {}, ...call }, json)
}

function altered({ headers = {}, properties = {}, ...rest }: Partial<Message>, from = good()): Message {
  return { ...from, ...rest, headers: { ...from.headers, ...headers }, properties: { ...from.properties, ...properties } }
}

/** The worker lives, and runs what comes next. */
export async function worksOn(scene: Scene, worker: WorkerProcess): Promise<void> {
  const value = randomUUID()
  const id = await scene.send('good', [value])
  expect(await scene.result(id)).toBe(value)
  expect(worker.isRunning).toBe(true)
}

interface Refusal {
  readonly what: string
  readonly message: Message
  readonly reason: RegExp
  /** Where its id can be read, it fails for whoever waits. */
  readonly error?: string
}

/** Each is kept as it was, with the reason, and told in the log, by itself or counted with others of its kind; none is run. */
export async function refuses(scene: Scene, worker: WorkerProcess, refusals: readonly Refusal[], beforeEnd?: () => void): Promise<void> {
  for (const [index, { what, message, reason, error }] of refusals.entries()) {
    await scene.publishRaw(message)
    // A hundred megabytes take their time where others are at work.
    const letters = await scene.deadLettersReach(index + 1, 90_000)
    const letter = letters.at(-1) as DeadLetter // there are index + 1 of them
    expect(letter.reason, what).toMatch(reason)
    expect(Buffer.from(letter.message.body).equals(Buffer.from(message.body)), `${what}: the original bytes`).toBe(true)
    expect(letter.message.headers, what).toEqual(message.headers)
    if (error !== undefined) expect(await scene.result(String(message.headers.id)), what).toMatchObject({ excType: error })
    await worksOn(scene, worker)
  }
  expect(await scene.app.deadLetters.count()).toBe(refusals.length)
  beforeEnd?.()
  await worker.end()
  expect(toldRefusals(worker)).toBe(refusals.length)
}

/** How many its log tells of. */
export function toldRefusals(worker: WorkerProcess): number {
  const lines = worker.log().filter((line) => line.msg.includes('goes to the dead letters'))
  return lines.reduce((sum, line) => sum + (typeof line.count === 'number' ? line.count : 1), 0)
}

/** A message with a body of this text for the task `echo` runs; the text of its result in the store. */
async function echoed(scene: Scene, args: string): Promise<string> {
  const id = randomUUID()
  scene.ledger.attempted.add(id)
  await scene.publishRaw(altered({ body: `[${args},{},null]` }, good({ id })))
  scene.ledger.confirmed.add(id)
  const value = await scene.result(id)
  return typeof value === 'object' ? json.encode(value, 'result').toString() : String(value)
}

function withOwn(source: object): Record<string, unknown> {
  return Object.defineProperties({}, Object.getOwnPropertyDescriptors(source))
}

const signature = (options: object = {}): object => ({ task: 'good', args: [], kwargs: {}, options, subtask_type: null, immutable: true })

export function messageRows(faultTest: FaultTest): void {
  const refusalRows: { readonly id: string; readonly promise: string; readonly refusals: () => readonly Refusal[] }[] = []
  const refusalRow = (id: string, promise: string, refusals: () => readonly Refusal[]): void =>
    void refusalRows.push({ id, promise, refusals })

  refusalRow('M4', 'a body whose bytes are no text: a dead letter', () => [
    { what: 'invalid UTF-8', message: altered({ body: new Uint8Array([0x5b, 0xff, 0xfe, 0x5d]) }), reason: /UTF-8/i },
    {
      what: 'not compressed as it says',
      message: altered({ body: new Uint8Array([1, 2, 3]), headers: { compression: 'application/x-gzip' } }),
      reason: /is not application\/x-gzip data/,
    },
  ])

  refusalRow('M5', 'a body of truncated JSON: a dead letter', () => [
    { what: 'truncated', message: altered({ body: '[[1, 2], {"a": "b' }), reason: /JSON/ },
    { what: 'empty', message: altered({ body: '' }), reason: /JSON/ },
  ])

  refusalRow('M7', 'a body of another shape: a dead letter', () => [
    { what: '[1,2]', message: altered({ body: '[1,2]' }), reason: /array of 3 elements .* got: an array of 2/ },
    { what: 'an object', message: altered({ body: '{"args":[]}' }), reason: /array of 3 elements/ },
    { what: 'kwargs null', message: altered({ body: '[[],null,null]' }), reason: /kwargs .* object/ },
  ])

  refusalRow('M8', 'a body nested 100 000 levels deep: a dead letter', () => [
    {
      what: 'arrays',
      message: altered({ body: `[[${'['.repeat(100_000)}${']'.repeat(100_000)}],{},null]` }),
      reason: /nested more than 200 levels/,
    },
    {
      what: 'objects, with a number that takes the tolerant reader',
      message: altered({ body: `[[NaN,${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}],{},null]` }),
      reason: /nested more than 200 levels/,
    },
  ])

  faultTest(
    { id: 'M10', promise: 'a message of protocol 1 runs; one of an unknown protocol is a dead letter that says so' },
    async (scene) => {
      const worker = await scene.worker({ concurrency: 1 })
      const recording = recorded('protocol-1')
      const body = JSON.parse(String(recording.body))
      const id = randomUUID()
      scene.ledger.attempted.add(id)
      await scene.publishRaw({
        ...recording,
        body: JSON.stringify({ ...body, id, task: 'echo', args: [1, 2], kwargs: {}, eta: null, callbacks: null }),
        properties: { ...recording.properties, correlationId: id },
      })
      scene.ledger.confirmed.add(id)
      expect(await scene.result(id)).toEqual([1, 2])
      const { task: _, ...headers } = good().headers
      await refuses(scene, worker, [
        { what: 'no task header, and no body of protocol 1', message: { ...good(), headers }, reason: /unknown protocol/ },
        { what: 'protocol 3', message: { ...good(), headers: { protocol: 3, name: 'echo' } }, reason: /unknown protocol/ },
      ])
    },
  )

  refusalRow('M11', 'a content type or encoding that nobody knows: a dead letter', () => [
    { what: 'type', message: altered({ contentType: 'application/x-unheard' }), reason: /application\/x-unheard/ },
    { what: 'encoding', message: altered({ contentEncoding: 'utf-16' }), reason: /utf-16/ },
    { what: 'no type', message: altered({ contentType: '' }), reason: /content of type ""/ },
  ])

  faultTest({ id: 'M12', promise: 'a pickle that runs a command: refused by its type, never decoded' }, async (scene) => {
    const worker = await scene.worker({ concurrency: 1, options: { acceptContent: ['json', 'msgpack', 'yaml'] } })
    const mark = join(scene.folder, 'ran')
    const pickle = Buffer.from(`cos\nsystem\n(S'touch ${mark}'\ntR.`, 'latin1')
    await refuses(scene, worker, [
      {
        what: 'pickle',
        message: altered({ body: pickle, contentType: 'application/x-python-serialize', contentEncoding: 'binary' }),
        reason: /application\/x-python-serialize/,
      },
    ])
    expect(existsSync(mark)).toBe(false)
  })

  refusalRow('M13', 'YAML or msgpack where only JSON is accepted: refused', () => [
    { what: 'yaml', message: altered({ body: '- []\n- {}\n- null\n', contentType: 'application/x-yaml' }), reason: /application\/x-yaml/ },
    {
      what: 'msgpack',
      message: altered({ body: new Uint8Array([0x93, 0x90, 0x80, 0xc0]), contentType: 'application/x-msgpack', contentEncoding: 'binary' }),
      reason: /application\/x-msgpack/,
    },
  ])

  refusalRow('M14', 'headers that steer a task and make no sense: a dead letter that names the header', () => [
    { what: 'eta', message: altered({ headers: { eta: 'tomorrow' } }), reason: /header "eta".*"tomorrow"/ },
    { what: 'eta number', message: altered({ headers: { eta: 1893456000 } }), reason: /header "eta"/ },
    { what: 'expires', message: altered({ headers: { expires: {} } }), reason: /header "expires"/ },
    { what: 'retries', message: altered({ headers: { retries: -1 } }), reason: /header "retries".*-1/ },
    { what: 'timelimit', message: altered({ headers: { timelimit: ['x'] } }), reason: /header "timelimit"/ },
    { what: 'timelimit of text', message: altered({ headers: { timelimit: ['x', null] } }), reason: /header "timelimit"/ },
    { what: 'priority', message: altered({ properties: { priority: 300 } }), reason: /property "priority".*300/ },
    { what: 'id', message: altered({ headers: { id: 17 } }), reason: /header "id".*17/ },
    { what: 'task', message: altered({ headers: { task: ['echo'] } }), reason: /header "task"/ },
  ])

  refusalRow('M15', 'an unknown task: a dead letter, and whoever waits is told', () => [
    { what: 'unknown', message: good({ task: 'no.such' }), reason: /no\.such/, error: 'NotRegistered' },
    { what: 'a name of the language', message: good({ task: '__proto__' }), reason: /__proto__/, error: 'NotRegistered' },
    { what: 'another', message: good({ task: 'constructor' }), reason: /constructor/, error: 'NotRegistered' },
  ])

  faultTest(
    { id: 'M15', promise: 'an unknown task with taskUnknown "requeue": back to its queue for a while, uncounted', left: 1 },
    async (scene) => {
      const worker = await scene.worker({ concurrency: 1, options: { taskUnknown: 'requeue' } })
      await scene.publishRaw(good({ task: 'no.such' }))
      const delayed = async () => (await scene.broker.messages()).filter((message) => message.state === 'delayed')
      await until(async () => (await delayed()).length === 1, 'it waits in the broker')
      await worksOn(scene, worker)
      expect(await delayed()).toMatchObject([{ deliveries: 0 }])
      expect(await scene.app.deadLetters.count()).toBe(0)
    },
  )

  faultTest(
    { id: 'M16', promise: 'bodies that unpack to hundreds of megabytes: dead letters, and no process grows by more than 64 MB' },
    async (scene) => {
      const worker = await scene.worker({ concurrency: 1 })
      await worksOn(scene, worker)
      const pids = processesOf(scene.folder)
      const before = new Map(pids.map((pid) => [pid, memoryOf(pid, 'VmHWM')]))
      const zeros = deflateSync(Buffer.alloc(300 * 1024 * 1024), { level: 1 })
      await refuses(
        scene,
        worker,
        [
          { what: 'zlib, 300 MB', message: altered({ body: zeros, headers: { compression: 'application/x-gzip' } }), reason: /bytes/ },
          {
            what: 'zlib in zlib',
            message: altered({ body: deflateSync(zeros), headers: { compression: 'zlib' } }),
            reason: /bytes|JSON|UTF-8/,
          },
          {
            what: 'brotli, 200 MB in a few bytes',
            message: altered({
              body: brotliCompressSync(Buffer.alloc(200 * 1024 * 1024), { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } }),
              headers: { compression: 'application/x-brotli' },
            }),
            reason: /bytes/,
          },
        ],
        () => {
          for (const [pid, mib] of before) expect(memoryOf(pid, 'VmHWM') - mib).toBeLessThanOrEqual(64)
        },
      )
    },
  )

  faultTest({ id: 'M18', promise: "NaN and Infinity of Python's JSON are read; ours never writes them" }, async (scene) => {
    const worker = await scene.worker({ concurrency: 1 })
    const id = randomUUID()
    scene.ledger.attempted.add(id)
    await scene.publishRaw(altered({ body: '[[NaN, Infinity, -Infinity, 1],{},null]' }, good({ id })))
    scene.ledger.confirmed.add(id)
    // It ran with them, and its result, which holds them, cannot be written: told with the path.
    expect(await scene.result(id)).toMatchObject({ excType: 'EncodeError', message: expect.stringContaining('result[0]') })
    expect(scene.recorder.ends(id)).toHaveLength(1)
    await expect(scene.app.sendTask('echo', { args: [Number.NaN] })).rejects.toMatchObject({ code: 'ERR_ENCODE', path: 'args[0]' })
    await worksOn(scene, worker)
  })

  faultTest({ id: 'M19', promise: 'integers over 2^53 are kept to the last digit, in arguments and results' }, async (scene) => {
    await scene.worker({ concurrency: 1 })
    const big = '12345678901234567890'
    expect(await echoed(scene, `[${big},-${big},9007199254740993]`)).toBe(`[${big},-${big},9007199254740993]`)
    const id = await scene.send('echo', [12345678901234567890n])
    expect(await scene.result(id)).toEqual([12345678901234567890n])
  })

  faultTest(
    { id: 'M20', promise: 'keys named `__proto__`, `constructor` and `prototype` are data everywhere, and change no prototype' },
    async (scene) => {
      const worker = await scene.worker({ concurrency: 1 })
      const hostile = '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"prototype":1}'
      const run = async (message: Message): Promise<unknown> => {
        const id = String(message.headers.id)
        scene.ledger.attempted.add(id)
        await scene.publishRaw(message)
        scene.ledger.confirmed.add(id)
        return scene.result(id)
      }
      const kwargs = await run(altered({ body: `[[],${hostile},null]` }, good({ task: 'keys' })))
      expect(kwargs).toMatchObject({ own: ['__proto__', 'constructor', 'prototype'], plain: true, polluted: [] })
      const headers = JSON.parse(hostile)
      const seen = await run({ ...good({ task: 'headers' }), headers: Object.assign(withOwn(headers), good({ task: 'headers' }).headers) })
      expect(seen).toMatchObject({ polluted: false })
      // As a link, a stamp and a result.
      await run(
        altered({
          body: `[[1],{},{"callbacks":[{"task":"good","args":[],"kwargs":{},"options":{"task_id":"the-link","__proto__":{"polluted":true}},"subtask_type":null,"immutable":true}],"__proto__":{"polluted":true}}]`,
        }),
      )
      scene.ledger.attempted.add('the-link')
      await scene.recorder.ended(1, 'the-link')
      await run(altered({ headers: { stamps: headers, stamped_headers: ['__proto__'] } }))
      const result = await run(altered({ body: `[[${hostile}],{},null]` }))
      expect(Object.keys((result as [object])[0]).sort()).toEqual(['__proto__', 'constructor', 'prototype'])
      expect(Reflect.get({}, 'polluted')).toBeUndefined()
      await worksOn(scene, worker)
      const last = await run(altered({ body: '[[],{},null]' }, good({ task: 'headers' })))
      expect(last).toMatchObject({ polluted: false })
    },
  )

  faultTest(
    {
      id: 'M22',
      promise: 'a message of 100 MB: refused at the call, and on receipt a dead letter that nobody decodes',
      concurrent: false,
    },
    async (scene) => {
      const worker = await scene.worker({ concurrency: 1 })
      await worksOn(scene, worker)
      const before = memoryOf(worker.pid, 'VmHWM')
      const large = 'x'.repeat(100 * 1024 * 1024)
      await expect(scene.app.sendTask('echo', { args: [large] })).rejects.toMatchObject({ code: 'ERR_TOO_LARGE' })
      await refuses(scene, worker, [{ what: '100 MB', message: altered({ body: `[["${large}"],{},null]` }), reason: /bytes/ }], () => {
        // The bytes themselves go through the worker once; nothing is built from them.
        expect(memoryOf(worker.pid, 'VmHWM') - before).toBeLessThanOrEqual(450)
      })
    },
  )

  refusalRow('M23', 'workflows that would fill a worker or its stack: refused with the limit', () => {
    const chain = Array.from({ length: 10_000 }, () => signature())
    let deep = '{"task":"good","options":{}}'
    for (let depth = 0; depth < 90; depth++) deep = `{"task":"good","options":{"link":[${deep}]}}`
    const group = {
      ...signature(),
      task: 'celery.group',
      subtask_type: 'group',
      kwargs: { tasks: Array.from({ length: 100_001 }, () => 0) },
    }
    return [
      {
        what: 'a chain of 10 000',
        message: altered({ body: JSON.stringify([[], {}, { chain }]) }),
        reason: /10000 signatures, over the limit of 5000/,
      },
      {
        what: 'links in links',
        message: altered({ body: `[[],{},{"callbacks":[${deep}]}]` }),
        reason: /more than 64 deep|nested more than 200/,
      },
      {
        what: 'a fan-out',
        message: altered({ body: JSON.stringify([[], {}, { callbacks: [group] }]) }),
        reason: /more than 100000 signatures/,
      },
      { what: 'a loop of text', message: altered({ body: '[[],{},{"callbacks":["good"]}]' }), reason: /signature/ },
    ]
  })

  faultTest(
    {
      id: 'M25',
      variant: 'link',
      promise: 'a link to a queue that may not be made: the task has run once, and has failed with the reason',
    },
    async (scene) => {
      const worker = await scene.worker({ concurrency: 1, options: { taskCreateMissingQueues: false, taskQueues: ['celery'] } })
      const message = altered({ body: JSON.stringify([[1], {}, { callbacks: [signature({ queue: 'not.declared' })] }]) })
      const id = String(message.headers.id)
      scene.ledger.attempted.add(id)
      await scene.publishRaw(message)
      scene.ledger.confirmed.add(id)
      expect(await scene.result(id)).toMatchObject({ excType: 'QueueNotFoundError', message: expect.stringContaining('not.declared') })
      expect(scene.recorder.starts(id)).toHaveLength(1)
      await worksOn(scene, worker)
    },
  )

  faultTest(
    { id: 'M24', promise: 'one message that is delivered 5 times: one result, the first; nothing is overwritten', dupBound: 4 },
    async (scene) => {
      const worker = await scene.worker({ concurrency: 1 })
      const message = good({ task: 'good', args: ['first'] })
      const id = String(message.headers.id)
      scene.ledger.attempted.add(id)
      for (const value of ['first', 'b', 'c', 'd', 'e']) await scene.publishRaw(altered({ body: `[["${value}"],{},null]` }, message))
      scene.ledger.confirmed.add(id)
      await scene.recorder.ended(5, id)
      expect(await scene.result(id)).toBe('first')
      await worksOn(scene, worker)
    },
  )

  refusalRow('M25', 'replies and links to names that are none: a dead letter, nothing is evaluated', () => [
    { what: 'reply_to', message: altered({ properties: { replyTo: 'a\nb' } }), reason: /property "reply_to"/ },
    { what: 'a long reply_to', message: altered({ properties: { replyTo: 'q'.repeat(300) } }), reason: /property "reply_to"/ },
    {
      what: 'a callback',
      message: altered({ body: JSON.stringify([[], {}, { callbacks: [{ ...signature(), task: 'a\u0000b' }] }]) }),
      reason: /callbacks\[0\]\.task/,
    },
    {
      what: 'an errback',
      message: altered({ body: JSON.stringify([[], {}, { errbacks: [{ ...signature(), task: {} }] }]) }),
      reason: /errbacks\[0\]\.task/,
    },
  ])

  faultTest(
    {
      id: 'M26',
      promise: '1 000 malformed messages at once: one log line for each reason in a second; the dead letters are bounded',
    },
    async (scene) => {
      await scene.worker({ concurrency: 1 })
      const started = performance.now()
      await Promise.all(
        Array.from({ length: 1_000 }, (_, n) =>
          scene.publishRaw(n % 2 === 0 ? altered({ headers: { retries: -n - 1 } }) : altered({ body: `[${n}]` })),
        ),
      )
      await scene.deadLettersReach(1_000)
      const [worker] = scene.workers
      if (worker === undefined) throw new Error('unreachable')
      await worksOn(scene, worker)
      const seconds = (performance.now() - started) / 1_000
      const lines = worker.log().filter((line) => line.level >= 50)
      expect(lines.length).toBeGreaterThanOrEqual(2)
      expect(lines.length).toBeLessThanOrEqual(2 * (1 + Math.ceil(seconds)))
      // Those that were held back are counted, at the latest when the worker stops.
      await worker.end()
      const told = worker.log().filter((line) => line.level >= 50)
      const counted = told.reduce((sum, line) => sum + (typeof line.count === 'number' ? line.count : 1), 0)
      expect(counted).toBe(1_000)
      // The oldest make room: as if 9 500 more had come before.
      await scene.broker.multiplyDeadLetters(9_500)
      const next = await scene.worker({ concurrency: 1 })
      await scene.publishRaw(altered({ headers: { eta: 'the newest' } }))
      await until(async () => (await scene.app.deadLetters.count()) <= 10_000, 'the oldest went')
      expect((await scene.deadLetters()).at(-1)?.reason).toContain('the newest')
      await worksOn(scene, next)
    },
  )

  faultTest(
    { id: 'M26', variant: 'replay', promise: 'a dead letter can be sent again once there is a worker that knows it' },
    async (scene) => {
      const message = good({ task: 'good', args: ['later'] })
      const id = String(message.headers.id)
      const strange = altered({ headers: { task: 'no.such' } }, message)
      await scene.worker({ concurrency: 1 })
      await scene.publishRaw(strange)
      const [letter] = await scene.deadLettersReach(1)
      expect(await scene.result(id)).toMatchObject({ excType: 'NotRegistered' })
      const { core } = Celeriac.internals(scene.app)
      expect(core.config.taskUnknown).toBe('dead-letter')
      expect(await scene.app.deadLetters.replay(letter?.id ?? '')).toBe(true)
      await until(async () => (await scene.app.deadLetters.list()).some((one) => one.id !== letter?.id), 'it comes back, still unknown')
    },
  )

  const [{ id, promise } = { id: '', promise: '' }, ...also] = refusalRows
  faultTest({ id, promise, also }, async (scene) => {
    const worker = await scene.worker({ concurrency: 1 })
    const all = refusalRows.flatMap((row) => row.refusals().map((refusal) => ({ ...refusal, what: `${row.id}: ${refusal.what}` })))
    await refuses(scene, worker, all)
  })
}
