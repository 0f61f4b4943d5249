/** Kinds of values that options have: each says in words what it expects, and turns what a user gave into what the code works with. */
import { OptionInvalidError, OptionUnknownError } from '../errors.js'
import { didYouMean } from './did-you-mean.js'
import { type Duration, formatDuration, parseDuration } from './duration.js'

export interface Kind<In, Out> {
  /** Completes "expected workerConcurrency to be …". */
  readonly expected: string
  /** Throws OptionInvalidError with `option` as the name of what was given. */
  parse(value: unknown, option: string): Out
  /** What the text of an environment variable or flag stands for, before `parse`; undefined: the option cannot be given as text. */
  readonly readText: ((text: string) => unknown) | undefined
  /** The value as documentation and `inspect-config` show it, secrets redacted. */
  show(value: Out): string
  /** Carries the type of what is accepted; there is no such field. */
  readonly '~in'?: In
}

interface KindOptions<Out> {
  readonly readText?: ((text: string) => unknown) | undefined
  readonly show?: (value: Out) => string
}

/** `read` gives undefined for what it does not accept. */
export function kind<In, Out>(
  expected: string,
  read: (value: unknown, option: string) => Out | undefined,
  options: KindOptions<Out> = {},
): Kind<In, Out> {
  return {
    expected,
    parse(value, option) {
      const parsed = read(value, option)
      if (parsed === undefined) throw new OptionInvalidError(option, expected, value)
      return parsed
    },
    readText: 'readText' in options ? options.readText : (text) => text,
    show: options.show ?? ((value) => JSON.stringify(value)),
  }
}

export const bool = kind<boolean, boolean>('true or false', (value) => (typeof value === 'boolean' ? value : undefined), {
  readText: (text) =>
    ({ true: true, yes: true, on: true, 1: true, false: false, no: false, off: false, 0: false })[text.toLowerCase()] ?? text,
})

export function wholeNumber(least: number, most = Number.MAX_SAFE_INTEGER): Kind<number, number> {
  const range = most < Number.MAX_SAFE_INTEGER ? `from ${least} to ${most}` : least === 1 ? 'above 0' : `of ${least} or more`
  return kind(
    `a whole number ${range}`,
    (value) => (Number.isSafeInteger(value) && Number(value) >= least && Number(value) <= most ? Number(value) : undefined),
    {
      readText: numberFromText,
    },
  )
}

/** Seconds, 0 or more. */
export const seconds = kind<Duration, number>('a duration (seconds, or text such as "10s")', parseDuration, {
  readText: numberFromText,
  show: formatDuration,
})

/** Seconds, more than 0. */
export const secondsAbove0 = kind<Duration, number>(
  'a duration above 0 (seconds, or text such as "10s")',
  (value) => {
    const parsed = parseDuration(value)
    return parsed === 0 ? undefined : parsed
  },
  { readText: numberFromText, show: formatDuration },
)

export const text = kind<string, string>('text that is not empty', (value) =>
  typeof value === 'string' && value !== '' ? value : undefined,
)

export function oneOf<const T extends string>(...words: readonly T[]): Kind<T, T> {
  return kind(words.map((word) => JSON.stringify(word)).join(' or '), (value) => words.find((word) => word === value))
}

export function nullable<In, Out>(inner: Kind<In, Out>): Kind<In | null, Out | null> {
  return {
    expected: `${inner.expected}, or null`,
    parse(value, option) {
      if (value === null) return null
      try {
        return inner.parse(value, option)
      } catch (error) {
        // The same complaint, with the other thing that may be given; complaints about a part of the value stay as they are.
        if (error instanceof OptionInvalidError && error.option === option && error.expected === inner.expected)
          throw new OptionInvalidError(option, this.expected, error.got)
        throw error
      }
    },
    readText: inner.readText === undefined ? undefined : (given) => (/^(null|none)$/i.test(given) ? null : inner.readText?.(given)),
    show: (value) => (value === null ? 'null' : inner.show(value)),
  }
}

/** Text: separated by commas. */
export function listOf(what: string, inner: Kind<string, string>): Kind<readonly string[], readonly string[]> {
  return kind(
    `a list of ${what}`,
    (value, option) => (Array.isArray(value) ? value.map((item, index) => inner.parse(item, `${option}[${index}]`)) : undefined),
    {
      readText: (given) =>
        given
          .split(',')
          .map((item) => item.trim())
          .filter((item) => item !== ''),
    },
  )
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

/** The JSON that the text is; the text itself when it is none, so that the message shows what was given. */
export function jsonFromText(given: string): unknown {
  try {
    return JSON.parse(given)
  } catch {
    return given
  }
}

export function numberFromText(given: string): unknown {
  return given.trim() !== '' && Number.isFinite(Number(given)) ? Number(given) : given
}

/** Reads an object with known fields only, camelCase or Celery's snake_case, each optional. */
export function fields<T extends Readonly<Record<string, Kind<unknown, unknown>>>>(
  value: unknown,
  option: string,
  expected: string,
  kinds: T,
): { readonly [K in keyof T]?: T[K] extends Kind<unknown, infer Out> ? Out : never } {
  if (!isRecord(value)) throw new OptionInvalidError(option, expected, value)
  const parsed: Record<string, unknown> = {}
  for (const [key, part] of Object.entries(value)) {
    if (part === undefined) continue
    const field = key.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
    const fieldKind = Object.hasOwn(kinds, field) ? kinds[field] : undefined
    if (fieldKind === undefined) {
      const near = didYouMean(key, Object.keys(kinds))
      throw new OptionUnknownError(`${option}.${key}`, near === undefined ? undefined : `${option}.${near}`)
    }
    parsed[field] = fieldKind.parse(part, `${option}.${key}`)
  }
  return parsed as { readonly [K in keyof T]?: T[K] extends Kind<unknown, infer Out> ? Out : never } // filled by the kinds of these very fields
}
