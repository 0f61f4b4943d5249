/** The serializers of an app: by name, by content type, loaded when they are first needed. */
import { constants } from 'node:buffer'
import { ContentDisallowedError, NotSupportedError, OptionInvalidError } from '../errors.js'
import type { Message } from '../protocol/message.js'
import type { Serializer } from '../serializer.js'
import { type Content, decodeContent } from './accept.js'
import { compressMessage, defaultMaxBytes } from './compression.js'
import { json } from './json.js'
import type { Signing } from './signed.js'

/** How messages of the serializer `auth` are signed and verified; `inner` and `accepted` are names of serializers. */
export interface SigningOptions extends Omit<Signing, 'inner' | 'accepted'> {
  readonly inner: string
  readonly accepted: readonly string[]
}

export class Serializers {
  readonly #maxBytes: number
  readonly #signing: SigningOptions | undefined
  readonly #loaded = new Map<string, Serializer>([[json.contentType, json]])

  /** `maxBytes` bounds a body that is read, compressed and decompressed: 16 MiB by default, null is no limit. Without `signing` there is no `auth`. */
  constructor({ maxBytes = defaultMaxBytes, signing }: { readonly maxBytes?: number | null; readonly signing?: SigningOptions } = {}) {
    this.#maxBytes = maxBytes ?? constants.MAX_LENGTH
    this.#signing = signing
  }

  /**
   * By Celery's name or by content type; a promise the first time one is asked for that needs a package or files. Throws (or rejects with) OptionInvalidError for an
   * unknown name, NotSupportedError for pickle, DriverNotInstalledError for a missing package, SecurityError for keys and certificates that cannot be used.
   */
  get(name: string): Serializer | Promise<Serializer> {
    const contentType = contentTypeOf(name)
    return this.#loaded.get(contentType) ?? this.#load(contentType)
  }

  async #load(contentType: string): Promise<Serializer> {
    const serializer = contentType === contentTypes.auth ? await this.#loadSigned() : await loaders[contentType]?.()
    if (serializer === undefined) throw unknownName(contentType)
    this.#loaded.set(contentType, serializer)
    return serializer
  }

  async #loadSigned(): Promise<Serializer | undefined> {
    if (this.#signing === undefined) return undefined
    const { inner, accepted, ...signing } = this.#signing
    const [wrapped, ...read] = await Promise.all([inner, ...accepted].map((name) => this.get(name)))
    const { loadSigned } = await import('./signed.js')
    return loadSigned({ ...signing, inner: wrapped ?? json, accepted: read })
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

const contentTypes = {
  json: 'application/json',
  msgpack: 'application/x-msgpack',
  yaml: 'application/x-yaml',
  auth: 'application/data',
} as const satisfies Readonly<Record<string, string>>

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
  const contentType = isName(name) ? contentTypes[name] : name
  if (contentType !== contentTypes.auth && !Object.hasOwn(loaders, contentType)) throw unknownName(name)
  return contentType
}

const isName = (name: string): name is keyof typeof contentTypes => Object.hasOwn(contentTypes, name)

const unknownName = (name: string): OptionInvalidError => new OptionInvalidError('serializer', 'json, msgpack, yaml or auth', name)
