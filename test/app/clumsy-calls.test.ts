/** What a call accepts, a worker can read: nothing is taken that would be a dead letter. */
import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { type ApplyOptions, Celeriac } from '../../dist/index.js'
import { TaskHead } from '../../dist/protocol/task-head.js'

const text = fc.oneof(
  { arbitrary: fc.stringMatching(/^[a-z.]{1,20}$/), weight: 20 },
  fc.string({ maxLength: 300 }),
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.constantFrom('é'.repeat(200), 'a\nb', '\u0085', '\u2028', '\ud800', '\u001b[2J', '', 'x'.repeat(256)),
)
const number = fc.oneof({ arbitrary: fc.nat(200), weight: 20 }, fc.integer(), fc.double(), fc.constantFrom(0, -1, 1e300, 1.7e308))
const options = fc.record(
  {
    taskId: text,
    shadow: text,
    queue: text,
    countdown: number,
    expires: number,
    priority: number,
    timeLimit: number,
    softTimeLimit: number,
    headers: fc.dictionary(text, fc.oneof(fc.jsonValue(), fc.bigInt())),
    stamps: fc.dictionary(text, fc.oneof(fc.jsonValue(), fc.bigInt())),
  },
  { requiredKeys: [] },
)

test('whatever a call is given, it is refused with a code, or a message that a worker can read', async () => {
  await using app = new Celeriac('clumsy', { broker: `memory://${randomUUID()}` })
  const heads: unknown[] = []
  app.on('beforeTaskPublish', ({ headers, properties, body }) => {
    heads.push(new TaskHead({ headers, properties, body, contentType: 'application/json', contentEncoding: 'utf-8' }))
  })
  const lines: string[] = []
  Celeriac.internals(app).core.log = {
    debug: () => {},
    info: () => {},
    warn: () => {},
    error: (fields, line) => void lines.push(`${line}: ${String((fields as { err?: unknown }).err)}`),
  }
  await fc.assert(
    fc.asyncProperty(text, options, async (task, given) => {
      const before = heads.length
      try {
        await app.sendTask(task, {}, given as ApplyOptions)
      } catch (error) {
        expect(error).toMatchObject({ code: expect.stringMatching(/^ERR_/) })
        return
      }
      expect(lines).toEqual([])
      expect(heads.length).toBe(before + 1)
    }),
    { numRuns: 300, seed: 6 },
  )
  expect(heads.length).toBeGreaterThan(20)
})
