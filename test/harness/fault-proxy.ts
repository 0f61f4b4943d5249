/**
 * A network that fails on command: a TCP proxy in the test's process, which programs in any process connect through.
 *
 *   client ──up──▶ proxy ──up──▶ server          each direction of each link has its own weather
 *   client ◀─down─ proxy ◀─down─ server
 */
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { within } from '../conformance/wait.js'

export type Direction = 'up' | 'down'

/** What happens to the bytes of one direction. */
export interface Weather {
  /**
   * `hold`: none arrives, as when packets are lost: they come when the weather clears, or never if the link is cut before.
   * `drop`: swallowed. A stream has no holes, so this direction of the link stays silent for good.
   */
  readonly flow?: 'pass' | 'hold' | 'drop'
  readonly delayMs?: number
  /** Up to so much more or less than `delayMs`, by chance; bytes stay in order. */
  readonly jitterMs?: number
  readonly bytesPerSecond?: number
  /** Arrive in pieces of that many bytes. */
  readonly sliceBytes?: number
  /** Both ends get a reset after that many bytes more. */
  readonly limitBytes?: number
}

/** Waits for bytes on the wire: `{ direction: 'up', bytes: 'LPUSH' }`. */
export interface Trigger {
  readonly direction: Direction
  /** An expression sees the bytes as latin1, and 1 000 of them before a piece. */
  readonly bytes: string | RegExp
  /** On the how-manieth time, counted over all links from now on; 1 by default. */
  readonly nth?: number
}

/** More than this is not taken from a sender before it was passed on, as the buffers of a real network. */
const windowBytes = 256 * 1024
const transcriptLength = 400

export class FaultProxy implements AsyncDisposable {
  readonly links = new Set<Link>()
  /** How many connections were made in all. */
  accepted = 0
  readonly #target: number
  #server: Server | undefined
  #port = 0
  #acceptOnly = false
  #weather: Record<Direction, Weather> = { up: {}, down: {} }
  readonly #watches = new Set<Watch>()
  readonly #transcript: string[] = []
  readonly #from = performance.now()

  private constructor(target: number) {
    this.#target = target
  }

  /** In front of that port of this machine. */
  static async to(target: number): Promise<FaultProxy> {
    const proxy = new FaultProxy(target)
    await proxy.open()
    return proxy
  }

  get port(): number {
    return this.#port
  }

  /** That URL, by way of the proxy. */
  url(direct: string): string {
    return direct.replace(/:\d+(?=\/|$)/, `:${this.#port}`)
  }

  /** For the links there are and those to come; a direction that is not named keeps its own. */
  set(weather: Partial<Record<Direction, Weather>>): void {
    this.#weather = { ...this.#weather, ...weather }
    this.note(`weather ${JSON.stringify(weather)}`)
    for (const link of this.links) link.set(weather)
  }

  /** Both directions pass again. */
  clear(): void {
    this.#acceptOnly = false
    this.set({ up: {}, down: {} })
  }

  /** Nothing arrives anywhere, and nobody is told: a half-open world. */
  blackhole(): void {
    this.set({ up: { flow: 'hold' }, down: { flow: 'hold' } })
  }

  /** Cuts every link with a reset. */
  rst(): void {
    for (const link of [...this.links]) link.rst()
  }

  /** Ends every link in good manners. */
  fin(): void {
    for (const link of [...this.links]) link.fin()
  }

  /** Takes connections from now on and never says a word. */
  acceptOnly(): void {
    this.#acceptOnly = true
  }

  /** Refuses connections and cuts those there are, as a machine whose server is gone. */
  async shut(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    const closed = new Promise((resolve) => (server === undefined ? resolve(undefined) : server.close(resolve)))
    this.rst()
    await closed
  }

  /** Again on the same port. */
  async open(): Promise<void> {
    if (this.#server !== undefined) return
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (client) => this.#accept(client))
    this.#server = server
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(this.#port, '127.0.0.1', resolve)
    })
    this.#port = (server.address() as AddressInfo).port // it listens on a port, not on a path
  }

  /** Does this once, at the very moment at which the last of those bytes is about to be passed on: what the action sets holds for them. Resolves with their link. */
  before(trigger: Trigger, action: (link: Link) => void, ms?: number): Promise<Link> {
    return this.#watch(trigger, 'before', action, ms)
  }

  /** Does this once, after the last of those bytes was passed on and before the byte that follows. */
  after(trigger: Trigger, action: (link: Link) => void, ms?: number): Promise<Link> {
    return this.#watch(trigger, 'after', action, ms)
  }

  #watch({ direction, bytes, nth = 1 }: Trigger, when: Watch['when'], action: (link: Link) => void, ms = 20_000): Promise<Link> {
    let watch: Watch | undefined
    const seen = new Promise<Link>((resolve) => {
      const act = (link: Link): void => {
        action(link)
        resolve(link)
      }
      watch = { direction, bytes: new RegExp(typeof bytes === 'string' ? literal(bytes) : bytes.source, 'gs'), when, left: nth, act }
      this.#watches.add(watch)
    })
    const bounded = within(seen, `${bytes} ${direction} the wire, ${nth} times`, ms).catch((error: Error) => {
      if (watch !== undefined) this.#watches.delete(watch)
      throw new Error(`${error.message}\n${this.transcript()}`)
    })
    // Awaited or not: a test that failed before has said why.
    bounded.catch(() => {})
    return bounded
  }

  /** The first of the watches that this piece of a direction completes, and after how many bytes of it. */
  match(lane: { readonly direction: Direction; readonly tail: Buffer }, chunk: Buffer): { watch: Watch; at: number } | undefined {
    let first: { watch: Watch; at: number } | undefined
    let text: string | undefined
    for (const watch of this.#watches) {
      if (watch.direction !== lane.direction) continue
      text ??= Buffer.concat([lane.tail, chunk]).toString('latin1')
      for (const found of text.matchAll(watch.bytes)) {
        // One that ends in the tail has been seen.
        const at = found.index + found[0].length - lane.tail.length
        if (at > 0 && (first === undefined || at < first.at)) first = { watch, at }
        if (at > 0) break
      }
    }
    return first
  }

  /** True when this time was the one it waits for. */
  fires(watch: Watch): boolean {
    watch.left -= 1
    if (watch.left > 0) return false
    return this.#watches.delete(watch)
  }

  note(text: string): void {
    this.#transcript.push(`${((performance.now() - this.#from) / 1_000).toFixed(3)} ${text}`)
    if (this.#transcript.length > transcriptLength) this.#transcript.shift()
  }

  /** What went over the wire of late, a line each piece: for the message of a failed test. */
  transcript(): string {
    return this.#transcript.join('\n')
  }

  #accept(client: Socket): void {
    this.accepted += 1
    const link = new Link(this, this.accepted, client, this.#acceptOnly ? undefined : this.#target, this.#weather)
    this.links.add(link)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shut()
  }
}

function literal(bytes: string): string {
  return Buffer.from(bytes)
    .toString('latin1')
    .replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

interface Watch {
  readonly direction: Direction
  readonly bytes: RegExp
  readonly when: 'before' | 'after'
  left: number
  readonly act: (link: Link) => void
}

/** One connection through the proxy. */
export class Link {
  readonly #proxy: FaultProxy
  readonly #client: Socket
  readonly #server: Socket | undefined
  readonly #lanes: Partial<Record<Direction, Lane>> = {}

  constructor(
    proxy: FaultProxy,
    readonly number: number,
    client: Socket,
    target: number | undefined,
    weather: Record<Direction, Weather>,
  ) {
    this.#proxy = proxy
    this.#client = client
    proxy.note(`link ${number} made`)
    if (target === undefined) {
      client.on('error', () => this.rst())
      client.resume()
      client.on('close', () => this.rst())
      return
    }
    const server = connect({ port: target, host: '127.0.0.1', allowHalfOpen: true })
    this.#server = server
    for (const socket of [client, server]) socket.setNoDelay(true)
    this.#lanes.up = new Lane(proxy, this, 'up', { from: client, to: server }, weather.up)
    this.#lanes.down = new Lane(proxy, this, 'down', { from: server, to: client }, weather.down)
    client.resume()
  }

  set(weather: Partial<Record<Direction, Weather>>): void {
    if (weather.up !== undefined) this.#lanes.up?.set(weather.up)
    if (weather.down !== undefined) this.#lanes.down?.set(weather.down)
  }

  rst(): void {
    if (!this.#proxy.links.delete(this)) return
    this.#proxy.note(`link ${this.number} cut`)
    for (const lane of Object.values(this.#lanes)) lane.stop()
    this.#client.resetAndDestroy()
    if (this.#server?.connecting === false) this.#server.resetAndDestroy()
    else this.#server?.destroy()
  }

  fin(): void {
    this.#proxy.note(`link ${this.number} ended`)
    this.#client.end()
    this.#server?.end()
    this.forget()
  }

  /** Both ends are told: there is nothing left to carry. */
  forget(): void {
    if (!this.#proxy.links.delete(this)) return
    for (const socket of [this.#client, this.#server]) if (socket?.readable) socket.resume()
  }

  get isEnded(): boolean {
    return Object.values(this.#lanes).every((lane) => lane.isEnded)
  }
}

class Lane {
  readonly #proxy: FaultProxy
  readonly #link: Link
  readonly direction: Direction
  readonly #from: Socket
  readonly #to: Socket
  /** The last bytes that passed: what is waited for may lie across two pieces. */
  tail: Buffer = Buffer.alloc(0)
  isEnded = false
  #weather: Weather
  #left: number
  #torn = false
  readonly #queue: { readonly bytes: Buffer | 'end'; readonly dueMs: number }[] = []
  #queuedBytes = 0
  #pumping = false
  #changed: (() => void) | undefined

  constructor(proxy: FaultProxy, link: Link, direction: Direction, { from, to }: { from: Socket; to: Socket }, weather: Weather) {
    this.#proxy = proxy
    this.#link = link
    this.direction = direction
    this.#from = from
    this.#to = to
    this.#weather = weather
    this.#left = weather.limitBytes ?? Number.POSITIVE_INFINITY
    from.on('data', (bytes) => this.#take(bytes))
    from.on('end', () => this.#take('end'))
    // A reset is a piece of news as well: it does not get through where nothing does.
    from.on('error', () => (this.#weather.flow === undefined || this.#weather.flow === 'pass' ? link.rst() : this.#take('end')))
  }

  set(weather: Weather): void {
    this.#weather = weather
    this.#left = weather.limitBytes ?? Number.POSITIVE_INFINITY
    this.#changed?.()
  }

  stop(): void {
    this.#queue.length = 0
    this.#torn = true
    this.#changed?.()
  }

  #take(bytes: Buffer | 'end'): void {
    const { delayMs = 0, jitterMs = 0 } = this.#weather
    const dueMs = performance.now() + delayMs + (2 * Math.random() - 1) * jitterMs
    this.#queue.push({ bytes, dueMs })
    this.#queuedBytes += bytes.length
    if (this.#queuedBytes > windowBytes) this.#from.pause()
    if (!this.#pumping) void this.#pump()
  }

  async #pump(): Promise<void> {
    this.#pumping = true
    for (let piece = this.#queue.shift(); piece !== undefined; piece = this.#queue.shift()) {
      await this.#wait(piece.dueMs - performance.now())
      if (piece.bytes === 'end') await this.#end()
      else await this.#carry(piece.bytes)
      this.#queuedBytes -= piece.bytes.length
      if (this.#queuedBytes <= windowBytes) this.#from.resume()
    }
    this.#pumping = false
  }

  async #end(): Promise<void> {
    while (this.#weather.flow === 'hold' && !this.#torn) await this.#change()
    // Who is dead to the other end cannot say good-bye either.
    if (this.#torn || this.#weather.flow === 'drop') return
    this.isEnded = true
    this.#to.end()
    if (this.#link.isEnded) this.#link.forget()
  }

  /** Piece by piece, so that each trigger falls exactly where its bytes end. */
  async #carry(bytes: Buffer): Promise<void> {
    let rest = bytes
    while (rest.length > 0) {
      const found = this.#proxy.match(this, rest)
      const piece = rest.subarray(0, found?.at ?? rest.length)
      rest = rest.subarray(piece.length)
      const fires = found !== undefined && this.#proxy.fires(found.watch)
      if (fires && found.watch.when === 'before') found.watch.act(this.#link)
      this.#remember(piece)
      await this.#write(piece)
      if (fires && found.watch.when === 'after') found.watch.act(this.#link)
    }
  }

  #remember(piece: Buffer): void {
    const shown = JSON.stringify(piece.subarray(0, 300).toString('latin1'))
    this.#proxy.note(`${this.#link.number} ${this.direction} ${piece.length} ${this.#weather.flow ?? ''} ${shown}`)
    this.tail = Buffer.concat([this.tail, piece]).subarray(-1_000)
  }

  async #write(piece: Buffer): Promise<void> {
    const size = this.#weather.sliceBytes ?? piece.length
    for (let at = 0; at < piece.length; at += size) {
      let slice = piece.subarray(at, at + size)
      while (this.#weather.flow === 'hold' && !this.#torn) await this.#change()
      if (this.#weather.flow === 'drop') this.#torn = true
      if (this.#torn) return
      if (slice.length > this.#left) slice = slice.subarray(0, this.#left)
      this.#left -= slice.length
      await new Promise<void>((resolve) => this.#to.write(slice, () => resolve()))
      if (this.#left === 0) return this.#link.rst()
      const { bytesPerSecond, sliceBytes } = this.#weather
      if (bytesPerSecond !== undefined) await this.#wait((slice.length / bytesPerSecond) * 1_000)
      else if (sliceBytes !== undefined) await new Promise((resolve) => setImmediate(resolve))
    }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#changed = resolve
    })
  }

  /** Shorter when the link is cut. */
  async #wait(ms: number): Promise<void> {
    if (ms <= 0 || this.#torn) return
    const until = performance.now() + ms
    while (!this.#torn && performance.now() < until) {
      let timer: NodeJS.Timeout | undefined
      const over = new Promise((resolve) => {
        timer = setTimeout(resolve, until - performance.now())
      })
      await Promise.race([over, this.#change()])
      clearTimeout(timer)
    }
  }
}
