/** The body of a task message: `[args, kwargs, embed]`. */
import { EncodeError, InvalidMessageError, show } from '../errors.js'
import type { Serializer } from '../serializer.js'
import { JsonText } from './json-text.js'
import { isRecord } from './plain.js'
import { checkSignatures } from './signature.js'

/** What comes after the task: signatures as they are on the wire. Read one with `parseSignature`. */
export interface Embed {
  /** Sent when the task succeeds. */
  readonly callbacks: readonly unknown[] | null
  /** Sent when the task fails. */
  readonly errbacks: readonly unknown[] | null
  /** The rest of the chain in REVERSE order: the next task is the last element. */
  readonly chain: readonly unknown[] | null
  /** The body of the chord that this task is a header member of. */
  readonly chord: unknown
}

export const emptyEmbed: Embed = Object.freeze({ callbacks: null, errbacks: null, chain: null, chord: null })
const emptyEmbedJson = '{"callbacks":null,"errbacks":null,"chain":null,"chord":null}'

export interface TaskBody {
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
  readonly embed: Embed
}

/** A body to write. `JsonText` may stand anywhere in it. */
export interface TaskBodyInput {
  readonly args: readonly unknown[] | JsonText
  readonly kwargs: Readonly<Record<string, unknown>> | JsonText
  readonly embed?: Embed | JsonText | null
}

/** Throws EncodeError whose path begins with `args`, `kwargs` or `embed`. */
export function encodeBody({ args, kwargs, embed }: TaskBodyInput, serializer: Serializer): string | Uint8Array {
  if (serializer.contentType !== 'application/json') return encodeWhole([args, kwargs, embed ?? emptyEmbed], serializer)
  return `[${serializer.encode(args, 'args')},${serializer.encode(kwargs, 'kwargs')},${isEmpty(embed) ? emptyEmbedJson : encodeEmbed(embed, serializer)}]`
}

/** Each part by itself: one that is written already (the body of a chord, the same in each of its header tasks) keeps the others from the serializer's quick road. */
function encodeEmbed(embed: TaskBodyInput['embed'], serializer: Serializer): string | Uint8Array {
  if (embed === undefined || embed === null || embed instanceof JsonText || !(embed.chord instanceof JsonText))
    return serializer.encode(embed, 'embed')
  const { callbacks, errbacks, chain, chord } = embed
  const part = (name: string, value: unknown): string => `"${name}":${value === null ? 'null' : serializer.encode(value, `embed.${name}`)}`
  return `{${part('callbacks', callbacks)},${part('errbacks', errbacks)},${part('chain', chain)},"chord":${chord.text}}`
}

function isEmpty(embed: TaskBodyInput['embed']): boolean {
  if (embed === undefined || embed === null) return true
  return !(embed instanceof JsonText) && embed.callbacks === null && embed.errbacks === null && embed.chain === null && embed.chord === null
}

/** Binary formats are written in one piece; the paths of their errors are put back into our words. */
function encodeWhole(body: readonly unknown[], serializer: Serializer): string | Uint8Array {
  try {
    return serializer.encode(body, 'body')
  } catch (error) {
    if (!(error instanceof EncodeError)) throw error
    const path = error.path.replace('body[0]', 'args').replace('body[1]', 'kwargs').replace('body[2]', 'embed')
    throw new EncodeError(path, error.reason, { cause: error })
  }
}

/**
 * Checks a decoded body: exactly three elements, an array, an object, and the embed (null and missing keys are allowed).
 * Throws InvalidMessageError, also when the signatures in it are over `signatureLimits`.
 */
export function decodeBody(value: unknown): TaskBody {
  if (!Array.isArray(value) || value.length !== 3) {
    const got = Array.isArray(value) ? `an array of ${value.length}` : show(value)
    throw new InvalidMessageError(`expected the body to be an array of 3 elements [args, kwargs, embed], got: ${got}`)
  }
  const [args, kwargs, embed] = value as unknown[]
  if (!Array.isArray(args)) throw new InvalidMessageError(`expected args (body[0]) to be an array, got: ${show(args)}`)
  if (!isRecord(kwargs)) throw new InvalidMessageError(`expected kwargs (body[1]) to be an object, got: ${show(kwargs)}`)
  return { args, kwargs, embed: decodeEmbed(embed) }
}

/** What comes after the task, also where its arguments are none. Throws as `decodeBody`. */
export function decodeEmbedIn(value: unknown): Embed {
  if (Array.isArray(value) && value.length === 3) return decodeEmbed(value[2])
  return decodeBody(value).embed
}

function decodeEmbed(value: unknown): Embed {
  if (value === null) return emptyEmbed
  if (!isRecord(value)) throw new InvalidMessageError(`expected embed (body[2]) to be an object or null, got: ${show(value)}`)
  const chord = value.chord ?? null
  const embed: Embed = {
    callbacks: signatures(value.callbacks, 'embed.callbacks'),
    errbacks: signatures(value.errbacks, 'embed.errbacks'),
    chain: signatures(value.chain, 'embed.chain'),
    chord,
  }
  if (embed.callbacks === null && embed.errbacks === null && embed.chain === null && chord === null) return emptyEmbed
  checkSignatures([
    ['embed.callbacks', embed.callbacks],
    ['embed.errbacks', embed.errbacks],
    ['embed.chain', embed.chain],
    ['embed.chord', chord],
  ])
  return embed
}

/** Celery writes a list; a single signature is taken as a list of one. */
function signatures(value: unknown, where: string): readonly unknown[] | null {
  if (value === null || value === undefined) return null
  if (Array.isArray(value)) return value
  if (isRecord(value)) return [value]
  throw new InvalidMessageError(`expected ${where} to be an array of signatures or null, got: ${show(value)}`)
}
