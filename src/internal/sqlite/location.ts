/** Where the embedded database is and how it is opened, read from a `sqlite:` URL. */
import { resolve } from 'node:path'
import { UrlInvalidError } from '../../errors.js'
import { didYouMean } from '../did-you-mean.js'
import { redactUrl } from '../url.js'

export interface SqliteLocation {
  /** Absolute. */
  readonly path: string
  /** Whether a COMMIT waits for the disk (`full`: survives a power cut) or for the operating system (`normal`: survives any crash of processes). */
  readonly synchronous: 'normal' | 'full'
  /** Open it even on a network file system, where SQLite's locks may not work. */
  readonly allowNetwork: boolean
  /** How often to look for changes that no bell told of; 0 turns it off. */
  readonly safetyPollMs: number
  /** A worker that did not refresh its lease for this long has lost its deliveries. */
  readonly leaseTtlMs: number
  /** How often a worker looks for lost leases. */
  readonly sweepIntervalMs: number
  /** A message whose runs ended abnormally this often goes to the dead letters. Default 20. */
  readonly deliveryLimit: number
}

/**
 * Above the limit of workers (`taskDeliveryLimit`), which bury a message with its task's failure: this one only stops what ends the process before it can.
 */
const defaultDeliveryLimit = 20
const defaultPath = './.celeriac/queue.db'
const optionNames = ['synchronous', 'network', 'poll_interval', 'lease_ttl', 'sweep_interval', 'delivery_limit']

/**
 * Reads `sqlite://` (the file ./.celeriac/queue.db), `sqlite://./rel/path.db`, `sqlite:///abs/path.db`, with the query options `synchronous`
 * (normal, full), `network` (refuse, allow) and, in seconds, `poll_interval`, `lease_ttl`, `sweep_interval`; `delivery_limit` is a count.
 */
export function parseSqliteUrl(url: string, cwd: string): SqliteLocation {
  // Somebody may have put a password where none belongs.
  const shown = JSON.stringify(redactUrl(url))
  const parsed = /^sqlite:(?:\/\/)?([^?#]*)(?:\?([^#]*))?$/i.exec(url)
  if (parsed === null)
    throw new UrlInvalidError(
      `expected a URL such as "sqlite://", "sqlite://./queue.db" or "sqlite:///var/lib/app/queue.db", got: ${shown}`,
    )
  const [, pathText = '', queryText = ''] = parsed
  const query = new URLSearchParams(queryText)
  for (const name of query.keys()) {
    if (optionNames.includes(name)) continue
    const suggestion = didYouMean(name, optionNames)
    throw new UrlInvalidError(
      `unknown option ${JSON.stringify(name)} in ${shown}.${suggestion === undefined ? ` Known: ${optionNames.join(', ')}` : ` Did you mean ${JSON.stringify(suggestion)}?`}`,
    )
  }
  return {
    path: resolve(cwd, pathText === '' ? defaultPath : decodePath(pathText, shown)),
    synchronous: oneOf('synchronous', ['normal', 'full'], query, 'normal'),
    allowNetwork: oneOf('network', ['refuse', 'allow'], query, 'refuse') === 'allow',
    safetyPollMs: seconds('poll_interval', query, 0.5, 0),
    leaseTtlMs: seconds('lease_ttl', query, 30, 0.05),
    sweepIntervalMs: seconds('sweep_interval', query, 5, 0.01),
    deliveryLimit: number('delivery_limit', query, defaultDeliveryLimit, 1),
  }
}

function decodePath(text: string, shown: string): string {
  let path: string
  try {
    path = decodeURIComponent(text)
  } catch (cause) {
    throw new UrlInvalidError(`the path of ${shown} has a broken % escape`, { cause })
  }
  if (path.includes('\0')) throw new UrlInvalidError(`the path of ${shown} has a zero byte`)
  return path
}

function oneOf<Choice extends string>(name: string, choices: readonly Choice[], query: URLSearchParams, fallback: Choice): Choice {
  const text = query.get(name)
  if (text === null) return fallback
  const choice = choices.find((known) => known === text.toLowerCase())
  if (choice === undefined) throw new UrlInvalidError(`expected ${name} to be one of ${choices.join(', ')}, got: ${JSON.stringify(text)}`)
  return choice
}

function number(name: string, query: URLSearchParams, fallback: number, least: number): number {
  const text = query.get(name)
  const value = text === null ? fallback : Number(text)
  if (text === '' || !Number.isFinite(value) || value < least) {
    throw new UrlInvalidError(`expected ${name} to be a number of at least ${least}, got: ${JSON.stringify(text)}`)
  }
  return value
}

function seconds(name: string, query: URLSearchParams, fallback: number, least: number): number {
  return number(name, query, fallback, least) * 1000
}
