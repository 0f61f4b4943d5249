/** Options as rows: reading, refusing and documenting those of a driver comes out of one table. */
import { NotSupportedError, OptionInvalidError, OptionUnknownError } from '../errors.js'
import { didYouMean } from './did-you-mean.js'
import { isRecord, type Kind } from './option-kinds.js'

export interface OptionRow<Out> {
  readonly kind: Kind<never, Out> | Kind<unknown, Out>
  /** What the option is when it is not given; undefined is not given. */
  readonly default: Out | undefined
  /** What it does, as the documentation says it. */
  readonly sentence: string
}

export type OptionTable = Readonly<Record<string, OptionRow<unknown>>>

/** The values of a table's options. */
export type OptionsOf<Table> = {
  readonly [K in keyof Table]: Table[K] extends { readonly kind: Kind<infer _In, infer Out>; readonly default: infer Default }
    ? Out | (Default extends undefined ? undefined : never)
    : never
}

/** Options that others have and we have not: for each, what there is instead. Spelled as ours are. */
export type RefusedOptions = Readonly<Record<string, string>>

/** In camelCase, whatever it was: `visibility_timeout` is visibilityTimeout. */
export function camelCase(name: string): string {
  return name.replaceAll(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

/**
 * Reads a record of options, camelCase or Celery's snake_case, by their table. `record` is its name in messages. Throws OptionUnknownError,
 * OptionInvalidError, and NotSupportedError for those in `refused`.
 */
export function readOptions<const Table extends OptionTable>(
  given: unknown,
  record: string,
  table: Table,
  refused: RefusedOptions,
): OptionsOf<Table> {
  if (!isRecord(given)) throw new OptionInvalidError(record, 'an object', given)
  const values: Record<string, unknown> = Object.fromEntries(Object.entries(table).map(([option, row]) => [option, row.default]))
  const spelled = new Map<string, string>()
  for (const [spelling, value] of Object.entries(given)) {
    if (value === undefined) continue
    const option = camelCase(spelling)
    if (Object.hasOwn(refused, option)) throw new NotSupportedError(`${record}.${spelling}`, refused[option] ?? '')
    const row = Object.hasOwn(table, option) ? table[option] : undefined
    if (row === undefined) {
      const near = didYouMean(spelling, Object.keys(table))
      throw new OptionUnknownError(`${record}.${spelling}`, near === undefined ? undefined : `${record}.${near}`)
    }
    const before = spelled.get(option)
    if (before !== undefined) throw new OptionInvalidError(`${record}.${option}`, 'given under one name', [before, spelling])
    spelled.set(option, spelling)
    values[option] = row.kind.parse(value, `${record}.${spelling}`)
  }
  return values as OptionsOf<Table> // filled by the kinds and defaults of these very rows
}

/** For drivers that take no options. Throws OptionInvalidError. */
export function refuseOptions(given: Readonly<Record<string, unknown>>, record: string, driver: string): void {
  const names = Object.keys(given)
  if (names.length > 0) throw new OptionInvalidError(record, `left out: the ${driver} driver takes no options`, names)
}
