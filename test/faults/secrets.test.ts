/** A password that must not be seen (reliability.md B.14, L1): searched for in all that the programs say, in every form it may have. */
import { inspect } from 'node:util'
import { expect } from 'vitest'
import { Celeriac } from '../../dist/index.js'
import { canary, everything, expectNone, expectNoneInProcesses, run, user } from '../harness/canary.js'
import { takesCell } from '../harness/depth.js'
import { faultTest } from '../harness/fault-test.js'

const secretUrl = `redis://${user}:${encodeURIComponent(canary)}@127.0.0.1:1/0`

faultTest(
  {
    id: 'L1',
    timeoutMs: 300_000,
    promise: 'the password of a URL is shown nowhere: banner, logs, errors, inspect-config, ps, util.inspect',
  },
  async (scene) => {
    // The first broker answers; the others stand in the list, with their passwords.
    const both = `${scene.url};${secretUrl}`
    const results = { CELERIAC_RESULT_BACKEND: scene.url }
    for (const format of ['json', 'human']) {
      const worker = scene.start({ env: { CELERIAC_BROKER_URL: both, ...results }, args: ['-l', 'debug', '--log-format', format] })
      await worker.ready()
      const ids = [await scene.send('good'), await scene.send('fail', ['on purpose'])]
      for (const id of ids) await scene.result(id)
      expectNoneInProcesses(scene.folder)
      await worker.end()
      expect(worker.output).toContain('redis://shop:**@127.0.0.1')
      expectNone(worker.output, `a worker with ${format} logs`)
    }
    // URLs that cannot be used, each in another way, and options that are wrong.
    const urls = [
      secretUrl,
      `amqps://${user}:${encodeURIComponent(canary)}@host//`,
      `sqlite://./q.db?password=${encodeURIComponent(canary)}`,
      `sqlite://${user}:${encodeURIComponent(canary)}@host/q.db?lease_ttl=x`,
      `memory://${user}:${encodeURIComponent(canary)}@x/y`,
      `nonsense:${user}:${encodeURIComponent(canary)}@x`,
      `//${user}:${encodeURIComponent(canary)}@x`,
    ]
    for (const [number, url] of urls.entries()) {
      const commands: readonly [args: readonly string[], env: Readonly<Record<string, string>>][] = [
        [['worker', '--verbose', '-l', 'debug'], { CELERIAC_BROKER_URL: url }],
        [['call', 'good', '--verbose'], { CELERIAC_BROKER_URL: url }],
        [['result', 'some-id', '--verbose', '--timeout', '1'], { CELERIAC_BROKER_URL: scene.url, CELERIAC_RESULT_BACKEND: url }],
        [['inspect-config', '--json'], { CELERIAC_BROKER_URL: url, CELERIAC_RESULT_BACKEND: url }],
        [['inspect-config'], { CELERIAC_BROKER_URL: `${url};${url}` }],
      ]
      // The first with all commands, the others with one each.
      const taken = commands.filter((_, index) => number === 0 || takesCell(number, index, commands.length))
      await Promise.all(
        taken.map(async ([args, env]) => {
          const output = await run(scene.folder, args, env)
          expect(output).not.toBe('')
          expectNone(output, `${args[0]} with ${url.slice(0, 10)}`)
        }),
      )
      let producer: Celeriac
      try {
        producer = new Celeriac('producer', { brokerUrl: [url, url], resultBackend: url })
      } catch (error) {
        expectNone(everything(error), 'the error of new Celeriac')
        continue
      }
      expectNone(inspect(producer, { depth: 20, showHidden: true, getters: true }), 'util.inspect(app)')
      expectNone(JSON.stringify(producer), 'JSON.stringify(app)')
      for (const attempt of [() => producer.sendTask('good', {}, { retry: false }), () => producer.result('x').get({ timeout: 0.5 })]) {
        const error = await attempt().then(
          () => undefined,
          (thrown: unknown) => thrown,
        )
        expectNone(everything(error), `an error with ${url.slice(0, 10)}`)
      }
      await producer.close()
    }
  },
)
