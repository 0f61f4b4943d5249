/** YAML as kombu has it: PyYAML's safe_dump and safe_load, which are YAML 1.1. No tag makes anything but data. */
import { DecodeError } from '../errors.js'
import { importPeer } from '../internal/import-peer.js'
import type { Serializer } from '../serializer.js'
import { decodeUtf8 } from './json.js'
import { toPlain } from './tree.js'
import { writeYaml } from './yaml-writer.js'

/** What is used of the package yaml. */
interface Library {
  parseDocument(text: string, options: Readonly<Record<string, unknown>>): Document
}

interface Document {
  readonly errors: readonly Error[]
  readonly warnings: readonly Error[]
  toJS(options: { readonly maxAliasCount: number }): unknown
}

/** Throws DriverNotInstalledError without the package yaml. */
export async function loadYaml(): Promise<Serializer> {
  const { parseDocument } = await importPeer<Library>('the yaml serializer', 'yaml')
  return {
    name: 'yaml',
    contentType: 'application/x-yaml',
    contentEncoding: 'utf-8',
    encode: writeYaml,
    decode(data) {
      const text = typeof data === 'string' ? data : decodeUtf8(data)
      try {
        const document = parseDocument(text, { version: '1.1', intAsBigInt: true, logLevel: 'error', prettyErrors: false })
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
