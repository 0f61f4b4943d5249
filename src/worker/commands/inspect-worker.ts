import { describeConfig } from '../../app/config.js'
import { celeryName } from '../../app/config-names.js'
import { rows } from '../../app/config-table.js'
import type { TaskDefinition } from '../../app/task.js'
import { showAddress } from '../../internal/address.js'
import { packageVersion } from '../../internal/package-version.js'
import { redactUrl } from '../../internal/url.js'
import type { Pool } from '../../pool.js'
import { decodeFlag } from '../../protocol/mailbox.js'
import { isRecord } from '../../protocol/plain.js'
import type { Topology } from '../../protocol/topology.js'
import type { CommandHandler, Panel } from '../panel.js'
import { textList, wholeNumber } from './arguments.js'

export const ping: CommandHandler = () => ({ ok: 'pong' })

export const clock: CommandHandler = ({ core }) => ({ clock: core.lamport.value })

export const stats: CommandHandler = (panel) => {
  const { core, presence, pool, startedMs, autoscaler } = panel
  const { workerMaxTasksPerChild, taskSoftTimeLimit, taskTimeLimit } = core.config
  return {
    total: presence.counts.byName(),
    pid: process.pid,
    // Text, as Python has it.
    clock: String(core.lamport.value),
    uptime: Math.floor((core.clock.monotonic() - startedMs) / 1000),
    pool: {
      implementation: `celeriac:${pool.name}`,
      'max-concurrency': pool.capacity,
      processes: pool.pids,
      ...threadsOf(pool),
      'max-tasks-per-child': workerMaxTasksPerChild ?? 'N/A',
      'put-guarded-by-semaphore': false,
      timeouts: [taskSoftTimeLimit ?? 0, taskTimeLimit ?? 0],
    },
    broker: brokerInfo(panel),
    prefetch_count: panel.prefetch,
    rusage: resourceUsage(),
    // What Python's workers do not have is told when there is something to tell.
    ...(panel.deafRepairs === 0 ? {} : { deaf_repairs: panel.deafRepairs }),
    ...(autoscaler === undefined ? {} : { autoscaler: autoscaler.info() }),
  }
}

/** Threads have no pids of their own: how many there are, as Python's pool of threads says it. */
function threadsOf(pool: Pool): { readonly threads?: number } {
  const threads = (pool.parts?.all ?? [pool]).find(({ name }) => name === 'threads')
  return threads === undefined ? {} : { threads: threads.size }
}

/** Where the broker is, without what must stay secret. Monitors look for `hostname`, `port` and `transport`. */
function brokerInfo({ core }: Panel): Readonly<Record<string, unknown>> {
  const [address] = core.config.brokerUrl
  const shown = address === undefined ? '' : showAddress(address)
  const url = URL.canParse(shown) ? new URL(shown) : undefined
  return {
    hostname: url?.hostname === '' ? null : (url?.hostname ?? null),
    userid: url === undefined || url.username === '' ? null : decodeURIComponent(url.username),
    virtual_host: url === undefined ? shown : decodeURIComponent(url.pathname.slice(1)) || '/',
    port: url === undefined || url.port === '' ? null : Number(url.port),
    insist: false,
    ssl: url !== undefined && /^(amqps|rediss):$/.test(url.protocol),
    transport: url?.protocol.slice(0, -1) ?? 'client',
    connect_timeout: core.config.brokerConnectionTimeout,
    transport_options: hideSecrets(core.config.brokerTransportOptions, ''),
    login_method: null,
    uri_prefix: null,
    heartbeat: null,
    failover_strategy: 'in order',
    alternates: core.config.brokerUrl.slice(1).map(showAddress),
    credential_provider: null,
  }
}

function resourceUsage(): Readonly<Record<string, number>> {
  const usage = process.resourceUsage()
  return {
    utime: usage.userCPUTime / 1e6,
    stime: usage.systemCPUTime / 1e6,
    maxrss: usage.maxRSS,
    ixrss: usage.sharedMemorySize,
    idrss: usage.unsharedDataSize,
    isrss: usage.unsharedStackSize,
    minflt: usage.minorPageFault,
    majflt: usage.majorPageFault,
    nswap: usage.swappedOut,
    inblock: usage.fsRead,
    oublock: usage.fsWrite,
    msgsnd: usage.ipcSent,
    msgrcv: usage.ipcReceived,
    nsignals: usage.signalsCount,
    nvcsw: usage.voluntaryContextSwitches,
    nivcsw: usage.involuntaryContextSwitches,
  }
}

export const registered: CommandHandler = ({ core, limits }, { taskinfoitems, builtins }) => {
  const given = textList(taskinfoitems, 'taskinfoitems').filter((item) => !item.startsWith('_'))
  const isWhole = decodeFlag(builtins, 'builtins')
  const items = given.length === 0 ? ['exchange', 'routing_key', 'rate_limit'] : given
  return core.registry
    .names()
    .filter((name) => isWhole || !name.startsWith('celery.'))
    .map((name) => {
      const definition = core.registry.need(name)
      const facts = items.flatMap((item) => {
        const value = item === 'rate_limit' ? shownRate(limits.rateOf(definition)) : optionOf(definition, item)
        return value === undefined || value === null ? [] : [`${item}=${typeof value === 'string' ? value : JSON.stringify(value)}`]
      })
      return facts.length === 0 ? name : `${name} [${facts.join(' ')}]`
    })
}

/** By our name or as Celery spells it. */
function optionOf({ name, options }: TaskDefinition, item: string): unknown {
  if (item === 'name') return name
  const key = item.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
  return Object.hasOwn(options, key) ? Reflect.get(options, key) : undefined
}

/** In the largest unit in which it is a whole number. */
function shownRate(perSecond: number | undefined): string | undefined {
  if (perSecond === undefined) return undefined
  for (const [unit, seconds] of [
    ['s', 1],
    ['m', 60],
    ['h', 3_600],
  ] as const) {
    const rate = Math.round(perSecond * seconds * 1e6) / 1e6
    if (Number.isInteger(rate)) return `${rate}/${unit}`
  }
  return `${perSecond}/s`
}

/** As kombu describes a queue, and what it does not know: whether the queue is paused. */
export const active_queues: CommandHandler = ({ queues }) =>
  queues.topologies.map((topology) => ({
    ...queueInfo(topology),
    paused: topology.queues.some((queue) => queues.isPaused(queue.name)),
  }))

function queueInfo({ exchanges: [exchange], queues: [queue] }: Topology): Readonly<Record<string, unknown>> {
  const args = queue?.arguments ?? {}
  return {
    name: queue?.name,
    exchange: {
      name: exchange?.name,
      type: exchange?.type,
      arguments: null,
      durable: exchange?.durable,
      passive: false,
      auto_delete: exchange?.autoDelete,
      delivery_mode: null,
      no_declare: false,
    },
    routing_key: queue?.bindings[0]?.routingKey,
    queue_arguments: Object.keys(args).length === 0 ? null : args,
    binding_arguments: null,
    consumer_arguments: null,
    durable: queue?.durable,
    exclusive: queue?.exclusive,
    auto_delete: queue?.autoDelete,
    no_ack: false,
    alias: null,
    bindings: [],
    no_declare: null,
    expires: null,
    message_ttl: null,
    max_length: null,
    max_length_bytes: null,
    max_priority: args['x-max-priority'] ?? null,
  }
}

const secret = /API|TOKEN|KEY|SECRET|PASS|PROFANITIES_LIST|SIGNATURE|DATABASE|BEAT_DBURI/i
const hidden = '********'

/** Options in Celery's spelling: those that were set, or all. */
export const conf: CommandHandler = ({ core }, { with_defaults: withDefaults }) => {
  const shown: Record<string, unknown> = {}
  const isWhole = decodeFlag(withDefaults, 'with_defaults')
  for (const { option, value, source } of describeConfig(core.config, [])) {
    if (!isWhole && source === 'default') continue
    const row = rows.find(([name]) => name === option)
    const plain: unknown = core.config[option]
    // The texts of options that hold addresses and code have no secrets in them already.
    const isPlain = row !== undefined && !/url|backend|logger|routes/i.test(option) && isData(plain) && !isShownOtherwise(plain, value)
    shown[celeryName(option)] = isPlain ? hideSecrets(plain, option) : value
  }
  return shown
}

/** The option's kind hides a part of it: the password of a URL. */
const isShownOtherwise = (plain: unknown, shown: string): boolean => typeof plain === 'string' && JSON.stringify(plain) !== shown

const isData = (value: unknown): boolean =>
  value === null || ['string', 'number', 'boolean'].includes(typeof value) || Array.isArray(value) || isRecord(value)

function hideSecrets(value: unknown, key: string): unknown {
  // Routing keys are none.
  if (secret.test(key) && !/routing_?key/i.test(key) && value !== null) return hidden
  if (Array.isArray(value)) return value.map((item) => hideSecrets(item, ''))
  if (isRecord(value)) return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, hideSecrets(item, name)]))
  if (typeof value === 'string') return /^[a-z][\w+.-]*:\/\//i.test(value) ? redactUrl(value) : value
  return typeof value === 'function' ? `<function ${value.name}>` : value
}

export const report: CommandHandler = ({ core }) => ({ ok: reportText(core.config) })

/** What a bug report needs: versions, and the options that were set. */
export function reportText(config: Panel['core']['config']): string {
  const options = describeConfig(config, []).filter(({ source }) => source !== 'default')
  const facts = [
    `software -> celeriac:${packageVersion()} node:${process.versions.node} v8:${process.versions.v8}`,
    `platform -> system:${process.platform} arch:${process.arch} pid:${process.pid}`,
    `broker -> ${config.brokerUrl.map(showAddress).join('; ')}`,
    `results -> ${config.resultBackend === 'disabled' ? 'disabled' : showAddress(config.resultBackend)}`,
  ]
  return ['', ...facts, '', ...options.map(({ option, value }) => `${option}: ${value}`), ''].join('\n')
}

/** Python draws what keeps objects alive; here nothing tells of that while a process runs. */
export const objgraph: CommandHandler = () => ({
  error:
    'objgraph is of Python: a Node worker cannot tell what keeps an object alive. Use memsample and memdump, or start it with NODE_OPTIONS=--heapsnapshot-signal=SIGUSR2',
})

/** The memory of this process, not of its children. */
export const memsample: CommandHandler = ({ presence }) => {
  const megabytes = process.memoryUsage.rss() / 1024 ** 2
  presence.memorySamples.push(megabytes)
  if (presence.memorySamples.length > mostSamples) presence.memorySamples.shift()
  return `${megabytes.toFixed(2)}MB`
}

const mostSamples = 500

/** Evenly over all that was sampled, and the change from the first to the last. */
export const memdump: CommandHandler = ({ presence: { memorySamples } }, { samples }) => {
  const wanted = samples === undefined || samples === null ? 10 : wholeNumber(samples, 'samples', 1)
  const step = Math.max(1, Math.floor(memorySamples.length / wanted))
  const shown = memorySamples.filter((_, index) => index % step === 0)
  const lines = shown.map((megabytes) => `- ${megabytes.toFixed(2)}MB,`)
  const change = (memorySamples.at(-1) ?? 0) - (memorySamples[0] ?? 0)
  return [...lines, `= change: ${change.toFixed(2)}MB over ${memorySamples.length} samples`, ''].join('\n')
}
