/** YAML as kombu has it: PyYAML's safe_dump and safe_load, which are YAML 1.1, with sorted keys. No tag makes anything but data. */
import { DecodeError } from '../errors.js'
import { importPeer } from '../internal/import-peer.js'
import type { Serializer } from '../serializer.js'
import { fold } from './fold.js'
import { decodeUtf8 } from './json.js'
import { plainTree, toPlain } from './tree.js'

/** What is used of the package yaml. */
interface Library {
  stringify(value: unknown, options: Readonly<Record<string, unknown>>): string
  parseDocument(text: string, options: Readonly<Record<string, unknown>>): Document
}

interface Document {
  readonly errors: readonly Error[]
  readonly warnings: readonly Error[]
  toJS(options: { readonly maxAliasCount: number }): unknown
}

const version = '1.1'

/** Throws DriverNotInstalledError without the package yaml. */
export async function loadYaml(): Promise<Serializer> {
  const { parseDocument, stringify } = await importPeer<Library>('the yaml serializer', 'yaml')
  return {
    name: 'yaml',
    contentType: 'application/x-yaml',
    contentEncoding: 'utf-8',
    encode: (value, root) =>
      stringify(fold(value, root, format), {
        version,
        sortMapEntries: true,
        aliasDuplicateObjects: false,
        lineWidth: 0,
        customTags: (tags: readonly unknown[]) => [floatTag, ...tags],
      }),
    decode(data) {
      const text = typeof data === 'string' ? data : decodeUtf8(data)
      try {
        const document = parseDocument(text, { version, intAsBigInt: true, logLevel: 'error', prettyErrors: false })
        // An unknown tag is a warning of the library: PyYAML's safe_load refuses it, and so do we.
        const [problem] = [...document.errors, ...document.warnings]
        if (problem !== undefined) throw problem
        return toPlain(document.toJS({ maxAliasCount: 100 }))
      } catch (cause) {
        if (cause instanceof DecodeError) throw cause
        throw new DecodeError(`the text is not YAML that can be read safely: ${cause instanceof Error ? cause.message : ''}`, { cause })
      }
    },
  }
}

/** A number as PyYAML reads a float: with a point, also before an exponent, and never as an integer. */
class FloatText {
  readonly text: string
  constructor(value: number) {
    const [mantissa = '', exponent] = String(value).split('e')
    this.text = `${mantissa.includes('.') ? mantissa : `${mantissa}.0`}${exponent === undefined ? '' : `e${exponent}`}`
  }
}

const floatTag = {
  tag: 'tag:yaml.org,2002:float',
  default: true,
  identify: (value: unknown): boolean => value instanceof FloatText,
  // Only values that it identified come here.
  stringify: ({ value }: { readonly value: unknown }): string => (value as FloatText).text,
}

const format = {
  ...plainTree('yaml'),
  scalar: (value: null | boolean | number | string): unknown =>
    typeof value === 'number' && Number.isFinite(value) && !Number.isSafeInteger(value) ? new FloatText(value) : value,
  // YAML has timestamps and binaries of its own.
  date: (value: Date): Date => value,
}
