/** Apps whose modules end the process, or wait for what never comes: Node says nothing of either. */
import { expect, test, vi } from 'vitest'
import { watchLoading } from '../../src/app/load-watch.js'
import { Project } from './project.js'

const app = `import { Celeriac } from 'celeriac'
export const app = new Celeriac('half')
`

test('an app that is not loaded to its end is named', async () => {
  await using project = new Project({
    'waits.js': `${app}await new Promise(() => {})\n`,
    'ends.js': `${app}process.exit(0)\n`,
  })
  const [waits, ends] = await Promise.all(['./waits.js', './ends.js'].map((file) => project.run(['-A', file, 'worker', '-c', '1'])))
  expect(waits).toMatchObject({
    code: 13,
    stderr: expect.stringContaining('waits.js was not loaded to its end: an await at the top level'),
  })
  expect(ends).toMatchObject({
    code: 0,
    stderr: expect.stringContaining('ends.js was not loaded to its end: something in it ended the process with code 0'),
  })
})

test('an app that takes its time to load is named meanwhile, and is loaded', async () => {
  let tell: (text: string) => void = () => {}
  const said = new Promise<string>((resolve) => {
    tell = resolve
  })
  const write = vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    tell(String(text))
    return true
  })
  try {
    const listeners = process.listenerCount('exit')
    const loaded = watchLoading('slow.js', async () => `loaded after: ${await said}`, 1)
    expect(await loaded).toContain('slow.js is still being loaded')
    expect(process.listenerCount('exit')).toBe(listeners)
  } finally {
    write.mockRestore()
  }
})
