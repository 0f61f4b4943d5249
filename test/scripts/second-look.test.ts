import { expect, test } from 'vitest'
import { type Failure, filesToLookAtAgain, judge } from '../../scripts/second-look.mjs'

const failure = (file: string, name = 'holds'): Failure => ({ file, name, says: 'expected 1, got 2', isTest: true })

test('each file of a few failures is looked at again, once', () => {
  expect(filesToLookAtAgain([failure('a.test.ts'), failure('b.test.ts'), failure('a.test.ts', 'also holds')])).toEqual([
    'a.test.ts',
    'b.test.ts',
  ])
})

test('many failures, or one that nobody can run again, are not looked at again', () => {
  expect(filesToLookAtAgain(Array.from({ length: 9 }, (_, index) => failure(`${index}.test.ts`)))).toEqual([])
  expect(filesToLookAtAgain([failure('a.test.ts'), failure('')])).toEqual([])
  expect(filesToLookAtAgain([])).toEqual([])
})

test('what fails again has failed, and what holds alone is named as unsteady', () => {
  const [broken, shaken] = [failure('a.test.ts'), failure('a.test.ts', 'holds in time')]
  expect(judge([broken, shaken], [broken])).toEqual({ failed: [broken], unsteady: [shaken] })
})

test('what fails only at the second look has failed', () => {
  expect(judge([failure('a.test.ts')], [failure('a.test.ts', 'another')]).failed).toEqual([failure('a.test.ts', 'another')])
})
