import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { until } from '../conformance/wait.js'
import { FaultProxy } from './fault-proxy.js'

/** Answers each line with `re:` and the line. */
const server = createServer((socket) => {
  sockets.add(socket)
  let rest = ''
  socket.on('data', (bytes) => {
    const lines = (rest + bytes).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      heard.push(line)
      socket.write(`re:${line}\n`)
    }
  })
  socket.on('error', () => {})
  socket.on('close', () => sockets.delete(socket))
})
const sockets = new Set<Socket>()
let heard: string[] = []
let proxy: FaultProxy
const clients: Client[] = []

class Client {
  text = ''
  end: 'fin' | 'rst' | undefined
  readonly socket = connect(proxy.port, '127.0.0.1')

  constructor() {
    clients.push(this)
    this.socket.on('data', (bytes) => {
      this.text += bytes
    })
    this.socket.on('end', () => {
      this.end ??= 'fin'
    })
    this.socket.on('error', () => {
      this.end = 'rst'
    })
  }

  say(text: string): void {
    this.socket.write(text)
  }

  async hears(text: string): Promise<number> {
    const from = performance.now()
    await until(() => this.text === text, `${JSON.stringify(text)}, not ${JSON.stringify(this.text)}`)
    return performance.now() - from
  }

  /** A reset that comes together with bytes looks like an end to Node. */
  async ends(...how: readonly ('fin' | 'rst')[]): Promise<void> {
    await until(() => this.end !== undefined, 'the end')
    expect(how).toContain(this.end)
  }
}

beforeEach(async () => {
  heard = []
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  proxy = await FaultProxy.to((server.address() as AddressInfo).port) // it listens on a port
})

afterEach(async () => {
  for (const { socket } of clients.splice(0)) socket.destroy()
  await proxy[Symbol.asyncDispose]()
  for (const socket of sockets) socket.destroy()
  server.close()
  await once(server, 'close')
})

test('good weather carries everything both ways, and both ends of a link are told of its end', async () => {
  const client = new Client()
  client.say('a\nb\n')
  await client.hears('re:a\nre:b\n')
  expect(proxy.accepted).toBe(1)
  client.socket.end()
  await client.ends('fin')
  await until(() => sockets.size === 0 && proxy.links.size === 0, 'the server is told')
})

test('the URL of a server, by way of the proxy', () => {
  expect(proxy.url('redis://:secret@127.0.0.1:6379/0')).toBe(`redis://:secret@127.0.0.1:${proxy.port}/0`)
})

test('a black hole holds both directions, and nobody is told of an end; afterwards all comes in order', async () => {
  const [client, leaver] = [new Client(), new Client()]
  client.say('a\n')
  leaver.say('x\n')
  await client.hears('re:a\n')
  await leaver.hears('re:x\n')
  proxy.blackhole()
  client.say('b\n')
  leaver.socket.resetAndDestroy()
  const late = new Client()
  late.say('c\n')
  await once(late.socket, 'connect')
  await until(() => sockets.size === 3, 'the third is there, and the one that left as well')
  expect(heard).toEqual(['a', 'x'])
  proxy.clear()
  client.say('d\n')
  await client.hears('re:a\nre:b\nre:d\n')
  await late.hears('re:c\n')
  await until(() => sockets.size === 2, 'the server is told of the one that left')
})

test('what is dropped is gone, and that direction of the link stays silent; the other one passes', async () => {
  const client = new Client()
  client.say('0\n')
  await client.hears('re:0\n')
  proxy.set({ down: { flow: 'drop' } })
  const answered = proxy.after({ direction: 'down', bytes: 're:a\n' }, () => proxy.clear())
  client.say('a\n')
  await answered
  client.say('b\n')
  await until(() => heard.includes('b'), 'so is the next')
  const other = new Client()
  other.say('c\n')
  await other.hears('re:c\n')
  expect(client.text).toBe('re:0\n')
})

test('delay, throttle and slices change when bytes come, not which', async () => {
  const client = new Client()
  proxy.set({ down: { delayMs: 60, jitterMs: 10 } })
  const line = 'x'.repeat(2_000)
  client.say(`${line}\n${line}\n`)
  expect(await client.hears(`re:${line}\nre:${line}\n`)).toBeGreaterThan(45)
  proxy.set({ down: { bytesPerSecond: 40_000, sliceBytes: 100 } })
  client.text = ''
  client.say(`${line}\n`)
  expect(await client.hears(`re:${line}\n`)).toBeGreaterThan(40)
})

test('a limit cuts the link after exactly that many bytes', async () => {
  const client = new Client()
  client.say('a\n')
  await client.hears('re:a\n')
  proxy.set({ down: { limitBytes: 5 } })
  client.say('bcdef\n')
  await client.ends('rst', 'fin')
  // A reset may overtake what was not read yet.
  expect(['re:a\n', 're:a\nre:bc']).toContain(client.text)
})

test('links can be reset and ended; connections not answered and refused, and taken again', async () => {
  const first = new Client()
  first.say('a\n')
  await first.hears('re:a\n')
  proxy.rst()
  await first.ends('rst')
  const second = new Client()
  second.say('b\n')
  await second.hears('re:b\n')
  proxy.fin()
  await second.ends('fin')
  proxy.acceptOnly()
  const third = new Client()
  third.say('c\n')
  await until(() => proxy.accepted === 3, 'it is accepted')
  proxy.clear()
  const fourth = new Client()
  fourth.say('d\n')
  await fourth.hears('re:d\n')
  expect(third.text).toBe('')
  await proxy.shut()
  await fourth.ends('rst')
  await new Client().ends('rst')
  await proxy.open()
  const last = new Client()
  last.say('e\n')
  await last.hears('re:e\n')
  expect(heard).toEqual(['a', 'b', 'd', 'e'])
})

test('a trigger acts exactly at its bytes, also when they come in two pieces, the nth time', async () => {
  const client = new Client()
  const lost = proxy.before({ direction: 'up', bytes: /PUSH \d/, nth: 3 }, (link) => link.set({ down: { flow: 'drop' } }))
  client.say('PUSH 1\nPU')
  await client.hears('re:PUSH 1\n')
  client.say('SH 2\n')
  await client.hears('re:PUSH 1\nre:PUSH 2\n')
  client.say('PUSH 3\n')
  expect(await lost).toBe([...proxy.links][0])
  await until(() => heard.includes('PUSH 3'), 'the request itself arrives')
  expect(client.text).toBe('re:PUSH 1\nre:PUSH 2\n')
  const next = new Client()
  next.say('zero\n')
  await next.hears('re:zero\n')
  const cut = proxy.after({ direction: 'down', bytes: 're:o' }, (link) => link.rst())
  next.say('one two\n')
  await cut
  await next.ends('rst', 'fin')
  expect(['re:zero\n', 're:zero\nre:o']).toContain(next.text)
})

test('a trigger whose bytes do not come says so, with what did', async () => {
  const client = new Client()
  const never = proxy.before({ direction: 'up', bytes: 'never' }, () => {}, 30)
  client.say('something\n')
  await client.hears('re:something\n')
  await expect(never).rejects.toThrow(/never up the wire, 1 times: not within 30 ms[\s\S]*1 up 10 .*something/)
})
