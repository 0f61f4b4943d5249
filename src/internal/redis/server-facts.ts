/** What a Redis server says of itself by INFO, and what follows from it for tasks and results. */
import type { ServerFinding } from '../examination.js'
import { type RedisLink, RedisReplyError, textOf } from './link.js'

export interface ServerFacts {
  /** 7.0.15 is 700, 6.2 is 602. Valkey says which Redis it is compatible with. */
  readonly version: number
  readonly versionText: string
  readonly isCluster: boolean
  readonly isReplica: boolean
  readonly evictionPolicy: string
  /** It has a limit of memory. */
  readonly isBounded: boolean
  readonly appendsToFile: boolean
}

/** Undefined: this user may not ask. */
export async function askServer(link: RedisLink): Promise<ServerFacts | undefined> {
  try {
    const text = textOf(await link.call('INFO', []))
    const lines = text.split(/\r?\n/).filter((line) => line.includes(':'))
    return factsOf(new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)])))
  } catch (error) {
    if (error instanceof RedisReplyError && error.code === 'NOPERM') return undefined
    throw error
  }
}

function factsOf(info: ReadonlyMap<string, string>): ServerFacts {
  const versionText = info.get('redis_version') ?? 'of this version'
  const [major = '0', minor = '0'] = (info.get('redis_version') ?? '0').split('.')
  return {
    version: Number(major) * 100 + Number(minor),
    versionText,
    isCluster: info.get('cluster_enabled') === '1',
    isReplica: info.get('role') === 'slave',
    evictionPolicy: info.get('maxmemory_policy') ?? 'noeviction',
    isBounded: (info.get('maxmemory') ?? '0') !== '0',
    appendsToFile: info.get('aof_enabled') !== '0',
  }
}

/** Of a server that keeps messages. */
export function evictionOfBroker({ evictionPolicy: policy, isBounded }: ServerFacts): ServerFinding {
  const about = 'eviction policy'
  if (policy.startsWith('allkeys-'))
    return {
      about,
      level: isBounded ? 'fault' : 'warning',
      evidence: `the eviction policy of this Redis is ${policy}: when its memory is full it throws queues and running tasks away`,
      fix: 'Set "maxmemory-policy noeviction"',
    }
  return evictionOfResults({ evictionPolicy: policy, isBounded })
}

/** Of a server that keeps results. */
export function evictionOfResults({ evictionPolicy: policy, isBounded }: Pick<ServerFacts, 'evictionPolicy' | 'isBounded'>): ServerFinding {
  const about = 'eviction policy'
  if (policy === 'noeviction' || !isBounded)
    return { about, level: 'fine', evidence: `${policy}${isBounded ? '' : ', and no limit of memory'}` }
  return {
    about,
    level: 'warning',
    evidence: `the eviction policy of this Redis is ${policy}: when its memory is full it throws results and revokes away before they expire`,
    fix: 'Set "maxmemory-policy noeviction"',
  }
}

export function persistence({ appendsToFile }: ServerFacts): ServerFinding {
  const about = 'persistence'
  if (appendsToFile) return { about, level: 'fine', evidence: 'the append-only file is on' }
  return {
    about,
    level: 'warning',
    evidence: 'this Redis writes no append-only file: tasks that it confirmed are lost when the server is',
    fix: 'appendonly yes keeps them',
  }
}
