import { InvalidMessageError, show } from '../errors.js'

/** A call as it came in its message: Celery's own tasks read it themselves. */
export interface RawCall {
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
}

/** By position or by name, as Python calls its own. */
export function given({ args, kwargs }: RawCall, index: number, name: string): unknown {
  return index < args.length ? args[index] : kwargs[name]
}

export function list(value: unknown, where: string): readonly unknown[] {
  if (Array.isArray(value)) return value
  throw new InvalidMessageError(`expected ${where} to be a list, got: ${show(value)}`)
}
