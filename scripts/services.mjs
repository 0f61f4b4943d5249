// @ts-check
// Servers for tests and benchmarks: each on a free port of its own, with its data in a folder of its own, gone when it is stopped or its starter ends.
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { needs } from './needs.mjs'

/**
 * @typedef {object} RedisOptions
 * @property {number} [deadlineMs]
 * @property {string} [password]
 * @property {boolean} [appendonly] Keep what was written over a kill of the server (`appendfsync everysec`). Off by default.
 * @property {number} [replicaOf] The port of another server here.
 * @property {string} [folder] Where its data goes; it is not removed. By default a folder of its own, gone with it.
 * @property {readonly string[]} [args] Further arguments of the server: `['--maxmemory', '3mb']`.
 */

/** @param {RedisOptions} [options] */
export async function startRedis({ deadlineMs = 10_000, password, appendonly = false, replicaOf, folder: given, args: more = [] } = {}) {
  const port = await freePort()
  const folder = given ?? ownFolder('redis')
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', appendonly ? 'yes' : 'no']
  if (password !== undefined) args.push('--requirepass', password, '--masterauth', password)
  if (replicaOf !== undefined) args.push('--replicaof', `127.0.0.1 ${replicaOf}`, '--repl-diskless-sync-delay', '0')
  args.push(...more)
  const launch = async () => {
    const service = startService(redisCommand(), args, given === undefined ? folder : undefined)
    // A server with a password answers, too: that it wants it.
    await service.ready(() => answers(port, 'PING\r\n', /^(\+PONG|-NOAUTH)/), deadlineMs)
    return service
  }
  let service = await launch()
  const flush = async () => {
    if (!(await answers(port, 'FLUSHALL\r\n', /^\+OK/))) throw new Error('redis-server did not empty itself')
  }
  return {
    url: `redis://${password === undefined ? '' : `:${encodeURIComponent(password)}@`}127.0.0.1:${port}/0`,
    port,
    folder,
    get pid() {
      return service.pid
    },
    flush,
    /** kill -9; what it has written to its folder stays. */
    kill: () => service.kill(),
    /** After `kill`: the same port, folder and options. */
    async restart() {
      service = await launch()
    },
    stop: () => service.stop(),
  }
}

/** A Redis Sentinel that alone decides, within about a second, who of `main` and its replicas is the primary. @param {{ port: number, name?: string, deadlineMs?: number }} main */
export async function startSentinel({ port: mainPort, name = 'main', deadlineMs = 10_000 }) {
  const port = await freePort()
  const folder = ownFolder('sentinel')
  const file = join(folder, 'sentinel.conf')
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${folder}`,
    `sentinel monitor ${name} 127.0.0.1 ${mainPort} 1`,
    `sentinel down-after-milliseconds ${name} 500`,
    `sentinel failover-timeout ${name} 2000`,
  ]
  writeFileSync(file, `${lines.join('\n')}\n`)
  const service = startService(redisCommand(), [file, '--sentinel'], folder)
  await service.ready(() => answers(port, 'PING\r\n', /^\+PONG/), deadlineMs)
  return { port, name, pid: service.pid, stop: service.stop }
}

function redisCommand() {
  const command = needs.redis?.find()
  if (command === undefined) throw new Error('redis-server is not installed: node scripts/install.mjs --test')
  return command
}

/** @param {string} command @param {string[]} args @param {string | undefined} folder Removed when it is stopped. */
function startService(command, args, folder) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8')
    stream.on('data', (text) => {
      output = (output + text).slice(-4000)
    })
  }
  const ended = new Promise((resolve) => child.once('close', resolve))
  const killAtExit = () => child.kill('SIGKILL')
  process.once('exit', killAtExit)
  const stop = async () => {
    process.removeListener('exit', killAtExit)
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM')
      const hard = setTimeout(() => child.kill('SIGKILL'), 5000)
      await ended
      clearTimeout(hard)
    }
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  }
  return {
    pid: child.pid ?? -1,
    stop,
    async kill() {
      process.removeListener('exit', killAtExit)
      child.kill('SIGKILL')
      await ended
    },
    /** @param {() => Promise<boolean>} check @param {number} deadlineMs */
    async ready(check, deadlineMs) {
      const end = performance.now() + deadlineMs
      while (!(await check())) {
        const over = child.exitCode !== null || child.signalCode !== null || performance.now() > end
        if (over) {
          await stop()
          throw new Error(`${command} did not start: ${output.trim().split('\n').at(-1)}`)
        }
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    },
  }
}

/** Under the folder of the test run that scripts/test.mjs removes at its end, or under the system's folder for such things. @param {string} name */
function ownFolder(name) {
  const parent = process.env.CELERIAC_TEST_FOLDER ?? tmpdir()
  mkdirSync(parent, { recursive: true })
  return mkdtempSync(join(parent, `${name}-`))
}

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => (address !== null && typeof address === 'object' ? resolve(address.port) : reject(new Error('no free port'))))
    })
  })
}

/** @param {number} port @param {string} question @param {RegExp} answer @returns {Promise<boolean>} */
function answers(port, question, answer) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(question))
    const end = (/** @type {boolean} */ result) => {
      socket.destroy()
      resolve(result)
    }
    socket.setTimeout(1000, () => end(false))
    socket.once('data', (data) => end(answer.test(data.toString())))
    socket.once('error', () => end(false))
  })
}
