/** Links to a RabbitMQ node of this file's own, which speaks TLS as well. */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { refusalOf } from '../../../dist/internal/amqp/reply.js'
import { AmqpTarget } from '../../../dist/internal/amqp/target.js'
import { startRabbit } from '../../../scripts/services.mjs'
import { within } from '../../conformance/wait.js'
import { withoutRabbit } from '../../rabbit.js'
import { Authority } from '../redis/certificates.js'

const folder = mkdtempSync(join(tmpdir(), 'celeriac-amqp-'))
const options = { tls: undefined, heartbeat: undefined, socketConnectTimeout: 5, clientName: undefined }

describe.skipIf(withoutRabbit())('links to RabbitMQ', () => {
  let node: Awaited<ReturnType<typeof startRabbit>>
  let ours: Authority
  let theirs: Authority

  beforeAll(async () => {
    ours = new Authority(folder, 'ours')
    theirs = new Authority(folder, 'theirs')
    const { cert, key } = ours.sign('server')
    node = await startRabbit({ tls: { ca: ours.ca, cert, key } })
  }, 120_000)
  afterAll(async () => {
    await node?.stop()
    rmSync(folder, { recursive: true })
  })

  const open = (url: string, more: object = {}) =>
    new AmqpTarget(url, { ...options, ...more }).open({ signal: AbortSignal.timeout(15_000), name: 'test' })
  const secure = (query = '', host = '127.0.0.1'): string => `amqps://guest:guest@${host}:${node.tlsPort}//${query}`

  test('it knows the server, asks it, and ends when it is closed', async () => {
    const link = await open(node.url)
    const unhold = link.hold()
    expect([link.product, link.isOpen, link.blocked, link.frameMax]).toEqual(['RabbitMQ', true, undefined, 131_072])
    expect(link.version).toBeGreaterThanOrEqual(308)
    const channel = await link.openChannel()
    const error = await channel.api.checkQueue('nowhere').catch((thrown: unknown) => thrown)
    expect(refusalOf(error)).toEqual({ code: 404, text: "NOT_FOUND - no queue 'nowhere' in vhost '/'" })
    expect(refusalOf(await within(channel.ended, 'the end of the channel'))?.code).toBe(404)
    expect([channel.isOpen, link.isOpen]).toEqual([false, true])
    unhold()
    await Promise.all([link.close(), link.close()])
    expect(await link.ended).toBeUndefined()
  })

  test('operators see what each connection is for, or the name that it was given', async () => {
    const links = [await open(node.url), await open(node.url, { clientName: 'shop' })]
    const seen = await node.ctl('list_connections', 'client_properties')
    for (const name of ['test', 'shop']) expect(seen).toContain(`{"connection_name","${name}"}`)
    for (const link of links) await link.close()
  })

  test('over TLS the server proves who it is', async () => {
    for (const link of [await open(secure(`?ssl_ca_certs=${ours.ca}`)), await open(secure(), { tls: { ca: ours.ca } })]) {
      expect(link.product).toBe('RabbitMQ')
      await link.close()
    }
    await expect(open(secure())).rejects.toThrow(/not signed by an authority that is trusted here.*name its CA/)
    await expect(open(secure(`?ssl_ca_certs=${theirs.ca}`))).rejects.toThrow(/not signed by an authority that is trusted here/)
    await expect(open(secure(), { tls: { ca: ours.ca, servername: 'elsewhere.example' } })).rejects.toThrow(
      /certificate is for another name/,
    )
    await expect(open(secure('?ssl_ca_certs=/no/such/file'))).rejects.toThrow(/cannot read the certificate or key file/)
  })

  test('a port of the other kind is told, and nothing is sent unencrypted', async () => {
    await expect(open(secure().replace(String(node.tlsPort), String(node.port)), { tls: { ca: ours.ca } })).rejects.toThrow(
      /does not speak TLS at this port: nothing was sent unencrypted/,
    )
    await expect(open(`amqp://guest:guest@127.0.0.1:${node.tlsPort}//`)).rejects.toThrow(/is this its TLS port/)
  })

  test('what is wrong with user and virtual host is told, without the password', async () => {
    const wrong = open(`amqp://guest:hunter2@127.0.0.1:${node.port}//`)
    await expect(wrong).rejects.toMatchObject({ code: 'ERR_CONNECTION', message: expect.stringMatching(/refuses the user or password/) })
    await expect(wrong).rejects.not.toThrow('hunter2')
    await expect(open(`amqp://guest:guest@127.0.0.1:${node.port}/none`)).rejects.toThrow(/does not open the virtual host/)
    await expect(open('amqp://127.0.0.1:1//')).rejects.toThrow(/ECONNREFUSED/)
  })

  test('a server that is silent, or no RabbitMQ, is left within the time for connecting', async () => {
    const servers: Server[] = []
    const listen = async (onConnection: (socket: Socket) => void): Promise<number> => {
      const server = createServer((socket) => {
        socket.on('error', () => {}).resume()
        onConnection(socket)
      })
      servers.push(server)
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const address = server.address()
      return typeof address === 'object' && address !== null ? address.port : 0
    }
    const silent = await listen(() => {})
    const web = await listen((socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'))
    const closing = await listen((socket) => socket.destroy())
    const brief = { socketConnectTimeout: 0.5 }
    await expect(open(`amqp://127.0.0.1:${silent}`, brief)).rejects.toThrow(/did not open a connection within 0.5 s/)
    await expect(open(`amqps://127.0.0.1:${silent}`, brief)).rejects.toThrow(/did not open an encrypted connection within 0.5 s/)
    await expect(open(`amqp://127.0.0.1:${web}`)).rejects.toThrow(/is not AMQP 0-9-1/)
    await expect(open(`amqp://127.0.0.1:${closing}`)).rejects.toThrow(/closed the connection before it was open/)
    const stop = new AbortController()
    const opening = new AmqpTarget(`amqp://127.0.0.1:${silent}`, options).open({ signal: stop.signal, name: 'test' })
    stop.abort(new Error('enough'))
    await expect(opening).rejects.toThrow('enough')
    for (const server of servers) await new Promise<void>((resolve) => server.close(() => resolve()))
  })

  test('who may be blocked for long asks for longer heartbeats', async () => {
    const beat = async (more: object, blocksUpToSeconds: number): Promise<number> => {
      const link = await new AmqpTarget(node.url, { ...options, ...more }).open({
        signal: AbortSignal.timeout(10_000),
        name: 'test',
        blocksUpToSeconds,
      })
      await link.close()
      return link.heartbeat
    }
    expect(await beat({}, 0)).toBe(60)
    expect(await beat({ heartbeat: 2 }, 0)).toBe(2)
    expect(await beat({ heartbeat: 2 }, 15)).toBe(10)
    expect(await beat({ heartbeat: 0 }, 15)).toBe(0)
  })
})
