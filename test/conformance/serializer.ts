/** What every serializer promises (src/serializer.ts): values come back, what cannot be written is named, what cannot be read is an error. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DecodeError, EncodeError } from '../../dist/errors.js'
import type { Serializer } from '../../dist/serializer.js'

export interface SerializerDriver {
  readonly name: string
  readonly contentType: string
  open(): Serializer | Promise<Serializer>
  /** Bytes or text that are not of its format. */
  readonly garbage: string | Uint8Array
}

export function testSerializer({ name, contentType, open, garbage }: SerializerDriver): void {
  describe(`serializer ${name}`, () => {
    test('it has its name and content type, and writes what its encoding says', async () => {
      const serializer = await open()
      expect([serializer.name, serializer.contentType]).toEqual([name, contentType])
      const written = serializer.encode([[1], {}, null], 'body')
      if (serializer.contentEncoding === 'utf-8') expect(typeof written).toBe('string')
      else expect(written).toBeInstanceOf(Uint8Array)
    })

    test('plain data comes back as it was', async () => {
      const serializer = await open()
      fc.assert(
        fc.property(fc.jsonValue({ maxDepth: 3 }), (given) => {
          const text = JSON.stringify(given)
          fc.pre(!text.includes('__'))
          // JSON's own view of the value: it knows no -0.
          const value: unknown = JSON.parse(text)
          expect(serializer.decode(serializer.encode(value, 'value'))).toEqual(value)
        }),
        { numRuns: 200 },
      )
    })

    test('what is no data is refused with its path from the root', async () => {
      const serializer = await open()
      for (const wrong of [() => 1, Symbol('s'), new Map()]) {
        let refusal: unknown
        try {
          serializer.encode({ list: [1, wrong] }, 'args')
        } catch (error) {
          refusal = error
        }
        expect(refusal).toBeInstanceOf(EncodeError)
        expect(refusal).toMatchObject({ path: 'args.list[1]' })
      }
    })

    test('what is not of its format is a DecodeError', async () => {
      const serializer = await open()
      expect(() => serializer.decode(garbage)).toThrow(DecodeError)
    })
  })
}
