/** The spellings of an option: `taskAcksLate`, Celery's `task_acks_late`, `CELERIAC_TASK_ACKS_LATE` and `CELERY_TASK_ACKS_LATE`. */
import { didYouMean } from '../internal/did-you-mean.js'
import { type OptionName, rows } from './config-table.js'

/** Short names that Celery's constructor has for two options. */
export const aliases = { broker: 'brokerUrl', backend: 'resultBackend' } as const satisfies Record<string, OptionName>

/** `taskAcksLate` as Celery spells it. */
export type SnakeCase<Name extends string, Done extends string = ''> = Name extends `${infer Letter}${infer Rest}`
  ? SnakeCase<Rest, `${Done}${Letter extends Lowercase<Letter> ? Letter : `_${Lowercase<Letter>}`}`>
  : Done

export function celeryName(option: string): string {
  return option.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}

/** The names of the environment, the one that wins first. */
export function environmentNames(option: string): readonly [string, string] {
  const upper = celeryName(option).toUpperCase()
  return [`CELERIAC_${upper}`, `CELERY_${upper}`]
}

/** The option that a name in an options object stands for, or what was probably meant. */
export function findOption(spelling: string): { readonly option: OptionName } | { readonly suggestion: string | undefined } {
  const spellings = optionSpellings()
  const option = spellings.get(spelling)
  if (option !== undefined) return { option }
  const wanted = [...spellings.keys()].filter((known) => known.includes('_') === spelling.includes('_'))
  return { suggestion: didYouMean(spelling, wanted) }
}

function optionSpellings(): ReadonlyMap<string, OptionName> {
  const spellings = new Map<string, OptionName>(Object.entries(aliases))
  for (const [option] of rows) spellings.set(option, option).set(celeryName(option), option)
  return spellings
}
