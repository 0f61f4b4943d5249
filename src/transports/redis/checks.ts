/** Is this a server that tasks can be entrusted to? Asked once a connection, before it consumes. */
import { ConnectionError, NotSupportedError } from '../../errors.js'
import type { Clock } from '../../internal/clock.js'
import type { Examination, ServerFinding } from '../../internal/examination.js'
import type { Logger } from '../../internal/logger.js'
import { type RedisLink, RedisReplyError, type Reply, textOf } from '../../internal/redis/link.js'
import { askServer, evictionOfBroker, persistence } from '../../internal/redis/server-facts.js'
import type { RedisBrokerOptions } from './options.js'
import { ServerClock } from './server-clock.js'

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
  // At once, in one or two round trips.
  const user = userOf(link)
  const [refused, server] = await Promise.all([
    Promise.all(probes.map(async ([command, ...args]) => ((await mayNot(link, user, command, args)) ? command : undefined))),
    askServer(link),
  ])
  const missing = refused.filter((command) => command !== undefined)
  if (missing.length > 0) {
    throw new NotSupportedError(
      `consuming from this Redis`,
      `its user may not use ${missing.join(', ')}: allow these commands in its ACL, or connect as another user`,
    )
  }
  if (server === undefined) return { allowOom: false, warnings: [notAllowed] }
  if (server.version < 602) throw new NotSupportedError(`Redis ${server.versionText}`, 'celeriac needs Redis 6.2 or later, or Valkey')
  if (server.isCluster)
    throw new NotSupportedError(
      'Redis Cluster as broker',
      'a message moves between keys in one step, and a cluster keeps them on several servers. Use one primary, with replicas and Sentinels where it must not go away',
    )
  if (server.isReplica)
    throw new ConnectionError('this Redis is a replica, which takes no writes: connect to its primary, or by its Sentinels')
  const eviction = evictionOfBroker(server)
  if (eviction.level === 'fault' && evictionPolicy === 'refuse')
    throw new NotSupportedError(
      `a Redis broker that may drop tasks`,
      `${eviction.evidence}. ${eviction.fix}, or allow it with brokerTransportOptions: { evictionPolicy: 'allow' }`,
    )
  const kept = persistence(server)
  return {
    allowOom: server.version >= 700,
    warnings: [
      ...(eviction.level === 'fine' ? [] : [eviction.evidence]),
      ...(kept.level === 'fine' ? [] : [`${kept.evidence} (${kept.fix})`]),
    ],
  }
}

/** The same for `celeriac doctor`, which is told what is well, too. */
export async function examineServer(
  link: RedisLink,
  { options, clock }: { readonly options: RedisBrokerOptions; readonly clock: Clock },
): Promise<Examination> {
  const server = await askServer(link)
  const clockAheadMs = await new ServerClock(clock).aheadMs(link)
  const rights = await rightsOf(link, options)
  if (server === undefined)
    return { server: 'Redis', findings: [rights, { about: 'settings', level: 'unknown', evidence: notAllowed }], clockAheadMs }
  return { server: `Redis ${server.versionText}`, findings: [rights, evictionOfBroker(server), persistence(server)], clockAheadMs }
}

/** Whether a worker would start. */
async function rightsOf(link: RedisLink, options: RedisBrokerOptions): Promise<ServerFinding> {
  const about = 'usable by workers'
  try {
    // What else is wrong is told by itself.
    await checkServer(link, { ...options, evictionPolicy: 'allow' })
    return { about, level: 'fine', evidence: 'its version and role, and the rights of this user, are what a worker needs' }
  } catch (error) {
    if (!(error instanceof NotSupportedError || error instanceof ConnectionError)) throw error
    return { about, level: 'fault', evidence: error.message, fix: 'Use a server, or a user of it, as the message says' }
  }
}

const notAllowed = 'Redis does not let this user read INFO: its version, eviction policy and persistence could not be checked'

/** The command, and not a key of it: those are the user's to name. */
const forbidden = /no permissions to run/i

async function mayNot(link: RedisLink, user: Promise<string>, command: string, args: readonly string[]): Promise<boolean> {
  try {
    // Without arguments the command itself is refused, after the check of rights. Subscribing would change what the link is for.
    const reply: Reply = await (args.length === 0 ? link.call('ACL', ['DRYRUN', await user, command, 'x', 'x']) : link.call(command, args))
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
