/** What a program without a compiler may write: nothing that it gives is ignored. */
import { randomUUID } from 'node:crypto'
import { afterAll, expect, test } from 'vitest'
import { createClient } from '../../dist/client.js'
import { Celeriac } from '../../dist/index.js'
import { testApp } from '../../dist/testing/index.js'

const typed = new Celeriac('typos', { broker: `memory://${randomUUID()}` })
// biome-ignore lint/suspicious/noExplicitAny: as JavaScript calls it
const app = typed as any
const add = app.task('add', (x: number, y: number) => x + y)

afterAll(() => typed.close())

test.each<[string, () => unknown, string]>([
  ['worker', () => app.worker({ concurency: 3 }), 'unknown option "concurency". Did you mean "concurrency"?'],
  ['worker, concurrency', () => app.worker({ concurrency: 0 }), 'expected concurrency to be a whole number above 0, got: 0'],
  ['worker, pool', () => app.worker({ pool: 'preforkk' }), 'expected pool to be "prefork" or "threads"'],
  ['worker, queues', () => app.worker({ queues: 'celery' }), 'expected queues to be a list of names of queues, got: "celery"'],
  ['worker, signal', () => app.worker({ signal: 5 }), 'expected signal to be an AbortSignal, got: 5'],
  ['stop', () => app.worker().stop({ mode: 'hot' }), 'expected mode to be "warm", "soft" or "cold", got: "hot"'],
  ['get', () => app.result('x').get({ timeot: 1 }), 'Did you mean "timeout"?'],
  ['revoke', () => app.result('x').revoke({ terminat: true }), 'Did you mean "terminate"?'],
  ['revoke, signal', () => app.control.revoke('x', { signal: 'SIGFOO' }), 'expected signal to be the name of a signal'],
  ['revoke, id', () => app.control.revoke(), 'expected the task id name to be'],
  ['shutdown', () => app.control.shutdown({ destinatoin: ['one@host'] }), 'Did you mean "destination"?'],
  ['inspect', () => app.control.inspect({ timeot: 1 }).ping(), 'Did you mean "timeout"?'],
  ['timeLimit', () => app.control.timeLimit('add', { hrd: 1 }), 'Did you mean "hard"?'],
  ['sendTask', () => app.sendTask('add', { kwarg: {} }), 'Did you mean "kwargs"?'],
  ['sendTask, args', () => app.sendTask('add', { args: 5 }), 'expected args to be a list, got: 5'],
  ['options', () => add.applyAsync([1, 2], null), 'expected the options of add.applyAsync to be an object, got: null'],
  ['headers', () => add.applyAsync([1, 2], { headers: 'x' }), 'expected headers to be an object, got: "x"'],
  ['retry', () => add.applyAsync([1, 2], { retry: { maxRetry: 3 } }), 'Did you mean "retry.maxRetries"?'],
  ['on', () => app.on('taskFailre', () => {}), 'unknown option "taskFailre". Did you mean "taskFailure"?'],
  ['use', () => app.use({ pubish() {} }), 'expected middleware to be an object with a function publish or execute'],
  ['result', () => app.result(), 'expected the task id name to be'],
  ['terminate', () => app.control.terminate('x', { sginal: 'SIGKILL' }), 'Did you mean "signal"?'],
  ['dead letters', () => app.deadLetters.list({ quee: 'mail' }), 'Did you mean "queue"?'],
  ['dead letters, time', () => app.deadLetters.visit({ before: '2h' }, () => true), 'expected before to be a valid Date, got: "2h"'],
  ['beat', () => app.beat({ schedular: 'file' }), 'Did you mean "scheduler"?'],
  ['monitor', () => app.monitor({ onevent: () => {} }), 'Did you mean "onEvent"?'],
  [
    'task, schema',
    () => app.task('s', { kwargs: { to: 'text' } }, () => 1),
    'expected kwargs of task s to be a schema of a Standard Schema library',
  ],
  [
    'task, params',
    () => app.task('p', { params: ['x', 'x'] }, () => 1),
    'expected params of task p to be a list of names, each of them once',
  ],
  ['task, bind', () => app.task('b', { bind: 'yes' }, () => 1), 'expected bind of task b to be true or false, got: "yes"'],
  ['testApp', () => testApp(typed, { mode: 'x' } as never), 'expected mode to be "manual" or "eager"'],
  ['client', () => createClient({ broker: 'memory://', backnd: 'x' } as never), 'Did you mean "backend"?'],
  ['client, broker', () => createClient({} as never), 'expected broker to be the URL of a broker'],
])('%s: what is not there is refused', async (_, call, says) => {
  await expect((async () => call())()).rejects.toThrow(says)
})

test('the same under test', async () => {
  await using t = await testApp(typed)
  // biome-ignore lint/suspicious/noExplicitAny: as above
  const loose = t as any
  await expect(loose.drain({ withRetry: true })).rejects.toThrow('Did you mean "withRetries"?')
  await expect(loose.run(add, [1, 2], { retires: 1 })).rejects.toThrow('Did you mean "request.retries"?')
})

test('a wrong option of self.retry fails the task, and is no retry', async () => {
  const again = typed.task('again', { bind: true }, (self) => self.retry({ countdwn: 0 } as never))
  await using t = await testApp(typed)
  await expect(t.run(again, [])).rejects.toThrow('Did you mean "retry.countdown"?')
})
