// @ts-check
// Servers for tests and benchmarks: each on a free port of its own, with its data in a folder of its own, gone when it is stopped or its starter ends.
import { execFile, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
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
export async function startRedis({ deadlineMs = 30_000, password, appendonly = false, replicaOf, folder: given, args: more = [] } = {}) {
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
export async function startSentinel({ port: mainPort, name = 'main', deadlineMs = 30_000 }) {
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

/**
 * @typedef {object} RabbitOptions
 * @property {number} [deadlineMs]
 * @property {Readonly<Record<string, string | number>>} [config] Lines of rabbitmq.conf: `{ consumer_timeout: 2000, heartbeat: 2 }`.
 * @property {number} [vhosts] So many virtual hosts `v0`, `v1`, ... beside `/`: making one later takes seconds.
 * @property {{ readonly ca: string, readonly cert: string, readonly key: string }} [tls] Files: it listens with TLS, too, at `tlsPort`.
 */

/** A RabbitMQ node by itself: its name, cookie, data and epmd are its own. User and password are guest. @param {RabbitOptions} [options] */
export async function startRabbit({ deadlineMs = 110_000, config = {}, vhosts = 0, tls } = {}) {
  const command = needs.rabbitmq?.find()
  if (command === undefined) throw new Error('rabbitmq-server is not installed: node scripts/install.mjs --test')
  const [port, distributionPort, epmdPort, tlsPort] = await Promise.all([freePort(), freePort(), freePort(), freePort()])
  const folder = ownFolder('rabbit')
  const node = `celeriac-${port}@localhost`
  const pidFile = join(folder, 'pid')
  const lines = {
    'listeners.tcp.1': `127.0.0.1:${port}`,
    load_definitions: join(folder, 'definitions.json'),
    'log.file': 'false',
    'log.console': 'true',
    'log.console.level': 'warning',
    'raft.wal_max_size_bytes': 64 * 1024 ** 2,
    ...(tls === undefined
      ? {}
      : {
          'listeners.ssl.1': `127.0.0.1:${tlsPort}`,
          'ssl_options.cacertfile': tls.ca,
          'ssl_options.certfile': tls.cert,
          'ssl_options.keyfile': tls.key,
        }),
    ...config,
  }
  /** @param {string} name @param {string} text @param {number} [mode] */
  const write = (name, text, mode) => writeFileSync(join(folder, name), text, mode === undefined ? {} : { mode })
  write(
    'rabbitmq.conf',
    Object.entries(lines)
      .map(([name, value]) => `${name} = ${value}\n`)
      .join(''),
  )
  write('definitions.json', JSON.stringify(rabbitDefinitions(Array.from({ length: vhosts }, (_, n) => `v${n}`))))
  write('enabled_plugins', '[].\n')
  write('.erlang.cookie', randomBytes(15).toString('hex'), 0o400)
  const env = {
    ...process.env,
    HOME: folder,
    RABBITMQ_NODENAME: node,
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq'),
    RABBITMQ_ADVANCED_CONFIG_FILE: join(folder, 'advanced.config'),
    RABBITMQ_CONF_ENV_FILE: join(folder, 'rabbitmq-env.conf'),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_PID_FILE: pidFile,
    RABBITMQ_DIST_PORT: String(distributionPort),
    RABBITMQ_SCRIPTS_DIR: fewPlugins(command, folder),
    // RabbitMQ tells the threads that read files to sleep at once. Loading a thousand modules takes twice as long then.
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-start_epmd false +sbwt short +sbwtdio short',
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    ERL_CRASH_DUMP_SECONDS: '0',
    // The script becomes the server, and does not wait for it: signals reach it.
    detached: '1',
  }
  const epmd = startService('epmd', ['-port', String(epmdPort), '-address', '127.0.0.1'], undefined, { env, cwd: folder })
  const launch = async () => {
    rmSync(pidFile, { force: true })
    const service = startService(command, [], undefined, { env, cwd: folder })
    await service.ready(() => answers(port, 'AMQP\0\0\t\x01', /product.+RabbitMQ/s), deadlineMs)
    if (readFileSync(pidFile, 'utf8').trim() !== String(service.pid)) {
      process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL')
      throw new Error(`${command} runs the server in a process of another id`)
    }
    return service
  }
  const stop = async () => {
    // Its data goes with it: nothing is lost by not asking it first.
    await service?.kill()
    await epmd.stop()
    rmSync(folder, { recursive: true, force: true })
  }
  /** @type {Awaited<ReturnType<typeof launch>> | undefined} */
  let service
  const from = performance.now()
  try {
    service = await launch().catch((error) => {
      // RabbitMQ's first steps are a race with themselves, which it loses now and then on a busy machine and ends.
      if (performance.now() - from > deadlineMs / 3) throw error
      rmSync(join(folder, 'data'), { recursive: true, force: true })
      return launch()
    })
  } catch (error) {
    await stop()
    throw error
  }
  return {
    /** Of the virtual host `/`. */
    url: `amqp://guest:guest@127.0.0.1:${port}//`,
    /** @param {number} number */
    vhostUrl: (number) => `amqp://guest:guest@127.0.0.1:${port}/v${number}`,
    port,
    tlsPort: tls === undefined ? undefined : tlsPort,
    folder,
    node,
    get pid() {
      return service?.pid ?? -1
    },
    /** `rabbitmqctl`, and what it printed; takes about two seconds. @param {string[]} args */
    async ctl(...args) {
      const { stdout } = await promisify(execFile)(join(dirname(command), 'rabbitmqctl'), ['-q', ...args], { env, cwd: folder })
      return stdout
    },
    /** kill -9; what is in its folder stays. */
    kill: async () => service?.kill(),
    /** As an operator ends it: connections are closed with a reason, and all is written. */
    end: async () => service?.stop(60_000),
    /** After `kill` or `end`: the same ports, folder and options. */
    async restart() {
      service = await launch()
    },
    stop,
  }
}

/** @param {readonly string[]} names */
function rabbitDefinitions(names) {
  const vhosts = ['/', ...names]
  const salt = randomBytes(4)
  const hash = createHash('sha256')
    .update(Buffer.concat([salt, Buffer.from('guest')]))
    .digest()
  const guest = {
    name: 'guest',
    password_hash: Buffer.concat([salt, hash]).toString('base64'),
    hashing_algorithm: 'rabbit_password_hashing_sha256',
    tags: ['administrator'],
    limits: {},
  }
  return {
    users: [guest],
    vhosts: vhosts.map((name) => ({ name })),
    permissions: vhosts.map((vhost) => ({ user: 'guest', vhost, configure: '.*', write: '.*', read: '.*' })),
  }
}

/**
 * The folder of RabbitMQ's scripts, beside the few plugins that the server itself needs: it looks for each of its modules in all that it finds there,
 * and takes seconds longer with the sixty that come with it. @param {string} command @param {string} folder
 */
function fewPlugins(command, folder) {
  const scripts = dirname(realpathSync(command))
  const plugins = join(scripts, '..', 'plugins')
  const found = new Map(existsSync(plugins) ? readdirSync(plugins).map((name) => [name.replace(/-[^-]*$/, ''), join(plugins, name)]) : [])
  /** @type {Set<string>} */
  const needed = new Set()
  const need = (/** @type {string} */ name) => {
    const path = found.get(name)
    if (path === undefined || needed.has(name)) return
    needed.add(name)
    const description = readFileSync(join(path, 'ebin', `${name}.app`), 'utf8')
    for (const [, names = ''] of description.matchAll(/\{applications,\s*\[([^\]]*)\]/g))
      names.split(',').forEach((other) => void need(other.trim()))
  }
  need('rabbit')
  if (needed.size === 0) return scripts
  const own = join(folder, 'home')
  mkdirSync(join(own, 'plugins'), { recursive: true })
  symlinkSync(scripts, join(own, 'sbin'))
  symlinkSync(join(scripts, '..', 'escript'), join(own, 'escript'))
  for (const name of needed) symlinkSync(found.get(name) ?? '', join(own, 'plugins', name))
  return join(own, 'sbin')
}

function redisCommand() {
  const command = needs.redis?.find()
  if (command === undefined) throw new Error('redis-server is not installed: node scripts/install.mjs --test')
  return command
}

/**
 * @param {string} command @param {string[]} args @param {string | undefined} folder Removed when it is stopped.
 * @param {{ env?: NodeJS.ProcessEnv, cwd?: string }} [where]
 */
function startService(command, args, folder, where = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...where })
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
  const stop = async (graceMs = 5_000) => {
    process.removeListener('exit', killAtExit)
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM')
      const hard = setTimeout(() => child.kill('SIGKILL'), graceMs)
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
export function freePort() {
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
