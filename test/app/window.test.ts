import { expect, test } from 'vitest'
import { Window } from '../../dist/app/window.js'

test('no more operations are under way than the window has room for', async () => {
  const window = new Window(2)
  const ends: (() => void)[] = []
  const operation = (): Promise<void> => new Promise((resolve) => ends.push(resolve))
  await window.add(operation())
  let letIn = false
  const second = window.add(operation())?.then(() => {
    letIn = true
  })
  await Promise.resolve()
  expect(letIn).toBe(false)
  ends[0]?.()
  await second
  let settled = false
  const all = window.settled().then(() => {
    settled = true
  })
  await Promise.resolve()
  expect(settled).toBe(false)
  ends[1]?.()
  await all
})

test('what fails is thrown once those that are under way have ended, and nothing more is let in', async () => {
  const window = new Window(10)
  let end: (() => void) | undefined
  await window.add(new Promise<void>((resolve) => (end = resolve)))
  await window.add(Promise.reject(new Error('first')))
  await Promise.resolve()
  const refused = window.add(Promise.resolve())
  end?.()
  await expect(refused).rejects.toThrow('first')
  await expect(window.settled()).rejects.toThrow('first')
})
