/** Stamps: names and values that are written into every task of a canvas, so that all of them can be found, or revoked, together (celery-wire 2.9). */

export type Stamps = Readonly<Record<string, unknown>>

/** What a visitor is shown: a signature as it stands in its canvas. */
export interface Stamped {
  readonly task: string
  /** Celery's form. */
  toJSON(): unknown
}

/**
 * Decides on the stamps of each part of a canvas. A method gives the stamps that it adds (none: nothing), and is shown those that come from around the part:
 * where both have one name, those from around win, unless stamps are appended. Everything inside of a part gets its stamps, too.
 */
export interface StampingVisitor {
  /** Every task, also in groups, chains, chords and links. */
  onSignature?(signature: Stamped, stamps: Stamps): Stamps | undefined
  onGroupStart?(group: Stamped, stamps: Stamps): Stamps | undefined
  onGroupEnd?(group: Stamped, stamps: Stamps): void
  onChainStart?(chain: Stamped, stamps: Stamps): Stamps | undefined
  onChainEnd?(chain: Stamped, stamps: Stamps): void
  /** Default: as `onGroupStart`, with the header. What it adds is for the body, too. */
  onChordHeaderStart?(chord: Stamped, stamps: Stamps): Stamps | undefined
  /** Default: as `onGroupEnd`, with the header. */
  onChordHeaderEnd?(chord: Stamped, stamps: Stamps): void
  onChordBody?(chord: Stamped, stamps: Stamps): Stamps | undefined
  onCallback?(callback: Stamped, stamps: Stamps): Stamps | undefined
  onErrback?(errback: Stamped, stamps: Stamps): Stamps | undefined
}

export interface StampOptions {
  /** True: a stamp that is there already becomes a list of both values. False (the default): the new one takes its place. */
  append?: boolean
}

const methods: readonly (keyof StampingVisitor)[] = [
  'onSignature',
  'onGroupStart',
  'onGroupEnd',
  'onChainStart',
  'onChainEnd',
  'onChordHeaderStart',
  'onChordHeaderEnd',
  'onChordBody',
  'onCallback',
  'onErrback',
]

/** Stamps are data, and functions are none: what has one of the methods is a visitor. */
export function isVisitor(value: StampingVisitor | Stamps): value is StampingVisitor {
  const given = value as Stamps // either is an object
  return methods.some((method) => typeof given[method] === 'function')
}

/** `first` wins where both have a name; with `append`, or where both have lists, such a stamp is the list of both. */
export function mergedStamps(first: Stamps, second: Stamps | undefined, append: boolean): Stamps {
  if (second === undefined) return first
  const merged: Record<string, unknown> = { ...second, ...first }
  for (const name of Object.keys(first)) {
    if (!Object.hasOwn(second, name)) continue
    const [one, other] = [first[name], second[name]]
    if (append || (Array.isArray(one) && Array.isArray(other))) merged[name] = [one, other].flat()
  }
  return merged
}
