/** Strings that no program of ours writes, pushed onto a list of Redis as they are (reliability.md B.7). What every broker must take is in message-rows.ts. */
import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import { someOf } from '../harness/depth.js'
import { envelopeOf } from '../harness/redis-broker.js'
import { redisTest } from '../harness/redis-fault-test.js'
import { good, messageRows, toldRefusals, worksOn } from './message-rows.js'

// What a worker does with a message that it has is the same for every broker; here those rows in which it goes back, comes again, or is kept.
messageRows(
  someOf(
    redisTest,
    ({ id, variant, promise }) => /^M2[46]$/.test(id) || (id === 'M15' && promise.includes('requeue')) || variant === 'replay',
  ),
)

interface Refusal {
  readonly what: string
  readonly raw: string | Buffer
  readonly reason: RegExp
}

/** An envelope with some of its parts replaced; undefined takes one away. */
function changed(parts: Readonly<Record<string, unknown>>, properties: Readonly<Record<string, unknown>> = {}): string {
  const envelope = JSON.parse(envelopeOf(good()))
  return JSON.stringify({ ...envelope, properties: { ...envelope.properties, ...properties }, ...parts })
}

const rawRows: { readonly id: string; readonly promise: string; readonly refusals: () => readonly Refusal[] }[] = []
const rawRow = (id: string, promise: string, refusals: () => readonly Refusal[]): void => void rawRows.push({ id, promise, refusals })

rawRow('M1', 'strings that are no JSON: dead letters', () => [
  { what: 'text', raw: 'hello', reason: /JSON/ },
  { what: 'nothing', raw: '', reason: /JSON/ },
  { what: 'truncated', raw: envelopeOf(good()).slice(0, -20), reason: /JSON/ },
  { what: 'no UTF-8', raw: Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), reason: /UTF-8/ },
  { what: 'a message and a half', raw: `${envelopeOf(good())}{"body"`, reason: /JSON/ },
  { what: 'what would end the entry of an unacknowledged message', raw: '","",""],"x', reason: /JSON/ },
])

rawRow('M2', 'JSON that is no envelope: dead letters that say what is missing', () => [
  { what: '{}', raw: '{}', reason: /properties/ },
  { what: 'a list', raw: '[]', reason: /object/ },
  { what: 'null', raw: 'null', reason: /object/ },
  { what: 'a number', raw: '17', reason: /object/ },
  { what: 'headers that are a list', raw: changed({ headers: [] }), reason: /headers/ },
  { what: 'properties that are text', raw: changed({ properties: 'x' }), reason: /properties/ },
  { what: 'no content type', raw: changed({ 'content-type': undefined }), reason: /content-type/ },
  { what: 'an encoding that is a number', raw: changed({ 'content-encoding': 8 }), reason: /content-encoding/ },
  { what: 'no delivery_info', raw: changed({}, { delivery_info: undefined }), reason: /delivery_info/ },
  { what: 'a routing key that is a list', raw: changed({}, { delivery_info: { exchange: '', routing_key: [] } }), reason: /delivery_info/ },
])

redisTest(
  { id: 'M3', variant: 'raw', promise: 'an envelope without delivery_tag runs: our leases have names of their own' },
  async (scene) => {
    const worker = await scene.worker({ concurrency: 1 })
    for (const tag of [undefined, 17, 'the same tag', 'the same tag']) {
      const message = good({ id: randomUUID(), args: [String(tag)] })
      const id = String(message.headers.id)
      const envelope = JSON.parse(envelopeOf(message))
      scene.ledger.attempted.add(id)
      await scene.broker.push(JSON.stringify({ ...envelope, properties: { ...envelope.properties, delivery_tag: tag } }))
      scene.ledger.confirmed.add(id)
      expect(await scene.result(id)).toEqual([String(tag)])
    }
    await worksOn(scene, worker)
  },
)

rawRow('M4', 'a body that is no base64: a dead letter, not a shorter body', () => [
  { what: 'other characters', raw: changed({ body: '!!!!' }), reason: /base64/ },
  { what: 'spaces between', raw: changed({ body: 'W1td LHt9 LG51bGxd' }), reason: /base64/ },
  { what: 'cut', raw: changed({ body: envelopeBody().slice(0, -1) }), reason: /base64/ },
  { what: 'no text', raw: changed({ body: { x: 1 } }), reason: /body/ },
  { what: 'an unknown encoding', raw: changed({}, { body_encoding: 'base85' }), reason: /base85/ },
])

function envelopeBody(): string {
  return String(JSON.parse(envelopeOf(good())).body)
}

rawRow('M8', 'an envelope nested 100 000 levels deep: a dead letter', () => [
  { what: 'lists', raw: `{"headers":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, reason: /nested|envelope/ },
])

const [{ id, promise } = { id: '', promise: '' }, ...also] = rawRows
redisTest({ id, promise, also, variant: 'raw' }, async (scene) => {
  const worker = await scene.worker({ concurrency: 1 })
  const all = rawRows.flatMap((row) => row.refusals().map((refusal) => ({ ...refusal, what: `${row.id}: ${refusal.what}` })))
  for (const [index, { what, raw, reason }] of all.entries()) {
    await scene.broker.raw.lpush('celery', raw)
    const letter = (await scene.deadLettersReach(index + 1)).at(-1)
    expect(letter?.reason, what).toMatch(reason)
    expect(letter?.queue, what).toBe('celery')
    // The dead letter is one line of JSON, and behind it the bytes as they came.
    const kept = await scene.broker.raw.hgetBuffer('celeriac.dead', letter?.id ?? '')
    expect(kept?.subarray(kept.indexOf('\n') + 1).equals(Buffer.from(raw)), `${what}: the original bytes`).toBe(true)
    await worksOn(scene, worker)
  }
  await worker.end()
  expect(toldRefusals(worker)).toBe(all.length)
})

redisTest({ id: 'M20', variant: 'raw', promise: 'keys of the language’s own in an envelope change no prototype' }, async (scene) => {
  const worker = await scene.worker({ concurrency: 1 })
  const message = good({ task: 'headers' })
  const id = String(message.headers.id)
  scene.ledger.attempted.add(id)
  const hostile = '"__proto__":{"polluted":true,"delivery_info":{}},"constructor":{"prototype":{"polluted":true}},'
  await scene.broker.push(
    envelopeOf(message)
      .replace('{"body"', `{${hostile}"body"`)
      .replace('"properties":{', `"properties":{${hostile}`)
      .replace('"headers":{', `"headers":{${hostile}`),
  )
  scene.ledger.confirmed.add(id)
  expect(await scene.result(id)).toMatchObject({ polluted: false })
  await worksOn(scene, worker)
})

redisTest(
  {
    id: 'M26',
    variant: 'raw',
    promise: '1 000 strings that are no envelopes, at once: all in the dead letters, and a few log lines',
  },
  async (scene) => {
    const worker = await scene.worker({ concurrency: 1 })
    const from = performance.now()
    await scene.broker.push(...Array.from({ length: 1_000 }, (_, n) => (n % 2 === 0 ? `no JSON ${n}` : `{"n":${n}}`)))
    await scene.deadLettersReach(1_000)
    await worksOn(scene, worker)
    const seconds = (performance.now() - from) / 1_000
    expect(worker.log().filter((line) => line.level >= 50).length).toBeLessThanOrEqual(4 * (1 + Math.ceil(seconds)))
    await worker.end()
    expect(toldRefusals(worker)).toBe(1_000)
  },
)
