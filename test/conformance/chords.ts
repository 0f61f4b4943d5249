/** What every result backend with `supports.chords` promises of chords and groups (src/backend.ts). */
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ChordPart, ResultBackend } from '../../dist/backend.js'
import { chordClaimSeconds } from '../../dist/backend.js'
import { JsonText } from '../../dist/protocol/json-text.js'
import type { ResultTuple } from '../../dist/protocol/result.js'
import { VirtualClock } from '../../dist/testing/virtual-clock.js'
import type { BackendDriver } from './backend.js'

const day = { expiresSeconds: 86_400 }

export function part(index: number | null, result: unknown = index, more: Partial<ChordPart> = {}): ChordPart {
  return { taskId: `t${index}`, index, status: 'SUCCESS', result, ...more }
}

type Answer = Awaited<ReturnType<ResultBackend['completeChordPart']>>

/** Results that a closer got, as text. */
export function results(answer: Answer): unknown {
  if (typeof answer === 'string') return answer
  return answer.map(({ result }) => (result instanceof JsonText ? result.text : result))
}

export function testChords(driver: BackendDriver): void {
  describe(`chords of backend ${driver.name}`, () => {
    let clock: VirtualClock
    let store: Awaited<ReturnType<BackendDriver['open']>>
    let opened: ResultBackend[]
    let backend: ResultBackend

    const open = async (): Promise<ResultBackend> => {
      const another = await store.backend()
      opened.push(another)
      return another
    }
    const pass = async (ms: number): Promise<void> => {
      await clock.moveTo(clock.now() + ms)
      await store.pass?.(ms)
    }
    const complete = (given: ChordPart, size?: number): Promise<Answer> => backend.completeChordPart('g', given, { size, ...day })

    beforeEach(async () => {
      clock = new VirtualClock()
      store = await driver.open(clock)
      opened = []
      backend = await open()
    })

    afterEach(async () => {
      for (const each of opened) await each.close()
      await store.dispose()
    })

    test('the part that completes a chord closes it, with all results by index', async () => {
      const other = await open()
      await backend.startChord('g', { size: 3, ...day })
      expect(await other.completeChordPart('g', part(2, { n: [1.5, null, 'ü'] }), { size: 3, ...day })).toBe('waiting')
      expect(await complete(part(0, 'first'))).toBe('waiting')
      const answer = await complete(part(1, new JsonText('1.0'), { status: 'FAILURE' }))
      expect(answer).toEqual([
        { taskId: 't0', index: 0, status: 'SUCCESS', result: new JsonText('"first"') },
        { taskId: 't1', index: 1, status: 'FAILURE', result: new JsonText('1.0') },
        { taskId: 't2', index: 2, status: 'SUCCESS', result: new JsonText('{"n":[1.5,null,"ü"]}') },
      ])
    })

    test('a task that ends again counts once, and what it brought first is kept', async () => {
      await backend.startChord('g', { size: 2, ...day })
      for (const again of ['a', 'b', 'c']) expect(await complete(part(0, again), 2)).toBe('waiting')
      expect(await complete(part(0, 'd', { status: 'FAILURE' }), 2)).toBe('waiting')
      expect(results(await complete(part(1, 'other'), 2))).toEqual(['"a"', '"other"'])
    })

    test('one task at two places counts twice', async () => {
      await backend.startChord('g', { size: 2, ...day })
      expect(await complete(part(0, 'a', { taskId: 'same' }))).toBe('waiting')
      expect(results(await complete(part(1, 'b', { taskId: 'same' })))).toEqual(['"a"', '"b"'])
    })

    test('two tasks at one place are two parts', async () => {
      // A chain in a header that ends in a group: its members number themselves.
      await backend.startChord('g', { size: 3, ...day })
      expect(await complete(part(0, 'a', { taskId: 'x' }))).toBe('waiting')
      expect(await complete(part(0, 'b', { taskId: 'y' }))).toBe('waiting')
      expect(results(await complete(part(1, 'c')))).toEqual(['"a"', '"b"', '"c"'])
    })

    test('parts without an index come last, by task id', async () => {
      await backend.startChord('g', { size: 4, ...day })
      for (const taskId of ['z', 'x', 'b']) expect(await complete(part(null, taskId, { taskId }))).toBe('waiting')
      expect(await complete(part(null, 'again', { taskId: 'z' }))).toBe('waiting')
      expect(results(await complete(part(7, 'seven')))).toEqual(['"seven"', '"b"', '"x"', '"z"'])
    })

    test('a closer that comes again closes again, with the same parts, and nobody else does', async () => {
      await backend.startChord('g', { size: 2, ...day })
      await complete(part(0, 'a'))
      for (const result of ['b', 'another', 'b']) {
        expect(results(await complete(part(1, result), 2))).toEqual(['"a"', '"b"'])
        expect(await complete(part(0, 'a'), 2)).toBe('waiting')
      }
    })

    test('whoever comes again closes when the closer has not ended the chord in time', async () => {
      await backend.startChord('g', { size: 2, ...day })
      await complete(part(0, 'a'))
      await complete(part(1, 'b'))
      await pass(chordClaimSeconds * 1000)
      expect(results(await complete(part(0, 'a')))).toEqual(['"a"', '"b"'])
      expect(await complete(part(1, 'b'))).toBe('waiting')
    })

    test('after its end a chord stays ended, whoever comes', async () => {
      const other = await open()
      await backend.startChord('g', { size: 2, ...day })
      await complete(part(0))
      await complete(part(1))
      await backend.endChord('g', day)
      for (const late of [part(0), part(1), part(1, 'another'), part(2), part(null)]) {
        expect(await complete(late)).toBe('waiting')
        expect(await other.completeChordPart('g', late, { size: 2, ...day })).toBe('waiting')
      }
      await other.startChord('g', { size: 2, ...day })
      await other.growChord('g', ['x'], day)
      await other.endChord('g', day)
      for (const late of [part(0), part(1), part(2)]) expect(await complete(late, 2)).toBe('waiting')
    })

    test('starting twice changes nothing', async () => {
      await backend.startChord('g', { size: 2, ...day })
      await complete(part(0, 'a'))
      await (await open()).startChord('g', { size: 2, ...day })
      expect(results(await complete(part(1, 'b')))).toEqual(['"a"', '"b"'])
    })

    test('parts that come before the start are counted', async () => {
      expect(await complete(part(0, 'a'))).toBe('waiting')
      await backend.startChord('g', { size: 2, ...day })
      expect(results(await complete(part(1, 'b')))).toEqual(['"a"', '"b"'])
    })

    test('a chord grows by each task once', async () => {
      await backend.startChord('g', { size: 1, ...day })
      await backend.growChord('g', ['x', 'y'], day)
      await backend.growChord('g', ['y', 'x'], day)
      await backend.growChord('g', [], day)
      expect(await complete(part(0, 'a'))).toBe('waiting')
      expect(await complete(part(null, 'from x', { taskId: 'x' }))).toBe('waiting')
      expect(results(await complete(part(null, 'from y', { taskId: 'y' })))).toEqual(['"a"', '"from x"', '"from y"'])
    })

    test('a chord that should be known and is not, is lost', async () => {
      expect(await complete(part(0), 2)).toBe('lost')
      expect(await complete(part(0), 2)).toBe('lost')
      expect(await complete(part(1))).toBe('waiting')
      expect(await complete(part(0), 2)).toBe('lost')
    })

    test('a chord expires, counted from its last part', async () => {
      const short = { expiresSeconds: 100 }
      await backend.startChord('g', { size: 3, ...short })
      await pass(80_000)
      expect(await backend.completeChordPart('g', part(0), { size: 3, ...short })).toBe('waiting')
      await pass(80_000)
      expect(await backend.completeChordPart('g', part(1), { size: 3, ...short })).toBe('waiting')
      await pass(100_000)
      expect(await backend.completeChordPart('g', part(2), { size: 3, ...short })).toBe('lost')
      await backend.cleanup({ nowMs: clock.now() })
      await backend.startChord('g', { size: 1, ...short })
      expect(results(await backend.completeChordPart('g', part(0, 'new'), { size: 1, ...short }))).toEqual(['"new"'])
    })

    test('what never expires is kept', async () => {
      const forever = { expiresSeconds: null }
      await backend.startChord('g', { size: 2, ...forever })
      await backend.completeChordPart('g', part(0, 'a'), forever)
      await pass(10 * 86_400_000)
      await backend.cleanup({ nowMs: clock.now() })
      expect(results(await backend.completeChordPart('g', part(1, 'b'), { size: 2, ...forever }))).toEqual(['"a"', '"b"'])
      await backend.endChord('g', forever)
      await pass(10 * 86_400_000)
      expect(await backend.completeChordPart('g', part(1, 'b'), { size: 2, ...forever })).toBe('waiting')
    })

    test('a result that cannot be written is refused with its path, and does not count', async () => {
      await backend.startChord('g', { size: 1, ...day })
      await expect(complete(part(0, { a: () => 1 }))).rejects.toMatchObject({ code: 'ERR_ENCODE' })
      expect(results(await complete(part(0, 'a')))).toEqual(['"a"'])
    })

    test('ids may hold any characters', async () => {
      const ids = ["'", '"', '\\', '%', '😀', 'a,b', '[0]', 'ü', '", "SUCCESS", 1]']
      for (const id of ids) {
        await backend.startChord(id, { size: 2, ...day })
        expect(await backend.completeChordPart(id, part(0, 'a', { taskId: id }), day)).toBe('waiting')
        expect(await backend.completeChordPart(id, part(0, 'b', { taskId: id }), day)).toBe('waiting')
        const answer = await backend.completeChordPart(id, part(1, 'c'), day)
        expect(answer).toMatchObject([{ taskId: id }, { taskId: 't1' }])
      }
    })

    test('of 5 000 parts that come at once, each twice, to two backends, one closes', async () => {
      const other = await open()
      const size = 5_000
      await backend.startChord('g', { size, ...day })
      const answers = await Promise.all(
        Array.from({ length: 2 * size }, (_, at) =>
          (at % 3 === 0 ? other : backend).completeChordPart('g', part(at % size, at % size), { size, ...day }),
        ),
      )
      const closings = answers.filter((answer) => typeof answer !== 'string')
      expect(closings.length).toBeGreaterThan(0)
      for (const closing of closings) expect(results(closing)).toEqual(Array.from({ length: size }, (_, index) => String(index)))
      const closers = new Set(answers.flatMap((answer, at) => (typeof answer === 'string' ? [] : [at % size])))
      expect(closers.size).toBe(1)
      await backend.endChord('g', day)
      expect(await complete(part(1), size)).toBe('waiting')
    })

    test('whatever comes in whatever order, again and between: a chord is closed when all its parts are there, with the first of each', async () => {
      let number = 0
      await fc.assert(
        fc.asyncProperty(
          fc
            .integer({ min: 1, max: 5 })
            .chain((size) =>
              fc.tuple(fc.constant(size), fc.array(fc.tuple(fc.nat({ max: size - 1 }), fc.nat({ max: 9 })), { maxLength: 15 })),
            ),
          async ([size, comings]) => {
            const groupId = `random-${number++}`
            await backend.startChord(groupId, { size, ...day })
            const first = new Map<number, number>()
            let closer: number | undefined
            for (const [index, result] of comings) {
              if (!first.has(index)) first.set(index, result)
              const isComplete = first.size === size
              if (isComplete) closer ??= index
              const answer = await backend.completeChordPart(groupId, part(index, result), { size, ...day })
              const expected = Array.from({ length: size }, (_, at) => String(first.get(at)))
              expect(results(answer)).toEqual(isComplete && closer === index ? expected : 'waiting')
            }
          },
        ),
        { numRuns: 30 },
      )
    })

    test('the body is kept until the chord ends or expires', async () => {
      const other = await open()
      const body = new JsonText('{"task": "körper", "args": [1.0]}')
      await backend.startChord('g', { size: 1, body, ...day })
      await backend.startChord('h', { size: 1, body, expiresSeconds: 10 })
      await backend.startChord('none', { size: 1, ...day })
      expect(await other.chordBody('g')).toEqual(body)
      expect([await other.chordBody('none'), await other.chordBody('nobody')]).toEqual([undefined, undefined])
      await other.endChord('g', day)
      await backend.startChord('g', { size: 1, body, ...day })
      expect(await backend.chordBody('g')).toBeUndefined()
      await pass(10_000)
      expect(await backend.chordBody('h')).toBeUndefined()
    })

    // ── groups ───────────────────────────────────────────────────────────────

    test('a saved group is known by its id until it expires or is forgotten', async () => {
      const other = await open()
      const group = (id: string): ResultTuple => [
        [id, [['parent', null], null]],
        [
          [['a', null], null],
          [['inner', null], [[['b', null], null]]],
        ],
      ]
      await backend.saveGroup(group('g'), { expiresSeconds: 10 })
      await backend.saveGroup(group('h'), { expiresSeconds: null })
      expect(await other.group('g')).toEqual(group('g'))
      expect(await other.group('nobody')).toBeUndefined()
      expect(await other.forgetGroup('nobody')).toBe(false)
      await pass(10_000)
      expect(await other.group('g')).toBeUndefined()
      await backend.cleanup({ nowMs: clock.now() })
      expect(await other.group('h')).toEqual(group('h'))
      await backend.saveGroup([['h', null], []], { expiresSeconds: null })
      expect(await other.group('h')).toEqual([['h', null], []])
      expect(await other.forgetGroup('h')).toBe(true)
      expect(await backend.group('h')).toBeUndefined()
    })
  })
}
