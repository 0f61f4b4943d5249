/** The snippets of README.md are these files; here they run as a reader would run them. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import { expect, test } from 'vitest'
import { ExampleProject } from './project.js'
import '../../examples/readme/shop.test.ts'

test('the five-minute start: a task, a worker, a call from the command line and one from a script', async () => {
  await using project = new ExampleProject('readme', { packages: ['zod'] })
  await project.worker('-A', './tasks.ts', 'worker', '-c', '1')
  expect(await project.celeriac('-A', './tasks.ts', 'call', 'add', '2', '3', '--wait')).toMatchObject({ code: 0, stdout: '5\n' })
  expect(await project.script('./send.ts')).toEqual({ code: 0, stdout: expect.stringMatching(/^[0-9a-f-]{36}\n5\n$/), stderr: '' })
})

test('tasks are retried, sent for later, watched and checked as README.md shows', async () => {
  await using project = new ExampleProject('readme', { packages: ['zod'] })
  await using flaky = await flakyServer()
  await project.worker('-A', './shop.ts', 'worker', '-c', '1', '-Q', 'celery,mail')
  const call = (...args: string[]): ReturnType<ExampleProject['celeriac']> =>
    project.celeriac('-A', './shop.ts', 'call', ...args, '--wait', '20s')
  const [page, later, progress, mail, noMail] = await Promise.all([
    call('pages.fetch', flaky.url),
    project.script('./later.ts'),
    project.script('./progress.ts'),
    call('mail.send', '-k', '{"to":"ada@example.com"}'),
    call('mail.send', '-k', '{"to":"nobody"}'),
  ])
  expect(page).toMatchObject({ code: 0, stdout: 'a page\n' })
  expect(flaky.requests()).toBe(3)
  expect(later).toEqual({ code: 0, stdout: 'sent\n', stderr: '' })
  expect(progress).toMatchObject({ code: 0, stdout: expect.stringMatching(/SUCCESS 3\n$/), stderr: '' })
  expect(mail).toMatchObject({ code: 0, stdout: 'Welcome → ada@example.com\n' })
  expect(noMail).toMatchObject({ stdout: '', stderr: expect.stringContaining('to: ') })
})

/** Breaks the connection at first, then is busy, then answers. */
async function flakyServer(): Promise<AsyncDisposable & { readonly url: string; requests(): number }> {
  let requests = 0
  const server = createServer((request, response) => {
    requests++
    if (requests === 1) request.socket.destroy()
    else if (requests === 2) response.writeHead(429, { 'retry-after': '0' }).end()
    else response.end('a page')
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a port')
  return {
    url: `http://127.0.0.1:${address.port}/`,
    requests: () => requests,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
