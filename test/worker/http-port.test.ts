/** The little HTTP server of a worker, by raw requests. */
import { request } from 'node:http'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { listenAddress } from '../../dist/app/config-kinds.js'
import { type OpenPort, openPort, openPorts } from '../../dist/worker/http-port.js'

const anyPort = { host: '127.0.0.1', port: 0 }
const plain = (body: string) => () => ({ status: 200, type: 'text/plain', body })

async function ask(port: OpenPort, path: string, { method = 'GET', host = '127.0.0.1' } = {}) {
  return new Promise<{ status: number | undefined; body: string; connection: string | undefined }>((resolve, reject) => {
    const asked = request(`${port.url}${path}`, { method, headers: { host } }, (response) => {
      let body = ''
      response.on('data', (chunk) => {
        body += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode, body, connection: response.headers.connection }))
    })
    asked.on('error', reject).end()
  })
}

test('it answers its paths, and nothing else', async () => {
  const port = await openPort(anyPort, {
    '/a': plain('one'),
    '/broken': () => {
      throw new Error('no way')
    },
  })
  expect(await ask(port, '/a?x=1')).toEqual({ status: 200, body: 'one', connection: 'close' })
  expect(await ask(port, '/a', { method: 'HEAD' })).toMatchObject({ status: 200, body: '' })
  expect(await ask(port, '/a', { method: 'POST' })).toMatchObject({ status: 405 })
  expect(await ask(port, '/toString')).toMatchObject({ status: 404 })
  expect(await ask(port, '/broken')).toMatchObject({ status: 500, body: 'no way\n' })
  expect(await ask(port, '/a', { host: 'evil.test' })).toMatchObject({ status: 421 })
  await port.close()
  await port.close()
  await expect(ask(port, '/a')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
})

test('a connection that says nothing is no reason to wait when it closes, and large headers are refused', async () => {
  const port = await openPort(anyPort, { '/a': plain('one') })
  const idle = connect(Number(new URL(port.url).port), '127.0.0.1')
  await new Promise((resolve) => idle.once('connect', resolve))
  const large = connect(Number(new URL(port.url).port), '127.0.0.1')
  large.write(`GET /a HTTP/1.1\r\nhost: localhost\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`)
  const said = await new Promise<string>((resolve) => large.once('data', (bytes) => resolve(String(bytes))))
  expect(said).toMatch(/^HTTP\/1.1 431/)
  const ended = new Promise((resolve) => idle.once('close', resolve))
  idle.on('error', () => {})
  await port.close()
  await ended
})

test('one address that is given twice is opened once; one that is taken is told, and leaves nothing open', async () => {
  const [port, ...others] = await openPorts([
    { address: anyPort, routes: { '/a': plain('one') } },
    { address: anyPort, routes: { '/b': plain('two') } },
  ])
  if (port === undefined) throw new Error('unreachable')
  expect(others).toEqual([])
  expect([(await ask(port, '/a')).body, (await ask(port, '/b')).body]).toEqual(['one', 'two'])
  const taken = { host: '127.0.0.1', port: Number(new URL(port.url).port) }
  await expect(
    openPorts([
      { address: { host: 'localhost', port: 0 }, routes: {} },
      { address: taken, routes: {} },
    ]),
  ).rejects.toMatchObject({
    code: 'ERR_PORT_UNAVAILABLE',
    message: expect.stringContaining('each worker of a host needs a port of its own'),
  })
  await port.close()
})

test.each<[unknown, unknown]>([
  [9808, { host: '127.0.0.1', port: 9808 }],
  ['9808', { host: '127.0.0.1', port: 9808 }],
  ['0.0.0.0:9808', { host: '0.0.0.0', port: 9808 }],
  ['[::1]:9808', { host: '::1', port: 9808 }],
  ['host.local:0', { host: 'host.local', port: 0 }],
])('%s is a place to listen', (given, address) => {
  expect(listenAddress.parse(given, 'x')).toEqual(address)
})

test.each<[unknown]>([['99999'], ['x'], [':80'], [-1], [1.5], [null]])('%s is none', (given) => {
  expect(() => listenAddress.parse(given, 'x')).toThrow(/port/)
})
