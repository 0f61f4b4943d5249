/** MessagePack as kombu has it: text and bytes told apart, no dates, no extensions. */
import { DecodeError } from '../errors.js'
import { importPeer } from '../internal/import-peer.js'
import type { Serializer } from '../serializer.js'
import { fold, maxNesting, Refused } from './fold.js'
import { plainTree, toPlain } from './tree.js'

/** What is used of @msgpack/msgpack. */
interface Library {
  encode(value: unknown, options: { readonly useBigInt64: boolean; readonly maxDepth: number }): Uint8Array
  decode(bytes: Uint8Array, options: { readonly useBigInt64: boolean; readonly extensionCodec: ExtensionCodec }): unknown
  readonly ExtensionCodec: new () => ExtensionCodec
}

interface ExtensionCodec {
  decode(data: Uint8Array, type: number): unknown
}

/** Throws DriverNotInstalledError without the package @msgpack/msgpack. */
export async function loadMsgpack(): Promise<Serializer> {
  const { encode, decode, ExtensionCodec } = await importPeer<Library>('the msgpack serializer', '@msgpack/msgpack')
  const extensionCodec = new ExtensionCodec()
  // Python's msgpack has no extension for a type of Celery: none is read.
  extensionCodec.decode = (_data, type) => {
    throw new DecodeError(`the bytes have the MessagePack extension ${type}, which Celery does not use`)
  }
  return {
    name: 'msgpack',
    contentType: 'application/x-msgpack',
    contentEncoding: 'binary',
    encode: (value, root) => encode(fold(value, root, format), { useBigInt64: true, maxDepth: maxNesting + 2 }),
    decode(data) {
      try {
        return toPlain(decode(typeof data === 'string' ? Buffer.from(data, 'latin1') : data, { useBigInt64: true, extensionCodec }))
      } catch (cause) {
        if (cause instanceof DecodeError) throw cause
        throw new DecodeError(`the bytes are not MessagePack: ${cause instanceof Error ? cause.message : ''}`, { cause })
      }
    },
  }
}

const tree = plainTree('msgpack')
const format = {
  ...tree,
  record(entries: readonly (readonly [string, unknown])[]): unknown {
    // The library refuses to read it.
    if (entries.some(([key]) => key === '__proto__')) throw new Refused('has a key __proto__, which msgpack readers refuse')
    return tree.record(entries)
  },
  // The library writes larger numbers as floats, which Python would read as floats.
  scalar: (value: null | boolean | number | string): unknown =>
    Number.isSafeInteger(value) && !fits32Bits(Number(value)) ? BigInt(Number(value)) : value,
  bigint(value: bigint): bigint {
    if (value < -(2n ** 63n) || value >= 2n ** 64n) throw new Refused('is an integer of more than 64 bits, which msgpack cannot hold')
    return value
  },
}

const fits32Bits = (value: number): boolean => value >= -(2 ** 31) && value < 2 ** 32
