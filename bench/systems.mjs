// @ts-check
// Who is measured: how its worker and its producer are started. Settings and their reasons stand in README.md.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { pythonModules } from './peers.mjs'
import { treeOf } from './process-tree.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const scratch = fileURLToPath(new URL('../.cache/bench/', import.meta.url))
const cli = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))

/**
 * @typedef {{ folder: string, env: NodeJS.ProcessEnv }} Place A fresh folder, and what tells the processes where it and the broker are.
 * @typedef {{ pid: number, startedNs: number, ended: Promise<void>, stop(): Promise<void> }} RunningWorker `ended` rejects unless it ended by itself with 0, or was stopped.
 * @typedef {{ name: string, worker: readonly string[], producer: readonly string[], env: NodeJS.ProcessEnv, broker?: Broker, keepsNothing?: true }} System
 * `broker`: which of ours it stands for; peers are beside all. `keepsNothing`: no result to ask for.
 * @typedef {'redis' | 'sqlite' | 'amqp'} Broker
 */

/** `amqpUrl` is empty when no row of the run needs RabbitMQ. @param {{ python: string, redisUrl: string, amqpUrl: string }} parts */
export function systemsOf({ python, redisUrl, amqpUrl }) {
  const nodeWorker = [process.execPath, join(here, 'celeriac/worker.mjs')]
  const nodeProducer = [process.execPath, join(here, 'celeriac/produce.mjs')]
  const prefork = [process.execPath, cli, '-A', join(here, 'celeriac/tasks.mjs'), 'worker', '-c', '2', '-l', 'warning']
  /** @param {Broker} broker @param {string} label @param {'async' | 'prefork'} pool @param {NodeJS.ProcessEnv} env @returns {System} */
  const celeriac = (broker, label, pool, env) => ({
    name: `celeriac ${pool === 'prefork' ? 'prefork 2' : 'async'}, ${label}`,
    worker: pool === 'prefork' ? prefork : nodeWorker,
    producer: nodeProducer,
    env,
    broker,
  })
  const [normal, full, onRedis] = [{ BENCH_SYNCHRONOUS: 'normal' }, { BENCH_SYNCHRONOUS: 'full' }, { BENCH_BROKER: redisUrl }]
  const preforkRedis = celeriac('redis', 'Redis', 'prefork', onRedis)
  const redis = { BENCH_REDIS: redisUrl }
  const celeryProducer = [python, join(here, 'celery/produce.py')]
  const celeryWorker = [python, '-m', 'celery', '-A', 'bench_tasks', 'worker', '-P', 'prefork', '-c', '2', '-l', 'warning']
  const celeryEnv = { ...redis, PYTHONPATH: `${join(here, 'celery')}:${pythonModules}` }
  /** @param {number} concurrency @returns {System} */
  const bullmq = (concurrency) => ({
    name: `BullMQ c${concurrency}`,
    worker: [process.execPath, join(here, 'bullmq/worker.mjs')],
    producer: [process.execPath, join(here, 'bullmq/produce.mjs')],
    env: { ...redis, BENCH_CONCURRENCY: String(concurrency) },
  })
  const onRabbit = { BENCH_BROKER: amqpUrl, BENCH_BACKEND: redisUrl }
  /** @param {string} label @param {NodeJS.ProcessEnv} env @returns {System} */
  const celeryOnRabbit = (label, env) => ({
    name: `Celery prefork 2, ${label}`,
    worker: celeryWorker,
    producer: celeryProducer,
    env: { ...celeryEnv, BENCH_AMQP: amqpUrl, ...env },
    ...(env.BENCH_IGNORE === undefined ? {} : { keepsNothing: /** @type {const} */ (true) }),
  })
  const ignore = { BENCH_IGNORE: '1' }
  return {
    rabbit: celeriac('amqp', 'RabbitMQ', 'async', onRabbit),
    preforkRabbit: celeriac('amqp', 'RabbitMQ', 'prefork', onRabbit),
    rabbitIgnored: { ...celeriac('amqp', 'RabbitMQ, no results', 'async', { ...onRabbit, ...ignore }), keepsNothing: true },
    rabbitUnconfirmed: celeriac('amqp', 'RabbitMQ, no confirms', 'async', { ...onRabbit, BENCH_UNCONFIRMED: '1' }),
    rabbitRpc: celeriac('amqp', 'RabbitMQ, rpc://', 'async', { ...onRabbit, BENCH_BACKEND: 'rpc://' }),
    rawRabbit: {
      name: 'amqplib, raw loop, no results',
      worker: [process.execPath, join(here, 'raw/rabbit-worker.mjs')],
      producer: nodeProducer,
      env: onRabbit,
      broker: 'amqp',
      keepsNothing: true,
    },
    celeryRabbit: celeryOnRabbit('RabbitMQ', {}),
    celeryRabbitIgnored: celeryOnRabbit('RabbitMQ, no results', ignore),
    celeryRabbitConfirmed: celeryOnRabbit('RabbitMQ, confirms', { BENCH_CONFIRMED: '1' }),
    normal: celeriac('sqlite', 'NORMAL', 'async', normal),
    full: celeriac('sqlite', 'FULL', 'async', full),
    preforkNormal: celeriac('sqlite', 'NORMAL', 'prefork', normal),
    preforkFull: celeriac('sqlite', 'FULL', 'prefork', full),
    redis: celeriac('redis', 'Redis', 'async', onRedis),
    redisEvents: celeriac('redis', 'Redis, events on', 'async', { ...onRedis, BENCH_EVENTS: '1' }),
    redisMetrics: celeriac('redis', 'Redis, Prometheus metrics', 'async', { ...onRedis, BENCH_METRICS: '1' }),
    redisTraced: celeriac('redis', 'Redis, OpenTelemetry spans and metrics', 'async', { ...onRedis, BENCH_TRACES: '1' }),
    preforkRedis,
    preforkRedisOne: {
      ...preforkRedis,
      name: `${preforkRedis.name}, strictly one`,
      worker: [...preforkRedis.worker, '-O', 'fair'],
    },
    raw: {
      name: 'ioredis, raw loop',
      worker: [process.execPath, join(here, 'raw/worker.mjs')],
      producer: nodeProducer,
      env: { ...redis, ...onRedis },
      broker: 'redis',
    },
    celery: { name: 'Celery prefork 2', worker: celeryWorker, producer: celeryProducer, env: celeryEnv },
    celeryTuned: {
      name: 'Celery tuned',
      worker: [...celeryWorker, '-O', 'fair', '--without-gossip', '--without-mingle', '--without-heartbeat'],
      producer: celeryProducer,
      env: { ...celeryEnv, BENCH_TUNED: '1' },
      keepsNothing: true,
    },
    bullmq1: bullmq(1),
    bullmq50: bullmq(50),
    bullmq100: bullmq(100),
    bee50: {
      name: 'bee-queue c50',
      worker: [process.execPath, join(here, 'bee-queue/worker.mjs')],
      producer: [process.execPath, join(here, 'bee-queue/produce.mjs')],
      env: { ...redis, BENCH_CONCURRENCY: '50' },
      keepsNothing: true,
    },
  }
}

/** A fresh folder (and so a fresh embedded database) for one measurement, removed after it. @template T @param {System} system @param {(place: Place) => Promise<T>} work */
export async function inPlace(system, work) {
  // On the disk of the checkout: a temporary folder may be memory, where a commit costs nothing.
  mkdirSync(scratch, { recursive: true })
  const folder = mkdtempSync(join(scratch, 'run-'))
  const file = `sqlite://${folder}/queue.db?synchronous=${system.env.BENCH_SYNCHRONOUS ?? 'normal'}`
  try {
    return await work({ folder, env: { ...process.env, BENCH_BROKER: file, ...system.env, BENCH_FOLDER: folder } })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** @type {Set<() => void>} */
const killers = new Set()
process.once('exit', () => {
  for (const kill of killers) kill()
})

/** @param {System} system @param {Place} place @param {NodeJS.ProcessEnv} [extra] @returns {RunningWorker} */
export function startWorker({ worker }, { env, folder }, extra = {}) {
  const [command = '', ...args] = worker
  const startedNs = Number(process.hrtime.bigint())
  const child = spawn(command, args, { env: { ...env, ...extra }, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
  let errors = ''
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors = (errors + text).slice(-4000)
  })
  let isStopping = false
  const pid = child.pid ?? 0
  const gone = once(child, 'exit').then(([code, signal]) => {
    if (!isStopping && code !== 0) throw new Error(`the worker ended by itself (${code ?? signal}): ${errors}`)
  })
  // Told to whoever stops it; a worker that died shows as tasks that do not run.
  gone.catch((error) => process.stderr.write(`${error.message}\n`))
  const killTree = () => {
    for (const each of treeOf(pid)) kill(each, 'SIGKILL')
  }
  killers.add(killTree)
  child.once('exit', () => killers.delete(killTree))
  return {
    pid,
    startedNs,
    ended: gone,
    async stop() {
      isStopping = true
      const tree = treeOf(pid)
      kill(pid, 'SIGTERM')
      const hard = setTimeout(() => {
        for (const each of tree) kill(each, 'SIGKILL')
      }, 3_000)
      await gone.catch(() => undefined)
      clearTimeout(hard)
      killers.delete(killTree)
    },
  }
}

/** Runs the producer to its end. @param {System} system @param {Place} place @param {readonly (string | number)[]} what @returns {Promise<any>} */
export async function produce({ producer, name }, { env, folder }, what) {
  const [command = '', ...args] = producer
  const child = spawn(command, [...args, ...what.map(String)], { env, cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  let errors = ''
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text
  })
  child.stderr.setEncoding('utf8').on('data', (text) => {
    errors += text
  })
  const killer = () => kill(child.pid ?? 0, 'SIGKILL')
  killers.add(killer)
  const [code] = await once(child, 'close')
  killers.delete(killer)
  if (code !== 0) throw new Error(`the producer of ${name} (${what.join(' ')}) failed: ${errors}`)
  return JSON.parse(output.trim().split('\n').at(-1) ?? '{}')
}

/** @param {number} pid @param {NodeJS.Signals} signal */
function kill(pid, signal) {
  if (pid === 0) return
  try {
    process.kill(pid, signal)
  } catch {
    // It has ended.
  }
}
