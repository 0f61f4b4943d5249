/** The kinds of values that only options of the app have. */
import { OptionInvalidError, OptionUnknownError } from '../errors.js'
import { type Address, type OwnClient, showAddress } from '../internal/address.js'
import { type Duration, formatDuration, parseDuration } from '../internal/duration.js'
import type { Logger } from '../internal/logger.js'
import { isRecord, jsonFromText, kind, numberFromText } from '../internal/option-kinds.js'
import { classOf, recognizeRedisClient } from '../internal/redis/own-client.js'
import { redactUrl } from '../internal/url.js'
import { isName } from '../protocol/name.js'
import { parseRate } from './rate.js'

/** Seconds; null, as 0, is never. */
export const expiry = kind<Duration | null, number | null>(
  'a duration (seconds, or text such as "1d"), or null',
  (value) => (value === null ? null : parseDuration(value) === 0 ? null : parseDuration(value)),
  {
    readText: (text) => (/^(null|none)$/i.test(text) ? null : numberFromText(text)),
    show: (value) => (value === null ? 'null' : formatDuration(value)),
  },
)

const byteUnits = { B: 1, kB: 1000, MB: 1000 ** 2, GB: 1000 ** 3, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const

/** A number of bytes, or text with a unit: `'1MiB'`. */
export const bytes = kind<number | `${number}${keyof typeof byteUnits}`, number>(
  'a number of bytes, or text such as "1MiB"',
  (value) => {
    if (typeof value === 'number') return Number.isSafeInteger(value) && value > 0 ? value : undefined
    const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?)(B|kB|MB|GB|KiB|MiB|GiB)$/.exec(value) : null
    if (match === null) return undefined
    const unit = match[2] as keyof typeof byteUnits // the pattern allows these only
    return Math.round(Number(match[1]) * byteUnits[unit]) || undefined
  },
  {
    readText: numberFromText,
    show: (value) => {
      for (const unit of ['GiB', 'MiB', 'KiB'] as const) if (value % byteUnits[unit] === 0) return `${value / byteUnits[unit]}${unit}`
      return String(value)
    },
  },
)

/** How often tasks may start: `10/s`, `5/m`, `1/h`, or a number for each second. */
export const rate = kind<string | number, string | number>('a rate such as "10/s", "5/m" or "1/h"', (value) =>
  (typeof value === 'string' || typeof value === 'number') && parseRate(value) !== undefined ? value : undefined,
)

/** The bounds of a pool that changes its size, as `max,min` in Celery's order, or as an object. */
export const poolBounds = kind<string | { readonly min: number; readonly max: number }, { readonly min: number; readonly max: number }>(
  'two whole numbers, the larger one first, such as "10,2"',
  (value) => {
    const [, max, min = '1'] = typeof value === 'string' ? (/^(\d+)(?:,(\d+))?$/.exec(value) ?? []) : []
    const bounds =
      typeof value === 'object' && value !== null
        ? { min: Reflect.get(value, 'min'), max: Reflect.get(value, 'max') }
        : { min: Number(min), max: Number(max) }
    return Number.isSafeInteger(bounds.min) && Number.isSafeInteger(bounds.max) && bounds.min >= 1 && bounds.max >= bounds.min
      ? bounds
      : undefined
  },
  { show: ({ max, min }) => `${max},${min}` },
)

/** Where to listen. */
export interface ListenAddress {
  readonly host: string
  readonly port: number
}

/** A port of this machine alone, or `host:port`; port 0 is any that is free. */
export const listenAddress = kind<number | string, ListenAddress>(
  'a port such as 9808, or host and port such as "0.0.0.0:9808"',
  (value) => {
    const [, host = '127.0.0.1', digits] = /^(?:\[?([\w.:-]+?)\]?:)?(\d{1,5})$/.exec(String(value)) ?? []
    const port = digits === undefined ? Number.NaN : Number(digits)
    return port <= 65_535 ? { host, port } : undefined
  },
  { show: ({ host, port }) => `"${host.includes(':') ? `[${host}]` : host}:${port}"` },
)

/** A queue, exchange or routing key: what `NameInvalidError` refuses is refused here already. */
export const name = kind<string, string>('1 to 255 printable characters', (value) => (isName(value) ? value : undefined))

const urlPattern = /^[a-z][a-z0-9+.-]*:\/\//i
const brokerWords = 'a URL such as "sqlite://", or a list of them'
const backendWords = 'a URL such as "sqlite://", "rpc://", or "disabled"'
const orClient = '; or { client } with a Redis client of yours'

/**
 * One broker or several to fail over between; in text, `;` stands between them, as in Celery. Sentinels that follow each other are those of one broker, as
 * in kombu. Never empty.
 */
export const brokerUrls = kind<Address | readonly Address[], readonly Address[]>(
  `${brokerWords}${orClient}`,
  (value, option) => {
    const given: readonly unknown[] = Array.isArray(value) ? value : [value]
    const addresses = given
      .flatMap((item) => (typeof item === 'string' ? item.split(/;(?=\s*[a-z][a-z0-9+.-]*:\/\/)/i).map((url) => url.trim()) : [item]))
      .map((item) => address(item, option, brokerWords))
    return addresses.length === 0 ? undefined : joinSentinels(addresses)
  },
  { show: (addresses) => addresses.map(showAddress).join(';') },
)

/** A result backend, or `disabled`. Names without a server may come without slashes, as Celery has them. */
export const backendUrl = kind<Address, Address>(
  `${backendWords}${orClient}`,
  (value, option) => {
    if (value === 'disabled' || value === 'disabled://') return 'disabled'
    return value === 'rpc' ? 'rpc://' : address(value, option, backendWords)
  },
  { show: showAddress },
)

const storeWords = 'a URL such as "sqlite://", "redis://host:6379/0" or "file://./schedules.json"'

/** A store of schedules. */
export const storeUrl = kind<Address, Address>(`${storeWords}${orClient}`, (value, option) => address(value, option, storeWords), {
  show: showAddress,
})

const limitWords = 'a URL such as "redis://host:6379/0" or "sqlite://"'

/** A store of limits. */
export const limitUrl = kind<Address, Address>(
  `${limitWords}${orClient}`,
  (value, option) => {
    const found = address(value, option, limitWords)
    return typeof found === 'string' && !/^(memory|sqlite|rediss?|valkeys?|redis\+socket|socket|sentinel):/i.test(found) ? undefined : found
  },
  { show: showAddress },
)

function address(value: unknown, option: string, expected: string): Address {
  if (typeof value === 'string' && urlPattern.test(value)) return value
  if (isRecord(value)) return ownClient(value, option)
  // Who gave text, in a shell perhaps, cannot give an object.
  if (typeof value === 'string') throw new OptionInvalidError(option, expected, redactUrl(value))
  if (typeof recognizeRedisClient(value) !== 'string') throw new OptionInvalidError(option, '{ client } with the client in it', 'a client')
  // Never shown as it is: it may be a client, which has its password.
  throw new OptionInvalidError(option, `${expected}${orClient}`, typeof value === 'object' ? classOf(value) : value)
}

function ownClient({ client, ...rest }: Readonly<Record<string, unknown>>, option: string): OwnClient {
  const [other] = Object.keys(rest)
  if (other !== undefined) throw new OptionUnknownError(`${option}.${other}`)
  const found = recognizeRedisClient(client)
  if (typeof found === 'string') throw new OptionInvalidError(`${option}.client`, found, classOf(client))
  return { client: found.client }
}

function joinSentinels(addresses: readonly Address[]): readonly Address[] {
  const joined: Address[] = []
  for (const next of addresses) {
    const before = joined.at(-1)
    if (isSentinel(next) && before !== undefined && isSentinel(before)) joined[joined.length - 1] = `${before};${next}`
    else joined.push(next)
  }
  return joined
}

function isSentinel(given: Address): given is string {
  return typeof given === 'string' && /^sentinel:/i.test(given)
}

/** Options of a driver, which reads them when it is opened. */
export const driverOptions = kind<Readonly<Record<string, unknown>>, Readonly<Record<string, unknown>>>(
  'an object (as text: JSON)',
  (value, option) => {
    if (isRecord(value)) return value
    // Never shown as it is: there may be a password in it.
    throw new OptionInvalidError(option, 'an object (as text: JSON)', typeof value === 'object' ? classOf(value) : typeof value)
  },
  { readText: jsonFromText, show: (value) => JSON.stringify(value, withoutSecrets) },
)

function withoutSecrets(name: string, value: unknown): unknown {
  if (/^(key|cert|ca)$|pass|secret|token/i.test(name)) return '**'
  return typeof value === 'string' && urlPattern.test(value) ? redactUrl(value) : value
}

/** Never shown. */
export const secret = kind<string, string>(
  'text that is not empty',
  (value, option) => {
    if (typeof value === 'string' && value !== '') return value
    throw new OptionInvalidError(option, 'text that is not empty', typeof value)
  },
  { show: () => '"**"' },
)

export const timeZone = kind<string, string>('an IANA time zone such as "Europe/Berlin"', (value) => {
  if (typeof value !== 'string') return undefined
  try {
    return new Intl.DateTimeFormat('en', { timeZone: value }).resolvedOptions().timeZone
  } catch {
    return undefined
  }
})

/** AMQP's number for it: 2 is persistent, 1 transient. */
export const deliveryMode = kind<'persistent' | 'transient' | 1 | 2, 1 | 2>(
  '"persistent" or "transient"',
  (value) => {
    if (value === 'persistent' || value === 2 || value === '2') return 2
    return value === 'transient' || value === 1 || value === '1' ? 1 : undefined
  },
  { show: (value) => (value === 2 ? '"persistent"' : '"transient"') },
)

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'fatal'
const logLevels: Readonly<Record<string, LogLevel>> = {
  debug: 'debug',
  info: 'info',
  warn: 'warn',
  warning: 'warn',
  error: 'error',
  critical: 'fatal',
  fatal: 'fatal',
}

/** Celery's words in any case (`WARNING`, `CRITICAL`), or pino's. */
export const logLevel = kind<LogLevel | 'warning' | 'critical' | Uppercase<LogLevel | 'warning' | 'critical'>, LogLevel>(
  'debug, info, warning, error or critical',
  (value) => (typeof value === 'string' ? logLevels[value.toLowerCase()] : undefined),
)

export const logger = kind<Logger, Logger>(
  'an object with the methods debug, info, warn and error',
  (value) => (isLogger(value) ? value : undefined),
  {
    readText: undefined,
    show: () => 'an object',
  },
)

function isLogger(value: unknown): value is Logger {
  if (typeof value !== 'object' || value === null) return false
  return ['debug', 'info', 'warn', 'error'].every((method) => typeof Reflect.get(value, method) === 'function')
}
