import { OptionUnknownError } from '../errors.js'
import { didYouMean } from './did-you-mean.js'

/** The names of an options type as a value: the compiler holds the two together. */
export type NamesOf<Options> = Readonly<Record<keyof Options, true>>

/**
 * Refuses names that nothing would read: not every caller has a compiler that does, and an option that is ignored may be the one that says which workers
 * to stop. `where` stands before the name in the message. Throws OptionUnknownError.
 */
export function checkNames(given: object, known: Readonly<Record<string, true>>, where = ''): void {
  for (const name in given) {
    if (Object.hasOwn(known, name)) continue
    const near = didYouMean(name, Object.keys(known))
    throw new OptionUnknownError(`${where}${name}`, near === undefined ? undefined : `${where}${near}`)
  }
}
