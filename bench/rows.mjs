// @ts-check
// What is measured. A row runs one variant once and gives its numbers; run.mjs alternates the variants and compares.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { beatIdleRow } from './beat-idle.mjs'
import { cpuMicrosOf, memoryOf } from './process-tree.mjs'
import { marksOf, stampsOf, total } from './read-marks.mjs'
import { inPlace, produce, startWorker } from './systems.mjs'

/** @typedef {import('./systems.mjs').System} System */
/** @typedef {import('./systems.mjs').Place} Place */
/** @typedef {(...command: string[]) => Promise<unknown>} Ask One question to the Redis server of the run. */
/** @typedef {ReturnType<typeof import('./systems.mjs').systemsOf>} Systems */
/**
 * @typedef {Record<string, number>} Numbers
 * @typedef {{ name: string, label: string, broker: System['broker'], run(): Promise<Numbers> }} Variant
 * @typedef {{ name: string, title: string, bases: readonly string[], variants: readonly Variant[] }} Row `bases`: whose numbers the others are divided by.
 */

const deadlineMs = 120_000

/** @param {Systems} systems @param {{ quick: boolean, redis: { url: string, pid: number, ask: Ask } }} options @returns {readonly Row[]} */
export function rowsOf(systems, { quick, redis }) {
  const few = quick ? 0.2 : 1
  /** @param {keyof Systems} name @param {(system: System) => Promise<Numbers>} run @returns {Variant} */
  const variant = (name, run) => ({ name, label: systems[name].name, broker: systems[name].broker, run: () => run(systems[name]) })
  /** @param {readonly (keyof Systems)[]} names @param {(system: System) => Promise<Numbers>} run */
  const variants = (names, run) => names.map((name) => variant(name, run))
  /** @param {number} count @param {keyof Systems} name */
  const noOp = (name, count) => variant(name, (system) => bulk(system, 'add', count * few, { serverPid: serverPidOf(system) }))
  /** The server whose work is the system's, too. Undefined: there is none, or RabbitMQ beside it. @param {System} system */
  const serverPidOf = ({ env }) => {
    const places = Object.values(env)
    return places.includes(redis.url) && !places.some((place) => place?.startsWith('amqp')) ? redis.pid : undefined
  }
  /** @param {keyof Systems} name @param {'awaited' | 'concurrent' | 'bulk'} how @param {number} count @returns {Variant} */
  const enqueue = (name, how, count) => ({
    name: `${name} ${how}`,
    broker: systems[name].broker,
    label: `${producerOf(systems[name])} ${how === 'concurrent' ? '100 concurrent' : how === 'bulk' ? 'addBulk of 100' : 'awaited one by one'}`,
    run: () => inPlace(systems[name], (place) => produce(systems[name], place, ['enqueue', how, count * few])),
  })
  return [
    {
      name: 'end-to-end',
      title: 'No-op with results: N preloaded, first to last run',
      bases: ['celery', 'bullmq50'],
      variants: [
        noOp('normal', 20_000),
        noOp('redis', 20_000),
        noOp('raw', 40_000),
        noOp('bullmq50', 20_000),
        noOp('celery', 3_000),
        noOp('full', 20_000),
        noOp('bullmq100', 20_000),
        noOp('celeryTuned', 3_000),
        noOp('preforkRedis', 10_000),
        noOp('preforkRedisOne', 5_000),
        noOp('bee50', 20_000),
        noOp('preforkNormal', 10_000),
        noOp('preforkFull', 10_000),
        noOp('bullmq1', 5_000),
      ],
    },
    {
      name: 'events',
      title: 'What it costs to be watched: no-ops with results on Redis, nobody listens',
      bases: ['redis'],
      variants: [noOp('redis', 20_000), noOp('redisEvents', 20_000), noOp('redisMetrics', 20_000), noOp('redisTraced', 20_000)],
    },
    {
      name: 'rabbit',
      title: 'No-op on RabbitMQ, results in Redis or none: N preloaded, first to last run',
      bases: ['celeryRabbit', 'celeryRabbitIgnored', 'rawRabbit'],
      variants: [
        noOp('rabbit', 20_000),
        noOp('celeryRabbit', 3_000),
        noOp('rabbitIgnored', 20_000),
        noOp('celeryRabbitIgnored', 3_000),
        noOp('rawRabbit', 40_000),
        noOp('preforkRabbit', 10_000),
      ],
    },
    {
      name: 'rabbit-enqueue',
      title: 'Sending to RabbitMQ',
      bases: ['celeryRabbit awaited', 'celeryRabbitConfirmed awaited'],
      variants: [
        enqueue('rabbit', 'concurrent', 20_000),
        enqueue('rabbitUnconfirmed', 'concurrent', 20_000),
        enqueue('rabbitRpc', 'concurrent', 20_000),
        enqueue('rabbit', 'awaited', 3_000),
        enqueue('celeryRabbit', 'awaited', 3_000),
        enqueue('celeryRabbitConfirmed', 'awaited', 2_000),
      ],
    },
    {
      name: 'enqueue',
      title: 'Sending',
      bases: ['celery awaited', 'bullmq50 awaited', 'bullmq50 bulk'],
      variants: [
        enqueue('normal', 'awaited', 5_000),
        enqueue('redis', 'awaited', 5_000),
        enqueue('bullmq50', 'awaited', 5_000),
        enqueue('celery', 'awaited', 3_000),
        enqueue('full', 'awaited', 3_000),
        enqueue('normal', 'concurrent', 20_000),
        enqueue('redis', 'concurrent', 20_000),
        enqueue('bullmq50', 'concurrent', 10_000),
        enqueue('full', 'concurrent', 20_000),
        enqueue('bullmq50', 'bulk', 20_000),
      ],
    },
    {
      name: 'latency',
      title: 'From before `delay()` to the start of the task, idle worker',
      bases: ['celery', 'bullmq1'],
      variants: variants(['normal', 'redis', 'celery', 'bullmq1', 'preforkNormal', 'preforkRedis', 'full', 'bullmq50'], (system) =>
        latency(system, quick ? 25 : 65),
      ),
    },
    {
      name: 'start',
      title: 'Start-up (spawn to first task run) and idle memory of the worker with its processes',
      bases: ['celery', 'bullmq1'],
      variants: variants(['normal', 'redis', 'celery', 'bullmq1', 'preforkNormal', 'preforkRedis', 'celeryTuned'], start),
    },
    {
      name: 'cpu',
      title: '5 ms of CPU each, two processes (ideal on two free CPUs: 400/s)',
      bases: ['celery', 'plain'],
      variants: [
        { name: 'plain', label: 'two plain loops, no queue', broker: undefined, run: () => plainLoops(systems.normal, 600 * few) },
        ...variants(['preforkNormal', 'preforkRedis', 'celery', 'celeryTuned'], (system) => bulk(system, 'cpu', 600 * few, { ideal: 400 })),
      ],
    },
    {
      name: 'sleep',
      title: '10 ms of waiting each, 100 at a time (ideal 10,000/s)',
      bases: ['bullmq100'],
      variants: variants(['normal', 'redis', 'bullmq100'], (system) => bulk(system, 'wait', 10_000 * few, { ideal: 10_000 })),
    },
    {
      name: 'eta',
      title: 'Tasks for later: how fast a worker takes them over, and what each costs its memory',
      bases: ['celery'],
      variants: [
        variant('redis', (system) => takeOver(system, quick ? 20_000 : 100_000, redis.ask)),
        variant('celery', (system) => takeOver(system, quick ? 2_000 : 20_000, redis.ask)),
      ],
    },
    {
      name: 'late',
      title: '1,000 tasks for later, due over 5 s: how late they start',
      bases: ['celery'],
      variants: variants(['redis', 'preforkRedis', 'celery', 'bullmq1', 'bullmq50'], lateness),
    },
    {
      name: 'chord',
      title: 'A chord of 1,000 no-ops: from before it is sent to the result of its body',
      bases: ['celery', 'bullmq50'],
      variants: variants(['redis', 'normal', 'celery', 'bullmq50', 'preforkRedis', 'preforkNormal'], (system) => chordOf(system, 1_000, 3)),
    },
    {
      name: 'chord-size',
      title: 'Chords of 10 to 100,000 no-ops: what each member costs',
      bases: [],
      variants: /** @type {const} */ (['redis', 'normal']).flatMap((name) =>
        (quick ? [10, 1_000] : [10, 100, 1_000, 10_000, 100_000]).map((count) => ({
          ...variant(name, (system) => chordOf(system, count, Math.max(1, 1_000 / count))),
          name: `${name} ${count}`,
          label: `${systems[name].name}, ${count.toLocaleString('en')}`,
        })),
      ),
    },
    {
      name: 'fairness',
      title: 'Two workers on one file',
      bases: [],
      variants: /** @type {const} */ (['full', 'normal']).map((name) => ({
        ...variant(name, (system) => fairness(system, 20_000 * few)),
        label: `2 x ${systems[name].name}`,
      })),
    },
    beatIdleRow(systems.normal),
  ]
}

/** The producer does not depend on the pool. @param {System} system */
function producerOf({ name }) {
  return name.replace(/ c\d+| prefork 2| async/, '')
}

/** @param {System} system @param {'add' | 'cpu' | 'wait'} kind @param {number} count @param {{ ideal?: number, serverPid?: number | undefined }} [options] @returns {Promise<Numbers>} */
function bulk(system, kind, count, { ideal, serverPid } = {}) {
  return inPlace(system, async (place) => {
    const { last } = await produce(system, place, ['preload', kind, count])
    const worker = startWorker(system, place)
    try {
      await ran(place, 1)
      const before = { cpu: cpuMicrosOf(worker.pid), server: serverCpu(serverPid), count: total(marksOf(place.folder)).count }
      await ran(place, count)
      // What the last tasks left to be stored and acknowledged belongs to the work.
      await sleep(200)
      const [cpu, server] = [cpuMicrosOf(worker.pid), serverCpu(serverPid)]
      const memory = memoryOf(worker.pid)
      if (system.keepsNothing !== true) await produce(system, place, ['verify', last])
      const { firstNs, lastNs } = total(marksOf(place.folder))
      const perSecond = (count - 1) / ((lastNs - firstNs) / 1e9)
      return {
        perSecond,
        ...(ideal === undefined ? {} : { ofIdeal: perSecond / ideal }),
        ...(cpu === undefined || before.cpu === undefined
          ? {}
          : {
              cpuMicros: (cpu - before.cpu) / (count - before.count),
              allCpuMicros: (cpu - before.cpu + server - before.server) / (count - before.count),
            }),
        ...(memory === undefined ? {} : { rssMb: memory.rssMb }),
      }
    } finally {
      await worker.stop()
    }
  })
}

/** 0 when all work is done in the worker. @param {number | undefined} pid */
function serverCpu(pid) {
  return pid === undefined ? 0 : (cpuMicrosOf(pid) ?? 0)
}

/** The same work without a queue: what the machine, as busy as it is, lets anybody reach. @param {System} system @param {number} count @returns {Promise<Numbers>} */
function plainLoops(system, count) {
  return inPlace(system, async (place) => {
    const loop = { ...system, worker: [process.execPath, fileURLToPath(new URL('plain.mjs', import.meta.url)), String(count / 2)] }
    const workers = [startWorker(loop, place), startWorker(loop, place)]
    await Promise.all(workers.map((worker) => worker.ended))
    const { count: ran, firstNs, lastNs } = total(marksOf(place.folder))
    const perSecond = (ran - 1) / ((lastNs - firstNs) / 1e9)
    return { perSecond, ofIdeal: perSecond / 400 }
  })
}

/** @param {System} system @param {number} samples @returns {Promise<Numbers>} */
function latency(system, samples) {
  return inPlace(system, async (place) => {
    await produce(system, place, ['preload', 'add', 1])
    const worker = startWorker(system, place)
    try {
      await ran(place, 1)
      await sleep(500)
      await produce(system, place, ['latency', samples, 50])
      await stamped(place, samples, 5_000)
      return waitsOf(place)
    } finally {
      await worker.stop()
    }
  })
}

/** @param {System} system @returns {Promise<Numbers>} */
function lateness(system) {
  return inPlace(system, async (place) => {
    await produce(system, place, ['preload', 'add', 1])
    const worker = startWorker(system, place)
    try {
      await ran(place, 1)
      // The slowest sender needs some seconds for all of them.
      const beginMs = 6_000
      const [count, overMs] = [1_000, 5_000]
      await produce(system, place, ['later', count, beginMs, overMs])
      await stamped(place, count, beginMs + overMs + 5_000)
      return waitsOf(place)
    } finally {
      await worker.stop()
    }
  })
}

/** @param {System} system @param {number} count @param {Ask} ask @returns {Promise<Numbers>} */
function takeOver(system, count, ask) {
  return inPlace(system, async (place) => {
    await produce(system, place, ['preload', 'add', 1])
    const idle = startWorker(system, place)
    await ran(place, 1)
    await sleep(1_000)
    const before = memoryOf(idle.pid)
    await idle.stop()
    await produce(system, place, ['later', count, 3_600_000, 0])
    const waiting = async () => Number(await ask('LLEN', 'celery'))
    const worker = startWorker(system, place)
    try {
      const began = await when(async () => (await waiting()) < count)
      const left = await waiting()
      const ended = await when(async () => (await waiting()) === 0)
      await sleep(1_000)
      const after = memoryOf(worker.pid)
      return {
        perSecond: (left / (ended - began)) * 1000,
        ...(before === undefined || after === undefined ? {} : { bytesATask: ((after.rssMb - before.rssMb) * 2 ** 20) / count }),
      }
    } finally {
      await worker.stop()
    }
  })
}

/** @param {System} system @param {number} count @param {number} times @returns {Promise<Numbers>} */
function chordOf(system, count, times) {
  return inPlace(system, async (place) => {
    await produce(system, place, ['preload', 'add', 1])
    const worker = startWorker(system, place)
    try {
      await ran(place, 1)
      await sleep(500)
      const { ms, producerMb } = await produce(system, place, ['chord', count, times])
      const memory = memoryOf(worker.pid)
      return { chordMs: ms, microsEach: (ms * 1000) / count, producerMb, ...(memory === undefined ? {} : { rssMb: memory.rssMb }) }
    } finally {
      await worker.stop()
    }
  })
}

/** @param {System} system @returns {Promise<Numbers>} */
function start(system) {
  return inPlace(system, async (place) => {
    await produce(system, place, ['preload', 'add', 1])
    const worker = startWorker(system, place)
    try {
      await ran(place, 1)
      const { firstNs } = total(marksOf(place.folder))
      await sleep(2_000)
      const memory = memoryOf(worker.pid)
      return {
        startMs: (firstNs - worker.startedNs) / 1e6,
        ...(memory === undefined ? {} : { rssMb: memory.rssMb, pssMb: memory.pssMb, processes: memory.processes }),
      }
    } finally {
      await worker.stop()
    }
  })
}

/** @param {System} system @param {number} count @returns {Promise<Numbers>} */
function fairness(system, count) {
  return inPlace(system, async (place) => {
    await produce(system, place, ['preload', 'add', count])
    const go = join(place.folder, 'go')
    const workers = [startWorker(system, place, { BENCH_GO: go }), startWorker(system, place, { BENCH_GO: go })]
    try {
      await sleep(1_500)
      writeFileSync(go, '')
      await ran(place, count)
      const marks = marksOf(place.folder)
      const counts = marks.map((each) => each.count)
      const { firstNs, lastNs } = total(marks)
      return {
        share: marks.length < workers.length ? 0 : Math.min(...counts) / Math.max(...counts),
        worstMs: Math.max(...marks.map(({ gapNs }) => gapNs)) / 1e6,
        perSecond: (count - 1) / ((lastNs - firstNs) / 1e9),
      }
    } finally {
      await Promise.all(workers.map((worker) => worker.stop()))
    }
  })
}

/** Settles when so many tasks have run. Looks seldom, since this process shares the CPUs. @param {Place} place @param {number} count */
async function ran({ folder }, count) {
  const end = performance.now() + deadlineMs
  for (;;) {
    const found = total(marksOf(folder)).count
    if (found >= count) return
    if (performance.now() > end) throw new Error(`${found} of ${count} tasks ran in ${deadlineMs / 1000} s`)
    await sleep(count === 1 ? 5 : 20)
  }
}

/** Settles when so many tasks have told how long they waited, or some are missing for long. @param {Place} place @param {number} count @param {number} atMostMs */
async function stamped({ folder }, count, atMostMs) {
  const end = performance.now() + atMostMs
  while (stampsOf(folder).flat().length < count && performance.now() < end) await sleep(100)
}

/** The first ones warm the producer and each process up. @param {Place} place @returns {Numbers} */
function waitsOf({ folder }) {
  const waits = stampsOf(folder)
    .flatMap((each) => each.slice(5))
    .sort((a, b) => a - b)
  return { p50Ms: quantile(waits, 0.5), p99Ms: quantile(waits, 0.99) }
}

/** The time (ms) at which it was first so. @param {() => Promise<boolean>} isSo */
async function when(isSo) {
  const end = performance.now() + deadlineMs
  while (!(await isSo())) {
    if (performance.now() > end) throw new Error(`nothing happened in ${deadlineMs / 1000} s`)
    await sleep(2)
  }
  return performance.now()
}

/** @param {readonly number[]} sorted @param {number} part */
function quantile(sorted, part) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}
