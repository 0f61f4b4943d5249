/** The snippets of docs/guide are these files. */
import { expect, test } from 'vitest'
import { ExampleProject } from './project.js'
import '../../examples/guide/shop.test.ts'

test('remote control and events do what docs/guide says', async () => {
  await using project = new ExampleProject('guide', { packages: ['zod'] })
  await project.worker('-A', './shop.ts', 'worker', '-c', '1', '-Q', 'celery')
  expect(await project.script('./operations.ts')).toEqual({ code: 0, stdout: expect.stringMatching(/all as expected\n$/), stderr: '' })
})

test('tasks and calls do what docs/guide says', async () => {
  await using project = new ExampleProject('guide', { packages: ['zod'] })
  await project.worker('-A', './shop.ts', 'worker', '-c', '2', '-Q', 'celery,mail,reports')
  expect(await project.script('./calls.ts')).toEqual({ code: 0, stdout: expect.stringMatching(/all as expected\n$/), stderr: '' })
})

test('schedules do what docs/guide says', async () => {
  await using project = new ExampleProject('guide')
  expect(await project.script('./schedule.ts')).toEqual({ code: 0, stdout: 'all as expected\n', stderr: 'leading\n' })
})

test('limits and unique tasks do what docs/guide says', async () => {
  await using project = new ExampleProject('guide')
  expect(await project.script('./limits.ts')).toEqual({ code: 0, stdout: expect.stringMatching(/all as expected\n$/), stderr: '' })
})
