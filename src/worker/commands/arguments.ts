/** Reads arguments of requests. What is wrong is answered to whoever asked. */
import { InvalidMessageError, show } from '../../errors.js'
import { isName } from '../../protocol/name.js'

const wrong = (argument: string, expected: string, got: unknown): InvalidMessageError =>
  new InvalidMessageError(`expected ${argument} to be ${expected}, got: ${show(got)}`)

export function name(value: unknown, argument: string): string {
  if (isName(value)) return value
  throw wrong(argument, 'a name', value)
}

export const optionalName = (value: unknown, argument: string): string | undefined =>
  value === undefined || value === null || value === '' ? undefined : name(value, argument)

/** One text, or several. */
export function textList(value: unknown, argument: string): readonly string[] {
  const list = value === undefined || value === null ? [] : Array.isArray(value) ? value : [value]
  if (list.every((item) => typeof item === 'string')) return list
  throw wrong(argument, 'a text or a list of texts', value)
}

export function wholeNumber(value: unknown, argument: string, least: number): number {
  if (Number.isSafeInteger(value) && (value as number) >= least) return value as number // a safe integer, checked
  throw wrong(argument, `a whole number of ${least} or more`, value)
}

/** Above 0; null and 0 are none. */
export function optionalSeconds(value: unknown, argument: string): number | undefined {
  if (value === undefined || value === null || value === 0) return undefined
  if (typeof value === 'number' && Number.isFinite(value) && value > 0) return value
  throw wrong(argument, 'a number of seconds', value)
}
