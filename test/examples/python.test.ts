/** The snippets of docs/redis.md, docs/rabbitmq.md and docs/interop.md are these files: here both languages run them on one broker, as a reader would. */
import { expect, test } from 'vitest'
import { needs } from '../../scripts/needs.mjs'
import { startRedis } from '../../scripts/services.mjs'
import { withoutPython } from '../python.js'
import { virtualHost, withoutRabbit } from '../rabbit.js'
import { ExampleProject } from './project.js'

const skipped = withoutPython() || (needs.redis?.find() === undefined ? 'there is no redis-server' : false)

async function onRedis(run: (project: ExampleProject) => Promise<void>): Promise<void> {
  const server = await startRedis()
  try {
    const env = { CELERIAC_BROKER_URL: server.url, CELERY_BROKER_URL: server.url, CELERY_RESULT_BACKEND: server.url }
    await using project = new ExampleProject('python', { packages: ['ioredis'], env, deadlineMs: 60_000 })
    await run(project)
  } finally {
    await server.stop()
  }
}

const printed = (stdout: string): object => ({ code: 0, stdout, stderr: '' })

test.skipIf(skipped)(
  'the start of docs/redis.md: a worker, a call from the command line and one from Python',
  () =>
    onRedis(async (project) => {
      await project.worker('-A', './start.ts', 'worker', '-c', '1')
      expect(await project.celeriac('-A', './start.ts', 'call', 'add', '2', '3', '--wait')).toMatchObject({ code: 0, stdout: '5\n' })
      expect(await project.python('call_add.py')).toEqual(printed('5\n'))
    }),
  60_000,
)

test.skipIf(withoutPython() || withoutRabbit())(
  'the start of docs/rabbitmq.md: a worker, a call from the command line and one from Python',
  async () => {
    const { url } = await virtualHost()
    const env = { CELERIAC_BROKER_URL: url, CELERY_BROKER_URL: url }
    await using project = new ExampleProject('rabbitmq', { packages: ['amqplib'], env, deadlineMs: 60_000 })
    await project.worker('-A', './start.ts', 'worker', '-c', '1')
    expect(await project.celeriac('-A', './start.ts', 'call', 'add', '2', '3', '--wait')).toMatchObject({ code: 0, stdout: '5\n' })
    expect(await project.python('call_add.py')).toEqual(printed('5\n'))
  },
  90_000,
)

test.skipIf(skipped)(
  'Node calls Python and Python calls Node: values, errors that both sides know',
  () =>
    onRedis(async (project) => {
      await Promise.all([
        project.worker('-A', './errors.ts', 'worker', '-c', '1'),
        project.pythonWorker('-A', 'tasks', 'worker', '-c', '1', '-l', 'INFO'),
      ])
      expect(await project.script('./call-python.ts')).toEqual(printed('3\nValueError: no numbers\n'))
      expect(await project.python('call_node.py')).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/^hello-world\nhello_world\ninvalid arguments for node\.slug: name: unknown parameter/),
      })
      expect(await project.python('call_charge.py')).toEqual(printed('declined: over the limit\n'))
    }),
  60_000,
)
