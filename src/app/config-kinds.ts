/** The kinds of values that only options of the app have. */
import { OptionInvalidError } from '../errors.js'
import { type Duration, formatDuration, parseDuration } from '../internal/duration.js'
import type { Logger } from '../internal/logger.js'
import { kind, numberFromText } from '../internal/option-kinds.js'
import { redactUrl } from '../internal/url.js'

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

/** A queue, exchange or routing key: what `NameInvalidError` refuses is refused here already. */
export const name = kind<string, string>('1 to 255 printable characters', (value) => (isName(value) ? value : undefined))

export function isName(value: unknown): value is string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for.
  return typeof value === 'string' && value !== '' && value.length <= 255 && !/[\u0000-\u001f\u007f]/.test(value)
}

const urlPattern = /^[a-z][a-z0-9+.-]*:\/\//i

/** One URL or several to fail over between; as text, `;` stands between them, as in Celery. Never empty. */
export const brokerUrls = kind<string | readonly string[], readonly string[]>(
  'a URL such as "sqlite://", or a list of them',
  (value, option) => {
    const urls = typeof value === 'string' ? value.split(';').map((url) => url.trim()) : value
    if (!Array.isArray(urls) || urls.length === 0) return undefined
    return urls.map((url) => parseUrl(url, option, 'a URL such as "sqlite://", or a list of them'))
  },
  { show: (urls) => urls.map(redactUrl).join(';') },
)

/** The URL of a result backend, or `disabled`. */
export const backendUrl = kind<string, string>(
  'a URL such as "sqlite://", or "disabled"',
  (value, option) =>
    value === 'disabled' || value === 'disabled://' ? 'disabled' : parseUrl(value, option, 'a URL such as "sqlite://", or "disabled"'),
  { show: redactUrl },
)

function parseUrl(value: unknown, option: string, expected: string): string {
  if (typeof value !== 'string' || !urlPattern.test(value)) {
    throw new OptionInvalidError(option, expected, typeof value === 'string' ? redactUrl(value) : value)
  }
  return value
}

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
