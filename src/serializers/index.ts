/** The serializers of an app: by name, by content type, loaded when they are first needed. */
import { constants } from 'node:buffer'
import { ContentDisallowedError, NotSupportedError, OptionInvalidError } from '../errors.js'
import type { Message } from '../protocol/message.js'
import type { Serializer } from '../serializer.js'
import { type Content, decodeContent } from './accept.js'
import { compressMessage, defaultMaxBytes } from './compression.js'
import { json } from './json.js'

export class Serializers {
  readonly #maxBytes: number
  readonly #loaded = new Map<string, Serializer>([[json.contentType, json]])

  /** `maxBytes` bounds a body that is read, compressed and decompressed: 16 MiB by default, null is no limit. */
  constructor({ maxBytes = defaultMaxBytes }: { readonly maxBytes?: number | null } = {}) {
    this.#maxBytes = maxBytes ?? constants.MAX_LENGTH
  }

  /**
   * By Celery's name or by content type; a promise the first time one is asked for that needs a package. Throws (or rejects with) OptionInvalidError for an unknown
   * name, NotSupportedError for pickle, DriverNotInstalledError for a missing package.
   */
  get(name: string): Serializer | Promise<Serializer> {
    const contentType = contentTypeOf(name)
    return this.#loaded.get(contentType) ?? this.#load(contentType)
  }

  async #load(contentType: string): Promise<Serializer> {
    const serializer = await loaders[contentType]?.()
    if (serializer === undefined) throw unknownName(contentType)
    this.#loaded.set(contentType, serializer)
    return serializer
  }

  /**
   * The value of a body: a promise where `get` gives one. `accept` are names or content types. Throws (or rejects with) ContentDisallowedError before any byte is looked at,
   * TooLargeError, DecodeError.
   */
  decode(content: Content, { accept }: { readonly accept: readonly string[] }): unknown {
    if (!accept.some((name) => contentTypeOf(name) === content.contentType))
      throw new ContentDisallowedError(content.contentType, accept.map(contentTypeOf))
    const serializer = this.get(content.contentType)
    if (serializer instanceof Promise) return serializer.then((loaded) => decodeContent(content, loaded, this.#maxBytes))
    return decodeContent(content, serializer, this.#maxBytes)
  }

  /** The message with its body compressed. Throws OptionInvalidError for an unknown name, NotSupportedError for one that this Node cannot do. */
  compress(message: Message, compression: string): Message {
    return compressMessage(message, compression)
  }
}

const contentTypes: Readonly<Record<string, string>> = {
  json: 'application/json',
  msgpack: 'application/x-msgpack',
  yaml: 'application/x-yaml',
}

const loaders: Readonly<Record<string, () => Promise<Serializer>>> = {
  'application/json': async () => json,
  'application/x-msgpack': async () => (await import('./msgpack.js')).loadMsgpack(),
  'application/x-yaml': async () => (await import('./yaml.js')).loadYaml(),
}

function contentTypeOf(name: string): string {
  if (name === 'json') return json.contentType
  if (name === 'pickle' || name === 'application/x-python-serialize') {
    throw new NotSupportedError('the pickle serializer', 'reading a pickle runs code that the message brings. Use json, msgpack or yaml')
  }
  const contentType = Object.hasOwn(contentTypes, name) ? contentTypes[name] : name
  if (contentType === undefined || !Object.hasOwn(loaders, contentType)) throw unknownName(name)
  return contentType
}

const unknownName = (name: string): OptionInvalidError => new OptionInvalidError('serializer', 'json, msgpack or yaml', name)
