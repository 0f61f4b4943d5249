/** From what a user gave to a whole Config: defaults are filled in, every value is checked, unknown names are refused. */
import { NotSupportedError, OptionInvalidError, OptionUnknownError } from '../errors.js'
import type { Address } from '../internal/address.js'
import { insteadOf } from './config-elsewhere.js'
import { type aliases, findOption, type SnakeCase } from './config-names.js'
import { type Config, configTable, type OptionInput, type OptionName, rows } from './config-table.js'

export type { Config, OptionName } from './config-table.js'

/** The options of `new Celeriac(name, options)`: by their names, by Celery's own (`task_acks_late`), and `broker` and `backend` for short. */
export type ConfigInput = OptionInput & { readonly [K in OptionName as SnakeCase<K>]?: OptionInput[K] } & {
  readonly [K in keyof typeof aliases]?: OptionInput[(typeof aliases)[K]]
}

/** One option as it was given. */
export interface GivenOption {
  readonly option: OptionName
  readonly value: unknown
  /** The name under which it was given, which messages use: an option or an environment variable. */
  readonly spelling: string
}

/** The options that an object gives, each once; undefined is "not given". Throws OptionUnknownError, OptionInvalidError, and NotSupportedError for what Celery alone has. */
export function givenIn(input: ConfigInput): readonly GivenOption[] {
  const given = new Map<OptionName, GivenOption>()
  for (const [spelling, value] of Object.entries(input)) {
    if (value === undefined) continue
    const found = findOption(spelling)
    if (!('option' in found)) {
      const instead = insteadOf(spelling)
      throw instead === undefined
        ? new OptionUnknownError(spelling, found.suggestion)
        : new NotSupportedError(`the option ${spelling}`, instead)
    }
    const before = given.get(found.option)
    if (before !== undefined) throw new OptionInvalidError(found.option, 'given under one name', [before.spelling, spelling])
    given.set(found.option, { option: found.option, value, spelling })
  }
  return [...given.values()]
}

/** Later ones win over earlier ones. Throws OptionInvalidError. */
export function resolveGiven(given: readonly GivenOption[]): Config {
  const values: Partial<Record<OptionName, unknown>> = {}
  for (const { option, value, spelling } of given) values[option] = configTable[option].kind.parse(value, spelling)
  // brokerUrl stands first in the table: defaults that are found from it come after it.
  for (const [option, row] of rows) {
    if (!(option in values)) values[option] = defaultOf(row, (values as Config).brokerUrl) // filled in by now, see above
  }
  return Object.freeze(values as Config) // every row has filled in its own value
}

function defaultOf({ default: fallback }: (typeof rows)[number][1], brokerUrl: readonly Address[]): unknown {
  return 'value' in fallback ? fallback.value : fallback.find({ brokerUrl })
}

/** Celery's own defaults where ours differ: `new Celeriac('shop', { ...celeryDefaults })`. See docs/config.md for what each gives up. */
export const celeryDefaults: ConfigInput = Object.freeze(
  Object.fromEntries(rows.filter(([, row]) => 'celery' in row).map(([option, row]) => [option, row.celery])),
)

export interface DescribedOption {
  readonly option: OptionName
  /** The value as text, secrets redacted. */
  readonly value: string
  /** `default` (or the same value), `app`, or the name of the environment variable. */
  readonly source: string
}

/** What `inspect-config` shows: every option in the table's order. `environment`: what the environment gave. */
export function describeConfig(config: Config, environment: readonly GivenOption[]): readonly DescribedOption[] {
  return rows.map(([option, row]) => {
    const value = row.kind.show(config[option])
    const fallback = row.kind.show(defaultOf(row, config.brokerUrl))
    const variable = environment.find((given) => given.option === option)?.spelling
    return { option, value, source: variable ?? (value === fallback ? 'default' : 'app') }
  })
}
