import { show } from '../errors.js'
import type { Logger } from '../internal/logger.js'
import { safeLines } from '../internal/safe-text.js'

type Method = Exclude<keyof Logger, 'isLevelEnabled'>

const rank: Record<Method | 'fatal', number> = { debug: 0, info: 1, warn: 2, error: 3, fatal: 4 }

/**
 * Lines in Celery's form: `[2026-11-22 19:15:00,123: INFO/MainProcess] Task add[id] succeeded in 0.18s: 5`.
 * The object's fields are for machines (see the JSON format); the human line shows the message, and the stack of `err`.
 */
export function humanLogger({
  level,
  process: processName,
  write,
}: {
  level: keyof typeof rank
  process: string
  write: (line: string) => void
}): Logger {
  const line = (lineLevel: Method, fields: unknown, message: string | undefined): void => {
    if (!isLogged(lineLevel, level)) return
    const text = message ?? (typeof fields === 'string' ? fields : fields instanceof Error ? fields.message : show(fields))
    const error = fields instanceof Error ? fields : isRecord(fields) ? fields.err : undefined
    const stack = error instanceof Error && rank[lineLevel] >= rank.warn ? `\n${error.stack ?? error.message}` : ''
    const head = `[${localTime(new Date())}: ${lineLevel === 'warn' ? 'WARNING' : lineLevel.toUpperCase()}/${processName}]`
    write(`${head} ${safeLines(`${text}${stack}`)}\n`)
  }
  return {
    debug: (fields, message) => line('debug', fields, message),
    info: (fields, message) => line('info', fields, message),
    warn: (fields, message) => line('warn', fields, message),
    error: (fields, message) => line('error', fields, message),
    isLevelEnabled: (asked) => isLogged(asked, level),
  }
}

/** Whether lines of a level are written where `least` is the lowest that is. A level that is not known here is not dropped. */
export function isLogged(level: string, least: keyof typeof rank): boolean {
  return !Object.hasOwn(rank, level) || rank[level as keyof typeof rank] >= rank[least]
}

/** Drops every line: for programs that set no logger. */
export const silentLogger: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, isLevelEnabled: () => false }

/** Puts fields in front of every line: `{ task, id }`. */
export function childLogger(parent: Logger, fields: Readonly<Record<string, unknown>>, prefix: string): Logger {
  const to = (level: Method) => (given: unknown, message?: string) => {
    if (given instanceof Error) parent[level]({ ...fields, err: given }, `${prefix}${message ?? given.message}`)
    else if (isRecord(given)) parent[level]({ ...fields, ...given }, `${prefix}${message ?? show(given)}`)
    else parent[level](fields, `${prefix}${message ?? (typeof given === 'string' ? given : show(given))}`)
  }
  return { debug: to('debug'), info: to('info'), warn: to('warn'), error: to('error') }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function localTime(date: Date): string {
  const two = (n: number): string => String(n).padStart(2, '0')
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())},${String(date.getMilliseconds()).padStart(3, '0')}`
}
