// @ts-check
// Servers for tests and benchmarks: each on a free port of its own, with its data in a folder of its own, gone when it is stopped or its starter ends.
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { needs } from './needs.mjs'

/** @returns {Promise<{ url: string, port: number, pid: number, flush: () => Promise<void>, stop: () => Promise<void> }>} */
export async function startRedis({ deadlineMs = 10_000 } = {}) {
  const command = needs.redis?.find()
  if (command === undefined) throw new Error('redis-server is not installed: node scripts/install.mjs --test')
  const port = await freePort()
  const folder = ownFolder('redis')
  const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no']
  const service = startService(command, args, folder)
  await service.ready(() => answers(port, 'PING\r\n', '+PONG'), deadlineMs)
  const flush = async () => {
    if (!(await answers(port, 'FLUSHALL\r\n', '+OK'))) throw new Error('redis-server did not empty itself')
  }
  return { url: `redis://127.0.0.1:${port}/0`, port, pid: service.pid, flush, stop: service.stop }
}

/** @param {string} command @param {string[]} args @param {string} folder */
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
    rmSync(folder, { recursive: true, force: true })
  }
  return {
    pid: child.pid ?? -1,
    stop,
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

/** @param {number} port @param {string} question @param {string} answer @returns {Promise<boolean>} */
function answers(port, question, answer) {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(question))
    const end = (/** @type {boolean} */ result) => {
      socket.destroy()
      resolve(result)
    }
    socket.setTimeout(1000, () => end(false))
    socket.once('data', (data) => end(data.toString().startsWith(answer)))
    socket.once('error', () => end(false))
  })
}
