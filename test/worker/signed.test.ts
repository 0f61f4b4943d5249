import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { chain } from '../../dist/index.js'
import { type Identity, KeyFolder, newIdentity } from '../certificates.js'
import { LiveApp, until } from '../live-app.js'

let alice: Identity
let folder: KeyFolder
beforeAll(() => {
  alice = newIdentity()
  folder = new KeyFolder({ alice })
})
afterAll(() => folder[Symbol.dispose]())

const signed = () => ({
  taskSerializer: 'auth',
  acceptContent: ['auth'],
  ...folder.signer('alice', alice),
  securityCertStore: folder.store,
})

test('signed tasks run, with their retries, links and chains, and what is sent is signed', async () => {
  await using live = new LiveApp(signed())
  const types: unknown[] = []
  live.app.on('beforeTaskPublish', ({ headers }) => void types.push(headers.task))
  const add = live.app.task('add', (x: number, y: number) => x + y)
  const again = live.app.task('again', { bind: true }, (self, n: number): number =>
    n < 2 ? self.retry({ countdown: 0, args: [n + 1] }) : n,
  )
  await live.work()
  expect(await chain(add.s(1, 2), add.s(3)).delay().get({ timeout: 20 })).toBe(6)
  expect(await again.delay(0).get({ timeout: 20 })).toBe(2)
  expect(types).toContain('add')
})

test('an unsigned message, and one of an unknown signer, go to the dead letters of a worker that accepts signed ones only', async () => {
  const broker = `memory://${randomUUID()}`
  await using live = new LiveApp({ ...signed(), broker })
  const ran: unknown[] = []
  const pay = live.app.task('pay', (amount: number) => void ran.push(amount))
  await live.work()
  const unsigned = await pay.applyAsync([1], { serializer: 'json' })
  await expect(unsigned.get({ timeout: 20 })).rejects.toThrow(
    'refusing a message that is not signed (its content type is "application/json")',
  )
  using others = new KeyFolder()
  await using mallory = new LiveApp({ ...signed(), broker, ...others.signer('mallory', newIdentity({ serial: 5n })) })
  const forged = await mallory.app.sendTask('pay', { args: [1000] })
  await expect(live.app.result(forged.id).get({ timeout: 20 })).rejects.toThrow(
    'signed by "Acme node1 5", and securityCertStore has no certificate of that name',
  )
  const dead = await until(async () => {
    const found = await live.app.deadLetters.list()
    return found.length === 2 && found
  })
  expect(dead.map(({ reason }) => reason).sort()).toEqual([
    expect.stringContaining('not signed'),
    expect.stringContaining('securityCertStore'),
  ])
  expect(ran).toEqual([])
  expect(await pay.delay(2).get({ timeout: 20 })).toBeNull()
})

test('securityDigest and securitySerializer say what is signed, and how: all must agree', async () => {
  const broker = `memory://${randomUUID()}`
  const options = { ...signed(), broker, securitySerializer: 'msgpack', securityAcceptContent: ['msgpack'] } as const
  await using live = new LiveApp({ ...options, securityDigest: 'sha3_512' })
  const bodies: string[] = []
  live.app.on('beforeTaskPublish', ({ body }) => void bodies.push(Buffer.from(String(body), 'base64').toString('latin1')))
  const echo = live.app.task('echo', (value: unknown) => value)
  await live.work()
  expect(await echo.delay({ a: [1, 'ü'] }).get({ timeout: 20 })).toEqual({ a: [1, 'ü'] })
  expect(bodies[0]?.split('\0\x01').slice(2, 4)).toEqual(['application/x-msgpack', 'binary'])
  await using other = new LiveApp({ ...options, securityDigest: 'sha256' })
  const { id } = await other.app.sendTask('echo', { args: [1] })
  await expect(live.app.result(id).get({ timeout: 20 })).rejects.toThrow(/signature/)
})

test('a worker that is to accept signed messages and cannot verify any does not start', async () => {
  await using live = new LiveApp({ acceptContent: ['auth'] })
  await expect(live.work()).rejects.toMatchObject({ code: 'ERR_SECURITY', message: expect.stringContaining('securityCertStore') })
})
