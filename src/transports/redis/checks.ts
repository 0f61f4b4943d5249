/** Is this a server that tasks can be entrusted to? Asked once a connection, before it consumes. */
import { ConnectionError, NotSupportedError } from '../../errors.js'
import type { Clock } from '../../internal/clock.js'
import type { Logger } from '../../internal/logger.js'
import { type RedisLink, RedisReplyError, type Reply, textOf } from '../../internal/redis/link.js'
import type { RedisBrokerOptions } from './options.js'

export interface ServerAbilities {
  /** Redis 7: scripts that also run when the memory is full. */
  readonly allowOom: boolean
  /** For people: what is possible, and what better were otherwise. */
  readonly warnings: readonly string[]
}

/** Commands that a worker cannot do without, each asked for in a way that changes nothing. */
const probes: readonly (readonly [command: string, ...args: readonly string[]])[] = [
  ['EVALSHA', 'ffffffffffffffffffffffffffffffffffffffff', '0'],
  ['EVAL', 'return 1', '0'],
  ['HMGET', 'celeriac.probe', 'x'],
  ['ZMSCORE', 'celeriac.probe', 'x'],
  ['SUBSCRIBE'],
  ['PSUBSCRIBE'],
  ['LPUSH'],
  ['SADD'],
  ['SMEMBERS', 'celeriac.probe'],
]

/** Throws NotSupportedError or ConnectionError, in words. */
export async function checkServer(link: RedisLink, { evictionPolicy }: RedisBrokerOptions): Promise<ServerAbilities> {
  const missing = (
    await Promise.all(probes.map(async ([command, ...args]) => ((await mayNot(link, command, args)) ? command : undefined)))
  ).filter((command) => command !== undefined)
  if (missing.length > 0) {
    throw new NotSupportedError(
      `consuming from this Redis`,
      `its user may not use ${missing.join(', ')}: allow these commands in its ACL, or connect as another user`,
    )
  }
  const warnings: string[] = []
  const info = await infoOf(link)
  if (info === undefined) {
    warnings.push('Redis does not let this user read INFO: its version, eviction policy and persistence could not be checked')
    return { allowOom: false, warnings }
  }
  const version = versionOf(info)
  if (version < 602)
    throw new NotSupportedError(`Redis ${info.get('redis_version') ?? 'of this version'}`, 'celeriac needs Redis 6.2 or later, or Valkey')
  if (info.get('cluster_enabled') === '1')
    throw new NotSupportedError(
      'Redis Cluster as broker',
      'a message moves between keys in one step, and a cluster keeps them on several servers. Use one primary, with replicas and Sentinels where it must not go away',
    )
  if (info.get('role') === 'slave')
    throw new ConnectionError('this Redis is a replica, which takes no writes: connect to its primary, or by its Sentinels')
  const policy = info.get('maxmemory_policy') ?? 'noeviction'
  const isBounded = (info.get('maxmemory') ?? '0') !== '0'
  if (policy.startsWith('allkeys-')) {
    const sentence = `the eviction policy of this Redis is ${policy}: when its memory is full it throws queues and running tasks away`
    if (isBounded && evictionPolicy === 'refuse')
      throw new NotSupportedError(
        `a Redis broker that may drop tasks`,
        `${sentence}. Set "maxmemory-policy noeviction", or allow it with brokerTransportOptions: { evictionPolicy: 'allow' }`,
      )
    warnings.push(sentence)
  }
  if (policy.startsWith('volatile-') && isBounded)
    warnings.push(
      `the eviction policy of this Redis is ${policy}: when its memory is full it throws results and revokes away before they expire`,
    )
  if (info.get('aof_enabled') === '0')
    warnings.push('this Redis writes no append-only file: tasks that it confirmed are lost when the server is (appendonly yes keeps them)')
  return { allowOom: version >= 700, warnings }
}

/** The command, and not a key of it: those are the user's to name. */
const forbidden = /no permissions to run/i

async function mayNot(link: RedisLink, command: string, args: readonly string[]): Promise<boolean> {
  // Without arguments the command itself is refused, after the check of rights. Subscribing would change what the link is for.
  const asked = args.length === 0 ? link.call('ACL', ['DRYRUN', await userOf(link), command, 'x', 'x']) : link.call(command, args)
  try {
    const reply: Reply = await asked
    return args.length === 0 && reply instanceof Buffer && forbidden.test(reply.toString())
  } catch (error) {
    return error instanceof RedisReplyError && args.length > 0 && forbidden.test(error.message)
  }
}

async function userOf(link: RedisLink): Promise<string> {
  try {
    return textOf(await link.call('ACL', ['WHOAMI']))
  } catch {
    return 'default'
  }
}

/** Undefined: not allowed. */
async function infoOf(link: RedisLink): Promise<ReadonlyMap<string, string> | undefined> {
  try {
    const text = textOf(await link.call('INFO', []))
    const lines = text.split(/\r?\n/).filter((line) => line.includes(':'))
    return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]))
  } catch (error) {
    if (error instanceof RedisReplyError && error.code === 'NOPERM') return undefined
    throw error
  }
}

/** 7.0.15 is 700, 6.2 is 602. Valkey says which Redis it is compatible with. */
function versionOf(info: ReadonlyMap<string, string>): number {
  const [major = '0', minor = '0'] = (info.get('redis_version') ?? '0').split('.')
  return Number(major) * 100 + Number(minor)
}

interface Warned {
  readonly clock: Clock
  readonly log: Logger
  /** Warnings that are not said again. */
  readonly told: Set<string>
}

/** Half a second later: the first line of a log may take longer than the first task. */
export function warnLater(warnings: readonly string[], { clock, log, told }: Warned): void {
  const fresh = warnings.filter((warning) => !told.has(warning) && told.add(warning))
  if (fresh.length > 0) clock.setTimer(500, () => fresh.forEach((warning) => void log.warn({}, warning)))
}
