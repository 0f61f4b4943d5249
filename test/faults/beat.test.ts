/** Beats that are killed, stopped and cut off (reliability.md B.10): each time that was due is sent once, and none is left out. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import { firingId } from '../../dist/beat/due.js'
import { openScheduleStore } from '../../dist/beat/stores/index.js'
import { Celeriac } from '../../dist/index.js'
import { systemClock } from '../../dist/internal/clock.js'
import { needs } from '../../scripts/needs.mjs'
import { startRedis } from '../../scripts/services.mjs'
import { until } from '../conformance/wait.js'
import { BeatProcess } from '../harness/beat-process.js'
import { FaultProxy } from '../harness/fault-proxy.js'
import { statementTest } from '../harness/fault-test.js'
import { virtualHost, withoutRabbit } from '../rabbit.js'

const app = fileURLToPath(new URL('fixtures/beat-app.mjs', import.meta.url))
const leaseMs = 2_000

/** The entries of the app, and their periods. */
const periods: Readonly<Record<string, number>> = { tick: 500, quick: 200, clock: 1_000, stopper: 500 }

class BeatScene implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'celeriac-beat-'))
  readonly beats: BeatProcess[] = []
  readonly stopFile = join(this.folder, 'stop')
  readonly #dispose: (() => Promise<void>)[] = []
  broker = `sqlite://${this.folder}/queue.db`
  store = this.broker
  hasStopper = false

  static async open(kind: 'sqlite' | 'redis' | 'file' | 'rabbitmq'): Promise<BeatScene> {
    const scene = new BeatScene()
    // The store stays a file: RabbitMQ can keep none.
    if (kind === 'rabbitmq') scene.broker = (await virtualHost()).url
    if (kind === 'file') scene.store = `file://${scene.folder}/schedules.json`
    if (kind === 'redis') {
      const server = await startRedis()
      scene.#dispose.push(() => server.stop())
      scene.broker = server.url
      scene.store = server.url
    }
    return scene
  }

  start(env: Readonly<Record<string, string>> = {}): BeatProcess {
    const beat = new BeatProcess({
      app,
      folder: this.folder,
      args: ['--lease', `${leaseMs}ms`],
      env: {
        CELERIAC_BROKER_URL: this.broker,
        CELERIAC_BEAT_STORE: this.store,
        ...(this.hasStopper ? { STOP_FILE: this.stopFile } : {}),
        ...env,
      },
    })
    this.beats.push(beat)
    return beat
  }

  /** The one that has sent something last: a loaded machine may let the lead pass on by itself. */
  async leader(): Promise<BeatProcess> {
    const sending = (): BeatProcess[] => this.beats.filter(({ isRunning, lastSentMs }) => isRunning && lastSentMs !== undefined)
    await this.#until(() => sending().length > 0, 'a beat sends')
    const [leader] = sending().sort((a, b) => (b.lastSentMs ?? 0) - (a.lastSentMs ?? 0))
    if (leader === undefined) throw new Error('nobody leads')
    return leader
  }

  /** How often one beat has taken over from another. */
  get takeOvers(): number {
    return this.beats.reduce((sum, { led }) => sum + led, 0) - 1
  }

  /** How long it took until another led, from now on. */
  async nextLeader(): Promise<number> {
    const before = this.beats.reduce((sum, { led }) => sum + led, 0)
    const fromMs = performance.now()
    await this.#until(() => this.beats.reduce((sum, { led }) => sum + led, 0) > before, 'another beat leads')
    return performance.now() - fromMs
  }

  /** Until this much has been sent by whoever. */
  async sent(count: number): Promise<void> {
    const target = (await this.ids()).length + count
    await this.#until(async () => (await this.ids()).length >= target, `${count} more messages`)
  }

  /** The ids of the messages that wait, in no order: as many as there must be, at least. */
  async ids(least = 0): Promise<string[]> {
    const shop = new Celeriac('reader', { brokerUrl: this.broker })
    try {
      const { connections, routes } = Celeriac.internals(shop).core
      const connection = await connections.connect()
      // The first beat may not have come to it.
      await connection.declare(routes.topology('celery'))
      const ids: string[] = []
      try {
        const size = await connection.size('celery')
        const consumer = await connection.consume({
          queues: ['celery'],
          prefetch: 100_000,
          onDeliveries: (deliveries) => void ids.push(...deliveries.map(({ message }) => String(message.headers.id))),
        })
        // One that came twice stands for no other.
        const count = Math.max(size, least)
        await until(() => ids.length >= count && new Set(ids).size >= least, `${count} messages`, 20_000)
        await consumer.cancel()
      } finally {
        // Gives them back.
        await connection.close()
      }
      return ids
    } finally {
      await shop.close()
    }
  }

  /** Ends every beat; then each time of each entry, from its first to its last, must have been sent once (of each entry `again` at most twice), and nothing else. */
  async verdict({ again = () => 0 }: { readonly again?: (entry: string) => number } = {}): Promise<void> {
    for (const beat of this.beats) await beat.end()
    const store = await openScheduleStore(this.store, { app: 'beats', clock: systemClock, log: console })
    try {
      const entries = await store.entries(0)
      // RabbitMQ takes a moment to give back what a reader had.
      const ids = await this.ids(entries.reduce((sum, { data }) => sum + JSON.parse(data ?? '').state.runs, 0))
      const left = new Set(ids)
      for (const { name, data } of entries) {
        const { lastDueMs } = JSON.parse(data ?? '').state
        const period = periods[name] ?? 0
        const sent = new Set<string>()
        for (let due = lastDueMs; ; due -= period) {
          const id = firingId(store.id, name, due, 0)
          if (!left.delete(id)) break
          sent.add(id)
        }
        expect(sent.size, `${name} was never sent`).toBeGreaterThan(0)
        const more = ids.filter((id) => sent.has(id)).length - sent.size
        expect(more, `messages of ${name} that were published twice, after ${this.takeOvers} take-overs`).toBeLessThanOrEqual(again(name))
      }
      expect([...left], 'messages that belong to no time in a row').toEqual([])
    } finally {
      await store.close()
    }
  }

  async #until(claim: () => boolean | Promise<boolean>, what: string): Promise<void> {
    try {
      await until(claim, what, 40_000)
    } catch (error) {
      throw new Error(`${error instanceof Error ? error.message : error}\n${this.#said()}`)
    }
  }

  #said(): string {
    return this.beats.map(({ pid, output }) => `--- ${pid}\n${output.slice(-1_500)}`).join('\n')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const beat of this.beats) await beat.end('SIGKILL')
    for (const dispose of this.#dispose.reverse()) await dispose()
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** The beat that leads stops itself in the middle of a turn, and goes on when another has led for a while. */
async function stopInTurn(scene: BeatScene): Promise<void> {
  scene.hasStopper = true
  const first = scene.start()
  await first.says('beat: leading')
  await until(() => first.lastSentMs !== undefined, 'it sends')
  const second = scene.start()
  await second.says('beat: following')
  const next = scene.nextLeader()
  // It stops itself between its look at the lease and its publish.
  writeFileSync(scene.stopFile, '')
  await next
  const sentBefore = first.log().length
  await new Promise((resolve) => setTimeout(resolve, leaseMs))
  first.signal('SIGCONT')
  await first.says('beat: another beat leads now')
  await until(() => first.log().length > sentBefore, 'it goes on')
  await scene.sent(5)
}

/** The beat that leads is killed when it has sent and not written it down, the fifth time that it sends. */
async function killBeforeSave(scene: BeatScene): Promise<void> {
  const first = scene.start({ CELERIAC_FAILPOINTS: 'beat.after_publish_before_save=kill9@5' })
  await first.says('beat: leading')
  await first.exited
  const second = scene.start()
  await second.says('beat: leading')
  await scene.sent(10)
  expect(second.output).not.toContain('could not be sent')
}

const drivers = needs.redis?.find() === undefined ? (['sqlite', 'file'] as const) : (['sqlite', 'redis', 'file'] as const)

// Two of the stores; the conformance suite of stores has the lease of the third.
for (const driver of drivers.filter((name) => name !== 'file')) {
  statementTest(
    {
      id: 'B1',
      driver,
      promise:
        'of five beats the one that leads is killed, three times: another sends when its lease is over, each time that was due is sent once',
    },
    async () => {
      await using scene = await BeatScene.open(driver)
      for (let count = 0; count < 5; count++) scene.start()
      for (let kill = 0; kill < 3; kill++) {
        const leader = await scene.leader()
        await Promise.all(scene.beats.filter(({ isRunning }) => isRunning).map((beat) => beat.says('beat: ')))
        const next = scene.nextLeader()
        leader.signal('SIGKILL')
        await next
      }
      await scene.sent(10)
      await scene.verdict()
    },
  )
}

for (const driver of drivers.filter((name) => name !== 'file')) {
  statementTest(
    {
      id: 'B2',
      driver,
      promise: 'a beat that leads is stopped in the middle of a turn for twice its lease: what it sends when it goes on does not pass',
    },
    async () => {
      await using scene = await BeatScene.open(driver)
      await stopInTurn(scene)
      await scene.verdict()
    },
  )

  statementTest(
    {
      id: 'B.15',
      driver,
      promise: 'kill -9 at beat.after_publish_before_save: nothing is sent twice, and nothing is left out',
    },
    async () => {
      await using scene = await BeatScene.open(driver)
      await killBeforeSave(scene)
      await scene.verdict()
    },
  )
}

if (drivers.length === 3) {
  statementTest(
    {
      id: 'B3',
      driver: 'redis',
      promise: 'the store cannot be reached by the beat that leads, for twice its lease: it stops by its own clock before another begins',
    },
    async () => {
      await using scene = await BeatScene.open('redis')
      await using proxy = await FaultProxy.to(Number(new URL(scene.store).port))
      // Only its store is behind the proxy: it could publish all the time.
      const first = scene.start({ CELERIAC_BEAT_STORE: proxy.url(scene.store) })
      await first.says('beat: leading')
      await until(() => first.lastSentMs !== undefined, 'it sends')
      const second = scene.start()
      await second.says('beat: following')
      proxy.set({ up: { flow: 'hold' }, down: { flow: 'hold' } })
      const cutMs = Date.now()
      await second.says('beat: leading')
      const tookOverMs = Date.now()
      await until(() => Date.now() - cutMs > 2 * leaseMs, 'twice the lease')
      expect(first.lastSentMs ?? 0).toBeLessThan(Math.min(tookOverMs, cutMs + leaseMs))
      proxy.set({ up: { flow: 'pass' }, down: { flow: 'pass' } })
      proxy.rst()
      await first.says('beat: following')
      await scene.sent(5)
      await scene.verdict()
    },
  )
}

const noRabbit = withoutRabbit()
if (noRabbit === false) {
  statementTest(
    {
      id: 'B1',
      driver: 'rabbitmq',
      promise:
        'of three beats the one that leads is killed: another goes on when its lease is over, no time is left out, and of each entry one comes twice at most, with one id',
    },
    async () => {
      await using scene = await BeatScene.open('rabbitmq')
      for (let count = 0; count < 3; count++) scene.start()
      const leader = await scene.leader()
      await Promise.all(scene.beats.map((beat) => beat.says('beat: ')))
      const next = scene.nextLeader()
      leader.signal('SIGKILL')
      await next
      await scene.sent(10)
      await scene.verdict({ again: () => scene.takeOvers })
    },
  )

  statementTest(
    {
      id: 'B2',
      driver: 'rabbitmq',
      promise:
        'a beat that leads is stopped in the middle of a turn for twice its lease: what it was about to send it does not send when it goes on',
    },
    async () => {
      await using scene = await BeatScene.open('rabbitmq')
      await stopInTurn(scene)
      // The others may have been sent, and not written down.
      await scene.verdict({ again: (entry) => (entry === 'stopper' ? 0 : scene.takeOvers) })
    },
  )

  statementTest(
    {
      id: 'B.15',
      driver: 'rabbitmq',
      promise: 'kill -9 at beat.after_publish_before_save: nothing is left out, and of each entry one comes twice at most, with one id',
    },
    async () => {
      await using scene = await BeatScene.open('rabbitmq')
      await killBeforeSave(scene)
      await scene.verdict({ again: () => scene.takeOvers })
    },
  )
}
