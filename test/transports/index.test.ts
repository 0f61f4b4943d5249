import { expect, test } from 'vitest'
import { openBackend } from '../../dist/backends/index.js'
import { systemClock } from '../../dist/internal/clock.js'
import { openTransport } from '../../dist/transports/index.js'

const options = { clock: systemClock }

test('a scheme that nobody knows is refused with those that are known, and never with its password', async () => {
  for (const open of [openTransport, openBackend]) {
    const refused = open('sqlit://user:hunter2@host/0', options)
    await expect(refused).rejects.toMatchObject({ code: 'ERR_URL_INVALID', message: expect.stringContaining('Did you mean "sqlite:"?') })
    await expect(refused).rejects.toThrow('"memory:"')
    await expect(refused).rejects.not.toThrow('hunter2')
    for (const url of ['', 'no url', 'constructor://', '__proto__:x'])
      await expect(open(url, options), url).rejects.toMatchObject({ code: 'ERR_URL_INVALID' })
  }
})

test('a driver refuses URLs that it cannot read', async () => {
  for (const url of ['memory://a/b', 'memory://?delivery_limit=0', 'sqlite://?nonsense=1']) {
    await expect(openTransport(url, options), url).rejects.toMatchObject({ code: 'ERR_URL_INVALID' })
  }
})

test('drivers that take no options refuse them', async () => {
  const transportOptions = { visibilityTimeout: 5 }
  for (const url of ['memory://', 'sqlite://']) {
    await expect(openTransport(url, { ...options, transportOptions }), url).rejects.toThrow(
      `expected brokerTransportOptions to be left out: the ${url.slice(0, -2)} driver takes no options, got: ["visibilityTimeout"]`,
    )
  }
  for (const url of ['memory://', 'sqlite://', 'disabled']) {
    await expect(openBackend(url, { ...options, transportOptions }), url).rejects.toThrow(
      /expected resultBackendTransportOptions to be left out: the (memory:|sqlite:|disabled) driver takes no options/,
    )
  }
})

test('connections of one name meet in memory, those of another do not', async () => {
  const signal = new AbortController().signal
  const connect = async (url: string) => (await openTransport(url, options)).connect({ signal })
  const [one, same, other] = [await connect('memory://here'), await connect('memory://here'), await connect('memory://there')]
  await one.declare({
    exchanges: [],
    queues: [{ name: 'q', durable: true, exclusive: false, autoDelete: false, arguments: {}, bindings: [] }],
  })
  const body = { body: '', contentType: 'a', contentEncoding: 'utf-8', headers: {}, properties: {} }
  await same.publish(body, { exchange: '', routingKey: 'q' }, { deadlineMs: 1_000 })
  expect([await one.size('q'), await other.size('q')]).toEqual([1, 0])
  for (const connection of [one, same, other]) await connection.close()
})

test('the disabled backend keeps nothing and says so to whoever asks', async () => {
  const backend = await openBackend('disabled', options)
  expect(backend.supports.results).toBe(false)
  const meta = { taskId: 'a', status: 'SUCCESS', result: 1, traceback: null, children: null, dateDone: null }
  expect(await backend.store(meta, { expiresSeconds: null })).toBe(true)
  await expect(backend.get('a')).rejects.toMatchObject({ code: 'ERR_RESULTS_DISABLED' })
  await expect(backend.getMany(['a'])).rejects.toMatchObject({ code: 'ERR_RESULTS_DISABLED' })
  const wait = backend.wait(['a'], { signal: new AbortController().signal })
  await expect(wait[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'ERR_RESULTS_DISABLED' })
  await backend.revoke(['a'], { expiresSeconds: 1 })
  expect([await backend.revoked(['a']), await backend.cleanup({ nowMs: 0 })]).toEqual([new Set(), 0])
  await backend.forget(['a'])
  await backend.close()
})
