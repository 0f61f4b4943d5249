/** The snippets of docs/guide/canvas are these files. */
import { expect, test } from 'vitest'
import { ExampleProject } from './project.js'

test('workflows do what docs/guide/canvas says', async () => {
  await using project = new ExampleProject('workflows')
  await project.worker('-A', './tasks.ts', 'worker', '-c', '2')
  expect(await project.script('./run.ts')).toEqual({ code: 0, stdout: expect.stringMatching(/all as expected\n$/), stderr: '' })
})
