import fc from 'fast-check'
import { expect, test } from 'vitest'
import { DecodeError, TooLargeError } from '../../dist/errors.js'
import { encodeFrame, type Frame, FrameDecoder } from '../../dist/pools/frames.js'

const head = fc.jsonValue().map((value) => JSON.parse(JSON.stringify({ value })))
const body = fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.string({ unit: 'binary', maxLength: 300 }))

test('frames come out as they went in, however the bytes are cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(head, body), { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
      (sent, cuts) => {
        const bytes = Buffer.concat(sent.map(([head, body]) => encodeFrame(head, body)))
        const got: Frame[] = []
        const decoder = new FrameDecoder()
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          const length = cuts[turn % cuts.length] ?? 1
          decoder.push(bytes.subarray(at, at + length), (frame) => got.push(frame))
          at += length
        }
        expect(got.map((frame) => frame.head)).toEqual(sent.map(([head]) => head))
        expect(got.map((frame) => Buffer.from(frame.body))).toEqual(sent.map(([, body]) => Buffer.from(body)))
      },
    ),
  )
})

test('bytes that no encoder wrote give a DecodeError or TooLargeError, never another error', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        new FrameDecoder(1_000_000).push(Buffer.from(bytes), () => {})
      } catch (error) {
        expect(error instanceof DecodeError || error instanceof TooLargeError).toBe(true)
      }
    }),
  )
})

test('a frame over the limit is refused by both ends', () => {
  expect(() => encodeFrame({}, 'x'.repeat(100), { maxBytes: 50 })).toThrow(TooLargeError)
  expect(() => new FrameDecoder(50).push(encodeFrame({}, 'x'.repeat(100)), () => {})).toThrow(TooLargeError)
})

test('a large body that comes in small chunks is read in time linear to its size', () => {
  const bytes = encodeFrame({ n: 1 }, Buffer.alloc(8_000_000, 7))
  const decoder = new FrameDecoder()
  let got: Frame | undefined
  for (let at = 0; at < bytes.length; at += 65_536) decoder.push(bytes.subarray(at, at + 65_536), (frame) => (got = frame))
  expect(got?.body.length).toBe(8_000_000)
})

test('a head may hold integers of any size', () => {
  const frames: Frame[] = []
  new FrameDecoder().push(encodeFrame({ headers: { user: 2n ** 63n } }, 'body'), (frame) => frames.push(frame))
  expect(frames).toMatchObject([{ head: { headers: { user: 2n ** 63n } } }])
})
